"""Rolls on the music's own clock: a beat has always GRID_FRAMES frames, however long it lasts.

A roll in seconds has frames of equal duration, a roll on the grid has equally many in every beat. Both are (C, K, T),
in linear loudness or in model space. `to_grid` and `from_grid` undo each other on note onsets and ends to half a grid
frame. A destination frame sounds where the source sounds at its middle, and is as loud as the loudest source frame of
its own: an attack is never averaged with the silence before it, and none falls between two frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musigan.rolls.beats import Beats

GRID_FRAMES = 24  # of a beat: a 16th is 6, a triplet 8
FREE_BEAT_SECONDS = 0.48  # of the beats that music without a beat is learned on: grid frames are then frames of 20 ms
USUAL_METER = 4  # beats in a bar
MAX_METER = 12
FEWEST_BEATS = 4  # fewer are no grid


@dataclass(frozen=True)
class Grid:
    """The beats that cover a stretch of music: edges (N + 1,) in seconds from its first frame, numbers (N,) in the bar.

    The first edge may lie before the music and the last one after it.
    """

    edges: np.ndarray
    numbers: np.ndarray  # 1 is a downbeat
    meter: int = USUAL_METER  # beats in a usual bar
    is_free: bool = False  # of beat: the edges are those of a clock, not of the music

    def __post_init__(self) -> None:
        assert len(self.edges) == len(self.numbers) + 1

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def of(cls, beats: Beats, seconds: float) -> Grid:
        """Return the grid of `seconds` of music with these beats, of which the first and the last go on at its ends."""
        if beats.is_free or len(beats) < FEWEST_BEATS:
            count = max(int(np.ceil(seconds / FREE_BEAT_SECONDS - 1e-6)), 1)
            return cls(np.arange(count + 1) * FREE_BEAT_SECONDS, np.arange(count) % USUAL_METER + 1, is_free=True)
        bars = np.diff(np.flatnonzero(beats.numbers == 1))
        meter = min(int(np.bincount(bars).argmax()) if bars.size else int(beats.numbers.max()), MAX_METER)
        first = int(np.floor(positions(beats.seconds, np.zeros(1))[0] + 1e-6))
        last = int(np.ceil(positions(beats.seconds, np.array([seconds]))[0] - 1e-6))
        places = np.arange(first, max(last, first + 1))
        inside = np.clip(places, 0, len(beats) - 1)
        # Before the first beat and after the last, bars of the usual meter go on.
        numbers = (beats.numbers[inside] - 1 + places - inside) % meter + 1
        numbers = np.where(places == inside, beats.numbers[inside], numbers)
        return cls(seconds_at(beats.seconds, np.append(places, places[-1] + 1)), np.minimum(numbers, MAX_METER), meter)

    @classmethod
    def steady(cls, tempo: float, count: int, meter: int = USUAL_METER, is_free: bool = False) -> Grid:
        """Return `count` beats of `tempo` beats a minute, beginning with a bar at second 0."""
        return cls(np.arange(count + 1) * 60 / tempo, np.arange(count) % meter + 1, meter, is_free)

    @property
    def tempo(self) -> float:
        """Median tempo in beats a minute."""
        return float(60 / np.median(np.diff(self.edges)))

    def part(self, first: int, count: int) -> Grid:
        """Return `count` beats from beat `first` on, on the same clock."""
        return Grid(
            self.edges[first : first + count + 1], self.numbers[first : first + count], self.meter, self.is_free
        )

    def beats(self, seconds: float) -> Beats:
        """Return the beats before `seconds` as a song's; those of free music have no confidence."""
        is_inside = (self.edges[:-1] > -1e-6) & (self.edges[:-1] < seconds)
        return Beats(self.edges[:-1][is_inside], self.numbers[is_inside], 0.0 if self.is_free else 1.0)


def positions(beat_seconds: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return each time as a number of beats (N,) >= 2, 0 being the first; at both ends the tempo there goes on."""
    steps, count = np.diff(beat_seconds), len(beat_seconds)
    before, after = (seconds - beat_seconds[0]) / steps[0], (seconds - beat_seconds[-1]) / steps[-1]
    inside = np.interp(seconds, beat_seconds, np.arange(count))
    return np.asarray(np.where(before < 0, before, np.where(after > 0, count - 1 + after, inside)))


def seconds_at(beat_seconds: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the time of each position among beats (N,), the inverse of `positions`."""
    steps, last = np.diff(beat_seconds), len(beat_seconds) - 1
    inside = np.interp(places, np.arange(last + 1), beat_seconds)
    before, after = beat_seconds[0] + places * steps[0], beat_seconds[-1] + (places - last) * steps[-1]
    return np.asarray(np.where(places < 0, before, np.where(places > last, after, inside)))


def to_grid(roll: np.ndarray, grid: Grid, frame_seconds: float, start_seconds: float = 0.0) -> np.ndarray:
    """Put a roll (C, K, T) that begins at `start_seconds` on the grid: (C, K, beats * GRID_FRAMES)."""
    middles = (np.arange(len(grid) * GRID_FRAMES) + 0.5) / GRID_FRAMES
    return _resampled(roll, (seconds_at(grid.edges, middles) - start_seconds) / frame_seconds)


def from_grid(
    roll: np.ndarray, grid: Grid, frame_seconds: float, frames: int, start_seconds: float = 0.0
) -> np.ndarray:
    """Undo `to_grid`: roll (C, K, beats * GRID_FRAMES) -> (C, K, frames), beginning at `start_seconds`."""
    middles = start_seconds + (np.arange(frames) + 0.5) * frame_seconds
    return _resampled(roll, positions(grid.edges, middles) * GRID_FRAMES)


def _resampled(roll: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """Resample a roll (C, K, S) at rising places (T,), in source frames, the middles of the new ones: (C, K, T).

    Outside of the source there is silence.
    """
    last = np.floor(middles).astype(int)
    first = np.minimum(np.concatenate((last[:1], last[:-1] + 1)), last)  # after what the frame before has covered
    is_inside = (last >= 0) & (last < roll.shape[-1])
    last, first = (np.clip(frames, 0, roll.shape[-1] - 1) for frames in (last, first))
    at_middle = roll[..., last]
    loudest = at_middle
    for back in range(1, int((last - first).max(initial=0)) + 1):
        loudest = np.maximum(loudest, roll[..., np.maximum(last - back, first)])
    return np.where((at_middle > 0) & is_inside, loudest, roll.dtype.type(0))
