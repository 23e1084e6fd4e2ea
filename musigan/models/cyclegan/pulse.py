"""When notes begin: strong onsets of a roll, and how long ago notes and strong onsets began.

What a generator shapes in time it shapes by these, since its own outputs change slowly. They are read from its input
and carry no gradient. Nothing depends on more than `REACH` frames on either side, so that windows join exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

MEMORY = 100  # frames after which it no longer counts how long ago something began
NEIGHBOURS = 50  # frames on either side with which an onset is compared
REACH = MEMORY + NEIGHBOURS + 20
APART = 4  # frames on either side in which a strong onset is the strongest
STRONG = 1.5  # times as strong as its neighbours on average
GAP = 3  # frames before a strong onset that may be silenced, to strike what sounds again
FADE = 25.0  # frames in which the distance from a beginning reaches 1 - 1/e


@dataclass(frozen=True)
class Pulse:
    """Strong onsets of rolls, and the place of every cell among them; all without gradient."""

    strong: Tensor  # (B, T): 1 at strong onsets
    last: Tensor  # (B, T): frame of the last strong onset, negative before the first
    age: Tensor  # (B, 1, 1, T): frames since that, MEMORY at most
    note_age: Tensor  # (B, C, K, T): frames since the key last began to sound, MEMORY at most
    gap: Tensor  # (B, 1, 1, T): 1 in the frames before a strong onset
    off: Tensor  # (B, C, K, T): 1 in notes that began away from strong onsets


def rises(roll: Tensor) -> Tensor:
    """Return by how much louder cells are than in the frame before, else 0: (..., T) -> (..., T)."""
    return F.pad((roll[..., 1:] - roll[..., :-1]).clamp(min=0), (1, 0))


def fading(ages: Tensor) -> Tensor:
    """Return the distance from a beginning in [0, 1) of ages in frames, any shape."""
    return 1 - torch.exp(-ages / FADE)


def last_start(starts: Tensor) -> Tensor:
    """Return the frame of the last start, -MEMORY before the first: bool (..., T) -> int (..., T)."""
    frames = torch.arange(starts.shape[-1], device=starts.device)
    return torch.where(starts, frames, -MEMORY).cummax(-1).values


@torch.no_grad()
def find(roll: Tensor) -> Pulse:
    """Find the strong onsets of the pitched channels (B, C, K, T) of rolls in model space."""
    frames = torch.arange(roll.shape[-1], device=roll.device)
    rising = rises(roll).sum((1, 2))  # (B, T)
    strength = rising + F.avg_pool1d(rising[:, None], 3, 1, 1)[:, 0]
    usual = F.avg_pool1d(strength[:, None], 2 * NEIGHBOURS + 1, 1, NEIGHBOURS, count_include_pad=False)[:, 0]
    is_peak = strength == F.max_pool1d(strength[:, None], 2 * APART + 1, 1, APART)[:, 0]
    strong = is_peak & (strength > STRONG * usual)
    near = F.max_pool1d(strong.float()[:, None], 2 * APART - 1, 1, APART - 1)[:, 0]  # (B, T)
    soon = F.max_pool1d(F.pad(strong.float(), (0, GAP))[:, None], GAP, 1)[:, 0, 1:]  # any in the next GAP frames
    last = last_start(strong)
    is_sounding = roll > 0
    began = last_start(is_sounding & ~F.pad(is_sounding[..., :-1], (1, 0)))  # (B, C, K, T)
    note_age = (frames - began).clamp(max=MEMORY)
    began_near = near[:, None, None].expand_as(roll).gather(-1, began.clamp(min=0))
    off = is_sounding & (note_age < MEMORY) & (began_near == 0)
    age = (frames - last).clamp(max=MEMORY)[:, None, None]
    return Pulse(strong.float(), last, age.float(), note_age.float(), soon[:, None, None], off.float())
