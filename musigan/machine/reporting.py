"""Words about long work, and protocols of whoever wants to hear them: a tool's session, a page, a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Steps(Protocol):
    """A count of items done, shown to people."""

    def step(self, note: str = "") -> None:
        """Count one more item; `note` names it."""


class Reporter(Protocol):
    """Receiver of words about work on many items."""

    def say(self, text: str) -> None:
        """Show a line."""

    def detail(self, text: str) -> None:
        """Show a line to those who want details."""

    def status(self, text: str) -> None:
        """Show where the work stands, in place of what was shown before."""

    def skip(self, what: str, reason: str, group: str | None = None) -> None:
        """Take that input `what` is left out; `group` is what it is counted under. May raise, to stop there."""

    def progress(self, total: int | None, unit: str) -> Steps:
        """Return a new count, of `total` items where that is known."""


@contextmanager
def working_on(name: str) -> Iterator[None]:
    """Note on an exception that passes which input was at work: it is the program's fault, and not the input's."""
    try:
        yield
    except Exception as error:
        error.add_note(name)
        raise


def counted(number: int, unit: str) -> str:
    """Return a number with what it counts: 1 epoch, 2 epochs, 1,200 songs to learn from; `unit` is in the plural.

    The first word of the unit is what is counted.
    """
    if number != 1:
        return f"{number:,} {unit}"
    noun, *rest = unit.split(" ")
    singular = noun.removesuffix("s")
    return " ".join(("1", singular, *rest))


def duration(seconds: float) -> str:
    """Format seconds as people say them: 45 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
