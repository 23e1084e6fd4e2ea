"""Stretches of a store's items: the right frames, and no more read than that."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musigan import store
from musigan.errors import StoreError, UsageError
from musigan.store.excerpts import Excerpt, Window, excerpts, pairs_of, parse_numbers
from musigan.store.songs import piece_roll

HEADER = store.StoreHeader("keys", 10, 0.5, frame_seconds=0.1, low_key=40, high_key=42)
DIMENSIONS = {5: ("pairs", "part", "channels", "keys", "frames"), 4: ("chunks", "channels", "keys", "frames")}


def archive(*songs: tuple[np.ndarray, dict[str, Any]], **header: Any) -> bytes:
    file = io.BytesIO()
    with store.write(file, replace(HEADER, **header)) as writer:
        for array, about in songs:
            writer.add(array, DIMENSIONS[array.ndim], store.Song(**about))
    return file.getvalue()


def song(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float16)


SONGS = [
    (song(3, 2, 2, 3, 5), {"title": "pairs, one dropped, out of order", "starts": (3.0, 0.0, 1.0)}),
    (song(4, 2, 2, 3, 5), {"title": "overlapping", "starts": (0.0, 0.5, 1.0, 1.5)}),
    (song(3, 1, 3, 5), {"source": "chunks.mp3", "seconds": 1.3}),
    (song(5, 2, 3, 5), {"starts": (7.0, 7.5, 8.03, 8.5, 12.0)}),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "keys.zip"
    path.write_bytes(archive(*SONGS))
    return path


def never(what: str, why: str) -> None:
    raise AssertionError(f"{what} skipped: {why}")


@pytest.mark.parametrize("window", [Window(), Window(0.4, 0.3), Window(1.1, 1.0), Window(0.7), Window(1.25, 99)])
@pytest.mark.parametrize("stream", [False, True])
def test_a_window_is_that_part_of_the_whole(file: Path, window: Window, stream: bool) -> None:
    with store.open_reader(str(file)) as reader:
        whole = [piece_roll(item, 0.1) for item in reader]
    assert [roll.shape for roll in whole] == [(2, 3, 40), (2, 3, 25), (1, 3, 13), (2, 3, 55)]
    start, count = window.frames(0.1)
    with store.open_reader(io.BytesIO(file.read_bytes()) if stream else str(file)) as reader:
        found = list(excerpts(reader, [4, 1, 2, 3, 9], window, never))
    assert [excerpt.number for excerpt in found] == [1, 2, 3, 4]
    for excerpt, roll in zip(found, whole, strict=True):
        np.testing.assert_array_equal(excerpt.roll, roll[..., start:][..., :count])
        assert excerpt.start_seconds == pytest.approx(start * 0.1)
    assert [excerpt.title for excerpt in found][2:] == ["chunks.mp3", "000004"]


def test_no_more_is_read_than_is_wanted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.open_reader(str(file)) as reader:
        read: list[tuple[str, int]] = []
        block = reader.block
        monkeypatch.setattr(reader, "block", lambda name, index: read.append((name, index)) or block(name, index))
        monkeypatch.setattr(reader, "read", None)
        assert len(list(excerpts(reader, [1, 4], Window(1.2, 0.2), never))) == 2
        assert read == [("000001", 2), ("000004", 2)]


class _Counted(io.BytesIO):
    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


@pytest.mark.parametrize("count", [3, 40])
def test_a_stream_is_read_one_item_further_than_what_is_wanted(count: int) -> None:
    """So that its end is seen, and its writer may end in peace, where nothing follows."""
    data = archive(*[(np.zeros((8, 2, 2, 3, 5000), np.float16), {})] * count, chunk_seconds=500)
    stream = _Counted(data)
    with store.open_reader(stream) as reader:
        assert len(list(excerpts(reader, [3], Window(0, 1), never))) == 1
    if count == 3:
        assert stream.taken == len(data)
        with store.open_reader(io.BytesIO(data[:-30])) as reader, pytest.raises(StoreError, match="cut short"):
            list(excerpts(reader, [3], Window(0, 1), never))
    else:
        assert 3 / count < stream.taken / len(data) < 5.5 / count


def test_items_that_have_nothing_to_show_are_skipped_by_name() -> None:
    broken = song(1, 1, 3, 5)
    broken[0, 0, 1, 4] = np.nan
    reader = store.open_reader(io.BytesIO(archive((broken, {}), (song(3, 1, 3, 5), {}), (broken, {}))))
    skipped: list[tuple[str, str]] = []
    found = list(excerpts(reader, [1, 2, 3], Window(0.2), lambda *words: skipped.append(words)))
    assert [excerpt.number for excerpt in found] == [2]
    assert [what for what, _ in skipped] == ["item 1", "item 3"]
    assert "not finite" in skipped[0][1]
    reader = store.open_reader(io.BytesIO(archive((broken, {}), (song(3, 1, 3, 5), {}))))
    assert [e.number for e in excerpts(reader, [1, 2], Window(0.5), lambda *words: skipped.append(words))] == [2]
    assert "lasts 0.5 s" in skipped[2][1]


def test_numbers_keep_their_order_and_come_once() -> None:
    assert parse_numbers("7,3,10:12,11,3") == [7, 3, 10, 11, 12]
    for text in ("", "a", "1,,2", "0", "-1", "5:4", "1:2:3", "1:101", "1:99999999999999"):
        with pytest.raises(UsageError, match="--items"):
            parse_numbers(text)


def test_excerpts_meet_by_number_at_common_length() -> None:
    def made(*numbers: int, frames: int) -> Any:
        return (Excerpt(n, str(n), np.full((1, 2, frames), n, np.float32), 0.0) for n in numbers)

    skipped: list[str] = []
    met = list(
        pairs_of(made(1, 3, 4, 6, frames=9), made(2, 3, 4, 5, frames=7), "x", lambda what, _: skipped.append(what))
    )
    assert [(one.number, two.number) for one, two in met] == [(3, 3), (4, 4)]
    assert all(one.roll.shape == two.roll.shape == (1, 2, 7) for one, two in met)
    assert skipped == ["item 1", "item 6"]
