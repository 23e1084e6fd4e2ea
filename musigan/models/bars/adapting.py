"""Weights of one layout of rolls in another: of recordings with drums for those without, and for other styles.

Drums are the last row of keys, which is left out. Mono needs nothing: a network of two sides hears it as both. Songs'
styles have other numbers in every collection: those of the same name keep what was learned of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from musigan.models.bars.composer import BEAT_STEPS, STYLES, TOLD
from musigan.models.bars.kitrow import KitRow
from musigan.models.bars.settings import BarSettings
from musigan.rolls.grid import MAX_METER
from musigan.rolls.shape import RollShape

SIDES = 2  # of a recording, at most


def fits(saved: RollShape, own: RollShape) -> bool:
    """Return whether weights of two sides for rolls of `saved` fit rolls of `own`: a side or drums may be missing."""
    is_recording = own.has_drums == bool(own.kit) and own.pitched <= SIDES
    return is_recording and saved.keys == own.keys and saved.pitched == SIDES and own.kit in (saved.kit, ())


def adapt(
    weights: Mapping[str, Tensor], settings: BarSettings, shapes: tuple[RollShape, RollShape],
    styles: tuple[Sequence[str], Sequence[str]],
) -> dict[str, Tensor]:  # fmt: skip
    """Return the generator's weights for other rolls and other styles than those they were learned with.

    Of `shapes` and `styles` the first are those that were learned with. Weights that `fits` rules out stay as they are.
    """
    saved, own = shapes
    result = with_styles(weights, *styles)
    if not fits(saved, own):
        return result
    before, after = (KitRow(shape, settings.row_keys, settings.sides).folded for shape in shapes)
    if before.keys != after.keys:
        rows = -(-before.keys // settings.row_keys)
        result |= _without_drums(result, settings, rows, -(-after.keys // settings.row_keys))
    return result


def _without_drums(weights: Mapping[str, Tensor], settings: BarSettings, rows: int, kept: int) -> dict[str, Tensor]:
    """Return what has a place for each of `rows` rows of keys with its first `kept`."""
    result = {}
    for name, fine in (("key_map", 2), ("row_map", 1), ("decoder_rows", 1), ("decoder_keys", 2)):
        result[f"codec.{name}"] = weights[f"codec.{name}"][:, :, : fine * kept]
    result["latent_mean"] = weights["latent_mean"][: kept * settings.row_latents]
    for name in [name for name in weights if name.startswith("composer.sources_in.")]:
        by_row = weights[name].unflatten(1, (BEAT_STEPS, rows, -1))
        result[name] = by_row[:, :, :kept].flatten(1)
    result["composer.head.row_map"] = weights["composer.head.row_map"][:kept]
    for name in ("composer.head.told.weight", "composer.head.told.bias"):
        result[name] = weights[name][: kept * TOLD]
    for name in ("composer.head.row_in.weight", "composer.guess_weight"):  # only drums saw where in the bar they are
        result[name] = weights[name][:, :-MAX_METER]
    return {name: value.clone() for name, value in result.items()}


def with_styles(weights: Mapping[str, Tensor], saved: Sequence[str], own: Sequence[str]) -> dict[str, Tensor]:
    """Return weights whose styles, numbered from 1, are `own` instead of `saved`; an unknown one begins as any."""
    name = "composer.style_in.weight"
    table = weights[name]
    numbers = [0] * STYLES
    for number, style in enumerate(own[: STYLES - 1], 1):
        numbers[number] = min(saved.index(style) + 1, STYLES - 1) if style in saved else 0
    return {**weights, name: table[torch.tensor(numbers)].clone()}
