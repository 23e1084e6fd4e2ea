"""How loud files of keys-to-mp3 are, by a meter that is not ours: ffmpeg's ebur128.

    python benchmarks/score_loudness.py drawn.zarr band.zarr [--soundfont FONT.sf2] [--room 0.4] [-n 4] [--seconds 30]

Each store is a kind of music, called after its file. The first N pieces of each are written as MP3s with the defaults
(-14 LUFS), with the sound font and with the room, and measured. A row is a kind in one sound: integrated loudness from
the lowest to the highest, how many are within 1 LU of the target, and the highest true peak.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from musigan.files.targets import Target
from musigan.sound import lufs
from musigan.sound.ffmpeg import find_ffmpeg
from musigan.store import Item, open_reader
from musigan.synthesis.rendering import SoundSettings, write


def ebur128(path: Path) -> tuple[float, float]:
    """Return a file's integrated loudness in LUFS and its true peak in dBFS."""
    program = find_ffmpeg()
    assert program, "this needs ffmpeg"
    command = [program[0], "-nostdin", "-hide_banner", "-i", str(path), "-af", "ebur128=peak=true", "-f", "null", "-"]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    summary = words[words.rindex("Summary:") :]
    loudness, peak = re.search(r"I:\s*(\S+) LUFS", summary), re.search(r"Peak:\s*(\S+) dBFS", summary)
    assert loudness
    assert peak
    return float(loudness[1]), float(peak[1])


def shortened(items: Iterator[Item], frame_seconds: float, seconds: float) -> Iterator[Item]:
    """Cut items to their first `seconds`, whole pairs or chunks."""
    for item in items:
        frames = item.array.shape[-1] * (2 if item.dimension_names[0] == "pairs" else 1)
        count = max(round(seconds / (frames * frame_seconds)), 1)
        song = replace(item.song, starts=item.song.starts[:count], seconds=None)
        yield Item(replace(item.info, song=song), item.array[:count])


def measure(store: str, count: int, seconds: float, sound: dict[str, Any]) -> np.ndarray:
    """Return (loudness, true peak) of the files of a store's first pieces, (N, 2)."""
    reader = open_reader(store)
    settings = SoundSettings.of_store(reader.header, loudness=lufs.USUAL, **sound)
    frame_seconds = reader.header.key_settings.frame_seconds
    with tempfile.TemporaryDirectory() as folder:
        target = Target(str(Path(folder) / "piece.mp3"), split=True)
        items = shortened(islice(reader, count), frame_seconds, seconds)
        write(settings.pieces(items, 1, on_piece=lambda title: None), settings, target, "", None)
        return np.array([ebur128(path) for path in sorted(Path(folder).iterdir())])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("stores", nargs="+")
    parser.add_argument("--soundfont", default="")
    parser.add_argument("--room", type=float, default=0.4)
    parser.add_argument("-n", "--count", type=int, default=4, help="pieces of each store")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each piece")
    chosen = parser.parse_args()
    sounds: dict[str, dict[str, Any]] = {"timbres": {}, "timbres, room": {"room": chosen.room}}
    if chosen.soundfont:
        sounds["sound font"] = {"soundfont": chosen.soundfont}
        sounds["sound font, room"] = {"soundfont": chosen.soundfont, "room": chosen.room}
    target = float(lufs.USUAL)
    print("| music | sound | pieces | LUFS | within 1 LU | true peak, dBFS |\n|---|---|---|---|---|---|")
    for store in chosen.stores:
        for name, sound in sounds.items():
            loudness, peaks = measure(store, chosen.count, chosen.seconds, sound).T
            near = int((np.abs(loudness - target) <= 1).sum())
            print(
                f"| {Path(store).name.split('.')[0]} | {name} | {len(loudness)} | {loudness.min():.1f} to "
                f"{loudness.max():.1f} | {near} | {peaks.max():.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
