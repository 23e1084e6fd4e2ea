"""A temporal convolutional network in NumPy that hears beats and downbeats, after Davies and Böck (EUSIPCO 2019).

Conventions: features are float32 (T, F), activations (T, 2) are the logits that a beat, and that a downbeat, falls in a
frame. Every layer keeps T; zeros stand behind both ends. Weights are a mapping of arrays: `mean`, `scale` (F,),
`input.weight` (taps, F, C), `input.bias`, then for block n `n.weight` (taps, C, C), `n.bias`, `n.mix` (C, C), and
`output.weight` (C, 2), `output.bias`, `tempo.weight` (2 C, N), `tempo.bias`. The dilation of block n is 2 ** n.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

Weights = Mapping[str, np.ndarray]


@cache
def shipped_weights() -> Weights:
    """Return the weights that come with the package (benchmarks/learn_beats.py makes them)."""
    with resources.as_file(resources.files("musigan.analysis.beats") / "weights.npz") as path:
        return load_weights(path)


def load_weights(path: Path) -> Weights:
    """Return the arrays of a weights file, as float32; nothing in it is run."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def activations(features: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits (T, 2) of beat and downbeat, and those of the tempo (N,), for features (T, F)."""
    inputs = (features - weights["mean"]) * weights["scale"]
    hidden = elu(convolve(inputs, weights["input.weight"], 1) + weights["input.bias"])
    block = 0
    while f"{block}.weight" in weights:
        wide = elu(convolve(hidden, weights[f"{block}.weight"], 1 << block) + weights[f"{block}.bias"])
        hidden += wide @ weights[f"{block}.mix"]
        block += 1
    last = elu(hidden)
    beats = last @ weights["output.weight"] + weights["output.bias"]
    if not len(last):
        return beats, weights["tempo.bias"]
    pooled = np.concatenate((last.mean(axis=0), last.std(axis=0)))
    return beats, pooled @ weights["tempo.weight"] + weights["tempo.bias"]


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
