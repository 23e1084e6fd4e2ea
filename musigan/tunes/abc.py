"""Parser of a strict subset of ABC notation (the abc standard 2.1): one melody with chord symbols above it.

Conventions: times are exact fractions, in beats; a beat is a quarter note in every metre (a 6/8 bar lasts 3 beats).
Pitches are MIDI note numbers (60 is middle C, written `C`).

Understood: the fields T C R M L Q K, `%%musigan name=value`, comments, notes with accidentals, octave marks and
lengths, rests, broken rhythm (`>` and `<`), ties, `"Am7"` chord symbols, bar lines and the repeats `|:` and `:|`.
Everything else is an error that names its bar, and so is a bar whose lengths do not add up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from musigan.errors import MusiganError

# Position of each letter within the octave, and on the circle of fifths (C is 0, one sharp more is +1).
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
FIFTHS = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}
MODE_FIFTHS = {"": 0, "maj": 0, "mix": -1, "dor": -2, "m": -3, "min": -3, "aeo": -3, "phr": -4, "lyd": 1}
ACCIDENTALS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
CHORD_INTERVALS = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11),
    "dim": (0, 3, 6),
    "5": (0, 7),
}
NO_CHORD = "NC"

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | "(?P<chord>[^"]*)"
    | (?P<bar>\|:|:\||\|\]|\|\||\|)
    | (?P<accidental>\^\^|__|\^|_|=)?(?P<letter>[A-Ga-gz])(?P<octave>,+|'+|)
      (?P<length>\d*/\d+|\d*/+|\d+)?(?P<broken>[<>])?(?P<tie>-)?""",
    re.VERBOSE,
)


class TuneError(MusiganError):
    """A tune file that does not follow the notation, or whose bars do not add up."""


@dataclass(frozen=True)
class Note:
    """One note of the melody: onset and duration in beats (quarter notes), pitch as a MIDI note number."""

    onset: Fraction
    duration: Fraction
    pitch: int


@dataclass(frozen=True)
class Chord:
    """A chord symbol from its onset until the next one, in beats; `intervals` are semitones above `root` (0 is C)."""

    onset: Fraction
    duration: Fraction
    root: int
    intervals: tuple[int, ...]


@dataclass(frozen=True)
class Tune:
    """A tune with its repeats written out."""

    title: str
    composer: str
    rhythm: str
    metre: tuple[int, int]
    beats_per_minute: float  # quarter notes a minute
    tonic: int  # pitch class, 0 is C
    melody: tuple[Note, ...]
    chords: tuple[Chord, ...]
    pickup: Fraction  # beats before the first bar line, 0 for none
    length: Fraction  # beats, a whole number of bars
    options: dict[str, str] = field(default_factory=dict)

    @property
    def bar_length(self) -> Fraction:
        """Beats a bar."""
        return Fraction(4 * self.metre[0], self.metre[1])


@dataclass
class _Bar:
    """A bar as written: pitches (None for a rest) with lengths, and chord symbols at offsets, all in beats."""

    number: int
    notes: list[tuple[int | None, Fraction, bool]] = field(default_factory=list)  # pitch, duration, tied to the next
    chords: list[tuple[Fraction, str]] = field(default_factory=list)

    @property
    def duration(self) -> Fraction:
        return sum((duration for _, duration, _ in self.notes), Fraction(0))


def parse_abc(text: str, source: str = "tune") -> Tune:
    """Parse a tune's ABC text.

    Raises TuneError, naming `source`, for text outside the subset and for bars that do not add up.
    """
    fields, options, body = _split_fields(text, source)
    metre = _fraction_pair(fields["M"], source, "M")
    signature, tonic = _key_signature(fields["K"], source)
    unit = Fraction(*_fraction_pair(fields["L"], source, "L")) * 4
    tempo_unit, _, tempo = fields["Q"].partition("=")
    try:
        beats_per_minute = float(Fraction(*_fraction_pair(tempo_unit, source, "Q")) * 4 * Fraction(tempo))
    except ValueError:
        raise TuneError(f"{source}: Q:{fields['Q']} is not a tempo; expected the form 1/4=120") from None
    bar_length = Fraction(4 * metre[0], metre[1])
    bars = _play_repeats(_read_bars(body, unit, signature, source), bar_length, source)
    pickup = _check_joints(bars, bar_length, source)
    melody, symbols, length = _lay_out(bars)
    return Tune(
        title=fields["T"],
        composer=fields["C"],
        rhythm=fields["R"],
        metre=metre,
        beats_per_minute=beats_per_minute,
        tonic=tonic,
        melody=melody,
        chords=_chord_spans(symbols, length, source),
        pickup=pickup,
        length=length,
        options=options,
    )


def _split_fields(text: str, source: str) -> tuple[dict[str, str], dict[str, str], str]:
    """Split a tune's text into header fields, `%%musigan` options and the body."""
    fields: dict[str, str] = {}
    options: dict[str, str] = {}
    body: list[str] = []
    for line in text.splitlines():
        if line.startswith("%%musigan"):
            options.update(re.findall(r"(\w+)=(\S+)", line))
            continue
        line = line.split("%")[0].rstrip()
        if "K" not in fields and (match := re.fullmatch(r"([A-Z]):\s*(.*)", line)):
            fields[match[1]] = match[2]
        elif line:
            body.append(line)
    if missing := [name for name in "TCRMLQK" if name not in fields]:
        raise TuneError(f"{source}: no {missing[0]}: field; a tune needs T C R M L Q K before its notes")
    return fields, options, "\n".join(body)


def _fraction_pair(text: str, source: str, name: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d+)/(\d+)\s*", text)
    if match is None or int(match[2]) == 0:
        raise TuneError(f"{source}: {name}:{text} is not a fraction; expected the form 4/4")
    return int(match[1]), int(match[2])


def _pitch_class(name: str) -> int:
    """Return the pitch class of a name such as C (0), F# (6) or Bb (10)."""
    return (SEMITONES[name[0]] + {"#": 1, "b": -1, "": 0}[name[1:]]) % 12


def _key_signature(text: str, source: str) -> tuple[dict[str, int], int]:
    """Parse a key, `Ador` -> ({'F': 1}, 9): the alteration of each altered letter, and the tonic's pitch class."""
    match = re.fullmatch(r"\s*([A-G][#b]?)\s*([a-z]*)\s*", text)
    if match is None or match[2] not in MODE_FIFTHS:
        raise TuneError(f"{source}: K:{text} is not a key; expected a form such as D, Am, Ddor")
    sharps = FIFTHS[match[1][0]] + 7 * {"#": 1, "b": -1, "": 0}[match[1][1:]] + MODE_FIFTHS[match[2]]
    circle = sorted(FIFTHS, key=FIFTHS.__getitem__)
    signature = dict.fromkeys(circle[:sharps], 1) if sharps > 0 else dict.fromkeys(circle[7 + sharps :], -1)
    return signature if sharps else {}, _pitch_class(match[1])


def _read_bars(body: str, unit: Fraction, signature: dict[str, int], source: str) -> Iterator[_Bar | str]:
    """Yield bars and the repeat signs between them, in the order written."""
    bar = _Bar(1)
    altered: dict[tuple[str, str], int] = {}  # accidentals hold until the bar line
    stretch = Fraction(1)  # factor of the next note's length after a broken rhythm sign
    position = 0
    while position < len(body):
        match = _TOKEN.match(body, position)
        if match is None:
            raise TuneError(f"{source}, bar {bar.number}: cannot read {body[position : position + 12]!r}")
        position = match.end()
        if match["bar"]:
            if bar.notes:
                yield bar
                bar = _Bar(bar.number + 1)
            altered.clear()
            if match["bar"] in ("|:", ":|"):
                yield match["bar"]
        elif match["chord"] is not None:
            bar.chords.append((bar.duration, match["chord"]))
        elif match["letter"]:
            duration = unit * _length(match["length"]) * stretch
            stretch = {">": Fraction(1, 2), "<": Fraction(3, 2), None: Fraction(1)}[match["broken"]]
            bar.notes.append((_pitch(match, signature, altered), duration * (2 - stretch), bool(match["tie"])))
    if bar.notes:
        raise TuneError(f"{source}, bar {bar.number}: no bar line after the last bar; close it with |]")


def _length(text: str | None) -> Fraction:
    """Parse the length suffix of a note: `3/2`, `3`, `/`, `//`, `/4` or nothing."""
    numerator, slash, denominator = (text or "").partition("/")
    halvings = len(slash) + denominator.count("/")
    digits = denominator.strip("/")
    return Fraction(int(numerator or 1), int(digits) if digits else 2**halvings)


def _pitch(match: re.Match[str], signature: dict[str, int], altered: dict[tuple[str, str], int]) -> int | None:
    """Return a note token's MIDI number, None for a rest; store its accidental in `altered` for the rest of the bar."""
    letter = match["letter"]
    if letter == "z":
        return None
    name = letter.upper()
    octave = (6 if letter.islower() else 5) + match["octave"].count("'") - match["octave"].count(",")
    staff_position = (letter, match["octave"])
    if match["accidental"]:
        altered[staff_position] = ACCIDENTALS[match["accidental"]]
    return 12 * octave + SEMITONES[name] + altered.get(staff_position, signature.get(name, 0))


def _play_repeats(items: Iterator[_Bar | str], bar_length: Fraction, source: str) -> list[_Bar]:
    """Write the repeats out: a section between `|:` (or the start) and `:|` is played twice."""
    played_bars: list[_Bar] = []
    section: list[_Bar] = []
    for item in items:
        if isinstance(item, _Bar):
            section.append(item)
            continue
        _check_inner_bars(section, bar_length, source)
        played_bars += section * (2 if item == ":|" else 1)
        section = []
    _check_inner_bars(section, bar_length, source)
    played_bars += section
    if not played_bars:
        raise TuneError(f"{source}: no notes after the K: field")
    return played_bars


def _check_inner_bars(section: list[_Bar], bar_length: Fraction, source: str) -> None:
    """Raise TuneError for a bar of wrong length; only the first and the last bar of a section may be short."""
    for bar in section[1:-1]:
        if bar.duration != bar_length:
            raise TuneError(f"{source}, bar {bar.number}: {bar.duration} beats, expected {bar_length}; correct the bar")


def _check_joints(bars: list[_Bar], bar_length: Fraction, source: str) -> Fraction:
    """Return the pickup, in beats, after checking that short bars meet in pairs that make one whole bar.

    The last bar and the first are such a pair too: the tune is played several times.
    """
    pickup = bars[0].duration % bar_length
    filled_beats = (bar_length - pickup) % bar_length
    for bar in bars:
        filled_beats += bar.duration
        if filled_beats > bar_length:
            raise TuneError(
                f"{source}, bar {bar.number}: {filled_beats} beats, expected {bar_length}; correct it or the pickup"
            )
        filled_beats %= bar_length
    if filled_beats != (bar_length - pickup) % bar_length:
        raise TuneError(f"{source}: the last bar and the pickup are not one whole bar together; correct one of them")
    return pickup


def _lay_out(bars: list[_Bar]) -> tuple[tuple[Note, ...], list[tuple[Fraction, str]], Fraction]:
    """Return the melody with ties joined, the chord symbols with their onsets, and the length, in beats."""
    melody: list[Note] = []
    symbols: list[tuple[Fraction, str]] = []
    position = Fraction(0)
    is_tied = False
    for bar in bars:
        symbols += [(position + offset, symbol) for offset, symbol in bar.chords]
        for pitch, duration, ties_on in bar.notes:
            if is_tied and melody and melody[-1].pitch == pitch:
                last = melody.pop()
                melody.append(Note(last.onset, last.duration + duration, last.pitch))
            elif pitch is not None:
                melody.append(Note(position, duration, pitch))
            is_tied = ties_on
            position += duration
    return tuple(melody), symbols, position


def _chord_spans(symbols: list[tuple[Fraction, str]], length: Fraction, source: str) -> tuple[Chord, ...]:
    """Return chords that last until the next symbol or the end, in beats; `NC` is silence."""
    chords = []
    for (onset, symbol), (end, _) in pairwise([*symbols, (length, NO_CHORD)]):
        if symbol == NO_CHORD:
            continue
        match = re.fullmatch(r"([A-G][#b]?)(.*)", symbol)
        if match is None or match[2] not in CHORD_INTERVALS:
            raise TuneError(f"{source}: cannot read the chord {symbol!r}; expected a form such as Am, G7, F#m, NC")
        chords.append(Chord(onset, end - onset, _pitch_class(match[1]), CHORD_INTERVALS[match[2]]))
    return tuple(chords)
