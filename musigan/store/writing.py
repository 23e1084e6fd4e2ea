"""Writing a store: items in, bytes out to a pipe, a file, a folder or a URL; whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import numpy as np

from musigan import __version__, zipstream
from musigan.atomic import partial_path
from musigan.errors import UsageError
from musigan.store.layout import (
    ATTRIBUTE,
    DTYPES,
    FORMAT,
    Array,
    Attributes,
    check_shape,
    item_name,
    parse_array,
    parse_group,
)
from musigan.store.locations import check_replaceable, clear_url, is_stream, is_url, url_children, url_map


class _Sink(Protocol):
    """Where a store's bytes go. Until `finish` nothing there passes for a store."""

    def begin(self, header: Attributes) -> None:
        """Take the group's header; comes first, once."""

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Store `data` under `key`: an item's metadata, then its blocks in the order of their keys."""

    def flush(self) -> None:
        """After each item: let a reader at the other end have it."""

    def finish(self, items: int) -> None:
        """Seal the store with its number of items: from here on it is one."""

    def abort(self) -> None:
        """Instead of `finish`, or after one that failed: leave nothing that passes for a store."""


def _group_json(header: Attributes) -> bytes:
    """The group's zarr.json. Raises ValueError for values that JSON has no words for (NaN, infinity)."""
    document = {"attributes": {ATTRIBUTE: header}, "zarr_format": 3, "node_type": "group"}
    return json.dumps(document, indent=2, allow_nan=False).encode()


class _StreamSink:
    """A ZIP written from front to back to an open binary file, a pipe as a rule."""

    def __init__(self, file: IO[bytes]) -> None:
        self._entries = zipstream.EntryWriter(file)

    def begin(self, header: Attributes) -> None:
        self.put("zarr.json", _group_json(header))
        self.flush()

    def put(self, key: str, data: bytes | memoryview) -> None:
        self._entries.add(key, data)

    def flush(self) -> None:
        self._entries.flush()

    def finish(self, items: int) -> None:
        self._entries.finish()

    def abort(self) -> None:
        """Leave the stream without its directory: its reader knows by that."""


class _DeviceSink(_StreamSink):
    """The same ZIP to a FIFO or device that has a name."""

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
    """The same ZIP in a file, written aside and renamed."""

    def __init__(self, path: Path) -> None:
        self._path, self._aside = path, partial_path(path)
        self._file = self._aside.open("wb")
        super().__init__(self._file)

    def finish(self, items: int) -> None:
        super().finish(items)
        os.fsync(self._file.fileno())
        self._file.close()
        _move_into_place(self._aside, self._path)

    def abort(self) -> None:
        with suppress(OSError):  # a full disk is what brought us here, perhaps
            self._file.close()
        self._aside.unlink(missing_ok=True)


class _FolderSink:
    """A folder, written aside and renamed; the group's metadata goes in last."""

    def __init__(self, path: Path) -> None:
        self._path, self._aside = path, partial_path(path)
        self._header: Attributes = {}
        shutil.rmtree(self._aside, ignore_errors=True)  # of a killed process that had the same number
        self._aside.mkdir()

    def begin(self, header: Attributes) -> None:
        self._header = header

    def put(self, key: str, data: bytes | memoryview) -> None:
        target = self._aside / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def flush(self) -> None:
        """Files are whole once written."""

    def finish(self, items: int) -> None:
        self.put("zarr.json", _group_json({**self._header, "items": items}))
        _move_into_place(self._aside, self._path)

    def abort(self) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)


class _UrlSink:
    """A prefix on any fsspec file system. There is no rename there: the group's metadata, written last, is the seal."""

    def __init__(self, url: str) -> None:
        self._map = url_map(url)
        self._header: Attributes = {}
        check_replaceable(url, url_children(self._map))
        clear_url(self._map)

    def begin(self, header: Attributes) -> None:
        self._header = header

    def put(self, key: str, data: bytes | memoryview) -> None:
        self._map[key] = bytes(data)

    def flush(self) -> None:
        """Objects are whole once written."""

    def finish(self, items: int) -> None:
        self.put("zarr.json", _group_json({**self._header, "items": items}))

    def abort(self) -> None:
        clear_url(self._map)


def _move_into_place(aside: Path, path: Path) -> None:
    """Rename what was written aside; what stood there goes away. A folder cannot be replaced in one step."""
    if not os.path.lexists(path) or not (aside.is_dir() or path.is_dir()):
        os.replace(aside, path)
        return
    old = aside.with_name(aside.name + ".old")
    path.rename(old)
    aside.rename(path)
    shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()


def exists(target: str) -> bool:
    """Whether something stands where an output is to go."""
    if is_url(target):
        return bool(url_children(url_map(target)))
    return os.path.lexists(target) and not is_stream(Path(target))


def _open_sink(target: str | IO[bytes]) -> _Sink:
    """The sink for what `target` is. Raises UsageError for a place that a store cannot or must not take."""
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
    """Writes a store item by item. A `with` block that ends in an exception leaves nothing that passes for a store."""

    def __init__(self, target: str | IO[bytes], kind: str, attributes: Mapping[str, Any]) -> None:
        self.header: Attributes = {**attributes, "kind": kind, "format": FORMAT}
        self.header["tool"] = {"musigan": __version__, **_library_versions()}
        self.header.pop("items", None)
        self.items = 0
        parse_group(_group_json(self.header))  # what readers refuse is not written
        self._sink = _open_sink(target)
        try:
            self._sink.begin(self.header)
        except BaseException:  # Ctrl-C too must leave nothing behind
            self._sink.abort()
            raise

    def add(self, array: Array, dimension_names: tuple[str, ...], attributes: Mapping[str, Any]) -> None:
        """Append one item; its name is the next number."""
        name = item_name(self.items + 1)
        dtype = array.dtype.name
        if dtype not in DTYPES:
            raise TypeError(f"{dtype} is not one of {DTYPES}")
        check_shape(name, array.shape, tuple(dimension_names), self.header)
        metadata, blocks = _encode(name, array, self._block_shape(array), tuple(dimension_names), dict(attributes))
        info = parse_array(name, metadata, self.header)
        self._sink.put(f"{name}/zarr.json", metadata)
        for key, _ in info.block_keys():
            self._sink.put(key, blocks(key))
        self._sink.flush()
        self.items += 1

    def _block_shape(self, array: Array) -> tuple[int, ...]:
        """One chunk of time of a waveform (C, S), one pair or chunk of the others."""
        if self.header["kind"] == "waveform":
            chunk = round(self.header.get("chunk_seconds", 10) * self.header["sample_rate"])
            return (array.shape[0], min(chunk, array.shape[1]))
        return (1, *array.shape[1:])

    def finish(self) -> None:
        """Seal the store; only now it is one. The end of a `with` block does this."""
        self._sink.finish(self.items)

    def abort(self) -> None:
        """Take back what was written, as far as the target allows; a `with` block that fails does this."""
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
        except BaseException:  # Ctrl-C too must leave nothing that passes for a store
            self.abort()
            raise


def write(target: str | IO[bytes], kind: str, attributes: Mapping[str, Any]) -> Writer:
    """Open a store for writing: a binary file object, a URL, a folder (`*.zarr`) or a file (anything else)."""
    return Writer(target, kind, attributes)


def _library_versions() -> dict[str, str]:
    import zarr

    return {"zarr": zarr.__version__, "numpy": np.__version__}


def _encode(
    name: str, array: Array, blocks: tuple[int, ...], names: tuple[str, ...], attributes: Attributes
) -> tuple[bytes, Callable[[str], memoryview]]:
    """Let zarr lay out one array in memory; return its metadata and what takes out a block by its key."""
    import zarr
    from zarr.storage import MemoryStore

    laid_out: dict[str, Any] = {}
    zarr.create_array(
        store=MemoryStore(laid_out), name=name, shape=array.shape, chunks=blocks, fill_value=0,
        dtype=array.dtype.newbyteorder("<"), compressors=None, filters=None, attributes=attributes,
        dimension_names=names, config={"write_empty_chunks": True},
    )[...] = array  # fmt: skip

    def take(key: str) -> memoryview:
        """A block's bytes; they can be taken once, so that what is written does not pile up."""
        return memoryview(laid_out.pop(key).as_numpy_array()).cast("B")

    return laid_out[f"{name}/zarr.json"].to_bytes(), take
