"""A tiny run and nasty songs, as the tests of the report need them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musigan import report, store
from musigan.training import loop, runs
from musigan.training.journal import Journal
from tests import tiny

NASTY = [
    "</script><script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 1">',
    "<!-- 🎹 \u2028 {{ script }} {{ content }} & 'so on'",
    "caf\udcff",  # a byte that is no Unicode
]
SECONDS = 2 * 2 * tiny.FRAMES * 0.02  # a whole song of the tiny stores
CHOICES = report.MusicSelection(count=2, of=3, rounds=2, seconds=SECONDS, seed=5)
EVALUATIONS: dict[int, dict[str, Any]] = {
    2: {
        "metrics": {"distance": {"samples": 90.0, "floor": 2.0, "silence": 120.0, "odd": None}},
        "verdict": "stuck: no",
    },
    4: {
        "metrics": {"distance": {"samples": float("nan"), "floor": 2.5, "silence": 130.0}, "<b>": {"samples": 0.0}},
        "verdict": "learning: <i>nearer</i>: 9 of 10",
    },
}


class Counter:
    """Stands in for a session's progress."""

    def __init__(self, total: int, what: str) -> None:
        self.left = total

    def step(self) -> None:
        self.left -= 1


def write_songs(path: Path, header: store.StoreHeader | None = None, channels: int = tiny.CHANNELS) -> Path:
    """Four songs of 1.92 s with nasty titles, the first for training; each has keys of its own."""
    rng = np.random.default_rng(7)
    names = ("pairs", "part", "channels", "keys", "frames")
    with store.write(str(path), header or tiny.HEADER) as writer:
        for number, title in enumerate(NASTY):
            song = np.zeros((2, 2, channels, tiny.KEYS, tiny.FRAMES), np.float16)
            song[:, :, 0, 2 + number : 4 + number] = rng.uniform(0.3, 1.4, (2, 2, 2, tiny.FRAMES))
            song[:, :, -1] *= 0.5
            about = store.Song(
                title=title, artist='A "B"', genre=NASTY[0] if number else "folk", level=0.1,
                split="validation" if number else "train", starts=(3.0, 3.0 + SECONDS / 2),
            )  # fmt: skip
            writer.add(song, names, about)
    return path


def write_run(folder: Path) -> Path:
    """A tiny run ckpt.pt with its folder, measured twice, and songs.zip to compare with."""
    torch.set_num_threads(1)
    settings = tiny.settings(epochs=7, pretrain_epochs=5)
    data = tiny.dataset(tiny.write_keys(folder / "keys.zip"), settings)
    run = runs.begin(settings, data, data.record(), settings.stage_epochs(), torch.device("cpu"))
    journal = Journal(folder / "ckpt.pt", [])
    loop.train(
        run, data, folder / "ckpt.pt", tiny.Silent(), journal, tiny.dataset(folder / "keys.zip", settings, "validation")
    )
    journal.close()
    tiny.let_it_sound(folder / "ckpt.pt")
    entries = [json.loads(line) for line in (folder / "ckpt.run" / "metrics.jsonl").read_text().splitlines()]
    for entry in entries:
        if entry["total_epoch"] in EVALUATIONS:
            entry["evaluation"] = EVALUATIONS[entry["total_epoch"]]
    (folder / "ckpt.run" / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    write_songs(folder / "songs.zip")
    return folder


def gather(folder: Path, keys: str = "songs.zip", choices: report.MusicSelection = CHOICES) -> dict[str, Any]:
    run = report.Run.of(folder / "ckpt.pt")
    if not keys:
        return report.gather(run, choices, None, "cpu", 1, Counter)
    with store.open_reader(str(folder / keys), ("keys",)) as reader:
        return report.gather(run, choices, reader, "cpu", 1, Counter)
