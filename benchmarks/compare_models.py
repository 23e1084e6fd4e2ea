"""Checkpoints of several models side by side: size, what training took, and how far samples are from songs held back.

    python benchmarks/compare_models.py KEYS CKPT... [-n 120] [--seeds 1]

A row a checkpoint, between the floor (songs that were learned from) and the built-in baselines; the columns are those
of `evaluate`. Time is what the run took, over all its sittings; rolls/s counts the rolls its steps saw, all stages
together. Models that draw nothing from noise alone are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from musigan.checkpoints import checkpoint
from musigan.checkpoints.checkpoint import Checkpoint
from musigan.errors import MusiganError
from musigan.machine.cores import usable_cores
from musigan.metrics.baselines import BASELINES
from musigan.metrics.estimates import Estimate
from musigan.metrics.evaluation import Evaluation, Options
from musigan.metrics.sets import Collection, collection_of
from musigan.sampling.sampler import Sampler
from musigan.sampling.sets import sampled_set
from musigan.store import open_reader

COLUMNS = (
    "Frechet, musical", "Frechet, random net", "MMD x 1000", "coverage", "told apart, logistic", "told apart, forest",
    "qualified notes", "empty bars", "used pitch classes", "polyphony", "C_T", "copies", "diversity",
)  # fmt: skip


def described(saved: Checkpoint) -> tuple[str, ...]:
    """Model, parameters in millions, minutes of training, rolls a second."""
    parameters = sum(v.numel() for state in saved.networks.values() for v in state.values() if v.is_floating_point())
    settings, seconds = saved.training_settings(), saved.position.seconds
    rolls = saved.position.total_steps * settings.rolls_per_step
    return settings.model, f"{parameters / 1e6:.2f}", f"{seconds / 60:.1f}", f"{rolls / max(seconds, 1e-9):.1f}"


def rows(
    work: Evaluation, music: Collection, paths: list[Path], seeds: int
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Estimate]]]:
    """Yield what is known of each row, and its figures."""
    yield ("held-out", "", "", ""), work.reference()[0]
    yield ("floor", "", "", ""), work.floor()[0]
    for path in paths:
        saved = checkpoint.load(path)
        known = described(saved)
        try:
            sampler = Sampler.from_checkpoint(saved)
            for seed in range(1, seeds + 1):
                drawn = sampled_set(sampler, music, work.count, seed, path.stem)
                yield known, work.samples(drawn)[0]
        except MusiganError as error:
            print(f"{path}: left out: {error}")
    for name in BASELINES:
        yield (name, "", "", ""), work.baseline(name)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("keys")
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("-n", "--count", type=int, default=120, help="rolls in each set")
    parser.add_argument("--seeds", type=int, default=1, help="sets drawn from each checkpoint")
    chosen = parser.parse_args()
    torch.set_num_threads(usable_cores())
    with open_reader(chosen.keys) as reader:
        music = collection_of(reader)
        work = Evaluation(music, Options(count=chosen.count, bootstraps=0, pool=400, jobs=usable_cores()))
        print("| " + " | ".join(("model", "M parameters", "minutes", "rolls/s", *COLUMNS)) + " |")
        print("|" + "---|" * (4 + len(COLUMNS)))
        for known, found in rows(work, music, chosen.checkpoints, chosen.seeds):
            cells = [f"{found[n].value:.3g}" if n in found and np.isfinite(found[n].value) else "" for n in COLUMNS]
            print("| " + " | ".join((*known, *cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
