"""What a generator does to the notes that are there: octaves, sides, decay, notes struck again, tied or left out.

The networks see a patch of keys and frames at once and their outputs are slow. So they say by how much, in each band of
keys and patch of time, and the song's own notes and onsets say when (`pulse`). With all amounts 0 a roll stays as it
is. Octaves leave chords and melody what they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.gates import hard_gate
from musigan.layers.packing import PITCH_CLASSES
from musigan.models.cyclegan.pulse import Pulse, fading
from musigan.rolls.kit import FAINTEST as FAINTEST_STROKE
from musigan.rolls.kit import KIT

SOUNDING = 0.05  # loudness, in model space, from which on a mixed cell sounds
MIDDLE = 0.4  # loudness, in model space, that a gate by loudness divides at
STROKE = 0.7  # loudness, in model space, of a drum stroke before training
AMOUNTS = ("own", "lower", "higher", "width", "note decay", "decay", "gap", "off", "soft")  # and one for each side
BEAT_AMOUNTS = ("beat gap", "early", "tie", "beat decay")
BEAT_SLOPE = 2.0  # of gates by beats, whose amounts are bounded and shall outweigh others
TIED = 5  # frames: shorter gaps can be filled


def slow(amounts: Tensor, patch_frames: int, frames: int) -> Tensor:
    """Interpolate amounts (B, N, R, P) of patches linearly to frames: (B, N, R, frames)."""
    batch, count, rows, patches = amounts.shape
    fine = F.interpolate(amounts.reshape(batch, count * rows, patches), scale_factor=patch_frames, mode="linear")
    return fine.reshape(batch, count, rows, -1)[..., :frames]


def octave(roll: Tensor, keys: int) -> Tensor:
    """Move rolls (B, C, K, T) up by `keys`, down if negative; keys moved in from outside are silent."""
    rest = roll.shape[2] - abs(keys)
    if rest <= 0:
        return torch.zeros_like(roll)
    return F.pad(roll[:, :, :rest], (0, 0, keys, 0)) if keys > 0 else F.pad(roll[:, :, -rest:], (0, 0, 0, -keys))


def ties(roll: Tensor) -> Tensor:
    """Return how loud silent cells in short gaps would be, 0 elsewhere, (B, C, K, T): a morphological closing."""
    flat = roll.flatten(1, 2)
    louder = F.max_pool1d(flat, TIED, 1, TIED // 2)
    return -F.max_pool1d(-louder, TIED, 1, TIED // 2).view_as(roll) * (roll == 0)


class Remix(nn.Module):
    """Amounts for every band of keys, (B, W, R, P) of a feature map to rolls and logits of gates (B, C, K, T)."""

    def __init__(
        self,
        width: int,
        channels: int,
        rows: int,
        patch_keys: int,
        patch_frames: int,
        most: float = 0.0,
        with_beat: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.patch_keys, self.patch_frames, self.most = channels, patch_keys, patch_frames, most
        self.names = AMOUNTS + BEAT_AMOUNTS * with_beat
        self.amounts = nn.Conv2d(width, len(self.names) + channels, 1, bias=False)
        self.by_band = nn.Parameter(torch.zeros(1, len(self.names) + channels, rows, 1))  # of each register its own
        for parameter in self.amounts.parameters():
            nn.init.zeros_(parameter)

    def forward(self, roll: Tensor, features: Tensor, pulse: Pulse) -> tuple[Tensor, Tensor]:
        """Return the remixed pitched channels of a roll, (B, C, K, T), and what to add to the logits of their gates."""
        amounts = self.amounts(features) + self.by_band
        if self.most:
            amounts = self.most * torch.tanh(amounts / self.most)
        amounts = slow(amounts, self.patch_frames, roll.shape[-1])
        amounts = amounts.repeat_interleave(self.patch_keys, 2)[:, :, : roll.shape[2]]
        named, sides = amounts.split((len(self.names), self.channels), 1)
        of = dict(zip(self.names, named[:, :, None].unbind(1), strict=True))  # (B, 1, K, T) each
        shape = of["note decay"] * fading(pulse.note_age) + of["decay"] * fading(pulse.age)
        notes = roll
        if pulse.beat:
            notes = roll + of["tie"] * ties(roll)
            shape = shape + of["beat decay"] * fading(pulse.beat.age)
        shaped = notes * torch.exp(shape.clamp(-4.0, 2.0))
        lower, higher = octave(shaped, -PITCH_CLASSES), octave(shaped, PITCH_CLASSES)
        mixed = (1 + of["own"]) * shaped + of["lower"] * lower + of["higher"] * higher
        middle = mixed.mean(1, keepdim=True)
        mixed = middle * (1 + sides) + (1 + of["width"]) * (mixed - middle)
        logits = of["gap"] * pulse.gap + of["off"] * pulse.off + of["soft"] * (roll - MIDDLE)
        if pulse.beat:
            logits = logits + BEAT_SLOPE * (of["beat gap"] * pulse.beat.gap + of["early"] * pulse.beat.early)
        return mixed, logits


class Drummer(nn.Module):
    """Drums of the kit, (B, D, T) to (B, D, T): strokes are kept or left out, and struck anew at strong onsets."""

    decay: Tensor

    def __init__(self, width: int, patch_frames: int, frame_seconds: float = 0.02) -> None:
        super().__init__()
        self.patch_frames, drums = patch_frames, len(KIT)
        self.amounts = nn.Conv2d(width, 3 * drums, 1)  # logits of keeping, logits of striking, loudness
        for parameter in self.amounts.parameters():
            nn.init.zeros_(parameter)
        # In model space, the root of loudness, strokes fall half as fast.
        decays = torch.tensor([frame_seconds / (2 * drum.decay_seconds) for drum in KIT])
        self.register_buffer("decay", decays, persistent=False)

    def forward(self, drums: Tensor, features: Tensor, pulse: Pulse) -> Tensor:
        """Return the drums that go with a roll, from its own (B, D, T) and the feature map (B, W, R, P) of it."""
        frames = drums.shape[-1]
        amounts = slow(self.amounts(features.mean(2, keepdim=True)), self.patch_frames, frames)[:, :, 0]
        keep, strike, loudness = amounts.chunk(3, 1)  # (B, D, T) each
        struck = pulse.last.clamp(min=0)[:, None].expand_as(strike)  # a stroke is what it was when it was struck
        fall = torch.exp(-pulse.age[:, 0] * self.decay[:, None])
        heard = (fall >= FAINTEST_STROKE**0.5) & (pulse.last >= 0)[:, None]
        loud = (STROKE + loudness.gather(-1, struck)).clamp(0.0, 1.0) * fall
        strokes = loud * hard_gate(strike.gather(-1, struck) - 1) * heard
        return torch.maximum(drums * hard_gate(1 + keep), strokes)
