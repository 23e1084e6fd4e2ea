"""A temporal convolutional network in NumPy, after Davies and Böck (EUSIPCO 2019): the body of what hears beats, drums.

Conventions: features are float32 (T, F), hidden values (T, H). Every layer keeps T; zeros stand behind both ends.
Weights are a mapping of arrays: `mean`, `scale` (F,), `input.weight` (taps, F, H), `input.bias`, then for block n
`n.weight` (taps, H, H), `n.bias`, `n.mix` (H, H). The dilation of block n is 2 ** n.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

Weights = Mapping[str, np.ndarray]

BLOCK_FRAMES = 1 << 14  # of a long song that are worked on at once: layers of hours at once take gigabytes


def load_weights(path: Path) -> Weights:
    """Return the arrays of a weights file, as float32; nothing in it is run."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def hidden_values(features: np.ndarray, weights: Weights) -> np.ndarray:
    """Return the values after the last block, (T, H), for features (T, F)."""
    frames, reach = len(features), _reach(weights)
    if frames <= BLOCK_FRAMES:
        return _hidden_values(features, weights)
    hidden = np.empty((frames, weights["input.weight"].shape[2]), np.float32)
    for first in range(0, frames, BLOCK_FRAMES):
        last, before = min(first + BLOCK_FRAMES, frames), min(first, reach)
        around = _hidden_values(features[first - before : last + reach], weights)
        hidden[first:last] = around[before : before + last - first]
    return hidden


def _blocks(weights: Weights) -> int:
    return next(block for block in itertools.count() if f"{block}.weight" not in weights)


def _reach(weights: Weights) -> int:
    """Return how many frames away from a frame what is heard there may depend on."""
    taps = [len(weights["input.weight"]), *(len(weights[f"{block}.weight"]) for block in range(_blocks(weights)))]
    return taps[0] // 2 + sum((count // 2) << block for block, count in enumerate(taps[1:]))


def _hidden_values(features: np.ndarray, weights: Weights) -> np.ndarray:
    inputs = (features - weights["mean"]) * weights["scale"]
    hidden = elu(convolve(inputs, weights["input.weight"], 1) + weights["input.bias"])
    for block in range(_blocks(weights)):
        wide = elu(convolve(hidden, weights[f"{block}.weight"], 1 << block) + weights[f"{block}.bias"])
        hidden += wide @ weights[f"{block}.mix"]
    return hidden


def pooled(values: np.ndarray) -> np.ndarray:
    """Return mean and deviation of values (T, H) over a song, (2 H,)."""
    return np.concatenate((values.mean(axis=0), values.std(axis=0)))


def convolve(inputs: np.ndarray, weight: np.ndarray, dilation: int) -> np.ndarray:
    """Return the dilated convolution of inputs (T, A) with weight (taps, A, B), centred: (T, B)."""
    frames, taps = len(inputs), len(weight)
    outputs = inputs @ weight[taps // 2]
    for tap in range(taps):
        shift = (tap - taps // 2) * dilation
        if shift < 0 and -shift < frames:
            outputs[-shift:] += inputs[:shift] @ weight[tap]
        elif 0 < shift < frames:
            outputs[:-shift] += inputs[shift:] @ weight[tap]
    return outputs


def elu(values: np.ndarray) -> np.ndarray:
    """Return max(x, 0) + min(exp(x) - 1, 0)."""
    result = np.minimum(values, 0)
    np.exp(result, out=result)
    result -= 1
    result += np.maximum(values, 0)
    return result
