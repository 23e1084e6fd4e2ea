"""Small MIDI files for tests."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import mido
import numpy as np

Row = tuple[int, str, dict[str, Any]]  # tick, kind of message, its values


def midi(*tracks: list[Row], ticks_per_beat: int = 480, type: int = 1) -> bytes:
    """A file of tracks, each a list of (tick, kind, values) in any order; ticks count from the beginning."""
    file = mido.MidiFile(type=type, ticks_per_beat=ticks_per_beat)
    for rows in tracks:
        track, now = mido.MidiTrack(), 0
        for tick, kind, values in sorted(rows, key=lambda row: row[0]):
            known = kind in ("set_tempo", "time_signature", "key_signature", "track_name")
            message = mido.MetaMessage(kind, **values) if known else mido.Message(kind, **values)
            track.append(message.copy(time=tick - now))
            now = tick
        file.tracks.append(track)
    data = BytesIO()
    file.save(file=data)
    return data.getvalue()


def note(start: int, stop: int, pitch: int, velocity: int = 90, channel: int = 0) -> list[Row]:
    """A note from tick to tick."""
    return [
        (start, "note_on", {"note": pitch, "velocity": velocity, "channel": channel}),
        (stop, "note_off", {"note": pitch, "velocity": 0, "channel": channel}),
    ]


def program(number: int, channel: int = 0, tick: int = 0) -> Row:
    return (tick, "program_change", {"program": number, "channel": channel})


def tempo(beats_a_minute: float, tick: int = 0) -> Row:
    return (tick, "set_tempo", {"tempo": round(6e7 / beats_a_minute)})


def song(seed: int = 0, beats: int = 100, beats_a_minute: float = 120.0, title: str = "") -> bytes:
    """A piece for a small band, every seed another: a tune, a bass that follows and drums; 120 a minute lasts 50 s."""
    generator = np.random.default_rng(seed)
    scale = np.array([0, 2, 3, 5, 7, 8, 10])
    head: list[Row] = [
        tempo(beats_a_minute),
        (0, "time_signature", {"numerator": 3, "denominator": 4}),
        (0, "key_signature", {"key": "Gm"}),
    ]
    if title:
        head.append((0, "track_name", {"name": title}))
    tune, bass, drums = [program(0)], [program(33, 1)], list[Row]()
    for beat in range(beats):
        at = 480 * beat
        pitch = 67 + int(generator.choice(scale))
        tune += note(at, at + 230, pitch, int(generator.integers(60, 120)))
        tune += note(at + 240, at + 470, pitch + 3, 70)
        if beat % 3 == 0:
            bass += note(at, at + 1200, 36 + int(generator.choice(scale)), 100, 1)
        drums += note(at, at + 30, 36 if beat % 3 == 0 else 42, 100 if beat % 3 == 0 else 60, 9)
    return midi(head, tune, bass, drums)


def folder(path: Path, names: dict[str, bytes]) -> Path:
    """A folder of files by their names, which may lie in folders of their own."""
    for name, data in names.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def header(tracks: int, kind: int = 1, division: int = 480) -> bytes:
    """The header of a file that claims so many tracks."""
    return b"MThd" + struct.pack(">IHHh", 6, kind, tracks, division)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack(">I", len(content)) + content
