"""musigan cat: the songs of stores one after the other, as they are."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan cat"


@_cli.tool
def main(
    session: Session,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STORE]...", help="Stores of one kind: files, folders, URLs, or - for a pipe."),
    ] = None,
    output: _cli.Output = "-",
    compress: _cli.Compress = None,
    strict: _cli.Strict = False,
    force: _cli.Force = False,
) -> None:
    """Pass on the songs of stores one after the other, all of them: to a pipe, or into another place.

    A song that two stores have comes twice; musigan merge keeps it once.

    Example: musigan cat keys.zarr new.zarr | keys-to-mp3 both.mp3
    """
    from musigan.store.joining import StoreSequence, join

    session.check_output(output, force)
    stores = StoreSequence(sources or ["-"], session, once=False)
    with session.writer(output, force, stores.header, compress) as writer:
        join(stores, writer, session)
    session.summary(f"{writer.items} songs")
