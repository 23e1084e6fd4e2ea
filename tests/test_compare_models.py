"""compare_models: one table of families, with mean and deviation over the checkpoints and sets of each."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import compare_models
from benchmarks.compare_models import Column
from musigan.training import loop
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_thread")


def trained(keys: Path, path: Path, seed: int) -> Path:
    run, data = tiny.start(keys, tiny.settings("mlp", epochs=1, pretrain_epochs=0, critic_epochs=0, seed=seed))
    loop.train(run, data, path, tiny.Silent())
    return path


def test_several_values_give_mean_and_deviation() -> None:
    column = Column("mlp", [{"coverage": 0.25}, {"coverage": 0.75}, {"coverage": float("nan")}], [{"minutes": 4.0}])
    assert column.cell("coverage") == "0.5 +- 0.35"
    assert column.cell("minutes") == "4"
    assert column.cell("checkpoints") == "1"
    assert column.cell("pulse") == Column("songs").cell("checkpoints") == ""


def test_checkpoints_of_a_family_share_a_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tiny.write_keys(tmp_path / "keys", songs=9, validation=4)
    paths = [trained(keys, tmp_path / f"{seed}.pt", seed) for seed in (1, 2)]
    other = tmp_path / "short.pt"
    monkeypatch.setattr(tiny, "FRAMES", tiny.FRAMES - 4)
    monkeypatch.setattr(tiny, "HEADER", replace(tiny.HEADER, chunk_seconds=tiny.FRAMES * 0.02))
    trained(tiny.write_keys(tmp_path / "short", songs=3), other, 1)
    monkeypatch.setattr(sys, "argv", ["compare_models.py", str(keys), *map(str, paths), str(other), "-n", "8"])
    compare_models.main()
    left_out, titles, _, *rows = capsys.readouterr().out.splitlines()
    assert left_out.startswith(f"{other}: left out: ")
    assert titles.split(" | ")[1:4] == ["held-out", "floor", "mlp"]
    cells = {row.split(" | ")[0].removeprefix("| "): row.split(" | ")[1:] for row in rows}
    assert cells["checkpoints"][2] == "2"
    assert "+-" in cells["diversity"][2]
    assert "+-" not in cells["diversity"][1]
