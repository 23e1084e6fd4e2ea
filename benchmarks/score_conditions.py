"""Does what is drawn go by the style and the tempo that were asked for? On a checkpoint of bars or musegan.

    python benchmarks/score_conditions.py KEYS CKPT [-n 20] [--styles 4]

Style: the songs are halved. Pieces follow songs of one half, and classifiers that learned the styles from the other
half say what they take them for; what they take that first half's songs for is how well they know. They hear each
instrument by itself (how often, where in the beat and in the bar, how long, how high and in how many voices it plays,
which drums), harmony and tempo; of recordings, what `musigan.metrics.features` counts.
Tempo: that of each piece, found by autocorrelation of its onsets, against the one asked for, and against one of the
others, which is what chance comes to. It cannot tell a beat from a half or a double one, so twice and half as fast
count, too, for the second figure; "songs" is how often it finds that of songs whose tempo is about the same.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from score_instruments import Music

from musigan.datasets.conditions import style_of
from musigan.machine.cores import usable_cores
from musigan.metrics.features import musical_features
from musigan.metrics.notemetrics import tonal_centroids
from musigan.metrics.twosample import predict
from musigan.rolls import beats
from musigan.rolls.grid import GRID_FRAMES, Grid, to_grid
from musigan.rolls.notes import find_notes
from musigan.rolls.scenes import CLASSES
from musigan.rolls.tracks import DRUMS, is_recording
from musigan.sampling.requests import Request
from musigan.sampling.sampler import Sampler
from musigan.store import Reader, open_reader
from musigan.store.stretches import Stretch, stretches_of

CLASSIFIERS = ("logistic", "forest")
TEMPI = (70.0, 95.0, 125.0, 160.0)
NEAR = 0.04  # of the tempo
SONG_NEAR = 0.1  # of the tempo, songs that are held against what is drawn at it
EXCERPT_BEATS, EXCERPTS = 32, 4  # of a song, at most
FEWEST_BEATS = 16
TWELFTHS, BAR_BEATS = 12, 4
HALVES = 2


class Heard(NamedTuple):
    """Features (N, F) of N excerpts or pieces, their styles (N,), and the halves of the songs that they are of (N,)."""

    points: np.ndarray
    styles: np.ndarray
    halves: np.ndarray


def band_features(music: Music, tracks: tuple[str, ...], tempo: float, low_key: int) -> dict[str, float]:
    """Return by name what a listener would say of each instrument, of harmony and tempo."""
    count = len(music.numbers)
    pitch_classes = (np.arange(music.roll.shape[1]) + low_key - 1) % CLASSES
    found = {"tempo": float(np.log2(tempo)), "meter": float(music.numbers.max())}
    together = np.zeros((CLASSES, count))
    for name, plane in zip(tracks, music.roll, strict=True):
        held, notes = plane > 0, find_notes(plane)
        strikes = max(len(notes.starts), 1)
        places = np.bincount(notes.starts % GRID_FRAMES * TWELFTHS // GRID_FRAMES, minlength=TWELFTHS) / strikes
        beats_struck = music.numbers[np.minimum(notes.starts // GRID_FRAMES, count - 1)]
        bar = np.bincount(np.minimum(beats_struck, BAR_BEATS + 1), minlength=BAR_BEATS + 2)[1:-1] / strikes
        found[f"{name} plays"] = held.any(0).reshape(count, -1).any(1).mean()
        found[f"{name} strikes"] = len(notes.starts) / count
        found |= {f"{name} place {place}": share for place, share in enumerate(places)}
        found |= {f"{name} beat {beat}": share for beat, share in enumerate(bar, 1)}
        if name == DRUMS:
            strokes = np.bincount(notes.keys, minlength=len(plane)) / count
            found |= {f"drum {key}": share for key, share in enumerate(strokes)}
            continue
        by_class = np.stack([held[pitch_classes == one].sum(0) for one in range(CLASSES)])
        by_class = by_class.reshape(CLASSES, count, GRID_FRAMES).sum(2).astype(float)
        together += by_class
        classes = (by_class > 0).sum(0)
        found |= {
            f"{name} length": float(np.log2(1 + np.median(notes.lengths))) if len(notes.lengths) else 0.0,
            f"{name} loudness": float(plane[held].mean()) if held.any() else 0.0,
            f"{name} height": float(notes.keys.mean()) if len(notes.keys) else 0.0,
            f"{name} range": float(notes.keys.std()) if len(notes.keys) else 0.0,
            f"{name} voices": float(held.sum(0)[held.any(0)].mean()) if held.any() else 0.0,
            f"{name} classes": float(classes[classes > 0].mean()) if classes.any() else 0.0,
        }
    chroma = together / np.maximum(together.sum(0), 1e-9)
    intervals = np.abs(np.fft.rfft(chroma, axis=0))[1:].mean(1)  # of each beat, and of all
    keys = np.abs(np.fft.rfft(chroma.mean(1)))[1:]
    moves = np.linalg.norm(np.diff(tonal_centroids(together + 1e-9), axis=1), axis=0)
    found |= {f"intervals {number}": value for number, value in enumerate(intervals)}
    found |= {f"key {number}": value for number, value in enumerate(keys)}
    found["changes"] = float(moves.mean()) if moves.size else 0.0
    return found


def featured(roll: np.ndarray, grid: Grid, sampler: Sampler, seconds: float = 0.0) -> list[float]:
    """Return the features of a roll (C, K, T) whose first frame lies `seconds` after that of its grid."""
    header = sampler.store.header
    if is_recording(header.tracks):
        return list(musical_features(roll, header.frame_seconds, header.low_key).values())
    music = Music(to_grid(roll, grid, header.frame_seconds, seconds), grid.numbers)
    return list(band_features(music, header.tracks, grid.tempo, header.low_key).values())


def excerpt(stretch: Stretch, reader: Reader, part: Grid, frame_seconds: float) -> tuple[np.ndarray, float]:
    """Return the roll (C, K, T) of some beats of a stretch, and the second at which it begins."""
    low = int(np.floor(part.edges[0] / frame_seconds)) - 1
    high = int(np.ceil(part.edges[-1] / frame_seconds)) + 1
    return stretch.read(reader, low, high - low), low * frame_seconds


class Songs(NamedTuple):
    """What is known of the songs that were learned from; `halves` (N,) of the N outlines of the checkpoint."""

    heard: Heard
    halves: np.ndarray
    tempi: np.ndarray  # (M, 2) of songs with a beat: as it is, and as it was found


def hear_songs(reader: Reader, sampler: Sampler, styles: list[str]) -> Songs:
    """Hear all songs that were learned from."""
    frame_seconds, turns = sampler.frame_seconds, Counter[str]()
    points, names, halves, outlines, tempi = [], [], [], [], []
    for info in reader.infos():
        if (info.song.split or "train") != "train":
            continue
        style = style_of(info.song)
        half, stretches = turns[style] % HALVES, list(stretches_of(info, frame_seconds))
        turns[style] += 1
        outlines += [half] * len(stretches)
        first, seconds = stretches[0], stretches[0].frames * frame_seconds
        grid = Grid.of(info.song.every_beat.counted_from(first.start_seconds).until(seconds), seconds)
        if style not in styles or len(grid) < FEWEST_BEATS:
            continue
        count = min(EXCERPT_BEATS, len(grid))
        for start in np.unique(np.linspace(0, len(grid) - count, EXCERPTS).astype(int)):
            part = grid.part(int(start), count)
            roll, low_seconds = excerpt(first, reader, part, frame_seconds)
            points.append(featured(roll, part, sampler, low_seconds))
            names.append(style)
            halves.append(half)
        if not grid.is_free:
            beat = beats.estimate(roll, frame_seconds)
            tempi.append((part.tempo, 1.0 if beat is None else beat.tempo))
    heard = Heard(np.array(points), np.array(names), np.array(halves))
    return Songs(heard, np.array(outlines), np.array(tempi).reshape(-1, 2))


def near(tempi: np.ndarray, tempo: float | np.ndarray, octaves: tuple[int, ...]) -> float:
    """Share of tempi (N,) that lie within NEAR of `tempo`, or of what it is so many octaves faster."""
    off = np.abs(np.log2(tempi / tempo)[:, None] - np.array(octaves)).min(axis=1)
    return float(np.mean(off < np.log2(1 + NEAR))) if len(tempi) else float("nan")


def judged(songs: Heard, asked: Heard, styles: list[str]) -> Iterator[str]:
    """Yield the lines of the table of styles."""
    mean, deviation = songs.points.mean(0), songs.points.std(0) + 1e-6
    for classifier in CLASSIFIERS:
        said = [np.empty(len(each.points), songs.styles.dtype) for each in (songs, asked)]
        for half in range(HALVES):
            learned = songs.halves != half
            known = (songs.points[learned] - mean) / deviation
            for each, answers in zip((songs, asked), said, strict=True):
                of_half = each.halves == half
                points = (each.points[of_half] - mean) / deviation
                answers[of_half] = predict(classifier, known, songs.styles[learned], points, 0)
        yield f"{classifier}: songs are taken for their own style in {(said[0] == songs.styles).mean():.0%}"
        yield f"{'drawn as':<14}" + "".join(f"{'for ' + style:>14}" for style in styles) + f"{'songs':>10}"
        for style in styles:
            shares = [(said[1][asked.styles == style] == other).mean() for other in styles]
            right = (said[0][songs.styles == style] == style).mean()
            yield f"{style:<14}" + "".join(f"{share:>14.0%}" for share in shares) + f"{right:>10.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("keys")
    parser.add_argument("checkpoint")
    parser.add_argument("-n", "--count", type=int, default=20, help="pieces for each style and each tempo")
    parser.add_argument("--seconds", type=float, default=16.0, help="of each piece")
    parser.add_argument("--styles", type=int, default=4, help="so many, those of the most songs")
    chosen = parser.parse_args()
    torch.set_num_threads(usable_cores())
    sampler = Sampler.load(chosen.checkpoint)
    frames = sampler.frames(chosen.seconds)
    counts = Counter(outline.style for outline in sampler.store.outlines)
    styles = [style for style, _ in counts.most_common() if style][: chosen.styles]
    with open_reader(chosen.keys) as reader:
        songs = hear_songs(reader, sampler, styles)
    whole = sampler.store
    assert len(songs.halves) == len(whole.outlines), "the store is not the one that was learned from"

    def piece(number: int, **request: object) -> tuple[np.ndarray, Grid]:
        """Draw a piece under a wish, and its beats."""
        made = sampler.piece(1, number, frames, request=Request(**request))  # type: ignore[arg-type]
        return made.roll, Grid.of(made.beats or beats.Beats.none(), chosen.seconds)

    points, names, halves = [], [], []
    for style in styles:
        for number in range(chosen.count):
            half = number % HALVES
            followed = tuple(outline for outline, of in zip(whole.outlines, songs.halves, strict=True) if of == half)
            sampler.store = replace(whole, outlines=followed)
            roll, grid = piece(number + 1, style=style)
            points.append(featured(roll, grid.part(0, min(EXCERPT_BEATS, len(grid))), sampler))
            names.append(style)
            halves.append(half)
    sampler.store = whole
    for line in judged(songs.heard, Heard(np.array(points), np.array(names), np.array(halves)), styles):
        print(line, flush=True)
    found = {}
    for tempo in TEMPI:
        rolls = [piece(number + 1, beat=beats.Beat(tempo))[0] for number in range(chosen.count)]
        heard = [beats.estimate(roll, sampler.frame_seconds) for roll in rolls]
        found[tempo] = np.array([1.0 if beat is None else beat.tempo for beat in heard])
    print(f"{'tempo':<8}{'found':>8}{'chance':>8}{'songs':>8}{'octaves too':>14}{'chance':>8}{'songs':>8}")
    for tempo, tempi in found.items():
        others = np.concatenate([found[other] for other in TEMPI if other != tempo])
        alike = songs.tempi[np.abs(songs.tempi[:, 0] / tempo - 1) < SONG_NEAR]
        shares = [
            share
            for octaves in ((0,), (-1, 0, 1))
            for share in (
                near(tempi, tempo, octaves),
                near(others, tempo, octaves),
                near(alike[:, 1], alike[:, 0], octaves),
            )
        ]
        print(f"{tempo:<8g}" + "".join(f"{share:>{14 if place == 3 else 8}.0%}" for place, share in enumerate(shares)))


if __name__ == "__main__":
    main()
