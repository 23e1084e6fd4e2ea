"""How long the notes of a MIDI file sound: keys, pedals and the messages that end notes (MIDI 1.0, RP-015).

A key belongs to its channel, whichever track strikes it: a note lasts until its key is released, or struck again. Notes
that strike a key at one tick sound together, and each release ends one of them. The damper pedal (controller 64)
sustains released keys, the sostenuto (66) those that were down when it went down; portamento (65) and soft pedal (67)
end nothing. All Sound Off (120) ends everything at once, Reset All Controllers (121) lifts the pedals, All Notes Off
(123) and the changes of mode (124 to 127) release all keys, so that pedals hold their notes.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from musigan.midi.instruments import DRUM_CHANNEL, GROUPS, group_of
from musigan.midi.parsing import CONTROL, NOTE_OFF, NOTE_ON, PROGRAM, Message

_DAMPER, _SOSTENUTO, _SOUNDS_OFF, _RESET, _NOTES_OFF = 64, 66, 120, 121, range(123, 128)
UNENDED = -1  # the stop of a note that nothing ended


@dataclass
class _Note:
    group: int
    pitch: int
    start: int  # ticks
    velocity: int
    stop: int = UNENDED
    cut: int = 0  # notes of its key that it ended, whose releases may follow at its own tick


_Sounding = dict[int, deque[_Note]]  # by pitch; those of one key were struck at one tick


@dataclass
class _Channel:
    """A channel's keys that are down, and those released that its pedals hold."""

    down: _Sounding = field(default_factory=dict)
    by_damper: _Sounding = field(default_factory=dict)
    by_sostenuto: _Sounding = field(default_factory=dict)
    damper: bool = False
    sostenuto: frozenset[int] | None = None  # the pitches that it holds; None: up

    def strike(self, note: _Note) -> None:
        """Begin a note: what its key still sounds ends, unless it was struck at the same tick."""
        for held in (self.by_damper, self.by_sostenuto):
            if note.pitch in held:
                _end(held.pop(note.pitch), note.start)
        unison = self.down.setdefault(note.pitch, deque())
        if unison and unison[0].start != note.start:
            _end(unison, note.start)
            note.cut = len(unison)
            unison.clear()
        unison.append(note)

    def release(self, tick: int, pitch: int) -> None:
        """Release one note of a key, unless the release is that of a note that the newest one ended."""
        unison = self.down.get(pitch)
        if unison is None:
            return
        if unison[0].start == tick and unison[0].cut:
            unison[0].cut -= 1
            return
        self._let_go(tick, pitch, deque([unison.popleft()]))
        if not unison:
            del self.down[pitch]

    def _let_go(self, tick: int, pitch: int, notes: deque[_Note]) -> None:
        if self.sostenuto and pitch in self.sostenuto:
            self.by_sostenuto.setdefault(pitch, deque()).extend(notes)
        elif self.damper:
            self.by_damper.setdefault(pitch, deque()).extend(notes)
        else:
            _end(notes, tick)

    def control(self, tick: int, number: int, value: int) -> None:
        """Move a pedal, or end what a message of the channel's mode ends."""
        is_down = value >= 64
        if number == _DAMPER:
            self.damper = is_down
        elif number == _SOSTENUTO and not (is_down and self.sostenuto is not None):
            self.sostenuto = frozenset(self.down) if is_down else None
        elif number == _RESET:
            self.damper, self.sostenuto = False, None
        elif number == _SOUNDS_OFF:
            _end_all(self.down, tick)
            self.end_held(tick)
        elif number in _NOTES_OFF:
            for pitch, notes in self.down.items():
                self._let_go(tick, pitch, notes)
            self.down.clear()
        if self.by_sostenuto and self.sostenuto is None:
            for pitch, notes in self.by_sostenuto.items():
                self._let_go(tick, pitch, notes)
            self.by_sostenuto.clear()
        if not self.damper:
            _end_all(self.by_damper, tick)

    def end_held(self, tick: int) -> None:
        _end_all(self.by_damper, tick)
        _end_all(self.by_sostenuto, tick)


def _end(notes: Iterable[_Note], tick: int) -> None:
    for note in notes:
        note.stop = tick


def _end_all(sounding: _Sounding, tick: int) -> None:
    for notes in sounding.values():
        _end(notes, tick)
    sounding.clear()


def sounding_notes(messages: Sequence[Message]) -> np.ndarray:
    """Return (N, 5) integers, group, pitch, start, stop (or UNENDED) and velocity, times in ticks, of a file's notes.

    `messages` are those of channels, in order of time. The instrument of a channel is the last program for it in the
    note's own track, or else in any track; what has no pitch and is no drum is left out. Pedals that stay down are
    lifted after the last stroke or release of a key.
    """
    channels: dict[int, _Channel] = defaultdict(_Channel)
    programs: dict[int, int] = {}  # of channels, from any track
    own_programs: dict[tuple[int, int], int] = {}  # of (track, channel), from that track's own program changes
    notes: list[_Note] = []
    last_tick = 0
    for tick, track, status, data in messages:
        kind, number = status & 0xF0, status & 0x0F
        channel = channels[number]
        if kind == PROGRAM:
            programs[number] = own_programs[track, number] = data[0]
        elif kind == CONTROL:
            channel.control(tick, *data)
        elif kind == NOTE_OFF or (kind == NOTE_ON and not data[1]):
            channel.release(tick, data[0])
            last_tick = tick
        elif kind == NOTE_ON:
            program = own_programs.get((track, number), programs.get(number, 0))
            group = "drums" if number == DRUM_CHANNEL else group_of(program)
            last_tick = tick
            if group is not None:
                notes.append(_Note(GROUPS.index(group), data[0], tick, data[1]))
                channel.strike(notes[-1])
    for channel in channels.values():
        channel.end_held(last_tick)
    rows = [(note.group, note.pitch, note.start, note.stop, note.velocity) for note in notes]
    return np.array(rows, np.int64).reshape(-1, 5)
