"""The drums of a recording as a row of keys of their own, above the highest: what codec and critic see of them.

As a channel, drums would cost as much as a side of the recording, all keys of it, and nearly all of them never struck.
As a row they cost a twelfth, and nothing is lost: the kit has fewer drums than a row has keys.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from musigan.models.protocol import Decoded
from musigan.rolls.shape import RollShape

NEVER = -12.0  # logit of cells of the drums' channel in which there is no drum


class KitRow:
    """Folds the drums of rolls of `shape` into a row of `row_keys` keys, and back; without drums they stay the same."""

    def __init__(self, shape: RollShape, row_keys: int) -> None:
        self.shape, self.kit = shape, list(shape.kit)
        self.keys = -(-shape.keys // row_keys) * row_keys  # the drums begin here
        rows = -(-len(self.kit) // row_keys)  # one, unless rows are narrower than by default
        keys = self.keys + rows * row_keys
        self.folded = replace(shape, channels=shape.pitched, keys=keys, has_drums=False, kit=()) if self.kit else shape

    def fold(self, roll: Tensor) -> Tensor:
        """Fold a roll (B, C, K, T); the drums stand in the first side's row: (B, C - 1, K', T)."""
        if not self.kit:
            return roll
        batch, _, _, frames = roll.shape
        folded = roll.new_zeros(batch, self.folded.channels, self.folded.keys, frames)
        folded[:, :, : self.shape.keys] = roll[:, :-1]
        folded[:, 0, self.keys : self.keys + len(self.kit)] = roll[:, -1, self.kit]
        return folded

    def unfold(self, folded: Tensor, silence: float = 0.0) -> Tensor:
        """Undo `fold`, with `silence` where there is no drum: (B, C - 1, K', T) -> (B, C, K, T)."""
        if not self.kit:
            return folded
        drums = folded.new_full((len(folded), 1, self.shape.keys, folded.shape[-1]), silence)
        drums[:, 0, self.kit] = folded[:, 0, self.keys : self.keys + len(self.kit)]
        return torch.cat((folded[:, :, : self.shape.keys], drums), 1)

    def unfolded(self, decoded: Decoded) -> Decoded:
        """Undo `fold` of all planes of decoded music."""
        if not self.kit:
            return decoded
        loudness, onsets = decoded.loudness, decoded.onsets
        return Decoded(
            self.unfold(decoded.roll), self.unfold(decoded.logits, NEVER),
            None if loudness is None else self.unfold(loudness), None if onsets is None else self.unfold(onsets, NEVER),
        )  # fmt: skip
