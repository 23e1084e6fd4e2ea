"""A file that appears whole or not at all: written beside its place under another name, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from musigan.errors import MusiganError


def partial_path(path: Path) -> Path:
    """The name beside `path` under which an output is written until it is whole."""
    name = os.fsencode(path.name)[:200].decode(errors="ignore")  # a name has 255 bytes at most
    return path.with_name(f".{name}.partial-{os.getpid()}")


@contextmanager
def replacing(target: str | os.PathLike[str], failure: type[MusiganError]) -> Iterator[Path]:
    """The path of an empty file that takes the place of `target` when the block ends well, and vanishes otherwise.

    Raises `failure` where there cannot be such a file or it cannot be renamed. What the block raises passes through.
    """
    target = Path(target)
    aside = partial_path(target)
    try:
        aside.unlink(missing_ok=True)  # of a killed process that had the same number
        # Made the ordinary way, it gets the permissions of any new file; a temporary file's are for its owner alone.
        aside.open("xb").close()
    except OSError as error:
        raise _refused(target, failure, error) from error
    try:
        yield aside
        try:
            os.replace(aside, target)
        except OSError as error:
            raise _refused(target, failure, error) from error
    finally:
        aside.unlink(missing_ok=True)


def _refused(target: Path, failure: type[MusiganError], error: OSError) -> MusiganError:
    return failure(f"{target}: cannot be written ({error.strerror or error})")
