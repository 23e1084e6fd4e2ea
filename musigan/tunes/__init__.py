"""A small collection of public-domain tunes, stored as notes and rendered to sound: music to try the tools with.

Each tune is a file in a subset of ABC notation (`abc.py`), arranged (`arrange.py`) and played (`synth.py`).
"""

from __future__ import annotations

import os
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from musigan.errors import UsageError
from musigan.tunes.abc import Tune, TuneError, parse_abc
from musigan.tunes.arrange import PlayedNote, arrange
from musigan.tunes.synth import synthesise

__all__ = ["PlayedNote", "Tune", "TuneError", "arrange", "load", "names", "parse_abc", "render", "write_tune"]

SAMPLE_RATE = 44_100
ALBUM = "Public-domain tunes"
_BLOCK_SAMPLES = 1 << 18


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


def render(tune: Tune, sample_rate: int = SAMPLE_RATE, seed: int | None = None) -> np.ndarray:
    """Render a tune as a piece of 60 to 95 seconds, (2, S) float32; the same seed gives the same samples."""
    return synthesise(arrange(tune, seed), sample_rate)


def write_tune(name: str, folder: str | os.PathLike[str], format: str = "mp3", force: bool = False) -> Path | None:
    """Render a tune to FOLDER/NAME.mp3 with tags and return the path; None if the file exists and `force` is off.

    The file appears whole or not at all. Raises UsageError for an unknown name, AudioError where it cannot be written.
    """
    from musigan.sound.audio import encode

    path = Path(folder, f"{name}.{format}")
    if path.exists() and not force:
        return None
    tune = load(name)
    signal = render(tune)
    blocks = (signal[:, start : start + _BLOCK_SAMPLES] for start in range(0, signal.shape[1], _BLOCK_SAMPLES))
    tags = {"title": tune.title, "artist": tune.composer, "album": ALBUM, "genre": tune.rhythm.capitalize()}
    encode(blocks, SAMPLE_RATE, path, format, tags=tags)
    return path
