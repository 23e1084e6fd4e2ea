"""Hardware and libraries of this machine, for `musigan doctor`, and settings of the process that depend on them."""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows do not bind processes to cores
        return os.cpu_count() or 1


def reuse_freed_memory() -> None:
    """Make the C library reuse large freed blocks of memory, where it has a setting for this (glibc).

    By default each array of some megabytes comes from the operating system and goes back to it. The page faults that
    follow took a quarter of npy-to-keys' time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # Windows loads nothing without a name; macOS has no mallopt
        return
    mallopt(_M_MMAP_THRESHOLD, 1 << 28)
    mallopt(_M_TRIM_THRESHOLD, 1 << 29)
    mallopt(_M_TOP_PAD, 1 << 24)
