"""The choice of rolls and pieces at random, evenly among the songs that they are of."""

from __future__ import annotations

import numpy as np


def evenly(songs: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return at most `count` numbers of rolls in a random order, the songs (N,) taking turns."""
    order = generator.permutation(len(songs))
    _, inverse = np.unique(songs[order], return_inverse=True)
    turns = np.zeros(len(order), int)  # how many rolls of the same song come before
    for song in range(inverse.max(initial=-1) + 1):
        in_song = inverse == song
        turns[in_song] = np.arange(in_song.sum())
    return np.asarray(order[np.argsort(turns, kind="stable")][:count])
