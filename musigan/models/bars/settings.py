"""Sizes of the networks of the model `bars`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from musigan.errors import SettingsError
from musigan.settings import CHECKED, Count, NotNegative, ShareBelowOne


@dataclass(frozen=True, config=CHECKED)
class BarSettings:
    """Sizes of the networks."""

    patch_keys: Count = 4  # keys packed into channels; a row of latents has twice as many
    row_latents: Count = 8  # numbers for a row of keys in a 16th
    width: Count = 48  # channels of the codec's fine feature map
    deep_width: Count = 64  # channels of its coarse feature map (half as many rows)
    fine_blocks: Count = 1  # residual blocks on the fine feature map, encoder and decoder each
    deep_blocks: Count = 1  # residual blocks on the coarse feature map, encoder and decoder each
    composer_width: Count = 192  # features of a beat
    composer_layers: Count = 3  # of the transformer over beats
    composer_heads: Count = 4  # of its attention
    memory_beats: Count = 256  # of the past that it attends to, and of the songs that it learns from at once
    composer_dropout: ShareBelowOne = 0.1  # of its feed-forward layers, while it learns
    head_width: Count = 128  # features of a row of keys in the flow that draws a beat
    head_layers: Count = 4  # of the flow
    sides: Annotated[int, Field(ge=0, le=2)] = 0  # that are heard of a recording, in mono twice the same; 0: its own
    guidance: NotNegative = 0.0  # how far beats are led away from what would be drawn without their past
    flow_steps: Count = 10  # steps of the flow, two passes through its head each, from noise to a beat
    critic_width: Count = 48  # channels of the critic's finest feature map
    latent_critic_width: int = 128  # channels of the critic's tower over latents; 0 leaves it out
    chroma_critic_width: int = 64  # channels of the critic's tower over pitch classes; 0 leaves it out
    spectral: bool = True  # spectral normalisation of the critic's layers

    @property
    def row_keys(self) -> int:
        """Keys of a row of latents."""
        return 2 * self.patch_keys

    def __post_init__(self) -> None:
        if self.composer_width % (2 * self.composer_heads):
            raise SettingsError(
                f"network.composer_width {self.composer_width} is not divisible by twice network.composer_heads "
                f"({self.composer_heads})"
            )
