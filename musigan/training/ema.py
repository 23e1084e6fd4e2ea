"""Exponential moving average of a network's weights, from which music is sampled."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """A copy of a network (`network`) whose weights are a moving average of the original's.

    `half_life` is in rolls; early on it is at most a tenth of the rolls seen so far, so that the average of a short
    run is not dominated by the first weights (as in EDM, arXiv 2206.00364, ramp-up of 0.1).
    """

    def __init__(self, network: nn.Module, half_life: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.half_life = half_life

    @torch.no_grad()
    def update(self, network: nn.Module, rolls: float, rolls_seen: float) -> None:
        """Move the average towards `network` after a step of `rolls` rolls; `rolls_seen` counts those of the stage."""
        half_life = max(min(self.half_life, 0.1 * rolls_seen), 1e-8)
        step_share = 1.0 - 0.5 ** (rolls / half_life)
        averaged_weights: list[torch.Tensor] = list(self.network.parameters())
        live_weights = [parameter.detach() for parameter in network.parameters()]
        torch._foreach_lerp_(averaged_weights, live_weights, step_share)
        for averaged_buffer, live_buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            averaged_buffer.copy_(live_buffer)
