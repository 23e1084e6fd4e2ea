"""Scores out of MIDI files: notes in seconds, title, tempo, meter, key and beats.

Conventions: pitches are MIDI's, 69 is the A of 440 Hz and `PITCH_OF_KEY` above piano key 49; velocities run from 1 to
127; times are seconds from the file's first tick, by its tempo map. Files are bytes here; only tools know paths.

A song is read up to MAX_SECONDS, ends of notes included, whatever the ticks of its last messages say. parsing.py takes
the bytes apart, sounding.py knows how long notes sound.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any

import numpy as np

from musigan.errors import MidiError
from musigan.files.text import clean_text, decoded
from musigan.midi.events import NoteEvents
from musigan.midi.parsing import KEY_SIGNATURE, NAME, NOTE_ON, TEMPO, TIME_SIGNATURE, Message, MidiFile, parse
from musigan.midi.sounding import UNENDED, sounding_notes
from musigan.rolls.beats import Beats

MAX_BYTES = 2 << 20  # a long piece has .5 MB; reading takes 100 times as much memory
MAX_SECONDS = 3600.0
MAX_BEATS = 40_000  # eleven a second for an hour: a file with more does not mean its tempo
TICKS_PER_BEAT = 960
# Key signatures that a file can have: tonics along the circle of fifths, from seven flats to seven sharps.
_MAJOR = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
_MINOR = ("Abm", "Ebm", "Bbm", "Fm", "Cm", "Gm", "Dm", "Am", "Em", "Bm", "F#m", "C#m", "G#m", "D#m", "A#m")
KEYS = frozenset((*_MAJOR, *_MINOR))
DEFAULT_TEMPO = 120.0  # beats a minute, where a file has no tempo
_UNENDED_SECONDS = 2.0  # for a note that is never released
_NOT_A_TITLE = re.compile(
    r"untitled.*|new song.*|track ?\d*|song|midi.*|sequence.*|conductor.*|control.*|tempo.*", re.I
)


@dataclass(frozen=True)
class Score:
    """The content of a MIDI file; `groups` of its notes index `generalmidi.GROUPS`. None: not in the file."""

    notes: NoteEvents
    title: str | None = None
    tempo: float | None = None  # beats (quarter notes) a minute, the one that lasts longest
    first_beat: float | None = None  # seconds at which the first bar with this tempo begins
    time_signature: tuple[int, int] = (4, 4)  # the one that lasts longest
    key: str | None = None  # such as "C" or "F#m": the first in the file
    beats: Beats | None = None
    warnings: tuple[str, ...] = ()  # of what was left out: one line each, without the file's name


def read_score(data: bytes) -> Score:
    """Read a MIDI file of type 0 or 1, up to MAX_SECONDS; what is damaged in it is left out.

    Raises MidiError (without the file's name, which the caller knows) where it cannot be read or has no notes.
    """
    file = _parsed(data)
    ticks_per_beat, seconds_per_tick = _division(file.division)
    messages = sorted(chain.from_iterable(file.tracks), key=lambda message: message.tick)  # a track's order is kept
    meta = [message for message in messages if message.status < 0x80]
    changes = [(message.tick, int.from_bytes(message.data, "big")) for message in meta if message.status == TEMPO]
    times = TempoMap.of(changes, ticks_per_beat, seconds_per_tick)
    notes = _in_seconds(sounding_notes([message for message in messages if message.status >= 0x80]), times)
    warnings = [f"damaged ({'; '.join(file.damage)}): what can be read was kept"] if file.damage else []
    if len(notes) and (notes.starts[-1] >= MAX_SECONDS or notes.stops.max() > MAX_SECONDS):
        warnings.append(f"longer than {MAX_SECONDS / 60:.0f} minutes: the rest is left out")
        notes = notes.where(notes.starts < MAX_SECONDS)
        notes = replace(notes, stops=np.minimum(notes.stops, MAX_SECONDS))
    if not len(notes):
        raise MidiError(f"no notes that can be read: {'; '.join(file.damage)}" if file.damage else "no notes in it")
    meter = _Meter.of(meta, times, ticks_per_beat, float(notes.stops.max()))
    keys = [_key(message.data) for message in meta if message.status == KEY_SIGNATURE]
    tempo, first_beat = (None, None) if seconds_per_tick else meter.tempo_and_first_beat()
    return Score(
        notes,
        _title(file.tracks),
        tempo,
        first_beat,
        meter.longest_signature(),
        keys[0] if keys else None,
        None if seconds_per_tick else meter.beats(),
        tuple(warnings),
    )


def _key(data: bytes) -> str:
    """Return the name of a well-formed key signature: sharps (flats below 0), and 1 for minor."""
    return (_MINOR if data[1] else _MAJOR)[(data[0] + 128) % 256 - 128 + 7]


def _parsed(data: bytes) -> MidiFile:
    """Take `data` apart. Raises MidiError."""
    if len(data) > MAX_BYTES:
        raise MidiError(
            f"{len(data) / 2**20:.1f} MiB long, more than the {MAX_BYTES >> 20} MiB that a MIDI file may have"
        )
    file = parse(data)
    if file.type == 2:
        raise MidiError("of MIDI type 2, separate patterns instead of a song; expected type 0 or 1")
    return file


def _division(division: int) -> tuple[int, float | None]:
    """Return (ticks in a beat, None) or, for SMPTE time, (ticks in half a second, seconds in a tick)."""
    if division > 0:
        return division, None
    frames_per_second, ticks_per_frame = -(division >> 8), division & 0xFF  # the byte holds the rate's negative
    if not division or not ticks_per_frame or frames_per_second not in (24, 25, 29, 30):
        raise MidiError(f"damaged: its unit of time is {division:#x}")
    rate = (30000 / 1001 if frames_per_second == 29 else frames_per_second) * ticks_per_frame
    return max(round(rate / 2), 1), 1 / rate


def _title(tracks: Sequence[Sequence[Message]]) -> str | None:
    """Return the first track's name if it may be the title: tracks with notes are named after instruments."""
    if len(tracks) < 2 or any(message.status & 0xF0 == NOTE_ON for message in tracks[0]):
        return None
    raw = next((message.data for message in tracks[0] if message.status == NAME), b"")
    title = clean_text(decoded(raw) or "")
    return None if title is None or _NOT_A_TITLE.fullmatch(title) else title


@dataclass(frozen=True)
class TempoMap:
    """Conversion from ticks to seconds, by stretches of constant tempo."""

    ticks: np.ndarray  # (M,) at which the stretches begin; the first is 0
    seconds: np.ndarray  # (M,) the same in seconds
    seconds_per_tick: np.ndarray  # (M,)

    @classmethod
    def of(cls, changes: Sequence[tuple[int, int]], ticks_per_beat: int, fixed: float | None = None) -> TempoMap:
        """Build the map from (tick, microseconds a beat), the last at a tick counts, or from `fixed` seconds a tick."""
        if fixed is not None:
            return cls(np.zeros(1), np.zeros(1), np.array([fixed]))
        tempi = {0: round(6e7 / DEFAULT_TEMPO), **dict(changes)}
        ticks = np.array(sorted(tempi), np.float64)
        rates = np.array([tempi[int(tick)] for tick in ticks]) / (1e6 * ticks_per_beat)
        seconds = np.concatenate(([0.0], np.cumsum(np.diff(ticks) * rates[:-1])))
        return cls(ticks, seconds, rates)

    def at(self, ticks: Any) -> np.ndarray:
        """Convert ticks of any shape to seconds."""
        stretch = np.searchsorted(self.ticks, ticks, side="right") - 1
        return np.asarray(self.seconds[stretch] + (ticks - self.ticks[stretch]) * self.seconds_per_tick[stretch])


def _in_seconds(table: np.ndarray, times: TempoMap) -> NoteEvents:
    """Return the notes of a table (N, 5) of `sounding_notes` on the clock of `times`."""
    starts, stops = times.at(table[:, 2]), times.at(np.maximum(table[:, 3], 0))
    stops = np.where(table[:, 3] == UNENDED, starts + _UNENDED_SECONDS, stops)
    return NoteEvents.of(zip(table[:, 0], table[:, 1], starts, np.maximum(stops, starts), table[:, 4], strict=True))


@dataclass(frozen=True)
class _Meter:
    """Tempi and time signatures up to the end of the last note."""

    times: TempoMap
    ticks_per_beat: int
    end_seconds: float
    signatures: dict[int, tuple[int, int]]  # by the tick at which they begin, in order

    @classmethod
    def of(cls, meta: Sequence[Message], times: TempoMap, ticks_per_beat: int, end_seconds: float) -> _Meter:
        """Build the meter from a file's messages; without a time signature bars have four quarters."""
        signatures = {
            message.tick: (message.data[0], 1 << message.data[1])
            for message in meta
            if message.status == TIME_SIGNATURE
        }
        return cls(times, ticks_per_beat, end_seconds, {0: (4, 4), **signatures})

    def longest_signature(self) -> tuple[int, int]:
        begins = np.minimum(self.times.at(np.array(list(self.signatures))), self.end_seconds)
        return _longest(list(self.signatures.values()), np.diff(begins, append=self.end_seconds))

    def tempo_and_first_beat(self) -> tuple[float, float]:
        """Return the tempo that lasts longest in total, and the seconds at which the first bar in it begins."""
        begins = np.minimum(self.times.seconds, self.end_seconds)
        tempi = [round(float(60 / (rate * self.ticks_per_beat)), 2) for rate in self.times.seconds_per_tick]
        tempo = _longest(tempi, np.diff(begins, append=self.end_seconds))
        bar = self._bar_from(float(self.times.ticks[tempi.index(tempo)]))
        return tempo, float(self.times.at(bar))

    def beats(self) -> Beats | None:
        """Return every beat before the end of the last note; None where there are more than MAX_BEATS.

        A beat is the time signature's denominator, or three of them where eighths (or less) come in threes: 6/8, 9/8.
        """
        changes = [*self.signatures, self._end_tick()]
        ticks, numbers, count = [], [], 0.0
        for (numerator, denominator), (first, stop) in zip(self.signatures.values(), pairwise(changes), strict=True):
            grouped = 3 if denominator >= 8 and numerator > 3 and numerator % 3 == 0 else 1
            step = self.ticks_per_beat * 4 * grouped / denominator
            stop = min(stop, changes[-1])
            count += max(stop - first, 0) / step
            if count > MAX_BEATS:
                return None
            ticks.append(np.arange(first, stop, step))
            numbers.append(np.arange(len(ticks[-1])) % (numerator // grouped) + 1)
        seconds = np.round(self.times.at(np.concatenate(ticks)), 3)
        is_later = np.diff(seconds, prepend=-1.0) > 0  # a change of time signature may follow a beat at once
        beats = Beats(seconds[is_later], np.concatenate(numbers)[is_later], 1.0)
        return beats

    def _end_tick(self) -> float:
        stretch = int(np.searchsorted(self.times.seconds, self.end_seconds, side="left")) - 1
        begin = max(stretch, 0)
        rate = self.times.seconds_per_tick[begin]
        return float(self.times.ticks[begin] + (self.end_seconds - self.times.seconds[begin]) / rate)

    def _bar_from(self, tick: float) -> float:
        """Return the tick of the first bar line at `tick` or after it; a time signature begins a bar."""
        changes = list(self.signatures)
        change_tick = max(change for change in changes if change <= tick)
        numerator, denominator = self.signatures[change_tick]
        bar = self.ticks_per_beat * 4 * numerator / denominator
        next_bar_line = change_tick + np.ceil((tick - change_tick) / bar) * bar
        return float(min([next_bar_line, *(change for change in changes if tick <= change < next_bar_line)]))


def _longest(values: Sequence[Any], seconds: np.ndarray) -> Any:
    """Return the value that lasts longest in total; the first of several."""
    total_seconds: dict[Any, float] = defaultdict(float)
    for value, length in zip(values, seconds, strict=True):
        total_seconds[value] += float(length)
    return max(total_seconds, key=lambda value: total_seconds[value])
