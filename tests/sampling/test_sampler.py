from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from musigan import models, store
from musigan.datasets.record import MusicRecord
from musigan.errors import CheckpointError, StoreError, UsageError
from musigan.machine.seeding import seed_of
from musigan.rolls.shape import RollShape
from musigan.sampling import items
from musigan.sampling import sampler as samplers
from musigan.sampling.sampler import Sampler
from tests import tiny
from tests.tones import tone

SHAPE = RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)


def sampler(name: str = "musigan", **changes: Any) -> Sampler:
    torch.manual_seed(4)
    torch.set_num_threads(1)
    networks = models.build(name, {**tiny.NETWORKS[name], **changes}, SHAPE)
    with torch.no_grad():  # past the zeros that residual branches start at, and loud enough to be heard
        for parameter in networks["generator"].parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
        if name == "answer":
            networks["generator"].key_bias.zero_()  # type: ignore[operator,union-attr]
        if name == "mlp":
            networks["generator"].patterns.bias.fill_(0.5)  # type: ignore[operator,union-attr]
    return Sampler(networks, SHAPE, MusicRecord(tiny.HEADER, 0.2), "sqrt", models.family(name))


@pytest.mark.parametrize("name", ["musigan", "original", "mlp", "rnn", "lstm", "mdn-rnn", "answer", "musegan-seconds"])
@pytest.mark.parametrize("frames", [1, 7, 24, 61])
def test_any_length(name: str, frames: int) -> None:
    piece = sampler(name).piece(1, 1, frames)
    assert piece.roll.shape == (tiny.CHANNELS, tiny.KEYS, frames)
    assert piece.roll.min() >= 0
    assert piece.roll.max() <= 1
    assert np.isfinite(piece.roll).all()


@pytest.mark.parametrize("name", ["musigan", "original", "mlp", "answer", "musegan-seconds"])
@pytest.mark.parametrize("frames", [1, 7])
def test_pieces_shorter_than_a_roll_are_judged(name: str, frames: int) -> None:
    """Families of a fixed length judge the roll whose beginning the piece is."""
    drawing = sampler(name)
    piece = drawing.piece(1, 1, frames, scored=True)
    assert piece.roll.shape[-1] == frames
    assert piece.score is not None
    assert math.isfinite(piece.score)
    np.testing.assert_array_equal(piece.roll, drawing.piece(1, 1, frames).roll)


@pytest.mark.parametrize("name", ["musigan", "mlp"])
def test_what_is_no_number_is_not_drawn(name: str) -> None:
    drawing = sampler(name)
    with torch.no_grad():
        list(drawing.generator.parameters())[-1].fill_(math.nan)
    with pytest.raises(CheckpointError, match="NaN or infinity: its training diverged"):
        drawing.piece(1, 1, 24)


@pytest.mark.parametrize("name", ["musigan", "original", "mlp", "rnn", "answer", "musegan-seconds"])
def test_same_seed_same_bits(name: str) -> None:
    first = [p.roll for p in sampler(name).pieces(3, 40, seed=5)]
    again = [p.roll for p in sampler(name).pieces(2, 40, seed=5)]
    for left, right in zip(first, again, strict=False):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], sampler(name).piece(6, 1, 40).roll)
    np.testing.assert_array_equal(sampler(name).piece(5, 3, 40, scored=True).roll, first[2])


@pytest.mark.parametrize("gaussian", [False, True])
def test_windows_join_without_a_seam(gaussian: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces long enough for several windows are what one pass would have given."""
    frames, drawn = 40 * 4 * 4, sampler(gaussian=gaussian)
    whole = drawn.piece(1, 1, frames).roll
    monkeypatch.setattr(samplers, "WINDOW_STEPS", 30)
    joined = drawn.piece(1, 1, frames).roll
    assert whole.max() > 0.01
    np.testing.assert_allclose(joined, whole, atol=1e-4)
    monkeypatch.setattr(type(drawn.generator), "receptive_field", 1)
    assert np.abs(drawn.piece(1, 1, frames).roll - whole).max() > 1e-3


def test_best_are_the_highest_best_first() -> None:
    assert samplers.best_numbers({1: 0.1, 2: 0.9, 3: -2.0, 4: 0.9, 5: 0.5}, 3) == [2, 4, 5]


def test_critic_ranks_what_it_likes() -> None:
    """Scores rise and fall with the critic's own logit for each piece alone."""
    drawn = sampler()
    scores = dict(drawn.scores(4, tiny.FRAMES, seed=2))
    assert len(set(scores.values())) == 4
    with torch.no_grad():
        generator: Any = drawn.generator
        rng = torch.Generator().manual_seed(seed_of(2, 3))
        latents = generator.sample_prior(generator.draw(1, tiny.FRAMES, rng))
        said = drawn.critic(generator.decode(latents, tiny.FRAMES).roll, latents, per_sample=True).logits
    assert scores[3] == pytest.approx(np.mean([logit.item() for logit in said.values()]), abs=1e-5)
    longer = dict(drawn.scores(2, 3 * tiny.FRAMES, seed=2))
    assert np.isfinite(list(longer.values())).all()


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.001, float("nan"), float("inf"), 1e9])
def test_lengths_that_cannot_be_drawn(seconds: float) -> None:
    with pytest.raises(UsageError, match="seconds"):
        sampler().frames(seconds)


def test_item_carries_all_that_synthesis_needs(tmp_path: Path) -> None:
    drawn = sampler()
    drawn.store = replace(drawn.store, tone=tone())
    piece = drawn.piece(1, 2, 61, scored=True)
    path = tmp_path / "out"
    with store.write(str(path), drawn.header) as writer:
        writer.add(*items.as_item(piece, drawn, 1, "ckpt"))
    reader = store.open_reader(str(path), ("keys",))
    (info,) = reader.infos()
    assert replace(reader.header, tool={}) == tiny.HEADER
    assert info.shape == (3, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)
    assert info.song.seconds == pytest.approx(61 * 0.02)
    assert info.song.level == 0.2
    assert info.song.score == piece.score
    assert info.song.tone == tone()
    joined = np.concatenate(list(reader.read(info.name)), axis=-1)
    np.testing.assert_allclose(joined[..., :61], piece.roll, atol=1e-3)
    assert not joined[..., 61:].any()


def songs(frames: tuple[int, int]) -> list[np.ndarray]:
    """Two rolls of other keys and other lengths."""
    rolls = [np.zeros((tiny.CHANNELS, tiny.KEYS, length), np.float32) for length in frames]
    rolls[0][:, 2, 3:], rolls[1][0, 7, : frames[1] // 2] = 0.6, 0.9
    return rolls


def test_a_morph_begins_as_one_song_and_ends_as_the_other() -> None:
    drawn, (one, other) = sampler(), songs((4 * 4 * 20, 4 * 4 * 26))
    frames = one.shape[-1]
    piece, start, end = (drawn.morph(*pair).roll for pair in ((one, other), (one, one), (other[..., :frames],) * 2))
    assert piece.shape == (tiny.CHANNELS, tiny.KEYS, frames)
    quarter = frames // 4 - 40  # as far as a layer sees into the mixture
    np.testing.assert_allclose(piece[..., :quarter], start[..., :quarter], atol=1e-5)
    np.testing.assert_allclose(piece[..., -quarter:], end[..., -quarter:], atol=1e-5)
    assert np.abs(start - end).max() > 0.05
    assert np.abs(piece - start)[..., frames // 2 :].max() > 0.02


def test_a_morph_of_what_does_not_fit() -> None:
    one, other = songs((96, 96))
    with pytest.raises(StoreError, match="2 channels x 9 keys, the checkpoint 2 x 11"):
        sampler().morph(one, other[:, :9])
    with pytest.raises(UsageError, match="no latents in time"):
        sampler("original").morph(one, other)
