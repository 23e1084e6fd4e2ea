"""Sizes of rolls and what their axes mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """The meaning of a roll's axes: length of a frame, lowest piano key, and tracks."""

    frame_seconds: float
    low_key: int
    tracks: tuple[str, ...] = ()  # names of instruments; empty where channels are stereo sides


@dataclass(frozen=True)
class RollShape:
    """Shape of the rolls that a model is built for: those of one store."""

    channels: int  # stereo channels or instruments
    keys: int  # keys from low_key to high_key
    frames: int  # frames of one training roll (one chunk)
