"""Losses for translating music into another kind and back, on rolls (B, C, K, T) in model space."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from musigan.layers.packing import chroma

HARMONY_FRAMES = 10  # frames averaged, 0.2 s: notes may move a little
QUIET = 0.1  # loudness of all pitch classes together up to which it hardly matters how they are
ALIKE = 0.8  # cosine with the song from which on it counts as the same song


def l1_difference(roll: Tensor, target: Tensor) -> Tensor:
    """Return the L1 reconstruction error: mean |roll - target| over the mean of the target's loudness.

    It reads as the lost share of what sounds. Cycle loss where `roll` was translated there and back, identity loss
    where it was of the target kind already (arXiv 1703.10593, equations 2 and 5.2). Silence instead of the target costs
    nearly 1.
    """
    return (roll - target).abs().mean() / (target.mean() + 0.01)


def harmony(roll: Tensor, song: Tensor) -> Tensor:
    """Return 1 - cosine of the pitch classes of `roll` and `song` in each 0.2 s, weighted by the song's loudness there.

    Octave, rhythm within 0.2 s and loudness may change; channels and octaves are summed. Silence costs 1.
    """
    roll_chroma, song_chroma = (
        chroma(tensor.sum(1, keepdim=True), HARMONY_FRAMES) for tensor in (roll, song)
    )  # (B, T', 12)
    loudness = song_chroma.sum(2)
    # The cosine of what is nearly silent has no bounded slope.
    return ((1 - F.cosine_similarity(roll_chroma, song_chroma, dim=2, eps=QUIET)) * loudness).sum() / (
        loudness.sum() + 1e-4
    )


def likeness(roll: Tensor, song: Tensor) -> Tensor:
    """Return by how much the cosine of `roll` and `song`, all cells together, falls short of `ALIKE`, on average."""
    cosine = F.cosine_similarity(roll.flatten(1), song.flatten(1), dim=1, eps=1e-4)
    return (ALIKE - cosine).clamp(min=0).mean()
