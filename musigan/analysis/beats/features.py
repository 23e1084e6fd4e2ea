"""Features for beat tracking: what a small network hears of a song, fifty times a second.

Conventions: a signal is float32 (C, S), full scale 1; bands are (C, K, T), the loudness of each piano key in each frame
before cleaning (analysis/bands.py); features are float32 (T, F), one row a frame. Frame t covers the samples from
t * HOP to (t + 1) * HOP at 12 kHz, as the frames of a roll do.

Columns: the logarithm of loudness in BANDS bands and its rises (spectral flux), both from a short Fourier
transform whose window is centred on the frame; twelve pitch classes of the bass and twelve of the treble from the keys;
and how much either changes between the time before and after the frame, at several lengths (harmonic novelty).
"""

from __future__ import annotations

import numpy as np

from musigan.analysis.signals import Signal, mixed
from musigan.analysis.spectra import Spectrum, compressed, rises

HOP = 240  # samples a frame, 20 ms
BANDS = 24
COMPRESSION = 30.0  # how far under the song's level the logarithm still tells loudness apart
FLUX_FRAMES = 2  # over which loudness rises
BASS_KEYS = 36  # keys under G#3 are bass
NOVELTY_FRAMES = (8, 16, 32, 64)  # compared on either side of a frame
COLUMNS = 2 * BANDS + 24 + 2 * len(NOVELTY_FRAMES)


def beat_features(signal: Signal, bands: np.ndarray) -> np.ndarray:
    """Return the features (T, COLUMNS) of a signal (C, S) at 12 kHz and its key bands (C, K, T)."""
    loudness = compressed(Spectrum(HOP, BANDS).loudness(mixed(signal), bands.shape[2]), COMPRESSION)
    chroma = pitch_classes(bands)
    features = np.zeros((len(loudness), COLUMNS), np.float32)
    features[:, :BANDS] = standardised(loudness)
    flux = rises(loudness, FLUX_FRAMES, out=features[:, BANDS : 2 * BANDS])
    flux *= 2
    features[:, 2 * BANDS : 2 * BANDS + 24] = 2.0 * chroma
    parts = [(part, length) for part in (chroma[:, :12], chroma[:, 12:]) for length in NOVELTY_FRAMES]
    for column, (part, length) in enumerate(parts, 2 * BANDS + 24):
        features[:, column] = harmonic_novelty(part, length)
    return features


def standardised(loudness: np.ndarray) -> np.ndarray:
    """Return (T, BANDS) with the mean of each band taken away, in units of its deviation (or half that of all)."""
    deviation = loudness.std(axis=0)
    return (loudness - loudness.mean(axis=0)) / np.maximum(deviation, 0.5 * deviation.mean() + 1e-6)


def pitch_classes(bands: np.ndarray) -> np.ndarray:
    """Return the amplitude of twelve pitch classes of bass and treble, float32 (T, 24); the louder side has norm 1."""
    power = np.einsum("ckt,ckt->tk", bands, bands)
    keys = power.shape[1]
    sides = []
    for low, high in ((0, min(BASS_KEYS, keys)), (min(BASS_KEYS, keys), keys)):
        folded = np.zeros((len(power), 12), np.float32)
        for first in range(low, high, 12):
            part = power[:, first : min(first + 12, high)]
            folded[:, : part.shape[1]] += part
        sides.append(np.sqrt(folded))
    level = np.sqrt(np.mean([np.mean(np.sum(side**2, axis=1)) for side in sides])) + 1e-9
    return np.concatenate(
        [side / (np.linalg.norm(side, axis=1, keepdims=True) + 0.2 * level) for side in sides], axis=1
    )


def harmonic_novelty(chroma: np.ndarray, length: int) -> np.ndarray:
    """Return the cosine distance, (T,), of mean pitch classes (T, 12) `length` frames before and after each frame."""
    frames = len(chroma)
    total = np.concatenate((np.zeros((1, chroma.shape[1])), np.cumsum(chroma, axis=0, dtype=np.float64)))
    padded = np.pad(total, ((length, length), (0, 0)), mode="edge")
    sums = (padded[length:] - padded[:-length]).astype(np.float32)  # of `length` frames, beginning `length` early
    before, after = sums[:frames], sums[length : length + frames]
    product = np.einsum("tk,tk->t", before, after)
    squares = np.einsum("tk,tk->t", sums, sums)
    norms = np.sqrt(squares[:frames] * squares[length : length + frames])
    return np.where(norms > 1e-3, 1 - product / (norms + 1e-9), 0.0).astype(np.float32)
