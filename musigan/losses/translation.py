"""Losses of music turned into another kind and back, on rolls (B, C, K, T) in model space."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from musigan.layers import chroma

HARMONY_FRAMES = 10  # averaged: 0.2 s, so that notes may move a little


def kept(roll: Tensor, target: Tensor) -> Tensor:
    """mean |roll - target| over the mean of the target's loudness: what was lost, as a share of what sounds.

    Cycle loss where `roll` went there and back, identity loss where it was of the wanted kind already (arXiv
    1703.10593, equations 2 and 5.2). Silence instead of the target costs nearly 1.
    """
    return (roll - target).abs().mean() / (target.mean() + 0.01)


def harmony(roll: Tensor, song: Tensor) -> Tensor:
    """1 - cosine of the pitch classes of `roll` and `song` in each 0.2 s, weighted by how loud the song is there.

    What may change is octave, rhythm within 0.2 s and loudness, channels and octaves summed; silence costs 1.
    """
    mine, theirs = (chroma(each.sum(1, keepdim=True), HARMONY_FRAMES) for each in (roll, song))  # (B, T', 12)
    loudness = theirs.sum(2)
    return ((1 - F.cosine_similarity(mine, theirs, dim=2, eps=1e-4)) * loudness).sum() / (loudness.sum() + 1e-4)
