"""Words for the rhythm and form of samples, from their metrics and those of songs (pieces.py)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

Values = Mapping[str, float | None]  # by metric; None or NaN where undefined

NONE, LITTLE, MUCH = 0.4, 0.75, 2.0  # shares of what songs have, beyond chance: no, little, too much of it
LEAST_IN_SONGS = 0.05  # songs that have less of it beyond chance say nothing about samples


@dataclass(frozen=True)
class Quality:
    """Something that music has, the metrics that tell of it with their values by chance, and the words for it."""

    by_chance: Mapping[str, float]
    none: str
    little: str
    much: str = ""  # empty where there cannot be too much of it


QUALITIES = (
    # Chance: noise and Markov chains have a pulse of .17 to .28, 200 notes at random a grid of .17.
    Quality({"pulse": 0.25, "grid": 0.17}, "no beat yet", "a weak beat"),
    # A frame in twenty has a twentieth of evenly spread onset strength.
    Quality({"sharpness": 0.05}, "no attacks", "blunt attacks"),
    # Bars of different songs strung together have .05 and .00 to .04.
    Quality({"repetition": 0.05, "coming back": 0.02}, "no repetition", "little repetition", "nothing but repetition"),
)
AS_SONGS = "rhythm and form about as in the songs"


def rhythm_and_form(samples: Values, songs: Values) -> str:
    """Return what samples lack, or have too much of, beside songs: "no beat yet (pulse 0.25, in songs 0.49; ...)"."""
    phrases, is_known = [], False
    for quality in QUALITIES:
        shares, figures = [], []
        for name, chance in quality.by_chance.items():
            sample, song = _finite(samples.get(name)), _finite(songs.get(name))
            if song is not None and song - chance >= LEAST_IN_SONGS:
                shares.append(0.0 if sample is None else (sample - chance) / (song - chance))
                figures.append(f"{name} {'undefined' if sample is None else f'{sample:.2f}'}, in songs {song:.2f}")
        if not shares:
            continue
        is_known = True
        word = _word(quality, sum(shares) / len(shares))
        if word:
            phrases.append(f"{word} ({'; '.join(figures)})")
    if not is_known:
        return "rhythm and form unknown: too little music to measure them"
    return ", ".join(phrases) or AS_SONGS


def _word(quality: Quality, share: float) -> str:
    if share < NONE:
        return quality.none
    if share < LITTLE:
        return quality.little
    return quality.much if share > MUCH else ""


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
