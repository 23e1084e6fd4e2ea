"""A song as a record: what is read of an item, what is carried along, what is computed of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from musigan.errors import StoreError
from musigan.rolls.beats import Beat, Beats
from musigan.store import Song
from tests.tones import tone

VALUES = {"level": 1, "mood": None, "source": "a/b.mp3", "starts": [4, 0.5], "time_signature": [6, 8], "year": 1999}


def parsed(**values: Any) -> Song:
    return Song.parse(values, "000001", 2, "keys")


def test_what_it_does_not_know_is_carried_along_in_its_order() -> None:
    song = parsed(**VALUES)
    assert (song.starts, song.time_signature, song.year, song.other) == ((4, 0.5), (6, 8), "1999", {"mood": None})
    assert list(song.to_attributes().items()) == list({**VALUES, "year": "1999"}.items())
    later = replace(song, split="train", level=None, title="B")
    assert list(later.to_attributes()) == ["mood", "source", "starts", "time_signature", "year", "title", "split"]


@pytest.mark.parametrize(
    "odd",
    [
        {"tempo": "fast"}, {"tempo": True}, {"time_signature": [0, 3]}, {"time_signature": 7}, {"title": ["a"]},
        {"first_beat": None}, {"seed": 0.5}, {"time_signature": [4, 4, 4]},
    ],
)  # fmt: skip
def test_values_that_make_no_sense_are_passed_over_and_on(odd: dict[str, Any]) -> None:
    song = parsed(**odd)
    assert song == Song(other=odd)
    assert song.to_attributes() == odd


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"level": "loud"}, "level 'loud'"),
        ({"timbre": {"version": 1}}, "damaged timbre: partials is missing"),
        ({"timbre": "loud"}, "damaged timbre: expected a version"),
        ({"seconds": 0}, "lasts 0 seconds"),
        ({"starts": [0.0]}, "1 starts for 2"),
        ({"starts": [0.0, -1]}, "starts at"),
        ({"beats": 3}, "beats at 3"),
        ({"beats": [0.5, float("nan")], "beat_numbers": [1, 2]}, "expected seconds"),
        ({"beats": [-0.1, 2], "beat_numbers": [1, 2]}, "expected seconds"),
        ({"beats": [0, 2e5 + 1], "beat_numbers": [1, 2]}, "expected seconds"),
        ({"beats": [1, 1.0], "beat_numbers": [1, 2]}, "later than the one before"),
        ({"beats": [1, 2], "beat_numbers": [1]}, "1 beat numbers for 2 beats"),
        ({"beats": [1, 2], "beat_numbers": [1, 0]}, "whole numbers"),
        ({"beats": [1, 2], "beat_numbers": [1, 2.0]}, "whole numbers"),
        ({"beats": [1, 2]}, "0 beat numbers"),
        ({"beat_confidence": 1.5}, "confidence 1.5"),
        ({"beat_confidence": None}, "confidence None"),
    ],
)
def test_what_is_computed_with_is_checked(values: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        parsed(**values)


def test_waveforms_are_not_cut() -> None:
    song = Song.parse({"starts": [1.0, 2.0]}, "000001", 1, "waveform")
    assert (song.starts, song.other) == ((), {"starts": [1.0, 2.0]})
    assert replace(song, starts=(3.0,)).to_attributes() == {"starts": [3.0]}


def test_names() -> None:
    assert Song(title="T", source="S").title_or_source == "T"
    assert Song(source="S").title_or_source == "S"
    assert (Song(split="validation").is_held_out, Song(split="train").is_held_out) == (True, False)


def test_start_times() -> None:
    song = Song(starts=(7.0, 2.5))
    assert song.start_times(2, 4.0) == (7.0, 2.5)
    assert song.begin_seconds == 2.5
    assert Song().start_times(3, 4.0) == (0.0, 4.0, 8.0)
    assert Song().begin_seconds == 0.0
    with pytest.raises(StoreError, match="2 starts for 3 chunks"):
        song.start_times(3, 4.0)


def test_beats_there_and_back() -> None:
    found = Beats(np.array([0.51234, 1.1, 1.7, 2.3]), np.array([3, 1, 2, 3]), 0.87654)
    song = Song(title="T").with_beats(found)
    assert (song.beats, song.beat_numbers, song.beat_confidence) == ((0.512, 1.1, 1.7, 2.3), (3, 1, 2, 3), 0.877)
    assert (song.tempo, song.first_beat, song.time_signature) == (100.0, 1.1, (3, 4))
    assert parsed(**song.to_attributes()) == song
    assert song.every_beat.seconds.tolist() == list(song.beats)


def test_free_music_has_no_tempo() -> None:
    free = Song(tempo=90.0).with_beats(Beats(np.array([1.0, 2.0]), np.array([1, 2]), 0.4))
    assert (free.beats, free.beat_numbers) == ((1.0, 2.0), (1, 2))
    assert (free.tempo, free.first_beat, free.time_signature) == (None, None, None)


def test_a_song_of_before_has_no_beats() -> None:
    assert parsed(tempo=90).every_beat.seconds.tolist() == []
    assert parsed(tempo=90).beat_confidence is None
    assert parsed(beat_confidence=0.0).beat_confidence == 0.0  # someone looked, and found none


def test_beat() -> None:
    assert Song(title="none").beat is None
    assert Song(tempo=0).beat is None
    assert Song(tempo=90, first_beat=1.5, time_signature=(3, 4)).beat == Beat(90.0, 1.5, 3)
    assert Song(tempo=60.0, time_signature=(6, 8)).beat == Beat(60.0, 0.0, 3)


def test_a_tone_is_read_and_one_of_the_future_carried_along() -> None:
    values = tone().to_values()
    song = parsed(timbre=values, title="A")
    assert song.tone is not None
    assert song.tone.to_values() == values
    assert song.to_attributes() == {"timbre": values, "title": "A"}
    later = parsed(timbre={"version": 9, "wind": 1})
    assert later.tone is None
    assert later.to_attributes() == {"timbre": {"version": 9, "wind": 1}}
    assert replace(song, title="").with_tone(None).to_attributes() == {}
