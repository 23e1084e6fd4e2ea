"""Pictures of rolls. A roll is (C, K, T): channels, keys from low to high, frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

NOTE_NAMES = ("A", "A#", "B", "C", "C#", "D", "D#", "E", "F", "F#", "G", "G#")


def key_name(key: int) -> str:
    """Name of a piano key, 1 to 88, with its octave: key 49 is A4, key 40 is C4."""
    return f"{NOTE_NAMES[(key - 1) % 12]}{(key + 8) // 12}"


def plot_rolls(
    rolls: Sequence[np.ndarray],
    path: str | Path,
    frame_seconds: float,
    low_key: int,
    titles: Sequence[str] = (),
    columns: int = 2,
) -> None:
    """Draw rolls (C, K, T), loudness in [0, 1], in a grid to an image file: time in seconds, keys by name.

    Channels are averaged. The colour map is even in lightness, so it reads in print and to the colour-blind.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(rolls) // columns)
    figure = Figure(figsize=(7 * columns, 3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for number, roll in enumerate(rolls):
        axes = figure.add_subplot(rows, columns, number + 1)
        plane = np.asarray(roll, np.float32).mean(0)  # (K, T)
        keys, frames = plane.shape
        axes.imshow(
            plane, origin="lower", aspect="auto", interpolation="nearest", cmap="magma", vmin=0, vmax=1,
            extent=(0, frames * frame_seconds, low_key - 0.5, low_key + keys - 0.5),
        )  # fmt: skip
        octaves = [key for key in range(low_key, low_key + keys) if (key - 1) % 12 == 3]
        axes.set_yticks(octaves, [key_name(key) for key in octaves])
        axes.set_xlabel("seconds")
        if number < len(titles):
            axes.set_title(titles[number], fontsize=9)
    figure.savefig(path, dpi=80)
