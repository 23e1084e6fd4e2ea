"""Readers of a store in a ZIP archive: a stream; a file in any order, or from front to back by its directory."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import IO

from musigan.errors import StoreError, UsageError
from musigan.store import zipstream
from musigan.store.header import StoreHeader
from musigan.store.layout import Item, ItemInfo, gather, item_name, parse_array, parse_group
from musigan.store.reader import KeyedReader, Reader, limit_of, with_source


class StreamReader(Reader):
    """A store read from front to back, once: the items in order, each item's blocks in the order of writing."""

    def __init__(self, file: IO[bytes], source: str, owned: bool = False) -> None:
        self._file, self._owned, self._is_read = file, owned, False
        try:
            with with_source(source):
                self._entries = zipstream.read_entries(file, limit_of, names_are_checked=True)
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
        with with_source(self.source):
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


class ZipReader(KeyedReader):
    """A store in a file. Its descriptor survives a fork; a block's checksum is compared at its first use.

    Nothing is memory-mapped: a file that is cut short while it is read would end the process by a bus error.
    """

    def __init__(self, path: Path, source: str) -> None:
        self._file = path.open("rb")
        with with_source(source):
            directory = zipstream.read_directory(_from_start(self._file))
        entries = {entry.name: entry for entry in directory}
        unchecked = set(entries)

        def fetch(key: str) -> memoryview:
            """Return an entry's bytes; compare its checksum the first time only."""
            data = _fetch_entry(self._file, entries, key, check=key in unchecked)
            unchecked.discard(key)
            return data

        def names(_: StoreHeader) -> list[str]:
            """Count the arrays of the archive: its header was written before the number of items was known."""
            count = sum(key.count("/") == 1 and key.endswith("/zarr.json") for key in entries)
            return [item_name(number) for number in range(1, count + 1)]

        super().__init__(source, fetch, names)
        with with_source(source):
            _check_blocks(self._infos, entries.keys() - {"zarr.json"})

    def close(self) -> None:
        self._file.close()


def _from_start(file: IO[bytes]) -> IO[bytes]:
    """Return a file object of its own over an open file, which others may read at the same time."""
    return io.BufferedReader(zipstream.At(file.fileno()))


def _fetch_entry(file: IO[bytes], entries: Mapping[str, zipstream.Entry], key: str, check: bool = True) -> memoryview:
    if key not in entries:
        raise StoreError(f"{key} is missing: not a store, or a damaged one")
    return zipstream.read_entry(file.fileno(), entries[key], check)


def _check_blocks(infos: Sequence[ItemInfo], keys: Collection[str]) -> None:
    """Compare the keys of items with their metadata. Raises StoreError where blocks are missing, or others there."""
    missing_blocks = sum(1 + math.prod(info.grid) for info in infos) - len(keys)
    if missing_blocks > 0:
        raise StoreError(f"it lacks {missing_blocks} of its blocks: the store is damaged")
    expected = {f"{info.name}/zarr.json" for info in infos}
    for info in infos:
        expected.update(key for key, _ in info.block_keys())
    if foreign_keys := set(keys) - expected:
        raise StoreError(f"it holds {min(foreign_keys)}, which is no part of it: the store is damaged")


class ZipInOrder(Reader):
    """A store in a file, read from front to back by its directory, of which one item's entries are in memory.

    The directory has to list one item after the other. Every checksum is compared.
    """

    def __init__(self, file: IO[bytes], source: str, root: zipstream.Entry) -> None:
        self._file = file
        with with_source(source):
            super().__init__(source, parse_group(_fetch_entry(file, {root.name: root}, root.name)))

    @classmethod
    def opened(cls, path: Path, source: str) -> Reader:
        """Open a file whose directory is in order; return a reader in any order for another, or a damaged one."""
        file = path.open("rb")
        root, last, count = None, "", 0
        with suppress(StoreError):
            for entry in zipstream.directory_entries(_from_start(file)):
                name = _folder_of(entry)
                if entry.name == "zarr.json" and root is None:
                    root = entry
                elif name != last:
                    last, count = name, count + 1
                    if name != item_name(count):
                        break
            else:
                if root is not None:
                    return cls(file, source, root)
        file.close()
        return ZipReader(path, source)

    def __iter__(self) -> Iterator[Item]:
        return self.chosen(lambda info: True)

    def chosen(self, is_wanted: Callable[[ItemInfo], bool]) -> Iterator[Item]:
        with with_source(self.source):
            directory = zipstream.directory_entries(_from_start(self._file))
            for name, group in groupby((entry for entry in directory if entry.name != "zarr.json"), _folder_of):
                listed = list(group)
                entries = {entry.name: entry for entry in listed}
                if len(entries) < len(listed):
                    raise StoreError("an entry comes twice: the store is damaged")
                fetch = partial(_fetch_entry, self._file, entries)
                info = parse_array(name, fetch(f"{name}/zarr.json"), self.header)
                _check_blocks([info], entries)
                if is_wanted(info):
                    yield Item(info, gather(info, fetch))

    def close(self) -> None:
        self._file.close()


def _folder_of(entry: zipstream.Entry) -> str:
    """Return the name of the item that an entry belongs to."""
    return entry.name.partition("/")[0]
