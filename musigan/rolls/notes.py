"""Notes in a roll, from its loudness by two thresholds.

A note begins when its key reaches ONSET of the song's level and lasts until it falls under RELEASE (hysteresis). With
one threshold a note whose loudness varies about it would fall to pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musigan.rolls.runs import Runs

ONSET = 0.05  # share of the song's level, linear, where a note begins
RELEASE = 0.02  # the same, where a note ends


@dataclass(frozen=True)
class Notes:
    """Notes as parallel arrays (N,), sorted by key and then by start."""

    keys: np.ndarray  # rows of the roll
    starts: np.ndarray  # frames
    stops: np.ndarray  # the first frame after the note
    loudness: np.ndarray  # of the loudest frame, linear, 1 = the song's level

    @property
    def lengths(self) -> np.ndarray:
        """Duration of each note in frames, (N,)."""
        return self.stops - self.starts

    def __len__(self) -> int:
        return len(self.keys)


def find_notes(plane: np.ndarray, onset: float = ONSET, release: float = RELEASE) -> Notes:
    """Find the notes of one channel, (K, T) linear loudness."""
    frames = plane.shape[1]
    strong = np.flatnonzero(plane >= onset)
    runs = Runs.of(plane >= release)
    first_strong = np.searchsorted(strong, runs.starts)
    begins = strong[np.minimum(first_strong, max(strong.size - 1, 0))] if strong.size else runs.starts
    is_note = (first_strong < strong.size) & (begins < runs.stops)
    begins, stops = begins[is_note], runs.stops[is_note]
    edges = np.stack((begins, stops), axis=1).ravel()
    padded = np.append(plane.ravel(), 0)  # the last note may stop at the very end, which is no valid index
    loudest = np.maximum.reduceat(padded, edges)[::2] if edges.size else np.zeros(0, plane.dtype)
    return Notes(begins // frames, begins % frames, begins % frames + stops - begins, loudest)


def sounding(notes: Notes, keys: int, frames: int) -> np.ndarray:
    """Return the mask of sounding keys, bool (K, T)."""
    starts = notes.keys * frames + notes.starts
    return Runs(starts, starts + notes.lengths, frames).mask(keys)
