"""Adaptive augmentation of the critic's rolls, for stores of few songs: StyleGAN2-ADA (arXiv 2006.06676) on rolls.

Real and fake rolls get the same kinds of random changes in both sides' steps (as in DiffAugment, arXiv 2006.10738). The
critic cannot memorise real rolls, and the generator, which is judged through the changes, does not learn to make them.
That holds only if a change is often left out: each is made with the same probability, MOST at most, which rises while
the critic is surer of real rolls than it should be and falls otherwise.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.rolls.tracks import DRUMS, SIDES, has_own_drums, is_recording

MAX_PROBABILITY = 0.8  # above it changes begin to show in generated rolls (2006.06676, section 2.2)
KEYS = 3  # largest transposition, up or down
SHIFT = 1 / 8  # largest shift in time, as a share of the roll's length
MAX_SILENCE = 1 / 4  # longest stretch that is silenced, as a share of the roll's length
GAIN = 0.5  # loudness in model space times 2 ** (-GAIN to GAIN)
MEMORY = 0.75  # share of the earlier steps in the running mean of how sure the critic is


class Augmentation(nn.Module):
    """Random changes to rolls, and the probability of each. The buffers are part of a run's state."""

    probability: Tensor
    sureness: Tensor  # running mean of sign(D(real))
    step: Tensor  # current step of the stage; -1 before the first
    signs: Tensor  # sum of sign(D(real)) over this step
    judged: Tensor  # number of real rolls judged in this step
    over_ranks: ClassVar = {"signs": "sum", "judged": "sum"}

    def __init__(self, tracks: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.tracks = tracks  # names of the channels, from the store
        self.register_buffer("probability", torch.zeros(()))
        self.register_buffer("sureness", torch.zeros(()))
        self.register_buffer("step", torch.tensor(-1))
        self.register_buffer("signs", torch.zeros(()))
        self.register_buffer("judged", torch.zeros(()))

    def forward(self, roll: Tensor, rng: torch.Generator) -> Tensor:
        """Change each sample of roll (B, C, K, T) at random; differentiable, the identity at probability 0.

        The changes: transposition (not of drums) and a shift in time, both filled with silence; another loudness;
        sides swapped (stereo recordings); a stretch of silence. `rng` is a CPU generator, so that devices agree.
        """
        probability = self.probability.item()
        if probability <= 0:
            return roll
        batch, channels, keys, frames = roll.shape
        is_made = torch.rand(batch, 5, generator=rng) < probability
        draws = torch.rand(batch, 6, generator=rng)  # amounts: two for the silence, one for each other change
        key_shifts = _whole(draws[:, 0], min(KEYS, keys - 1)) * is_made[:, 0]
        frame_shifts = _whole(draws[:, 1], int(SHIFT * frames)) * is_made[:, 1]
        drum_channel = self.tracks.index(DRUMS) if DRUMS in self.tracks else None
        roll = shift(roll, key_shifts.tolist(), frame_shifts.tolist(), drum_channel)
        sides = channels - has_own_drums(self.tracks)
        if sides == len(SIDES) and is_recording(self.tracks):
            is_swapped = (is_made[:, 2] & (draws[:, 2] < 0.5)).to(roll.device)
            swapped = torch.cat((roll[:, :sides].flip(1), roll[:, sides:]), 1)
            roll = torch.where(is_swapped[:, None, None, None], swapped, roll)
        gain = torch.where(is_made[:, 3], 2 ** (GAIN * (2 * draws[:, 3] - 1)), 1.0)
        silence_frames = (draws[:, 4] * MAX_SILENCE * frames).floor() * is_made[:, 4]
        silence_start = (draws[:, 5] * (frames - silence_frames + 1)).floor()
        frame_numbers = torch.arange(frames)
        is_audible = (frame_numbers < silence_start[:, None]) | (
            frame_numbers >= (silence_start + silence_frames)[:, None]
        )  # (B, T)
        return roll * (gain[:, None] * is_audible).to(roll.device)[:, None, None]

    @torch.no_grad()
    def add_verdicts(self, signs: Tensor) -> None:
        """Add the critic's verdicts on real rolls, sign(D(real)) (B, 1), to this step's count."""
        self.signs += signs.sum()
        self.judged += len(signs)

    @torch.no_grad()
    def enter(self, step: int, target: float, rolls: float) -> None:
        """Move the probability once per `step`, in the direction that brings the mean sign to `target`.

        Going from 0 to 1 would take `rolls` rolls. All turns of a step and all parts of its batch use the same
        probability.
        """
        if step == self.step.item():
            return
        if self.judged > 0:
            self.sureness.lerp_(self.signs / self.judged, 1 - MEMORY)
            change = torch.sign(self.sureness - target) * self.judged / rolls
            self.probability.add_(change).clamp_(0.0, MAX_PROBABILITY)
        self.step.fill_(step)
        self.signs.zero_()
        self.judged.zero_()


def _whole(draws: Tensor, farthest: int) -> Tensor:
    """Map draws from [0, 1) to whole numbers from -farthest to farthest, all equally likely."""
    return (draws * (2 * farthest + 1)).floor().long() - farthest


def shift(roll: Tensor, keys: list[int], frames: list[int], steady: int | None = None) -> Tensor:
    """Move each sample of roll (B, C, K, T) up by `keys` and later by `frames`; cells from outside are silent.

    Channel `steady` is not moved in keys.
    """
    if not any(keys) and not any(frames):
        return roll
    # A negative pad crops.
    moved = torch.stack([F.pad(one, (t, -t, k, -k)) for one, k, t in zip(roll, keys, frames, strict=True)])
    if steady is None or not any(keys):
        return moved
    channels = list(moved.unbind(1))
    channels[steady] = torch.stack([F.pad(one[steady], (t, -t)) for one, t in zip(roll, frames, strict=True)])
    return torch.stack(channels, 1)
