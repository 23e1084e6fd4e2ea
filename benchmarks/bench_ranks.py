"""Rolls a second of training by one process against several, stage by stage, on the same store and machine.

    python benchmarks/bench_ranks.py keys.zarr [--ranks 1 2] [--steps 12] [--device cpu] [--set NAME=VALUE ...]

Each count of processes is started by torchrun, one after the other; each process has one thread, unless OMP_NUM_THREADS
says how many. Every stage is timed as for `--minutes`: on a few songs, after a first step, with all that processes send
each other. A process takes the same batch however many there are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from musigan.checkpoints.settings import TrainingSettings, configure
from musigan.machine.devices import prepare_torch, resolve_device
from musigan.machine.ranks import Ranks
from musigan.settings import read_given


def measured(source: str, settings: TrainingSettings, device: str, steps: int, ranks: Ranks) -> dict[str, float]:
    """Return the examples a second of each stage, of all ranks together."""
    from musigan import models, store
    from musigan.datasets.bars import BarDataset
    from musigan.datasets.rolls import NO_AUGMENT, RollDataset
    from musigan.training import timing

    timing.MEASURED_STEPS = steps
    place, family = prepare_torch(device), models.family(settings.model)
    kind = BarDataset if family.on_beats else RollDataset
    with store.open_reader(source, ("keys",)) as reader:
        common = (settings.compression, settings.seed, family.conditions)
        data = kind(reader, "train", settings.augment, *common), kind(reader, "validation", NO_AUGMENT, *common)
        epochs = dict.fromkeys(family.stages, 1)
        deadline = time.monotonic() + 3600
        arguments = (settings, data, data[0].record(), epochs, timing.Beginning(), place, deadline)
        table = timing.timetable(*arguments, ranks)
    return {stage: table.batch / pace.step for stage, pace in table.paces.items()}


def at_rank(chosen: argparse.Namespace) -> None:
    """Measure as one of the processes; the first prints what was found as JSON."""
    ranks = Ranks.of_environment()
    given = read_given("", tuple(chosen.set))
    settings = configure(str(given.pop("preset", "small")), given)
    with ranks.joined(lambda: None):
        device = ranks.device(resolve_device(chosen.device))
        found = measured(chosen.keys, settings, device, chosen.steps, ranks)
    if ranks.is_first:
        print(json.dumps(found))


def started(count: int, arguments: Sequence[str]) -> dict[str, float]:
    """Return what `count` processes found."""
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), __file__, "--measure"]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    done = subprocess.run([*words, *arguments], stdout=subprocess.PIPE, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print a line for each stage: examples a second by number of processes, and how many times those of the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("keys", help="a keys store")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--steps", type=int, default=12, help="timed in each stage")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, as of train-gan")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        at_rank(chosen)
        return
    arguments = [chosen.keys, "--steps", str(chosen.steps), "--device", chosen.device]
    arguments += [word for each in chosen.set for word in ("--set", each)]
    by_count = {count: started(count, arguments) for count in chosen.ranks}
    first = by_count[chosen.ranks[0]]
    for stage in first:
        paces = [found[stage] for found in by_count.values()]
        words = [
            f"{pace:.3g} with {count} ({pace / paces[0]:.2f} x)" for count, pace in zip(by_count, paces, strict=True)
        ]
        print(f"{stage}: examples/s {', '.join(words)}")


if __name__ == "__main__":
    main()
