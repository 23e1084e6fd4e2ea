"""Attacks put on the grid, and scenes of what is around each beat."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.scenes import CLASSES, METAL, SCENE, SKINS, fullness_of, scene_of, transposed
from musigan.rolls.timing import attack_frames, tighten

BEATS = 8


def played(attacks: list[tuple[int, int, int]], keys: int = 5) -> np.ndarray:
    """A roll (2, K, T) of notes (key, first frame, frames) that fade from .8, the second channel half as loud."""
    roll = np.zeros((2, keys, BEATS * GRID_FRAMES), np.float32)
    for key, start, count in attacks:
        stop = min(start + count, roll.shape[-1])
        roll[0, key, start:stop] = 0.8 - 0.01 * np.arange(stop - start)
    roll[1] = roll[0] / 2
    return roll


def starts(roll: np.ndarray) -> list[tuple[int, int]]:
    """Keys and frames of all attacks."""
    return [(int(key), int(frame)) for key, frame in zip(*np.nonzero(attack_frames(roll.max(0))), strict=True)]


def test_late_and_early_attacks_go_to_their_16ths() -> None:
    roll = played([(0, 2, 9), (0, 23, 9), (2, 31, 20), (4, 100, 4)])
    tight = tighten(roll)
    assert starts(tight) == [(0, 0), (0, 24), (2, 30), (4, 102)]
    np.testing.assert_array_equal(tight[1], tight[0] / 2)
    for key, start, stop in ((0, 0, 11), (0, 24, 32), (2, 30, 51), (4, 102, 105)):  # each lasts until it did
        assert (tight[0, key, start:stop] > 0).all()
        assert tight[0, key, stop] == 0
        assert tight[0, key, start] == pytest.approx(0.8)


def test_what_is_on_the_grid_stays() -> None:
    roll = played([(key, 6 * number, 6) for key, number in ((0, 0), (0, 1), (1, 3), (3, 20), (4, 31))])
    np.testing.assert_array_equal(tighten(roll), roll)


def test_a_note_struck_again_is_two_notes_still() -> None:
    """Without silence between, by a rise alone, and in the same 16th once."""
    roll = played([(1, 1, 40)])
    roll[:, 1, 25:30] *= 2
    assert [frame for _, frame in starts(tighten(roll))] == [0, 24]
    assert tighten(roll)[0, 1, :30].min() > 0
    assert len(starts(tighten(played([(1, 23, 2), (1, 26, 2)])))) == 1


def test_triplets_and_32nds_are_left_where_they_fit() -> None:
    triplets = played([(number % 5, 8 * number, 5) for number in range(24)])
    np.testing.assert_array_equal(tighten(triplets), triplets)
    fine = played([(number % 5, 3 * number, 3) for number in range(64)])
    assert starts(tighten(fine)) == starts(fine)
    loose = played([(number % 5, 8 * number + (1, -1, 0, 1)[number % 4], 5) for number in range(1, 24)])
    assert {frame % 8 for _, frame in starts(tighten(loose))} == {0}


def test_what_swells_without_a_blow_stays_and_what_sounds_before_one_goes() -> None:
    roll = np.zeros((1, 2, BEATS * GRID_FRAMES), np.float32)
    roll[0, 0, 7:40] = np.linspace(0.01, 0.5, 33)
    roll[0, 1, 22:24], roll[0, 1, 24:30] = 0.05, 0.7
    tight = tighten(roll)
    np.testing.assert_array_equal(tight[0, 0], roll[0, 0])
    assert (tight[0, 1, 22:24] == 0).all()
    assert (tight[0, 1, 24:30] > 0).all()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, BEATS * GRID_FRAMES - 1), st.integers(1, 30)), max_size=30))
def test_any_music_keeps_its_keys_its_loudness_and_its_place(notes: list[tuple[int, int, int]]) -> None:
    roll = played(notes)
    tight = tighten(roll)
    assert tight.shape == roll.shape
    assert set(np.unique(tight)) <= set(np.unique(roll))
    sounds, before = (tight > 0).any(0), (roll > 0).any(0)
    reach = np.ones(2 * 4 + 1)  # half a triplet
    for key in range(5):
        assert (np.convolve(before[key], reach, "same") > 0)[sounds[key]].all()
    np.testing.assert_array_equal(tight[1], tight[0] / 2)


# ---- scenes ----


def test_a_scene_says_which_pitch_classes_are_heard_how_full_and_how_high() -> None:
    roll = np.zeros((2, 30, BEATS * GRID_FRAMES), np.float32)
    for beat in range(BEATS):
        roll[:, 3, beat * GRID_FRAMES : beat * GRID_FRAMES + 12] = 0.6
        roll[:, 15, beat * GRID_FRAMES : beat * GRID_FRAMES + 6] = 0.6  # an octave higher
        roll[:, 7, beat * GRID_FRAMES : beat * GRID_FRAMES + 9] = 0.6
    scene = scene_of(roll)
    assert scene.shape == (BEATS, SCENE)
    assert scene.dtype == np.float32
    expected = np.zeros(CLASSES)
    expected[3], expected[7] = 1, 0.5
    np.testing.assert_allclose(scene[4, :CLASSES], expected, atol=0.01)
    attacks, sounding, loudness, height, skins, metal = scene[4, CLASSES:]
    assert skins == metal == 0
    assert attacks == pytest.approx(np.log2(1 + 3) / 4, abs=0.01)
    assert sounding == pytest.approx(4 * (27 / 24 / 30) ** 0.5, abs=0.01)
    assert loudness == pytest.approx(0.6, abs=0.01)
    fullness = fullness_of(scene[4])
    assert fullness.attacks == pytest.approx(3, abs=0.05)
    assert fullness.sounding == pytest.approx(27 / 24 / 30, abs=0.001)
    assert height == pytest.approx((3 * 12 + 15 * 6 + 7 * 9) / 27 / 30, abs=0.01)


def test_scenes_tell_how_often_drums_are_struck() -> None:
    roll, kit = np.zeros((2, 30, BEATS * GRID_FRAMES), np.float32), np.zeros((5, BEATS * GRID_FRAMES), np.float32)
    kit[0, ::GRID_FRAMES] = 0.8  # a kick a beat
    kit[3, :: GRID_FRAMES // 4] = 0.5  # four strokes of the hi-hat
    scene = scene_of(roll, kit)
    np.testing.assert_allclose(scene[:, SKINS], np.log2(1 + 1) / 4, atol=0.01)
    np.testing.assert_allclose(scene[:, METAL], np.log2(1 + 4) / 4, atol=0.01)
    np.testing.assert_array_equal(scene[:, :SKINS], scene_of(roll)[:, :SKINS])


def test_scenes_change_slowly_and_hold_for_four_beats() -> None:
    rng = np.random.default_rng(2)
    roll = (rng.random((1, 40, 22 * GRID_FRAMES)) > 0.97).astype(np.float32) * 0.5
    roll[..., 11 * GRID_FRAMES :] = 0  # the second half is silent
    scene = scene_of(roll)
    assert len(scene) == 22
    np.testing.assert_array_equal(scene[4:8], np.repeat(scene[4:5], 4, 0))
    sounding = scene[::4, CLASSES + 1]
    assert (np.diff(sounding) <= 0).all()
    assert sounding[0] > 2 * sounding[4] > 0
    assert (scene_of(np.zeros_like(roll)) == 0).all()


def test_music_in_another_key_has_the_scene_in_that_key() -> None:
    roll = np.zeros((1, 40, 9 * GRID_FRAMES), np.float32)
    rng = np.random.default_rng(3)
    roll[:, 8:30] = (rng.random((1, 22, 9 * GRID_FRAMES)) > 0.9) * 0.4
    for keys in (-5, 3):
        moved = scene_of(np.roll(roll, keys, axis=1))
        np.testing.assert_allclose(
            moved[:, : CLASSES + 3], transposed(scene_of(roll), keys)[:, : CLASSES + 3], atol=0.011
        )
