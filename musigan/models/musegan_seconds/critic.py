"""Critic of MuseGAN (musegan.py): sees all tracks and bars at once, and separately their onsets and pitch classes.

B batch, C tracks, K keys, T frames, W width.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers.convolution import PITCH_CLASSES
from musigan.layers.packing import chroma
from musigan.models.musegan_seconds.layout import CLOCK, Grid, MuseganSettings, clamp_style, packed_clock
from musigan.models.protocol import Judgement
from musigan.rolls.shape import RollShape


class Stream(nn.Module):
    """Convolutional tower over time: (B, D, T) -> features (B, 2W), mean and maximum over the remaining time."""

    def __init__(self, size: int, width: int, steps: Iterable[tuple[int, int]]) -> None:
        super().__init__()
        sizes = [size]
        layers = []
        for kernel, stride in steps:  # one layer each
            layers.append(nn.Conv1d(sizes[-1], width, kernel, stride=stride, padding=kernel // 2))
            sizes.append(width)
        self.layers = nn.ModuleList(layers)

    def forward(self, row: Tensor) -> Tensor:
        """Return the features of row (B, D, T)."""
        for layer in self.layers:
            row = F.leaky_relu(layer(row), 0.2)
        return torch.cat((row.mean(2), row.amax(2)), 1)


class Critic(nn.Module):
    """Critic of all tracks and bars at once, their onsets and pitch classes, with style and clock: one logit."""

    views: Sequence[str] = ("roll",)

    def __init__(self, settings: MuseganSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings, self.plane = settings, settings, Grid.of(settings, shape)
        width = s.critic_width
        # A patch and one frame on either side, so that onsets at its edge are visible.
        self.in_proj = nn.Conv2d(
            shape.channels, width, (s.patch_keys, s.patch_frames + 2), stride=(s.patch_keys, s.patch_frames)
        )
        self.key_map = nn.Parameter(0.1 * torch.randn(1, width, 2 * self.plane.rows, 1))
        self.clock_in = nn.Conv2d(CLOCK * s.patch_frames, width, 1, bias=False)
        widths = (width, 3 * width // 2, 2 * width, 2 * width)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(widths))
        self.onsets = Stream(shape.channels + CLOCK, width, ((9, 5), (5, 2), (5, 2)))
        self.pitched = shape.pitched
        self.classes = Stream(PITCH_CLASSES * shape.pitched + CLOCK, width, ((5, 1), (5, 2), (5, 2)))
        self.inner = nn.Linear(2 * widths[-1] + 4 * width, 4 * width)
        self.out_proj = nn.Linear(4 * width, 1)
        self.style = nn.Embedding(s.most_styles + 1, 4 * width)

    def forward(
        self,
        roll: Tensor | None,
        latents: Tensor | None,
        per_sample: bool = False,
        style: Tensor | None = None,
        tempo: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Judgement:
        """Judge roll (B, C, K, T) under style (B) and clock (B, 4, T); latents and given tracks are not used.

        The other samples of the batch have no influence, `per_sample` or not.
        """
        if roll is None:
            return Judgement({}, {})
        s, p = self.settings, self.plane
        clock = roll.new_zeros(len(roll), CLOCK, roll.shape[-1]) if tempo is None else tempo
        keys, frames = p.padded_keys - roll.shape[2], p.padded_frames - roll.shape[3]
        grid = self.in_proj(F.pad(roll, (1, frames + 1, 0, keys))) + self.key_map
        grid = grid + self.clock_in(packed_clock(clock, p.padded_frames, s.patch_frames))
        for layer in self.down:
            grid = layer(F.leaky_relu(grid, 0.2))
        grid = F.leaky_relu(grid, 0.2)
        onsets = torch.log1p(F.pad(F.relu(roll.diff(dim=3)).sum(2), (1, 0)))  # (B, C, T)
        classes = chroma(roll[:, : self.pitched], s.patch_frames).transpose(1, 2)  # (B, 12 C, T / pt)
        slow_clock = F.adaptive_avg_pool1d(clock, classes.shape[-1])
        pooled = (
            grid.mean((2, 3)),
            grid.amax((2, 3)),
            self.onsets(torch.cat((onsets, clock), 1)),
            self.classes(torch.cat((classes, slow_clock), 1)),
        )
        features = F.leaky_relu(self.inner(torch.cat(pooled, 1)), 0.2)
        logit = self.out_proj(features)
        if style is not None:  # projection discriminator (arXiv 1802.05637)
            logit = logit + (self.style(clamp_style(style, s.most_styles)) * features).sum(1, keepdim=True)
        return Judgement({"roll": logit}, {"roll": [features]})
