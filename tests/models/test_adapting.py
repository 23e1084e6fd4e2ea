"""Weights of the default model for recordings in stereo with drums, brought to mono and to no drums."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from musigan import models, settings
from musigan.models.bars.adapting import adapt, fits
from musigan.models.bars.composer import Context
from musigan.models.bars.settings import BarSettings
from musigan.rolls.shape import RollShape
from tests import tiny

STEREO = RollShape(3, 22, 96, True, (0, 2, 9, 6, 13))  # keys are no whole number of rows
MONO = replace(STEREO, channels=2)
DRUMLESS = RollShape(2, 22, 96)
BARE = RollShape(1, 22, 96)


def generator(shape: RollShape, seed: int = 0) -> torch.nn.Module:
    """A generator all of whose weights are at random, those that begin at zero, too."""
    torch.manual_seed(seed)
    built = models.build("bars", {**tiny.NETWORKS["bars"], "sides": 2}, shape)["generator"]
    with torch.no_grad():
        for value in (*built.parameters(), *built.buffers()):
            if value.is_floating_point():
                value.copy_(0.3 * torch.randn(value.shape))
        built.latent_deviation.fill_(0.7)
        built.composer.deviation.fill_(0.6)
    return built.eval()


def brought(whole: torch.nn.Module, own: RollShape) -> torch.nn.Module:
    """The same generator for rolls of another shape."""
    sizes: BarSettings = settings.build(BarSettings, {**tiny.NETWORKS["bars"], "sides": 2}, "network")
    result = generator(own, seed=1)
    result.load_state_dict(adapt(whole.state_dict(), sizes, (STEREO, own), ((), ())))
    return result


@torch.no_grad()
def test_mono_is_what_two_equal_sides_are() -> None:
    whole = generator(STEREO)
    mono = brought(whole, MONO)
    roll = torch.rand(2, 2, 22, 96)
    both = torch.cat((roll[:, :1], roll), 1)
    codes = [each.encode(x).mean for each, x in ((whole, both), (mono, roll))]
    torch.testing.assert_close(*codes)
    stereo, single = (each.decode(code, 96) for each, code in zip((whole, mono), codes, strict=True))
    for plane in ("roll", "logits", "loudness", "onsets"):
        one, two = getattr(single, plane), getattr(stereo, plane)
        torch.testing.assert_close(one[:, :1], two[:, :2].mean(1, keepdim=True))
        torch.testing.assert_close(one[:, 1], two[:, 2])


@pytest.mark.parametrize("own", [STEREO, MONO, DRUMLESS, BARE])
@torch.no_grad()
def test_any_layout_composes(own: RollShape) -> None:
    result = brought(generator(STEREO), own)
    context = Context.of(tiny.context(tiny.outline(6)))
    latents = result.compose(context, torch.Generator().manual_seed(3))
    assert result.decode(latents, 6 * 24).roll.shape == (1, own.channels, 22, 6 * 24)


@torch.no_grad()
def test_the_same_layout_is_the_same_network() -> None:
    whole = generator(STEREO)
    for name, value in brought(whole, STEREO).state_dict().items():
        if name != "composer.style_in.weight":
            assert torch.equal(value, whole.state_dict()[name]), name


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.lists(st.sampled_from("abcdefgh"), unique=True))
def test_styles_keep_what_was_learned_under_their_names(saved: list[str], own: list[str]) -> None:
    name = "composer.style_in.weight"
    whole = generator(BARE)
    sizes: BarSettings = settings.build(BarSettings, {**tiny.NETWORKS["bars"], "sides": 2}, "network")
    table = adapt(whole.state_dict(), sizes, (BARE, BARE), (saved, own))[name]
    before = whole.state_dict()[name]
    assert torch.equal(table[0], before[0])
    for number, style in enumerate(own, 1):
        assert torch.equal(table[number], before[saved.index(style) + 1 if style in saved else 0])


def test_what_fits() -> None:
    assert all(fits(STEREO, own) for own in (STEREO, MONO, DRUMLESS, BARE))
    assert not fits(DRUMLESS, STEREO)
    assert not fits(MONO, STEREO)
    assert not fits(STEREO, replace(DRUMLESS, keys=23))
    assert not fits(STEREO, replace(STEREO, kit=()))  # drums, and no room for a kit
    assert not fits(STEREO, RollShape(4, 22, 96))  # instruments
    assert not fits(BARE, BARE)
