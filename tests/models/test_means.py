"""Running means: what music was like lately, all at once and step by step."""

from __future__ import annotations

import math

import pytest
import torch

from musigan.models.means import OCTAVE, USUAL, RunningMeans
from musigan.rolls.shape import RollShape

SHAPE = RollShape(3, 15, 20, has_drums=True)


def loudness(steps: int = 9) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, steps, SHAPE.channels, SHAPE.keys, generator=generator)


def test_a_mean_by_hand() -> None:
    """Steps of loudness 1, 0 and 0.5, weights falling to 1/e over two steps; the usual loudness for ten before them."""
    fade = math.exp(-1 / 2)
    values = torch.tensor([1.0, 0.0, 0.5]).reshape(1, 3, 1, 1)
    means = RunningMeans((2.0,), RollShape(1, 1, 3)).of_all(values).flatten()
    heard = [(1.0, 1.0), (fade, fade + 1), (fade**2 + 0.5, fade**2 + fade + 1)]  # sums of loudness and of weights
    assert means.tolist() == pytest.approx([(sums + 10 * USUAL) / (weights + 10) for sums, weights in heard])


def test_step_by_step_is_all_at_once() -> None:
    means, values = RunningMeans((2.0, 7.0), SHAPE), loudness()
    whole, now = means.of_all(values), means.none(2)
    assert (now.values == USUAL).all()
    for number, step in enumerate(values.unbind(1)):
        now = means.after(now, step)
        torch.testing.assert_close(now.values, whole[:, number])


def test_nothing_is_heard_before_it_sounds() -> None:
    means, values = RunningMeans((3.0,), SHAPE), loudness()
    other = values.clone()
    other[:, 5:] = 0
    torch.testing.assert_close(means.of_all(values)[:, :5], means.of_all(other)[:, :5])
    assert not torch.equal(means.of_all(values)[:, 5:], means.of_all(other)[:, 5:])


def test_a_pitch_class_is_heard_in_all_octaves_and_drums_in_none() -> None:
    means = torch.full((1, 1, SHAPE.channels, SHAPE.keys), USUAL)
    means[0, 0, 1, 2], means[0, 0, 2, 5] = 0.64, 0.81  # right: key 2; drums: key 5
    features = RunningMeans((3.0,), SHAPE).described(means)
    assert features.shape == (1, RunningMeans((3.0,), SHAPE).features, SHAPE.keys)
    by_class = features[0, -1]
    assert (by_class.abs() > 1e-5).nonzero().flatten().tolist() == [2, 2 + OCTAVE]
    assert by_class[2] == pytest.approx(math.log((0.64 + 3 * USUAL) / 4 / USUAL))  # two sides, two keys of that class
    assert (features[0, :-1].abs() > 1e-5).nonzero().tolist() == [[1, 2], [2, 5]]
    assert features[0, 2, 5] == pytest.approx(math.log(0.81 / USUAL))


def test_weights_are_of_a_channel_and_of_classes() -> None:
    means = RunningMeans((2.0, 7.0), SHAPE)
    assert means.weights_of(1, 0.8, 0.2).tolist() == pytest.approx([0, 0.4, 0, 0.1, 0, 0.4, 0, 0.1])
    assert means.weights_of(2, 0.8, 0.2).tolist() == pytest.approx([0, 0, 0.4, 0, 0, 0, 0.4, 0])  # of drums
