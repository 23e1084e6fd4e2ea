"""Arrangements of a tune: melody, harmony, chords and bass, several times with variation, as notes in seconds.

Conventions: keys are piano keys (49 is A4, 440 Hz), times in seconds, velocities in (0, 1]. The options of a tune's
`%%musigan` line choose instruments and accompaniment; those with several values change from pass to pass.
"""

from __future__ import annotations

import math
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from musigan.tunes.abc import Chord, Note, Tune, TuneError

SHORTEST_SECONDS = 60  # a piece repeats its tune until it lasts at least this long
MIDI_OF_KEY_0 = 20

# Accompaniment, bar by bar on a grid of equal steps: B bass, F the fifth below or above it, C a chord, c a softer
# one, 0 to 3 single chord tones from below, . nothing new.
GRIDS = {
    "strum": {"4/4": "BcCcFcCc", "3/4": "BcCcCc", "6/8": "BccCcc", "9/8": "BccCccCcc", "3/8": "Bcc"},
    "oompah": {"4/4": "B.C.F.C.", "3/4": "B.C.C.", "6/8": "B.CF.C", "9/8": "B.CC.CC.C", "3/8": "BCC"},
    "arpeggio": {"4/4": "B1232321", "3/4": "B12321", "6/8": "B12321", "9/8": "B12321232", "3/8": "B13..."},
    "alberti": {"4/4": "02120212", "3/4": "021212", "6/8": "012321", "9/8": "012321012", "3/8": "0121.."},
}
SUSTAINED_STYLES = ("block", "choral", "drone")  # accompaniment that sounds as long as its chord


class PlayedNote(NamedTuple):
    """One note as played."""

    onset_seconds: float
    duration_seconds: float
    key: int  # piano key, 49 is A4
    velocity: float  # 0 to 1
    part: str  # melody, harmony, chords, bass, or voice 1, voice 2, ... of a round
    instrument: str


class _Note(NamedTuple):
    """One note before its timing is fixed: times in beats, pitch as a MIDI note number."""

    onset: Fraction
    duration: Fraction
    pitch: int
    velocity: float
    part: str
    instrument: str
    spread: int = 0  # place within a strummed chord


def count_passes(tune: Tune) -> int:
    """Return the number of times the tune is played to last SHORTEST_SECONDS."""
    return math.ceil(SHORTEST_SECONDS * tune.beats_per_minute / 60 / tune.length)


def arrange(tune: Tune, seed: int | None = None) -> list[PlayedNote]:
    """Arrange a tune as notes in order of onset; the same seed (by default from the title) gives the same piece."""
    notes, rng, seconds_at = _timed(tune, seed)
    played_notes = []
    for note in sorted(notes):
        start, end = seconds_at(note.onset), seconds_at(note.onset + note.duration)
        start += 0.012 * note.spread + float(rng.normal(0, 0.004))
        velocity = min(1.0, note.velocity * float(rng.uniform(0.9, 1.1)))
        key = note.pitch - MIDI_OF_KEY_0
        if not 1 <= key <= 88:
            raise TuneError(f"{tune.title}: note {note.pitch} is not on a piano; transpose the tune by an octave")
        played_notes.append(
            PlayedNote(max(0.0, start), max(0.05, end - start), key, velocity, note.part, note.instrument)
        )
    return sorted(played_notes)


def clock(tune: Tune, seed: int | None = None) -> Callable[[Fraction], float]:
    """Return the map from beats (quarter notes) to seconds by which `arrange` plays the tune with this seed."""
    return _timed(tune, seed)[2]


def _timed(tune: Tune, seed: int | None) -> tuple[list[_Note], np.random.Generator, Callable[[Fraction], float]]:
    """Return the notes of all passes, the random numbers to play them with, and the map from beats to seconds."""
    rng = np.random.default_rng(zlib.crc32(tune.title.encode()) if seed is None else seed)
    notes = list(_round(tune)) if "round" in tune.options else list(_song(tune))
    return notes, rng, _clock(tune, rng, max(note.onset + note.duration for note in notes))


def _clock(tune: Tune, rng: np.random.Generator, end: Fraction) -> Callable[[Fraction], float]:
    """Return a map from beats to seconds: a tempo that varies by a few percent and slows down in the last bar."""
    beats = np.arange(math.ceil(end) + 2)
    tempo_variation = 1 + 0.02 * np.sin(2 * np.pi * beats / float(8 * tune.bar_length) + rng.uniform(0, 2 * np.pi))
    ritardando = 1 + 0.35 * np.clip((beats - float(end - tune.bar_length)) / float(tune.bar_length), 0, 1)
    times = np.concatenate([[0.0], np.cumsum(60 / tune.beats_per_minute * tempo_variation * ritardando)[:-1]])
    return lambda beat: float(np.interp(float(beat), beats, times))


def _choice(tune: Tune, name: str, default: str, index: int) -> str:
    values = tune.options.get(name, default).split(",")
    return values[index % len(values)]


def _song(tune: Tune) -> Iterator[_Note]:
    """Yield the tune pass after pass: plain, with a second voice, an octave higher and softly, then all together."""
    passes = count_passes(tune)
    for index in range(passes):
        start = index * tune.length
        is_last = index == passes - 1
        lead = _choice(tune, "lead", "piano", index)
        is_harmonised = is_last or index % 2 == 1
        octave = 12 if index % 3 == 2 and max(note.pitch for note in tune.melody) <= 81 else 0
        loudness = 0.9 if is_last else (0.75, 0.85, 0.65)[index % 3]
        for note in tune.melody:
            accent = 1.1 if (note.onset - tune.pickup) % tune.bar_length == 0 else 1.0
            onset, velocity = start + note.onset, loudness * accent
            yield _Note(onset, note.duration, note.pitch + octave, velocity, "melody", lead)
            if is_harmonised and (second := _second_voice(note, tune.chords)) is not None:
                yield _Note(onset, note.duration, second + octave, 0.6 * velocity, "harmony", lead)
        for played in _accompany(tune, _choice(tune, "backing", "block", index), 0.8 * loudness):
            yield played._replace(onset=start + played.onset)
    yield from _close(tune, passes * tune.length)


def _round(tune: Tune) -> Iterator[_Note]:
    """Yield a round: the same melody in every voice, two bars apart, over a sustained chord."""
    voices = int(tune.options["round"])
    passes = count_passes(tune)
    for voice in range(voices):
        instrument = _choice(tune, "lead", "piano", voice)
        for index in range(passes - (voice > 0)):
            start = voice * 2 * tune.bar_length + index * tune.length
            octave = (0, 12, 0, -12)[voice % 4]
            for note in tune.melody:
                yield _Note(
                    start + note.onset, note.duration, note.pitch + octave, 0.8, f"voice {voice + 1}", instrument
                )
    for index in range(passes):
        for played in _accompany(tune, _choice(tune, "backing", "block", index), 0.5):
            yield played._replace(onset=index * tune.length + played.onset)


def _close(tune: Tune, end: Fraction) -> Iterator[_Note]:
    """Yield a last tonic chord for a tune that does not end on its tonic."""
    if tune.melody[-1].pitch % 12 == tune.tonic:
        return
    third = next((chord.intervals[1] for chord in tune.chords if chord.root == tune.tonic), 4)
    instrument = _choice(tune, "chords", "piano", 0)
    for spread, interval in enumerate((-12, 0, third, 7, 12)):
        pitch = 60 + (tune.tonic + 6) % 12 - 6 + interval
        yield _Note(end, tune.bar_length, pitch, 0.7, "chords", instrument, spread)


def _chord_at(chords: Sequence[Chord], onset: Fraction) -> Chord | None:
    index = bisect_right(chords, onset, key=lambda chord: chord.onset) - 1
    if index < 0 or onset >= chords[index].onset + chords[index].duration:
        return None
    return chords[index]


def _second_voice(note: Note, chords: Sequence[Chord]) -> int | None:
    """Return the nearest chord tone at least a minor third below the melody; None where there is no chord."""
    chord = _chord_at(chords, note.onset)
    if chord is None:
        return None
    tones = {(chord.root + interval) % 12 for interval in chord.intervals}
    return next(pitch for pitch in range(note.pitch - 3, note.pitch - 16, -1) if pitch % 12 in tones)


def _voicing(chord: Chord) -> list[int]:
    """Return four chord tones from about G3 upwards, the lowest doubled on top where the chord has fewer."""
    tones = sorted(55 + (chord.root + interval - 55) % 12 for interval in chord.intervals)
    while len(tones) < 4:
        tones.append(tones[len(tones) - len(chord.intervals)] + 12)
    return tones


def _bass(chord: Chord) -> int:
    """Return the chord's root between E2 and D#3."""
    return 40 + (chord.root - 40) % 12


def _accompany(tune: Tune, style: str, loudness: float) -> Iterator[_Note]:
    """Yield bass and chords for one pass of the tune."""
    chord_instrument = _choice(tune, "chords", "piano", 0)
    bass_instrument = _choice(tune, "bass", "bass", 0)
    if style in SUSTAINED_STYLES:
        for note in _sustained_chords(tune, style, loudness):
            yield note._replace(instrument=bass_instrument if note.part == "bass" else chord_instrument)
        return
    metre = f"{tune.metre[0]}/{tune.metre[1]}"
    if metre not in GRIDS.get(style, {}):
        styles = ", ".join(sorted({*GRIDS, *SUSTAINED_STYLES}))
        raise TuneError(f"{tune.title}: no accompaniment {style!r} in {metre}: choose one of {styles}")
    grid = GRIDS[style][metre]
    step = tune.bar_length / len(grid)
    bars = int(tune.length / tune.bar_length) + (1 if tune.pickup else 0)
    for bar in range(bars):
        for place, sign in enumerate(grid):
            # The bar of the pickup starts before the tune does.
            onset = tune.pickup + tune.bar_length * (bar - (1 if tune.pickup else 0)) + place * step
            chord = _chord_at(tune.chords, onset)
            if sign == "." or chord is None or not 0 <= onset < tune.length:
                continue
            rest_steps = len(grid[place + 1 :]) - len(grid[place + 1 :].lstrip("."))
            chord_beats_left = chord.onset + chord.duration - onset
            yield from _step(sign, chord, onset, min(step * (1 + rest_steps), chord_beats_left), loudness,
                             bass_instrument, chord_instrument)  # fmt: skip


def _step(
    sign: str, chord: Chord, onset: Fraction, duration: Fraction, loudness: float, bass: str, chords: str
) -> Iterator[_Note]:
    """Yield the notes of one step of the grid."""
    tones = _voicing(chord)
    if sign in "BF":
        fifth = next((interval for interval in chord.intervals if interval in (6, 7)), 7)
        pitch = _bass(chord) + (fifth - 12 if _bass(chord) > 43 else fifth) * (sign == "F")
        yield _Note(onset, duration, pitch, loudness, "bass", bass)
    elif sign.isdigit():
        yield _Note(onset, max(duration, Fraction(1)), tones[int(sign)], 0.7 * loudness, "chords", chords)
    else:
        for spread, pitch in enumerate(tones if sign == "C" else tones[1:]):
            weight = 0.6 if sign == "C" else 0.4
            yield _Note(onset, duration, pitch, weight * loudness, "chords", chords, spread)


def _sustained_chords(tune: Tune, style: str, loudness: float) -> Iterator[_Note]:
    """Yield chords as long as their symbol or their bar: closed above a bass, in open voices, or a bare drone."""
    for chord in tune.chords:
        tones = _voicing(chord)
        if style == "drone":
            root = _bass(chord)
            pitches = [root + 12, root + 19]
        elif style == "choral":
            pitches = [tones[0] - 12 if tones[0] > 60 else tones[0], *tones[1:3]]
        else:
            pitches = tones[:3]
        for onset, duration in _within_bars(tune, chord):
            yield _Note(onset, duration, _bass(chord), loudness, "bass", "")
            for spread, pitch in enumerate(pitches):
                yield _Note(onset, duration, pitch, 0.5 * loudness, "chords", "", spread)


def _within_bars(tune: Tune, chord: Chord) -> Iterator[tuple[Fraction, Fraction]]:
    """Yield onset and duration of a chord's part in each bar: plucked strings would not sound longer."""
    onset, end = chord.onset, chord.onset + chord.duration
    while onset < end:
        next_bar = onset + tune.bar_length - (onset - tune.pickup) % tune.bar_length
        yield onset, min(next_bar, end) - onset
        onset = next_bar
