"""Tempo from the onsets of notes, and notes on its grid.

Conventions: onsets are seconds, (N,), with weights (N,); a tempo is beats (quarter notes) a minute.

Onsets, drawn on a time axis and blurred a little, are correlated with themselves (autocorrelation); likeness at a beat,
two beats and four counts (not whether a beat is a half or a double one: nothing tells), weighted by how usual a tempo
is: log-normal about 120, as Ellis has it (Beat tracking by dynamic programming, 2007). What this finds to a hundredth
of a second the whole piece then makes precise: of the tempi nearby the one whose beats, halves and quarters meet the
onsets best, the strength of Fourier components at these rates.
"""

from __future__ import annotations

import math

import numpy as np

from musigan.errors import SettingsError
from musigan.midi import NoteEvents

STEP_SECONDS = 0.01
BLUR_SECONDS = 0.025
TEMPI = (40.0, 240.0)
USUAL_TEMPO, USUAL_OCTAVES = 120.0, 0.7
NEARBY = 0.04  # of the tempo
_LAGS = {1: 1.0, 2: 0.7, 4: 0.5}  # beats, and how much likeness after so many counts
_RATES = {1: 1.0, 2: 1.0, 4: 0.5}  # onsets a beat


def estimate_tempo(onsets: np.ndarray, weights: np.ndarray) -> float | None:
    """The tempo that onsets suggest, to .01; None with fewer than four, or where nothing repeats."""
    span = float(np.ptp(onsets)) if onsets.size else 0.0
    if np.unique(onsets).size < 4 or span < 60 / TEMPI[1]:
        return None
    curve = _autocorrelation(onsets - onsets.min(), weights)
    tempi = np.geomspace(*TEMPI, 400)
    usual = np.exp(-0.5 * (np.log2(tempi / USUAL_TEMPO) / USUAL_OCTAVES) ** 2)
    lags = 60 / tempi / STEP_SECONDS
    alike = sum(
        share * np.interp(beats * lags, np.arange(curve.size), curve, right=0) for beats, share in _LAGS.items()
    )
    score = np.maximum(alike, 0) * usual
    if not score.any():
        return None
    coarse = float(tempi[score.argmax()])
    near = coarse * np.linspace(1 - NEARBY, 1 + NEARBY, 2000)
    rates, strength = _components(onsets - onsets.min(), weights)
    met = sum(share * np.interp(near * beats / 60, rates, strength) for beats, share in _RATES.items())
    return round(float(near[np.argmax(met)]), 2)


def first_beat(onsets: np.ndarray, weights: np.ndarray, tempo: float) -> float:
    """Seconds, at least 0 and less than a beat, at which beats of this tempo begin that meet the onsets best."""
    if not onsets.size:
        return 0.0
    beat = 60 / tempo
    places = np.arange(64) / 64 * beat
    distance = (onsets[None, :] - places[:, None] + beat / 2) % beat - beat / 2
    near = np.exp(-0.5 * (distance / (2 * BLUR_SECONDS)) ** 2) @ weights
    best = float(places[int(near.argmax())])
    close = np.abs((onsets - best + beat / 2) % beat - beat / 2) < 2 * BLUR_SECONDS
    offsets = (onsets[close] - best + beat / 2) % beat - beat / 2
    return float((best + np.average(offsets, weights=weights[close])) % beat) if close.any() else best


def _autocorrelation(onsets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Likeness of the blurred onsets with themselves after each lag of STEP_SECONDS, mean removed, 1 at no lag."""
    longest = math.ceil(max(_LAGS) * 60 / TEMPI[0] / STEP_SECONDS)
    strength = np.bincount(np.rint(onsets / STEP_SECONDS).astype(int), weights)
    reach = math.ceil(3 * BLUR_SECONDS / STEP_SECONDS)
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) * STEP_SECONDS / BLUR_SECONDS) ** 2)
    blurred = np.convolve(strength, window)
    blurred -= blurred.mean()
    spectrum = np.fft.rfft(blurred, blurred.size + longest + 1)
    curve = np.fft.irfft(np.abs(spectrum) ** 2, blurred.size + longest + 1)[: longest + 1]
    return np.asarray(curve / max(float(curve[0]), 1e-12))


def _components(onsets: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rates in Hz, (R,), and how strong each is among weighted onsets, (R,)."""
    strength = np.bincount(np.rint(onsets / STEP_SECONDS).astype(int), weights)
    # So long that between two rates the last onset turns by a thirtieth.
    length = 1 << (32 * strength.size - 1).bit_length()
    return np.fft.rfftfreq(length, STEP_SECONDS), np.abs(np.fft.rfft(strength, length))


def parse_grid(text: str) -> float:
    """`"1/16"` -> 0.25, a step of the grid in beats (quarter notes). Raises SettingsError."""
    top, _, bottom = text.partition("/")
    if top.strip() == "1" and bottom.isdecimal() and 1 <= int(bottom) <= 192:
        return 4 / int(bottom)
    raise SettingsError(f"--quantise {text!r} not understood: give a note value, such as 1/16, or 1/12 for triplets")


def quantised(notes: NoteEvents, tempo: float, grid_beats: float) -> NoteEvents:
    """Notes begun and ended on a grid of `grid_beats` from second 0 on, each a step long at least.

    What falls together on one key is one note, as loud as the loudest; a note ends where the next on its key begins.
    """
    step = grid_beats * 60 / tempo
    starts = np.rint(notes.starts / step)
    stops = np.maximum(np.rint(notes.stops / step), starts + 1)
    together: dict[tuple[int, int, int], tuple[int, int]] = {}
    for group, pitch, start, stop, velocity in np.stack(
        (notes.groups, notes.pitches, starts, stops, notes.velocities), axis=1
    ).astype(int):
        longest, loudest = together.get((group, pitch, start), (stop, velocity))
        together[group, pitch, start] = max(longest, stop), max(loudest, velocity)
    following: dict[tuple[int, int], int] = {}
    rows = []
    for (group, pitch, start), (stop, velocity) in sorted(together.items(), reverse=True):
        end = min(stop, following.get((group, pitch), stop))
        rows.append((group, pitch, start * step, end * step, velocity))
        following[group, pitch] = start
    return NoteEvents.of(rows)
