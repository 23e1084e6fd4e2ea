"""Gradients accumulated over several batches: what one step over all of them would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from musigan.checkpoints.settings import TrainingSettings
from musigan.datasets.batches import Batch, batches
from musigan.errors import CheckpointError
from musigan.machine.seeding import seed_of
from musigan.training import loop, objectives, runs
from musigan.training.objectives import StepContext
from tests import tiny
from tests.tiny import assert_same_weights, go_on, start, weights

pytestmark = pytest.mark.usefixtures("one_thread")


def at_stage(keys: Path, stage: str, **changes: Any) -> tuple[runs.Run, objectives.Objective, torch.Tensor]:
    """A run from nothing in `stage`, and the rolls of its first step."""
    run, data = start(keys, tiny.settings(**changes))
    run.plan = [(stage, 1)]
    objective = runs.objective_of(run)
    run.optimisers = runs.optimisers_of(objective)
    return run, objective, next(batches(data, run.settings.rolls_per_step, 0)).roll


def learned(run: runs.Run) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in run.networks.named_parameters()}


def by_hand(run: runs.Run, objective: objectives.Objective, real: torch.Tensor, total: int) -> None:
    """One step with a single backward pass a side, through the mean of the losses of the parts."""
    settings = run.settings
    parts = real.split(settings.batch_size)
    for turn, side in enumerate(objective.sides(0)):
        losses = []
        moving = [p for group in run.optimisers[side].param_groups for p in group["params"]]
        run.networks.requires_grad_(False)
        for parameter in moving:
            parameter.requires_grad_(True)
        for number, part in enumerate(parts):
            seed = seed_of(settings.seed, 0, 0, turn, number)
            torch.manual_seed(seed)  # for dropout
            context = StepContext(0, 0.0, torch.Generator().manual_seed(seed))
            terms = objective.losses(side, part, context).losses
            losses += [settings.weight(name) * objective.factor(name, 0.0) * loss for name, loss in terms.items()]
        (torch.stack(losses).sum() / len(parts)).backward()
        torch.nn.utils.clip_grad_norm_(moving, settings.gradient_clip)
        for group in run.optimisers[side].param_groups:
            group["lr"] = group["initial_lr"] * loop._schedule(0, total)
        run.optimisers[side].step()


@pytest.mark.parametrize("name", ["musigan", "original"])
@pytest.mark.parametrize("stage", ["variational", "adversarial"])
def test_a_step_is_one_backward_through_the_mean_of_its_batches(name: str, stage: str, keys: Path) -> None:
    run, objective, real = at_stage(keys, stage, model=name, accumulate=2)
    assert len(real) == 6
    before = learned(run)
    loop.step(run, objective, Batch(real), 10)
    moved = learned(run)
    assert any(not torch.equal(moved[k], before[k]) for k in before)
    other, objective, _ = at_stage(keys, stage, model=name, accumulate=2)
    by_hand(other, objective, real, 10)
    for key, value in learned(other).items():
        torch.testing.assert_close(moved[key], value, rtol=1e-5, atol=1e-6, msg=key)


def test_where_losses_are_means_over_rolls_it_is_the_big_batch(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A batch draws noise of its own.
    monkeypatch.setattr(objectives.base, "noise_like", lambda like, rng: torch.zeros_like(like))
    found = []
    for size, accumulate in ((6, 1), (2, 3), (3, 1)):
        run, objective, real = at_stage(
            keys, "variational", batch_size=size, accumulate=accumulate,
            loss_weights={"reconstruction": 0.0, "kl": 0.5}, variational={"free_bits": 0.0, "kl_warmup": 0.0},
        )  # fmt: skip
        loop.step(run, objective, Batch(real), 10)
        found.append(learned(run))
    big, accumulated, small = found
    for key, value in big.items():
        torch.testing.assert_close(accumulated[key], value, rtol=1e-5, atol=1e-6, msg=key)
    assert any(not torch.allclose(small[key], value, rtol=1e-5, atol=1e-6) for key, value in big.items())


def test_every_side_of_a_step_meets_the_same_batches(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator's turn goes on from what the critic's began for the same batch, and nothing is encoded twice."""
    run, objective, real = at_stage(keys, "adversarial", accumulate=2, adversarial={"roll_every": 1})
    assert isinstance(objective, objectives.Adversarial)
    begun, used, encoded = [], [], []
    begin, fake, encode = objective._start_latents, objective._fake, objective.generator.encode

    def watched_fake(batch: torch.Tensor, start: torch.Tensor, context: StepContext) -> Any:
        used.append((batch[0], start))
        return fake(batch, start, context)

    monkeypatch.setattr(objective, "_start_latents", lambda *a: begun.append(begin(*a)) or begun[-1])
    monkeypatch.setattr(objective, "_fake", watched_fake)
    monkeypatch.setattr(objective.generator, "encode", lambda roll: encoded.append(roll) or encode(roll))
    loop.step(run, objective, Batch(real), 10)
    assert (len(begun), len(encoded), len(used)) == (2, 2, 4)
    critic, generator = used[:2], used[2:]
    for (roll, latents), (again, same), index in zip(critic, generator, (0, 3), strict=True):
        assert torch.equal(roll, real[index])
        assert torch.equal(again, real[index])
        assert latents is same
    assert not torch.equal(begun[0], begun[1])  # a batch's noise is its own


@pytest.fixture(scope="module", params=["musigan", "original"])
def uninterrupted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A family, and a folder with keys and whole.pt, a run of it on two batches a step."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp(request.param)
    run, data = start(tiny.write_keys(folder / "keys"), accumulating(request.param))
    reporter = tiny.Silent()
    assert loop.train(run, data, folder / "whole.pt", reporter)
    assert [(step.step, step.steps) for step in reporter.steps] == [(1, 2), (2, 2)] * 4
    return request.param, folder


def accumulating(name: str) -> TrainingSettings:
    return tiny.settings(name, batch_size=2, accumulate=2)  # 8 rolls: 2 steps an epoch, 8 in all


@pytest.mark.parametrize("limit", [1, 3])
def test_stopped_and_resumed_is_bit_equal(limit: int, uninterrupted: tuple[str, Path], tmp_path: Path) -> None:
    name, folder = uninterrupted
    keys, parts = folder / "keys", tmp_path / "parts.pt"
    run, data = start(keys, accumulating(name))
    sittings = 1
    while not loop.train(run, data, parts, tiny.Silent(), steps_limit=limit):
        torch.manual_seed(sittings)
        run, data = go_on(parts, keys)
        sittings += 1
    assert sittings == -(-8 // limit)
    assert_same_weights(folder / "whole.pt", parts)


def test_two_batches_are_not_one_of_their_size(uninterrupted: tuple[str, Path], tmp_path: Path) -> None:
    name, folder = uninterrupted
    run, data = start(folder / "keys", tiny.settings(name, batch_size=4))
    loop.train(run, data, tmp_path / "other.pt", tiny.Silent())
    left, right = weights(folder / "whole.pt"), weights(tmp_path / "other.pt")
    assert any(not torch.equal(left[k], right[k]) for k in left)


def test_pace_counts_rolls_of_all_batches(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    run, data = start(keys, tiny.settings(batch_size=2, accumulate=2))
    run.plan = [("prior", 2)]
    seen = []
    monkeypatch.setattr(run.average, "update", lambda network, rolls, total: seen.append((rolls, total)))
    reporter = tiny.Silent()
    loop.train(run, data, tmp_path / "ckpt.pt", reporter)
    assert [step.rolls_per_second for step in reporter.steps] == [4.0] * 4
    assert [step.seconds_left for step in reporter.steps] == [3.0, 2.0, 1.0, 0.0]
    assert seen == [(4, 4), (4, 8), (4, 12), (4, 16)]


def test_losses_are_means_over_the_batches(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, objective, real = at_stage(keys, "prior", accumulate=2)
    values = iter((1.0, 4.0))
    draw = objective.losses

    def scaled(side: str, batch: torch.Tensor, context: StepContext) -> objectives.Terms:
        loss = draw(side, batch, context).losses["flow"]
        return objectives.Terms({"flow": loss - loss.detach() + next(values)})

    monkeypatch.setattr(objective, "losses", scaled)
    loop.step(run, objective, Batch(real), 10)
    assert loop._means(run.position.tally) == {"flow": 2.5}


def test_a_resumed_run_keeps_its_batches(keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    run, data = start(keys, tiny.settings(accumulate=2))
    loop.train(run, data, path, tiny.Silent(), steps_limit=1)
    with pytest.raises(CheckpointError, match="--accumulate 2, now it is 4"):
        go_on(path, keys, tiny.settings(accumulate=4))
