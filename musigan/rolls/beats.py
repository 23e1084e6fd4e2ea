"""Beats and bars: a steady beat or every single one, estimation from onsets, clock signals as input of networks.

Conventions: a tempo is beats (quarter notes) a minute, a phase runs from 0 to 1 over a beat or a bar, rolls are
(C, K, T) in linear loudness or any measure that rises with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TEMPI = (40.0, 240.0)  # beats a minute, the range of the search
USUAL_TEMPO, USUAL_OCTAVES = 120.0, 1.0  # centre (beats a minute) and deviation (octaves) of the tempo prior
BLUR_SECONDS = 0.03  # standard deviation of the Gaussian that smooths onset strength
REFINEMENT_SHARE = 0.04  # share of the tempo, within which it is refined
LEAST_AUTOCORRELATION = 0.05  # autocorrelation score below which nothing repeats
SHORTEST_SECONDS = 2.0  # of music in which a tempo can be found
EVENT_STEP = 0.01  # seconds, to which events are rounded
FREE_UNDER = 0.5  # confidence under which music counts as free of beat
_LAG_WEIGHTS = {1: 1.0, 2: 0.5, 4: 0.25}  # {beats: weight of the autocorrelation at this lag}
_RATE_WEIGHTS = {1: 1.0, 2: 1.0, 4: 0.5}  # {onsets a beat: weight of the Fourier component at this rate}


@dataclass(frozen=True)
class Beat:
    """A tempo (beats a minute), and the start of one of its bars, in seconds from the first frame (may be negative)."""

    tempo: float = USUAL_TEMPO
    first_beat: float = 0.0
    beats: int = 4  # in a bar

    def __post_init__(self) -> None:
        assert self.tempo > 0
        assert self.beats > 0

    def counted_from(self, seconds: float) -> Beat:
        """Return the same beat with its time counted from `seconds` on."""
        return Beat(self.tempo, self.first_beat - seconds, self.beats)


@dataclass(frozen=True)
class Beats:
    """Every beat of a song: seconds (N,), rising; numbers (N,) in the bar, 1 a downbeat; confidence in them, 0 to 1."""

    seconds: np.ndarray
    numbers: np.ndarray
    confidence: float

    @classmethod
    def none(cls) -> Beats:
        """Return the beats of silence."""
        return cls(np.zeros(0), np.zeros(0, int), 0.0)

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def is_free(self) -> bool:
        """Whether the music counts as free of beat."""
        return self.confidence < FREE_UNDER

    @property
    def downbeats(self) -> np.ndarray:
        """Seconds of the downbeats."""
        return self.seconds[self.numbers == 1]

    def counted_from(self, seconds: float) -> Beats:
        """Return the beats with their times counted from `seconds` on, those before it left out."""
        kept = self.seconds >= seconds
        return Beats(self.seconds[kept] - seconds, self.numbers[kept], self.confidence)

    def until(self, seconds: float) -> Beats:
        """Return the beats before `seconds`."""
        kept = self.seconds < seconds
        return Beats(self.seconds[kept], self.numbers[kept], self.confidence)

    def steady(self) -> Beat | None:
        """Return their median tempo, first downbeat (or beat) and usual bar; None for less than two, or free music."""
        if len(self) < 2 or self.is_free:
            return None
        downbeats, bars = self.downbeats, np.diff(np.flatnonzero(self.numbers == 1))
        first = downbeats[0] if downbeats.size else self.seconds[0]
        beats_a_bar = int(np.bincount(bars).argmax()) if bars.size else int(max(self.numbers.max(), 1))
        return Beat(round(float(60 / np.median(np.diff(self.seconds))), 2), float(first), beats_a_bar)


def clock(beat: Beat, frames: int, frame_seconds: float) -> np.ndarray:
    """Return sine and cosine of the beat's phase, then of the bar's, at each frame: (4, T) float32."""
    beats = (np.arange(frames) * frame_seconds - beat.first_beat) * beat.tempo / 60
    angles = 2 * np.pi * np.stack((beats, beats / beat.beats))  # (2, T)
    return np.stack((np.sin(angles), np.cos(angles)), axis=1).reshape(4, frames).astype(np.float32)


def onset_strength(roll: np.ndarray) -> np.ndarray:
    """Return the onset strength (T,) of (C, K, T): rises of the root of loudness, summed over channels and keys."""
    values = np.sqrt(np.clip(np.asarray(roll, np.float32), 0.0, 1.0))
    # A sound in the first frame began before it, so the first frame counts as no rise.
    rises = np.maximum(np.diff(values, axis=2, prepend=values[..., :1]), 0.0)
    return np.asarray(rises.sum(axis=(0, 1)), np.float64)


def strength_of_events(seconds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the onset strength per EVENT_STEP from second 0 on, of notes' onset times and weights, both (N,)."""
    return np.bincount(np.rint(seconds / EVENT_STEP).astype(int), weights)


def estimate(roll: np.ndarray, frame_seconds: float) -> Beat | None:
    """Estimate the beat from the onsets of (C, K, T); None where nothing repeats, or in less than two seconds.

    Bars are taken to have four beats; the one with the strongest onsets begins the bar.
    """
    strength = onset_strength(roll)
    if len(strength) * frame_seconds < SHORTEST_SECONDS:
        return None
    tempo = find_tempo(strength, frame_seconds)
    if tempo is None:
        return None
    phase_seconds, beat_seconds = find_phase(strength, frame_seconds, tempo), 60 / tempo
    seconds = np.arange(len(strength)) * frame_seconds
    beat_numbers = np.rint((seconds - phase_seconds) / beat_seconds).astype(int)
    is_near_beat = np.abs(seconds - phase_seconds - beat_numbers * beat_seconds) < 2 * BLUR_SECONDS
    strength_by_beat = np.bincount(beat_numbers[is_near_beat] % 4, strength[is_near_beat], minlength=4)
    return Beat(tempo, phase_seconds + int(strength_by_beat.argmax()) * beat_seconds)


def find_tempo(strength: np.ndarray, step_seconds: float) -> float | None:
    """Estimate the tempo, to .01, from onset strength (N,) in steps of `step_seconds`; None if nothing repeats.

    A rough tempo first: autocorrelation of the smoothed strength at lags of one, two and four beats, weighted by a
    log-normal prior about 120 (Ellis, Beat tracking by dynamic programming, 2007). It cannot tell a beat from a half
    or double one. Then the refined tempo, from the whole signal: the one nearby whose beats, halves and quarters have
    the strongest Fourier components.
    """
    if not strength.any():
        return None
    curve = autocorrelation(blurred(strength, step_seconds))
    tempi = np.geomspace(*TEMPI, 500)
    lags = 60 / tempi / step_seconds
    tempo_prior = np.exp(-0.5 * (np.log2(tempi / USUAL_TEMPO) / USUAL_OCTAVES) ** 2)
    curve_lags = np.arange(curve.size)
    likeness = sum(
        share * np.interp(beats * lags, curve_lags, curve, right=0.0) for beats, share in _LAG_WEIGHTS.items()
    )
    score = np.maximum(likeness, 0.0) * tempo_prior
    if score.max() < LEAST_AUTOCORRELATION:
        return None
    nearby_tempi = tempi[score.argmax()] * np.linspace(1 - REFINEMENT_SHARE, 1 + REFINEMENT_SHARE, 2000)
    # Padded so far that from one FFT bin to the next the last onset's phase turns by at most a thirtieth.
    length = 1 << (32 * len(strength) - 1).bit_length()
    rates = np.fft.rfftfreq(length, step_seconds)
    components = np.abs(np.fft.rfft(strength - strength.mean(), length))
    component_strength = sum(
        share * np.interp(nearby_tempi * rate / 60, rates, components) for rate, share in _RATE_WEIGHTS.items()
    )
    return round(float(nearby_tempi[np.argmax(component_strength)]), 2)


def find_phase(strength: np.ndarray, step_seconds: float, tempo: float) -> float:
    """Return the phase, in seconds from 0 to below a beat, at which beats of `tempo` fit onset strength (N,) best."""
    beat_seconds, seconds = 60 / tempo, np.arange(len(strength)) * step_seconds
    phases = np.arange(64) / 64 * beat_seconds
    distances = (seconds[None] - phases[:, None] + beat_seconds / 2) % beat_seconds - beat_seconds / 2  # (64, N)
    phase = float(phases[int((np.exp(-0.5 * (distances / BLUR_SECONDS) ** 2) @ strength).argmax())])
    offsets = (seconds - phase + beat_seconds / 2) % beat_seconds - beat_seconds / 2
    nearby = strength * (np.abs(offsets) < 2 * BLUR_SECONDS)
    return float((phase + offsets @ nearby / nearby.sum()) % beat_seconds) if nearby.sum() else phase


def blurred(strength: np.ndarray, step_seconds: float) -> np.ndarray:
    """Smooth onset strength (N,) by a Gaussian with a standard deviation of BLUR_SECONDS."""
    half_width = max(int(np.ceil(3 * BLUR_SECONDS / step_seconds)), 1)
    window = np.exp(-0.5 * (np.arange(-half_width, half_width + 1) * step_seconds / BLUR_SECONDS) ** 2)
    return np.convolve(strength, window / window.sum())[half_width:-half_width]


def autocorrelation(strength: np.ndarray) -> np.ndarray:
    """Return the autocorrelation of (N,) at each lag in steps: mean removed, 1 at lag 0, corrected for the overlap."""
    centred, length = strength - strength.mean(), len(strength)
    spectrum = np.fft.rfft(centred, 2 * length)
    curve = np.fft.irfft(np.abs(spectrum) ** 2, 2 * length)[: length // 2]
    curve *= length / (length - np.arange(curve.size))
    return np.asarray(curve / max(float(curve[0]), 1e-12)) if curve.size else np.zeros(1)
