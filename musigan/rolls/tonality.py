"""The musical key of a roll, by how much each pitch class sounds: correlation with the profiles of listeners.

Profiles: Krumhansl and Kessler 1982, as in Krumhansl, Cognitive Foundations of Musical Pitch (1990).
"""

from __future__ import annotations

import numpy as np

from musigan.rolls.tracks import mix_pitched

NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}
LEAST_CORRELATION = 0.6  # with the nearest profile; below it no key is named
C_KEY = 4  # the lowest piano key that is a C


def tonality(roll: np.ndarray, low_key: int, tracks: tuple[str, ...] = ()) -> str:
    """Return the key of a roll (C, K, T) of loudness, such as "D minor"; "" where it is unclear or nothing sounds."""
    by_key = mix_pitched(np.asarray(roll, np.float32), tracks).mean(axis=1)  # (K,)
    classes = np.zeros(12)
    np.add.at(classes, (np.arange(len(by_key)) + low_key - C_KEY) % 12, by_key)
    if not classes.any() or np.ptp(classes) == 0:
        return ""
    found = [
        (float(np.corrcoef(np.roll(profile, tonic), classes)[0, 1]), f"{NAMES[tonic]} {mode}")
        for mode, profile in PROFILES.items()
        for tonic in range(12)
    ]
    correlation, name = max(found)
    return name if correlation >= LEAST_CORRELATION else ""
