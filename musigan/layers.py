"""Layers that several models share: roll packing, residual blocks, a transformer, minibatch statistics.

Shapes: B batch, C channels, K keys, T frames, L latent steps (tokens), D features. Nothing here mixes the samples of
a batch except `minibatch_deviation` and `MinibatchDiscrimination`, which only critics use.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm as _spectral_norm

PITCH_CLASSES = 12


def channels_last(networks: nn.ModuleDict) -> nn.ModuleDict:
    """Lay out the networks' weights with channels last, in place, which makes convolutions on a CPU faster."""
    for network in networks.values():
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return networks


def pad_roll(roll: Tensor, keys: int, frames: int) -> Tensor:
    """Pad (B, C, K, T) with zeros above the highest key and after the last frame, to (B, C, keys, frames)."""
    return F.pad(roll, (0, frames - roll.shape[-1], 0, keys - roll.shape[-2]))


def pack(roll: Tensor, patch_keys: int, patch_frames: int) -> Tensor:
    """Move patches of keys by frames into channels: (B, C, K, T) -> (B, C*pk*pt, K/pk, T/pt)."""
    batch, channels, keys, frames = roll.shape
    grid = roll.reshape(batch, channels, keys // patch_keys, patch_keys, frames // patch_frames, patch_frames)
    grid = grid.permute(0, 1, 3, 5, 2, 4)  # (B, C, pk, pt, K/pk, T/pt)
    return grid.reshape(batch, -1, keys // patch_keys, frames // patch_frames)


def unpack(grid: Tensor, channels: int, patch_keys: int, patch_frames: int) -> Tensor:
    """Invert `pack`: (B, C*pk*pt, K/pk, T/pt) -> (B, C, K, T)."""
    batch, _, rows, columns = grid.shape
    roll = grid.reshape(batch, channels, patch_keys, patch_frames, rows, columns)
    roll = roll.permute(0, 1, 4, 2, 5, 3)  # (B, C, K/pk, pk, T/pt, pt)
    return roll.reshape(batch, channels, rows * patch_keys, columns * patch_frames)


def chroma(roll: Tensor, frames: int) -> Tensor:
    """Return loudness by pitch class: (B, C, K, T) -> (B, T / frames, C * 12).

    Octaves are summed and `frames` frames averaged. Pitch classes are counted from the lowest key.
    """
    keys = -(-roll.shape[2] // PITCH_CLASSES) * PITCH_CLASSES
    padded = pad_roll(roll, keys, -(-roll.shape[3] // frames) * frames)
    folded = (
        padded.unflatten(2, (-1, PITCH_CLASSES)).unflatten(4, (-1, frames)).mean(5).sum(2)
    )  # (B, C, 12, T / frames)
    return folded.flatten(1, 2).transpose(1, 2)


def hard_gate(logits: Tensor) -> Tensor:
    """Return 1 where a logit is above 0, else exactly 0; the gradient is the sigmoid's (straight-through).

    Binary neurons as in BinaryMuseGAN (arXiv 1804.09399, section 3.2, the deterministic kind).
    """
    soft = torch.sigmoid(logits)
    return (logits > 0).to(soft.dtype) + soft - soft.detach()


def stochastic_gate(logits: Tensor) -> Tensor:
    """Return 1 with probability sigmoid(logit), else exactly 0; the gradient is the sigmoid's (straight-through).

    Binary neurons of the stochastic kind (arXiv 1804.09399, section 3.2).
    """
    soft = torch.sigmoid(logits)
    return (torch.rand_like(soft) < soft).to(soft.dtype) + soft - soft.detach()


def limit(values: Tensor) -> Tensor:
    """Clip to [0, 1]; outside, pass the gradient unchanged, but only where a descent step leads back inside."""
    return _Limit.apply(values)


class _Limit(torch.autograd.Function):
    """Clip whose gradient survives outside the range."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        """Clip values of any shape."""
        ctx.save_for_backward(values)
        return values.clamp(0.0, 1.0)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        """Return the gradient, shaped like the values; 0 where a descent step would lead further outside."""
        (values,) = ctx.saved_tensors
        # A descent step moves against the gradient: keep it where that leads up from below 0 or down from above 1.
        stuck = ((values < 0) & (gradient > 0)) | ((values > 1) & (gradient < 0))
        return gradient.masked_fill(stuck, 0.0)


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


def rotary(tokens: Tensor, first: int = 0) -> Tensor:
    """Apply rotary positions (arXiv 2104.09864) to (B, H, L, D): attention depends on the distance of two tokens.

    `first` is the position of the first token.
    """
    length, width = tokens.shape[-2:]
    frequencies = 10000.0 ** (-torch.arange(0, width, 2, device=tokens.device) / width)  # (D/2)
    angles = torch.arange(first, first + length, device=tokens.device)[:, None] * frequencies  # (L, D/2)
    cos, sin = angles.cos().to(tokens.dtype), angles.sin().to(tokens.dtype)
    even, odd = tokens[..., 0::2], tokens[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)  # (B, H, L, D)


KeyValueCache = list[tuple[Tensor, Tensor]]  # cached keys and values by layer: (B, H, L, D/H)


class TransformerLayer(nn.Module):
    """Pre-norm attention and feed-forward, both scaled and shifted by an embedding: (B, L, D) -> (B, L, D)."""

    def __init__(self, width: int, heads: int, style_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.feed_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.style = nn.Linear(style_dim, 4 * width)
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        for layer in (self.merge, self.feed[2]):
            nn.init.normal_(layer.weight, std=0.02)  # type: ignore[arg-type]

    def forward(
        self, tokens: Tensor, style: Tensor, mask: Tensor, before: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Transform tokens (B, L, D) under the embedding `style` (B, S).

        `mask` (L, M + L) is True where a token may attend; `before`: cached keys and values of M earlier tokens.
        """
        batch, length, width = tokens.shape
        scale, shift, scale2, shift2 = self.style(style)[:, None].chunk(4, -1)  # each (B, 1, D)
        inner = self.attention_norm(tokens) * (1 + scale) + shift
        heads = self.project(inner).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)  # each (B, H, L, D/H)
        first = 0 if before is None else before[0].shape[2]
        query, key = rotary(query, first), rotary(key, first)
        if before is not None:
            key, value = torch.cat((before[0], key), 2), torch.cat((before[1], value), 2)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        tokens = tokens + self.merge(attended.transpose(1, 2).reshape(batch, length, width))
        return tokens + self.feed(self.feed_norm(tokens) * (1 + scale2) + shift2)

    def cache_keys_values(self, tokens: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """Cache keys, at positions from 0, and values of tokens (B, L, D) for later tokens to attend to."""
        batch, length, _ = tokens.shape
        scale, shift = self.style(style)[:, None].chunk(4, -1)[:2]
        inner = self.attention_norm(tokens) * (1 + scale) + shift
        heads = self.project(inner).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return rotary(heads[1]), heads[2]


class Transformer(nn.Module):
    """Stack of layers in which a token attends to its neighbours up to `reach` tokens away, at any length."""

    def __init__(self, width: int, layers: int, heads: int, reach: int, style_dim: int) -> None:
        super().__init__()
        self.reach = reach
        self.layers = nn.ModuleList(TransformerLayer(width, heads, style_dim) for _ in range(layers))

    def forward(self, tokens: Tensor, style: Tensor, memory: KeyValueCache | None = None) -> Tensor:
        """Transform tokens (B, L, D), style (B, S) -> (B, L, D); `memory` is the cache of earlier tokens."""
        positions = torch.arange(0 if memory is None else -memory[0][0].shape[2], tokens.shape[1], device=tokens.device)
        mask = (positions[-tokens.shape[1] :, None] - positions[None]).abs() <= self.reach  # (L, M + L)
        for number, layer in enumerate(self.layers):
            tokens = layer(tokens, style, mask, None if memory is None else memory[number])
        return tokens

    def cache_keys_values(self, tokens: Tensor, style: Tensor) -> KeyValueCache:
        """Cache keys and values of tokens (B, L, D) for later tokens to attend to.

        These tokens attend only to each other.
        """
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        mask = (positions[:, None] - positions[None]).abs() <= self.reach  # (L, L)
        memory = []
        for number, layer in enumerate(self.layers, 1):
            assert isinstance(layer, TransformerLayer)
            memory.append(layer.cache_keys_values(tokens, style))
            if number < len(self.layers):
                tokens = layer(tokens, style, mask)
        return memory


def minibatch_deviation(features: Tensor, group: int = 4) -> Tensor:
    """Return the standard deviation over a group of samples, averaged over features: (B, D) -> (B, 1).

    A critic that sees it can distinguish a batch of lookalikes from real variety (arXiv 1710.10196, section 3). Groups
    are neighbours in the batch; a batch that does not divide into groups is one group.
    """
    batch = features.shape[0]
    size = group if batch % group == 0 else batch
    grouped = features.reshape(batch // size, size, -1)  # (groups, size, D)
    deviation = (grouped.var(1, unbiased=False) + 1e-8).sqrt().mean(1)  # (groups)
    return deviation.repeat_interleave(size)[:, None]


class MinibatchDiscrimination(nn.Module):
    """Closeness of each sample to the others in learned projections: (B, D) -> (B, D + projections).

    arXiv 1606.03498, section 3.2. The sum over the others is a mean here, so that batch size does not scale it.
    """

    def __init__(self, features: int, projections: int, width: int) -> None:
        super().__init__()
        self.projections = projections
        self.project = nn.Linear(features, projections * width, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Append each sample's closeness to the others to its features (B, D)."""
        batch = features.shape[0]
        projected = self.project(features).reshape(batch, self.projections, -1)  # (B, P, W)
        distance = (projected[None] - projected[:, None]).abs().sum(-1)  # (B, B, P)
        closeness = (torch.exp(-distance).sum(0) - 1) / max(batch - 1, 1)  # (B, P), without the sample itself
        return torch.cat((features, closeness), 1)


class Heads(nn.ModuleDict):
    """Linear heads for what a critic predicts besides real or fake: features (B, D) -> {name: (B, 1)}."""

    def __init__(self, features: int, names: Iterable[str]) -> None:
        super().__init__({name: nn.Linear(features, 1) for name in names})

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Predict every head's value from features (B, D)."""
        return {name: head(features) for name, head in self.items()}


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
