"""Channels of a roll: the sides of a recording and perhaps its drums, or instruments; the store's `tracks` names them.

Conventions: a roll is (C, K, T); `tracks` are the names of its channels, in order. () are the sides of a recording
whose drums were not looked for. In a channel of drums a key is no pitch but a drum: what goes by pitch leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from musigan.errors import UsageError
from musigan.rolls.loudness import transpose

DRUMS = "drums"
SIDES = ("left", "right")
MONO = ("mono",)
WITH_DRUMS = {sides: (*sides, DRUMS) for sides in (SIDES, MONO)}  # of a recording; drums are the last channel
RECORDINGS = frozenset({(), *WITH_DRUMS, *WITH_DRUMS.values()})


def is_recording(tracks: tuple[str, ...]) -> bool:
    """Return whether channels of these names are the sides of a recording, perhaps with its drums."""
    return tracks in RECORDINGS


def has_own_drums(tracks: tuple[str, ...]) -> bool:
    """Return whether these are the sides of a recording and its drums."""
    return is_recording(tracks) and DRUMS in tracks


def sides_or_tracks(roll: np.ndarray, tracks: tuple[str, ...]) -> np.ndarray:
    """Select the sides of a recording, (C', K, T), without its drums; all tracks of other music."""
    return roll[:-1] if has_own_drums(tracks) else roll


def number_of_track(name: str, tracks: tuple[str, ...]) -> int:
    """Return the number, from 1, of the channel of that name. Raises UsageError where there is none."""
    if name not in tracks:
        available = f"its tracks are {', '.join(tracks)}" if tracks else "the store holds no tracks"
        raise UsageError(f"--track {name}: {available}")
    return tracks.index(name) + 1


def unpitched_instruments(tracks: tuple[str, ...]) -> tuple[int, ...]:
    """Return the channels of instruments in which a key is a drum; none of a recording."""
    return () if is_recording(tracks) else tuple(number for number, name in enumerate(tracks) if name == DRUMS)


def pitched_channels(roll: np.ndarray, tracks: tuple[str, ...]) -> np.ndarray:
    """Select the channels in which a key is a pitch, (C', K, T): all but drums; drums if there is nothing else."""
    pitched_numbers = [number for number, name in enumerate(tracks) if name != DRUMS]
    return roll[pitched_numbers] if pitched_numbers and len(pitched_numbers) < len(tracks) else roll


def mix_pitched(roll: np.ndarray, tracks: tuple[str, ...]) -> np.ndarray:
    """Mix what has a pitch in (C, K, T) to one channel (K, T): the mean of sides, the maximum of instruments."""
    # With the mean, silent tracks would make an instrument quieter.
    pitched = pitched_channels(roll, tracks)
    return np.asarray(pitched.mean(axis=0) if is_recording(tracks) else pitched.max(axis=0))


def mix_channels(roll: np.ndarray, tracks: tuple[str, ...]) -> np.ndarray:
    """Mix (C, K, T) to one channel (K, T), to be looked at: the mean of sides, the maximum of instruments and drums."""
    mixed = mix_pitched(roll, tracks)
    return np.asarray(np.maximum(mixed, roll[tracks.index(DRUMS)])) if DRUMS in tracks else mixed


def layers_of(roll: np.ndarray, tracks: tuple[str, ...]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return what is to be told apart in a picture of (C, K, T): names, and a plane (N, K, T) for each.

    The mean of a recording's sides is one, called notes; its drums and each instrument are one of their own.
    """
    if not is_recording(tracks):
        return tracks, roll
    notes = mix_pitched(roll, tracks)[None]
    return (("notes", DRUMS), np.concatenate((notes, roll[-1:]))) if has_own_drums(tracks) else (("notes",), notes)


def parts_of(roll: np.ndarray, tracks: tuple[str, ...]) -> list[np.ndarray]:
    """Split (C, K, T) into parts that share no notes, in order: both sides of a recording, each other track alone."""
    if not is_recording(tracks):
        return list(roll[:, None])
    return [roll[:-1], roll[-1:]] if has_own_drums(tracks) else [roll]


def on_pitched(roll: np.ndarray, tracks: tuple[str, ...], change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return (C, K, T) with `change` made to all its channels but drums, which stay as they are."""
    if DRUMS not in tracks:
        return change(roll)
    pitched_numbers = [number for number, name in enumerate(tracks) if name != DRUMS]
    changed = np.array(roll)
    if pitched_numbers:
        changed[pitched_numbers] = change(roll[pitched_numbers])
    return changed


def transposed(roll: np.ndarray, keys: int, tracks: tuple[str, ...]) -> np.ndarray:
    """Move what has a pitch in (C, K, T) up by `keys` (down if negative); each key of drums is another drum."""
    return on_pitched(roll, tracks, lambda pitched: transpose(pitched, keys)) if keys else roll


def swapped_sides(roll: np.ndarray, tracks: tuple[str, ...]) -> np.ndarray:
    """Return (C, K, T) with left and right swapped; as it is where there are not two sides of a recording."""
    sides = sides_or_tracks(roll, tracks)
    if not is_recording(tracks) or len(sides) != len(SIDES):
        return roll
    return np.concatenate((sides[::-1], roll[len(SIDES) :])) if len(roll) > len(SIDES) else roll[::-1]
