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
    starts = np.floor(strokes.seconds / frame_seconds).astype(int)
    is_kept = (starts >= 0) & (starts < frames) & (strokes.loudness >= FAINTEST)
    for drum, row in enumerate(kit_rows(keys)):
        decay, chosen = KIT[drum].decay_seconds, is_kept & (strokes.drums == drum)
        ages = np.arange(1 + int(decay * np.log(1 / FAINTEST) / frame_seconds))
        places = starts[chosen][:, None] + ages  # (strokes, ages)
        loudness = strokes.loudness[chosen][:, None] * np.exp(-ages * frame_seconds / decay)
        stops = np.append(np.maximum(places[1:, 0] - 1, places[:-1, 0] + 1), frames)[: len(places), None]
        sounds = (places < stops) & (loudness >= FAINTEST)
        plane[row, places[sounds]] = loudness[sounds]
    return plane
