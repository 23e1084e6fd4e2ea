"""Transformer layers with rotary positions and local attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.convolution import KeyValueCache


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
