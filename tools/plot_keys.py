"""plot-keys: piano keys in, a picture of their rolls out."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli, _files
from musigan_tools._session import Session


@_cli.tool
def main(
    session: Session,
    source: _cli.Source = "-",
    output: _files.Picture = "-",
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=100, help="How many items, from the first.")] = 4,
    items: Annotated[str, typer.Option(metavar="NUMBERS", help="These instead, in this order: 3,7,10:12.")] = "",
    diff: Annotated[str, typer.Option(metavar="OTHER", help="A store to draw beside, and subtract from, IN.")] = "",
    start: Annotated[float, typer.Option(min=0, help="Where in each item to begin, in seconds.")] = 0.0,
    seconds: Annotated[float, typer.Option(min=0.001, help="How much of each item to draw.")] = 30.0,
    all: Annotated[bool, typer.Option("--all", help="Draw items to their end.")] = False,
    columns: Annotated[int, typer.Option(min=0, max=100, help="Items side by side; 0: two, or one with --diff.")] = 0,
    channel: Annotated[int, typer.Option(min=0, help="1, 2, ...: that channel alone; 0: the mean of all.")] = 0,
    track: Annotated[str, typer.Option(metavar="NAME", help="That track alone.")] = "",
    scale: Annotated[str, typer.Option(help="How loudness becomes colour: sqrt, log or linear.")] = "sqrt",
    beats: Annotated[bool, typer.Option("--beats", help="Thin lines at beats, stronger ones at downbeats.")] = False,
    format: Annotated[str, typer.Option(help="png, svg or pdf.  [default: by the ending of -o, or png]")] = "",
    dpi: Annotated[int, typer.Option(min=40, max=600, help="Pixels an inch; an item is 6 inches wide.")] = 120,
    strict: _cli.Strict = False,
    force: _cli.Force = False,
) -> None:
    """Draw piano rolls: time from left to right, a keyboard at the side, loudness as colour.

    From a pipe no more is read than is drawn. With --diff, each item is drawn with its namesake by number in OTHER
    and the signed difference, and how well they agree is said on standard error.

    Example: sample ckpt.pt | plot-keys > rolls.png
    """
    from musigan.errors import UsageError
    from musigan.machine.reporting import counted
    from musigan.pictures import gallery, plots
    from musigan.rolls.tracks import number_of_track
    from musigan.store import excerpts

    _files.check(session, output, force, "a picture")
    kind = format or ("png" if output == "-" else plots.format_of(output))
    choice = gallery.ItemChoice.parse(items, count, excerpts.Window(start, None if all else seconds), session.skip)
    if diff == "-" == source:
        raise UsageError("IN and --diff cannot both be standard input: name one of them")
    reader = session.reader(source, "keys")
    shown = number_of_track(track, reader.header.tracks) if track else channel or None
    style = gallery.PictureStyle(columns or (1 if diff else 2), shown, scale, kind, dpi, beats)
    other = session.reader(diff, "keys") if diff else None
    drawn = gallery.draw(reader, other, choice, style, session.say)
    name = _files.write(session, output, drawn.data, "a picture", force)
    session.summary(f"{counted(drawn.items, 'items')} in {name}")
