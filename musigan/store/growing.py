"""A store of compressed items that many hands write, in any order: songs apart from each other, then in their places.

Below the store's folder or URL songs wait in `.ready`, each called by the hash of its music. A song is there whole or
not at all, and whoever writes it again writes the same bytes, so that runs that were killed, and workers that were lost
or did their work twice, leave nothing wrong. At the end they are moved behind the items that are there, and last of all
the group's metadata is replaced by one that counts them. Until then readers find the store as it was: none, or with
fewer songs.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from musigan.errors import MusiganError, StoreError, UsageError
from musigan.files.locks import lock
from musigan.files.remote import is_url
from musigan.store.header import PACKED, StoreHeader
from musigan.store.layout import Array, item_name, parse_array, parse_group
from musigan.store.locations import READY, check_replaceable, url_children, url_map
from musigan.store.song import Song
from musigan.store.together import Together, alone
from musigan.store.writing import encoded_item, group_json, library_versions

_AT_ONCE = 256  # metadata that are read together
Encoded = Iterable[tuple[str, bytes | memoryview]]


class _Place(Protocol):
    """A folder or a URL, and what differs between them. Names and keys are below it."""

    def names(self, below: str) -> list[str]:
        """List what is directly below a name; [] where that is not there."""

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read several keys; None for those that are not there."""

    def write(self, key: str, data: bytes) -> None:
        """Write a key whole or not at all."""

    def write_item(self, name: str, encoded: Encoded, replaces: bool) -> None:
        """Write an item whole or not at all, or leave the one that is there unless it `replaces` it."""

    def move_item(self, source: str, target: str, keys: Sequence[str]) -> None:
        """Put an item, of these keys, in the place of another; it may stay at its source until `remove`."""

    def remove(self, name: str) -> None:
        """Remove a key, or all below a name."""


class _Folder:
    """A folder: an item is written under another name, then renamed."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def names(self, below: str) -> list[str]:
        try:
            return os.listdir(self._root / below)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        return [path.read_bytes() if path.is_file() else None for path in (self._root / key for key in keys)]

    def write(self, key: str, data: bytes) -> None:
        target = self._root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = _aside(target)
        try:
            aside.write_bytes(data)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)

    def write_item(self, name: str, encoded: Encoded, replaces: bool) -> None:
        target = self._root / name
        aside = _aside(target)
        try:
            for key, data in encoded:
                path = aside / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            if replaces and target.exists():
                target.rename(_aside(target))
            with suppress(FileExistsError):
                _rename(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def move_item(self, source: str, target: str, keys: Sequence[str]) -> None:
        if (self._root / source).exists():
            self.remove(target)
            _rename(self._root / source, self._root / target)

    def remove(self, name: str) -> None:
        path = self._root / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    """Return a name beside a path that no other hand uses."""
    return path.with_name(f"{path.name}.partial-{uuid.uuid4().hex}")


def _rename(path: Path, target: Path) -> None:
    """Rename a folder. Raises FileExistsError where another is in its place."""
    try:
        path.rename(target)
    except OSError as error:  # which says so in several ways
        if target.exists():
            raise FileExistsError(f"{target} exists") from error
        raise


class _Url:
    """A prefix of any fsspec file system, whose objects are there whole or not: an item's metadata is written last."""

    def __init__(self, url: str) -> None:
        objects = url_map(url)
        self._url, self._fs, self._root = url, objects.fs, objects.root

    def names(self, below: str) -> list[str]:
        return url_children(url_map(f"{self._url.rstrip('/')}/{below}" if below else self._url))

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        paths = [f"{self._root}/{key}" for key in keys]
        found = self._fs.cat(paths, on_error="return")
        values = [found[path] for path in paths]
        for value in values:
            if isinstance(value, Exception) and not isinstance(value, FileNotFoundError | KeyError):
                raise StoreError(f"{self._url}: cannot be read ({value or type(value).__name__})") from value
        return [value if isinstance(value, bytes) else None for value in values]

    def write(self, key: str, data: bytes) -> None:
        self._fs.pipe_file(f"{self._root}/{key}", data)

    def write_item(self, name: str, encoded: Encoded, replaces: bool) -> None:
        (metadata_key, metadata), *blocks = encoded
        for key, data in (*blocks, (metadata_key, metadata)):
            self.write(f"{name}/{key}", bytes(data))

    def move_item(self, source: str, target: str, keys: Sequence[str]) -> None:
        for key in keys:
            self._fs.cp_file(f"{self._root}/{source}/{key}", f"{self._root}/{target}/{key}")

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm(f"{self._root}/{name}", recursive=True)


def _place_of(target: str) -> _Place:
    return _Url(target) if is_url(target) else _Folder(target)


def noted(target: str, name: str) -> str:
    """Return a text that a writer of the store at `target` noted; "" where there is none."""
    (data,) = _place_of(target).read([f"{READY}/{name}.txt"])
    return (data or b"").decode()


@dataclass(frozen=True)
class GrowingStore:
    """A store of compressed items at an absolute path or URL; `header` is that of its songs. May be pickled."""

    target: str
    header: StoreHeader

    @cached_property
    def _place(self) -> _Place:
        return _place_of(self.target)

    def __getstate__(self) -> dict[str, Any]:
        return {"target": self.target, "header": self.header}

    @contextmanager
    def open(self) -> Iterator[None]:
        """Make the place ready to be written; complete what was finished, if the `with` block succeeds.

        What a killed run was moving is put back. Raises UsageError where something else is there, MusiganError where
        another run of this machine writes it.
        """
        names = self._place.names("")
        if not is_url(self.target):
            if os.path.lexists(self.target) and not os.path.isdir(self.target):
                raise UsageError(f"{self.target} is a file: such a store is a folder or at a URL, choose another name")
            if not Path(self.target).parent.is_dir():
                raise UsageError(f"{self.target}: there is no folder {Path(self.target).parent}: make it first")
        if READY not in names:
            check_replaceable(self.target, names)
        with self._only_run():
            if not is_url(self.target):
                self._put_back(names)
            self._finished.clear()
            yield
            for items in self._finished:
                self._complete(items)

    @cached_property
    def _finished(self) -> list[int]:
        """The number of items that readers are to find; [] until that is known."""
        return []

    @contextmanager
    def _only_run(self) -> Iterator[None]:
        """Hold a lock on the waiting songs of a folder; of a URL there are no locks."""
        if is_url(self.target):
            yield
            return
        folder = Path(self.target) / READY
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if not lock(descriptor):
                raise MusiganError(f"{self.target}: another run is preparing it: wait for it, or choose another name")
            try:
                yield
            finally:
                with suppress(OSError):  # where it holds songs, as it does after a failure
                    folder.rmdir()
                    Path(self.target).rmdir()
        finally:
            os.close(descriptor)

    def current_header(self) -> StoreHeader | None:
        """Return the header of what readers find; None where there is no store yet."""
        (data,) = self._place.read(["zarr.json"])
        return None if data is None else parse_group(alone(data))

    def count(self) -> int:
        """Return the number of items that readers find."""
        header = self.current_header()
        return 0 if header is None else header.items or 0

    def contents(self) -> list[str]:
        """Return the content of each item that readers find, in their order."""
        keys = [f"{item_name(number)}/zarr.json" for number in range(1, self.count() + 1)]
        return [song.content for _, _, song in self._songs(keys)]

    def ready(self) -> set[str]:
        """Return the contents of the songs that wait."""
        names = [name for name in self._place.names(READY) if "." not in name]
        return {song.content for _, _, song in self._songs([f"{READY}/{name}/zarr.json" for name in names])}

    def ready_song(self, content: str) -> Song | None:
        """Return what a waiting song says of itself; None where none of this content waits."""
        return next((song for _, _, song in self._songs([f"{READY}/{content}/zarr.json"])), None)

    def _songs(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes, Song]]:
        """Yield the keys of metadata that are there, what stands there, and its song."""
        for first in range(0, len(keys), _AT_ONCE):
            some = keys[first : first + _AT_ONCE]
            for key, data in zip(some, self._place.read(some), strict=True):
                if data is not None:
                    yield key, data, parse_array(key.rsplit("/", 1)[0], data, self.header).song

    def add(self, array: Array, dimension_names: tuple[str, ...], song: Song, replaces: bool = False) -> None:
        """Write a song to wait under its content; leave one that waits already, unless this `replaces` it."""
        encoded = encoded_item("x", array, dimension_names, song, self.header, compress=True, has_shards=True)
        parts = ((key.removeprefix("x/"), data) for key, data in encoded)
        self._place.write_item(f"{READY}/{song.content}", parts, replaces)

    def note(self, name: str, text: str) -> None:
        """Keep a text for those who write the store, beside the waiting songs; `noted` returns it."""
        self._place.write(f"{READY}/{name}.txt", text.encode())

    def place(self, songs: Sequence[tuple[int, str]]) -> None:
        """Put waiting songs, each (number of its item, content), in their places; those that are there already stay."""
        for number, content in songs:
            source, target = f"{READY}/{content}", item_name(number)
            waiting, placed = self._place.read([f"{source}/zarr.json", f"{target}/zarr.json"])
            if waiting is None and placed is None:
                raise StoreError(f"{self.target}: the song {content} has gone meanwhile: start again")
            if waiting is not None:
                blocks = [key.removeprefix("x/") for key, _ in parse_array("x", waiting, self.header).block_keys()]
                self._place.move_item(source, target, [*blocks, "zarr.json"])

    def finish(self, items: int) -> None:
        """Have readers find so many items, all in their places, from the end of `open` on; remove what else is there.

        So whoever writes something beside the store has done so before the store is whole.
        """
        self._finished[:] = [items]

    def _complete(self, items: int) -> None:
        metadata = Together()
        for key, data, _ in self._songs([f"{item_name(number)}/zarr.json" for number in range(1, items + 1)]):
            metadata.add(key.removesuffix("/zarr.json"), data)
            if metadata.is_full:
                break
        header = self.current_header() or self.header
        header = replace(header, items=items, expected=items, format=PACKED, tool=library_versions())
        self._place.write("zarr.json", metadata.within(group_json(header)))
        self.tidy(items)

    def tidy(self, items: int) -> None:
        """Remove what does not belong to a store of so many items, all of which readers find."""
        self._place.remove(READY)
        for name in self._numbered(self._place.names(""), items):
            self._place.remove(name)

    def _numbered(self, names: Sequence[str], after: int) -> list[str]:
        """Return those of the names that are items' after a number, in their order."""
        return sorted((name for name in names if name.isdigit() and int(name) > after), key=int)

    def _put_back(self, names: Sequence[str]) -> None:
        """Have the songs wait again that a killed run moved to places that readers do not find yet."""
        for name in self._numbered(names, self.count()):
            (data,) = self._place.read([f"{name}/zarr.json"])
            content = "" if data is None else json.loads(data).get("attributes", {}).get("content", "")
            if content and data is not None and self.ready_song(content) is None:
                self._place.move_item(name, f"{READY}/{content}", [])
            else:
                self._place.remove(name)
