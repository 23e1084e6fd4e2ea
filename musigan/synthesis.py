"""From rolls to sound: additive synthesis, one phase-continuous oscillator per key and partial.

Conventions: a roll is float32 (C, K, T) of RMS over level, a signal float32 (C, S) with S = T * frame_samples.

An oscillator is built where the analysis looks at it: its envelope, interpolated between the centres of frames, is
transformed at a few samples a frame and its spectrum laid around the partial's frequency; one inverse FFT gives the sound
of all keys. Phases depend on absolute time alone, so what is made in blocks is continuous.

Oscillators leak into one another's bands and the bands are slow where they are narrow, so the loudness comes back only
roughly. Refinement measures every sounding band as the analysis would and corrects the envelopes by the ratio of wanted to
measured: Griffin and Lim's idea (1984) with the phases left to the oscillators, which keeps them in tune.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from musigan.errors import SettingsError
from musigan.keys import KeyBand, KeySettings, context_frames, envelope, frame_power, key_bands, rms_scale
from musigan.timbre import Timbre, ages_seconds, timbre_named

REFINEMENT_ROUNDS = 1
ROUND_GAIN = 2.0  # most that one round changes an envelope, either way
TOTAL_GAIN = 4.0  # most that all rounds together do

BLOCK_FRAMES = 6000  # 120 s at 20 ms
OVERLAP_FRAMES = 50  # either side of a seam between blocks, faded
GOLDEN = (math.sqrt(5) - 1) / 2  # start phases spread evenly, so that partials do not peak together


def synthesise(
    roll: np.ndarray,
    settings: KeySettings,
    sample_rate: int,
    timbre: str = "sine",
    level: float = 1.0,
    rounds: int | None = None,
) -> np.ndarray:
    """Sound of a roll of any length, in one contiguous piece.

    Args:
        roll: (C, K, T), RMS over level, 0 where nothing sounds.
        settings: as the roll was made.
        sample_rate: Hz; partials above the Nyquist frequency are left out.
        timbre: a name from `musigan.timbre.TIMBRES`.
        level: the factor back to full scale.
        rounds: of refinement, 0 for none; None takes the default for pure tones, and none for timbres with overtones,
            which sound in the bands of other keys by intention.

    Returns:
        (C, S) float32; nothing limits its peak, see `musigan.mastering`.

    Raises:
        SettingsError: an unknown timbre, or a roll that does not fit the settings.
    """
    roll = np.asarray(roll, dtype=np.float32)
    if roll.ndim != 3 or roll.shape[1] != settings.keys.count:
        wanted = f"(channels, {settings.keys.count} keys, frames)"
        raise SettingsError(f"the roll is {roll.shape}, keys {settings.keys} need {wanted}: check the store's key range")
    profile = timbre_named(timbre)
    if rounds is None:
        rounds = REFINEMENT_ROUNDS if profile.pure else 0
    samples = settings.frame_samples(sample_rate)
    channels, _, frames = roll.shape
    signal = np.zeros((channels, frames * samples), dtype=np.float32)
    for first in range(0, frames, BLOCK_FRAMES):
        begin, end = max(first - OVERLAP_FRAMES, 0), min(first + BLOCK_FRAMES + OVERLAP_FRAMES, frames)
        block = Block(settings, sample_rate, begin, end - begin).sound(roll[:, :, begin:end], profile, rounds)
        if begin:
            fade = np.linspace(0, 1, 2 * OVERLAP_FRAMES * samples, dtype=np.float32)[: block.shape[1]]
            block[:, : fade.size] *= fade
            signal[:, begin * samples : begin * samples + fade.size] *= 1 - fade
        signal[:, begin * samples : end * samples] += block
    signal *= np.float32(level)
    return signal


@dataclass(frozen=True)
class Block:
    """A stretch of a roll with the silence around it that its filters need."""

    settings: KeySettings
    sample_rate: int
    first_frame: int  # of the whole roll: time, and so phase, counts from its beginning
    frames: int

    @property
    def frame_samples(self) -> int:
        return self.settings.frame_samples(self.sample_rate)

    @property
    def context(self) -> int:
        """Frames before the block's first."""
        return context_frames(self.settings)

    @property
    def padded(self) -> int:
        """Frames in all, a length that suits the FFT."""
        import scipy.fft

        return scipy.fft.next_fast_len(self.frames + 2 * self.context, real=True)

    def sound(self, roll: np.ndarray, timbre: Timbre, rounds: int) -> np.ndarray:
        """(C, K, T) -> (C, S)."""
        import scipy.fft

        sounding = roll.any(axis=(0, 2))
        bands = [band for band in key_bands(self.settings, self.sample_rate, self.padded) if sounding[band.index]]
        spectrum = self.spectrum(roll, bands, timbre)
        envelopes = roll.copy()
        for _ in range(rounds):
            self.correct(envelopes, roll, spectrum, bands)
            spectrum = self.spectrum(envelopes, bands, timbre)
        signal = scipy.fft.irfft(spectrum, self.padded * self.frame_samples)
        start = self.context * self.frame_samples
        return signal[:, start : start + self.frames * self.frame_samples]

    def spectrum(self, envelopes: np.ndarray, bands: list[KeyBand], timbre: Timbre) -> np.ndarray:
        """Spectrum of all oscillators, complex64 (C, bins), from their RMS in every frame, (C, K, T)."""
        import scipy.fft

        spectrum = np.zeros((envelopes.shape[0], self.padded * self.frame_samples // 2 + 1), dtype=np.complex64)
        bin_hz = 1 / (self.padded * self.settings.frame_seconds)
        start_seconds = (self.first_frame - self.context) * self.settings.frame_seconds
        for band in bands:
            fundamental = float(self.settings.keys.frequencies_hz()[band.index])
            loudness = envelopes[:, band.index]
            ages = ages_seconds(loudness, self.settings.frame_seconds)
            for number, share in timbre.shares(fundamental, self.sample_rate / 2, ages):
                shape = interpolated(self.surrounded(loudness * share), band.oversampling)
                place = np.arange(shape.shape[1]) / shape.shape[1]
                bins = len(band.mask)
                center = number * fundamental
                start = max(round(center / bin_hz) - bins // 2, 0)
                kept = min(bins, spectrum.shape[1] - start)
                # Whole bins shift the envelope's spectrum to `start`; what is left of the frequency turns the envelope.
                turns = (center / bin_hz - start) * place
                phase = center * start_seconds + GOLDEN * (band.index + self.settings.keys.low) * number
                turning = np.exp(2j * np.pi * ((turns + phase) % 1.0)).astype(np.complex64)
                narrow = scipy.fft.fft(shape * turning)[:, :kept]
                narrow *= np.float32(1 / rms_scale(band, self.frame_samples))
                spectrum[:, start : start + kept] += narrow
        return spectrum

    def correct(self, envelopes: np.ndarray, wanted: np.ndarray, spectrum: np.ndarray, bands: list[KeyBand]) -> None:
        """One round of refinement of (C, K, T) envelopes, in place."""
        for band in bands:
            power = frame_power(envelope(spectrum, band, self.padded), band, self.padded)
            measured = np.sqrt(power[:, self.context : self.context + self.frames])
            measured *= np.float32(rms_scale(band, self.frame_samples))
            target = wanted[:, band.index]
            gain = np.clip(target / np.maximum(measured, 1e-9), 1 / ROUND_GAIN, ROUND_GAIN)
            np.clip(
                envelopes[:, band.index] * gain, target / TOTAL_GAIN, target * TOTAL_GAIN, out=envelopes[:, band.index]
            )

    def surrounded(self, loudness: np.ndarray) -> np.ndarray:
        """(C, T) -> (C, padded): the first and last frames are held outside, so that the ends do not fade."""
        after = self.padded - self.context - self.frames
        return np.pad(loudness, ((0, 0), (self.context, after)), mode="edge")


def interpolated(values: np.ndarray, oversampling: int) -> np.ndarray:
    """(C, T) at the centres of frames -> (C, T * oversampling), linear, from the start of the first frame on."""
    before = np.concatenate((values[:, :1], values[:, :-1]), axis=1)[:, :, None]
    after = np.concatenate((values[:, 1:], values[:, -1:]), axis=1)[:, :, None]
    here = values[:, :, None]
    from_center = np.arange(oversampling, dtype=np.float32) / oversampling - np.float32(0.5)
    towards = np.where(from_center < 0, before, after)
    return (here + np.abs(from_center) * (towards - here)).reshape(values.shape[0], -1)
