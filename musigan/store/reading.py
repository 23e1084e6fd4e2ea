"""Opening of a store that is on a pipe, in a file, in a folder or at a URL, and the readers of the latter two."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shown  # shortens long values: the metadata of a damaged store may hold anything
from typing import IO, Any

from musigan.errors import MusiganError, StoreError
from musigan.files.remote import is_url
from musigan.machine.reporting import counted
from musigan.store import together, zipstream
from musigan.store.archives import StreamReader, ZipInOrder, ZipReader
from musigan.store.attributes import is_count
from musigan.store.caching import DiskCache, Fetch, most_bytes
from musigan.store.header import StoreHeader
from musigan.store.layout import (
    MAX_METADATA_BYTES,
    Item,
    ItemInfo,
    each_of_root,
    gather,
    info_of,
    item_name,
    parse_document,
    parse_group,
)
from musigan.store.locations import READY, url_children, url_map
from musigan.store.reader import KeyedReader, Reader, limit_of, with_source

BEGINNING_BYTES = 1 << 16  # of the group's metadata, in which its own end and that of the items begins


class _OrderedReader(Reader):
    """A finished store in a folder or at a URL, read from front to back: no list of its items is kept.

    `has_checksums` is of the items read so far.
    """

    def __init__(self, source: str, fetch: Fetch, fetch_beginning: Fetch | None = None) -> None:
        self._fetch, self.has_checksums = fetch, False
        with with_source(source):
            root = (fetch_beginning or fetch)("zarr.json")
            if not together.is_ours(root):
                root = fetch("zarr.json")
            super().__init__(source, parse_group(together.alone(root)))
            _names_by_count(self.header)

    def __iter__(self) -> Iterator[Item]:
        return self.chosen(lambda info: True)

    def chosen(self, is_wanted: Callable[[ItemInfo], bool]) -> Iterator[Item]:
        return self._chosen(is_wanted, {})

    def compared(self) -> Iterator[Item]:
        copies: dict[str, int] = {}
        with with_source(self.source):
            names = _names_by_count(self.header)
            for name, document in each_of_root(self._fetch("zarr.json"), _FolderReader.most_root_bytes):
                if name in names:
                    info_of(name, document, self.header)
                    copies[name] = _digest(document)
        return self._chosen(lambda info: True, copies)

    def _chosen(self, is_wanted: Callable[[ItemInfo], bool], copies: Mapping[str, int]) -> Iterator[Item]:
        """Yield wanted items. Raises StoreError where the metadata of one are others than its copy, of these digests.

        Copies are what those who open the store in any order read, items what those do who read it in theirs.
        """
        with with_source(self.source):
            for number, name in enumerate(_names_by_count(self.header)):
                document = parse_document(self._fetch(f"{name}/zarr.json"), f"{name}/zarr.json")
                info = info_of(name, document, self.header)
                if name in copies and copies[name] != _digest(document):
                    advice = "expected the same, write it anew by zarr.consolidate_metadata"
                    raise StoreError(f"{name}/zarr.json says something else than zarr.json says of {name}: {advice}")
                self.has_checksums = (self.has_checksums or not number) and info.packing.has_checksums
                if is_wanted(info):
                    yield Item(info, gather(info, self._fetch))


def _digest(document: Mapping[str, Any]) -> int:
    """Return a number that differs where documents do."""
    text = json.dumps(document, sort_keys=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class _FolderReader(KeyedReader):
    """A store in a folder or at a URL, one file or object a key."""

    most_root_bytes = MAX_METADATA_BYTES + together.MAX_BYTES  # with that of all items

    def __init__(self, source: str, fetch: Fetch, cached: bool = False) -> None:
        super().__init__(source, fetch, _names_by_count)
        self.has_checksums = all(info.packing.has_checksums for info in self._infos)
        self._cache = DiskCache(fetch, most) if cached and (most := most_bytes()) else None
        self._fetch = self._cache or fetch

    def close(self) -> None:
        if self._cache is not None:
            self._cache.close()


def _missing(key: str, waiting: Callable[[], list[str]]) -> StoreError:
    """Return the error of a key that is not there; of a store that many hands write (growing), how far it is."""
    names: list[str] = []
    if key == "zarr.json":
        with suppress(OSError, StoreError):
            names = waiting()
    if not names:
        return StoreError(f"{key} is missing: not a store, or one that was not finished")
    songs = counted(sum("." not in name for name in names), "songs")
    return StoreError(f"not finished, {songs} of it are ready: run the same musigan prepare again to complete it")


def _without_waiting(path: str, flags: int) -> int:
    """Open a file without waiting for somebody to write it, as a named pipe would."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _folder_fetch(path: Path, most_bytes: int | None = None) -> Fetch:
    """Return what reads the files below a folder, or so many bytes of each."""

    def fetch(key: str) -> memoryview:
        """Read a file."""
        try:
            with open(path / key, "rb", opener=_without_waiting) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise StoreError(f"{key} is not a regular file: not a store, or a damaged one")
                if status.st_size > (_FolderReader.most_root_bytes if key == "zarr.json" else limit_of(key)):
                    raise StoreError(f"{key} is too large ({status.st_size} bytes): the store is damaged")
                data = file.read(status.st_size if most_bytes is None else most_bytes)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            raise _missing(key, lambda: os.listdir(path / READY)) from None
        except OSError as error:
            raise StoreError(f"{key} cannot be read: {error.strerror or error}") from None
        if not data:
            raise StoreError(f"{key} is missing or empty: not a store, or one that was not finished")
        return memoryview(data)

    return fetch


def _url_fetch(url: str) -> Fetch:
    """Return what fetches the objects below a URL."""
    objects = url_map(url)

    def fetch(key: str) -> memoryview:
        """Fetch all bytes of an object."""
        try:
            return memoryview(objects[key])
        except KeyError:
            raise _missing(key, lambda: url_children(url_map(f"{url.rstrip('/')}/{READY}"))) from None
        except Exception as error:  # each fsspec file system has error classes of its own
            raise StoreError(f"{key} cannot be read: {type(error).__name__}: {error}") from error

    return fetch


@dataclass(frozen=True)
class _Numbered:
    """The names of so many items, in order."""

    count: int

    def __iter__(self) -> Iterator[str]:
        return (item_name(number) for number in range(1, self.count + 1))

    def __contains__(self, name: str) -> bool:
        return name.isdecimal() and 1 <= int(name) <= self.count and name == item_name(int(name))


def _names_by_count(header: StoreHeader) -> _Numbered:
    """Return the names of a finished store's items from their number. Raises StoreError for an impossible number."""
    items = header.other.get("items") if header.items is None else header.items
    if not is_count(items):
        raise StoreError(f'the store says it has {shown(items)} items; a store in a folder counts them under "items"')
    return _Numbered(items)


def open_reader(
    source: str | IO[bytes], kinds: tuple[str, ...] = (), name: str | None = None, in_order: bool = False,
    cached: bool = False,
) -> Reader:  # fmt: skip
    """Open a store: a binary file object or FIFO (read from front to back), a file, a folder or a URL.

    `kinds` are the kinds that the caller can use; `name` is the store's name in messages. With `in_order` any store is
    read from front to back only, in memory that does not grow with the number of its items; `cached` keeps what comes
    from a URL on the disk while the reader is open, for those who read it again and again. Raises StoreError for
    another kind or a damaged store, MusiganError for a file that cannot be read.
    """
    reader = _open_any(source, name, in_order, cached)
    if kinds and reader.kind not in kinds:
        reader.close()
        advice = {"waveform": "mp3-to-npy", "pairs": "pair-chunks", "keys": "npy-to-keys"}[kinds[0]]
        raise StoreError(
            f"{reader.source}: found a store of {reader.kind}, expected {' or '.join(kinds)}, as {advice} writes it"
        )
    return reader


def _open_any(source: str | IO[bytes], name: str | None, in_order: bool, cached: bool) -> Reader:
    if not isinstance(source, str):
        return StreamReader(source, name or str(getattr(source, "name", "store")))
    label = name or source
    if is_url(source):
        fetch = _url_fetch(source)
        return _OrderedReader(source, fetch) if in_order else _FolderReader(source, fetch, cached)
    path = Path(source)
    try:
        if path.is_dir():
            fetch = _folder_fetch(path)
            beginning = _folder_fetch(path, BEGINNING_BYTES)
            return _OrderedReader(label, fetch, beginning) if in_order else _FolderReader(label, fetch)
        if path.is_fifo() or path.is_char_device():
            return StreamReader(path.open("rb"), label, owned=True)
        with path.open("rb") as file:
            magic = file.read(4)
        if not magic:
            raise StoreError(f"{label}: the file is empty: the tool that wrote it did not finish")
        if magic != b"PK\x03\x04":
            raise StoreError(f"{label}: not a store: a store's file is a ZIP, this begins with {magic!r}")
        return ZipInOrder.opened(path, label) if in_order else ZipReader(path, label)
    except FileNotFoundError:
        raise MusiganError(f"{label}: no such file or folder") from None
    except OSError as error:
        raise MusiganError(f"{label}: {error.strerror or error}") from None


@contextmanager
def spool(file: IO[bytes], name: str = "standard input") -> Iterator[str]:
    """Save a stream to a temporary file and yield its path, for a caller that reads it more than once.

    The stream's end is checked when the file is opened; the file is deleted at the end of the `with` block.
    Raises MusiganError where the file cannot be written.
    """
    with tempfile.NamedTemporaryFile(prefix="musigan-", suffix=".zarr.zip") as spool:
        try:
            shutil.copyfileobj(file, spool, zipstream.READ_BYTES)
            spool.flush()
        except OSError as error:
            raise MusiganError(f"{name}: cannot save it in {tempfile.gettempdir()}: {error.strerror}") from None
        yield spool.name
