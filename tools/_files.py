"""Files that are no stores: refused like stores where they would be lost, and there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from musigan_tools._session import Session

from musigan.errors import MusiganError, UsageError

Picture = Annotated[
    str, typer.Option("-o", "--output", metavar="PATH", help="A .png, .svg or .pdf, or - for standard output.")
]


def check(session: Session, output: str, force: bool, what: str) -> None:
    """Refuse, before any work, an output that would be lost, could not be written or would go to a terminal."""
    from musigan.files.remote import is_url
    from musigan.store.locations import is_stream

    if not output:
        raise UsageError('the name of the output is empty (""): an unset variable?')
    if output == "-":
        session.stdout(what)
        return
    path = Path(output)
    if is_url(output):
        raise UsageError(f"{output} is a URL: {what} goes to a file or to standard output")
    if path.is_dir():
        raise UsageError(f"{output} is a folder: name a file")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{output}: there is no folder {path.parent}: make it first")
    if not force and os.path.lexists(output) and not is_stream(path):
        raise MusiganError(f"{output} exists: choose another name, or replace it with --force")


def write(session: Session, output: str, data: bytes, what: str, force: bool) -> str:
    """Write a file that `check` let pass; return its name for people. Raises MusiganError where there is no room."""
    from musigan.files.atomic import replace_whole, write_all
    from musigan.store.locations import is_stream

    if output == "-":
        stream = session.stdout(what)
        stream.write(data)
        stream.flush()
        return "standard output"
    path = Path(output)
    if is_stream(path):
        path.write_bytes(data)
        return output
    with replace_whole(path, MusiganError, force) as aside:
        write_all(aside, path, data)
    return output
