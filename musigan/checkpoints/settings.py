"""Settings of a training run: frozen dataclasses by section, merged from preset < YAML < flags."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from musigan import models, settings
from musigan.datasets.rolls import AugmentSettings
from musigan.errors import SettingsError
from musigan.losses.musical import HEAD_LOSSES
from musigan.losses.registry import DEFAULT_LOSSES, LOSSES
from musigan.models.stages import ADVERSARIAL_STAGES, STAGES
from musigan.rolls.loudness import Compression
from musigan.settings import (
    CHECKED,
    BatchCount,
    Count,
    CountOrNone,
    NotNegative,
    Positive,
    Rate,
    Share,
    ShareBelowOne,
    did_you_mean,
    shown,
)

MOST_OF_NETWORK = 8192  # of widths, layers, heads
PRESETS = ("small", "medium", "large", "original")


Betas = tuple[ShareBelowOne, ShareBelowOne]  # of Adam
Span = tuple[Share, Share]  # start and end, as shares of a stage


@dataclass(frozen=True, config=CHECKED)
class VariationalSettings:
    """Settings of the stage that trains the autoencoder: real rolls to latents and back."""

    learning_rate: Rate = 1e-3  # Adam's largest
    betas: Betas = (0.9, 0.99)  # Adam's decay rates of the gradient's mean and square
    kl_warmup: float = 0.3  # share of the stage over which the KL weight rises to its full value
    free_bits: float = 0.05  # KL in nats per latent dimension that costs nothing


@dataclass(frozen=True, config=CHECKED)
class PriorSettings:
    """Settings of the stage that trains the transformer as a flow from noise to the latents of real music."""

    learning_rate: Rate = 1e-3  # Adam's largest
    betas: Betas = (0.9, 0.99)  # Adam's decay rates of the gradient's mean and square
    draws: Count = 4  # noise samples per roll and step: encoding a roll costs more than a transformer pass
    beats: Share = 1.0  # share of a song's beats that models which compose draw in a step, and hear before them all
    past_noise: NotNegative = 0.4  # largest deviation of the noise on what came before, of models that compose
    past_unknown: ShareBelowOne = 0.1  # share of pieces that they learn without it, for `network.guidance`


@dataclass(frozen=True, config=CHECKED)
class LikelihoodSettings:
    """Settings of the stage of families that are trained by likelihood."""

    learning_rate: Rate = 1e-3  # Adam's largest
    betas: Betas = (0.9, 0.99)  # Adam's decay rates of the gradient's mean and square


@dataclass(frozen=True, config=CHECKED)
class AdversarialSettings:
    """Settings of the adversarial stage: generator against critic."""

    objective: Literal["bce", "hinge", "relativistic", "wgan", "lsgan"] = "bce"  # what critic and generator minimise
    learning_rate: Rate = 3e-5  # of the transformer, which the stage before has trained already
    decoder_learning_rate: Rate = 6e-6  # of the decoder, also trained already
    critic_learning_rate: Rate = 5e-4  # of the critic
    betas: Betas = (0.0, 0.9)  # Adam's decay rates of the gradient's mean and square, of all sides
    label_smoothing: float = 0.1  # real labels are 1 minus this (bce)
    instance_noise: float = 0.03  # standard deviation of the noise on real and fake rolls
    latent_noise: float = 0.1  # standard deviation of the noise on latents, whose own is about 1
    learning_flow_steps: Count = 2  # flow steps of the transformer, counted from the last, that this stage trains
    critic_steps: Count = 1  # critic steps per generator step
    freeze_critic: Span | None = None  # start and end of the critic's pause, as shares of the stage
    freeze_generator: Span | None = None  # of the generator's pause, such as [0, 0.1]
    roll_every: Count = 4  # steps between those that decode and judge whole rolls; latents are judged in every step
    penalty: Literal["approximate", "exact"] = "approximate"  # finite difference or second derivative; wgan has its own
    penalty_distance: Positive = 0.05  # step of the finite difference in the approximate penalty
    penalty_decay: Share = 0.0  # share of the stage over which penalties' weights fall to a tenth; 0 keeps them
    adaptive: bool = False  # augment the rolls that the critic sees, more often while it is too sure
    adaptive_target: Annotated[float, Field(gt=0, lt=1)] = 0.6  # mean sign(D(real)) that augmentation is steered to
    adaptive_rolls: Positive = 10_000.0  # rolls judged while that probability could go from 0 to 1

    def __post_init__(self) -> None:
        for side in ("critic", "generator"):
            span = getattr(self, f"freeze_{side}")
            if span is not None and not span[0] < span[1]:
                raise SettingsError(
                    f"setting 'adversarial.freeze_{side}' is {list(span)}; expected two rising numbers from 0 to 1, "
                    "the shares of the stage between which it stands still"
                )
        if self.freeze_critic and self.freeze_generator:
            start = max(self.freeze_critic[0], self.freeze_generator[0])
            stop = min(self.freeze_critic[1], self.freeze_generator[1])
            if start < stop:
                raise SettingsError(
                    f"settings 'adversarial.freeze_critic' and 'adversarial.freeze_generator' have both sides stand "
                    f"still from {start:g} to {stop:g} of the stage; leave one of them free there"
                )

    def frozen(self, progress: float) -> frozenset[str]:
        """Return the sides that are frozen when `progress` (0 to 1) of the stage is done."""
        spans = {"critic": self.freeze_critic, "generator": self.freeze_generator}
        return frozenset(side for side, span in spans.items() if span and span[0] <= progress < span[1])


@dataclass(frozen=True, config=CHECKED)
class TrainingSettings:
    """All settings of a training run: with the data they determine it."""

    model: str = "bars"  # the model family: what `musigan models` lists
    preset: str = "small"  # sizes to begin from: small, medium, large or original
    epochs: Count = 200  # passes over the rolls, all stages together
    epoch_rolls: dict[str, Count] = field(default_factory=dict)  # examples in an epoch at most, by stage; others: all
    pretrain_epochs: CountOrNone | None = None  # of these before the adversarial stage; null: the family's share
    critic_epochs: CountOrNone | None = (
        None  # of these, for the critic alone; null: the family's share, 2 in 100 by default
    )
    batch_size: BatchCount = 16  # rolls in a batch
    accumulate: BatchCount = 1  # batches in a step: its gradient is their mean; minibatch statistics stay per batch
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1  # of all that is random
    compression: Compression = "sqrt"  # of loudness, from the store to the networks
    gradient_clip: NotNegative = 1.0  # largest norm of a side's gradient; 0 is off
    ema_half_life: float = 5000.0  # rolls after which a weight counts half in the generator's moving average
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 on GPUs that compute with it
    compile: bool = False  # torch.compile the networks' heavy functions: takes minutes at first, then faster on a GPU
    workers: Count = 1  # threads that read rolls ahead of the step
    save_every: Count = 5  # epochs between checkpoints
    keep_last: CountOrNone = 0  # how many of these stay as numbered files beside the one that is replaced
    sample_every: CountOrNone = 20  # epochs between sample pictures and MP3s; 0 is never
    keep_samples: CountOrNone = 20  # how many of these stay at most, evenly from the first to the last; 0 is all
    evaluate_every: CountOrNone = 20  # epochs between evaluations of samples against held-out songs; 0 is never
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    variational: VariationalSettings = field(default_factory=VariationalSettings)
    prior: PriorSettings = field(default_factory=PriorSettings)
    likelihood: LikelihoodSettings = field(default_factory=LikelihoodSettings)
    adversarial: AdversarialSettings = field(default_factory=AdversarialSettings)
    loss_weights: dict[str, float] = field(default_factory=dict)  # weights by loss, instead of the defaults
    network: dict[str, Any] = field(default_factory=dict)  # the family's own settings

    def __post_init__(self) -> None:
        for name in ("pretrain_epochs", "critic_epochs"):
            value = getattr(self, name)
            if value is not None and value > self.epochs:
                flag = name.replace("_", "-")
                raise SettingsError(f"--{flag} {value}: expected 0 to {self.epochs}, the number of --epochs")
        family = models.family(self.model)
        known_losses = list(dict.fromkeys((*DEFAULT_LOSSES, *family.losses)))
        unknown_losses = sorted(set(self.loss_weights) - set(known_losses))
        if unknown_losses:
            raise SettingsError(
                f"unknown loss '{unknown_losses[0]}' in loss_weights; known: {', '.join(known_losses)}"
                f"{did_you_mean(unknown_losses[0], known_losses)}"
            )
        if unknown_stages := [name for name in self.epoch_rolls if name not in family.stages]:
            raise SettingsError(
                f"unknown stage '{unknown_stages[0]}' in epoch_rolls; {self.model} has {', '.join(family.stages)}"
            )
        if self.augment.silent_question and "question" not in family.conditions:
            raise SettingsError(
                f"setting 'augment.silent_question' is {self.augment.silent_question:g}, and the model {self.model} "
                "takes no call; leave it out"
            )
        if self.adversarial.objective == "wgan" and not (self.weight("penalty_roll") or self.weight("penalty_latent")):
            raise SettingsError(
                "setting 'adversarial.objective' is wgan, whose critic needs a gradient penalty; give loss_weights a "
                "penalty_roll and a penalty_latent (10 is usual)"
            )
        has_exact_penalty = self.adversarial.objective == "wgan" or self.adversarial.penalty == "exact"
        if self.compile and has_exact_penalty and (self.weight("penalty_roll") or self.weight("penalty_latent")):
            raise SettingsError(
                "compile: true with an exact gradient penalty: compiled code has no second derivative; leave compile "
                "out, or take adversarial.penalty: approximate and another objective than wgan"
            )
        sizes = [("workers", self.workers, 256)]
        sizes += [(f"network.{name}", size, MOST_OF_NETWORK) for name, size in self.network.items()]
        for name, size, most in sizes:
            if isinstance(size, int) and size > most:
                raise SettingsError(f"setting '{name}' is {shown(size)}; expected at most {most}: memory has an end")
        network: Any = settings.build(family.settings, self.network, "network")
        object.__setattr__(self, "network", settings.as_mapping(network))
        head_losses = [f"critic_{name}" for name in HEAD_LOSSES if not self.network.get("critic_heads")]
        headless_losses = [name for name in head_losses if self.loss_weights.get(name)]
        if headless_losses:
            raise SettingsError(
                f"loss_weights.{headless_losses[0]} needs the critic's heads; set network.critic_heads: true"
            )

    @property
    def rolls_per_step(self) -> int:
        """Number of rolls in one step of the optimisers."""
        return self.batch_size * self.accumulate

    def weight(self, name: str) -> float:
        """Return the weight of the loss `name`: from the settings, else the family's, else the loss's default."""
        default = LOSSES[name].weight if name in LOSSES else None
        return self.loss_weights.get(name, models.family(self.model).losses.get(name, default or 0.0))

    @property
    def has_adversarial_stage(self) -> bool:
        """Whether the model has an adversarial stage (one of ADVERSARIAL_STAGES)."""
        return any(name in ADVERSARIAL_STAGES for name in models.family(self.model).stages)

    def stage_epochs(self, adversarial: bool = True, known: Sequence[str] = ()) -> dict[str, int]:
        """Return the epochs of each stage, in order; if not `adversarial`, all go to the stages before that one.

        Stages that are `known` have none: what they teach was learned before. With fewer epochs than stages the first
        have one each.
        """
        family = models.family(self.model)
        pretrain_stages = [name for name in family.stages if name not in ("critic", *ADVERSARIAL_STAGES, *known)]
        adversarial_stage = (
            next((name for name in family.stages if name in ADVERSARIAL_STAGES), None) if adversarial else None
        )
        critic_epochs = round(family.critic_share * self.epochs) if self.critic_epochs is None else self.critic_epochs
        critic_epochs = critic_epochs if "critic" in family.stages else 0
        if adversarial_stage is None:
            pretrain_epochs = self.epochs
        elif self.pretrain_epochs is not None and pretrain_stages:
            pretrain_epochs = self.pretrain_epochs
        elif self.epochs <= len(pretrain_stages) and not self.critic_epochs:  # what comes first, an epoch each
            return {name: int(name in pretrain_stages[: self.epochs]) for name in family.stages}
        else:  # leave the adversarial stage one epoch at least
            pretrain_epochs = min(
                round(family.pretrain_share * self.epochs) if pretrain_stages else critic_epochs, self.epochs - 1
            )
        critic_epochs = min(critic_epochs, pretrain_epochs)
        epochs = dict.fromkeys(family.stages, 0) | {"critic": critic_epochs}
        if adversarial_stage is not None:
            epochs[adversarial_stage] = self.epochs - pretrain_epochs
        remaining = pretrain_epochs - critic_epochs
        parts = {name: family.parts.get(name, STAGES[name].share) for name in pretrain_stages}
        for index, name in enumerate(pretrain_stages):
            part = parts[name] / sum(parts[other] for other in pretrain_stages[index:])
            epochs[name] = math.ceil(part * remaining)
            remaining -= epochs[name]
        return {name: epochs[name] for name in family.stages}

    def adversarial_epochs(self) -> dict[str, int]:
        """Return the epochs of each stage from pretrained networks on: the critic alone (if asked for), adversarial."""
        family = models.family(self.model)
        critic_epochs = (self.critic_epochs or 0) if "critic" in family.stages else 0
        adversarial_stage = next((name for name in family.stages if name in ADVERSARIAL_STAGES), "adversarial")
        return {"critic": critic_epochs, adversarial_stage: self.epochs - critic_epochs}


def preset(name: str) -> dict[str, Any]:
    """Return the preset `name` as plain settings; SettingsError if there is none."""
    if name in models.FAMILIES and name not in PRESETS:
        return {**models.family(name).defaults, "model": name, "preset": name}
    if name not in PRESETS:
        raise SettingsError(f"--preset {name}: unknown preset; known are {', '.join(PRESETS)}")
    with resources.as_file(resources.files("musigan.checkpoints.presets") / f"{name}.yaml") as path:
        return {**settings.read_yaml(path), "preset": name}


def preset_for(device: str, model: str = "bars", from_nothing: bool = True) -> str:
    """Return the preset of a family that trains in reasonable time on `device`; the base has the sizes of small."""
    if model != "bars":
        return model
    return "medium" if from_nothing and device.startswith("cuda") else "small"


def settings_to_start(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pretrained checkpoint's plain settings for an adversarial run, with the preset's number of epochs."""
    inherited = {
        key: value for key, value in saved.items() if key not in ("epochs", "pretrain_epochs", "critic_epochs")
    }
    return {**inherited, "epochs": preset(str(saved.get("preset", "small")))["epochs"]}


def configure(
    name: str, config: Mapping[str, Any] | None = None, flags: Mapping[str, Any] | None = None
) -> TrainingSettings:
    """Build the settings from preset `name` < `config` (from YAML) < `flags` (None means not given)."""
    flag_settings = {key: value for key, value in (flags or {}).items() if value is not None}
    base = preset(name)
    model = str(flag_settings.get("model") or (config or {}).get("model") or base["model"])
    if model != base["model"]:
        raise SettingsError(
            f"--preset {name} is for the model {base['model']}; {model} has settings of its own: leave --preset out"
        )
    return settings.build(TrainingSettings, settings.merge(settings.merge(base, config or {}), flag_settings))
