from __future__ import annotations

import dataclasses
import itertools
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from musigan import models
from musigan.checkpoints import checkpoint
from musigan.checkpoints.settings import TrainingSettings
from musigan.datasets.batches import Batch, Examples, stack_examples
from musigan.errors import CheckpointError, MusiganError
from musigan.losses import likelihood
from musigan.losses.musical import MUSICAL
from musigan.settings import merge
from musigan.training import loop, runs
from musigan.training.ema import Average
from musigan.training.objectives import OBJECTIVES
from tests import tiny
from tests.tiny import CPU, assert_same_weights, go_on, start, weights

pytestmark = pytest.mark.usefixtures("one_thread")

DRAWING = ["bars", "musigan", "original", "mlp", "rnn", "lstm", "mdn-rnn", "answer", "musegan"]  # families that draw


def short(**change: Any) -> TrainingSettings:
    """One epoch of two steps of each stage, the KL felt at once; `change` on top."""
    basis = {"batch_size": 4, "variational": {"free_bits": 0.0}}
    return tiny.settings(**merge(basis, change))


def repeated(examples: Examples, count: int) -> Batch:
    """A batch of one example, so many times; its conditions count where the networks need them."""
    return stack_examples([examples.example(0, 0)] * count)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a short run with nothing changed."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("plain")
    run, data = start(tiny.write_keys(folder / "keys.zarr.zip"), short())
    loop.train(run, data, folder / "ckpt.pt", tiny.Silent())
    return folder / "ckpt.pt"


@pytest.fixture(scope="module", params=DRAWING)
def uninterrupted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A family, and a folder with keys and whole.pt, a run of it through all stages."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp(request.param)
    run, data = start(tiny.write_keys_for(request.param, folder / "keys"), tiny.settings(request.param))
    assert loop.train(run, data, folder / "whole.pt", tiny.Silent())
    return request.param, folder


@pytest.mark.parametrize("limit", [1, 5, 9])
def test_stopped_and_resumed_is_bit_equal(limit: int, uninterrupted: tuple[str, Path], tmp_path: Path) -> None:
    name, folder = uninterrupted
    keys, whole, parts = folder / "keys", folder / "whole.pt", tmp_path / "parts.pt"
    steps = checkpoint.load(whole).position.total_steps
    assert steps >= 8
    run, data = start(keys, tiny.settings(name))
    sittings = 0
    while not loop.train(run, data, parts, tiny.Silent(), steps_limit=limit):
        torch.manual_seed(sittings)  # what else happens in a process must not matter
        torch.rand(7)
        run, data = go_on(parts, keys)
        sittings += 1
    assert sittings == -(-steps // limit) - 1
    assert_same_weights(whole, parts)
    strip = [{k: v for k, v in e.items() if k != "seconds"} for e in checkpoint.load(whole).history]
    assert strip == [{k: v for k, v in e.items() if k != "seconds"} for e in checkpoint.load(parts).history]
    assert len(strip) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_saves_in_mid_epoch_and_takes_effect(number: int, keys: Path, tmp_path: Path) -> None:
    settings = tiny.settings(epochs=6, pretrain_epochs=5)
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    run, data = start(keys, settings)
    loop.train(run, data, whole, tiny.Silent())

    class Terminated(BaseException):
        pass

    def terminate(*_: object) -> None:
        raise Terminated

    # A shell may ignore the last.
    handlers = {signal.SIGTERM: terminate, signal.SIGHUP: terminate, signal.SIGINT: signal.default_int_handler}
    former = {name: signal.signal(name, handler) for name, handler in handlers.items()}
    try:
        run, data = start(keys, settings)
        reporter = tiny.Silent(lambda p: os.kill(os.getpid(), number) if (p.epoch, p.step) == (2, 1) else None)
        with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else Terminated):
            loop.train(run, data, parts, reporter)
    finally:
        for name, handler in former.items():
            signal.signal(name, handler)
    saved = checkpoint.load(parts)
    assert (saved.position.stage, saved.position.epoch, saved.position.step_in_epoch) == (0, 1, 1)
    assert "--resume" in reporter.notes[-1]
    run, data = go_on(parts, keys)
    loop.train(run, data, parts, tiny.Silent())
    assert_same_weights(whole, parts)


@pytest.mark.parametrize(
    ("stage", "side", "may_move"),
    [
        ("variational", "generator", ("generator.encoder", "generator.decoder")),
        ("prior", "generator", ("generator.prior",)),
        ("codec", "generator", ("generator.encoder", "generator.decoder")),
        ("composer", "generator", ("generator.prior",)),
        ("likelihood", "generator", ("generator.prior",)),
        ("critic", "critic", ("critic",)),
        ("adversarial", "critic", ("critic",)),
        ("adversarial", "generator", ("generator.prior", "generator.decoder")),
    ],
)
@pytest.mark.parametrize("name", DRAWING)
def test_each_side_moves_its_own_parameters_only(
    name: str, stage: str, side: str, may_move: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stage not in models.family(name).stages:
        pytest.skip("a stage that this family does not have")
    run, data = start(tiny.write_keys_for(name, tmp_path / "keys"), tiny.settings(name))
    run.plan = [(stage, 1)]
    objective = runs.objective_of(run)
    run.optimisers = runs.optimisers_of(objective)
    monkeypatch.setattr(objective, "sides", lambda step: [side])

    def parameters() -> dict[str, torch.Tensor]:
        parts = run.networks["generator"].parts()
        named = {f"generator.{part}.{i}": p for part, found in parts.items() for i, p in enumerate(found)}
        for critic in [run.networks["critic"]] if "critic" in run.networks else []:
            named |= {f"critic.{i}": p for i, p in enumerate(critic.parameters())}
        return {k: v.detach().clone() for k, v in named.items()}

    before = parameters()
    batch = repeated(objective.examples(data), 4)
    for _ in range(2):
        run.position.step = 0  # a step on whole rolls
        loop.step(run, objective, batch, 10)
    moved = {k for k, v in parameters().items() if not torch.equal(v, before[k])}
    assert moved
    assert {k for k in moved if not k.startswith(may_move)} == set()
    for part in may_move:
        if any(k.startswith(part) for k in before):
            assert any(k.startswith(part) for k in moved), part


@pytest.mark.parametrize(("side", "other"), [("critic", "generator"), ("generator", "critic")])
@pytest.mark.parametrize("name", ["bars", "musigan", "original", "mlp", "rnn", "answer", "musegan"])
def test_a_frozen_side_stands_still_for_its_share_of_the_game(name: str, side: str, other: str, tmp_path: Path) -> None:
    keys = tiny.write_keys_for(name, tmp_path / "keys")
    run, data = start(keys, tiny.settings(name, adversarial={f"freeze_{side}": [0.25, 0.75]}))
    run.plan = [("adversarial", 1)]
    objective = runs.objective_of(run)
    run.optimisers = runs.optimisers_of(objective)
    batch = repeated(objective.examples(data), 3)
    moved: dict[str, list[int]] = {side: [], other: []}
    for step in range(8):
        before = {k: v.detach().clone() for k, v in run.networks.named_parameters()}
        loop.step(run, objective, batch, 8)
        for each in (side, other):
            network = run.networks[each].named_parameters(each)
            if any(not torch.equal(value, before[k]) for k, value in network):
                moved[each].append(step)
    assert moved == {side: [0, 1, 6, 7], other: list(range(8))}
    assert run.optimisers[other].state
    assert not runs.OBJECTIVES["critic"](run.networks, run.settings).frozen(0.5)  # alone it always learns


def test_loss_that_is_not_a_number_keeps_the_last_checkpoint(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ckpt.pt"
    run, data = start(keys, tiny.settings())
    loop.train(run, data, path, tiny.Silent(), steps_limit=2)
    before = path.read_bytes()
    broken = lambda *a: torch.tensor(float("nan"), requires_grad=True)  # noqa: E731
    monkeypatch.setattr(likelihood, "kl_divergence", broken)
    run, data = go_on(path, keys)
    with pytest.raises(MusiganError, match="kl is not a finite number; the last good checkpoint is kept: --resume"):
        loop.train(run, data, path, tiny.Silent())
    fresh, data = start(keys, tiny.settings())
    with pytest.raises(MusiganError, match="no checkpoint was saved yet: start again"):
        loop.train(fresh, data, path, tiny.Silent())  # --force over an older run's
    assert path.read_bytes() == before


def test_a_last_step_that_no_loss_has_seen_keeps_the_last_checkpoint(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ckpt.pt"
    run, data = start(keys, tiny.settings(gradient_clip=0.0))
    loop.train(run, data, path, tiny.Silent(), steps_limit=1)
    before = path.read_bytes()
    run, data = go_on(path, keys)
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: self.param_groups[0]["params"][-1].data.fill_(math.inf))
    with pytest.raises(MusiganError, match=r"is not a finite number; .* is kept: --resume it with --set gradient_clip"):
        loop.train(run, data, path, tiny.Silent(), steps_limit=1)
    assert path.read_bytes() == before


def test_weights_count_by_name(keys: Path, tmp_path: Path) -> None:
    plain, heavier = tmp_path / "a.pt", tmp_path / "b.pt"
    for path, given in ((plain, {}), (heavier, {"kl": 3.0})):
        run, data = start(keys, tiny.settings(loss_weights=given, variational={"kl_warmup": 0.0, "free_bits": 0.0}))
        loop.train(run, data, path, tiny.Silent(), steps_limit=2)
    left, right = weights(plain), weights(heavier)
    assert any(not torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize(
    "change",
    [
        {"adversarial": {"objective": "hinge"}}, {"adversarial": {"objective": "relativistic"}},
        {"adversarial": {"critic_steps": 2}}, {"adversarial": {"roll_every": 1}},
        {"adversarial": {"instance_noise": 0.4}}, {"adversarial": {"label_smoothing": 0.4}},
        {"adversarial": {"learning_rate": 0.01}}, {"adversarial": {"decoder_learning_rate": 0.01}},
        {"adversarial": {"critic_learning_rate": 0.01}}, {"adversarial": {"betas": [0.5, 0.9]}},
        {"adversarial": {"freeze_critic": [0.0, 0.4]}}, {"adversarial": {"freeze_generator": [0.0, 0.4]}},
        {"variational": {"learning_rate": 0.01}}, {"variational": {"betas": [0.5, 0.9]}},
        {"variational": {"free_bits": 2.0}}, {"variational": {"kl_warmup": 0.9}},
        {"loss_weights": {"penalty_latent": 1.0}}, {"loss_weights": {"penalty_roll": 1.0}},
        {"loss_weights": {"motion": 1.0}}, {"loss_weights": {"features_roll": 1.0}},
        {"loss_weights": {"melody": 1.0}}, {"loss_weights": {"statistics": 1.0}},
        {"loss_weights": {"song_divergence": 1.0}},
        {"loss_weights": {"anchor": 0.0, "anchor_activity": 0.0}},
        {"gradient_clip": 0.01}, {"ema_half_life": 0.1}, {"seed": 2}, {"batch_size": 2}, {"accumulate": 2},
        {"compression": "log"}, {"augment": {"gain": 0.5}},
    ],
    ids=str,
)  # fmt: skip
def test_every_option_has_an_effect(change: dict[str, Any], plain: Path, keys: Path, tmp_path: Path) -> None:
    """A run through all stages ends in other weights, or in another average, than without the change."""
    run, data = start(keys, short(**change))
    loop.train(run, data, tmp_path / "changed.pt", tiny.Silent())
    left, right = weights(plain), weights(tmp_path / "changed.pt")
    assert any(not torch.equal(left[k], right[k]) for k in left)
    assert all(torch.isfinite(value).all() for value in right.values())


def test_resume_with_another_store_names_both(keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    run, data = start(keys, tiny.settings())
    loop.train(run, data, path, tiny.Silent(), steps_limit=1)
    more = tiny.write_keys(tmp_path / "more.zarr.zip", songs=5)
    with pytest.raises(CheckpointError, match=r"was 12, is 20"):
        go_on(path, more)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": {**tiny.NETWORKS["musigan"], "width": 8}}, "network.width = 6, the settings ask for 8"),
        ({"compression": "log"}, "compression = sqrt, the settings ask for log"),
        ({"batch_size": 5}, "--batch-size 3, now it is 5"),
        ({"seed": 9}, "--seed 1, now it is 9"),
        ({"epochs": 3}, "has done"),
    ],
)
def test_resume_with_other_structure_names_both(changes: dict[str, Any], said: str, keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    run, data = start(keys, tiny.settings())
    loop.train(run, data, path, tiny.Silent())
    with pytest.raises(CheckpointError, match=said):
        go_on(path, keys, tiny.settings(**changes))


def test_resume_with_other_rates_uses_them(keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    run, data = start(keys, tiny.settings())
    loop.train(run, data, path, tiny.Silent(), steps_limit=2)
    run, _ = go_on(path, keys, tiny.settings(variational={"learning_rate": 0.25, "betas": [0.3, 0.4]}))
    (group,) = run.optimisers["generator"].param_groups
    assert (group["lr"], group["initial_lr"], group["betas"]) == (0.25, 0.25, (0.3, 0.4))
    assert run.optimisers["generator"].state  # the momentum is kept


def test_resume_of_a_checkpoint_from_before_a_setting(keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    run, data = start(keys, tiny.settings())
    loop.train(run, data, path, tiny.Silent(), steps_limit=2)
    saved = checkpoint.load(path)
    for setting in ("fine_blocks", "gaussian", "critic_heads"):
        del saved.settings["network"][setting]
    checkpoint.save(path, saved)
    run, data = go_on(path, keys)
    assert loop.train(run, data, path, tiny.Silent())


def test_pace_lasts_over_epochs_and_weighs_stages(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of one second a step: 2 epochs x 3 steps of each of two stages, the first step with one behind it."""
    clock = itertools.count()
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    run, data = start(keys, tiny.settings(epochs=8, pretrain_epochs=4, critic_epochs=2))
    run.plan = [("critic", 2), ("adversarial", 4)]
    costs = {"critic": 1.0, "adversarial": 3.0}
    monkeypatch.setattr(
        loop, "STAGES", {n: dataclasses.replace(loop.STAGES[n], cost=cost) for n, cost in costs.items()}
    )
    reporter = tiny.Silent()
    loop.train(run, data, tmp_path / "ckpt.pt", reporter)
    left = [(step.stage, step.seconds_left) for step in reporter.steps]
    assert left[:6] == [("critic", 5.0 - n + 36.0) for n in range(6)]
    assert left[6:] == [("adversarial", 11.0 - n) for n in range(12)]
    assert [step.rolls_per_second for step in reporter.steps] == [3.0] * 18


def test_pace_is_a_mean_over_the_stage(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of one second in the first epoch, of three in the second: after its first step (3 + 3) / 4."""
    clock = {"now": 0.0, "step": 1.0}

    def monotonic() -> float:
        clock["now"] += clock["step"]
        return clock["now"]

    def slow_down(progress: loop.Progress) -> None:
        clock["step"] = 3.0 if progress.epoch == 2 or progress.step == 3 else 1.0

    monkeypatch.setattr(loop.time, "monotonic", monotonic)
    run, data = start(keys, tiny.settings())
    run.plan = [("prior", 2)]
    reporter = tiny.Silent(slow_down)
    loop.train(run, data, tmp_path / "ckpt.pt", reporter)
    # 3 steps an epoch; the tick between the epochs is counted by none.
    assert [step.seconds_left for step in reporter.steps] == [5.0, 4.0, 3.0, 2 * 6 / 4, 1 * 9 / 5, 0.0]


def test_resume_a_finished_run_with_more_epochs(keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    run, data = start(keys, tiny.settings())
    loop.train(run, data, path, tiny.Silent())
    run, data = go_on(path, keys)
    assert run.finished
    run, data = go_on(path, keys, tiny.settings(epochs=6))
    assert loop.train(run, data, path, tiny.Silent())
    history = checkpoint.load(path).history
    assert [entry["stage"] for entry in history] == ["variational", "prior", "critic"] + ["adversarial"] * 3
    assert [entry["total_epoch"] for entry in history] == [1, 2, 3, 4, 5, 6]


def test_game_from_a_pretrained_checkpoint(keys: Path, tmp_path: Path) -> None:
    before, after = tmp_path / "pre.pt", tmp_path / "ckpt.pt"
    run, data = start(keys, tiny.settings(epochs=3), adversarial=False)
    assert loop.train(run, data, before, tiny.Silent())
    saved = checkpoint.load(before)
    assert [entry["stage"] for entry in saved.history] == ["variational", "prior", "critic"]
    settings = tiny.settings()
    run = runs.begin(settings, data, data.record(), {"adversarial": 2}, CPU, saved)
    kept = weights(before)
    for name, value in run.networks["generator"].state_dict().items():
        assert torch.equal(value, kept[f"average.{name}"])
    assert loop.train(run, data, after, tiny.Silent())
    # The encoder stands still in the game.
    now = weights(after)
    frozen = [k for k in now if k.startswith("networks.generator.encoder") or k.startswith("generator.encoder")]
    assert frozen
    assert all(torch.equal(now[k], kept[k.replace("generator.", "average.", 1)]) for k in frozen)


def test_training_lowers_the_losses(keys: Path, tmp_path: Path) -> None:
    rates = {"variational": {"learning_rate": 0.02}, "prior": {"learning_rate": 0.01}}
    run, data = start(keys, tiny.settings(epochs=40, critic_epochs=0, save_every=40, **rates), adversarial=False)
    held = tiny.dataset(keys, run.settings, "validation")
    loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent(), validation=held)
    first, prior = ([entry for entry in run.history if entry["stage"] == stage] for stage in ("variational", "prior"))
    assert first[-1]["activity"] < 0.7 * first[0]["activity"]
    assert first[-1]["validation_activity"] < first[0]["validation_activity"]
    assert prior[-1]["flow"] < 0.97 * prior[0]["flow"]


def test_few_songs_are_said_not_crashed_on(tmp_path: Path) -> None:
    keys = tiny.write_keys(tmp_path / "keys", songs=1, validation=0)
    reporter = tiny.Silent()
    run, data = start(keys, tiny.settings(batch_size=32))
    empty = tiny.dataset(keys, run.settings, "validation")
    assert loop.train(run, data, tmp_path / "ckpt.pt", reporter, validation=empty)
    assert any("only 4 rolls of 1 song" in note for note in reporter.notes)


def test_average_follows_by_its_half_life() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    average = Average(network, half_life=10.0)
    torch.nn.init.ones_(network.weight)
    average.update(network, rolls=10, rolls_seen=10_000)
    assert average.network.weight.item() == pytest.approx(0.5)
    average.update(network, rolls=10, rolls_seen=10_000)
    assert average.network.weight.item() == pytest.approx(0.75)
    assert not average.network.weight.requires_grad


def test_objectives_are_registered_by_their_names() -> None:
    assert {name: kind.name for name, kind in OBJECTIVES.items()} == {name: name for name in OBJECTIVES}
    assert dataclasses.is_dataclass(TrainingSettings)


@pytest.mark.parametrize("name", ["musigan", "original", "answer"])
def test_every_weighed_loss_is_tracked_by_name(name: str, keys: Path, tmp_path: Path) -> None:
    """All helpers at once, critic's heads and filter on: a run through all stages is finite and says each of them."""
    network = {**tiny.NETWORKS[name], "critic_heads": True, "gaussian": True}
    chosen = tiny.settings(name, network=network, loss_weights=dict.fromkeys(MUSICAL, 0.3))
    run, data = start(keys, chosen)
    before = {k: v.clone() for k, v in run.networks.state_dict().items() if "heads" in k or "gaussian" in k}
    assert len(before) == 5
    loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent())
    game = next(entry for entry in run.history if entry["stage"] == "adversarial")
    for loss in (*MUSICAL, "critic_silence", "critic_melody"):
        assert math.isfinite(game[loss]), loss
    after = run.networks.state_dict()
    assert [key for key, value in before.items() if torch.equal(after[key], value)] == []
