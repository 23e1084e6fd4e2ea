"""The last few checkpoints of a run, and what is never removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from musigan.checkpoints import checkpoint
from musigan.settings import merge
from musigan.training import loop
from musigan.training.journal import Journal
from tests import tiny
from tests.tiny import assert_same_weights, go_on, start

SETTINGS = {"epochs": 8, "pretrain_epochs": 6, "save_every": 2, "keep_last": 3, "batch_size": 4}


pytestmark = pytest.mark.usefixtures("one_thread")


def sitting(path: Path, keys: Path, resume: Path | None = None, limit: int | None = None, **changes: int) -> None:
    """A run of eight epochs from nothing, or a sitting of one that is resumed."""
    settings = tiny.settings(**merge(SETTINGS, changes))
    run, data = go_on(resume, keys, settings) if resume else start(keys, settings)
    journal = Journal(path, run.history)
    reporter = tiny.Silent()
    loop.train(run, data, path, reporter, journal, steps_limit=limit)
    journal.close()
    assert not [note for note in reporter.notes if "left out" in note]


def numbered(path: Path) -> list[int]:
    """Epochs of the numbered checkpoints of a run; each holds what its name says."""
    files = sorted((path.parent / f"{path.stem}.run").glob("epoch-*.pt"))
    epochs = [int(file.stem.removeprefix("epoch-")) for file in files]
    assert [len(checkpoint.load(file).history) for file in files] == epochs
    return epochs


def test_the_last_ones_are_kept(keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    sitting(path, keys)  # stages of 3, 2, 1 and 2 epochs, saved every other epoch of each and at its end
    assert numbered(path) == [5, 6, 8]
    assert_same_weights(path, tmp_path / "ckpt.run" / "epoch-000008.pt")
    sitting(tmp_path / "none.pt", keys, keep_last=0)
    assert numbered(tmp_path / "none.pt") == []


def test_resume_keeps_counting(keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    sitting(path, keys, limit=11)  # 2 steps an epoch: 5 epochs and a step
    assert numbered(path) == [2, 4, 5]
    sitting(path, keys, resume=path)
    assert numbered(path) == [5, 6, 8]


def test_files_that_the_run_did_not_write_stay(keys: Path, tmp_path: Path) -> None:
    path, folder = tmp_path / "ckpt.pt", tmp_path / "ckpt.run"
    sitting(path, keys)
    for name in ("notes.txt", "epoch-000001.pt", "epoch-mine.pt", "best.pt"):
        (folder / name).write_bytes(b"mine")
    other = tmp_path / "other.pt"
    sitting(other, keys, limit=5, seed=2)
    copied = folder / "epoch-000004.pt"
    copied.write_bytes((tmp_path / "other.run" / "epoch-000002.pt").read_bytes())
    sitting(path, keys, resume=path, epochs=14)
    left = {file.name for file in folder.glob("*") if not file.name.startswith(("metrics", "events", "samples"))}
    assert left == {
        "notes.txt", "epoch-000001.pt", "epoch-mine.pt", "best.pt", "epoch-000004.pt",
        "epoch-000010.pt", "epoch-000012.pt", "epoch-000014.pt",
    }  # fmt: skip
    assert copied.read_bytes() == (tmp_path / "other.run" / "epoch-000002.pt").read_bytes()


def test_an_older_run_of_the_same_name_is_left_alone(keys: Path, tmp_path: Path) -> None:
    path, folder = tmp_path / "ckpt.pt", tmp_path / "ckpt.run"
    sitting(path, keys, epochs=12, pretrain_epochs=10)
    before = {file.name for file in folder.glob("epoch-*")}
    sitting(path, keys, limit=5, keep_last=1)  # --force: another run, two epochs
    assert {file.name for file in folder.glob("epoch-*")} == before | {"epoch-000002.pt"}
