"""Loudness of every piano key in every frame of a recording.

Conventions: a signal is float32 (C, S), a roll is float32 (C, K, T) and holds linear RMS divided by the song's `level`.
Key n of a piano (1 to 88) sounds at f(n) = 440 * 2 ** ((n - 49) / 12) Hz. Frame t covers the samples from
t * frame_samples to (t + 1) * frame_samples; samples after the last whole frame only serve as context.

The loudness of a key's band in a frame is the RMS of the signal behind a Gaussian band-pass of standard deviation s(n)
around f(n) (both stand in rolls/keysettings.py). One forward FFT of a block serves all keys: a key's own few thousand
bins, weighted and inverted at a few samples a frame, are its analytic signal, whose squared modulus is twice the power.
Zero padding at the ends keeps the end from wrapping around into the beginning (circular convolution). The power that
the zeros take from the first and last frames is restored (normalised convolution).

By default the bands are then cleaned into notes (cleaning.py): a note's loudness is that of its fundamental and
of the overtones assigned to it, and everything else is exactly 0.

The transforms use only function names that SciPy and torch share, so the same code runs on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from types import ModuleType
from typing import Any

import numpy as np

from musigan.analysis.cleaning import SILENCE, Cleaner, sounding_level
from musigan.analysis.signals import Signal, means
from musigan.errors import AudioError
from musigan.rolls.keyboard import LOWEST_KEY, KeyRange
from musigan.rolls.keysettings import KeySettings

MASK_DEVIATIONS = 4.0  # a Gaussian is cut off here, at 3e-4 of its maximum
END_DEVIATIONS = 9.0  # of a filter's impulse response: so far from an end it keeps all, rounded to float64
CONTEXT_DEVIATIONS = 4.0  # how much of a filter's impulse response (in time) surrounds a block
BATCH_FRAMES = 1 << 15  # frames of all keys transformed together: enough for speed, few enough for the CPU cache
BLOCK_FRAMES = 2048  # 41 s at 20 ms: the spectrum about fits the CPU cache, and the context costs little beside it


@dataclass(frozen=True)
class KeyBand:
    """The Gaussian band of one key in the spectrum of a padded block."""

    index: int  # row in the roll
    start: int  # first bin
    mask: np.ndarray  # float32 (bins,), the Gaussian
    oversampling: int  # samples of the envelope per frame


@lru_cache(maxsize=4)
def key_bands(settings: KeySettings, sample_rate: int, padded_frames: int) -> tuple[KeyBand, ...]:
    """Return the bands of every key under the Nyquist frequency, for a transform over `padded_frames` frames."""
    bin_hz = 1.0 / (padded_frames * settings.frame_seconds)
    last_bin = int(sample_rate / 2 / bin_hz)
    deviations = settings.deviations_hz()
    bands = []
    for index, center in enumerate(settings.keys.frequencies_hz()):
        if center >= sample_rate / 2:
            break
        deviation = deviations[index]
        start = max(math.ceil((center - MASK_DEVIATIONS * deviation) / bin_hz), 1)  # bin 0 is a constant, no sound
        stop = min(math.floor((center + MASK_DEVIATIONS * deviation) / bin_hz), last_bin) + 1
        offsets = (np.arange(start, stop) * bin_hz - center) / deviation
        mask = np.exp(-0.5 * offsets**2).astype(np.float32)
        # At least two samples a frame: the power between frames is averaged by the trapezoid rule.
        bands.append(KeyBand(index, start, mask, max(2, math.ceil(len(mask) / padded_frames))))
    return tuple(bands)


@lru_cache(maxsize=4)
def context_frames(settings: KeySettings) -> int:
    """Return the frames of context that the filters need on either side of a block."""
    seconds = CONTEXT_DEVIATIONS / (2 * math.pi * float(settings.deviations_hz().min()))
    return math.ceil(seconds / settings.frame_seconds) + 1


def transforms(device: str) -> tuple[ModuleType | Any, ModuleType | Any]:
    """Return (fft, arrays): SciPy and NumPy on the CPU, torch elsewhere."""
    if device == "cpu":
        import scipy.fft

        return scipy.fft, np
    import torch

    return torch.fft, torch


def on_device(values: np.ndarray, device: str) -> Any:
    """Return the array itself for the CPU, else a tensor on the device."""
    if device == "cpu":
        return values
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).to(device)


def on_host(values: Any, device: str) -> np.ndarray:
    """Return the result of `on_device` as an array again."""
    return values if device == "cpu" else values.cpu().numpy()


def low_spectrum(signal: Any, stop_bin: int, device: str = "cpu") -> Any:
    """Return the bins under `stop_bin` (or more) of the real FFT of (C, S), complex64 (C, bins).

    Where they are only the lower part of the spectrum, S is split into interleaved parts with short transforms, and
    only these bins are combined (decimation in time). Three times as fast for keys in the lowest quarter.
    """
    fft, _ = transforms(device)
    channels, length = signal.shape
    parts = next((n for n in (8, 4, 2) if length % (2 * n) == 0 and stop_bin <= length // (2 * n) + 1), 1)
    if parts == 1:
        return fft.rfft(signal)
    short = fft.rfft(signal.reshape(channels, length // parts, parts), None, 1)[:, :stop_bin]
    delays = on_device(twiddles(stop_bin, parts, length), device)
    low = short[:, :, 0] + 0
    for part in range(1, parts):
        low += short[:, :, part] * delays[part]
    return low


@lru_cache(maxsize=4)
def twiddles(bins: int, parts: int, length: int) -> np.ndarray:
    """Return the twiddle factors exp(-2 pi i k d / length), complex64 (parts, bins): the delay of part d in bin k."""
    turns = np.arange(bins) * np.arange(parts)[:, None] / length
    return np.exp(-2j * np.pi * turns).astype(np.complex64)


def batches(bands: Sequence[KeyBand], most: int) -> Iterator[Sequence[KeyBand]]:
    """Yield consecutive bands of the same oversampling, at most `most` together."""
    for _, group in groupby(bands, key=lambda band: band.oversampling):
        same_oversampling = list(group)
        for first in range(0, len(same_oversampling), most):
            yield same_oversampling[first : first + most]


def band_rms(
    spectrum: Any, bands: Sequence[KeyBand], padded_frames: int, frame_samples: int, device: str = "cpu"
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield the RMS in every frame of bands of a spectrum (C, bins), G at a time: their rows, and float32 (C, G, T)."""
    fft, arrays = transforms(device)
    placement = {} if device == "cpu" else {"device": device}
    channels = spectrum.shape[0]
    for batch in batches(bands, max(1, BATCH_FRAMES // padded_frames)):
        length = padded_frames * batch[0].oversampling
        baseband = arrays.zeros((channels, len(batch), length), dtype=arrays.complex64, **placement)
        for row, band in enumerate(batch):
            bins = len(band.mask)
            # Shifting the band down to bin 0 leaves its modulus as it is, and only the modulus is used.
            baseband[:, row, :bins] = spectrum[:, band.start : band.start + bins] * on_device(band.mask, device)
        power = on_host(frame_power(fft.ifft(baseband), padded_frames), device)
        yield [band.index for band in batch], np.sqrt(power) * np.float32(rms_scale(batch[0], frame_samples))


def frame_power(signal: Any, frames: int) -> Any:
    """Return the mean of |signal|^2 over every frame by the trapezoid rule, (..., T * samples) -> (..., T)."""
    squared = signal.real**2 + signal.imag**2
    parts = squared.reshape(*squared.shape[:-1], frames, -1)
    oversampling = parts.shape[-1]  # 2 at least
    half_power = 0.5 * parts[..., 0]
    power = half_power + parts[..., 1]
    power[..., :-1] += half_power[..., 1:]  # the last instant of a frame is the first of the next
    for instant in range(2, oversampling):
        power += parts[..., instant]
    power /= oversampling
    return power


def blocks(frames: int, context: int) -> Iterator[tuple[int, int, int]]:
    """Yield (first, last + 1, padded length), in frames, of equal blocks; the padded length suits the FFT."""
    import scipy.fft

    count = max(1, math.ceil(frames / BLOCK_FRAMES))
    size = max(1, math.ceil(frames / count))
    padded = scipy.fft.next_fast_len(size + 2 * context, real=True)
    for first in range(0, frames, size):
        yield first, min(first + size, frames), padded


def band_loudness(signal: Signal, sample_rate: int, settings: KeySettings, device: str = "cpu") -> np.ndarray:
    """Return the RMS of every band in every frame, neither cleaned nor scaled: float32 (C, K, T) of full scale.

    Raises AudioError where the signal is not (C, S), or holds NaN or infinite values.
    """
    if len(signal.shape) != 2:
        raise AudioError(f"a signal of shape {signal.shape}, expected two dimensions (channels, samples)")
    samples = settings.frame_samples(sample_rate)
    channels, length = signal.shape
    frames = length // samples
    loudness = np.zeros((channels, settings.keys.count, frames), dtype=np.float32)
    if not frames:
        return loudness
    context = context_frames(settings)
    mean = means(signal).astype(np.float32)
    if not np.isfinite(mean).all():
        raise AudioError("the signal holds NaN or infinite values: decode the recording again")
    bands: tuple[KeyBand, ...] = ()
    for first, stop, padded in blocks(frames, context):
        bands = bands or key_bands(settings, sample_rate, padded)
        begin = first * samples
        samples_before = min(begin, context * samples)
        end = min(length, (stop + context) * samples)
        block = np.zeros((channels, padded * samples), dtype=np.float32)
        filled = slice(context * samples - samples_before, context * samples + end - begin)
        np.subtract(signal[:, begin - samples_before : end], mean, out=block[:, filled])
        stop_bin = max((band.start + len(band.mask) for band in bands), default=1)
        spectrum = low_spectrum(on_device(block, device), stop_bin, device)
        del block
        for rows, rms in band_rms(spectrum, bands, padded, samples, device):
            loudness[:, rows, first:stop] = rms[:, :, context : context + stop - first]
    for band, deviation in zip(bands, settings.deviations_hz(), strict=False):
        reach = math.ceil(END_DEVIATIONS / (2 * math.pi * deviation * settings.frame_seconds))
        gains = end_gains(deviation, band.oversampling, min(frames, 2 * reach), settings.frame_seconds)
        middle = len(gains) // 2
        loudness[:, band.index, :middle] *= gains[:middle]
        loudness[:, band.index, frames - len(gains) + middle :] *= gains[middle:]
    return loudness


def rms_scale(band: KeyBand, frame_samples: int) -> float:
    """Return the factor from the root of `frame_power` to RMS.

    A sine of RMS r has r / sqrt(2) in the bins of positive frequency.
    """
    return math.sqrt(2.0) * band.oversampling / frame_samples


@lru_cache(maxsize=256)
def end_gains(deviation_hz: float, oversampling: int, frames: int, frame_seconds: float) -> np.ndarray:
    """Return the gains that undo the loss of a filter that extends over an end of the signal, float32 (T,).

    At distance d (seconds) from an end, a filter keeps the share Phi(2 pi s d) of a steady tone, Phi the normal
    distribution function; its power is averaged over a frame as `frame_power` does. A signal of more frames than twice
    the filter's reach has the same gains at its ends, and 1 between them.
    """
    from scipy.special import ndtr

    instants = np.arange(frames * oversampling + 1) * (frame_seconds / oversampling)
    steady = ndtr(2 * np.pi * deviation_hz * instants)
    power = (steady * steady[::-1]) ** 2
    trapezoids = 0.5 * (power[1:] + power[:-1])
    return (1 / np.sqrt(trapezoids.reshape(frames, oversampling).mean(axis=1))).astype(np.float32)


def analyse(
    signal: np.ndarray, sample_rate: int, settings: KeySettings | None = None, device: str = "cpu"
) -> tuple[np.ndarray, float]:
    """Compute the roll of a contiguous stretch of a song.

    Args:
        signal: (C, S) float32, full scale 1.
        sample_rate: Hz; a frame must be a whole number of samples.
        settings: bands, keys, frame length and threshold.
        device: "cpu", or a torch device for the transforms ("cuda", "mps").

    Returns:
        loudness, float32 (C, K, T) with T = S // frame_samples: RMS / level, exactly 0 where nothing sounds and for
        keys above the Nyquist frequency; and the level, 1.0 for silence.

    Raises:
        SettingsError: the frame does not fit the sample rate.
        AudioError: the signal is not (C, S), or holds NaN or infinite values.
    """
    settings = settings or KeySettings()
    return roll_of(analysed_bands(signal, sample_rate, settings, device), sample_rate, settings)


def analysed_bands(signal: Signal, sample_rate: int, settings: KeySettings, device: str = "cpu") -> np.ndarray:
    """Return the loudness of the bands that a roll is made of, before cleaning, float32 (C, K, T) of full scale.

    To be cleaned, the whole keyboard is analysed whichever keys are asked for: a note below the range still owns
    overtones within it.
    """
    if settings.cleaned:
        settings = replace(settings, keys=KeyRange())
    return band_loudness(signal, sample_rate, settings, device)


def roll_of(bands: np.ndarray, sample_rate: int, settings: KeySettings) -> tuple[np.ndarray, float]:
    """Return the roll and level of `analyse` from what `analysed_bands` returned, which is left as it is."""
    if settings.cleaned:
        loudness = cleaned(bands, sample_rate, settings)
    else:
        loudest = float(bands.max(initial=0.0))
        loudness = np.where(bands < max(settings.threshold * loudest, SILENCE), np.float32(0.0), bands)
    level = sounding_level(loudness)
    if level:
        loudness /= np.float32(level)
    return loudness, level or 1.0


def note_loudness(signal: np.ndarray, sample_rate: int, settings: KeySettings, device: str = "cpu") -> np.ndarray:
    """Return the loudness of a signal (C, S) cleaned once at the threshold, float32 (C, K, T) of full scale."""
    settings = replace(settings, cleaned=True)
    return cleaned(analysed_bands(signal, sample_rate, settings, device), sample_rate, settings, once=True)


def cleaned(bands: np.ndarray, sample_rate: int, settings: KeySettings, once: bool = False) -> np.ndarray:
    """Return the notes of all keys' bands (C, 88, T), on the keys of `settings`: float32 (C, K, T).

    `once`: at the threshold alone, which is faster; a higher one may then find notes that a lower one does not.
    """
    full_settings = replace(settings, keys=KeyRange())
    keys_below_nyquist = int(np.searchsorted(full_settings.keys.frequencies_hz(), sample_rate / 2))
    cleaner = Cleaner(
        full_settings.keys.frequencies_hz()[:keys_below_nyquist],
        full_settings.deviations_hz()[:keys_below_nyquist],
        settings.frame_seconds,
        settings.threshold,
    )
    clean = cleaner.clean_once if once else cleaner.clean
    notes = clean(bands[:, :keys_below_nyquist])
    if silent_keys := bands.shape[1] - keys_below_nyquist:
        notes = np.pad(notes, ((0, 0), (0, silent_keys), (0, 0)))
    return np.ascontiguousarray(notes[:, settings.keys.low - LOWEST_KEY : settings.keys.high - LOWEST_KEY + 1])
