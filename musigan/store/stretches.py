"""Stretches: the parts of a song that a keys store holds without a gap, read a window at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from musigan.store import ItemInfo, Reader


@dataclass(frozen=True)
class Stretch:
    """A part of an item that its pairs or chunks cover without a gap; overlapping ones are read once."""

    info: ItemInfo
    start_seconds: float  # of its first frame, in the song
    frames: int
    blocks: tuple[tuple[int, int], ...]  # pair or chunk, and its first frame in the stretch

    def read(self, reader: Reader, first: int, count: int) -> np.ndarray:
        """Read frames `first` to `first + count`, (C, K, count) float32; outside of the stretch there is silence."""
        span = _span(self.info)
        roll = np.zeros((*self.info.shape[-3:-1], count), np.float32)
        for index, begin in self.blocks:
            low, high = max(begin, first), min(begin + span, first + count, self.frames)
            if low < high:
                block = reader.block(self.info.name, index).reshape(-1, *self.info.shape[-3:])  # (parts, C, K, T)
                flat = block.transpose(1, 2, 0, 3).reshape(*roll.shape[:2], span)
                roll[..., low - first : high - first] = flat[..., low - begin : high - begin]
        return roll


def stretches_of(info: ItemInfo, frame_seconds: float) -> Iterator[Stretch]:
    """Yield the stretches of an item in the order of their times."""
    span = _span(info)
    starts = info.song.start_times(info.shape[0], span * frame_seconds)
    begins = [int(start / frame_seconds + 1e-6) for start in starts]
    end = _end(info, max(begins) + span, min(begins), frame_seconds)
    run: list[int] = []
    for index in sorted(range(len(begins)), key=begins.__getitem__):
        if run and begins[index] > begins[run[-1]] + span:
            yield _stretch(info, run, begins, starts, end)
            run = []
        run.append(index)
    yield _stretch(info, run, begins, starts, end)


def _stretch(info: ItemInfo, run: list[int], begins: list[int], starts: tuple[float, ...], end: int) -> Stretch:
    first, stop = begins[run[0]], min(begins[run[-1]] + _span(info), end)
    blocks = tuple((index, begins[index] - first) for index in run)
    return Stretch(info, float(starts[run[0]]), stop - first, blocks)


def _end(info: ItemInfo, covered: int, first: int, frame_seconds: float) -> int:
    """Return the frame at which the song ends: its last chunk may be padded."""
    seconds = info.song.seconds
    return min(covered, first + round(seconds / frame_seconds)) if seconds else covered


def _span(info: ItemInfo) -> int:
    """Return the number of frames in a pair or chunk."""
    return info.shape[-1] * (2 if len(info.shape) == 5 else 1)
