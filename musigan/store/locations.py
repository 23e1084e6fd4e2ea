"""Where a store can be besides a stream: a path or a URL on any file system that fsspec knows."""

from __future__ import annotations

from typing import Any

from musigan.errors import StoreError, UsageError


def is_url(target: str) -> bool:
    return "://" in target


def url_map(url: str) -> Any:
    try:
        import fsspec

        return fsspec.get_mapper(url)
    except ImportError as error:
        raise StoreError(f"{url}: {error}") from None
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from None
