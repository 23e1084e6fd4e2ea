"""Measuring of pace, for plans by time: some steps of every stage, on networks that are thrown away."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import torch

from musigan.checkpoints.checkpoint import Position
from musigan.datasets.bars import BarDataset
from musigan.datasets.batches import Batch, Examples, batches
from musigan.datasets.rolls import RollDataset
from musigan.machine.ranks import ALONE, Ranks
from musigan.models.stages import ADVERSARIAL_STAGES, STAGES
from musigan.training import calibration, loop, runs
from musigan.training.songlatents import SongLatents
from musigan.training.timetable import StagePace, Timetable, planned, shares_of
from musigan.training.warmstart import warm_start

if TYPE_CHECKING:
    from musigan.checkpoints.checkpoint import Checkpoint
    from musigan.checkpoints.settings import TrainingSettings
    from musigan.datasets.record import MusicRecord
    from musigan.training.runs import Run

SHARED_EPOCHS = 20_000  # a plan of so many epochs says how the stages share the time
MEASURED_STEPS = 2  # at least, after a first one, which takes longer
FEW_SONGS = 5  # on which is measured
SAMPLE_SECONDS = 6.0  # for samples at a stage's end, beside what drawing takes
SAMPLE_SHARE = 0.3  # of the time of calibration, which drawing them takes
HURRIED_SHARE = 0.1  # of the time: if calibration and samples take more, they wait for the end of the run


class Beginning(NamedTuple):
    """The checkpoints whose networks a run starts a game from, or takes its first weights from; None: neither."""

    start: Checkpoint | None = None
    init: Checkpoint | None = None


def timetable(
    settings: TrainingSettings, datasets: tuple[RollDataset, RollDataset], record: MusicRecord,
    epochs: Mapping[str, int], begins: Beginning, device: torch.device, deadline: float, ranks: Ranks = ALONE,
) -> Timetable:  # fmt: skip
    """Plan a run on `datasets` (training, validation) that ends at about `deadline`; `epochs` give the stages' shares.

    All ranks measure together, and have the first one's plan. Nothing random of the run itself is touched.
    """
    epochs = {stage: count for stage, count in epochs.items() if count}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        few = datasets[0].few(FEW_SONGS)
        trial = runs.begin(settings, few, record, dict.fromkeys(epochs, 1), device, begins.start, ranks)
        if begins.init is not None:
            warm_start(trial, begins.init)
        paces = {stage: _measured(trial, number, few, datasets) for number, (stage, _) in enumerate(trial.plan)}
        at_end = _seconds_at_end(trial, few) if ranks.is_first else 0.0
    left, batch = deadline - time.monotonic(), trial.step_size
    drawing = [stage for stage in paces if STAGES[stage].draws_anew]
    is_hurried = at_end * len(drawing) > HURRIED_SHARE * left
    for stage in drawing[-1:] if is_hurried else drawing:
        paces[stage] = replace(paces[stage], once=paces[stage].once + at_end)
    shares = shares_of(epochs, paces)
    for stage, (count, steps) in planned(paces, shares, left, batch).items():
        paces[stage] = paces[stage].after(count * steps * batch / paces[stage].examples)
    return ranks.of_first(Timetable(paces, planned(paces, shares, left, batch), batch, deadline, is_hurried))


def _measured(trial: Run, number: int, few: RollDataset, datasets: tuple[RollDataset, RollDataset]) -> StagePace:
    """Measure stage `number` of a run that is thrown away, on the `few` first songs of the training set."""
    stage, settings = trial.plan[number][0], trial.settings
    trial.position = Position(stage=number)
    objective = runs.objective_of(trial)
    began = time.monotonic()
    examples = loop.examples_of(trial, objective, few)
    once = time.monotonic() - began
    trial.optimisers = runs.optimisers_of(objective)
    count = MEASURED_STEPS
    if stage in ("critic", *ADVERSARIAL_STAGES):
        count = max(count, min(settings.adversarial.roll_every, 8))  # a step in so many takes longer
    with closing(_repeated(examples, trial)) as steps:
        loop.step(trial, objective, next(steps), count + 1)
        began = time.monotonic()
        for batch in islice(steps, count):
            loop.step(trial, objective, batch, count + 1)
        seconds = (time.monotonic() - began) / count
    whole = datasets[0]
    pace = StagePace(len(whole), seconds, _seconds_of_validation(trial, datasets[1], stage), once)
    if not isinstance(examples, SongLatents) or not isinstance(whole, BarDataset):
        return pace
    scale = len(whole) / len(few)
    began = time.monotonic()
    for song in range(len(examples)):
        examples.of_part(0, song)
    key = (time.monotonic() - began) * scale
    return replace(pace, examples=len(whole.parts), once=once * scale, keys=len(examples.keys), key=key)


def _repeated(examples: Examples, trial: Run) -> Generator[Batch, None, None]:
    """Yield batches of the first epoch, again and again: its songs are encoded already."""
    while True:
        yield from batches(examples, trial.step_size, 0, 0, trial.settings.workers, trial.device, ranks=trial.ranks)


def _seconds_of_validation(trial: Run, validation: RollDataset, stage: str) -> float:
    """Return the seconds of a validation after an epoch of `stage`; 0 where there is none."""
    if not len(validation) or not STAGES[stage].is_validated or not trial.ranks.is_first:
        return 0.0
    few = validation.few(trial.settings.batch_size)
    loop.validate(trial, few, stage)  # which encodes songs
    began = time.monotonic()
    loop.validate(trial, few, stage)
    seconds = time.monotonic() - began
    assert trial.held_out is not None
    size, measured = trial.settings.batch_size, len(trial.held_out[2])
    batch_counts = [
        min(math.ceil(count / size), loop.VALIDATION_BATCHES)
        for count in (measured, measured * len(validation) / len(few))
    ]
    return seconds * batch_counts[1] / batch_counts[0]


def _seconds_at_end(trial: Run, few: RollDataset) -> float:
    """Return about how long calibration and samples take at the end of a stage that draws."""
    seconds = calibration.seconds_of(trial, few)
    return seconds + (SAMPLE_SECONDS + SAMPLE_SHARE * seconds if trial.settings.sample_every else 0.0)
