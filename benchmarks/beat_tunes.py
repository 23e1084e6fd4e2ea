"""Simple tunes made at random, arranged as those of musigan.tunes, to train a beat tracker on.

Conventions: lengths are Fractions of quarter notes, as in musigan.tunes; a beat is what the foot taps: a quarter note,
a dotted one in 6/8 and 9/8, an eighth in 3/8.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from beat_sounds import DRUMS, INSTRUMENTS, Event, Piece

from musigan import tunes
from musigan.tunes.abc import Chord, Note, Tune
from musigan.tunes.arrange import count_passes

QUARTER, EIGHTH, DOTTED = Fraction(1), Fraction(1, 2), Fraction(3, 2)
METERS = {(4, 4): (4, QUARTER), (3, 4): (3, QUARTER), (6, 8): (2, DOTTED), (9, 8): (3, DOTTED), (3, 8): (3, EIGHTH)}
METER_SHARES, COMPOUND_SHARES = (0.5, 0.2, 0.15, 0.08, 0.07), (0, 0, 0.75, 0.25, 0)
TEMPI = {QUARTER: (66, 215), DOTTED: (40, 135), EIGHTH: (90, 200)}  # beats a minute
NOTES_A_SECOND = (1.0, 6.0)
# How a beat is divided, in parts of equal length.
HALVES, THIRDS = ((1,), (1, 1), (3, 1), (2, 1, 1), (1, 1, 1, 1)), ((3,), (2, 1), (1, 1, 1), (3, 1, 2), (1, 2))
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
LEADS = ("piano", "flute", "strings", "clarinet", "accordion", "fiddle", "harpsichord", "brass", "bells", "organ")
CHORDS = ("guitar", "piano", "harp", "organ", "banjo", "harpsichord", "bells")
BACKINGS = ("strum", "oompah", "arpeggio", "alberti", "block", "choral", "drone")


def random_tune(number: int, compound: bool = False) -> Piece:
    """Return the tune of a number as it is arranged: all parts, or the melody alone or above the bass.

    `compound`: one whose beats fall into three.
    """
    random = np.random.default_rng([number, 12 + compound])
    tune = written(random, COMPOUND_SHARES if compound else METER_SHARES)
    notes = tunes.arrange(tune, number)
    kept = random.choice(["", "melody", "melody bass"], p=[0.65, 0.2, 0.15])
    notes = [note for note in notes if not kept or note.part in kept or note.part.startswith("voice")]
    return piece_of(tune, number, notes)


def piece_of(tune: Tune, number: int, notes: list[tunes.PlayedNote]) -> Piece:
    """Return what a tune was arranged to, and its beats. Raises KeyError for a meter that is not of METERS."""
    seconds_at = tunes.clock(tune, number)
    events: list[Event] = []
    program_of = {name: program for program, name in reversed(INSTRUMENTS)}
    parts = sorted({(note.part, note.instrument) for note in notes})
    channels = {part: number + (number >= DRUMS) for number, part in enumerate(parts[:15])}
    for part, channel in channels.items():
        events.append((0.0, "program", channel, program_of[part[1]], 0))
    for note in notes:
        channel = channels.get((note.part, note.instrument), 0)
        velocity, end = round(127 * note.velocity), note.onset_seconds + note.duration_seconds
        events.append((note.onset_seconds, "on", channel, note.key + 20, velocity))
        events.append((end - 0.001, "off", channel, note.key + 20, 0))
    count, pulse = METERS[tune.metre]
    places = range(-int(tune.pickup / pulse), int((count_passes(tune) * tune.length - tune.pickup) / pulse))
    beats = np.array([seconds_at(tune.pickup + place * pulse) for place in places])
    return Piece(sorted(events, key=lambda event: event[0]), beats, np.array([place % count + 1 for place in places]))


def written(random: np.random.Generator, shares: tuple[float, ...]) -> Tune:
    """Return a tune of phrases of four bars, of which some come again."""
    meter = list(METERS)[random.choice(len(METERS), p=shares)]
    count, pulse = METERS[meter]
    bar = count * pulse
    scale = SCALES[str(random.choice(list(SCALES), p=[0.55, 0.25, 0.1, 0.1]))]
    tonic = int(random.integers(12))
    phrases = {name: phrase(random, meter, scale, tonic) for name in "ABC"}
    form = str(random.choice(["AABA", "AABB", "ABAB", "AB", "ABAC"]))
    melody: list[Note] = []
    chords: list[Chord] = []
    for number, name in enumerate(form):
        start = 4 * number * bar
        melody += [Note(start + onset, duration, pitch) for onset, duration, pitch in phrases[name][0]]
        chords += [Chord(start + onset, duration, root, tones) for onset, duration, root, tones in phrases[name][1]]
    length = 4 * len(form) * bar
    pickup = pulse if random.random() < 0.25 else Fraction(0)
    if pickup:
        melody, chords = begun_early(melody, length, pickup), begun_early(chords, length, pickup)
    tempo = tempo_for(random, pulse, float(len(melody) / length))
    options = {
        "lead": ",".join(random.choice(LEADS, int(random.integers(1, 4)))),
        "backing": ",".join(random.choice(BACKINGS, int(random.integers(1, 3)))),
        "chords": str(random.choice(CHORDS)),
    }
    if meter == (4, 4) and random.random() < 0.06:
        options["round"] = str(random.integers(2, 5))
    return Tune("", "", "", meter, tempo, tonic, tuple(melody), tuple(chords), pickup, length, options)


def tempo_for(random: np.random.Generator, pulse: Fraction, density: float) -> float:
    """Return a tempo, quarter notes a minute, at which a melody of `density` notes a quarter is neither slow nor fast.

    At odds with NOTES_A_SECOND, nobody could tell the tempo from half or twice as fast.
    """
    low, high = np.log(TEMPI[pulse])
    for _ in range(20):
        tempo = float(np.exp(random.uniform(low, high)) * float(pulse))
        if NOTES_A_SECOND[0] < density * tempo / 60 < NOTES_A_SECOND[1]:
            break
    return tempo


def begun_early(spans: list[Any], length: Fraction, pickup: Fraction) -> list[Any]:
    """Return notes or chords later by the pickup, those of the last bar's end before all others."""
    moved = []
    for span in spans:
        onset = (span.onset + pickup) % length
        duration = min(span.duration, length - onset)
        moved.append(type(span)(onset, duration, *list(vars(span).values())[2:]))
    return sorted(moved, key=lambda span: span.onset)


def phrase(
    random: np.random.Generator, meter: tuple[int, int], scale: tuple[int, ...], tonic: int
) -> tuple[list[tuple[Fraction, Fraction, int]], list[tuple[Fraction, Fraction, int, tuple[int, ...]]]]:
    """Return melody (onset, duration, pitch) and chords (onset, duration, root, intervals) of four bars."""
    count, pulse = METERS[meter]
    bar = count * pulse
    degrees = [0, *random.choice([0, 3, 4, 5, 1], 2), int(random.choice([0, 4]))]
    busy = float(random.uniform(0.05, 0.95))
    patterns = [rhythm(random, count, pulse, busy) for _ in range(2)]
    order = random.choice([0, 1], 4)
    melody, chords, step = [], [], int(random.integers(-1, 5))
    for number, degree in enumerate(int(degree) for degree in degrees):
        tones = tuple((scale[(degree + up) % 7] - scale[degree]) % 12 for up in (0, 2, 4))
        chords.append((number * bar, bar, (tonic + scale[degree]) % 12, tones))
        onset = number * bar
        for duration in [bar] if number == 3 and busy < 0.4 else patterns[order[number]]:
            on_beat = (onset / pulse).denominator == 1
            step += int(random.choice([-2, -1, 1, 2], p=[0.15, 0.35, 0.35, 0.15]))
            step = step if -4 <= step <= 9 else 2
            if on_beat and random.random() < 0.7:
                step = min((step - 1, step, step + 1), key=lambda place: (place - degree) % 7 not in (0, 2, 4))
            pitch = 60 + (tonic + 5) % 12 - 5 + 12 * (step // 7) + scale[step % 7]
            melody.append((onset, duration, pitch))
            onset += duration
    return melody, chords


def rhythm(random: np.random.Generator, count: int, pulse: Fraction, busy: float) -> list[Fraction]:
    """Return the lengths of a bar's notes: beats divided the more often the busier (0 to 1), some tied together."""
    lengths: list[Fraction] = []
    cells = THIRDS if pulse == DOTTED else HALVES
    for beat in range(count):
        if beat and random.random() < 0.5 * (1 - busy):
            lengths[-1] += pulse
        elif random.random() > busy:
            lengths.append(pulse)
        else:
            cell = cells[random.choice(len(cells), p=[0.1, 0.55, 0.15, 0.12, 0.08])]
            lengths += [pulse * part / sum(cell) for part in cell]
    return lengths
