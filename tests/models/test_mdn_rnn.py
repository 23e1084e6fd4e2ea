from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from musigan import models
from musigan.datasets.record import MusicRecord
from musigan.errors import SettingsError
from musigan.models import mdn_rnn as module
from musigan.models.mdn_rnn import Gates, Mixture, Standardiser
from musigan.rolls.shape import RollShape
from musigan.sampling.requests import Request
from musigan.sampling.sampler import Sampler
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)


def seeded(number: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def built(shape: RollShape = SHAPE, **changes: Any) -> Any:
    """A generator past the zeros that residual branches and maps start at."""
    torch.manual_seed(1)
    generator: Any = models.build("mdn-rnn", {**tiny.NETWORKS["mdn-rnn"], **changes}, shape)["generator"]
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
        generator.standard.mean.add_(0.3)
        generator.standard.variance.mul_(1.7)
    return generator.eval()


def rolls(batch: int, frames: int, shape: RollShape = SHAPE) -> torch.Tensor:
    loud = torch.rand(batch, shape.channels, shape.keys, frames, generator=seeded(2))
    return loud * (torch.rand(loud.shape, generator=seeded(3)) > 0.6)


@pytest.mark.parametrize("shape", [SHAPE, RollShape(1, 5, 10), RollShape(5, 16, 31)])
def test_shapes(shape: RollShape) -> None:
    generator, roll = built(shape), rolls(3, shape.frames, shape)
    posterior = generator.encode(roll)
    assert posterior.mean.shape == posterior.log_variance.shape == (3, -(-shape.frames // 5), 3)
    decoded = generator.decode(posterior.mean, shape.frames)
    assert decoded.roll.shape == decoded.logits.shape == roll.shape
    assert 0 <= decoded.roll.min() <= decoded.roll.max() <= 1
    assert (decoded.roll[decoded.logits <= 0] == 0).all()
    mixture, _ = generator.predict(posterior.mean)
    assert mixture.logits.shape == (*posterior.mean.shape[:2], 4)
    assert mixture.means.shape == mixture.log_deviations.shape == (*posterior.mean.shape[:2], 4, 3)


def test_latents_know_nothing_of_other_steps() -> None:
    """Where a person's music ends, the last latent is what it would be if it went on."""
    generator, roll = built(), rolls(1, 20)
    whole = generator.encode(roll).mean
    torch.testing.assert_close(generator.encode(roll[..., 5:15]).mean, whole[:, 1:3])


def test_keys_are_told_apart() -> None:
    roll = torch.zeros(1, 2, 11, 10)
    roll[:, :, 2, 2:7] = 0.7
    generator = built()
    assert not torch.allclose(generator.encode(roll).mean, generator.encode(roll.roll(4, 2)).mean)


def test_mixtures_follow_from_earlier_steps_alone() -> None:
    """A change in one latent shows in no prediction before it, and in the next one."""
    generator, before = built(), torch.randn(1, 6, 3, generator=seeded())
    changed = before.clone()
    changed[:, 3] += 1.0
    one, other = (generator.predict(z)[0].means for z in (before, changed))
    torch.testing.assert_close(one[:, :3], other[:, :3])
    assert (one[:, 3:] - other[:, 3:]).abs().amax((0, 2, 3)).min() > 1e-4


def test_likelihood_is_of_the_next_latent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each latent is held against what was said knowing those before it, the first knowing none."""
    generator, asked = built(), []
    predict = generator.predict
    monkeypatch.setattr(generator, "predict", lambda before: asked.append(before) or predict(before))
    scored: list[torch.Tensor] = []
    monkeypatch.setattr(module, "mixture_nll", lambda *given: scored.append(given[-1]) or given[-1].sum())
    generator.likelihood(rolls(2, 24), seeded())
    (before,), (target,) = asked, scored
    torch.testing.assert_close(before[:, 1:], target[:, :-1])
    torch.testing.assert_close(before[:, :1], generator.start.expand(2, -1, -1))
    generator.train().likelihood(rolls(2, 24), seeded())
    assert (asked[1][:, 1:] - scored[1][:, :-1]).std() > 0.05  # noise on what is heard


def test_statistics_are_those_of_all_latents() -> None:
    standard, batches = Standardiser(2), torch.randn(3, 4, 5, 2, generator=seeded()) * torch.tensor([0.2, 3.0]) + 5.0
    for batch in batches:
        standard.update(batch)
    every = batches.flatten(0, 2)
    torch.testing.assert_close(standard.mean, every.mean(0))
    torch.testing.assert_close(standard.variance, every.var(0, unbiased=False))
    torch.testing.assert_close(standard(batches[0]).mul(every.std(0, unbiased=False)) + every.mean(0), batches[0])
    torch.testing.assert_close(standard.back(standard(batches[1])), batches[1])
    for _ in range(1000):  # an encoder that is no more is forgotten
        standard.update(batches[0] + 7.0)
    torch.testing.assert_close(standard.mean, batches[0].mean((0, 1)) + 7.0, rtol=0, atol=0.01)


def mixture(rows: int) -> Mixture:
    """Weights .2 and .8, one wide and one narrow."""
    logits = torch.tensor([0.2, 0.8]).log().expand(rows, 1, 2)
    means = torch.tensor([[-3.0, 0.0], [2.0, 5.0]]).expand(rows, 1, 2, 2)
    return Mixture(logits, means, torch.tensor([[0.5, 2.0], [0.1, 0.3]]).log().expand(rows, 1, 2, 2))


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_temperature_sharpens_weights_and_variances(temperature: float) -> None:
    drawn = mixture(20_000).sample(seeded(), temperature)[:, 0]
    rare = drawn[:, 0] < 0
    share = 0.2 ** (1 / temperature) / (0.2 ** (1 / temperature) + 0.8 ** (1 / temperature))
    assert rare.float().mean().item() == pytest.approx(share, abs=0.01)
    expected = torch.tensor([0.5, 2.0]) * math.sqrt(temperature)
    torch.testing.assert_close(drawn[rare].std(0), expected, rtol=0.06, atol=0.0)
    torch.testing.assert_close(drawn[~rare].mean(0), torch.tensor([2.0, 5.0]), rtol=0.01, atol=0.0)


def test_no_temperature_is_too_low() -> None:
    torch.testing.assert_close(mixture(3).sample(seeded(), 1e-9)[2, 0], torch.tensor([2.0, 5.0]), atol=1e-3, rtol=0)


def test_a_past_is_heard_and_joins() -> None:
    """What follows depends on the past, on its end even if it is no whole number of steps, and only so far back."""
    generator, past = built(), rolls(1, tiny.FRAMES + 9)

    def after(past: torch.Tensor | None) -> torch.Tensor:
        found = generator.extend(past, 30, seeded(), 1.0)
        assert found.shape == (1, tiny.CHANNELS, tiny.KEYS, 30)
        return found

    whole, ended = after(past), past.clone()
    ended[..., -1] = 1.0
    assert not torch.equal(whole, after(ended))
    assert not torch.equal(whole, after(None))
    torch.testing.assert_close(after(past[..., -tiny.FRAMES :]), whole)
    assert after(past[..., :2]).isfinite().all()


def test_long_pieces_are_decoded_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = built()
    whole = generator.extend(rolls(1, 20), 200, seeded(), 1.0)
    monkeypatch.setattr(module, "WINDOW_STEPS", 7)
    torch.testing.assert_close(generator.extend(rolls(1, 20), 200, seeded(), 1.0), whole, atol=1e-5, rtol=0)
    assert whole.max() > 0.01
    monkeypatch.setattr(module.Generator, "decoder_receptive_field", 0)
    assert (generator.extend(rolls(1, 20), 200, seeded(), 1.0) - whole).abs().max() > 1e-4


def sampler(**changes: Any) -> Sampler:
    networks = torch.nn.ModuleDict({"generator": built(**changes)})
    return Sampler(networks, SHAPE, MusicRecord(tiny.HEADER, 0.2), "sqrt", models.family("mdn-rnn"))


def test_temperature_is_the_settings_unless_asked_for() -> None:
    usual = sampler(temperature=0.6).piece(1, 1, 40).roll
    np.testing.assert_array_equal(usual, sampler().piece(1, 1, 40, request=Request(temperature=0.6)).roll)
    assert not np.array_equal(usual, sampler().piece(1, 1, 40).roll)
    again = [piece.roll for piece in sampler(temperature=0.6).pieces(2, 40, 1)]
    np.testing.assert_array_equal(again[0], usual)
    assert not np.array_equal(again[1], usual)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("step_frames", 4), ("patch_keys", 3), ("width", 10), ("deep_width", 12), ("latent_dim", 4), ("hidden_dim", 9),
     ("layers", 2), ("mixtures", 5)],
)  # fmt: skip
def test_every_size_has_an_effect(setting: str, value: int) -> None:
    plain, changed = ({k: v.shape for k, v in g.state_dict().items()} for g in (built(), built(**{setting: value})))
    assert plain != changed


@pytest.mark.parametrize("wrong", [{"mixtures": 0}, {"input_noise": -1.0}, {"temperature": 0.0}])
def test_sizes_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="network"):
        built(**wrong)


def test_learns_what_follows_what() -> None:
    """Two sounds in turn: soon each is expected when it comes, and music drawn on from one goes to the other."""
    generator = built(input_noise=0.1).train()
    with torch.no_grad():
        generator.to_posterior.weight[3:] = 0.0  # latents without noise of their own
        generator.to_posterior.bias[3:] = -10.0
    roll = torch.zeros(2, tiny.CHANNELS, tiny.KEYS, 40)
    for step in range(8):
        for song in range(2):
            roll[song, :, 2 + 6 * ((step + song) % 2), 5 * step : 5 * step + 5] = 0.8
    optimiser = torch.optim.Adam(generator.parts()["prior"], lr=0.02)
    said = []
    for step in range(100):
        loss = generator.likelihood(roll, seeded(step))["nll"]
        said.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert said[-1] < said[0] - 0.5, said[::10]
    two = generator.eval().standard(generator.encode(roll[:1]).mean)[:, :2]
    mixture, _ = generator.predict(two)
    drawn = mixture.sample(seeded(), 0.1)
    assert (drawn[:, 1] - two[:, 0]).norm() < 0.3 * (drawn[:, 1] - two[:, 1]).norm()


def test_gates_sound_as_often_as_long_and_as_loud_as_music() -> None:
    """Soft, flickering planes of held notes; drums, whose strokes are short, are fitted for themselves."""
    shape = RollShape(3, 6, 200, has_drums=True)
    real = torch.zeros(4, 3, 6, 200)
    for number in range(4):
        for start in range(7 * number, 170, 40):
            real[number, :2, (start + number) % 6, start : start + 30] = 0.7
            real[number, 2, 3, start : start + 3] = 0.9
    sure = torch.nn.functional.avg_pool1d((real > 0).float().flatten(0, 2), 5, 1, 2).reshape(real.shape)
    logits = 4 * sure - 2.6 + 0.9 * torch.randn(real.shape, generator=seeded(4))
    loudness = 0.6 * real + 0.05
    gates = Gates(shape)
    plain = gates(loudness, logits)
    torch.testing.assert_close(plain, loudness * (logits > 0))
    gates.fit(loudness, logits, real)
    fitted = gates(loudness, logits)

    def figures(roll: torch.Tensor, channels: slice) -> tuple[float, float, float]:
        sounds = roll[:, channels] > 0
        begins = (sounds[..., 1:] & ~sounds[..., :-1]).float().mean()
        return float(sounds.float().mean()), float(begins), float(module._frame_loudness(roll[:, channels]))

    for channels in (slice(0, 2), slice(2, 3)):
        share, begins, loud = figures(real, channels)
        assert figures(fitted, channels) == pytest.approx((share, begins, loud), rel=0.2)
    assert figures(plain, slice(0, 2))[1] > 1.5 * figures(real, slice(0, 2))[1]  # it flickered
    assert gates.onset[0] > gates.release[0]
    assert gates.onset[0] != gates.onset[2]


def test_balance_is_of_what_is_drawn() -> None:
    generator, real = built(), rolls(5, 24)
    with torch.no_grad():
        loudness, _ = generator.pack_out.bias.chunk(2)
        loudness += 1.0  # nothing but gates decides what sounds
    generator.balance(real, seeded())
    drawn = torch.cat([generator.extend(None, 24, seeded(n), generator.temperature) for n in range(12)])
    assert (drawn > 0).float().mean().item() == pytest.approx((real > 0).float().mean().item(), rel=0.3)


def test_a_piece_from_nothing_begins_in_the_middle_and_one_of_before_at_once() -> None:
    """The beginning of all songs at once is left out; checkpoints from before draw what they drew."""
    generator, former = built(unheard_steps=3), built(unheard_steps=0)
    drawn, at_once = (each._from_nothing(2, 4, seeded(5), 1.0) for each in (generator, former))
    longer = former._from_nothing(2, 7, seeded(5), 1.0)
    torch.testing.assert_close(drawn, longer[:, 3:])
    torch.testing.assert_close(at_once, longer[:, :4])
    past = rolls(1, 20)
    assert torch.equal(*(each.extend(past, 20, seeded(5), 1.0) for each in (generator, former)))
    assert models.family("mdn-rnn").formerly == {"unheard_steps": 0}


def test_a_state_from_before_the_gates_sounds_above_0() -> None:
    generator = built()
    state = {name: value for name, value in generator.state_dict().items() if not name.startswith("gates.")}
    other: Any = models.build("mdn-rnn", tiny.NETWORKS["mdn-rnn"], SHAPE)["generator"]
    other.load_state_dict(state)
    other.eval()
    posterior = other.encode(rolls(1, 20))
    drawn = other._sounding(posterior.mean)
    assert torch.equal(drawn, generator.decode(posterior.mean, 20).roll)
    assert (drawn > 0).any()
