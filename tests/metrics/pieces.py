"""Small pieces of music with known beats, for the tests of rhythm and form."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

FRAME = 0.02
KEYS = 12


def piece_of(onsets: Iterable[tuple[float, int]], seconds: float, note_seconds: float = 0.1) -> np.ndarray:
    """Return a roll (2, K, T) of notes that begin at (time, key), fade, and are a third as loud on the right."""
    roll = np.zeros((2, KEYS, round(seconds / FRAME)), np.float32)
    for time, key in onsets:
        start = round(time / FRAME)
        length = min(round(note_seconds / FRAME), roll.shape[2] - start)
        fade = np.linspace(0.9, 0.3, length) if length else np.zeros(0)
        roll[:, key, start : start + length] = np.outer((1, 1 / 3), fade)
    return roll


def walk(step_seconds: float, seconds: float, first: float = 0.1) -> list[tuple[float, int]]:
    """Return evenly spaced onsets on changing keys, every fourth of them with a second note."""
    times = np.arange(first, seconds - 0.1, step_seconds)
    notes = [(float(time), number % 5) for number, time in enumerate(times)]
    return notes + [(float(time), 9) for time in times[::4]]


def at_random(count: int, seconds: float, seed: int = 1) -> list[tuple[float, int]]:
    """Return onsets at random."""
    generator = np.random.default_rng(seed)
    times, keys = generator.uniform(0.1, seconds - 0.2, count), generator.integers(0, KEYS, count)
    return [(float(time), int(key)) for time, key in zip(times, keys, strict=True)]
