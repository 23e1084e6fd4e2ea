"""Model families: settings, networks and training stages. A new family is one file here and one line in `FAMILIES`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from musigan import settings as settings_module
from musigan.errors import SettingsError
from musigan.rolls.shape import RollShape

if TYPE_CHECKING:
    from torch import Tensor, nn

FAMILIES = {
    "bars": "musigan.models.bars.generator",
    "musigan": "musigan.models.musigan",
    "original": "musigan.models.original",
    "mlp": "musigan.models.mlp",
    "rnn": "musigan.models.rnn",
    "lstm": "musigan.models.lstm",
    "mdn-rnn": "musigan.models.mdn_rnn",
    "cyclegan": "musigan.models.cyclegan.generator",
    "answer": "musigan.models.answer",
    "musegan": "musigan.models.musegan.generator",
    "musegan-seconds": "musigan.models.musegan_seconds.generator",
}


@dataclass(frozen=True)
class Family:
    """One model family. `stages` names stages of `musigan.models.stages`, in the order they run."""

    name: str
    summary: str  # one line: what it is good for
    paper: str
    settings: type  # frozen dataclass of the network's sizes
    build: Callable[[Any, RollShape], nn.ModuleDict]  # networks by name; "generator" is the one averaged and sampled
    stages: tuple[str, ...] = ("variational", "critic", "adversarial")
    pretrain_share: float = 0.9  # share of the epochs before the adversarial stage
    critic_share: float = 0.02  # share of the epochs that train the critic alone
    stores: int = 1  # keys stores it learns from, one for each kind of music
    parts: Mapping[str, float] = field(default_factory=dict)  # shares of pretraining, where other than `Stage.share`
    draws: bool = True  # makes new music, from noise or from nothing
    on_beats: bool = False  # learns and draws on the music's own clock: rolls on the grid, an outline of beats
    extends: bool = False  # continues given music
    morphs: bool = False  # leads from one song to another: its latents are a sequence in time
    translates: bool = False  # turns songs of one kind of music into another
    takes_temperature: bool = False  # draws from a likelihood, at a temperature
    conditions: tuple[str, ...] = ()  # that come with each roll, by name, from `musigan.datasets`
    defaults: Mapping[str, Any] = field(default_factory=dict)  # training settings, for families without presets
    losses: Mapping[str, float] = field(default_factory=dict)  # weights of losses by name, the family's own and others
    formerly: Mapping[str, Any] = field(default_factory=dict)  # network settings of checkpoints that do not say them
    # The generator's weights for another layout of rolls and other styles: (weights, settings, saved and own shape,
    # saved and own styles) -> weights.
    adapt: Callable[..., dict[str, Tensor]] | None = None

    @property
    def encodes(self) -> bool:
        """Whether it encodes rolls as latents: its stages train an autoencoder."""
        return "variational" in self.stages or "codec" in self.stages


def family(name: str) -> Family:
    """Return the family registered as `name`; raise SettingsError, which lists the known ones, if there is none."""
    if name not in FAMILIES:
        raise SettingsError(f"--model {name}: unknown model; known are {', '.join(FAMILIES)}")
    model_family: Family = importlib.import_module(FAMILIES[name]).FAMILY
    return model_family


def build(name: str, network: Mapping[str, Any], shape: RollShape) -> nn.ModuleDict:
    """Build the networks of family `name` with the plain settings `network`, for rolls of `shape`."""
    model_family = family(name)
    return model_family.build(settings_module.build(model_family.settings, network, "network"), shape)
