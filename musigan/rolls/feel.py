"""Feel: where in the beat instruments strike, all of them together: straight, in triplets, in 16ths.

It says neither who strikes nor in which beat: it is what a band is told before it plays, that a tune swings.
"""

from __future__ import annotations

import numpy as np

from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.scenes import smoothed
from musigan.rolls.timing import attack_frames

PLACES = 12  # of a beat
LEVELS = 20  # a feel is kept to the twentieth
TRIPLET = GRID_FRAMES * 2 // 3  # where the second half of a beat begins that swings


def feel_of(roll: np.ndarray) -> np.ndarray:
    """Return the feel around each beat of instruments (C, K, N * GRID_FRAMES) in model space: (N, PLACES) float32.

    Shares of the attacks of some bars; all are 0 where nothing is struck.
    """
    struck = sum(attack_frames(track).sum(0) for track in roll).reshape(-1, PLACES, GRID_FRAMES // PLACES).sum(2)
    around = smoothed(struck.T.astype(np.float32))  # (PLACES, N)
    shares: np.ndarray = np.rint(LEVELS * around / np.maximum(around.sum(0), 1)) / LEVELS
    return shares.T.astype(np.float32)


def swung(roll: np.ndarray) -> np.ndarray:
    """Return a straight roll (..., N * GRID_FRAMES) as if it swung: halves of a beat last two thirds and a third."""
    places, half = np.arange(GRID_FRAMES), GRID_FRAMES // 2
    of_first = places * half // TRIPLET
    of_second = half + (places - TRIPLET) * half // (GRID_FRAMES - TRIPLET)
    source = np.where(places < TRIPLET, of_first, of_second)
    return np.asarray(roll.reshape(*roll.shape[:-1], -1, GRID_FRAMES)[..., source].reshape(roll.shape))
