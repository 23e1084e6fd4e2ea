"""Objectives and their penalties: by hand on linear critics, and in the game of a tiny run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from musigan import models
from musigan.checkpoints import checkpoint
from musigan.checkpoints.settings import AdversarialSettings
from musigan.datasets.batches import Batch
from musigan.errors import SettingsError
from musigan.losses import adversarial
from musigan.rolls.shape import RollShape
from musigan.training import loop, runs
from musigan.training.objectives import OBJECTIVES, StepContext
from musigan.training.penalties import CriticView, penalty
from tests import tiny
from tests.tiny import assert_same_weights, go_on, start

SLOPE = torch.tensor([2.0, 0.0, -1.0, 3.0])  # |slope|^2 = 14
NO_SPECTRAL = {**tiny.NETWORKS["musigan"], "spectral": False}
WEIGHTS = {"penalty_roll": 0.3, "penalty_latent": 0.2}


PLAYERS = ["musigan", "original"]
pytestmark = pytest.mark.usefixtures("one_thread")


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(4)


def seen(judge: Callable[[Tensor], Tensor], inputs: Tensor) -> CriticView:
    inputs = inputs.clone().requires_grad_()
    return CriticView(inputs, judge(inputs))


def found(slope: Tensor, **settings: Any) -> Tensor:
    """The penalty of the linear critic `slope` on real and fake input."""
    judge = lambda x: (x.flatten(1) @ slope)[:, None]  # noqa: E731
    real, fake = torch.randn(5000, 2, 2, generator=rng()), 3 + torch.rand(5000, 2, 2, generator=rng())
    return penalty(AdversarialSettings(**settings), judge, seen(judge, real), seen(judge, fake), rng())


def test_exact_penalty_of_a_linear_critic_is_its_squared_slope_on_both_sides() -> None:
    slope = SLOPE.clone().requires_grad_()
    value = found(slope, penalty="exact")
    assert value.item() == pytest.approx(28)
    value.backward()
    torch.testing.assert_close(slope.grad, 4 * SLOPE)  # d 2|w|^2 / dw


def test_approximate_penalty_estimates_the_exact_one() -> None:
    assert found(SLOPE, penalty="approximate").item() == pytest.approx(28, rel=0.05)


@pytest.mark.parametrize("how", ["approximate", "exact"])
def test_gradient_penalty_of_a_linear_critic_is_how_far_its_slope_is_from_one(how: Any) -> None:
    slope = SLOPE.clone().requires_grad_()
    value = found(slope, objective="wgan", penalty=how)
    length = 14**0.5
    assert value.item() == pytest.approx((length - 1) ** 2, rel=1e-5)
    value.backward()
    torch.testing.assert_close(slope.grad, 2 * (length - 1) * SLOPE / length)
    flat = torch.zeros(4, requires_grad=True)
    found(flat, objective="wgan").backward()
    assert torch.isfinite(flat.grad).all()


def test_exact_penalty_of_a_curved_critic_is_taken_where_it_looked() -> None:
    judge = lambda x: x.square().sum(1, keepdim=True) / 2  # noqa: E731 - its gradient is x
    real, fake = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    value = penalty(AdversarialSettings(penalty="exact"), judge, seen(judge, real), seen(judge, fake), rng())
    assert value.item() == pytest.approx((25 + 1) / 2 + (4 + 0) / 2)


def test_interpolates_lie_between_their_own_pair() -> None:
    real, fake = torch.zeros(400, 1, 2, 3), torch.ones(400, 1, 2, 3) * torch.arange(1.0, 401)[:, None, None, None]
    between = adversarial.interpolates(real, fake, rng())
    share = between / fake
    torch.testing.assert_close(share, share[:, :1, :1, :1].expand_as(share))  # one point of the line, not a box
    assert 0 <= share.min() < 0.05
    assert 0.95 < share.max() <= 1
    assert share.mean().item() == pytest.approx(0.5, abs=0.05)


def test_border_is_midway_where_zero_means_nothing() -> None:
    real, fake = torch.tensor([[5.0], [7.0]]), torch.tensor([[4.0], [1.0]])
    assert adversarial.ADVERSARIES["hinge"].decision_threshold(real, fake).item() == 0
    for name in ("relativistic", "wgan"):
        assert adversarial.ADVERSARIES[name].decision_threshold(real, fake).item() == pytest.approx(4.25)


@pytest.mark.parametrize("name", PLAYERS)
def test_exact_penalties_see_through_a_whole_critic(name: str) -> None:
    """The second derivative against a difference of penalties: every layer of the critic has one."""
    torch.manual_seed(1)
    shape = RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)
    critic: Any = models.build(name, {**tiny.NETWORKS[name], "spectral": False}, shape)["critic"].double()
    weight = dict(critic.named_parameters())["roll.in_proj.weight" if name == "musigan" else "layers.0.weight"]
    roll = torch.rand(3, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES, generator=rng(), dtype=torch.float64)

    def squared_gradient_norm() -> Tensor:
        inputs = roll.clone().requires_grad_()
        return adversarial.squared_gradient_norm(
            adversarial.input_gradient(critic(inputs, None).logits["roll"], inputs)
        )

    (gradient,) = torch.autograd.grad(squared_gradient_norm(), weight)
    direction = torch.randn(weight.shape, generator=rng(), dtype=torch.float64)
    with torch.no_grad():
        weight += 1e-6 * direction
        more = steepness_value(squared_gradient_norm)
        weight -= 2e-6 * direction
        less = steepness_value(squared_gradient_norm)
    assert (gradient * direction).sum().item() == pytest.approx((more - less) / 2e-6, rel=1e-3)


def steepness_value(squared_gradient_norm: Callable[[], Tensor]) -> float:
    with torch.enable_grad():
        return squared_gradient_norm().item()


@pytest.mark.parametrize("game", [{"objective": "wgan"}, {"objective": "hinge", "penalty": "exact"}])
def test_compiled_code_has_no_second_derivative(game: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="compile: true with an exact gradient penalty"):
        tiny.settings(adversarial=game, loss_weights={"penalty_roll": 1.0}, compile=True)
    tiny.settings(adversarial={"objective": "hinge"}, loss_weights={"penalty_roll": 1.0}, compile=True)


def test_wgan_without_a_penalty_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"wgan.*penalty_roll.*10 is usual"):
        tiny.settings(adversarial={"objective": "wgan"})
    with pytest.raises(SettingsError, match=r"penalty_decay.*1\.5"):
        tiny.settings(adversarial={"penalty_decay": 1.5})


def test_penalties_fall_to_a_tenth_and_nothing_else_does() -> None:
    networks = start_networks("musigan")
    game = OBJECTIVES["adversarial"](networks, tiny.settings(adversarial={"penalty_decay": 0.5}))
    fallen = [game.factor("penalty_roll", progress) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert fallen == pytest.approx([1.0, 0.55, 0.1, 0.1])
    assert game.factor("critic_roll", 1.0) == 1
    assert OBJECTIVES["critic"](networks, game.settings).factor("penalty_roll", 1.0) == 1
    assert OBJECTIVES["adversarial"](networks, tiny.settings()).factor("penalty_roll", 1.0) == 1


def start_networks(name: str, **network: Any) -> Any:
    torch.manual_seed(1)
    shape = RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)
    return models.build(name, {**tiny.NETWORKS[name], **network}, shape)


@pytest.mark.parametrize("name", PLAYERS)
def test_spectral_normalisation_can_be_left_out(name: str) -> None:
    def normed(networks: Any) -> list[str]:
        return [key for key in networks.state_dict() if "parametrizations" in key]

    assert normed(start_networks(name))
    assert normed(start_networks(name, spectral=False)) == []


@pytest.mark.parametrize("side", ["critic", "generator"])
@pytest.mark.parametrize("truth", ["roll", "latent"])
def test_instance_noise_is_on_real_and_fake(side: str, truth: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the critic is shown, real and fake, in either side's step: the view plus noise of the amount asked for."""
    amounts = {"roll": 0.4, "latent": 0.7}
    settings = tiny.settings(adversarial={"instance_noise": amounts["roll"], "latent_noise": amounts["latent"]})
    game: Any = OBJECTIVES["adversarial"](start_networks("musigan"), settings)
    clean: list[Tensor] = []
    shown: list[Tensor] = []
    blur, judge = game._with_noise, game._judge

    def note_clean(views: dict[str, Any], context: StepContext) -> Any:
        clean.append(views[truth].detach())
        return blur(views, context)

    def note_shown(views: dict[str, Any], given: Any) -> Any:
        shown.append(views[truth].detach())
        return judge(views, given)

    monkeypatch.setattr(game, "_with_noise", note_clean)
    monkeypatch.setattr(game, "_judge", note_shown)
    real = torch.rand(8, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES, generator=rng())
    game.losses(side, real, StepContext(0, 0.0, rng()))
    assert len(clean) == len(shown) == 2
    assert not torch.equal(*clean)
    noises = [(x - y).flatten() for x, y in zip(shown, clean, strict=True)]
    for noise in noises:
        assert noise.std().item() == pytest.approx(amounts[truth], rel=0.15)
    assert abs(torch.corrcoef(torch.stack(noises))[0, 1]) < 0.3  # each its own


ADVERSARIAL_STAGES = [
    (objective, how)
    for objective in adversarial.ADVERSARIES
    for how in ("none", "approximate", "exact")
    if (objective, how) != ("wgan", "none")
]


@pytest.mark.parametrize(("objective", "how"), ADVERSARIAL_STAGES)
@pytest.mark.parametrize("name", PLAYERS)
def test_every_objective_trains_with_every_penalty(
    name: str, objective: str, how: str, keys: Path, tmp_path: Path
) -> None:
    chosen = {"objective": objective, "roll_every": 1} | ({} if how == "none" else {"penalty": how})
    network = {**tiny.NETWORKS[name], "spectral": objective == "hinge"}
    weights = {} if how == "none" else WEIGHTS
    run, data = start(keys, tiny.settings(name, adversarial=chosen, loss_weights=weights, network=network))
    run.plan = [("critic", 1), ("adversarial", 1)]
    assert loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent())
    last = run.history[-1]
    assert last["stage"] == "adversarial"
    penalised = [view for view in run.networks["critic"].views if how != "none"]
    assert {key for key in last if key.startswith("penalty_")} == {f"penalty_{view}" for view in penalised}
    assert all(last[f"penalty_{view}"] > 0 for view in penalised)
    assert all(torch.isfinite(p).all() for p in run.networks.parameters())


def test_penalty_settings_have_an_effect(keys: Path, tmp_path: Path) -> None:
    ends = []
    for number, changes in enumerate(({}, {"penalty": "exact"}, {"penalty_decay": 0.5})):
        run, data = start(keys, tiny.settings(adversarial=changes, loss_weights=WEIGHTS))
        run.plan = [("critic", 1), ("adversarial", 1)]
        loop.train(run, data, tmp_path / f"{number}.pt", tiny.Silent())
        ends.append(tiny.weights(tmp_path / f"{number}.pt"))
    for other in ends[1:]:
        assert any(not torch.equal(value, other[key]) for key, value in ends[0].items())


def test_exact_penalty_keeps_the_critic_flat(keys: Path) -> None:
    steep = {}
    for weight in (0.0, 30.0):
        changes = {"penalty": "exact", "roll_every": 1, "critic_learning_rate": 0.01}
        weights = {"penalty_roll": weight}
        run, data = start(keys, tiny.settings(adversarial=changes, loss_weights=weights, network=NO_SPECTRAL))
        run.plan = [("critic", 1)]
        objective = runs.objective_of(run)
        run.optimisers = runs.optimisers_of(objective)
        real = torch.stack([torch.from_numpy(data.roll(0, n)) for n in range(4)])
        for _ in range(20):
            loop.step(run, objective, Batch(real), 20)
        inputs = real.clone().requires_grad_()
        said = run.networks["critic"](inputs, None).logits["roll"]
        steep[weight] = adversarial.squared_gradient_norm(adversarial.input_gradient(said, inputs)).item()
    assert steep[30.0] < 0.1 * steep[0.0]


def test_checkpoint_from_before_the_setting_keeps_its_normalisation(keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    run, data = start(keys, tiny.settings())
    loop.train(run, data, path, tiny.Silent(), steps_limit=2)
    saved = checkpoint.load(path)
    del saved.settings["network"]["spectral"]
    for name in ("penalty", "penalty_decay"):
        del saved.settings["adversarial"][name]
    checkpoint.save(path, saved)
    run, data = go_on(path, keys)
    assert loop.train(run, data, path, tiny.Silent())


@pytest.mark.parametrize("objective", ["relativistic", "wgan"])
def test_second_derivatives_resume_bit_equal(objective: str, keys: Path, tmp_path: Path) -> None:
    chosen = {"objective": objective, "penalty": "exact", "penalty_decay": 0.7, "critic_steps": 2}
    settings = tiny.settings(adversarial=chosen, loss_weights=WEIGHTS, network=NO_SPECTRAL)
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    run, data = start(keys, settings)
    assert loop.train(run, data, whole, tiny.Silent())
    run, data = start(keys, settings)
    while not loop.train(run, data, parts, tiny.Silent(), steps_limit=4):
        run, data = go_on(parts, keys)
    assert_same_weights(whole, parts)
