"""The kit: which drums a recording's `drums` channel has, on which keys, and how long their strokes last in it.

A stroke is as loud as it was struck in its first frame, 1 as loud as the song's loud strokes of that drum, and fades.
The frame before a stroke is silent, so that strokes that follow each other closely stay apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musigan.rolls.keyboard import PITCH_OF_KEY, KeyRange

FAINTEST = 0.06  # a stroke that has faded below this is over


@dataclass(frozen=True)
class Drum:
    """A drum of the kit: its note in General MIDI, and the time in which its strokes fall to 1/e."""

    name: str
    pitch: int
    decay_seconds: float
    is_metal: bool = False


KIT = (
    Drum("kick", 36, 0.05),
    Drum("snare", 38, 0.06),
    Drum("tom", 45, 0.08),
    Drum("hi-hat", 42, 0.02, True),
    Drum("cymbal", 49, 0.25, True),
)


@dataclass(frozen=True)
class Strokes:
    """Strokes as parallel arrays (N,), in order."""

    seconds: np.ndarray
    drums: np.ndarray  # places in KIT
    loudness: np.ndarray  # linear, 0 to 1

    def __len__(self) -> int:
        return len(self.seconds)


def kit_rows(keys: KeyRange) -> tuple[int, ...]:
    """Return the row of each drum of the kit in a roll of these keys; () where they do not have room for all."""
    rows = tuple(drum.pitch - PITCH_OF_KEY - keys.low for drum in KIT)
    return rows if min(rows) >= 0 and max(rows) < keys.count else ()


def drum_plane(strokes: Strokes, keys: KeyRange, frames: int, frame_seconds: float) -> np.ndarray:
    """Return strokes as a channel of a roll, float32 (K, T). The keys must have room for the kit."""
    plane = np.zeros((keys.count, frames), np.float32)
    rows = kit_rows(keys)
    for second, drum, loudness in zip(strokes.seconds, strokes.drums, strokes.loudness, strict=True):
        start = int(second / frame_seconds)
        if not 0 <= start < frames or loudness < FAINTEST:
            continue
        decay = KIT[drum].decay_seconds
        lasting = min(1 + int(decay * np.log(loudness / FAINTEST) / frame_seconds), frames - start)
        row = plane[rows[drum]]
        row[max(start - 1, 0)] = 0
        row[start:] = 0
        row[start : start + lasting] = loudness * np.exp(-np.arange(lasting) * frame_seconds / decay)
    return plane
