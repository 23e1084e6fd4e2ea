"""A song of a store as one roll."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from musigan.errors import MusiganError
from musigan.rolls.keysettings import KeySettings
from musigan.store import Item, chunks

Float = npt.NDArray[np.float32]


def piece_roll(item: Item, settings: KeySettings) -> Float:
    """Assemble an item's roll (C, K, T): chunks at their starts, cut to `seconds` where the item has it."""
    paired = item.dimension_names[0] == "pairs"
    rate = 1 / settings.frame_seconds
    length = item.array.shape[-1] * (2 if paired else 1) / rate
    starts = tuple(item.attributes.get("starts") or (index * length for index in range(len(item.array))))
    if len(starts) != len(item.array):
        raise MusiganError(f"item {item.name} has {len(starts)} starts for {len(item.array)} chunks: it is damaged")
    roll = chunks.assemble(item.array, starts, rate, paired)
    seconds = item.attributes.get("seconds")
    return roll[..., : round(seconds * rate) if seconds else None].astype(np.float32)


def whole_song(item: Item, frame_seconds: float) -> Float:
    """Return an item's roll in one piece, (C, K, T), to the end of its last chunk."""
    attributes = {name: value for name, value in item.attributes.items() if name != "seconds"}
    untrimmed = replace(item, info=replace(item.info, attributes=attributes))
    return piece_roll(untrimmed, KeySettings(frame_seconds=frame_seconds))
