"""transfer: a song of one kind of music in, the same song as another kind out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from musigan_tools import _cli

if TYPE_CHECKING:
    from musigan.sampling.transfer import Transfer


@_cli.tool
def main(
    session: _cli.Session,
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
    from musigan.errors import MusiganError, UsageError
    from musigan.machine.devices import resolve_device
    from musigan.sampling.transfer import Transfer
    from musigan.training.runs import prepare_torch

    sources = sources or ["-"]
    if judge and to:
        raise UsageError("--judge asks about both kinds and writes no store: leave --to out")
    if not judge and len(sources) > 1:
        raise UsageError(
            f"{len(sources)} stores given: transfer turns the songs of one (--judge takes one of each kind)"
        )
    if not judge:
        session.check_output(output, force)
    place = resolve_device(device)
    prepare_torch(place)
    transfer = Transfer.load(checkpoint, place)
    if judge:
        _judge(session, transfer, sources)
        return
    kind = transfer.kind(to)
    reader = session.reader(sources[0], "keys")
    transfer.check(reader.header, reader.source)
    progress = session.progress(reader.header.expected, "songs")
    with session.writer(output, force, reader.header) as writer:
        for item, result in transfer.items(reader, kind):
            if isinstance(result, MusiganError):
                session.skip(item.title, str(result), "that do not fit")
                continue
            writer.add(*result)
            progress.step(item.title)
    session.summary(f"{writer.items} songs as {to}")


def _judge(session: _cli.Session, transfer: Transfer, sources: list[str]) -> None:
    """Print what kind the held-out songs of the stores `sources` are taken for."""
    from musigan.datasets.domains import domain_names
    from musigan.errors import UsageError
    from musigan.metrics import genre
    from musigan.sampling import sets

    names = domain_names(sources)
    if sorted(names) != sorted(transfer.domains):
        raise UsageError(
            f"--judge takes a store of each kind, called as in training: {' and '.join(transfer.domains)}; found "
            f"{' and '.join(names)}"
        )
    readers = [session.random_access_reader(sources[names.index(name)], "keys") for name in transfer.domains]
    for reader in readers:
        transfer.check(reader.header, reader.source)
    songs = list(sets.held_out_songs(transfer, readers, lambda title: session.status(f"turning {title}")))
    verdicts = [verdict for kind in genre.CLASSIFIERS for verdict in genre.judge(songs, transfer.domains, kind)]
    for line in genre.lines(verdicts, songs, transfer.domains):
        session.print(line)
