"""Layers that several models share: roll packing, residual blocks, a transformer, minibatch statistics.

Shapes: B batch, C channels, K keys, T frames, L latent steps (tokens), D features. Nothing here mixes the samples of
a batch except `minibatch_deviation` and `MinibatchDiscrimination`, which only critics use.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm as _spectral_norm

PITCH_CLASSES = 12


def normed(layer: nn.Module, spectral: bool) -> nn.Module:
    """Return `layer`, with spectral normalisation (arXiv 1802.05957) if `spectral`."""
    return _spectral_norm(layer) if spectral else layer


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with a skip: (B, D, K, T) -> (B, D, K, T).

    There is no normalisation. The second convolution starts at zero, so that a new block is the identity. Under
    spectral normalisation it starts small instead: the norm of a zero weight is undefined.
    """

    def __init__(self, width: int, spectral: bool = False, dilation: int = 1) -> None:
        super().__init__()
        conv_options: dict[str, Any] = {"padding": (1, dilation), "dilation": (1, dilation)}  # in time only
        self.first = normed(nn.Conv2d(width, width, 3, **conv_options), spectral)
        last = nn.Conv2d(width, width, 3, **conv_options)
        if not spectral:
            nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.last = normed(last, spectral)

    def forward(self, grid: Tensor) -> Tensor:
        """Transform a feature map (B, D, K, T)."""
        inner = self.first(F.leaky_relu(grid, 0.2))
        return grid + self.last(F.leaky_relu(inner, 0.2))


class DownBlock(nn.Module):
    """Residual block that halves the feature map, for critics: (B, D, K, T) -> (B, D', ceil(K/2), ceil(T/2))."""

    def __init__(self, width: int, out: int, spectral: bool = True) -> None:
        super().__init__()
        self.first = normed(nn.Conv2d(width, width, 3, padding=1), spectral)
        self.last = normed(nn.Conv2d(width, out, 3, padding=1, stride=2), spectral)
        self.skip = normed(nn.Conv2d(width, out, 1), spectral)

    def forward(self, grid: Tensor) -> Tensor:
        """Transform a feature map (B, D, K, T)."""
        inner = self.last(F.leaky_relu(self.first(F.leaky_relu(grid, 0.2)), 0.2))
        pooled = F.avg_pool2d(grid, 2, ceil_mode=True, count_include_pad=False)
        return (inner + self.skip(pooled)) * math.sqrt(0.5)


KeyValueCache = list[tuple[Tensor, Tensor]]  # cached keys and values by layer: (B, H, L, D/H)


class GaussianFilter(nn.Module):
    """Gaussian over keys and frames with learned widths: (B, C, K, T) -> (B, C, K, T), the total loudness preserved.

    Separable; exp(-n^2 / 2 width^2) over up to `REACH` neighbours n, normalised. What would pass an edge of the roll
    stays with the cell it came from and its neighbours. A width runs from 0, where nothing is changed, to a third of
    `REACH`, so that the part cut off (2.7 in 1,000 at most) is too small to see. Below about a quarter of a cell the
    neighbours' weights are too small to be learned any more: such a width stays as it is, and the filter does nothing.
    """

    REACH = (6, 12)  # keys, frames

    def __init__(self, width_keys: float = 0.5, width_frames: float = 0.5) -> None:
        super().__init__()
        shares = torch.tensor((width_keys, width_frames)) * 3 / torch.tensor(self.REACH)
        self.width_logits = nn.Parameter(torch.logit(shares))

    @property
    def reach_frames(self) -> int:
        """Frames on either side that a frame depends on: its neighbours, and their own normalisation at the edges."""
        return 2 * self.REACH[1]

    def widths(self) -> Tensor:
        """Return the standard deviations in keys and in frames: (2)."""
        reach = torch.tensor(self.REACH, device=self.width_logits.device)
        return torch.sigmoid(self.width_logits) * reach / 3 + 1e-3

    def forward(self, roll: Tensor) -> Tensor:
        """Smooth a roll (B, C, K, T)."""
        planes = roll.flatten(0, 1)[:, None]  # (B * C, 1, K, T)
        for dim, width, reach in zip((2, 3), self.widths(), self.REACH, strict=True):
            offsets = torch.arange(-reach, reach + 1, device=roll.device)
            weights = torch.exp(-0.5 * (offsets / width).square())
            shape = [1, 1, 1, 1]
            shape[dim] = -1
            kernel = (weights / weights.sum()).reshape(shape)
            padding = (reach, 0) if dim == 2 else (0, reach)
            shape[dim] = roll.shape[dim]
            coverage = F.conv2d(roll.new_ones(shape), kernel, padding=padding)  # less than 1 near an edge
            planes = F.conv2d(planes / coverage, kernel, padding=padding)
        return planes[:, 0].unflatten(0, roll.shape[:2])
