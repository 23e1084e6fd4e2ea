"""What `musigan check` says of the beats in a store."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from musigan import store
from musigan.rolls.beats import Beats
from musigan.store import Song
from musigan.store.checking import check_store
from musigan.store.layout import CHECKED_VALUES, holds_numbers
from tests.stores import HEADERS, dimensions, fill


def checked(*songs: Song) -> list[str]:
    file = io.BytesIO()
    fill(file, "keys", [(np.zeros((3, 1, 4, 3), np.float16), song) for song in songs])
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


def test_a_folder_is_said_to_be_without_checksums(tmp_path: Path) -> None:
    array = np.zeros((3, 1, 4, 3), np.float16)
    said = {}
    for name in ("x.zarr", "x.zip"):
        fill(str(tmp_path / name), "keys", [(array, Song())])
        with store.open_reader(str(tmp_path / name)) as reader:
            said[name] = any("without checksums" in line for line in check_store(reader))
    assert said == {"x.zarr": False, "x.zip": False}
    with store.write(str(tmp_path / "plain.zarr"), HEADERS["keys"], compress=False) as writer:
        writer.add(array, dimensions("keys", array), Song())
    with store.open_reader(str(tmp_path / "plain.zarr")) as reader:
        assert any("without checksums" in line for line in check_store(reader))


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
