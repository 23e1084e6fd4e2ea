"""Loudness as it is heard (ITU-R BS.1770, in LUFS), and normalising to it.

Conventions: a signal is float32 (C, S). Its loudness is the integrated, gated loudness of all its channels; that of
silence is -inf.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from musigan.errors import SettingsError
from musigan.sound.mastering import CEILING_DB, limit
from musigan.sound.takes import Take, reblocked

USUAL = "-14"  # what streaming services play music at, and keys-to-mp3 by default
LOWEST, HIGHEST = -40.0, -5.0  # LUFS, targets that are accepted
MAX_GAIN_DB = 20.0  # the most that a signal is raised: what hardly sounds must not become a roar
TOLERANCE = 0.1  # LU
TRUE_PEAK_DB = -1.5  # dBFS, before a lossy encoder, which adds up to 0.5 dB
CEILINGS = 3  # of samples, tried one below the other: peaks of noise lie between its samples
CORRECTIONS = 5  # at most; each is a pass of the limiter and the meter
LEAST_SLOPE = 0.25  # LU for each dB of gain, below which a limited signal is not believed to get louder
BLOCK_SECONDS = 0.4  # of the standard: nothing shorter is measured
CHANNEL_WEIGHTS = (1.0, 1.0, 1.0, 1.41, 1.41)  # left, right, centre, and behind
METER_CHANNELS = len(CHANNEL_WEIGHTS)
BLOCK_OVERLAP = 0.75
OFFSET_LUFS, SILENCE_LUFS, GATE_LU = -0.691, -70.0, 10.0  # of the standard


def target_of(text: str) -> float | None:
    """Parse `--lufs`: a number of LUFS, or None for "none". Raises SettingsError for anything else."""
    if text.strip().lower() == "none":
        return None
    try:
        target = float(text)
    except ValueError:
        target = math.nan
    if not LOWEST <= target <= HIGHEST:
        raise SettingsError(
            f"--lufs {text} is no loudness: expected a number from {LOWEST:g} to {HIGHEST:g}, such as -14, or none"
        )
    return target


def measure(signal: np.ndarray, sample_rate: int) -> float:
    """Return a signal's loudness in LUFS; one shorter than a block of the standard is followed by silence."""
    return measure_blocks([signal], sample_rate)


def measure_blocks(blocks: Iterable[np.ndarray], sample_rate: int) -> float:
    """Return the loudness in LUFS of a signal that comes in blocks; a short one is followed by silence."""
    meter = Meter(sample_rate)
    for block in reblocked(blocks):
        meter.add(block)
    return meter.loudness()


class Meter:
    """A loudness meter that is given a signal a block at a time, and needs the memory of a block."""

    def __init__(self, sample_rate: int) -> None:
        from pyloudnorm import Meter

        self._rate = sample_rate
        self._filters = list(Meter(sample_rate)._filters.values())  # the standard's, for this rate
        self._states: list[np.ndarray] = []  # of each filter, (C, order)
        self._weighted = np.zeros((0, 0), np.float32)  # filtered samples that a block of the standard still needs
        self._first = self._samples = 0  # of those, and of all
        self._powers: list[np.ndarray] = []  # mean square of each block of the standard, (C,)

    def add(self, block: np.ndarray) -> None:
        """Take the next samples, (C, n)."""
        from scipy.signal import lfilter

        block = block[:METER_CHANNELS]
        if not self._states:
            self._states = [np.zeros((len(block), 2)) for _ in self._filters]
            self._weighted = np.zeros((len(block), 0), np.float32)
        for number, stage in enumerate(self._filters):
            filtered, self._states[number] = lfilter(stage.b, stage.a, block, zi=self._states[number])
            block = (stage.passband_gain * filtered).astype(np.float32)
        self._weighted = np.concatenate((self._weighted, block), axis=1)
        self._samples += block.shape[1]
        while (bounds := self._bounds(len(self._powers)))[1] <= self._samples:
            self._square(*bounds)
        done = self._bounds(len(self._powers))[0]
        self._weighted, self._first = self._weighted[:, done - self._first :], done

    def _bounds(self, number: int) -> tuple[int, int]:
        """Return the first sample of a block of the standard and the one after its last; they overlap by 75 %."""
        start = number * (1.0 - BLOCK_OVERLAP)
        return int(BLOCK_SECONDS * start * self._rate), int(BLOCK_SECONDS * (start + 1) * self._rate)

    def _square(self, start: int, stop: int) -> None:
        part = self._weighted[:, start - self._first : stop - self._first]
        self._powers.append(np.square(part).sum(axis=1) / (BLOCK_SECONDS * self._rate))

    def loudness(self) -> float:
        """Return the integrated loudness of all that was added, in LUFS."""
        needed = math.ceil(BLOCK_SECONDS * self._rate)
        if self._samples < needed:
            channels = max(len(self._weighted), 1)
            self.add(np.zeros((channels, needed - self._samples), np.float32))
        seconds = self._samples / self._rate
        count = int(np.round((seconds - BLOCK_SECONDS) / (BLOCK_SECONDS * (1.0 - BLOCK_OVERLAP)))) + 1
        while len(self._powers) < count:  # the last may end behind the signal
            self._square(*self._bounds(len(self._powers)))
        powers = np.array(self._powers[:count], np.float64) @ np.array(CHANNEL_WEIGHTS[: len(self._powers[0])])
        with np.errstate(divide="ignore"):
            loudness = OFFSET_LUFS + 10.0 * np.log10(powers)
        audible = loudness >= SILENCE_LUFS
        if not audible.any():
            return -math.inf
        gate = OFFSET_LUFS + 10.0 * math.log10(powers[audible].mean()) - GATE_LU
        return OFFSET_LUFS + 10.0 * math.log10(powers[audible & (loudness > gate)].mean())


def true_peak(signal: np.ndarray, sample_rate: int) -> float:
    """Return the peak of a signal between its samples as well, at four times the rate, in dBFS; -inf for silence."""
    return true_peak_of_blocks([signal], sample_rate)


def true_peak_of_blocks(blocks: Iterable[np.ndarray], sample_rate: int) -> float:
    """Return the peak of a signal that comes in blocks, as `true_peak` does."""
    import soxr

    resampler: Any = None
    peak = 0.0
    for block in reblocked(blocks):
        channels = len(block)
        resampler = resampler or soxr.ResampleStream(
            sample_rate, 4 * sample_rate, channels, dtype="float32", quality="HQ"
        )
        between = resampler.resample_chunk(np.ascontiguousarray(block.T))
        peak = max(peak, float(np.abs(between).max(initial=0.0)), float(np.abs(block).max(initial=0.0)))
    if resampler is not None:
        rest = resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True)
        peak = max(peak, float(np.abs(rest).max(initial=0.0)))
    return 20 * math.log10(peak) if peak else -math.inf


def normalise(signal: np.ndarray, sample_rate: int, target_lufs: float) -> np.ndarray:
    """Bring a signal to a loudness as `normalised` does."""
    return normalised(Take([signal]), sample_rate, target_lufs).signal()


def normalised(take: Take, sample_rate: int, target_lufs: float) -> Take:
    """Bring a take to a loudness, its true peaks limited to TRUE_PEAK_DB; silence stays as it is.

    Where the target is out of reach (clicks in silence: all of their loudness is peaks), the nearest loudness is taken.
    """
    if not math.isfinite(measure_blocks(take.blocks(), sample_rate)):
        return take
    ceiling_db, excess_db = CEILING_DB, 0.0
    for _ in range(CEILINGS):
        ceiling_db -= excess_db
        gain_db = _nearest_gain(take, sample_rate, target_lufs, ceiling_db)
        louder = Take(_amplified(take, gain_db, sample_rate, ceiling_db))
        excess_db = true_peak_of_blocks(louder.blocks(), sample_rate) - TRUE_PEAK_DB
        if excess_db <= 0:
            return louder
    factor = np.float32(10 ** (-excess_db / 20))
    return louder.changed(lambda block: block * factor)


def _nearest_gain(take: Take, sample_rate: int, target_lufs: float, ceiling_db: float) -> float:
    """Return the gain in dB that brings a take nearest to a loudness, its samples limited to `ceiling_db` dBFS.

    Limiting takes loudness away. What is missing is made up for by the secant method, with at most MAX_GAIN_DB.
    """

    def loudness_at(gain_db: float) -> float:
        return measure_blocks(_amplified(take, gain_db, sample_rate, ceiling_db), sample_rate)

    gain_db, slope = 0.0, 1.0  # slope: LU for each dB of gain
    loudness = loudness_at(gain_db)
    nearest = (abs(target_lufs - loudness), gain_db)
    for _ in range(CORRECTIONS):
        next_db = min(gain_db + (target_lufs - loudness) / slope, MAX_GAIN_DB)
        if abs(target_lufs - loudness) < TOLERANCE or next_db == gain_db:
            break
        next_loudness = loudness_at(next_db)
        slope = min(max((next_loudness - loudness) / (next_db - gain_db), LEAST_SLOPE), 1.0)
        gain_db, loudness = next_db, next_loudness
        nearest = min(nearest, (abs(target_lufs - loudness), gain_db))
    return nearest[1]


def _amplified(take: Take, gain_db: float, sample_rate: int, ceiling_db: float) -> Iterator[np.ndarray]:
    """Raise a take by a gain and limit it."""
    factor = np.float32(10 ** (gain_db / 20))
    return limit((block * factor for block in take.blocks()), sample_rate, ceiling_db)
