"""Do drawn pieces keep time and have form? By the files that people get, on a checkpoint of a model that has beats.

    python benchmarks/score_pieces.py KEYS CKPT [-n 30] [--long 10]

MIDI: of pieces drawn by `sample --tempo` for four tempi and written by `keys-to-midi`, the share of onsets within a
64th of a 16th of the file's own grid; half of them would be by chance. Sound: the same pieces by `keys-to-mp3`, through
librosa's beat tracker: its tempo, and how much its beats differ in length (the middle half of them, over their median).
Form: bars of pieces of two minutes, their likeness at lags less that of any two bars, and how different any two bars
are (1 - likeness), beside songs held back.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import librosa
import numpy as np

from musigan.metrics.bars import BeatGrid
from musigan.metrics.form import bar_vectors, likeness_at
from musigan.midi.reading import read_score
from musigan.rolls.loudness import compress
from musigan.sampling.sampler import Sampler
from musigan.store import open_reader
from musigan.store.excerpts import Window, excerpts

TEMPI = (70.0, 95.0, 125.0, 160.0)
NEAR_BEATS = 1 / 16  # a 64th
HEARD = 8  # pieces a tempo that librosa listens to
LAGS = (1, 2, 4, 8)  # bars
LONG_SECONDS = 120.0


def tool(name: str, *arguments: object) -> None:
    """Run a tool of the project quietly; what it says appears where it fails."""
    subprocess.run([name, *map(str, arguments), "-q"], check=True)


def on_grid(path: Path) -> float:
    """Return the share of a file's onsets that lie within NEAR_BEATS of a 16th of its own tempo and bars."""
    score = read_score(path.read_bytes())
    assert score.tempo is not None
    sixteenths = (np.asarray(score.notes.starts) - (score.first_beat or 0.0)) * score.tempo / 60 * 4
    return float((np.abs(sixteenths - np.rint(sixteenths)) <= 4 * NEAR_BEATS + 1e-6).mean())


def heard(path: Path) -> tuple[float, float]:
    """Return librosa's tempo of a sound file, and the spread of its beats' lengths."""
    samples, rate = librosa.load(path, sr=None)
    tempo, beats = librosa.beat.beat_track(y=samples, sr=rate, units="time")
    lengths = np.diff(beats)
    low, middle, high = np.quantile(lengths, (0.25, 0.5, 0.75)) if len(lengths) > 3 else (0.0, 1.0, 1.0)
    return float(np.atleast_1d(tempo)[0]), float((high - low) / middle)


def form(roll: np.ndarray, grid: BeatGrid, frame_seconds: float) -> list[float]:
    """Return the likeness of bars at LAGS less that of any two, and how different any two are."""
    edges = grid.bar_edges(roll.shape[-1] * frame_seconds) / frame_seconds
    bars = bar_vectors(compress(roll.mean(0), "sqrt"), edges)
    likeness = bars @ bars.T
    any_two = likeness[np.triu_indices(len(bars), 1)].mean()
    return [*(likeness_at(bars, lag) - any_two for lag in LAGS), 1 - any_two]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("keys")
    parser.add_argument("checkpoint")
    parser.add_argument("-n", "--count", type=int, default=30, help="pieces of 30 s for each tempo")
    parser.add_argument("--long", type=int, default=10, help="pieces of two minutes")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for tempo in TEMPI:
            store, stem = folder / f"{tempo:g}.zarr", folder / f"{tempo:g}"
            tool("sample", chosen.checkpoint, "-n", chosen.count, "--tempo", tempo, "-o", store)
            tool("keys-to-midi", f"{stem}.mid", store, "--split")
            shares = [on_grid(path) for path in sorted(folder.glob(f"{tempo:g}-*.mid"))]
            tool("keys-to-mp3", f"{stem}.wav", store, "--split", "--timbre", "piano")
            sounds = [heard(path) for path in sorted(folder.glob(f"{tempo:g}-*.wav"))[:HEARD]]
            off = np.log2([found / tempo for found, _ in sounds])
            octaves = np.abs(off - np.rint(off)) < np.log2(1.04)
            spread = np.median([spread for _, spread in sounds])
            print(
                f"{tempo:g} beats a minute: {np.mean(shares):.0%} of onsets within a 64th of a 16th; librosa finds the "
                f"tempo, its double or its half in {np.mean(octaves):.0%}, beats differ by {spread:.1%}", flush=True
            )  # fmt: skip
    with open_reader(chosen.keys) as reader:
        held = [number for number, info in enumerate(reader.infos(), 1) if info.song.is_held_out]
        songs = [song for song in excerpts(reader, held, Window(0.0, LONG_SECONDS), print) if not song.beats.is_free]
        grids = [BeatGrid(song.beats.seconds, song.beats.numbers) for song in songs]
        frame_seconds = reader.header.frame_seconds
        rows = {"songs": [form(song.roll, grid, frame_seconds) for song, grid in zip(songs, grids, strict=True)]}
    sampler = Sampler.load(chosen.checkpoint)
    frames, rows["drawn"] = sampler.frames(LONG_SECONDS), []
    for number in range(1, chosen.long + 1):
        piece = sampler.piece(1, number, frames)
        if not piece.beats.is_free:
            rows["drawn"].append(form(piece.roll, BeatGrid(piece.beats.seconds, piece.beats.numbers), frame_seconds))
    print("likeness of bars", *(f"{lag:>6}" for lag in LAGS), "  any two differ by")
    for name, values in rows.items():
        print(
            f"{name:<16}", *(f"{value:6.3f}" for value in np.nanmean(values, axis=0)), f"  ({len(values)} with a beat)"
        )


if __name__ == "__main__":
    main()
