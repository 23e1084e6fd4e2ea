"""evaluate: how far generated music is from real music that nobody learned from, in a table."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli
from musigan_tools._session import Session


@_cli.tool
def main(
    session: Session,
    real: Annotated[str, typer.Argument(metavar="REAL", help="The keys store of your music, or a checkpoint.")],
    fake: Annotated[
        str, typer.Argument(metavar="[SAMPLES]", help="A keys store of samples, - for standard input, or a checkpoint.")
    ] = "",
    count: Annotated[int, typer.Option("-n", "--count", min=8, help="Rolls in each set, at most.")] = 500,
    pieces: Annotated[
        int, typer.Option(min=0, help="Half-minute pieces to draw for rhythm and form; 0: not judged.")
    ] = 24,
    long: Annotated[bool, typer.Option("--long", help="Also draw pieces of 2 minutes from a checkpoint.")] = False,
    seed: _cli.Seed = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of the table.")] = False,
    baselines: Annotated[
        bool, typer.Option(help="Also judge silence, noise, shuffled, reversed and copied music.")
    ] = True,
    network: Annotated[bool, typer.Option("--network", help="Also ask a small neural network; takes minutes.")] = False,
    splits: Annotated[int, typer.Option(min=0, help="Other divisions of the songs to hold the floor against.")] = 10,
    bootstraps: Annotated[int, typer.Option(min=10, help="Draws for the intervals.")] = 100,
    device: _cli.Device = "auto",
    jobs: _cli.Jobs = 0,
) -> None:
    """Judge samples against songs that were held back.

    Every row is a set of equally many rolls held against the same held-out songs: the samples, the songs that were
    learned from (the floor: nothing can be expected to come nearer), and baselines that a good judge tells from music.
    Without samples the table shows what the judge can tell on this music.

    Example: evaluate keys.zarr ckpt.pt
    """
    from musigan.errors import UsageError
    from musigan.machine.cores import usable_cores
    from musigan.metrics import table as tables
    from musigan.metrics.baselines import BASELINES
    from musigan.metrics.evaluation import Options
    from musigan.sampling.evaluation import SampleEvaluation

    if as_json and as_csv:
        raise UsageError("--json and --csv both say how to print: give one of them")
    if real == "-" and fake == "-":
        raise UsageError("standard input holds one store: name a file for the other")
    chosen = tuple(BASELINES) if baselines else ()
    options = Options(count, seed, bootstraps, splits, chosen, network=network, jobs=jobs or usable_cores())
    table = SampleEvaluation(options, pieces, long, device, session).table(real, fake)
    text = tables.to_json(table) if as_json else tables.to_csv(table) if as_csv else "\n".join(tables.lines(table))
    for line in text.splitlines():
        session.print(line)
