"""Kill the tools that write, at random moments, and look at what they leave.

After each kill the output is whole or not there (or, replaced by --force, what it was), the next run works, and nothing
else stays beside it. Run as `python benchmarks/kills.py [KILLS] [SEED]`; 200 kills take some minutes.
"""

from __future__ import annotations

import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from musigan import store
from musigan.checkpoints import checkpoint
from musigan.midi.reading import read_score
from musigan.sound.audio import decode
from tests import helpers, tiny

KILLS, SEED = 200, 1


def read_store(path: Path) -> None:
    """Read a store to its end."""
    with store.open_reader(str(path)) as reader:
        list(reader)


def read_picture(path: Path) -> None:
    """Read a picture's end. Raises ValueError where it has none."""
    if path.read_bytes()[-8:-4] != b"IEND":
        raise ValueError("a picture that is cut")


@dataclass(frozen=True)
class Writer:
    """A tool that writes `out` when it is called with `arguments`, and how to read that whole."""

    tool: str
    arguments: tuple[object, ...]
    out: str
    read: Callable[[Path], object]

    def command(self, folder: Path) -> list[str]:
        """Return the words that start it; {} among its arguments is the output."""
        places = [str(each).replace("{}", str(folder / self.out)) for each in self.arguments]
        return helpers.command(self.tool, *places, "--force")


def writers(music: Path) -> list[Writer]:
    """Return a writer of each kind of output, on inputs that are made in `music`."""
    stores = helpers.one_store_of_each(music)
    keys = tiny.write_keys(music / "tiny", songs=4, pairs=3)
    (music / "songs").mkdir()
    for number in range(3):
        helpers.write_sound(music / "songs" / f"{number}.wav", helpers.tune(25, [40, 44, 47], number))
    training = [f"--set={setting}" for setting in ("network.width=16", "batch_size=4", "save_every=1")]
    return [
        Writer("mp3-to-npy", (music / "songs", "-o", "{}"), "out.zip", read_store),
        Writer("pair-chunks", (stores["waveform"], "--chunk-seconds", 2, "-o", "{}"), "out.zarr", read_store),
        Writer("npy-to-keys", (stores["pairs"], "-o", "{}"), "out.zip", read_store),
        Writer("keys-to-midi", ("{}", stores["keys"]), "out.mid", lambda path: read_score(path.read_bytes())),
        Writer("keys-to-mp3", ("{}", stores["keys"]), "out.mp3", lambda path: decode(path, 12000)),
        Writer("keys-to-mp3", ("{}", stores["keys"]), "out.opus", lambda path: decode(path, 12000)),
        Writer("plot-keys", (stores["keys"], "-o", "{}"), "out.png", read_picture),
        Writer(
            "train-gan", (keys, "--model", "mlp", "--epochs", 12, *training, "-o", "{}"), "ckpt.pt", checkpoint.load
        ),
    ]


def run(command: list[str], kill_after: float | None = None) -> tuple[float, int, str]:
    """Run a tool, and kill it after so many seconds; return its time, its code, and what it said."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if kill_after is not None:
        time.sleep(kill_after)
        process.send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=300)
    return time.monotonic() - began, process.returncode, said.decode()


def problem_after(writer: Writer, folder: Path, seconds: float, generator: random.Random) -> str:
    """Kill one run, look, and run it again; return what is wrong, or "killed", "left" or "done" where nothing is."""
    _, code, _ = run(writer.command(folder), generator.uniform(0.3, 1.05) * seconds)
    left = [name for name in os.listdir(folder) if name.startswith(".")]
    target = folder / writer.out
    if os.path.lexists(target):
        writer.read(target)
    _, again, said = run(writer.command(folder))
    if again:
        return f"the next run ends with {again}: {said}"
    writer.read(target)
    if others := [name for name in os.listdir(folder) if name != writer.out and not name.endswith(".run")]:
        return f"the next run leaves {others}"
    if any(name not in said for name in left if "partial" in name):
        return f"the next run does not name {left}"
    return "left" if left else "killed" if code else "done"


def main() -> int:
    kills, seed = (int(given) for given in (*sys.argv[1:], *(str(KILLS), str(SEED))[len(sys.argv) - 1 :]))
    generator, counts, failures = random.Random(seed), collections.Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="musigan-kills-") as place:
        music = Path(place) / "music"
        music.mkdir()
        every = writers(music)
        times = [run(writer.command(Path(place)))[0] for writer in every]
        for number in range(kills):
            writer, seconds = every[number % len(every)], times[number % len(every)]
            folder = Path(place) / "out"
            folder.mkdir()
            try:
                found = problem_after(writer, folder, seconds, generator)
            except Exception as error:  # whatever a half-written file makes its reader say
                found = f"half-written: {type(error).__name__}: {error}"
            if found not in ("left", "killed", "done"):
                failures += 1
                print(f"{writer.tool} {writer.out}: {found}", flush=True)
                found = "wrong"
            counts[found] += 1
            shutil.rmtree(folder)
            if number % 10 == 9:
                print(f"{number + 1} of {kills}: {dict(counts)}", flush=True)
    print(f"{kills} kills: " + ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
