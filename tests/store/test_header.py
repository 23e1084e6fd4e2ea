"""The header of a store as a record: what it reads, what it carries along, in what order it is written."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from musigan.errors import SettingsError, StoreError
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.shape import Geometry
from musigan.store import StoreHeader
from musigan.store.alike import AXES, TRAINED, alike, require_alike

WAVEFORM = {"expected": 3, "mood": ["odd"], "sample_rate": 8000, "kind": "waveform", "format": 1, "tool": {"a": "1"}}
KEYS = StoreHeader("keys", 12000, 2.5, tracks=("drums", "bass")).with_keys(KeySettings(keys=KeyRange(30, 41)))


def test_what_it_does_not_know_is_carried_along_in_its_order() -> None:
    header = StoreHeader.parse(WAVEFORM)
    assert (header.sample_rate, header.expected, header.other) == (8000, 3, {"mood": ["odd"]})
    assert list(header.to_attributes().items()) == list(WAVEFORM.items())
    pairs = replace(header, kind="pairs", overlap=0.0, chunk_seconds=2, expected=None)
    assert list(pairs.to_attributes().items()) == [
        ("mood", ["odd"]), ("sample_rate", 8000), ("kind", "pairs"), ("format", 1), ("tool", {"a": "1"}),
        ("chunk_seconds", 2), ("overlap", 0.0),
    ]  # fmt: skip


def test_a_new_header_ends_with_what_the_writer_says() -> None:
    names = list(StoreHeader("waveform", 12000, expected=7).to_attributes())
    assert names == ["sample_rate", "expected", "kind", "format", "tool"]
    assert list(StoreHeader("waveform", 12000, expected=7).with_keys(KeySettings()).to_attributes())[:4] == [
        "sample_rate", "expected", "frame_seconds", "low_key",
    ]  # fmt: skip


@pytest.mark.parametrize("odd", [{"overlap": "half"}, {"expected": 2.5}, {"items": "many"}, {"tool": 3}, {"band": []}])
def test_values_that_nothing_is_computed_with_may_be_odd(odd: dict[str, Any]) -> None:
    values = {**KEYS.to_attributes(), **odd}
    assert StoreHeader.parse(values).to_attributes() | {"tool": None} == values | {"tool": None}


def test_settings_of_keys_survive_json() -> None:
    for wanted in (KeySettings(), KeySettings("fixed", KeyRange(20, 61), 0.025, 0.1, True)):
        values = json.loads(json.dumps(StoreHeader("keys", 12000, 10).with_keys(wanted).to_attributes()))
        assert values["low_key"] == wanted.keys.low
        assert StoreHeader.parse(values).key_settings == wanted
    # Keys of a version with other bands are still made into sound as they were meant.
    values["band"]["base_hz"] = 99.0
    assert StoreHeader.parse(values).key_settings.deviations_hz().tolist() == [99.0] * 42
    for nonsense in (-1.0, float("nan"), "wide", None):
        values["band"]["base_hz"] = nonsense
        with pytest.raises(SettingsError):
            _ = StoreHeader.parse(values).key_settings
    del values["band"]
    with pytest.raises(SettingsError, match="incomplete"):
        _ = StoreHeader.parse(values).key_settings


def test_of_new_items_nothing_is_left_of_the_old() -> None:
    old = replace(KEYS, overlap=0.5, validation=0.1, expected=9, other={"mood": 1}, tool={"x": "1"})
    new = old.of_new_items()
    assert new == KEYS
    assert list(new.to_attributes())[:6] == [
        "sample_rate", "chunk_seconds", "frame_seconds", "low_key", "high_key", "band",
    ]  # fmt: skip
    assert (new.key_count, new.geometry) == (12, Geometry(0.02, 30, ("drums", "bass")))
    assert new.describe() == "keys, 12000 Hz, chunks of 2.5 s, keys 30-41, frames of 0.02 s, tracks drums bass"


@pytest.mark.parametrize("tracks", [[], ["a", "a"], ["a", 3], "bass", [""]])
def test_tracks_are_names(tracks: object) -> None:
    with pytest.raises(StoreError, match="tracks are"):
        StoreHeader.parse({**KEYS.to_attributes(), "tracks": tracks})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("frame_seconds", 0.05, "one has frames of 0.02 s, two frames of 0.05 s: make the keys"),
        ("low_key", 29, "one has keys from 30, two keys from 29: "),
        ("high_key", 50, "one has keys up to 41, two keys up to 50: "),
        ("tracks", (), "one has the tracks drums bass, two the two sides of a recording: "),
    ],
)
def test_stores_that_were_not_made_alike(name: str, value: Any, message: str) -> None:
    other = replace(KEYS, **{name: value})
    assert alike(KEYS, other) == name
    with pytest.raises(StoreError, match=message):
        require_alike(("one", KEYS), ("two", other), TRAINED)


def test_what_does_not_count_is_not_compared() -> None:
    other = replace(KEYS, sample_rate=44100, expected=1, band={"name": "fixed"}, tracks=())
    assert alike(KEYS, other, AXES) == ""
    assert alike(KEYS, other, (*AXES, "band")) == "band"
    require_alike(("one", KEYS), ("two", other), TRAINED, AXES)
