"""Files at URLs (s3://..., https://..., file://...), by fsspec: fetched into a temporary file while they are needed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musigan.errors import MusiganError
from musigan.files.text import clean_text

BLOCK_BYTES = 1 << 20


def is_url(name: str) -> bool:
    """Return whether a name is a URL for fsspec (s3://..., memory://...) and not a path."""
    return "://" in name


@contextmanager
def local(name: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of a file: its own, or of a URL that of a copy with the same ending, deleted afterwards.

    Raises MusiganError, without the URL, where it cannot be read.
    """
    if not is_url(os.fspath(name)):
        yield Path(name)
        return
    url = os.fspath(name)
    with tempfile.NamedTemporaryFile(prefix="musigan-", suffix=Path(url.split("?")[0]).suffix[:20]) as copy:
        try:
            fs, path = file_system(url)
            with fs.open(path, "rb") as source:
                shutil.copyfileobj(source, copy, BLOCK_BYTES)
            copy.flush()
        except MusiganError:
            raise
        except Exception as error:  # each fsspec file system has error classes of its own
            raise MusiganError(reason(error)) from error
        yield Path(copy.name)


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL and the path in it. Raises MusiganError where there is none."""
    import fsspec

    try:
        fs, path = fsspec.url_to_fs(url)
    except Exception as error:  # a library that is missing, and whatever a file system says of a URL that is none
        raise MusiganError(reason(error)) from error
    return fs, path


def reason(error: Exception) -> str:
    """Return in one line why a URL cannot be read."""
    words = "no such file" if isinstance(error, FileNotFoundError) else clean_text(str(error)) or type(error).__name__
    return f"the URL cannot be read ({words.rstrip('.')})"
