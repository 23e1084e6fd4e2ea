"""A writer of stores to a pipe, a file, a folder or a URL; a store is complete or it is not there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import numpy as np

from musigan import __version__
from musigan.errors import UsageError
from musigan.files.atomic import Aside
from musigan.files.remote import is_url
from musigan.store import zipstream
from musigan.store.header import FORMAT, StoreHeader
from musigan.store.layout import (
    ATTRIBUTE,
    DTYPES,
    Array,
    check_shape,
    item_name,
    parse_array,
    parse_group,
)
from musigan.store.locations import check_replaceable, clear_url, is_stream, url_children, url_map
from musigan.store.song import Song


class _Sink(Protocol):
    """A destination of a store's bytes. Before `finish`, no reader accepts what is there as a store."""

    def begin(self, header: StoreHeader) -> None:
        """Begin with the group's header; called first, once."""

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Store `data` under `key`: an item's metadata, then its blocks in the order of their keys."""

    def flush(self) -> None:
        """Pass buffered bytes on to the reader; called after each item."""

    def finish(self, items: int) -> None:
        """Complete the store with its number of items: only now readers accept it."""

    def abort(self) -> None:
        """Leave nothing that readers accept as a store; called instead of `finish`, or after a `finish` that failed."""


def _group_json(header: StoreHeader) -> bytes:
    """Encode the group's zarr.json. Raises ValueError for values that JSON cannot hold (NaN, infinity)."""
    document = {"attributes": {ATTRIBUTE: header.to_attributes()}, "zarr_format": 3, "node_type": "group"}
    return json.dumps(document, indent=2, allow_nan=False).encode()


class _StreamSink:
    """A ZIP written from front to back to an open binary file, usually a pipe."""

    def __init__(self, file: IO[bytes]) -> None:
        self._entries = zipstream.EntryWriter(file)

    def begin(self, header: StoreHeader) -> None:
        self.put("zarr.json", _group_json(header))
        self.flush()

    def put(self, key: str, data: bytes | memoryview) -> None:
        self._entries.add(key, data)

    def flush(self) -> None:
        self._entries.flush()

    def finish(self, items: int) -> None:
        self._entries.finish()

    def abort(self) -> None:
        """Leave the stream without its directory, so that its reader raises an error."""


class _DeviceSink(_StreamSink):
    """The same ZIP written to a FIFO or device that is named by a path."""

    def __init__(self, path: Path) -> None:
        self._device = path.open("wb")
        if self._device.isatty():
            raise UsageError(f"{path} is a terminal and a store is binary: redirect it (> FILE) or pipe it")
        super().__init__(self._device)

    def finish(self, items: int) -> None:
        super().finish(items)
        self._device.close()

    def abort(self) -> None:
        with suppress(OSError):
            self._device.close()


class _FileSink(_StreamSink):
    """The same ZIP in a file: written under a temporary name, then renamed."""

    def __init__(self, path: Path) -> None:
        self._aside = Aside(path)
        self._file = os.fdopen(self._aside.descriptor, "wb", closefd=False)
        super().__init__(self._file)

    def finish(self, items: int) -> None:
        super().finish(items)
        os.fsync(self._file.fileno())
        self._file.close()
        self._aside.exchange()
        self._aside.discard()

    def abort(self) -> None:
        with suppress(OSError):  # closing may fail again, on a full disk for example
            self._file.close()
        self._aside.discard()


class _FolderSink:
    """A folder: written under a temporary name, the group's metadata last, then renamed."""

    def __init__(self, path: Path) -> None:
        self._aside = Aside(path, folder=True)
        self._header: StoreHeader | None = None

    def begin(self, header: StoreHeader) -> None:
        self._header = header

    def put(self, key: str, data: bytes | memoryview) -> None:
        target = self._aside.path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def flush(self) -> None:
        """Do nothing: each file is complete once it is written."""

    def finish(self, items: int) -> None:
        assert self._header is not None
        self.put("zarr.json", _group_json(replace(self._header, items=items)))
        self._aside.exchange()
        self._aside.discard()

    def abort(self) -> None:
        self._aside.discard()


class _UrlSink:
    """A prefix on any fsspec file system.

    Such a prefix cannot be renamed, so the group's metadata is written last: without it there is no store.
    """

    def __init__(self, url: str) -> None:
        self._map = url_map(url)
        self._header: StoreHeader | None = None
        check_replaceable(url, url_children(self._map))
        clear_url(self._map)

    def begin(self, header: StoreHeader) -> None:
        self._header = header

    def put(self, key: str, data: bytes | memoryview) -> None:
        self._map[key] = bytes(data)

    def flush(self) -> None:
        """Do nothing: each object is complete once it is written."""

    def finish(self, items: int) -> None:
        assert self._header is not None
        self.put("zarr.json", _group_json(replace(self._header, items=items)))

    def abort(self) -> None:
        clear_url(self._map)


def exists(target: str) -> bool:
    """Return whether writing to `target` would replace something."""
    if is_url(target):
        return bool(url_children(url_map(target)))
    return os.path.lexists(target) and not is_stream(Path(target))


def _open_sink(target: str | IO[bytes]) -> _Sink:
    """Open the sink for `target`. Raises UsageError where a store cannot be written, or would replace other files."""
    if not isinstance(target, str):
        return _StreamSink(target)
    if is_url(target):
        return _UrlSink(target)
    path = Path(target)
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{target}: there is no folder {path.parent}: make it first")
    if is_stream(path):
        return _DeviceSink(path)
    if path.is_dir():
        check_replaceable(target, os.listdir(path))
    return _FolderSink(path) if path.suffix == ".zarr" else _FileSink(path)


class Writer:
    """A store that is written item by item. A `with` block that ends in an exception leaves no store behind."""

    def __init__(self, target: str | IO[bytes], header: StoreHeader) -> None:
        tool = {"musigan": __version__, **_library_versions()}
        self.header = replace(header, format=FORMAT, tool=tool, items=None)
        self.items = 0
        parse_group(_group_json(self.header))  # refuse to write what readers would refuse
        self._name = target if isinstance(target, str) else "standard output"
        with self._told():
            self._sink = _open_sink(target)
        try:
            with self._told():
                self._sink.begin(self.header)
        except BaseException:  # Ctrl-C too must leave nothing behind
            self._sink.abort()
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Have the error of a disk that is full, or a place that cannot be written, name the store."""
        try:
            yield
        except BrokenPipeError:  # the reader has what it wanted
            raise
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), self._name) from error

    def add(self, array: Array, dimension_names: tuple[str, ...], song: Song) -> None:
        """Append one item, named by the next number.

        Raises TypeError for another dtype than DTYPES, StoreError where the array does not fit the store's header.
        """
        name = item_name(self.items + 1)
        dtype = array.dtype.name
        if dtype not in DTYPES:
            raise TypeError(f"{dtype} is not one of {DTYPES}")
        check_shape(name, array.shape, tuple(dimension_names), self.header)
        metadata, blocks = _encode(name, array, self._block_shape(array), tuple(dimension_names), song)
        info = parse_array(name, metadata, self.header)
        with self._told():
            self._sink.put(f"{name}/zarr.json", metadata)
            for key, _ in info.block_keys():
                self._sink.put(key, blocks(key))
            self._sink.flush()
        self.items += 1

    def _block_shape(self, array: Array) -> tuple[int, ...]:
        """Return the shape of one block: a chunk of time of a waveform (C, S), one pair or chunk of the other kinds."""
        if self.header.kind == "waveform":
            chunk = round((self.header.chunk_seconds or 10) * self.header.sample_rate)
            return (array.shape[0], min(chunk, array.shape[1]))
        return (1, *array.shape[1:])

    def finish(self) -> None:
        """Complete the store; only now readers accept it. The end of a `with` block does this."""
        with self._told():
            self._sink.finish(self.items)

    def abort(self) -> None:
        """Delete what was written, as far as the target allows; a `with` block that fails does this."""
        self._sink.abort()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.abort()
            return
        try:
            self.finish()
        except BaseException:  # Ctrl-C too must leave no store behind
            self.abort()
            raise


def write(target: str | IO[bytes], header: StoreHeader) -> Writer:
    """Open a store for writing: a binary file object, a URL, a folder (`*.zarr`) or a file (anything else)."""
    return Writer(target, header)


def _library_versions() -> dict[str, str]:
    import zarr

    return {"zarr": zarr.__version__, "numpy": np.__version__}


def _encode(
    name: str, array: Array, blocks: tuple[int, ...], names: tuple[str, ...], song: Song
) -> tuple[bytes, Callable[[str], memoryview]]:
    """Encode one array with zarr, in memory; return its metadata and a function that takes a block by its key."""
    import zarr
    from zarr.storage import MemoryStore

    objects: dict[str, Any] = {}
    zarr.create_array(
        store=MemoryStore(objects), name=name, shape=array.shape, chunks=blocks, fill_value=0,
        dtype=array.dtype.newbyteorder("<"), compressors=None, filters=None, attributes=song.to_attributes(),
        dimension_names=names, config={"write_empty_chunks": True},
    )[...] = array  # fmt: skip

    def take(key: str) -> memoryview:
        """Return a block's bytes, once, and free them: blocks that are written take no memory."""
        return memoryview(objects.pop(key).as_numpy_array()).cast("B")

    return objects[f"{name}/zarr.json"].to_bytes(), take
