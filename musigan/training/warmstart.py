"""Warm start: a new run takes the weights of another checkpoint, where names and shapes agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from musigan import models
from musigan import settings as settings_module
from musigan.checkpoints import checkpoint as checkpoints
from musigan.checkpoints.checkpoint import Checkpoint
from musigan.errors import CheckpointError
from musigan.models.protocol import Generator

if TYPE_CHECKING:
    from musigan.training.runs import Run

SHOWN = 3  # names of mismatches that are listed, the rest is counted


@dataclass(frozen=True)
class Match:
    """Result of a warm start for one part of the networks: its parameters, and those without a match."""

    part: str  # encoder, prior, decoder, critic
    names: tuple[str, ...]  # all parameters of the part, by their state dict names
    missing: tuple[str, ...]  # of these, those that the other lacks
    misshapen: tuple[str, ...]  # and those that it has in another shape, with both shapes

    @property
    def taken(self) -> int:
        """Number of tensors taken over."""
        return len(self.names) - len(self.missing) - len(self.misshapen)

    @property
    def is_whole(self) -> bool:
        """Whether all its tensors were taken over."""
        return self.taken == len(self.names)

    def __str__(self) -> str:
        """Return `decoder: 12 of 14 tensors; other shape: key_bias (1, 2, 16, 1) for (1, 2, 88, 1); not there: ...`."""
        line = f"{self.part}: {self.taken} of {len(self.names)} tensors"
        if self.taken and self.misshapen:
            line += f"; other shape: {_shortened(self.misshapen)}"
        if self.taken and self.missing:
            line += f"; not there: {_shortened(self.missing)}"
        return line


def warm_start(run: Run, saved: Checkpoint) -> list[Match]:
    """Copy into a new run the tensors of `saved` with the same names and shapes; return the matches by part.

    The generator's come from the moving average, in the layout of the run's rolls where its family can bring them
    there. Models, sizes and stores may differ. Running statistics are copied, too, of a generator only if all its
    parameters are; only parameters are counted. Raises CheckpointError if none matches.
    """
    matches = []
    for name, network in run.networks.items():
        weights = _weights_of(name, run, saved)
        own_weights = network.state_dict()
        matching = {key: weights[key] for key, value in own_weights.items() if _same(value, weights.get(key))}
        for part, keys in _parts(name, network).items():
            missing = tuple(key for key in keys if not isinstance(weights.get(key), Tensor))
            misshapen = tuple(
                f"{key} {tuple(weights[key].shape)} for {tuple(own_weights[key].shape)}"
                for key in keys
                if key not in matching and key not in missing
            )
            matches.append(Match(part, tuple(keys), missing, misshapen))
        if name == "generator" and not all(match.is_whole for match in matches):
            parameters = {key for key, _ in network.named_parameters()}
            matching = {key: value for key, value in matching.items() if key in parameters}
        network.load_state_dict({**own_weights, **matching})
    if not any(match.taken for match in matches):
        was, now = saved.settings.get("model"), run.settings.model
        raise CheckpointError(
            f"--init: nothing of that checkpoint (model {was}) has the names and shapes of this run's networks (model "
            f"{now}); choose its model and sizes (--print-config shows them), or leave --init out"
        )
    run.average.network.load_state_dict(run.networks["generator"].state_dict())
    return matches


def _weights_of(name: str, run: Run, saved: Checkpoint) -> Mapping[str, Tensor]:
    """Return the saved weights of a network, a generator's in the layout of the run's rolls; none: there are none."""
    weights = (saved.average if name in saved.average else saved.networks).get(name)
    if not isinstance(weights, Mapping):
        return {}
    family = models.family(run.settings.model)
    if name != "generator" or saved.settings.get("model") != family.name:
        return weights
    if any(key not in weights for key in run.networks[name].state_dict()):
        weights = _as_read(saved, weights)
    if family.adapt is None or any(not isinstance(weights.get(key), Tensor) for key in run.networks[name].state_dict()):
        return weights  # something is missing: what fits of it is found out without it
    sizes: Any = settings_module.build(family.settings, saved.settings.get("network", {}), "network")
    styles = saved.store.styles or (), run.store.styles or ()
    return family.adapt(weights, sizes, (saved.shape, run.shape), styles)


def _as_read(saved: Checkpoint, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a generator's weights as its networks read those of older versions; as they are if that fails.

    Random numbers of the run are left alone.
    """
    with suppress(CheckpointError), torch.random.fork_rng(devices=[]):
        return checkpoints.build_networks(saved, averaged=True)["generator"].state_dict()
    return weights


def _same(own: Tensor, given: object) -> bool:
    return isinstance(given, Tensor) and given.shape == own.shape and given.dtype == own.dtype


def _parts(name: str, network: nn.Module) -> dict[str, list[str]]:
    """Return the names of a network's parameters by part; any but the generator is one part."""
    if name != "generator":
        return {name: [key for key, _ in network.named_parameters()]}
    names = {id(parameter): key for key, parameter in network.named_parameters()}
    roles = cast(Generator, network).parts()
    parts = {part: [names[id(parameter)] for parameter in several] for part, several in roles.items()}
    return {part: keys for part, keys in parts.items() if keys}


def _shortened(names: Iterable[str]) -> str:
    several = list(names)
    more = f" and {len(several) - SHOWN} more" if len(several) > SHOWN else ""
    return ", ".join(several[:SHOWN]) + more
