"""Features of a roll by a fixed random convolutional network.

Random embeddings serve where no trained network knows the subject (Naeem et al., arXiv 2002.09797), and they come from
a seed, not from a download. The network has three inputs: the loudness; the loudness weighted by the height of the
key, so that a transposed roll looks different; and the difference of the channels. The features are the mean and the
standard deviation of every layer's feature maps.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from musigan.rolls.loudness import compress

SEED = 20221
# (maps, kernel in keys, kernel in frames, stride in keys, stride in frames)
LAYERS = ((24, 5, 9, 2, 4), (32, 3, 5, 2, 2), (64, 3, 3, 2, 2))
INPUTS = 3


@lru_cache(maxsize=1)
def _weights() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Draw (weights (inputs * kernel, maps), bias (maps,)) of every layer, at He's scale (arXiv 1502.01852)."""
    generator = np.random.default_rng(SEED)
    layers, inputs = [], INPUTS
    for maps, keys, frames, _, _ in LAYERS:
        fan_in = inputs * keys * frames
        weight = generator.standard_normal((fan_in, maps), np.float32) * np.float32(np.sqrt(2 / fan_in))
        layers.append((weight, generator.standard_normal(maps, np.float32) * np.float32(0.1)))
        inputs = maps
    return tuple(layers)


def random_features(roll: np.ndarray) -> np.ndarray:
    """Return features (D,) float32 of a roll (C, K, T)."""
    loudness = compress(roll)
    mean_loudness = loudness.mean(axis=0)
    height = np.linspace(-1, 1, mean_loudness.shape[0], dtype=np.float32)[:, None]
    difference = loudness[0] - loudness[-1]
    maps = np.stack((mean_loudness, mean_loudness * height, difference))
    features = []
    for (weight, bias), (_, keys, frames, key_stride, frame_stride) in zip(_weights(), LAYERS, strict=True):
        padding = max(keys - maps.shape[1], 0), max(frames - maps.shape[2], 0)
        maps = np.pad(maps, ((0, 0), (0, padding[0]), (0, padding[1]))) if any(padding) else maps
        windows = np.lib.stride_tricks.sliding_window_view(maps, (keys, frames), axis=(1, 2))
        windows = windows[:, ::key_stride, ::frame_stride].transpose(1, 2, 0, 3, 4)
        activations = windows.reshape(windows.shape[0] * windows.shape[1], -1) @ weight + bias
        np.maximum(activations, 0, out=activations)
        features += [activations.mean(axis=0), activations.std(axis=0)]
        maps = activations.T.reshape(-1, windows.shape[0], windows.shape[1])
    return np.concatenate(features)
