"""Which songs filters take, and how a store is parted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musigan import store
from musigan.errors import MusiganError, UsageError
from musigan.store import Item, ItemInfo, Song, StoreHeader
from musigan.store.choosing import AttributeTest, SongFilter, song_seconds
from musigan.store.parting import MOST_PARTS, Parting
from tests.sessions import Session
from tests.stores import HEADERS, dimensions, items

BEATS: dict[str, Any] = {"beats": (0.5, 1.0, 1.5), "beat_numbers": (1, 2, 3), "tempo": 120.0}


def info(song: Song, kind: str = "keys", shape: tuple[int, ...] = (2, 2, 1, 4, 3)) -> ItemInfo:
    return ItemInfo("000001", shape, "float16", (1, *shape[1:]), dimensions(kind, np.empty(shape)), song)


@pytest.mark.parametrize(
    ("options", "song", "accepted"),
    [
        ({}, Song(), True),
        ({"invert": True}, Song(), False),
        ({"genre": ("jazz",)}, Song(genre=" Jazz"), True),
        ({"genre": ("rock", "*azz*")}, Song(genre="Acid Jazz 2"), True),
        ({"genre": ("jazz",)}, Song(genre="Acid Jazz"), False),
        ({"genre": ("blues",)}, Song(source="Music/Blues/a.mp3"), True),
        ({"artist": ("nina*",), "genre": ("jazz",)}, Song(artist="Nina Simone", genre="Soul"), False),
        ({"artist": ("nina*",), "genre": ("jazz",), "invert": True}, Song(artist="Nina Simone", genre="Soul"), True),
        ({"title": ("a ma?",)}, Song(title="A Man"), True),
        ({"title": ("b.mp3",)}, Song(source="b.mp3"), True),
        ({"split": "train"}, Song(), True),
        ({"split": "validation"}, Song(split="validation"), True),
        ({"split": "train"}, Song(split="validation"), False),
        ({"has_beats": True}, Song(**BEATS, beat_confidence=0.9), True),
        ({"has_beats": True}, Song(**BEATS, beat_confidence=0.3), False),
        ({"has_beats": False}, Song(), True),
        ({"min_seconds": 6.0, "max_seconds": 6.0}, Song(), True),
        ({"min_seconds": 6.1}, Song(), False),
        ({"max_seconds": 5.9}, Song(), False),
        ({"max_seconds": 5.9}, Song(seconds=5.5), True),
        ({"min_seconds": 6.1}, Song(starts=(1.0, 4.5)), True),
    ],
)
def test_what_a_filter_takes(options: dict[str, Any], song: Song, accepted: bool) -> None:
    assert SongFilter(**options).accepts(info(song), HEADERS["keys"]) is accepted


@pytest.mark.parametrize(
    ("test", "song", "accepted"),
    [
        ("tempo>=120", Song(tempo=120.0), True),
        ("tempo > 120", Song(tempo=120.0), False),
        ("tempo<121", Song(tempo=120.5), True),
        ("tempo<=121", Song(), False),
        ("tempo=120", Song(tempo=120.0), True),
        ("year=19*", Song(year="1987"), True),
        ("year>1990", Song(year="1987"), False),
        ("year<1990", Song(year="1987"), True),
        ("year<1990", Song(year="the eighties"), False),
        ("time_signature=3/4", Song(time_signature=(3, 4)), True),
        ("mood=*", Song(other={"mood": "Sad"}), True),
        ("mood=sad", Song(other={"mood": "Sad"}), True),
        ("mood=*", Song(), False),
    ],
)
def test_conditions_on_any_attribute(test: str, song: Song, accepted: bool) -> None:
    assert AttributeTest.parse(test).accepts(song) is accepted


@pytest.mark.parametrize("text", ["", "tempo", "=5", "tempo>fast", "tempo<nan", "tempo<", "tempo>>5"])
def test_other_conditions_are_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        AttributeTest.parse(text)


def test_the_length_of_a_song() -> None:
    assert song_seconds(info(Song(), "waveform", (2, 23)), HEADERS["waveform"]) == 23 / 5
    assert song_seconds(info(Song(), "keys", (3, 1, 4, 3)), HEADERS["keys"]) == 4.5
    assert song_seconds(info(Song(), "pairs", (3, 2, 2, 7)), HEADERS["pairs"]) == pytest.approx(8.4)


def test_a_filter_reads_no_more_than_it_takes(tmp_path: Path) -> None:
    """Of a folder the blocks of other songs are not even opened."""
    path = written(tmp_path / "keys.zarr", [Song(genre=genre) for genre in ("jazz", "rock", "jazz")])
    for block in (path / "000002" / "c").rglob("*"):
        block.unlink() if block.is_file() else None
    with (
        store.open_reader(str(path), in_order=True) as reader,
        store.write(str(tmp_path / "out"), reader.header) as out,
    ):
        assert SongFilter(genre=("jazz",)).write(reader, out, Session()) == 3
    assert len(items(tmp_path / "out")) == 2


def written(path: Path, songs: list[Song], header: StoreHeader = HEADERS["keys"]) -> Path:
    with store.write(str(path), header) as writer:
        for number, song in enumerate(songs):
            array = np.full((2, 2, 1, 4, 3), number, np.float16)
            writer.add(array, dimensions("keys", array), song)
    return path


def parted(parting: Parting, path: Path) -> dict[str, list[int]]:
    """Part a store; return the numbers of the songs in each part, by the names of the stores."""

    def write(name: str, header: StoreHeader) -> store.Writer:
        return store.write(name, header)

    with store.open_reader(str(path), in_order=True) as reader:
        counts = parting.write(reader, write, Session())
    found = {name: [int(item.array.max()) for item in items(name)] for name in counts}
    assert {name: len(numbers) for name, numbers in found.items()} == counts
    return {Path(name).name: numbers for name, numbers in found.items()}


def test_parts_by_genre_have_names_of_their_own(tmp_path: Path) -> None:
    genres = ["Jazz", "Hip Hop/Rap", "jazz", "", "Hip-Hop Rap", "unknown", "Ärzte"]
    path = written(tmp_path / "keys", [Song(genre=genre) for genre in genres])
    assert parted(Parting.parse(str(tmp_path / "my.parts.zarr.zip"), "genre", ""), path) == {
        "my.parts-jazz.zarr.zip": [0, 2], "my.parts-hip-hop-rap.zarr.zip": [1], "my.parts-unknown.zarr.zip": [3],
        "my.parts-hip-hop-rap-2.zarr.zip": [4], "my.parts-unknown-2.zarr.zip": [5], "my.parts-ärzte.zarr.zip": [6],
    }  # fmt: skip


def test_parts_by_side(tmp_path: Path) -> None:
    path = written(tmp_path / "keys", [Song(split=split) for split in ("train", "validation", "", "validation")])
    expected = {"p-train.zarr": [0, 2], "p-validation.zarr": [1, 3]}
    assert parted(Parting.parse(str(tmp_path / "p.zarr"), "validation", ""), path) == expected


def test_shares_go_by_music_alone(tmp_path: Path) -> None:
    parting = Parting.parse(str(tmp_path / "p"), "", "6, 3,0,1")
    keys = [parting.key(Item(info(Song(content=f"{number}", title="?")), np.empty(0))) for number in range(600)]
    np.testing.assert_allclose([keys.count(part) for part in "1234"], [360, 180, 0, 60], atol=40)
    songs = [Song(content=f"{number % 5}", title=f"{number}") for number in range(8)]
    expected = {f"p-{part}": [n for n in range(8) if keys[n % 5] == part] for part in "1234" if part in keys[:5]}
    assert len(expected) > 1
    assert parted(parting, written(tmp_path / "keys", songs)) == expected


@pytest.mark.parametrize(
    ("target", "by", "shares"),
    [("-", "genre", ""), ("p", "", ""), ("p", "genre", "1,1"), ("p", "mood", ""), ("p", "", "1"), ("p", "", "1,-1"),
     ("p", "", "a,b"), ("p", "", "0,0"), ("p", "", "1,nan"), ("p", "", "1," * 300 + "1")],
)  # fmt: skip
def test_other_parts_are_wrong_usage(target: str, by: str, shares: str) -> None:
    with pytest.raises(UsageError):
        Parting.parse(target, by, shares)


def test_too_many_parts_leave_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("musigan.store.parting.MOST_PARTS", 3)
    path = written(tmp_path / "keys", [Song(artist=f"{number}") for number in range(4)])
    assert MOST_PARTS > 3
    with pytest.raises(MusiganError, match="artist"):
        parted(Parting.parse(str(tmp_path / "p.zarr"), "artist", ""), path)
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]
