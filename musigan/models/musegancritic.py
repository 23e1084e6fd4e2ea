"""The critic of MuseGAN (musegan.py): all tracks and bars at once, with their onsets and pitch classes beside.

B batch, C tracks, K keys, T frames, W width.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musigan.layers import PITCH_CLASSES, chroma
from musigan.models import RollShape
from musigan.models.museganlayout import CLOCK, MuseganSettings, Plane, known_style, packed_clock
from musigan.models.protocol import Judgement


class Stream(nn.Module):
    """A tower over time: (B, D, T) -> features (B, 2W), mean and maximum over what is left of time."""

    def __init__(self, size: int, width: int, steps: Iterable[tuple[int, int]]) -> None:
        super().__init__()
        sizes = [size]
        layers = []
        for kernel, stride in steps:  # of each layer
            layers.append(nn.Conv1d(sizes[-1], width, kernel, stride=stride, padding=kernel // 2))
            sizes.append(width)
        self.layers = nn.ModuleList(layers)

    def forward(self, row: Tensor) -> Tensor:
        """row (B, D, T)."""
        for layer in self.layers:
            row = F.leaky_relu(layer(row), 0.2)
        return torch.cat((row.mean(2), row.amax(2)), 1)


class Critic(nn.Module):
    """Judges all tracks and bars at once, their onsets and their pitch classes, with style and clock: one logit."""

    views: Sequence[str] = ("roll",)

    def __init__(self, settings: MuseganSettings, shape: RollShape) -> None:
        super().__init__()
        s, self.settings, self.plane = settings, settings, Plane.of(settings, shape)
        width = s.critic_width
        # A patch and a frame to either side: what begins at its edge is seen to begin.
        self.inward = nn.Conv2d(
            shape.channels, width, (s.patch_keys, s.patch_frames + 2), stride=(s.patch_keys, s.patch_frames)
        )
        self.key_map = nn.Parameter(0.1 * torch.randn(1, width, 2 * self.plane.rows, 1))
        self.clock_in = nn.Conv2d(CLOCK * s.patch_frames, width, 1, bias=False)
        wider = (width, 3 * width // 2, 2 * width, 2 * width)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(wider))
        self.onsets = Stream(shape.channels + CLOCK, width, ((9, 5), (5, 2), (5, 2)))
        self.classes = Stream(PITCH_CLASSES * shape.channels + CLOCK, width, ((5, 1), (5, 2), (5, 2)))
        self.inner = nn.Linear(2 * wider[-1] + 4 * width, 4 * width)
        self.outward = nn.Linear(4 * width, 1)
        self.style = nn.Embedding(s.most_styles + 1, 4 * width)

    def forward(
        self,
        roll: Tensor | None,
        latents: Tensor | None,
        alone: bool = False,
        style: Tensor | None = None,
        tempo: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Judgement:
        """roll (B, C, K, T) under style (B) and clock (B, 4, T); latents and given tracks are not looked at.

        No sample knows of the others of its batch, `alone` or not.
        """
        if roll is None:
            return Judgement({}, {})
        s, p = self.settings, self.plane
        clock = roll.new_zeros(len(roll), CLOCK, roll.shape[-1]) if tempo is None else tempo
        keys, frames = p.padded_keys - roll.shape[2], p.padded_frames - roll.shape[3]
        grid = self.inward(F.pad(roll, (1, frames + 1, 0, keys))) + self.key_map
        grid = grid + self.clock_in(packed_clock(clock, p.padded_frames, s.patch_frames))
        for layer in self.down:
            grid = layer(F.leaky_relu(grid, 0.2))
        grid = F.leaky_relu(grid, 0.2)
        onsets = torch.log1p(F.pad(F.relu(roll.diff(dim=3)).sum(2), (1, 0)))  # (B, C, T)
        classes = chroma(roll, s.patch_frames).transpose(1, 2)  # (B, 12 C, T / pt)
        slow = F.adaptive_avg_pool1d(clock, classes.shape[-1])
        told = (
            grid.mean((2, 3)),
            grid.amax((2, 3)),
            self.onsets(torch.cat((onsets, clock), 1)),
            self.classes(torch.cat((classes, slow), 1)),
        )
        features = F.leaky_relu(self.inner(torch.cat(told, 1)), 0.2)
        logit = self.outward(features)
        if style is not None:  # a projection (arXiv 1802.05637)
            logit = logit + (self.style(known_style(style, s.most_styles)) * features).sum(1, keepdim=True)
        return Judgement({"roll": logit}, {"roll": [features]})
