"""Joints of given and drawn music: notes held over them, missed and imagined ones."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from musigan.models.inpainting import FADE_FRAMES, FAINTEST, RELEASE_FRAMES, joined

FRAMES = FADE_FRAMES + 10


def rolls(seed: int, frames: int) -> Tensor:
    """A roll (2, 2, 5, frames) in which keys sound and rest for random lengths."""
    rng = torch.Generator().manual_seed(seed)
    loudness = FAINTEST + (1 - FAINTEST) * torch.rand(2, 2, 5, frames, generator=rng)
    return loudness * (torch.rand(2, 2, 5, frames, generator=rng) > 0.3)


def one_key(last: float, read: float, after: list[float]) -> list[float]:
    """What follows a past that ends at loudness `last`, which the decoder wrote as `read`."""
    written = torch.tensor([read, *after] + [0.0] * (FRAMES - len(after)))
    found = joined(torch.tensor([0.3, last]).expand(1, 1, 1, 2), written.expand(1, 1, 1, FRAMES + 1))
    return [round(value, 4) for value in found.flatten().tolist()]


@given(st.integers(0, 10_000), st.integers(1, 2 * FADE_FRAMES))
def test_a_decoder_that_reads_the_past_right_is_left_alone(seed: int, frames: int) -> None:
    written = rolls(seed, frames + 1)
    past = torch.cat((rolls(seed + 1, 3)[..., :3], written[..., :1]), -1)
    torch.testing.assert_close(joined(past, written), written[..., 1:])


@given(st.integers(0, 10_000))
def test_what_begins_later_is_as_it_was(seed: int) -> None:
    past, written = rolls(seed, 7), rolls(seed + 1, FRAMES + 1)
    after = written[..., 1:]
    later = (after <= 0).cumsum(-1) > 0  # of each key, from its first rest on
    later &= (after > 0).cumsum(-1) > 0  # and from the first note on: what was missed may die away before it
    found = joined(past, written)
    assert torch.equal(found[later], after[later])
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


def test_a_held_note_fades_from_the_past_s_loudness_to_its_own() -> None:
    found = one_key(0.8, 0.5, [0.5] * FRAMES)
    assert found[0] == 0.8
    assert all(a >= b for a, b in itertools.pairwise(found))
    assert found[FADE_FRAMES // 2] == pytest.approx(0.65)
    assert found[FADE_FRAMES:] == [0.5] * (FRAMES - FADE_FRAMES)


def test_a_key_struck_at_the_joint_is_still_struck() -> None:
    assert one_key(0.2, 0.3, [0.9, 0.9, 0.0])[:3] == [0.8, 0.802, 0.0]


def test_a_note_that_was_read_as_silence_starts_from_the_past_s_loudness() -> None:
    assert one_key(0.8, 0.0, [0.4] * 5)[0] == 0.8


def test_a_missed_note_dies_away() -> None:
    found = one_key(0.5, 0.0, [0.0] * 20 + [0.7])
    assert found[0] == 0.45
    assert found[RELEASE_FRAMES - 1 : 20] == [0.0] * (21 - RELEASE_FRAMES)
    assert all(a > b for a, b in itertools.pairwise(found[:RELEASE_FRAMES]))
    assert found[20] == 0.7


def test_an_imagined_note_is_left_out_and_the_next_is_not() -> None:
    assert one_key(0.0, 0.4, [0.4, 0.3, 0.0, 0.6])[:5] == [0.0, 0.0, 0.0, 0.6, 0.0]


def test_a_note_that_begins_at_the_joint_begins_there() -> None:
    assert one_key(0.0, 0.0, [0.4, 0.3, 0.0])[:3] == [0.4, 0.3, 0.0]


def test_a_note_that_ends_at_the_joint_ends_there() -> None:
    assert one_key(0.6, 0.5, [0.0, 0.0])[:2] == [0.0, 0.0]
