"""How well drum strokes are found: ours, and peaks of energy in bands.

    python benchmarks/score_drums.py RENDERED [--held-out LIST] [--without FOLDER...]

RENDERED holds recordings and truth.json with the `drums` of each by class: [second, velocity, pitch]. LIST is a JSON
file of names, or of lists of names by part, the part called "test" then. F within 50 ms, over all strokes of all pieces
(one that is struck twice at a time counts once), and as the mean over the pieces that have the drum, with its 95 %
bootstrap interval. The peaks' thresholds are the best there are for the very pieces they are scored on. --without names
folders of recordings without drums: strokes found in a second of the first two minutes of each.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
import soxr
from score_beats import chosen, interval

from musigan.analysis.drums import features, finding
from musigan.analysis.spectra import SAMPLE_RATE
from musigan.rolls.kit import KIT

WITHIN = 0.05  # seconds
CLASSES = {"kick": ("kick",), "snare": ("snare",), "tom": ("tom",), "hihat_cymbal": ("hi-hat", "cymbal")}
PEAK_HZ = {"kick": (30, 120), "snare": (200, 3000), "tom": (60, 300), "hihat_cymbal": (3500, 5800)}
Counts = np.ndarray  # hits, found, true


def read(path: Path, seconds: float | None = None) -> np.ndarray:
    """Return a recording as a signal (C, S) at 12 kHz."""
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    sound = sound if seconds is None else sound[: int(seconds * rate)]
    return np.ascontiguousarray(soxr.resample(sound, rate, SAMPLE_RATE).T)


def ours(signal: np.ndarray) -> dict[str, np.ndarray]:
    """Return the seconds of each class's strokes that we find."""
    strokes = finding.find_strokes(signal, SAMPLE_RATE)
    names = np.array([drum.name for drum in KIT])[strokes.drums]
    return {name: strokes.seconds[np.isin(names, drums)] for name, drums in CLASSES.items()}


def flux(signal: np.ndarray) -> dict[str, np.ndarray]:
    """Return how much the energy of each class's bands rises in each frame, (T,), 1 at its loudest."""
    loudness = features.band_loudness(signal.mean(axis=0, keepdims=True))
    centres = np.array([finding.centres_hz(features.BANDS)])[0]
    found = {}
    for name, (low, high) in PEAK_HZ.items():
        level = np.log1p(100 * loudness[:, (centres >= low) & (centres <= high)].sum(axis=1) / (loudness.mean() + 1e-9))
        rise = np.maximum(np.diff(level, prepend=level[:1]), 0)
        found[name] = rise / (rise.max() + 1e-9)
    return found


def hits(true: np.ndarray, found: np.ndarray) -> Counts:
    """Return how many strokes were found, how many are found and how many there are; each is matched once."""
    true, found, first, count = np.unique(true), np.sort(found), 0, 0
    for second in true:
        while first < len(found) and found[first] < second - WITHIN:
            first += 1
        if first < len(found) and found[first] <= second + WITHIN:
            first, count = first + 1, count + 1
    return np.array([count, len(found), len(true)])


def report(name: str, counts: list[Counts]) -> None:
    """Print F over all strokes, precision, recall, and the mean F of pieces that have any."""
    found, said, true = np.sum(counts, axis=0)
    by_piece = np.array([2 * each[0] / (each[1] + each[2]) for each in counts if each[2]])
    print(
        f"| {name} | {2 * found / max(said + true, 1):.3f} | {found / max(said, 1):.2f} | {found / max(true, 1):.2f} "
        f"| {interval(by_piece)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rendered", type=Path)
    parser.add_argument("--held-out", type=Path)
    parser.add_argument("--without", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    pieces = chosen(json.loads((options.rendered / "truth.json").read_text())["pieces"], options.held_out)
    signals = [read(options.rendered / piece.get("mp3", f"{piece['name']}.mp3")) for piece in pieces]
    found, rises = [ours(signal) for signal in signals], [flux(signal) for signal in signals]
    print(f"{len(pieces)} pieces\n\n| drum, by | F | precision | recall | mean F of pieces |\n|---|---|---|---|---|")
    for name in CLASSES:
        true = [np.array([stroke[0] for stroke in piece["drums"].get(name, [])]) for piece in pieces]
        report(f"{name}, ours", [hits(*each) for each in zip(true, (one[name] for one in found), strict=True)])
        best: list[Counts] = []
        for threshold in np.arange(0.05, 0.8, 0.05):
            seconds = [(finding.peaks(rise[name], threshold) + finding.LATE) * features.FRAME_SECONDS for rise in rises]
            counts = [hits(*each) for each in zip(true, seconds, strict=True)]
            if not best or _f(counts) > _f(best):
                best = counts
        report(f"{name}, peaks of energy", best)
    for folder in options.without:
        rates = []
        for path in sorted(folder.glob("*.mp3")):
            signal = read(path, 120)
            rates.append(sum(map(len, ours(signal).values())) / (signal.shape[1] / SAMPLE_RATE))
        mean, worst, none = np.mean(rates), np.max(rates), np.mean(np.array(rates) == 0)
        print(f"\n{folder.name}: {len(rates)} songs, {mean:.3f} strokes a second, most {worst:.2f}, none in {none:.0%}")


def _f(counts: list[Counts]) -> float:
    found, said, true = np.sum(counts, axis=0)
    return float(2 * found / max(said + true, 1))


if __name__ == "__main__":
    main()
