"""What each layout of a keys store takes: bytes, files, time to write, to open, to read a crop, and to train.

    python benchmarks/bench_layouts.py keys.zarr [--songs 20] [--folder DIR]

The songs of a store are written in every layout, then read as training reads them: blocks, and excerpts made ready for
the first stage of train-gan, in random order, from the system's cache, on one thread. Times are of the processor.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from musigan import store
from musigan.datasets.bars import BarDataset
from musigan.datasets.rolls import AugmentSettings
from musigan.store import writing

CROPS = 400
LAYOUTS: dict[str, tuple[str, bool, int, int]] = {  # name: suffix, compressed, blocks in a shard at most, level of zstd
    "file, plain": (".zarr.zip", False, 0, 0),
    "file, zstd 5": (".zarr.zip", True, 0, 5),
    "folder, plain": (".zarr", False, 0, 0),
    "folder, zstd 5, one a shard": (".zarr", True, 1, 5),
    "folder, zstd 1, shards": (".zarr", True, 16, 1),
    "folder, zstd 5, shards": (".zarr", True, 16, 5),
    "folder, zstd 12, shards": (".zarr", True, 16, 12),
}


def main() -> None:
    """Write, read, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keys", help="a keys store")
    parser.add_argument("--songs", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="where the copies go; a temporary folder if not given")
    options = parser.parse_args()
    with store.open_reader(options.keys, ("keys",), in_order=True) as reader:
        songs = list(islice(reader, options.songs))
        header = reader.header
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(f"{len(songs)} songs, {sum(item.array.nbytes for item in songs) / 1e6:.1f} MB of rolls")
        titles = ("MB on disk", "files", "write s", "open ms", "block ms", "rolls/s")
        print(f"{'layout':<30}" + "".join(f"{title:>15}" for title in titles))
        outlines: list[Any] = []  # of the same songs, whatever the layout; they take a while
        for name, layout in LAYOUTS.items():
            row = measure(Path(folder) / name.replace(" ", "-").replace(",", ""), layout, songs, header, outlines)
            print(f"{name:<30}" + "".join(f"{value:>15.2f}" for value in row), flush=True)


def measure(
    path: Path, layout: tuple[str, bool, int, int], songs: list[Any], header: Any, outlines: list[Any]
) -> list[float]:
    """Return a layout's figures, in the order of the titles; `outlines` are those of the songs, once they are known."""
    suffix, compressed, shard, level = layout
    target = str(path) + suffix
    writing.SHARD_BLOCKS, writing.LEVEL = max(shard, 1), max(level, 1)
    began = time.process_time()
    with store.write(target, header, compressed) as writer:
        for item in songs:
            writer.add(item.array, item.dimension_names, item.song)
    written = time.process_time() - began
    opened = fastest(lambda: store.open_reader(target).close(), 5)
    with store.open_reader(target) as reader:
        infos, generator = reader.infos(), np.random.default_rng(0)
        places = [(info.name, int(generator.integers(info.shape[0]))) for info in generator.choice(infos, CROPS)]  # type: ignore[arg-type]
        crops = fastest(lambda: [reader.block(*place).max() for place in places], 3) / CROPS
        dataset = BarDataset(reader, augment=AugmentSettings())
        outlines.extend(() if outlines else dataset.outlines)
        dataset.__dict__["outlines"] = tuple(outlines)
        numbers = generator.permutation(len(dataset))[:CROPS]
        rolls = len(numbers) / fastest(lambda: [dataset.roll(0, int(number)) for number in numbers], 2)
    size, count = disk_use(Path(target))
    return [size / 1e6, count, written, 1e3 * opened, 1e3 * crops, rolls]


def fastest(work: Callable[[], object], times: int) -> float:
    """Return the least processor time in seconds that a piece of work took."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def disk_use(path: Path) -> tuple[int, int]:
    """Return the bytes that a store takes on the disk, blocks of the file system included, and its number of files."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    folders = [] if path.is_file() else [path, *(folder for folder in path.rglob("*") if folder.is_dir())]
    return sum(os.stat(each).st_blocks * 512 for each in (*files, *folders)), len(files)


if __name__ == "__main__":
    main()
