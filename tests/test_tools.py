"""The contract that every tool keeps: help, streams, overwriting, exit codes, interruption."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from musigan import store
from musigan.errors import StoreError
from tests import helpers
from tests.helpers import run, start

READERS = {
    "pair-chunks": "waveform",
    "npy-to-keys": "pairs",
    "keys-to-mp3": "keys",
    "pretrain": "keys",
    "train-gan": "keys",
}
FILTERS = {"pair-chunks": "waveform", "npy-to-keys": "pairs"}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small store of each kind, as files."""
    folder = tmp_path_factory.mktemp("stores")
    keys = helpers.keys_store(folder / "keys.zip", chunk_seconds=2.0)
    return {"waveform": folder / "keys.waveform", "pairs": folder / "keys.pairs", "keys": keys}


def one_line(stderr: bytes) -> str:
    text = stderr.decode()
    assert len(text.splitlines()) == 1, text
    assert "Traceback" not in text
    return text


def arguments(tool: str, source: object, folder: Path) -> list[object]:
    """A call of a tool that reads `source`."""
    return [folder / "out.wav"] if tool == "keys-to-mp3" else [source]


@pytest.mark.parametrize("tool", [tool for tool in helpers.MODULES if tool != "musigan"])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_says_what_and_ends_with_an_example(tool: str, flag: str) -> None:
    done = run(tool, flag)
    assert done.returncode == 0
    text = done.stdout.decode()
    assert "Example:" in text
    assert "--quiet" in text
    assert done.stderr == b""


@pytest.mark.parametrize("tool", helpers.MODULES)
def test_version(tool: str) -> None:
    done = run(tool, "--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, b"musigan")


@pytest.mark.parametrize("tool", helpers.MODULES)
def test_unknown_option_or_command_is_wrong_usage(tool: str) -> None:
    done = run(tool, "--no-such-option")
    assert done.returncode == 2
    assert b"no-such-option" in done.stderr
    assert done.stdout == b""


def test_umbrella_lists_every_tool_and_suggests() -> None:
    listing = run("musigan", "--help").stdout.decode()
    assert all(tool.removeprefix("musigan ") in listing for tool in helpers.MODULES)
    done = run("musigan", "trian-gan")
    assert done.returncode == 2
    assert "train-gan" in one_line(done.stderr)
    assert run("musigan").returncode == 2


@pytest.mark.parametrize("tool", READERS)
def test_nothing_on_stdin_is_one_line_and_exit_1(tool: str, tmp_path: Path) -> None:
    done = run(tool, *arguments(tool, "-", tmp_path))
    assert done.returncode == 1
    assert "nothing came in" in one_line(done.stderr)
    assert not any(name for name in os.listdir(tmp_path) if not name.endswith(".run"))


@pytest.mark.parametrize("tool", READERS)
def test_a_store_of_another_kind_names_both(tool: str, stores: dict[str, Path], tmp_path: Path) -> None:
    wrong = "keys" if READERS[tool] != "keys" else "waveform"
    done = run(tool, *arguments(tool, "-", tmp_path), data=stores[wrong].read_bytes())
    assert done.returncode == 1
    message = one_line(done.stderr)
    assert wrong in message
    assert READERS[tool] in message


@pytest.mark.parametrize("tool", READERS)
@pytest.mark.parametrize("share", [0.02, 0.6, 0.999])
def test_a_store_cut_short_is_an_error_and_leaves_no_output(
    tool: str, share: float, stores: dict[str, Path], tmp_path: Path
) -> None:
    data = stores[READERS[tool]].read_bytes()
    output = [] if tool == "keys-to-mp3" else ["-o", tmp_path / "out"]
    done = run(tool, *arguments(tool, "-", tmp_path), *output, data=data[: int(len(data) * share)])
    assert done.returncode == 1
    assert "cut short" in one_line(done.stderr) or "damaged" in one_line(done.stderr)
    assert [name for name in os.listdir(tmp_path) if not name.endswith(".run")] == []


@pytest.mark.parametrize("tool", FILTERS)
def test_file_folder_stdin_and_pipe_give_the_same_bytes(tool: str, stores: dict[str, Path], tmp_path: Path) -> None:
    source = stores[FILTERS[tool]]
    by_name, by_pipe = run(tool, source), run(tool, data=source.read_bytes())
    with source.open("rb") as file:
        by_redirection = run(tool, "-", stdin=file)
    to_file = run(tool, source, "-o", tmp_path / "out.zip")
    assert by_name.returncode == to_file.returncode == 0
    assert by_name.stdout == by_pipe.stdout == by_redirection.stdout == (tmp_path / "out.zip").read_bytes()
    assert run(tool, source, "-o", tmp_path / "out.zarr").returncode == 0
    with store.open_reader(str(tmp_path / "out.zarr")) as folder, store.open_reader(str(tmp_path / "out.zip")) as file:
        assert all((a.array == b.array).all() for a, b in zip(folder, file, strict=True))


@pytest.mark.parametrize("tool", FILTERS)
def test_an_output_is_not_overwritten_without_force(tool: str, stores: dict[str, Path], tmp_path: Path) -> None:
    for name in ("out.zip", "out.zarr"):
        output = tmp_path / name
        output.write_text("precious")
        done = run(tool, stores[FILTERS[tool]], "-o", output)
        assert done.returncode == 1
        assert "--force" in one_line(done.stderr)
        assert output.read_text() == "precious"
        assert run(tool, stores[FILTERS[tool]], "-o", output, "--force").returncode == 0
        store.open_reader(str(output)).close()
    assert sorted(os.listdir(tmp_path)) == ["out.zarr", "out.zip"]


@pytest.mark.parametrize("tool", FILTERS)
def test_a_terminal_is_refused_on_both_sides(tool: str, stores: dict[str, Path]) -> None:
    main, terminal = pty.openpty()
    try:
        done = run(tool, stdin=terminal)
        assert done.returncode == 2
        assert "terminal" in one_line(done.stderr)
        process = start(tool, stores[FILTERS[tool]], stdout=terminal, stderr=subprocess.PIPE)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "terminal" in one_line(stderr)
    finally:
        os.close(main)
        os.close(terminal)


@pytest.mark.parametrize("tool", FILTERS)
def test_a_reader_that_goes_away_ends_the_tool_quietly(tool: str, stores: dict[str, Path]) -> None:
    process = start(tool, stores[FILTERS[tool]], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 141


@pytest.mark.parametrize("tool", FILTERS)
def test_closed_standard_streams_are_survived(tool: str, stores: dict[str, Path], tmp_path: Path) -> None:
    words = " ".join(f"'{word}'" for word in helpers.command(tool, stores[FILTERS[tool]], "-o", tmp_path / "out.zip"))
    assert subprocess.run(["sh", "-c", f"exec {words} <&- >&- 2>&-"], check=False).returncode == 0
    store.open_reader(str(tmp_path / "out.zip")).close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
@pytest.mark.parametrize("name", ["out.zip", "out.zarr"])
def test_stopped_half_way_nothing_passes_for_a_store(
    number: signal.Signals, code: int, name: str, stores: dict[str, Path], tmp_path: Path
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs hand down an ignored one
    data = stores["waveform"].read_bytes()
    process = start(
        "pair-chunks", "-o", tmp_path / name, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
    )
    assert process.stdin is not None
    process.stdin.write(data[: len(data) * 2 // 3])
    process.stdin.flush()
    deadline = time.monotonic() + 30
    while not os.listdir(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(30) == code
    assert not (tmp_path / name).exists()
    for leftover in tmp_path.iterdir():
        assert number == signal.SIGKILL
        with pytest.raises(StoreError):
            store.open_reader(str(leftover))


@pytest.mark.parametrize("killed", ["mp3-to-npy", "pair-chunks", "npy-to-keys"])
def test_kill_9_of_any_tool_of_a_pipe_leaves_no_store(killed: str, tmp_path: Path) -> None:
    """Only a pipe in which nobody was killed ends in a store; wherever the kill falls, the rest notice."""
    music = tmp_path / "music"
    music.mkdir()
    for number in range(12):
        helpers.write_wav(music / f"{number}.wav", helpers.tune(60, [40 + number, 47, 52], number))
    target = tmp_path / "keys.zarr"
    with target.open("wb") as file:
        first = start("mp3-to-npy", music, "-j", 1, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        second = start("pair-chunks", stdin=first.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        third = start("npy-to-keys", stdin=second.stdout, stdout=file, stderr=subprocess.PIPE)
        for process in (first, second):
            assert process.stdout is not None
            process.stdout.close()
        deadline = time.monotonic() + 60
        while target.stat().st_size < 1000 and time.monotonic() < deadline:
            time.sleep(0.005)
        victim = {"mp3-to-npy": first, "pair-chunks": second, "npy-to-keys": third}[killed]
        finished = victim.poll() is not None
        victim.kill()
        assert third.stderr is not None
        third.stderr.read()
        codes = [process.wait(60) for process in (first, second, third)]
    if finished:
        pytest.fail(f"the pipe was done before the kill: {codes}")
    assert codes[2] != 0
    with pytest.raises(StoreError):
        store.open_reader(str(target))


def test_stray_output_cannot_touch_the_stream(stores: dict[str, Path]) -> None:
    """A library that prints, or a child process that writes to descriptor 1, ends up on stderr."""
    noisy = (
        "import os, subprocess, musigan.chunks as chunks\n"
        "cut = chunks.cut_pairs\n"
        "def loud(*a):\n"
        "    print('stray', flush=True); os.write(1, b'raw'); subprocess.run(['sh', '-c', 'echo child; cat'])\n"
        "    return cut(*a)\n"
        "chunks.cut_pairs = loud\n"
        "from musigan_tools.pair_chunks import main; main()\n"
    )
    data = stores["waveform"].read_bytes()
    done = subprocess.run([helpers.command("musigan")[0], "-c", noisy], input=data, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout == run("pair-chunks", data=data).stdout


def test_quiet_says_nothing(stores: dict[str, Path]) -> None:
    done = run("pair-chunks", stores["waveform"], "-q")
    assert (done.returncode, done.stderr) == (0, b"")
    assert run("pair-chunks", stores["waveform"]).stderr != b""


def test_verbose_shows_where(tmp_path: Path) -> None:
    (tmp_path / "not-a-store").write_text("hello")
    assert b"Traceback" in run("pair-chunks", tmp_path / "not-a-store", "-v").stderr
    assert b"Traceback" not in run("pair-chunks", tmp_path / "not-a-store").stderr


def test_skipped_inputs_exit_3_and_strict_stops(tmp_path: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    helpers.write_wav(music / "b.wav", helpers.tune(25, [40, 47]))
    (music / "a.mp3").write_bytes(b"")
    done = run("mp3-to-npy", music, "-o", tmp_path / "out.zip")
    assert done.returncode == 3
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 2
    assert "a.mp3" in lines[0]
    assert "empty" in lines[0]
    assert "skipped 1" in lines[1]
    with store.open_reader(str(tmp_path / "out.zip")) as reader:
        assert [info.attributes["source"] for info in reader.infos()] == ["b.wav"]
    strict = run("mp3-to-npy", music, "-o", tmp_path / "strict.zip", "--strict")
    assert strict.returncode == 1
    assert "a.mp3" in one_line(strict.stderr)
    assert not (tmp_path / "strict.zip").exists()


def test_nothing_usable_is_exit_1(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_text("not music")
    done = run("mp3-to-npy", tmp_path, "-o", tmp_path / "out.zip")
    assert done.returncode == 1
    assert b"nothing usable" in done.stderr
    assert not (tmp_path / "out.zip").exists()
    assert run("mp3-to-npy", tmp_path / "no-such-folder").returncode == 1


def test_songs_pass_on_as_they_come(stores: dict[str, Path]) -> None:
    """The first song is out before the last one is in."""
    data = stores["waveform"].read_bytes()
    process = start("pair-chunks", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(data[: len(data) * 2 // 3])
    process.stdin.flush()
    received = b""
    while b"000001/c/0" not in received:
        received += os.read(process.stdout.fileno(), 1 << 16)
    rest, _ = process.communicate(data[len(data) * 2 // 3 :], timeout=60)
    assert rest
    assert process.returncode == 0


def test_check_tells_whole_from_damaged(stores: dict[str, Path], tmp_path: Path) -> None:
    done = run("musigan check", stores["keys"])
    assert done.returncode == 0
    assert b"whole, keys" in done.stdout
    damaged = bytearray(stores["keys"].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    done = run("musigan check", stores["keys"], tmp_path / "damaged")
    assert done.returncode == 1
    assert b"damaged" in done.stderr


def test_doctor_reports(tmp_path: Path) -> None:
    done = run("musigan doctor", cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert done.returncode == 0
    assert all(word in done.stdout.decode() for word in ("libsndfile", "ffmpeg", "GPU", "free in"))
