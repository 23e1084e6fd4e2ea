"""Model families: settings + networks + training stages. A new family is one file here and one line in `FAMILIES`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from musigan import settings as settings_module
from musigan.errors import SettingsError

if TYPE_CHECKING:
    from torch import nn

FAMILIES = {
    "musigan": "musigan.models.musigan",
    "original": "musigan.models.original",
    "mlp": "musigan.models.mlp",
    "rnn": "musigan.models.rnn",
    "lstm": "musigan.models.lstm",
    "mdn-rnn": "musigan.models.mdn_rnn",
    "cyclegan": "musigan.models.cyclegan",
    "answer": "musigan.models.answer",
    "musegan": "musigan.models.musegan",
}


@dataclass(frozen=True)
class RollShape:
    """What a family is built for: the rolls of one store."""

    channels: int  # stereo channels or instruments
    keys: int  # keys from low_key to high_key
    frames: int  # frames of one training roll (one chunk)


@dataclass(frozen=True)
class Family:
    """One model family. `stages` names objectives of `musigan.training.objectives`, in the order they run."""

    name: str
    summary: str  # one line: what it is good for
    paper: str
    settings: type  # frozen dataclass of the network's sizes
    build: Callable[[Any, RollShape], nn.ModuleDict]  # networks by name; "generator" is the one averaged and sampled
    stages: tuple[str, ...] = ("variational", "critic", "adversarial")
    pretrain_share: float = 0.9  # of the epochs, before the game
    stores: int = 1  # keys stores it learns from, each a kind of music of its own
    parts: Mapping[str, float] = field(default_factory=dict)  # of these, by stage, where other than PRETRAIN_PARTS
    needs: tuple[str, ...] = ()  # conditions that go with a roll, of `musigan.conditions`
    defaults: Mapping[str, Any] = field(default_factory=dict)  # training settings, for families without presets
    losses: Mapping[str, float] = field(default_factory=dict)  # weights of losses, its own and others, by name


def family(name: str) -> Family:
    """The family registered as `name`; SettingsError names the known ones."""
    if name not in FAMILIES:
        raise SettingsError(f"--model {name}: unknown model; known are {', '.join(FAMILIES)}")
    found: Family = importlib.import_module(FAMILIES[name]).FAMILY
    return found


def build(name: str, network: Mapping[str, Any], shape: RollShape) -> nn.ModuleDict:
    """Networks of the family `name` with the plain settings `network`, for rolls of `shape`."""
    chosen = family(name)
    return chosen.build(settings_module.build(chosen.settings, network, "network"), shape)
