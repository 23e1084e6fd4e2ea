"""musigan filter: the songs of a store that are of a kind."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan filter"
Texts = list[str] | None


@_cli.tool
def main(
    session: Session,
    source: _cli.Source = "-",
    output: _cli.Output = "-",
    genre: Annotated[
        Texts, typer.Option(help="Genre, or folder; * stands for anything. Repeatable: one of them.")
    ] = None,
    artist: Annotated[Texts, typer.Option(help="Artist, in the same way.")] = None,
    title: Annotated[Texts, typer.Option(help="Title, in the same way.")] = None,
    min_seconds: Annotated[float | None, typer.Option(min=0, help="Songs of this length or longer.")] = None,
    max_seconds: Annotated[float | None, typer.Option(min=0, help="Songs of this length or shorter.")] = None,
    beats: Annotated[
        bool | None, typer.Option("--has-beats/--no-beats", help="Songs with a beat, or free ones.")
    ] = None,
    split: Annotated[Literal["train", "validation", ""], typer.Option(help="Songs to learn from, or held back.")] = "",
    where: Annotated[
        Texts, typer.Option(metavar="TEST", help="Any attribute, as in year=19*, tempo>=120. Repeatable: all of them.")
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="All other songs instead.")] = False,
    strict: _cli.Strict = False,
    force: _cli.Force = False,
) -> None:
    """Take the songs of a store that all options given are true of. Case does not count.

    Example: musigan filter keys.zarr --genre "*jazz*" --genre blues --min-seconds 60 -o slow.zarr
    """
    from dataclasses import replace

    from musigan.store.choosing import AttributeTest, SongFilter

    genres, artists, titles = (tuple(each or ()) for each in (genre, artist, title))
    tests = tuple(map(AttributeTest.parse, where or ()))
    wanted = SongFilter(genres, artists, titles, min_seconds, max_seconds, beats, split, tests, invert)
    session.check_output(output, force)
    reader = session.reader(source, in_order=True)
    with session.writer(output, force, replace(reader.header, expected=None, items=None)) as writer:
        songs = wanted.write(reader, writer, session)
    session.summary(f"{writer.items} of {songs} songs")
