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
    as_json: _cli.AsJson = False,
) -> None:
    """Read stores from front to back and say what they hold.

    Every size, checksum and shape is compared; numbers that are none (NaN, infinity) are found. Exit code 0: whole.

    Example: musigan check keys.zarr
    """
    from musigan.errors import MusiganError
    from musigan.files.finding import failure_reason
    from musigan.machine.reporting import counted
    from musigan.store.checking import examine

    answers: list[object] = []
    failed = []
    for source in stores:
        try:
            with session.reader(source, in_order=True) as reader:
                found = examine(reader, lambda done, name: session.status(f"{counted(done, 'items')}  {name}"))
        except BrokenPipeError:
            raise
        except Exception as error:
            if len(stores) == 1 and not as_json:
                raise
            problem = str(error) if isinstance(error, MusiganError) else f"{source}: {failure_reason(error)}"
            session.error(problem)
            failed.append(source)
            answers.append({"store": source, "whole": False, "problem": problem})
            continue
        answers.append(found.as_values())
        for line in () if as_json else found.lines():
            session.print(line)
    if as_json:
        session.print_json(answers)
    if failed:
        raise MusiganError(f"not whole: {', '.join(failed)}")
