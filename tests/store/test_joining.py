"""Stores put together: headers that agree, songs in order, each once, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from musigan import store
from musigan.errors import StoreError, UsageError
from musigan.store import Reader, Song
from musigan.store.chaining import ChainedReader
from musigan.store.joining import FirstCopies, StoreSequence, join, joint_header
from tests.sessions import Session
from tests.stores import HEADERS, dimensions, items


def keys(path: Path, contents: str, header: store.StoreHeader = HEADERS["keys"], split: str = "train") -> str:
    """A store with a song for each letter: a letter is a song's music, a space a song of unknown content."""
    with store.write(str(path), header) as writer:
        for number, letter in enumerate(contents):
            array = np.full((2, 2, 1, 4, 3), ord(letter) % 7 + 0.25 * number, np.float16)
            song = Song(title=f"{letter} in {path.name}", content=letter.strip(), split=split)
            writer.add(array, dimensions("keys", array), song)
    return str(path)


def joined(folder: Path, *sources: str, once: bool = True) -> tuple[list[str], int]:
    """Join stores; return the titles, and how many songs were left out."""
    session, target = Session(), folder / "joined"
    stores = StoreSequence(sources, session, once)
    with store.write(str(target), stores.header) as writer:
        left_out = join(stores, writer, session)
    return [item.title for item in items(target)], left_out


def test_songs_come_in_order_and_each_once(tmp_path: Path) -> None:
    one, two = keys(tmp_path / "one", "ab a"), keys(tmp_path / "two.zarr", "bc c")
    expected = ["a in one", "b in one", "  in one", "a in one", "c in two.zarr", "  in two.zarr", "c in two.zarr"]
    assert joined(tmp_path, one, two) == (expected, 1)  # what a store has twice is the two sides of a song
    titles, left_out = joined(tmp_path, two, one, two, once=False)
    assert (len(titles), left_out) == (12, 0)


def test_items_are_the_same_bytes(tmp_path: Path) -> None:
    one, two = keys(tmp_path / "one", "ab"), keys(tmp_path / "two.zarr", "c")
    whole, parts, session = tmp_path / "whole.zarr", tmp_path / "parts.zarr", Session()
    with store.write(str(whole), HEADERS["keys"]) as writer:
        for item in [*items(one), *items(two)]:
            writer.add(item.array, item.dimension_names, item.song)
    stores = StoreSequence((one, two), session)
    with store.write(str(parts), stores.header) as writer:
        join(stores, writer, session)
    files = [path.relative_to(whole) for path in whole.rglob("0*/**/*") if path.is_file()]
    assert len(files) == 3 * (1 + 1)  # metadata, and the shard of both blocks
    for name in files:
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name


def test_the_first_store_decides_on_which_side_a_song_is(tmp_path: Path) -> None:
    one, two = keys(tmp_path / "one", "ab", split="validation"), keys(tmp_path / "two", "bc", split="train")
    joined(tmp_path, one, two)
    assert [item.song.split for item in items(tmp_path / "joined")] == ["validation", "validation", "train"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"sample_rate": 6.0}, "6.0 Hz"), ({"low_key": 39, "high_key": 42}, "keys from 39"), ({"band": {"a": 1}}, "bands"),
     ({"tracks": ("drums",)}, "drums")],
)  # fmt: skip
def test_other_settings_are_refused_in_words(changes: dict[str, object], word: str, tmp_path: Path) -> None:
    one, two = keys(tmp_path / "one", "a"), str(tmp_path / "two")
    header = replace(HEADERS["keys"], **changes)  # type: ignore[arg-type]
    names = ("pairs", "part", "tracks" if header.tracks else "channels", "keys", "frames")
    with store.write(two, header) as writer:
        writer.add(np.ones((2, 2, 1, 4, 3), np.float16), names, Song())
    with pytest.raises(StoreError, match=word) as refused:
        StoreSequence((one, two), Session())
    assert one in str(refused.value)
    assert two in str(refused.value)


def test_chunks_do_not_go_with_pairs(tmp_path: Path) -> None:
    one, two = keys(tmp_path / "one", "a"), str(tmp_path / "two")
    with store.write(two, HEADERS["keys"]) as writer:
        writer.add(np.ones((2, 1, 4, 3), np.float16), ("chunks", "channels", "keys", "frames"), Song())
    with pytest.raises(StoreError, match="chunks"):
        StoreSequence((one, two), Session())
    assert len(joined(tmp_path, one, two, once=False)[0]) == 2  # though they can be listened to


def test_a_header_keeps_what_all_say() -> None:
    base = HEADERS["keys"]
    one = replace(base, overlap=0.5, validation=0.1, expected=3, other={"by": "me", "on": "monday"})
    two = replace(base, overlap=0.5, validation=0.2, items=4, expected=9, other={"by": "me", "on": "friday"})
    header = joint_header([("one", one), ("two", two)])
    assert (header.overlap, header.validation, header.expected, header.items) == (0.5, None, 7, None)
    assert header.other == {"by": "me"}
    assert joint_header([("one", one), ("none", base)]).expected is None
    assert joint_header([("one", one)]) == one


def test_stores_on_disk_are_open_in_their_turn_only(tmp_path: Path) -> None:
    sources = [keys(tmp_path / f"{number}", "ab") for number in range(4)]
    session = Session()
    files = [reader._file for _ in StoreSequence(sources, session) for reader in session.readers]  # type: ignore[attr-defined]
    assert all(file.closed for file in files)
    counts = []
    for _ in StoreSequence(sources, session):
        counts.append(sum(not reader._file.closed for reader in session.readers))  # type: ignore[attr-defined]
    assert counts == [1] * 4


def test_a_pipe_is_named_once(tmp_path: Path) -> None:
    class Piped(Session):
        def reader(self, source: str, *kinds: str, in_order: bool = False) -> Reader:
            return store.open_reader((tmp_path / "one").open("rb") if source == "-" else source, in_order=in_order)

    one, two = keys(tmp_path / "one", "a"), keys(tmp_path / "two", "b")
    with pytest.raises(UsageError, match="twice"):
        StoreSequence(("-", two, "-"), Piped())
    stores = StoreSequence((two, "-", two, one), Piped())
    assert [[item.song.content for item in reader] for reader in stores] == [["b"], ["a"], ["b"], ["a"]]


def test_a_damaged_copy_does_not_stand_for_the_whole_one(tmp_path: Path) -> None:
    with store.write(str(tmp_path / "one"), HEADERS["keys"]) as writer:
        writer.add(
            np.full((2, 2, 1, 4, 3), np.nan, np.float16), dimensions("keys", np.ones((1,) * 5)), Song(content="a")
        )
    assert joined(tmp_path, str(tmp_path / "one"), keys(tmp_path / "two", "a")) == (["a in two"], 0)


def test_copies_are_counted() -> None:
    copies = FirstCopies()
    for letters, expected in (("aab", [False] * 3), ("ab c", [True, True, False, False]), ("c", [True])):
        found = []
        for letter in letters:
            song = Song(content=letter.strip())
            found.append(copies.is_copy(song))
            if not found[-1]:
                copies.add(song)
        assert found == expected
        copies.next_store()
    assert copies.left_out == 3


def test_a_chain_reads_in_any_order_what_a_merge_writes(tmp_path: Path) -> None:
    one, two = keys(tmp_path / "one", "ab a"), keys(tmp_path / "two.zarr", "bc c")
    joined(tmp_path, one, two)
    with ChainedReader([store.open_reader(one), store.open_reader(two)]) as chain:
        with store.open_reader(str(tmp_path / "joined")) as merged:
            assert chain.infos() == merged.infos()
            assert replace(chain.header, tool={}) == replace(merged.header, tool={})
            for item, other in zip(chain, merged, strict=True):
                assert (item.array == other.array).all()
                assert (chain.read(item.name) == other.array).all()
                assert (chain.block(item.name, 1) == other.array[1:]).all()
        assert (chain.left_out, chain.has_checksums) == (1, True)
        with pytest.raises(IndexError):
            chain.block("000001", 2)
    with pytest.raises((OSError, ValueError)):
        chain.read("000001")
