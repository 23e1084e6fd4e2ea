"""Tones as values, on average, and what breath depends on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from musigan.rolls.tone import (
    BANDS,
    LEAST_POWER,
    PARTIALS,
    REGISTERS,
    SHAPES,
    Tone,
    average,
    band_centres_hz,
    band_weights,
    breath_features,
    by_key,
)
from tests.tones import tone


def test_values_are_small_plain_and_come_back() -> None:
    values = tone(fades=np.full(REGISTERS, 0.12345)).to_values()
    text = json.dumps(values)
    back = Tone.parse(json.loads(text))
    assert back is not None
    assert len(text) < 4000
    assert back.to_values() == values
    assert back.fades.tolist() == [0.123] * REGISTERS


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"version": "1"}, "a version"), ({"version": 0}, "a version"), ({"version": True}, "a version"),
        ({"fades": None}, "fades is"), ({"fades": [1.0]}, r"fades is \(1,\)"), ({"likeness": "abc"}, "likeness"),
        ({"partials": [[0.0] * PARTIALS] * REGISTERS}, "no partials"), ({"fades": [float("nan")] * REGISTERS}, "fades"),
        ({"likeness": [1.5] * BANDS}, "0 to 1"), ({"breath": [[1.0], [1.0, 2.0]]}, "breath"), ({"fades": {}}, "fades"),
    ],
)  # fmt: skip
def test_damage_is_refused(damage: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tone.parse(tone().to_values() | damage)


def test_newer_versions_are_passed_over_and_missing_fields_refused() -> None:
    assert Tone.parse({"version": 2, "wind": 3}) is None
    for name in SHAPES:
        values = tone().to_values()
        del values[name]
        with pytest.raises(ValueError, match=name):
            Tone.parse(values)
    with pytest.raises(ValueError, match="a version"):
        Tone.parse([1, 2])


def test_the_average_is_of_powers_and_of_numbers() -> None:
    pure = np.zeros((REGISTERS, PARTIALS))
    pure[:, 0] = 1.0
    both = average([tone(), tone(partials=pure, fades=np.full(REGISTERS, 3.0))])
    assert both is not None
    np.testing.assert_allclose((both.partials**2).sum(axis=1), 1.0)
    np.testing.assert_allclose(both.partials[0, :3], np.sqrt([0.82, 0.0, 0.18]))
    assert both.fades.tolist() == [1.5] * REGISTERS
    assert average([]) is None


def test_bands_cover_everything_once() -> None:
    weights = band_weights(np.array([0.0, 100.0, 1234.5, 9000.0]))
    np.testing.assert_allclose(weights.sum(axis=0), 1.0)
    assert weights[-1, -1] == weights[0, 0] == 1.0
    np.testing.assert_allclose(band_weights(band_centres_hz()), np.eye(BANDS), atol=1e-9)


def test_registers_meet_between_their_keys() -> None:
    values = np.arange(REGISTERS, dtype=float)
    np.testing.assert_allclose(by_key(values, np.array([1, 6.5, 12, 17.5, 88])), [0.0, 0.0, 0.5, 1.0, 7.0])


def test_breath_depends_on_what_sounds_now_lately_and_nearby() -> None:
    roll = np.zeros((1, 2, 200), np.float32)
    roll[0, 1, 100:] = 0.5
    one, now, lately, rise, near = breath_features(roll, np.array([200.0, 1000.0]), 0.02)
    assert (one == 1).all()
    np.testing.assert_allclose(now[0, 0, [50, 150]], np.log([LEAST_POWER, 0.25 + LEAST_POWER]), rtol=1e-4)
    assert lately[0, 0, 105] < now[0, 0, 105]
    assert rise[0, 0].argmax() == 100
    band = np.abs(band_centres_hz() - 1000).argmin()
    assert near[0, band, 150] > near[0, 0, 150] + 5
    stepped = breath_features(roll, np.array([200.0, 1000.0]), 0.02, 4)
    np.testing.assert_array_equal(stepped[4], near[..., ::4])
    np.testing.assert_array_equal(stepped[1], now[..., ::4])
