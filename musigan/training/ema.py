"""Exponential moving average of a network's weights: what is sampled."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """Keeps `network`, a copy of the one given, at a moving average of its weights.

    `half_life` is in rolls seen; early on the average looks back over a tenth of the training at most, so that a
    short run is not held at its first weights (as in EDM, arXiv 2206.00364, ramp-up of 0.1).
    """

    def __init__(self, network: nn.Module, half_life: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.half_life = half_life

    @torch.no_grad()
    def update(self, network: nn.Module, rolls: int, rolls_seen: int) -> None:
        """Move the average towards `network` after a step over `rolls` rolls, the `rolls_seen`-th of the stage."""
        half_life = max(min(self.half_life, 0.1 * rolls_seen), 1e-8)
        share = 1.0 - 0.5 ** (rolls / half_life)
        averaged: list[torch.Tensor] = list(self.network.parameters())
        live = [parameter.detach() for parameter in network.parameters()]
        torch._foreach_lerp_(averaged, live, share)
        for kept, new in zip(self.network.buffers(), network.buffers(), strict=True):
            kept.copy_(new)
