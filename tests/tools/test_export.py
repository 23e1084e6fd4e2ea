"""musigan export: the way out, the way back, and what the other tools make of such files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from musigan import store
from musigan.checkpoints import checkpoint
from musigan.training import loop
from tests import tiny
from tests.helpers import one_line, run, run_each

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """keys, a run ckpt.pt in its game, and what export makes of it: ours.safetensors, and back.pt of that."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("export")
    keys = tiny.write_keys(folder / "keys", songs=9, validation=4)
    training, data = tiny.start(keys, tiny.settings())
    loop.train(training, data, folder / "ckpt.pt", tiny.Silent())
    tiny.let_it_sound(folder / "ckpt.pt")
    done = run_each(
        "musigan export", ["ckpt.pt", "ours.safetensors"], ["ours.safetensors", "back.pt"], cwd=folder, env=ENVIRONMENT
    )
    assert [each.returncode for each in done] == [0, 0], done[0].stderr + done[1].stderr
    assert "ours.safetensors: 0." in one_line(done[0].stderr)
    assert "sample back.pt" in one_line(done[1].stderr)
    return folder


def test_samples_are_the_same(folder: Path, tmp_path: Path) -> None:
    files = ("ckpt.pt", "ours.safetensors", "back.pt")
    lines = [[folder / name, "--seconds", 2, "--best", 1, "--of", 3, "-o", tmp_path / name] for name in files]
    assert [each.returncode for each in run_each("sample", *lines, env=ENVIRONMENT)] == [0, 0, 0]
    rolls = []
    for name in files:
        with store.open_reader(str(tmp_path / name)) as reader:
            rolls.append(next(iter(reader)).array)
    assert (rolls[0] == rolls[1]).all()
    assert (rolls[0] == rolls[2]).all()
    assert rolls[0].any()


def test_it_is_judged_and_shown(folder: Path, tmp_path: Path) -> None:
    quick = ["-n", 8, "--pieces", 0, "--no-baselines", "--splits", 0, "--bootstraps", 10, "-j", 1]
    judged = run("evaluate", folder / "keys", folder / "ours.safetensors", *quick, env=ENVIRONMENT)
    assert judged.returncode == 0, judged.stderr
    page = ["-o", tmp_path / "page.html", "--count", 2, "--of", 2, "--rounds", 0, "--seconds", 1, "-j", 1]
    shown = run("report", folder / "ours.safetensors", *page, env=ENVIRONMENT)
    assert shown.returncode == 0, shown.stderr
    text = (tmp_path / "page.html").read_text()
    assert '"epochs","4"' in text
    assert '"untaught":false' in text  # a critic that was trained judged it, though there is no history


def test_runs_begin_with_it_and_none_goes_on(folder: Path, tmp_path: Path) -> None:
    ours, back = folder / "ours.safetensors", folder / "back.pt"
    line = [folder / "keys", "--steps-limit", 1, "--sample-every", 0, "--device", "cpu", "-o"]
    begun, warm, *refused = run_each(
        "train-gan",
        [*line, tmp_path / "a.pt", "--start", ours],
        [*line, tmp_path / "b.pt", "--init", ours, "--model", "musigan"],
        [*line, tmp_path / "c.pt", "--resume", ours],
        [*line, tmp_path / "c.pt", "--resume", back],
        env=ENVIRONMENT,
    )
    assert (begun.returncode, warm.returncode) == (0, 0), begun.stderr + warm.stderr
    assert checkpoint.load(tmp_path / "a.pt").is_resumable
    assert checkpoint.load(tmp_path / "a.pt").card == ""
    assert b"--init: critic: " in warm.stderr
    for name, done in zip((ours, back), refused, strict=True):
        assert done.returncode == 2
        message = one_line(done.stderr)
        assert f"--init {name}" in message
        assert f"--start {name}" in message
    assert not (tmp_path / "c.pt").exists()


def test_the_card_goes_along_and_is_shown(folder: Path, tmp_path: Path) -> None:
    own, path = tmp_path / "card.md", tmp_path / "x.safetensors"
    own.write_text("# Übung\n\n- nine songs\n")
    made, back, written = run_each(
        "musigan export",
        [folder / "ckpt.pt"],
        [folder / "back.pt"],
        [folder / "ckpt.pt", path, "--card", own, "--half"],
        env=ENVIRONMENT,
    )
    assert (made.returncode, made.stderr, back.returncode, written.returncode) == (0, b"", 0, 0)
    assert made.stdout.startswith(b"# ckpt\n")
    assert back.stdout.splitlines()[1:] == made.stdout.splitlines()[1:]
    assert path.stat().st_size < (folder / "ours.safetensors").stat().st_size
    shown = run("musigan export", path, env=ENVIRONMENT)
    assert shown.stdout.decode() == own.read_text()


def test_wrong_calls_are_one_line(folder: Path, tmp_path: Path) -> None:
    source, out, binary = folder / "ckpt.pt", tmp_path / "x.safetensors", tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    there = tmp_path / "there.safetensors"
    there.write_text("precious")
    calls = [
        ([source, "x.onnxx"], 2, "expected .safetensors"),
        ([source, "x"], 2, "expected .safetensors"),
        ([source, "-"], 2, "expected .safetensors"),
        ([source, "x.pt", "--half"], 2, "--half is for files that end in .safetensors"),
        ([source, "--half"], 2, "--half"),
        ([source, "--card", binary], 2, "--card"),
        ([source, out, "--card", binary], 1, "no text"),
        ([source, out, "--card", tmp_path / "missing"], 1, "No such file"),
        ([source, out, "--card", "/dev/zero"], 1, "/dev/zero"),
        ([source, there], 1, "--force"),
        ([source, "no/folder/x.pt"], 2, "no folder"),
        ([folder / "keys", out], 1, "is a folder" if (folder / "keys").is_dir() else "not a checkpoint"),
        (["missing.pt", out], 1, "no such file"),
        ([folder / "ours.safetensors", "s3://bucket/x.pt"], 2, "is a URL"),
    ]
    done = run_each("musigan export", *[line for line, _, _ in calls], cwd=tmp_path, env=ENVIRONMENT)
    for (line, code, said), each in zip(calls, done, strict=True):
        assert (each.returncode, each.stdout) == (code, b""), line
        assert said in one_line(each.stderr), line
    assert there.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["binary", "there.safetensors"]
    assert run("musigan export", source, there, "--force", env=ENVIRONMENT).returncode == 0
    assert checkpoint.is_checkpoint(there)
