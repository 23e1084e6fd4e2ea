"""Hardware and libraries of this machine, for `musigan doctor`, and settings of the process that depend on them."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata

from musigan import __version__

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_LIBRARIES = ("numpy", "zarr", "torch", "librosa", "soundfile", "typer")


def report() -> Iterator[tuple[str, str]]:
    """Yield (name, one line of text) for each part of the report."""
    from musigan.audio import doctor_report

    yield "musigan", f"{__version__}, Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield "libraries", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    yield from doctor_report().items()
    yield "cores", f"{usable_cores()} usable"
    yield "GPU", _gpu()
    yield "memory", _memory()
    for name, folder in (("here", os.curdir), ("temporary", tempfile.gettempdir())):
        yield f"space {name}"[:12], f"{shutil.disk_usage(folder).free / 1e9:.1f} GB free in {os.path.abspath(folder)}"


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "missing"


def _gpu() -> str:
    try:
        import torch
    except ImportError as error:
        return f"unknown: torch cannot be imported ({error})"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return ", ".join(f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB" for gpu in names)
    if torch.backends.mps.is_available():
        return "Apple Metal (mps)"
    return "none that torch can use: training takes the preset for CPUs"


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB"
    except (ValueError, OSError, AttributeError):  # a system that lacks these names, or sysconf itself
        return "unknown"
