"""The tunes of `musigan.tunes` as sound: a track for each instrument, played by the ensemble."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from musigan import tunes
from musigan.midi.events import NoteEvents
from musigan.midi.rolls import notes_to_roll
from musigan.rolls.keyboard import PITCH_OF_KEY
from musigan.rolls.keysettings import KeySettings
from musigan.sound.encoding import encode
from musigan.synthesis.ensemble import perform

SAMPLE_RATE = 44_100
ALBUM = "Public-domain tunes"
TARGET_RMS, PEAK = 0.12, 0.89  # of full scale; no louder than either
TAIL_SECONDS = 0.8  # for the last notes to ring on


def render(tune: tunes.Tune, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Render a tune as a piece of 60 to 95 seconds, (2, S) float32, the same each time."""
    notes, settings = tunes.arrange(tune), KeySettings("midi")
    instruments = tuple(sorted({note.instrument for note in notes}))
    events = NoteEvents.of(
        (
            instruments.index(note.instrument),
            note.key + PITCH_OF_KEY,
            note.onset_seconds,
            note.onset_seconds + note.duration_seconds,
            round(127 * note.velocity),
        )
        for note in notes
    )
    roll, _ = notes_to_roll(events, instruments, settings)
    roll = np.pad(roll, ((0, 0), (0, 0), (0, round(TAIL_SECONDS / settings.frame_seconds))))
    signal = perform(roll, instruments, settings, sample_rate)
    rms = float(np.sqrt(np.vdot(signal, signal) / signal.size))
    signal *= np.float32(min(TARGET_RMS / rms, PEAK / float(np.abs(signal).max())))
    return signal


def write_tune(name: str, folder: str | os.PathLike[str], format: str = "mp3", force: bool = False) -> Path | None:
    """Render a tune to FOLDER/NAME.mp3 with tags and return the path; None if the file exists and `force` is off.

    The file appears whole or not at all. Raises UsageError for an unknown name, AudioError where it cannot be written.
    """
    path = Path(folder, f"{name}.{format}")
    if path.exists() and not force:
        return None
    tune = tunes.load(name)
    tags = {"title": tune.title, "artist": tune.composer, "album": ALBUM, "genre": tune.rhythm.capitalize()}
    encode([render(tune)], SAMPLE_RATE, path, format, tags=tags)
    return path
