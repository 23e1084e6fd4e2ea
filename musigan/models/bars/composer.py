"""Composer: draws the latents of music beat after beat, each by a short flow that knows all that came before.

A token is a beat: the latents of its four 16ths side by side. A causal transformer reads the finished beats, told by an
`Outline` where in the bar and the song each stands, and what it hears says what may come next; a small network turns
noise into the next beat in a few flow steps (a head as in arXiv 2406.11838, by a flow, 2210.02747). Besides the beat
before, it is shown the beats 1, 2, 4 and 8 bars earlier (lookback, Waite 2016) and the one that the plan says it is
like: what is to be repeated is finished and in sight when it matters. While it learns, its past is blurred by noise, so
that it bears its own small errors (as in arXiv 2407.01392).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.attention import rotary
from musigan.models.bars.settings import BarSettings
from musigan.rolls.outlines import FEATURES

BEAT_STEPS = 4  # latent steps in a beat
LOOKBACK_BARS = (1, 2, 4, 8)
TIME_FEATURES = 32  # sines, and as many cosines, of the flow's time
STYLES = 64  # embeddings: style 0 is any, those beyond the last share one
MEMORY_BEATS = 256  # of the past that is attended to when music is drawn


class Context(NamedTuple):
    """What is known of beats (B, N) besides their notes."""

    features: Tensor  # (B, N, FEATURES), of `Outline.features`
    lags: Tensor  # (B, N) beats back to the like bar, 0 where none is
    meter: Tensor  # (B) beats in a bar
    style: Tensor  # (B) number of the style, 0 for any

    @classmethod
    def of(cls, conditions: Mapping[str, Tensor]) -> Context:
        """Gather the conditions of a batch."""
        return cls(*(conditions[name] for name in cls._fields))

    @property
    def likeness(self) -> Tensor:
        """Likeness of each beat's bar and the one that the plan leads back to, (B, N, 1)."""
        column = FEATURES - 5
        return self.features[..., column : column + 1]


class CausalLayer(nn.Module):
    """Pre-norm attention to a beat and those before it, and feed-forward: (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 3 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(3 * width, width)
        )
        for layer in (self.merge, self.feed[3]):
            nn.init.normal_(layer.weight, std=0.02)  # type: ignore[arg-type]

    def forward(self, tokens: Tensor, memory: Memory | None = None) -> Tensor:
        """Transform tokens (B, N, D); with a memory they are one new beat, which is remembered."""
        batch, length, width = tokens.shape
        heads = self.project(self.attention_norm(tokens)).reshape(batch, length, 3, self.heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, N, D/H)
        if memory is None:
            attended = F.scaled_dot_product_attention(rotary(query), rotary(key), value, is_causal=True)
        else:
            key, value = memory.add(key, value)
            last = key.shape[2] - 1
            attended = F.scaled_dot_product_attention(rotary(query, last), rotary(key), value)
        tokens = tokens + self.merge(attended.transpose(1, 2).reshape(batch, length, width))
        return tokens + self.feed(self.feed_norm(tokens))


class Memory:
    """Keys and values of the last MEMORY_BEATS beats in one layer, before rotation: positions count from the first."""

    def __init__(self) -> None:
        self.key: Tensor | None = None
        self.value: Tensor | None = None

    def add(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add the newest beats' (B, H, N, D) and return all."""
        if self.key is not None and self.value is not None:
            key = torch.cat((self.key, key), 2)[:, :, -MEMORY_BEATS:]
            value = torch.cat((self.value, value), 2)[:, :, -MEMORY_BEATS:]
        self.key, self.value = key, value
        return key, value


class FlowHead(nn.Module):
    """Flow of single beats: noisy beat (..., D), time (...) and what the transformer heard (..., W) -> velocity."""

    def __init__(self, settings: BarSettings, beat_dim: int) -> None:
        super().__init__()
        width = settings.head_width
        self.beat_in = nn.Linear(beat_dim, width)
        self.condition = nn.Linear(settings.composer_width + 2 * TIME_FEATURES, width)
        self.style = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(settings.head_layers))
        self.first = nn.ModuleList(nn.Linear(width, width) for _ in range(settings.head_layers))
        self.last = nn.ModuleList(nn.Linear(width, width) for _ in range(settings.head_layers))
        self.beat_out = nn.Linear(width, beat_dim)
        for layer in (*self.style, *self.last, self.beat_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, beats: Tensor, time: Tensor, heard: Tensor) -> Tensor:
        """Return the velocity (..., D) at beats (..., D) and time (...), 0 noise and 1 music."""
        angles = time[..., None] * torch.logspace(0.0, 2.3, TIME_FEATURES, device=time.device)
        condition = F.silu(self.condition(torch.cat((heard, angles.sin(), angles.cos()), -1)))
        inner = self.beat_in(beats)
        width = inner.shape[-1:]
        for style, first, last in zip(self.style, self.first, self.last, strict=True):
            scale, shift, gate = style(condition).chunk(3, -1)
            update = last(F.silu(first(F.layer_norm(inner, width) * (1 + scale) + shift)))
            inner = inner + (1 + gate) * update
        velocity: Tensor = self.beat_out(F.layer_norm(inner, width) + condition)
        return velocity


class Composer(nn.Module):
    """Transformer over beats, and the flow that draws the next one. Beats are (B, N, D), standardised latents."""

    def __init__(self, settings: BarSettings, latent_dim: int) -> None:
        super().__init__()
        width, self.beat_dim = settings.composer_width, BEAT_STEPS * latent_dim
        self.beat_in = nn.Linear(self.beat_dim, width)
        self.lookback = nn.ModuleList(nn.Linear(self.beat_dim, width, bias=False) for _ in LOOKBACK_BARS)
        self.plan_in = nn.Linear(self.beat_dim, width, bias=False)
        self.plan_out = nn.Linear(self.beat_dim, width, bias=False)
        self.context_in = nn.Sequential(nn.Linear(FEATURES, 128), nn.SiLU(), nn.Linear(128, width))
        self.style_in = nn.Embedding(STYLES, width)
        nn.init.zeros_(self.style_in.weight)
        self.layers = nn.ModuleList(
            CausalLayer(width, settings.composer_heads, settings.composer_dropout)
            for _ in range(settings.composer_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = FlowHead(settings, self.beat_dim)

    def hear(self, past: Tensor, context: Context) -> Tensor:
        """Return what is heard before each of N beats, (B, N, W), from all of them, past (B, N, D).

        Beat n of the result knows the beats before n only.
        """
        before = F.pad(past, (0, 0, 1, 0))[:, :-1]
        sources = [earlier(past, bars * context.meter[:, None].expand_as(context.lags)) for bars in LOOKBACK_BARS]
        like = earlier(past, context.lags) * context.likeness
        return self._heard(before, sources, like, context, None)

    def hear_next(self, past: Tensor, context: Context, memory: list[Memory]) -> Tensor:
        """Return what is heard before beat N, (B, 1, W), after N finished ones (B, N, D), in the context of beat N."""
        count = past.shape[1]
        before = past[:, -1:] if count else past.new_zeros(len(context.meter), 1, self.beat_dim)

        def back(lags: Tensor) -> Tensor:
            """Return the beats `lags` (B) back, (B, 1, D); silence where there is none."""
            places = count - lags
            found = past[torch.arange(len(lags)), places.clamp(0, count - 1)] if count else before[:, 0]
            return (found * ((lags > 0) & (places >= 0))[:, None])[:, None]

        sources = [back(bars * context.meter) for bars in LOOKBACK_BARS]
        like = back(context.lags[:, 0]) * context.likeness
        return self._heard(before, sources, like, context, memory)

    def _heard(
        self, before: Tensor, sources: list[Tensor], like: Tensor, context: Context, memory: list[Memory] | None
    ) -> Tensor:
        tokens = self.beat_in(before) + self.context_in(context.features)
        tokens = tokens + self.style_in(context.style.clamp(max=STYLES - 1))[:, None] + self.plan_in(like)
        for layer, source in zip(self.lookback, sources, strict=True):
            tokens = tokens + layer(source)
        for number, layer in enumerate(self.layers):
            tokens = layer(tokens, None if memory is None else memory[number])
        heard: Tensor = self.norm(tokens) + self.plan_out(like)
        return heard

    def memory(self) -> list[Memory]:
        """Return the empty memory of all layers."""
        return [Memory() for _ in self.layers]


def earlier(beats: Tensor, lags: Tensor) -> Tensor:
    """Return for each beat the one `lags` (B, N) before it: (B, N, D) -> (B, N, D); 0 where there is none."""
    places = torch.arange(beats.shape[1], device=beats.device) - lags
    found = beats.gather(1, places.clamp(min=0)[..., None].expand_as(beats))
    return found * ((lags > 0) & (places >= 0))[..., None]
