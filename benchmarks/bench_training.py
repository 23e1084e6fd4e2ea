"""Rolls a second of a full GAN step: the `small` preset against the original's layout, same batch, same run.

    python benchmarks/bench_training.py [--batch 8] [--steps 8] [--threads 1]

A full step is one critic and one generator step, data loading left out. `small` works on 88 keys x 500 frames and is
timed over whole cycles of its cheap and dear steps; the original's layout on its own 33 x 500, a third of the cells.
"""

from __future__ import annotations

import argparse
import time

import torch

from musigan import models
from musigan.machine import usable_cores
from musigan.models import RollShape
from musigan.training.configuration import TrainingSettings, configure
from musigan.training.objectives import Adversarial, Moment

FULL, NARROW = RollShape(2, 88, 500), RollShape(2, 33, 500)


def rolls_per_second(settings: TrainingSettings, shape: RollShape, steps: int) -> tuple[float, float]:
    """The best of the cycles that `steps` steps hold, after one to warm up, and millions of parameters.

    The best, because what slows a cycle down on a shared machine is not the network.
    """
    torch.manual_seed(0)
    networks = models.build(settings.model, settings.network, shape).train()
    objective = Adversarial(networks, settings)
    optimisers = {side: torch.optim.Adam(groups, foreach=True) for side, groups in objective.groups().items()}
    loud = torch.rand(settings.batch_size, shape.channels, shape.keys, shape.frames)
    real = loud * (loud > 0.8)

    def step(number: int) -> None:
        shown = real.clone()  # a new batch, so that nothing computed for the last one is used again
        for side in objective.sides(number):
            moving = [p for group in optimisers[side].param_groups for p in group["params"]]
            networks.requires_grad_(False)
            for parameter in moving:
                parameter.requires_grad_(True)
            rng = torch.Generator().manual_seed(number)
            losses = objective.losses(side, shown, Moment(number, 0.5, rng)).losses
            optimisers[side].zero_grad()
            sum(settings.weight(name) * loss for name, loss in losses.items()).backward()  # type: ignore[union-attr]
            optimisers[side].step()

    cycle = settings.adversarial.roll_every
    seconds = []
    for _ in range(1 + -(-steps // cycle)):
        start = time.perf_counter()
        for number in range(cycle):
            step(number)
        seconds.append(time.perf_counter() - start)
    pace = settings.batch_size * cycle / min(seconds[1:])
    return pace, sum(p.numel() for p in networks.parameters()) / 1e6


def main() -> None:
    """Print one line for each layout and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--threads", type=int, default=usable_cores())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    print(f"batch {chosen.batch}, {chosen.threads} threads, torch {torch.__version__}")
    paces = {}
    for preset, shape, steps in (("small", FULL, chosen.steps), ("original", NARROW, 3)):
        settings = configure(preset, {"batch_size": chosen.batch})
        pace, parameters = rolls_per_second(settings, shape, steps)
        paces[preset] = pace
        print(f"{preset:9} {shape.keys} x {shape.frames}: {pace:7.2f} rolls/s, {parameters:.1f} M parameters")
    whole = configure("small", {"batch_size": chosen.batch, "adversarial": {"roll_every": 1}})
    pace, _ = rolls_per_second(whole, FULL, 4)
    print(f"{'small':9} {FULL.keys} x {FULL.frames}: {pace:7.2f} rolls/s when whole rolls are judged in every step")
    print(f"ratio small : original {paces['small'] / paces['original']:.1f}; every step {pace / paces['original']:.1f}")


if __name__ == "__main__":
    main()
