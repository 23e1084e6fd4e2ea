"""A song: what a store's item says about its music."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import PurePosixPath
from reprlib import repr as shown  # shortens long values: the metadata of a damaged store may hold anything
from typing import Any

import numpy as np

from musigan.errors import StoreError
from musigan.rolls.beats import Beat, Beats
from musigan.rolls.tone import Tone
from musigan.store.attributes import Attributes, carried, is_number

MOST_LEVEL = 1e6  # samples have 16 bits
MOST_GAPS_SECONDS = 3600  # between pairs or chunks, beside as much as they last themselves
MOST_SECONDS = 1e9
MAX_START_SECONDS = 200_000  # longer than any 12 kHz stereo item within MAX_ITEM_BYTES
_TEXTS = ("title", "artist", "source", "content", "split", "genre", "year", "key")
_NUMBERS = ("level", "seconds", "tempo", "first_beat", "score", "primed_seconds")


def check_gaps(starts: Sequence[float], span_seconds: float, name: str) -> None:
    """Raise StoreError where a song's pairs or chunks, each of `span_seconds`, are mostly gaps, which take memory."""
    seconds, own_seconds = max(starts) - min(starts) + span_seconds, len(starts) * span_seconds
    if seconds > 2 * own_seconds + MOST_GAPS_SECONDS:
        raise StoreError(
            f"{name} lasts {seconds:.0f} s from its first to its last start, and {own_seconds:.0f} s without the gaps: "
            "expected music that is no more than an hour of silence; cut its parts into songs"
        )


@dataclass(frozen=True)
class Song(Attributes):
    """Title and origin of a song, its place in the collection, its times and its beat; "", () and None: not known."""

    title: str = ""  # as tags say it
    artist: str = ""  # the same
    source: str = ""  # its file, relative to the folder that was searched
    content: str = ""  # a hash of the music, whatever its name
    split: str = ""  # train or validation
    level: float | None = None  # factor back to full scale
    starts: tuple[float, ...] = ()  # second at which each pair or chunk begins
    seconds: float | None = None  # length, where the last chunk is padded
    seed: int | None = None  # of a drawn piece
    genre: str = ""  # as tags say it; of MIDI files, the name of the folder
    year: str = ""  # as tags say it
    beats: tuple[float, ...] = ()  # second of each beat, on the clock of `starts`
    beat_numbers: tuple[int, ...] = ()  # of each beat in its bar, 1 a downbeat
    beat_confidence: float | None = None  # 0 to 1; None: nobody looked for beats
    tempo: float | None = None  # beats (quarter notes) a minute
    first_beat: float | None = None  # second of a bar's beginning
    time_signature: tuple[int, int] | None = None  # beats in a bar, and which note is a beat
    key: str = ""  # as MIDI files name it
    score: float | None = None  # by the critic, of a drawn piece
    primed_seconds: float | None = None  # length of the music that a drawn piece continues
    timbre: Mapping[str, Any] | None = None  # how its notes sound; `tone` reads it

    @classmethod
    def parse(cls, values: Mapping[str, Any], name: str, count: int, kind: str) -> Song:
        """Parse the plain values of item `name` of a store of `kind`, cut in `count` pairs or chunks.

        Raises StoreError for impossible values of what is computed with: `level`, `seconds`, `starts`, the beats and
        `timbre`. Other values that their fields cannot hold, or of a newer version, are carried along as they are.
        """
        level, starts, seconds = values.get("level", 1.0), values.get("starts"), values.get("seconds", 1.0)
        if not is_number(level) or not 0 <= level <= MOST_LEVEL:
            raise StoreError(f"{name} has the level {shown(level)}, expected a number")
        if not is_number(seconds) or not 0 < seconds <= MOST_SECONDS:
            raise StoreError(f"{name} lasts {shown(seconds)} seconds, expected a positive number")
        known = _parse_beats(values, name)
        if kind != "waveform" and starts is not None:
            if not isinstance(starts, list) or not all(is_number(s) and 0 <= s <= MAX_START_SECONDS for s in starts):
                raise StoreError(f"{name} starts at {shown(starts)}, expected seconds from 0 to {MAX_START_SECONDS}")
            if len(starts) != count:
                raise StoreError(f"{name} has {len(starts)} starts for {count} pairs or chunks")
            known["starts"] = tuple(starts)
        if _parse_tone(values.get("timbre"), name) is not None:
            known["timbre"] = values["timbre"]
        known |= {text: str(values[text]) for text in _TEXTS if isinstance(values.get(text), str | int | float)}
        known |= {number: values[number] for number in _NUMBERS if is_number(values.get(number))}
        known |= {"seed": values["seed"]} if type(values.get("seed")) is int else {}
        signature = values.get("time_signature")
        if isinstance(signature, list) and len(signature) == 2 and all(type(n) is int and n > 0 for n in signature):
            known["time_signature"] = tuple(signature)
        return cls(**known, other=carried(values, known), names=tuple(values))

    @property
    def title_or_source(self) -> str:
        """The title; the source of a song without one."""
        return self.title or self.source

    @property
    def style(self) -> str:
        """The genre tag, or else the name of the song's folder, in lower case; "" where there is neither."""
        return (self.genre.strip() or PurePosixPath(self.source).parent.name).lower()

    @property
    def is_held_out(self) -> bool:
        """Whether the song is for validation, not for training."""
        return self.split == "validation"

    @property
    def begin_seconds(self) -> float:
        """Second of the song at which its first pair or chunk begins."""
        return min(self.starts, default=0.0)

    def start_times(self, count: int, span_seconds: float) -> tuple[float, ...]:
        """Return the second at which each of `count` pairs or chunks begins; without `starts` they follow each other.

        Raises StoreError where the song has `starts` for another number.
        """
        if self.starts and len(self.starts) != count:
            raise StoreError(f"{self.title_or_source} has {len(self.starts)} starts for {count} chunks: it is damaged")
        return self.starts or tuple(index * span_seconds for index in range(count))

    @property
    def every_beat(self) -> Beats:
        """All beats, their times counted from the song's beginning; none where nobody looked for them."""
        return Beats(np.array(self.beats, float), np.array(self.beat_numbers, int), self.beat_confidence or 0.0)

    @property
    def tone(self) -> Tone | None:
        """How its notes sound; None where nobody noted it."""
        return None if self.timbre is None else Tone.parse(self.timbre)

    def with_tone(self, tone: Tone | None) -> Song:
        """Return the song with this tone; without any for None."""
        return replace(self, timbre=None if tone is None else tone.to_values())

    def with_beats(self, beats: Beats) -> Song:
        """Return the song with its beats, to the millisecond, and tempo, first downbeat and meter as they have them."""
        seconds = tuple(round(float(second), 3) for second in beats.seconds)
        song = replace(
            self, beats=seconds, beat_numbers=tuple(map(int, beats.numbers)), beat_confidence=round(beats.confidence, 3)
        )
        steady = song.every_beat.steady()
        if steady is None:
            return replace(song, tempo=None, first_beat=None, time_signature=None)
        return replace(song, tempo=steady.tempo, first_beat=steady.first_beat, time_signature=(steady.beats, 4))

    @property
    def beat(self) -> Beat | None:
        """The beat, its times counted from the song's beginning; None without a tempo."""
        if self.tempo is None or not 1 <= self.tempo <= 1000:
            return None
        numerator, denominator = self.time_signature or (4, 4)
        quarters = round(4 * numerator / denominator)  # beats are quarter notes
        return Beat(float(self.tempo), float(self.first_beat or 0.0), max(quarters, 1))


def _parse_beats(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the fields of the beats among the plain values of item `name`. Raises StoreError for impossible ones."""
    beats, numbers = values.get("beats", []), values.get("beat_numbers", [])
    confidence = values.get("beat_confidence", 0.0)
    if not isinstance(beats, list) or not all(is_number(b) and 0 <= b <= MAX_START_SECONDS for b in beats):
        raise StoreError(f"{name} has beats at {shown(beats)}, expected seconds from 0 to {MAX_START_SECONDS}")
    if any(later <= earlier for earlier, later in pairwise(beats)):
        raise StoreError(f"{name} has beats at {shown(beats)}, expected each later than the one before")
    if not isinstance(numbers, list) or not all(type(number) is int and number >= 1 for number in numbers):
        raise StoreError(f"{name} has the beat numbers {shown(numbers)}, expected whole numbers from 1 on")
    if len(numbers) != len(beats):
        raise StoreError(f"{name} has {len(numbers)} beat numbers for {len(beats)} beats")
    if not is_number(confidence) or not 0 <= confidence <= 1:
        raise StoreError(f"{name} has the beat confidence {shown(confidence)}, expected 0 to 1")
    known = {"beats": tuple(beats), "beat_numbers": tuple(numbers), "beat_confidence": confidence}
    return {field: value for field, value in known.items() if field in values}


def _parse_tone(values: Any, name: str) -> Tone | None:
    """Return the tone of item `name`, None where it has none or a newer one. Raises StoreError for a damaged one."""
    try:
        return None if values is None else Tone.parse(values)
    except ValueError as error:
        raise StoreError(f"{name} has a damaged timbre: {error}; make its keys anew") from None
