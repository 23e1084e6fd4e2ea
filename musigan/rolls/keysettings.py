"""Settings of the analysis: piano keys, band widths, frame length and the threshold of silence.

Key n of a piano (1 to 88) sounds at f(n) = 440 * 2 ** ((n - 49) / 12) Hz; the band around it is a Gaussian of standard
deviation s(n) = base_hz + slope * f(n) Hz. Stores and checkpoints keep these settings in their headers, so that
their rolls are turned into sound with the same keys, bands and frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from musigan.errors import SettingsError
from musigan.rolls.keyboard import KeyRange


@dataclass(frozen=True)
class Band:
    """Widths of the bands, s(n) = base_hz + slope * f(n), and the defaults that go with them."""

    base_hz: float
    slope: float
    keys: tuple[int, int]
    threshold: float  # share of the song's maximum (fixed) or of its level (variable)
    cleaned: bool


BANDS = {
    "variable": Band(base_hz=1.5, slope=0.02, keys=(1, 88), threshold=0.02, cleaned=True),
    "fixed": Band(base_hz=12.5, slope=0.0, keys=(27, 59), threshold=0.025, cleaned=False),
    # Notes from MIDI files, at the loudness of their velocity. Nothing was measured: only synthesis uses the widths.
    "midi": Band(base_hz=1.5, slope=0.02, keys=(1, 88), threshold=0.0, cleaned=True),
}
MEASURED_BANDS = ("variable", "fixed")


@dataclass(frozen=True)
class KeySettings:
    """Keys, bands, frames and threshold of a roll; a field left at None takes the band's default.

    A store or checkpoint made with other widths than this version's keeps them, by its `base_hz` and `slope`.
    """

    # "variable": widths grow with frequency; "fixed": 12.5 Hz, as the original MusiGAN; "midi": notes from MIDI files
    band: str = "variable"
    keys: KeyRange = None  # type: ignore[assignment]  # filled in below
    frame_seconds: float = 0.02
    threshold: float = None  # type: ignore[assignment]  # share of the song's level (variable) or maximum (fixed)
    cleaned: bool = None  # type: ignore[assignment]  # True: notes without ghosts (musigan/analysis/cleaning.py); False: every band as it is
    base_hz: float = None  # type: ignore[assignment]  # s(n) = base_hz + slope * f(n)
    slope: float = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.band not in BANDS:
            raise SettingsError(f"--band {self.band} is unknown: choose one of {', '.join(BANDS)}")
        default = BANDS[self.band]
        if self.keys is None:
            object.__setattr__(self, "keys", KeyRange(*default.keys))
        for name in ("threshold", "cleaned", "base_hz", "slope"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(default, name))
        if not 0 <= self.threshold < 1:
            raise SettingsError(f"--threshold is {self.threshold}, expected 0 or more and below 1")
        if not 0 < self.frame_seconds <= 1:
            raise SettingsError(f"--frame-seconds is {self.frame_seconds}, expected more than 0 and at most 1")
        if not (0 < self.base_hz <= 1000 and 0 <= self.slope <= 1):
            raise SettingsError(
                f"band widths of {self.base_hz} Hz + {self.slope} * frequency are out of range: "
                "the store is damaged, make it anew"
            )

    def frame_samples(self, sample_rate: int) -> int:
        """Return the number of samples in a frame.

        Raises:
            SettingsError: the frame is not a whole number of samples at this rate.
        """
        exact_samples = self.frame_seconds * sample_rate
        samples = round(exact_samples)
        if samples < 1 or abs(exact_samples - samples) > 1e-6 * samples:
            sample_counts = sorted({max(1, math.floor(exact_samples)), math.ceil(exact_samples)})
            raise SettingsError(
                f"--frame-seconds {self.frame_seconds:g} is {exact_samples:g} samples at {sample_rate} Hz, "
                f"not a whole number; "
                f"use {' or '.join(f'{n}/{sample_rate} = {n / sample_rate:.9g}' for n in sample_counts)}, "
                f"or resample to 12000 Hz"
            )
        return samples

    def deviations_hz(self) -> np.ndarray:
        """Return s(n), the standard deviation of every key's Gaussian, float64 (K,)."""
        return self.base_hz + self.slope * self.keys.frequencies_hz()
