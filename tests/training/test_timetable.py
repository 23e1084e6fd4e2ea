"""Plans by time: epochs and their lengths for given minutes, and what happens when a machine becomes slower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from musigan.checkpoints import checkpoint
from musigan.checkpoints.settings import configure
from musigan.errors import CheckpointError, FieldError, SettingsError
from musigan.training import loop, timetable, timing
from musigan.training.requests import TrainingRequest
from musigan.training.timetable import FEWEST_STEPS, StagePace, Timetable, planned, shares_of
from tests import tiny
from tests.tiny import go_on, start, weights

pytestmark = pytest.mark.usefixtures("one_thread")

PACES = {
    "codec": StagePace(1336, 0.1, 0.3, 3.0),
    "composer": StagePace(82, 0.6, 1.0, 20.0),
    "critic": StagePace(1336, 0.3),
    "adversarial": StagePace(1336, 0.6, 0.0, 12.0),
}
EPOCHS = {"codec": 800, "composer": 9000, "critic": 50, "adversarial": 100}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_keys_for("bars", tmp_path_factory.mktemp("timetable") / "keys")


@pytest.mark.parametrize("minutes", [2, 5, 13, 60, 300])
def test_a_plan_lasts_as_long_as_asked(minutes: int) -> None:
    """Every stage in it, in shares of the time that are those of a plan of epochs."""
    shares = shares_of(EPOCHS, PACES)
    assert sum(shares.values()) == pytest.approx(1)
    plan = planned(PACES, shares, 60 * minutes, 2)
    assert list(plan) == list(PACES)
    assert sum(PACES[stage].seconds(*plan[stage]) for stage in plan) == pytest.approx(60 * minutes, rel=0.06)
    for stage, (epochs, steps) in plan.items():
        assert epochs * steps >= FEWEST_STEPS
        assert steps <= -(-PACES[stage].examples // 2)
        seconds = PACES[stage].seconds(epochs, steps) - PACES[stage].once
        if minutes > 10:
            left = 60 * minutes - sum(pace.once for pace in PACES.values())
            assert seconds == pytest.approx(shares[stage] * left, rel=0.15)


def test_too_little_time_still_brings_every_stage() -> None:
    plan = planned(PACES, shares_of(EPOCHS, PACES), 5, 2)
    assert {epochs * steps for epochs, steps in plan.values()} == {FEWEST_STEPS}


def test_encoding_in_other_keys_counts_as_often_as_it_happens() -> None:
    pace = StagePace(80, 1.0, once=5.0, keys=7, key=10.0)
    assert pace.after(0).once == 5
    assert 5 < pace.after(1).once < 5 + 10
    assert pace.after(1000).once == pytest.approx(5 + 6 * 10)


def table(monkeypatch: pytest.MonkeyPatch, now: float) -> Timetable:
    """A plan of ten minutes from second 0 on, at second `now`."""
    monkeypatch.setattr(timetable.time, "monotonic", lambda: now)
    plan = planned(PACES, shares_of(EPOCHS, PACES), 600, 2)
    return Timetable(PACES, plan, 2, 600.0, start=0.0)


def test_a_slower_machine_shortens_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = table(monkeypatch, 0.0)
    on_time, late, hopeless = wanted.seconds("codec"), 3 * wanted.seconds("codec"), 2000.0
    same = table(monkeypatch, on_time)
    assert not same.keep_up("codec")
    assert same.plan == wanted.plan
    shorter = table(monkeypatch, late)
    assert shorter.keep_up("codec")
    assert shorter.plan["codec"] == wanted.plan["codec"]
    slowness = shorter.slowness("codec")
    assert 1.5 < slowness < 3
    left = sum(PACES[stage].slower(slowness).seconds(*shorter.plan[stage]) for stage in shorter.later("codec"))
    assert late + left == pytest.approx(600, rel=timetable.TOLERANCE - 1)
    stopped = table(monkeypatch, hopeless)
    assert stopped.keep_up("codec")
    assert {epochs * steps for stage, (epochs, steps) in stopped.plan.items() if stage != "codec"} == {FEWEST_STEPS}


def test_a_stage_keeps_its_time_at_another_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    for times in (0.3, 0.95, 3.0):
        one = table(monkeypatch, 0.0)
        wanted, (epochs, steps) = one.seconds("composer"), one.plan["composer"]
        assert epochs > 6
        assert not one.hold("composer", 3, times * PACES["composer"].step)
        changed = one.hold("composer", 2, times * PACES["composer"].step)
        assert changed is (times != 0.95)
        assert one.plan["composer"][1] == steps
        assert one.seconds("composer") == pytest.approx(wanted, rel=0.1 + 1 / epochs)
    assert not one.hold("composer", one.plan["composer"][0] // 2 + 1, PACES["composer"].step)  # it has begun to end


def test_epochs_may_be_shorter_than_a_pass(keys: Path, tmp_path: Path) -> None:
    """Another part of the music each time; stopped anywhere and resumed, the same weights."""
    settings = tiny.settings("bars", epochs=6, batch_size=2, epoch_rolls={"codec": 3, "adversarial": 2})
    run, data = start(keys, settings)
    run.plan = [("codec", 3), ("composer", 1), ("adversarial", 2)]
    seen: list[Any] = []
    reporter = tiny.Silent(lambda progress: seen.append((progress.stage, progress.steps)))
    loop.train(run, data, tmp_path / "whole.pt", reporter)
    assert seen == [("codec", 2)] * 6 + [("composer", 2)] * 2 + [("adversarial", 1)] * 2
    run, data = start(keys, settings)
    run.plan = [("codec", 3), ("composer", 1), ("adversarial", 2)]
    while not loop.train(run, data, tmp_path / "parts.pt", tiny.Silent(), steps_limit=3):
        run, data = go_on(tmp_path / "parts.pt", keys)
    tiny.assert_same_weights(tmp_path / "whole.pt", tmp_path / "parts.pt")
    with pytest.raises(CheckpointError, match="epoch_rolls"):
        go_on(tmp_path / "parts.pt", keys, tiny.settings("bars", epochs=6, batch_size=2))
    with pytest.raises(SettingsError, match="unknown stage 'game' in epoch_rolls"):
        configure("small", {"epoch_rolls": {"game": 3}})


@pytest.mark.parametrize("model", ["bars", "musigan"])
def test_measuring_leaves_the_run_as_it_was(model: str, tmp_path: Path) -> None:
    """The same plan gives the same weights, whether its pace was measured before or not."""
    keys = tiny.write_keys_for(model, tmp_path / "keys")
    settings = tiny.settings(model, batch_size=2, sample_every=1)
    run, data = start(keys, settings)
    held = tiny.dataset(keys, settings, "validation")
    loop.train(run, data, tmp_path / "plain.pt", tiny.Silent())
    data = tiny.dataset(keys, settings)
    state = torch.get_rng_state()
    table = timing.timetable(
        settings, (data, held), data.record(), settings.stage_epochs(), timing.Beginning(), torch.device("cpu"), 0.0
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert set(table.plan) == {stage for stage, epochs in settings.stage_epochs().items() if epochs}
    assert all(pace.step > 0 for pace in table.paces.values())
    run, _ = start(keys, settings)
    loop.train(run, data, tmp_path / "measured.pt", tiny.Silent())
    tiny.assert_same_weights(tmp_path / "plain.pt", tmp_path / "measured.pt")


def test_a_late_run_is_shortened_in_its_checkpoint(keys: Path, tmp_path: Path) -> None:
    """Resumed, it keeps the shorter plan."""
    settings = tiny.settings("bars", batch_size=2, epochs=8)
    run, data = start(keys, settings)
    run.plan = [("codec", 1), ("composer", 6), ("adversarial", 1)]
    paces = {"codec": StagePace(8, 1e-4), "composer": StagePace(4, 1e-4), "adversarial": StagePace(8, 1e-4)}
    run.timetable = Timetable(paces, {"codec": (1, 4), "composer": (6, 2), "adversarial": (1, 4)}, 2, 0.0)
    reporter = tiny.Silent()
    path = tmp_path / "ckpt.pt"
    assert not loop.train(run, data, path, reporter, steps_limit=5)
    assert any(note.startswith("planned anew, by the pace until here: codec 4 steps") for note in reporter.notes)
    saved = checkpoint.load(path)
    assert sum(epochs for _, epochs in saved.plan) == saved.training_settings().epochs < 8
    assert [stage for stage, _ in saved.plan] == ["codec", "composer", "adversarial"]
    run, data = go_on(path, keys)
    assert loop.train(run, data, path, tiny.Silent())
    assert weights(path)


def test_minutes_and_epochs_exclude_each_other() -> None:
    with pytest.raises(FieldError, match=r"minutes plans the epochs .* epochs"):
        TrainingRequest(("keys",), minutes=3, flags={"epochs": 4})
    with pytest.raises(FieldError, match="resume keeps its plan"):
        TrainingRequest(("keys",), minutes=3, resume="a.pt")
