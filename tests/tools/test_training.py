"""What the options of pretrain and train-gan do together, and what they refuse."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from musigan import store
from musigan.checkpoints import checkpoint
from musigan.files import locks
from musigan.settings import write_yaml
from tests import tiny
from tests.helpers import one_line, run, run_each

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
QUIET = ("--sample-every", 0, "--device", "cpu")


def calls(tool: str, *lines: list[object]) -> list[tuple[int, str, str]]:
    """(exit code, stdout, stderr) of each call."""
    done = run_each(tool, *[[*line, *QUIET] for line in lines], env=ENVIRONMENT)
    return [(each.returncode, each.stdout.decode(), each.stderr.decode()) for each in done]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """keys, a config of tiny networks, a finished pretraining pre.pt and a game game.pt stopped after 2 steps."""
    folder = tmp_path_factory.mktemp("training")
    keys = tiny.write_keys(folder / "keys")
    config = folder / "tiny.yaml"
    chosen = {
        "model": "musigan",
        "network": tiny.NETWORKS["musigan"],
        "adversarial": {"roll_every": 2},
        "batch_size": 3,
    }
    config.write_text(write_yaml(chosen))
    (pre,) = calls("pretrain", [keys, "--config", config, "--epochs", 3, "--critic-epochs", 1, "-o", folder / "pre.pt"])
    assert pre[0] == 0, pre[2]
    line = [keys, "--config", config, "--epochs", 4, "--steps-limit", 2, "-o", folder / "game.pt"]
    (game,) = calls("train-gan", line)
    assert game[0] == 0, game[2]
    return folder


def plan(path: Path) -> dict[str, int]:
    return {str(stage): int(epochs) for stage, epochs in checkpoint.load(path).plan}


def test_checkpoints_are_resumed_by_the_tool_that_made_them(folder: Path) -> None:
    keys, pre, game = folder / "keys", folder / "pre.pt", folder / "game.pt"
    of_pre, both = calls("train-gan", [keys, "--resume", pre], [keys, "--resume", game, "--start", pre])
    (of_game,) = calls("pretrain", [keys, "--resume", game])
    assert (of_pre[0], both[0], of_game[0]) == (2, 2, 2)
    assert f"--start {pre}" in one_line(of_pre[2].encode())
    assert "give one of them" in one_line(both[2].encode())
    assert f"train-gan --resume {game}" in one_line(of_game[2].encode())


def test_resume_by_another_spelling_of_the_path(folder: Path) -> None:
    line = ["keys", "--resume", "./game.pt", "-o", f"../{folder.name}/game.pt", "--steps-limit", 1]
    before = checkpoint.load(folder / "game.pt").position.total_steps
    done = run_each("train-gan", [*line, *QUIET], ["keys", "--resume", "./game.pt", "--steps-limit", 1, *QUIET],
                    env=ENVIRONMENT, cwd=folder)  # fmt: skip
    assert [each.returncode for each in done] == [0, 0], done[0].stderr
    assert checkpoint.load(folder / "game.pt").position.total_steps == before + 2


def test_a_game_from_a_pretraining_has_epochs_of_its_own(folder: Path, tmp_path: Path) -> None:
    line = [folder / "keys", "--start", folder / "pre.pt", "--steps-limit", 1, "-o"]
    refused, default, asked = calls(
        "train-gan",
        [*line, tmp_path / "a.pt", "--pretrain-epochs", 1],
        [*line, tmp_path / "b.pt"],
        [*line, tmp_path / "c.pt", "--epochs", 5, "--critic-epochs", 2],
    )
    assert (refused[0], default[0], asked[0]) == (2, 0, 0), default[2] + asked[2]
    assert "--pretrain-epochs" in one_line(refused[2].encode())
    assert not (tmp_path / "a.run").exists()
    assert plan(tmp_path / "b.pt") == {"adversarial": 200}
    assert plan(tmp_path / "c.pt") == {"critic": 2, "adversarial": 3}


def test_init_says_what_fits(folder: Path, tmp_path: Path) -> None:
    keys, config = folder / "keys", folder / "tiny.yaml"
    wider = tmp_path / "wider.yaml"
    wider.write_text(
        write_yaml({"model": "musigan", "network": {**tiny.NETWORKS["musigan"], "width": 10}, "batch_size": 3})
    )
    tail = ["--init", folder / "pre.pt", "--epochs", 4, "--steps-limit", 1, "-o"]
    same, sizes, none, both = calls(
        "train-gan",
        [keys, "--config", config, *tail, tmp_path / "same.pt"],
        [keys, "--config", wider, *tail, tmp_path / "sizes.pt"],
        [keys, "--model", "original", *tail, tmp_path / "none.pt"],
        [keys, *tail, tmp_path / "both.pt", "--start", folder / "pre.pt"],
    )
    assert (same[0], sizes[0], none[0], both[0]) == (0, 0, 1, 2), same[2] + sizes[2] + none[2]
    said = [line.partition("--init: ")[2] for line in same[2].splitlines() if "--init: " in line]
    assert [line.split(":")[0] for line in said] == ["encoder", "prior", "decoder", "critic"]
    assert all(taken == whole for taken, _, whole, _ in (line.split(": ")[1].split() for line in said)), said
    assert "other shape: key_map (1, 6, 6, 1) for (1, 10, 6, 1)" in sizes[2]
    assert "(model musigan)" in none[2]
    assert "choose its model and sizes" in none[2]
    assert not (tmp_path / "none.pt").exists()
    assert "give one of them" in one_line(both[2].encode())
    assert set(plan(tmp_path / "same.pt")) == {"variational", "prior", "adversarial"}  # all stages
    (pretrained,) = calls("pretrain", [keys, "--config", wider, *tail, tmp_path / "pre.pt"])
    assert pretrained[0] == 0
    assert "--init: prior: " in pretrained[2]


def test_a_run_without_a_game_says_so(folder: Path, tmp_path: Path) -> None:
    line = [folder / "keys", "--config", folder / "tiny.yaml", "--steps-limit", 1, "-o"]
    none, one, first = calls(
        "train-gan",
        [*line, tmp_path / "a.pt", "--epochs", 2, "--pretrain-epochs", 2],
        [*line, tmp_path / "b.pt", "--epochs", 3],
        [*line, tmp_path / "c.pt", "--epochs", 1],
    )
    assert (none[0], one[0], first[0]) == (0, 0, 0)
    assert "no game: all 2 epochs come before it" in none[2]
    assert "no game" not in one[2]
    assert plan(tmp_path / "b.pt") == {"variational": 1, "prior": 1, "adversarial": 1}
    assert "no game: the only epoch comes before it; --epochs 3 or more would bring one" in first[2]
    assert "left out: training the transformer (prior)" in first[2]
    assert plan(tmp_path / "c.pt") == {"variational": 1}


def test_model_and_preset_are_told_apart(tmp_path: Path) -> None:
    original, foreign = tmp_path / "original.yaml", tmp_path / "foreign.yaml"
    original.write_text("model: original\n")
    foreign.write_text("model: foo\n")
    wrong, wrong_too, flag, file, neither, family, preset = calls(
        "train-gan",
        ["--print-config", "--model", "foo"],
        ["--print-config", "--config", foreign],
        ["--print-config", "--model", "original"],
        ["--print-config", "--config", original],
        ["--print-config"],
        ["--print-config", "--model", "bars"],
        ["--print-config", "--preset", "medium"],
    )
    for each in (wrong, wrong_too):
        assert each[0] == 2
        assert "--model foo: unknown model; known are bars, musigan, original" in one_line(each[2].encode())
    assert flag == file
    assert yaml.safe_load(flag[1])["preset"] == "original"
    assert "the settings of the model original; --print-config shows them" in flag[2]
    assert "preset small; --preset" in neither[2]
    assert neither == family
    assert (preset[0], preset[2]) == (0, "")


def test_a_setting_on_the_command_line_goes_above_the_file(tmp_path: Path) -> None:
    """And under flags; a misspelt one is answered with the nearest."""
    file = tmp_path / "settings.yaml"
    file.write_text("epochs: 30\nprior: {draws: 2, learning_rate: 2e-4}\n")
    given, misspelt, nothing = calls(
        "train-gan",
        ["--print-config", "--config", file, "--set", "prior.draws=3", "--set", "epochs=40", "--epochs", 50],
        ["--print-config", "--preset", "small", "--set", "adversarial.critic_step=3"],
        ["--print-config", "--set", "seed"],
    )
    (model,) = calls("pretrain", ["--print-config", "--set", "model=lstm", "--set", "network.width=24"])
    chosen = yaml.safe_load(given[1])
    assert (chosen["epochs"], chosen["prior"]["draws"], chosen["prior"]["learning_rate"]) == (50, 3, 2e-4)
    assert yaml.safe_load(model[1])["preset"] == "lstm"
    assert yaml.safe_load(model[1])["network"]["width"] == 24
    assert (misspelt[0], nothing[0]) == (2, 2)
    assert "did you mean 'critic_steps'?" in one_line(misspelt[2].encode())
    assert "--set seed: expected NAME=VALUE" in one_line(nothing[2].encode())


def test_a_store_that_could_not_be_heard_is_refused_first(folder: Path, tmp_path: Path) -> None:
    blocks = np.full((2, 2, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), 0.5, np.float16)
    lines: list[list[object]] = []
    changes: list[dict[str, Any]] = [
        {"band": {"name": "variable"}},
        {"band": {"name": "odd"}},
        {"low_key": 90, "high_key": 100},
    ]
    for number, change in enumerate([*changes, {"frame_seconds": 0.0201}]):
        keys = tmp_path / str(number)
        with store.write(str(keys), replace(tiny.HEADER, **change)) as writer:
            writer.add(blocks, ("pairs", "part", "channels", "keys", "frames"), store.Song(title="x", level=0.1))
        lines.append([keys, "--config", folder / "tiny.yaml", "--preset", "musigan", "-o", tmp_path / "ckpt.pt"])
    for code, _, said in calls("train-gan", *lines):
        assert code in (1, 2), said
        one_line(said.encode())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "3"]


def test_morphs_lead_from_song_to_song(folder: Path, tmp_path: Path) -> None:
    low = replace(tiny.HEADER, low_key=29, high_key=39)
    one, other, none = (str(tmp_path / name) for name in ("one", "other", "none"))
    tiny.write_keys(Path(one), songs=1)
    for path, header, songs in ((other, low, 1), (none, tiny.HEADER, 0)):
        with store.write(path, header) as writer:
            for _ in range(songs):
                roll = np.ones((1, 2, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), np.float16)
                writer.add(roll, ("pairs", "part", "channels", "keys", "frames"), store.Song(title="x"))
    morph = [folder / "pre.pt", "--seconds", 1.0, "--device", "cpu", "-o"]
    done = run_each(
        "sample",
        [*morph, tmp_path / "all", "--morph", folder / "keys"],
        [*morph, tmp_path / "single", "--morph", one],
        [*morph, tmp_path / "wrong", "--morph", other],
        [*morph, tmp_path / "nothing", "--morph", none],
        [*morph, tmp_path / "many", "--morph", one, "-n", 3],
        env=ENVIRONMENT,
    )  # fmt: skip
    assert [each.returncode for each in done] == [0, 0, 1, 1, 2]
    assert "keys from 29, the checkpoint keys from 30" in one_line(done[2].stderr)
    assert "no song to begin with" in one_line(done[3].stderr)
    with store.open_reader(str(tmp_path / "all")) as reader:
        found = list(reader)
    assert [item.song.title for item in found] == ["Song 0 -> Song 1", "Song 1 -> Song 2"]
    assert found[0].array.shape == (3, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)  # 1 s in chunks of .48 s
    with store.open_reader(str(tmp_path / "single")) as reader:
        assert [item.song.title for item in reader] == ["Song 0"]
    assert not any((tmp_path / name).exists() for name in ("wrong", "nothing", "many"))


def test_another_log_is_known_and_there_before_the_music_is_read(folder: Path, tmp_path: Path) -> None:
    line = [folder / "keys", "-q", "-o", tmp_path / "a.pt", "--log"]
    (unknown,) = calls("train-gan", [*line, "nowhere"])
    assert unknown[0] == 2
    assert "--log nowhere: expected wandb" in one_line(unknown[2].encode())
    if importlib.util.find_spec("wandb") is None:
        (missing,) = calls("train-gan", [*line, "wandb"])
        assert missing[0] == 1
        assert 'pip install "musigan[wandb]"' in one_line(missing[2].encode())
    assert list(tmp_path.iterdir()) == []


def test_two_trainings_of_one_checkpoint_are_refused(folder: Path, tmp_path: Path) -> None:
    with locks.only_run(tmp_path / "ckpt.pt"):
        done = run("train-gan", folder / "keys", "-o", tmp_path / "ckpt.pt", "-q")
    assert done.returncode == 1
    assert f"process {os.getpid()} on" in one_line(done.stderr)
    assert os.listdir(tmp_path) == []


def test_another_model_is_no_way_to_go_on(folder: Path) -> None:
    done = run("train-gan", folder / "keys", "--resume", folder / "game.pt", "--model", "mlp")
    assert (done.returncode, "--model mlp: the checkpoint is of the model" in one_line(done.stderr)) == (2, True)
