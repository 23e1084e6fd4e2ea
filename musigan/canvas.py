"""Drawing with matplotlib as if it were alone in the world: the same picture on any day, and no words on stderr."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@contextmanager
def alone() -> Iterator[None]:
    """Matplotlib without the user's style, and without its words on stderr: fonts, caches, missing letters."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import matplotlib

            with matplotlib.rc_context():
                matplotlib.rcdefaults()
                matplotlib.rcParams.update({"svg.hashsalt": "musigan", "font.family": list(_font_families())})
                yield
    finally:
        logger.setLevel(level)


@cache
def _font_families() -> tuple[str, ...]:
    """Matplotlib's own font, then whatever this machine has for letters that are not in it."""
    from matplotlib.font_manager import fontManager

    known = (
        "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR", "Source Han Sans",
        "WenQuanYi Zen Hei", "IPAexGothic", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Yu Gothic",
        "Microsoft YaHei", "Malgun Gothic", "Noto Sans", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Hebrew",
        "Noto Sans Arabic", "Arial Unicode MS",
    )  # fmt: skip
    installed = set(fontManager.get_font_names())
    return ("DejaVu Sans", *(name for name in known if name in installed))


def write(figure: Any, text: str, place: tuple[float, float], room: float, fontsize: float) -> None:
    """Text as it is, no mathematics, on one line: its lower left corner `place` (pixels from the figure's top left).

    What is longer than `room` pixels is cut.
    """
    across, down = figure.bbox.size
    left, bottom = place
    shown = printable(text)
    drawn = figure.text(left / across, 1 - bottom / down, shown, fontsize=fontsize, va="bottom", parse_math=False)
    if not shown or drawn.get_window_extent().width <= room:
        return
    fits, too_long = 0, len(shown)  # bisection: letters differ in width, and scripts in letters
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        drawn.set_text(shown[:middle].rstrip() + "…")
        if drawn.get_window_extent().width > room:
            too_long = middle
        else:
            fits = middle
    drawn.set_text(shown[:fits].rstrip() + "…")


def printable(text: str) -> str:
    """Text on one line, without what is no letter: control characters, halves of letters."""
    spaced = " ".join(text.encode("utf-8", "replace").decode().split())
    return "".join(letter for letter in spaced if letter.isprintable())
