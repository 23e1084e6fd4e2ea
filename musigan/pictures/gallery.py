"""Pictures of keys stores: items in a grid, or each beside its counterpart in another store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from musigan.errors import MusiganError, UsageError
from musigan.pictures import layout, plots
from musigan.rolls.beats import Beats
from musigan.rolls.tonality import tonality
from musigan.rolls.tracks import layers_of
from musigan.store import Reader
from musigan.store.alike import COMPARE, require_alike
from musigan.store.excerpts import Excerpt, Skip, Window, excerpts, pairs_of, parse_numbers


@dataclass(frozen=True)
class ItemChoice:
    """The items of a store to draw, by number, in order; if `required`, a number that the store lacks is an error."""

    numbers: Sequence[int]
    required: bool
    window: Window
    skip: Skip

    @classmethod
    def parse(cls, numbers: str, count: int, window: Window, skip: Skip) -> ItemChoice:
        """Choose the items "3,7,10:12"; where none are named, the first `count` of those that there are."""
        if numbers:
            return cls(parse_numbers(numbers), True, window, skip)
        return cls(range(1, count + 1), False, window, skip)


@dataclass(frozen=True)
class PictureStyle:
    """Appearance of a picture: `columns` items side by side, one channel (from 1) or the mean of all, scale, format."""

    columns: int = 2
    channel: int | None = None
    scale: str = "sqrt"
    format: str = "png"
    dpi: int = layout.DPI
    beats: bool = False  # whether lines mark them, in songs that are not free of beat

    def lines(self, excerpt: Excerpt) -> Beats:
        """Return the beats of an excerpt to draw."""
        return excerpt.beats if self.beats and not excerpt.beats.is_free else Beats.none()

    def __post_init__(self) -> None:
        if self.scale not in plots.SCALES:
            raise UsageError(f"--scale {self.scale} is unknown: choose one of {', '.join(plots.SCALES)}")
        if self.format not in plots.FORMATS:
            raise UsageError(f"--format {self.format} is unknown: choose one of {', '.join(plots.FORMATS)}")


@dataclass(frozen=True)
class Picture:
    """A picture file's bytes and the number of items in it."""

    data: bytes
    items: int


def draw(
    reader: Reader, other: Reader | None, choice: ItemChoice, style: PictureStyle, say: Callable[[str], None]
) -> Picture:
    """Draw the chosen items of a keys store, beside their counterparts in another one if there is one."""
    return draw_items(reader, choice, style) if other is None else draw_comparison(reader, other, choice, style, say)


def draw_items(reader: Reader, choice: ItemChoice, style: PictureStyle) -> Picture:
    """Draw the chosen items of a keys store in a grid. Raises MusiganError if there are none to draw."""
    layout = _layout(reader, len(choice.numbers), style.columns, style)
    frame_seconds = reader.header.frame_seconds
    panels: dict[int, plots.Panel] = {}
    for excerpt in _chosen_excerpts(reader, choice):
        about = {"title": _described(excerpt, reader), "start_seconds": excerpt.start_seconds}
        about |= {"beats": style.lines(excerpt)}
        if style.channel is None:
            names, planes = layers_of(excerpt.roll, reader.header.tracks)
            layers = names, plots.in_scale(planes, style.scale)
            panel = plots.Panel.of_layers(layers, frame_seconds, layout.roll_width, **about)
        else:
            plane = plots.plane_of(excerpt.roll, style.channel, style.scale, reader.header.tracks)
            panel = plots.Panel.of(plane, frame_seconds, layout.roll_width, **about)
        panels[excerpt.number] = panel
    ordered = [panels[number] for number in choice.numbers if number in panels]
    return Picture(_picture(reader, ordered, style.columns, style), len(ordered))


def draw_comparison(
    reader: Reader, other: Reader, choice: ItemChoice, style: PictureStyle, say: Callable[[str], None]
) -> Picture:
    """Draw each chosen item, its counterpart in the other store and their difference; `say` gets a line on each pair.

    Cosine and mean absolute difference are those of the planes in the picture, in the channels and scale of `style`.
    """
    require_alike((reader.source, reader.header), (other.source, other.header), COMPARE)
    layout = _layout(reader, 3 * len(choice.numbers), 3 * style.columns, style)
    frame_seconds, name = reader.header.frame_seconds, Path(other.source).name
    panels: dict[int, list[plots.Panel]] = {}
    others = excerpts(other, choice.numbers, choice.window, lambda *_: None)
    for excerpt, counterpart in pairs_of(_chosen_excerpts(reader, choice), others, other.source, choice.skip):
        tracks = reader.header.tracks
        planes = [plots.plane_of(one.roll, style.channel, style.scale, tracks) for one in (excerpt, counterpart)]
        cosine, difference = plots.agreement(*planes)
        agreement = (
            f"cosine {'undefined' if cosine != cosine else f'{cosine:.4f}'}, mean absolute difference {difference:.4f}"
        )
        say(f"{_title(excerpt)}: {agreement} over {planes[0].shape[1] * frame_seconds:g} s")
        titles = (_title(excerpt), f"{excerpt.number} in {name}", agreement)
        panels[excerpt.number] = [
            plots.Panel.of(
                plane,
                frame_seconds,
                layout.roll_width,
                title=title,
                start_seconds=excerpt.start_seconds,
                signed=signed,
                beats=style.lines(excerpt),
            )
            for plane, title, signed in zip((*planes, planes[0] - planes[1]), titles, (False, False, True), strict=True)
        ]
    ordered = [panel for number in choice.numbers for panel in panels.get(number, [])]
    return Picture(_picture(reader, ordered, 3 * style.columns, style, name), len(panels))


def _chosen_excerpts(reader: Reader, choice: ItemChoice) -> Iterator[Excerpt]:
    """Yield the chosen excerpts. Raises UsageError at the end if a required item was not in the store."""
    skipped_items: set[str] = set()

    def skip(what: str, reason: str) -> None:
        skipped_items.add(what)
        choice.skip(what, reason)

    found_numbers = set()
    for excerpt in excerpts(reader, choice.numbers, choice.window, skip):
        found_numbers.add(excerpt.number)
        yield excerpt
    missing = [n for n in choice.numbers if n not in found_numbers and f"item {n}" not in skipped_items]
    if choice.required and missing:
        raise UsageError(
            f"--items {missing[0]}: {reader.source} holds no item of that number; count them with musigan check"
        )


def _described(excerpt: Excerpt, reader: Reader) -> str:
    """Return an excerpt's title with what is known: style, tempo, key, the critic's score of a drawn piece."""
    song, header = excerpt.song, reader.header
    steady = None if excerpt.beats.is_free else excerpt.beats.steady()
    tempo = song.tempo or (steady.tempo if steady else None)
    low_key = header.low_key or 1
    facts = [
        song.genre,
        f"{tempo:.0f} bpm" if isinstance(tempo, int | float) and tempo > 0 else "",
        song.key or tonality(excerpt.roll, low_key, header.tracks),
        f"critic {song.score:+.2f}" if isinstance(song.score, int | float) else "",
    ]
    return ", ".join([_title(excerpt), *(fact for fact in facts if fact)])


def _title(excerpt: Excerpt) -> str:
    return f"{excerpt.number}: {excerpt.title}"


def _layout(reader: Reader, panels: int, columns: int, style: PictureStyle) -> layout.Layout:
    return layout.Layout(panels, reader.header.key_count, min(columns, panels), style.dpi)


def _picture(
    reader: Reader, panels: Sequence[plots.Panel], columns: int, style: PictureStyle, other: str = "the other"
) -> bytes:
    if not panels:
        raise MusiganError(f"{reader.source}: there are no items to draw")
    return plots.picture(panels, reader.header.low_key, columns, style.scale, style.format, style.dpi, other)
