"""evaluate as its own process: where real music and samples come from, and what is printed."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from musigan.training import loop
from tests import helpers, tiny
from tests.helpers import one_line, run, run_each
from tests.musicstores import song, write_songs

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
FAST = ("--bootstraps", 10, "--splits", 2)
BARE = ("--bootstraps", 10, "--splits", 0, "--no-baselines")
ROWS = ["held-out", "floor", "song splits", "same songs"]
BASELINES = ["silence", "mean + noise", "shuffled", "reversed", "tritone", "copies", "Markov"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """keys (9 songs, 4 held back), others (of the same form), ckpt.pt trained on keys, and a waveform store."""
    folder = tmp_path_factory.mktemp("evaluate")
    keys = tiny.write_keys(folder / "keys", songs=9, validation=4)
    tiny.write_keys(folder / "others", songs=4, validation=0, seed=50, paired=False)
    run, data = tiny.start(keys, tiny.settings())
    loop.train(run, data, folder / "ckpt.pt", tiny.Silent())
    tiny.let_it_sound(folder / "ckpt.pt")
    helpers.waveform_store(folder / "waveform", 1, 5.0)
    return folder


def evaluate(*lines: list[object], cwd: Path) -> list[tuple[int, str, str]]:
    """(exit code, stdout, stderr) of each call."""
    calls = [[*line, "--device", "cpu", "-j", 1] for line in lines]
    done = run_each("evaluate", *calls, env=ENVIRONMENT, cwd=cwd)
    return [(each.returncode, each.stdout.decode(), each.stderr.decode()) for each in done]


def rows_of(text: str) -> list[str]:
    """Names of the rows of a table's first block, those folded as they have no value last."""
    block = next(part for part in text.split("\n\n") if part.startswith("distances "))
    rows = [line[:14].strip() for line in block.splitlines()[1:] if not line.startswith("without")]
    folded = re.search(r"^without a value: (.*?) \(", block, re.MULTILINE)
    return rows + (folded[1].split(", ") if folded else [])


def test_table_json_and_csv_say_the_same(folder: Path) -> None:
    text, as_json, as_csv, bare = evaluate(
        ["keys", "others", *FAST],
        ["keys", "others", *FAST, "--json"],
        ["keys", "others", *FAST, "--csv"],
        ["keys", *BARE],
        cwd=folder,
    )
    for code, _, said in (text, as_json, as_csv, bare):
        assert (code, said) == (0, "")
    expected = [ROWS[0], "samples", *ROWS[1:], *BASELINES]
    content = json.loads(as_json[1])
    lines = list(csv.DictReader(io.StringIO(as_csv[1])))
    assert list(content["rows"]) == list(dict.fromkeys(line["row"] for line in lines)) == expected
    assert rows_of(text[1]) == [*expected[1:], "held-out"]  # held against itself it has no distance
    assert "\n\n10 rolls in each set; songs divided as the store says\n" in text[1]  # after the verdict
    assert max(map(len, text[1].splitlines())) <= 130
    assert content["rolls"] == 10
    for line in lines:
        value = content["rows"][line["row"]]["metrics"][line["metric"]]["value"]
        assert (float(line["value"]) if line["value"] else None) == value
    assert rows_of(bare[1]) == ["floor", "same songs", "held-out"]


def test_a_checkpoint_is_drawn_from(folder: Path) -> None:
    """As samples, as real music and as both: samples of the same generator are not told from each other."""
    of_store, both, more, again = evaluate(
        ["keys", "ckpt.pt", *BARE, "--json"],
        ["ckpt.pt", "ckpt.pt", *BARE, "--json", "-n", 12],
        ["ckpt.pt", "keys", *BARE, "-n", 8],
        ["keys", "ckpt.pt", *BARE, "--json", "--seed", 2],
        cwd=folder,
    )
    assert [done[0] for done in (of_store, both, more, again)] == [0] * 4, (of_store, both, more, again)
    found = json.loads(of_store[1])
    assert (found["rolls"], found["rows"]["samples"]["songs"]) == (10, 10)
    assert "samples" in found["told from the floor"]
    assert found["rows"]["samples"] != json.loads(again[1])["rows"]["samples"]
    alike = json.loads(both[1])
    assert (alike["rolls"], alike["split"]) == (12, "by piece, all of them drawn")
    samples = alike["rows"]["samples"]["metrics"]
    assert samples["told apart, logistic"]["value"] < 0.8
    assert samples["Frechet, random net"]["value"] > 0  # other pieces than those that stand for real music
    assert rows_of(more[1])[:2] == ["samples", "floor"]


def test_samples_and_music_come_through_pipes(folder: Path, tmp_path: Path) -> None:
    """`sample ckpt.pt | evaluate keys -`, a named pipe, and real music by redirection: as if they were files."""
    drawn = run("sample", folder / "ckpt.pt", "-n", 10, "--seconds", tiny.FRAMES * 0.02, "--device", "cpu")
    assert drawn.returncode == 0, drawn.stderr
    (tmp_path / "drawn").write_bytes(drawn.stdout)
    ((code, expected, said),) = evaluate([folder / "keys", "drawn", *BARE, "--csv"], cwd=tmp_path)
    assert (code, said) == (0, "")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    piped = helpers.start(
        "evaluate", folder / "keys", fifo, *BARE, "--csv", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )  # fmt: skip
    fifo.write_bytes(drawn.stdout)
    out, err = piped.communicate(timeout=60)
    assert (piped.returncode, out.decode(), err) == (0, expected, b"")
    real = (folder / "keys").read_bytes()
    for arguments, data in (((folder / "keys", "-"), drawn.stdout), (("-", tmp_path / "drawn"), real)):
        done = run("evaluate", *arguments, *BARE, "--csv", data=data, env=ENVIRONMENT)
        assert (done.returncode, done.stdout.decode(), done.stderr) == (0, expected, b"")


def test_what_cannot_be_judged_is_one_line(folder: Path, tmp_path: Path) -> None:
    size = {"channels": 2, "keys": 11, "frames": 24}
    write_songs(folder / "tall", [song(1, 9, channels=2, keys=12, frames=24)], [None])
    write_songs(folder / "one song", [song(1, 40, **size)], [None])
    write_songs(folder / "few", [song(number, 1, **size) for number in range(4)], ["train", "validation"] * 2)
    (folder / "torn.pt").write_bytes((folder / "ckpt.pt").read_bytes()[:-500])
    broken = torch.load(folder / "ckpt.pt", weights_only=True)
    torch.save({**broken, "store": {"low_key": 30}}, folder / "bare.pt")
    lines: list[tuple[int, str, list[object]]] = [
        (2, "one of them", ["keys", "others", "--json", "--csv"]),
        (2, "name a file for the other", ["-", "-"]),
        (1, "nothing came in", ["keys", "-"]),
        (1, "waveform", ["waveform"]),
        (1, "waveform", ["keys", "waveform"]),
        (1, "must be alike", ["keys", "tall"]),
        (1, "more songs are needed", ["one song"]),
        (1, "too small to judge by", ["few"]),
        (1, "lacks its store's", ["keys", "bare.pt"]),
        (2, "--count", ["keys", "-n", 7]),
        (2, "--splits", ["keys", "--splits", -1]),
        (2, "", ["missing"]),
        (2, "", ["keys", "missing"]),
        (1, "", ["keys", "torn.pt"]),
        (2, "", []),
    ]
    found = evaluate(*[line for _, _, line in lines], cwd=folder)
    for (code, says, line), (came, out, said) in zip(lines, found, strict=True):
        assert (line, came) in ((line, code), (line, 1 if code == 2 and not says else code)), said
        assert out == ""
        assert says in one_line(said.encode()), line


def test_samples_of_nothing_but_silence_are_judged(folder: Path) -> None:
    write_songs(
        folder / "silent", [np.zeros((10, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES), np.float32)], [None],
        tiny.HEADER,
    )  # fmt: skip
    ((code, out, said),) = evaluate(["keys", "silent", *BARE, "--network"], cwd=folder)
    assert (code, said) == (0, "")
    assert "undefined*" in out
    assert "nan" not in out
    assert "told apart, network" in out
