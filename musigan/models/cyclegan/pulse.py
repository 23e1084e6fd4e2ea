"""When notes begin: strong onsets of a roll, how long ago notes and strong onsets began, and a regular beat.

What a generator shapes in time it shapes by these, since its own outputs change slowly. They are read from its input
and carry no gradient. Nothing depends on more than `REACH` frames on either side, with a beat `REACH` and `BEAT_REACH`,
so that windows join exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

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
BEAT_PERIODS = (12.0, 30.0)  # frames: shortest and longest beat that is looked for
BEAT_COUNT = 40  # periods between them that are tried
BEAT_NEIGHBOURS = 150  # frames on either side by which the period is chosen
BEAT_APART = 5  # frames on either side in which a beat is the strongest
BEAT_GAP = 1  # frames before a beat that may be silenced
BEAT_REACH = 2 * BEAT_NEIGHBOURS + NEIGHBOURS + BEAT_APART + 1  # frames on either side that a beat depends on


@dataclass(frozen=True)
class Pulse:
    """Strong onsets of rolls, and the place of every cell among them; all without gradient."""

    strong: Tensor  # (B, T): 1 at strong onsets
    last: Tensor  # (B, T): frame of the last strong onset, negative before the first
    age: Tensor  # (B, 1, 1, T): frames since that, MEMORY at most
    note_age: Tensor  # (B, C, K, T): frames since the key last began to sound, MEMORY at most
    gap: Tensor  # (B, 1, 1, T): 1 in the frames before a strong onset
    off: Tensor  # (B, C, K, T): 1 in notes that began away from strong onsets
    beat: Beat | None = None  # where it is asked for


@dataclass(frozen=True)
class Beat:
    """A regular beat of rolls, and which cells it may change; all without gradient."""

    at: Tensor  # (B, T): 1 at beats
    age: Tensor  # (B, 1, 1, T): frames since the last beat, MEMORY at most
    gap: Tensor  # (B, 1, 1, T): 1 in the frames before a beat
    early: Tensor  # (B, C, K, T): 1 in notes that began away from beats, until the next beat


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


def peaks(curve: Tensor, apart: int) -> Tensor:
    """Return where (B, T) is the largest within `apart` frames on either side: bool (B, T)."""
    return curve == F.max_pool1d(curve[:, None], 2 * apart + 1, 1, apart)[:, 0]


def before(at: Tensor, frames: int) -> Tensor:
    """Return 1 in the frames before those where (B, T) is 1: (B, T)."""
    return F.max_pool1d(F.pad(at, (0, frames))[:, None], frames, 1)[:, 0, 1:]


@cache
def _waves() -> Tensor:
    """Return cosine and sine of each period under a window, (2 * BEAT_COUNT, 1, 2 * BEAT_NEIGHBOURS + 1)."""
    shortest, longest = BEAT_PERIODS
    periods = longest * (shortest / longest) ** torch.linspace(0, 1, BEAT_COUNT)
    frames = torch.arange(-BEAT_NEIGHBOURS, BEAT_NEIGHBOURS + 1)
    angles = 2 * math.pi * frames / periods[:, None]
    window = torch.hann_window(len(frames), periodic=False)
    return (torch.stack((angles.cos(), angles.sin()), 1) * window).flatten(0, 1)[:, None]


@torch.no_grad()
def regular_beat(strength: Tensor) -> Tensor:
    """Return a regular beat of the strength of onsets (B, T), 1 at beats: the predominant local pulse.

    Grosche and Mueller, Extracting predominant local pulse information from music recordings (2011): at every frame the
    wave that fits best is taken, of all periods, and their sum has its peaks where the beat is.
    """
    waves = _waves().to(strength)
    usual = F.avg_pool1d(strength[:, None], 2 * NEIGHBOURS + 1, 1, NEIGHBOURS, count_include_pad=False)
    fits = F.conv1d(strength[:, None] - usual, waves, padding=BEAT_NEIGHBOURS).unflatten(1, (BEAT_COUNT, 2))
    sizes = fits.square().sum(2)  # (B, N, T)
    is_best = F.one_hot(sizes.argmax(1), BEAT_COUNT).movedim(-1, 1)
    chosen = is_best[:, :, None] * fits / (sizes.sqrt() + 1e-6)[:, :, None]
    curve = F.conv_transpose1d(chosen.flatten(1, 2), waves, padding=BEAT_NEIGHBOURS)[:, 0]
    return (peaks(curve, BEAT_APART) & (curve > 1e-3)).to(strength.dtype)


@torch.no_grad()
def find(roll: Tensor, with_beat: bool = False) -> Pulse:
    """Find the strong onsets of the pitched channels (B, C, K, T) of rolls in model space, and a regular beat."""
    frames = torch.arange(roll.shape[-1], device=roll.device)
    rising = rises(roll).sum((1, 2))  # (B, T)
    strength = rising + F.avg_pool1d(rising[:, None], 3, 1, 1)[:, 0]
    usual = F.avg_pool1d(strength[:, None], 2 * NEIGHBOURS + 1, 1, NEIGHBOURS, count_include_pad=False)[:, 0]
    strong = peaks(strength, APART) & (strength > STRONG * usual)
    soon = before(strong.float(), GAP)
    last = last_start(strong)
    is_sounding = roll > 0
    began = last_start(is_sounding & ~F.pad(is_sounding[..., :-1], (1, 0)))  # (B, C, K, T)
    note_age = (frames - began).clamp(max=MEMORY)
    is_known = is_sounding & (note_age < MEMORY)
    off = is_known & ~_began_near(strong.float(), began)
    age = (frames - last).clamp(max=MEMORY)[:, None, None]
    beat = None
    if with_beat:
        at = regular_beat(strength)
        next_beat = torch.where(at > 0, frames, roll.shape[-1]).flip(-1).cummin(-1).values.flip(-1)  # (B, T)
        until = next_beat[:, None, None].expand_as(roll).gather(-1, began.clamp(min=0))
        early = is_known & ~_began_near(at, began) & (frames < until)
        beat_age = (frames - last_start(at > 0)).clamp(max=MEMORY)[:, None, None]
        beat = Beat(at, beat_age.float(), before(at, BEAT_GAP)[:, None, None], early.float())
    return Pulse(strong.float(), last, age.float(), note_age.float(), soon[:, None, None], off.float(), beat)


def _began_near(at: Tensor, began: Tensor) -> Tensor:
    """Return whether notes (B, C, K, T), by the frame each began in, began where (B, T) is 1 or nearly so."""
    near = F.max_pool1d(at[:, None], 2 * APART - 1, 1, APART - 1)[:, 0]
    return near[:, None, None].expand_as(began).gather(-1, began.clamp(min=0)) > 0
