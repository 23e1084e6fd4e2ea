"""evaluate: how far generated music is from real music that nobody learned from, in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from musigan_tools import _cli

if TYPE_CHECKING:
    import numpy as np

    from musigan.metrics.estimates import Estimate
    from musigan.metrics.sets import Collection, RollSet
    from musigan.sampling.sampler import Sampler

OTHER_SEED = 1_000_003  # of pieces that stand for real music: samples of the default seed are others


@_cli.tool
def main(
    session: _cli.Session,
    real: Annotated[str, typer.Argument(metavar="REAL", help="The keys store of your music, or a checkpoint.")],
    fake: Annotated[
        str, typer.Argument(metavar="[SAMPLES]", help="A keys store of samples, - for standard input, or a checkpoint.")
    ] = "",
    count: Annotated[int, typer.Option("-n", "--count", min=8, help="Rolls in each set, at most.")] = 500,
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
    from musigan.metrics.evaluation import Options, evaluate

    if as_json and as_csv:
        raise UsageError("--json and --csv both say how to print: give one of them")
    if real == "-" and fake == "-":
        raise UsageError("standard input holds one store: name a file for the other")
    options = Options(
        count=count, seed=seed, bootstraps=bootstraps, splits=splits, baselines=tuple(BASELINES) if baselines else (),
        network=network, jobs=jobs or usable_cores(),
    )  # fmt: skip
    music = _music(session, real, options.count, device)
    sampler = _sampler(fake, device) if fake else None
    samples = _samples(session, fake, sampler, music, options.count, seed) if fake else None
    table = evaluate(music, samples, options, lambda row: session.status(f"judging: {row}"))
    if sampler is not None and sampler.family.extends and music.pairs is not None:
        session.status("judging: answers")
        table.answers = _answers(session, sampler, music, seed, options.jobs)
    text = tables.to_json(table) if as_json else tables.to_csv(table) if as_csv else "\n".join(tables.lines(table))
    for line in text.splitlines():
        session.print(line)


def _sampler(path: str, device: str) -> Sampler | None:
    """Who draws from `path`, where that is a checkpoint."""
    from musigan.checkpoints.checkpoint import is_checkpoint

    if path == "-" or not is_checkpoint(path):
        return None
    from musigan.machine.devices import resolve_device
    from musigan.sampling.sampler import Sampler
    from musigan.training.runs import prepare_torch

    place = resolve_device(device)
    prepare_torch(place)
    return Sampler.load(path, place)


def _music(session: _cli.Session, path: str, count: int, device: str) -> Collection:
    """What is held to be real: a store, or pieces of a checkpoint of another seed."""
    from musigan.metrics.sets import collection_of
    from musigan.sampling.sets import sampled_collection

    sampler = _sampler(path, device)
    if sampler is None:
        return collection_of(session.random_access_reader(path, "keys"))
    return sampled_collection(sampler, count, OTHER_SEED)


def _answers(session: _cli.Session, sampler: Sampler, music: Collection, seed: int, jobs: int) -> dict[str, Estimate]:
    """How well a checkpoint goes on from songs held back."""
    from musigan.errors import MusiganError
    from musigan.metrics.matching import match
    from musigan.sampling.sampler import Request

    def answer(number: int, question: np.ndarray) -> np.ndarray:
        """The piece `number` of the seed, after `question`."""
        return sampler.piece(seed, number, sampler.shape.frames, request=Request(past=question)).roll

    assert music.pairs is not None
    try:
        return match(*music.pairs, music.geometry, answer, seed, jobs)
    except MusiganError as error:
        session.say(f"answers are not judged: {error}")
        return {}


def _samples(
    session: _cli.Session, path: str, sampler: Sampler | None, music: Collection, count: int, seed: int
) -> RollSet:
    """What is to be judged: pieces of a checkpoint, or a store of them."""
    from musigan.metrics.sets import store_set
    from musigan.sampling.sets import sampled_set

    if sampler is None:
        return store_set(session.random_access_reader(path, "keys"), music)
    count = min(count, len(music.held_out), len(music.training) // 2 or 1)
    return sampled_set(sampler, music, count, seed, path)
