"""Layout shared by generator and critic of MuseGAN (musegan.py): sizes, grids of packed rolls, form of conditions.

B batch, C tracks, K keys, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor
from torch.nn import functional as F

from musigan.errors import SettingsError
from musigan.layers.packing import pack
from musigan.rolls.shape import RollShape
from musigan.settings import CHECKED, Count, Even

CLOCK = 4  # sine and cosine of the beat's phase and of the bar's


@checked_dataclass(frozen=True, config=CHECKED)
class MuseganSettings:
    """Sizes of the networks."""

    structure: Literal["jamming", "composer", "hybrid"] = "hybrid"  # one bar generator a track, one for all, or both
    bar_frames: Count = 100  # 2 s, a bar at 120 beats a minute
    patch_keys: Count = 4  # keys packed into channels
    patch_frames: Count = 10  # frames packed into channels
    latent_dim: Count = 16  # numbers of a vector
    flow_steps: Count = 8  # flow steps of the temporal generator, from noise to vectors
    width: Count = 32  # channels of a bar generator's fine feature map
    deep_width: int = 48  # channels of its coarse feature map (half as many rows and columns)
    temporal_width: int = 128  # of the temporal generator
    temporal_layers: int = 4  # of the temporal generator
    temporal_heads: int = 4  # of its attention
    time_dim: Even = 32  # size of the embedding of the flow's time and of the style
    style_dim: int = 16  # size of the embedding of the style that a bar generator is given
    most_styles: Count = 32  # distinct styles, the most frequent first; the others count as none
    kept_dim: int = 32  # features of the given tracks for a bar
    critic_width: int = 32  # channels of the critic's finest feature map
    binary: Literal["deterministic", "stochastic"] = (
        "deterministic"  # neurons in training; sampling is always deterministic
    )

    @property
    def bar_columns(self) -> int:
        """Columns of the coarse grid in a bar; each has its own vector."""
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


@dataclass(frozen=True)
class Grid:
    """Sizes of padded rolls: packed on a fine grid of rows by columns, and on a coarse one with half of each."""

    rows: int  # of the coarse grid
    bars: int
    bar_columns: int  # of the coarse grid, in a bar
    padded_keys: int
    padded_frames: int

    @classmethod
    def of(cls, settings: MuseganSettings, shape: RollShape) -> Grid:
        """Return the grids on which rolls of `shape` are packed, in whole bars."""
        rows = -(-shape.keys // (2 * settings.patch_keys))
        bars = -(-shape.frames // settings.bar_frames)
        return cls(rows, bars, settings.bar_columns, rows * 2 * settings.patch_keys, bars * settings.bar_frames)


def clamp_style(style: Tensor, most: int) -> Tensor:
    """Replace style numbers (B) above `most` by 0, the number for no style."""
    return style * (style <= most)


def packed_clock(tempo: Tensor, frames: int, patch_frames: int) -> Tensor:
    """Pad (B, 4, T) with zeros to `frames` and pack it as columns of the fine grid: (B, 4 * pt, 1, frames / pt)."""
    return pack(F.pad(tempo, (0, frames - tempo.shape[-1]))[:, :, None], 1, patch_frames)


def given_tracks(kept: Tensor) -> Tensor:
    """Return 1 for given tracks of (B, C, K, T) and 0 for those below 0, which are to be generated: (B, C, 1, 1)."""
    return (kept[:, :, :1, :1] >= 0).to(kept.dtype)
