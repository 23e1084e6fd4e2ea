from __future__ import annotations

import numpy as np
import pytest

from musigan.rolls.tonality import tonality


def scale(tonic: int, steps: tuple[int, ...], low_key: int = 28) -> np.ndarray:
    """A roll of two octaves' scale; the tonic and its fifth are held longest."""
    roll = np.zeros((2, 40, 60), np.float32)
    for octave in (0, 12):
        for step in steps:
            length = {0: 50, 7: 40, steps[2]: 30}.get(step, 12)
            roll[:, tonic + step + octave - low_key, :length] = 0.5
    return roll


@pytest.mark.parametrize(
    ("tonic", "steps", "name"),
    [
        (40, (0, 2, 4, 5, 7, 9, 11), "C major"),
        (42, (0, 2, 3, 5, 7, 8, 10), "D minor"),
        (35, (0, 2, 4, 5, 7, 9, 11), "G major"),
    ],
)
def test_a_scale_has_its_key(tonic: int, steps: tuple[int, ...], name: str) -> None:
    assert tonality(scale(tonic, steps), 28) == name


def test_what_has_no_key_has_none() -> None:
    assert tonality(np.zeros((2, 40, 10)), 28) == ""
    assert tonality(np.ones((2, 36, 10)), 28) == ""
    drums = np.concatenate((np.zeros((2, 40, 60)), scale(40, (0, 2, 4, 5, 7, 9, 11))[:1]))
    assert tonality(drums, 28, ("left", "right", "drums")) == ""
