"""Pieces of stores and the tables of rhythm and form made of them: which are cut, by whose beats, and what is said."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musigan import store
from musigan.metrics import table as tables
from musigan.metrics.bars import Piece
from musigan.metrics.estimates import Estimate, Metric, is_told_apart
from musigan.metrics.evaluation import FLOOR, SAMPLES, Table
from musigan.metrics.pieces import PieceOptions, PieceTable
from musigan.metrics.piecesets import PieceMusic, PieceSource, drawn_source, store_source
from musigan.rolls.shape import Geometry
from tests.metrics.pieces import FRAME, KEYS, at_random, piece_of
from tests.musicstores import header, song

GEOMETRY = Geometry(FRAME, 4)


def write(path: Path, rolls: list[np.ndarray], **about: Any) -> store.Reader:
    """A keys store of songs cut in chunks (N, C, K, T)."""
    with store.write(str(path), header(rolls[0].shape[2], rolls[0].shape[3])) as writer:
        for each in rolls:
            names = ("chunks", "channels", "keys", "frames")
            writer.add(np.ascontiguousarray(each, np.float16), names, store.Song(level=0.1, **about))
    return store.open_reader(str(path), ("keys",))


def test_excerpts_are_cut_evenly_from_songs_that_are_long_enough(tmp_path: Path) -> None:
    reader = write(tmp_path / "keys", [song(n, rolls, keys=9) for n, rolls in enumerate((13, 5, 25, 6))])
    source = store_source(reader)  # chunks of 5 s
    assert sorted(p.song for p in source.cut(30, 99, 1)) == ["000001"] * 2 + ["000003"] * 4 + ["000004"]
    assert sorted(p.song for p in source.cut(30, 4, 1))[:3:2] == ["000001", "000003"]
    assert [p.song for p in source.cut(120, 99, 1)] == ["000003"]
    assert {p.roll.shape for p in source.cut(30, 99, 1)} == {(2, 9, 1500)}
    (piece,) = store_source(reader, ["000004"], "sample ").cut(30, 9, 1)
    np.testing.assert_allclose(piece.roll, reader.read("000004").transpose(1, 2, 0, 3).reshape(2, 9, -1), atol=1e-3)
    assert (piece.song, piece.has_beginning, piece.has_ending) == ("sample 000004", True, False)
    assert not source.has_beats


def test_items_bring_their_beats_and_ends(tmp_path: Path) -> None:
    beats = tuple(float(n) for n in np.arange(3.5, 33, 0.5))
    numbers = tuple(n % 3 + 1 for n in range(len(beats)))
    about = {"starts": tuple(3.0 + 5 * n for n in range(6)), "beats": beats, "beat_numbers": numbers}
    sure = write(tmp_path / "sure", [song(1, 6, keys=9)], **about, beat_confidence=0.9, seconds=30.0)
    (piece,) = store_source(sure).cut(30, 9, 1)
    assert piece.beats is not None
    assert piece.beats.times[:2] == pytest.approx([0.5, 1.0])
    assert list(piece.beats.numbers[:4]) == [1, 2, 3, 1]
    assert (piece.has_beginning, piece.has_ending) == (False, True)
    free = write(tmp_path / "free", [song(1, 6, keys=9)], **about, beat_confidence=0.1)
    (piece,) = store_source(free).cut(30, 9, 1)
    assert piece.beats is not None
    assert not piece.beats.has_beat
    assert store_source(free).has_beats


def test_drawn_pieces_are_few_and_short() -> None:
    source = drawn_source(lambda number, frames: np.full((1, 2, frames), number / 10), FRAME, longest=30, most=3)
    assert [p.roll.shape[-1] * p.roll[0, 0, 0] for p in source.cut(30, 5, 1)] == pytest.approx([150, 300, 450])
    assert len(source.cut(30, 2, 1)) == 2
    assert source.cut(120, 5, 1) == []


def of(pieces: list[np.ndarray]) -> PieceSource:
    """A source of pieces of songs of their own."""
    made = [Piece(roll, f"song {number}") for number, roll in enumerate(pieces)]
    return PieceSource(lambda seconds, count, seed: made[:count] if seconds == 30 else [])


def music(samples: list[np.ndarray]) -> tuple[PieceTable, list[str]]:
    """The table of samples against songs of a bar of 2 s that comes back, with another tune after half of it."""

    def tune(seed: int) -> np.ndarray:
        generator = np.random.default_rng(seed)
        phrases = generator.integers(0, KEYS, (2, 16))
        notes = [
            (0.02 + time / 4, int(phrases[time // 60, time % 16])) for time in range(120) if time % 2 == 0 or seed % 3
        ]
        return piece_of(notes, 30.0)

    notes: list[str] = []
    songs = [of([tune(seed) for seed in range(first, first + 6)]) for first in (0, 6)]
    options = PieceOptions(bootstraps=30, baselines=("jittered",))
    (table,) = PieceMusic(*songs, of(samples)).tables(GEOMETRY, options, note=notes.append)
    return table, notes


@pytest.fixture(scope="module")
def beatless() -> PieceTable:
    return music([piece_of(at_random(150, 30.0, seed), 30.0) for seed in range(5)])[0]


def test_what_has_no_beat_is_told_so(beatless: PieceTable) -> None:
    assert "no beat yet" in beatless.words()
    assert "no repetition" in beatless.words()
    assert {"pulse", "grid", "repetition"} <= set(beatless.caught()[SAMPLES])
    assert {"pulse", "grid"} <= set(beatless.caught()["jittered"])
    assert (beatless.pieces, beatless.samples, beatless.songs[SAMPLES]) == (6, 5, 5)


def test_text_json_and_csv_hold_rhythm_and_form(beatless: PieceTable) -> None:
    rows = {FLOOR: {"precision": Estimate(1, 1, 1)}, SAMPLES: {"precision": Estimate(0, 0, 0)}}
    whole = Table(9, {FLOOR: 3, SAMPLES: 3}, "so", rows, notes=["pieces of 120 s are not judged"], pieces=[beatless])
    text = list(tables.lines(whole))
    assert "no beat yet" in text[0]
    assert "pieces of 30 s: 6 in each set of songs, 5 of samples" in text
    assert text[-1] == "pieces of 120 s are not judged"
    assert any("in any row" in line and "ending" in line for line in text) or "ending (=)" in "\n".join(text)
    content = json.loads(tables.to_json(whole), parse_constant=lambda name: pytest.fail(name))
    assert content["verdict"] == text[0]
    (of_pieces,) = content["pieces"]
    assert of_pieces["rows"]["samples"]["metrics"]["pulse"]["value"] == beatless.rows[SAMPLES]["pulse"].value
    assert content["piece metrics"]["pulse"] == {"family": "rhythm", "good": "reference"}
    lines = [line for line in csv.DictReader(io.StringIO(tables.to_csv(whole))) if line["seconds"] == "30"]
    assert {line["row"] for line in lines} == set(beatless.rows)
    assert {line["family"] for line in lines} == {"rhythm", "form"}


def test_a_row_without_a_value_is_folded_with_the_reason() -> None:
    nothing = Estimate(np.nan, np.nan, np.nan)
    rows = {FLOOR: {"precision": Estimate(1, 1, 1)}, "silence": {"precision": nothing}, "same songs": {}}
    text = list(tables.lines(Table(9, {FLOOR: 3}, "so", rows)))
    assert "without a value: silence* (nothing in it to measure); same songs (each song has one roll)" in text
    assert not [line for line in text if line.startswith("silence")]


def test_one_bar_over_and_over_is_told_so() -> None:
    bar = [(0.02 + beat / 2, beat * 3) for beat in range(4)]
    loops = [piece_of([(t + 2 * n, (k + seed) % KEYS) for n in range(15) for t, k in bar], 30.0) for seed in range(4)]
    table, notes = music(loops)
    assert table.rows[SAMPLES]["repetition"].value > 0.95
    assert {"repetition", "likeness 1"} & set(table.caught()[SAMPLES])
    assert notes == ["pieces of 120 s are not judged: the songs give 0, 4 are needed"]


def test_too_few_samples_are_said_and_left_out() -> None:
    table, notes = music([piece_of(at_random(150, 30.0), 30.0)] * 3)
    assert SAMPLES not in table.rows
    assert table.words() == ""
    assert notes[0] == "samples are not judged by pieces of 30 s: 3 found, 4 needed"


def test_a_row_is_told_apart_on_its_bad_side_only() -> None:
    floor, above, below = Estimate(5, 4, 6), Estimate(7, 6.5, 8), Estimate(2, 1, 3)
    undefined = Estimate(np.nan, np.nan, np.nan)
    low = Metric("x", "form", "low")
    alike, high = dataclasses.replace(low, good="reference"), dataclasses.replace(low, good="high")
    assert [is_told_apart(low, row, [floor]) for row in (above, below, floor)] == [True, False, False]
    assert [is_told_apart(high, row, [floor]) for row in (above, below, floor)] == [False, True, False]
    assert [is_told_apart(alike, row, [floor]) for row in (above, below, floor)] == [True, True, False]
    assert not is_told_apart(low, above, [floor, Estimate(7, 6, 8)])
    assert is_told_apart(low, undefined, [floor, undefined])
    assert not is_told_apart(low, above, [undefined])
