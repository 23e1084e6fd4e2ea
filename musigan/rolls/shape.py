"""Sizes of rolls and what their axes mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Geometry:
    """The meaning of a roll's axes: length of a frame, lowest piano key, and tracks."""

    frame_seconds: float
    low_key: int
    tracks: tuple[str, ...] = ()  # names of instruments; empty where channels are stereo sides

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Geometry:
        """Read the geometry from the attributes of a keys store or a checkpoint."""
        tracks = tuple(map(str, attributes.get("tracks") or ()))
        return cls(float(attributes["frame_seconds"]), int(attributes["low_key"]), tracks)


@dataclass(frozen=True)
class RollShape:
    """Shape of the rolls that a model is built for: those of one store."""

    channels: int  # stereo channels or instruments
    keys: int  # keys from low_key to high_key
    frames: int  # frames of one training roll (one chunk)
