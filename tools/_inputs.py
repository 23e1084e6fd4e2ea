"""Inputs that an output would replace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from musigan.errors import UsageError

REPLACED = "resume"  # what it names is to be replaced


def refuse_as_output(options: dict[str, Any], stores: set[str]) -> None:
    """Raise UsageError where a tool would replace what it reads, --force or not.

    A store may be replaced by the one that is made of it, if both are among the options `stores`: it is read first.
    """
    output = "output" if "output" in options else "out"
    target = options.get(output)
    _refuse_same_url(target, [value for option, value in options.items() if option != output])
    if not isinstance(target, str) or not os.path.lexists(target) or not options.get("force", True):
        return  # without --force nothing that exists is replaced
    for option, value in options.items():
        is_fine = option in (output, REPLACED) or {option, output} <= stores
        if not is_fine and any(_is_among(target, each) for each in _texts(value)):
            raise UsageError(f"{target} is read, and would be replaced: choose another name for the output")


def _refuse_same_url(target: Any, values: list[Any]) -> None:
    """Raise UsageError where the output is a URL that is read: it is cleared before it is written."""
    is_read = isinstance(target, str) and "://" in target and any(target in _texts(value) for value in values)
    if is_read:
        raise UsageError(f"{target} is read, and cannot be replaced meanwhile: choose another name for the output")


def refuse_swapped(options: dict[str, Any]) -> None:
    """Raise UsageError where the output is a store that exists, and the input is called as the output would be."""
    from musigan.files.targets import maker_of
    from musigan.store.locations import looks_like_store

    out, source = options.get("out"), options.get("source")
    if not (isinstance(out, str) and isinstance(source, str) and maker_of(source)):
        return
    if looks_like_store(out) and not looks_like_store(source):
        raise UsageError(f"{out} is a store and {source} is called like an output: the other way round, {source} {out}")


def _texts(value: Any) -> Iterator[str]:
    yield from (each for each in (value if isinstance(value, list | tuple) else [value]) if isinstance(each, str))


def _is_among(target: str, source: str) -> bool:
    """Return whether a file is an input, or a file of music in a folder that is one."""
    from musigan.files.finding import AUDIO_SUFFIXES, MIDI_SUFFIXES

    try:
        if os.path.samefile(target, source):
            return True
    except (OSError, ValueError):
        return False
    is_music = Path(target).suffix.lower() in AUDIO_SUFFIXES | MIDI_SUFFIXES
    return is_music and os.path.isdir(source) and Path(target).resolve().is_relative_to(Path(source).resolve())
