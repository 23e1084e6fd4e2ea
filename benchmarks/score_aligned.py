"""How well rolls find the notes of pieces whose notes are known, and how clean they are.

    python benchmarks/score_aligned.py FOLDER [--songs FOLDER]

FOLDER holds recordings and a reference.json, {"columns": [...], "pieces": [{"file": ..., "notes": [[...], ...]}, ...]},
with, per note, onset_s, midi_pitch, is_drum and sounding_offset_s (the end of its sound, release included).

Average precision: every cell (key, frame) of the piano is a trial, its loudness in the louder channel the score; a cell
is positive when its frame's centre lies within a note that is no drum. Precision is summed over the recall gained,
without interpolation. The last column mixes the channels to mono before the analysis instead.

A run is a stretch of consecutive frames over zero in one key of one channel. "over 5 %" counts frames over a twentieth
of the level instead, which is no method's own threshold.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from musigan.analysis.bands import analyse
from musigan.rolls.keysettings import KeySettings

RATE = 12000
FRAME_SECONDS = 0.02
SONG_SECONDS = 60.0
LOWEST_PITCH = 21

Method = Callable[[np.ndarray], np.ndarray]  # (C, S) -> (C, 88, T)


def decoded(path: Path, seconds: float | None = None) -> np.ndarray:
    """(C, S) at RATE."""
    import soundfile
    import soxr

    with soundfile.SoundFile(path) as file:
        frames = -1 if seconds is None else int(seconds * file.samplerate)
        sound = file.read(frames, dtype="float32", always_2d=True)
        return np.ascontiguousarray(soxr.resample(sound, file.samplerate, RATE).T)


def by_cqt(signal: np.ndarray) -> np.ndarray:
    """Compute librosa's constant-Q transform at the same hop, one bin a key."""
    import librosa

    hop = int(RATE * FRAME_SECONDS)
    return np.abs(librosa.cqt(signal, sr=RATE, hop_length=hop, fmin=27.5, n_bins=88, bins_per_octave=12)).astype(
        np.float32
    )


def by_keys(settings: KeySettings) -> Method:
    def method(signal: np.ndarray) -> np.ndarray:
        roll, _ = analyse(signal, RATE, settings)
        whole = np.zeros((roll.shape[0], 88, roll.shape[2]), dtype=np.float32)
        whole[:, settings.keys.low - 1 : settings.keys.high] = roll
        return whole

    return method


def truth(piece: dict, columns: list[str], frames: int) -> np.ndarray:
    """Cells in which a note sounds, bool (88, T)."""
    at = {name: index for index, name in enumerate(columns)}
    sounding = np.zeros((88, frames), dtype=bool)
    for note in piece["notes"]:
        key = int(note[at["midi_pitch"]]) - LOWEST_PITCH
        if note[at["is_drum"]] or not 0 <= key < 88:
            continue
        first = int(np.ceil(note[at["onset_s"]] / FRAME_SECONDS - 0.5))
        stop = int(np.ceil(note[at["sounding_offset_s"]] / FRAME_SECONDS - 0.5))
        sounding[key, max(first, 0) : max(stop, first + 1)] = True
    return sounding


def average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    """Sum over thresholds of (recall gained) * precision; cells of equal score enter together."""
    order = np.argsort(-score, axis=None, kind="stable")
    score, positive = score.ravel()[order], positive.ravel()[order]
    hits = np.cumsum(positive)
    last = np.append(np.flatnonzero(np.diff(score)), score.size - 1)
    gained = np.diff(hits[last], prepend=0) / hits[-1]
    return float(np.sum(gained * hits[last] / (last + 1)))


def run_lengths(sounding: np.ndarray) -> np.ndarray:
    """Frames of every run along the last axis of (..., T)."""
    rows = sounding.reshape(-1, sounding.shape[-1])
    change = np.diff(np.pad(rows, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    return np.nonzero(change == -1)[1] - np.nonzero(change == 1)[1]


def cleanness(roll: np.ndarray, over: float) -> tuple[float, float]:
    """(share of runs of 60 ms and more, runs a second), the mean of the channels."""
    lengths = run_lengths(roll > over)
    seconds = roll.shape[0] * roll.shape[2] * FRAME_SECONDS
    return float((lengths * FRAME_SECONDS > 0.0599).mean()) if lengths.size else float("nan"), lengths.size / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--songs", type=Path, help="also count runs on every tenth recording under this folder")
    options = parser.parse_args()
    reference = json.loads((options.folder / "reference.json").read_text())
    pieces = reference["pieces"]
    methods: dict[str, Method] = {
        "librosa CQT": by_cqt,
        "fixed": by_keys(KeySettings("fixed")),
        "fixed, 88 keys": by_keys(KeySettings("fixed", keys=KeySettings().keys)),
        "variable, raw bands": by_keys(KeySettings(cleaned=False)),
        "variable (default)": by_keys(KeySettings()),
    }
    names = [piece.get("genre", piece["file"]) for piece in pieces]
    print(
        "average precision".ljust(22),
        *(name.rjust(8) for name in [*names, "mean"]),
        " runs >= 60 ms  runs/s   over 5 %    mono",
    )
    sounds = [decoded(options.folder / piece["file"]) for piece in pieces]
    for label, method in methods.items():
        scores, mono, clean = [], [], []
        for piece, sound in zip(pieces, sounds, strict=True):
            roll = method(sound)
            known = truth(piece, reference["columns"], roll.shape[2])
            scores.append(average_precision(roll.max(axis=0), known))
            mono.append(average_precision(method(sound.mean(axis=0, keepdims=True))[0], known))
            level = np.percentile(roll[roll > 0], 99.5)
            clean.append((*cleanness(roll, 0.0), *cleanness(roll, 0.05 * level)))
        share, rate, share_5, rate_5 = np.mean(clean, axis=0)
        figures = [*scores, float(np.mean(scores))]
        run_figures = f"{share:11.2f} {rate:9.1f} {share_5:8.2f} {rate_5:6.1f} {np.mean(mono):7.3f}"
        print(label.ljust(22), *(f"{score:8.3f}" for score in figures), run_figures)
    played = [truth(p, reference["columns"], s.shape[1] // 240) for p, s in zip(pieces, sounds, strict=True)]
    share, rate = np.mean([cleanness(cells[None], 0) for cells in played], axis=0)
    print("the notes themselves".ljust(22), " " * (9 * len(figures) - 1), f"{share:11.2f} {rate:9.1f}")
    if options.songs:
        songs = sorted(
            path for path in options.songs.rglob("*") if path.suffix.lower() in {".mp3", ".flac", ".wav", ".ogg"}
        )
        print(f"\n{'songs, first minute':22} runs >= 60 ms  runs/s   over 5 %")
        for label in ("fixed", "variable (default)"):
            rolls = [methods[label](decoded(path, SONG_SECONDS)) for path in songs[::10]]
            rows = [(*cleanness(roll, 0.0), *cleanness(roll, 0.05)) for roll in rolls]
            share, rate, share_5, rate_5 = np.mean(rows, axis=0)
            print(f"{label:22} {share:13.2f} {rate:7.1f} {share_5:6.2f} {rate_5:5.1f}   (mean of {len(rolls)} songs)")


if __name__ == "__main__":
    main()
