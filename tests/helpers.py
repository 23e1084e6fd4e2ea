"""What several test modules need: running a tool as its own process, and small music to run it on."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np

from musigan import store
from tests import forking

RATE = 12000
# What makes the default model draw a piece in a fraction of a second.
QUICK = (
    "network.flow_steps=1", "network.head_layers=1", "network.composer_layers=1", "network.width=12",
    "network.deep_width=16", "network.critic_width=12",
)  # fmt: skip
MODULES = {
    "mp3-to-npy": "mp3_to_npy",
    "pair-chunks": "pair_chunks",
    "npy-to-keys": "npy_to_keys",
    "keys-to-mp3": "keys_to_mp3",
    "midi-to-keys": "midi_to_keys",
    "keys-to-midi": "keys_to_midi",
    "pretrain": "pretrain",
    "train-gan": "train_gan",
    "sample": "sample",
    "transfer": "transfer",
    "evaluate": "evaluate",
    "plot-keys": "plot_keys",
    "report": "report",
    "musigan": "musigan",
    "musigan prepare": "prepare",
    "musigan check": "check",
    "musigan merge": "merge",
    "musigan split": "split",
    "musigan filter": "filter",
    "musigan head": "head",
    "musigan cat": "cat",
    "musigan export": "export",
    "musigan doctor": "doctor",
    "musigan demo-music": "demo_music",
    "musigan models": "models",
    "musigan try": "try_",
    "musigan continue": "continue_",
    "musigan music": "music",
    "musigan completion": "completion",
}


def command(tool: str, *arguments: object) -> list[str]:
    """The words that start a tool in its own process, whether or not its script is on the PATH."""
    start = f"from musigan_tools.{MODULES[tool]} import main; main()"
    return [sys.executable, "-c", start, *map(str, arguments)]


def run(tool: str, *arguments: object, data: bytes | None = None, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a tool to its end; without `data` its standard input is empty."""
    if data is None and "stdin" not in options:
        options["stdin"] = subprocess.DEVNULL
    options.setdefault("timeout", 120)
    if _need_no_start(options.get("env", {})):
        return _run_forked(tool, [str(argument) for argument in arguments], data, **options)
    return subprocess.run(command(tool, *arguments), input=data, capture_output=True, check=False, **options)


def _run_forked(
    tool: str,
    arguments: list[str],
    data: bytes | None,
    timeout: float,
    stdin: IO[bytes] | int = subprocess.PIPE,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a tool as `subprocess.run` would, in a fork of one process, all of whose imports are done."""
    read_ends, write_ends = zip(*(os.pipe() for _ in range(3)), strict=True)  # of its input, output and errors
    with open(os.devnull, "rb") as nothing:
        source = {subprocess.PIPE: read_ends[0], subprocess.DEVNULL: nothing}.get(stdin, stdin)  # type: ignore[call-overload]
        given = source if isinstance(source, int) else source.fileno()
        connection = forking.begin(_forks(), MODULES[tool], arguments, (given, *write_ends[1:]), cwd, env)
    for number in (read_ends[0], *write_ends[1:]):
        os.close(number)
    with ThreadPoolExecutor(3) as threads:
        threads.submit(_write, write_ends[0], data or b"")
        said = [threads.submit(_read, number) for number in read_ends[1:]]
        code = forking.end(connection, timeout)
        stdout, stderr = (each.result() for each in said)
    return subprocess.CompletedProcess([tool, *arguments], code, stdout, stderr)


def _write(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb") as file:  # not all of it may be read
        file.write(data)


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        return file.read()


def run_each(tool: str, *lines: Sequence[object], **options: Any) -> list[subprocess.CompletedProcess[bytes]]:
    """Run a tool once for each line of arguments."""
    return [run(tool, *line, **options) for line in lines]


def forked(tool: str, *arguments: object) -> list[str]:
    """Return the words of a shell that run a tool in a fork of one process, all of whose imports are done."""
    return [sys.executable, "-IS", forking.__file__, _forks(), MODULES[tool], *map(str, arguments)]


def _need_no_start(environment: Mapping[str, str]) -> bool:
    """Whether what imports read from the environment is what it is here."""
    return all(os.environ.get(name) == value for name, value in environment.items() if name != "OMP_NUM_THREADS")


@functools.cache
def _forks() -> str:
    """Start the process that forks, once in a session; return the address of its socket."""
    folder = Path(tempfile.mkdtemp(prefix="musigan-tests-"))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forking", str(folder / "socket")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip

    def end() -> None:
        process.communicate()
        shutil.rmtree(folder)

    atexit.register(end)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return str(folder / "socket")


def one_line(stderr: bytes) -> str:
    """What a tool said, which must be one line and nothing that only a programmer understands."""
    text = stderr.decode()
    assert len(text.splitlines()) == 1, text
    assert "Traceback" not in text
    assert "internal error" not in text
    return text


def start(tool: str, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(tool, *arguments), **options)


def tune(seconds: float, keys: Sequence[int], seed: int = 0) -> np.ndarray:
    """A lopsided little tune, float32 (2, S): notes of half a second, louder on the left, and a little noise."""
    generator = np.random.default_rng(seed)
    samples = round(seconds * RATE)
    times = np.arange(samples) / RATE
    picked = np.array(keys)[(times / 0.5).astype(int) % len(keys)]
    note = np.sin(2 * np.pi * 440 * 2 ** ((picked - 49) / 12) * times) * np.exp(-3 * (times % 0.5))
    sound = np.stack([0.5 * note, 0.2 * note]) + generator.normal(0, 1e-3, (2, samples))
    return sound.astype(np.float32)


def write_sound(path: Path, signal: np.ndarray) -> Path:
    import soundfile

    soundfile.write(path, signal.T, RATE)
    return path


def waveform_store(path: Path, songs: int = 2, seconds: float = 41.0) -> Path:
    """A store of short tunes; each is a different one, and a second longer than the one before."""
    with store.write(str(path), store.StoreHeader("waveform", RATE)) as writer:
        for number in range(songs):
            signal = tune(seconds + number, [40 + number, 44, 47 + number, 52], number).astype(np.float16)
            song = store.Song(title=f"Tune {number}", source=f"tune-{number}.wav", level=1.0)
            writer.add(signal, ("channels", "samples"), song)
    return path


def pairs_store(path: Path, songs: int = 2, chunk_seconds: float = 2.0) -> Path:
    waveform = waveform_store(path.with_suffix(".waveform"), songs, 21.0)
    done = run("pair-chunks", waveform, "--chunk-seconds", chunk_seconds, "-o", path)
    assert done.returncode == 0, done.stderr
    return path


def keys_store(path: Path, songs: int = 2, chunk_seconds: float = 2.0) -> Path:
    done = run("npy-to-keys", pairs_store(path.with_suffix(".pairs"), songs, chunk_seconds), "-o", path)
    assert done.returncode == 0, done.stderr
    return path


def one_store_of_each(folder: Path) -> dict[str, Path]:
    """Stores of two songs of 21 s and 22 s, as files, by their kind; the chunks last 2 s."""
    keys = keys_store(folder / "keys.zip")
    return {"waveform": folder / "keys.waveform", "pairs": folder / "keys.pairs", "keys": keys}


def assert_quiet_when_unread(process: subprocess.Popen[bytes]) -> None:
    """A tool whose reader goes away says nothing and ends as by SIGPIPE."""
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 141
