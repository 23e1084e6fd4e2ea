"""Standard input and output, taken for the store alone."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import IO


def is_fifo(file: IO[bytes]) -> bool:
    return stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)


@dataclass(frozen=True)
class Redirection:
    """A file that the shell made for standard output (> FILE), to be taken back where a tool fails."""

    descriptor: int
    size: int  # when the tool began: 0, or what >> goes on from

    @classmethod
    def of(cls, file: IO[bytes]) -> Redirection | None:
        """Return the redirection that a stream is; None for pipes, terminals and files that are written over."""
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or os.lseek(file.fileno(), 0, os.SEEK_CUR) != status.st_size:
            return None
        return cls(file.fileno(), status.st_size)

    def take_back(self) -> None:
        """Cut the file to what it was; delete it if that is nothing, where it is known that no one else writes it."""
        with suppress(OSError):
            os.ftruncate(self.descriptor, self.size)
            os.lseek(self.descriptor, self.size, os.SEEK_SET)
            path = os.readlink(f"/proc/self/fd/{self.descriptor}")
            mine = os.fstat(self.descriptor)
            is_only = mine.st_nlink == 1 and os.path.samestat(os.stat(path), mine)
            if not self.size and is_only and not _is_held_by(os.getppid(), mine):
                os.unlink(path)


def _is_held_by(process: int, status: os.stat_result) -> bool:
    """Return whether a process, such as a shell around several commands, has the file as its standard output, too."""
    try:
        return os.path.samestat(os.stat(f"/proc/{process}/fd/1"), status)
    except FileNotFoundError:
        return False


def take_streams() -> tuple[IO[bytes] | None, IO[bytes] | None]:
    """Keep descriptors 0 and 1 for the store; give everyone else the null device and stderr instead.

    Afterwards all three standard descriptors are open: a file opened later cannot take the place of a closed one.
    """
    kept = [_copy(descriptor) for descriptor in (0, 1)]
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    if not _is_open(2):
        os.dup2(null, 2)
    os.dup2(2, 1)
    if null > 2:
        os.close(null)
    stdin, stdout = (
        None if descriptor is None else os.fdopen(descriptor, mode)
        for descriptor, mode in zip(kept, ("rb", "wb"), strict=True)
    )
    return stdin, stdout


def _copy(descriptor: int) -> int | None:
    if not _is_open(descriptor):
        return None
    try:
        import fcntl
    except ImportError:  # Windows
        return os.dup(descriptor)
    # Not below 3: were a standard descriptor closed, the copy would take its place.
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
