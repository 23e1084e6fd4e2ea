"""musigan try: music from the base, at once."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli, _drawing
from musigan_tools._session import Session

NAME = "musigan try"


@_cli.tool
def main(
    session: Session,
    out: Annotated[str, typer.Argument(metavar="[OUT]", help="mp3, wav, flac, ogg, ... by its ending.")] = "try.mp3",
    style: Annotated[str, typer.Option(help="A style that the base knows.  [default: drawn]")] = "",
    tempo: _drawing.Tempo = None,
    seconds: _drawing.Seconds = 30.0,
    seed: Annotated[int | None, typer.Option(min=0, help="The same music again.  [default: drawn]")] = None,
    force: _cli.Force = False,
) -> None:
    """Draw a piece of music from what musigan knows when it is installed.

    Nothing is learned from your songs here. Each call draws another piece; --seed gives one again.

    Example: musigan try --style jazz --tempo 140
    """
    from musigan.files.targets import Target
    from musigan.sampling.requests import DrawingRequest
    from musigan.sound.encoding import check_format

    target = Target(out, force=force)
    target.check(session.stdout if out == "-" else None)
    check_format(target.format)
    session.status("drawing")

    from musigan.sampling import trying
    from musigan.sampling.loading import load_base

    seed = trying.new_seed() if seed is None else seed
    request = DrawingRequest(seconds=seconds, seed=seed, count=1, style=style, tempo=tempo)
    stream = session.stdout("sound") if out == "-" else None
    made = trying.write(request, load_base("cpu"), target, stream)
    next_step = "musigan continue SONG.mp3 -o OUT.mp3 goes on from a song, train-gan learns from yours"
    session.summary(f"{made}; run it again for another; {next_step}")
