"""plot-keys as a tool: what it draws, says and refuses."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musigan import store
from tests.helpers import one_line, run, run_each

HEADER = store.StoreHeader("keys", 100, 2, frame_seconds=0.05, low_key=20, high_key=50)
MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def keys(path: Path, count: int, factor: float = 1.0, channels: int = 2, **changes: Any) -> Path:
    header = replace(HEADER, **changes)
    with store.write(str(path), header) as writer:
        for number in range(count):
            roll = np.random.default_rng(number).random((2, 2, channels, header.key_count, 40)) ** 8 * factor
            names = ("pairs", "part", "channels", "keys", "frames")
            writer.add(roll.astype(np.float16), names, store.Song(title=f"$Tune_{number}"))
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    return {
        "five": keys(folder / "five.zip", 5),
        "quarter": keys(folder / "quarter.zip", 2, 0.25, channels=1),
        "wide": keys(folder / "wide.zip", 1, high_key=88),
    }


def test_file_stdin_and_output_give_the_same_picture(stores: dict[str, Path], tmp_path: Path) -> None:
    named, four, one, to_file = run_each(
        "plot-keys", [stores["five"]], [stores["five"], "--items", "1:4"], [stores["five"], "-n", 1],
        [stores["five"], "-o", tmp_path / "a.png"],
    )  # fmt: skip
    piped = run("plot-keys", data=stores["five"].read_bytes())
    assert [done.returncode for done in (named, four, one, to_file, piped)] == [0] * 5
    assert named.stdout == four.stdout == piped.stdout == (tmp_path / "a.png").read_bytes() != one.stdout
    assert "4 items in standard output" in one_line(piped.stderr)
    assert to_file.stdout == b""


def test_the_ending_or_the_format_option_decides(stores: dict[str, Path], tmp_path: Path) -> None:
    source = stores["wide"]
    calls = [[source, "--format", name] for name in MAGIC] + [[source, "-o", tmp_path / f"a.{name}"] for name in MAGIC]
    done = run_each("plot-keys", *calls, [source, "-o", tmp_path / "b", "--format", "pdf"])
    assert [call.returncode for call in done] == [0] * 7
    for number, (name, magic) in enumerate(MAGIC.items()):
        assert done[number].stdout.startswith(magic)
        assert done[number].stdout == (tmp_path / f"a.{name}").read_bytes()
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a.pdf").read_bytes()
    assert b"$Tune_0" in (tmp_path / "a.svg").read_bytes()  # the title as it is, in a comment beside its outlines


def test_every_option_shows(stores: dict[str, Path]) -> None:
    options = [
        (), ("-n", 3), ("--items", "2,1"), ("--items", "1,2"), ("--start", 1), ("--seconds", 2), ("--columns", 1),
        ("--channel", 2), ("--scale", "log"), ("--scale", "linear"), ("--dpi", 80),
        ("--diff", stores["quarter"], "-n", 2),
    ]  # fmt: skip
    done = run_each("plot-keys", *[[stores["five"], "-q", *option] for option in options])
    assert [(call.returncode, call.stderr) for call in done] == [(0, b"")] * len(options)
    assert len({call.stdout for call in done}) == len(options)


def test_difference_says_how_well_each_item_agrees(stores: dict[str, Path]) -> None:
    done = run("plot-keys", stores["five"], "--diff", stores["quarter"], "--items", "2,5,1", "--channel", 1)
    assert done.returncode == 3  # item 5 has no namesake
    first, second, skipped, last = done.stderr.decode().splitlines()
    with store.open_reader(str(stores["five"])) as one, store.open_reader(str(stores["quarter"])) as other:
        for line, item, namesake in zip((first, second), one, other, strict=False):
            a = np.sqrt(item.array[:, :, 0].astype(np.float64))
            b = np.sqrt(namesake.array[:, :, 0].astype(np.float64))
            cosine = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
            assert f"cosine {cosine:.4f}, mean absolute difference {abs(a - b).mean():.4f} over 8 s" in line
            assert item.song.title in line
    assert "skipped item 5: " in skipped
    assert "2 items in standard output; skipped 1" in last


def test_what_makes_no_sense_is_one_line(stores: dict[str, Path], tmp_path: Path) -> None:
    five = stores["five"]
    calls: list[tuple[int, str, list[object]]] = [
        (2, "holds no item", [five, "--items", "6"]),
        (2, "--items", [five, "--items", "x"]),
        (2, "--channel 3", [five, "--channel", 3]),
        (2, "--scale", [five, "--scale", "db"]),
        (2, "--format", [five, "--format", "jpg"]),
        (2, "--seconds", [five, "--seconds", 0]),
        (2, "--start", [five, "--start=nan"]),
        (2, "ending", [five, "-o", "rolls"]),
        (2, "empty", [five, "-o", ""]),
        (2, "no folder", [five, "-o", "no/such/a.png"]),
        (2, "URL", [five, "-o", "s3://bucket/a.png"]),
        (2, "both", ["-", "--diff", "-"]),
        (1, "keys up to 88", [five, "--diff", stores["wide"]]),
        (1, "missing", [five, "--diff", "missing"]),
        (1, "--strict", [five, "--start", 8, "--strict"]),
    ]
    done = run_each("plot-keys", *[call for _, _, call in calls], cwd=tmp_path)
    for (code, word, call), result in zip(calls, done, strict=True):
        assert (call, result.returncode, result.stdout) == (call, code, b"")
        assert word in one_line(result.stderr)
    assert os.listdir(tmp_path) == []


def test_a_picture_is_not_overwritten_without_force(stores: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_text("precious")
    (tmp_path / "folder.png").mkdir()
    refused, folder, forced, failed = run_each(
        "plot-keys", [stores["wide"], "-o", target], [stores["wide"], "-o", tmp_path / "folder.png", "--force"],
        [stores["wide"], "-o", target, "--force"], [stores["wide"], "-o", target, "--force", "--start", 99],
    )  # fmt: skip
    assert [call.returncode for call in (refused, folder, forced, failed)] == [1, 2, 0, 1]
    assert "--force" in one_line(refused.stderr)
    assert target.read_bytes().startswith(MAGIC["png"])
    assert sorted(os.listdir(tmp_path)) == ["a.png", "folder.png"]
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_home_that_cannot_be_written_is_no_reason_for_words(stores: dict[str, Path], tmp_path: Path) -> None:
    """Matplotlib keeps a cache of fonts, and says so where it cannot; -v shows our warnings, not the letters' lack."""
    (tmp_path / "home").write_text("no folder")
    (tmp_path / "matplotlibrc").write_text("axes.facecolor: red\nno.such.setting: 1\n")
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": "", "MPLCONFIGDIR": "/dev/null/x"}
    plain = run("plot-keys", stores["wide"])
    done = run("plot-keys", stores["wide"], "-v", env=environment, cwd=tmp_path)
    assert done.returncode == 0
    assert "1 item" in one_line(done.stderr)
    assert done.stdout == plain.stdout
