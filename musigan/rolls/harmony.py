"""Harmony: which pitch classes are heard in each half of a bar, by all instruments together.

It says neither who plays them, nor in which octave, nor when: what a chart of chords says to a band.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

import numpy as np

from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.scenes import CLASSES

LEVELS = 10  # a harmony is kept to the tenth
AROUND = 4  # beats before and after each one whose harmonies may be heard in it
FEWEST_HALVED = 4  # beats of a bar that has two halves, if their number is even


def harmony_of(pitched: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the harmony of each beat of what has a pitch, (C, K, N * GRID_FRAMES): (N, CLASSES) float32.

    `numbers` (N,) are those of the beats in their bars. The loudest class is 1; where nothing sounds all are 0.
    """
    keys, beats = pitched.shape[1], len(numbers)
    by_key = np.asarray(pitched, np.float32).sum(0).reshape(keys, beats, GRID_FRAMES).sum(2)  # (K, N)
    classes = np.stack([by_key[first::CLASSES].sum(0) for first in range(CLASSES)], 1)
    harmony = np.zeros((beats, CLASSES), np.float32)
    for low, high in _halves(numbers):
        heard = classes[low:high].sum(0)
        harmony[low:high] = np.rint(LEVELS * heard / max(float(heard.max()), 1e-6)) / LEVELS
    return harmony


def filled(harmony: np.ndarray) -> np.ndarray:
    """Return a harmony (N, CLASSES) which goes on where nothing sounds: as before, or at the beginning as after."""
    known = np.flatnonzero(harmony.any(1))
    if not known.size:
        return harmony
    last = np.searchsorted(known, np.arange(len(harmony)), side="right") - 1
    return np.asarray(harmony[known[np.maximum(last, 0)]])


def kept_to(roll: np.ndarray, harmony: np.ndarray, unpitched: Collection[int] = ()) -> np.ndarray:
    """Return a roll (C, K, N * GRID_FRAMES) without what is of no class of the harmony, (N, CLASSES), around its beat.

    Notes may come before their chord and go on after it, as notes between chords do. Channels in which a key is a drum
    are `unpitched` and stay as they are, and so do beats without a harmony.
    """
    classes = np.arange(roll.shape[1]) % CLASSES
    padded = np.pad(harmony, ((AROUND, AROUND), (0, 0)))
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND + 1, axis=0).max(-1)  # (N, CLASSES)
    is_foreign = np.any(around, axis=1, keepdims=True) & (around[:, classes] <= 0)  # (N, K)
    kept = np.where(np.repeat(is_foreign.T, GRID_FRAMES, 1), 0, roll)
    for channel in unpitched:
        kept[channel] = roll[channel]
    return np.asarray(kept, roll.dtype)


def _halves(numbers: np.ndarray) -> list[tuple[int, int]]:
    """Return the first beat and the end of each half of a bar, or of each bar that has no halves."""
    starts = np.flatnonzero(numbers == 1)
    edges = np.unique(np.concatenate(([0], starts, [len(numbers)])))
    halves = []
    for low, high in pairwise(edges.tolist()):
        count = high - low
        middle = low + count // 2 if count >= FEWEST_HALVED and count % 2 == 0 else high
        halves += [(low, middle), (middle, high)][: 1 + (middle < high)]
    return halves
