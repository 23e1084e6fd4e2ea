"""The bytes of a MIDI file, taken apart into messages (Standard MIDI Files 1.0).

What headers say is a hint: a track lasts until its End of Track message, the next chunk begins where one can be seen,
and there are as many tracks as are found. What cannot be read is left out, and `damage` says what that was. Running
status goes on after meta events and system exclusive messages, as files in the wild have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from musigan.errors import MidiError
from musigan.machine.reporting import counted

NAME, END_OF_TRACK, TEMPO, SMPTE_OFFSET, TIME_SIGNATURE, KEY_SIGNATURE = 0x03, 0x2F, 0x51, 0x54, 0x58, 0x59
NOTE_OFF, NOTE_ON, CONTROL, PROGRAM = 0x80, 0x90, 0xB0, 0xC0  # with the channel in the lower four bits
_LARGEST_NUMBER = 0x0FFFFFFF  # of ticks or bytes: four bytes of seven bits

_KNOWN_CHUNK = re.compile(rb"MTrk|MThd")
_CHUNK_NAME = re.compile(rb"[A-Za-z0-9 ]{4}")
_SYSTEM_COMMON_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}  # in no file by right
# The meta events that are read, or tell of damage, and whether their bytes can be meant.
_IS_WELL_FORMED: dict[int, Callable[[bytes], bool]] = {
    NAME: lambda data: True,
    TEMPO: lambda data: len(data) == 3 and any(data),
    SMPTE_OFFSET: lambda data: len(data) == 5 and data[0] & 31 < 24 and max(data[1], data[2]) < 60,
    TIME_SIGNATURE: lambda data: len(data) >= 2 and data[0] > 0 and data[1] < 8,
    KEY_SIGNATURE: lambda data: len(data) == 2 and (data[0] < 8 or data[0] > 248) and data[1] < 2,
}


class Message(NamedTuple):
    """A message of a channel, or a meta event; system messages are left out."""

    tick: int  # from the file's beginning
    track: int
    status: int  # NOTE_OFF and up, with the channel; below 128 the type of a meta event
    data: bytes  # one or two of a channel's message, each below 128; all of a meta event


@dataclass
class MidiFile:
    """The content of a file; `division` is its unit of time as the header has it (negative: SMPTE)."""

    type: int
    division: int
    tracks: list[list[Message]] = field(default_factory=list)
    damage: dict[str, None] = field(default_factory=dict)  # each kind once, in the order in which it was met

    def note_damage(self, what: str) -> None:
        self.damage.setdefault(what)


def parse(data: bytes) -> MidiFile:
    """Take a file apart. Raises MidiError where it has no header."""
    start = max(data.find(b"MThd\0\0\0\6"), 0) or data.find(b"MThd")  # behind a RIFF or MacBinary wrapper, maybe
    if start < 0 or len(data) < start + 14:
        raise MidiError("not a MIDI file: it has no MThd header" if data else "empty")
    declared_end = start + 8 + int.from_bytes(data[start + 4 : start + 8], "big")
    kind, count = (int.from_bytes(data[at : at + 2], "big") for at in (start + 8, start + 10))
    file = MidiFile(kind, int.from_bytes(data[start + 12 : start + 14], "big", signed=True))
    _read_chunks(data, declared_end if _is_boundary(data, declared_end) else start + 14, file)
    if len(file.tracks) != count:
        file.note_damage(f"{counted(len(file.tracks), 'tracks')}, and its header says {count}")
    return file


def _read_chunks(data: bytes, position: int, file: MidiFile) -> None:
    """Read the chunks from `position` on into `file`."""
    foreign = False
    while name := data[position : position + 4]:
        if name == b"MThd":
            file.note_damage("another MIDI file behind it, left out")
            break
        begin = position + 8
        declared_end = begin + int.from_bytes(data[position + 4 : begin], "big")
        if _is_boundary(data, declared_end):
            position = declared_end
        else:
            following = _KNOWN_CHUNK.search(data, position + 4)
            position = following.start() if following else len(data)
        if name != b"MTrk":
            foreign = True
            continue
        if foreign:
            file.note_damage("bytes between its tracks that are none")
        foreign = False
        length = _read_track(data[begin:position], file)
        if length is not None and declared_end not in (position, begin + length):
            file.note_damage("a track of another length than it says")


def _is_boundary(data: bytes, position: int) -> bool:
    """Return whether a chunk can end at `position`: the file ends, or another chunk begins that fits into it."""
    if _KNOWN_CHUNK.match(data, position):
        return True
    size = int.from_bytes(data[position + 4 : position + 8], "big")
    return position == len(data) or (bool(_CHUNK_NAME.match(data, position)) and position + 8 + size <= len(data))


def _read_track(track: bytes, file: MidiFile) -> int | None:
    """Add a track's messages to `file`; return the bytes that they take, None where they cannot be followed so far."""
    messages: list[Message] = []
    file.tracks.append(messages)
    number = len(file.tracks) - 1
    try:
        for tick, status, data, end in _events(track):
            if status == END_OF_TRACK:
                return end
            if status < 0:
                file.note_damage("an event that does not say what it is")
            elif status in _IS_WELL_FORMED and not _IS_WELL_FORMED[status](data):
                file.note_damage("a malformed event that is no note")
            elif 0x80 <= status < 0xF0 and max(data) > 127:
                file.note_damage("values over 127")
                messages.append(Message(tick, number, status, bytes(min(value, 127) for value in data)))
            elif status in _IS_WELL_FORMED or NOTE_OFF <= status < 0xA0 or CONTROL <= status < 0xD0:
                messages.append(Message(tick, number, status, data))
    except (IndexError, OverflowError):
        file.note_damage("a track that cannot be followed to its end")
        return None
    return len(track)


def _events(track: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    """Yield (tick, status, data, position after it) of each event of a track.

    status: as in Message; -1 where it has none; 0xF0 and up for system messages. Raises IndexError where the track is
    cut, OverflowError for a number that no file can have.
    """
    position, tick, running = 0, 0, -1
    while position < len(track):
        delta, position = _number(track, position)
        tick += delta
        status = track[position]
        position += status >= 0x80
        if status in (0xF0, 0xF7, 0xFF):
            if status == 0xFF:
                status = min(track[position], 0x7F)
                position += 1
            length, position = _number(track, position)
        elif status > 0xF0:
            length = _SYSTEM_COMMON_BYTES.get(status, 0)
        else:
            running = status = status if status >= 0x80 else running
            length = 1 if PROGRAM <= status < 0xE0 else 2
        position += length
        if position > len(track):
            raise IndexError
        yield tick, status, track[position - length : position], position


def _number(track: bytes, position: int) -> tuple[int, int]:
    """Return a number of variable length and the position after it.

    Raises IndexError where the track ends before it does, OverflowError for a number that no file can have.
    """
    value = 0
    while True:
        value = value << 7 | track[position] & 127
        position += 1
        if value > _LARGEST_NUMBER:
            raise OverflowError
        if track[position - 1] < 128:
            return value, position
