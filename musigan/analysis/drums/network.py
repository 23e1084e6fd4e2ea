"""The network that hears drums: a body of convolutions (analysis/convolving.py), told what the whole song is like.

Conventions: features are float32 (T, F), activations (T, D) the probabilities that a drum is struck in a frame. Weights
beyond the body's: `song.weight` (2 H, H), `song.bias`, `output.weight` (H, D), `output.bias`. The song's mean and
deviation of all hidden values say how much of what sounds is drums at all.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np

from musigan.analysis.convolving import Weights, elu, hidden_values, load_weights, pooled


@cache
def shipped_weights() -> Weights:
    """Return the weights that come with the package (benchmarks/learn_drums.py makes them)."""
    with resources.as_file(resources.files("musigan.analysis.drums") / "weights.npz") as path:
        return load_weights(path)


def activations(features: np.ndarray, weights: Weights) -> np.ndarray:
    """Return the probability of each drum in each frame, (T, D), for features (T, F)."""
    hidden = hidden_values(features, weights)
    song = pooled(elu(hidden)) @ weights["song.weight"] + weights["song.bias"]
    logits = elu(hidden + song) @ weights["output.weight"] + weights["output.bias"]
    return np.asarray(1 / (1 + np.exp(-logits)))
