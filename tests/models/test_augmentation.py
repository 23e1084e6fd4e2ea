from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from musigan import models
from musigan.checkpoints import checkpoint
from musigan.errors import SettingsError
from musigan.models import augmentation
from musigan.models.augmentation import Augmentation, shift
from musigan.rolls.shape import RollShape
from musigan.training import loop, runs
from musigan.training.objectives import OBJECTIVES, StepContext
from tests import tiny
from tests.tiny import assert_same_weights, go_on, start

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "training.md"
SHAPE = RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)


pytestmark = pytest.mark.usefixtures("one_thread")


def rng(seed: int = 4) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def at(probability: float) -> Augmentation:
    made = Augmentation()
    made.probability.fill_(probability)
    return made


def rolls(batch: int = 5) -> Tensor:
    return torch.rand(batch, 2, 9, 40, generator=rng(1))


def test_shift_by_hand() -> None:
    roll = torch.zeros(2, 1, 3, 4)
    roll[0, 0, 0, 1], roll[0, 0, 2, 3], roll[1, 0, 2, 2] = 1.0, 2.0, 3.0
    moved = shift(roll, [1, -2], [2, -1])
    expected = torch.zeros(2, 1, 3, 4)
    expected[0, 0, 1, 3], expected[1, 0, 0, 1] = 1.0, 3.0  # the 2 has left the roll
    assert torch.equal(moved, expected)


def test_identity_at_zero() -> None:
    roll = rolls()
    assert torch.equal(at(0.0)(roll, rng()), roll)


def test_each_sample_is_changed_in_its_own_way_and_again_the_same_from_the_same_seed() -> None:
    roll = rolls(1).expand(64, -1, -1, -1)
    changed = at(0.5)(roll, rng())
    assert changed.shape == roll.shape
    assert torch.equal(changed, at(0.5)(roll, rng()))
    assert len({tuple(one.flatten().tolist()) for one in changed}) > 40
    untouched = sum(torch.equal(a, b) for a, b in zip(changed, roll, strict=True))
    assert 1 <= untouched < 20  # 1 in 32 for none of five, and some changes come out as none


def test_changes_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A roll of ones, nothing moved: louder or softer within bounds, one silent stretch within bounds."""
    monkeypatch.setattr(augmentation, "KEYS", 0)
    monkeypatch.setattr(augmentation, "SHIFT", 0.0)
    changed = at(1.0)(torch.ones(500, 2, 3, 40), rng())
    assert torch.equal(changed, changed[:, :1, :1].expand_as(changed))
    frames = changed[:, 0, 0]  # (B, T)
    loudness = frames.amax(1)
    assert 2**-0.5 <= loudness.min() < 0.75
    assert 1.35 < loudness.max() <= 2**0.5
    silent = (frames == 0).int()
    lengths = silent.sum(1)
    assert lengths.min() == 0
    assert 8 <= lengths.max() <= 10
    edges = torch.nn.functional.pad(silent, (1, 1)).diff(dim=1).abs().sum(1)
    assert (edges[lengths > 0] == 2).all()  # in one piece
    assert silent.sum(0).min() > 0  # anywhere


def test_channels_are_swapped_in_stereo_only() -> None:
    roll = torch.zeros(200, 2, 9, 40)
    roll[:, 0] = 1.0
    left = at(0.8)(roll, rng()).amax((2, 3))  # (B, C)
    assert ((left > 0).sum(1) == 1).all()
    assert 0.3 < (left[:, 1] > 0).float().mean().item() < 0.5  # half of 0.8
    assert (at(0.8)(roll[:, :1], rng()).amax((1, 2, 3)) > 0).all()


def test_narrow_and_short_rolls() -> None:
    assert at(0.8)(torch.ones(3, 1, 1, 2), rng()).shape == (3, 1, 1, 2)


def test_gradient_is_that_of_the_changes() -> None:
    """The changes are linear: what is linear has its value as the product with its gradient."""
    roll = rolls().requires_grad_()
    weights = torch.rand(roll.shape, generator=rng(2))
    value = (at(0.7)(roll, rng()) * weights).sum()
    value.backward()
    assert roll.grad is not None
    assert (roll.grad * roll).sum().item() == pytest.approx(value.item(), rel=1e-5)
    assert roll.grad.abs().sum() > 0


def test_probability_rises_while_too_sure_and_falls_otherwise() -> None:
    made, sure, unsure = Augmentation(), torch.ones(6, 1), torch.tensor([[1.0], [-1.0], [1.0], [-1.0], [1.0], [-1.0]])
    heights = []
    for step in range(60):
        made.enter(step, target=0.6, rolls=120)
        made.add_verdicts(sure)
        heights.append(made.probability.item())
    assert heights[-1] == pytest.approx(augmentation.MAX_PROBABILITY)
    assert heights[9] - heights[8] == pytest.approx(6 / 120)
    for step in range(60, 120):
        made.enter(step, target=0.6, rolls=120)
        made.add_verdicts(unsure)
    assert made.probability.item() == 0


def test_probability_holds_the_target() -> None:
    """A critic the less sure the more is changed, mean sign 1 - p: it settles where 1 - p is the target."""
    made, draw, seen = Augmentation(), rng(), []
    for step in range(2000):
        made.enter(step, target=0.6, rolls=2000)
        right = torch.rand(8, 1, generator=draw) < 1 - made.probability / 2
        made.add_verdicts(right.float() * 2 - 1)
        seen.append(made.probability.item())
    assert sum(seen[1000:]) / 1000 == pytest.approx(0.4, abs=0.06)


def test_parts_of_a_batch_count_as_the_whole() -> None:
    whole, parts = at(0.5), at(0.5)
    signs = torch.tensor([[1.0], [1.0], [1.0], [-1.0], [1.0], [1.0], [1.0], [1.0]])  # parts of .5 and 1
    for step in range(3):
        whole.enter(step, target=0.2, rolls=100)
        whole.add_verdicts(signs)
        for part in signs.chunk(2):
            parts.enter(step, target=0.2, rolls=100)
            assert torch.equal(whole.probability, parts.probability)
            parts.add_verdicts(part)
    assert whole.sureness.item() == pytest.approx(0.75 * (1 - 0.75**2))
    assert whole.probability.item() == pytest.approx(0.5 - 0.08 + 0.08)  # from .19 up to .33
    assert torch.equal(whole.sureness, parts.sureness)


def game(stage: str = "adversarial", probability: float = 0.8, **changes: Any) -> Any:
    torch.manual_seed(1)
    networks = models.build("musigan", tiny.NETWORKS["musigan"], SHAPE)
    networks["augmentation"] = at(probability)
    settings = tiny.settings(adversarial={"adaptive": True, "instance_noise": 0.0, **changes})
    return OBJECTIVES[stage](networks, settings)


@pytest.mark.parametrize("side", ["critic", "generator"])
def test_real_and_fake_are_changed_in_both_steps(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rolls that the critic is shown went through the same module, each with changes of its own."""
    objective = game()
    went, shown = [], []
    forward, judge = objective.augmentation.forward, objective._judge

    def note(roll: Tensor, draw: torch.Generator) -> Tensor:
        went.append((roll.detach(), objective.augmentation.probability.item(), forward(roll, draw)))
        return went[-1][2]

    monkeypatch.setattr(objective.augmentation, "forward", note)
    monkeypatch.setattr(
        objective, "_judge", lambda views, given: shown.append(views["roll"].detach()) or judge(views, given)
    )
    real = torch.rand(6, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES, generator=rng())
    objective.losses(side, real, StepContext(0, 0.0, rng()))
    assert len(went) == len(shown) == 2
    assert torch.equal(went[0][0], real)
    assert not torch.equal(went[1][0], real)
    for (before, probability, after), what in zip(went, shown, strict=True):
        assert probability == pytest.approx(0.8)
        assert torch.equal(after, what)
        assert not torch.equal(before, what)


def test_real_and_fake_follow_one_law() -> None:
    """The same roll as real and as fake: what is shown agrees in distribution (mean per key, share of silence)."""
    objective = game()
    roll = rolls(1).expand(800, -1, -1, -1)
    context = StepContext(0, 0.0, rng())
    one, other = (objective._augmented({"roll": roll, "latent": None}, context)["roll"] for _ in range(2))
    assert not torch.equal(one, other)
    torch.testing.assert_close(one.mean((0, 3)), other.mean((0, 3)), atol=0.02, rtol=0.05)
    silent = [(x.amax((1, 2)) == 0).float().mean().item() for x in (one, other)]
    assert silent[0] == pytest.approx(silent[1], abs=0.02)


def test_generator_learns_through_the_changes() -> None:
    objective = game()
    real = torch.rand(4, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES, generator=rng())
    terms = objective.losses("generator", real, StepContext(0, 0.0, rng()))
    terms.losses["adversarial_roll"].backward()
    decoder = objective.generator.parts()["decoder"]
    assert sum(p.grad.abs().sum().item() for p in decoder if p.grad is not None) > 0


@pytest.mark.parametrize(("stage", "moves"), [("adversarial", True), ("critic", False)])
def test_the_game_steers_and_the_critic_alone_does_not(stage: str, moves: bool) -> None:
    objective = game(stage, 0.4, adaptive_rolls=100.0)
    real = torch.rand(4, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES, generator=rng())
    held = objective.augmentation.probability
    assert objective.losses("critic", real, StepContext(0, 0.0, rng())).figures["augmentation"].item() == pytest.approx(
        0.4
    )
    objective.losses("generator", real, StepContext(0, 0.0, rng()))
    assert held.item() == pytest.approx(0.4)  # to the end of the step
    objective.losses("critic", real, StepContext(1, 0.0, rng()))  # a step without rolls
    assert abs(held.item() - 0.4) == pytest.approx(0.04 if moves else 0.0, abs=1e-6)
    before = held.item()
    objective.losses("critic", real, StepContext(2, 0.0, rng()))
    assert held.item() == before


def test_off_is_the_default_and_leaves_nothing_behind(keys: Path, tmp_path: Path) -> None:
    run, data = start(keys, tiny.settings())
    run.plan = [("critic", 1), ("adversarial", 1)]
    loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent())
    assert set(run.networks) == {"generator", "critic"}
    with pytest.raises(SettingsError, match=r"adaptive_target"):
        tiny.settings(adversarial={"adaptive_target": 1.0})


def test_the_run_brings_it_where_a_stage_needs_it(keys: Path) -> None:
    """With the names of the store's tracks; to look at the networks of a stage adds none."""
    settings = tiny.settings(adversarial={"adaptive": True})
    data = tiny.dataset(keys, settings)
    record = replace(data.record(), header=replace(data.reader.header, tracks=("drums", "bass")))
    run = runs.begin(settings, data, record, {"variational": 1, "critic": 1}, tiny.CPU)
    assert run.networks["augmentation"].tracks == ("drums", "bass")
    runs.objective_of(run)
    assert set(run.networks) == {"generator", "critic", "augmentation"}
    saved = run.snapshot()
    assert checkpoint.build_networks(saved)["augmentation"].tracks == ("drums", "bass")
    assert "augmentation" not in runs.begin(settings, data, record, {"variational": 1}, tiny.CPU).networks


EVERYTHING: dict[str, Any] = {
    "adversarial": {
        "objective": "relativistic", "penalty": "exact", "penalty_decay": 0.8, "critic_steps": 2, "roll_every": 2,
        "adaptive": True, "adaptive_target": 0.05, "adaptive_rolls": 20.0, "critic_learning_rate": 0.02,
    },
    "loss_weights": {"penalty_roll": 0.01, "penalty_latent": 0.01},
    "epochs": 6,
}  # fmt: skip


@pytest.mark.parametrize("name", ["musigan", "original"])
def test_stop_and_resume_is_bit_equal_with_everything_on(name: str, keys: Path, tmp_path: Path) -> None:
    settings = tiny.settings(name, network={**tiny.NETWORKS[name], "spectral": False}, **EVERYTHING)
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    run, data = start(keys, settings)
    assert loop.train(run, data, whole, tiny.Silent())
    assert max(entry.get("augmentation", 0.0) for entry in run.history) > 0.05  # it did something
    run, data = start(keys, settings)
    while not loop.train(run, data, parts, tiny.Silent(), steps_limit=4):
        torch.manual_seed(5)
        run, data = go_on(parts, keys)
    assert_same_weights(whole, parts)
    assert "augmentation.probability" in tiny.weights(whole)


def test_the_settings_that_the_guide_shows_train(keys: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"^```\n(adversarial:\n.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        shown = yaml.safe_load(block)
        network = {**tiny.NETWORKS["musigan"], **shown.pop("network", {})}
        run, data = start(keys, tiny.settings(**shown, network=network))
        assert loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent())
        assert {"penalty_roll", "penalty_latent", "augmentation"} <= run.history[-1].keys()


def test_turned_on_in_an_older_run_and_off_again(keys: Path, tmp_path: Path) -> None:
    """A checkpoint from before there was augmentation goes on with it, and one that has it goes on without."""
    path = tmp_path / "ckpt.pt"
    off, on = tiny.settings(epochs=6), tiny.settings(epochs=6, adversarial={"roll_every": 1, "adaptive": True})
    run, data = start(keys, off)
    loop.train(run, data, path, tiny.Silent(), steps_limit=10)
    saved = checkpoint.load(path)
    for setting in ("adaptive", "adaptive_target", "adaptive_rolls"):
        del saved.settings["adversarial"][setting]
    checkpoint.save(path, saved)
    for settings in (on, off):
        run, data = go_on(path, keys, settings)
        loop.train(run, data, path, tiny.Silent(), steps_limit=3)
        assert "augmentation" in checkpoint.load(path).networks  # kept, should it be turned on again


def test_a_game_started_from_it_goes_on_with_its_probability(keys: Path, tmp_path: Path) -> None:
    run, data = start(keys, tiny.settings(**EVERYTHING))
    loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent(), steps_limit=1)
    saved = checkpoint.load(tmp_path / "ckpt.pt")
    saved.networks["augmentation"]["probability"].fill_(0.25)
    again = runs.begin(run.settings, data, data.record(), {"adversarial": 1}, tiny.CPU, saved)
    again_objective: Any = runs.objective_of(again)
    assert again_objective.augmentation.probability.item() == 0.25
