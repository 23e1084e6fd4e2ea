"""Pieces measured and compared, their baselines, and the words for what they lack."""

from __future__ import annotations

import numpy as np
import pytest

from musigan.errors import MusiganError
from musigan.metrics import pieces as judge
from musigan.metrics.bars import BeatGrid, Piece
from musigan.metrics.piecebaselines import PIECE_BASELINES, jittered_onsets, looped_bar, shuffled_bars, strung_bars
from musigan.metrics.piecewords import AS_SONGS, rhythm_and_form
from musigan.rolls.notes import find_notes
from musigan.rolls.shape import Geometry
from tests.metrics.pieces import FRAME, KEYS, at_random, piece_of

GEOMETRY = Geometry(FRAME, 30)


def song(number: int, seconds: float = 24.0) -> Piece:
    """Return a song of three bars over and over, with its beats: another tempo and other notes for each number."""
    generator = np.random.default_rng(number)
    eighth = 60 / (96 + 6 * number) / 2
    keys = generator.integers(0, KEYS, 24)
    is_note = generator.random(24) < 0.75
    is_note[::4] = True
    count = int((seconds - 0.2) / eighth)
    onsets = [(0.1 + eighth * step, int(keys[step % 24])) for step in range(count) if is_note[step % 24]]
    beats = 0.1 + 2 * eighth * np.arange(count // 2)
    return Piece(piece_of(onsets, seconds), f"song {number}", BeatGrid(beats, np.arange(len(beats)) % 4 + 1))


def noise(number: int, seconds: float = 24.0) -> Piece:
    return Piece(piece_of(at_random(90, seconds, number), seconds), f"noise {number}")


# -- baselines ------------------------------------------------------------------------------------------------------


def test_jittered_notes_are_the_same_notes_at_other_times() -> None:
    piece = song(1, 12)
    (jittered,) = jittered_onsets([piece], GEOMETRY, np.random.default_rng(1))
    before, after = (find_notes(roll.mean(axis=0)) for roll in (piece.roll, jittered.roll))
    assert len(after) == pytest.approx(len(before), abs=3)  # two notes of a key may have met
    shifts = [start - before.starts[before.keys == key] for key, start in zip(after.keys, after.starts, strict=True)]
    nearest = np.array([shift[np.abs(shift).argmin()] for shift in shifts]) * FRAME
    assert 0.03 < nearest.std() < 0.09
    assert jittered.beats is piece.beats
    assert jittered.roll[1].sum() == pytest.approx(jittered.roll[0].sum() / 3, rel=1e-5)  # both sides move together


def test_jittered_tracks_move_on_their_own() -> None:
    roll = np.zeros((2, 4, 200), np.float32)
    roll[:, 2, 100:110] = 0.7
    tracks = Geometry(FRAME, 30, ("piano", "drums"))
    rolls = [next(jittered_onsets([Piece(roll, "a")], tracks, np.random.default_rng(seed))).roll for seed in range(6)]
    assert any((one[0] != one[1]).any() for one in rolls)
    assert all(one.sum() == pytest.approx(14) for one in rolls)


def bar_starts(piece: Piece) -> list[float]:
    assert piece.beats is not None
    return list(piece.beats.times[piece.beats.numbers == 1])


def test_bars_are_shuffled_with_their_beats() -> None:
    ramp = np.broadcast_to(np.repeat(np.arange(1, 9) / 10, 50), (1, 2, 400)).astype(np.float32)  # bars of 1 s
    grid = BeatGrid(np.arange(16) * 0.5, np.arange(16) % 2 + 1)
    (shuffled,) = shuffled_bars([Piece(ramp, "a", grid)], GEOMETRY, np.random.default_rng(4))
    levels = shuffled.roll[0, 0, 25::50]
    assert sorted(levels) == pytest.approx(np.arange(1, 9) / 10)
    assert list(levels) != sorted(levels)
    assert bar_starts(shuffled) == pytest.approx(range(8), abs=1e-5)
    (looped,) = looped_bar([Piece(ramp, "a", grid)], GEOMETRY, np.random.default_rng(4))
    assert looped.roll.shape == ramp.shape
    assert len(np.unique(looped.roll)) == 1
    assert bar_starts(looped) == pytest.approx(range(8), abs=1e-5)


def test_strung_bars_are_of_several_pieces() -> None:
    sources = [
        Piece(np.full((1, 2, 300), level, np.float32), str(level), BeatGrid(np.arange(6.0), np.arange(6) % 3 + 1))
        for level in (0.2, 0.4, 0.6)
    ]
    strung = list(strung_bars(sources, GEOMETRY, np.random.default_rng(2)))
    assert [piece.song for piece in strung] == ["0.2", "0.4", "0.6"]
    assert all(piece.roll.shape == (1, 2, 300) for piece in strung)
    assert len({float(level) for piece in strung for level in np.unique(piece.roll)}) == 3


@pytest.mark.parametrize("name", PIECE_BASELINES)
def test_baselines_of_pieces_without_known_beats_have_none_either(name: str) -> None:
    pieces = [Piece(song(number, 8).roll, str(number)) for number in (1, 2)]
    made = list(PIECE_BASELINES[name](pieces, GEOMETRY, np.random.default_rng(1)))
    assert [piece.beats for piece in made] == [None, None]
    assert all(piece.roll.any() for piece in made)


# -- measuring ------------------------------------------------------------------------------------------------------


def test_measured_values_are_one_a_piece() -> None:
    measured = judge.measure_pieces(
        [song(1), noise(2), Piece(np.zeros((2, KEYS, 1200), np.float32), "silent")], GEOMETRY
    )
    assert measured.songs.tolist() == ["song 1", "noise 2", "silent"]
    assert list(measured.values) == [metric.name for metric in judge.METRICS]
    assert all(len(values) == 3 for values in measured.values.values())
    assert measured.values["onset places"].shape == (3, 16)
    assert measured.values["pulse"][0] > 0.7 > 0.4 > measured.values["pulse"][1]
    assert measured.values["repetition"][0] > 0.8 > 0.3 > measured.values["repetition"][1]
    assert np.isnan(measured.values["pulse"][2])


def test_likeness_is_counted_over_that_with_other_songs() -> None:
    chord = np.zeros((1, KEYS, 1200), np.float32)
    chord[:, :4] = 0.25
    other_chord = np.zeros((1, KEYS, 1200), np.float32)
    other_chord[:, 2:5] = 0.25
    held = [Piece(roll, name) for roll, name in ((chord, "a"), (chord, "a"), (other_chord, "b"))]
    measured = judge.measure_pieces(held, GEOMETRY)
    # Two of the four keys are two of the other's three; each chord's own bars are all alike.
    common = 2 / np.sqrt(4 * 3)
    assert measured.values["likeness 2"] == pytest.approx(1 - np.array([common, common, common]), abs=1e-4)
    samples = judge.measure_pieces([Piece(chord, "c")], GEOMETRY, measured)
    assert samples.values["likeness 2"] == pytest.approx(1 - (1 + 1 + common) / 3, abs=1e-4)
    alone = judge.measure_pieces(held[:2], GEOMETRY)
    assert np.isnan(alone.values["likeness 2"]).all()


def test_comparison_is_the_mean_with_an_interval_over_songs() -> None:
    songs = judge.measure_pieces([song(number) for number in range(5)], GEOMETRY)
    noises = judge.measure_pieces([noise(number) for number in range(5)], GEOMETRY, songs)
    estimates = judge.compare_pieces(songs, noises, bootstraps=40)
    assert estimates["pulse"].value == pytest.approx(noises.values["pulse"].mean())
    assert estimates["pulse"].low < estimates["pulse"].value < estimates["pulse"].high
    assert judge.compare_pieces(songs, songs)["onset places"].value == 0
    assert estimates["onset places"].value > 0.05
    silent = judge.measure_pieces([Piece(np.zeros((2, KEYS, 1200), np.float32), "silent")], GEOMETRY, songs)
    assert np.isnan(judge.compare_pieces(songs, silent)["onset places"].value)


def test_the_table_catches_every_baseline() -> None:
    held, training = [song(number) for number in range(8)], [song(number) for number in range(8, 16)]
    steps: list[str] = []
    options = judge.PieceOptions(bootstraps=60)
    table = judge.evaluate_pieces(
        held, training, [noise(number) for number in range(9)], GEOMETRY, options, steps.append
    )
    assert (table.pieces, table.seconds) == (8, pytest.approx(24))
    assert steps == list(table.rows) == ["held-out", "samples", "floor", *PIECE_BASELINES]
    caught = table.caught()
    assert {"pulse", "grid", "repetition"} <= set(caught["samples"])
    assert {"pulse", "grid", "grid share"} <= set(caught["jittered"])
    assert {"repetition", "coming back"} <= set(caught["shuffled bars"])
    assert {"repetition", "tempo steadiness"} <= set(caught["strung bars"])
    assert {"likeness 1", "likeness 2"} <= set(caught["looped bar"])


def test_too_few_pieces_are_refused() -> None:
    with pytest.raises(MusiganError, match="sets of 3 pieces are too small"):
        judge.evaluate_pieces([song(1)] * 3, [song(2)] * 9, None, GEOMETRY)


# -- words ----------------------------------------------------------------------------------------------------------

SONGS = {"pulse": 0.49, "grid": 0.44, "sharpness": 0.31, "repetition": 0.29, "coming back": 0.28}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, AS_SONGS),
        ({"pulse": 0.25, "grid": 0.18}, "no beat yet (pulse 0.25, in songs 0.49; grid 0.18, in songs 0.44)"),
        ({"pulse": 0.36, "grid": 0.36}, "a weak beat (pulse 0.36, in songs 0.49; grid 0.36, in songs 0.44)"),
        ({"sharpness": 0.22}, "blunt attacks (sharpness 0.22, in songs 0.31)"),
        ({"repetition": 0.1, "coming back": None}, "no repetition (repetition 0.10, in songs 0.29; coming back undef"),
        ({"repetition": 0.99, "coming back": 1.0}, "nothing but repetition (repetition 0.99"),
    ],
)  # fmt: skip
def test_words_say_what_samples_lack(changed: dict[str, float | None], words: str) -> None:
    assert rhythm_and_form(SONGS | changed, SONGS).startswith(words)


def test_words_for_silence_and_for_songs_without_a_beat() -> None:
    silence = rhythm_and_form(dict.fromkeys(SONGS), SONGS)
    assert [word in silence for word in ("no beat yet", "no attacks", "no repetition")] == [True] * 3
    free = SONGS | {"pulse": 0.27, "grid": 0.2}
    assert rhythm_and_form(free | {"pulse": 0.2, "grid": 0.1}, free) == AS_SONGS
    assert "unknown" in rhythm_and_form({}, {"pulse": float("nan")})
