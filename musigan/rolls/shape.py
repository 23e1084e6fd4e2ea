"""Sizes of rolls and what their axes mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """The meaning of a roll's axes: length of a frame, lowest piano key, and tracks."""

    frame_seconds: float
    low_key: int
    tracks: tuple[str, ...] = ()  # names of the channels; empty where these are sides of a recording, without drums


@dataclass(frozen=True)
class RollShape:
    """Shape of the rolls that a model is built for: those of one store."""

    channels: int  # sides of a recording, perhaps with its drums, or instruments
    keys: int  # keys from low_key to high_key
    frames: int  # frames of one training roll (one chunk)
    has_drums: bool = False  # whether the last channel is the drums of a recording
    kit: tuple[int, ...] = ()  # its row of each drum of the kit (rolls/kit.py); (): without drums, or room for a kit
    unpitched: tuple[int, ...] = ()  # channels of instruments in which a key is a drum

    def __post_init__(self) -> None:
        object.__setattr__(self, "kit", tuple(self.kit))
        object.__setattr__(self, "unpitched", tuple(self.unpitched))

    @property
    def pitched(self) -> int:
        """Number of the first channels, all but a recording's drums, in which a key is a pitch."""
        return self.channels - self.has_drums

    def drums_of(self, roll: np.ndarray) -> np.ndarray | None:
        """Return the drums of the kit in a roll (C, K, T), (D, T); None without a kit."""
        return np.asarray(roll[-1, list(self.kit)]) if self.kit else None
