"""The network that hears beats and downbeats: a body of convolutions (analysis/convolving.py) with two heads.

Conventions: features are float32 (T, F), activations (T, 2) are the logits that a beat, and that a downbeat, falls in a
frame. Weights beyond the body's: `output.weight` (H, 2), `output.bias`, `tempo.weight` (2 H, N), `tempo.bias`.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np

from musigan.analysis.convolving import Weights, elu, hidden_values, load_weights, pooled


@cache
def shipped_weights() -> Weights:
    """Return the weights that come with the package (benchmarks/learn_beats.py makes them)."""
    with resources.as_file(resources.files("musigan.analysis.beats") / "weights.npz") as path:
        return load_weights(path)


def activations(features: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits (T, 2) of beat and downbeat, and those of the tempo (N,), for features (T, F)."""
    last = elu(hidden_values(features, weights))
    beats = last @ weights["output.weight"] + weights["output.bias"]
    if not len(last):
        return beats, weights["tempo.bias"]
    return beats, pooled(last) @ weights["tempo.weight"] + weights["tempo.bias"]
