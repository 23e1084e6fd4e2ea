"""Features of a roll by a fixed random convolutional network.

Random embeddings serve where no trained network knows the subject (Naeem et al., arXiv 2002.09797), and they come from
a seed, not from a download. The network sees the loudness, the loudness weighted by the height of the key, so that a
transposed roll looks different, and the difference of the channels. Of every layer's maps the mean and the deviation
are kept.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from musigan.data import compress

SEED = 20221
# (maps, kernel in keys, kernel in frames, stride in keys, stride in frames)
LAYERS = ((24, 5, 9, 2, 4), (32, 3, 5, 2, 2), (64, 3, 3, 2, 2))
INPUTS = 3


@lru_cache(maxsize=1)
def _weights() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """(weights (inputs * kernel, maps), bias (maps,)) of every layer, of He's scale (arXiv 1502.01852)."""
    generator = np.random.default_rng(SEED)
    layers, inputs = [], INPUTS
    for maps, keys, frames, _, _ in LAYERS:
        fan = inputs * keys * frames
        weight = generator.standard_normal((fan, maps), np.float32) * np.float32(np.sqrt(2 / fan))
        layers.append((weight, generator.standard_normal(maps, np.float32) * np.float32(0.1)))
        inputs = maps
    return tuple(layers)


def random_features(roll: np.ndarray) -> np.ndarray:
    """Features (D,) float32 of a roll (C, K, T)."""
    loud = compress(roll)
    plane = loud.mean(axis=0)
    height = np.linspace(-1, 1, plane.shape[0], dtype=np.float32)[:, None]
    spread = loud[0] - loud[-1]
    maps = np.stack((plane, plane * height, spread))
    features = []
    for (weight, bias), (_, keys, frames, key_stride, frame_stride) in zip(_weights(), LAYERS, strict=True):
        short = max(keys - maps.shape[1], 0), max(frames - maps.shape[2], 0)
        maps = np.pad(maps, ((0, 0), (0, short[0]), (0, short[1]))) if any(short) else maps
        windows = np.lib.stride_tricks.sliding_window_view(maps, (keys, frames), axis=(1, 2))
        windows = windows[:, ::key_stride, ::frame_stride].transpose(1, 2, 0, 3, 4)
        rows = windows.reshape(windows.shape[0] * windows.shape[1], -1) @ weight + bias
        np.maximum(rows, 0, out=rows)
        features += [rows.mean(axis=0), rows.std(axis=0)]
        maps = rows.T.reshape(-1, windows.shape[0], windows.shape[1])
    return np.concatenate(features)
