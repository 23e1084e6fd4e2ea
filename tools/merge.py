"""musigan merge: the songs of several stores in one, each once."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan merge"


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
    """Put stores together: the songs of the first, then those of the next that are not there yet.

    Songs are the same if their music is, whatever they are called (musigan cat keeps all). All stores must have been
    made with the same settings; of a collection that was cut in shards the result is that of one run.

    Example: musigan merge monday.zarr tuesday.zarr -o week.zarr
    """
    from musigan.store.joining import StoreSequence, join

    session.check_output(output, force)
    stores = StoreSequence(sources or ["-"], session)
    for name in stores.disagreed:
        session.say(f"the stores differ in {name}: each song keeps its own, and the new store names none")
    with session.writer(output, force, stores.header, compress) as writer:
        left_out = join(stores, writer, session)
    copies = f", {left_out} that came twice left out" if left_out else ""
    session.summary(f"{writer.items} songs{copies}")
