"""musigan music: a folder of music in, new music out, in one go."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session

NAME = "musigan music"


@_cli.tool
def main(
    session: Session,
    folder: Annotated[
        str, typer.Argument(metavar="[FOLDER]", help="Your songs; left out: tunes that musigan carries.")
    ] = "",
    out: Annotated[
        str, typer.Argument(metavar="[OUT]", help="The new music. [default: out.mp3 in the folder of --work]")
    ] = "",
    minutes: Annotated[int, typer.Option(min=1, help="How long training should take, about.")] = 5,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the music instead, however long they take.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another number, another piece.")] = 1,
    work: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where everything in between goes, and is found by the next run.")
    ] = "musigan-work",
) -> None:
    """Learn from a folder of music and write new music: decoding, analysis, training and drawing in one go.

    Run it again, and what is finished is not done again; a training that was stopped is gone on with. For good music
    give it more --minutes, and dozens of songs.

    Example: musigan music ~/Music new.mp3 --minutes 60
    """
    import os

    from musigan_tools import _scripts

    settings = {"MINUTES": minutes, "SEED": seed, "WORK": work, "EPOCHS": epochs or ""}
    bash, folder_of_tools = _scripts.bash(), _scripts.folder()
    path = os.pathsep.join((folder_of_tools, os.environ.get("PATH", os.defpath)))
    environment = {**os.environ, **{name: str(value) for name, value in settings.items()}, "PATH": path}
    for inherited in ("CHECKOUT", "VENV"):
        environment.pop(inherited, None)
    _scripts.become([bash, _scripts.music(), folder, out], environment)
