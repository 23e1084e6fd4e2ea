"""Parts: which instruments play around each beat, and how much each of them strikes and sounds.

As scenes they say nothing of the notes. Whether an instrument plays is said bar by bar, for that is what it rests by;
how much, smoothed over some bars as scenes are.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.scenes import ATTACK_SCALE, SOUNDING_SCALE, STEPS, smoothed
from musigan.rolls.timing import attack_frames

FIGURES = 3  # of an instrument: whether it plays in the bar, attacks, what sounds


def parts_of(roll: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the parts of each beat of instruments (C, K, N * GRID_FRAMES) in model space, (N, C * FIGURES) float32.

    `numbers` (N,) are those of the beats in their bars. Attacks a beat and sounding keys are in the scale of scenes.
    """
    tracks, keys, _ = roll.shape
    beats = len(numbers)
    sounding = (roll > 0).reshape(tracks, keys, beats, GRID_FRAMES).sum((1, 3)).astype(np.float32)  # (C, N)
    attacks = np.stack([attack_frames(track).reshape(keys, beats, GRID_FRAMES).sum((0, 2)) for track in roll])
    plays = np.zeros((tracks, beats), np.float32)
    starts = np.flatnonzero(numbers == 1)
    for low, high in pairwise(np.unique(np.concatenate(([0], starts, [beats])))):
        plays[:, low:high] = (sounding[:, low:high] > 0).any(1, keepdims=True)
    counts = smoothed(np.ones((1, beats), np.float32))
    per_beat, share = smoothed(attacks) / counts, smoothed(sounding) / (counts * GRID_FRAMES * keys)
    figures = np.stack((plays, np.log2(1 + per_beat) / ATTACK_SCALE, SOUNDING_SCALE * np.sqrt(share)), 1)
    rounded: np.ndarray = np.rint(figures.reshape(-1, beats).T * STEPS) / STEPS
    return rounded.astype(np.float32)


def attacks_of(parts: Any) -> Any:
    """Return the attacks a beat of each instrument, (..., C), from parts (..., C * FIGURES), an array or a tensor."""
    return 2.0 ** (ATTACK_SCALE * parts[..., 1::FIGURES]) - 1


def sounding_of(parts: Any) -> Any:
    """Return the share of keys that sounds of each instrument, (..., C), from parts (..., C * FIGURES)."""
    return (parts[..., 2::FIGURES] / SOUNDING_SCALE) ** 2
