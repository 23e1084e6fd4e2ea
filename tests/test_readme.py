"""Every command of the README runs: a block of commands is a case, in a home of its own with small music in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from musigan import tunes
from tests import helpers, midifiles

README = Path(__file__).parent.parent / "README.md"
# What another machine has: a player, a GPU, the package index, sound fonts, a scheduler.
ELSEWHERE = re.compile(r"ffplay|^musigan music|cuda|soundfont|^pip |^shell/|^tensorboard|\.venv|benchmarks/|tcp://")
OF_BASE = ("musigan try", "musigan continue")  # tools that draw from it
# What makes a command short enough; the last of two values counts.
SHORT = {
    "train-gan": "--steps-limit 2",
    "pretrain": "--steps-limit 2",
    "evaluate": "--bootstraps 10 --splits 2 --no-baselines",
    "report": "--count 2 --of 2 --rounds 1 --seconds 2",
}
QUICK = " ".join(f"--set {size}" for size in helpers.QUICK)
# What earlier blocks leave behind for later ones, made as they make it, of less.
PREPARE = f"""
mp3-to-npy ~/Music | pair-chunks --overlap 0.5 --validation 0.2 > pairs.zarr
npy-to-keys pairs.zarr > keys.zarr
mp3-to-npy song.flac --seconds 20 | npy-to-keys > song.zarr
train-gan keys.zarr --epochs 200 --batch-size 2 {QUICK}
sample ckpt.pt -n 2 --seconds 12 > new.zarr
"""
LIMIT_SECONDS = 480


def blocks() -> list[list[str]]:
    """Return the commands of each fenced block that holds any, in order."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    tools = tuple(f"{tool} " for tool in (*helpers.MODULES, "python"))
    commands = [[line for line in block.splitlines() if f"{line} ".startswith(tools)] for block in fenced]
    return [lines for block in commands if (lines := [line for line in block if _runs_here(line)])]


def _runs_here(line: str) -> bool:
    """Whether a command of the README runs on any machine, with the base if the package carries it."""
    return not ELSEWHERE.search(line)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's home: songs in Music, the tools on the PATH, and what earlier blocks of the README leave behind."""
    home = tmp_path_factory.mktemp("home")
    songs = {"Jazz/a.wav": 61, "Jazz/b.wav": 62, "Blues/c.wav": 63, "Blues/d.wav": 65}  # 16 rolls: two sets of 8
    music = {f"Music/{name}": seconds for name, seconds in songs.items()}
    for number, (name, seconds) in enumerate({**music, "song.flac": 52, "song.mp3": 21}.items()):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        helpers.write_sound(home / name, helpers.tune(seconds, [40 + number, 44, 49]))
    for name, number in {"MIDI/Waltz/a.mid": 1, "MIDI/Waltz/b.mid": 2, "song.mid": 3}.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(midifiles.song(number))
    (home / "tunes").mkdir()
    for tune in tunes.names()[1:]:  # demo-music keeps files that exist, and takes three seconds for each other
        (home / "tunes" / f"{tune}.mp3").touch()
    for tool in helpers.MODULES:
        if " " not in tool:
            write_shim(home / "bin" / tool, f'{" ".join(helpers.forked(tool))} "$@" {SHORT.get(tool, "")}')
    write_shim(home / "bin" / "python", f'{sys.executable} "$@"')
    for command in PREPARE.strip().splitlines():
        run(command, home)
    return home


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Path:
    """A copy of the prepared home."""
    return Path(shutil.copytree(prepared, tmp_path / "home"))


def write_shim(path: Path, command: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\nexec {command}\n")
    path.chmod(0o755)


def run(command: str, home: Path) -> None:
    """Run a line in bash, in a home; what it writes is out of the way first."""
    for output in outputs(command):
        subprocess.run(["rm", "-rf", str(home / output)], check=True)
    environment = {**os.environ, "HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=home, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n  {done.returncode}: {done.stderr.strip()}"
    assert all((home / output).exists() for output in outputs(command) if "split " not in f"{command} "), command


def outputs(line: str) -> list[str]:
    """Return the names of what a command writes."""
    named = re.findall(r"(?:-o|>|keys-to-mp3|keys-to-midi) ([^-]\S*)", line)
    return named if "--resume" in line or "-o" in line else [*named, "ckpt.pt"] if "train-gan keys" in line else named


def shortened(line: str) -> str:
    """Return a command with a quicker network, or with fewer pieces of 12 s each: more than the 10 s of a roll."""
    if re.match(r"(train-gan|pretrain) keys\.zarr (?!.*--(model|start) )", line):
        return f"{line} {QUICK}"
    if line.startswith(OF_BASE):
        return f"{line} --seconds 2"
    line = line.replace("--of 100", "--of 5").replace("-n 100", "-n 20").replace("-n 8", "-n 3")
    line = re.sub(r"(^|&& )(sample (?!.*--seconds)\S+)", r"\1\2 --seconds 12", line)
    line = re.sub(r"(^|&& )(sample (?!.*(-n|--best|--morph|--prime|--with) )\S+)", r"\1\2 -n 2", line)
    return re.sub(r"^(sample .*--seconds) [2-9]0", r"\1 12", line)


@pytest.mark.parametrize("lines", blocks(), ids=lambda lines: lines[0].split(" | ")[0])
def test_commands_run(lines: list[str], home: Path) -> None:
    """In order, as a reader would try them."""
    for line in lines:
        run(shortened(line), home)


def test_the_blocks_are_found() -> None:
    """The README has dozens of them, and every tool comes up."""
    lines = [line for block in blocks() for line in block]
    assert len(blocks()) > 20
    assert len(lines) > 55
    known = [tool for tool in helpers.MODULES if tool != "musigan music"]  # it trains for minutes
    assert [tool for tool in known if not any(tool in line for line in lines)] == []
