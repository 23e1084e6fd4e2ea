"""The families that go frame by frame (lstm, rnn), and the first GAN beside them (mlp)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from musigan import models
from musigan.errors import SettingsError
from musigan.models.frames import CELLS, COUPLING, FAINTEST, MOST_CORRELATION, FrameGenerator, FrameSettings
from musigan.rolls.shape import RollShape
from musigan.training.objectives import OBJECTIVES, StepContext
from tests import tiny

SHAPE = RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)
SHAPES = [SHAPE, RollShape(1, 5, 10), RollShape(3, 16, 31), RollShape(2, 4, 3)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(name: str, shape: RollShape = SHAPE, **changes: Any) -> nn.ModuleDict:
    """Networks that say something: the layers that start small are not."""
    torch.manual_seed(1)
    networks = models.build(name, {**tiny.NETWORKS[name], **changes}, shape)
    with torch.no_grad():
        for parameter in networks["generator"].parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return networks


def music(batch: int = 3, shape: RollShape = SHAPE) -> Tensor:
    loud = 0.1 + 0.9 * torch.rand(batch, shape.channels, shape.keys, shape.frames, generator=rng(2))
    return loud * (torch.rand(loud.shape, generator=rng(3)) > 0.6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["mlp", "rnn"])
def test_shapes(name: str, shape: RollShape) -> None:
    networks = built(name, shape).eval()
    generator: Any = networks["generator"]
    decoded = generator.decode(generator.sample_prior(generator.draw(3, shape.frames, rng())), shape.frames)
    assert decoded.roll.shape == decoded.logits.shape == (3, shape.channels, shape.keys, shape.frames)
    assert decoded.roll.min() >= 0
    assert decoded.roll.max() <= 1
    assert (decoded.roll[decoded.logits <= 0] == 0).all()
    said = networks["critic"](decoded.roll, None)
    assert said.logits["roll"].shape == (3, 1)
    assert len(said.features["roll"][0]) == 3
    assert networks["critic"](None, None).logits == {}


@pytest.mark.parametrize("name", ["mlp", "rnn"])
def test_samples_do_not_mix(name: str) -> None:
    networks = built(name).eval()
    generator: Any = networks["generator"]
    noise = generator.draw(3, tiny.FRAMES, rng())
    together = generator.decode(generator.sample_prior(noise), tiny.FRAMES).roll[1:2]
    torch.testing.assert_close(together, generator.decode(generator.sample_prior(noise[1:2]), tiny.FRAMES).roll)
    roll = music()
    scored = networks["critic"](roll, None, per_sample=True).logits["roll"]
    torch.testing.assert_close(scored[1:2], networks["critic"](roll[1:2], None, per_sample=True).logits["roll"])


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_known_of_frames_before_they_are_there(shape: RollShape) -> None:
    """What is said of a frame stays the same whatever comes after the frame before it."""
    generator: Any = built("lstm", shape)["generator"]
    roll = music(2, shape)
    frames = generator._frames(roll)
    says = generator._teacher_forced(frames)
    for change in range(frames.shape[1]):
        other = frames.clone()
        other[:, change:] = 1 - other[:, change:]
        first = change // generator.settings.step_frames * generator.settings.step_frames + 5  # of the next step
        for one, two in zip(says, generator._teacher_forced(other), strict=True):
            torch.testing.assert_close(one[:, :first], two[:, :first])
            assert first >= frames.shape[1] or not torch.equal(one[:, first:], two[:, first:])


def test_likelihood_by_hand() -> None:
    """One key, two channels, four frames: every factor written out."""
    torch.manual_seed(0)
    generator = FrameGenerator(
        FrameSettings(width=4, step_frames=2, key_width=2, reach_keys=0), "lstm", RollShape(2, 1, 4)
    )
    with torch.no_grad():
        generator.out_proj.weight.zero_()  # the chain is then what it usually is
        generator.usual[:, 0, 0] = torch.tensor((-1.0, 2.0, 0.4, 0.0, 0.1, -1.0))
        generator.usual[:, 1, 0] = torch.tensor((-2.0, 1.0, 0.6, 0.5, -0.2, 0.3))
        generator.coupling[:, 0, 0] = torch.tensor((0.3, 0.1))
        generator.correlation[:, 0, 0] = torch.tensor((0.4, 0.02))
        generator.pull[0, 0] = 0.25
    roll = torch.tensor([[[[0.0, 0.5, 0.7, 0.6]], [[0.0, 0.0, 0.8, 0.5]]]])

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    def normal(deviation: float, sigma: float) -> float:
        return -math.log(sigma * math.sqrt(2 * math.pi)) - 0.5 * deviation**2

    def sigma_of(raw: float) -> float:
        return 0.01 + math.log1p(math.exp(raw))

    silent, sounding = COUPLING * 0.3, COUPLING * 0.1
    left = [1 - sigmoid(-1.0), sigmoid(-1.0), sigmoid(2.0), sigmoid(2.0)]
    right = [1 - sigmoid(-2.0 - silent), 1 - sigmoid(-2.0 + silent), sigmoid(-2.0 + silent), sigmoid(1.0 + sounding)]
    # Of the left: how far from its mean each frame is, in deviations.
    begins, rises, falls = (0.5 - 0.4) / sigma_of(0.0), (0.7 - 0.6) / sigma_of(-1.0), (0.6 - 0.8) / sigma_of(-1.0)
    loud = normal(begins, sigma_of(0.0)) + normal(rises, sigma_of(-1.0)) + normal(falls, sigma_of(-1.0))
    # The right begins while the left goes on, then falls with it, and is pulled to what the left was.
    for value, mean, sigma, beside, correlation in (
        (0.8, 0.6, sigma_of(0.5), rises, MOST_CORRELATION * math.tanh(COUPLING * 0.4)),
        (0.5, 0.8 - 0.2 + 0.25 * (0.7 - 0.8), sigma_of(0.3), falls, MOST_CORRELATION * math.tanh(COUPLING * 0.02)),
    ):
        spread = math.sqrt(1 - correlation**2)
        loud += normal(((value - mean) / sigma - correlation * beside) / spread, sigma * spread)
    found = generator.likelihood(roll)
    assert found["frame_nats"].item() == pytest.approx(-sum(map(math.log, left + right)) / 4, rel=1e-5)
    assert found["loudness_nats"].item() == pytest.approx(-loud / 4, rel=1e-4)


def test_sides_are_drawn_as_they_are_said_to_correlate() -> None:
    """Deviations of two sides from their means, in drawn frames: white once what they share is taken off."""
    generator: Any = built("lstm", RollShape(3, 4, 10, has_drums=True))["generator"].eval()
    with torch.no_grad():
        generator.usual[0] += 6.0
        generator.usual[2:] = torch.tensor((0.5, -3.5, 0.0, -3.5))[:, None, None]
        generator.out_proj.weight.zero_()
        generator.correlation[:, 0] = torch.tensor((1.4, 0.8))[:, None] / COUPLING
        drawn, _ = generator._sample(generator.draw(3000, 10, rng(5)), generator._initial_state(3000))
        says, before = generator._teacher_forced(drawn), torch.cat((torch.zeros_like(drawn[:, :1]), drawn[:, :-1]), 1)
        mean, sigma = generator._loudness(says, before)
        inside = (drawn > 2 * FAINTEST) & (drawn < 0.95)  # of frames that were not clipped
        own, _ = generator._own((drawn - mean) / sigma, sigma, before, drawn > 0)
        both = inside[:, :, 0] & inside[:, :, 1]
        shared = torch.corrcoef(torch.stack([((drawn - mean) / sigma)[:, :, side][both] for side in (0, 1)]))[0, 1]
        white = torch.corrcoef(torch.stack([own[:, :, side][both] for side in (0, 1)]))[0, 1]
    assert shared > 0.5
    assert white.abs() < 0.06


@pytest.mark.parametrize("name", ["lstm", "rnn"])
def test_recordings_begin_with_sides_that_sound_together(name: str) -> None:
    """An untaught network draws the sides of a recording alike; those of instruments it does not."""

    def apart(shape: RollShape, **changes: Any) -> float:
        torch.manual_seed(1)
        generator: Any = models.build(name, {**tiny.NETWORKS[name], **changes}, shape)["generator"].eval()
        noise = generator.draw(8, 150, rng(3))
        with torch.no_grad():
            sides = generator._sample(noise, generator._initial_state(8))[0][:, :, :2]
        return float((sides[:, :, 0] - sides[:, :, 1]).abs().sum() / sides.sum())

    recording = RollShape(3, 30, 150, has_drums=True)
    together, loudness_apart, instruments = (
        apart(recording), apart(recording, joint_loudness=False), apart(RollShape(4, 30, 150))
    )  # fmt: skip
    assert together < 0.8 * loudness_apart < 0.5 * instruments


def test_what_is_drawn_is_as_likely_as_is_said() -> None:
    """Frames of many pieces: how often a key sounds is what the chain says, both channels together included."""
    generator: Any = built("lstm", RollShape(2, 3, 10))["generator"].eval()
    with torch.no_grad():
        generator.usual[0] += 5.0  # keys begin often
        drawn, _ = generator._sample(generator.draw(4000, 10, rng(5)), generator._initial_state(4000))
        says, before = generator._teacher_forced(drawn), torch.cat((torch.zeros_like(drawn[:, :1]), drawn[:, :-1]), 1)
        said = torch.sigmoid(generator._logits(says, before, drawn > 0))
    error = ((drawn > 0).float() - said).mean(0)  # (T, C, K)
    deviation = (said * (1 - said)).mean(0).div(4000).sqrt()
    assert (error.abs() < 5 * deviation).all()
    assert 0.05 < (drawn > 0).float().mean() < 0.95
    assert drawn[drawn > 0].min() >= FAINTEST


def test_a_decoded_roll_is_what_was_drawn() -> None:
    """All steps at once give what step after step did, and a gradient with it."""
    generator: Any = built("rnn")["generator"]
    begun = generator.sample_prior(generator.draw(2, tiny.FRAMES, rng()))
    assert generator.sample_prior(begun) is begun
    roll = generator.decode(begun, tiny.FRAMES).roll
    torch.testing.assert_close(roll.permute(0, 3, 1, 2), begun[:, : tiny.FRAMES, 2])
    assert roll.requires_grad
    assert (roll > 0).any()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("memory", [[], [20, 300]])
def test_going_on_is_one_piece(memory: list[int], cell: str) -> None:
    """From a past of whole steps it goes on as the piece did that the past was taken from."""
    generator: Any = built("rnn", cell=cell, memory_frames=memory)["generator"].eval()
    noise = generator.draw(1, 60, rng())
    with torch.no_grad():
        whole, _ = generator._sample(noise, generator._initial_state(1))
        past = whole[:, :35].permute(0, 2, 3, 1)
        rest, _ = generator._sample(noise[:, 35:], generator._state_after(past))
    torch.testing.assert_close(rest, whole[:, 35:])
    assert not torch.equal(rest, generator._sample(noise[:, 35:], generator._initial_state(1))[0])


@pytest.mark.parametrize("past", [None, 1, 4, 5, 23])
@pytest.mark.parametrize("frames", [1, 5, 61])
def test_extends_any_past_by_any_length(past: int | None, frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator: Any = built("lstm")["generator"].eval()
    before = None if past is None else music(1, RollShape(tiny.CHANNELS, tiny.KEYS, past))
    found = generator.extend(before, frames, rng())
    assert found.shape == (1, tiny.CHANNELS, tiny.KEYS, frames)
    monkeypatch.setattr("musigan.models.frames.BLOCK_STEPS", 3)
    assert generator.extend(before, frames, rng()).shape == found.shape


def test_an_untaught_network_begins_the_keys_that_it_heard() -> None:
    """What sounded for seconds begins again more often, in other octaves too; without running means it does not."""
    shape = RollShape(3, 36, 400, has_drums=True)
    past = torch.zeros(1, 3, 36, 400)
    past[:, :2, 7], past[:, :2, 24, :200], past[:, 2, 14, ::10] = 0.6, 0.5, 0.7  # the classes 7 and 0; a drum
    begins = {}
    for memory in ([], [100, 400]):
        torch.manual_seed(2)
        generator: Any = models.build("lstm", {"width": 8, "key_width": 4, "memory_frames": memory}, shape)["generator"]
        begins[bool(memory)] = generator._teacher_forced(generator._frames(past)).begins[0, -1].detach()  # (C, K)
    others = [key for key in range(36) if key % 12 not in (0, 2, 7)]
    for side in begins[True][:2]:
        assert side[[7, 24]].min() - 1 > side[[0, 12, 19, 31]].max() > side[[0, 12, 19, 31]].min() > side[others].max()
    drums = begins[True][2]
    assert drums.argmax() == 14
    assert drums[[2, 26]].max() < drums[14] - 0.5  # as a pitch it would be heard in all octaves
    assert begins[False][:2].std() < 0.3


def test_a_piece_from_nothing_begins_with_the_means_of_a_song() -> None:
    """Of songs of low keys and songs of high ones, each piece is of one; without means nothing changes."""
    real = torch.zeros(4, 2, 20, 60)
    real[:2, :, 3:6], real[2:, :, 14:17] = 0.6, 0.6
    generator: Any = models.build("lstm", tiny.NETWORKS["lstm"], RollShape(2, 20, 60))["generator"].eval()
    before = generator.extend(None, 60, rng(1))
    with torch.no_grad():
        state, power = generator._initial_state(1), generator.settings.key_power
        frames, _ = generator._sample(generator.draw(1, 60, rng(1)), state, power)
    assert torch.equal(before, frames.permute(0, 2, 3, 1))
    generator.balance(real, rng())
    low = []
    for seed in range(12):
        means = generator._state_from_nothing(rng(seed)).means.values[0, 0, 0]
        low.append(bool(means[3:6].min() > 3 * means[14:17].max()))
        assert low[-1] or means[14:17].min() > 3 * means[3:6].max()
    assert 0 < sum(low) < 12
    assert not torch.equal(before, generator.extend(None, 60, rng(1)))
    plain: Any = models.build("lstm", {**tiny.NETWORKS["lstm"], "memory_frames": []}, RollShape(2, 20, 60))["generator"]
    plain.balance(real, rng())
    assert plain._state_from_nothing(rng()).means is None


def test_the_likely_keys_are_preferred_and_as_many_begin() -> None:
    generator: Any = built("lstm", RollShape(3, 20, 30, has_drums=True), key_power=2.0)["generator"].eval()
    begins = torch.linspace(-9.0, -1.0, 20).expand(2, 1, 5, 3, 20).clone()
    preferring = generator._preferring(begins, 2.0)
    chances, before = preferring.sigmoid(), begins.sigmoid()
    torch.testing.assert_close(chances[..., :2, :].sum(-1), before[..., :2, :].sum(-1))
    torch.testing.assert_close(preferring[..., 2, :], begins[..., 2, :])  # drums
    assert (chances[..., :2, :10] < 0.2 * before[..., :2, :10]).all()
    assert (chances[..., :2, -1] > 1.3 * before[..., :2, -1]).all()
    torch.testing.assert_close(generator._preferring(begins, 1.0), begins, rtol=1e-3, atol=1e-3)
    sure = generator._preferring(torch.full((1, 1, 1, 3, 20), 12.0), 3.0)
    assert sure.isfinite().all()
    assert (sure[..., :2, :].sigmoid() > 0.99).all()


def test_pieces_prefer_the_likely_keys_and_games_and_older_checkpoints_do_not() -> None:
    plain, preferring = (built("rnn", key_power=power)["generator"].eval() for power in (1.0, 3.0))
    assert not torch.equal(*(each.extend(None, 40, rng(), 1.0) for each in (plain, preferring)))
    assert torch.equal(*(each.sample_prior(each.draw(2, 20, rng())) for each in (plain, preferring)))
    assert all(models.family(name).formerly["key_power"] == 1.0 for name in ("lstm", "rnn"))


def test_temperature_takes_more_chances() -> None:
    generator: Any = built("lstm")["generator"].eval()
    cool, warm = (
        sum(
            generator.likelihood(generator.extend(None, 50, rng(seed), temperature))["frame_nats"].item()
            for seed in range(20)
        )
        for temperature in (0.5, 1.5)
    )
    assert cool < 0.8 * warm


def test_cells_can_be_chosen_and_are_refused() -> None:
    for cell, kind in CELLS.items():
        networks = built("rnn", cell=cell)
        assert type(networks["generator"].cell) is type(networks["critic"].cell) is kind
    with pytest.raises(SettingsError, match=r"network\.cell"):
        built("rnn", cell="mamba")


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        (name, setting)
        for name in ("mlp", "rnn", "lstm")
        for setting in models.family(name).settings().__dict__
        if setting != "key_power"  # which is no size
    ],
)
def test_every_size_has_an_effect_or_is_refused(name: str, setting: str) -> None:
    plain = {key: value.shape for key, value in built(name).state_dict().items()}
    others = {"cell": "lstm", "memory_frames": [], "joint_loudness": False}
    value = others[setting] if setting in others else tiny.NETWORKS[name].get(setting, 1) + 1
    assert plain != {key: value.shape for key, value in built(name, **{setting: value}).state_dict().items()}
    if setting != "cell":
        with pytest.raises(SettingsError, match=f"network.{setting}"):
            built(name, **{setting: -1})


def test_the_critic_hears_both_ways() -> None:
    """The end of a roll counts in the verdict on its beginning, and the other way round."""
    critic: Any = built("rnn")["critic"].eval()
    heard: list[Tensor] = []
    critic.cell.register_forward_hook(lambda module, given, found: heard.append(found[0]))
    roll = music(1)
    for change in ((), slice(0, 5), slice(20, 24)):
        other = roll.clone()
        if change:
            other[..., change] = 0.5
        critic(other, None)
    plain, early, late = heard
    assert not torch.allclose(plain[:, -1], early[:, -1])
    assert not torch.allclose(plain[:, 0], late[:, 0])


def test_an_lstm_learns_to_go_on_with_a_sine() -> None:
    """A key that follows a sine: from two periods the next one is foretold, by a network taught for seconds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keys, period = 11, 24
    shape = RollShape(1, keys, 3 * period)
    generator: Any = models.build("lstm", {"width": 64, "step_frames": 2, "key_width": 32, "reach_keys": 3}, shape)[
        "generator"
    ]

    def sine(phase: Tensor, frames: int) -> Tensor:
        """(B) -> roll (B, 1, K, T)."""
        angle = 2 * math.pi * (torch.arange(frames) + phase[:, None]) / period
        key = ((keys - 1) / 2 * (1 + angle.sin())).round().long()  # (B, T)
        return 0.6 * nn.functional.one_hot(key, keys).float().transpose(1, 2)[:, None]

    optimiser = torch.optim.Adam(generator.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, total_steps=400)
    for step in range(400):
        optimiser.zero_grad()
        said = generator.likelihood(sine(torch.randint(period, (16,), generator=rng(step)), 3 * period))
        (said["frame_nats"] + 0.1 * said["loudness_nats"]).backward()
        optimiser.step()
        schedule.step()
    generator.eval()
    misses, naive = [], []
    for phase in (1.0, 10.0, 17.0):
        roll = sine(torch.tensor([phase]), 3 * period)
        heard, due = roll[..., : 2 * period], roll[0, 0, :, 2 * period :].argmax(0)
        found = generator.extend(heard, period, rng(1), temperature=0.3)[0, 0].argmax(0)
        misses.append((found - due).abs().float().mean())
        naive.append((heard[0, 0, :, -1].argmax() - due).abs().float().mean())
    assert torch.stack(misses).mean() < 0.75, misses
    assert torch.stack(naive).mean() > 3


@pytest.mark.parametrize("name", ["lstm", "rnn"])
def test_likelihood_is_learned_and_is_one_of_the_losses(name: str) -> None:
    networks, settings = built(name), tiny.settings(name)
    objective = OBJECTIVES["likelihood"](networks, settings)
    optimiser = torch.optim.Adam(networks["generator"].parameters(), lr=0.02)
    context, roll, totals = StepContext(0, 0.5, rng()), music(), []
    for _ in range(60):
        losses = objective.losses("generator", roll, context).losses
        assert {key: settings.weight(key) for key in losses} == {"frame_nats": 1.0, "loudness_nats": 0.1}
        totals.append(losses["frame_nats"].item())
        optimiser.zero_grad()
        losses["frame_nats"].backward()
        optimiser.step()
    assert totals[-1] < 0.8 * totals[0]


def test_an_mlp_fades_from_step_to_step() -> None:
    """Between the middles of steps loudness and logits are straight lines."""
    generator: Any = built("mlp", step_frames=6)["generator"]
    logits = generator.decode(generator.draw(2, tiny.FRAMES, rng()), tiny.FRAMES).logits
    bends = logits.diff(dim=3).diff(dim=3).abs().amax((0, 1, 2))  # (T - 2), of frames 1, 2, ...
    assert {index + 1 for index, bend in enumerate(bends.tolist()) if bend > 1e-4} == {2, 3, 8, 9, 14, 15, 20, 21}
