"""Conversion of MIDI notes to rolls; musigan/midi/transcription.py converts rolls to notes.

Conventions: a roll is (C, K, T), C tracks named by the store's `tracks`, linear loudness, 1 being the song's level. A
note of velocity v has the loudness v / 127 in all its frames. A frame belongs to a note that sounds at its centre, so
an onset moves by half a frame at most. Where a key is struck again while it sounds, the frame before is silent, so that
the new note can be seen. The key then sounds until the last of its overlapping notes ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from musigan.errors import FieldError, MidiError, SettingsError
from musigan.midi.events import NoteEvents
from musigan.midi.instruments import GROUPS
from musigan.midi.reading import Score
from musigan.rolls.keyboard import PITCH_OF_KEY
from musigan.rolls.keysettings import KeySettings
from musigan.store import Song, chunks
from musigan.store.chunks import chunk_frames

Float = npt.NDArray[np.float32]
PAIRS_OF_TRACKS = ("pairs", "part", "tracks", "keys", "frames")
CHUNKS_OF_TRACKS = ("chunks", "tracks", "keys", "frames")
QUIETEST_VELOCITY = 7  # softer notes get this velocity: musigan.rolls.notes.ONSET is .05, and they must be found again
SHORTEST_SECONDS = 0.06  # shorter runs are removed from rolls that networks generate, so no note here may be shorter
DRUM_SECONDS = 0.1  # a drum rings freely, so the time of its release means nothing
TYPICAL_LEVEL = 0.1  # factor back to full scale, typical of recordings
MAX_ITEM_BYTES = 512 << 20  # of float16, of a song's pieces; making them takes three times as much


def parse_tracks(text: str) -> tuple[str, ...]:
    """Parse `"piano,bass"` as ("piano", "bass"), in the order of GROUPS; `"all"` as GROUPS. Raises SettingsError."""
    names = GROUPS if text.strip() == "all" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in GROUPS:
            raise SettingsError(f"--tracks {name!r} is unknown: choose among {', '.join(GROUPS)}, or all")
    return tuple(group for group in GROUPS if group in names)


@dataclass(frozen=True)
class Arrangement:
    """Assignment of groups to tracks of a roll; `merged`: all pitched ones become one track, called piano."""

    groups: tuple[str, ...] = GROUPS
    merged: bool = False

    def __post_init__(self) -> None:
        if self.merged and self.groups == ("drums",):
            raise SettingsError(
                "--merge makes one track of all pitched instruments, and --tracks drums has none: add another track"
            )

    @property
    def tracks(self) -> tuple[str, ...]:
        return ("piano",) if self.merged else self.groups

    def of(self, notes: NoteEvents) -> NoteEvents:
        """Select the notes of the arrangement's groups; their `groups` then index `tracks`."""
        track_of = [
            -1 if name not in self.groups or (self.merged and name == "drums") else self.tracks.index(self._track(name))
            for name in GROUPS
        ]
        tracks = np.array(track_of)[notes.groups]
        is_wanted = tracks >= 0
        selected = notes.where(is_wanted)
        return NoteEvents(tracks[is_wanted], selected.pitches, selected.starts, selected.stops, selected.velocities)

    def _track(self, group: str) -> str:
        return "piano" if self.merged else group


def notes_to_roll(
    notes: NoteEvents, tracks: Sequence[str], settings: KeySettings, dtype: npt.DTypeLike = np.float32
) -> tuple[npt.NDArray[Any], int]:
    """Return the roll (C, K, T) of notes whose `groups` index `tracks`, and the number of notes outside the keys."""
    keys = notes.pitches - PITCH_OF_KEY - settings.keys.low
    is_on_keys = (keys >= 0) & (keys < settings.keys.count)
    is_drum = np.array([name == "drums" for name in tracks])[notes.groups]
    starts = _frames(notes.starts, settings.frame_seconds)
    shortest = max(round(SHORTEST_SECONDS / settings.frame_seconds), 1)
    stops = np.maximum(_frames(notes.stops, settings.frame_seconds), starts + shortest)
    stops[is_drum] = starts[is_drum] + max(round(DRUM_SECONDS / settings.frame_seconds), 1)
    loudness = np.maximum(notes.velocities, QUIETEST_VELOCITY) / np.float32(127)
    roll = np.zeros((len(tracks), settings.keys.count, int(stops.max(initial=0))), dtype)
    row_numbers = notes.groups * settings.keys.count + keys
    order = np.lexsort((starts, row_numbers))
    order = order[is_on_keys[order]]
    rows = roll.reshape(-1, roll.shape[2])
    for row in np.split(order, np.flatnonzero(np.diff(row_numbers[order])) + 1):
        if row.size:
            _play(rows[row_numbers[row[0]]], starts[row], stops[row], loudness[row])
    return roll, int((~is_on_keys).sum())


def _frames(seconds: np.ndarray, frame_seconds: float) -> np.ndarray:
    """Return the first frame whose centre is at `seconds` or after it."""
    # Times are sums over many tempi and have rounding errors: a time just after a centre counts as at it.
    return np.maximum(np.ceil(seconds / frame_seconds - 0.5 - 1e-6).astype(np.int64), 0)


def _play(row: np.ndarray, starts: np.ndarray, stops: np.ndarray, loudness: np.ndarray) -> None:
    """Write the notes of one key, in order of `starts`, into its frames (T,)."""
    # Onsets in the same or the next frame become one note: there is no room for silence between them.
    begins = [0]
    for index in range(1, len(starts)):
        if starts[index] - starts[begins[-1]] > 1:
            begins.append(index)
    first = starts[begins]
    last = np.maximum.accumulate(np.maximum.reduceat(stops, begins))
    louder = np.maximum.reduceat(loudness, begins)
    last[:-1] = np.minimum(last[:-1], first[1:] - 1)
    for start, stop, value in zip(first, last, louder, strict=True):
        row[start:stop] = value


def content_of(notes: NoteEvents) -> str:
    """Hash the notes, in milliseconds: the same song has the same hash under any name, title and tempo map."""
    digest = hashlib.blake2b(digest_size=16, person=b"musigan-midi")
    for values in (notes.groups, notes.pitches, notes.velocities, notes.starts * 1000, notes.stops * 1000):
        digest.update(np.rint(values).astype("<i8").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class CutSettings:
    """Cutting of songs into pairs that share `overlap`, or into chunks, the last padded with silence.

    Raises FieldError for an overlap of chunks.
    """

    chunk_seconds: float = 10.0
    overlap: float = 0.0
    validation: float = 0.1
    paired: bool = True
    ends: bool = False  # whether the end of each song is held back instead of whole songs

    def __post_init__(self) -> None:
        if self.overlap and not self.paired:
            raise FieldError("{overlap} is of pairs: leave it or {unpaired} out")

    @property
    def span_seconds(self) -> float:
        """Seconds in a pair, or in a chunk."""
        return self.chunk_seconds * (2 if self.paired else 1)

    def cut(self, roll: Float, settings: KeySettings) -> tuple[Float, tuple[float, ...], int]:
        """Cut a roll into (pieces, starts in seconds, number of silent pairs left out).

        Pieces are (P, 2, C, K, T) or (N, C, K, T). Raises MidiError where the roll is shorter than a pair, or every
        pair has a silent chunk.
        """
        length = chunk_frames(self.chunk_seconds, settings.frame_seconds)
        channels, keys, frames = roll.shape
        if not self.paired:
            count = max(-(-frames // length), 1)
            padded = np.pad(roll, ((0, 0), (0, 0), (0, count * length - frames)))
            pieces = padded.reshape(channels, keys, count, length).transpose(2, 0, 1, 3)
            return pieces, tuple(index * self.chunk_seconds for index in range(count)), 0
        cut = chunks.cut_pairs(roll.reshape(channels * keys, frames), 1 / settings.frame_seconds,
                                 self.chunk_seconds, self.overlap)  # fmt: skip
        if not cut.starts and cut.silent:
            raise MidiError("no pair in it has notes in both chunks")
        if not cut.starts:
            seconds = frames * settings.frame_seconds
            raise MidiError(f"{seconds:.1f} s long, a pair takes {2 * self.chunk_seconds:g} s")
        pairs = cut.pairs.reshape(-1, 2, channels, keys, length)
        return pairs, cut.starts, cut.silent


@dataclass(frozen=True)
class SongItem:
    """A song as an item of a keys store, with counts of what was left out."""

    array: npt.NDArray[np.float16]
    dimension_names: tuple[str, ...]
    song: Song
    silent: int  # pairs left out
    outside_keys: int  # notes outside the keys


def song_from_path(source: str, score: Score, genre: str) -> Song:
    """Return a song named after its path: its title, if the file has none, and its folder as its genre."""
    path = PurePosixPath(source)
    return replace(Song(source=source), title=score.title or path.stem, genre=genre or path.parent.name)


def to_item(
    score: Score, arrangement: Arrangement, settings: KeySettings, cutting: CutSettings, song: Song
) -> SongItem:
    """Convert a song to an item of cut rolls, `song` naming it. Raises MidiError if nothing is left."""
    notes = arrangement.of(score.notes)
    if not len(notes):
        raise MidiError(f"no notes for {', '.join(arrangement.groups)}")
    seconds, channels = float(notes.stops.max()), len(arrangement.tracks)
    item_bytes = 2 * channels * settings.keys.count * seconds / settings.frame_seconds / (1 - cutting.overlap)
    if item_bytes > MAX_ITEM_BYTES:
        raise MidiError(
            f"{seconds:.0f} s in frames of {settings.frame_seconds:g} s take {item_bytes / 2**20:.0f} MiB, more than "
            f"{MAX_ITEM_BYTES >> 20}: ask for longer frames, fewer tracks or keys, or less overlap"
        )
    roll, outside_keys = notes_to_roll(notes, arrangement.tracks, settings, np.float16)
    if not roll.any():
        raise MidiError(f"no notes on keys {settings.keys}")
    pieces, starts, silent = cutting.cut(roll, settings)
    content = content_of(score.notes)
    split = "validation" if chunks.is_validation(content, cutting.validation) else "train"
    if score.beats is not None:
        song = song.with_beats(score.beats)
    # The file's own words: a tempo in quarter notes, whatever its beats are.
    song = replace(
        song, content=content, split=split, level=TYPICAL_LEVEL, starts=starts, time_signature=score.time_signature
    )
    length = None if cutting.paired else roll.shape[-1] * settings.frame_seconds
    song = replace(song, seconds=length, tempo=score.tempo, first_beat=score.first_beat, key=score.key or "")
    names = PAIRS_OF_TRACKS if cutting.paired else CHUNKS_OF_TRACKS
    return SongItem(np.ascontiguousarray(pieces, np.float16), names, song, silent, outside_keys)
