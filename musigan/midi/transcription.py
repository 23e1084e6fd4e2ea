"""Transcription of rolls to notes and MIDI files.

Conventions: a roll is (C, K, T), linear loudness, 1 being the song's level. With the store's `tracks` each channel is a
track of its own; but the mean of a recording's sides is one track, for the piano, and its drums are another.

A note's velocity is 127 times its loudness where the roll came from MIDI files, which inverts midi/rolls.py. For
a recording velocity is the square root of amplitude, as in synthesisers (General MIDI level 2: 40 lg(v / 127) dB).

In a recording a key that is struck again while it sounds leaves no gap. Its note is divided where the loudness passes
ATTACK_RATIO times the lowest of the ATTACK_SECONDS before, if it also passes ATTACK_SHARE of the note's loudest frame
and the last beginning is AGAIN_SECONDS ago.

Rolls of recordings keep some overtones that cleaning could not tell from notes. A note counts as the overtone of a note
12, 19 or 24 keys lower (its second, third and fourth partial) if it begins with it, ends before or with it, and is
softer. It is then left out: OCTAVES, TOGETHER_SECONDS, AFTER_SECONDS and GHOST_RATIO are the limits. All constants here
were chosen on four pieces with known notes (benchmarks/score_transcription.py), so the scores on them are optimistic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import numpy.typing as npt

from musigan.errors import MusiganError
from musigan.files.atomic import replace_whole, write_all
from musigan.files.finding import failing_alone, skipping
from musigan.files.targets import Target
from musigan.machine.reporting import Reporter, counted
from musigan.midi.events import NoteEvents
from musigan.midi.reading import DEFAULT_TEMPO, KEYS
from musigan.midi.tempo import estimate_tempo, first_beat, quantise
from musigan.midi.writing import Part, write_score
from musigan.rolls.keyboard import PITCH_OF_KEY
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.notes import ONSET, RELEASE, Notes, find_notes, find_strokes
from musigan.rolls.tracks import DRUMS, has_own_drums, is_recording, mix_pitched
from musigan.store import Item, Reader, Song, StoreHeader
from musigan.store.songs import piece_roll, usable

Float = npt.NDArray[np.float32]
SHORTEST_SECONDS = 0.06  # of notes of a recording, as in its analysis (musigan/analysis/cleaning.py)
ATTACK_RATIO = 2.2
ATTACK_SECONDS = 0.06
ATTACK_SHARE = 0.5
SHORTEST_REPEAT_SECONDS = 0.12
OCTAVES = (12, 19, 24)  # keys
ONSET_TOLERANCE_SECONDS = 0.06
OFFSET_TOLERANCE_SECONDS = 0.2
GHOST_RATIO = 0.64  # of the loudness of the note below


def roll_to_notes(
    roll: Float, settings: KeySettings, min_seconds: float = 0.0, onset: float = ONSET, release: float = RELEASE
) -> NoteEvents:
    """Find the notes of a roll (C, K, T) by hysteresis (musigan/rolls/notes.py), at least `min_seconds` long."""
    shortest = max(math.ceil(min_seconds / settings.frame_seconds - 1e-6), 1)
    rows: list[tuple[float, ...]] = []
    for track, plane in enumerate(roll):
        track_notes = find_notes(plane, onset, release)
        if settings.band != "midi":
            track_notes = split_repeats(plane, track_notes, settings.frame_seconds)
        velocity_shares = track_notes.loudness if settings.band == "midi" else np.sqrt(track_notes.loudness)
        velocities = np.clip(np.rint(127 * velocity_shares), 1, 127)
        pitches = track_notes.keys + settings.keys.low + PITCH_OF_KEY
        starts, stops = (frames * settings.frame_seconds for frames in (track_notes.starts, track_notes.stops))
        rows_of_track = np.stack((np.full(len(track_notes), track), pitches, starts, stops, velocities), axis=1)
        rows += map(tuple, rows_of_track[track_notes.lengths >= shortest])
    return NoteEvents.of(rows)


def strokes_to_notes(plane: Float, settings: KeySettings, group: int) -> NoteEvents:
    """Find the strokes of a recording's drums (K, T) as notes of a group."""
    strokes = find_strokes(plane)
    pitches = strokes.keys + settings.keys.low + PITCH_OF_KEY
    starts, stops = (frames * settings.frame_seconds for frames in (strokes.starts, strokes.stops))
    velocities = np.clip(np.rint(127 * np.sqrt(strokes.loudness)), 1, 127)
    rows = np.stack((np.full(len(strokes), group), pitches, starts, stops, velocities), axis=1)
    return NoteEvents.of(map(tuple, rows))


def split_repeats(plane: Float, notes: Notes, frame_seconds: float) -> Notes:
    """Divide the notes of a recording's channel (K, T) where their keys are struck again."""
    attack_frames = max(round(ATTACK_SECONDS / frame_seconds), 1)
    again_frames = max(round(SHORTEST_REPEAT_SECONDS / frame_seconds), 1)
    lowest = np.full_like(plane, np.inf)
    for back in range(1, attack_frames + 1):
        np.minimum(lowest[:, back:], plane[:, :-back], out=lowest[:, back:])
    lowest *= ATTACK_RATIO
    is_risen = plane > lowest
    rows = []
    for key, start, stop, loudest in zip(notes.keys, notes.starts, notes.stops, notes.loudness, strict=True):
        begins = [start]
        for frame in start + again_frames + np.flatnonzero(is_risen[key, start + again_frames : stop]):
            if plane[key, frame] >= ATTACK_SHARE * loudest and frame - begins[-1] >= again_frames:
                begins.append(frame)
        ends = [*begins[1:], stop]
        rows += [(key, a, b, plane[key, a:b].max()) for a, b in zip(begins, ends, strict=True)]
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    keys, starts, stops, loudness = (np.array(column) for column in columns)
    return Notes(keys.astype(int), starts.astype(int), stops.astype(int), loudness)


def remove_ghosts(notes: NoteEvents) -> NoteEvents:
    """Remove a recording's notes that are overtones of others; velocities are square roots of loudness."""
    is_note = np.ones(len(notes), bool)
    numbers_by_pitch = {int(pitch): np.flatnonzero(notes.pitches == pitch) for pitch in np.unique(notes.pitches)}
    for pitch, upper in numbers_by_pitch.items():
        for keys in OCTAVES:
            lower = numbers_by_pitch.get(pitch - keys, np.zeros(0, int))
            begins_together = np.abs(notes.starts[upper, None] - notes.starts[lower]) <= ONSET_TOLERANCE_SECONDS + 1e-6
            ends_within = notes.stops[upper, None] <= notes.stops[lower] + OFFSET_TOLERANCE_SECONDS + 1e-6
            is_softer = notes.velocities[upper, None] < math.sqrt(GHOST_RATIO) * notes.velocities[lower]
            is_note[upper] &= ~(begins_together & ends_within & is_softer).any(axis=1)
    return notes.where(is_note)


@dataclass(frozen=True)
class Transcriber:
    """Transcription of a keys store. None: the default for the store's rolls, or from its songs."""

    settings: KeySettings
    tracks: tuple[str, ...] = ()  # names of the channels; a recording's sides are mixed
    min_seconds: float | None = None
    tempo: float | None = None
    grid_beats: float | None = None  # step of the grid that notes are quantised to, in quarter notes; None: no grid
    keep_ghosts: bool = False

    @classmethod
    def of_store(cls, header: StoreHeader, **options: Any) -> Transcriber:
        return cls(header.key_settings, header.tracks, **options)

    @property
    def track_names(self) -> tuple[str, ...]:
        """Names of the tracks that notes are written to: a recording's sides become one, its drums another."""
        if not is_recording(self.tracks):
            return self.tracks
        return ("piano", DRUMS) if has_own_drums(self.tracks) else ("piano",)

    def notes(self, roll: Float) -> NoteEvents:
        """Find the notes of a roll (C, K, T)."""
        is_heard = self.settings.band != "midi"
        shortest = self.min_seconds
        if shortest is None:
            shortest = SHORTEST_SECONDS if is_heard else 0.0
        pitched = mix_pitched(roll, self.tracks)[None] if is_recording(self.tracks) else roll
        notes = roll_to_notes(pitched, self.settings, shortest)
        if is_heard and not self.keep_ghosts:
            notes = remove_ghosts(notes)
        if not has_own_drums(self.tracks):
            return notes
        return notes.with_others(strokes_to_notes(roll[-1], self.settings, self.track_names.index(DRUMS)))

    def part(self, item: Item) -> Part:
        """Transcribe an item, with its tempo: the one set, else its own, else an estimate from its notes."""
        roll = piece_roll(item, self.settings.frame_seconds)
        notes = self.notes(roll)
        seconds = roll.shape[-1] * self.settings.frame_seconds
        song = item.song
        own, signature = _within(song.tempo, 4, 1000), _signature(song)
        tempo = self.tempo or own or estimate_tempo(notes.starts, notes.velocities) or DEFAULT_TEMPO
        bar_seconds = 240 / tempo * signature[0] / signature[1]
        if self.grid_beats is not None:
            notes, lead = self._on_grid(notes, tempo, tempo == own, item, bar_seconds)
            seconds += lead
        elif song.seed is not None and song.beats and tempo == own:  # drawn on beats: its bars are the file's
            lead = self._lead(item, song.first_beat or 0.0, bar_seconds)
            notes = delayed(notes, lead)
            seconds = math.ceil((seconds + lead) / bar_seconds - 1e-6) * bar_seconds
        return Part(notes, seconds, tempo, song.title, signature, song.key if song.key in KEYS else None)

    def _on_grid(
        self, notes: NoteEvents, tempo: float, is_own: bool, item: Item, bar_seconds: float
    ) -> tuple[NoteEvents, float]:
        """Return notes on the grid and their delay in seconds, which moves bars to where the file's bars begin."""
        assert self.grid_beats is not None
        first = _within(item.song.first_beat, 0, 1e6) if is_own else None
        if first is None:
            first = first_beat(notes.starts, notes.velocities, tempo) + item.song.begin_seconds
        lead = self._lead(item, first, bar_seconds)
        return quantise(delayed(notes, lead), tempo, self.grid_beats), lead

    @staticmethod
    def _lead(item: Item, first: float, bar_seconds: float) -> float:
        """Return the delay in seconds that moves the bar at second `first` of a song to where a bar of the file is."""
        lead = -(first - item.song.begin_seconds) % bar_seconds
        return 0.0 if bar_seconds - lead < 1e-6 else lead


def delayed(notes: NoteEvents, seconds: float) -> NoteEvents:
    """Return the notes so many seconds later."""
    return NoteEvents(notes.groups, notes.pitches, notes.starts + seconds, notes.stops + seconds, notes.velocities)


def _within(value: float | None, low: float, high: float) -> float | None:
    """Return a number from `low` to `high`, None for any other."""
    return float(value) if value is not None and low <= value <= high else None


def _signature(song: Song) -> tuple[int, int]:
    """Return a song's time signature; 4/4 where it has none that a MIDI file can hold."""
    numerator, denominator = song.time_signature or (4, 4)
    return (numerator, denominator) if numerator <= 255 and denominator in (1, 2, 4, 8, 16, 32, 64) else (4, 4)


@dataclass(frozen=True)
class MidiTarget(Target):
    """Destination of MIDI: a file, a numbered file for each piece, or a stream for `-`."""

    what: ClassVar[str] = "a MIDI file"
    expected: ClassVar[str] = ".mid"

    @property
    def format(self) -> str:
        """Always "midi". Raises UsageError where the name ends otherwise."""
        if self.out != "-" and Path(self.out).suffix.lower() not in (".mid", ".midi"):
            raise self.wrong_ending()
        return "midi"


NO_PIECES = "the store holds no piece with a note: nothing to write down"


def write_store(
    reader: Reader, transcriber: Transcriber, target: MidiTarget, stream: IO[bytes] | None, reporter: Reporter
) -> str:
    """Transcribe a keys store to the target; return in words what was made. Raises MusiganError as `write` does."""
    progress = reporter.progress(reader.header.expected, "pieces")
    counts: list[int] = []  # notes, by piece

    def parts() -> Iterator[Part]:
        """Yield the pieces as they are read."""
        for item in usable(reader, reporter.skip):
            part = None
            with failing_alone(skipping(reporter.skip, item.title, "that could not be written down")):
                part = transcriber.part(item)
            if part is None:
                continue
            if not len(part.notes):
                reporter.skip(part.title or item.name, "nothing in it sounds long enough for a note", "without a note")
                continue
            counts.append(len(part.notes))
            reporter.detail(
                f"{part.title or item.name}: {counted(len(part.notes), 'notes')}, {part.tempo:g} beats a minute"
            )
            progress.step(part.title)
            yield part

    files = write(parts(), transcriber.track_names, target, stream)
    return f"{counted(sum(counts), 'notes')} of {counted(len(counts), 'pieces')} in {', '.join(files)}"


def write(parts: Iterable[Part], tracks: Sequence[str], target: MidiTarget, stream: IO[bytes] | None) -> list[str]:
    """Write parts to the target and return the names of the files. Raises MusiganError when there are no parts."""
    if target.split:
        files = []
        for number, part in enumerate(parts, 1):
            files.append(target.refuse_existing(target.numbered(number)))
            _save(write_score([part], tracks), files[-1], target.force)
        if not files:
            raise MusiganError(NO_PIECES)
        return [f"{files[0]} to {files[-1]}"] if len(files) > 1 else files
    all_parts = list(parts)
    if not all_parts:
        raise MusiganError(NO_PIECES)
    data = write_score(all_parts, tracks)
    if stream is None:
        _save(data, target.out, target.force)
        return [target.out]
    stream.write(data)
    stream.flush()
    return ["standard output"]


def _save(data: bytes, path: str, replaces: bool) -> None:
    with replace_whole(Path(path), MusiganError, replaces) as aside:
        write_all(aside, path, data)
