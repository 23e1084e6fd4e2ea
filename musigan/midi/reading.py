"""MIDI files and the notes in them: reading and writing.

Conventions: pitches are MIDI's, 69 is the A of 440 Hz and `PITCH_OF_KEY` above piano key 49; velocities run from 1 to
127; times are seconds from the file's first tick, by its tempo map. Files are bytes here; only tools know paths.

Notes are read as they sound: a note lasts until it is released and the sustain pedal is up, or its key is struck again.
The instrument of a channel is the last program change for it in the note's own track, or else in any track.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np

from musigan.errors import MidiError
from musigan.files.text import clean_text
from musigan.midi.events import NoteEvents
from musigan.midi.instruments import DRUM_CHANNEL, GROUPS, group_of
from musigan.rolls.beats import Beats

MAX_BYTES = 2 << 20  # a long piece has .5 MB; reading takes 200 times as much memory
MAX_SECONDS = 3600.0
MAX_BEATS = 40_000  # eleven a second for an hour: a file with more does not mean its tempo
TICKS_PER_BEAT = 960
# Key signatures that a file can have: tonics along the circle of fifths, from seven flats to seven sharps.
_MAJOR = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
_MINOR = ("Abm", "Ebm", "Bbm", "Fm", "Cm", "Gm", "Dm", "Am", "Em", "Bm", "F#m", "C#m", "G#m", "D#m", "A#m")
KEYS = frozenset((*_MAJOR, *_MINOR))
DEFAULT_TEMPO = 120.0  # beats a minute, where a file has no tempo
_UNENDED_SECONDS = 2.0  # for a note that is never released
_HEADER_WITHIN = 1024  # bytes before the header: a RIFF or MacBinary wrapper
# So many bytes over 127 in a row are in no MIDI file. mido would read them as one number, in quadratic time.
_RUNAWAY_BYTES = re.compile(rb"[\x80-\xff]{20000}")
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
    cut: bool = False  # whether notes after MAX_SECONDS were left out


def read_score(data: bytes) -> Score:
    """Read a MIDI file of type 0 or 1.

    Raises MidiError (without the file's name, which the caller knows) where it cannot be read or has no notes.
    """
    file = _parsed(data)
    ticks_per_beat, seconds_per_tick = _division(file.ticks_per_beat)
    events = _merged(file.tracks)
    changes = (
        [] if seconds_per_tick else [(tick, m.tempo) for tick, _, m in events if m.type == "set_tempo" and m.tempo]
    )
    times = TempoMap.of(changes, ticks_per_beat, seconds_per_tick)
    notes = _read_notes(events, times)
    if not len(notes):
        raise MidiError("no notes in it")
    is_within = notes.starts < MAX_SECONDS
    meter = _Meter.of(events, times, ticks_per_beat, float(notes.stops[is_within].max(initial=0.0)))
    keys = [m.key for _, _, m in events if m.type == "key_signature"]
    tempo, first_beat = (None, None) if seconds_per_tick else meter.tempo_and_first_beat()
    return Score(
        notes.where(is_within),
        _title(file.tracks),
        tempo,
        first_beat,
        meter.longest_signature(),
        keys[0] if keys else None,
        None if seconds_per_tick else meter.beats(),
        not is_within.all(),
    )


def _parsed(data: bytes) -> Any:
    """Parse `data` to a mido.MidiFile. Raises MidiError."""
    import mido

    if len(data) > MAX_BYTES:
        raise MidiError(
            f"{len(data) / 2**20:.1f} MiB long, more than the {MAX_BYTES >> 20} MiB that a MIDI file may have"
        )
    start = data.find(b"MThd", 0, _HEADER_WITHIN)
    if start < 0:
        raise MidiError("empty" if not data else "not a MIDI file: it has no MThd header")
    if _RUNAWAY_BYTES.search(data):
        raise MidiError("damaged: it holds long stretches that are not MIDI")
    try:
        file = mido.MidiFile(file=BytesIO(data[start:]), clip=True)
    except EOFError:
        raise MidiError("damaged: it ends too early") from None
    except Exception as error:  # damage makes mido raise nearly anything: OSError, ValueError, its own
        raise MidiError(f"damaged: {clean_text(str(error)) or type(error).__name__}") from None
    if file.type not in (0, 1):
        raise MidiError(f"of MIDI type {file.type}, separate patterns instead of a song; expected type 0 or 1")
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


_Event = tuple[int, int, Any]  # tick, track, message
_MESSAGE_TYPES = {
    "note_on",
    "note_off",
    "program_change",
    "control_change",
    "set_tempo",
    "time_signature",
    "key_signature",
}


def _merged(tracks: Sequence[Any]) -> list[_Event]:
    """Merge the messages that matter from all tracks, by time; at one tick a track's own order is kept."""
    events: list[_Event] = []
    for number, track in enumerate(tracks):
        tick = 0
        for message in track:
            tick += message.time
            if message.type in _MESSAGE_TYPES:
                events.append((tick, number, message))
    return sorted(events, key=lambda event: event[0])


def _title(tracks: Sequence[Any]) -> str | None:
    """Return the first track's name if it may be the title: tracks with notes are named after instruments."""
    if len(tracks) < 2 or any(message.type == "note_on" for message in tracks[0]):
        return None
    raw = next((message.name for message in tracks[0] if message.type == "track_name"), "")
    with suppress(UnicodeError):
        raw = raw.encode("latin1").decode("utf-8")  # mido reads all text as Latin-1
    title = clean_text(raw)
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


@dataclass
class _SoundingNotes:
    """Keys that are down and keys that the pedal sustains; `notes` has all notes so far. Times are ticks."""

    notes: list[list[float]] = field(default_factory=list)  # group, pitch, start, stop or -1, velocity
    down: dict[tuple[int, int, int], deque[int]] = field(default_factory=lambda: defaultdict(deque))
    held: dict[tuple[int, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    pedal: set[int] = field(default_factory=set)  # channels

    def strike(self, tick: int, track: int, channel: int, pitch: int, group: int, velocity: int) -> None:
        """Begin a note; end the note of the same key that the pedal sustains."""
        self._end(self.held.pop((channel, pitch), []), tick)
        self.down[track, channel, pitch].append(len(self.notes))
        self.notes.append([group, pitch, tick, -1, velocity])

    def release(self, tick: int, track: int, channel: int, pitch: int) -> None:
        """Release a key: end its oldest note, or leave it to the pedal."""
        waiting = self.down[track, channel, pitch]
        if not waiting:
            return
        note = waiting.popleft()
        if channel in self.pedal:
            self.held[channel, pitch].append(note)
        else:
            self._end([note], tick)

    def lift_pedal(self, tick: int, channel: int) -> None:
        """End all notes that the pedal of a channel sustains."""
        self.pedal.discard(channel)
        for key in [key for key in self.held if key[0] == channel]:
            self._end(self.held.pop(key), tick)

    def lift_all(self, tick: int, channel: int) -> None:
        """Release all keys of a channel."""
        for key in [key for key in self.down if key[1] == channel]:
            self._end(self.down.pop(key), tick)

    def _end(self, numbers: Iterable[int], tick: int) -> None:
        for number in numbers:
            self.notes[number][3] = tick


_PEDAL, _SOUNDS_OFF, _RESET, _NOTES_OFF = 64, 120, 121, 123


def _read_notes(events: Sequence[_Event], times: TempoMap) -> NoteEvents:
    """Return the notes of all pitched instruments and of the drums."""
    hands = _SoundingNotes()
    programs: dict[int, int] = {}  # of channels, from any track
    own_programs: dict[tuple[int, int], int] = {}  # of (track, channel), from that track's own program changes
    for tick, track, message in events:
        if message.type == "program_change":
            programs[message.channel] = own_programs[track, message.channel] = message.program
        elif message.type == "note_on" and message.velocity:
            channel = message.channel
            program = own_programs.get((track, channel), programs.get(channel, 0))
            group = "drums" if channel == DRUM_CHANNEL else group_of(program)
            if group is not None:
                hands.strike(tick, track, channel, message.note, GROUPS.index(group), message.velocity)
        elif message.type in ("note_on", "note_off"):
            hands.release(tick, track, message.channel, message.note)
        elif message.type == "control_change":
            _control(hands, tick, message)
    last = events[-1][0] if events else 0
    for channel in sorted(hands.pedal):
        hands.lift_pedal(last, channel)
    table = np.array(hands.notes, np.float64).reshape(-1, 5)
    starts, stops = times.at(table[:, 2]), times.at(np.maximum(table[:, 3], 0))
    stops = np.where(table[:, 3] < 0, starts + _UNENDED_SECONDS, stops)
    return NoteEvents.of(zip(table[:, 0], table[:, 1], starts, np.maximum(stops, starts), table[:, 4], strict=True))


def _control(hands: _SoundingNotes, tick: int, message: Any) -> None:
    channel = message.channel
    if message.control == _PEDAL and message.value >= 64:
        hands.pedal.add(channel)
    elif message.control in (_PEDAL, _RESET):
        hands.lift_pedal(tick, channel)
    elif message.control in (_SOUNDS_OFF, _NOTES_OFF):
        hands.lift_all(tick, channel)


@dataclass(frozen=True)
class _Meter:
    """Tempi and time signatures up to the end of the last note."""

    times: TempoMap
    ticks_per_beat: int
    end_seconds: float
    signatures: dict[int, tuple[int, int]]  # by the tick at which they begin, in order

    @classmethod
    def of(cls, events: Sequence[_Event], times: TempoMap, ticks_per_beat: int, end_seconds: float) -> _Meter:
        """Build the meter from a file's messages; without a time signature bars have four quarters."""
        fractions = {tick: (m.numerator, m.denominator) for tick, _, m in events if m.type == "time_signature"}
        signatures = {tick: fraction for tick, fraction in fractions.items() if fraction[0]}
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
        ticks, numbers = [], []
        for (numerator, denominator), (first, stop) in zip(self.signatures.values(), pairwise(changes), strict=True):
            grouped = 3 if denominator >= 8 and numerator > 3 and numerator % 3 == 0 else 1
            step = self.ticks_per_beat * 4 * grouped / denominator
            if (min(stop, changes[-1]) - first) / step > MAX_BEATS:
                return None
            ticks.append(np.arange(first, min(stop, changes[-1]), step))
            numbers.append(np.arange(len(ticks[-1])) % (numerator // grouped) + 1)
        seconds = np.round(self.times.at(np.concatenate(ticks)), 3)
        is_later = np.diff(seconds, prepend=-1.0) > 0  # a change of time signature may follow a beat at once
        beats = Beats(seconds[is_later], np.concatenate(numbers)[is_later], 1.0)
        return beats if len(beats) <= MAX_BEATS else None

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
