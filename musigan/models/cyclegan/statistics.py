"""Statistics of whole rolls, and where a kind of music stands in them.

A critic of patches a few seconds long learns late or never how songs of a kind are as a whole: their register, how
notes decay, how wide they sound and how regular their beat is. So rolls are also held against the mean and deviation of
such statistics. A song is not asked for the other kind's mean, but for the place there that it has among its own kind:
the widest folk song becomes one of the widest rock songs (the linear optimal transport of each statistic).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.packing import chroma
from musigan.losses.translation import QUIET
from musigan.models.cyclegan.pulse import rises

BAND_KEYS = 4  # keys in a band of loudness
REGISTER_KEYS = 22  # keys in a register of width, attack and decay
DECAY_FRAMES = 6  # frames between which decay is measured
BEAT_FRAMES = (12, 75)  # shortest and longest beat looked for
HARMONY_FRAMES = 5  # frames averaged in which harmony is seen to change
MOMENTUM = 0.02  # share of a new batch in means
NEARER = 0.7  # deviation that songs keep in the other kind, as a share of its own: the kinds' edges overlap
LEAST_DEVIATION = 0.02
FARTHEST = 4.0  # deviations from the mean that are told apart
LEAST_LEVEL = 0.1  # added to what ratios are of: hardly anything sounds in a register
# However many registers there are. What is struck again on the beat has more attack than what is played there.
WEIGHT_OF_BANDS = 2.0
WEIGHTS_BY_REGISTER = (1.0, 0.1, 1.0, 1.5)  # width, attack, fullness, decay
WEIGHTS_OF_ALL = (1.0, 0.5, 3.0, 1.0)  # loudness, its deviation, beat, harmony
FAINT = 0.2  # loudness in model space up to which a cell counts as sounding in part


def statistics(roll: Tensor) -> Tensor:
    """Return statistics of the pitched channels (B, C, K, T) of rolls in model space, differentiable: (B, N).

    The root of the loudness of each band; width, attack, fullness and decay of each register and of all; mean and
    deviation of the loudness of frames; the peak of the autocorrelation of onsets; how much harmony stays what it is.
    """
    frames = roll.shape[-1]
    middle = roll.mean(1)  # (B, K, T)
    level = middle.mean(-1)  # (B, K)
    rising = rises(middle)
    before, after = middle[..., :-DECAY_FRAMES], middle[..., DECAY_FRAMES:]
    is_held = ((before > 0) & (after > 0)).to(roll.dtype)
    pairs = (
        ((roll - middle[:, None]).abs().mean((1, 3)), level),  # width
        (rising.mean(-1), level),  # attack
        ((middle / FAINT).clamp(max=1).mean(-1), torch.ones_like(level)),  # how many keys sound
        (((before - after) * is_held).mean(-1), (before * is_held).mean(-1)),  # decay
    )
    ratios = []
    for above, below in pairs:
        upper, lower = _summed(above, REGISTER_KEYS), _summed(below, REGISTER_KEYS)
        ratios += [
            upper / (lower + LEAST_LEVEL),
            above.sum(1, keepdim=True) / (below.sum(1, keepdim=True) + LEAST_LEVEL),
        ]
    loudness = middle.square().sum(1).add(1e-6).sqrt()  # (B, T)
    onsets = F.avg_pool1d(rising.sum(1, keepdim=True), 3, 1, 1)[:, 0]
    onsets = onsets - onsets.mean(-1, keepdim=True)
    spectrum = torch.fft.rfft(onsets, 2 * frames)
    again = torch.fft.irfft(spectrum.abs().square(), 2 * frames)[:, : min(BEAT_FRAMES[1], frames)]
    beat = (again / (again[:, :1] + 1e-3))[:, min(BEAT_FRAMES[0], frames - 1) :].amax(1)
    classes = chroma(middle[:, None], HARMONY_FRAMES)  # (B, T', 12)
    likeness = F.cosine_similarity(classes[:, 2:], classes[:, :-2], dim=2, eps=QUIET)  # (B, T' - 2)
    harmony = likeness.sum(1) / max(likeness.shape[1], 1)
    deviation = (loudness.var(-1) + 1e-6).sqrt()  # the root has no slope at 0
    whole = torch.stack((loudness.mean(-1), deviation, beat, harmony), 1)
    bands = (_summed(level, BAND_KEYS) / BAND_KEYS + 1e-4).sqrt()
    return torch.cat((bands, *ratios, whole), 1)


def _summed(by_key: Tensor, size: int) -> Tensor:
    """Sum (B, K) over groups of `size` keys: (B, K / size, rounded up)."""
    groups = -(-by_key.shape[1] // size)
    return F.pad(by_key, (0, groups * size - by_key.shape[1])).unflatten(1, (groups, size)).sum(2)


def _registers(keys: int) -> int:
    return -(-keys // REGISTER_KEYS)


def _bands(keys: int) -> int:
    return -(-keys // BAND_KEYS)


def statistics_of(keys: int) -> int:
    """Return how many statistics there are of rolls of so many keys."""
    return _bands(keys) + 4 * (_registers(keys) + 1) + 4


class KindStatistics(nn.Module):
    """Running mean and deviation of the statistics of both kinds: buffers, which a checkpoint holds."""

    weight: Tensor
    mean: Tensor
    square: Tensor
    seen: Tensor
    over_ranks: ClassVar = {"mean": "mean", "square": "mean"}

    def __init__(self, pitched: int, keys: int) -> None:
        super().__init__()
        self.pitched = pitched
        registers, bands = _registers(keys), _bands(keys)
        weights = [WEIGHT_OF_BANDS / bands] * bands
        for weight in WEIGHTS_BY_REGISTER:
            weights += [0.5 * weight / registers] * registers + [0.5 * weight]
        weights += WEIGHTS_OF_ALL
        self.register_buffer("weight", torch.tensor(weights) / sum(weights), persistent=False)
        self.register_buffer("mean", torch.zeros(2, len(weights)))
        self.register_buffer("square", torch.zeros(2, len(weights)))
        self.register_buffer("seen", torch.zeros(2))

    def follow(self, roll: Tensor, kind: int) -> Tensor:
        """Return the statistics of real rolls (B, C, K, T) of `kind`, which mean and deviation follow in training."""
        found = statistics(roll[:, : self.pitched])
        if not torch.is_grad_enabled():
            return found
        with torch.no_grad():
            self.seen[kind] += 1
            share = max(MOMENTUM, 1 / float(self.seen[kind]))
            self.mean[kind].lerp_(found.mean(0), share)
            self.square[kind].lerp_(found.square().mean(0), share)
        return found

    def deviation(self, kind: int) -> Tensor:
        """Return the deviations of the statistics of a kind, (N)."""
        return (self.square[kind] - self.mean[kind].square()).clamp(min=LEAST_DEVIATION**2).sqrt()

    def measured(self, roll: Tensor) -> Tensor:
        """Return the statistics (B, N) of rolls (B, C, K, T) as deviations from the mean of both kinds."""
        deviation = torch.stack([self.deviation(kind).square() for kind in range(2)]).mean(0).sqrt()
        standard: Tensor = (statistics(roll[:, : self.pitched]) - self.mean.mean(0)) / deviation
        return standard.clamp(-FARTHEST, FARTHEST)

    def place(self, found: Tensor, to: int) -> Tensor:
        """Return the statistics (B, N) in kind `to` at the place that `found` has in the other kind."""
        place = ((found - self.mean[1 - to]) / self.deviation(1 - to)).clamp(-2.0, 2.0)
        return self.mean[to] + NEARER * self.deviation(to) * place

    def distance(self, roll: Tensor, wanted: Tensor, kind: int) -> Tensor:
        """Return the mean distance of rolls (B, C, K, T) from statistics (B, N) of `kind`, in its deviations."""
        off = (statistics(roll[:, : self.pitched]) - wanted) / self.deviation(kind)
        return (F.smooth_l1_loss(off, torch.zeros_like(off), reduction="none") * self.weight).sum(1).mean()


class KindTeller(nn.Module):
    """Tells the second kind from the first by standardised statistics: (B, N) -> logits (B).

    It learns from real music only, as the auxiliary classifier of StarGAN (arXiv 1711.09020). What is translated shall
    be taken for its kind by all statistics together, which their places one by one do not see to.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.straight = nn.Linear(size, 1)
        self.layers = nn.Sequential(nn.Linear(size, width), nn.LeakyReLU(0.2), nn.Linear(width, 1))

    def forward(self, found: Tensor) -> Tensor:
        """Return the logits of statistics (B, N)."""
        logits: Tensor = self.straight(found) + self.layers(found)
        return logits[:, 0]
