"""A temporal convolutional network in NumPy, after Davies and Böck (EUSIPCO 2019): the body of what hears beats, drums.

Conventions: features are float32 (T, F), hidden values (T, H). Every layer keeps T; zeros stand behind both ends.
Weights are a mapping of arrays: `mean`, `scale` (F,), `input.weight` (taps, F, H), `input.bias`, then for block n
`n.weight` (taps, H, H), `n.bias`, `n.mix` (H, H). The dilation of block n is 2 ** n.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

Weights = Mapping[str, np.ndarray]


def load_weights(path: Path) -> Weights:
    """Return the arrays of a weights file, as float32; nothing in it is run."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def hidden_values(features: np.ndarray, weights: Weights) -> np.ndarray:
    """Return the values after the last block, (T, H), for features (T, F)."""
    inputs = (features - weights["mean"]) * weights["scale"]
    hidden = elu(convolve(inputs, weights["input.weight"], 1) + weights["input.bias"])
    block = 0
    while f"{block}.weight" in weights:
        wide = elu(convolve(hidden, weights[f"{block}.weight"], 1 << block) + weights[f"{block}.bias"])
        hidden += wide @ weights[f"{block}.mix"]
        block += 1
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
