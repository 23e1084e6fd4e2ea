"""Loudness as it is heard (ITU-R BS.1770, in LUFS), and normalising to it.

Conventions: a signal is float32 (C, S). Its loudness is the integrated, gated loudness of all its channels; that of
silence is -inf.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from musigan.errors import SettingsError
from musigan.sound.mastering import CEILING_DB, limit

USUAL = "-14"  # what streaming services play music at, and keys-to-mp3 by default
LOWEST, HIGHEST = -40.0, -5.0  # LUFS, targets that are accepted
MAX_GAIN_DB = 20.0  # the most that a signal is raised: what hardly sounds must not become a roar
TOLERANCE = 0.1  # LU
TRUE_PEAK_DB = -1.5  # dBFS, before a lossy encoder, which adds up to 0.5 dB
CEILINGS = 3  # of samples, tried one below the other: peaks of noise lie between its samples
CORRECTIONS = 5  # at most; each is a pass of the limiter and the meter
LEAST_SLOPE = 0.25  # LU for each dB of gain, below which a limited signal is not believed to get louder
BLOCK_SECONDS = 0.4  # of the standard: nothing shorter is measured
METER_CHANNELS = 5  # the standard has weights for these
BLOCK_SAMPLES = 1 << 18  # worked on at once


def target_of(text: str) -> float | None:
    """Parse `--lufs`: a number of LUFS, or None for "none". Raises SettingsError for anything else."""
    if text.strip().lower() == "none":
        return None
    try:
        target = float(text)
    except ValueError:
        target = math.nan
    if not LOWEST <= target <= HIGHEST:
        raise SettingsError(
            f"--lufs {text} is no loudness: expected a number from {LOWEST:g} to {HIGHEST:g}, such as -14, or none"
        )
    return target


def measure(signal: np.ndarray, sample_rate: int) -> float:
    """Return a signal's loudness in LUFS; one shorter than a block of the standard is followed by silence."""
    from pyloudnorm import Meter

    missing_samples = max(0, math.ceil(BLOCK_SECONDS * sample_rate) - signal.shape[1])
    padded = np.pad(signal[:METER_CHANNELS], ((0, 0), (0, missing_samples)))
    return float(Meter(sample_rate).integrated_loudness(padded.T))


def true_peak(signal: np.ndarray, sample_rate: int) -> float:
    """Return the peak of a signal between its samples as well, at four times the rate, in dBFS; -inf for silence."""
    import soxr

    resampler = soxr.ResampleStream(sample_rate, 4 * sample_rate, len(signal), dtype="float32", quality="HQ")
    peak = 0.0
    for block in _blocks(signal):
        between = resampler.resample_chunk(np.ascontiguousarray(block.T))
        peak = max(peak, float(np.abs(between).max(initial=0.0)), float(np.abs(block).max(initial=0.0)))
    rest = resampler.resample_chunk(np.zeros((0, len(signal)), np.float32), last=True)
    peak = max(peak, float(np.abs(rest).max(initial=0.0)))
    return 20 * math.log10(peak) if peak else -math.inf


def normalise(signal: np.ndarray, sample_rate: int, target_lufs: float) -> np.ndarray:
    """Bring a signal to a loudness, its true peaks limited to TRUE_PEAK_DB; silence stays as it is.

    Where the target is out of reach (clicks in silence: all of their loudness is peaks), the nearest loudness is taken.
    """
    if not math.isfinite(measure(signal, sample_rate)):
        return signal
    ceiling_db, excess_db = CEILING_DB, 0.0
    for _ in range(CEILINGS):
        ceiling_db -= excess_db
        normalised = _nearest(signal, sample_rate, target_lufs, ceiling_db)
        excess_db = true_peak(normalised, sample_rate) - TRUE_PEAK_DB
        if excess_db <= 0:
            return normalised
    return normalised * np.float32(10 ** (-excess_db / 20))


def _nearest(signal: np.ndarray, sample_rate: int, target_lufs: float, ceiling_db: float) -> np.ndarray:
    """Bring a signal as near to a loudness as gain and limiter do, its samples limited to `ceiling_db` dBFS.

    Limiting takes loudness away. What is missing is made up for by the secant method, with at most MAX_GAIN_DB.
    """
    gain_db, slope = 0.0, 1.0  # slope: LU for each dB of gain
    limited = _amplified(signal, gain_db, sample_rate, ceiling_db)
    loudness = measure(limited, sample_rate)
    nearest = (abs(target_lufs - loudness), gain_db)
    for _ in range(CORRECTIONS):
        next_db = min(gain_db + (target_lufs - loudness) / slope, MAX_GAIN_DB)
        if abs(target_lufs - loudness) < TOLERANCE or next_db == gain_db:
            break
        limited = _amplified(signal, next_db, sample_rate, ceiling_db)
        next_loudness = measure(limited, sample_rate)
        slope = min(max((next_loudness - loudness) / (next_db - gain_db), LEAST_SLOPE), 1.0)
        gain_db, loudness = next_db, next_loudness
        nearest = min(nearest, (abs(target_lufs - loudness), gain_db))
    return limited if nearest[1] == gain_db else _amplified(signal, nearest[1], sample_rate, ceiling_db)


def _amplified(signal: np.ndarray, gain_db: float, sample_rate: int, ceiling_db: float) -> np.ndarray:
    """Raise a whole signal by a gain and limit it."""
    factor = np.float32(10 ** (gain_db / 20))
    louder = (block * factor for block in _blocks(signal))
    return np.concatenate(list(limit(louder, sample_rate, ceiling_db)), axis=1)


def _blocks(signal: np.ndarray) -> Iterator[np.ndarray]:
    """Yield a signal some seconds at a time, at least once: limiter and resampler need memory several times that."""
    for start in range(0, max(signal.shape[1], 1), BLOCK_SAMPLES):
        yield signal[:, start : start + BLOCK_SAMPLES]
