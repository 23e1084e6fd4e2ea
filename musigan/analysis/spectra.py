"""Loudness in a few dozen bands by a short Fourier transform: what the small networks for beats and drums hear.

Conventions: a signal is float32 (1, S) at SAMPLE_RATE, full scale 1. Frame t covers the samples from t * hop to
(t + 1) * hop, and the window of the transform is centred on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from musigan.analysis.signals import Signal

SAMPLE_RATE = 12000  # Hz; higher rates are resampled
WINDOW = 512  # samples of the transform, 43 ms
LOWEST_HZ, HIGHEST_HZ = 30.0, 5800.0
EVEN_HZ = 300.0  # up to which bands are about equally wide; then they grow
BLOCK_FRAMES = 512  # transformed together: their spectra fit the CPU cache


@dataclass(frozen=True)
class Spectrum:
    """A short Fourier transform with `bands` bands, every `hop` samples."""

    hop: int
    bands: int

    def loudness(self, signal: Signal, frames: int) -> np.ndarray:
        """Return the magnitude in each band of a signal (1, S), float32 (T, bands); zeros stand behind its ends."""
        import scipy.fft

        before = (WINDOW - self.hop) // 2
        loudness = np.zeros((frames, self.bands), np.float32)
        for first in range(0, frames, BLOCK_FRAMES):
            count = min(BLOCK_FRAMES, frames - first)
            padded = np.zeros((count - 1) * self.hop + WINDOW, np.float32)
            begin = first * self.hop - before  # of the block in the signal
            kept = signal[:, max(begin, 0) : begin + len(padded)][0]
            padded[max(-begin, 0) : max(-begin, 0) + len(kept)] = kept
            part = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[:: self.hop]
            spectrum = scipy.fft.rfft(part * hann(), axis=1)
            power = spectrum.real**2 + spectrum.imag**2
            loudness[first : first + count] = np.sqrt(power @ filters(self.bands))
        return loudness


def compressed(loudness: np.ndarray, compression: float, out: np.ndarray | None = None) -> np.ndarray:
    """Return log(1 + compression * loudness / level), float32 (T, bands); the level is the root mean square of all.

    `out` is where it is written to.
    """
    level = np.sqrt(np.mean(loudness**2)) + 1e-9
    relative = np.multiply(loudness, np.float32(compression / level), out=out)
    return np.log1p(relative, out=relative)


def rises(loudness: np.ndarray, frames: int, out: np.ndarray | None = None) -> np.ndarray:
    """Return by how much each band of (T, bands) is louder than so many frames before, at least 0 (spectral flux).

    `out` is an array of zeros to write it to.
    """
    flux = np.zeros_like(loudness) if out is None else out
    np.subtract(loudness[frames:], loudness[:-frames], out=flux[frames:])
    return np.maximum(flux, 0.0, out=flux)


@lru_cache(maxsize=1)
def hann() -> np.ndarray:
    """Return the window of the transform, float32 (WINDOW,)."""
    return np.hanning(WINDOW + 2)[1:-1].astype(np.float32)


@lru_cache(maxsize=4)
def filters(bands: int) -> np.ndarray:
    """Return triangular filters, float32 (WINDOW // 2 + 1, bands), each at least a bin of the transform wide."""
    edges, bin_hz = _edges_hz(bands), SAMPLE_RATE / WINDOW
    hz = np.arange(WINDOW // 2 + 1)[:, None] * bin_hz
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (hz - left) / np.maximum(centre - left, bin_hz), (right - hz) / np.maximum(right - centre, bin_hz)
    return np.clip(np.minimum(rising, falling), 0, 1).astype(np.float32)


def _edges_hz(bands: int) -> np.ndarray:
    steps = np.linspace(np.log1p(LOWEST_HZ / EVEN_HZ), np.log1p(HIGHEST_HZ / EVEN_HZ), bands + 2)
    return np.asarray(EVEN_HZ * np.expm1(steps))


def centres_hz(bands: int) -> np.ndarray:
    """Return the middle of each band in Hz, (bands,)."""
    return _edges_hz(bands)[1:-1]


def resampled(signal: Signal, sample_rate: int) -> Signal:
    """Return a signal (C, S) at SAMPLE_RATE."""
    if sample_rate == SAMPLE_RATE:
        return signal
    import soxr

    return np.ascontiguousarray(soxr.resample(signal[:, :].T, sample_rate, SAMPLE_RATE).T, np.float32)
