"""Feel: where in the beat instruments strike."""

from __future__ import annotations

import numpy as np

from musigan.rolls.feel import PLACES, feel_of, swung
from musigan.rolls.grid import GRID_FRAMES

KEYS = 5


def struck(beats: int, *places: int) -> np.ndarray:
    """A roll (1, KEYS, beats * GRID_FRAMES) with short notes at these frames of every beat."""
    roll = np.zeros((1, KEYS, beats, GRID_FRAMES), np.float32)
    for place in places:
        roll[:, 2, :, place : place + 2] = 0.8
    return roll.reshape(1, KEYS, -1)


def test_a_feel_is_the_share_of_attacks_in_each_twelfth_of_a_beat() -> None:
    roll = np.concatenate((struck(7, 0, 12), struck(7, 0, 16)))
    expected = np.zeros(PLACES)
    expected[[0, 6, 8]] = 0.5, 0.25, 0.25
    np.testing.assert_allclose(feel_of(roll), np.tile(expected, (7, 1)))
    assert feel_of(np.zeros_like(roll)).tolist() == [[0.0] * PLACES] * 7


def test_a_feel_changes_within_some_bars() -> None:
    feel = feel_of(np.concatenate((struck(30, 0, 12), struck(34, 0, 16)), 2))
    assert feel[0, 6] == feel[-1, 8] == 0.5
    assert feel[0, 8] == feel[-1, 6] == 0


def test_what_swings_has_its_second_halves_two_thirds_into_the_beat() -> None:
    made = swung(struck(3, 0, 6, 12, 18))[0, 2] > 0
    starts = np.flatnonzero(np.diff(np.pad(made, 1).astype(int)) == 1)
    assert starts.tolist() == [beat * GRID_FRAMES + place for beat in range(3) for place in (0, 8, 16, 20)]
