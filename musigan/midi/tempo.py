"""Tempo and beat of notes, and quantisation of notes to a grid.

Conventions: onsets are seconds, (N,), with weights (N,); a tempo is beats (quarter notes) a minute.
"""

from __future__ import annotations

import numpy as np

from musigan.errors import FieldError, SettingsError
from musigan.midi.events import NoteEvents
from musigan.rolls import beats

LOWEST_TEMPO = 4  # beats a minute: a MIDI file gives a beat's microseconds 24 bits


def estimate_tempo(onsets: np.ndarray, weights: np.ndarray) -> float | None:
    """Estimate the tempo from onsets, to .01; None with fewer than four onset times, or where nothing repeats."""
    if np.unique(onsets).size < 4:
        return None
    return beats.find_tempo(beats.strength_of_events(onsets - onsets.min(), weights), beats.EVENT_STEP)


def first_beat(onsets: np.ndarray, weights: np.ndarray, tempo: float) -> float:
    """Return the phase, in seconds from 0 to below a beat, at which beats of this tempo fit the onsets best."""
    if not onsets.size:
        return 0.0
    return beats.find_phase(beats.strength_of_events(onsets, weights), beats.EVENT_STEP, tempo)


def tempo_of_file(tempo: float) -> float | None:
    """Return a tempo that was asked for, None for 0: the piece's own. Raises FieldError where no MIDI file has it."""
    if 0 < tempo < LOWEST_TEMPO:
        raise FieldError("{tempo} {0:g}: a MIDI file has {1} beats a minute or more", tempo, LOWEST_TEMPO)
    return tempo or None


def parse_grid(text: str) -> float:
    """Parse `"1/16"` as 0.25, a step of the grid in beats (quarter notes). Raises SettingsError."""
    numerator, _, denominator = text.partition("/")
    if numerator.strip() == "1" and denominator.isdecimal() and 1 <= int(denominator) <= 192:
        return 4 / int(denominator)
    raise SettingsError(f"--quantise {text!r} not understood: give a note value, such as 1/16, or 1/12 for triplets")


def quantise(notes: NoteEvents, tempo: float, grid_beats: float) -> NoteEvents:
    """Quantise notes' starts and stops to a grid of `grid_beats` from second 0 on; each lasts at least a step.

    Notes of one key that begin on one step become one, as loud as the loudest. A note ends where the next on its key
    begins.
    """
    step = grid_beats * 60 / tempo
    starts = np.rint(notes.starts / step)
    stops = np.maximum(np.rint(notes.stops / step), starts + 1)
    merged: dict[tuple[int, int, int], tuple[int, int]] = {}
    for group, pitch, start, stop, velocity in np.stack(
        (notes.groups, notes.pitches, starts, stops, notes.velocities), axis=1
    ).astype(int):
        last_stop, loudest = merged.get((group, pitch, start), (stop, velocity))
        merged[group, pitch, start] = max(last_stop, stop), max(loudest, velocity)
    next_starts: dict[tuple[int, int], int] = {}
    rows = []
    for (group, pitch, start), (stop, velocity) in sorted(merged.items(), reverse=True):
        end = min(stop, next_starts.get((group, pitch), stop))
        rows.append((group, pitch, start * step, end * step, velocity))
        next_starts[group, pitch] = start
    return NoteEvents.of(rows)
