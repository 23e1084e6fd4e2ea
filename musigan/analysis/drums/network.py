"""The networks that hear drums: bodies of convolutions (analysis/convolving.py), told what the whole song is like.

Conventions: features are float32 (T, F), probabilities (T, D) that each drum of the kit is struck in a frame. Weights
beyond the body's: `song.weight` (2 H, H), `song.bias`, `output.weight` (H, D + n), `output.bias`; the outputs after the
kit's are of use only while a network learns. Mean and deviation of all hidden values over the song say how much of what
sounds is drums at all.

There are two: one that hears strokes, and one that learned beside them whether a kit plays at all. It misses more
strokes, but hears none where there is no kit. The mean of both is surer than either.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np

from musigan.analysis.convolving import Weights, elu, hidden_values, load_weights, pooled
from musigan.rolls.kit import KIT

FILES = ("strokes.npz", "playing.npz")


@cache
def shipped_weights() -> tuple[Weights, ...]:
    """Return the weights that come with the package (benchmarks/learn_drums.py makes them)."""
    return tuple(map(_shipped, FILES))


def _shipped(name: str) -> Weights:
    with resources.as_file(resources.files("musigan.analysis.drums") / name) as path:
        return load_weights(path)


def logits(features: np.ndarray, weights: Weights) -> np.ndarray:
    """Return the logits of one network's strokes, (T, D), for features (T, F)."""
    hidden = hidden_values(features, weights)
    song = pooled(elu(hidden)) @ weights["song.weight"] + weights["song.bias"]
    outputs = elu(hidden + song) @ weights["output.weight"] + weights["output.bias"]
    return np.asarray(outputs[:, : len(KIT)])


def probabilities(features: np.ndarray, networks: Sequence[Weights]) -> np.ndarray:
    """Return the probabilities of strokes, (T, D), by the mean of the networks' logits."""
    mean = np.mean([logits(features, weights) for weights in networks], axis=0)
    return np.asarray(1 / (1 + np.exp(-mean)))
