"""Pieces of music, and their beats and bars, as the metrics of rhythm and form take them.

Conventions. A piece is a roll of half a minute or more. A position in the beat grid is a real number of beats: 0 is the
first beat of the grid, 0.5 half way to the second. Times are seconds from the piece's first frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from musigan.rolls import beats
from musigan.rolls.grid import positions

FEWEST_BEATS = 2
ASSUMED_BAR_SECONDS = 2.0  # of a piece without beats: four beats at 120 a minute


@dataclass(frozen=True)
class BeatGrid:
    """The beats of a piece: rising times (N,) in seconds, and their numbers in the bar (N,), 1 for a downbeat.

    An empty one says that the music has no beat.
    """

    times: np.ndarray
    numbers: np.ndarray

    def __post_init__(self) -> None:
        assert len(self.times) == len(self.numbers)

    @property
    def has_beat(self) -> bool:
        """Whether there are beats enough to count by."""
        return len(self.times) >= FEWEST_BEATS

    def positions(self, seconds: np.ndarray) -> np.ndarray:
        """Return the position of each time; before the first beat and after the last the tempo there goes on."""
        return positions(self.times, seconds)

    def bar_edges(self, duration_seconds: float) -> np.ndarray:
        """Return the times at which bars begin, and the end of the last whole one; empty without a whole bar."""
        first_beats = np.flatnonzero(self.numbers == 1)
        edges = self.times[first_beats]
        if len(first_beats) and self.has_beat:
            bar_beats = int(np.median(np.diff(first_beats))) if len(first_beats) > 1 else int(self.numbers.max())
            step_seconds = self.times[-1] - self.times[-2]
            end_seconds = self.times[-1] + step_seconds
            # The last bar ends where the next downbeat would be, half a beat after the piece's end at the latest.
            if len(self.times) - first_beats[-1] == bar_beats and end_seconds < duration_seconds + step_seconds / 2:
                edges = np.append(edges, min(end_seconds, duration_seconds))
        return edges if len(edges) > 1 else np.zeros(0)

    def excerpt(self, start_seconds: float, stop_seconds: float) -> BeatGrid:
        """Return the beats from one time to before another, counted from the first."""
        is_inside = (self.times >= start_seconds) & (self.times < stop_seconds)
        return BeatGrid(self.times[is_inside] - start_seconds, self.numbers[is_inside])


@dataclass(frozen=True)
class Piece:
    """A roll (C, K, T), linear loudness, of `song`, and its beats; None where nobody knows them yet."""

    roll: np.ndarray
    song: str
    beats: BeatGrid | None = None
    has_beginning: bool = True  # False for an excerpt from within a song
    has_ending: bool = True


def beats_of(piece: Piece, frame_seconds: float) -> BeatGrid:
    """Return the beats of a piece, estimated where they are not known; empty without a beat."""
    if piece.beats is not None:
        return piece.beats
    beat = beats.estimate(piece.roll, frame_seconds)
    if beat is None:
        return BeatGrid(np.zeros(0), np.zeros(0, int))
    beat_seconds = 60 / beat.tempo
    first = int(np.ceil(-beat.first_beat / beat_seconds))  # the number of the first beat that is not before the roll
    last = int(np.floor((piece.roll.shape[-1] * frame_seconds - beat.first_beat) / beat_seconds))
    counts = np.arange(first, last + 1)
    return BeatGrid(beat.first_beat + counts * beat_seconds, counts % beat.beats + 1)


def bar_edges(grid: BeatGrid, frames: int, frame_seconds: float) -> np.ndarray:
    """Return the edges of a roll's bars in frames (not whole ones), (bars + 1,); bars of 2 s where no beat is known."""
    edges = grid.bar_edges(frames * frame_seconds)
    if not len(edges):
        edges = np.arange(0, frames * frame_seconds + 1e-9, ASSUMED_BAR_SECONDS)
    return np.minimum(edges / frame_seconds, frames)


def excerpts(piece: Piece, seconds: float, frame_seconds: float) -> Iterator[Piece]:
    """Yield the excerpts of `seconds` that follow each other in a piece, with their beats; what is left is dropped."""
    frames, length = piece.roll.shape[-1], round(seconds / frame_seconds)
    for start in range(0, frames - length + 1, length):
        stop = start + length
        yield Piece(
            piece.roll[..., start:stop],
            piece.song,
            None if piece.beats is None else piece.beats.excerpt(start * frame_seconds, stop * frame_seconds),
            piece.has_beginning and start == 0,
            piece.has_ending and stop == frames,
        )
