"""A check of a whole store: read every item, report what the store holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from musigan.errors import StoreError
from musigan.machine.reporting import counted
from musigan.rolls.beats import Beat
from musigan.store.layout import holds_numbers
from musigan.store.reading import Reader


def check_store(reader: Reader, on_item: Callable[[int, str], None] = lambda count, name: None) -> Iterator[str]:
    """Read every item and yield a report, line by line. Raises StoreError where the store is incomplete or damaged."""
    items = first_axis = 0
    splits: Counter[str] = Counter()
    item_bytes = 0
    beats: list[Beat | None] = []
    for item in reader:
        if not holds_numbers(item.array):
            raise StoreError(
                f"{reader.source}: item {item.name} ({item.song.source}) holds values that are not numbers: "
                "make it again"
            )
        items += 1
        first_axis += item.array.shape[0]
        item_bytes += item.array.nbytes
        beats += [item.song.every_beat.steady()] if item.song.beat_confidence is not None else []
        splits[item.song.split or "not split"] += 1
        on_item(items, item.song.source or item.name)
    if not items:
        raise StoreError(f"{reader.source}: a store without items")
    yield f"{reader.source}: whole, {reader.header.describe()}"
    parts = "" if reader.kind == "waveform" else f" with {counted(first_axis, item.dimension_names[0])}"
    yield f"  {counted(items, 'songs')}{parts}, {item_bytes / 1e6:.1f} MB; " + ", ".join(
        f"{n} {name}" for name, n in splits.items()
    )
    if beats:
        yield "  " + _describe_beats([beat.tempo for beat in beats if beat], beats.count(None))
    if not reader.has_checksums:
        yield "  without checksums: values that changed on the disk cannot be told (a store in one file has them)"
    if reader.header.tool:
        yield "  written with " + ", ".join(f"{name} {version}" for name, version in reader.header.tool.items())


def _describe_beats(tempi: list[float], free: int) -> str:
    """Say how many songs have a beat, how fast they are, and how many are free of beat."""
    if not tempi:
        return f"no song with a beat, {free} free of beat"
    range_text = f"{min(tempi):.0f} to {max(tempi):.0f} a minute, median {np.median(tempi):.0f}"
    return f"{counted(len(tempi), 'songs')} with a beat, {range_text}; {free} free of beat"
