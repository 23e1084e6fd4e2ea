"""Channels by name: sides of a recording, its drums, instruments."""

from __future__ import annotations

import numpy as np
import pytest

from musigan.rolls import tracks
from musigan.rolls.notes import find_strokes
from musigan.rolls.timing import tighten

STEREO, MONO = ("left", "right", "drums"), ("mono", "drums")
BAND = ("drums", "piano", "bass")


def roll(channels: int, keys: int = 14, frames: int = 9, seed: int = 1) -> np.ndarray:
    """(C, K, T) of random loudness."""
    return np.random.default_rng(seed).random((channels, keys, frames), np.float32)


@pytest.mark.parametrize("names", [(), ("left", "right"), ("mono",), STEREO, MONO])
def test_recordings_are_known_by_their_channels(names: tuple[str, ...]) -> None:
    assert tracks.is_recording(names)
    assert tracks.has_own_drums(names) == ("drums" in names)


@pytest.mark.parametrize("names", [BAND, ("drums",), ("piano",), ("drums", "left", "right"), ("left", "drums")])
def test_instruments_are_no_recording(names: tuple[str, ...]) -> None:
    assert not tracks.is_recording(names)
    assert not tracks.has_own_drums(names)
    np.testing.assert_array_equal(tracks.sides_or_tracks(roll(3), names), roll(3))


@pytest.mark.parametrize("names", [STEREO, MONO, BAND, ("left", "right"), ()])
def test_transposition_moves_all_but_drums(names: tuple[str, ...]) -> None:
    one = roll(len(names) or 2)
    for keys in (3, -2, 0):
        moved = tracks.transposed(one, keys, names)
        for number, name in enumerate(names or ("left", "right")):
            expected = np.roll(one[number], keys, axis=0)
            if keys:
                expected[:keys] = 0 if keys > 0 else expected[:keys]
                expected[keys:] = 0 if keys < 0 else expected[keys:]
            np.testing.assert_array_equal(moved[number], one[number] if name == "drums" else expected)


@pytest.mark.parametrize(
    ("names", "channels", "expected"),
    [(STEREO, 3, [1, 0, 2]), ((), 2, [1, 0]), ((), 1, [0]), (MONO, 2, [0, 1]), (("piano", "bass"), 2, [0, 1])],
)
def test_swapping_swaps_the_sides_of_a_recording_only(
    names: tuple[str, ...], channels: int, expected: list[int]
) -> None:
    one = roll(channels)
    np.testing.assert_array_equal(tracks.swapped_sides(one, names), one[expected])


def test_drums_are_mixed_in_to_be_looked_at_and_left_out_of_what_has_a_pitch() -> None:
    one = np.array([[[0.8]], [[0.2]], [[0.6]]], np.float32)
    assert tracks.mix_pitched(one, STEREO).item() == pytest.approx(0.5)
    assert tracks.mix_channels(one, STEREO).item() == pytest.approx(0.6)
    assert tracks.mix_channels(np.array([[[0.8]], [[0.2]], [[0.1]]]), STEREO).item() == pytest.approx(0.5)
    assert tracks.mix_pitched(one, BAND).item() == pytest.approx(0.6)
    assert tracks.mix_channels(one, BAND).item() == pytest.approx(0.8)
    np.testing.assert_array_equal(tracks.pitched_channels(one, STEREO), one[:2])
    assert [len(part) for part in tracks.parts_of(one, STEREO)] == [2, 1]
    assert [len(part) for part in tracks.parts_of(one, BAND)] == [1, 1, 1]
    assert [len(part) for part in tracks.parts_of(one[:2], ())] == [2]


def test_strokes_are_found_though_the_drum_still_rings() -> None:
    plane = np.zeros((5, 20), np.float32)
    plane[2, 3:9], plane[2, 6:14] = 0.8 * 0.7 ** np.arange(6), 0.5 * 0.6 ** np.arange(8)
    plane[4, 0:2], plane[4, 19] = (0.06, 0.3), 0.2  # louder over two frames, and cut off
    plane[0, 5] = 0.04  # too faint
    found = find_strokes(plane)
    assert (found.keys.tolist(), found.starts.tolist()) == ([2, 2, 4, 4], [3, 6, 0, 19])
    assert found.stops.tolist() == [6, 13, 2, 20]
    assert found.loudness.tolist() == pytest.approx([0.8, 0.5, 0.3, 0.2])
    assert len(find_strokes(np.zeros((3, 4), np.float32))) == 0


def test_timing_moves_drums_under_a_held_note_of_their_key() -> None:
    """A soft stroke on the bass's own key is an attack, and the bass stays where it is."""
    one = np.zeros((3, 4, 48), np.float32)
    one[:2, 1, 0:40] = 0.9
    one[2, 1, 13:19] = 0.4 * 0.8 ** np.arange(6)
    tight = tighten(one, STEREO)
    np.testing.assert_array_equal(tight[:2], one[:2])
    assert tight[2, 1, 12] == np.float32(0.4)
    assert not tight[2, 1, :12].any()
    np.testing.assert_array_equal(tighten(one[:2], ()), tighten(one[:2]))
