"""Families that have no game, or nothing but one, through the tools; and --temperature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from musigan import store
from musigan.checkpoints import checkpoint
from musigan.settings import write_yaml
from tests import tiny
from tests.helpers import one_line, run_each
from tests.tools.test_training import ENVIRONMENT, calls, plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """keys, tiny configs by family, and a run of each by train-gan: lstm.pt and mlp.pt."""
    folder = tmp_path_factory.mktemp("recurrent")
    keys = tiny.write_keys(folder / "keys")
    lines: list[list[object]] = []
    for name in ("lstm", "mlp"):
        config = folder / f"{name}.yaml"
        config.write_text(write_yaml({"model": name, "network": tiny.NETWORKS[name], "batch_size": 3}))
        lines.append([keys, "--config", config, "--epochs", 2, "--evaluate-every", 0, "-o", folder / f"{name}.pt"])
    trained, played = calls("train-gan", *lines)
    assert (trained[0], played[0]) == (0, 0), trained[2] + played[2]
    assert "lstm has no game: all it learns it learns by likelihood" in trained[2]
    assert "no game" not in played[2]
    return folder


def test_a_family_without_a_game_is_trained_by_either_tool(folder: Path, tmp_path: Path) -> None:
    keys, made = folder / "keys", folder / "lstm.pt"
    assert plan(made) == {"likelihood": 2}
    assert "validation_frame_nats" in checkpoint.load(made).history[-1]
    (by_pretrain,) = calls("pretrain", [keys, "--config", folder / "lstm.yaml", "--epochs", 2, "-o", tmp_path / "l.pt"])
    assert by_pretrain[0] == 0, by_pretrain[2]
    tiny.assert_same_weights(made, tmp_path / "l.pt")
    (resumed,) = calls("train-gan", [keys, "--resume", tmp_path / "l.pt", "--epochs", 3])
    assert resumed[0] == 0, resumed[2]
    assert plan(tmp_path / "l.pt") == {"likelihood": 3}
    (started,) = calls("train-gan", [keys, "--start", made, "-o", tmp_path / "s.pt"])
    assert started[0] == 2
    assert "lstm has none: --resume" in one_line(started[2].encode())


def test_a_family_that_is_nothing_but_a_game(folder: Path, tmp_path: Path) -> None:
    keys, config = folder / "keys", folder / "mlp.yaml"
    assert plan(folder / "mlp.pt") == {"adversarial": 2}
    line = [keys, "--config", config, "-o", tmp_path / "m.pt"]
    (before,), (share,) = calls("pretrain", line), calls("train-gan", [*line, "--pretrain-epochs", 1])
    assert (before[0], share[0]) == (2, 2)
    assert "mlp learns nothing before its game: train-gan trains it" in before[2].splitlines()[-1]
    assert "--pretrain-epochs: mlp learns in one stage" in share[2].splitlines()[-1]
    assert not (tmp_path / "m.pt").exists()


def test_temperature(folder: Path, tmp_path: Path) -> None:
    lstm, mlp = folder / "lstm.pt", folder / "mlp.pt"
    line = [lstm, "-n", 2, "--seconds", 1, "--device", "cpu"]
    done = run_each(
        "sample",
        [*line, "-o", tmp_path / "usual"],
        [*line, "--temperature", 1, "-o", tmp_path / "one"],
        [*line, "--temperature", 1.7, "-o", tmp_path / "warm"],
        [*line, "--temperature", 0],
        [*line, "--temperature", "nan"],
        [lstm, "--temperature", 1, "--morph", folder / "keys"],
        [mlp, "--temperature", 1],
        [lstm, "--best", 2],
        env=ENVIRONMENT,
    )
    assert [each.returncode for each in done] == [0, 0, 0, 2, 2, 2, 2, 2], [each.stderr for each in done]

    def rolls(name: str) -> list[np.ndarray]:
        reader = store.open_reader(str(tmp_path / name), ("keys",))
        return [reader.read(info.name) for info in reader.infos()]

    for usual, one, warm in zip(rolls("usual"), rolls("one"), rolls("warm"), strict=True):
        np.testing.assert_array_equal(usual, one)
        assert not np.array_equal(one, warm)
    assert "--temperature 0: expected above 0" in one_line(done[3].stderr)
    assert "--morph draws nothing" in one_line(done[5].stderr)
    assert "draws from noise alone" in one_line(done[6].stderr)
    assert "no critic" in one_line(done[7].stderr)


def test_a_report_without_a_critic_plays_what_comes(folder: Path, tmp_path: Path) -> None:
    line = [
        folder / "lstm.pt",
        "--count",
        2,
        "--of",
        3,
        "--seconds",
        1,
        "--device",
        "cpu",
        "-o",
        tmp_path / "page.html",
    ]
    (done,) = run_each("report", line, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '"critic":false' in page.replace(" ", "")
    assert "Piece 2" in page
    assert "Piece 3" not in page
    assert "frame_nats" in page
