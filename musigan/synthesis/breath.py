"""Breath: the sound of a roll beside its partials, as noise that follows the loudness (what a tone is: rolls/tone.py).

Noise is made in frames of twice the roll's, which overlap by half (sine windows, whose squares add up to 1), each with
the spectrum that the tone wants there. A place in the roll always has the same noise; it repeats after some ten
seconds, too long to be heard.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from musigan.rolls.keysettings import KeySettings
from musigan.rolls.streamed import RollParts
from musigan.rolls.tone import (
    BAND_RANGE_HZ,
    BANDS,
    SLOW_SECONDS,
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
    blocks = breathe_parts(RollParts.of(roll), tone, settings, sample_rate)
    return np.concatenate([np.zeros((len(roll), 0), np.float32), *blocks], axis=1)


def breathe_parts(roll: RollParts, tone: Tone, settings: KeySettings, sample_rate: int) -> Iterator[np.ndarray]:
    """Yield the breath of a roll as `breathe` does, in blocks (C, n)."""
    samples = settings.frame_samples(sample_rate)
    hz = np.fft.rfftfreq(2 * samples, 1 / sample_rate)
    weights = (band_weights(hz) * 10 ** (-ROLLOFF_DB / 10 * np.log2(np.maximum(hz / BAND_RANGE_HZ[1], 1)))).astype(
        np.float32
    )
    likeness = np.sqrt(tone.likeness @ band_weights(hz)).astype(np.float32)
    difference = np.sqrt(np.maximum(1 - likeness**2, 0))
    window = np.sin(np.pi * (np.arange(2 * samples) + 0.5) / (2 * samples)).astype(np.float32)
    noise = white_noise(samples)
    import scipy.fft

    half = samples // 2  # frames of noise are centred on those of the roll
    ringing = np.zeros((roll.shape[0], samples), np.float32)  # the second half of the last frame of noise
    to_skip = half
    for first in range(0, roll.frames, BATCH_FRAMES):
        places = np.arange(first, min(first + BATCH_FRAMES, roll.frames))
        density = _density_between(roll, first, int(places[-1]) + 1, tone, settings)  # (C, BANDS, frames)
        sound = np.zeros((roll.shape[0], (len(places) + 1) * samples), np.float32)
        sound[:, :samples] = ringing
        for channel in range(roll.shape[0]) if density.any() else ():
            spectrum = noise[0, places % NOISE_FRAMES] * likeness + noise[1 + channel % 2, places % NOISE_FRAMES] * (
                difference
            )
            spectrum *= np.sqrt(density[channel].T @ weights)
            parts = scipy.fft.irfft(spectrum, 2 * samples) * window  # (frames, 2 * samples)
            sound[channel, : len(places) * samples] += parts[:, :samples].ravel()
            sound[channel, samples:] += parts[:, samples:].ravel()
        ringing = sound[:, -samples:]
        yield sound[:, to_skip:-samples]
        to_skip = 0
    if roll.frames:
        yield ringing[:, :half]


def _density_between(roll: RollParts, first: int, stop: int, tone: Tone, settings: KeySettings) -> np.ndarray:
    """Return the power density of breath in frames `first` to `stop`, which the roll around them decides."""
    around = round(SLOW_SECONDS / settings.frame_seconds) + 1
    begin, end = max(first - around, 0), min(stop + around, roll.frames)
    part = roll.read(begin, end)
    density = band_density(part, tone, settings) if part.any() else np.zeros((len(part), BANDS, end - begin))
    return density[..., first - begin : stop - begin]


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
