"""The straight way of an autoencoder: it begins with music."""

from __future__ import annotations

import pytest
import torch

from musigan import models
from musigan.layers.principal import Bypass, planes_of, steps_of
from musigan.rolls.shape import RollShape
from tests import tiny

SHAPE = RollShape(2, tiny.KEYS, 60)
FAMILIES = ("musigan", "answer", "mdn-rnn")


def music(count: int) -> torch.Tensor:
    """Rolls (B, C, K, T) of chords that are held for some frames."""
    rng = torch.Generator().manual_seed(3)
    chords = (torch.rand(count, SHAPE.channels, SHAPE.keys, 6, generator=rng) < 0.1).float()
    return (0.3 + 0.5 * torch.rand(chords.shape, generator=rng)).mul(chords).repeat_interleave(10, -1)


def test_steps_and_planes_keep_their_places() -> None:
    roll = torch.rand(2, 3, 13, 27)
    steps = steps_of(roll, 16, 10)
    assert steps.shape == (2, 3, 3 * 16 * 10)
    loudness, logits = planes_of(torch.cat((steps, -steps), -1), 3, 10)
    torch.testing.assert_close(loudness[:, :, :13, :27], roll)
    torch.testing.assert_close(logits, -loudness)
    assert not loudness[:, :, 13:].any()


@pytest.mark.parametrize("name", FAMILIES)
def test_an_autoencoder_begins_with_music_unless_it_was_trained(name: str) -> None:
    torch.manual_seed(0)
    generator = models.build(name, tiny.NETWORKS[name], SHAPE)["generator"]
    rolls = music(40)

    def shared(decoded: torch.Tensor) -> float:
        both = ((decoded > 0) & (rolls > 0)).sum()
        return float(2 * both / ((decoded > 0).sum() + (rolls > 0).sum()))

    with torch.no_grad():
        before = shared(generator.decode(generator.encode(rolls).mean, SHAPE.frames).roll)
        generator.begin_with(rolls)
        after = shared(generator.decode(generator.encode(rolls).mean, SHAPE.frames).roll)
        assert after > max(before, 0.3)
        generator.begin_with(torch.zeros_like(rolls))  # no music: it stays as it is
        assert shared(generator.decode(generator.encode(rolls).mean, SHAPE.frames).roll) == after
        generator.key_bias.fill_(0.1)
        generator.begin_with(rolls.flip(2))
        generator.key_bias.zero_()
        assert shared(generator.decode(generator.encode(rolls).mean, SHAPE.frames).roll) == after


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_of_before_there_was_a_straight_way_are_read(name: str) -> None:
    generator = models.build(name, tiny.NETWORKS[name], SHAPE)["generator"]
    generator.begin_with(music(40))
    old = {key: value for key, value in generator.state_dict().items() if "bypass" not in key}
    assert len(old) == len(generator.state_dict()) - 4
    generator.load_state_dict(old)
    layers = [layer for layer in generator.modules() if isinstance(layer, Bypass)]
    assert len(layers) == 2
    assert not any(value.any() for layer in layers for value in layer.state_dict().values())
