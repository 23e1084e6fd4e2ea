"""Drawing with matplotlib apart from the user's settings: the same picture every time, no messages on stderr."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from musigan.files.text import clean_text


@contextmanager
def isolated() -> Iterator[None]:
    """Isolate matplotlib from the user's style, and silence its messages about fonts, caches and missing letters."""
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
    """Return matplotlib's own font, then the installed fonts for letters that it lacks."""
    from matplotlib.font_manager import fontManager

    candidates = (
        "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR", "Source Han Sans",
        "WenQuanYi Zen Hei", "IPAexGothic", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Yu Gothic",
        "Microsoft YaHei", "Malgun Gothic", "Noto Sans", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Hebrew",
        "Noto Sans Arabic", "Arial Unicode MS",
    )  # fmt: skip
    installed = set(fontManager.get_font_names())
    return ("DejaVu Sans", *(name for name in candidates if name in installed))


def write(
    figure: Any, text: str, place: tuple[float, float], max_width: float, fontsize: float, colour: Any = "black"
) -> None:
    """Write text on one line, without mathematics, cut to `max_width` pixels.

    The lower left corner is at `place`, in pixels from the figure's top left.
    """
    figure_width, figure_height = figure.bbox.size
    left, bottom = place
    line = clean_text(text) or ""
    label = figure.text(
        left / figure_width, 1 - bottom / figure_height, line, fontsize=fontsize, va="bottom", parse_math=False,
        color=colour,
    )  # fmt: skip
    if not line or label.get_window_extent().width <= max_width:
        return
    fitting_length, too_long_length = 0, len(line)  # bisection, since letters differ in width
    while too_long_length - fitting_length > 1:
        middle = (fitting_length + too_long_length) // 2
        label.set_text(line[:middle].rstrip() + "…")
        if label.get_window_extent().width > max_width:
            too_long_length = middle
        else:
            fitting_length = middle
    label.set_text(line[:fitting_length].rstrip() + "…")
