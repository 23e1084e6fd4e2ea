"""One run of a tool: its streams, the stores it opens, what it says on stderr and what it skips."""

from __future__ import annotations

import os
import stat
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING

from musigan_tools import _streams, _words

from musigan.errors import MusiganError, StoreError, UsageError
from musigan.files import atomic
from musigan.files.remote import is_url
from musigan.files.text import printable
from musigan.machine.nativestderr import quiet_native_stderr
from musigan.machine.reporting import counted, duration

if TYPE_CHECKING:
    from musigan.store import Reader, StoreHeader, Writer

STDIN = "standard input"


class Session:
    """One run of a tool: its streams, what it says on stderr, what it skipped."""

    def __init__(self, name: str, quiet: bool = False, verbose: bool = False, strict: bool = False) -> None:
        self.name, self.quiet, self.verbose, self.strict = name, quiet, verbose, strict
        self.skipped: Counter[str] = Counter()
        self._stdin, self._stdout = _streams.take_streams()
        if not verbose:
            quiet_native_stderr()
        self._redirection: _streams.Redirection | None = None  # of what is no answer in words
        self._stack = ExitStack()
        # Tools in the middle of a pipe share the terminal with the last one, whose progress is the pipe's.
        in_pipe = self._stdout is not None and _streams.is_fifo(self._stdout)
        self._shows_progress = not quiet and (verbose or not in_pipe)
        self._status = _words.StatusLine(sys.stderr, is_shared=in_pipe)
        atomic.said = self.say

    # -- words ------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Write a line on stderr, unless -q."""
        if not self.quiet:
            self._status.line(f"{self.name}: {text}")

    def detail(self, text: str) -> None:
        """Write a line on stderr with -v."""
        if self.verbose:
            self.say(text)

    def error(self, text: str) -> None:
        """Write a line on stderr, always."""
        self._status.line(f"{self.name}: {text}")

    def print(self, text: str) -> None:
        """Write a line of the tool's answer on standard output. Raises UsageError where that is closed."""
        self._status.clear()
        if self._stdout is None:
            raise UsageError("standard output is closed: the answer has nowhere to go")
        self._stdout.write(printable(text).encode() + b"\n")
        self._stdout.flush()

    def print_json(self, value: object) -> None:
        """Write the answer as JSON."""
        import json

        for line in json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).splitlines():
            self.print(line)

    def status(self, text: str) -> None:
        """Show where the work stands: on a terminal a line that is rewritten, else a line now and then."""
        if self._shows_progress:
            self._status.show(f"{self.name}: {text}")

    def skip(self, what: str, reason: str, group: str | None = None) -> None:
        """Report that an input is passed over, and why; `group` is what the summary counts it under."""
        if self.strict:
            raise MusiganError(f"{what}: {reason} (--strict)")
        fault = sys.exc_info()[1]  # one of ours says all there is to say
        if self.verbose and fault is not None and not isinstance(fault, MusiganError | OSError):
            for line in (f"{self.name}: at {what}:", *traceback.format_exc().splitlines()):
                self._status.line(line)
        self.skipped[group or reason] += 1
        if not self.quiet:
            self._status.line(f"{self.name}: skipped {what}: {reason}")

    def summary(self, done: str) -> None:
        """Write the last line: what was done, and what was skipped, counted by reason."""
        if self.skipped:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.skipped.most_common())
            done += f"; skipped {sum(self.skipped.values())}: {reasons}"
        self.say(done)

    def progress(self, total: int | None, unit: str) -> Progress:
        return Progress(self, total, unit)

    # -- streams ----------------------------------------------------------------------------------------------

    def reader(self, source: str, *kinds: str, in_order: bool = False) -> Reader:
        """Open the store a tool reads, `in_order` from front to back only. The session closes it."""
        from musigan import store

        if not source:
            raise UsageError('the name of a store is empty (""): an unset variable?')
        stream, name = (self.stdin(), STDIN) if source == "-" else (source, None)
        return self._stack.enter_context(store.open_reader(stream, kinds, name, in_order))

    def random_access_reader(self, source: str, *kinds: str) -> Reader:
        """Open a store to read in any order; a stream is spooled to a temporary file first."""
        from musigan import store

        if os.path.exists(source) and stat.S_ISFIFO(os.stat(source).st_mode):
            with open(source, "rb") as fifo:
                path = self._stack.enter_context(store.spool(fifo, source))
            return self._stack.enter_context(store.open_reader(path, kinds, source))
        if source == "-":
            if not self.stdin().peek(1):  # type: ignore[attr-defined]
                raise StoreError(f"{STDIN}: nothing came in: the tool before this one failed, or the file is empty")
            path = self._stack.enter_context(store.spool(self.stdin(), STDIN))
            return self._stack.enter_context(store.open_reader(path, kinds, STDIN))
        if is_url(source):
            return self._stack.enter_context(store.open_reader(source, kinds, cached=True))
        return self.reader(source, *kinds)

    def stdin(self) -> IO[bytes]:
        if self._stdin is None:
            raise UsageError("standard input is closed: name a store, or pipe one in")
        if self._stdin.isatty():
            raise UsageError(f"standard input is a terminal: name a store or pipe one in ({self.name} -h)")
        return self._stdin

    def stdout(self, what: str = "a store") -> IO[bytes]:
        if self._stdout is None:
            raise UsageError("standard output is closed: name an output with -o")
        if self._stdout.isatty():
            raise UsageError(f"{what} is binary and would go to a terminal: redirect it (> FILE) or pipe it")
        if self._redirection is None:
            self._redirection = _streams.Redirection.of(self._stdout)
        return self._stdout

    def check_output(self, output: str, force: bool) -> None:
        """Refuse an output that would be lost or would go to a terminal, before any work is done."""
        from musigan import store
        from musigan.files.targets import maker_of

        if not output:
            raise UsageError('the name of the output is empty (""): an unset variable?')
        if output == "-":
            self.stdout()
        elif maker := maker_of(output):
            raise UsageError(f"{output}: {self.name} writes a store, a .zarr folder or any other file; {maker}")
        elif not force and store.exists(output):
            raise MusiganError(f"{output} exists: choose another name, or replace it with --force")

    @contextmanager
    def writer(self, output: str, force: bool, header: StoreHeader, compress: bool | None = None) -> Iterator[Writer]:
        """Open the store a tool writes; it appears whole, or not at all, when nothing usable came."""
        from musigan import store

        self.check_output(output, force)
        target: str | IO[bytes] = self.stdout() if output == "-" else output
        with store.write(target, header, compress) as writer:
            yield writer
            if not writer.items:
                reasons = ", ".join(f"{count} {reason}" for reason, count in self.skipped.most_common())
                raise MusiganError("nothing usable came in" + (f" ({reasons})" if reasons else ""))

    def take_back(self) -> None:
        """Take back what the shell made for a store, picture or sound that is not whole."""
        if self._redirection is not None:
            self._redirection.take_back()

    def close(self) -> None:
        """Close what was opened and flush the answer. Raises OSError where its last words cannot be written."""
        self._status.clear()
        self._stack.close()
        if self._stdout is not None:
            self._stdout.flush()


class Progress:
    """Counts items and estimates the time left."""

    def __init__(self, session: Session, total: int | None, unit: str) -> None:
        self._session, self._total, self._unit = session, total, unit
        self._done, self._start = 0, time.monotonic()

    def step(self, note: str = "") -> None:
        self._done += 1
        text = counted(self._done, self._unit)
        if self._total:
            text = f"{self._done:,} of {counted(self._total, self._unit)}"
        elapsed = time.monotonic() - self._start
        if self._total and self._done < self._total:  # the last is written yet, so there is no "0 s left"
            text += f", {duration(max(elapsed / self._done * (self._total - self._done), 1.0))} left"
        self._session.status(f"{text}  {note}" if note else text)
