"""How well beats and downbeats are found: ours, librosa.beat, and the autocorrelation of onsets.

    python benchmarks/score_beats.py RENDERED [--held-out LIST]

RENDERED holds recordings and truth.json with the `beats` [second, number in the bar] of each. LIST is a JSON file of
names, or of lists of names by part, the part called "test" then. Scores are those of mir_eval.beat (pip install
mir_eval), beats before 5 s left out as it does: F within 70 ms, CMLt (beats in right stretches at the right tempo),
AMLt (also at half or twice the tempo, or off the beat) and F of the downbeats: means with 95 % bootstrap intervals
over the pieces.
librosa and the autocorrelation know no bars: every fourth of their beats is a downbeat, for the latter the best
of four.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
import soxr
from mir_eval import beat as mir_beat

from musigan.analysis.bands import analysed_bands, roll_of
from musigan.analysis.beats.finding import find_beats
from musigan.rolls import beats
from musigan.rolls.keysettings import KeySettings

RATE, FRAME_SECONDS = 12000, 0.02
NAMES = ("F", "CMLt", "AMLt", "downbeat F")
Found = dict[str, tuple[np.ndarray, np.ndarray]]  # who: seconds of beats and of downbeats


def trackers(path: Path) -> tuple[Found, float]:
    """Return what each tracker finds in a recording, and our confidence."""
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    signal = np.ascontiguousarray(soxr.resample(sound, rate, RATE).T)
    bands = analysed_bands(signal, RATE, KeySettings())
    ours = find_beats(signal, RATE, bands)
    mono = soxr.resample(sound.mean(axis=1), rate, 22050)
    _, seconds = librosa.beat.beat_track(y=mono, sr=22050, units="time")
    steady = beats.estimate(roll_of(bands, RATE, KeySettings())[0], FRAME_SECONDS)
    grid, bars = np.zeros(0), np.zeros(0)
    if steady is not None:
        step = 60 / steady.tempo
        grid = np.arange(steady.first_beat % step, signal.shape[1] / RATE, step)
        bars = grid[np.rint((grid - steady.first_beat) / step) % 4 == 0]
    found = {"ours": (ours.seconds, ours.downbeats), "librosa.beat": (seconds, seconds[::4])}
    return {**found, "autocorrelation": (grid, bars)}, ours.confidence


def scores(truth: list[list[float]], found: tuple[np.ndarray, np.ndarray]) -> list[float]:
    """Return F, CMLt, AMLt and F of the downbeats."""
    true = np.array([row[0] for row in truth])
    bars = np.array([row[0] for row in truth if row[1] == 1])
    true, bars, seconds, downbeats = (mir_beat.trim_beats(np.sort(times)) for times in (true, bars, *found))
    _, cmlt, _, amlt = mir_beat.continuity(true, seconds)
    return [mir_beat.f_measure(true, seconds), cmlt, amlt, mir_beat.f_measure(bars, downbeats)]


def interval(values: np.ndarray) -> str:
    """Return the mean of values (N,) and its 95 % bootstrap interval."""
    draws = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), (2.5, 97.5))
    return f"{values.mean():.3f} [{low:.2f} {high:.2f}]"


def chosen(pieces: list[dict[str, Any]], held_out: Path | None) -> list[dict[str, Any]]:
    if held_out is None:
        return pieces
    names = json.loads(held_out.read_text())
    names = names["test"] if isinstance(names, dict) else names
    return [piece for piece in pieces if piece["name"] in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rendered", type=Path)
    parser.add_argument("--held-out", type=Path)
    options = parser.parse_args()
    pieces = chosen(json.loads((options.rendered / "truth.json").read_text())["pieces"], options.held_out)
    table: dict[str, list[list[float]]] = {}
    for piece in pieces:
        found, confidence = trackers(options.rendered / piece["mp3"])
        rows = {who: scores(piece["beats"], times) for who, times in found.items()}
        for who, row in rows.items():
            table.setdefault(who, []).append(row)
        figures = " | ".join(" ".join(f"{score:.2f}" for score in row) for row in rows.values())
        print(f"{piece['name']:36s} confidence {confidence:.2f} | {figures}", flush=True)
    print(f"\n{len(pieces)} pieces        | " + " | ".join(f"{name:17s}" for name in NAMES))
    for who, scored in table.items():
        print(f"{who:16s} | " + " | ".join(f"{interval(column):17s}" for column in np.array(scored).T))


if __name__ == "__main__":
    main()
