"""What went wrong on people's machines, tool by tool: each kind of fault with inputs of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from musigan_tools import _cli

from musigan import store
from tests import helpers, musicstores
from tests.helpers import one_line, run


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small store of each kind, as files, and one of each whose first item holds an infinity."""
    folder = tmp_path_factory.mktemp("stores")
    made = helpers.one_store_of_each(folder)
    return made | {f"damaged {kind}": with_infinity(path, folder / f"damaged.{kind}") for kind, path in made.items()}


def with_infinity(path: Path, copy: Path) -> Path:
    """Copy a store and put an infinity into its first item."""
    with store.open_reader(str(path)) as reader, store.write(str(copy), reader.header) as writer:
        for item in reader:
            array = item.array.copy()
            if not writer.items:
                array[(-1,) * array.ndim] = np.inf
            writer.add(array, item.dimension_names, item.song)
    return copy


@pytest.mark.parametrize(
    ("tool", "kind", "out"),
    [
        ("pair-chunks", "waveform", "out.zip"), ("npy-to-keys", "pairs", "out.zip"),
        ("keys-to-midi", "keys", "out.mid"), ("keys-to-mp3", "keys", "out.wav"), ("plot-keys", "keys", "out.png"),
    ],
)  # fmt: skip
def test_an_item_that_holds_no_numbers_is_skipped_by_name(
    tool: str, kind: str, out: str, stores: dict[str, Path], tmp_path: Path
) -> None:
    source, target = stores[f"damaged {kind}"], tmp_path / out
    done = run(tool, *([target, source] if tool.startswith("keys-to") else [source, "-o", target]))
    assert done.returncode == 3, done.stderr
    skipped, summary = done.stderr.decode().splitlines()
    assert "skipped" in skipped
    assert ("NaN" in skipped) or ("not finite" in skipped)
    assert "skipped 1" in summary
    assert target.stat().st_size > 0


def test_check_finds_what_is_no_number(stores: dict[str, Path]) -> None:
    for kind in ("waveform", "pairs", "keys"):
        done = run("musigan check", stores[f"damaged {kind}"])
        assert (done.returncode, "values that are not numbers" in one_line(done.stderr)) == (1, True)


@pytest.mark.parametrize("start", ["1e305", "1e308", "-1e300", "1e10"])
def test_numbers_that_nothing_has_are_wrong_usage(start: str, stores: dict[str, Path], tmp_path: Path) -> None:
    done = run("plot-keys", stores["keys"], "--start", start, "-o", tmp_path / "x.png")
    assert done.returncode == 2
    assert "--start" in one_line(done.stderr)


@pytest.mark.parametrize(
    "url", ["foo://x", "zip://", "reference://x", "github://x", "http://", "s3://", "://", "a://b://c"]
)
def test_urls_of_odd_schemes_are_one_line(url: str, stores: dict[str, Path]) -> None:
    for arguments in ((url,), (stores["keys"], "-o", url)):
        done = run("npy-to-keys", *arguments)
        assert done.returncode in (1, 2)
        one_line(done.stderr)


def test_evaluate_names_the_item_that_holds_no_numbers(tmp_path: Path) -> None:
    music = musicstores.write_music(tmp_path / "music.zip", 4, 4, 4)
    with store.open_reader(str(music)) as reader, store.write(str(tmp_path / "x.zip"), reader.header) as writer:
        for item in reader:
            array = item.array.copy()
            array[2, 0, 3, 5] = np.nan
            writer.add(array, item.dimension_names, item.song)
    options = ("-n", 8, "--splits", 0, "--bootstraps", 10, "--no-baselines")
    for stores in ((tmp_path / "x.zip",), (music, tmp_path / "x.zip")):
        done = run("evaluate", *stores, *options)
        assert done.returncode == 1
        assert "values that are not numbers" in one_line(done.stderr)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried 4 GB"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("Storage size calculation overflowed with sizes=[1000000000, 1000000000]"),
    ],
)
def test_memory_that_ends_is_no_internal_error(error: Exception) -> None:
    said, code = _cli._explained(error)
    assert (code, "out of memory" in said, "--batch-size" in said) == (1, True, True)
