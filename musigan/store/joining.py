"""Several stores as one: the header that their songs share, and the songs one after the other.

A song that several stores have, by its content, is one song, that of the first store. Within a store equal content is
meant: the beginning of a song to learn from, and its end that is held back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from musigan.errors import StoreError, UsageError
from musigan.files.duplicates import compact
from musigan.machine.reporting import Reporter, working_on
from musigan.store import ItemInfo, Reader, Song, StoreHeader, Writer
from musigan.store.alike import AXES, require_alike
from musigan.store.locations import is_stream, is_url
from musigan.store.opening import ToolSession
from musigan.store.songs import usable

SETTINGS = ("kind", "sample_rate", "chunk_seconds", *AXES, "band", "tracks")  # that stores of one store share
SHARED_OR_NONE = ("overlap", "validation")  # what each song says of itself: kept where all stores agree
ADVICE = "only stores of the same settings go together: make both with the same"


def joint_header(stores: Sequence[tuple[str, StoreHeader]]) -> StoreHeader:
    """Return the header of the songs of several stores, each (name, header).

    Raises StoreError where they were made with different settings.
    """
    for other in stores[1:]:
        require_alike(stores[0], other, ADVICE, SETTINGS)
    first, *others = (header for _, header in stores)
    counts = [song_count(header) for _, header in stores]
    attributes = {
        name: value
        for name, value in first.other.items()
        if all(name in header.other and header.other[name] == value for header in others)
    }
    shared: dict[str, Any] = {
        name: getattr(first, name) if all(getattr(each, name) == getattr(first, name) for each in others) else None
        for name in SHARED_OR_NONE
    }
    known = [count for count in counts if count is not None]
    expected = sum(known) if len(known) == len(counts) else None
    return replace(first, expected=expected, items=None, other=attributes, **shared)


def song_count(header: StoreHeader) -> int | None:
    """Return how many songs a store has, or was to have; None where its header says neither."""
    return header.expected if header.items is None else header.items


def require_same_form(one: tuple[str, ItemInfo], other: tuple[str, ItemInfo]) -> None:
    """Raise StoreError where the first items of two stores, each (name, item), are cut or laid out differently."""
    (name, info), (other_name, other_info) = one, other
    first, second = info.dimension_names, other_info.dimension_names
    if first == second and (first[-1] != "frames" or info.shape[1:] == other_info.shape[1:]):
        return
    raise StoreError(
        f"{name} has ({', '.join(first)}) of {info.shape}, {other_name} ({', '.join(second)}) of {other_info.shape}: "
        f"{ADVICE}"
    )


class FirstCopies:
    """The contents of the songs seen so far, store after store."""

    def __init__(self) -> None:
        self.left_out = 0
        self._earlier: set[int | str] = set()
        self._own: set[int | str] = set()

    def next_store(self) -> None:
        """Begin with the songs of another store."""
        self._earlier |= self._own
        self._own = set()

    def is_copy(self, song: Song) -> bool:
        """Return whether an earlier store has the song, and count it."""
        is_copy = bool(song.content) and compact(song.content) in self._earlier
        self.left_out += is_copy
        return is_copy

    def add(self, song: Song) -> None:
        """Remember a song of the store at hand."""
        self._own.add(compact(song.content))


class StoreSequence:
    """Stores of the same settings, read one after the other; `header` is that of all their songs.

    Those on disk are open in their turn only, as there may be more of them than a program may have open. `once`: to be
    put together so that each song comes once and all are cut alike. Raises StoreError where they were made with
    different settings, UsageError for a pipe that is named twice.
    """

    def __init__(self, sources: Sequence[str], session: ToolSession, once: bool = True) -> None:
        self._sources, self._session, self.once = tuple(sources), session, once
        self._pipes: dict[str, Reader] = {}
        headers, forms = [], []
        for source in self._sources:
            if source in self._pipes:
                raise UsageError(f"{self._pipes[source].source} is named twice, and can be read once")
            reader = session.reader(source, in_order=True)
            headers.append((reader.source, reader.header))
            if source == "-" or (not is_url(source) and is_stream(Path(source))):
                self._pipes[source] = reader
                continue
            forms += [(reader.source, item.info) for item in islice(reader, 1)]
            reader.close()
        self.header = joint_header(headers)
        for form in forms[1:] if once else ():
            require_same_form(forms[0], form)
        self.disagreed = [
            name for name in SHARED_OR_NONE if getattr(self.header, name) is None
            and any(getattr(header, name) is not None for _, header in headers)
        ]  # fmt: skip

    def __iter__(self) -> Iterator[Reader]:
        for source in self._sources:
            with self._pipes.get(source) or self._session.reader(source, in_order=True) as reader:
                require_alike((self._sources[0], self.header), (reader.source, reader.header), ADVICE, SETTINGS)
                yield reader


def join(stores: StoreSequence, writer: Writer, reporter: Reporter) -> int:
    """Write the songs of several stores into one; return how many were left out, as an earlier store has them."""
    copies = FirstCopies()
    progress = reporter.progress(stores.header.expected, "songs")
    first: tuple[str, ItemInfo] | None = None
    for reader in stores:
        chosen = reader.chosen(lambda info: not (stores.once and copies.is_copy(info.song)))
        for number, item in enumerate(usable(chosen, reporter.skip)):
            first = first or (reader.source, item.info)
            if stores.once and not number:
                require_same_form(first, (reader.source, item.info))
            with working_on(item.title):
                writer.add(item.array, item.dimension_names, item.song)
            if stores.once:
                copies.add(item.song)
            progress.step(item.title)
        copies.next_store()
    return copies.left_out
