"""Training on several devices: what ranks share, and that together they do what one does with all the batches."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from musigan import store
from musigan.checkpoints import checkpoint
from musigan.checkpoints.settings import TrainingSettings
from musigan.datasets.domains import Domains
from musigan.errors import CheckpointError, LostRankError, UsageError
from musigan.machine.ranks import ALONE, Ranks
from musigan.training import loop, runs, timing
from musigan.training.requests import TrainingRequest
from musigan.training.starting import Start
from musigan.training.together import unite, ways_of
from tests import tiny
from tests.sessions import Session
from tests.threadranks import ThreadRanks, together
from tests.tiny import weights

pytestmark = pytest.mark.usefixtures("one_thread")

_beginning = threading.Lock()  # torch's global generator is one for all threads


def trained(
    keys: Path, settings: TrainingSettings, target: Path, ranks: Ranks = ALONE, steps: int | None = None
) -> runs.Run:
    """A run, begun or resumed, at one of the ranks."""
    with _beginning:
        data = dataset(keys, settings)
        if target.exists():
            run = runs.resume(checkpoint.load(target), settings, data, tiny.CPU, ranks)
        else:
            run = runs.begin(settings, data, data.record(), settings.stage_epochs(), tiny.CPU, ranks=ranks)
    ranks.wait()  # until the others, too, have read what the first will replace
    loop.train(run, data, target, tiny.Silent(), steps_limit=steps)
    return run


def dataset(keys: Path, settings: TrainingSettings) -> Any:
    if settings.model != "cyclegan":
        return tiny.dataset(keys, settings)
    readers = [store.open_reader(str(keys), ("keys",)) for _ in range(2)]
    return Domains(readers, ("one", "two"), "train", settings.augment, settings.compression, settings.seed)


def losses(run: runs.Run) -> list[dict[str, float]]:
    return [{k: v for k, v in each.items() if isinstance(v, float) and k != "seconds"} for each in run.history]


def assert_close(one: Path, other: Path, tolerance: float) -> None:
    """But for critics: each pass through one betters its estimate of the norms of its weights."""
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    for name, value in left.items():
        if not name.startswith("critic."):
            torch.testing.assert_close(value, right[name], rtol=tolerance, atol=tolerance, msg=name)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_keys(tmp_path_factory.mktemp("ranks") / "keys", songs=4)


def test_two_ranks_are_one_with_twice_the_batch(keys: Path, tmp_path: Path) -> None:
    """Of a model whose losses are means over rolls, without noise: same losses, same weights."""
    pair, alone = tmp_path / "pair.pt", tmp_path / "alone.pt"
    epochs = {"epochs": 2, "pretrain_epochs": 2, "critic_epochs": 0}
    small, large = (tiny.settings("lstm", batch_size=size, **epochs) for size in (2, 4))
    first, second = together(2, lambda ranks: trained(keys, small, pair, ranks))
    whole = trained(keys, large, alone)
    assert whole.position.total_steps == first.position.total_steps == 6
    assert_close(pair, alone, 1e-5)
    assert losses(first) == losses(second)
    for ours, theirs in zip(losses(first), losses(whole), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert [checkpoint.load(path).ranks for path in (pair, alone)] == [2, 1]


@pytest.fixture(scope="module")
def game(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, runs.Run]:
    """The checkpoint of a run of two ranks through all stages, and the run at the first."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("game") / "whole.pt"
    return path, together(2, lambda ranks: trained(keys, tiny.settings(batch_size=3), path, ranks))[0]


def test_two_ranks_are_one_with_twice_the_batches(game: tuple[Path, runs.Run], keys: Path, tmp_path: Path) -> None:
    """Of a model with noise: what one does that accumulates the gradients of as many batches."""
    path, first = game
    alone = tmp_path / "alone.pt"
    whole = trained(keys, tiny.settings(batch_size=3, accumulate=2), alone)
    assert_close(path, alone, 1e-3)
    for ours, theirs in zip(losses(first), losses(whole), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize("name", ["answer", "bars", "cyclegan", "mdn-rnn", "original"])  # which keep something
def test_all_ranks_hold_the_same(name: str, tmp_path: Path) -> None:
    """Weights, averages, and all that networks keep of the rolls they have seen."""
    keys = tiny.write_keys_for(name, tmp_path / "keys")
    settings = tiny.settings(name, batch_size=2) if name != "cyclegan" else cyclegan()
    first, second = together(2, lambda ranks: trained(keys, settings, tmp_path / "ckpt.pt", ranks))
    assert first.finished
    assert losses(first) == losses(second)
    names = [f"{part}.{key}" for part, module in modules(first).items() for key in module.state_dict()]
    states = [[v for module in modules(run).values() for v in module.state_dict().values()] for run in (first, second)]
    assert [key for key, ours, theirs in zip(names, *states, strict=True) if not torch.equal(ours, theirs)] == []


def cyclegan() -> TrainingSettings:
    return tiny.settings("cyclegan", batch_size=2, epochs=2, pretrain_epochs=None, critic_epochs=None)


def modules(run: runs.Run) -> dict[str, nn.Module]:
    return {**run.networks, "average": run.average.network}


def test_augmentation_counts_the_verdicts_of_all(keys: Path, tmp_path: Path) -> None:
    pair, alone = tmp_path / "pair.pt", tmp_path / "alone.pt"
    settings: dict[str, Any] = {"adversarial": {"adaptive": True, "adaptive_rolls": 50.0, "roll_every": 1}}
    settings |= {"epochs": 2, "pretrain_epochs": 1, "critic_epochs": 0}
    first, second = together(2, lambda ranks: trained(keys, tiny.settings(**settings), pair, ranks))
    whole = trained(keys, tiny.settings(**settings, accumulate=2), alone)
    states = [run.networks["augmentation"].state_dict() for run in (first, second, whole)]
    assert states[0]["judged"] == 6
    for state in states[1:]:
        assert {name: float(value) for name, value in state.items()} == {k: float(v) for k, v in states[0].items()}


def test_resume_with_as_many_is_bit_equal_and_with_others_close(
    game: tuple[Path, runs.Run], keys: Path, tmp_path: Path
) -> None:
    settings, whole = tiny.settings(batch_size=3), game[0]
    parts, fewer = tmp_path / "parts.pt", tmp_path / "fewer.pt"
    together(2, lambda ranks: trained(keys, settings, parts, ranks, steps=3))
    fewer.write_bytes(parts.read_bytes())
    together(2, lambda ranks: trained(keys, settings, parts, ranks))
    tiny.assert_same_weights(whole, parts)
    alone = trained(keys, settings, fewer)
    assert (alone.settings.accumulate, alone.step_size) == (2, 6)
    assert_close(whole, fewer, 1e-3)
    with pytest.raises(CheckpointError, match=r"2 batches in a step, which 3 processes cannot share .* with 1 or 2"):
        runs.resume(checkpoint.load(whole), settings, dataset(keys, settings), tiny.CPU, Ranks(0, 3))


def test_what_one_rank_is_told_to_stop_all_do(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the same step, saved once, by the first."""
    saved, target = [], tmp_path / "ckpt.pt"
    monkeypatch.setattr(checkpoint, "save", lambda path, content: saved.append(threading.get_ident()))

    def stopped(ranks: Ranks) -> tuple[int, int]:
        signals: list[int] = []
        settings = tiny.settings(batch_size=2)
        with _beginning:
            data = dataset(keys, settings)
            run = runs.begin(settings, data, data.record(), {"variational": 9}, tiny.CPU, ranks=ranks)

        def stop(progress: loop.Progress) -> None:
            if ranks.number == 1 and progress.step == 2:
                signals.append(15)

        objective = runs.objective_of(run)
        examples = loop.examples_of(run, objective, data)
        loop._run_epoch(run, objective, examples, tiny.Silent(stop), signals, float("inf"), loop.Pace())
        loop._save(run, target)
        return run.position.step, threading.get_ident()

    (first_steps, first), (second_steps, _) = together(2, stopped)
    assert (first_steps, second_steps) == (2, 2)
    assert saved == [first]


def test_a_gradient_that_only_one_has_counts_as_zero_at_the_other() -> None:
    def averaged(ranks: Ranks) -> list[Any]:
        both, one, neither = (nn.Parameter(torch.zeros(2)) for _ in range(3))
        both.grad = torch.tensor([1.0, 4.0]) * (ranks.number + 1)
        one.grad = torch.tensor([8.0, 2.0]) if ranks.number else None
        figures = torch.tensor([3.0 - ranks.number])
        ranks.average([both, one, neither], figures)
        return [both.grad.tolist(), one.grad.tolist(), neither.grad, figures.item()]

    assert together(2, averaged) == 2 * [[[1.5, 6.0], [4.0, 1.0], None, 2.5]]


def test_what_is_shared_is_the_first_ones_bit_for_bit() -> None:
    """Of several kinds of numbers, which lie one after another at any byte."""

    def shared(ranks: Ranks) -> list[torch.Tensor]:
        values = [torch.tensor([True, ranks.number == 0, False]), torch.tensor(5 - ranks.number)]
        values += [torch.tensor([[float("nan"), 0.1 + ranks.number]]).t(), torch.zeros(0)]
        values += [torch.tensor([1.5 + ranks.number], dtype=torch.float16)]
        ranks.share(values)
        return values

    first, second = together(2, shared)
    for ours, theirs in zip(first, second, strict=True):
        assert ours.numpy().tobytes() == theirs.numpy().tobytes()
    assert [each.tolist() for each in second[:2]] == [[True, True, False], 5]
    assert second[4].item() == 1.5


def test_what_layers_keep_is_united_as_they_say() -> None:
    class Kept(nn.Module):
        over_ranks = {"count": "sum", "held": "first"}  # noqa: RUF012

        def __init__(self, number: int) -> None:
            super().__init__()
            self.register_buffer("count", torch.tensor(1.0 + number))
            self.register_buffer("held", torch.tensor(7 + number))
            self.register_buffer("own", torch.tensor(10.0 + number))

    def united(ranks: Ranks) -> list[float]:
        norm = nn.BatchNorm1d(1)
        norm.running_mean.fill_(2.0 + 2 * ranks.number)  # type: ignore[union-attr]
        networks = nn.ModuleDict({"kept": Kept(ranks.number), "norm": norm})
        unite(networks, ranks)
        kept = networks["kept"]
        return [float(each) for each in (kept.count, kept.held, kept.own, norm.running_mean)]  # type: ignore[arg-type]

    assert together(2, united) == [[3.0, 7.0, 10.0, 3.0], [3.0, 7.0, 11.0, 3.0]]
    assert ways_of(nn.BatchNorm1d(1, track_running_stats=False)) == {}


def test_a_plan_by_time_is_the_first_ones(keys: Path) -> None:
    """Even where the clocks and paces differ; a step is timed with all its rolls."""
    settings = tiny.settings(batch_size=2)

    def planned(ranks: Ranks) -> Any:
        with _beginning:
            datasets = tiny.dataset(keys, settings), tiny.dataset(keys, settings, "validation")
        deadline = timing.time.monotonic() + 30 * (ranks.number + 1)
        epochs = {"variational": 2, "prior": 1}
        arguments = (settings, datasets, datasets[0].record(), epochs, timing.Beginning(), tiny.CPU, deadline)
        return timing.timetable(*arguments, ranks)

    first, second = together(2, planned)
    assert first.plan == second.plan
    assert first.deadline == second.deadline
    assert first.batch == 4


def test_a_rank_that_ends_says_what_is_left(keys: Path, tmp_path: Path) -> None:
    settings = tiny.settings(batch_size=2)

    class Lost(ThreadRanks):
        def any(self, value: bool) -> bool:
            raise LostRankError("another of the 2 processes of this run has ended")

    data = dataset(keys, settings)
    run = runs.begin(settings, data, data.record(), {"variational": 1}, tiny.CPU)
    run.ranks = Lost(0, 1, None)  # type: ignore[arg-type]
    with pytest.raises(LostRankError, match="has ended; no checkpoint was saved yet: start all again"):
        loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent())
    (tmp_path / "former.pt").write_bytes(b"of another run")
    with pytest.raises(LostRankError, match="no checkpoint was saved yet"):
        loop.train(run, data, tmp_path / "former.pt", tiny.Silent())

    class LostAfterSaving(ThreadRanks):
        def any(self, value: bool) -> bool:
            (tmp_path / "new.pt").write_bytes(b"of the first process, just now")
            raise LostRankError("another of the 2 processes of this run has ended")

    run.ranks = LostAfterSaving(0, 1, None)  # type: ignore[arg-type]
    with pytest.raises(LostRankError, match=r"new.pt holds the last good state: start all with --resume \S+new.pt"):
        loop.train(run, data, tmp_path / "new.pt", tiny.Silent())
    run.ranks, run.saved = Lost(0, 1, None), True  # type: ignore[arg-type]
    with pytest.raises(LostRankError, match=r"ckpt.pt holds the last good state: start all with --resume \S+ckpt.pt"):
        loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent())


def test_several_processes_read_no_pipe(tmp_path: Path) -> None:
    request = TrainingRequest(("-",), str(tmp_path / "ckpt.pt"))
    begun = Start(request, tiny.settings(), None, "cpu", Ranks(0, 2))
    with pytest.raises(UsageError, match="2 processes cannot all read a pipe: write the store to a file"):
        begun.train(Session())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
