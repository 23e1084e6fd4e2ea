"""Excerpts of a keys store's items: a time window of some items, read without the rest of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from musigan.errors import UsageError
from musigan.rolls.beats import Beats
from musigan.rolls.streamed import RollParts
from musigan.store import Array, Item, ItemInfo, Reader, Song
from musigan.store.layout import holds_numbers
from musigan.store.songs import piece_roll

Skip = Callable[[str, str], None]  # called with the name of an item that is left out, and the reason
MAX_ITEMS = 100


@dataclass(frozen=True)
class Window:
    """The time window of every excerpt, in seconds from the item's first frame; `seconds` None: to the item's end."""

    start_seconds: float = 0.0
    seconds: float | None = None

    def frames(self, frame_seconds: float) -> tuple[int, int | None]:
        """Return the first frame and the number of frames, at least one; None: all frames to the end."""
        count = None if self.seconds is None else max(round(self.seconds / frame_seconds), 1)
        return round(self.start_seconds / frame_seconds), count


@dataclass(frozen=True)
class Excerpt:
    """A part of item `number` (from 1): `roll` (C, K, T) in linear loudness, from `start_seconds` of the item on."""

    number: int
    title: str
    roll: npt.NDArray[np.float32]
    start_seconds: float
    beats: Beats = field(default_factory=Beats.none)  # their times from the item's first frame on
    song: Song = field(default_factory=Song)


def parse_numbers(text: str) -> list[int]:
    """Parse item numbers, from 1: `"7,3,10:12"` -> [7, 3, 10, 11, 12], each once, in the order given.

    Raises UsageError for other text and for more than MAX_ITEMS numbers.
    """
    numbers: dict[int, None] = {}
    for part in text.split(","):
        low, separator, high = part.partition(":")
        try:
            first, last = int(low), int(high) if separator else int(low)
        except ValueError:
            raise UsageError(f"--items {text!r} not understood: give numbers and ranges, such as 3,7,10:12") from None
        if not 1 <= first <= last:
            raise UsageError(f"--items {part}: items count from 1, the lower number first")
        # Not the whole range: it may have more numbers than fit into memory.
        numbers.update(dict.fromkeys(range(first, min(last, first + MAX_ITEMS) + 1)))
        if len(numbers) > MAX_ITEMS:
            raise UsageError(f"--items {text} are more than {MAX_ITEMS}: choose fewer")
    return list(numbers)


def excerpts(reader: Reader, numbers: Sequence[int], window: Window, skip: Skip) -> Iterator[Excerpt]:
    """Yield the excerpts of items `numbers` in the store's order; numbers past the last item are left out silently.

    A store on disk is read only inside the window, a stream up to one item after the last of `numbers`. `skip` is
    called for items that end before the window begins and for items with values that are not finite.
    """
    frame_seconds = reader.header.frame_seconds
    for number, info, fetch in _selected_items(reader, set(numbers)):
        name = f"item {number}"
        start, count = window.frames(frame_seconds)
        total = _total_frames(info, frame_seconds)
        if start >= total:
            skip(name, f"lasts {total * frame_seconds:g} s, nothing is left of it after {window.start_seconds:g} s")
            continue
        stop = total if count is None else min(start + count, total)
        roll = _read_frames(info, fetch, start, stop, frame_seconds)
        if not holds_numbers(roll):
            skip(name, "holds values that are not finite")
            continue
        beats = info.song.every_beat.counted_from(info.song.begin_seconds)
        yield Excerpt(number, info.title, roll, start * frame_seconds, beats, info.song)


def roll_parts(item: Item, frame_seconds: float) -> RollParts:
    """Return an item's roll as `piece_roll` does, its parts assembled as they are read."""
    info = replace(item.info, shape=item.array.shape)
    frames = _total_frames(info, frame_seconds)

    def read(first: int, stop: int) -> npt.NDArray[np.float32]:
        return _read_frames(info, item.array.__getitem__, first, stop, frame_seconds)

    return RollParts((*info.shape[-3:-1], frames), read)  # type: ignore[arg-type]


def pairs_of(
    ones: Iterator[Excerpt], others: Iterator[Excerpt], other_name: str, skip: Skip
) -> Iterator[tuple[Excerpt, Excerpt]]:
    """Yield pairs of excerpts of the same item from two stores, cut to the shorter; call `skip` for the others."""
    other = next(others, None)
    for one in ones:
        while other is not None and other.number < one.number:
            other = next(others, None)
        if other is None or other.number != one.number:
            skip(f"item {one.number}", f"{other_name} has nothing to compare it with")
            continue
        length = min(one.roll.shape[-1], other.roll.shape[-1])
        yield replace(one, roll=one.roll[..., :length]), replace(other, roll=other.roll[..., :length])


_Fetch = Callable[[list[int]], Array]  # blocks along the first axis, (n, ...)


def _selected_items(reader: Reader, wanted: set[int]) -> Iterator[tuple[int, ItemInfo, _Fetch]]:
    """Yield number, metadata and a function that fetches blocks, for each item in `wanted`."""
    try:
        infos = reader.infos()
    except UsageError:
        yield from _selected_items_of_stream(reader, wanted)
        return
    for number in sorted(wanted):
        if number <= len(infos):
            info = infos[number - 1]
            yield number, info, _fetch_from(reader, info)


def _selected_items_of_stream(reader: Reader, wanted: set[int]) -> Iterator[tuple[int, ItemInfo, _Fetch]]:
    for number, item in enumerate(reader, 1):
        # Ask for one item more than needed. If the stream ends there, the writing tool can finish normally, and the
        # reader has checked the directory at the end, so the store is complete.
        if number > max(wanted, default=0):
            return
        if number in wanted:
            yield number, item.info, item.array.__getitem__


def _fetch_from(reader: Reader, info: ItemInfo) -> _Fetch:
    def fetch(indices: list[int]) -> Array:
        if info.blocks[1:] != info.shape[1:]:  # written by another program: one block is not one chunk
            return reader.read(info.name)[indices]
        return np.concatenate([reader.block(info.name, index) for index in indices])

    return fetch


def _begin_frames(info: ItemInfo, frame_seconds: float) -> list[int]:
    """Return the first frame of each pair or chunk, counted from the item's earliest."""
    span = _span(info)
    if not info.song.starts:
        return [index * span for index in range(info.shape[0])]
    return [int((start - info.song.begin_seconds) / frame_seconds + 1e-6) for start in info.song.starts]


def _span(info: ItemInfo) -> int:
    """Return the number of frames in a pair or chunk."""
    return info.shape[-1] * (2 if info.dimension_names[0] == "pairs" else 1)


def _total_frames(info: ItemInfo, frame_seconds: float) -> int:
    total = max(_begin_frames(info, frame_seconds)) + _span(info)
    seconds = info.song.seconds
    return min(total, round(seconds / frame_seconds)) if seconds else total


def _read_frames(info: ItemInfo, fetch: _Fetch, start: int, stop: int, frame_seconds: float) -> npt.NDArray[np.float32]:
    """Read frames `start` to `stop` of an item, (C, K, stop - start), from the blocks that overlap them."""
    begin_frames, span = _begin_frames(info, frame_seconds), _span(info)
    indices = [
        index for index, begin_frame in enumerate(begin_frames) if begin_frame < stop and begin_frame + span > start
    ]
    roll = np.zeros((*info.shape[-3:-1], stop - start), np.float32)
    if not indices:  # a silent part that the store leaves out
        return roll
    first = min(begin_frames[index] for index in indices)
    starts = tuple((begin_frames[index] - first) * frame_seconds for index in indices)
    part = replace(info, shape=(len(indices), *info.shape[1:]), song=Song(starts=starts))
    part_roll = piece_roll(Item(part, fetch(indices)), frame_seconds)
    part_roll = part_roll[..., max(start - first, 0) : stop - first]
    begin_frame = max(first - start, 0)
    roll[..., begin_frame : begin_frame + part_roll.shape[-1]] = part_roll
    return roll
