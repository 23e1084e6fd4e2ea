"""Metrics of rhythm: is there a beat, do notes meet it, and where in the bar do they begin.

A recording's drums are left out, and heard in a row of their own (`pulse with drums`); drums of MIDI are among its
notes.

Conventions. Onset strength (T,) is that of rolls/beats.py: rises of the root of loudness, summed over keys. Onset times
(N,) are those of notes, in seconds; notes that sound in the first frame began before it and are left out. A beat grid
says where beats and bars are (bars.py). Undefined is NaN.

    pulse               the highest autocorrelation of onset strength at lags of .25 to 2 s, median over 10 s windows;
                        noise has about .25
    grid                the mean resultant length of onset times on the best steady grid of eighth notes at 60 to 180
                        beats a minute, median over 30 s windows; .17 for 200 notes at random
    grid share          the share of notes within a quarter of an eighth note of an eighth of the piece's own beats,
                        scaled so that chance is 0 and all is 1
    tempo steadiness    the correlation of the autocorrelations of successive 10 s windows
    onset places        onset strength by 16th of the bar, (16,) with sum 1
    accents             the distance of onset places from all alike (Jensen-Shannon, 0 to 1)
    swing               the first eighth's length over the second's: 1 straight, 2 triplets
    sharpness           the share of onset strength in the strongest 5 % of frames
    groove consistency  notemetrics.groove_consistency of the piece's own bars
"""

from __future__ import annotations

import numpy as np

from musigan.metrics.bars import BeatGrid, bar_edges
from musigan.metrics.notemetrics import groove_consistency
from musigan.rolls.beats import autocorrelation, blurred, onset_strength
from musigan.rolls.notes import Notes

PULSE_SECONDS = (0.25, 2.0)  # the lags of a pulse: 240 to 30 a minute
WINDOW_SECONDS = 10.0  # of a pulse
GRID_SECONDS = 30.0
GRID_TEMPI = np.arange(60.0, 180.25, 0.5)  # beats a minute
EIGHTHS = 2  # a beat
FEWEST_ONSETS = 8  # fewer notes meet some grid by chance
PLACES = 16  # in a bar
SHARP_SHARE = 0.05  # of all frames
SWING_RANGE = (0.42, 0.73)  # of a beat, where the second eighth is looked for
SWING_BINS = 48  # a beat
SWING_BLUR = 0.03  # of a beat, standard deviation
LEAST_SWING_RISE = 1.5  # onsets at the second eighth over their mean


def rhythm_values(
    roll: np.ndarray, notes: Notes, grid: BeatGrid, frame_seconds: float
) -> dict[str, float | np.ndarray]:
    """Return the metrics by name of a roll (C, K, T) with these notes and beats; onset places are (16,)."""
    strength = onset_strength(roll)
    starts = notes.starts[notes.starts > 0]
    onset_times = starts * frame_seconds
    places = onset_places(strength, frame_seconds, grid)
    edges = bar_edges(grid, roll.shape[-1], frame_seconds)
    return {
        "pulse": pulse(strength, frame_seconds),
        "grid": grid_fit(onset_times, roll.shape[-1] * frame_seconds),
        "grid share": grid_share(onset_times, grid),
        "tempo steadiness": tempo_steadiness(strength, frame_seconds),
        "onset places": places,
        "accents": jensen_shannon(places, np.full(PLACES, 1 / PLACES)),
        "swing": swing(onset_times, grid),
        "sharpness": sharpness(strength),
        # Half a 16th later, so that a note a little early counts for its own step.
        "groove consistency": groove_consistency(starts + np.diff(edges).mean() / PLACES / 2, edges),
    }


def _windows(length: int, window: int) -> list[slice]:
    """Return the whole windows of a sequence, or all of it where it is shorter than one."""
    return [slice(start, start + window) for start in range(0, length - window + 1, window)] or [slice(0, length)]


def _pulse_curves(strength: np.ndarray, frame_seconds: float) -> list[np.ndarray]:
    """Return the autocorrelation at the lags of a pulse in each 10 s window that has onsets."""
    smooth = blurred(strength, frame_seconds)
    low, high = (round(seconds / frame_seconds) for seconds in PULSE_SECONDS)
    windows = [smooth[window] for window in _windows(len(smooth), round(WINDOW_SECONDS / frame_seconds))]
    # A curve reaches to half of its window.
    return [autocorrelation(window)[low : high + 1] for window in windows if window.any() and len(window) > 2 * high]


def pulse(strength: np.ndarray, frame_seconds: float) -> float:
    """Return the highest autocorrelation of onset strength (T,) at lags of .25 to 2 s, median over 10 s windows."""
    peaks = [float(curve.max()) for curve in _pulse_curves(strength, frame_seconds)]
    return float(np.median(peaks)) if peaks else np.nan


def tempo_steadiness(strength: np.ndarray, frame_seconds: float) -> float:
    """Return the mean correlation of the autocorrelations of successive 10 s windows; NaN for fewer than two."""
    curves = [curve - curve.mean() for curve in _pulse_curves(strength, frame_seconds)]
    if len(curves) < 2:
        return np.nan
    units = np.stack([curve / max(float(np.linalg.norm(curve)), 1e-12) for curve in curves])
    return float((units[1:] * units[:-1]).sum(axis=1).mean())


def grid_fit(onset_times: np.ndarray, duration_seconds: float) -> float:
    """Return the mean resultant length of onsets (N,) on their best eighth-note grid, median over 30 s windows."""
    count = max(1, int(duration_seconds / GRID_SECONDS + 1e-6))
    window_numbers = (onset_times / GRID_SECONDS).astype(int)
    angular_rates = 2j * np.pi * GRID_TEMPI * EIGHTHS / 60
    lengths = []
    for number in range(count):
        times = onset_times[window_numbers == number]
        if len(times) >= FEWEST_ONSETS:
            lengths.append(float(np.abs(np.exp(np.outer(angular_rates, times)).mean(axis=1)).max()))
    return float(np.median(lengths)) if lengths else np.nan


def grid_share(onset_times: np.ndarray, grid: BeatGrid) -> float:
    """Return how many of the onsets (N,) lie near an eighth of the beats, 0 for half of them (chance), 1 for all."""
    if not grid.has_beat or len(onset_times) < FEWEST_ONSETS:
        return np.nan
    eighths = grid.positions(onset_times) * EIGHTHS
    return float(2 * (np.abs(eighths - np.rint(eighths)) <= 0.25).mean() - 1)


def onset_places(strength: np.ndarray, frame_seconds: float, grid: BeatGrid) -> np.ndarray:
    """Return the onset strength (T,) by the nearest 16th of the bar, (16,) with sum 1; NaN without bars or onsets."""
    undefined = np.full(PLACES, np.nan)
    edges = grid.bar_edges(len(strength) * frame_seconds)
    if not len(edges):
        return undefined
    seconds = np.arange(len(strength)) * frame_seconds
    # Half a 16th early belongs to the bar's first place; the last bar's own end is the next one's.
    bars = np.interp(seconds, edges, np.arange(len(edges)), left=-1.0, right=-1.0)
    is_inside = bars >= 0
    steps = np.rint(bars[is_inside] * PLACES).astype(int) % PLACES
    totals = np.bincount(steps, strength[is_inside], minlength=PLACES)
    return np.asarray(totals / totals.sum()) if totals.sum() > 0 else undefined


def jensen_shannon(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Jensen-Shannon distance of two distributions (N,): the root of the divergence in bits, 0 to 1."""
    middle = (one + other) / 2

    def divergence(side: np.ndarray) -> float:
        """Return the Kullback-Leibler divergence from the middle, in bits."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.where(side == 0, 0.0, side * np.log2(side / middle)).sum())

    return float(np.sqrt(max((divergence(one) + divergence(other)) / 2, 0.0)))


def swing(onset_times: np.ndarray, grid: BeatGrid) -> float:
    """Return the length of a beat's first eighth over its second's, from the place where second eighths begin.

    NaN where onsets (N,) do not gather at one place of SWING_RANGE.
    """
    if not grid.has_beat or len(onset_times) < FEWEST_ONSETS:
        return np.nan
    phases = grid.positions(onset_times) % 1
    bins = (np.arange(SWING_BINS) + 0.5) / SWING_BINS
    distances = (phases[:, None] - bins + 0.5) % 1 - 0.5
    density = np.exp(-0.5 * (distances / SWING_BLUR) ** 2).sum(axis=0)
    low, high = (round(share * SWING_BINS) for share in SWING_RANGE)
    peak = low + int(density[low:high].argmax())
    if peak in (low, high - 1) or density[peak] < LEAST_SWING_RISE * density[low:high].mean():
        return np.nan
    is_near = np.abs(phases - bins[peak]) <= 2 * SWING_BLUR
    place = float(phases[is_near].mean())
    return place / (1 - place)


def sharpness(strength: np.ndarray) -> float:
    """Return the share of onset strength (T,) in the strongest 5 % of frames; NaN without onsets."""
    count = max(1, round(SHARP_SHARE * len(strength)))
    return float(np.sort(strength)[-count:].sum() / strength.sum()) if strength.any() else np.nan
