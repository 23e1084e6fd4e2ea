"""Output files and folders that appear complete or not at all: made beside their place by another name, then renamed.

What is being made is locked, so that a second run of the same output is refused and what a killed run left is known
from what another one still writes. Where nothing was when it was begun, nothing is replaced at its end.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from musigan.errors import MusiganError
from musigan.files.locks import is_locked, lock
from musigan.files.text import printable

_NEW = os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
said: Callable[[str], None] = lambda text: None  # noqa: E731  a tool's session has it told to people


def partial_path(path: Path) -> Path:
    """Return the path beside `path` under which an output is written until it is complete."""
    return path.with_name(f"{_prefix(path)}{os.getpid()}")


def _prefix(path: Path) -> str:
    name = os.fsencode(path.name)[:200].decode(errors="ignore")  # a name has 255 bytes at most
    return f".{name}.partial-"


class Aside:
    """An empty file, or folder, beside `target` that takes its place when it is complete; locked against other runs.

    Raises OSError where it cannot be made, MusiganError where another run makes the same.
    """

    def __init__(self, target: Path, folder: bool = False, replaces: bool = True) -> None:
        self.target, self.path, self._is_folder = target, partial_path(target), folder
        self._replaces = replaces and os.path.lexists(target)
        _clear(target)
        if folder:
            self.path.mkdir()
        # With the permissions of any new file: a tempfile is readable by its owner only.
        self.descriptor = os.open(self.path, os.O_RDONLY if folder else _NEW | os.O_RDWR, 0o666)
        lock(self.descriptor)

    def move_into_place(self) -> None:
        """Rename it to the target. Raises OSError; MusiganError where nothing was to be replaced and something is."""
        if self._replaces:
            os.replace(self.path, self.target)
            return
        if os.path.lexists(self.target):
            raise MusiganError(f"{self.target}: another run has written it meanwhile: choose another name, or --force")
        try:
            if self._is_folder:  # a renaming fails where something is in the place
                raise PermissionError
            os.link(self.path, self.target)  # so does a second name, and for files a renaming does not
        except (PermissionError, NotImplementedError):  # file systems without second names are among these
            os.replace(self.path, self.target)

    def exchange(self) -> None:
        """Move into place even where that, or what is there, is a folder, which takes two steps."""
        if not self._replaces or not (self._is_folder or self.target.is_dir()):
            self.move_into_place()
            return
        old_path = self.path.with_name(self.path.name + ".old")
        self.target.rename(old_path)
        self.path.rename(self.target)
        _remove(old_path)

    def discard(self) -> None:
        """Remove what is left of it, and its lock."""
        with suppress(OSError):
            _remove(self.path)
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@contextmanager
def replace_whole(target: str | os.PathLike[str], failure: type[MusiganError], replaces: bool = True) -> Iterator[Path]:
    """Yield the path of an empty file that takes the place of `target` when the block succeeds, and is else deleted.

    Not `replaces`: of a target that is not there. Raises `failure` where the file cannot be created or renamed;
    exceptions of the block pass through.
    """
    try:
        aside = Aside(Path(target), replaces=replaces)
    except OSError as error:
        raise write_error(target, failure, error) from error
    try:
        yield aside.path
        try:
            aside.move_into_place()
        except OSError as error:
            raise write_error(target, failure, error) from error
    finally:
        aside.discard()


class KeptErrors:
    """An unbuffered file to write that keeps its first error, for libraries that pass over it or say it otherwise."""

    def __init__(self, file: FileIO) -> None:
        self.seek, self.tell, self._write = file.seek, file.tell, file.write
        self._error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all of `data`, and return how much that was."""
        written = 0
        try:
            while written < len(data):
                written += self._write(memoryview(data)[written:])
        except OSError as error:
            self._error = self._error or error
        return written

    def flush(self) -> None:
        """Do nothing: nothing is kept back."""

    def raise_first(self) -> None:
        """Raise the first error, if there was one."""
        if self._error is not None:
            raise self._error


def write_all(
    aside: Path, target: str | os.PathLike[str], *parts: bytes | memoryview, failure: type[MusiganError] = MusiganError
) -> None:
    """Write all of a file that becomes `target`. Raises `failure`, which names the target, where there is no room."""
    try:
        with open(aside, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise write_error(target, failure, error) from error


def write_error(target: str | os.PathLike[str], failure: type[MusiganError], error: OSError) -> MusiganError:
    """Return the error for an output that cannot be written, called by its own name."""
    return failure(f"{target}: cannot be written ({error.strerror or error})")


def _clear(target: Path) -> None:
    """Remove what killed runs left of `target`, and put back what they were replacing.

    Raises MusiganError where that happened, or where another run is making it.
    """
    prefix = _prefix(target)
    for name in [entry for entry in os.listdir(target.parent) if entry.startswith(prefix)]:
        path, process = target.with_name(name), name.removeprefix(prefix).removesuffix(".old")
        if not process.isdigit():
            continue
        if is_locked(path):
            raise MusiganError(
                f"{target}: another run is writing it (process {process}): wait for it, or choose another name"
            )
        if name.endswith(".old") and not os.path.lexists(target):
            path.rename(target)
            raise MusiganError(f"{target} was being replaced by a run that was killed, and is put back: start again")
        _remove(path)
        if int(process) != os.getpid():
            said(f"removed {printable(path)}, which a killed run left")


def _remove(path: Path) -> None:
    """Delete a file, a link or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
