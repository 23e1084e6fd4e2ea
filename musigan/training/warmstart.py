"""A run from nothing that begins with what another run has learned, as far as names and shapes agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from musigan.errors import CheckpointError
from musigan.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from musigan.training.runs import Run

SHOWN = 3  # names of what did not match, the rest counted


@dataclass(frozen=True)
class Match:
    """How much of one part of the networks another checkpoint could give."""

    part: str  # encoder, prior, decoder, critic
    names: tuple[str, ...]  # all parameters of the part, as a state dict calls them
    missing: tuple[str, ...]  # of these, the ones that the other lacks
    misshapen: tuple[str, ...]  # and those it has in another shape, with both shapes

    @property
    def taken(self) -> int:
        """Tensors that were taken over."""
        return len(self.names) - len(self.missing) - len(self.misshapen)

    def __str__(self) -> str:
        """`decoder: 12 of 14 tensors; other shape: key_bias (1, 2, 16, 1) for (1, 2, 88, 1); not there: ...`."""
        line = f"{self.part}: {self.taken} of {len(self.names)} tensors"
        if self.taken and self.misshapen:
            line += f"; other shape: {_shortened(self.misshapen)}"
        if self.taken and self.missing:
            line += f"; not there: {_shortened(self.missing)}"
        return line


def warm_start(run: Run, saved: Checkpoint) -> list[Match]:
    """Give a run from nothing the tensors of `saved` that have its names and shapes; the generator is the averaged one.

    Models, sizes and stores may differ. Running statistics come along; parameters are counted. Raises CheckpointError
    if none matches.
    """
    found = []
    for name, network in run.networks.items():
        given = (saved.average if name in saved.average else saved.networks).get(name)
        given = given if isinstance(given, Mapping) else {}
        own = network.state_dict()
        fits = {key: given[key] for key, value in own.items() if _same(value, given.get(key))}
        for part, keys in _parts(name, network).items():
            missing = tuple(key for key in keys if not isinstance(given.get(key), Tensor))
            misshapen = tuple(
                f"{key} {tuple(given[key].shape)} for {tuple(own[key].shape)}"
                for key in keys
                if key not in fits and key not in missing
            )
            found.append(Match(part, tuple(keys), missing, misshapen))
        network.load_state_dict({**own, **fits})
    if not any(match.taken for match in found):
        was, now = saved.settings.get("model"), run.settings.model
        raise CheckpointError(
            f"--init: nothing of that checkpoint (model {was}) has the names and shapes of this run's networks (model "
            f"{now}); choose its model and sizes (--print-config shows them), or leave --init out"
        )
    run.average.network.load_state_dict(run.networks["generator"].state_dict())
    return found


def _same(own: Tensor, given: Any) -> bool:
    return isinstance(given, Tensor) and given.shape == own.shape and given.dtype == own.dtype


def _parts(name: str, network: Any) -> dict[str, list[str]]:
    """Names of a network's parameters by part; a network that has none is a part itself."""
    if not hasattr(network, "parts"):
        return {name: [key for key, _ in network.named_parameters()]}
    names = {id(parameter): key for key, parameter in network.named_parameters()}
    parts = {part: [names[id(parameter)] for parameter in several] for part, several in network.parts().items()}
    return {part: keys for part, keys in parts.items() if keys}


def _shortened(names: Iterable[str]) -> str:
    several = list(names)
    more = f" and {len(several) - SHOWN} more" if len(several) > SHOWN else ""
    return ", ".join(several[:SHOWN]) + more
