"""Rolls on the grid of beats, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musigan.rolls.beats import Beats
from musigan.rolls.grid import FREE_BEAT_SECONDS, GRID_FRAMES, Grid, from_grid, positions, seconds_at, to_grid
from musigan.rolls.notes import find_notes

FRAME = 0.02


def beats_of(tempo: float, count: int, meter: int = 4, first: float = 0.3, confidence: float = 1.0) -> Beats:
    return Beats(first + np.arange(count) * 60 / tempo, np.arange(count) % meter + 1, confidence)


def test_the_grid_of_a_song_covers_it() -> None:
    grid = Grid.of(beats_of(110, 9, meter=3, first=0.7), 7.3)
    assert grid.edges[0] <= 0 < grid.edges[1]
    assert grid.edges[-2] < 7.3 <= grid.edges[-1]
    assert grid.meter == 3
    np.testing.assert_allclose(np.diff(grid.edges), 60 / 110)
    assert grid.tempo == pytest.approx(110)
    # The beat at .7 s is a downbeat; those before it count down to it.
    downbeat = int(np.argmin(np.abs(grid.edges - 0.7)))
    assert grid.numbers[downbeat] == 1
    assert list(grid.numbers[downbeat - 2 : downbeat]) == [2, 3]
    assert list(grid.numbers[downbeat : downbeat + 4]) == [1, 2, 3, 1]


@pytest.mark.parametrize("beats", [Beats.none(), beats_of(100, 40, confidence=0.2), beats_of(100, 3)])
def test_music_without_a_beat_is_learned_on_a_clock_of_its_own(beats: Beats) -> None:
    grid = Grid.of(beats, 5.0)
    assert grid.is_free
    np.testing.assert_allclose(np.diff(grid.edges), FREE_BEAT_SECONDS)
    roll = np.random.default_rng(1).random((1, 3, 250)).astype(np.float32)
    roll[roll < 0.5] = 0
    on_grid = to_grid(roll, grid, FRAME)
    assert on_grid.shape == (1, 3, len(grid) * GRID_FRAMES)
    np.testing.assert_array_equal(from_grid(on_grid, grid, FRAME, 250), roll)


def test_positions_and_seconds_undo_each_other_beyond_both_ends() -> None:
    times = np.array([1.0, 1.4, 2.0, 2.3])
    places = np.array([-2.5, -0.1, 0.0, 0.5, 1.75, 3.0, 4.2])
    np.testing.assert_allclose(positions(times, seconds_at(times, places)), places)
    assert seconds_at(times, np.array([1.5]))[0] == pytest.approx(1.7)
    assert positions(times, np.array([2.6]))[0] == pytest.approx(4.0)


@settings(max_examples=40, deadline=None)
@given(
    tempi=st.lists(st.floats(55, 200), min_size=6, max_size=6),
    notes=st.lists(st.tuples(st.integers(0, 4), st.integers(10, 130), st.integers(4, 40)), min_size=1, max_size=6),
)
def test_onsets_and_ends_come_back_to_half_a_grid_frame(tempi: list[float], notes: list[tuple[int, int, int]]) -> None:
    edges = np.concatenate(([-0.1], -0.1 + np.cumsum(60 / np.array(tempi))))
    grid = Grid(edges, np.arange(6) % 4 + 1)
    frames = int(min(edges[-1], 3.0) / FRAME)
    roll = np.zeros((1, 5, frames), np.float32)
    for key, start, length in notes:
        roll[0, key, max(start - 2, 0) : start] = 0  # keeps a note from running into the one before
        roll[0, key, start : min(start + length, frames)] = 0.5
    back = from_grid(to_grid(roll, grid, FRAME), grid, FRAME, frames)
    before, after = find_notes(roll[0]), find_notes(back[0])
    longest = 60 / min(tempi) / GRID_FRAMES
    gap = longest / FRAME + 1  # shorter notes and rests may be lost
    if before.lengths.size and before.lengths.min() > gap and _shortest_rest(roll[0]) > gap:
        assert list(after.keys) == list(before.keys)
        tolerance = (longest / 2 + FRAME / 2) / FRAME + 1e-6
        assert np.abs(after.starts - before.starts).max() <= tolerance
        assert np.abs(after.stops - before.stops).max() <= tolerance


def _shortest_rest(plane: np.ndarray) -> int:
    rests = [np.diff(np.flatnonzero(np.diff(np.append(0, row > 0).astype(int)))) for row in plane]
    return min((int(rest[1::2].min()) for rest in rests if len(rest) > 1), default=10_000)


@pytest.mark.parametrize("tempo", [48.0, 125.0, 190.0])
def test_an_attack_stays_as_loud_and_as_steep_as_it_was(tempo: float) -> None:
    roll = np.zeros((1, 2, 200), np.float32)
    for start in range(7, 190, 31):  # a loud first frame, then a quick decay
        roll[0, 1, start : start + 20] = 0.9 * 0.8 ** np.arange(20)
    grid = Grid.steady(tempo, int(np.ceil(4 * tempo / 60)))
    on_grid = to_grid(roll, grid, FRAME)
    starts = find_notes(on_grid[0]).starts
    np.testing.assert_allclose(on_grid[0, 1, starts], 0.9, rtol=1e-5)
    back = from_grid(on_grid, grid, FRAME, 200)
    np.testing.assert_allclose(back[0, 1, find_notes(back[0]).starts], 0.9, rtol=1e-5)


def test_beats_of_a_part_are_those_of_the_song() -> None:
    grid = Grid.steady(90, 12, meter=3)
    part = grid.part(4, 5)
    assert len(part) == 5
    assert list(part.numbers) == [2, 3, 1, 2, 3]
    beats = grid.beats(5.0)
    assert len(beats) == 8
    assert beats.confidence == 1.0
    assert Grid.steady(90, 12, is_free=True).beats(5.0).is_free


def test_a_roll_may_begin_within_the_song() -> None:
    rng = np.random.default_rng(3)
    roll = (rng.random((2, 3, 400)) * (rng.random((2, 3, 400)) < 0.3)).astype(np.float32)
    grid = Grid.of(beats_of(100, 12, first=0.25), 8.0)
    whole = to_grid(roll, grid, FRAME)
    part = grid.part(3, 4)
    excerpt = to_grid(roll[..., 50:300], part, FRAME, start_seconds=1.0)
    np.testing.assert_array_equal(excerpt, whole[..., 3 * GRID_FRAMES : 7 * GRID_FRAMES])
