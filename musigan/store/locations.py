"""Where a store can be besides a stream: a path or a URL on any file system that fsspec knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from musigan.errors import StoreError, UsageError


def is_url(target: str) -> bool:
    """Whether a name is for fsspec (s3://..., memory://...) and no path."""
    return "://" in target


def url_map(url: str) -> Any:
    """The objects below a URL by their keys, as fsspec's mapping.

    Raises StoreError where the library for that kind of place is missing, UsageError for a kind that nobody knows.
    """
    try:
        import fsspec

        return fsspec.get_mapper(url)
    except ImportError as error:
        raise StoreError(f"{url}: {error}") from None
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from None


def url_children(objects: Any) -> list[str]:
    """Names right below a URL; none where there is nothing."""
    objects.fs.invalidate_cache(objects.root)
    try:
        found = objects.fs.ls(objects.root, detail=False)
    except FileNotFoundError:
        return []
    return [name for path in found if (name := path.rstrip("/").rsplit("/", 1)[-1])]


def clear_url(objects: Any) -> None:
    """Take a store away, its seal first; nothing else is touched."""
    names = url_children(objects)
    for name in sorted(names, key=lambda name: name != "zarr.json"):
        if belongs_to_store(name):
            objects.fs.rm(f"{objects.root}/{name}", recursive=True)


def belongs_to_store(name: str) -> bool:
    """Whether a name right below a store is one of its own: the metadata or a numbered item."""
    return name == "zarr.json" or name.isdigit()


def check_replaceable(target: str, names: list[str]) -> None:
    """Raise UsageError for a place that holds something other than a store: --force is not meant for that."""
    foreign = sorted(name for name in names if not belongs_to_store(name))
    if foreign and "zarr.json" not in names:
        raise UsageError(f"{target} holds {foreign[0]} and is no store: it is not replaced, choose another name")


def is_stream(path: Path) -> bool:
    """Whether writing there replaces nothing: /dev/null, a FIFO, a shell's >(command)."""
    return path.is_fifo() or path.is_char_device()
