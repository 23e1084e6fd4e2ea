"""transfer: a song of one kind of music in, the same song as another kind out."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session


@_cli.tool
def main(
    session: Session,
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="A checkpoint of train-gan --model cyclegan.")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IN]...", help="A keys store, or - for standard input; with --judge one of each kind."),
    ] = None,
    output: _cli.Output = "-",
    to: Annotated[str, typer.Option("--to", metavar="KIND", help="The kind of music that the songs become.")] = "",
    judge: Annotated[
        bool, typer.Option("--judge", help="Say in a table what kind songs held back are taken for.")
    ] = False,
    device: _cli.Device = "auto",
    strict: _cli.Strict = False,
    force: _cli.Force = False,
) -> None:
    """Turn songs into the other kind of music that a CycleGAN has learned.

    Whole songs of any length, each cut as it came in. The kinds are called as the stores were that train-gan learned
    from. --judge asks classifiers that never heard the songs: before, after, and turned back again.

    Example: transfer ckpt.pt --to rock song.zarr | keys-to-mp3 rock.mp3
    """
    from musigan.machine.reporting import counted
    from musigan.sampling.requests import TransferRequest

    request = TransferRequest(tuple(sources or ["-"]), to, judge)
    if not judge:
        session.check_output(output, force)

    from musigan.sampling import sets
    from musigan.sampling.loading import load_transfer

    transfer = load_transfer(checkpoint, device)
    if judge:
        for line in sets.judge_transfer(transfer, request.sources, session):
            session.print(line)
        return
    kind = transfer.kind(to)
    reader = session.reader(request.sources[0], "keys")
    transfer.check(reader.header, reader.source)
    with session.writer(output, force, reader.header) as writer:
        transfer.translate_store(reader, kind, writer, session)
    session.summary(f"{counted(writer.items, 'songs')} as {to}")
