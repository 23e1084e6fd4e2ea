"""Settings of a training run: frozen dataclasses by section, merged from preset < YAML < flags."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from typing import Any, ClassVar, Literal

from musigan import models, settings
from musigan.datasets.rolls import AugmentSettings
from musigan.errors import SettingsError
from musigan.losses.musical import HEAD_LOSSES, MUSICAL
from musigan.rolls.loudness import Compression

PRESETS = ("small", "medium", "large", "original")


def _check_adam(section: str, settings: Any) -> None:
    """Raise SettingsError for learning rates and betas that Adam cannot work with."""
    for entry in fields(settings):
        value = getattr(settings, entry.name)
        if entry.name.endswith("learning_rate") and not value > 0:
            raise SettingsError(f"setting '{section}.{entry.name}' is {value:g}; expected more than 0")
    if len(settings.betas) != 2 or not all(0 <= beta < 1 for beta in settings.betas):
        raise SettingsError(
            f"setting '{section}.betas' is {list(settings.betas)}; expected two numbers from 0 up to 1, 1 left out"
        )


@dataclass(frozen=True)
class VariationalSettings:
    """Settings of the stage that trains the autoencoder: real rolls to latents and back."""

    learning_rate: float = 1e-3
    betas: tuple[float, ...] = (0.9, 0.99)
    kl_warmup: float = 0.3  # share of the stage over which the KL weight rises to its full value
    free_bits: float = 0.05  # KL in nats per latent dimension that costs nothing

    def __post_init__(self) -> None:
        _check_adam("variational", self)


@dataclass(frozen=True)
class PriorSettings:
    """Settings of the stage that trains the transformer as a flow from noise to the latents of real music."""

    learning_rate: float = 1e-3
    betas: tuple[float, ...] = (0.9, 0.99)
    draws: int = 4  # noise samples per roll and step: encoding a roll costs more than a transformer pass

    def __post_init__(self) -> None:
        _check_adam("prior", self)


@dataclass(frozen=True)
class LikelihoodSettings:
    """Settings of the stage of families that are trained by likelihood."""

    learning_rate: float = 1e-3
    betas: tuple[float, ...] = (0.9, 0.99)

    def __post_init__(self) -> None:
        _check_adam("likelihood", self)


@dataclass(frozen=True)
class AdversarialSettings:
    """Settings of the adversarial stage: generator against critic."""

    ALIASES: ClassVar[Mapping[str, str]] = {"learning_rounds": "learning_flow_steps"}

    objective: Literal["bce", "hinge", "relativistic", "wgan", "lsgan"] = "bce"
    learning_rate: float = 3e-5  # of the transformer, which the stage before has trained already
    decoder_learning_rate: float = 6e-6  # of the decoder, also trained already
    critic_learning_rate: float = 5e-4
    betas: tuple[float, ...] = (0.0, 0.9)
    label_smoothing: float = 0.1  # real labels are 1 minus this (bce)
    instance_noise: float = 0.03  # standard deviation of the noise on real and fake rolls
    latent_noise: float = 0.1  # standard deviation of the noise on latents, whose own is about 1
    learning_flow_steps: int = 2  # flow steps of the transformer, counted from the last, that this stage trains
    critic_steps: int = 1  # critic steps per generator step
    freeze_critic: tuple[float, ...] | None = None  # start and end of the critic's pause, as shares of the stage
    freeze_generator: tuple[float, ...] | None = None  # of the generator's pause, such as [0, 0.1]
    roll_every: int = 4  # steps between those that decode and judge whole rolls; latents are judged in every step
    penalty: Literal["approximate", "exact"] = "approximate"  # finite difference or second derivative; wgan has its own
    penalty_distance: float = 0.05  # step of the finite difference in the approximate penalty
    penalty_decay: float = 0.0  # share of the stage over which penalties' weights fall to a tenth; 0 keeps them
    adaptive: bool = False  # augment the rolls that the critic sees, more often while it is too sure
    adaptive_target: float = 0.6  # mean sign(D(real)) that the augmentation's probability is steered to
    adaptive_rolls: float = 10_000.0  # rolls judged while that probability could go from 0 to 1

    def __post_init__(self) -> None:
        _check_adam("adversarial", self)
        if not 0 < self.adaptive_target < 1 or not self.adaptive_rolls > 0:
            raise SettingsError(
                f"settings 'adversarial.adaptive_target' and 'adaptive_rolls' are {self.adaptive_target:g} and "
                f"{self.adaptive_rolls:g}; expected between 0 and 1, and over 0"
            )
        if not 0 <= self.penalty_decay <= 1:
            raise SettingsError(f"setting 'adversarial.penalty_decay' is {self.penalty_decay:g}; expected 0 to 1")
        if not self.penalty_distance > 0:
            raise SettingsError(f"setting 'adversarial.penalty_distance' is {self.penalty_distance:g}; expected over 0")
        for side in ("critic", "generator"):
            span = getattr(self, f"freeze_{side}")
            if span is not None and not (len(span) == 2 and 0 <= span[0] < span[1] <= 1):
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


@dataclass(frozen=True)
class TrainingSettings:
    """All settings of a training run: with the data they determine it."""

    model: str = "musigan"
    preset: str = "small"
    epochs: int = 200  # passes over the rolls, all stages together
    pretrain_epochs: int | None = None  # of these before the adversarial stage; None: the family's share
    critic_epochs: int | None = None  # of these, for the critic alone; None: 2 in 100
    batch_size: int = 16
    accumulate: int = 1  # batches in a step: its gradient is their mean; minibatch statistics stay per batch
    seed: int = 1
    compression: Compression = "sqrt"
    gradient_clip: float = 1.0  # largest norm of a side's gradient; 0 is off
    ema_half_life: float = 5000.0  # rolls
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 on GPUs that compute with it
    compile: bool = False  # torch.compile the networks' heavy functions: takes minutes at first, then faster on a GPU
    workers: int = 1  # threads that read rolls ahead of the step
    save_every: int = 5  # epochs between checkpoints
    keep_last: int = 0  # how many of these stay as numbered files beside the one that is replaced
    sample_every: int = 20  # epochs between sample pictures and MP3s; 0 is never
    evaluate_every: int = 20  # epochs between evaluations of samples against held-out songs; 0 is never
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    variational: VariationalSettings = field(default_factory=VariationalSettings)
    prior: PriorSettings = field(default_factory=PriorSettings)
    likelihood: LikelihoodSettings = field(default_factory=LikelihoodSettings)
    adversarial: AdversarialSettings = field(default_factory=AdversarialSettings)
    loss_weights: dict[str, float] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)  # the family's own settings

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise SettingsError(f"--epochs {self.epochs}: expected at least 1")
        if self.batch_size < 1:
            raise SettingsError(f"--batch-size {self.batch_size}: expected at least 1")
        if self.accumulate < 1:
            raise SettingsError(f"--accumulate {self.accumulate}: expected at least 1, the batches of a step")
        if not 0 <= self.seed < 1 << 63:
            raise SettingsError(f"--seed {self.seed}: expected 0 or more, and less than 2**63")
        if self.gradient_clip < 0:
            raise SettingsError(f"setting 'gradient_clip' is {self.gradient_clip:g}; expected 0 (off) or more")
        for name in ("pretrain_epochs", "critic_epochs"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= self.epochs:
                flag = name.replace("_", "-")
                raise SettingsError(f"--{flag} {value}: expected 0 to {self.epochs}, the number of --epochs")
        if self.save_every < 1 or self.adversarial.roll_every < 1 or min(self.sample_every, self.evaluate_every) < 0:
            raise SettingsError(
                "save_every and adversarial.roll_every must be at least 1, sample_every and evaluate_every at least 0"
            )
        if self.prior.draws < 1 or self.adversarial.critic_steps < 1 or self.adversarial.learning_flow_steps < 1:
            raise SettingsError(
                "prior.draws, adversarial.critic_steps and adversarial.learning_rounds must be at least 1"
            )
        if self.workers < 1:
            raise SettingsError(f"setting 'workers' is {self.workers}; expected at least 1")
        if self.keep_last < 0:
            raise SettingsError(f"--keep-last {self.keep_last}: expected 0 (none) or more")
        family = models.family(self.model)
        known_losses = list(dict.fromkeys((*LOSS_NAMES, *family.losses)))
        unknown_losses = sorted(set(self.loss_weights) - set(known_losses))
        if unknown_losses:
            raise SettingsError(f"unknown loss '{unknown_losses[0]}' in loss_weights; known: {', '.join(known_losses)}")
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
        """Return the weight of the loss `name`: from the settings, else the family's, else DEFAULT_WEIGHTS."""
        family = models.family(self.model).losses
        return self.loss_weights.get(name, family.get(name, DEFAULT_WEIGHTS.get(name, 0.0)))

    @property
    def has_adversarial_stage(self) -> bool:
        """Whether the model has an adversarial stage (one of GAMES)."""
        return any(name in ADVERSARIAL_STAGES for name in models.family(self.model).stages)

    def stage_epochs(self, adversarial: bool = True) -> dict[str, int]:
        """Return the epochs of each stage, in order; if not `adversarial`, all go to the stages before that one."""
        family = models.family(self.model)
        pretrain_stages = [name for name in family.stages if name not in ("critic", *ADVERSARIAL_STAGES)]
        adversarial_stage = (
            next((name for name in family.stages if name in ADVERSARIAL_STAGES), None) if adversarial else None
        )
        critic_epochs = round(0.02 * self.epochs) if self.critic_epochs is None else self.critic_epochs
        critic_epochs = critic_epochs if "critic" in family.stages else 0
        if adversarial_stage is None:
            pretrain_epochs = self.epochs
        elif self.pretrain_epochs is not None and pretrain_stages:
            pretrain_epochs = self.pretrain_epochs
        else:  # leave the adversarial stage one epoch at least
            pretrain_epochs = min(
                round(family.pretrain_share * self.epochs) if pretrain_stages else critic_epochs, self.epochs - 1
            )
        critic_epochs = min(critic_epochs, pretrain_epochs)
        epochs = dict.fromkeys(family.stages, 0) | {"critic": critic_epochs}
        if adversarial_stage is not None:
            epochs[adversarial_stage] = self.epochs - pretrain_epochs
        remaining, parts = pretrain_epochs - critic_epochs, {**PRETRAIN_SHARES, **family.parts}
        for index, name in enumerate(pretrain_stages):  # split the remaining epochs by PRETRAIN_PARTS
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


# An epoch of the prior stage takes half the time of a variational one, and the prior has more to learn.
PRETRAIN_SHARES = {"variational": 2, "prior": 3, "likelihood": 3}

ADVERSARIAL_STAGES = ("adversarial", "translation")  # adversarial stages: several sides, each with its own losses

DEFAULT_WEIGHTS = {
    "reconstruction": 1.0,
    "activity": 1.0,
    "kl": 0.02,
    "flow": 1.0,
    "anchor": 1.0,
    "anchor_activity": 1.0,
    "adversarial_roll": 0.1,
    "adversarial_latent": 0.1,
    "adversarial_chroma": 0.1,
    "critic_roll": 1.0,
    "critic_latent": 1.0,
    "critic_chroma": 1.0,
    "critic_mismatch": 0.0,  # for families with conditions
    "penalty_roll": 0.0,
    "penalty_latent": 0.0,
    "features_roll": 0.0,
    "features_latent": 0.0,
    "features_chroma": 0.0,
    "critic_silence": 1.0,  # where network.critic_heads asks for it
    "critic_melody": 1.0,
    "density": 0.0,
    "deviation": 0.0,
    "melody": 0.0,
    "motion": 0.0,
    "no_seconds": 0.0,
    "no_silence": 0.0,
    "song_divergence": 0.0,
    "statistics": 0.0,
}
LOSS_NAMES = tuple(DEFAULT_WEIGHTS)
assert set(MUSICAL) | {f"critic_{name}" for name in HEAD_LOSSES} <= set(LOSS_NAMES)


def preset(name: str) -> dict[str, Any]:
    """Return the preset `name` as plain settings; SettingsError if there is none."""
    if name in models.FAMILIES and name not in PRESETS:
        return {**models.family(name).defaults, "model": name, "preset": name}
    if name not in PRESETS:
        raise SettingsError(f"--preset {name}: unknown preset; known are {', '.join(PRESETS)}")
    with resources.as_file(resources.files("musigan.checkpoints.presets") / f"{name}.yaml") as path:
        return {**settings.read_yaml(path), "preset": name}


def preset_for(device: str, model: str = "musigan") -> str:
    """Return the preset of a family that trains in reasonable time on `device`."""
    if model != "musigan":
        return model
    return "medium" if device.startswith("cuda") else "small"


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
