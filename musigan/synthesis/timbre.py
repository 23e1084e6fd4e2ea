"""Timbres: how a note's power is divided among its partials. Some are fixed, others are those of songs.

A roll holds the loudness of the whole note. In every frame and for every timbre, the powers of the partials below the
Nyquist frequency add up to the note's power.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from musigan.errors import SettingsError
from musigan.rolls.keyboard import A4_HZ, A4_KEY
from musigan.rolls.tone import SPREAD, Tone, band_weights, by_key

FAINTEST, LOUDEST = 0.02, 2.0  # loudness between which it makes a difference to an own timbre
LEAST_AMPLITUDE = 0.003  # fainter partials, 50 dB down, are left out


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
        self, frequency_hz: float, nyquist_hz: float, age_seconds: np.ndarray, loudness: np.ndarray | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the partials of a note below `nyquist_hz` as (number, share of the note's amplitude).

        Args:
            frequency_hz: frequency of the fundamental.
            nyquist_hz: half the sample rate.
            age_seconds: any shape, seconds since the note began.
            loudness: the same shape; makes no difference to these timbres.

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

    def side_phases(self, frequency_hz: float, channels: int) -> np.ndarray | None:
        """Return the factors by which a partial's phase differs between channels; None where it does not."""
        return None


@dataclass(frozen=True, eq=False)
class OwnTimbre:
    """The timbre of songs: partials by register, age and loudness, and left and right as unlike as there."""

    tone: Tone
    pure: ClassVar[bool] = False

    def shares(
        self, frequency_hz: float, nyquist_hz: float, age_seconds: np.ndarray, loudness: np.ndarray | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the partials of a note as `Timbre.shares` does; `loudness`, of the shape of the ages, matters."""
        key = np.array([A4_KEY + 12 * np.log2(frequency_hz / A4_HZ)])
        amplitudes = np.sqrt(by_key(self.tone.partials**2, key)[0])
        fade, brightness = (float(by_key(values, key)[0]) for values in (self.tone.fades, self.tone.brightness))
        logs = -fade * age_seconds
        louder = brightness * np.log(np.clip(1.0 if loudness is None else loudness, FAINTEST, LOUDEST))
        partials = [
            (n, np.float32(amplitude) * np.exp(((n - 1) * logs + np.log2(n) * louder).astype(np.float32)))
            for n, amplitude in enumerate(amplitudes, start=1)
            if n == 1 or (amplitude >= LEAST_AMPLITUDE and n * frequency_hz < nyquist_hz)
        ]
        total = np.sqrt(sum(partial * partial for _, partial in partials))
        for n, partial in partials:
            yield n, partial / np.maximum(total, 1e-9)

    def side_phases(self, frequency_hz: float, channels: int) -> np.ndarray | None:
        """Return phases (2,) of left and right that make them as like as in the songs; None for other channels."""
        likeness = float(self.tone.likeness @ band_weights(np.array([frequency_hz]))[:, 0])
        if channels != 2 or likeness > SPREAD:
            return None
        # Which side leads alternates, or all would seem to come from one.
        turn = 0.5j * np.arccos(likeness) * (1 if round(12 * np.log2(frequency_hz / A4_HZ)) % 2 else -1)
        return np.exp(np.array([turn, -turn])).astype(np.complex64)


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
        raise SettingsError(f"--timbre {name} is unknown: choose one of {', '.join(TIMBRES)}, own, own:SONG.mp3")
    return TIMBRES[name]


def timbre_of(sound: str | Tone) -> Timbre | OwnTimbre:
    """Return the timbre of that name or tone. Raises SettingsError for an unknown name."""
    return OwnTimbre(sound) if isinstance(sound, Tone) else timbre_named(sound)


def ages_seconds(loudness: np.ndarray, frame_seconds: float, before: np.ndarray | None = None) -> np.ndarray:
    """Return the seconds since the note in each frame began, (C, T) -> (C, T); 0 in silent frames.

    `before`, (C,), are the frames without silence right before these; None: there was silence.
    """
    frames = np.arange(loudness.shape[1])
    silent_frames = np.where(loudness > 0, -1 if before is None else -1 - before[:, None], frames)
    return np.maximum(frames - np.maximum.accumulate(silent_frames, axis=1) - 1, 0) * frame_seconds
