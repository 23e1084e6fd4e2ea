"""Harmony: the pitch classes of each half of a bar."""

from __future__ import annotations

import numpy as np

from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.harmony import AROUND, filled, harmony_of, kept_to
from musigan.rolls.scenes import CLASSES

KEYS = 27


def test_halves_of_bars_tell_their_pitch_classes_and_nothing_else() -> None:
    """A pickup, a bar of four beats and one of three; two instruments, octaves apart."""
    numbers = np.array([4, 1, 2, 3, 4, 1, 2, 3])
    roll = np.zeros((2, KEYS, len(numbers) * GRID_FRAMES), np.float32)
    roll[0, 3, 2 * GRID_FRAMES : 3 * GRID_FRAMES] = 1.0  # the second beat of the first bar
    roll[1, 3 + CLASSES, 3 * GRID_FRAMES : 4 * GRID_FRAMES] = 1.0  # the third
    roll[1, 5, 3 * GRID_FRAMES : 4 * GRID_FRAMES] = 0.52
    roll[0, 26, 6 * GRID_FRAMES + 1 : 6 * GRID_FRAMES + 3] = 0.1
    expected = np.zeros((len(numbers), CLASSES), np.float32)
    expected[1:5, 3] = 1.0
    expected[3:5, 5] = 0.5
    expected[5:8, 2] = 1.0
    np.testing.assert_allclose(harmony_of(roll, numbers), expected)


def test_a_harmony_goes_on_where_nothing_sounds() -> None:
    harmony = np.zeros((7, CLASSES), np.float32)
    harmony[2, 4], harmony[5, 7] = 1.0, 0.5
    assert filled(harmony).argmax(1).tolist() == [4, 4, 4, 4, 4, 7, 7]
    assert not filled(np.zeros((3, CLASSES), np.float32)).any()


def test_what_the_harmony_around_has_not_is_left_out_but_drums_and_where_there_is_none() -> None:
    rng = np.random.default_rng(1)
    beats = 3 * AROUND + 4
    roll = rng.random((3, KEYS, beats * GRID_FRAMES)).astype(np.float32)
    harmony = np.zeros((beats, CLASSES), np.float32)
    harmony[0, [2, 7]], harmony[2, 4] = (1.0, 0.1), 0.3
    kept = kept_to(roll, harmony, [1])
    assert kept.dtype == roll.dtype
    np.testing.assert_array_equal(kept[1], roll[1])
    by_beat, kept_by_beat = (each.reshape(3, KEYS, beats, GRID_FRAMES) for each in (roll, kept))
    for beat in range(beats):
        told = {2, 7} if beat <= AROUND else set()
        told |= {4} if beat <= 2 + AROUND else set()
        is_told = np.isin(np.arange(KEYS) % CLASSES, list(told or range(CLASSES)))
        np.testing.assert_array_equal(kept_by_beat[::2, is_told, beat], by_beat[::2, is_told, beat])
        assert not kept_by_beat[::2, ~is_told, beat].any()
    np.testing.assert_array_equal(kept_to(roll, np.zeros_like(harmony)), roll)
