"""Signals of which each part is computed when it is asked for: hours of sound take no memory as float32.

Conventions: a signal is float32 (C, S), full scale 1. What analyses it asks for `signal[sides, begin:stop]` with two
slices, a block of samples at a time; an array is a signal, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from musigan.store.writing import Blocks

Float = npt.NDArray[np.float32]
BLOCK_SAMPLES = 1 << 17  # that are computed together: they fit the CPU cache


class Signal(Protocol):
    """An array (C, S), or what is read like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sides and samples."""

    def __getitem__(self, place: tuple[slice, slice]) -> Float:
        """Return some of the samples of some sides."""


@dataclass(frozen=True)
class ComputedSignal:
    """A signal (C, S) whose samples `part` computes, given sides, begin and stop."""

    shape: tuple[int, int]
    part: Callable[[slice, int, int], Float]

    def __getitem__(self, place: tuple[slice, slice]) -> Float:
        sides, samples = place
        begin, stop, _ = samples.indices(self.shape[1])
        return self.part(sides, begin, max(begin, stop))


def at_full_scale(samples: Blocks, level: float) -> ComputedSignal:
    """Return samples (C, S) of any type, times their level, as a signal."""

    def part(sides: slice, begin: int, stop: int) -> Float:
        block = samples[sides, begin:stop].astype(np.float32)
        block *= np.float32(level)
        return block

    return ComputedSignal((samples.shape[0], samples.shape[1]), part)


def with_sides(signal: Signal, count: int) -> Signal:
    """Return a signal with so many sides: as it is, or the mean of its sides in each."""
    if signal.shape[0] == count:
        return signal

    def part(sides: slice, begin: int, stop: int) -> Float:
        mean = signal[:, begin:stop].mean(axis=0, keepdims=True)
        return np.repeat(mean, count, axis=0)[sides]

    return ComputedSignal((count, signal.shape[1]), part)


def mixed(signal: Signal) -> Signal:
    """Return the mean of the sides of a signal (C, S), (1, S)."""
    return with_sides(signal, 1)


def means(signal: Signal) -> npt.NDArray[np.float64]:
    """Return the mean of each side, (C, 1), rounded as NumPy rounds that of the whole array."""
    sums = [_sum(signal, slice(side, side + 1)) for side in range(signal.shape[0])]
    return np.array(sums).reshape(-1, 1) / max(signal.shape[1], 1)


def _sum(signal: Signal, side: slice) -> float:
    total = 0.0
    for begin in range(0, signal.shape[1], BLOCK_SAMPLES):
        total = np.add.reduce(signal[side, begin : begin + BLOCK_SAMPLES], axis=None, dtype=np.float64, initial=total)
    return total


def is_silent(signal: Signal) -> bool:
    """Return whether all samples are 0."""
    begins = range(0, signal.shape[1], BLOCK_SAMPLES)
    return not any(signal[:, begin : begin + BLOCK_SAMPLES].any() for begin in begins)
