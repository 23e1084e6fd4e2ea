"""A check of a whole store: read every item, report what the store holds."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from musigan.errors import StoreError
from musigan.machine.reporting import counted
from musigan.store.header import StoreHeader
from musigan.store.layout import holds_numbers
from musigan.store.reader import Reader


@dataclass(frozen=True)
class Findings:
    """What a store that is whole holds."""

    source: str
    header: StoreHeader
    has_checksums: bool
    songs: int
    parts: tuple[int, str] | None  # how many pairs or chunks; None of waveforms
    item_bytes: int
    splits: dict[str, int]  # songs by side, "not split" among them
    tempi: tuple[float, ...] = ()  # of songs with a beat
    free: int = 0  # songs free of beat

    def lines(self) -> Iterator[str]:
        """Yield a report, line by line."""
        yield f"{self.source}: whole, {self.header.describe()}"
        parts = f" with {counted(*self.parts)}" if self.parts else ""
        sides = ", ".join(f"{number} {name}" for name, number in self.splits.items())
        yield f"  {counted(self.songs, 'songs')}{parts}, {self.item_bytes / 1e6:.1f} MB; {sides}"
        if self.tempi or self.free:
            yield "  " + _describe_beats(self.tempi, self.free)
        if not self.has_checksums:
            yield "  without checksums: values that changed on the disk cannot be told (a store in one file has them)"
        if self.header.tool:
            yield "  written with " + ", ".join(f"{name} {version}" for name, version in self.header.tool.items())

    def as_values(self) -> dict[str, Any]:
        """Return the same as plain values, for JSON."""
        return {
            "store": self.source, "whole": True, "songs": self.songs,
            **({self.parts[1]: self.parts[0]} if self.parts else {}), "bytes": self.item_bytes, "splits": self.splits,
            "tempi": list(self.tempi), "free_of_beat": self.free, "has_checksums": self.has_checksums,
            "header": self.header.to_attributes(),
        }  # fmt: skip


def check_store(reader: Reader, on_item: Callable[[int, str], None] = lambda count, name: None) -> Iterator[str]:
    """Read every item and yield a report, line by line. Raises StoreError where the store is incomplete or damaged."""
    yield from examine(reader, on_item).lines()


def examine(reader: Reader, on_item: Callable[[int, str], None] = lambda count, name: None) -> Findings:
    """Read every item and return what the store holds. Raises StoreError where it is incomplete or damaged."""
    items = first_axis = 0
    splits: Counter[str] = Counter()
    item_bytes = 0
    free, tempi = 0, array("d")
    for item in reader.compared():
        if not holds_numbers(item.array):
            raise StoreError(
                f"{reader.source}: item {item.name} ({item.song.source}) holds values that are not numbers: "
                "make it again"
            )
        items += 1
        first_axis += item.array.shape[0]
        item_bytes += item.array.nbytes
        if item.song.beat_confidence is not None:
            beat = item.song.every_beat.steady()
            tempi.extend([beat.tempo] if beat else [])
            free += beat is None
        splits[item.song.split or "not split"] += 1
        on_item(items, item.song.source or item.name)
    if not items:
        raise StoreError(f"{reader.source}: a store without items")
    parts = None if reader.kind == "waveform" else (first_axis, item.dimension_names[0])
    return Findings(
        reader.source, reader.header, reader.has_checksums, items, parts, item_bytes, dict(splits),
        tuple(tempi), free,
    )  # fmt: skip


def _describe_beats(tempi: Sequence[float], free: int) -> str:
    """Say how many songs have a beat, how fast they are, and how many are free of beat."""
    if not tempi:
        return f"no song with a beat, {free} free of beat"
    range_text = f"{min(tempi):.0f} to {max(tempi):.0f} a minute, median {np.median(tempi):.0f}"
    return f"{counted(len(tempi), 'songs')} with a beat, {range_text}; {free} free of beat"
