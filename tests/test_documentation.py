"""Every command of the README and of docs/ runs: a block is a case, in a home of its own with small music in it."""

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

CHECKOUT = Path(__file__).parent.parent
BASE = "musigan/checkpoints/base/base.safetensors"
# What another machine has: a player, a GPU, a cluster, a bucket, sound fonts; and what writes into the checkout.
ELSEWHERE = re.compile(
    r"ffplay|^musigan music|device cuda|soundfont|^tensorboard|benchmarks/|\.shards|tcp://|s3://|^python -m musigan"
)
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
mp3-to-npy ~/Music -o waveforms.zarr
pair-chunks waveforms.zarr --overlap 0.5 --validation 0.2 -o pairs.zarr
npy-to-keys pairs.zarr > keys.zarr
mp3-to-npy song.flac --seconds 20 | npy-to-keys > song.zarr
train-gan keys.zarr --epochs 200 --batch-size 2 {QUICK}
sample ckpt.pt -n 2 --seconds 12 > new.zarr
"""
LIMIT_SECONDS = 480


def pages() -> list[Path]:
    """Return the README and the pages of docs/, but for those of reference: test_help.py holds their examples."""
    docs = CHECKOUT / "docs"
    return [CHECKOUT / "README.md", *(page for page in sorted(docs.rglob("*.md")) if page.parent.name != "reference")]


def blocks() -> list[list[str]]:
    """Return the commands of each fenced block that holds any, in order; a command comes once where that is enough."""
    tools = tuple(f"{tool} " for tool in (*helpers.MODULES, "python"))
    seen: set[str] = set()
    once = []
    for block in (block for page in pages() for block in fenced(page.read_text(encoding="utf-8"))):
        lines = [line for line in block.splitlines() if f"{line} ".startswith(tools) and not ELSEWHERE.search(line)]
        kept: list[str] = []
        for line in reversed(lines):  # what later lines read is made again, unless a prepared home has it
            if line not in seen or any(made in later for made in outputs(line) - PREPARED for later in kept):
                kept.insert(0, line)
        seen.update(lines)
        once += [kept] if kept else []
    return once


def fenced(text: str) -> list[str]:
    """Return the fenced blocks of a page that are in no other language than the shell's."""
    return [block for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.M) if not language]


def outputs(line: str) -> set[str]:
    """Return the names of what a command writes."""
    named = set(re.findall(r"(?:-o|>|keys-to-mp3|keys-to-midi) ([^-]\S*)", line))
    return named if "--resume" in line or "-o" in line or "train-gan keys" not in line else named | {"ckpt.pt"}


PREPARED = {output for command in PREPARE.splitlines() for output in outputs(command)}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's home: songs in Music, the tools on the PATH, and what earlier blocks leave behind."""
    home = tmp_path_factory.mktemp("home")
    songs = {"Jazz/a.wav": 61, "Jazz/b.wav": 62, "Blues/c.wav": 63, "Blues/d.wav": 65}  # 16 rolls: two sets of 8
    music = {f"Music/{name}": seconds for name, seconds in songs.items()}
    for number, (name, seconds) in enumerate({**music, "song.flac": 52, "song.mp3": 21}.items()):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        helpers.write_sound(home / name, helpers.tune(seconds, [40 + number, 44, 49]))
    for number in range(8):  # of each kind two that are held back
        kind = home / "Kinds" / ("Folk" if number < 4 else "Rock")
        kind.mkdir(parents=True, exist_ok=True)
        helpers.write_sound(kind / f"{number}.wav", helpers.tune(21, [30 + number, 44, 49], number))
    for name, number in {"MIDI/Waltz/a.mid": 1, "MIDI/Waltz/b.mid": 2, "song.mid": 3}.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(midifiles.song(number))
    (home / BASE).parent.mkdir(parents=True)
    (home / BASE).symlink_to(CHECKOUT / BASE)
    (home / "tunes").mkdir()
    for tune in tunes.names()[1:]:  # demo-music keeps files that exist, and takes three seconds for each other
        (home / "tunes" / f"{tune}.mp3").touch()
    for tool in helpers.MODULES:
        if " " not in tool:
            write_shim(home / "bin" / tool, f'{" ".join(helpers.forked(tool))} "$@" {SHORT.get(tool, "")}')
    write_shim(home / "bin" / "python", f'{sys.executable} "$@"')
    cases = "".join(f'{tool}) set -- "$@" {short};; ' for tool, short in SHORT.items())
    write_shim(home / "bin" / "musigan", f'{" ".join(helpers.forked("musigan"))} "$@"', f"case $1 in {cases} esac\n")
    for command in PREPARE.strip().splitlines():
        run(command, home)
    return home


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Path:
    """A copy of the prepared home."""
    return Path(shutil.copytree(prepared, tmp_path / "home", symlinks=True))


def write_shim(path: Path, command: str, first: str = "") -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{first}exec {command}\n")
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


def shortened(line: str) -> str:
    """Return a command with a quicker network, or with fewer pieces of 12 s each: more than the 10 s of a roll."""
    if re.match(r"(musigan )?(train-gan|pretrain) (keys\.zarr (?!.*--(model|start) )|.*--model musegan)", line):
        return f"{line} {QUICK}"
    if line.startswith(OF_BASE):
        return f"{line} --seconds 2"
    line = re.sub("~/Music/(Folk|Rock)", r"~/Kinds/\1", line)
    line = line.replace("--of 100", "--of 5").replace("-n 100", "-n 20").replace("-n 8", "-n 3")
    sample = r"(^|&& )((?:musigan )?sample "
    line = re.sub(sample + r"(?!.*--seconds)\S+)", r"\1\2 --seconds 12", line)
    line = re.sub(sample + r"(?!.*(-n|--best|--morph|--prime|--with) )\S+)", r"\1\2 -n 2", line)
    return re.sub(r"^((?:musigan )?sample .*--seconds) [2-9]0", r"\1 12", line)


@pytest.mark.parametrize("lines", blocks(), ids=lambda lines: lines[0].split(" | ")[0])
def test_commands_run(lines: list[str], home: Path) -> None:
    """In order, as a reader would try them."""
    if any("musigan prepare" in line for line in lines):
        pytest.importorskip("distributed")
    for line in lines:
        run(shortened(line), home)


def test_the_blocks_are_found() -> None:
    """There are dozens of them, and every tool comes up."""
    lines = [line for block in blocks() for line in block]
    assert len(blocks()) > 20
    assert len(lines) > 55
    known = [tool for tool in helpers.MODULES if tool != "musigan music"]  # it trains for minutes
    assert [tool for tool in known if not any(tool in line for line in lines)] == []
