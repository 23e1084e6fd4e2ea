"""A small collection of public-domain tunes, stored as notes: music to try the tools with.

Each tune is a file in a subset of ABC notation (`abc.py`), arranged as notes in seconds (`arrange.py`).
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from musigan.errors import UsageError
from musigan.tunes.abc import Tune, TuneError, parse_abc
from musigan.tunes.arrange import PlayedNote, arrange, clock

__all__ = ["PlayedNote", "Tune", "TuneError", "arrange", "clock", "load", "names", "parse_abc"]


@cache
def names() -> tuple[str, ...]:
    """Return the names of the tunes, in alphabetical order."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".abc") for name in files if name.endswith(".abc")))


def load(name: str) -> Tune:
    """Read a tune of the collection. Raises UsageError for a name that is not in it."""
    if name not in names():
        raise UsageError(f"no tune {name!r}: choose one of {', '.join(names())}")
    text = resources.files(__name__).joinpath(f"{name}.abc").read_text(encoding="utf-8")
    return parse_abc(text, f"{name}.abc")
