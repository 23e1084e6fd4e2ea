"""Channels of a roll: the sides of a recording, or instruments where the store names its `tracks`.

Conventions: a roll is (C, K, T); `tracks` are the names of its channels, in order, or () for the sides of a recording.
"""

from __future__ import annotations

import numpy as np

from musigan.errors import UsageError

DRUMS = "drums"


def number_of_track(name: str, tracks: tuple[str, ...]) -> int:
    """Return the number, from 1, of the channel of that name. Raises UsageError where there is none."""
    if name not in tracks:
        available = f"its tracks are {', '.join(tracks)}" if tracks else "the store holds no tracks"
        raise UsageError(f"--track {name}: {available}")
    return tracks.index(name) + 1


def mix_channels(roll: np.ndarray, tracks: tuple[str, ...]) -> np.ndarray:
    """Mix (C, K, T) to one channel (K, T): the mean of sides, the maximum of tracks."""
    # With the mean, silent tracks would make an instrument quieter.
    return np.asarray(roll.max(axis=0) if tracks else roll.mean(axis=0))


def pitched_channels(roll: np.ndarray, tracks: tuple[str, ...]) -> np.ndarray:
    """Select the channels in which a key is a pitch, (C', K, T): all but drums; drums if there is nothing else."""
    pitched_numbers = [number for number, name in enumerate(tracks) if name != DRUMS]
    return roll[pitched_numbers] if pitched_numbers and len(pitched_numbers) < len(tracks) else roll
