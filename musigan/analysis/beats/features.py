"""Features for beat tracking: what a small network hears of a song, fifty times a second.

Conventions: a signal is float32 (C, S), full scale 1; bands are (C, K, T), the loudness of each piano key in each frame
before cleaning (analysis/bands.py); features are float32 (T, F), one row a frame. Frame t covers the samples from
t * HOP to (t + 1) * HOP at SAMPLE_RATE, as the frames of a roll do.

Columns: the logarithm of loudness in BANDS bands and its rises (spectral flux), both from a short Fourier
transform whose window is centred on the frame; twelve pitch classes of the bass and twelve of the treble from the keys;
and how much either changes between the time before and after the frame, at several lengths (harmonic novelty).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

SAMPLE_RATE = 12000
HOP = 240  # samples a frame, 20 ms
WINDOW = 512  # samples of the transform, 43 ms
BANDS = 24
LOWEST_HZ, HIGHEST_HZ = 30.0, 5800.0
COMPRESSION = 30.0  # how far under the song's level the logarithm still tells loudness apart
FLUX_FRAMES = 2  # over which loudness rises
BASS_KEYS = 36  # keys under G#3 are bass
NOVELTY_FRAMES = (8, 16, 32, 64)  # compared on either side of a frame
BLOCK_FRAMES = 512  # transformed together: their spectra fit the CPU cache
COLUMNS = 2 * BANDS + 24 + 2 * len(NOVELTY_FRAMES)


def beat_features(signal: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Return the features (T, COLUMNS) of a signal (C, S) at SAMPLE_RATE and its key bands (C, K, T)."""
    frames = bands.shape[2]
    loudness = band_log_loudness(signal.mean(axis=0), frames)
    flux = np.zeros_like(loudness)
    np.maximum(loudness[FLUX_FRAMES:] - loudness[:-FLUX_FRAMES], 0.0, out=flux[FLUX_FRAMES:])
    chroma = pitch_classes(bands)
    novelty = [harmonic_novelty(part, length) for part in (chroma[:, :12], chroma[:, 12:]) for length in NOVELTY_FRAMES]
    return np.concatenate(
        (standardised(loudness), 2.0 * flux, 2.0 * chroma, np.stack(novelty, axis=1)), axis=1, dtype=np.float32
    )


def band_log_loudness(signal: np.ndarray, frames: int) -> np.ndarray:
    """Return log(1 + COMPRESSION * loudness / level) of each band of a mono signal (S,), float32 (T, BANDS)."""
    import scipy.fft

    before = (WINDOW - HOP) // 2
    padded = np.zeros((frames - 1) * HOP + WINDOW, np.float32)
    kept = signal[: len(padded) - before]
    padded[before : before + len(kept)] = kept
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    loudness = np.zeros((frames, BANDS), np.float32)
    for first in range(0, frames, BLOCK_FRAMES):
        spectrum = scipy.fft.rfft(windows[first : first + BLOCK_FRAMES] * hann(), axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        loudness[first : first + BLOCK_FRAMES] = np.sqrt(power @ filters())
    level = np.sqrt(np.mean(loudness**2)) + 1e-9
    return np.log1p(loudness * np.float32(COMPRESSION / level))


@lru_cache(maxsize=1)
def hann() -> np.ndarray:
    """Return the window of the transform, float32 (WINDOW,)."""
    return np.hanning(WINDOW + 2)[1:-1].astype(np.float32)


@lru_cache(maxsize=1)
def filters() -> np.ndarray:
    """Return triangular filters, float32 (WINDOW // 2 + 1, BANDS), that are narrow below 300 Hz and then grow."""
    scale = 300.0  # Hz up to which bands are about equally wide
    edges = scale * np.expm1(np.linspace(np.log1p(LOWEST_HZ / scale), np.log1p(HIGHEST_HZ / scale), BANDS + 2))
    hz = np.arange(WINDOW // 2 + 1)[:, None] * (SAMPLE_RATE / WINDOW)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    return np.clip(np.minimum((hz - left) / (centre - left), (right - hz) / (right - centre)), 0, 1).astype(np.float32)


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
