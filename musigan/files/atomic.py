"""Output files that appear complete or not at all: written in the same folder under another name, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from musigan.errors import MusiganError


def partial_path(path: Path) -> Path:
    """Return the path beside `path` under which an output is written until it is complete."""
    name = os.fsencode(path.name)[:200].decode(errors="ignore")  # a name has 255 bytes at most
    return path.with_name(f".{name}.partial-{os.getpid()}")


@contextmanager
def replace_whole(target: str | os.PathLike[str], failure: type[MusiganError]) -> Iterator[Path]:
    """Yield the path of an empty file that replaces `target` when the block succeeds and is deleted otherwise.

    Raises `failure` where the file cannot be created or renamed. Exceptions of the block pass through.
    """
    target = Path(target)
    temporary = partial_path(target)
    try:
        temporary.unlink(missing_ok=True)  # left by a killed process that had the same id
        # Opened in the ordinary way, it gets the permissions of any new file; a tempfile is readable by its owner only.
        temporary.open("xb").close()
    except OSError as error:
        raise _write_error(target, failure, error) from error
    try:
        yield temporary
        try:
            os.replace(temporary, target)
        except OSError as error:
            raise _write_error(target, failure, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _write_error(target: Path, failure: type[MusiganError], error: OSError) -> MusiganError:
    return failure(f"{target}: cannot be written ({error.strerror or error})")
