"""Stores that many hands write: whole for readers at any moment, whoever stops at whatever moment."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from musigan import store
from musigan.errors import MusiganError, StoreError
from musigan.store.growing import GrowingStore, noted
from musigan.store.locations import READY
from tests.stores import HEADERS, assert_same, dimensions, items, songs

CONTENT = [
    (array, replace(song, content=f"{number:032x}", title=f"{number}"))
    for number, (array, song) in enumerate(songs((2, 2, 1, 4, 3), 5))
]
NAMES = dimensions("keys", CONTENT[0][0])


@pytest.fixture(params=["folder", "url"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "x.zarr") if request.param == "folder" else f"memory://growing{tmp_path}/x.zarr"


def growing(target: str) -> GrowingStore:
    copy: GrowingStore = pickle.loads(pickle.dumps(GrowingStore(target, HEADERS["keys"])))
    return copy


def add(grown: GrowingStore, *numbers: int) -> None:
    for number in numbers:
        array, song = CONTENT[number]
        grown.add(array, NAMES, song)


def numbered(*numbers: int, after: int = 0) -> list[tuple[int, str]]:
    return [(place, CONTENT[number][1].content) for place, number in enumerate(numbers, after + 1)]


def test_songs_wait_in_any_order_and_are_found_in_theirs(target: str) -> None:
    grown = growing(target)
    with grown.open():
        add(grown, 2, 0)
        with pytest.raises(StoreError, match=r"not finished, 2 songs of it are ready"):
            store.open_reader(target)
        add(growing(target), 1, 0)  # by another hand, one of them twice
        assert grown.ready() == {CONTENT[number][1].content for number in range(3)}
        assert (grown.contents(), grown.count(), grown.current_header()) == ([], 0, None)
        grown.place(numbered(0, 1, 2))
        grown.place(numbered(0, 1, 2))  # a task that is done again
        grown.finish(3)
    assert_same(items(target), CONTENT[:3], "keys")
    assert grown.contents() == [song.content for _, song in CONTENT[:3]]


def test_readers_find_what_was_there_until_the_end(target: str) -> None:
    grown = growing(target)
    with grown.open():
        add(grown, 0, 1)
        grown.place(numbered(0, 1))
        grown.finish(2)
    with grown.open():
        grown.note("contents", "a text")
        assert noted(target, "contents") == "a text"
        assert noted(target, "others") == ""
        add(grown, 2, 3, 4)
        grown.place(numbered(4, 2, after=2))
        assert_same(items(target), CONTENT[:2], "keys")  # and here the run is killed
    with grown.open():  # the next one knows other songs
        assert grown.ready() == {song.content for _, song in CONTENT[2:]}
        grown.place(numbered(2, 3, after=2))
        assert_same(items(target), CONTENT[:2], "keys")
        grown.finish(4)
    assert_same(items(target), CONTENT[:4], "keys")
    grown.tidy(4)
    assert grown.ready() == set()


def test_a_store_is_whole_when_its_block_ends_and_not_before(target: str) -> None:
    """What is written beside it in the block is there first; where that fails, the next run completes the store."""
    grown = growing(target)
    for _ in range(2):
        with pytest.raises(OSError, match="full"), grown.open():  # noqa: PT012
            add(grown, 0, 1)
            grown.place(numbered(0, 1))
            grown.finish(2)
            raise OSError("the disk is full")
        with pytest.raises(StoreError, match="not finished"):
            store.open_reader(target)
    with grown.open():
        assert grown.ready() == {song.content for _, song in CONTENT[:2]}
        grown.place(numbered(0, 1))
        grown.finish(2)
        assert grown.count() == 0
    assert_same(items(target), CONTENT[:2], "keys")
    assert grown.ready() == set()


def test_a_song_is_replaced_only_where_that_is_asked(target: str) -> None:
    grown = growing(target)
    array, song = CONTENT[0]
    with grown.open():
        add(grown, 0)
        grown.add(array, NAMES, replace(song, title="other"), replaces=True)
        found = grown.ready_song(song.content)
        assert found is not None
        assert found.title == "other"
        assert grown.ready_song("nothing") is None
        with pytest.raises(StoreError, match="has gone meanwhile"):
            grown.place([(1, "nothing")])


def test_a_second_run_of_a_folder_is_refused_and_an_empty_one_leaves_nothing(tmp_path: Path) -> None:
    grown = growing(str(tmp_path / "x.zarr"))
    with grown.open():
        with pytest.raises(MusiganError, match="another run is preparing it"), grown.open():
            pass
        assert (tmp_path / "x.zarr" / READY).is_dir()
    assert list(tmp_path.iterdir()) == []
