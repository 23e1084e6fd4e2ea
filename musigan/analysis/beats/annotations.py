"""Beats in text files, as Sonic Visualiser exports them and mir_eval reads them.

A line is a time in seconds and, after a tab, comma or spaces, the beat's number in its bar: "12.34", "12.34 1" or
"12.34,5.1" for the first beat of bar 5. Lines that begin with # are comments.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from musigan.errors import UsageError
from musigan.rolls.beats import Beats

BEATS_A_BAR = 4  # where a file does not number its beats
MAX_BYTES = 4 << 20
_NUMBER = re.compile(r"(?:\d+[.:])?(\d+)")


def read_beats(path: str | Path) -> Beats:
    """Read a file of beats; without numbers, bars of four begin with the first. Raises UsageError, in one line."""
    seconds: list[float] = []
    labels: list[str] = []
    for line, text in enumerate(_lines(path), 1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        time, _, label = re.sub(r"[\s,;]+", " ", text.strip()).partition(" ")
        try:
            second = float(time)
        except ValueError:
            second = math.nan
        if not 0 <= second < math.inf or (seconds and second <= seconds[-1]):
            raise UsageError(f"--beats {path}, line {line}: expected a time in seconds, later than the last: {time!r}")
        seconds.append(second)
        labels.append(label.strip('" '))
    if not seconds:
        raise UsageError(f"--beats {path}: no beats in it; expected a line for each, its seconds first")
    return Beats(np.array(seconds), _numbers(labels, path), 1.0)


def _lines(path: str | Path) -> list[str]:
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            return file.read(MAX_BYTES).splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"--beats {path}: not a text file") from None
    except OSError as error:
        raise UsageError(f"--beats {path}: {error.strerror or error}; expected none or a file of beats") from None


def _numbers(labels: list[str], path: str | Path) -> np.ndarray:
    """Return the number of each beat in its bar, of labels such as "1", "5.1" and "1.0"."""
    if not any(labels):
        return np.arange(len(labels)) % BEATS_A_BAR + 1
    numbers = []
    for count, label in enumerate(labels, 1):
        found = _NUMBER.fullmatch(re.sub(r"\.0+$", "", label))
        if not found or not 1 <= int(found[1]) <= 1000:
            raise UsageError(f"--beats {path}, beat {count}: expected a number in the bar, such as 1 or 5.1: {label!r}")
        numbers.append(int(found[1]))
    return np.array(numbers)
