"""What the channels of a roll are: the sides of a recording, or instruments, when the store names its `tracks`.

Conventions: a roll is (C, K, T); `tracks` are the names of its channels, in order, or () for the sides of a recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from musigan.errors import UsageError

DRUMS = "drums"


def names_of(header: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a keys store's tracks; () where its channels are the sides of a recording."""
    return tuple(header.get("tracks") or ())


def number_of(name: str, tracks: tuple[str, ...]) -> int:
    """The number, from 1, of the channel of that name. Raises UsageError where there is none."""
    if name not in tracks:
        there = f"its tracks are {', '.join(tracks)}" if tracks else "the store holds no tracks"
        raise UsageError(f"--track {name}: {there}")
    return tracks.index(name) + 1


def together(roll: np.ndarray, tracks: tuple[str, ...]) -> np.ndarray:
    """(C, K, T) as one plane (K, T): the mean of sides, the loudest of tracks."""
    # The mean of tracks would make an instrument quieter by those that are silent.
    return np.asarray(roll.max(axis=0) if tracks else roll.mean(axis=0))


def pitched(roll: np.ndarray, tracks: tuple[str, ...]) -> np.ndarray:
    """The channels in which a key is a pitch, (C', K, T): all but drums; drums where there is nothing else."""
    chosen = [number for number, name in enumerate(tracks) if name != DRUMS]
    return roll[chosen] if chosen and len(chosen) < len(tracks) else roll
