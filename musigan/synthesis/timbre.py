"""Timbres: how a note's power is divided among its partials.

A roll holds the loudness of the whole note. In every frame and for every timbre, the powers of the partials below the
Nyquist frequency add up to the note's power.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from musigan.errors import SettingsError


@dataclass(frozen=True)
class Timbre:
    """Amplitudes of the partials at 1, 2, 3, ... times the fundamental."""

    amplitudes: tuple[float, ...]
    # Partial n falls by exp(-decay * (n - 1)) a second against the fundamental, as on struck and plucked strings.
    decay: float = 0.0
    # Partials far above this fall by 12 dB an octave, as in an instrument's body, its bell, a room.
    rolloff_hz: float = float("inf")

    @property
    def pure(self) -> bool:
        """True if there is nothing but the fundamental."""
        return len(self.amplitudes) == 1

    def shares(
        self, frequency_hz: float, nyquist_hz: float, age_seconds: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the partials of a note below `nyquist_hz` as (number, share of the note's amplitude).

        Args:
            frequency_hz: frequency of the fundamental.
            nyquist_hz: half the sample rate.
            age_seconds: any shape, seconds since the note began.

        Yields:
            number from 1, and a share of the shape of `age_seconds`; the shares' squares add up to 1.
        """
        partials = [
            (n, amplitude / (1 + (n * frequency_hz / self.rolloff_hz) ** 2))
            for n, amplitude in enumerate(self.amplitudes, start=1)
            if amplitude and n * frequency_hz < nyquist_hz
        ]
        fades = [np.exp(-self.decay * (n - 1) * age_seconds) * amplitude for n, amplitude in partials]
        total = np.sqrt(sum(fade * fade for fade in fades))
        for (n, _), fade in zip(partials, fades, strict=True):
            yield n, fade / total


TIMBRES = {
    "sine": Timbre((1.0,)),
    "harmonic": Timbre(tuple(1 / n for n in range(1, 9))),
    "piano": Timbre((1.0, 0.6, 0.4, 0.3, 0.2, 0.14, 0.08, 0.1, 0.06, 0.04), decay=0.9, rolloff_hz=2500.0),
    "organ": Timbre((1.0, 0.8, 0.5, 0.55, 0.0, 0.3, 0.0, 0.3)),
    "strings": Timbre(tuple(1 / n for n in range(1, 15)), rolloff_hz=2000.0),
    "flute": Timbre((1.0, 0.3, 0.1, 0.04), rolloff_hz=3000.0),
    "reed": Timbre((1.0, 0.1, 0.7, 0.12, 0.45, 0.1, 0.25, 0.06, 0.15), rolloff_hz=3000.0),
    "plucked": Timbre((1.0, 0.8, 0.6, 0.35, 0.3, 0.2, 0.15, 0.1), decay=2.5, rolloff_hz=3000.0),
    "bass": Timbre((1.0, 0.8, 0.45, 0.3, 0.2, 0.12, 0.08, 0.05), decay=1.2, rolloff_hz=900.0),
}


def timbre_named(name: str) -> Timbre:
    """Return the timbre of that name. Raises SettingsError for an unknown name."""
    if name not in TIMBRES:
        raise SettingsError(f"--timbre {name} is unknown: choose one of {', '.join(TIMBRES)}")
    return TIMBRES[name]


def ages_seconds(loudness: np.ndarray, frame_seconds: float) -> np.ndarray:
    """Return the seconds since the note in each frame began, (C, T) -> (C, T); 0 in silent frames."""
    frames = np.arange(loudness.shape[1])
    silent_frames = np.where(loudness > 0, -1, frames)
    return np.maximum(frames - np.maximum.accumulate(silent_frames, axis=1) - 1, 0) * frame_seconds
