"""Notes in a roll: where a key begins and ends to sound, by two thresholds.

A note begins when its key reaches ONSET of the song's level and lasts until it falls under RELEASE (hysteresis): with
one threshold alone a note whose loudness hovers about it falls to pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musigan.cleaning import Runs

ONSET = 0.05  # of the song's level, linear
RELEASE = 0.02


@dataclass(frozen=True)
class Notes:
    """Notes as parallel arrays, sorted by key and then by start."""

    keys: np.ndarray  # rows of the roll
    starts: np.ndarray  # frames
    stops: np.ndarray  # frames; the first one after the note
    loudness: np.ndarray  # the loudest frame, linear, 1 = the song's level

    @property
    def lengths(self) -> np.ndarray:
        """Frames each note lasts."""
        return self.stops - self.starts

    def __len__(self) -> int:
        return len(self.keys)


def find_notes(plane: np.ndarray, onset: float = ONSET, release: float = RELEASE) -> Notes:
    """The notes of one channel, (K, T) linear loudness."""
    frames = plane.shape[1]
    strong = np.flatnonzero(plane >= onset)
    runs = Runs.of(plane >= release)
    first = np.searchsorted(strong, runs.starts)
    begins = strong[np.minimum(first, max(strong.size - 1, 0))] if strong.size else runs.starts
    sounding = (first < strong.size) & (begins < runs.stops)
    begins, stops = begins[sounding], runs.stops[sounding]
    edges = np.stack((begins, stops), axis=1).ravel()
    padded = np.append(plane.ravel(), 0)  # the last note may stop where the plane does
    loudest = np.maximum.reduceat(padded, edges)[::2] if edges.size else np.zeros(0, plane.dtype)
    return Notes(begins // frames, begins % frames, begins % frames + stops - begins, loudest)


def sounding(notes: Notes, keys: int, frames: int) -> np.ndarray:
    """Which keys sound when, bool (K, T)."""
    starts = notes.keys * frames + notes.starts
    return Runs(starts, starts + notes.lengths, frames).mask(keys)
