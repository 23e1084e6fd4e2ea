"""Silencing of native libraries: libmpg123 (in libsndfile) writes directly to file descriptor 2 on damaged MP3s."""

from __future__ import annotations

import faulthandler
import os
import sys
from typing import TextIO


def quiet_native_stderr() -> TextIO:
    """Redirect native code's output on descriptor 2 to the null device; Python's own `sys.stderr` works as before.

    It holds for the whole process until its end (a switch around each call would affect the other threads too), so a
    tool that decodes calls it once at its start, before anything keeps a reference to the old `sys.stderr`. Calling it
    again does nothing. Child processes started later inherit the silent descriptor. Returns the new `sys.stderr`.
    """
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return sys.stderr  # captured or closed: Python's messages do not pass through descriptor 2
    if descriptor != 2:
        return sys.stderr
    sys.stderr.flush()
    messages = os.fdopen(
        os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace", closefd=True
    )
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    sys.stderr = messages
    if faulthandler.is_enabled():
        faulthandler.enable(messages)
    return messages
