"""Beats and bars: where they fall, found from onsets, and as a clock that networks can read.

Conventions: a tempo is beats (quarter notes) a minute, a phase runs from 0 to 1 over a beat or a bar, rolls are
(C, K, T) in linear loudness or any measure that rises with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

TEMPI = (40.0, 240.0)  # that are looked for
USUAL_TEMPO, USUAL_OCTAVES = 120.0, 1.0
BLUR_SECONDS = 0.03
NEARBY = 0.04  # of the tempo, within which it is made precise
LEAST_LIKENESS = 0.05  # below it nothing repeats
SHORTEST_SECONDS = 2.0  # in which there is a tempo to find
EVENT_STEP = 0.01  # seconds, to which events are rounded
_LAGS = {1: 1.0, 2: 0.5, 4: 0.25}  # beats, and how much likeness after so many counts
_RATES = {1: 1.0, 2: 1.0, 4: 0.5}  # onsets a beat


@dataclass(frozen=True)
class Beat:
    """A tempo, and where one bar of it begins, in seconds from the first frame (it may lie before)."""

    tempo: float = USUAL_TEMPO
    first_beat: float = 0.0
    beats: int = 4  # in a bar

    def __post_init__(self) -> None:
        assert self.tempo > 0
        assert self.beats > 0

    def seen_from(self, seconds: float) -> Beat:
        """The same beat, seconds counted from `seconds` on."""
        return Beat(self.tempo, self.first_beat - seconds, self.beats)


def said(attributes: Mapping[str, Any]) -> Beat | None:
    """The beat that an item's attributes give (`tempo`, `first_beat`, `time_signature`); None without a tempo."""
    tempo = attributes.get("tempo")
    if not isinstance(tempo, int | float) or isinstance(tempo, bool) or not 1 <= tempo <= 1000:
        return None
    signature = attributes.get("time_signature") or (4, 4)
    quarters = round(4 * float(signature[0]) / float(signature[1]))  # beats are quarter notes
    return Beat(float(tempo), float(attributes.get("first_beat") or 0.0), max(quarters, 1))


def clock(beat: Beat, frames: int, frame_seconds: float) -> np.ndarray:
    """Sine and cosine of the beat's phase, then of the bar's, at each frame: (4, T) float32."""
    beats = (np.arange(frames) * frame_seconds - beat.first_beat) * beat.tempo / 60
    angles = 2 * np.pi * np.stack((beats, beats / beat.beats))  # (2, T)
    return np.stack((np.sin(angles), np.cos(angles)), axis=1).reshape(4, frames).astype(np.float32)


def onset_strength(roll: np.ndarray) -> np.ndarray:
    """How much begins to sound in each frame: rises of the root of loudness, summed over channels and keys, (T,)."""
    values = np.sqrt(np.clip(np.asarray(roll, np.float32), 0.0, 1.0))
    rises = np.maximum(np.diff(values, axis=2, prepend=values[..., :1]), 0.0)  # what sounds at first began before
    return np.asarray(rises.sum(axis=(0, 1)), np.float64)


def strength_of_events(seconds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How much begins in each EVENT_STEP from second 0 on, given when notes begin and their weights, both (N,)."""
    return np.bincount(np.rint(seconds / EVENT_STEP).astype(int), weights)


def estimate(roll: np.ndarray, frame_seconds: float) -> Beat | None:
    """The beat that the onsets of (C, K, T) suggest; None where nothing repeats, or in less than two seconds.

    Of the tempo's four beats the one with most onsets begins the bar.
    """
    strength = onset_strength(roll)
    if len(strength) * frame_seconds < SHORTEST_SECONDS:
        return None
    tempo = find_tempo(strength, frame_seconds)
    if tempo is None:
        return None
    place, beat = find_phase(strength, frame_seconds, tempo), 60 / tempo
    seconds = np.arange(len(strength)) * frame_seconds
    numbers = np.rint((seconds - place) / beat).astype(int)
    close = np.abs(seconds - place - numbers * beat) < 2 * BLUR_SECONDS
    by_beat = np.bincount(numbers[close] % 4, strength[close], minlength=4)
    return Beat(tempo, place + int(by_beat.argmax()) * beat)


def find_tempo(strength: np.ndarray, step_seconds: float) -> float | None:
    """Beats a minute, to .01, that onset strength (N,) in steps of `step_seconds` suggests; None if nothing repeats.

    Blurred a little, it is correlated with itself (autocorrelation): likeness after a beat, two and four counts (not
    whether a beat is a half or a double one: nothing tells), weighted by how usual a tempo is: log-normal about 120,
    as Ellis has it (Beat tracking by dynamic programming, 2007). What this finds roughly all of it then makes precise:
    of the tempi nearby the one whose beats, halves and quarters meet the onsets best, by the strength of Fourier
    components at these rates.
    """
    if not strength.any():
        return None
    curve = _autocorrelation(_blurred(strength, step_seconds))
    tempi = np.geomspace(*TEMPI, 500)
    lags = 60 / tempi / step_seconds
    usual = np.exp(-0.5 * (np.log2(tempi / USUAL_TEMPO) / USUAL_OCTAVES) ** 2)
    places = np.arange(curve.size)
    alike = sum(share * np.interp(beats * lags, places, curve, right=0.0) for beats, share in _LAGS.items())
    score = np.maximum(alike, 0.0) * usual
    if score.max() < LEAST_LIKENESS:
        return None
    near = tempi[score.argmax()] * np.linspace(1 - NEARBY, 1 + NEARBY, 2000)
    # So long that between two rates the last onset turns by a thirtieth.
    length = 1 << (32 * len(strength) - 1).bit_length()
    rates = np.fft.rfftfreq(length, step_seconds)
    components = np.abs(np.fft.rfft(strength - strength.mean(), length))
    met = sum(share * np.interp(near * rate / 60, rates, components) for rate, share in _RATES.items())
    return round(float(near[np.argmax(met)]), 2)


def find_phase(strength: np.ndarray, step_seconds: float, tempo: float) -> float:
    """Seconds, at least 0 and less than a beat, at which beats of `tempo` begin that meet onset strength (N,) best."""
    beat, seconds = 60 / tempo, np.arange(len(strength)) * step_seconds
    places = np.arange(64) / 64 * beat
    away = (seconds[None] - places[:, None] + beat / 2) % beat - beat / 2  # (64, N)
    best = float(places[int((np.exp(-0.5 * (away / BLUR_SECONDS) ** 2) @ strength).argmax())])
    off = (seconds - best + beat / 2) % beat - beat / 2
    near = strength * (np.abs(off) < 2 * BLUR_SECONDS)
    return float((best + off @ near / near.sum()) % beat) if near.sum() else best


def _blurred(strength: np.ndarray, step_seconds: float) -> np.ndarray:
    reach = max(int(np.ceil(3 * BLUR_SECONDS / step_seconds)), 1)
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step_seconds / BLUR_SECONDS) ** 2)
    return np.convolve(strength, window / window.sum())[reach:-reach]


def _autocorrelation(strength: np.ndarray) -> np.ndarray:
    """Likeness of (N,) with itself after each lag in steps, mean removed, 1 at no lag, ends made up for."""
    level, length = strength - strength.mean(), len(strength)
    spectrum = np.fft.rfft(level, 2 * length)
    curve = np.fft.irfft(np.abs(spectrum) ** 2, 2 * length)[: length // 2]
    curve *= length / (length - np.arange(curve.size))
    return np.asarray(curve / max(float(curve[0]), 1e-12)) if curve.size else np.zeros(1)
