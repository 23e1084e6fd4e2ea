"""Locks that end with the process that holds them, however it ends: by flock(2), on the file itself."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from musigan.errors import MusiganError
from musigan.files.text import printable


def lock(descriptor: int) -> bool:
    """Lock an open file against other runs; return whether none holds it. True where there are no such locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # Windows; network file systems that lock nothing
        return True
    return True


def is_locked(path: Path) -> bool:
    """Return whether another run holds a lock on a file or folder; links and what cannot be opened are not locked."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        return not lock(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def only_run(target: Path) -> Iterator[None]:
    """Refuse a second run that writes `target` while this one lasts, by a file beside it that says whose it is.

    Raises MusiganError where another run holds it. A file that a killed run left holds nothing.
    """
    path = target.with_name(f".{target.name}.lock")
    flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        raise MusiganError(f"{path}: cannot be written ({error.strerror or error})") from error
    try:
        if not lock(descriptor):
            holder = os.read(descriptor, 300).decode(errors="replace").strip() or "another process"
            raise MusiganError(
                f"{target}: {printable(holder)} is training it: wait, stop that run, or choose another -o"
            )
        try:
            with suppress(OSError):  # on a full disk it does not say whose it is
                os.truncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
