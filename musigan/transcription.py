"""From rolls to notes, and so to MIDI.

Conventions: a roll is (C, K, T), linear loudness, 1 being the song's level. With the store's `tracks` each channel is a
track of its own; without, channels are sides of a recording, and their mean is one track, for the piano.

A note's velocity is 127 times its loudness where the roll came from MIDI files, as it was made. A recording's loudness
is read as synthesisers take velocity, the square root of amplitude (General MIDI level 2: 40 lg(v / 127) dB).

A recording's key that is struck again while it sounds leaves no gap. Its note is divided where the loudness passes
ATTACK_RATIO times the lowest of the ATTACK_SECONDS before, if it also passes ATTACK_SHARE of the note's loudest frame
and the last beginning is AGAIN_SECONDS ago.

Rolls of recordings keep some overtones that cleaning could not tell from notes. A note that begins with another, 12, 19
or 24 keys above it (its second, third and fourth partial), ends before or with it and is softer is taken for its
overtone and left out: OCTAVES, TOGETHER_SECONDS, AFTER_SECONDS and GHOST_RATIO say when. All these figures were chosen
on four pieces with known notes (benchmarks/score_transcription.py), whose scores are flattered by that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import numpy.typing as npt

from musigan.atomic import replacing
from musigan.errors import MusiganError, UsageError
from musigan.keysettings import KeySettings
from musigan.midi import DEFAULT_TEMPO, KEYS, PITCH_OF_KEY, NoteEvents, Part, write_score
from musigan.notes import ONSET, RELEASE, Notes, find_notes
from musigan.rendering import Target, piece_roll
from musigan.store import Attributes, Item
from musigan.tempo import estimate_tempo, first_beat, quantised

Float = npt.NDArray[np.float32]
SHORTEST_SECONDS = 0.06  # of notes of a recording, as its analysis has them
ATTACK_RATIO = 2.2
ATTACK_SECONDS = 0.06
ATTACK_SHARE = 0.5
AGAIN_SECONDS = 0.12
OCTAVES = (12, 19, 24)  # keys
TOGETHER_SECONDS = 0.06
AFTER_SECONDS = 0.2
GHOST_RATIO = 0.64  # of the loudness of the note below


def notes_of(
    roll: Float, settings: KeySettings, min_seconds: float = 0.0, onset: float = ONSET, release: float = RELEASE
) -> NoteEvents:
    """The notes of a roll (C, K, T) by hysteresis (musigan/notes.py), at least `min_seconds` long."""
    shortest = max(math.ceil(min_seconds / settings.frame_seconds - 1e-6), 1)
    rows: list[tuple[float, ...]] = []
    for track, plane in enumerate(roll):
        found = find_notes(plane, onset, release)
        if settings.band != "midi":
            found = struck_again(plane, found, settings.frame_seconds)
        level = found.loudness if settings.band == "midi" else np.sqrt(found.loudness)
        velocities = np.clip(np.rint(127 * level), 1, 127)
        pitches = found.keys + settings.keys.low + PITCH_OF_KEY
        starts, stops = (frames * settings.frame_seconds for frames in (found.starts, found.stops))
        table = np.stack((np.full(len(found), track), pitches, starts, stops, velocities), axis=1)
        rows += map(tuple, table[found.lengths >= shortest])
    return NoteEvents.of(rows)


def struck_again(plane: Float, notes: Notes, frame_seconds: float) -> Notes:
    """The notes of a recording's plane (K, T), divided where their keys are struck again."""
    before = max(round(ATTACK_SECONDS / frame_seconds), 1)
    apart = max(round(AGAIN_SECONDS / frame_seconds), 1)
    lowest = np.full_like(plane, np.inf)
    for back in range(1, before + 1):
        lowest[:, back:] = np.minimum(lowest[:, back:], plane[:, :-back])
    risen = plane > ATTACK_RATIO * lowest
    rows = []
    for key, start, stop, loudest in zip(notes.keys, notes.starts, notes.stops, notes.loudness, strict=True):
        begins = [start]
        for frame in start + apart + np.flatnonzero(risen[key, start + apart : stop]):
            if plane[key, frame] >= ATTACK_SHARE * loudest and frame - begins[-1] >= apart:
                begins.append(frame)
        ends = [*begins[1:], stop]
        rows += [(key, a, b, plane[key, a:b].max()) for a, b in zip(begins, ends, strict=True)]
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    keys, starts, stops, loudness = (np.array(column) for column in columns)
    return Notes(keys.astype(int), starts.astype(int), stops.astype(int), loudness)


def without_ghosts(notes: NoteEvents) -> NoteEvents:
    """A recording's notes without those that are overtones of others; velocities are square roots of loudness."""
    kept = np.ones(len(notes), bool)
    of_pitch = {int(pitch): np.flatnonzero(notes.pitches == pitch) for pitch in np.unique(notes.pitches)}
    for pitch, over in of_pitch.items():
        for keys in OCTAVES:
            under = of_pitch.get(pitch - keys, np.zeros(0, int))
            together = np.abs(notes.starts[over, None] - notes.starts[under]) <= TOGETHER_SECONDS + 1e-6
            covered = notes.stops[over, None] <= notes.stops[under] + AFTER_SECONDS + 1e-6
            softer = notes.velocities[over, None] < math.sqrt(GHOST_RATIO) * notes.velocities[under]
            kept[over] &= ~(together & covered & softer).any(axis=1)
    return notes.where(kept)


@dataclass(frozen=True)
class Transcriber:
    """How a store of keys becomes notes. None: what suits the store's rolls, or what its items say."""

    settings: KeySettings
    tracks: tuple[str, ...] | None = None  # None: channels are sides, to be mixed
    min_seconds: float | None = None
    tempo: float | None = None
    grid_beats: float | None = None  # notes on a grid of so many quarter notes
    keep_ghosts: bool = False

    @classmethod
    def of_store(cls, header: Attributes, **options: Any) -> Transcriber:
        tracks = header.get("tracks")
        return cls(KeySettings.from_attributes(header), tuple(tracks) if tracks else None, **options)

    @property
    def track_names(self) -> tuple[str, ...]:
        return self.tracks or ("piano",)

    def notes(self, roll: Float) -> NoteEvents:
        """The notes of a roll (C, K, T)."""
        measured = self.settings.band != "midi"
        if self.tracks is None:
            roll = roll.mean(axis=0, keepdims=True)
        shortest = self.min_seconds
        if shortest is None:
            shortest = SHORTEST_SECONDS if measured else 0.0
        notes = notes_of(roll, self.settings, shortest)
        return without_ghosts(notes) if measured and not self.keep_ghosts else notes

    def part(self, item: Item) -> Part:
        """An item's notes, with its tempo: the given one, its own, or what its notes suggest."""
        roll = piece_roll(item, self.settings)
        notes = self.notes(roll)
        seconds = roll.shape[-1] * self.settings.frame_seconds
        said = item.attributes
        own, signature = _number(said, "tempo", 4, 1000), _signature(said.get("time_signature"))
        tempo = self.tempo or own or estimate_tempo(notes.starts, notes.velocities) or DEFAULT_TEMPO
        if self.grid_beats is not None:
            notes, lead = self._on_grid(notes, tempo, tempo == own, item, 240 / tempo * signature[0] / signature[1])
            seconds += lead
        key = said.get("key")
        title = str(said.get("title") or "")
        return Part(notes, seconds, tempo, title, signature, key if key in KEYS else None)

    def _on_grid(
        self, notes: NoteEvents, tempo: float, is_own: bool, item: Item, bar_seconds: float
    ) -> tuple[NoteEvents, float]:
        """Notes on the grid, later by so many seconds that bars begin where the file's do."""
        assert self.grid_beats is not None
        first = _number(item.attributes, "first_beat", 0, 1e6) if is_own else None
        if first is None:
            first = first_beat(notes.starts, notes.velocities, tempo)
        else:
            first -= min(item.attributes.get("starts") or (0.0,))
        lead = -first % bar_seconds
        if bar_seconds - lead < 1e-6:
            lead = 0.0
        moved = NoteEvents(notes.groups, notes.pitches, notes.starts + lead, notes.stops + lead, notes.velocities)
        return quantised(moved, tempo, self.grid_beats), lead


def _number(said: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    """An item's attribute where it is a number that can be meant."""
    value = said.get(name)
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and low <= value <= high else None  # type: ignore[arg-type,operator]


def _signature(value: object) -> tuple[int, int]:
    """An item's time signature; 4/4 where it says none that a file could."""
    if isinstance(value, list) and len(value) == 2 and all(type(number) is int for number in value):
        numerator, denominator = value
        if 1 <= numerator <= 255 and denominator in (1, 2, 4, 8, 16, 32, 64):
            return numerator, denominator
    return 4, 4


@dataclass(frozen=True)
class MidiTarget(Target):
    """Where MIDI goes: a file, a numbered file a piece, or a stream for `-`."""

    what: ClassVar[str] = "a MIDI file"

    @property
    def format(self) -> str:
        """ "midi". Raises UsageError where the name ends otherwise."""
        if self.out != "-" and Path(self.out).suffix.lower() not in (".mid", ".midi"):
            raise UsageError(f"{self.out}: a MIDI file's name ends in .mid")
        return "midi"


def write(parts: Iterable[Part], tracks: Sequence[str], target: MidiTarget, stream: IO[bytes] | None) -> list[str]:
    """Write parts to the target; return the names of the files. Raises MusiganError when there are no parts."""
    if target.split:
        files = []
        for number, part in enumerate(parts, 1):
            files.append(target.refuse_existing(target.numbered(number)))
            _save(write_score([part], tracks), files[-1])
        if not files:
            raise MusiganError("the store holds no pieces")
        return [f"{files[0]} to {files[-1]}"] if len(files) > 1 else files
    everything = list(parts)
    if not everything:
        raise MusiganError("the store holds no pieces")
    data = write_score(everything, tracks)
    if stream is None:
        _save(data, target.out)
        return [target.out]
    stream.write(data)
    stream.flush()
    return ["standard output"]


def _save(data: bytes, path: str) -> None:
    with replacing(Path(path), MusiganError) as aside:
        aside.write_bytes(data)
