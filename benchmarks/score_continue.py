"""Does what goes on from a song keep its beat, key, fullness and drums?

    python benchmarks/score_continue.py FOLDER... [--checkpoint CKPT] [-n 1] [--songs 4] [--seconds 30] [--from 70]

New music begins at a second of each song, so what the song itself goes on as is known and scored beside it:

    tempo     found in the sound of new music (musigan's beats; librosa's) over the song's; `=` within 4 %, `8` so after
              doubling or halving, `-` another or none
    held on   share of the keys in the song's last frame that go on; jump: change of loudness from that frame to the
              first new one, over the mean change from frame to frame in the song (metrics/matching.py)
    classes   cosine of the pitch classes of the minute before and of what is new
    in scale  share of new loudness on the seven pitch classes that are strongest before
    fuller    octaves by which more keys sound than before; drums: by which more strokes are heard
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from musigan.analysis.beats.finding import find_beats
from musigan.metrics.matching import describe_half, held_on, jump
from musigan.rolls.loudness import compress
from musigan.rolls.timing import attack_frames
from musigan.rolls.tracks import has_own_drums, sides_or_tracks
from musigan.sampling import sounding
from musigan.sampling.continuing import Continuation, ContinueRequest, hear
from musigan.sampling.loading import load_base, load_sampler
from musigan.sampling.sampler import Sampler

SAME_TEMPO = 0.04
CALL_SECONDS = 10.0
COLUMNS = ("tempo", "librosa", "held on", "jump", "classes", "in scale", "fuller", "drums")


def same_tempo(found: float | None, song: float | None) -> str:
    """Return `=`, `8` (an octave apart) or `-` for a tempo that is found and that of the song; "" for songs of none."""
    if song is None:
        return ""
    if not found:
        return "-"
    octaves = np.log2(found / song)
    if abs(octaves) < np.log2(1 + SAME_TEMPO):
        return "="
    return "8" if abs(octaves - np.rint(octaves)) < np.log2(1 + SAME_TEMPO) else "-"


def heard_tempi(signal: np.ndarray, rate: int) -> tuple[float | None, float]:
    """Return the tempo of a sound (2, S) by musigan and by librosa."""
    import librosa

    steady = find_beats(signal, rate).steady()
    tempo, _ = librosa.beat.beat_track(y=signal.mean(0), sr=rate)
    return steady.tempo if steady else None, float(np.atleast_1d(tempo)[0])


def figures(past: np.ndarray, new: np.ndarray, sampler: Sampler) -> dict[str, float]:
    """Return figures of music (C, K, T) in linear loudness after that of a past."""
    header = sampler.store.header
    call = past[..., -round(CALL_SECONDS / sampler.frame_seconds) :]
    halves = describe_half(call, header.geometry, True), describe_half(new, header.geometry, False)
    before, after = (compress(sides_or_tracks(roll, header.tracks)).mean(0) for roll in (past, new))
    classes = [np.bincount(np.arange(len(plane)) % 12, plane.sum(1), 12) for plane in (before, after)]
    scale = np.argsort(classes[0])[-7:]
    sounding_keys = [float((plane > 0).mean()) for plane in (before, after)]
    result = {
        "held on": held_on(*halves),
        "jump": jump(*halves) / max(float(np.abs(np.diff(before, axis=1)).mean()), 1e-9),
        "classes": float(classes[0] @ classes[1] / max(np.linalg.norm(classes[0]) * np.linalg.norm(classes[1]), 1e-9)),
        "in scale": float(classes[1][scale].sum() / max(classes[1].sum(), 1e-9)),
        "fuller": float(np.log2((sounding_keys[1] + 1e-3) / (sounding_keys[0] + 1e-3))),
    }
    if has_own_drums(header.tracks):
        strokes = [attack_frames(roll[-1]).sum() / roll.shape[-1] * 50 for roll in (past, new)]  # a second
        result["drums"] = float(np.log2((strokes[1] + 0.5) / (strokes[0] + 0.5)))
    return result


def scored(path: Path, sampler: Sampler, chosen: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a song: of itself, and of what is drawn."""
    request = ContinueRequest(chosen.seconds, chosen.count, from_seconds=chosen.begin, new_only=True)
    begun = time.perf_counter()
    continuation = Continuation(request, sampler, "checkpoint", str(path))
    ending, sound = continuation.ending, sounding.settings_of(sampler.header)
    steady = ending.beats.steady()
    tempo = steady.tempo if steady else None
    rows: dict[str, list[dict[str, Any]]] = {"song": [], "drawn": []}
    for continued in continuation.sounding(sound):
        found = heard_tempi(continued.signal, sound.sample_rate)
        row = figures(ending.past, continued.piece.roll, sampler)
        rows["drawn"].append({**row, "tempo": same_tempo(found[0], tempo), "librosa": same_tempo(found[1], tempo)})
    seconds = time.perf_counter() - begun
    later = hear(str(path), sampler, ending.joint_seconds + chosen.seconds)
    first = later.past.shape[-1] - round((later.joint_seconds - ending.joint_seconds) / sampler.frame_seconds)
    own = later.past[..., first:] * np.float32(later.level / ending.level)
    own_steady = later.beats.counted_from(first * sampler.frame_seconds).steady()
    row = figures(ending.past, own, sampler)
    rows["song"].append({**row, "tempo": same_tempo(own_steady.tempo if own_steady else None, tempo)})
    beat = f"{tempo:.0f} beats a minute" if tempo else "free of beat"
    print(f"{path.parent.name}/{path.stem[:28]}: {beat}, {seconds:.0f} s", flush=True)
    for name, many in rows.items():
        for each in many:
            print(f"  {name:<8}", words(each), flush=True)
    return rows


def words(row: dict[str, Any]) -> str:
    """Return a row's figures in columns."""
    cells = (row.get(name, "") for name in COLUMNS)
    return "".join(f"{cell:>9.2f}" if isinstance(cell, float) else f"{cell:>9}" for cell in cells)


def mean_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means of rows; of tempi the share that is the song's, and so or an octave apart."""
    means: dict[str, Any] = {}
    for name in COLUMNS:
        values = [row[name] for row in rows if row.get(name, "") != ""]
        if values and isinstance(values[0], str):
            means[name] = f"{np.mean([v == '=' for v in values]):.0%}/{np.mean([v != '-' for v in values]):.0%}"
        elif values:
            means[name] = float(np.nanmean(values))
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--checkpoint", default="", help="the base if none is named")
    parser.add_argument("-n", "--count", type=int, default=1, help="pieces of each song")
    parser.add_argument("--songs", type=int, default=4, help="of each folder")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--from", dest="begin", type=float, default=70.0, help="second at which new music begins")
    chosen = parser.parse_args()
    sampler = load_sampler(chosen.checkpoint, "cpu") if chosen.checkpoint else load_base("cpu")
    every: dict[str, list[dict[str, Any]]] = {"song": [], "drawn": []}
    print(" " * 10, "".join(f"{name:>9}" for name in COLUMNS))
    for folder in chosen.folders:
        for path in sorted(folder.rglob("*.mp3"))[: chosen.songs]:
            for name, rows in scored(path, sampler, chosen).items():
                every[name] += rows
    for name, rows in every.items():
        print(f"mean {name:<6}", words(mean_row(rows)))


if __name__ == "__main__":
    main()
