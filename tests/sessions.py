"""A run of a tool for tests of the library: it remembers what it is told, and opens stores that lie on disk."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from musigan import store


class Session:
    """Remembers words and skipped inputs; `strict` raises at the first of these."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.details: list[str] = []
        self.statuses: list[str] = []
        self.skipped: list[tuple[str, str, str | None]] = []
        self.counts: list[Count] = []
        self.readers: list[store.Reader] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def detail(self, text: str) -> None:
        self.details.append(text)

    def status(self, text: str) -> None:
        self.statuses.append(text)

    def skip(self, what: str, reason: str, group: str | None = None) -> None:
        self.skipped.append((what, reason, group))

    def progress(self, total: int | None, unit: str) -> Count:
        self.counts.append(Count(total, unit))
        return self.counts[-1]

    def reader(self, source: str, *kinds: str, in_order: bool = False) -> store.Reader:
        self.readers.append(store.open_reader(source, kinds, in_order=in_order))
        return self.readers[-1]

    random_access_reader = reader


class Count:
    """What was counted, by name."""

    def __init__(self, total: int | None, unit: str) -> None:
        self.total, self.unit, self.notes = total, unit, list[str]()

    def step(self, note: str = "") -> None:
        self.notes.append(note)


def writer(path: Path, header: store.StoreHeader) -> AbstractContextManager[store.Writer]:
    return store.write(str(path), header)
