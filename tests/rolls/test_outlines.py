"""Outlines of songs: bars, plan and circumstances, beat for beat."""

from __future__ import annotations

import numpy as np
import pytest

from musigan.errors import CheckpointError
from musigan.rolls.grid import GRID_FRAMES, Grid
from musigan.rolls.outlines import FEATURES, Outline, outline_of, plan_of
from musigan.rolls.scenes import SCENE, SCENES_WITHOUT_DRUMS


def song(bars: str, meter: int = 3) -> tuple[np.ndarray, Grid]:
    """A roll whose bars of the same letter are the same, and its grid."""
    content = {
        letter: np.random.default_rng(ord(letter)).random((2, 9, meter * GRID_FRAMES)).astype(np.float32) ** 6
        for letter in bars
    }
    roll = np.concatenate([content[letter] for letter in bars], axis=-1)
    return roll, Grid.steady(100, meter * len(bars), meter)


def test_music_goes_on_as_its_last_whole_bars() -> None:
    """Of 35 beats the last 30 of three, as 32 are no whole bars; of 4 beats the last 3; of 2 both."""
    for known, period, count in ((35, 30, 65), (4, 3, 5), (2, 2, 3)):
        places = np.arange(known)
        scene = np.repeat(places[:, None], SCENE, 1).astype(np.float32)
        own = Outline(places % 3 + 1, places // 2, places / known, 90.0, 3, style="waltz", begins=False, scene=scene)
        whole = own.going_on(count)
        assert len(whole) == known + count
        source = np.append(places, np.resize(places[-period:], count))
        np.testing.assert_array_equal(whole.scene[:, 0], source)
        np.testing.assert_array_equal(whole.lags, source // 2)
        np.testing.assert_array_equal(whole.likeness, source / known)
        np.testing.assert_array_equal(whole.numbers, np.arange(known + count) % 3 + 1)
        assert (whole.tempo, whole.style, whole.begins) == (90.0, "waltz", False)


def test_a_plan_leads_back_to_the_nearest_like_bar() -> None:
    lags, likeness = plan_of(*song("ABCABCCD"))
    assert list(lags[::3] // 3)[3:7] == [3, 3, 3, 1]
    np.testing.assert_allclose(likeness[9:21], 1.0, atol=1e-3)
    assert likeness[0] == lags[0] == 0
    assert likeness[-1] < 0.6


def test_an_outline_of_values_is_the_same_outline() -> None:
    outline = outline_of(*song("ABAB"), style="waltz", begins=True, ends=True)
    again = Outline.parse(outline.to_values())
    assert again.style == "waltz"
    assert again.ends
    np.testing.assert_array_equal(again.lags, outline.lags)
    np.testing.assert_allclose(again.features(), outline.features(), atol=0.01)
    np.testing.assert_allclose(again.scene, outline.scene, atol=1e-6)
    assert outline.scene.max() > 0.5
    assert outline.features().shape == (12, FEATURES)


@pytest.mark.parametrize(
    "change",
    [
        {"lags": [1]},
        {"meter": 0},
        {"tempo": "fast"},
        {"numbers": []},
        {"likeness": None},
        {"scenes": [[1, 2]]},
        {"scenes": [[0] * SCENE]},
    ],
)
def test_damaged_values_are_said_to_be(change: dict[str, object]) -> None:
    values = outline_of(*song("AB")).to_values()
    with pytest.raises(CheckpointError, match="outlines"):
        Outline.parse({**values, **change})


def test_a_part_forgets_what_lies_before_it() -> None:
    outline = outline_of(*song("ABCABC"))
    part = outline.part(6, 9)
    assert len(part) == 9
    assert not part.begins
    assert list(part.lags) == [0] * 9  # C, A, B: all like bars lie 9 beats back, before the part or at its beginning
    later = outline.part(3, 15)
    assert list(later.lags[9:]) == [9] * 6
    np.testing.assert_array_equal(later.scene, outline.scene[3:])


def test_a_piece_begins_with_a_bar() -> None:
    roll, grid = song("ABCA")
    outline = outline_of(roll[..., GRID_FRAMES:], grid.part(1, 11))
    begun = outline.from_downbeat()
    assert (len(begun), begun.numbers[0], begun.begins) == (9, 1, True)
    np.testing.assert_array_equal(begun.scene, outline.scene[2:])
    assert begun.from_downbeat().numbers.tolist() == begun.numbers.tolist()
    no_bar = outline.part(0, 2)
    assert no_bar.from_downbeat().numbers.tolist() == [2, 3]


@pytest.mark.parametrize("count", [1, 7, 18, 29, 60])
def test_an_outline_lasts_as_long_as_is_asked(count: int) -> None:
    outline = outline_of(*song("ABCABC"))
    longer = outline.lasting(count)
    assert len(longer) == count
    assert (longer.lags <= np.arange(count)).all()
    expected = np.arange(count) % 3 + 1
    np.testing.assert_array_equal(longer.numbers, expected)
    if count > 18:
        assert (longer.likeness[18:] > 0.9).all()  # goes on repeating
        np.testing.assert_array_equal(longer.scene[18:21], outline.scene[9:12])


def test_outlines_of_before_there_were_scenes_have_empty_ones() -> None:
    values = outline_of(*song("ABAB")).to_values()
    del values["scenes"]
    old = Outline.parse(values)
    assert old.scene.shape == (12, SCENE)
    assert not old.scene.any()
    assert old.transposed(5).part(2, 4).lasting(9).scene.shape == (9, SCENE)


def test_scenes_of_before_they_told_of_drums_are_without() -> None:
    values = outline_of(*song("ABAB")).to_values()
    expected = Outline.parse(values).scene
    values["scenes"] = [row[:SCENES_WITHOUT_DRUMS] for row in values["scenes"]]
    np.testing.assert_array_equal(Outline.parse(values).scene, expected)
