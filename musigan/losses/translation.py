"""Losses of music turned into another kind and back, on rolls (B, C, K, T) in model space."""

from __future__ import annotations

from torch import Tensor


def kept(roll: Tensor, target: Tensor) -> Tensor:
    """mean |roll - target| over the mean of the target's loudness: what was lost, as a share of what sounds.

    Cycle loss where `roll` went there and back, identity loss where it was of the wanted kind already (arXiv
    1703.10593, equations 2 and 5.2). Silence instead of the target costs nearly 1.
    """
    return (roll - target).abs().mean() / (target.mean() + 0.01)
