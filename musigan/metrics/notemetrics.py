"""Metrics of symbolic music on the notes of a roll (musigan/rolls/notes.py), as the papers and libraries define them.

A recording has no written bars, so bars of 2 s are assumed, four beats at 120 a minute; only groove consistency, of
pieces long enough to find their bars in (rhythm.py), goes by those.

    empty bars            share of bars in which no note sounds (MuseGAN, 1709.06298; muspy `empty_measure_rate`)
    used pitch classes    mean number of pitch classes in a bar that has notes (MuseGAN)
    qualified notes       share of notes of 60 ms and more, a 32nd at 120 a minute (MuseGAN: three steps of 96 a bar)
    polyphony             mean number of keys that sound, over frames in which any does (muspy `polyphony`)
    scale consistency     share of notes in the major or minor scale that holds most of them (muspy; Mogren 1611.09904)
    groove consistency    1 - mean share of the 16 steps of a bar whose onset (yes or no) differs from the bar before
                          (Wu and Yang, 2008.01307; muspy `groove_consistency`)
    tonal distance        mean distance of the tonal centroids (Harte et al. 2006) of successive half seconds

Two more of MuseGAN's for rolls with drums and of several instruments; metrics of pitch leave drums out:

    drum pattern          share of drum notes within a frame of a sixteenth of the beat estimated from their onsets
                          (muspy `drum_in_pattern_rate`); a fifth to a half by chance, as sixteenths are long
    distance of tracks    mean tonal distance between any two tracks in the same half second

None of them has a good value of its own; the reference's value is the good one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from musigan.metrics.estimates import Estimate, Metric
from musigan.rolls import beats
from musigan.rolls.notes import Notes, find_notes, find_strokes, sounding
from musigan.rolls.tracks import DRUMS, has_own_drums, is_recording, mix_pitched, pitched_channels

if TYPE_CHECKING:
    from musigan.metrics.comparison import Comparison

BAR_SECONDS = 2.0
GROOVE_STEPS = 16  # a bar
QUALIFIED_SECONDS = 0.06
NAMES = (
    "empty bars", "used pitch classes", "qualified notes", "polyphony",
    "scale consistency", "tonal distance", "drum pattern", "distance of tracks",
)  # fmt: skip
OF_TRACKS = ("drum pattern", "distance of tracks")
MEANINGS = (
    "Share of bars without a note.", "How many of the twelve pitch classes a bar has.",
    "Share of notes that are long enough to be heard as such.", "How many keys sound at once.",
    "Share of notes in the scale that fits best.", "How far the harmony moves in half a second.",
    "Share of drum strokes on sixteenths.", "How unlike the harmonies of two instruments are.",
)  # fmt: skip
METRICS = tuple(
    Metric(name, "notes", "reference", meaning=meaning) for name, meaning in zip(NAMES, MEANINGS, strict=True)
)
SIXTEENTHS = 4  # a beat
MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)


def note_metrics(roll: np.ndarray, frame_seconds: float, low_key: int, tracks: tuple[str, ...] = ()) -> np.ndarray:
    """Return the metrics of NAMES for a roll (C, K, T), float64; NaN where undefined.

    A recording's sides are averaged; of `tracks` that are instruments the loudest counts in each cell.
    """
    rolls = np.asarray(roll, np.float32)
    loudness = mix_pitched(rolls, tracks)
    drums = rolls[tracks.index(DRUMS)] if DRUMS in tracks else None
    notes = find_notes(loudness)
    is_sounding = sounding(notes, *loudness.shape)
    classes = (np.arange(len(loudness)) + low_key - 1) % 12
    bar_frames = max(1, round(BAR_SECONDS / frame_seconds))
    half_second_frames = max(1, round(0.5 / frame_seconds))
    return np.array(
        [
            empty_bars(is_sounding, bar_frames),
            used_pitch_classes(is_sounding, classes, bar_frames),
            qualified_notes(notes, frame_seconds),
            polyphony(is_sounding),
            scale_consistency(classes[notes.keys]),
            tonal_distance(_blocks(_by_class(is_sounding, classes), half_second_frames)),
            np.nan if drums is None else drum_pattern(drums, frame_seconds, has_own_drums(tracks)),
            distance_of_tracks(
                [
                    _blocks(_by_class(_sounding_mask(plane), classes), half_second_frames)
                    for plane in pitched_channels(rolls, tracks)
                    if not is_recording(tracks)
                ]
            ),
        ]
    )


def _sounding_mask(plane: np.ndarray) -> np.ndarray:
    return sounding(find_notes(plane), *plane.shape)


def drum_pattern(plane: np.ndarray, frame_seconds: float, is_heard: bool = False) -> float:
    """Return the share of the notes of (K, T) that begin on a sixteenth of their beat; NaN where no beat is found.

    is_heard: whether these are drums of a recording, which may be struck again before they fade.
    """
    notes, beat = (find_strokes if is_heard else find_notes)(plane), beats.estimate(plane[None], frame_seconds)
    onset_times = notes.starts[notes.starts > 0] * frame_seconds
    if beat is None or not onset_times.size:
        return np.nan
    sixteenth_seconds = 60 / beat.tempo / SIXTEENTHS
    offset_seconds = np.abs(
        (onset_times - beat.first_beat + sixteenth_seconds / 2) % sixteenth_seconds - sixteenth_seconds / 2
    )
    return float((offset_seconds <= frame_seconds + 1e-6).mean())


def distance_of_tracks(chromas: Sequence[np.ndarray]) -> float:
    """Return the mean distance of the tonal centroids of any two of several (12, N), where both sound."""
    pair_distances = []
    for one, other in itertools.combinations(chromas, 2):
        both_sound = one.any(axis=0) & other.any(axis=0)
        differences = tonal_centroids(one[:, both_sound]) - tonal_centroids(other[:, both_sound])
        pair_distances.append(np.linalg.norm(differences, axis=0))
    distances = np.concatenate(pair_distances) if pair_distances else np.zeros(0)
    return float(distances.mean()) if distances.size else np.nan


def _bars(held: np.ndarray, bar: int) -> np.ndarray:
    """Return the keys that sound in each whole bar, (K, T) -> (K, bars); a roll shorter than a bar is one bar."""
    count = max(1, held.shape[1] // bar)
    return np.stack([part.any(axis=1) for part in np.split(held[:, : count * bar], count, axis=1)], axis=1)


def empty_bars(held: np.ndarray, bar: int) -> float:
    """Return the share of bars of `bar` frames in which none of (K, T) sounds."""
    return float((~_bars(held, bar).any(axis=0)).mean())


def used_pitch_classes(held: np.ndarray, classes: np.ndarray, bar: int) -> float:
    """Return the mean count of pitch classes of bars that have notes; `classes` (K,) is each key's."""
    bars = _bars(held, bar)
    class_counts = np.stack([bars[classes == pitch_class].any(axis=0) for pitch_class in range(12)]).sum(axis=0)
    return float(class_counts[class_counts > 0].mean()) if class_counts.any() else np.nan


def qualified_notes(notes: Notes, frame_seconds: float) -> float:
    """Return the share of notes that last QUALIFIED_SECONDS or more."""
    return float((notes.lengths * frame_seconds >= QUALIFIED_SECONDS - 1e-9).mean()) if len(notes) else np.nan


def polyphony(held: np.ndarray) -> float:
    """Return the mean count of keys over the frames of (K, T) in which any sounds."""
    key_counts = held.sum(axis=0)
    return float(key_counts[key_counts > 0].mean()) if key_counts.any() else np.nan


def scale_consistency(classes: np.ndarray) -> float:
    """Return the largest share of notes, as pitch classes (N,), within one of the 24 major and minor scales."""
    if not classes.size:
        return np.nan
    counts = np.bincount(classes, minlength=12)
    scales = [np.roll(np.isin(np.arange(12), scale), root) for scale in (MAJOR, MINOR) for root in range(12)]
    return float(max(counts[scale].sum() for scale in scales) / classes.size)


def groove_consistency(starts: np.ndarray, edges: np.ndarray) -> float:
    """Return the similarity of successive bars' onset patterns; NaN for fewer than two bars or no onsets.

    starts: frames of onsets (N,). edges: of the bars, in frames, rising (bars + 1,); what lies outside does not count.
    """
    bar_count = len(edges) - 1
    bars = np.searchsorted(edges, starts, side="right") - 1
    is_inside = (bars >= 0) & (bars < bar_count)
    starts, bars = starts[is_inside], bars[is_inside]
    if bar_count < 2 or not starts.size:
        return np.nan
    steps = ((starts - edges[bars]) * GROOVE_STEPS / np.diff(edges)[bars] + 1e-9).astype(int)
    patterns = np.zeros((bar_count, GROOVE_STEPS), bool)
    patterns[bars, np.minimum(steps, GROOVE_STEPS - 1)] = True
    return float(1 - (patterns[1:] != patterns[:-1]).mean())


def tonal_centroids(chroma: np.ndarray) -> np.ndarray:
    """Map chroma (12, N) to six coordinates on the circles of fifths, minor and major thirds (Harte et al. 2006)."""
    chroma = chroma / np.maximum(chroma.sum(axis=0), 1e-12)
    pitch = np.arange(12)
    circles = []
    for turn, radius in ((7 / 6, 1.0), (3 / 2, 1.0), (2 / 3, 0.5)):
        circles += [radius * np.sin(np.pi * turn * pitch), radius * np.cos(np.pi * turn * pitch)]
    return np.asarray(np.stack(circles) @ chroma)


def tonal_distance(chroma: np.ndarray) -> float:
    """Return the mean distance of centroids of successive columns of (12, N) that both sound; NaN without any."""
    is_sounding: np.ndarray = np.any(chroma, axis=0)
    both_sound = is_sounding[1:] & is_sounding[:-1]
    if not both_sound.any():
        return np.nan
    steps = np.diff(tonal_centroids(chroma), axis=1)
    return float(np.linalg.norm(steps, axis=0)[both_sound].mean())


def _by_class(held: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return np.asarray((classes == np.arange(12)[:, None]).astype(float) @ held)


def _blocks(chroma: np.ndarray, length: int) -> np.ndarray:
    """Sum (12, T) over blocks of `length` frames, (12, T // length)."""
    count = chroma.shape[1] // length
    return np.asarray(chroma[:, : count * length].reshape(12, count, length).sum(axis=2))


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """Return the metrics of METRICS, means over rolls where they are defined; those of tracks only if there are any."""
    notes, songs = comparison.fake.notes, comparison.fake.songs
    is_defined = np.isfinite(comparison.real.notes).any(axis=0)
    return {
        name: comparison.mean_of(notes[:, column], songs)
        for column, name in enumerate(NAMES)
        if name not in OF_TRACKS or is_defined[column]
    }
