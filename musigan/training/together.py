"""What networks keep of the batches they have seen, made one over all ranks after each step.

A module says it of its buffers in `over_ranks`, by their names: "mean" and "sum" are over the ranks, and "first" is the
first rank's. Running statistics of batch normalisation are averaged. All other buffers are the same at all ranks, as
the weights are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from musigan.machine.ranks import Ranks

Way = Literal["mean", "sum", "first"]


def ways_of(module: nn.Module) -> Mapping[str, Way]:
    """Return how a module's own buffers become one, by their names."""
    if isinstance(module, _BatchNorm) and module.track_running_stats:
        return {"running_mean": "mean", "running_var": "mean"}
    ways: Mapping[str, Way] = getattr(module, "over_ranks", {})
    return ways


def _buffers(networks: nn.Module, way: Way) -> Iterator[Tensor]:
    for module in networks.modules():
        yield from (module.get_buffer(name) for name, each in ways_of(module).items() if each == way)


def unite(networks: nn.Module, ranks: Ranks) -> None:
    """Make one of what each rank's networks have kept of its own batches in a step."""
    if ranks.size == 1:
        return
    for way in ("mean", "sum"):
        ranks.combine(list(_buffers(networks, way)), is_mean=way == "mean")
    ranks.share(list(_buffers(networks, "first")))
