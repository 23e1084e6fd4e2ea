"""Words on stderr: one line each, and one at the bottom of the terminal that is rewritten."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any

from musigan.files.text import printable

_SECONDS_BETWEEN_LINES = 15.0
_ERASE = "\r\x1b[K"  # what stands on the terminal's line


class StatusLine:
    """The line at the bottom of the terminal; other lines go above it. A stderr that is gone is no reason to stop.

    `is_shared`: the line is that of another tool of the same pipe, and this one only adds lines above it.
    """

    def __init__(self, stream: Any, is_shared: bool = False) -> None:
        self._stream = stream  # None where a tool was started without
        self._tty = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
        self._rewrites = self._tty and not is_shared
        self._shown = False
        self._last = time.monotonic()

    def show(self, text: str) -> None:
        now = time.monotonic()
        if self._rewrites:
            if now - self._last > 0.1 or not self._shown:
                self._write(_ERASE + fitting(printable(text), _columns() - 1))
                self._shown, self._last = True, now
        elif now - self._last > _SECONDS_BETWEEN_LINES:
            self.line(text)

    def line(self, text: str) -> None:
        # On a terminal the line at the bottom may be that of another tool of the pipe, which writes it again.
        self._write((_ERASE if self._tty else "") + printable(text) + "\n")
        self._shown = False
        if not self._rewrites:
            self._last = time.monotonic()

    def clear(self) -> None:
        if self._shown:
            self._write(_ERASE)
            self._shown = False

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def fitting(text: str, columns: int) -> str:
    """Return what fits of a text: whole words, as half a number would be another one."""
    if len(text) <= columns:
        return text
    cut = text[: columns - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut).rstrip(" ,:") + "…"


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
