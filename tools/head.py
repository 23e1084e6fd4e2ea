"""musigan head: the first songs of a store."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan head"


@_cli.tool
def main(
    session: Session,
    source: _cli.Source = "-",
    output: _cli.Output = "-",
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many songs.")] = 10,
    strict: _cli.Strict = False,
    force: _cli.Force = False,
) -> None:
    """Take the first songs of a store.

    From a pipe no more is read than they are, so that a tool that has more to say ends as it does before head.

    Example: mp3-to-npy ~/Music | musigan head -n 3 | npy-to-keys > three.zarr
    """
    from dataclasses import replace

    from musigan.store.choosing import write_first
    from musigan.store.joining import song_count

    session.check_output(output, force)
    reader = session.reader(source, in_order=True)
    expected = min(count, song_count(reader.header) or count)
    with session.writer(output, force, replace(reader.header, expected=expected, items=None)) as writer:
        write_first(reader, count, writer, session)
    session.summary(f"the first {writer.items} songs")
