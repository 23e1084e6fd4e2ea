"""Locations of a store besides a stream: a path, or a URL of any file system that fsspec supports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from musigan.errors import StoreError, UsageError
from musigan.files.remote import is_url

STORE_MAGIC = b"PK"  # first bytes of a store in one file
READY = ".ready"  # below a store that is not finished: songs that wait for their places (growing)


def url_map(url: str) -> Any:
    """Map keys to the objects below a URL, with fsspec's mapping.

    Raises StoreError where the library for its file system is not installed, UsageError for an unknown file system.
    """
    try:
        import fsspec

        return fsspec.get_mapper(url)
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from None
    except Exception as error:  # a library that is missing, and whatever a file system says of a URL that is none
        raise StoreError(f"{url}: cannot be opened ({str(error) or type(error).__name__})") from None


def url_children(objects: Any) -> list[str]:
    """List the names directly below a URL; empty where there is nothing. Raises StoreError where that is not said."""
    try:
        objects.fs.invalidate_cache(objects.root)
        paths = objects.fs.ls(objects.root, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except Exception as error:  # each fsspec file system has error classes of its own
        raise StoreError(f"{objects.root}: cannot be listed ({str(error) or type(error).__name__})") from None
    return [name for path in paths if (name := path.rstrip("/").rsplit("/", 1)[-1])]


def clear_url(objects: Any) -> None:
    """Delete a store and nothing else; the group's metadata first, so that a half-deleted store is none."""
    names = url_children(objects)
    for name in sorted(names, key=lambda name: name != "zarr.json"):
        if belongs_to_store(name):
            objects.fs.rm(f"{objects.root}/{name}", recursive=True)


def belongs_to_store(name: str) -> bool:
    """Return whether a name directly below a store is part of it: the group's metadata or a numbered item."""
    return name == "zarr.json" or name.isdigit()


def check_replaceable(target: str, names: list[str]) -> None:
    """Raise UsageError where `target` holds other files than a store's: --force replaces stores only."""
    foreign_names = sorted(name for name in names if not belongs_to_store(name))
    if foreign_names and "zarr.json" not in names:
        raise UsageError(f"{target} holds {foreign_names[0]} and is no store: it is not replaced, choose another name")


def looks_like_store(path: str) -> bool:
    """Return whether a folder or file seems to be a store, by its first bytes; others and what is missing do not."""
    if is_url(path):
        return False
    if os.path.isdir(path):
        return os.path.exists(os.path.join(path, "zarr.json"))
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(len(STORE_MAGIC)) == STORE_MAGIC


def is_stream(path: Path) -> bool:
    """Return whether writing to `path` replaces nothing: /dev/null, a FIFO, a shell's >(command)."""
    return path.is_fifo() or path.is_char_device()
