"""Metrics of symbolic music, on the notes of a roll (musigan/notes.py), as the papers and libraries define them.

Bars have to be assumed where nobody wrote them down: 2 s, four beats at 120 a minute.

    empty bars            share of bars in which no note sounds (MuseGAN, 1709.06298; muspy `empty_measure_rate`)
    used pitch classes    mean number of pitch classes in a bar that has notes (MuseGAN)
    qualified notes       share of notes of 60 ms and more, a 32nd at 120 a minute (MuseGAN: three steps of 96 a bar)
    polyphony             mean number of keys that sound, over frames in which any does (muspy `polyphony`)
    scale consistency     share of notes in the major or minor scale that holds most of them (muspy; Mogren 1611.09904)
    groove consistency    1 - mean share of the 16 steps of a bar whose having an onset differs from the bar before
                          (Wu and Yang, 2008.01307; muspy `groove_consistency`)
    tonal distance        mean distance of the tonal centroids (Harte et al. 2006) of successive half seconds

Of rolls whose channels are tracks, two more of MuseGAN's; what goes by pitch leaves drums out:

    drum pattern          share of drum notes on the sixteenths of a beat that their onsets suggest, give or take a
                          frame (muspy `drum_in_pattern_rate`); a fifth to a half by chance, as sixteenths are long
    distance of tracks    mean tonal distance between any two tracks in the same half second

None of them has a good value of its own: the reference's is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from musigan import beats
from musigan.metrics.estimates import Estimate, Metric
from musigan.notes import Notes, find_notes, sounding

if TYPE_CHECKING:
    from musigan.metrics.comparison import Comparison

BAR_SECONDS = 2.0
GROOVE_STEPS = 16  # a bar
QUALIFIED_SECONDS = 0.06
NAMES = (
    "empty bars", "used pitch classes", "qualified notes", "polyphony",
    "scale consistency", "groove consistency", "tonal distance", "drum pattern", "distance of tracks",
)  # fmt: skip
OF_TRACKS = ("drum pattern", "distance of tracks")
METRICS = tuple(Metric(name, "notes", "reference") for name in NAMES)
SIXTEENTHS = 4  # a beat
MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)


def note_metrics(roll: np.ndarray, frame_seconds: float, low_key: int, tracks: Sequence[str] = ()) -> np.ndarray:
    """The metrics of NAMES for a roll (C, K, T), float64; NaN where undefined.

    Sides are averaged; of `tracks`, named instruments, whichever is loudest counts.
    """
    rolls = np.asarray(roll, np.float32)
    drums = tracks.index("drums") if "drums" in tracks else None
    pitched = [track for track in range(len(rolls)) if track != drums] or [0]
    plane = rolls[pitched].max(axis=0) if tracks else rolls.mean(axis=0)
    notes = find_notes(plane)
    held = sounding(notes, *plane.shape)
    classes = (np.arange(len(plane)) + low_key - 1) % 12
    bar = max(1, round(BAR_SECONDS / frame_seconds))
    half = max(1, round(0.5 / frame_seconds))
    return np.array(
        [
            empty_bars(held, bar),
            used_pitch_classes(held, classes, bar),
            qualified_notes(notes, frame_seconds),
            polyphony(held),
            scale_consistency(classes[notes.keys]),
            groove_consistency(notes.starts[notes.starts > 0], plane.shape[1], bar),
            tonal_distance(_blocks(_by_class(held, classes), half)),
            np.nan if drums is None else drum_pattern(rolls[drums], frame_seconds),
            distance_of_tracks([_blocks(_by_class(_held(rolls[track]), classes), half) for track in pitched if tracks]),
        ]
    )


def _held(plane: np.ndarray) -> np.ndarray:
    return sounding(find_notes(plane), *plane.shape)


def drum_pattern(plane: np.ndarray, frame_seconds: float) -> float:
    """Share of the notes of (K, T) that begin on a sixteenth of their beat; NaN where they suggest none."""
    notes, beat = find_notes(plane), beats.estimate(plane[None], frame_seconds)
    starts = notes.starts[notes.starts > 0] * frame_seconds
    if beat is None or not starts.size:
        return np.nan
    step = 60 / beat.tempo / SIXTEENTHS
    away = np.abs((starts - beat.first_beat + step / 2) % step - step / 2)
    return float((away <= frame_seconds + 1e-6).mean())


def distance_of_tracks(chromas: Sequence[np.ndarray]) -> float:
    """Mean distance of the tonal centroids of any two of several (12, N), over columns in which both sound."""
    found = []
    for one, other in itertools.combinations(chromas, 2):
        both = one.any(axis=0) & other.any(axis=0)
        apart = tonal_centroids(one[:, both]) - tonal_centroids(other[:, both])
        found.append(np.linalg.norm(apart, axis=0))
    together = np.concatenate(found) if found else np.zeros(0)
    return float(together.mean()) if together.size else np.nan


def _bars(held: np.ndarray, bar: int) -> np.ndarray:
    """(K, T) -> which keys sound in each whole bar, (K, bars); a roll shorter than a bar is one bar."""
    count = max(1, held.shape[1] // bar)
    return np.stack([part.any(axis=1) for part in np.split(held[:, : count * bar], count, axis=1)], axis=1)


def empty_bars(held: np.ndarray, bar: int) -> float:
    """Share of bars of `bar` frames in which none of (K, T) sounds."""
    return float((~_bars(held, bar).any(axis=0)).mean())


def used_pitch_classes(held: np.ndarray, classes: np.ndarray, bar: int) -> float:
    """Mean count of pitch classes of bars that have notes; `classes` (K,) is each key's."""
    bars = _bars(held, bar)
    used = np.stack([bars[classes == one].any(axis=0) for one in range(12)]).sum(axis=0)
    return float(used[used > 0].mean()) if used.any() else np.nan


def qualified_notes(notes: Notes, frame_seconds: float) -> float:
    """Share of notes that last QUALIFIED_SECONDS or more."""
    return float((notes.lengths * frame_seconds >= QUALIFIED_SECONDS - 1e-9).mean()) if len(notes) else np.nan


def polyphony(held: np.ndarray) -> float:
    """Mean count of keys over the frames of (K, T) in which any sounds."""
    together = held.sum(axis=0)
    return float(together[together > 0].mean()) if together.any() else np.nan


def scale_consistency(classes: np.ndarray) -> float:
    """The largest share of notes, given as pitch classes (N,), within one of the 24 major and minor scales."""
    if not classes.size:
        return np.nan
    counts = np.bincount(classes, minlength=12)
    scales = [np.roll(np.isin(np.arange(12), scale), root) for scale in (MAJOR, MINOR) for root in range(12)]
    return float(max(counts[scale].sum() for scale in scales) / classes.size)


def groove_consistency(starts: np.ndarray, frames: int, bar: int) -> float:
    """Likeness of the onset patterns of successive bars; NaN with fewer than two bars, or without onsets."""
    bars = frames // bar
    starts = starts[starts < bars * bar]
    if bars < 2 or not starts.size:
        return np.nan
    pattern = np.zeros((bars, GROOVE_STEPS), bool)
    pattern[starts // bar, starts % bar * GROOVE_STEPS // bar] = True
    return float(1 - (pattern[1:] != pattern[:-1]).mean())


def tonal_centroids(chroma: np.ndarray) -> np.ndarray:
    """Six coordinates on the circles of fifths, minor and major thirds of chroma (12, N), after Harte et al. 2006."""
    chroma = chroma / np.maximum(chroma.sum(axis=0), 1e-12)
    pitch = np.arange(12)
    circles = []
    for turn, radius in ((7 / 6, 1.0), (3 / 2, 1.0), (2 / 3, 0.5)):
        circles += [radius * np.sin(np.pi * turn * pitch), radius * np.cos(np.pi * turn * pitch)]
    return np.asarray(np.stack(circles) @ chroma)


def tonal_distance(chroma: np.ndarray) -> float:
    """Mean distance of the centroids of successive columns of (12, N) that both sound; NaN where there are none."""
    sounds: np.ndarray = np.any(chroma, axis=0)
    both = sounds[1:] & sounds[:-1]
    if not both.any():
        return np.nan
    steps = np.diff(tonal_centroids(chroma), axis=1)
    return float(np.linalg.norm(steps, axis=0)[both].mean())


def _by_class(held: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return np.asarray((classes == np.arange(12)[:, None]).astype(float) @ held)


def _blocks(chroma: np.ndarray, length: int) -> np.ndarray:
    """(12, T) summed over blocks of `length` frames, (12, T // length)."""
    count = chroma.shape[1] // length
    return np.asarray(chroma[:, : count * length].reshape(12, count, length).sum(axis=2))


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """The metrics of METRICS: means over the rolls where they are defined. Those of tracks only where there are any."""
    notes, songs = comparison.fake.notes, comparison.fake.songs
    real = np.isfinite(comparison.real.notes).any(axis=0)
    return {
        name: comparison.mean_of(notes[:, column], songs)
        for column, name in enumerate(NAMES)
        if name not in OF_TRACKS or real[column]
    }
