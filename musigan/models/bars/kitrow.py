"""What codec and critic see of a roll: a recording's drums as a row of keys above the highest, mono as two sides.

As a channel, drums would cost as much as a side of the recording, all keys of it, and nearly all of them never struck.
As a row they cost a twelfth, and nothing is lost: the kit has fewer drums than a row has keys. A network of two sides
hears mono as the same on both, and of what it would play the mean counts: so it knows mono when it knows stereo.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from musigan.models.protocol import Decoded
from musigan.rolls.shape import RollShape

NEVER = -12.0  # logit of cells of the drums' channel in which there is no drum


class KitRow:
    """Folds rolls of `shape` into `folded`, and back: drums into a row of `row_keys` keys, mono into `sides` sides.

    Without either they stay the same.
    """

    def __init__(self, shape: RollShape, row_keys: int, sides: int = 0) -> None:
        self.shape, self.kit = shape, list(shape.kit)
        self.is_doubled = shape.pitched < sides and shape.has_drums == bool(self.kit)
        self.keys = -(-shape.keys // row_keys) * row_keys  # the drums begin here
        rows = -(-len(self.kit) // row_keys)  # one, unless rows are narrower than by default
        folded = replace(shape, channels=sides, has_drums=False, kit=()) if self.is_doubled else shape
        if self.kit:
            channels, keys = max(shape.pitched, sides), self.keys + rows * row_keys
            folded = replace(shape, channels=channels, keys=keys, has_drums=False, kit=())
        self.folded = folded

    def fold(self, roll: Tensor) -> Tensor:
        """Fold a roll (B, C, K, T); the drums stand in the first side's row: (B, C', K', T)."""
        if self.is_doubled:
            roll = torch.cat((roll[:, :1].expand(-1, self.folded.channels, -1, -1), roll[:, 1:]), 1)
        if not self.kit:
            return roll
        batch, _, _, frames = roll.shape
        folded = roll.new_zeros(batch, self.folded.channels, self.folded.keys, frames)
        folded[:, :, : self.shape.keys] = roll[:, :-1]
        folded[:, 0, self.keys : self.keys + len(self.kit)] = roll[:, -1, self.kit]
        return folded

    def unfold(self, folded: Tensor, silence: float = 0.0) -> Tensor:
        """Undo `fold`, with `silence` where there is no drum: (B, C', K', T) -> (B, C, K, T)."""
        sides = folded.mean(1, keepdim=True) if self.is_doubled else folded
        if not self.kit:
            return sides
        sides = sides[:, :, : self.shape.keys]
        drums = folded.new_full((len(folded), 1, self.shape.keys, folded.shape[-1]), silence)
        drums[:, 0, self.kit] = folded[:, 0, self.keys : self.keys + len(self.kit)]
        return torch.cat((sides, drums), 1)

    def unfolded(self, decoded: Decoded) -> Decoded:
        """Undo `fold` of all planes of decoded music."""
        if not self.kit and not self.is_doubled:
            return decoded
        loudness, onsets = decoded.loudness, decoded.onsets
        return Decoded(
            self.unfold(decoded.roll), self.unfold(decoded.logits, NEVER),
            None if loudness is None else self.unfold(loudness), None if onsets is None else self.unfold(onsets, NEVER),
        )  # fmt: skip
