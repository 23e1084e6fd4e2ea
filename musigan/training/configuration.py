"""Settings of a training run: frozen, by section, from preset < YAML < flags."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from typing import Any, Literal

from musigan import models, settings
from musigan.data import AugmentSettings, Compression
from musigan.errors import SettingsError
from musigan.losses.musical import MUSICAL, TOLD

PRESETS = ("small", "medium", "large", "original")


def _check_adam(section: str, settings: Any) -> None:
    """Refuse learning rates and betas that Adam cannot work with."""
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
    """The stage that learns to write real rolls down as latents and back."""

    learning_rate: float = 1e-3
    betas: tuple[float, ...] = (0.9, 0.99)
    kl_warmup: float = 0.3  # share of the stage over which the KL weight rises to its full value
    free_bits: float = 0.05  # nats per latent dimension that cost nothing

    def __post_init__(self) -> None:
        _check_adam("variational", self)


@dataclass(frozen=True)
class PriorSettings:
    """The stage that teaches the transformer the way from noise to the latents of real music."""

    learning_rate: float = 1e-3
    betas: tuple[float, ...] = (0.9, 0.99)
    draws: int = 4  # noises per roll and step: encoding a roll costs more than a pass through the transformer

    def __post_init__(self) -> None:
        _check_adam("prior", self)


@dataclass(frozen=True)
class LikelihoodSettings:
    """The stage of families that say how likely music is."""

    learning_rate: float = 1e-3
    betas: tuple[float, ...] = (0.9, 0.99)

    def __post_init__(self) -> None:
        _check_adam("likelihood", self)


@dataclass(frozen=True)
class AdversarialSettings:
    """The stage in which generator and critic play against each other."""

    objective: Literal["bce", "hinge", "relativistic", "wgan", "lsgan"] = "bce"
    learning_rate: float = 3e-5  # of the transformer, which the stage before has taught already
    decoder_learning_rate: float = 6e-6  # of the decoder, likewise
    critic_learning_rate: float = 5e-4
    betas: tuple[float, ...] = (0.0, 0.9)
    label_smoothing: float = 0.1  # real labels are 1 minus this (bce)
    instance_noise: float = 0.03  # standard deviation of the noise on real and fake rolls alike
    latent_noise: float = 0.1  # the same for latents, whose own deviation is about 1
    learning_rounds: int = 2  # rounds of the transformer, counted from the last, that the game teaches
    critic_steps: int = 1  # critic steps per generator step
    freeze_critic: tuple[float, ...] | None = None  # from and to which share of the stage the critic stands still
    freeze_generator: tuple[float, ...] | None = None  # the same for the generator, such as [0, 0.1]
    roll_every: int = 4  # decode and judge whole rolls every so many steps, latents in every step
    penalty: Literal["approximate", "exact"] = "approximate"  # finite difference or second derivative; wgan has its own
    penalty_distance: float = 0.05  # step of the finite difference in the approximate penalty
    penalty_decay: float = 0.0  # share of the stage over which penalties' weights fall to a tenth; 0 keeps them
    adaptive: bool = False  # change the rolls that the critic sees, more often while it is too sure
    adaptive_target: float = 0.6  # mean sign(D(real)) that the changes' probability is steered to
    adaptive_rolls: float = 10_000.0  # rolls judged in which that probability could go from 0 to 1

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
            first = max(self.freeze_critic[0], self.freeze_generator[0])
            last = min(self.freeze_critic[1], self.freeze_generator[1])
            if first < last:
                raise SettingsError(
                    f"settings 'adversarial.freeze_critic' and 'adversarial.freeze_generator' have both sides stand "
                    f"still from {first:g} to {last:g} of the stage; leave one of them free there"
                )

    def frozen(self, progress: float) -> frozenset[str]:
        """The sides that stand still when `progress` (0 to 1) of the stage is done."""
        spans = {"critic": self.freeze_critic, "generator": self.freeze_generator}
        return frozenset(side for side, span in spans.items() if span and span[0] <= progress < span[1])


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides how a run goes, apart from the data."""

    model: str = "musigan"
    preset: str = "small"
    epochs: int = 200  # passes over the rolls, all stages together
    pretrain_epochs: int | None = None  # of these before the game; by default the share that the family says
    critic_epochs: int | None = None  # of these, for the critic alone; by default 2 in 100
    batch_size: int = 16
    accumulate: int = 1  # batches in a step: its gradient is the mean of theirs; minibatch statistics stay a batch's
    seed: int = 1
    compression: Compression = "sqrt"
    gradient_clip: float = 1.0  # norm that a side's gradient is cut to; 0 is off
    ema_half_life: float = 5000.0  # rolls
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 on GPUs that compute with it
    compile: bool = False  # the networks' heavy functions by torch.compile: minutes at first, then faster on a GPU
    workers: int = 1  # threads that read rolls ahead of the step
    save_every: int = 5  # epochs between checkpoints
    keep_last: int = 0  # of these, how many stay as numbered files beside the one that is replaced
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
        if self.prior.draws < 1 or self.adversarial.critic_steps < 1 or self.adversarial.learning_rounds < 1:
            raise SettingsError(
                "prior.draws, adversarial.critic_steps and adversarial.learning_rounds must be at least 1"
            )
        if self.workers < 1:
            raise SettingsError(f"setting 'workers' is {self.workers}; expected at least 1")
        if self.keep_last < 0:
            raise SettingsError(f"--keep-last {self.keep_last}: expected 0 (none) or more")
        chosen = models.family(self.model)
        known = list(dict.fromkeys((*LOSS_NAMES, *chosen.losses)))
        unknown = sorted(set(self.loss_weights) - set(known))
        if unknown:
            raise SettingsError(f"unknown loss '{unknown[0]}' in loss_weights; known: {', '.join(known)}")
        if self.augment.silent_question and "question" not in chosen.needs:
            raise SettingsError(
                f"setting 'augment.silent_question' is {self.augment.silent_question:g}, and the model {self.model} "
                "hears no question; leave it out"
            )
        if self.adversarial.objective == "wgan" and not (self.weight("penalty_roll") or self.weight("penalty_latent")):
            raise SettingsError(
                "setting 'adversarial.objective' is wgan, whose critic needs a gradient penalty; give loss_weights a "
                "penalty_roll and a penalty_latent (10 is usual)"
            )
        exact = self.adversarial.objective == "wgan" or self.adversarial.penalty == "exact"
        if self.compile and exact and (self.weight("penalty_roll") or self.weight("penalty_latent")):
            raise SettingsError(
                "compile: true with an exact gradient penalty: compiled code has no second derivative; leave compile "
                "out, or take adversarial.penalty: approximate and another objective than wgan"
            )
        network: Any = settings.build(chosen.settings, self.network, "network")
        object.__setattr__(self, "network", settings.as_mapping(network))
        headless = [f"critic_{name}" for name in TOLD if not self.network.get("critic_heads")]
        unheard = [name for name in headless if self.loss_weights.get(name)]
        if unheard:
            raise SettingsError(f"loss_weights.{unheard[0]} weighs what no head tells; set network.critic_heads: true")

    @property
    def rolls_per_step(self) -> int:
        """Rolls that one step of the optimisers sees."""
        return self.batch_size * self.accumulate

    def weight(self, name: str) -> float:
        """Weight of the loss `name`; what is not given weighs what DEFAULT_WEIGHTS says."""
        family = models.family(self.model).losses
        return self.loss_weights.get(name, family.get(name, DEFAULT_WEIGHTS.get(name, 0.0)))

    @property
    def has_game(self) -> bool:
        """Whether the model has a stage in which sides play against each other."""
        return any(name in GAMES for name in models.family(self.model).stages)

    def stage_epochs(self, adversarial: bool = True) -> dict[str, int]:
        """Epochs of each stage of the model, in order; without the adversarial stage all go to those before it."""
        family = models.family(self.model)
        before = [name for name in family.stages if name not in ("critic", *GAMES)]
        game = next((name for name in family.stages if name in GAMES), None) if adversarial else None
        critic = round(0.02 * self.epochs) if self.critic_epochs is None else self.critic_epochs
        critic = critic if "critic" in family.stages else 0
        if game is None:
            pretrain = self.epochs
        elif self.pretrain_epochs is not None and before:
            pretrain = self.pretrain_epochs
        else:  # the game has one epoch at least
            pretrain = min(round(family.pretrain_share * self.epochs) if before else critic, self.epochs - 1)
        critic = min(critic, pretrain)
        shares = dict.fromkeys(family.stages, 0) | {"critic": critic}
        if game is not None:
            shares[game] = self.epochs - pretrain
        left, parts = pretrain - critic, {**PRETRAIN_PARTS, **family.parts}
        for index, name in enumerate(before):  # what is left, by PRETRAIN_PARTS
            part = parts[name] / sum(parts[other] for other in before[index:])
            shares[name] = math.ceil(part * left)
            left -= shares[name]
        return {name: shares[name] for name in family.stages}

    def game_epochs(self) -> dict[str, int]:
        """Epochs of each stage of a game that starts from pretrained networks: the critic alone only if asked for."""
        family = models.family(self.model)
        critic = (self.critic_epochs or 0) if "critic" in family.stages else 0
        game = next((name for name in family.stages if name in GAMES), "adversarial")
        return {"critic": critic, game: self.epochs - critic}


# An epoch of the prior's stage takes half the time of a variational one, and it has more to learn.
PRETRAIN_PARTS = {"variational": 2, "prior": 3, "likelihood": 3}

GAMES = ("adversarial", "translation")  # stages in which sides play against each other

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
    "critic_mismatch": 0.0,  # of families with conditions
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
assert set(MUSICAL) | {f"critic_{name}" for name in TOLD} <= set(LOSS_NAMES)


def preset(name: str) -> dict[str, Any]:
    """The plain settings of the preset `name`."""
    if name in models.FAMILIES and name not in PRESETS:
        return {**models.family(name).defaults, "model": name, "preset": name}
    if name not in PRESETS:
        raise SettingsError(f"--preset {name}: unknown preset; known are {', '.join(PRESETS)}")
    with resources.as_file(resources.files("musigan") / "presets" / f"{name}.yaml") as path:
        return {**settings.read_yaml(path), "preset": name}


def preset_for(device: str, model: str = "musigan") -> str:
    """The preset of a family that trains in reasonable time on `device`."""
    if model != "musigan":
        return model
    return "medium" if device.startswith("cuda") else "small"


def settings_to_start(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A pretrained checkpoint's plain settings for a game of its own: epochs are the preset's, not those behind it."""
    kept = {key: value for key, value in saved.items() if key not in ("epochs", "pretrain_epochs", "critic_epochs")}
    return {**kept, "epochs": preset(str(saved.get("preset", "small")))["epochs"]}


def configure(
    name: str, config: Mapping[str, Any] | None = None, flags: Mapping[str, Any] | None = None
) -> TrainingSettings:
    """Settings from the preset `name`, under `config` (of a YAML file), under `flags` (None means not given)."""
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    base = preset(name)
    model = str(given.get("model") or (config or {}).get("model") or base["model"])
    if model != base["model"]:
        raise SettingsError(
            f"--preset {name} is for the model {base['model']}; {model} has settings of its own: leave --preset out"
        )
    return settings.build(TrainingSettings, settings.merge(settings.merge(base, config or {}), given))
