"""How well training uses a GPU: by preset and stage rolls a second, share of its peak, how busy it is, and memory.

    python benchmarks/bench_gpu.py keys.zarr [--presets medium large] [--steps 20] [--device cuda] [--set NAME=VALUE]...
    python benchmarks/bench_gpu.py --reached ckpt.pt --distance 2.0

Steps are those of training itself, reading of rolls included, on songs that are encoded already. The share of the peak
is of the dense bfloat16 peak of the card (PEAKS, or --peak in TFLOP/s), by the operations that torch counts in forward
and backward passes; busy is the share of the time in which a kernel runs, by torch's profiler. With --reached: after
how many hours of its training a run's samples were at most as far from held-out songs as --distance says.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from musigan import models, store
from musigan.checkpoints import checkpoint
from musigan.checkpoints.checkpoint import Position
from musigan.checkpoints.settings import configure
from musigan.datasets.bars import BarDataset
from musigan.datasets.batches import Batch, batches
from musigan.datasets.rolls import RollDataset
from musigan.machine.devices import prepare_torch, resolve_device
from musigan.settings import merge, read_given
from musigan.training import loop, runs

PEAKS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0}  # TFLOP/s, dense bfloat16, of the makers' sheets
FEW_SONGS = 40


@dataclass(frozen=True)
class Figures:
    """What a stage takes: rolls and floating point operations a second, share of the time in kernels, bytes."""

    rolls: float
    flops: float
    busy: float  # NaN where there is no GPU
    memory: float


def measured(trial: runs.Run, number: int, data: RollDataset, steps: int) -> Figures:
    """Measure stage `number` of a run that is thrown away."""
    trial.position = Position(stage=number)
    objective = runs.objective_of(trial)
    examples = loop.examples_of(trial, objective, data)
    trial.optimisers = runs.optimisers_of(objective)
    cycle = trial.settings.adversarial.roll_every

    def all_batches() -> Iterator[Batch]:
        while True:
            yield from batches(examples, trial.step_size, 0, 0, trial.settings.workers, trial.device)

    feed = all_batches()

    def take(count: int) -> float:
        """Take so many steps; return the seconds."""
        begin = time.perf_counter()
        for batch in islice(feed, count):
            loop.step(trial, objective, batch, 10_000, examples.rolls_each)
        if trial.device.type == "cuda":
            torch.cuda.synchronize(trial.device)
        return time.perf_counter() - begin

    take(-(-len(examples) // trial.step_size) + cycle)  # songs are encoded in the first pass
    trial.position.step = 0
    with FlopCounterMode(display=False) as counter:
        take(cycle)
    steps = -(-steps // cycle) * cycle
    seconds = take(steps)
    rolls = steps * trial.step_size * examples.rolls_each / seconds
    memory, busy = 0.0, float("nan")
    if trial.device.type == "cuda":
        memory = torch.cuda.max_memory_reserved(trial.device)
        busy = _busy(take, cycle)
    return Figures(rolls, counter.get_total_flops() / cycle * steps / seconds, busy, memory)


def _busy(take: Any, count: int) -> float:
    """Return the share of the time of `count` steps in which a kernel runs."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        seconds = take(count)
    microseconds = sum(event.self_device_time_total for event in profiler.key_averages())
    return float(microseconds) / 1e6 / seconds


def portrait(source: str, preset: str, assignments: tuple[str, ...], steps: int, device: str, peak: float) -> None:
    """Print a line for each stage of a preset."""
    settings = configure(preset, merge(read_given("", assignments), {"sample_every": 0}))
    family, place = models.family(settings.model), prepare_torch(device)
    kind = BarDataset if family.on_beats else RollDataset
    with store.open_reader(source, ("keys",)) as reader:
        conditions = settings.compression, settings.seed, family.conditions
        data = kind(reader, "train", settings.augment, *conditions).few(FEW_SONGS)
        trial = runs.begin(settings, data, data.record(), dict.fromkeys(family.stages, 1), place)
        for number, stage in enumerate(family.stages):
            if place.type == "cuda":
                torch.cuda.reset_peak_memory_stats(place)
            figures = measured(trial, number, data, steps)
            print(
                f"{preset} {stage}: {figures.rolls:.1f} rolls/s, {figures.flops / 1e12:.3g} TFLOP/s "
                f"({100 * figures.flops / 1e12 / peak:.1f} % of the peak), busy {100 * figures.busy:.0f} %, "
                f"{figures.memory / 2**30:.1f} GiB",
                flush=True,
            )


def reached(path: str, distance: float) -> str:
    """Return in words when the samples of a run were first as near to held-out songs as `distance`."""
    evaluated = [entry for entry in checkpoint.load(path).history if "evaluation" in entry]
    distances = [(entry["evaluation"]["distance"], entry["seconds"]) for entry in evaluated]
    near = [seconds for value, seconds in distances if value is not None and value <= distance]
    if near:
        return f"{path}: {distance:g} after {near[0] / 3600:.2f} h of training"
    nearest = min((value for value, _ in distances if value is not None), default=float("nan"))
    return f"{path}: {distance:g} was not reached; the nearest of {len(evaluated)} evaluations is {nearest:.2f}"


def peak_of(device: str) -> float:
    """Return the peak of a card in TFLOP/s; NaN of one that is not known."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else ""
    return next((peak for card, peak in PEAKS.items() if card in name), float("nan"))


def main() -> None:
    """Print the lines of each preset, or when a distance was reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("keys", nargs="?", help="a keys store")
    parser.add_argument("--presets", nargs="+", default=["medium", "large"], metavar="NAME")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--peak", type=float, help="of the device, in TFLOP/s")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, as of train-gan")
    parser.add_argument("--reached", metavar="CKPT")
    parser.add_argument("--distance", type=float, default=2.0)
    chosen = parser.parse_args()
    if chosen.reached:
        print(reached(chosen.reached, chosen.distance))
        return
    device = resolve_device(chosen.device)
    peak = chosen.peak or peak_of(device)
    print(f"{torch.cuda.get_device_name(device) if device != 'cpu' else 'CPU'}, torch {torch.__version__}")
    for preset in chosen.presets:
        portrait(chosen.keys, preset, tuple(chosen.set), chosen.steps, device, peak)


if __name__ == "__main__":
    main()
