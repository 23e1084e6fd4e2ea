"""Beats, bars and the metrics of rhythm on pieces whose tempo, meter and swing are known."""

from __future__ import annotations

import numpy as np
import pytest

from musigan.metrics import rhythm
from musigan.metrics.bars import BeatGrid, Piece, bar_edges, beats_of, excerpts
from musigan.metrics.notemetrics import groove_consistency
from musigan.rolls.beats import onset_strength
from musigan.rolls.notes import find_notes
from tests.metrics.pieces import FRAME, at_random, piece_of, walk

NO_BEAT = BeatGrid(np.zeros(0), np.zeros(0, int))


def steady(tempo: float, seconds: float, first: float = 0.0, meter: int = 4, first_number: int = 1) -> BeatGrid:
    times = np.arange(first, seconds, 60 / tempo)
    return BeatGrid(times, (np.arange(len(times)) + first_number - 1) % meter + 1)


# -- beats and bars -------------------------------------------------------------------------------------------------


def test_positions_follow_beats_and_go_on_beyond_them() -> None:
    grid = BeatGrid(np.array([1.0, 1.5, 2.5]), np.array([4, 1, 2]))
    assert grid.positions(np.array([1.0, 1.25, 2.0, 0.5, 4.5])).tolist() == [0, 0.5, 1.5, -1, 4]


def test_bars_begin_at_downbeats_and_the_last_whole_one_ends_with_its_last_beat() -> None:
    grid = steady(120, 4.6, first=0.3, meter=3, first_number=3)  # an upbeat at .3, downbeats at .8, 2.3, 3.8
    assert grid.bar_edges(5.0) == pytest.approx([0.8, 2.3, 3.8])
    whole = steady(120, 5.2, first=0.3, meter=3, first_number=3)  # beats to 4.8: the bar from 3.8 would end at 5.3
    assert whole.bar_edges(5.3) == pytest.approx([0.8, 2.3, 3.8, 5.3])
    assert whole.bar_edges(5.2) == pytest.approx([0.8, 2.3, 3.8, 5.2])
    assert not len(BeatGrid(np.array([1.0, 2.0]), np.array([2, 3])).bar_edges(3.0))


def test_bars_without_beats_are_of_two_seconds() -> None:
    assert bar_edges(NO_BEAT, 250, FRAME).tolist() == [0, 100, 200]
    assert bar_edges(steady(150, 4.9), 250, FRAME) == pytest.approx([0, 80, 160, 240])


def test_beats_are_the_known_ones_or_else_estimated() -> None:
    roll = piece_of(walk(0.4, 20), 20)
    grid = beats_of(Piece(roll, "a"), FRAME)
    assert 60 / np.diff(grid.times) == pytest.approx(150, abs=0.5)
    assert grid.times[0] == pytest.approx(0.1, abs=0.03)
    assert set(np.diff(np.flatnonzero(grid.numbers == 1))) == {4}
    assert grid.numbers[0] == 1  # where the double notes are
    known = steady(77, 20)
    assert beats_of(Piece(roll, "a", known), FRAME) is known
    assert not beats_of(Piece(np.zeros_like(roll), "a"), FRAME).has_beat


def test_excerpts_take_their_beats_along() -> None:
    grid = steady(120, 7, first=0.25)
    first, second = excerpts(Piece(piece_of([(3.5, 2)], 7), "song", grid), 3.0, FRAME)
    assert first.roll.shape[-1] == second.roll.shape[-1] == 150
    assert second.roll[0, 2, 25] == pytest.approx(0.9)
    assert second.beats is not None
    assert second.beats.times == pytest.approx([0.25, 0.75, 1.25, 1.75, 2.25, 2.75])
    assert second.beats.numbers.tolist() == [3, 4, 1, 2, 3, 4]
    assert (first.has_beginning, second.has_beginning, second.has_ending) == (True, False, False)


# -- pulse and tempo ------------------------------------------------------------------------------------------------


def test_pulse_is_high_for_a_steady_beat_and_low_without_one() -> None:
    regular = rhythm.pulse(onset_strength(piece_of(walk(0.5, 30), 30)), FRAME)
    assert regular > 0.9
    assert rhythm.pulse(onset_strength(piece_of(at_random(120, 30), 30)), FRAME) < 0.4
    # Slower than the lags reach: nothing within 2 s repeats.
    assert rhythm.pulse(onset_strength(piece_of(walk(2.7, 30), 30)), FRAME) < 0.2
    # The median of three windows, of which one has no beat.
    mixed = [*walk(0.5, 20), *((time + 20, key) for time, key in at_random(40, 10))]
    assert rhythm.pulse(onset_strength(piece_of(mixed, 30)), FRAME) > 0.85
    assert np.isnan(rhythm.pulse(np.zeros(1500), FRAME))
    assert np.isnan(rhythm.pulse(np.ones(150), FRAME))  # 3 s


def test_pulse_is_the_autocorrelation_by_its_definition() -> None:
    strength = np.random.default_rng(5).random(500)
    window = np.exp(-0.5 * (np.arange(-5, 6) * FRAME / 0.03) ** 2)
    smooth = np.convolve(strength, window / window.sum(), "same")
    smooth -= smooth.mean()
    expected = [(smooth[lag:] * smooth[:-lag]).mean() / np.square(smooth).mean() for lag in range(12, 101)]
    assert rhythm.pulse(strength, FRAME) == pytest.approx(max(expected))


def test_tempo_is_steady_or_changes() -> None:
    steady_strength = onset_strength(piece_of(walk(0.5, 30), 30))
    assert rhythm.tempo_steadiness(steady_strength, FRAME) > 0.95
    tempi = [*walk(0.5, 10), *((t + 10, k) for t, k in walk(0.38, 10)), *((t + 20, k) for t, k in walk(0.63, 10))]
    assert rhythm.tempo_steadiness(onset_strength(piece_of(tempi, 30)), FRAME) < 0.5
    assert np.isnan(rhythm.tempo_steadiness(steady_strength[:900], FRAME))


# -- notes on a grid ------------------------------------------------------------------------------------------------


def test_grid_is_the_best_steady_one() -> None:
    eighths = 0.13 + np.arange(90) * 60 / 93 / 2
    assert rhythm.grid_fit(eighths, 30) == pytest.approx(1)
    jitter = np.random.default_rng(2).normal(0, 0.06, 90)
    assert 0.3 < rhythm.grid_fit(eighths + jitter, 30) < 0.7  # exp(-(2 pi .06 / .323)^2 / 2) = .51
    by_chance = [rhythm.grid_fit(np.random.default_rng(seed).uniform(0, 30, 200), 30) for seed in range(30)]
    assert np.median(by_chance) == pytest.approx(0.17, abs=0.015)
    assert np.isnan(rhythm.grid_fit(eighths[:7], 30))


def test_grid_of_two_minutes_may_change_its_tempo_between_windows() -> None:
    times = np.concatenate([30 * part + 0.1 + np.arange(40) * 60 / (100 + 9 * part) / 2 for part in range(4)])
    assert rhythm.grid_fit(times, 120) == pytest.approx(1)


def test_grid_share_by_hand() -> None:
    grid = steady(100, 12, first=0.6)  # an eighth is .3 s; near is within .075 s
    on = np.array([0.6, 0.9, 1.27, 1.5, 1.86, 2.1])
    off = np.array([0.7, 1.35])
    assert rhythm.grid_share(np.concatenate((on, off)), grid) == pytest.approx(2 * 6 / 8 - 1)
    assert rhythm.grid_share(np.arange(0.6, 9, 0.3), grid) == 1
    assert np.isnan(rhythm.grid_share(on, NO_BEAT))


def test_onset_places_by_hand() -> None:
    grid = steady(120, 9, first=0.48)  # a bar of 100 frames from frame 24 on
    strength = np.zeros(450)
    strength[[24, 124, 22]] = 1.0  # place 0, twice on it and once just before the bar, which is lost
    strength[24 + 25 + 2] = 3.0  # a little after place 4
    strength[24 + 96] = 2.0  # place 15.4
    assert np.flatnonzero(rhythm.onset_places(strength, FRAME, grid)).tolist() == [0, 4, 15]
    assert rhythm.onset_places(strength, FRAME, grid)[[0, 4, 15]] == pytest.approx(np.array([2, 3, 2]) / 7)
    early = np.zeros(450)
    early[122] = 1.0  # just before the second bar: its first place
    assert rhythm.onset_places(early, FRAME, grid)[0] == 1
    assert np.isnan(rhythm.onset_places(strength, FRAME, NO_BEAT)).all()


def test_jensen_shannon_is_scipys() -> None:
    from scipy.spatial.distance import jensenshannon

    one, other = np.array([0.5, 0.5, 0, 0]), np.array([0.1, 0.2, 0.7, 0])
    assert rhythm.jensen_shannon(one, other) == pytest.approx(jensenshannon(one, other, base=2))
    assert rhythm.jensen_shannon(one, np.array([0, 0, 0, 1.0])) == pytest.approx(1)
    assert rhythm.jensen_shannon(one, one) == 0
    assert np.isnan(rhythm.jensen_shannon(one, np.full(4, np.nan)))


@pytest.mark.parametrize(("place", "ratio"), [(1 / 2, 1), (2 / 3, 2), (0.6, 1.5)])
def test_swing(place: float, ratio: float) -> None:
    grid = steady(110, 30, first=0.2)
    seconds_eighths = grid.positions(grid.times)[::2] + place
    times = np.interp(np.concatenate((np.arange(50), seconds_eighths[:20])), np.arange(len(grid.times)), grid.times)
    assert rhythm.swing(times, grid) == pytest.approx(ratio, rel=0.03)


def test_swing_is_undefined_without_second_eighths() -> None:
    grid = steady(110, 30, first=0.2)
    assert np.isnan(rhythm.swing(grid.times, grid))
    assert np.isnan(rhythm.swing(np.random.default_rng(3).uniform(0, 30, 500), grid))
    assert np.isnan(rhythm.swing(grid.times, NO_BEAT))


def test_sharpness_by_hand() -> None:
    strength = np.full(40, 0.5)
    strength[[7, 30]] = (4.0, 6.0)
    assert rhythm.sharpness(strength) == pytest.approx(10 / 29)
    assert rhythm.sharpness(np.ones(200)) == pytest.approx(0.05)
    assert np.isnan(rhythm.sharpness(np.zeros(40)))


def test_groove_goes_by_bars_of_their_own_lengths() -> None:
    edges = np.array([8.0, 56.0, 88.0, 152.0])  # bars of 48, 32 and 64 frames
    starts = np.array([8, 32, 56, 72, 88, 108, 3, 160])  # steps 0 and 8; 0 and 8; 0 and 5; two outside
    assert groove_consistency(starts, edges) == pytest.approx(1 - 2 / 32)
    assert groove_consistency(starts[:4], edges) == pytest.approx(1 - 2 / 32)
    assert np.isnan(groove_consistency(starts, edges[:2]))


def test_all_values_of_a_waltz() -> None:
    grid = steady(132, 30, first=0.1, meter=3)
    roll = piece_of([(float(t), 5 if n == 1 else 2) for t, n in zip(grid.times, grid.numbers, strict=True)], 30)
    values = rhythm.rhythm_values(roll, find_notes(roll.mean(axis=0)), grid, FRAME)
    assert values["pulse"] > 0.9
    assert values["grid share"] == 1
    assert values["groove consistency"] > 0.98
    assert np.flatnonzero(np.asarray(values["onset places"]) > 0.1).tolist() == [0, 5, 11]  # thirds of sixteen
    assert values["accents"] > 0.6
    assert np.isnan(values["swing"])
    assert values["grid"] == pytest.approx(1, abs=0.05)
