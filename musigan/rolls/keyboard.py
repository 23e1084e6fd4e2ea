"""The piano keyboard: ranges, frequencies, names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musigan.errors import SettingsError

LOWEST_KEY, HIGHEST_KEY = 1, 88


A4_KEY, A4_HZ = 49, 440.0


PITCH_OF_KEY = 20  # piano key 1 is pitch 21


NOTE_NAMES = ("A", "A#", "B", "C", "C#", "D", "D#", "E", "F", "F#", "G", "G#")


@dataclass(frozen=True)
class KeyRange:
    """The piano keys from `low` to `high`, both included; key 49 is the A of 440 Hz."""

    low: int = LOWEST_KEY
    high: int = HIGHEST_KEY

    def __post_init__(self) -> None:
        if not LOWEST_KEY <= self.low <= self.high <= HIGHEST_KEY:
            raise SettingsError(
                f"keys {self.low}:{self.high} are not on a piano: give --keys LOW:HIGH within "
                f"{LOWEST_KEY}:{HIGHEST_KEY}, the lower first"
            )

    @property
    def count(self) -> int:
        return self.high - self.low + 1

    def frequencies_hz(self) -> np.ndarray:
        """Return the fundamental of every key, float64 (K,)."""
        return A4_HZ * 2.0 ** ((np.arange(self.low, self.high + 1) - A4_KEY) / 12)

    @classmethod
    def parse(cls, text: str) -> KeyRange:
        """Parse `"27:59"` as KeyRange(27, 59); one number is that key alone. Raises SettingsError."""
        low, separator, high = text.partition(":")
        try:
            return cls(int(low), int(high) if separator else int(low))
        except ValueError:
            raise SettingsError(f"keys {text!r} not understood: give --keys LOW:HIGH, such as 1:88") from None

    def __str__(self) -> str:
        return f"{self.low}:{self.high}"


def key_name(key: int) -> str:
    """Return the name of a piano key, 1 to 88, with its octave: key 49 is A4, key 40 is C4."""
    return f"{NOTE_NAMES[(key - 1) % 12]}{(key + 8) // 12}"


def is_black(key: int) -> bool:
    """Return whether a piano key is black; key 1 is the lowest A."""
    return "#" in NOTE_NAMES[(key - 1) % 12]
