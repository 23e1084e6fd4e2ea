"""The straight way of an autoencoder of steps: linear both ways, beginning as the principal components of its music.

What is coded in steps of a few frames is mostly silence, and a network that begins at random first learns to be silent,
for minutes. With the components of real steps as a bypass around its layers it begins with music, blurred, and the
layers learn the rest.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from musigan.layers.packing import pack, pad_roll

FEWEST_STEPS = 4  # for each component
PASSES = 3  # of the randomised decomposition
SMALLEST_DEVIATION = 1e-3
START_LOG_VARIANCE = -4.0  # of the posterior: noise that hides the music from the start teaches nothing
SLOPE = 12.0  # logits over loudness
SOUNDING = 0.15  # loudness in model space at which such a logit is 0


class Bypass(nn.Linear):
    """A linear layer that begins as nothing, and is nothing in checkpoints of before it was there."""

    def reset_parameters(self) -> None:
        """Set all weights to 0."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *given: Any) -> None:
        for name, value in self.state_dict().items():
            state.setdefault(prefix + name, torch.zeros_like(value))
        super()._load_from_state_dict(state, prefix, *given)


def steps_of(roll: Tensor, keys: int, frames: int) -> Tensor:
    """Return a roll (B, C, K, T), padded to `keys` and whole steps of `frames`, by steps: (B, L, C * keys * frames).

    Values are in the order of channels, keys and frames.
    """
    length = -(-roll.shape[-1] // frames) * frames
    return pack(pad_roll(roll, keys, length), keys, frames).squeeze(2).transpose(1, 2)


def planes_of(steps: Tensor, channels: int, frames: int) -> tuple[Tensor, Tensor]:
    """Return loudness and logits, (B, C, keys, T) each, of steps (B, L, 2 * C * keys * frames)."""
    both = steps.unflatten(-1, (2, channels, -1, frames)).permute(2, 0, 3, 4, 1, 5).flatten(4)
    return both[0], both[1]


@torch.no_grad()
def begin_with(into: Bypass, out: Bypass, steps: Tensor) -> bool:
    """Set a way into and out of latents to the principal components of those of steps (N, D) that sound.

    Latents have a deviation of 1; the way out gives loudness and logits, 2 D numbers. Returns whether there was enough
    music for it.
    """
    count = into.out_features
    steps = steps[steps.sum(1) > 0]
    if len(steps) < FEWEST_STEPS * count or steps.shape[1] < count:
        return False
    mean = steps.mean(0)
    values, vectors = _components(steps - mean, min(2 * count, *steps.shape))
    vectors = vectors[:, :count]
    deviations = (values[:count] / len(steps) ** 0.5).clamp(min=SMALLEST_DEVIATION)
    into.weight.copy_((vectors / deviations).T)
    into.bias.copy_(-into.weight @ mean)
    back = vectors * deviations
    out.weight.copy_(torch.cat((back, SLOPE * back)))
    out.bias.copy_(torch.cat((mean, SLOPE * (mean - SOUNDING))))
    return True


def _components(centred: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest singular values (count) of (N, D) and their directions (D, count), by random projection.

    As torch.svd_lowrank (arXiv 0909.4061), but by chance of its own: the same for all who have the same music.
    """
    rng = torch.Generator().manual_seed(0)
    basis = torch.randn(centred.shape[1], count, generator=rng).to(centred)
    for _ in range(PASSES):
        basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
    _, values, directions = torch.linalg.svd(centred @ basis, full_matrices=False)
    return values, basis @ directions.T


@torch.no_grad()
def quiet_posterior(layer: nn.Conv1d | nn.Linear) -> None:
    """Have a layer that tells mean and log variance begin with little of the one, and little of the other."""
    assert layer.bias is not None
    layer.weight.mul_(0.1)
    layer.bias.zero_()
    layer.bias[len(layer.bias) // 2 :] = START_LOG_VARIANCE
