"""Loudness as it is heard (ITU-R BS.1770, in LUFS), and normalising to it.

Conventions: a signal is float32 (C, S). Its loudness is the integrated, gated loudness of all its channels; that of
silence is -inf.
"""

from __future__ import annotations

import numpy as np

from musigan.errors import SettingsError
from musigan.sound.mastering import CEILING_DB, limit

LOWEST, HIGHEST = -40.0, -5.0  # LUFS, targets that are accepted
MAX_GAIN_DB = 20.0  # the most that a signal is raised: what hardly sounds must not become a roar
TOLERANCE = 0.1  # LU
CORRECTIONS = 4  # at most; each is a pass of the limiter, which takes loudness away
BLOCK_SECONDS = 0.4  # of the standard: nothing shorter is measured
METER_CHANNELS = 5  # the standard has weights for these
LIMITED_SAMPLES = 1 << 18  # the limiter's memory is several times the samples it is given at once


def target_of(text: str) -> float | None:
    """Parse `--lufs`: a number of LUFS, or None for "none". Raises SettingsError for anything else."""
    if text.strip().lower() == "none":
        return None
    try:
        target = float(text)
    except ValueError:
        target = np.nan
    if not LOWEST <= target <= HIGHEST:
        raise SettingsError(
            f"--lufs {text} is no loudness: expected a number from {LOWEST:g} to {HIGHEST:g}, such as -14, or none"
        )
    return target


def measure(signal: np.ndarray, sample_rate: int) -> float:
    """Return a signal's loudness in LUFS; one shorter than a block of the standard is followed by silence."""
    from pyloudnorm import Meter

    missing_samples = max(0, int(np.ceil(BLOCK_SECONDS * sample_rate)) - signal.shape[1])
    padded = np.pad(signal[:METER_CHANNELS], ((0, 0), (0, missing_samples)))
    return float(Meter(sample_rate).integrated_loudness(padded.T))


def normalise(signal: np.ndarray, sample_rate: int, target_lufs: float, ceiling_db: float = CEILING_DB) -> np.ndarray:
    """Bring a signal to a loudness, its peaks limited to `ceiling_db` dBFS; silence stays as it is.

    Limiting takes loudness away: what is missing is made up for, until the target is met or the gain is MAX_GAIN_DB.
    """
    normalised = _limited(signal, sample_rate, ceiling_db)
    loudness = measure(normalised, sample_rate)
    if not np.isfinite(loudness):
        return signal
    gain_db = 0.0
    for _ in range(CORRECTIONS):
        wanted_db = min(gain_db + target_lufs - loudness, MAX_GAIN_DB)
        if abs(wanted_db - gain_db) < TOLERANCE:
            break
        gain_db = wanted_db
        normalised = _limited(signal * np.float32(10 ** (gain_db / 20)), sample_rate, ceiling_db)
        loudness = measure(normalised, sample_rate)
    return normalised


def _limited(signal: np.ndarray, sample_rate: int, ceiling_db: float) -> np.ndarray:
    """Limit a whole signal, some seconds of it at a time."""
    starts = range(0, max(signal.shape[1], 1), LIMITED_SAMPLES)
    blocks = (signal[:, start : start + LIMITED_SAMPLES] for start in starts)
    return np.concatenate(list(limit(blocks, sample_rate, ceiling_db)), axis=1)
