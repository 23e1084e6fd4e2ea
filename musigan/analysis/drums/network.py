"""The network that hears drums: a body of convolutions (analysis/convolving.py), told what the whole song is like.

Conventions: features are float32 (T, F), probabilities (T, D) that each drum of the kit is struck in a frame. Weights
beyond the body's: `song.weight` (2 H, H), `song.bias`, `output.weight` (H, D + n), `output.bias`; the outputs after the
kit's are of use only while the network learns. Mean and deviation of all hidden values over the song say how much of
what sounds is drums at all.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np

from musigan.analysis.convolving import Weights, elu, hidden_values, load_weights, pooled
from musigan.rolls.kit import KIT


@cache
def shipped_weights() -> Weights:
    """Return the weights that come with the package (benchmarks/learn_drums.py makes them)."""
    with resources.as_file(resources.files("musigan.analysis.drums") / "weights.npz") as path:
        return load_weights(path)


def logits(features: np.ndarray, weights: Weights) -> np.ndarray:
    """Return the logits of strokes, (T, D), for features (T, F)."""
    hidden = hidden_values(features, weights)
    del features  # of hours they take more memory than all that comes
    song = pooled(elu(hidden)) @ weights["song.weight"] + weights["song.bias"]
    outputs = elu(hidden + song) @ weights["output.weight"] + weights["output.bias"]
    return np.asarray(outputs[:, : len(KIT)])
