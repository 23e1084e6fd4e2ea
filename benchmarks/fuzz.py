"""Change what the tests make at random, read it as the tools do, and report what is no plain refusal, by kind.

Inputs are MIDI files, sound files of each container, stores of each kind, checkpoints and settings. Each batch of one
kind is a process of its own, so that one that hangs or eats memory ends alone. What is found is kept in a folder.
Run as `python benchmarks/fuzz.py SECONDS [SEED] [INPUTS]`; the same seed gives the same inputs, batch by batch.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from musigan import settings, store
from musigan.checkpoints import checkpoint
from musigan.checkpoints.settings import configure
from musigan.errors import MusiganError
from musigan.midi.reading import read_score
from musigan.midi.rolls import Arrangement, CutSettings, song_from_path, to_item
from musigan.rolls.keysettings import KeySettings
from musigan.sampling.sampler import Sampler
from musigan.sound import ffmpeg
from musigan.sound.audio import decode
from musigan.store.checking import check_store
from musigan.store.songs import piece_roll
from musigan.training import loop, runs
from tests import midifiles, sounds, stores, tiny

Change = Callable[[bytes, random.Random], bytes]
BATCH = 40  # inputs of a process
LONGEST_SECONDS, LONGEST_WAIT_SECONDS, MOST_KIB = 20.0, 120.0, 1 << 20
TOO_LONG = f"more than {LONGEST_SECONDS:g} s"
SEED = 1
NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\0\0\1\0", b"\x7f\xff\xff\xff")
VALUES = (math.nan, math.inf, -1, 0, 1, 0.5, 1e308, 1e-300, 10**30, 1 << 31, 1 << 63, None, True, "", "x", "1", [], {})
NAMES = tuple(store.Song.__dataclass_fields__) + tuple(store.StoreHeader.__dataclass_fields__)


@dataclass(frozen=True)
class Kind:
    """A kind of input: files to change, how to change one, and how the tools read it."""

    name: str
    bases: list[bytes]
    read: Callable[[bytes, Path], object]
    change: Change


@dataclass
class Report:
    """What came of the inputs, counted; and what is to be mended."""

    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def inputs(self) -> int:
        return sum(self.counts.values())


def read_midi(data: bytes, _: Path) -> None:
    score = read_score(data)
    to_item(score, Arrangement(), KeySettings("midi"), CutSettings(paired=False), song_from_path("a/b.mid", score, ""))


def read_sound(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    for block in decode(path, start_seconds=0.2).take.blocks():
        assert np.isfinite(block).all()


def read_stream(data: bytes, path: Path) -> None:
    """Read a store as from a pipe, and as from a file."""
    path.write_bytes(data)
    with contextlib.suppress(MusiganError), store.open_reader(str(path)) as reader:
        list(check_store(reader))
    with store.open_reader(BytesIO(data)) as reader:
        for item in reader:
            if reader.kind == "keys":
                piece_roll(item, reader.header.frame_seconds)


def read_checkpoint(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    saved = checkpoint.load(path)
    Sampler.from_checkpoint(saved, "cpu").piece(1, 1, 24)


def read_settings(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    settings.write_yaml(configure("small", settings.read_yaml(path)))


def kinds(folder: Path) -> list[Kind]:
    """Make what is changed, in a folder."""
    sound = [
        sounds.write(folder / f"base.{name}", sounds.tones(1.2, 48000, 500, 800), 48000, name).read_bytes()
        for name in sounds.SUBTYPES
    ]
    archives = [stores.archive(kind, shape) for kind, shape in stores.SHAPES]
    texts = [json.dumps(settings.as_mapping(configure(name))).encode() for name in ("small", "medium", "large")]
    learned = checkpoints(folder)
    return [
        Kind("midi", [midifiles.song(number, 10) for number in range(3)], read_midi, changed),
        Kind("sound", [*sound, sound[0][: len(sound[0]) // 2] + sound[3]], read_sound, changed),
        Kind("store", archives, read_stream, changed),
        Kind("store's words", archives, read_stream, changed_entry),
        Kind("checkpoint", learned, read_checkpoint, changed),
        Kind("checkpoint's values", learned[:1], read_checkpoint, changed_checkpoint),
        Kind("settings", texts, read_settings, changed_values),
    ]


def checkpoints(folder: Path) -> list[bytes]:
    """Train for a moment; return the checkpoint and its export."""
    torch.set_num_threads(1)
    chosen = tiny.settings("mlp")
    data = tiny.dataset(tiny.write_keys(folder / "keys"), chosen)
    run = runs.begin(chosen, data, data.record(), chosen.stage_epochs(), torch.device("cpu"))
    loop.train(run, data, folder / "ckpt.pt", tiny.Silent(), steps_limit=2)
    checkpoint.save_slim(folder / "ckpt.safetensors", checkpoint.load(folder / "ckpt.pt"))
    return [(folder / name).read_bytes() for name in ("ckpt.pt", "ckpt.safetensors")]


def changed(data: bytes, random: random.Random) -> bytes:
    """Return data with one to thirty changes, most of them near its beginning, where headers are."""
    made = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 3, 8, 30))):
        near = random.choice((64, 64, 400, len(made)))
        at = random.randrange(max(min(len(made), near), 1))
        change = random.randrange(5)
        if change == 0:
            made[at : at + 1] = bytes([random.randrange(256)])
        elif change == 1:
            made[at : at + random.randrange(6)] = random.randbytes(random.randrange(6))
        elif change == 2 and random.random() < 0.2:
            del made[random.randrange(len(made) + 1) :]
        elif change == 3:
            made[at : at + 4] = random.choice(NUMBERS)
        elif change == 4:
            place = random.randrange(len(made) + 1)
            made[place:place] = made[at : at + random.randrange(2000)]
    return bytes(made)


def changed_values(text: bytes, random: random.Random) -> bytes:
    """Return JSON in which some values are others; or, one time in ten, a text with changes."""
    if random.random() < 0.1:
        return changed(text, random)
    values = json.loads(text)
    change_values(values, random)
    return json.dumps(values).encode()


def changed_checkpoint(data: bytes, random: random.Random) -> bytes:
    """Return a checkpoint in which some values are others, tensors among them, with the checksums of those."""
    values, file = torch.load(BytesIO(data), weights_only=True), BytesIO()
    change_values(values, random)
    torch.save(values, file)
    return file.getvalue()


def change_values(values: Any, random: random.Random) -> None:
    """Put others in the place of some values among objects and lists that hold each other."""
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        places = list(containers(values))
        place = random.choice(places)
        chosen = random.choice(list(place.keys() if isinstance(place, dict) else range(len(place))))
        own = place[chosen]
        near = [own + 1, own * 1000, -own] if isinstance(own, int | float) else [[own], [own] * 50]
        place[chosen] = copy.deepcopy(random.choice([*VALUES, *near, random.choice(places)]))
        if isinstance(place, dict) and random.random() < 0.3:
            place[random.choice(NAMES)] = copy.deepcopy(random.choice([*VALUES, [0, 1], [0.5, 0.5], [5, 1e5], own]))


def containers(values: Any) -> Iterator[Any]:
    """Yield all objects and lists in JSON that hold something."""
    if isinstance(values, dict | list) and values:
        yield values
        for value in values.values() if isinstance(values, dict) else values:
            yield from containers(value)


def changed_entry(data: bytes, random: random.Random) -> bytes:
    """Return an archive in which the text of an entry is another, with the checksum of that."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    name = random.choice([name for name in contents if name.endswith(".json")])
    contents[name] = changed_values(contents[name], random)
    return stores.zipped(contents)


def inputs(kind: Kind, seed: str, count: int) -> Iterator[bytes]:
    """Yield the inputs of a batch."""
    generator = random.Random(seed)
    for _ in range(count):
        yield kind.change(generator.choice(kind.bases), generator)


def outcome(kind: Kind, data: bytes, path: Path) -> str:
    """Read an input; return what came of it: read, refused, or the exception and where it was raised."""
    try:
        kind.read(data, path)
        return "read"
    except MusiganError as error:
        return "refused" if "\n" not in str(error) else f"{kind.name}: a message of several lines"
    except Exception as error:
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/musigan/" in frame.filename]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        return f"{kind.name}: {type(error).__name__} at {where}: {str(error)[:90]}"


def read_batch(kind: Kind, seed: str, count: int, path: Path, results: int) -> None:
    """Read a batch, in a process of its own; each outcome is a line written to `results`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what decoders print
    for data in inputs(kind, seed, count):
        signal.setitimer(signal.ITIMER_PROF, LONGEST_SECONDS)  # of its own time: others may be busy; then it is ended
        found = outcome(kind, data, path).replace("\n", " ")
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > MOST_KIB:
            found = f"{kind.name}: more than 1 GB"
        os.write(results, f"{found}\n".encode(errors="replace"))


def run_batch(kind: Kind, seed: str, count: int, folder: Path, report: Report) -> None:
    """Have a process read a batch, and end it where it takes too long; keep what went wrong."""
    path = folder / "input"
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(reading)
            read_batch(kind, seed, count, path, writing)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    outcomes, rest, ended = list[str](), b"", ""
    with os.fdopen(reading, "rb", buffering=0) as lines:
        while not ended:
            if not select.select([lines], [], [], LONGEST_WAIT_SECONDS)[0]:
                ended = f"{kind.name}: waits for more than {LONGEST_WAIT_SECONDS:g} s"
                os.kill(child, signal.SIGKILL)
            elif data := lines.read(1 << 16):
                *whole, rest = (rest + data).split(b"\n")
                outcomes += [line.decode() for line in whole]
            else:
                break
    _, status = os.waitpid(child, 0)
    if status and not ended:
        code = os.waitstatus_to_exitcode(status)
        ended = f"{kind.name}: " + (TOO_LONG if code == -signal.SIGPROF else f"the process ended with {code}")
    outcomes += [ended] if ended else []
    for number, (found, data) in enumerate(zip(outcomes, inputs(kind, seed, count), strict=False)):
        report.counts[found if found in ("read", "refused") else "wrong"] += 1
        if found not in ("read", "refused"):
            if not report.kinds[found]:
                kept = folder / f"{kind.name.replace(' ', '-')}-{seed.replace(' ', '-')}-{number}"
                kept.write_bytes(data)
                print(f"{found}  ({kept})", flush=True)
            report.kinds[found] += 1


def fuzz(seconds: float, seed: int, most: int | None, folder: Path, say: Callable[[str], None] = print) -> Report:
    """Read changed inputs for so many seconds, or so many of them, kind after kind."""
    warnings.simplefilter("ignore")
    ffmpeg.find_ffmpeg = partial(lambda: None)  # type: ignore[assignment]  # it is not ours that would be tried
    report, every, batch = Report(), kinds(folder), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end and (most is None or report.inputs < most):
        kind = every[batch % len(every)]
        run_batch(kind, f"{seed} {batch}", BATCH, folder, report)
        batch += 1
        if batch % 50 == 0:
            say(f"{report.inputs} inputs: {dict(report.counts)}")
    return report


def main() -> int:
    seconds, seed, most = float(sys.argv[1]), *([int(given) for given in sys.argv[2:]] + [SEED, 0][len(sys.argv) - 2 :])
    folder = Path(tempfile.mkdtemp(prefix="musigan-fuzz-"))
    report = fuzz(seconds, seed, most or None, folder)
    print(f"{report.inputs} inputs: {dict(report.counts)}")
    for found, count in report.kinds.most_common():
        print(f"  {count} {found}")
    if not report.kinds:
        shutil.rmtree(folder)
    return 1 if report.kinds else 0


if __name__ == "__main__":
    sys.exit(main())
