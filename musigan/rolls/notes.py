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
STROKE_RISE = 1.25  # a drum is struck where it is so much louder than in the frame before


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
    return Notes(begins // frames, begins % frames, begins % frames + stops - begins, _loudest(plane, begins, stops))


def find_strokes(plane: np.ndarray) -> Notes:
    """Find the strokes of a recording's drums, (K, T) linear loudness: where loudness rises, however soon again.

    Each is as loud as its loudest frame, and lasts until the next one or until it falls under RELEASE.
    """
    before = np.pad(plane, ((0, 0), (1, 0)))[:, :-1]
    rises = (plane >= ONSET) & (plane > STROKE_RISE * before)
    goes_on = np.pad(rises, ((0, 0), (1, 0)))[:, :-1]
    starts = np.flatnonzero(rises & ~goes_on)
    runs = Runs.of(plane >= RELEASE)
    frames = plane.shape[1]
    run_stops = runs.stops[np.searchsorted(runs.starts, starts, side="right") - 1]
    stops = np.minimum(run_stops, np.append(starts[1:], plane.size))
    return Notes(starts // frames, starts % frames, starts % frames + stops - starts, _loudest(plane, starts, stops))


def _loudest(plane: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Return the loudest cell of (K, T) from each start to its stop, positions in the flattened plane."""
    edges = np.stack((starts, stops), axis=1).ravel()
    if not edges.size:
        return np.zeros(0, plane.dtype)
    # The last note may stop at the very end, which is no valid index; reduceat looks to the end without it.
    edges = edges[: edges.size - bool(edges[-1] == plane.size)]
    return np.maximum.reduceat(plane.ravel(), edges)[::2].astype(float)


def sounding(notes: Notes, keys: int, frames: int) -> np.ndarray:
    """Return the mask of sounding keys, bool (K, T)."""
    starts = notes.keys * frames + notes.starts
    return Runs(starts, starts + notes.lengths, frames).mask(keys)
