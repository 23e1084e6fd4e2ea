"""Pictures of rolls.

A roll is (C, K, T): channels, keys from low to high, frames; a plane is (K, T), one channel or several combined.
Planes are in model space, [0, 1]: loudness relative to the song's level, compressed by `rolls.loudness`. Cells are
coloured here, pixel by pixel, and only placed by matplotlib, so that no resampling smears a note or loses one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musigan.errors import UsageError
from musigan.pictures import canvas
from musigan.pictures.layout import DPI, Layout
from musigan.rolls.beats import Beats
from musigan.rolls.keyboard import NOTE_NAMES, is_black, key_name
from musigan.rolls.loudness import compress
from musigan.rolls.tracks import layers_of, mix_channels

Float = npt.NDArray[np.float32]
SCALES = ("sqrt", "log", "linear")
FORMATS = ("png", "svg", "pdf")


# -- from rolls to planes ---------------------------------------------------------------------------------------------


def plane_of(
    roll: npt.ArrayLike, channel: int | None = None, scale: str = "sqrt", tracks: tuple[str, ...] = ()
) -> Float:
    """Reduce a roll (C, K, T) of linear loudness to a plane (K, T) in [0, 1]: channel `channel` (from 1), or all.

    Raises UsageError for a channel or a scale that does not exist.
    """
    loudness = np.asarray(roll, np.float32)
    if channel is not None and not 1 <= channel <= len(loudness):
        raise UsageError(f"--channel {channel}: expected 1 to {len(loudness)}, the channels of the rolls")
    if scale not in SCALES:
        raise UsageError(f"--scale {scale} is unknown: choose one of {', '.join(SCALES)}")
    plane = mix_channels(loudness, tracks) if channel is None else loudness[channel - 1]
    return in_scale(plane, scale)


def in_scale(loudness: npt.ArrayLike, scale: str) -> Float:
    """Return linear loudness in [0, 1] of a scale."""
    values = np.asarray(loudness, np.float32)
    return np.clip(values, 0.0, 1.0) if scale == "linear" else compress(values, "log" if scale == "log" else "sqrt")


def pooled(plane: Float, columns: int) -> Float:
    """Pool a plane (K, T) to at most `columns` columns, each the mean of the frames that fall into it."""
    frames = plane.shape[1]
    if frames <= columns:
        return plane
    edges = np.arange(columns + 1) * frames // columns
    sums = np.add.reduceat(plane, edges[:-1], axis=1, dtype=np.float32)
    return np.asarray(sums / np.diff(edges), np.float32)


def agreement(one: Float, other: Float) -> tuple[float, float]:
    """Return cosine and mean absolute difference of two planes (K, T). The cosine with silence is undefined: NaN."""
    first, second = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    lengths = float(np.sqrt(first @ first) * np.sqrt(second @ second))
    cosine = float(first @ second) / lengths if lengths else float("nan")
    return cosine, float(np.abs(first - second).mean())


@dataclass(frozen=True)
class Panel:
    """One roll of a picture: `values` (K, T), loudness in [0, 1] or, if `signed`, differences in [-1, 1]."""

    values: Float
    title: str = ""
    start_seconds: float = 0.0
    seconds: float = 1.0  # duration of the T columns
    signed: bool = False
    beats: Beats = field(default_factory=Beats.none)  # drawn as lines, on the clock of `start_seconds`
    layers: tuple[str, ...] = ()  # what is told apart by colours; (): one thing alone
    layer: npt.NDArray[np.intp] | None = None  # (K, T), which of `layers` a cell is of

    @classmethod
    def of(cls, plane: Float, frame_seconds: float, columns: int, **described: Any) -> Panel:
        """Build a panel from a plane (K, T) of any length, reduced to at most `columns` columns."""
        return cls(pooled(plane, columns), seconds=plane.shape[1] * frame_seconds, **described)

    @classmethod
    def of_layers(
        cls, layers: tuple[tuple[str, ...], Float], frame_seconds: float, columns: int, **described: Any
    ) -> Panel:
        """Build a panel from names and planes (N, K, T): of each cell the loudest layer shows, in its colours."""
        names, planes = layers
        if len(names) == 1:
            return cls.of(planes[0], frame_seconds, columns, **described)
        by_layer = np.stack([pooled(plane, columns) for plane in planes])  # (N, K, T)
        described |= {"seconds": planes.shape[-1] * frame_seconds, "layers": names, "layer": by_layer.argmax(axis=0)}
        return cls(by_layer.max(axis=0), **described)


def colour_cells(panel: Panel, low_key: int, limit: float = 1.0) -> npt.NDArray[np.uint8]:
    """Colour a panel's cells, (K, T, 3), lowest key first; empty cells are white, on black keys' rows grey.

    `limit` is the difference that gets the strongest colour.
    """
    keys = np.arange(low_key, low_key + len(panel.values))
    rows = np.where([is_black(int(key)) for key in keys], _BLACK_ROW, _PAPER).astype(np.uint8)  # (K,)
    if panel.signed:
        index = np.rint(127 + 127 * np.clip(panel.values / limit, -1, 1)).astype(int)
        colours = _difference_colours()[index]
        is_empty = index == 127
    else:
        level = np.clip(np.ceil(panel.values * 255), 0, 255).astype(int)
        ramps = np.stack([_ramp(name, number) for number, name in enumerate(panel.layers or ("notes",))])
        colours = ramps[0 if panel.layer is None else panel.layer, level]
        is_empty = panel.values <= 0
    return np.where(is_empty[..., None], rows[:, None, None], colours)


def difference_limit(differences: Sequence[Float]) -> float:
    """Return the difference of the strongest colours: the 99th percentile of non-zero magnitudes; 1 if all are 0."""
    magnitudes = [np.abs(values[values != 0]) for values in differences]
    cells = np.concatenate(magnitudes) if magnitudes else np.empty(0)
    return float(np.percentile(cells, 99)) if cells.size else 1.0


_PAPER, _BLACK_ROW = 255, 241
# Colour maps by layer; of others than these the rest in turn. Each darkens evenly with loudness.
_MAPS = {
    "notes": "magma_r",
    "drums": "YlGn",
    "piano": "Blues",
    "guitar": "Oranges",
    "bass": "Purples",
    "strings": "RdPu",
}
_OTHER_MAPS = ("Greys", "GnBu", "OrRd", "BuPu")


@cache
def _ramp(layer: str, number: int) -> npt.NDArray[np.uint8]:
    """Return the colours of a layer's loudness, (256, 3), from soft to loud.

    They darken evenly, for black-and-white printers and colour-blind readers; the palest part of a map is left out,
    since it would not show on paper.
    """
    name = _MAPS.get(layer, _OTHER_MAPS[number % len(_OTHER_MAPS)])
    return _of_map(name, 0.1 if name == "magma_r" else 0.35, 256)


@cache
def _difference_colours() -> npt.NDArray[np.uint8]:
    """Return the colours of differences, (255, 3): red and blue around white."""
    return _of_map("RdBu_r", 0.0, 255)


def _of_map(name: str, begin: float, count: int) -> npt.NDArray[np.uint8]:
    import matplotlib

    values = matplotlib.colormaps[name](np.linspace(begin, 1.0, count))
    return np.rint(values[:, :3] * 255).astype(np.uint8)


# -- from planes to a picture -----------------------------------------------------------------------------------------


def plot_rolls(
    rolls: Sequence[np.ndarray],
    path: str | Path,
    frame_seconds: float,
    low_key: int,
    titles: Sequence[str] = (),
    columns: int = 2,
    scale: str = "sqrt",
    tracks: tuple[str, ...] = (),
) -> None:
    """Draw rolls (C, K, T) in model space in a grid to a .png, .svg or .pdf; `tracks` have colours of their own.

    `scale` names the compression of the loudness, for the legend.
    """
    width = Layout(len(rolls), rolls[0].shape[1], columns).roll_width
    names = [*titles, *[""] * len(rolls)]
    panels = [
        Panel.of_layers(layers_of(np.asarray(roll, np.float32), tracks), frame_seconds, width, title=name)
        for roll, name in zip(rolls, names, strict=False)
    ]
    Path(path).write_bytes(picture(panels, low_key, columns, scale, format_of(str(path))))


def format_of(name: str) -> str:
    """Return the picture format of a file name's ending. Raises UsageError for an unknown or missing one."""
    ending = Path(name).suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        ending_text = f"the ending .{ending}" if ending else "no ending"
        raise UsageError(f"{name} has {ending_text}: pictures are .{', .'.join(FORMATS)} (or give --format)")
    return ending


def picture(
    panels: Sequence[Panel],
    low_key: int,
    columns: int = 2,
    scale: str = "sqrt",
    format: str = "png",
    dpi: int = DPI,
    other: str = "the other",
) -> bytes:
    """Draw panels of equally many keys, `columns` side by side, to a file's bytes; equal panels give equal bytes.

    Each panel has a keyboard, key names and seconds; below are the colour bars. `other` names the store that was
    subtracted. Raises UsageError for a picture too large to draw or a format that is none of FORMATS.
    """
    if format not in FORMATS:
        raise UsageError(f"--format {format} is unknown: choose one of {', '.join(FORMATS)}")
    layout = Layout(len(panels), len(panels[0].values), min(columns, len(panels)), dpi)
    layout.check()
    limit = difference_limit([panel.values for panel in panels if panel.signed])
    with canvas.isolated():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure_width, figure_height = layout.size
        # A little larger: a size just below a whole number of pixels would be cut to one pixel less.
        figure = Figure(figsize=((figure_width + 1e-3) / dpi, (figure_height + 1e-3) / dpi), dpi=dpi)
        FigureCanvasAgg(figure)
        for number, panel in enumerate(panels):
            _draw_keyboard(_axes(figure, layout, layout.keyboard(number)), low_key, layout)
            _draw_roll(_axes(figure, layout, layout.roll(number)), panel, colour_cells(panel, low_key, limit), low_key)
            left, top, width, _ = layout.roll(number)
            canvas.write(figure, panel.title, (left, top - 0.04 * dpi), width, fontsize=9)
            if layout.last_of_column(number):
                figure.axes[-1].set_xlabel("seconds", fontsize=8, labelpad=2)
        _draw_legends(figure, layout, scale, limit if any(panel.signed for panel in panels) else None, other)
        if panels[0].layers:
            _draw_layer_names(figure, layout, panels[0].layers)
        file = BytesIO()
        # A date in the metadata would make the bytes differ from one drawing to the next.
        metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[format]
        figure.savefig(file, format=format, dpi=dpi, metadata=metadata)
    return file.getvalue()


def _axes(figure: Any, layout: Layout, place: tuple[int, int, int, int]) -> Any:
    left, top, width, height = place
    figure_width, figure_height = layout.size
    axes = figure.add_axes(
        (left / figure_width, 1 - (top + height) / figure_height, width / figure_width, height / figure_height)
    )
    axes.tick_params(labelsize=8, length=2.5, width=0.5, pad=2)
    for spine in axes.spines.values():
        spine.set_linewidth(0.5)
    return axes


def _draw_roll(axes: Any, panel: Panel, colours: npt.NDArray[np.uint8], low_key: int) -> None:
    from matplotlib.ticker import MaxNLocator

    keys, end = len(colours), panel.start_seconds + panel.seconds
    axes.imshow(
        colours, origin="lower", aspect="auto", interpolation="none",
        extent=(panel.start_seconds, end, low_key - 0.5, low_key + keys - 0.5),
    )  # fmt: skip
    for key in range(low_key + 1, low_key + keys):
        if key_name(key).startswith("C") and not is_black(key):
            axes.axhline(key - 0.5, color="0.3", alpha=0.3, linewidth=0.4)
    for seconds, alpha, width in ((panel.beats.seconds, 0.35, 0.4), (panel.beats.downbeats, 0.8, 0.8)):
        is_shown = (seconds >= panel.start_seconds) & (seconds < end)
        axes.vlines(seconds[is_shown], low_key - 0.5, low_key + keys - 0.5, color="C0", alpha=alpha, linewidth=width)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))


def _draw_keyboard(axes: Any, low_key: int, layout: Layout) -> None:
    """Draw white and black keys, each as high as its row; a black key lies over the line between two white ones."""
    from matplotlib.collections import LineCollection, PolyCollection

    keys = range(low_key, low_key + layout.keys)
    black_width = 0.62  # share of the width that a black key takes
    black = [((0, k - 0.5), (black_width, k - 0.5), (black_width, k + 0.5), (0, k + 0.5)) for k in keys if is_black(k)]
    lines = [((black_width, float(k)), (1.0, float(k))) for k in keys if is_black(k)]
    lines += [((0.0, k + 0.5), (1.0, k + 0.5)) for k in keys if not is_black(k) and not is_black(k + 1)]
    axes.add_collection(PolyCollection(black, facecolors="0.12", linewidths=0))
    axes.add_collection(LineCollection(lines, colors="0.45", linewidths=0.4))
    axes.set(xlim=(0, 1), ylim=(low_key - 0.5, low_key + layout.keys - 0.5), xticks=[])
    labelled_keys = labelled_key_numbers(low_key, layout.keys, 72 * layout.row_height / layout.dpi)
    axes.set_yticks(labelled_keys, [key_name(key) for key in labelled_keys])


def labelled_key_numbers(low_key: int, keys: int, row_points: float) -> list[int]:
    """Return the keys whose names fit beside rows of `row_points`: all, or some of each octave, or the Cs."""
    candidates = range(low_key, low_key + keys)
    for names, closest in ((NOTE_NAMES, 1), (("C", "E", "A"), 3), (("C", "G"), 5), (("C",), 12)):
        labelled_keys = [key for key in candidates if NOTE_NAMES[(key - 1) % 12] in names]
        if labelled_keys and closest * row_points >= 11:
            return labelled_keys
    return [low_key]


def _draw_legends(figure: Any, layout: Layout, scale: str, limit: float | None, other: str) -> None:
    """Draw the colour bars below the rolls; that of differences only if its end value `limit` is set."""
    ramp = Panel(np.linspace(1 / 512, 1, 512, dtype=np.float32)[None])
    axes = _legend(figure, layout, 0, ramp, (0, 1), "loudness in dB of the song's level; no colour: silent")
    ticks = {1.0: "0 and up"}
    for decibels in (-20, -6, -40, -12):
        position = float(plane_of(np.full((1, 1, 1), 10 ** (decibels / 20)), None, scale)[0, 0])
        if position > 0.03 and min(abs(position - tick) for tick in ticks) > 0.1:
            ticks[position] = _signed(decibels)
    axes.set_xticks(list(ticks), list(ticks.values()))
    if limit is not None:
        ramp = Panel(np.linspace(-1, 1, 255, dtype=np.float32)[None], signed=True)
        meaning = f"difference as drawn; red: louder here, blue: louder in {other}"
        axes = _legend(figure, layout, 1, ramp, (-limit, limit), meaning)
        names = [f"≤ {_signed(-limit)}", _signed(-limit / 2), "0", _signed(limit / 2), f"≥ {_signed(limit)}"]
        axes.set_xticks([-limit, -limit / 2, 0, limit / 2, limit], names)


def _draw_layer_names(figure: Any, layout: Layout, names: Sequence[str]) -> None:
    """Name the layers, each in its colour, at the right of the loudness's colour bar."""
    left, top, _, height = layout.legend(1)
    for number, name in enumerate(names):
        colour = tuple(_ramp(name, number)[200] / 255)
        place = (left + number * 0.7 * layout.dpi, top + height)
        canvas.write(figure, f"\N{BLACK SQUARE} {name}", place, 0.7 * layout.dpi, fontsize=8, colour=colour)


def _legend(figure: Any, layout: Layout, number: int, ramp: Panel, extent: tuple[float, float], meaning: str) -> Any:
    left, top, width, height = layout.legend(number)
    axes = _axes(figure, layout, (left, top, width, height))
    axes.imshow(colour_cells(ramp, 1), aspect="auto", interpolation="none", extent=(*extent, 0, 1))
    axes.set_yticks([])
    room = layout.size[0] - left if number else layout.legend(1)[0] - left
    canvas.write(figure, meaning, (left, top - 0.04 * layout.dpi), room, fontsize=8)
    return axes


def _signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", "\N{MINUS SIGN}")
