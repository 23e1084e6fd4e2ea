"""Choosing of songs by what their attributes say: filters, in which texts are compared without case and may hold *."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from musigan.errors import FieldError, MusiganError
from musigan.machine.reporting import Reporter, working_on
from musigan.store import ItemInfo, Reader, Song, StoreHeader, Writer
from musigan.store.attributes import is_number
from musigan.store.joining import song_count
from musigan.store.songs import usable

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_CONDITION = re.compile(r"([^<>=]+)(<=|>=|<|>|=)(.*)", re.DOTALL)


def song_seconds(info: ItemInfo, header: StoreHeader) -> float:
    """Return how long a song is, in seconds: from its first pair or chunk to the end of its last."""
    if header.kind == "waveform":
        return info.shape[-1] / header.sample_rate
    if info.song.seconds is not None:
        return info.song.seconds
    span = header.chunk_seconds * (2 if info.dimension_names[0] == "pairs" else 1)
    starts = info.song.start_times(info.shape[0], span)
    return max(starts) - min(starts) + span


@dataclass(frozen=True)
class AttributeTest:
    """A condition on one attribute of a song: NAME=PATTERN, or NAME<NUMBER and the like."""

    name: str
    comparison: str
    value: str

    @classmethod
    def parse(cls, text: str) -> AttributeTest:
        """Parse a condition. Raises FieldError for other text."""
        found = _CONDITION.fullmatch(text)
        test = cls(*map(str.strip, found.groups())) if found else None
        if test is None or (test.comparison != "=" and _number(test.value) is None):
            expected = "year=19* (* stands for anything), tempo>=120, level<0.5"
            raise FieldError("{where} {0}: expected a condition such as {1}", text, expected)
        return test

    def accepts(self, song: Song) -> bool:
        """Return whether the song has the attribute, and it is as the condition says."""
        value = song.to_attributes().get(self.name)
        if self.comparison == "=":
            return value is not None and _is_like(_text(value), (self.value,))
        number, bound = value if is_number(value) else _number(str(value)), _number(self.value)
        return number is not None and COMPARISONS[self.comparison](number, bound)


@dataclass(frozen=True)
class SongFilter:
    """Which songs are wanted: those that all given fields accept; of several texts of a field, one is enough."""

    genre: tuple[str, ...] = ()  # the tag, or else the folder
    artist: tuple[str, ...] = ()
    title: tuple[str, ...] = ()  # or else the file
    min_seconds: float | None = None
    max_seconds: float | None = None
    has_beats: bool | None = None  # a beat to be sure of; None: either
    split: str = ""  # train or validation
    where: tuple[AttributeTest, ...] = field(default=())
    invert: bool = False  # those that are not accepted, instead

    def accepts(self, info: ItemInfo, header: StoreHeader) -> bool:
        """Return whether a song is wanted."""
        song, seconds = info.song, song_seconds(info, header)
        texts = ((song.style, self.genre), (song.artist, self.artist), (info.title, self.title))
        is_accepted = (
            all(not patterns or _is_like(text, patterns) for text, patterns in texts)
            and (self.min_seconds is None or seconds >= self.min_seconds - 1e-6)
            and (self.max_seconds is None or seconds <= self.max_seconds + 1e-6)
            and (self.has_beats is None or (song.every_beat.steady() is not None) is self.has_beats)
            and (not self.split or self.split == (song.split or "train"))
            and all(test.accepts(song) for test in self.where)
        )
        return is_accepted is not self.invert

    def write(self, reader: Reader, writer: Writer, reporter: Reporter) -> int:
        """Write the wanted songs of a store into another; return how many songs it has.

        Raises MusiganError where none is wanted.
        """
        songs = 0

        def is_wanted(info: ItemInfo) -> bool:
            nonlocal songs
            songs += 1
            progress.step(info.title)
            return self.accepts(info, reader.header)

        progress = reporter.progress(song_count(reader.header), "songs")
        for item in usable(reader.chosen(is_wanted), reporter.skip):
            with working_on(item.title):
                writer.add(item.array, item.dimension_names, item.song)
        if songs and not writer.items:
            raise MusiganError(f"none of the {songs} songs is as these options say: nothing is written")
        return songs


def write_first(reader: Reader, count: int, writer: Writer, reporter: Reporter) -> None:
    """Write the first songs of a store into another, and read no more of it."""
    progress = reporter.progress(count, "songs")
    for item in islice(usable(reader, reporter.skip), count):
        with working_on(item.title):
            writer.add(item.array, item.dimension_names, item.song)
        progress.step(item.title)


def _is_like(text: str, patterns: Sequence[str]) -> bool:
    """Return whether a text is one of the patterns, in which * and ? stand for others; case does not count."""
    return any(fnmatchcase(text.strip().casefold(), pattern.strip().casefold()) for pattern in patterns)


def _text(value: Any) -> str:
    """Return an attribute as people write it: 3/4 for a time signature, 120 for 120.0."""
    if isinstance(value, list):
        return "/".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(text: str) -> float | None:
    """Return the finite number that a text says; None where it says none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if is_number(number) else None
