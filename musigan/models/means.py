"""Running means of loudness: a memory of what music was like lately, for networks that go step by step.

A recurrent state forgets within seconds which keys a song is in and which register it keeps to. These means cannot:
each is the loudness of every key over the steps before, their weights falling to 1/e over its reach. They are the
cache of Grave et al. (arXiv 1612.04426) as an input, where the network itself learns how far to go by it.

B batch, L steps, M means, C channels, K keys, D features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from musigan.rolls.shape import RollShape

OCTAVE = 12  # keys
USUAL = 0.02  # mean loudness of a key
USUAL_STEPS = 10.0  # of it that are heard before the first step: a silence of one step says little


class Means(NamedTuple):
    """Sums of loudness over all steps until now, (B, M, C, K), and of their weights, (M)."""

    sums: Tensor
    weights: Tensor

    @property
    def values(self) -> Tensor:
        """The means, (B, M, C, K)."""
        return (self.sums + USUAL_STEPS * USUAL) / (self.weights[:, None, None] + USUAL_STEPS)


class RunningMeans(nn.Module):
    """Running means of loudness over `reaches` in steps, of rolls of `shape`."""

    decays: Tensor

    def __init__(self, reaches: tuple[float, ...], shape: RollShape) -> None:
        super().__init__()
        self.shape = shape
        decays = torch.exp(-1 / torch.tensor(reaches, dtype=torch.float32))
        self.register_buffer("decays", decays, persistent=False)

    @property
    def features(self) -> int:
        """Number of features of each key."""
        return len(self.decays) * (self.shape.channels + 1)

    def none(self, batch: int) -> Means:
        """Return the means before the first step."""
        count = len(self.decays)
        return Means(
            self.decays.new_zeros(batch, count, self.shape.channels, self.shape.keys), self.decays.new_zeros(count)
        )

    def after(self, means: Means, loudness: Tensor) -> Means:
        """Return the means after one more step of mean loudness (B, C, K)."""
        sums = self.decays[:, None, None] * means.sums + loudness[:, None]
        return Means(sums, self.decays * means.weights + 1)

    def of_all(self, loudness: Tensor) -> Tensor:
        """Return the means up to and with each step of loudness (B, L, C, K): (B, L, M, C, K)."""
        steps = torch.arange(loudness.shape[1], device=loudness.device)
        age = steps[:, None] - steps  # (L, L)
        weights = torch.where(age >= 0, self.decays[:, None, None] ** age.clamp(min=0), 0.0)  # (M, L, L)
        sums = torch.einsum("mls,bsck->blmck", weights, loudness)
        return (sums + USUAL_STEPS * USUAL) / (weights.sum(-1).T[..., None, None] + USUAL_STEPS)

    def described(self, means: Tensor) -> Tensor:
        """Return features of each key, from means (..., M, C, K): (..., M * (C + 1), K).

        They are the logarithms of its own means by channel, then that of its pitch class's, over the usual mean.
        """
        keys = means.shape[-1]
        pitched = means[..., : self.shape.pitched, :].mean(-2)  # (..., M, K)
        classes = torch.arange(keys, device=means.device) % OCTAVE
        same_class = (classes[:, None] == classes).to(means.dtype)
        by_class = pitched @ (same_class / same_class.sum(0))
        return torch.cat((means, by_class[..., None, :]), -2).flatten(-3, -2).div(USUAL).log()

    def weights_of(self, channel: int, own: float, pitch_class: float) -> Tensor:
        """Return weights (M * (C + 1)) that sum to `own` over a channel's own means, and to `pitch_class` over those.

        A key of drums has no pitch class.
        """
        weights = self.decays.new_zeros(len(self.decays), self.shape.channels + 1)
        weights[:, channel] = own
        weights[:, -1] = pitch_class if channel < self.shape.pitched else 0.0
        return weights.flatten() / len(self.decays)
