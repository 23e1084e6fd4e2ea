"""Objects of a store at a URL on the local disk, so that each is fetched once in a run and not once an epoch.

What was fetched first stays. An epoch visits every song once in a random order, so the object that was not used for the
longest is among the next, and a cache that drops it serves little where the store is larger. One file without a name
holds all, which the system removes however the run ends.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable

from musigan.errors import SettingsError
from musigan.machine.ranks import processes_here

VARIABLE, MOST_GB = "MUSIGAN_CACHE_GB", 20.0
Fetch = Callable[[str], memoryview]  # of the bytes under a key; raises StoreError


def most_bytes() -> int:
    """Return how much a process may keep: what MUSIGAN_CACHE_GB says, and at most half of what is free on the disk.

    Processes that torchrun started on this machine share it. Raises SettingsError where the variable is no number.
    """
    text = os.environ.get(VARIABLE, "") or str(MOST_GB)
    try:
        wanted = float(text)
        if not 0 <= wanted < 1e9:
            raise ValueError
    except ValueError:
        raise SettingsError(f"{VARIABLE} is {text!r}, expected gigabytes, 0 or more") from None
    most = min(wanted * 1e9, shutil.disk_usage(tempfile.gettempdir()).free / 2)
    return int(most / processes_here())


class DiskCache:
    """Fetched objects by their keys, at most so many bytes of them."""

    def __init__(self, fetch: Fetch, most: int) -> None:
        self._fetch, self._left = fetch, most
        self._file = tempfile.TemporaryFile(prefix="musigan-", buffering=0)  # noqa: SIM115  closed by `close`
        self._places: dict[str, tuple[int, int]] = {}  # offset and size in bytes
        self._end, self._lock = 0, threading.Lock()

    def __call__(self, key: str) -> memoryview:
        """Return an object's bytes. Raises what fetching it raises."""
        if key in self._places:
            offset, size = self._places[key]
            data = os.pread(self._file.fileno(), size, offset)
            if len(data) == size:
                return memoryview(data)
        fetched = self._fetch(key)
        self._keep(key, fetched)
        return fetched

    def _keep(self, key: str, data: memoryview) -> None:
        """Keep an object where there is room."""
        with self._lock:
            if key in self._places or data.nbytes > self._left:
                return
            try:
                written = os.pwrite(self._file.fileno(), data, self._end)
            except OSError:  # the disk is full: nothing more is kept
                self._left = 0
                return
            if written == data.nbytes:
                self._places[key] = self._end, written
                self._end += written
                self._left -= written

    def close(self) -> None:
        """Give the room on the disk back."""
        self._file.close()
