"""The bytes of MIDI files, whole and damaged."""

from __future__ import annotations

import contextlib
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musigan.errors import MidiError
from musigan.midi.parsing import NAME, NOTE_OFF, NOTE_ON, Message, parse
from musigan.midi.reading import read_score
from tests.midifiles import chunk, header, song

NOTES = bytes.fromhex("00903c64 8338803c40 28903e64 8338803e40")  # 60 and 62, 440 ticks each of 480
END = bytes.fromhex("00ff2f00")
TRACK = chunk(b"MTrk", NOTES + END)
WHOLE = song(1, beats=12)


def found(data: bytes) -> tuple[list[tuple[int, int]], bool]:
    """Return (pitch, tick) of the strokes in a file, and whether damage was noted."""
    file = parse(data)
    strokes = [
        (message.data[0], message.tick)
        for track in file.tracks for message in track
        if message.status & 0xF0 == NOTE_ON and message.data[1]
    ]  # fmt: skip
    return strokes, bool(file.damage)


GOOD = [(60, 0), (62, 480)]
PARTLY = {
    "whole": (header(1) + TRACK, GOOD, False),
    "padding behind it": (header(1) + TRACK + bytes(900), GOOD, False),
    "a longer header": (b"MThd\0\0\0\x0a" + header(1)[8:] + b"more" + TRACK, GOOD, False),
    "a header of a false length": (b"MThd\0\0\x7f\x0a" + header(1)[8:] + TRACK, GOOD, False),
    "too many tracks counted": (header(9) + TRACK, GOOD, True),
    "too few tracks counted": (header(1) + TRACK + TRACK, GOOD * 2, True),
    "none counted": (header(0) + TRACK, GOOD, True),
    "length 0": (header(1) + b"MTrk\0\0\0\0" + NOTES + END, GOOD, True),
    "length of 4 GiB": (header(2) + b"MTrk\xff\xff\xff\xff" + NOTES + END + TRACK, GOOD * 2, True),
    "length too short": (header(2) + b"MTrk\0\0\0\5" + NOTES + END + TRACK, GOOD * 2, True),
    "length to the end of the file": (header(2) + b"MTrk\0\0\0\x2e" + NOTES + END + TRACK, GOOD * 2, True),
    "no end of track": (header(2) + chunk(b"MTrk", NOTES) + TRACK, GOOD * 2, False),
    "cut": (header(1) + TRACK[:-7], GOOD, True),
    "foreign chunk first": (header(1) + chunk(b"XFIH", b"abcd") + TRACK, GOOD, True),
    "foreign chunk last": (header(1) + TRACK + chunk(b"XFKM", b"abcd"), GOOD, False),
    "padding between": (header(2) + TRACK + b"\0\1\2" + TRACK, GOOD * 2, False),
    "RIFF, its INFO first": (b"RIFF\0\0\1\0RMIDLIST\xb0\4\0\0INFO" + b"x" * 1200 + b"data\0\1\0\0" + header(1) + TRACK,
                             GOOD, False),
    "RIFF, its INFO last": (b"RIFF\0\0\1\0RMIDdata\0\1\0\0" + header(1) + TRACK + b"LIST\4\0\0\0INFO", GOOD, False),
    "another file behind it": (header(1) + TRACK + header(1) + TRACK, GOOD, True),
    "running status at the start": (header(1) + chunk(b"MTrk", b"\0\x3c\x40" + NOTES + END), GOOD, True),
    "running status after system exclusive": (
        header(1) + chunk(b"MTrk", bytes.fromhex("00903c64 10f0027ef7 203c00 00ff0101 61 8330 3e64") + END),
        [(60, 0), (62, 0x30 + 432)], False,
    ),
    "system common messages": (header(1) + chunk(b"MTrk", bytes.fromhex("00f20102 00f8") + NOTES + END), GOOD, False),
    "a key of nine sharps": (header(1) + chunk(b"MTrk", b"\0\xff\x59\2\x09\0" + NOTES + END), GOOD, True),
    "an empty key": (header(1) + chunk(b"MTrk", b"\0\xff\x59\0" + NOTES + END), GOOD, True),
    "a tempo of two bytes": (header(1) + chunk(b"MTrk", b"\0\xff\x51\2\7\xa1" + NOTES + END), GOOD, True),
    "a tempo of 0": (header(1) + chunk(b"MTrk", b"\0\xff\x51\3\0\0\0" + NOTES + END), GOOD, True),
    "a meter of 0": (header(1) + chunk(b"MTrk", b"\0\xff\x58\4\0\2\x18\x08" + NOTES + END), GOOD, True),
    "a denominator of 2 ** 255": (header(1) + chunk(b"MTrk", b"\0\xff\x58\4\4\xff\x18\x08" + NOTES + END), GOOD, True),
    "an SMPTE offset of no time": (header(1) + chunk(b"MTrk", b"\0\xff\x54\5" + b"\xff" * 5 + NOTES + END), GOOD, True),
    "a text longer than its track": (header(2) + chunk(b"MTrk", NOTES + b"\0\xff\1\x7fabc") + TRACK, GOOD * 2, True),
    "a number of ten bytes": (header(2) + chunk(b"MTrk", NOTES + b"\xca" * 9 + b"\0" + NOTES) + TRACK, GOOD * 2, True),
}  # fmt: skip


@pytest.mark.parametrize("what", PARTLY)
def test_what_can_be_read_is_read(what: str) -> None:
    data, strokes, is_damaged = PARTLY[what]
    assert found(data) == (strokes, is_damaged)
    score = read_score(data)
    assert len(score.warnings) == is_damaged
    if len(strokes) == 2 and "running" not in what and what != "cut":
        assert (score.notes.stops - score.notes.starts).tolist() == pytest.approx([440 / 960] * 2)


def test_messages_are_taken_apart() -> None:
    track = bytes.fromhex("00ff0302486f 8100 9a3c64 05 3e00 00c107 00e00040 00ba0740 00ff2f00")
    file = parse(header(1, kind=0, division=-12345) + chunk(b"MTrk", track))
    assert (file.type, file.division, file.damage) == (0, -12345, {})
    assert file.tracks == [[
        Message(0, 0, NAME, b"Ho"), Message(128, 0, NOTE_ON + 10, b"\x3c\x64"),
        Message(133, 0, NOTE_ON + 10, b"\x3e\0"), Message(133, 0, 0xC1, b"\7"), Message(133, 0, 0xBA, b"\7\x40"),
    ]]  # fmt: skip
    assert NOTE_OFF < NOTE_ON


def test_no_header_is_no_midi_file() -> None:
    for data in (b"", b"MThd", TRACK, b"MThd\0\0\0\6\0\0"):
        with pytest.raises(MidiError):
            parse(data)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, 600), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=8),
    st.integers(0, 900),
)
def test_any_mutation_is_an_error_or_a_song(changes: list[tuple[int, bytes, int]], length: int) -> None:
    data = bytearray(WHOLE)
    for place, inserted, removed in changes:
        at = place % len(data)
        data[at : at + removed] = inserted
    try:
        score = read_score(bytes(data[: len(data) if length > 600 else length]))
    except MidiError:
        return
    assert len(score.notes)
    assert (score.notes.stops >= score.notes.starts).all()
    assert score.notes.stops.max() <= 3600
    assert len(score.warnings) <= 2


HOSTILE = {
    "long numbers": b"\x80" * 10**5,
    "empty chunks": header(9) + chunk(b"ABCD", b"") * 20000,
    "chunks that do not fit": header(9) + b"ABCD\0\xff\xff\xff" * 20000,
    "empty tracks": header(9) + chunk(b"MTrk", b"") * 20000,
    "sounds off": header(1) + chunk(
        b"MTrk", b"".join(b"\0\x90%c\x64" % n for n in range(128)) + b"\0\xb0\x78\0" * 40000
    ),
    "notes off and pedals": header(1) + chunk(
        b"MTrk", b"\0\xb0\x40\x7f" + b"\0\x90\x3c\x64\0\xb0\x7b\0\0\xb0\x42\x7f\0\xb0\x42\0" * 10000
    ),
    "one key": header(1) + chunk(b"MTrk", b"\0\x90\x3c\x64" * 20000 + b"\0\x80\x3c\x40" * 20000),
    "tempi": header(1) + chunk(b"MTrk", NOTES + b"\1\xff\x51\3\0\0\1" * 25000),
    "meters": header(1) + chunk(b"MTrk", b"\0\x90\x3c\x64" + b"\x83\x60\xff\x58\4\1\7\0\0" * 5000 + b"\0\x80\x3c\0"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_time_grows_with_the_file_alone(what: str) -> None:
    before = time.process_time()
    with contextlib.suppress(MidiError):
        read_score(HOSTILE[what])
    assert time.process_time() - before < 4


def test_beats_are_counted_before_they_are_made() -> None:
    tracemalloc.start()
    try:
        assert read_score(HOSTILE["meters"]).beats is None
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
