"""What a checkpoint keeps of the music that it learns from, as plain values and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from musigan.datasets.record import MusicRecord, SongStatistics
from musigan.errors import CheckpointError
from tests import tiny
from tests.tones import tone

RECORDS = [
    MusicRecord(tiny.HEADER),
    MusicRecord(replace(tiny.HEADER, tracks=("drums", "bass")), 0.25, (), (SongStatistics("folk", 90.5, 3),)),
    MusicRecord(tiny.HEADER, 0.3, domains=("folk", "rock")),
    MusicRecord(tiny.HEADER, tone=tone()),
]


@pytest.mark.parametrize("record", RECORDS)
def test_as_plain_values_and_back(record: MusicRecord) -> None:
    values = record.to_values()
    again = MusicRecord.parse(values)
    assert again == record
    assert list(again.to_values().items()) == list(values.items())


def test_values_by_hand() -> None:
    assert list(RECORDS[1].to_values().items())[-4:] == [
        ("tool", {}), ("styles", []), ("manners", [["folk", 90.5, 3]]), ("level", 0.25),
    ]  # fmt: skip
    assert list(RECORDS[2].to_values())[-2:] == ["level", "domains"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"band": ...}, "lacks its store's band; train it again"),
        ({"kind": "songs"}, "damaged .unknown kind of store 'songs'"),
        ({"manners": [["folk", 90.0]]}, "damaged"),
        ({"level": "loud"}, "damaged"),
        ({"timbre": {"version": 1}}, "damaged .partials"),
    ],
)
def test_what_is_no_record(changes: dict[str, Any], message: str) -> None:
    values = {name: value for name, value in {**RECORDS[1].to_values(), **changes}.items() if value is not ...}
    with pytest.raises(CheckpointError, match=message):
        MusicRecord.parse(values)
