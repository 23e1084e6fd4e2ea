"""Rolls that are read a part at a time, so that a piece of any length takes the memory of some minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

PART_FRAMES = 6000  # 120 s at 20 ms


@dataclass(frozen=True)
class RollParts:
    """A roll (C, K, T) that is not held as a whole; `read(first, stop)` returns frames of it, float32 (C, K, n)."""

    shape: tuple[int, int, int]
    read: Callable[[int, int], np.ndarray]

    @classmethod
    def of(cls, roll: np.ndarray) -> RollParts:
        """Return the parts of a roll (C, K, T)."""
        channels, keys, frames = roll.shape
        return cls((channels, keys, frames), lambda first, stop: roll[..., first:stop])

    @property
    def frames(self) -> int:
        return self.shape[-1]

    def channels(self, chosen: slice) -> RollParts:
        """Select channels."""
        count = len(range(self.shape[0])[chosen])
        return replace(self, shape=(count, *self.shape[1:]), read=lambda first, stop: self.read(first, stop)[chosen])

    def parts(self) -> Iterator[np.ndarray]:
        """Yield all frames from front to back, (C, K, n) each."""
        for first in range(0, self.frames, PART_FRAMES):
            yield self.read(first, min(first + PART_FRAMES, self.frames))

    def whole(self) -> np.ndarray:
        """Return the roll in one piece, (C, K, T)."""
        return np.concatenate([np.zeros((*self.shape[:2], 0), np.float32), *self.parts()], axis=-1)
