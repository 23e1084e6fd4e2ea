"""The network that hears drums: a body of convolutions (analysis/convolving.py), told what the whole song is like.

Conventions: features are float32 (T, F), activations (T, D + 2) the probabilities that each drum of the kit is struck
in a frame, that other percussion is, and that a kit plays within two seconds. Weights beyond the body's: `song.weight`
(2 H, H), `song.bias`, `output.weight` (H, D + 2), `output.bias`. Mean and deviation of all hidden values over the song
say how much of what sounds is drums at all.
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
    """Return the probabilities in each frame, (T, D + 2), for features (T, F)."""
    hidden = hidden_values(features, weights)
    song = pooled(elu(hidden)) @ weights["song.weight"] + weights["song.bias"]
    logits = elu(hidden + song) @ weights["output.weight"] + weights["output.bias"]
    return np.asarray(1 / (1 + np.exp(-logits)))
