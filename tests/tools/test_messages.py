"""What went wrong on people's machines, tool by tool: each kind of fault with inputs of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from musigan_tools import _cli

from musigan import store
from musigan.errors import StoreError
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
        ("musigan merge", "keys", "out.zip"), ("musigan head", "pairs", "out.zip"),
        ("musigan filter", "waveform", "out.zip"),
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


def test_what_is_read_is_not_replaced(stores: dict[str, Path], tmp_path: Path) -> None:
    """But a store by the one that is made of it: test_an_output_may_replace_the_input."""
    (tmp_path / "music").mkdir()
    song = helpers.write_sound(tmp_path / "music" / "song.wav", helpers.tune(21, [40, 47]))
    keys = tmp_path / "keys.wav"
    shutil.copy(stores["keys"], keys)
    os.link(keys, tmp_path / "same.wav")
    for tool, *arguments in (
        ("mp3-to-npy", song, "-o", song), ("mp3-to-npy", tmp_path / "music", "-o", song), ("keys-to-mp3", keys, keys),
        ("keys-to-mp3", tmp_path / "same.wav", keys), ("train-gan", keys, "-o", keys, "-q"),
        ("plot-keys", keys, "-o", keys),
    ):  # fmt: skip
        before = {path: path.read_bytes() for path in (song, keys)}
        done = run(tool, *arguments, "--force")
        assert (done.returncode, "would be replaced" in one_line(done.stderr)) == (2, True), tool
        assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("musigan check", ["{}"]),
        ("train-gan", ["{}", "--print-config", "-q"]),
        ("musigan models", []),
        ("sample", ["--help"]),
    ],
)
def test_an_answer_that_has_nowhere_to_go_is_a_failure(
    tool: str, arguments: list[str], stores: dict[str, Path]
) -> None:
    words = helpers.command(tool, *[each.format(stores["keys"]) for each in arguments])
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *words], capture_output=True, timeout=120, check=False)
    assert done.returncode in (1, 2)
    assert "standard output" in one_line(done.stderr)


def test_a_traceback_shows_names_safely(tmp_path: Path) -> None:
    done = run("musigan check", "-v", tmp_path / "a\x1b[31mred")
    assert done.returncode == 1
    assert b"\x1b" not in done.stderr
    assert b"Traceback" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", ["out.zip", "out.zarr"])
def test_signals_even_twice_leave_nothing(
    number: signal.Signals, name: str, stores: dict[str, Path], tmp_path: Path
) -> None:
    read_end, write_end = os.pipe()  # held open: the tool waits for the rest of its input
    data = stores["waveform"].read_bytes()
    process = helpers.start("pair-chunks", "--chunk-seconds", 2, "-o", tmp_path / name, stdin=read_end, stderr=-1)
    with os.fdopen(write_end, "wb") as pipe:
        pipe.write(data[: len(data) * 3 // 4])
        pipe.flush()
        deadline = time.monotonic() + 60
        while not os.listdir(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert os.listdir(tmp_path)
        for _ in range(3):
            process.send_signal(number)
            time.sleep(0.001)
        _, said = process.communicate(timeout=60)
    os.close(read_end)
    assert process.returncode == 128 + number
    assert one_line(said) in ("pair-chunks: interrupted\n", "pair-chunks: stopped\n")
    assert os.listdir(tmp_path) == []


def test_a_hang_up_that_nohup_ignores_stays_ignored() -> None:
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from musigan_tools import _signals; "
        "_signals.heed_signals(); os.kill(os.getpid(), signal.SIGHUP); print('goes on')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"goes on\n"


def test_a_folder_store_has_regular_files_alone(stores: dict[str, Path], tmp_path: Path) -> None:
    whole = tmp_path / "whole.zarr"
    with store.open_reader(str(stores["keys"])) as reader, store.write(str(whole), reader.header) as writer:
        for item in reader:
            writer.add(item.array, item.dimension_names, item.song)
    for number, place in enumerate(("zarr.json", "000002/c/0/0/0/0/0", "000001/c/0/0/0/0/0")):
        for special in ("pipe", "/dev/zero", "/dev/null", "/dev/tty"):
            broken = tmp_path / f"broken{number}.zarr"
            shutil.rmtree(broken, ignore_errors=True)
            shutil.copytree(whole, broken)
            (broken / place).unlink()
            if special == "pipe":
                os.mkfifo(broken / place)
            else:
                (broken / place).symlink_to(special)
            with pytest.raises(StoreError, match=f"{place} (is not a regular file|cannot be read)"):
                list(store.open_reader(str(broken)))


@pytest.mark.parametrize("name", ["x.zip", "x.zarr"])
def test_a_store_cut_short_while_it_is_read_is_an_error(name: str, stores: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / name
    with store.open_reader(str(stores["keys"])) as reader, store.write(str(path), reader.header, False) as writer:
        for item in reader:
            writer.add(item.array, item.dimension_names, item.song)
    with store.open_reader(str(path)) as reader:
        reader.block("000002", 1)
        os.truncate(path if path.is_file() else path / "000002" / "c" / "1" / "0" / "0" / "0" / "0", 100)
        with pytest.raises(StoreError, match=r"cut short|gives another size"):
            reader.block("000002", 1)


def test_a_checkpoint_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    for path in (tmp_path / "pipe.pt", "/dev/zero"):
        done = run("sample", path, timeout=30)
        assert (done.returncode, "not a regular file" in one_line(done.stderr)) == (1, True)


@pytest.mark.parametrize(
    ("tool", "out", "said"),
    [
        ("keys-to-mp3", "out.txt", "ends in .mp3"), ("keys-to-mp3", "out.mid", "keys-to-midi makes MIDI"),
        ("keys-to-mp3", "out.zarr", "ends in .mp3"), ("keys-to-mp3", "out.xyz", "ends in .mp3"),
        ("keys-to-mp3", "out.png", "plot-keys makes pictures"), ("keys-to-mp3", "out", "no ending"),
        ("keys-to-mp3", "s3://bucket/out.mp3", "is a URL"), ("keys-to-midi", "out.mp3", "keys-to-mp3 makes sound"),
        ("keys-to-midi", "out.txt", "ends in .mid"), ("keys-to-midi", "memory://out.mid", "is a URL"),
        ("mp3-to-npy", "out.mp3", "keys-to-mp3 makes sound"), ("mp3-to-npy", "out.mid", "keys-to-midi makes MIDI"),
        ("plot-keys", "out.txt", ".png, .svg, .pdf"),
    ],
)  # fmt: skip
def test_an_output_of_another_kind_is_refused_at_once_and_names_the_tool_for_it(
    tool: str, out: str, said: str, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.zip"  # nothing is read before
    done = run(tool, *([out, missing] if tool.startswith("keys-to") else [missing, "-o", out]), cwd=tmp_path)
    assert (done.returncode, said in one_line(done.stderr)) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("tool", "source", "said"),
    [
        ("sample", "-", "from a pipe or a URL"), ("sample", "s3://bucket/x", "from a pipe or a URL"),
        ("mp3-to-npy", "-", "not read from a pipe"),
        ("mp3-to-npy", "foo://bucket/x.mp3", "x.mp3: the URL cannot be read (Protocol not known: foo)"),
    ],
)  # fmt: skip
def test_where_pipes_and_urls_are_not_read_that_is_said(tool: str, source: str, said: str, tmp_path: Path) -> None:
    done = run(tool, source, *([] if tool == "sample" else ["-o", tmp_path / "x.zip", "--strict"]))
    assert done.returncode == 1
    assert said in one_line(done.stderr)


def test_bytes_after_the_end_are_not_a_cut(stores: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(stores["keys"].read_bytes() + b"six   ")
    with pytest.raises(StoreError, match="there are 6 bytes after the end of the store"):
        store.open_reader(str(path))


def test_tools_start_without_what_windows_lacks(stores: dict[str, Path], tmp_path: Path) -> None:
    """Without fcntl, SIGURG, SIGHUP and pthread_kill: pipes and files work."""
    code = (
        "import os, signal, sys; sys.modules['fcntl'] = None\n"
        "for name in ('SIGURG', 'SIGHUP', 'pthread_kill'): delattr(signal, name)\n"
        f"sys.argv = ['pair-chunks', {str(stores['waveform'])!r}, '--chunk-seconds', '2']\n"
        "from musigan_tools.pair_chunks import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "pairs").write_bytes(done.stdout)
    with store.open_reader(str(tmp_path / "pairs")) as reader:
        assert len(list(reader)) == 2
