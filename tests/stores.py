"""Small stores for tests, of every kind and in every place."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from musigan import store
from musigan.store import DIMENSIONS, Item, Song, StoreHeader, zipstream

HEADERS = {
    "waveform": StoreHeader("waveform", 5, 2),
    "pairs": StoreHeader("pairs", 5, 1.4),
    "keys": StoreHeader("keys", 5, 1.5, frame_seconds=0.5, low_key=40, high_key=43),
}
SHAPES: list[tuple[str, tuple[int, ...]]] = [
    ("waveform", (2, 23)),
    ("pairs", (3, 2, 2, 7)),
    ("keys", (2, 2, 1, 4, 3)),
    ("keys", (3, 1, 4, 3)),
]
Songs = list[tuple[np.ndarray, Song]]


def dimensions(kind: str, array: np.ndarray) -> tuple[str, ...]:
    return next(names for names in DIMENSIONS[kind] if len(names) == array.ndim)


def songs(shape: tuple[int, ...], count: int = 2, dtype: str = "float16") -> Songs:
    """Songs of different numbers; along a time axis of free length the second is shorter."""
    arrays = [
        (np.arange(np.prod(shape)) * (number + 1) % 97 - 9).reshape(shape).astype(dtype) for number in range(count)
    ]
    if len(shape) == 2:
        arrays = [array[:, : shape[1] - 9 * number] for number, array in enumerate(arrays)]
    return [(array, Song(title=f"Lied Ä{number}", level=0.5)) for number, array in enumerate(arrays)]


def fill(target: str | io.BytesIO, kind: str, content: Songs) -> None:
    with store.write(target, HEADERS[kind]) as writer:
        for array, song in content:
            writer.add(array, dimensions(kind, array), song)


def archive(kind: str = "keys", shape: tuple[int, ...] = (2, 2, 1, 4, 3), count: int = 2) -> bytes:
    file = io.BytesIO()
    fill(file, kind, songs(shape, count))
    return file.getvalue()


def zipped(contents: dict[str, bytes]) -> bytes:
    """Entries as an archive of ours, whatever they say."""
    file = io.BytesIO()
    writer = zipstream.EntryWriter(file)
    for name, data in contents.items():
        writer.add(name, data)
    writer.finish()
    return file.getvalue()


def items(source: str | Path | bytes, in_order: bool = False) -> list[Item]:
    """Read a store to its end: a stream if given as bytes."""
    opened = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    with store.open_reader(opened, in_order=in_order) as reader:
        return list(reader)


def assert_same(found: list[Item], expected: Songs, kind: str) -> None:
    assert [item.name for item in found] == [f"{number:06d}" for number in range(1, len(expected) + 1)]
    for item, (array, song) in zip(found, expected, strict=True):
        assert item.array.dtype == array.dtype
        np.testing.assert_array_equal(item.array, array)
        assert item.song == song
        assert item.dimension_names == dimensions(kind, array)
