"""What `musigan check` says of the beats in a store."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from musigan import store
from musigan.errors import StoreError
from musigan.rolls.beats import Beats
from musigan.store import Song
from musigan.store.checking import check_store, examine
from musigan.store.header import PACKED
from musigan.store.layout import CHECKED_VALUES, holds_numbers
from musigan.store.together import Together
from musigan.store.writing import group_json
from tests.stores import HEADERS, dimensions, fill, songs, zipped


def checked(*several: Song) -> list[str]:
    file = io.BytesIO()
    fill(file, "keys", [(np.zeros((3, 1, 4, 3), np.float16), song) for song in several])
    file.seek(0)
    return list(check_store(store.open_reader(file, name="x")))


def steady(tempo: float, confidence: float = 0.9) -> Song:
    return Song().with_beats(Beats(1 + np.arange(5) * 60 / tempo, np.arange(5) % 4 + 1, confidence))


def test_tempi_and_free_songs() -> None:
    lines = checked(steady(75), steady(100, 0.2), steady(150), steady(120), Song().with_beats(Beats.none()))
    assert lines[2] == "  3 songs with a beat, 75 to 150 a minute, median 120; 2 free of beat"


def test_free_songs_alone() -> None:
    assert checked(steady(75, 0.1))[2] == "  no song with a beat, 1 free of beat"


def test_a_store_without_beats_says_nothing_of_them() -> None:
    assert not any("beat" in line for line in checked(Song(tempo=90.0)))


@pytest.mark.parametrize("in_order", [False, True])
def test_a_folder_is_said_to_be_without_checksums(in_order: bool, tmp_path: Path) -> None:
    array = np.zeros((3, 1, 4, 3), np.float16)
    said = {}
    for name in ("x.zarr", "x.zip"):
        fill(str(tmp_path / name), "keys", [(array, Song())])
        with store.open_reader(str(tmp_path / name), in_order=in_order) as reader:
            said[name] = any("without checksums" in line for line in check_store(reader))
    assert said == {"x.zarr": False, "x.zip": False}
    with store.write(str(tmp_path / "plain.zarr"), HEADERS["keys"], compress=False) as writer:
        writer.add(array, dimensions("keys", array), Song())
    with store.open_reader(str(tmp_path / "plain.zarr"), in_order=in_order) as reader:
        assert any("without checksums" in line for line in check_store(reader))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"shape":[3,', b'"shape":[4,'),
        (b'"node_type":"array"', b'"node_type":"group"'),
        (b'"level":0.5', b'"level":-.5'),
        (b'"000002":', b'"000002";'),
        (b"}}}", b"}}]"),
        (b"}}}", b"}}} 5"),
        (b"}}}", b""),
    ],
)
def test_what_a_folder_says_of_its_songs_in_one_place_is_checked(old: bytes, new: bytes, tmp_path: Path) -> None:
    fill(str(tmp_path / "x.zarr"), "keys", songs((3, 1, 4, 3), 2))
    path = tmp_path / "x.zarr" / "zarr.json"
    whole = path.read_bytes()
    for in_order in (False, True):
        with store.open_reader(str(tmp_path / "x.zarr"), in_order=in_order) as reader:
            assert "2 songs" in list(check_store(reader))[1]
    damaged = new.join(whole.rsplit(old, 1))
    assert damaged != whole
    path.write_bytes(damaged)
    for in_order in (False, True):
        with (
            pytest.raises(StoreError, match=r"x\.zarr: "),
            store.open_reader(str(tmp_path / "x.zarr"), in_order=in_order) as reader,
        ):
            list(check_store(reader))


def fill_with_one(path: Path, song: Song, count: int) -> None:
    """Write a store that has a song many times."""
    fill(str(path.with_name("one.zarr")), "keys", [(np.ones((1, 1, 4, 3), np.float16), song)])
    one = path.with_name("one.zarr")
    item = {
        file.relative_to(one / "000001"): file.read_bytes() for file in (one / "000001").rglob("*") if file.is_file()
    }
    items = {f"{number:06d}/{key}": item[key] for number in range(1, count + 1) for key in sorted(item, reverse=True)}
    metadata = Together()
    for number in range(1, count + 1):
        metadata.add(f"{number:06d}", item[Path("zarr.json")])
    header = replace(HEADERS["keys"], items=count, format=PACKED)
    contents = {"zarr.json": metadata.within(group_json(header)) if path.suffix == ".zarr" else group_json(header)}
    if path.suffix == ".zip":
        path.write_bytes(zipped({**contents, **items}))
        return
    for key, data in {**contents, **items}.items():
        (path / key).parent.mkdir(parents=True, exist_ok=True)
        (path / key).write_bytes(data)


@pytest.mark.parametrize("name", ["x.zip", "x.zarr"])
def test_memory_is_flat_in_the_number_of_songs(name: str, tmp_path: Path) -> None:
    song = Song(content="a" * 32).with_beats(Beats(np.arange(60.0), np.arange(60) % 4 + 1, 0.9))
    peaks = []
    for count in (20, 100):
        fill_with_one(tmp_path / name, song, count)
        tracemalloc.start()
        with store.open_reader(str(tmp_path / name), in_order=True) as reader:
            found = examine(reader)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.songs == len(found.tempi) == count
    text = 3 * 1600 if name == "x.zarr" else 0  # bytes that a song takes in the group's metadata
    assert (peaks[1] - peaks[0]) / 80 < 500 + text


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_number_that_is_none_is_found_wherever_it_is(dtype: str) -> None:
    array = np.ones((2, CHECKED_VALUES), dtype)[:, 1:]
    assert holds_numbers(array)
    for place in ((0, 0), (0, -1), (1, 0), (1, -1)):
        for value in (np.nan, -np.inf):
            broken = array.copy()
            broken[place] = value
            assert not holds_numbers(broken)


def test_looking_for_numbers_takes_little_memory() -> None:
    array = np.ones((4, 2 * CHECKED_VALUES), np.float16)
    tracemalloc.start()
    holds_numbers(array)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < array.nbytes / 2
