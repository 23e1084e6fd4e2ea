"""Tools on pipes and on bad days: closed streams, full disks, Ctrl-C, SIGTERM and kill -9."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from musigan import store
from musigan.errors import MusiganError, StoreError
from tests import helpers
from tests.helpers import assert_quiet_when_unread, one_line, run, start

FILTERS = {"pair-chunks": "waveform", "npy-to-keys": "pairs", "musigan merge": "waveform", "musigan filter": "keys"}
BINARY = {**FILTERS, "plot-keys": "keys"}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small store of each kind, as files."""
    return helpers.one_store_of_each(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Songs enough to keep a pipe busy after the first has come through."""
    folder = tmp_path_factory.mktemp("music")
    song = helpers.tune(45, [40, 47, 52])
    for number in range(24):
        helpers.write_sound(folder / f"{number}.wav", song * (1 - 0.02 * number))
    return folder


def wait_until(happened: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Pipe:
    """mp3-to-npy | pair-chunks | npy-to-keys > target, as a shell runs it: one process group, pipes held by nobody."""

    def __init__(self, music: Path, target: Path) -> None:
        with target.open("wb") as file:
            first = start(
                "mp3-to-npy", music, "-j", 1, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
            )
            group = first.pid
            second = start(
                "pair-chunks",
                stdin=first.stdout,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=group,
            )
            third = start("npy-to-keys", stdin=second.stdout, stdout=file, stderr=subprocess.PIPE, process_group=group)
        for process in (first, second):
            assert process.stdout is not None
            process.stdout.close()
        self.tools = {"mp3-to-npy": first, "pair-chunks": second, "npy-to-keys": third}
        wait_until(lambda: target.stat().st_size > 1000 or third.poll() is not None)

    def interrupt(self) -> None:
        os.killpg(self.tools["mp3-to-npy"].pid, signal.SIGINT)

    def end(self) -> tuple[list[int], bytes]:
        """Exit codes, and what the last tool said."""
        _, said = self.tools["npy-to-keys"].communicate(timeout=60)
        return [process.wait(60) for process in self.tools.values()], said


@pytest.mark.parametrize("tool", BINARY)
def test_a_terminal_is_refused_on_both_sides(tool: str, stores: dict[str, Path]) -> None:
    main, terminal = pty.openpty()
    try:
        done = run(tool, stdin=terminal)
        assert done.returncode == 2
        assert "terminal" in one_line(done.stderr)
        process = start(tool, stores[BINARY[tool]], stdout=terminal, stderr=subprocess.PIPE)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "terminal" in one_line(stderr)
    finally:
        os.close(main)
        os.close(terminal)


def test_progress_on_a_terminal_is_one_line_that_is_rewritten(stores: dict[str, Path], tmp_path: Path) -> None:
    main, terminal = pty.openpty()
    words = helpers.command("pair-chunks", stores["waveform"], "-o", tmp_path / "out")
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=terminal, env={**os.environ, "TERM": "xterm"})
    os.close(terminal)
    assert process.wait(60) == 0
    said = os.read(main, 10000)
    os.close(main)
    assert said.count(b"\n") == 1
    assert b"\r\x1b[Kpair-chunks: 1 song  tune-0.wav" in said
    assert said.replace(b"\r\x1b[K", b"").count(b"\x1b") == 0


@pytest.mark.parametrize("tool", FILTERS)
def test_a_reader_that_goes_away_ends_the_tool_quietly(tool: str, stores: dict[str, Path]) -> None:
    process = start(tool, stores[FILTERS[tool]], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert_quiet_when_unread(process)


@pytest.mark.parametrize("tool", ["pair-chunks", "musigan"])
def test_help_to_a_reader_that_went_away_is_quiet(tool: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = start(tool, "--help", stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (141, b"")


@pytest.mark.parametrize("tool", FILTERS)
def test_closed_standard_streams_are_survived(tool: str, stores: dict[str, Path], tmp_path: Path) -> None:
    def call(*arguments: object, closed: str = "<&- >&- 2>&-") -> subprocess.CompletedProcess[bytes]:
        words = " ".join(f"'{word}'" for word in helpers.command(tool, *arguments))
        return subprocess.run(["sh", "-c", f"exec {words} {closed}"], capture_output=True, timeout=60, check=False)

    expected = run(tool, stores[FILTERS[tool]]).stdout
    assert call(stores[FILTERS[tool]], "-o", tmp_path / "out.zip").returncode == 0
    assert (tmp_path / "out.zip").read_bytes() == expected
    assert call(tmp_path / "missing").returncode in (1, 2)
    nowhere_to_read = call(closed="<&-")
    assert nowhere_to_read.returncode == 2
    assert "standard input is closed" in one_line(nowhere_to_read.stderr)
    nowhere_to_write = call(stores[FILTERS[tool]], closed=">&-")
    assert nowhere_to_write.returncode == 2
    assert "standard output is closed" in one_line(nowhere_to_write.stderr)


def test_a_stderr_whose_reader_went_away_is_no_reason_to_stop(stores: dict[str, Path], tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = start("pair-chunks", stores["waveform"], "-v", "-o", tmp_path / "out", stderr=write_end)
    os.close(write_end)
    assert process.wait(60) == 0
    store.open_reader(str(tmp_path / "out")).close()


def test_a_full_disk_is_one_line_and_leaves_nothing(stores: dict[str, Path], tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = start("pair-chunks", stores["waveform"], stdout=full, stderr=subprocess.PIPE)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "No space left" in one_line(said)
    for name in ("out.zip", "out.zarr"):
        words = helpers.command("pair-chunks", stores["waveform"], "-o", tmp_path / name)
        limited = subprocess.run(  # files of at most 200 blocks of 512 or 1024 bytes
            ["sh", "-c", 'ulimit -f 200; exec "$@"', "sh", *words], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert limited.returncode == 1
        one_line(limited.stderr)
        assert os.listdir(tmp_path) == []


def test_a_named_pipe_is_read_and_can_be_interrupted(stores: dict[str, Path], tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = start("pair-chunks", fifo, "--chunk-seconds", 2, "-o", tmp_path / "out")
    fifo.write_bytes(stores["waveform"].read_bytes())
    assert process.wait(60) == 0
    assert (tmp_path / "out").read_bytes() == stores["pairs"].read_bytes()

    waiting = start("pair-chunks", fifo, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    writer = os.open(fifo, os.O_WRONLY)  # waits until the tool has opened its end
    time.sleep(0.1)
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=10)
    os.close(writer)
    assert waiting.returncode == 130
    assert "interrupted" in one_line(said)


def test_songs_pass_on_as_they_come(stores: dict[str, Path]) -> None:
    """The first song is out before the last one is in."""
    data = stores["waveform"].read_bytes()
    process = start("pair-chunks", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    first_out = threading.Event()

    def feed(stdin: IO[bytes]) -> None:
        stdin.write(data[: len(data) * 2 // 3])
        stdin.flush()
        assert first_out.wait(60)
        stdin.write(data[len(data) * 2 // 3 :])
        stdin.close()

    feeder = threading.Thread(target=feed, args=(process.stdin,))
    feeder.start()
    received = b""
    # A whole first song, whose blocks have 2 x 2 x 10 s of float16.
    while received.count(b"zarr.json") < 2 or len(received) < 960_000:
        assert select.select([process.stdout], [], [], 60)[0]
        received += os.read(process.stdout.fileno(), 1 << 16)
    assert b"000002" not in received
    first_out.set()
    received += process.stdout.read()
    feeder.join()
    process.stdout.close()
    assert process.wait(60) == 0
    assert b"000002/zarr.json" in received


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
@pytest.mark.parametrize("name", ["out.zip", "out.zarr"])
def test_stopped_half_way_nothing_passes_for_a_store(
    number: signal.Signals, code: int, name: str, stores: dict[str, Path], tmp_path: Path
) -> None:
    data = stores["waveform"].read_bytes()
    process = start(
        "pair-chunks", "-o", tmp_path / name, stdin=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
    )
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(data[: len(data) * 2 // 3])
    process.stdin.flush()
    wait_until(lambda: os.listdir(tmp_path))
    process.send_signal(number)
    assert process.wait(30) == code
    said = process.stderr.read()
    assert number == signal.SIGKILL or one_line(said)
    assert not (tmp_path / name).exists()
    for leftover in tmp_path.iterdir():
        assert number == signal.SIGKILL
        with pytest.raises(StoreError):
            store.open_reader(str(leftover))


def test_signals_between_the_system_calls_of_a_read_are_heard(stores: dict[str, Path]) -> None:
    """Ctrl-C at any moment from the start on, into a read that will wait for ever; each must end the tool soon."""
    data = stores["waveform"].read_bytes()
    script = (
        "import os, signal, sys, threading, time\n"
        "from musigan_tools import _signals\n"
        "pause = float(sys.argv.pop())\n"
        "real = _signals.wake_on_signals\n"
        "def wake():\n"
        "    real()\n"
        "    def kill(): time.sleep(pause); os.kill(os.getpid(), signal.SIGINT)\n"
        "    threading.Thread(target=kill, daemon=True).start()\n"
        "_signals.wake_on_signals = wake\n"
        "from musigan_tools.pair_chunks import main; main()\n"
    )
    running = []
    for step in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(0.15 * step)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        running.append(process)
    for process in running:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            process.stdin.write(data[: len(data) * 2 // 3])
            process.stdin.flush()
        except BrokenPipeError:  # it was interrupted before
            pass
        assert process.wait(20) == 130
        assert "interrupted" in one_line(process.stderr.read())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_exception_a_finalizer_swallows_is_heard_after_it(number: int) -> None:
    """Python reports such an exception and goes on, as in callbacks of its imports; nothing of it is printed."""
    script = (
        "import os, signal, sys, time\n"
        "from musigan_tools import _signals\n"
        "_signals.heed_signals()\n"
        "_signals.wake_on_signals()\n"
        "class Slow:\n"
        f"    def __del__(self): os.kill(os.getpid(), {int(number)}); time.sleep(1)\n"
        "slow = Slow()\n"
        "del slow\n"
        "try: os.read(os.pipe()[0], 1)\n"
        "except (KeyboardInterrupt, _signals.Stopped): os._exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (7, b"")


def test_a_signal_that_was_only_noted_still_interrupts_a_read() -> None:
    """Another thread takes the signal while the main one is in a read that no signal has interrupted."""
    script = (
        "import os, signal, threading, time\n"
        "from musigan_tools import _signals\n"
        "_signals.wake_on_signals()\n"
        "def kill(): time.sleep(0.2); os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=kill, daemon=True).start()\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n"
        "try: os.read(os.pipe()[0], 1)\n"
        "except KeyboardInterrupt: os._exit(130)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=20, check=False).returncode == 130


def test_ctrl_c_while_threads_decode_ends_at_once(tmp_path: Path) -> None:
    helpers.write_sound(tmp_path / "0.wav", helpers.tune(60, [40, 47]))
    for number in range(1, 6):
        (tmp_path / f"{number}.wav").symlink_to("0.wav")
    process = start(
        "mp3-to-npy", tmp_path, "-j", 3, "--sample-rate", 192000, "--all", stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.read(10)  # the header: decoding begins
    time.sleep(0.2)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in one_line(said)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("killed", ["mp3-to-npy", "pair-chunks", "npy-to-keys"])
def test_kill_9_of_any_tool_of_a_pipe_leaves_no_store(killed: str, music: Path, tmp_path: Path) -> None:
    """Only a pipe in which nobody was killed ends in a store; wherever the kill falls, the rest notice."""
    target = tmp_path / "keys.zarr"
    pipe = Pipe(music, target)
    finished = pipe.tools[killed].poll() is not None
    pipe.tools[killed].kill()
    codes, said = pipe.end()
    assert not finished, f"the pipe was done before the kill: {codes}"
    after = list(pipe.tools).index(killed)
    assert codes[:after] == [141] * after
    assert codes[after] == -9
    assert codes[after + 1 :] == [1] * (2 - after)
    assert killed == "npy-to-keys" or "cut short" in one_line(said)
    with pytest.raises((StoreError, MusiganError), match=r"cut short|no such file"):
        store.open_reader(str(target))


def test_ctrl_c_ends_a_whole_pipe(music: Path, tmp_path: Path) -> None:
    pipe = Pipe(music, tmp_path / "keys.zarr")
    pipe.interrupt()
    codes, said = pipe.end()
    assert codes == [130, 130, 130]
    assert "interrupted" in one_line(said)


def test_sigterm_in_the_middle_of_a_pipe_is_heard_on_both_sides(music: Path, tmp_path: Path) -> None:
    pipe = Pipe(music, tmp_path / "keys.zarr")
    pipe.tools["pair-chunks"].terminate()
    codes, said = pipe.end()
    assert codes == [141, 143, 1]
    assert "cut short" in one_line(said)


def test_stray_output_cannot_touch_the_stream(stores: dict[str, Path]) -> None:
    """A library that prints, or a child process that writes to descriptor 1 or reads from 0, does no harm."""
    noisy = (
        "import os, subprocess, musigan.store.chunks as chunks\n"
        "cut = chunks.cut_pairs\n"
        "def loud(*a):\n"
        "    print('stray', flush=True); os.write(1, b'raw'); subprocess.run(['sh', '-c', 'echo child; cat'])\n"
        "    return cut(*a)\n"
        "chunks.cut_pairs = loud\n"
        "from musigan_tools.pair_chunks import main; main()\n"
    )
    data = stores["waveform"].read_bytes()
    done = subprocess.run([sys.executable, "-c", noisy], input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout == run("pair-chunks", data=data).stdout
