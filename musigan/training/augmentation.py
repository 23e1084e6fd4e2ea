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

from musigan.tracks import DRUMS

MOST = 0.8  # beyond it changes begin to show in what is generated (2006.06676, section 2.2)
KEYS = 3  # farthest transposition, up or down
SHIFT = 1 / 8  # farthest shift in time, of the roll's length
CUT = 1 / 4  # longest stretch that is silenced, of the roll's length
GAIN = 0.5  # loudness in model space times 2 ** (-GAIN to GAIN)
MEMORY = 0.75  # share of the earlier steps in the running mean of how sure the critic is


class Augmentation(nn.Module):
    """Random changes to rolls, and the probability of each. The buffers belong to a run's state."""

    probability: Tensor
    sureness: Tensor  # running mean of sign(D(real))
    step: Tensor  # of the stage, that is under way
    signs: Tensor  # sum of sign(D(real)) in this step
    judged: Tensor  # real rolls that were judged in this step

    def __init__(self) -> None:
        super().__init__()
        self.tracks: tuple[str, ...] = ()  # names of the channels where they are instruments; the store knows them
        self.register_buffer("probability", torch.zeros(()))
        self.register_buffer("sureness", torch.zeros(()))
        self.register_buffer("step", torch.tensor(-1))
        self.register_buffer("signs", torch.zeros(()))
        self.register_buffer("judged", torch.zeros(()))

    def forward(self, roll: Tensor, rng: torch.Generator) -> Tensor:
        """roll (B, C, K, T) -> the same, each sample changed in its own way; differentiable, and itself at 0.

        Transposition (of all but drums) and a shift in time, silence coming in; another loudness; channels swapped
        (stereo); a stretch of silence. `rng` is the CPU's, so that devices agree.
        """
        probability = self.probability.item()
        if probability <= 0:
            return roll
        batch, channels, keys, frames = roll.shape
        made = torch.rand(batch, 5, generator=rng) < probability
        draws = torch.rand(batch, 6, generator=rng)  # how much: two for the silence, one for each other change
        up = _whole(draws[:, 0], min(KEYS, keys - 1)) * made[:, 0]
        later = _whole(draws[:, 1], int(SHIFT * frames)) * made[:, 1]
        steady = self.tracks.index(DRUMS) if DRUMS in self.tracks else None
        roll = shift(roll, up.tolist(), later.tolist(), steady)
        if channels == 2 and not self.tracks:
            swapped = (made[:, 2] & (draws[:, 2] < 0.5)).to(roll.device)
            roll = torch.where(swapped[:, None, None, None], roll.flip(1), roll)
        gain = torch.where(made[:, 3], 2 ** (GAIN * (2 * draws[:, 3] - 1)), 1.0)
        length = (draws[:, 4] * CUT * frames).floor() * made[:, 4]
        first = (draws[:, 5] * (frames - length + 1)).floor()
        place = torch.arange(frames)
        kept = (place < first[:, None]) | (place >= (first + length)[:, None])  # (B, T)
        return roll * (gain[:, None] * kept).to(roll.device)[:, None, None]

    @torch.no_grad()
    def watch(self, signs: Tensor) -> None:
        """Count what the critic says of real rolls in this step: sign(D(real)), (B, 1)."""
        self.signs += signs.sum()
        self.judged += len(signs)

    @torch.no_grad()
    def enter(self, step: int, target: float, rolls: float) -> None:
        """If `step` is another than before, move the probability towards where the mean sign is `target`.

        It could go from 0 to 1 in `rolls` rolls. All turns of a step, and all parts of its batch, see the same one.
        """
        if step == self.step.item():
            return
        if self.judged > 0:
            self.sureness.lerp_(self.signs / self.judged, 1 - MEMORY)
            move = torch.sign(self.sureness - target) * self.judged / rolls
            self.probability.add_(move).clamp_(0.0, MOST)
        self.step.fill_(step)
        self.signs.zero_()
        self.judged.zero_()


def _whole(draws: Tensor, farthest: int) -> Tensor:
    """Draws from [0, 1) as whole numbers from -farthest to farthest, all equally likely."""
    return (draws * (2 * farthest + 1)).floor().long() - farthest


def shift(roll: Tensor, keys: list[int], frames: list[int], steady: int | None = None) -> Tensor:
    """roll (B, C, K, T), each sample moved up by `keys` and later by `frames`; what comes in from outside is silent.

    Channel `steady` stays on its keys.
    """
    if not any(keys) and not any(frames):
        return roll
    # A negative pad cuts off.
    moved = torch.stack([F.pad(one, (t, -t, k, -k)) for one, k, t in zip(roll, keys, frames, strict=True)])
    if steady is None or not any(keys):
        return moved
    parts = list(moved.unbind(1))
    parts[steady] = torch.stack([F.pad(one[steady], (t, -t)) for one, t in zip(roll, frames, strict=True)])
    return torch.stack(parts, 1)
