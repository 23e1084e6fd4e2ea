"""The planning of a collection without its audio: seconds and peak memory of each step, by the code that the tools run.

    python benchmarks/simulate_scale.py [SIZE...]

Sizes are numbers of songs, 1,000, 100,000 and 10 million if not given. Every twentieth song is a copy of one before it.
Each step runs in a process of its own, so that its peak is its own; above 2 GB it is a failure (exit code 1). What is
kept of each file while files are found and prepared grows with their number, is measured for up to 100,000 and printed
as bytes a file. Figures and what follows from them: docs/scale.md.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from musigan.analysis.outcomes import DONE, Row
from musigan.datasets.batches import batch_indices
from musigan.files.duplicates import Originals
from musigan.files.finding import MediaFile, Shard
from musigan.store.chunks import is_validation
from musigan.store.joining import FirstCopies
from musigan.store.layout import item_name

SIZES = (1_000, 100_000, 10_000_000)
MOST_MB = 2_000
MOST_OBJECTS = 100_000
COPY_EACH = 20
BLOCK = 4_000
SHARDS = (16, 1_000)
STORES = 100  # that are merged


def contents(songs: int) -> Iterator[str]:
    """Yield a content hash for each song; the last of every 20 is a copy of the first of its block."""
    generator = np.random.default_rng(1)
    for begin in range(0, songs, BLOCK):
        digits = generator.bytes(16 * BLOCK).hex()
        for number in range(min(BLOCK, songs - begin)):
            place = 0 if number % COPY_EACH == COPY_EACH - 1 else 32 * number
            yield digits[place : place + 32]


def source(number: int) -> str:
    """Return a name as long as those of music are."""
    return f"Some Artist {number // 12:06d}/An Album/{number % 12:02d} A Title.mp3"


def split(songs: int) -> str:
    held_back = sum(is_validation(content, 0.1) for content in contents(songs))
    return f"{held_back:,} held back"


def duplicates(songs: int) -> str:
    originals = Originals("recording", lambda text: None)
    for number, content in enumerate(contents(songs)):
        originals.has(content, source(number))
    assert originals.duplicates == songs // COPY_EACH
    return f"{originals.duplicates:,} copies"


def epoch(songs: int) -> str:
    examples = type("Songs", (), {"seed": 1, "__len__": lambda self: songs})()
    batches = batch_indices(examples, 32, 3)
    return f"{len(batches):,} batches of 32"


def shards(songs: int) -> str:
    for count in SHARDS:
        if count <= songs:
            parts = [Shard(number, count).of(range(songs)) for number in range(1, count + 1)]
            assert sum(map(len, parts)) == songs
    return f"{count:,} shards"


def merge(songs: int) -> str:
    copies, items = FirstCopies(), 0
    for number, content in enumerate(contents(songs)):
        if number and number % max(1, songs // STORES) == 0:
            copies.next_store()
        song = SimpleNamespace(content=content)
        if not copies.is_copy(song):  # type: ignore[arg-type]
            copies.add(song)  # type: ignore[arg-type]
            items += 1
            item_name(items)
    return f"{items:,} items of {STORES} stores"


def listing(songs: int) -> str:
    files = [
        MediaFile(Path("/music") / source(number), source(number), f"{number} {number}") for number in range(songs)
    ]
    return f"{len(Shard(1, 1).of(files)):,} files"


def table(songs: int) -> str:
    rows = {}
    for number, content in enumerate(contents(songs)):
        row = Row("/music/" + source(number), source(number), f"{number} {number}", DONE, content, number)
        rows[row.path] = row
    return f"{len(rows):,} rows"


def measured(step: Callable[[int], str], songs: int) -> tuple[float, float, str]:
    """Run a step in a process of its own; return its seconds of processor, how many MB it grew to, and what it says."""
    read, write = os.pipe()
    process = os.fork()
    if not process:
        said = step(songs)
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        words = answer.read()
    _, status, usage = os.wait4(process, 0)
    if status:
        sys.exit(f"{step.__name__} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, words


def main() -> None:
    sizes = [int(word.replace(",", "")) for word in sys.argv[1:]] or SIZES
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'step':12}{'songs':>12}{'s':>9}{'MB':>8}   (this program alone: {base:.0f} MB)")
    worst = 0.0
    for songs in sizes:
        for step in (split, duplicates, epoch, shards, merge):
            seconds, megabytes, words = measured(step, songs)
            worst = max(worst, megabytes)
            print(f"{step.__name__:12}{songs:12,}{seconds:9.2f}{megabytes:8.0f}   {words}", flush=True)
    begin = time.perf_counter()
    for step in (listing, table):
        songs = min(max(sizes), MOST_OBJECTS)
        _, megabytes, words = measured(step, songs)
        print(f"{step.__name__:12}{(megabytes - base) * 1e6 / songs:9.0f} bytes a file   {words}", flush=True)
    print(f"objects in {time.perf_counter() - begin:.1f} s")
    sys.exit(f"more than {MOST_MB} MB" if worst > MOST_MB else 0)


if __name__ == "__main__":
    main()
