"""Takes: finished stretches of sound of any length, in memory while they are short, else in a temporary file.

Conventions: a signal is float32 (C, S); its blocks, (C, n), follow each other in time. A take is read as often as
needed, in blocks of BLOCK_SAMPLES, so that an hour of sound takes no more memory than some minutes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from functools import reduce
from typing import IO

import numpy as np

from musigan.errors import AudioError
from musigan.files.atomic import write_error

BLOCK_SAMPLES = 1 << 18
MOST_BYTES = 1 << 26  # in memory: three minutes of stereo at 44.1 kHz

Change = Callable[[np.ndarray], np.ndarray]


class Take:
    """A stretch of sound, recorded from its blocks.

    Raises AudioError where a long one finds no room for its file.
    """

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        self.channels, self.samples = 1, 0
        self._kept: list[np.ndarray] = []
        self._file: IO[bytes] | None = None  # holds all blocks, once there are too many for memory
        self._change: Change | None = None
        self._stored_channels = 1
        for block in reblocked(blocks):
            self._keep(block)

    def _keep(self, block: np.ndarray) -> None:
        """Append a block of BLOCK_SAMPLES, or the last one."""
        self._stored_channels = self.channels = len(block)
        self.samples += block.shape[1]
        self._kept.append(block)
        if self._file is not None or 4 * self.channels * self.samples > MOST_BYTES:
            self._file = self._move_to_file()

    def _move_to_file(self) -> IO[bytes]:
        try:
            file = self._file or tempfile.TemporaryFile(prefix="musigan-")  # noqa: SIM115  open as long as the take
            for block in self._kept:
                file.write(block.data)
            file.flush()
        except OSError as error:
            raise write_error(f"a temporary file in {tempfile.gettempdir()}", AudioError, error) from error
        self._kept = []
        return file

    def changed(self, change: Change) -> Take:
        """Return the take with each of its samples changed on its own, as it is read; the channels may change."""
        changed, before = copy(self), self._change
        changed._change = change if before is None else lambda block: change(before(block))
        changed.channels = len(change(np.zeros((self.channels, 1), np.float32)))
        return changed

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Yield the samples from `start` to `stop`, by default all, in blocks; an empty one where there are none."""
        stop = self.samples if stop is None else min(stop, self.samples)
        if start >= stop:
            yield np.zeros((self.channels, 0), np.float32)
            return
        for number in range(start // BLOCK_SAMPLES, -(-stop // BLOCK_SAMPLES)):
            first = number * BLOCK_SAMPLES
            part = self._block(number)[:, max(start - first, 0) : stop - first]
            yield part if self._change is None else self._change(part)

    def _block(self, number: int) -> np.ndarray:
        if self._file is None:
            return self._kept[number]
        size = 4 * self._stored_channels * BLOCK_SAMPLES
        self._file.seek(number * size)
        return np.frombuffer(self._file.read(size), np.float32).reshape(self._stored_channels, -1)

    def signal(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the samples from `start` to `stop`, by default all, in one piece (C, S)."""
        return np.concatenate(list(self.blocks(start, stop)), axis=1)

    @property
    def peak(self) -> float:
        """The largest absolute value of its samples; 0 where there are none."""
        return max(float(np.abs(block).max(initial=0.0)) for block in self.blocks())

    def quantile(self, share: float) -> float:
        """Return the quantile of the absolute values of all samples, for a share close to 1; 0 where there are none."""
        count = self.samples * self.channels
        if not count:
            return 0.0
        place = (count - 1) * share
        below = int(place)
        largest = np.zeros(0, np.float32)  # of those so far, as many as lie above the place in the end, and at it
        for block in self.blocks():
            largest = np.sort(np.concatenate((largest, np.abs(block).ravel())))[-(count - below) :]
        low, high = float(largest[0]), float(largest[min(1, largest.size - 1)])
        return low + (high - low) * (place - below)


class Recorder:
    """A take in the making, to which blocks (C, n) are added as they come."""

    def __init__(self) -> None:
        self._take, self._waiting, self._size = Take([]), list[np.ndarray](), 0

    @property
    def samples(self) -> int:
        """Samples so far."""
        return self._take.samples + self._size

    def add(self, block: np.ndarray) -> None:
        """Append a block. Raises AudioError where a long take finds no room for its file."""
        self._waiting.append(block)
        self._size += block.shape[1]
        if self._size >= BLOCK_SAMPLES:
            blocks = list(reblocked(self._waiting))
            self._waiting = [blocks.pop()] if blocks[-1].shape[1] < BLOCK_SAMPLES else []
            self._size = sum(rest.shape[1] for rest in self._waiting)
            for whole in blocks:
                self._take._keep(whole)

    def finish(self) -> Take:
        """Return the take."""
        for rest in reblocked(self._waiting):
            self._take._keep(rest)
        self._waiting, self._size = [], 0
        return self._take


def reblocked(blocks: Iterable[np.ndarray], samples: int = 0) -> Iterator[np.ndarray]:
    """Yield blocks anew, each of `samples`, by default BLOCK_SAMPLES, the last of the rest.

    One that is empty is yielded where nothing else is.
    """
    samples = samples or BLOCK_SAMPLES
    kept: list[np.ndarray] = []
    size = 0
    is_first = True
    for block in blocks:
        kept.append(block)
        size += block.shape[1]
        if size < samples:
            continue
        whole = np.concatenate(kept, axis=1) if len(kept) > 1 else block
        for start in range(0, size - samples + 1, samples):
            yield np.array(
                whole[:, start : start + samples], np.float32, order="C"
            )  # a copy: what it is cut from is given back
            is_first = False
        kept, size = [whole[:, size - size % samples :]], size % samples
    if kept and (size or is_first):
        yield np.array(np.concatenate(kept, axis=1), np.float32, order="C")


def mixed(*signals: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Add up signals of the same length and number of channels, given and returned as blocks."""
    for parts in zip(*(reblocked(signal) for signal in signals), strict=True):
        yield reduce(np.add, parts)
