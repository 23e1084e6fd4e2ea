"""What a run of the training tools starts with, and what does not go together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from musigan import store
from musigan.checkpoints import checkpoint
from musigan.errors import CheckpointError, FieldError, MusiganError, SettingsError, StoreError, UsageError
from musigan.settings import write_yaml
from musigan.store.joining import StoreSequence, join
from musigan.training.loop import Progress
from musigan.training.requests import TrainingRequest
from musigan.training.starting import ProgressLines, Start
from tests import tiny
from tests.sessions import Session


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """keys, tiny.yaml, pre.pt (a pretraining of one epoch) and game.pt (stopped after a step)."""
    folder = tmp_path_factory.mktemp("starting")
    tiny.write_keys(folder / "keys")
    (folder / "tiny.yaml").write_text(
        write_yaml({"network": tiny.NETWORKS["bars"], "batch_size": 1, "sample_every": 0, "evaluate_every": 0})
    )
    for name, adversarial in (("pre.pt", False), ("game.pt", True)):
        made = request(
            folder, adversarial=adversarial, output=str(folder / name), steps_limit=1 if adversarial else None,
            flags={"epochs": 3 if adversarial else 1, "seed": None},
        )  # fmt: skip
        said = Start.of(made, "cpu", Session()).train(Session())
        assert said == (
            "" if adversarial else f"{folder / name} is trained; hear it: sample {folder / name} | keys-to-mp3 out.mp3"
        )
    return folder


def request(folder: Path, **fields: Any) -> TrainingRequest:
    usual = {"config": str(folder / "tiny.yaml"), "preset": "small", "flags": {"epochs": 1, "seed": None}}
    return TrainingRequest((str(folder / "keys"),), **{**usual, **fields})


def test_checkpoints_that_exclude_each_other() -> None:
    with pytest.raises(FieldError, match=r"resume goes on with a run, start begins a game .*: give one of them"):
        TrainingRequest(("keys",), resume="a.pt", init="b.pt")


def test_the_checkpoint_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    there = tmp_path / "there.pt"
    there.write_bytes(b"")
    assert TrainingRequest(("keys",)).target == Path("ckpt.pt")
    assert TrainingRequest(("keys",), resume=str(there)).target == there
    assert TrainingRequest(("keys",), output="there.pt", resume=str(there)).target == Path("there.pt")
    assert TrainingRequest(("keys",), output=str(there), force=True).target == there
    for fields in ({}, {"resume": "other.pt"}):
        with pytest.raises(MusiganError, match=r"there\.pt exists"):
            TrainingRequest(("keys",), output="there.pt", **fields).target  # noqa: B018


def test_flags_go_above_the_file_above_the_preset(folder: Path) -> None:
    settings = Start.of(request(folder, flags={"epochs": 7, "batch_size": None}), "cpu", Session()).settings
    assert (settings.epochs, settings.batch_size, settings.preset) == (7, 1, "small")


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "preset small; --preset small, medium"),
        ({"flags": {"model": "mlp"}}, "the settings of the model mlp"),
        ({"preset": "small"}, ""),
    ],
)
def test_a_choice_that_nobody_made_is_said(fields: dict[str, Any], line: str) -> None:
    session = Session()
    Start.of(TrainingRequest(("keys",), **fields), "cpu", session)
    assert bool(session.lines) == bool(line)
    assert all(said.startswith(line) for said in session.lines)


def test_checkpoints_are_gone_on_with_by_their_own_tool(folder: Path) -> None:
    pre, game = str(folder / "pre.pt"), str(folder / "game.pt")
    for fields, message in (
        ({"resume": pre}, "is a pretraining without a game: start .* begins the game from it"),
        ({"resume": game, "adversarial": False}, "is a run of train-gan: train-gan resume .* goes on with it"),
        ({"resume": game, "preset": "large"}, "preset large: the checkpoint was made with small"),
        ({"start": pre, "flags": {"pretrain_epochs": 1}}, "pretrain_epochs together with start"),
    ):
        with pytest.raises(FieldError, match=message):
            Start.of(TrainingRequest(("keys",), **fields), "cpu", Session())


def test_a_game_starts_from_a_pretraining(folder: Path, tmp_path: Path) -> None:
    output, flags = str(tmp_path / "a.pt"), {"epochs": 1}
    started = request(folder, config="", start=str(folder / "pre.pt"), output=output, steps_limit=1, flags=flags)
    start = Start.of(started, "cpu", Session())
    assert start.saved is not None
    assert start.train(Session()) == ""
    assert {str(stage) for stage, _ in checkpoint.load(tmp_path / "a.pt").plan} == {"adversarial"}


def test_stages_that_a_model_does_not_have() -> None:
    for fields, message in (
        ({"adversarial": False, "flags": {"model": "mlp"}}, "mlp learns nothing before its game: train-gan trains it"),
        ({"flags": {"model": "mlp", "pretrain_epochs": 1}}, "pretrain_epochs: mlp learns in one stage; leave it out"),
    ):
        with pytest.raises(UsageError, match=message):
            Start.of(TrainingRequest(("keys",), **fields), "cpu", Session())
    with pytest.raises(SettingsError, match="unknown"):
        Start.of(TrainingRequest(("keys",), flags={"model": "gpt"}), "cpu", Session())


def test_several_stores_are_learned_from_as_their_merged_one(tmp_path: Path, one_thread: None) -> None:
    """Bit for bit, and a run goes on with either; a store that changed, or another order, is another store."""
    for name, seed, count in (("one", 1, 3), ("two.zarr", 2, 4)):
        tiny.write_keys(tmp_path / name, songs=count, seed=seed, validation=count - 2)
    session = Session()
    stores = StoreSequence((str(tmp_path / "one"), str(tmp_path / "two.zarr")), session)
    with store.write(str(tmp_path / "both"), stores.header) as writer:
        join(stores, writer, session)
    (tmp_path / "tiny.yaml").write_text(write_yaml({"network": tiny.NETWORKS["mlp"], "sample_every": 0}))

    def train(names: str, output: str, **fields: Any) -> None:
        sources = tuple(str(tmp_path / name) for name in names.split())
        usual = {"config": str(tmp_path / "tiny.yaml"), "flags": {"epochs": 2, "batch_size": 2, "model": "mlp"}}
        request = TrainingRequest(sources, str(tmp_path / output), **{**usual, **fields})
        Start.of(request, "cpu", Session()).train(Session())

    train("both", "a.pt", steps_limit=3)
    train("one two.zarr", "b.pt", steps_limit=2)
    resumed = {"config": "", "flags": {}, "resume": str(tmp_path / "b.pt"), "steps_limit": 1}
    with pytest.raises(CheckpointError, match="another keys store"):
        train("two.zarr one", "b.pt", **resumed)
    train("one two.zarr", "b.pt", **resumed)
    tiny.assert_same_weights(tmp_path / "a.pt", tmp_path / "b.pt")
    train("both", "b.pt", **resumed)
    assert checkpoint.load(tmp_path / "b.pt").data["songs"] == 7


def test_stores_of_other_settings_are_not_learned_from_as_one(tmp_path: Path) -> None:
    tiny.write_keys(tmp_path / "one")
    tiny.write_keys(tmp_path / "two", paired=False)
    request = TrainingRequest((str(tmp_path / "one"), str(tmp_path / "two")), str(tmp_path / "a.pt"))
    with pytest.raises(StoreError, match="same settings"):
        Start.of(request, "cpu", Session()).train(Session())


def test_an_early_estimate_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    session, progress = Session(), Progress("prior", 2, 3, 4, 5, {"flow": 0.1234}, 6.7, 71.0)
    lines = ProgressLines(session)
    lines.progress(progress)
    monkeypatch.setattr("musigan.training.starting.ESTIMATE_SECONDS", -1)
    lines.progress(replace(progress, seconds_left=0.4))  # 0 s to go is no news
    assert session.lines == []
    lines.progress(progress)
    lines.progress(progress)
    assert session.lines == ["6.7 rolls/s: about 1 min 11 s to go; Ctrl-C saves and stops, --resume goes on"]
    shown = "prior 2/3 80%, 1 min 11 s left: flow 0.123"
    assert session.statuses == [shown, "prior 2/3 80%, nearly done: flow 0.123", shown, shown]
