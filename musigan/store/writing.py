"""A writer of stores to a pipe, a file, a folder or a URL; a store is complete or it is not there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
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
from musigan.store.header import PACKED, PLAIN, StoreHeader
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
from musigan.store.packing import LEVEL, SHARD_BLOCKS
from musigan.store.song import Song
from musigan.store.together import Together


class Blocks(Protocol):
    """What is written like an array, and need not be in memory as a whole."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size along each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values."""

    def __getitem__(self, place: tuple[slice, ...]) -> Array:
        """Return a part of it."""


class _Sink(Protocol):
    """A destination of a store's bytes. Before `finish`, no reader accepts what is there as a store."""

    has_shards: bool  # whether blocks go together, where they are compressed: each key is a file or an object

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


class _StreamSink:
    """A ZIP written from front to back to an open binary file, usually a pipe."""

    has_shards = False

    def __init__(self, file: IO[bytes]) -> None:
        self._entries = zipstream.EntryWriter(file)

    def begin(self, header: StoreHeader) -> None:
        self.put("zarr.json", group_json(header))
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


class _KeyedSink:
    """A place where each key is a file or an object; the group's metadata is written last, with that of all items."""

    has_shards = True

    def __init__(self) -> None:
        self._header: StoreHeader | None = None
        self._together = Together()

    def begin(self, header: StoreHeader) -> None:
        self._header = header

    def put(self, key: str, data: bytes | memoryview) -> None:
        if key.endswith("/zarr.json"):
            self._together.add(key.removesuffix("/zarr.json"), data)
        self.store(key, data)

    def store(self, key: str, data: bytes | memoryview) -> None:
        """Store `data` under `key`."""
        raise NotImplementedError

    def flush(self) -> None:
        """Do nothing: each file or object is complete once it is written."""

    def finish(self, items: int) -> None:
        assert self._header is not None
        self.store_pieces("zarr.json", self._together.pieces(group_json(replace(self._header, items=items))))

    def store_pieces(self, key: str, pieces: Iterator[bytes]) -> None:
        """Store what comes in pieces under `key`."""
        self.store(key, b"".join(pieces))


class _FolderSink(_KeyedSink):
    """A folder: written under a temporary name, then renamed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._aside = Aside(path, folder=True)

    def store(self, key: str, data: bytes | memoryview) -> None:
        target = self._aside.path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def store_pieces(self, key: str, pieces: Iterator[bytes]) -> None:
        with open(self._aside.path / key, "wb") as file:
            file.writelines(pieces)

    def finish(self, items: int) -> None:
        super().finish(items)
        self._aside.exchange()
        self._aside.discard()

    def abort(self) -> None:
        self._aside.discard()


class _UrlSink(_KeyedSink):
    """A prefix on any fsspec file system.

    Such a prefix cannot be renamed, so the group's metadata is written last: without it there is no store.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._map = url_map(url)
        check_replaceable(url, url_children(self._map))
        clear_url(self._map)

    def store(self, key: str, data: bytes | memoryview) -> None:
        self._map[key] = bytes(data)

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

    def __init__(self, target: str | IO[bytes], header: StoreHeader, compress: bool | None = None) -> None:
        tool = library_versions()
        self.header = replace(header, tool=tool, items=None)
        self.items = 0
        parse_group(group_json(self.header))  # refuse to write what readers would refuse
        self._name = target if isinstance(target, str) else "standard output"
        with self._told():
            self._sink = _open_sink(target)
        # Rolls are nine tenths zeros, sound is not; and a file's blocks can be memory-mapped.
        self._compress = self._sink.has_shards and header.kind == "keys" if compress is None else compress
        self.header = replace(self.header, format=PACKED if self._compress or self._sink.has_shards else PLAIN)
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

    def add(self, array: Array | Blocks, dimension_names: tuple[str, ...], song: Song) -> None:
        """Append one item, named by the next number; its blocks are asked for one after another.

        Raises TypeError for another dtype than DTYPES, StoreError where the array does not fit the store's header.
        """
        name = item_name(self.items + 1)
        encoded = encoded_item(name, array, dimension_names, song, self.header, self._compress, self._sink.has_shards)
        with self._told():
            for key, data in encoded:
                self._sink.put(key, data)
            self._sink.flush()
        self.items += 1

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


def write(target: str | IO[bytes], header: StoreHeader, compress: bool | None = None) -> Writer:
    """Open a store for writing: a binary file object, a URL, a folder (`*.zarr`) or a file (anything else).

    `compress` None: rolls in a folder or at a URL are compressed, and nothing else is.
    """
    return Writer(target, header, compress)


def encoded_item(
    name: str, array: Array | Blocks, dimension_names: tuple[str, ...], song: Song, header: StoreHeader,
    compress: bool, has_shards: bool,
) -> Iterator[tuple[str, bytes | memoryview]]:  # fmt: skip
    """Yield the keys of an item called `name` and what is stored under each: its metadata, then its blocks in order.

    `has_shards`: blocks that are compressed go together. Raises TypeError for another dtype than DTYPES, StoreError
    where the array does not fit the store's `header`.
    """
    dtype = array.dtype.name
    if dtype not in DTYPES:
        raise TypeError(f"{dtype} is not one of {DTYPES}")
    check_shape(name, array.shape, tuple(dimension_names), header)
    shape = _block_shape(array, header)
    in_shard = min(SHARD_BLOCKS, array.shape[0]) if compress and has_shards and shape[0] == 1 else 0
    encoded, objects = _created(name, array, shape, tuple(dimension_names), song, in_shard, compress)
    metadata = objects[f"{name}/zarr.json"].to_bytes()
    info = parse_array(name, metadata, header)
    yield f"{name}/zarr.json", metadata
    if compress:
        encoded[...] = array[tuple(slice(size) for size in array.shape)]
    for key, place in info.block_keys():
        if compress:  # taken once, and freed: blocks that are written take no memory
            yield key, memoryview(objects.pop(key).as_numpy_array()).cast("B")
        else:
            yield key, _encoded(np.asarray(array[place]), info.blocks)


def _block_shape(array: Array | Blocks, header: StoreHeader) -> tuple[int, ...]:
    """Return the shape of one block: a chunk of time of a waveform (C, S), one pair or chunk of the other kinds."""
    if header.kind == "waveform":
        chunk = round((header.chunk_seconds or 10) * header.sample_rate)
        return (array.shape[0], min(chunk, array.shape[1]))
    return (1, *array.shape[1:])


def group_json(header: StoreHeader) -> bytes:
    """Encode the group's zarr.json. Raises ValueError for values that JSON cannot hold (NaN, infinity)."""
    document = {"attributes": {ATTRIBUTE: header.to_attributes()}, "zarr_format": 3, "node_type": "group"}
    return json.dumps(document, indent=2, allow_nan=False).encode()


def library_versions() -> dict[str, str]:
    """Return the versions of what writes a store."""
    import zarr

    return {"musigan": __version__, "zarr": zarr.__version__, "numpy": np.__version__}


def _created(
    name: str, array: Array | Blocks, blocks: tuple[int, ...], names: tuple[str, ...], song: Song, in_shard: int,
    compress: bool,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Return the empty array that zarr makes for an array, and its objects in memory by their keys.

    A key is of a block, or of a shard of `in_shard` blocks if that is not 0.
    """
    import zarr
    from zarr.codecs import ZstdCodec
    from zarr.storage import MemoryStore

    objects: dict[str, Any] = {}
    created = zarr.create_array(
        store=MemoryStore(objects), name=name, shape=array.shape, chunks=blocks, fill_value=0,
        shards=(in_shard, *blocks[1:]) if in_shard else None, dtype=array.dtype.newbyteorder("<"),
        compressors=ZstdCodec(level=LEVEL, checksum=True) if compress else None, filters=None,
        attributes=song.to_attributes(), dimension_names=names, config={"write_empty_chunks": True},
    )  # fmt: skip
    return created, objects


def _encoded(block: Array, shape: tuple[int, ...]) -> memoryview:
    """Return the bytes of a block, little-endian; the last one along an axis is filled up with zeros, as in zarr."""
    dtype = block.dtype.newbyteorder("<")
    if block.shape != shape:
        filled = np.zeros(shape, dtype)
        filled[tuple(slice(size) for size in block.shape)] = block
        block = filled
    return np.ascontiguousarray(block, dtype).data.cast("B")
