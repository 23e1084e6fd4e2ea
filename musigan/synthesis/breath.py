"""Breath: the sound of a roll beside its partials, as noise that follows the loudness (what a tone is: rolls/tone.py).

Noise is made in frames of twice the roll's, which overlap by half (sine windows, whose squares add up to 1), each with
the spectrum that the tone wants there. A place in the roll always has the same noise; it repeats after some ten
seconds, too long to be heard.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from musigan.rolls.keysettings import KeySettings
from musigan.rolls.tone import (
    BAND_RANGE_HZ,
    Tone,
    band_weights,
    breath_features,
    lately,
    note_power,
)

NOISE_FRAMES = 509  # a prime, 10 s at 20 ms
BATCH_FRAMES = 512
ROLLOFF_DB = 12.0  # an octave, above the highest band
GATE = 1e-7  # power of a roll over a second under which breath dies away, to nothing where the roll is silent
LOUDEST = 2.0  # power of all breath in a frame against that of the notes within a second, at most


def breathe(roll: np.ndarray, tone: Tone, settings: KeySettings, sample_rate: int) -> np.ndarray:
    """Return the breath of a roll (C, K, T) in linear loudness, float32 (C, S) with S = T * frame_samples."""
    channels, _, frames = roll.shape
    samples = settings.frame_samples(sample_rate)
    sound = np.zeros((channels, (frames + 1) * samples), np.float32)
    if not frames or not roll.any():
        return sound[:, : frames * samples]
    density = band_density(roll, tone, settings)  # (C, BANDS, T)
    hz = np.fft.rfftfreq(2 * samples, 1 / sample_rate)
    weights = (band_weights(hz) * 10 ** (-ROLLOFF_DB / 10 * np.log2(np.maximum(hz / BAND_RANGE_HZ[1], 1)))).astype(
        np.float32
    )
    likeness = np.sqrt(tone.likeness @ band_weights(hz)).astype(np.float32)
    difference = np.sqrt(np.maximum(1 - likeness**2, 0))
    window = np.sin(np.pi * (np.arange(2 * samples) + 0.5) / (2 * samples)).astype(np.float32)
    noise = white_noise(samples)
    import scipy.fft

    for first in range(0, frames, BATCH_FRAMES):
        places = np.arange(first, min(first + BATCH_FRAMES, frames))
        for channel in range(channels):
            spectrum = noise[0, places % NOISE_FRAMES] * likeness + noise[1 + channel % 2, places % NOISE_FRAMES] * (
                difference
            )
            spectrum *= np.sqrt(density[channel, :, places] @ weights)
            parts = scipy.fft.irfft(spectrum, 2 * samples) * window  # (frames, 2 * samples)
            begin = first * samples
            sound[channel, begin : begin + len(places) * samples] += parts[:, :samples].ravel()
            sound[channel, begin + samples : begin + (len(places) + 1) * samples] += parts[:, samples:].ravel()
    half = samples // 2  # frames of noise are centred on those of the roll
    return sound[:, half : half + frames * samples]


def band_density(roll: np.ndarray, tone: Tone, settings: KeySettings) -> np.ndarray:
    """Return the power density of breath in bands, float32 (C, BANDS, T); white noise of power 1 has 1 everywhere."""
    features = breath_features(roll, settings.keys.frequencies_hz(), settings.frame_seconds)
    logs = sum(tone.breath[:, [number]] * feature for number, feature in enumerate(features))  # (C, BANDS, T)
    slow = lately(note_power(roll), settings.frame_seconds)
    density = np.exp(np.minimum(logs, 20.0)) * slow / (slow + GATE)
    total = density.mean(axis=1, keepdims=True)
    return np.asarray(density * np.minimum(LOUDEST * slow / np.maximum(total, 1e-12), 1.0), np.float32)


@lru_cache(maxsize=2)
def white_noise(samples: int) -> np.ndarray:
    """Return spectra of white noise of power 1, complex64 (3, NOISE_FRAMES, samples + 1): both sides, left, right."""
    random = np.random.default_rng(20)
    parts = random.standard_normal((2, 3, NOISE_FRAMES, samples + 1), np.float32) * np.float32(np.sqrt(samples))
    return np.asarray(parts[0] + 1j * parts[1], np.complex64)
