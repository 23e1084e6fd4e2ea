"""Additive synthesis of rolls: one phase-continuous oscillator per key and partial.

Conventions: a roll is float32 (C, K, T) of RMS over level, a signal float32 (C, S) with S = T * frame_samples.

Oscillators are built in the frequency domain, as the analysis sees them: the envelope, resampled from the
centres of frames to a few samples a frame, is Fourier transformed, and its spectrum is placed around the partial's
frequency. One inverse FFT gives the sound of all keys. Phases depend on absolute time alone, so blocks are continuous.

Oscillators leak into one another's bands, and narrow bands are slow, so a second analysis would find the loudness only
roughly. Refinement measures every sounding band as the analysis does and corrects the envelopes by the ratio of target
to measured loudness. This is the idea of Griffin and Lim (1984), with the phases left to the oscillators to keep them
in tune. Finally, notes that the cleaning of the analysis would drop are made a little louder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from musigan.analysis.bands import MASK_DEVIATIONS, KeyBand, band_rms, context_frames, key_bands, note_loudness
from musigan.errors import SettingsError
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.streamed import PART_FRAMES, RollParts
from musigan.rolls.tone import Tone
from musigan.sound.takes import mixed
from musigan.synthesis.breath import breathe_parts
from musigan.synthesis.timbre import OwnTimbre, Timbre, ages_seconds, timbre_of

REFINEMENT_ITERATIONS = 1
BANDWIDTH_RATIO = (
    3.0  # ratio of an oscillator's bandwidth to its band's: the envelope may change faster than the band shows
)
ITERATION_GAIN = 2.0  # largest change of an envelope in one iteration, up or down
MISSED_NOTE_GAIN = 1.15  # for notes just below a threshold of the analysis, which would drop them
TOTAL_GAIN = 4.0  # largest change in all iterations together

BLOCK_FRAMES = PART_FRAMES
OVERLAP_FRAMES = 50  # on either side of a seam between blocks, crossfaded
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2  # start phases spread evenly, so that partials do not peak together


def synthesise(
    roll: np.ndarray,
    settings: KeySettings,
    sample_rate: int,
    timbre: str | Tone = "sine",
    level: float = 1.0,
    iterations: int | None = None,
) -> np.ndarray:
    """Synthesise a roll of any length as one continuous signal.

    Args:
        roll: (C, K, T), RMS over level, 0 where nothing sounds.
        settings: those of the roll's analysis.
        sample_rate: Hz; partials above the Nyquist frequency are left out.
        timbre: a name from `musigan.synthesis.timbre.TIMBRES`, or the tone of songs, whose breath sounds with it.
        level: factor from the roll's values to full scale.
        iterations: of refinement, 0 for none; None takes the default for pure tones and 0 for timbres with
            overtones, which lie in other keys' bands on purpose.

    Returns:
        (C, S) float32; its peak is not limited, see `musigan.sound.mastering`.

    Raises:
        SettingsError: an unknown timbre, or a roll that does not fit the settings.
    """
    parts = RollParts.of(np.asarray(roll, dtype=np.float32))
    return joined(synthesise_parts(parts, settings, sample_rate, timbre, level, iterations), len(roll))


def joined(blocks: Iterable[np.ndarray], channels: int) -> np.ndarray:
    """Join blocks (C, n), of which there may be none, to one signal (C, S)."""
    return np.concatenate([np.zeros((channels, 0), np.float32), *blocks], axis=1)


def synthesise_parts(
    roll: RollParts,
    settings: KeySettings,
    sample_rate: int,
    timbre: str | Tone = "sine",
    level: float = 1.0,
    iterations: int | None = None,
) -> Iterator[np.ndarray]:
    """Yield the sound of a roll as `synthesise` does, in blocks (C, n)."""
    profile = timbre_of(timbre)

    def sound(block: Block, part: np.ndarray) -> np.ndarray:
        return block.sound(part, profile, iterations)

    signals = [in_blocks(roll, settings, sample_rate, sound)]
    if isinstance(timbre, Tone):
        signals.append(breathe_parts(roll, timbre, settings, sample_rate))
    for block in mixed(*signals):
        block *= np.float32(level)
        yield block


def in_blocks(
    roll: RollParts, settings: KeySettings, sample_rate: int, sound: Callable[[Block, np.ndarray], np.ndarray]
) -> Iterator[np.ndarray]:
    """Yield what `sound` makes of the blocks of a roll (C, K, T), each (channels, S), joined by crossfades.

    Raises SettingsError for a roll that does not fit the settings.
    """
    if len(roll.shape) != 3 or roll.shape[1] != settings.keys.count:
        expected_shape = f"(channels, {settings.keys.count} keys, frames)"
        raise SettingsError(
            f"the roll is {roll.shape}, keys {settings.keys} need {expected_shape}: check the store's key range"
        )
    frame_samples = settings.frame_samples(sample_rate)
    tail: np.ndarray | None = None  # of the block before, which overlaps with the next
    for first in range(0, roll.frames, BLOCK_FRAMES):
        begin, end = max(first - OVERLAP_FRAMES, 0), min(first + BLOCK_FRAMES + OVERLAP_FRAMES, roll.frames)
        part = sound(Block(settings, sample_rate, begin, end - begin), roll.read(begin, end))
        if tail is not None:
            fade = np.linspace(0, 1, 2 * OVERLAP_FRAMES * frame_samples, dtype=np.float32)[: part.shape[1]]
            part[:, : fade.size] *= fade
            part[:, : fade.size] += tail * (1 - fade)
        is_last = first + BLOCK_FRAMES >= roll.frames
        ready = part.shape[1] if is_last else (first + BLOCK_FRAMES - OVERLAP_FRAMES - begin) * frame_samples
        yield part[:, :ready]
        tail = part[:, ready:]


@dataclass(frozen=True)
class Block:
    """A stretch of a roll with the context around it that the filters need."""

    settings: KeySettings
    sample_rate: int
    first_frame: int  # in the whole roll: time, and so phase, counts from the roll's beginning
    frames: int

    @property
    def frame_samples(self) -> int:
        return self.settings.frame_samples(self.sample_rate)

    @property
    def context(self) -> int:
        """Frames of context before the block."""
        return context_frames(self.settings)

    @property
    def padded(self) -> int:
        """Frames with context on both sides, a length that suits the FFT."""
        import scipy.fft

        return scipy.fft.next_fast_len(self.frames + 2 * self.context, real=True)

    @property
    def bins(self) -> int:
        """Bins of the block's spectrum."""
        return self.padded * self.frame_samples // 2 + 1

    def sound(self, roll: np.ndarray, timbre: Timbre | OwnTimbre, iterations: int | None = None) -> np.ndarray:
        """Synthesise the block: (C, K, T) -> (C, S); `iterations` as of `synthesise`."""
        return self.signal(self.refined_spectrum(roll, timbre, iterations))

    def refined_spectrum(
        self, roll: np.ndarray, timbre: Timbre | OwnTimbre, iterations: int | None = None
    ) -> np.ndarray:
        """Return the spectrum, complex64 (C, bins), of a roll (C, K, T) after refinement."""
        if iterations is None:
            iterations = REFINEMENT_ITERATIONS if timbre.pure else 0
        is_sounding = roll.max(axis=(0, 2), initial=0.0) > 0
        bands = [band for band in key_bands(self.settings, self.sample_rate, self.padded) if is_sounding[band.index]]
        spectrum = self.spectrum(roll, bands, timbre)
        envelopes = roll.copy()
        for _ in range(iterations):
            self.correct(envelopes, roll, spectrum, bands)
            spectrum = self.spectrum(envelopes, bands, timbre)
        if iterations and self.settings.cleaned:
            is_audible = note_loudness(self.signal(spectrum), self.sample_rate, self.settings).max(axis=0) > 0
            envelopes[:, ~is_audible] *= MISSED_NOTE_GAIN
            spectrum = self.spectrum(envelopes, bands, timbre)
        return spectrum

    def signal(self, spectrum: np.ndarray) -> np.ndarray:
        """Transform a spectrum back to the block's samples, context cut off: (C, bins) -> (C, S)."""
        import scipy.fft

        start = self.context * self.frame_samples
        signal = scipy.fft.irfft(spectrum, self.padded * self.frame_samples)
        return signal[:, start : start + self.frames * self.frame_samples]

    def spectrum(self, envelopes: np.ndarray, bands: Sequence[KeyBand], timbre: Timbre | OwnTimbre) -> np.ndarray:
        """Return the spectrum of all oscillators, complex64 (C, bins), from their RMS in every frame, (C, K, T)."""
        spectrum = np.zeros((envelopes.shape[0], self.bins), dtype=np.complex64)
        fundamentals, deviations = self.settings.keys.frequencies_hz(), self.settings.deviations_hz()
        for band in bands:
            ages = self.pad_edges(ages_seconds(envelopes[:, band.index], self.settings.frame_seconds))
            loudness = self.pad_edges(envelopes[:, band.index])
            start_turns = GOLDEN_RATIO * (band.index + self.settings.keys.low)
            fundamental, width = float(fundamentals[band.index]), BANDWIDTH_RATIO * float(deviations[band.index])
            for number, share in timbre.shares(fundamental, self.sample_rate / 2, ages, loudness):
                frequency = number * fundamental
                phases = timbre.side_phases(frequency, len(spectrum))
                self.add_oscillator(spectrum, loudness * share, frequency, width, start_turns * number, phases)
        return spectrum

    def add_oscillator(
        self,
        spectrum: np.ndarray,
        loudness: np.ndarray,
        frequency_hz: float,
        width_hz: float,
        start_turns: float,
        side_phases: np.ndarray | None = None,
    ) -> None:
        """Add one tone of RMS (C, padded) to a spectrum; a Gaussian of `width_hz` smooths its envelope.

        `side_phases`, (C,), are factors of modulus 1 by which channels differ in phase.
        """
        import scipy.fft

        bin_hz = 1 / (self.padded * self.settings.frame_seconds)
        half_width_bins = math.ceil(MASK_DEVIATIONS * width_hz / bin_hz)
        center = round(frequency_hz / bin_hz)
        first, stop = max(center - half_width_bins, 0), min(center + half_width_bins + 1, spectrum.shape[1])
        oversampling = scipy.fft.next_fast_len(max(2, math.ceil((2 * half_width_bins + 1) / self.padded)))
        envelope = interpolate(loudness, oversampling)
        # Placing the spectrum at bin `center` shifts by whole bins; rotating the envelope's phase adds the remainder.
        start_seconds = (self.first_frame - self.context) * self.settings.frame_seconds
        start_radians = 2 * np.pi * ((frequency_hz * start_seconds + start_turns) % 1.0)
        remainder_radians = 2 * np.pi * (frequency_hz / bin_hz - center)
        last_radians = start_radians + remainder_radians * (1 - 1 / envelope.shape[1])
        angle = np.linspace(start_radians, last_radians, envelope.shape[1], dtype=np.float32)
        rotated = np.empty(envelope.shape, dtype=np.complex64)
        np.multiply(envelope, np.cos(angle), out=rotated.real)
        np.multiply(envelope, np.sin(angle), out=rotated.imag)
        baseband = scipy.fft.fft(rotated, overwrite_x=True)  # 0 is bin `center`, the last ones are those below
        tone_spectrum = np.roll(baseband, center - first, axis=1)[:, : stop - first]
        gaussian = np.exp(-0.5 * ((np.arange(first, stop) * bin_hz - frequency_hz) / width_hz) ** 2)
        # As `rms_scale` in the analysis: a sine of RMS r has r / sqrt(2) in the bins of positive frequency.
        scale = self.frame_samples / (oversampling * math.sqrt(2))
        tone_spectrum *= (scale * gaussian).astype(np.float32)
        spectrum[:, first:stop] += tone_spectrum if side_phases is None else tone_spectrum * side_phases[:, None]

    def correct(
        self, envelopes: np.ndarray, wanted: np.ndarray, spectrum: np.ndarray, bands: Sequence[KeyBand]
    ) -> None:
        """Refine (C, K, T) envelopes in place by one iteration towards the loudness `wanted`, (C, K, T)."""
        inner = slice(self.context, self.context + self.frames)
        for rows, rms in band_rms(spectrum, bands, self.padded, self.frame_samples):
            target = wanted[:, rows]
            gain = np.clip(target / np.maximum(rms[:, :, inner], 1e-9), 1 / ITERATION_GAIN, ITERATION_GAIN)
            envelopes[:, rows] = np.clip(envelopes[:, rows] * gain, target / TOTAL_GAIN, target * TOTAL_GAIN)

    def pad_edges(self, loudness: np.ndarray) -> np.ndarray:
        """Pad (C, T) to (C, padded), repeating the first and last frames so that the ends do not fade."""
        after = self.padded - self.context - self.frames
        return np.pad(loudness, ((0, 0), (self.context, after)), mode="edge")


def interpolate(values: np.ndarray, oversampling: int) -> np.ndarray:
    """Interpolate linearly from frame centres, (C, T), to (C, T * oversampling), from the start of the first frame."""
    rises = np.zeros((values.shape[0], values.shape[1] + 1, 1), values.dtype)  # to each frame from the one before
    rises[:, 1:-1, 0] = np.diff(values)
    from_center = np.arange(oversampling, dtype=np.float32) / oversampling - np.float32(0.5)
    half = -(-oversampling // 2)  # of a frame's instants, those before its centre
    result = np.empty((*values.shape, oversampling), np.result_type(values, np.float32))
    np.multiply(from_center[:half], rises[:, :-1], out=result[..., :half])
    np.multiply(from_center[half:], rises[:, 1:], out=result[..., half:])
    result += values[:, :, None]
    return result.reshape(values.shape[0], -1)
