"""musigan split: a store into several, by genre, artist, validation or share."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan split"


@_cli.tool
def main(
    session: Session,
    source: _cli.Source = "-",
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="PATH", help="parts.zarr writes parts-jazz.zarr, parts-blues.zarr, ..."),
    ] = "-",
    by: Annotated[str, typer.Option(metavar="WHAT", help="genre (or folder), artist, or validation.")] = "",
    shares: Annotated[
        str,
        typer.Option(metavar="A,B,...", help="Or so large parts, by songs: 8,1,1 writes parts-1.zarr and two more."),
    ] = "",
    strict: _cli.Strict = False,
    force: _cli.Force = False,
) -> None:
    """Part the songs of a store among several.

    Shares go by the songs' music alone: adding songs moves none, and copies come together.

    Example: musigan split keys.zarr --by genre -o keys.zarr
    """
    from musigan.store.parting import Parting

    parting = Parting.parse(output, by, shares)
    session.check_output(parting.named("part"), force)
    reader = session.reader(source, in_order=True)
    parts = parting.write(reader, lambda name, header: session.writer(name, force, header), session)
    session.summary(", ".join(f"{name}: {songs} songs" for name, songs in parts.items()))
