"""musigan check: whether a store is whole, and what is in it."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan check"


@_cli.tool
def main(
    session: Session,
    stores: Annotated[list[str], typer.Argument(metavar="STORE...", help="Files, folders, URLs, or - for a pipe.")],
) -> None:
    """Read stores from front to back and say what they hold.

    Every size, checksum and shape is compared; numbers that are none (NaN, infinity) are found. Exit code 0: whole.

    Example: musigan check keys.zarr
    """
    from musigan.errors import MusiganError
    from musigan.files.finding import failure_reason
    from musigan.machine.reporting import counted
    from musigan.store.checking import check_store

    failed = []
    for source in stores:
        try:
            with session.reader(source) as reader:
                for line in check_store(reader, lambda done, name: session.status(f"{counted(done, 'items')}  {name}")):
                    session.print(line)
        except BrokenPipeError:
            raise
        except Exception as error:
            if len(stores) == 1:
                raise
            session.error(str(error) if isinstance(error, MusiganError) else f"{source}: {failure_reason(error)}")
            failed.append(source)
    if failed:
        raise MusiganError(f"not whole: {', '.join(failed)}")
