"""Every command of the README runs, in a folder of small music; training ones stop after a few steps."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import helpers, midifiles

README = Path(__file__).parent.parent / "README.md"
# What another machine has: a player, a GPU, the package index.
ELSEWHERE = re.compile(r"ffplay|cuda|^pip |^shell/|^tensorboard|\.venv|benchmarks/")
SHORT = {
    "train-gan": "--steps-limit 2",
    "pretrain": "--steps-limit 2",
    "report": "--count 2 --of 2 --rounds 1 --seconds 2",
}
LIMIT_SECONDS = 240


def blocks() -> list[list[str]]:
    """The commands of each fenced block that holds any, in order."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    tools = tuple(f"{tool} " for tool in (*helpers.MODULES, "python"))
    commands = [[line for line in block.splitlines() if line.startswith(tools)] for block in fenced]
    return [[line for line in lines if not ELSEWHERE.search(line)] for lines in commands if lines]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's home: songs in Music, the tools on the PATH, and what earlier commands of the README leave behind."""
    home = tmp_path_factory.mktemp("home")
    songs = {"Jazz/a.wav": 61, "Jazz/b.wav": 62, "Blues/c.wav": 63, "Blues/d.wav": 65}  # 16 rolls: two sets of 8
    music = {f"Music/{name}": seconds for name, seconds in songs.items()}
    for number, (name, seconds) in enumerate({**music, "song.flac": 95, "song.mp3": 41}.items()):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        helpers.write_sound(home / name, helpers.tune(seconds, [40 + number, 44, 49]))
    for name, number in {"MIDI/Waltz/a.mid": 1, "MIDI/Waltz/b.mid": 2, "song.mid": 3}.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(midifiles.song(number))
    tools = home / "bin"
    tools.mkdir()
    for tool, module in helpers.MODULES.items():
        if " " not in tool:
            shim = tools / tool
            start = f"from musigan_tools.{module} import main; main()"
            shim.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{start}" "$@" {SHORT.get(tool, "")}\n')
            shim.chmod(0o755)
    (tools / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tools / "python").chmod(0o755)
    return home


def shell(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=home, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS,
    )  # fmt: skip


def outputs(line: str) -> list[str]:
    """What a command writes."""
    named = re.findall(r"(?:-o|>|keys-to-mp3|keys-to-midi) ([^-]\S*)", line)
    return named if "--resume" in line or "-o" in line else [*named, "ckpt.pt"] if "train-gan keys" in line else named


def test_every_command_runs(home: Path) -> None:
    """In order, as a reader would try them; an output that an earlier command left is out of the way first."""
    problems = []
    for lines in blocks():
        for line in lines:
            for output in outputs(line):
                subprocess.run(["rm", "-rf", str(home / output)], check=True)
            done = shell(line.replace("--of 100", "--of 5"), home)
            if done.returncode:
                problems.append(f"{line}\n  {done.returncode}: {done.stderr.strip()}")
    assert not problems, "\n".join(problems)
    assert sum(len(lines) for lines in blocks()) > 15
