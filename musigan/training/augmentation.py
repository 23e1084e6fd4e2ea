"""Adaptive augmentation of the rolls a critic is shown, for few songs: StyleGAN2-ADA (arXiv 2006.06676) on rolls.

Real and fake rolls go through the same random changes in both sides' steps (as in DiffAugment, arXiv 2006.10738), so
the critic never sees what it could learn by heart, and the generator, which is judged through them, need not make
them. For that a change must often be left out: each is made with the same probability, MOST at most, which rises while
the critic is surer of real rolls than it should be and falls otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST = 0.8  # beyond it changes begin to show in what is generated (2006.06676, section 2.2)
KEYS = 3  # farthest transposition, up or down
SHIFT = 1 / 8  # farthest shift in time, of the roll's length
CUT = 1 / 4  # longest stretch that is silenced, of the roll's length
GAIN = 0.5  # loudness in model space times 2 ** (-GAIN to GAIN)
MEMORY = 0.75  # share of the earlier batches in the running mean of how sure the critic is


class Augmentation(nn.Module):
    """Random changes to rolls, and the probability of each. Both buffers belong to a run's state."""

    probability: Tensor
    sureness: Tensor  # running mean of sign(D(real))

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("probability", torch.zeros(()))
        self.register_buffer("sureness", torch.zeros(()))

    def forward(self, roll: Tensor, rng: torch.Generator) -> Tensor:
        """roll (B, C, K, T) -> the same, each sample changed in its own way; differentiable, and itself at 0.

        Transposition and a shift in time, silence coming in; another loudness; channels swapped (stereo); a stretch of
        silence. `rng` is the CPU's, so that devices agree.
        """
        probability = self.probability.item()
        if probability <= 0:
            return roll
        batch, channels, keys, frames = roll.shape
        made = torch.rand(batch, 5, generator=rng) < probability
        draws = torch.rand(batch, 6, generator=rng)  # how much: two for the silence, one for each other change
        up = _whole(draws[:, 0], min(KEYS, keys - 1)) * made[:, 0]
        later = _whole(draws[:, 1], int(SHIFT * frames)) * made[:, 1]
        roll = shift(roll, up.tolist(), later.tolist())
        if channels == 2:
            swapped = (made[:, 2] & (draws[:, 2] < 0.5)).to(roll.device)
            roll = torch.where(swapped[:, None, None, None], roll.flip(1), roll)
        gain = torch.where(made[:, 3], 2 ** (GAIN * (2 * draws[:, 3] - 1)), 1.0)
        length = (draws[:, 4] * CUT * frames).floor() * made[:, 4]
        first = (draws[:, 5] * (frames - length + 1)).floor()
        place = torch.arange(frames)
        kept = (place < first[:, None]) | (place >= (first + length)[:, None])  # (B, T)
        return roll * (gain[:, None] * kept).to(roll.device)[:, None, None]

    @torch.no_grad()
    def steer(self, signs: Tensor, target: float, rolls: float) -> None:
        """Move the probability towards where the mean of `signs` (B, 1), sign(D(real)), is `target`.

        It would go from 0 to 1 in `rolls` rolls that the critic is shown.
        """
        self.sureness.lerp_(signs.mean().to(self.sureness), 1 - MEMORY)
        step = torch.sign(self.sureness - target) * (len(signs) / rolls)
        self.probability.add_(step).clamp_(0.0, MOST)


def _whole(draws: Tensor, farthest: int) -> Tensor:
    """Draws from [0, 1) as whole numbers from -farthest to farthest, all equally likely."""
    return (draws * (2 * farthest + 1)).floor().long() - farthest


def shift(roll: Tensor, keys: list[int], frames: list[int]) -> Tensor:
    """roll (B, C, K, T), each sample moved up by `keys` and later by `frames`; what comes in from outside is silent."""
    if not any(keys) and not any(frames):
        return roll
    # A negative pad cuts off.
    moved = [F.pad(one, (t, -t, k, -k)) for one, k, t in zip(roll, keys, frames, strict=True)]
    return torch.stack(moved)
