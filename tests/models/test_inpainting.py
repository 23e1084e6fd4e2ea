from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from musigan import models
from musigan.datasets.record import MusicRecord
from musigan.models import inpainting
from musigan.rolls.shape import RollShape
from musigan.sampling.requests import Request
from musigan.sampling.sampler import Sampler
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)


def seeded(number: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def built() -> Any:
    torch.manual_seed(4)
    generator: Any = models.build("musigan", tiny.NETWORKS["musigan"], SHAPE)["generator"].eval()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
        generator.latent_offset += 0.2
        generator.latent_gain *= 1.3
    return generator


def past(frames: int) -> torch.Tensor:
    loud = torch.rand(1, tiny.CHANNELS, tiny.KEYS, frames, generator=seeded(2))
    return loud * (torch.rand(loud.shape, generator=seeded(3)) > 0.6)


def test_what_is_painted_agrees_with_what_is_known() -> None:
    """Two numbers of correlation .8, whose flow is known exactly: given 2, the other is N(1.6, .6), or nearly."""
    spread, ones = torch.tensor([[1.0, 0.8], [0.8, 1.0]]), torch.eye(2)

    def velocity(latents: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        t = time[0].item()  # E[latents - noise | x], all being Gaussian
        way = (t * spread - (1 - t) * ones) @ torch.linalg.inv((1 - t) ** 2 * ones + t**2 * spread)
        return torch.einsum("ij,bjz->biz", way, latents)

    noise = torch.randn(4000, 2, 1, generator=seeded())
    flow: Any = SimpleNamespace(flow_steps=40, velocity=velocity)
    found = inpainting.inpaint(flow, torch.full((4000, 1, 1), 2.0), noise)[:, 1]
    assert found.mean().item() == pytest.approx(1.6, abs=0.12)
    assert found.std().item() == pytest.approx(0.6, abs=0.05)
    free = inpainting.inpaint(flow, noise[:, :0], noise)[:, 1]
    assert free.mean().item() == pytest.approx(0.0, abs=0.05)
    assert free.std().item() == pytest.approx(1.0, abs=0.05)


def test_what_is_known_stays_and_counts() -> None:
    generator, known = built(), torch.randn(2, 4, 3, generator=seeded())
    noise = torch.randn(2, 9, 3, generator=seeded(5))
    found = inpainting.inpaint(generator, known, noise)
    assert found.shape == (2, 9, 3)
    assert torch.equal(found[:, :4], known)
    other = inpainting.inpaint(generator, known + 1.0, noise)
    assert (found - other)[:, 4:].abs().max() > 1e-3


def test_with_nothing_known_it_is_the_flow() -> None:
    generator, noise = built(), torch.randn(1, 6, 3, generator=seeded())
    found = inpainting.inpaint(generator, noise[:, :0], noise)
    torch.testing.assert_close(generator.latent_offset + generator.latent_gain * found, generator.sample_prior(noise))


@pytest.mark.parametrize("frames", [1, 7, 61])
def test_it_goes_on_for_any_length(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inpainting, "WINDOW_STEPS", 5)
    generator, heard = built(), past(tiny.FRAMES + 9)
    found = generator.extend(heard, frames, seeded(), 1.0)
    assert found.shape == (1, tiny.CHANNELS, tiny.KEYS, frames)
    assert torch.equal(found, generator.extend(heard[..., -tiny.FRAMES :], frames, seeded(), 1.0))
    assert generator.extend(heard[..., :3], frames, seeded(), 1.0).isfinite().all()


def test_known_latents_are_those_of_the_past_before_calibration() -> None:
    """Far from the end, where what follows is not seen."""
    generator, heard = built(), past(tiny.FRAMES)
    back = generator.latent_offset + generator.latent_gain * inpainting._known(generator, heard)
    assert back.shape == (1, tiny.FRAMES // 4, 3)
    held = torch.cat((heard, heard[..., -1:].expand(-1, -1, -1, 40)), -1)
    torch.testing.assert_close(back, generator.encode(held).mean[:, : tiny.FRAMES // 4])


def test_a_sampler_goes_on_from_a_past() -> None:
    networks, record = torch.nn.ModuleDict({"generator": built()}), MusicRecord(tiny.HEADER, 0.2)
    sampler = Sampler(networks, SHAPE, record, "sqrt", models.family("musigan"))
    request = Request(past=past(30)[0].numpy() ** 2)
    request.check(sampler.capabilities)
    piece = sampler.piece(1, 1, 40, request=request)
    assert piece.roll.shape == (tiny.CHANNELS, tiny.KEYS, 40)
    assert not np.array_equal(piece.roll, sampler.piece(1, 1, 40).roll)
