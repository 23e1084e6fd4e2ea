"""Tables 1 and 2 of MuseGAN (arXiv 1709.06298): songs and drawn pieces of several instruments, bar by bar.

    python benchmarks/score_instruments.py KEYS CKPT [-n 40] [--keep drums]

Empty bars (%), used pitch classes (a bar in which the instrument plays), qualified notes (% of a 32nd and more), drum
pattern (% of strokes on a 16th), tonal distance of two instruments (Harte et al. 2006, beat by beat where both sound),
and the share of the bars in which the songs have the instrument that the pieces have it, too. All on the grid of the
beats. With --keep the pieces are made to that instrument of songs held back, and are held against those songs.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from musigan.metrics.notemetrics import tonal_centroids
from musigan.rolls.grid import GRID_FRAMES, Grid, to_grid
from musigan.rolls.notes import find_notes
from musigan.rolls.tracks import DRUMS
from musigan.sampling.accompaniment import given_tracks, track_number
from musigan.sampling.requests import Request
from musigan.sampling.sampler import Sampler
from musigan.store import Reader, open_reader
from musigan.store.stretches import stretches_of

QUALIFIED = 3  # frames of the grid, a 32nd
PAPER = {  # of the data, and of the nearest of the three models that were learned from nothing: their difference
    "empty bars": {"bass": 1.47, "drums": 5.73, "guitar": 1.1, "piano": 2.2, "strings": 2.04},
    "used pitch classes": {"bass": 0.18, "guitar": 0.61, "piano": 0.85, "strings": 0.71},
    "qualified notes": {"bass": 18.5, "guitar": 25.3, "piano": 26.2, "strings": 26.5},
    "drum pattern": {"drums": 4.6},
    "tonal distance": {
        "bass guitar": 0.01, "bass strings": 0.02, "bass piano": 0.03, "guitar strings": 0.05, "guitar piano": 0.03,
        "piano strings": 0.01,
    },
}  # fmt: skip


class Music(NamedTuple):
    """A piece on the grid: roll (C, K, N * GRID_FRAMES) and numbers (N,) of its beats in their bars."""

    roll: np.ndarray
    numbers: np.ndarray


def songs_of(reader: Reader, split: str, frame_seconds: float) -> Iterator[Music]:
    """Yield the songs of one split of a keys store, the first stretch of each, of at most 64 beats from its middle."""
    for info in reader.infos():
        if (info.song.split or "train") != split:
            continue
        stretch = next(iter(stretches_of(info, frame_seconds)))
        seconds = stretch.frames * frame_seconds
        grid = Grid.of(info.song.every_beat.counted_from(stretch.start_seconds), seconds)
        count = min(len(grid), 64)
        part = grid.part((len(grid) - count) // 2, count)
        low = int(np.floor(part.edges[0] / frame_seconds)) - 1
        high = int(np.ceil(part.edges[-1] / frame_seconds)) + 1
        roll = to_grid(stretch.read(reader, low, high - low), part, frame_seconds, low * frame_seconds)
        yield Music(roll, part.numbers)


def drawn_by(sampler: Sampler, count: int, seconds: float, **wish: object) -> Iterator[Music]:
    """Yield drawn pieces."""
    for number in range(1, count + 1):
        piece = sampler.piece(1, number, sampler.frames(seconds), request=Request(**wish))  # type: ignore[arg-type]
        assert piece.beats is not None
        grid = Grid.of(piece.beats, seconds)
        yield Music(to_grid(piece.roll, grid, sampler.frame_seconds), grid.numbers)


def bars_of(music: Music) -> Iterator[tuple[int, int]]:
    """Yield the first beat of each whole bar, and the first of the next."""
    starts = np.flatnonzero(music.numbers == 1)
    yield from itertools.pairwise(starts.tolist())


def figures(music: Music, tracks: tuple[str, ...], low_key: int) -> dict[tuple[str, str], float]:
    """Return the figures of a piece by (figure, instruments); those that are not defined are left out."""
    values: dict[tuple[str, str], float] = {}
    classes = (np.arange(music.roll.shape[1]) + low_key - 1) % 12
    bars = list(bars_of(music)) or [(0, len(music.numbers))]
    chromas = {}
    for name, plane in zip(tracks, music.roll, strict=True):
        held = plane > 0
        by_bar = [held[:, low * GRID_FRAMES : high * GRID_FRAMES].any(1) for low, high in bars]
        values["empty bars", name] = 100 * float(np.mean([not bar.any() for bar in by_bar]))
        if not held.any():
            continue
        notes = find_notes(plane)
        if name == DRUMS:
            phase = notes.starts % (GRID_FRAMES // 4)
            values["drum pattern", name] = 100 * float(np.isin(phase, (0, 1, GRID_FRAMES // 4 - 1)).mean())
            continue
        used = [len(set(classes[bar])) for bar in by_bar if bar.any()]
        values["used pitch classes", name] = float(np.mean(used)) if used else np.nan
        values["qualified notes", name] = 100 * float((notes.lengths >= QUALIFIED).mean())
        by_class = np.stack([held[classes == one].sum(0) for one in range(12)]).astype(float)
        chromas[name] = by_class.reshape(12, -1, GRID_FRAMES).sum(2)
    for one, other in itertools.combinations(sorted(chromas), 2):
        both = chromas[one].any(0) & chromas[other].any(0)
        if both.any():
            apart = tonal_centroids(chromas[one][:, both]) - tonal_centroids(chromas[other][:, both])
            values["tonal distance", f"{one} {other}"] = float(np.linalg.norm(apart, axis=0).mean())
    return values


class Mean(NamedTuple):
    """Mean over pieces, and its standard error."""

    mean: float
    error: float


def table(pieces: Iterable[Music], tracks: tuple[str, ...], low_key: int) -> dict[tuple[str, str], Mean]:
    """Return the mean of each figure over pieces."""
    rows = [figures(music, tracks, low_key) for music in pieces]
    result = {}
    for key in sorted({key for row in rows for key in row}):
        found = np.array([row[key] for row in rows if key in row and np.isfinite(row[key])])
        if len(found):
            result[key] = Mean(float(found.mean()), float(found.std() / np.sqrt(len(found))))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("keys")
    parser.add_argument("checkpoint")
    parser.add_argument("-n", "--count", type=int, default=40, help="pieces")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each piece")
    parser.add_argument("--keep", default="", help="the instrument to which the others are made")
    parser.add_argument("--style", default=None)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    sampler = Sampler.load(chosen.checkpoint)
    header = sampler.store.header
    with open_reader(chosen.keys) as reader:
        known = [table(songs_of(reader, split, sampler.frame_seconds), header.tracks, header.low_key)
                 for split in ("train", "validation")]  # fmt: skip
        if chosen.keep:
            track = track_number(chosen.keep, sampler)
            given = list(given_tracks(reader, sampler, track, chosen.seconds, lambda title, why: None))[: chosen.count]
    if chosen.keep:
        pieces = []
        for number, song in enumerate(given, 1):
            wish = Request(kept=song.kept, beat=song.beat, kept_beats=song.beats)
            piece = sampler.piece(1, number, song.kept.shape[-1], request=wish)
            assert piece.beats is not None
            grid = Grid.of(piece.beats, song.kept.shape[-1] * sampler.frame_seconds)
            pieces.append(Music(to_grid(piece.roll, grid, sampler.frame_seconds), grid.numbers))
        drawn = table(pieces, header.tracks, header.low_key)
    else:
        wish_of = {} if chosen.style is None else {"style": chosen.style}
        drawn = table(drawn_by(sampler, chosen.count, chosen.seconds, **wish_of), header.tracks, header.low_key)
    print(f"{Path(chosen.checkpoint).name}: {chosen.count} pieces of {chosen.seconds:g} s")
    print(f"{'':38}{'songs':>16}{'held back':>16}{'drawn':>16}{'apart':>8}{'paper':>8}")
    none = Mean(np.nan, np.nan)
    for key in known[0]:
        rows = [each.get(key, none) for each in (*known, drawn)]
        limit = PAPER[key[0]].get(key[1], np.nan)
        apart = abs(rows[2].mean - rows[0].mean)
        line = "".join(f"{row.mean:>9.2f} ({row.error:.2f})" for row in rows)
        print(f"{key[0]:<20}{key[1]:<18}{line}{apart:>8.2f}{limit:>8.2f}{'' if apart <= limit else '  *'}")
    for name in header.tracks:
        plays = [100 - each["empty bars", name].mean for each in (known[0], drawn)]
        print(f"bars in which {name} plays: {plays[1] / max(plays[0], 1e-9):.0%} of those in songs")


if __name__ == "__main__":
    main()
