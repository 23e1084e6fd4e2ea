"""Features for hearing drums: loudness in bands a hundred times a second, and its rises.

Conventions: a signal is float32 (1, S) at 12 kHz, loudness (T, BANDS) linear, features float32 (T, 2 * BANDS).
"""

from __future__ import annotations

import numpy as np

from musigan.analysis.signals import Signal
from musigan.analysis.spectra import SAMPLE_RATE, Spectrum, compressed, rises

HOP = 120  # samples a frame, 10 ms
FRAME_SECONDS = HOP / SAMPLE_RATE
BANDS = 40
COMPRESSION = 100.0  # how far under the song's level the logarithm still tells loudness apart
FLUX_FRAMES = 2  # over which loudness rises


def band_loudness(signal: Signal) -> np.ndarray:
    """Return the loudness of each band of a signal (1, S), float32 (T, BANDS), linear."""
    return Spectrum(HOP, BANDS).loudness(signal, signal.shape[1] // HOP)


def drum_features(loudness: np.ndarray) -> np.ndarray:
    """Return the features (T, 2 * BANDS) of the bands' loudness (T, BANDS)."""
    features = np.zeros((len(loudness), 2 * BANDS), np.float32)
    logarithm = compressed(loudness, COMPRESSION, out=features[:, :BANDS])
    flux = rises(logarithm, FLUX_FRAMES, out=features[:, BANDS:])
    flux *= 2
    logarithm -= logarithm.mean(axis=0)
    return features
