"""Which keys, which bands: ranges, defaults, what is refused."""

from __future__ import annotations

import pytest

from musigan.errors import SettingsError
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings


def test_key_range_names_frequencies() -> None:
    keys = KeyRange.parse("27:59")
    assert (keys.low, keys.high, keys.count, str(keys)) == (27, 59, 33, "27:59")
    assert KeyRange(40, 40).frequencies_hz() == pytest.approx([261.6256], abs=1e-4)
    assert KeyRange().frequencies_hz()[[0, 48, 87]] == pytest.approx([27.5, 440.0, 4186.009], abs=1e-3)


@pytest.mark.parametrize("text", ["0:88", "1:89", "60:20", "a:b", "1-88", ""])
def test_key_range_refuses(text: str) -> None:
    with pytest.raises(SettingsError, match="--keys"):
        KeyRange.parse(text)


def test_bands_have_their_own_defaults() -> None:
    assert KeySettings().keys == KeyRange(1, 88)
    fixed = KeySettings("fixed")
    assert (fixed.keys, fixed.threshold, fixed.cleaned) == (KeyRange(27, 59), 0.025, False)
    assert set(fixed.deviations_hz()) == {12.5}
    assert KeySettings("fixed", keys=KeyRange(3, 9), threshold=0.0).threshold == 0.0


@pytest.mark.parametrize(
    ("field", "value"), [("band", "wide"), ("threshold", 1.5), ("threshold", -0.1), ("frame_seconds", 0.0)]
)
def test_settings_refuse(field: str, value: object) -> None:
    with pytest.raises(SettingsError):
        KeySettings(**{field: value})
