from __future__ import annotations

import numpy as np
import pytest

from musigan.rolls import beats
from musigan.rolls.beats import Beat, Beats

FRAME = 0.02


def pulses(tempo: float, first: float, seconds: float = 20.0, between: int = 1) -> np.ndarray:
    """(2, 30, T): a note on another key at every `between`-th part of a beat, the first of four with a low one."""
    rng = np.random.default_rng(5)
    roll = np.zeros((2, 30, round(seconds / FRAME)), np.float32)
    for number in range(int((seconds - first) * tempo / 60 * between)):
        start = round((first + number * 60 / tempo / between) / FRAME)
        loud = 0.4 if number % between == 0 else 0.1
        roll[:, rng.integers(8, 30), start : start + 6] = loud
        if number % (4 * between) == 0:
            roll[0, 2, start : start + 9] = 0.6
    return roll


@pytest.mark.parametrize(("tempo", "between"), [(63.0, 1), (84.0, 2), (97.0, 1), (128.0, 2), (144.0, 1)])
def test_tempo_and_bar_of_made_up_rolls(tempo: float, between: int) -> None:
    bar = 240 / tempo
    found = beats.estimate(pulses(tempo, 0.6, between=between), FRAME)
    assert found is not None
    assert found.tempo == pytest.approx(tempo, rel=0.005)
    off = (found.first_beat - 0.6 + bar / 2) % bar - bar / 2
    assert abs(off) < 0.06


def test_nothing_to_go_by() -> None:
    held = np.full((2, 30, 500), 0.3, np.float32)
    assert beats.estimate(np.zeros((2, 30, 500), np.float32), FRAME) is None
    assert beats.estimate(held, FRAME) is None
    assert beats.estimate(pulses(120.0, 0.1, seconds=1.5), FRAME) is None


def test_clock_by_hand() -> None:
    """At 75 a minute a beat lasts .8 s, a bar of three 2.4 s; the first begins at .2 s."""
    told = beats.clock(Beat(75.0, 0.2, 3), 150, FRAME)
    assert told.shape == (4, 150)
    assert told.dtype == np.float32
    np.testing.assert_allclose(told[:, 10], [0, 1, 0, 1], atol=1e-6)  # .2 s
    np.testing.assert_allclose(told[:2, 20], [1, 0], atol=1e-6)  # a quarter of a beat later
    np.testing.assert_allclose(told[2:, 10 + 30], [1, 0], atol=1e-6)  # a quarter of a bar
    np.testing.assert_allclose(told[:, 10 + 120], [0, 1, 0, 1], atol=1e-6)


def test_seen_from_later_is_the_same_beat() -> None:
    whole = beats.clock(Beat(91.0, 0.3), 400, FRAME)
    later = beats.clock(Beat(91.0, 0.3).counted_from(3.5), 100, FRAME)
    np.testing.assert_allclose(later, whole[:, 175:275], atol=1e-4)


def test_steady_beat_of_single_ones() -> None:
    """Beats .5 s apart, one of them late; bars of three after an upbeat of two."""
    seconds = np.array([0.2, 0.7, 1.2, 1.7, 2.2, 2.7, 3.3, 3.8])
    numbers = np.array([2, 3, 1, 2, 3, 1, 2, 3])
    assert Beats(seconds, numbers, 0.5).steady() == Beat(120.0, 1.2, 3)
    assert Beats(seconds, numbers, 0.49).steady() is None
    assert Beats(seconds[:1], numbers[:1], 1.0).steady() is None
    assert Beats.none().steady() is None
    assert Beats(seconds[3:5], numbers[3:5], 1.0).steady() == Beat(120.0, 1.7, 3)  # no downbeat among them


def test_single_beats_seen_from_later() -> None:
    later = Beats(np.array([0.5, 1.25, 2.0]), np.array([4, 1, 2]), 0.75).counted_from(1.0)
    assert (later.seconds.tolist(), later.numbers.tolist(), later.confidence) == ([0.25, 1.0], [1, 2], 0.75)
    assert later.downbeats.tolist() == [0.25]
