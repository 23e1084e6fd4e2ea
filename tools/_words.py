"""Words on stderr: one line each, and one at the bottom of the terminal that is rewritten."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any

from musigan.files.text import printable

_SECONDS_BETWEEN_LINES = 15.0


class StatusLine:
    """The line at the bottom of the terminal; other lines go above it. A stderr that is gone is no reason to stop."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream  # None where a tool was started without
        self._tty = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = False
        self._last = time.monotonic()

    def show(self, text: str) -> None:
        now = time.monotonic()
        if self._tty:
            if now - self._last > 0.1 or not self._shown:
                columns = _columns()
                self._write("\r\x1b[K" + printable(text)[: columns - 1])
                self._shown, self._last = True, now
        elif now - self._last > _SECONDS_BETWEEN_LINES:
            self._write(printable(text) + "\n")
            self._last = now

    def line(self, text: str) -> None:
        self.clear()
        self._write(printable(text) + "\n")

    def clear(self) -> None:
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
