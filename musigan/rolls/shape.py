"""Sizes of rolls and what their axes mean."""

from __future__ import annotations

from dataclasses import dataclass


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

    @property
    def pitched(self) -> int:
        """Number of the first channels, all but a recording's drums, in which a key is a pitch."""
        return self.channels - self.has_drums
