"""Tempo and beat of notes, and notes on their grid.

Conventions: onsets are seconds, (N,), with weights (N,); a tempo is beats (quarter notes) a minute.
"""

from __future__ import annotations

import numpy as np

from musigan import beats
from musigan.errors import SettingsError
from musigan.midi import NoteEvents


def estimate_tempo(onsets: np.ndarray, weights: np.ndarray) -> float | None:
    """The tempo that onsets suggest, to .01; None with fewer than four, or where nothing repeats."""
    if np.unique(onsets).size < 4:
        return None
    return beats.find_tempo(beats.strength_of_events(onsets - onsets.min(), weights), beats.EVENT_STEP)


def first_beat(onsets: np.ndarray, weights: np.ndarray, tempo: float) -> float:
    """Seconds, at least 0 and less than a beat, at which beats of this tempo begin that meet the onsets best."""
    if not onsets.size:
        return 0.0
    return beats.find_phase(beats.strength_of_events(onsets, weights), beats.EVENT_STEP, tempo)


def parse_grid(text: str) -> float:
    """`"1/16"` -> 0.25, a step of the grid in beats (quarter notes). Raises SettingsError."""
    top, _, bottom = text.partition("/")
    if top.strip() == "1" and bottom.isdecimal() and 1 <= int(bottom) <= 192:
        return 4 / int(bottom)
    raise SettingsError(f"--quantise {text!r} not understood: give a note value, such as 1/16, or 1/12 for triplets")


def quantised(notes: NoteEvents, tempo: float, grid_beats: float) -> NoteEvents:
    """Notes begun and ended on a grid of `grid_beats` from second 0 on, each a step long at least.

    What falls together on one key is one note, as loud as the loudest; a note ends where the next on its key begins.
    """
    step = grid_beats * 60 / tempo
    starts = np.rint(notes.starts / step)
    stops = np.maximum(np.rint(notes.stops / step), starts + 1)
    together: dict[tuple[int, int, int], tuple[int, int]] = {}
    for group, pitch, start, stop, velocity in np.stack(
        (notes.groups, notes.pitches, starts, stops, notes.velocities), axis=1
    ).astype(int):
        longest, loudest = together.get((group, pitch, start), (stop, velocity))
        together[group, pitch, start] = max(longest, stop), max(loudest, velocity)
    following: dict[tuple[int, int], int] = {}
    rows = []
    for (group, pitch, start), (stop, velocity) in sorted(together.items(), reverse=True):
        end = min(stop, following.get((group, pitch), stop))
        rows.append((group, pitch, start * step, end * step, velocity))
        following[group, pitch] = start
    return NoteEvents.of(rows)
