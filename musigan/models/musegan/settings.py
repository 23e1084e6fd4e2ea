"""Sizes of the networks of the model `musegan`."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from musigan.models.bars.settings import BarSettings
from musigan.settings import CHECKED, Count, NotNegative, Share, ShareBelowOne


@dataclass(frozen=True, config=CHECKED)
class MuseganSettings(BarSettings):
    """Sizes of the networks."""

    structure: Literal["jamming", "composer", "hybrid"] = (
        "hybrid"  # who writes what: musigan/models/musegan/generator.py
    )
    patch_keys: Count = 6  # keys packed into channels; a row of latents has twice as many: an octave
    row_latents: Count = 8  # numbers for an octave of an instrument in a 16th
    width: Count = 24  # channels of a codec's fine feature map
    deep_width: Count = 32  # channels of its coarse feature map (half as many rows)
    composer_layers: Count = 2  # of the transformer over beats
    composer_dropout: ShareBelowOne = 0.0  # of its feed-forward layers, while it learns
    memory_beats: Count = 128  # of the past that it attends to, and of the songs that it learns from at once
    head_width: Count = 96  # features of a row of keys in the flow that draws a beat
    together_width: Count = 96  # numbers by which the instruments of a row hear each other
    given_share: Share = 0.3  # of the pieces that are learned from, whose instruments are given in part
    guidance: NotNegative = 1.2  # how far beats are led away from what would be drawn without past, scene and style
    latent_critic_width: int = 96  # channels of the critic's tower over latents; 0 leaves it out
