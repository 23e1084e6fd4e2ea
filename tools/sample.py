"""sample: a trained checkpoint in, new music as piano keys out."""

from __future__ import annotations

from typing import Annotated

import typer
from musigan_tools import _cli


@_cli.tool
def main(
    session: _cli.Session,
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="A checkpoint of pretrain or train-gan.")],
    output: _cli.Output = "-",
    count: Annotated[int | None, typer.Option("-n", "--count", min=1, help="How many pieces; 4 by default.")] = None,
    seconds: Annotated[float, typer.Option(help="Length of each piece; any length.")] = 30.0,
    seed: _cli.Seed = 1,
    best: Annotated[int, typer.Option(min=0, help="Keep so many, the best by the critic, best first.")] = 0,
    of: Annotated[int, typer.Option(min=0, help="How many --best chooses among; 25 for each by default.")] = 0,
    device: _cli.Device = "auto",
    force: _cli.Force = False,
) -> None:
    """Draw new music from a trained network.

    The same checkpoint and seed give the same music, piece by piece, however many are drawn.

    Example: sample ckpt.pt --best 4 --of 100 --seconds 60 | keys-to-mp3 out.mp3
    """
    from pathlib import Path

    from musigan import sampling
    from musigan.devices import resolve_device
    from musigan.errors import UsageError
    from musigan.training.runs import prepare_torch

    if of and not best:
        raise UsageError("--of says how many --best chooses among: add --best")
    if best and count:
        raise UsageError(f"-n {count} and --best {best} both say how many pieces: --best {best} --of MANY chooses")
    if best and of and of < best:
        raise UsageError(f"--best {best} --of {of}: cannot choose {best} among {of}")
    session.check_output(output, force)
    place = resolve_device(device)
    prepare_torch(place)
    sampler = sampling.Sampler.load(checkpoint, place)
    frames = sampler.frames(seconds)
    numbers, scored = list(range(1, (count or 4) + 1)), {}
    if best:
        among = of or 25 * best
        ranking = session.progress(among, "pieces judged")
        for number, score in sampler.scores(among, frames, seed):
            scored[number] = score
            ranking.step()
        numbers = sampling.best(scored, best)
    progress = session.progress(len(numbers), "pieces")
    with session.writer(output, force, "keys", sampler.attributes()) as writer:
        for number in numbers:
            piece = sampler.piece(seed, number, frames, scored=bool(best))
            writer.add(*sampling.as_item(piece, sampler, seed, Path(checkpoint).stem))
            progress.step()
    session.summary(f"{writer.items} pieces of {frames * sampler.store['frame_seconds']:g} s")
