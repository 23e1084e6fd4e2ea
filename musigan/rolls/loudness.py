"""The space that networks see loudness in, and transposition."""

from __future__ import annotations

from typing import Literal

import numpy as np

Compression = Literal["sqrt", "log"]


LOG_RANGE = 99.0  # `log` spreads 40 dB over [0, 1]


def compress(loudness: np.ndarray, how: Compression = "sqrt") -> np.ndarray:
    """Convert linear loudness (1 is the song's level) to model space [0, 1], float32, any shape; 0 stays exactly 0."""
    clipped = np.clip(np.asarray(loudness, np.float32), 0.0, 1.0)
    if how == "sqrt":
        return np.asarray(np.sqrt(clipped))
    return np.asarray(np.log1p(LOG_RANGE * clipped) / np.float32(np.log1p(LOG_RANGE)), np.float32)


def expand(values: np.ndarray, how: Compression = "sqrt") -> np.ndarray:
    """Convert model space [0, 1] to linear loudness, the inverse of `compress`: float32, any shape."""
    clipped = np.clip(np.asarray(values, np.float32), 0.0, 1.0)
    if how == "sqrt":
        return np.asarray(np.square(clipped))
    return np.asarray(np.expm1(clipped * np.float32(np.log1p(LOG_RANGE))) / LOG_RANGE, np.float32)


def transpose(roll: np.ndarray, keys: int) -> np.ndarray:
    """Move a roll (C, K, T) up by `keys` (down if negative); keys moved in from outside are silent."""
    if keys == 0:
        return roll
    transposed = np.zeros_like(roll)
    if keys > 0:
        transposed[:, keys:] = roll[:, :-keys]
    else:
        transposed[:, :keys] = roll[:, -keys:]
    return transposed
