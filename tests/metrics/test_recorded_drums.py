"""Metrics of recordings with drums: those of pitch, rhythm and form are as without, and drums are judged apart."""

from __future__ import annotations

import numpy as np
import pytest

from musigan.metrics.bars import Piece
from musigan.metrics.describing import as_sides, describe, with_drums
from musigan.metrics.matching import describe_half
from musigan.metrics.notemetrics import NAMES, OF_TRACKS
from musigan.metrics.piecebaselines import PIECE_BASELINES
from musigan.metrics.pieces import METRICS, compare_pieces, measure_pieces
from musigan.rolls.shape import Geometry
from tests.musicstores import DRUMMED_LOW, recording

STEREO, MONO = ("left", "right", "drums"), ("mono", "drums")
FRAMES = 1500


def geometry(tracks: tuple[str, ...]) -> Geometry:
    return Geometry(0.02, DRUMMED_LOW, tracks)


@pytest.mark.parametrize("tracks", [STEREO, MONO])
def test_pitch_is_judged_as_without_drums_and_silent_ones_change_nothing(tracks: tuple[str, ...]) -> None:
    roll = recording(1, 500, len(tracks) - 1)
    silent = roll * (np.arange(len(roll)) < len(roll) - 1)[:, None, None]

    def described(one: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        found = describe([one], np.array(["a"]), geometry(names))
        return {"musical": found.musical, "notes": found.notes, "pictures": found.pictures, "random": found.random}

    played, quiet, sides = described(roll, tracks), described(silent, tracks), described(roll[:-1], ())
    for name in ("musical", "pictures"):
        np.testing.assert_array_equal(played[name], sides[name])
    pitched = slice(0, len(NAMES) - len(OF_TRACKS))
    np.testing.assert_array_equal(played["notes"][:, pitched], sides["notes"][:, pitched])
    for name, values in sides.items():
        np.testing.assert_array_equal(quiet[name], values)
    assert not np.array_equal(played["random"], sides["random"])
    pattern, distance = played["notes"][0, -2:]
    assert pattern > 0.9
    assert np.isnan(distance)  # two sides are no two instruments


def test_the_random_network_hears_drums_on_one_side() -> None:
    roll = np.array([[[0.8]], [[0.2]], [[0.6]]], np.float32)
    np.testing.assert_array_equal(with_drums(roll, STEREO), roll[[0, 2]])
    np.testing.assert_array_equal(as_sides(roll, STEREO), roll[:2])
    np.testing.assert_array_equal(with_drums(roll[1:], MONO), roll[1:])


def test_rhythm_and_form_are_those_of_the_sides_but_for_one_row() -> None:
    rolls = [recording(number, FRAMES) for number in range(3)]
    played, sides = (
        measure_pieces([Piece(roll, str(number)) for number, roll in enumerate(some)], geometry(tracks))
        for some, tracks in ((rolls, STEREO), ([roll[:-1] for roll in rolls], ()))
    )
    for metric in METRICS:
        if metric.name != "pulse with drums":
            np.testing.assert_array_equal(played.values[metric.name], sides.values[metric.name])
    assert (played.values["pulse with drums"] != played.values["pulse"]).all()
    assert np.isnan(sides.values["pulse with drums"]).all()
    assert "pulse with drums" in compare_pieces(played, played, bootstraps=0)
    assert "pulse with drums" not in compare_pieces(sides, sides, bootstraps=0)


@pytest.mark.parametrize("name", PIECE_BASELINES)
def test_baselines_treat_the_sides_as_without_drums(name: str) -> None:
    rolls = [recording(number, FRAMES) for number in range(2)]
    played, sides = (
        list(PIECE_BASELINES[name]([Piece(r, "a") for r in some], geometry(tracks), np.random.default_rng(1)))
        for some, tracks in ((rolls, STEREO), ([roll[:-1] for roll in rolls], ()))
    )
    for one, other in zip(played, sides, strict=True):
        np.testing.assert_array_equal(one.roll[:-1], other.roll)
        assert one.roll[-1].any()


def test_calls_and_answers_are_compared_without_drums() -> None:
    roll = recording(2, 500)
    one, other = describe_half(roll, geometry(STEREO), True), describe_half(roll[:-1], geometry(()), True)
    np.testing.assert_array_equal(one.keys, other.keys)
    np.testing.assert_array_equal(one.musical, other.musical)
