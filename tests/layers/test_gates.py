"""Gates: which cells of a decoder's roll sound."""

from __future__ import annotations

import torch

from musigan.layers.gates import held


def test_a_note_is_held_between_two_thresholds() -> None:
    logits = torch.tensor(
        [[0.5, 1.5, 0.2, -0.5, 0.9, -1.5, 0.9, 0.9, 3.0], [-2.0, 1.1, -1.0, 1.1, -1.1, 1.0, 0.0, 0.0, 0.0]]
    )
    sounds = held(logits, 1.0, -1.0)
    # Above 1 it begins; at -1 and under it is over, and 0.9 does not begin it anew.
    assert sounds.int().tolist() == [[0, 1, 1, 1, 1, 0, 0, 0, 1], [0, 1, 0, 1, 0, 0, 0, 0, 0]]


def test_one_threshold_is_a_plain_gate() -> None:
    logits = torch.randn(2, 3, 20, generator=torch.Generator().manual_seed(1))
    assert torch.equal(held(logits, 0.3, 0.3), logits > 0.3)


def test_channels_have_thresholds_of_their_own() -> None:
    logits = torch.tensor([[[0.5, -0.5]], [[0.5, -0.5]]])  # (C, K, T)
    sounds = held(logits, torch.tensor([0.0, 1.0])[:, None, None], torch.tensor([-1.0, 1.0])[:, None, None])
    assert sounds.int().tolist() == [[[1, 1]], [[0, 0]]]
