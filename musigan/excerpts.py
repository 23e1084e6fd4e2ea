"""Stretches of a keys store's items, for those who look at some of it: only what they ask for is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from musigan.errors import MusiganError, StoreError, UsageError
from musigan.keysettings import KeySettings
from musigan.rendering import piece_roll
from musigan.store import Array, Item, ItemInfo, Reader
from musigan.tracks import names_of

Skip = Callable[[str, str], None]  # called with what is left out, and why
MAX_ITEMS = 100


@dataclass(frozen=True)
class Window:
    """The stretch of every item that is wanted, in seconds from the item's first frame; `seconds` None: to its end."""

    start_seconds: float = 0.0
    seconds: float | None = None

    def frames(self, frame_seconds: float) -> tuple[int, int | None]:
        """First frame, and how many: one at least."""
        count = None if self.seconds is None else max(round(self.seconds / frame_seconds), 1)
        return round(self.start_seconds / frame_seconds), count


@dataclass(frozen=True)
class Excerpt:
    """A stretch of item `number` (from 1): `roll` (C, K, T) in linear loudness, beginning `start_seconds` into it."""

    number: int
    title: str
    roll: npt.NDArray[np.float32]
    start_seconds: float


def parse_numbers(text: str) -> list[int]:
    """`"7,3,10:12"` -> [7, 3, 10, 11, 12]: items by number, from 1, each once, in the order they are named."""
    numbers: dict[int, None] = {}
    for part in text.split(","):
        low, separator, high = part.partition(":")
        try:
            first, last = int(low), int(high) if separator else int(low)
        except ValueError:
            raise UsageError(f"--items {text!r} not understood: give numbers and ranges, such as 3,7,10:12") from None
        if not 1 <= first <= last:
            raise UsageError(f"--items {part}: items count from 1, the lower number first")
        # Not of the whole range: it may name more than memory holds.
        numbers.update(dict.fromkeys(range(first, min(last, first + MAX_ITEMS) + 1)))
        if len(numbers) > MAX_ITEMS:
            raise UsageError(f"--items {text} are more than {MAX_ITEMS}: choose fewer")
    return list(numbers)


def excerpts(reader: Reader, numbers: Sequence[int], window: Window, skip: Skip) -> Iterator[Excerpt]:
    """The wanted stretches of items `numbers`, in the store's order; numbers behind its end are left out silently.

    Of a store on disk only the blocks inside the window are read, of a stream no more than one item behind the last
    that is wanted. `skip` hears of items that end before the window begins or hold values that are no loudness.
    """
    frame_seconds = float(reader.attributes["frame_seconds"])
    for number, info, fetch in _chosen(reader, set(numbers)):
        name = f"item {number}"
        start, count = window.frames(frame_seconds)
        total = _total_frames(info, frame_seconds)
        if start >= total:
            skip(name, f"lasts {total * frame_seconds:g} s, nothing is left of it after {window.start_seconds:g} s")
            continue
        stop = total if count is None else min(start + count, total)
        roll = _stretch(info, fetch, start, stop, frame_seconds)
        if not np.isfinite(roll).all():
            skip(name, "holds values that are not finite")
            continue
        title = str(info.attributes.get("title") or info.attributes.get("source") or info.name)
        yield Excerpt(number, title, roll, start * frame_seconds)


def check_comparable(one: Reader, other: Reader) -> None:
    """Raise StoreError where two stores' rolls do not lie on the same keys and frames."""
    for name, unit in (("frame_seconds", "frames of {} s"), ("low_key", "keys from {}"), ("high_key", "keys up to {}")):
        mine, theirs = one.attributes[name], other.attributes[name]
        if mine != theirs:
            raise StoreError(
                f"{one.source} has {unit.format(mine)}, {other.source} {unit.format(theirs)}: such rolls cannot be "
                "compared; make both with the same --keys and --frame-seconds"
            )
    if names_of(one.attributes) != names_of(other.attributes):
        mine, theirs = (" ".join(names_of(reader.attributes)) or "recordings" for reader in (one, other))
        raise StoreError(f"{one.source} holds {mine}, {other.source} {theirs}: such rolls cannot be compared")


def pairs_of(
    ones: Iterator[Excerpt], others: Iterator[Excerpt], other_name: str, skip: Skip
) -> Iterator[tuple[Excerpt, Excerpt]]:
    """Excerpts of the same number out of two stores, cut to the length both have; the rest is skipped."""
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


def _chosen(reader: Reader, wanted: set[int]) -> Iterator[tuple[int, ItemInfo, _Fetch]]:
    """Number, description and a way to the blocks of each wanted item."""
    try:
        infos = reader.infos()
    except UsageError:
        yield from _chosen_of_stream(reader, wanted)
        return
    for number in sorted(wanted):
        if number <= len(infos):
            info = infos[number - 1]
            yield number, info, _fetch_from(reader, info)


def _chosen_of_stream(reader: Reader, wanted: set[int]) -> Iterator[tuple[int, ItemInfo, _Fetch]]:
    for number, item in enumerate(reader, 1):
        # One item more than is wanted is asked for: where there is none, the tool that writes the stream could end
        # in peace, and we have seen the proof that the store is whole.
        if number > max(wanted, default=0):
            return
        if number in wanted:
            yield number, item.info, item.array.__getitem__


def _fetch_from(reader: Reader, info: ItemInfo) -> _Fetch:
    def fetch(indices: list[int]) -> Array:
        if info.blocks[1:] != info.shape[1:]:  # of other hands: one block is not one chunk
            return reader.read(info.name)[indices]
        return np.concatenate([reader.block(info.name, index) for index in indices])

    return fetch


def _begins(info: ItemInfo, frame_seconds: float) -> list[int]:
    """First frame of each pair or chunk, the item's earliest being 0."""
    span = _span(info)
    starts = info.attributes.get("starts")
    if not starts:
        return [index * span for index in range(info.shape[0])]
    if len(starts) != info.shape[0]:
        raise MusiganError(f"item {info.name} has {len(starts)} starts for {info.shape[0]} chunks: it is damaged")
    return [int((start - min(starts)) / frame_seconds + 1e-6) for start in starts]


def _span(info: ItemInfo) -> int:
    """Frames in a pair or chunk."""
    return info.shape[-1] * (2 if info.dimension_names[0] == "pairs" else 1)


def _total_frames(info: ItemInfo, frame_seconds: float) -> int:
    total = max(_begins(info, frame_seconds)) + _span(info)
    seconds = info.attributes.get("seconds")
    return min(total, round(seconds / frame_seconds)) if seconds else total


def _stretch(info: ItemInfo, fetch: _Fetch, start: int, stop: int, frame_seconds: float) -> npt.NDArray[np.float32]:
    """Frames `start` to `stop` of an item, (C, K, stop - start), from the blocks that lie there."""
    begins, span = _begins(info, frame_seconds), _span(info)
    inside = [index for index, begin in enumerate(begins) if begin < stop and begin + span > start]
    roll = np.zeros((*info.shape[-3:-1], stop - start), np.float32)
    if not inside:  # silence that was dropped
        return roll
    first = min(begins[index] for index in inside)
    attributes = {"starts": [(begins[index] - first) * frame_seconds for index in inside]}
    part = replace(info, shape=(len(inside), *info.shape[1:]), attributes=attributes)
    # Nothing but the frame rate matters here, and stores of other hands need not say which bands they have.
    found = piece_roll(Item(part, fetch(inside)), KeySettings(frame_seconds=frame_seconds))
    found = found[..., max(start - first, 0) : stop - first]
    begin = max(first - start, 0)
    roll[..., begin : begin + found.shape[-1]] = found
    return roll
