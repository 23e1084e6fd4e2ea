"""Runs: maximal stretches of frames in which a key sounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHORTEST_SECONDS = 0.06  # shortest note


@dataclass(frozen=True)
class Runs:
    """Runs of consecutive frames in one key, as positions in the flattened (K, T) roll."""

    starts: np.ndarray  # (N,)
    stops: np.ndarray  # (N,), the first position after each run
    frames: int  # T

    @classmethod
    def of(cls, mask: np.ndarray) -> Runs:
        """Find all runs of True in a (K, T) mask."""
        first, last = mask.copy(), mask.copy()
        np.greater(mask[:, 1:], mask[:, :-1], out=first[:, 1:])
        np.greater(mask[:, :-1], mask[:, 1:], out=last[:, :-1])
        return cls(np.flatnonzero(first), np.flatnonzero(last) + 1, mask.shape[1])

    @property
    def lengths(self) -> np.ndarray:
        return self.stops - self.starts

    def where(self, chosen: np.ndarray) -> Runs:
        return Runs(self.starts[chosen], self.stops[chosen], self.frames)

    def joined(self, gap: int) -> Runs:
        """Join runs of one key that are at most `gap` frames apart."""
        if not self.starts.size:
            return self
        rows = self.starts // self.frames
        is_apart = (self.starts[1:] - self.stops[:-1] > gap) | (rows[1:] != rows[:-1])
        return Runs(
            self.starts[np.concatenate(([True], is_apart))], self.stops[np.concatenate((is_apart, [True]))], self.frames
        )

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of (K, T) values over each run."""
        edges = np.stack((self.starts, self.stops), axis=1).ravel()
        # The last run may stop at the very end, which is no valid index; reduceat sums to the end without it.
        return np.add.reduceat(values.ravel(), edges[: edges.size - bool(edges.size and edges[-1] == values.size)])[::2]

    def counts(self, mask: np.ndarray) -> np.ndarray:
        """Return the number of True cells of a (K, T) mask in each run."""
        cells = np.flatnonzero(mask)
        return np.searchsorted(cells, self.stops) - np.searchsorted(cells, self.starts)

    def mask(self, keys: int) -> np.ndarray:
        """Return the (K, T) mask of the runs' cells."""
        lengths = self.lengths
        before = np.cumsum(lengths) - lengths
        mask = np.zeros((keys, self.frames), dtype=bool)
        mask.ravel()[np.arange(lengths.sum()) + np.repeat(self.starts - before, lengths)] = True
        return mask


def shortest_note(frame_seconds: float) -> int:
    """Return the length of the shortest note kept, in frames."""
    return max(1, round(SHORTEST_SECONDS / frame_seconds))


def remove_fragments(roll: np.ndarray, frame_seconds: float) -> np.ndarray:
    """Remove runs shorter than the shortest note, which no cleaned roll has, from (C, K, T)."""
    runs = Runs.of(np.any(roll > 0, axis=0))
    return np.asarray(roll * runs.where(runs.lengths >= shortest_note(frame_seconds)).mask(roll.shape[1]))
