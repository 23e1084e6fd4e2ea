"""What both sides of MuseGAN (musegan.py) share: sizes, the planes that rolls are packed on, and how conditions read.

B batch, C tracks, K keys, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from musigan.errors import SettingsError
from musigan.layers import pack
from musigan.models import RollShape

CLOCK = 4  # sine and cosine of the beat's phase and of the bar's


@dataclass(frozen=True)
class MuseganSettings:
    """Sizes of the networks."""

    structure: Literal["jamming", "composer", "hybrid"] = "hybrid"
    bar_frames: int = 100  # 2 s, a bar at 120 beats a minute
    patch_keys: int = 4  # keys packed into channels
    patch_frames: int = 10  # frames packed into channels
    latent_dim: int = 16  # numbers of a vector
    rounds: int = 8  # of the temporal generator, from noise to vectors
    width: int = 32  # channels of a bar generator's fine plane
    deep_width: int = 48  # channels of its coarse plane (half as many rows and columns)
    temporal_width: int = 128  # of the temporal generator
    temporal_layers: int = 4
    temporal_heads: int = 4
    time_dim: int = 32  # numbers that tell it how far the noise has come, and the style
    style_dim: int = 16
    most_styles: int = 32  # told apart, the most frequent first; the others count as none
    kept_dim: int = 32  # numbers that tell a bar of the given tracks
    critic_width: int = 32  # channels of the critic's finest plane
    binary: Literal["deterministic", "stochastic"] = "deterministic"  # neurons; drawn music is always deterministic

    @property
    def bar_columns(self) -> int:
        """Columns of the coarse plane in a bar; each has a vector of its own."""
        return self.bar_frames // (2 * self.patch_frames)

    def __post_init__(self) -> None:
        if self.bar_frames % (2 * self.patch_frames):
            raise SettingsError(
                f"network.bar_frames {self.bar_frames} is not divisible by twice network.patch_frames "
                f"({self.patch_frames})"
            )
        if self.temporal_width % (2 * self.temporal_heads):
            raise SettingsError(
                f"network.temporal_width {self.temporal_width} is not divisible by twice network.temporal_heads "
                f"({self.temporal_heads})"
            )
        if self.time_dim < 2 or self.time_dim % 2:
            raise SettingsError(f"network.time_dim is {self.time_dim}; expected an even number")
        if min(self.patch_keys, self.patch_frames, self.bar_frames, self.latent_dim, self.width, self.most_styles) < 1:
            raise SettingsError("network sizes must be at least 1")


@dataclass(frozen=True)
class Plane:
    """Sizes of padded rolls: packed on a fine plane of rows by columns, and on a coarse one with half of each."""

    rows: int  # of the coarse plane
    bars: int
    bar_columns: int  # of the coarse plane, in a bar
    padded_keys: int
    padded_frames: int

    @classmethod
    def of(cls, settings: MuseganSettings, shape: RollShape) -> Plane:
        """The planes on which rolls of `shape` are packed, in whole bars."""
        rows = -(-shape.keys // (2 * settings.patch_keys))
        bars = -(-shape.frames // settings.bar_frames)
        return cls(rows, bars, settings.bar_columns, rows * 2 * settings.patch_keys, bars * settings.bar_frames)


def known_style(style: Tensor, most: int) -> Tensor:
    """Numbers of styles (B), 0 for those beyond the `most` that there is room for."""
    return style * (style <= most)


def packed_clock(tempo: Tensor, frames: int, patch_frames: int) -> Tensor:
    """(B, 4, T), silent behind its end up to `frames`, as the columns of a plane: (B, 4 * pt, 1, frames / pt)."""
    return pack(F.pad(tempo, (0, frames - tempo.shape[-1]))[:, :, None], 1, patch_frames)


def given_tracks(kept: Tensor) -> Tensor:
    """1 for tracks of (B, C, K, T) that are given, 0 for those below 0, which are to be made: (B, C, 1, 1)."""
    return (kept[:, :, :1, :1] >= 0).to(kept.dtype)
