"""Rolls a second of a full GAN step: `musigan` and the `small` preset against the original's layout, same batch.

    python benchmarks/bench_training.py [--batch 8] [--steps 8] [--threads 1]
    python benchmarks/bench_training.py --presets small medium large original [--device cuda]

A full step is one critic and one generator step, data loading left out. `musigan` works on 88 keys x 500 frames,
and `small` on 88 keys x 16 beats; both are timed over whole cycles of their cheap and dear steps. The original's layout
has its own 33 x 500, a third of the cells.
With --presets, what the comment in each preset's file says: parameters, the most memory a process of its own took (on a
GPU: that torch had reserved), and rolls a second of each stage at the preset's own batch size on 88 keys x 500 frames.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch

from musigan import models
from musigan.checkpoints.settings import TrainingSettings, configure
from musigan.datasets.bars import EXCERPT_BEATS
from musigan.machine.cores import usable_cores
from musigan.models.bars.composer import BEAT_STEPS
from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.outlines import Outline, context_arrays
from musigan.rolls.shape import RollShape
from musigan.training.acceleration import accelerate
from musigan.training.objectives import OBJECTIVES, StepContext

FULL, NARROW = RollShape(2, 88, 500), RollShape(2, 33, 500)
SONG_BEATS, BEATS_A_BAR = 256, 4  # of an example of the composer's stage
GRID = RollShape(2, 88, EXCERPT_BEATS * GRID_FRAMES)


def examples(settings: TrainingSettings, shape: RollShape, stage: str) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return a batch of what a stage learns from, and its conditions: noise where it is loud."""
    batch, conditions = settings.batch_size, dict[str, torch.Tensor]()
    if models.family(settings.model).on_beats:
        count = SONG_BEATS if stage == "composer" else EXCERPT_BEATS
        numbers = np.arange(count) % BEATS_A_BAR + 1
        outline = Outline(numbers, np.where(np.arange(count) < 16, 0, 16), np.full(count, 0.5))
        arrays = {**context_arrays(outline, 0, count), "known": np.ones(count, np.float32)}
        conditions = {name: torch.from_numpy(np.stack([array] * batch)) for name, array in arrays.items()}
        if stage == "composer":
            latent_dim = -(-shape.keys // (2 * settings.network["patch_keys"])) * settings.network["row_latents"]
            return torch.randn(batch, BEAT_STEPS * count, latent_dim), conditions
    loud = torch.rand(batch, shape.channels, shape.keys, shape.frames)
    return loud * (loud > 0.8), conditions


def rolls_per_second(
    settings: TrainingSettings, shape: RollShape, steps: int, stage: str = "adversarial", device: str = "cpu"
) -> tuple[float, float]:
    """Return the best pace of the cycles that `steps` steps hold, after one to warm up, and millions of parameters.

    The best, because what slows a cycle down on a shared machine is not the network.
    """
    torch.manual_seed(0)
    networks = models.build(settings.model, settings.network, shape).train().to(device)
    accelerated = accelerate(networks, settings.precision, settings.compile, torch.device(device))
    objective = OBJECTIVES[stage](accelerated, settings)
    optimisers = {side: torch.optim.Adam(groups, foreach=True) for side, groups in objective.groups().items()}
    real, conditions = examples(settings, shape, stage)
    real, conditions = real.to(device), {name: value.to(device) for name, value in conditions.items()}

    def step(number: int) -> None:
        shown = real.clone()  # a new batch, so that nothing computed for the last one is used again
        for side in objective.sides(number):
            moving = [p for group in optimisers[side].param_groups for p in group["params"]]
            networks.requires_grad_(False)
            for parameter in moving:
                parameter.requires_grad_(True)
            rng = torch.Generator().manual_seed(number)
            losses = objective.losses(side, shown, StepContext(number, 0.5, rng, conditions)).losses
            optimisers[side].zero_grad()
            sum(settings.weight(name) * loss for name, loss in losses.items()).backward()  # type: ignore[union-attr]
            optimisers[side].step()

    cycle = settings.adversarial.roll_every if stage == "adversarial" else 1
    seconds = []
    for _ in range(1 + -(-steps // cycle)):
        start = time.perf_counter()
        for number in range(cycle):
            step(number)
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    pace = settings.batch_size * cycle / min(seconds[1:])
    return pace, sum(p.numel() for p in networks.parameters()) / 1e6


def portrait(name: str, batch: int | None, steps: int, threads: int, device: str) -> str:
    """Return a line about the preset `name`, for a process of its own."""
    torch.set_num_threads(threads)
    settings = configure(name, {"batch_size": batch} if batch else {})
    before, paces, parameters = _memory(device), {}, 0.0
    for stage in models.family(settings.model).stages:
        if stage != "critic":
            shape = GRID if models.family(settings.model).on_beats else FULL
            paces[stage], parameters = rolls_per_second(settings, shape, steps, stage, device)
    said = ", ".join(_said(stage, pace) for stage, pace in paces.items())
    used = f"{_memory(device):.1f} GiB ({before:.1f} before the first step)"
    return f"{name:9} {parameters:5.1f} M parameters, batch {settings.batch_size:2}: {used}; {said}"


def _said(stage: str, pace: float) -> str:
    """Return a stage's pace in words: a composer's example is a song."""
    if stage == "composer":
        return f"{stage} {pace * SONG_BEATS / BEATS_A_BAR:.0f} bars/s"
    return f"{stage} {pace:.1f} rolls/s"


def _memory(device: str) -> float:
    """Return the most memory taken so far, in GiB: of the process, or of the GPU."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def portraits(presets: list[str], batch: int | None, steps: int, threads: int, device: str) -> None:
    """Print the line of every preset, each measured alone."""
    for name in presets:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            print(pool.submit(portrait, name, batch, steps, threads, device).result(), flush=True)


def main() -> None:
    """Print one line for each layout and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, help="rolls in a step; by default 8, with --presets the preset's own")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--presets", nargs="+", metavar="NAME")
    parser.add_argument("--device", default="cpu", help="with --presets")
    chosen = parser.parse_args()
    if chosen.presets:
        portraits(chosen.presets, chosen.batch, chosen.steps, chosen.threads, chosen.device)
        return
    chosen.batch = chosen.batch or 8
    torch.set_num_threads(chosen.threads)
    print(f"batch {chosen.batch}, {chosen.threads} threads, torch {torch.__version__}")
    paces = {}
    for preset, shape, steps in (
        ("musigan", FULL, chosen.steps),
        ("small", GRID, chosen.steps),
        ("original", NARROW, 3),
    ):
        settings = configure(preset, {"batch_size": chosen.batch})
        pace, parameters = rolls_per_second(settings, shape, steps)
        paces[preset] = pace
        print(f"{preset:9} {shape.keys} x {shape.frames}: {pace:7.2f} rolls/s, {parameters:.1f} M parameters")
    whole = configure("musigan", {"batch_size": chosen.batch, "adversarial": {"roll_every": 1}})
    pace, _ = rolls_per_second(whole, FULL, 4)
    print(f"{'musigan':9} {FULL.keys} x {FULL.frames}: {pace:7.2f} rolls/s if whole rolls are judged in every step")
    ratios = [each / paces["original"] for each in (paces["musigan"], pace)]
    print(f"ratio musigan : original {ratios[0]:.1f}; every step {ratios[1]:.1f}")
    prior, _ = rolls_per_second(configure("musigan", {}), FULL, chosen.steps, "prior")
    songs, _ = rolls_per_second(configure("small", {}), GRID, chosen.steps, "composer")
    print(f"musigan's prior {prior:.1f} rolls/s; {_said('composer', songs)} of small")


if __name__ == "__main__":
    main()
