"""A song of a store as one roll."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from musigan.errors import StoreError
from musigan.store import Item, ItemInfo, Reader, chunks
from musigan.store.layout import holds_numbers

Float = npt.NDArray[np.float32]


Skip = Callable[[str, str, str], None]  # title of an item that is left out, the reason, and what it is counted under


def refuse(title: str, reason: str, group: str = "") -> None:
    """Raise StoreError for an item that is not to be left out."""
    raise StoreError(f"{title} {reason}")


def usable(items: Iterable[Item], skip: Skip) -> Iterator[Item]:
    """Yield the items that hold numbers alone; `skip` gets title and reason of those with NaN or infinity."""
    for item in items:
        if holds_numbers(item.array):
            yield item
        else:
            skip(item.title, "holds values that are not numbers (NaN, infinity): make it again", "that are damaged")


def read_item(reader: Reader, info: ItemInfo) -> Item:
    """Read an item of a store that is on disk. Raises StoreError where it holds NaN or infinity."""
    return next(usable([Item(info, reader.read(info.name))], refuse))


def piece_roll(item: Item, frame_seconds: float) -> Float:
    """Assemble an item's roll (C, K, T): chunks at their starts, cut to `seconds` where the item has it."""
    paired = item.dimension_names[0] == "pairs"
    rate = 1 / frame_seconds
    length = item.array.shape[-1] * (2 if paired else 1) / rate
    starts, seconds = item.song.start_times(len(item.array), length), item.song.seconds
    roll = chunks.assemble(item.array, starts, rate, paired, np.float32)
    return np.ascontiguousarray(roll[..., : round(seconds * rate) if seconds else None])


def whole_song(item: Item, frame_seconds: float) -> Float:
    """Return an item's roll in one piece, (C, K, T), to the end of its last chunk."""
    untrimmed = replace(item.info, song=replace(item.song, seconds=None))
    return piece_roll(Item(untrimmed, item.array), frame_seconds)
