"""Scores to MIDI files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from musigan.midi.events import NoteEvents
from musigan.midi.instruments import DRUM_CHANNEL, PROGRAMS
from musigan.midi.reading import DEFAULT_TEMPO, TICKS_PER_BEAT


@dataclass(frozen=True)
class Part:
    """A part of a file to write: notes in seconds from its beginning, `groups` indexing the file's tracks."""

    notes: NoteEvents
    seconds: float
    tempo: float = DEFAULT_TEMPO
    title: str = ""
    time_signature: tuple[int, int] = (4, 4)
    key: str | None = None


def write_score(parts: Sequence[Part], tracks: Sequence[str]) -> bytes:
    """Write parts one after another as a MIDI file of type 1: a conductor track and one for each name in `tracks`.

    A track named "drums" goes to channel 10; the others play their group's instrument, or the piano.
    """
    import mido

    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT, charset="utf-8")
    conductor: list[tuple[int, int, Any]] = []  # tick, rank at that tick, message
    players: list[list[tuple[int, int, Any]]] = [[] for _ in tracks]
    channels = _channels(tracks)
    for number, name in enumerate(tracks):
        players[number].append((0, 0, mido.MetaMessage("track_name", name=name)))
        if channels[number] != DRUM_CHANNEL:
            program = PROGRAMS.get(name, PROGRAMS["piano"])
            players[number].append((0, 1, mido.Message("program_change", channel=channels[number], program=program)))
    begin_tick = 0
    for index, part in enumerate(parts):
        conductor += [(begin_tick, 0, message) for message in _announcements(part, first=not index)]
        ticks_per_second = part.tempo / 60 * TICKS_PER_BEAT
        for group, pitch, start, stop, velocity in zip(*vars(part.notes).values(), strict=True):
            on_tick = begin_tick + round(start * ticks_per_second)
            off_tick = max(begin_tick + round(stop * ticks_per_second), on_tick + 1)
            note_arguments = {"channel": channels[group], "note": int(pitch)}
            players[group].append((on_tick, 3, mido.Message("note_on", velocity=int(velocity), **note_arguments)))
            players[group].append((off_tick, 2, mido.Message("note_off", velocity=64, **note_arguments)))
        begin_tick += max(round(part.seconds * ticks_per_second), 1)
    file.tracks = [_track(events, begin_tick) for events in (conductor, *players)]
    data = BytesIO()
    file.save(file=data)
    return data.getvalue()


def _channels(tracks: Sequence[str]) -> list[int]:
    """Return a channel for each track; pitched tracks share from the 16th on."""
    free = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    turns = iter(range(len(tracks)))
    return [DRUM_CHANNEL if name == "drums" else free[next(turns) % len(free)] for name in tracks]


def _announcements(part: Part, first: bool) -> list[Any]:
    import mido

    numerator, denominator = part.time_signature
    messages = [
        mido.MetaMessage("set_tempo", tempo=min(max(mido.bpm2tempo(part.tempo), 1), 2**24 - 1)),
        mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator),
    ]
    if part.key:
        messages.append(mido.MetaMessage("key_signature", key=part.key))
    if part.title:
        title = {"type": "track_name", "name": part.title} if first else {"type": "marker", "text": part.title}
        messages.insert(0, mido.MetaMessage(**title))
    return messages


def _track(events: list[tuple[int, int, Any]], end: int) -> Any:
    """Return a mido.MidiTrack of the messages in order, with the ticks from one to the next."""
    import mido

    track, last_tick = mido.MidiTrack(), 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - last_tick))
        last_tick = tick
    track.append(mido.MetaMessage("end_of_track", time=max(end - last_tick, 0)))
    return track
