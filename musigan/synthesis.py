"""From rolls to sound: additive synthesis, one phase-continuous oscillator per key and partial.

Conventions: a roll is float32 (C, K, T) of RMS over level, a signal float32 (C, S) with S = T * frame_samples.

An oscillator is built where the analysis looks at it: its envelope, interpolated between the centres of frames, is
transformed at a few samples a frame and its spectrum laid around the partial's frequency; one inverse FFT gives the
sound of all keys. Phases depend on absolute time alone, so what is made in blocks is continuous.

Oscillators leak into one another's bands, and narrow bands are slow, so the loudness comes back only roughly.
Refinement measures every sounding band as the analysis would and corrects the envelopes by the ratio of wanted to
measured: the idea of Griffin and Lim (1984) with the phases left to the oscillators, which keeps them in tune. At last
the sound is cleaned as the analysis would, and notes that it overlooks are made a little louder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musigan.errors import SettingsError
from musigan.keys import MASK_DEVIATIONS, KeyBand, band_rms, context_frames, key_bands, note_loudness
from musigan.keysettings import KeySettings
from musigan.timbre import Timbre, ages_seconds, timbre_named

REFINEMENT_ROUNDS = 1
SOFTNESS = 3.0  # an oscillator's envelope may change so much faster than its band shows
ROUND_GAIN = 2.0  # most that one round changes an envelope, either way
OVERLOOKED_GAIN = 1.15  # for notes that the analysis would still overlook, just under one of its limits
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
        raise SettingsError(
            f"the roll is {roll.shape}, keys {settings.keys} need {wanted}: check the store's key range"
        )
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
        sounding = roll.max(axis=(0, 2), initial=0.0) > 0
        bands = [band for band in key_bands(self.settings, self.sample_rate, self.padded) if sounding[band.index]]
        spectrum = self.spectrum(roll, bands, timbre)
        envelopes = roll.copy()
        for _ in range(rounds):
            self.correct(envelopes, roll, spectrum, bands)
            spectrum = self.spectrum(envelopes, bands, timbre)
        if rounds and self.settings.cleaned:
            found = note_loudness(self.signal(spectrum), self.sample_rate, self.settings).max(axis=0) > 0
            envelopes[:, ~found] *= OVERLOOKED_GAIN
            spectrum = self.spectrum(envelopes, bands, timbre)
        return self.signal(spectrum)

    def signal(self, spectrum: np.ndarray) -> np.ndarray:
        """The block's samples, (C, bins) -> (C, S)."""
        import scipy.fft

        start = self.context * self.frame_samples
        signal = scipy.fft.irfft(spectrum, self.padded * self.frame_samples)
        return signal[:, start : start + self.frames * self.frame_samples]

    def spectrum(self, envelopes: np.ndarray, bands: Sequence[KeyBand], timbre: Timbre) -> np.ndarray:
        """Spectrum of all oscillators, complex64 (C, bins), from their RMS in every frame, (C, K, T)."""
        spectrum = np.zeros((envelopes.shape[0], self.padded * self.frame_samples // 2 + 1), dtype=np.complex64)
        fundamentals, deviations = self.settings.keys.frequencies_hz(), self.settings.deviations_hz()
        for band in bands:
            loudness = envelopes[:, band.index]
            ages = ages_seconds(loudness, self.settings.frame_seconds)
            start_turns = GOLDEN * (band.index + self.settings.keys.low)
            for number, share in timbre.shares(float(fundamentals[band.index]), self.sample_rate / 2, ages):
                frequency = number * float(fundamentals[band.index])
                width = SOFTNESS * float(deviations[band.index])
                self.add_oscillator(spectrum, loudness * share, frequency, width, start_turns * number)
        return spectrum

    def add_oscillator(
        self, spectrum: np.ndarray, loudness: np.ndarray, frequency_hz: float, width_hz: float, start_turns: float
    ) -> None:
        """Add one tone of RMS (C, T) to a spectrum; a Gaussian of `width_hz` rounds its envelope's corners."""
        import scipy.fft

        bin_hz = 1 / (self.padded * self.settings.frame_seconds)
        reach = math.ceil(MASK_DEVIATIONS * width_hz / bin_hz)
        first = max(round(frequency_hz / bin_hz) - reach, 0)
        stop = min(round(frequency_hz / bin_hz) + reach + 1, spectrum.shape[1])
        oversampling = scipy.fft.next_fast_len(max(2, math.ceil((2 * reach + 1) / self.padded)))
        shape = interpolated(self.surrounded(loudness), oversampling)
        place = np.arange(shape.shape[1]) / shape.shape[1]
        # Whole bins shift the envelope's spectrum to `first`; what is left of the frequency turns the envelope.
        before_seconds = (self.first_frame - self.context) * self.settings.frame_seconds
        turns = (frequency_hz / bin_hz - first) * place + frequency_hz * before_seconds + start_turns
        angle = (2 * np.pi * (turns % 1.0)).astype(np.float32)
        turning = np.empty(angle.size, dtype=np.complex64)
        np.cos(angle, out=turning.real)
        np.sin(angle, out=turning.imag)
        narrow = scipy.fft.fft(shape * turning)[:, : stop - first]
        rounding = np.exp(-0.5 * ((np.arange(first, stop) * bin_hz - frequency_hz) / width_hz) ** 2)
        # As `rms_scale` in the analysis: a sine of RMS r has r / sqrt(2) in the bins of positive frequency.
        scale = self.frame_samples / (oversampling * math.sqrt(2))
        spectrum[:, first:stop] += narrow * (scale * rounding).astype(np.float32)

    def correct(
        self, envelopes: np.ndarray, wanted: np.ndarray, spectrum: np.ndarray, bands: Sequence[KeyBand]
    ) -> None:
        """One round of refinement of (C, K, T) envelopes, in place."""
        inner = slice(self.context, self.context + self.frames)
        for rows, rms in band_rms(spectrum, bands, self.padded, self.frame_samples):
            target = wanted[:, rows]
            gain = np.clip(target / np.maximum(rms[:, :, inner], 1e-9), 1 / ROUND_GAIN, ROUND_GAIN)
            envelopes[:, rows] = np.clip(envelopes[:, rows] * gain, target / TOTAL_GAIN, target * TOTAL_GAIN)

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
