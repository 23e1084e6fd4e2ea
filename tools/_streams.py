"""Standard input and output, taken for the store alone."""

from __future__ import annotations

import os
from typing import IO


def is_fifo(file: IO[bytes]) -> bool:
    import stat

    return stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)


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
