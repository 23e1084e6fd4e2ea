"""report: a training run in, a page to hear and see it out."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli, _files
from musigan_tools._session import Session


@_cli.tool
def main(
    session: Session,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A checkpoint, or the run folder beside it.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="PAGE", help="The page; - is a pipe.")] = "-",
    keys: Annotated[str, typer.Option(metavar="KEYS", help="Keys store for real music beside the drawn.")] = "",
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=50, help="Samples: half best, half worst.")] = 6,
    of: Annotated[int, typer.Option(min=1, help="How many pieces the critic chooses among.")] = 24,
    rounds: Annotated[int, typer.Option(min=0, max=50, help="Rounds of the blind mode; each adds two excerpts.")] = 6,
    seconds: Annotated[float, typer.Option(max=120, help="Length of every excerpt.")] = 10.0,
    seed: _cli.Seed = 1,
    device: _cli.Device = "auto",
    jobs: _cli.Jobs = 0,
    force: _cli.Force = False,
) -> None:
    """Make one page that shows a training run: curves, music to hear and see, settings, data.

    The page needs no network: sound, pictures and script are inside it. With --keys it holds real music too, and a
    blind mode that asks which is real.

    Example: report ckpt.pt --keys keys.zarr -o report.html
    """
    from musigan.machine.cores import usable_cores
    from musigan.machine.devices import ready_device

    _files.check(session, output, force, "the page")
    place = ready_device(device)  # before anything imports torch

    from musigan import report

    choices = report.MusicSelection(count, of, rounds, seconds, seed)
    reader = session.random_access_reader(keys, "keys") if keys else None
    content = report.gather(report.Run.of(run), choices, reader, place, jobs or usable_cores(), session.progress)
    page = report.assemble(content)
    written = _files.write(session, output, page.encode(), "the page", force)
    session.summary(f"{written}: {len(page) / 1e6:.1f} MB, open it in a browser")
