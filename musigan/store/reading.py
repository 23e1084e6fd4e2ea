"""Readers of a store: a stream from front to back; a file, a folder or a URL in any order."""

from __future__ import annotations

import math
import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from reprlib import repr as shown  # shortens long values: the metadata of a damaged store may hold anything
from typing import IO

from musigan.errors import MusiganError, StoreError, UsageError
from musigan.files.remote import is_url
from musigan.machine.reporting import counted
from musigan.store import together, zipstream
from musigan.store.attributes import is_count
from musigan.store.caching import DiskCache, Fetch, most_bytes
from musigan.store.header import StoreHeader
from musigan.store.layout import (
    MAX_METADATA_BYTES,
    Array,
    Item,
    ItemInfo,
    block_of_shard,
    decode_block,
    gather,
    info_of,
    item_name,
    parse_array,
    parse_group,
    parse_root,
)
from musigan.store.locations import READY, url_children, url_map

LARGE_DIRECTORY_BYTES = 1 << 20  # of some 1,000 songs of two minutes, whose metadata takes 20 MB of memory


@contextmanager
def _with_source(source: str) -> Iterator[None]:
    """Prefix the message of a StoreError with the store's name."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{source}: {error}") from None


class Reader:
    """An open store, iterable over its items; `source` is the store's name in messages."""

    has_checksums = True  # whether a changed bit of its data is noticed

    def __init__(self, source: str, header: StoreHeader) -> None:
        self.source, self.header = source, header

    @property
    def kind(self) -> str:
        return self.header.kind

    def __iter__(self) -> Iterator[Item]:
        raise NotImplementedError

    def chosen(self, is_wanted: Callable[[ItemInfo], bool]) -> Iterator[Item]:
        """Yield the items that are wanted by their metadata; the data of others is not read where that is possible."""
        return (item for item in self if is_wanted(item.info))

    def infos(self) -> list[ItemInfo]:
        """Return each item's metadata without reading data. Raises UsageError for a pipe."""
        raise UsageError(f"{self.source}: a pipe can only be read from front to back: save it to a file first")

    def read(self, name: str) -> Array:
        """Read one whole item. Raises UsageError for a pipe."""
        raise UsageError(f"{self.source}: a pipe can only be read from front to back: save it to a file first")

    def block(self, name: str, index: int) -> Array:
        """Read pair or chunk `index` of an item, (1, ...); read-only.

        Raises UsageError for a pipe.
        """
        raise UsageError(f"{self.source}: a pipe can only be read from front to back: save it to a file first")

    def close(self) -> None:
        """Close the files that this reader opened."""

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _limit(key: str) -> int:
    """Return the largest size in bytes that an entry of a stream, or a file but the group's metadata, may have."""
    return MAX_METADATA_BYTES if key.endswith("zarr.json") else zipstream.MAX_ENTRY_BYTES


class _StreamReader(Reader):
    """A store read from front to back, once: the items in order, each item's blocks in the order of writing."""

    def __init__(self, file: IO[bytes], source: str, owned: bool = False) -> None:
        self._file, self._owned, self._is_read = file, owned, False
        try:
            with _with_source(source):
                self._entries = zipstream.read_entries(file, _limit)
                entry, data = next(self._entries, (None, b""))
                if entry is None or entry.name != "zarr.json":
                    raise StoreError("not a store: a store's first entry is zarr.json")
                super().__init__(source, parse_group(data))
        except StoreError:
            self.close()
            raise

    def __iter__(self) -> Iterator[Item]:
        if self._is_read:
            raise UsageError(f"{self.source}: a pipe can only be read once: save it to a file first")
        self._is_read = True
        with _with_source(self.source):
            for count, (entry, data) in enumerate(self._entries, 1):
                name = item_name(count)
                if entry.name != f"{name}/zarr.json":
                    raise StoreError(f"found entry {entry.name} where {name}/zarr.json should come")
                info = parse_array(name, data, self.header)
                yield Item(info, gather(info, self._fetch_next))

    def _fetch_next(self, key: str) -> bytes:
        """Return the data of the next entry. Raises StoreError where it is not the block `key`, or the stream ends."""
        entry, data = next(self._entries, (None, b""))
        if entry is None or entry.name != key:
            raise StoreError(f"found {entry.name if entry else 'the end'} where {key} should come: a block is missing")
        return data

    def close(self) -> None:
        if self._owned:
            self._file.close()


class _KeyedReader(Reader):
    """A store whose keys can be fetched in any order.

    `names` returns the items' names, in order, from the group's header.
    """

    most_root_bytes = MAX_METADATA_BYTES  # of the group's metadata

    def __init__(self, source: str, fetch: Fetch, names: Callable[[StoreHeader], Iterable[str]]) -> None:
        self._fetch = fetch
        with _with_source(source):
            header, known = parse_root(self._fetch("zarr.json"), self.most_root_bytes)
            super().__init__(source, header)
            self._infos = [
                info_of(name, known[name], header) if name in known else self._info(name) for name in names(header)
            ]
        self._by_name = {info.name: info for info in self._infos}

    def _info(self, name: str) -> ItemInfo:
        return parse_array(name, self._fetch(f"{name}/zarr.json"), self.header)

    def __iter__(self) -> Iterator[Item]:
        return self.chosen(lambda info: True)

    def chosen(self, is_wanted: Callable[[ItemInfo], bool]) -> Iterator[Item]:
        return (Item(info, self.read(info.name)) for info in self._infos if is_wanted(info))

    def infos(self) -> list[ItemInfo]:
        return list(self._infos)

    def read(self, name: str) -> Array:
        with _with_source(self.source):
            return gather(self._by_name[name], self._fetch)

    def block(self, name: str, index: int) -> Array:
        info = self._by_name[name]
        if not 0 <= index < info.shape[0]:
            raise IndexError(f"{name} has {info.shape[0]} {info.dimension_names[0]}, no number {index}")
        if info.blocks[1:] != info.shape[1:]:  # a waveform, or a store written by another program in smaller blocks
            return self.read(name)[index : index + 1]
        number, row = divmod(index, info.stored[0])
        key = "/".join((name, "c", str(number), *("0" for _ in info.shape[1:])))
        with _with_source(self.source):
            if info.packing.shard_blocks:
                place, row = divmod(row, info.blocks[0])
                return block_of_shard(self._fetch(key), info, key, place)[row : row + 1]
            return decode_block(self._fetch(key), info, key)[row : row + 1]


class _ZipReader(_KeyedReader):
    """A store in a file. Its descriptor survives a fork; a block's checksum is compared at its first use.

    Only the directory is memory-mapped: a file that is cut short while it is read would end the process by a bus error.
    """

    def __init__(self, path: Path, source: str) -> None:
        self._file = path.open("rb")
        with _with_source(source):
            whole = memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))
            entries = {entry.name: entry for entry in zipstream.read_directory(whole)}
        unchecked = set(entries)

        def fetch(key: str) -> memoryview:
            """Return an entry's bytes; compare its checksum the first time only."""
            if key not in entries:
                raise StoreError(f"{key} is missing: not a store, or a damaged one")
            data = zipstream.read_entry(self._file.fileno(), entries[key], check=key in unchecked)
            unchecked.discard(key)
            return data

        def names(_: StoreHeader) -> list[str]:
            """Count the arrays of the archive: its header was written before the number of items was known."""
            count = sum(key.count("/") == 1 and key.endswith("/zarr.json") for key in entries)
            return [item_name(number) for number in range(1, count + 1)]

        super().__init__(source, fetch, names)
        with _with_source(source):
            self._check_blocks(entries)

    def close(self) -> None:
        self._file.close()

    def _check_blocks(self, entries: dict[str, zipstream.Entry]) -> None:
        """Compare the entries with the metadata, so that a missing block is an error when the store is opened."""
        missing_blocks = 1 + sum(1 + math.prod(info.grid) for info in self._infos) - len(entries)
        if missing_blocks > 0:
            raise StoreError(f"it lacks {missing_blocks} of its blocks: the store is damaged")
        expected = {"zarr.json"}
        for info in self._infos:
            expected.add(f"{info.name}/zarr.json")
            expected.update(key for key, _ in info.block_keys())
        if foreign_keys := entries.keys() - expected:
            raise StoreError(f"it holds {min(foreign_keys)}, which is no part of it: the store is damaged")


class _OrderedReader(Reader):
    """A finished store in a folder or at a URL, read from front to back: no list of its items is kept."""

    has_checksums = False

    def __init__(self, source: str, fetch: Fetch) -> None:
        self._fetch = fetch
        with _with_source(source):
            super().__init__(source, parse_group(together.alone(self._fetch("zarr.json"))))
            _names_by_count(self.header)

    def __iter__(self) -> Iterator[Item]:
        return self.chosen(lambda info: True)

    def chosen(self, is_wanted: Callable[[ItemInfo], bool]) -> Iterator[Item]:
        with _with_source(self.source):
            for name in _names_by_count(self.header):
                info = parse_array(name, self._fetch(f"{name}/zarr.json"), self.header)
                if is_wanted(info):
                    yield Item(info, gather(info, self._fetch))


class _FolderReader(_KeyedReader):
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


def _folder_fetch(path: Path) -> Fetch:
    """Return what reads the files below a folder."""

    def fetch(key: str) -> memoryview:
        """Read a file."""
        try:
            with open(path / key, "rb", opener=_without_waiting) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise StoreError(f"{key} is not a regular file: not a store, or a damaged one")
                if status.st_size > (_FolderReader.most_root_bytes if key == "zarr.json" else _limit(key)):
                    raise StoreError(f"{key} is too large ({status.st_size} bytes): the store is damaged")
                data = file.read(status.st_size)
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


def _names_by_count(header: StoreHeader) -> Iterable[str]:
    """Return the names of a finished store's items from their number. Raises StoreError for an impossible number."""
    items = header.other.get("items") if header.items is None else header.items
    if not is_count(items):
        raise StoreError(f'the store says it has {shown(items)} items; a store in a folder counts them under "items"')
    return (item_name(number) for number in range(1, items + 1))


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
        return _StreamReader(source, name or str(getattr(source, "name", "store")))
    label = name or source
    of_keys = _OrderedReader if in_order else _FolderReader
    if is_url(source):
        fetch = _url_fetch(source)
        return _OrderedReader(source, fetch) if in_order else _FolderReader(source, fetch, cached)
    path = Path(source)
    try:
        if path.is_dir():
            return of_keys(label, _folder_fetch(path))
        if path.is_fifo() or path.is_char_device():
            return _StreamReader(path.open("rb"), label, owned=True)
        with path.open("rb") as file:
            magic = file.read(4)
            is_large = zipstream.directory_bytes(file) > LARGE_DIRECTORY_BYTES
        if not magic:
            raise StoreError(f"{label}: the file is empty: the tool that wrote it did not finish")
        if magic != b"PK\x03\x04":
            raise StoreError(f"{label}: not a store: a store's file is a ZIP, this begins with {magic!r}")
        # Entries of other programs come in any order, which a stream does not allow.
        return _StreamReader(path.open("rb"), label, owned=True) if in_order and is_large else _ZipReader(path, label)
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
