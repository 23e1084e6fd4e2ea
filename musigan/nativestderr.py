"""Native libraries that talk: libmpg123 (inside libsndfile) writes straight to file descriptor 2 on damaged MP3s."""

from __future__ import annotations

import faulthandler
import os
import sys
from typing import TextIO


def quiet_native_stderr() -> TextIO:
    """Send what native code writes to descriptor 2 to the null device; Python's own `sys.stderr` goes on as before.

    For the whole process and for good (a switch around each call could not be told apart between threads), so a tool
    that decodes calls it once at its start, before anything keeps a reference to the old `sys.stderr`. Calling it
    again does nothing. Child processes started later inherit the silent descriptor. Returns the stream for words.
    """
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return sys.stderr  # captured or closed: Python's words do not pass through descriptor 2
    if descriptor != 2:
        return sys.stderr
    sys.stderr.flush()
    words = os.fdopen(
        os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace", closefd=True
    )
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    sys.stderr = words
    if faulthandler.is_enabled():
        faulthandler.enable(words)
    return words
