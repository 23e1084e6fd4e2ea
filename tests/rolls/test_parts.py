"""Parts: which instruments play around each beat, and how much."""

from __future__ import annotations

import numpy as np

from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.parts import FIGURES, attacks_of, parts_of, sounding_of

KEYS = 7


def test_an_instrument_plays_in_a_bar_or_rests() -> None:
    """Two instruments, a pickup and bars of three beats; the second plays on one beat of the second bar."""
    numbers = np.array([3, 1, 2, 3, 1, 2, 3, 1])
    roll = np.zeros((2, KEYS, len(numbers) * GRID_FRAMES), np.float32)
    roll[0, 2, 5:] = 0.5
    roll[1, 4, 5 * GRID_FRAMES + 3 : 5 * GRID_FRAMES + 9] = 0.5
    parts = parts_of(roll, numbers)
    assert parts.shape == (len(numbers), 2 * FIGURES)
    assert parts[:, 0].tolist() == [1.0] * 8
    assert parts[:, FIGURES].tolist() == [0, 0, 0, 0, 1, 1, 1, 0]


def test_attacks_and_what_sounds_come_back() -> None:
    beats = 24
    roll = np.zeros((2, KEYS, beats * GRID_FRAMES), np.float32)
    for start in range(0, beats * GRID_FRAMES, 6):  # four notes a beat, half of the time
        roll[1, 3, start : start + 3] = 0.7
    parts = parts_of(roll, np.arange(beats) % 4 + 1)
    np.testing.assert_allclose(attacks_of(parts), np.tile([0.0, 4.0], (beats, 1)), atol=0.1)
    np.testing.assert_allclose(sounding_of(parts), np.tile([0.0, 0.5 / KEYS], (beats, 1)), atol=0.002)
