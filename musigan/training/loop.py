"""The loop: runs the stages of a plan, whatever the model, and can stop after any step and go on exactly.

A step takes `rolls_per_step` rolls. With gradients accumulated these are several batches, one after another: each
side's gradient is the mean over them, then it moves once. Everything random is drawn from the seed and the place in
the plan (stage, epoch, step, side, batch), so a run that was stopped and resumed sees the same rolls and the same
noise as one that was not.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from musigan.data import Batch, RollDataset, batches, steps_per_epoch
from musigan.errors import MusiganError
from musigan.seeding import seed_of
from musigan.training import checkpoint as checkpoints
from musigan.training.calibration import calibrate
from musigan.training.judging import best_distance
from musigan.training.objectives import OBJECTIVES, Moment, Objective
from musigan.training.runs import Run, objective_of, optimisers_of

if TYPE_CHECKING:
    from musigan.training.configuration import TrainingSettings
    from musigan.training.journal import Journal

VALIDATION_BATCHES = 4
VALIDATED = ("variational", "likelihood", "translation")  # stages whose losses mean the same on songs held back

# Time of a step, relative to a variational one's: measured on the preset small, and about right for others.
RELATIVE_COST = {
    "variational": 1.0,
    "prior": 0.5,
    "likelihood": 1.0,
    "critic": 1.2,
    "adversarial": 2.0,
    "translation": 4.0,
}


@dataclass(frozen=True)
class Progress:
    """Where training stands, for people."""

    stage: str
    epoch: int  # from 1, of this stage
    epochs: int
    step: int  # from 1, of this epoch
    steps: int
    losses: Mapping[str, float]  # means over the epoch so far, by name
    rolls_per_second: float  # of this stage and sitting
    seconds_left: float  # of all stages, as far as this stage's pace and RELATIVE_COST tell


@dataclass
class Pace:
    """How fast a stage has gone in this sitting, the time between epochs left out."""

    stage: int = -1
    steps: int = 0
    seconds: float = 0.0

    def enter(self, stage: int) -> None:
        """Start anew if this is another stage than before."""
        if stage != self.stage:
            self.stage, self.steps, self.seconds = stage, 0, 0.0

    def seconds_left(self, run: Run, steps: int) -> float:
        """For the rest of the plan, at `steps` steps an epoch."""
        cost = {name: RELATIVE_COST.get(name, 1.0) for name, _ in run.plan}
        (stage, epochs), *later = run.plan[self.stage :]
        left: float = epochs * steps - run.position.step
        left += sum(epochs * steps * cost[name] / cost[stage] for name, epochs in later)
        return left * self.seconds / max(self.steps, 1)


class Reporter(Protocol):
    """Who is told how training goes."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""

    def progress(self, progress: Progress) -> None:
        """After every step; it is the reporter's choice how many to show."""


def train(
    run: Run,
    dataset: RollDataset,
    target: Path,
    reporter: Reporter,
    journal: Journal | None = None,
    validation: RollDataset | None = None,
    steps_limit: int | None = None,
) -> bool:
    """Run what is left of the plan; True if it was finished.

    Saves to `target` at ends of epochs and stages, after `steps_limit` steps, and on SIGINT or SIGTERM, which take
    effect (KeyboardInterrupt, the former handler) once all is saved. Raises MusiganError on a loss that is not a
    number; `target` then holds the last good state.
    """
    checkpoints.check_writable(target)
    if len(dataset) < run.settings.rolls_per_step:
        reporter.note(
            f"only {len(dataset)} rolls of {dataset.songs} songs: steps of {run.settings.rolls_per_step} repeat them; "
            "more music gives more variety"
        )
    with _stop_signals() as stopped:
        budget = math.inf if steps_limit is None else steps_limit
        pace = Pace()
        while not run.finished:
            budget -= _run_epoch(run, dataset, reporter, stopped, budget, pace)
            if run.position.step_in_epoch >= steps_per_epoch(dataset, run.settings.rolls_per_step):
                _end_epoch(run, dataset, target, reporter, journal, validation)
            if (stopped or budget <= 0) and not run.finished:
                calibrate(run, dataset)
                _save(run, target)
                reporter.note(f"stopped; {target} holds everything: --resume {target} goes on from here")
                break
    return run.finished


def _run_epoch(
    run: Run, dataset: RollDataset, reporter: Reporter, stopped: list[int], budget: float, pace: Pace
) -> int:
    """The rest of the epoch under way, or as much as `budget` steps and signals allow; returns the steps taken."""
    position, settings = run.position, run.settings
    stage, epochs = run.plan[position.stage]
    objective = objective_of(run)
    if "augmentation" in run.networks:
        run.networks["augmentation"].tracks = dataset.tracks  # type: ignore[assignment]
    if not run.optimisers:
        reporter.note(f"{objective.title}: {epochs} epochs of {len(dataset)} rolls")
        run.optimisers = optimisers_of(objective)
    steps = steps_per_epoch(dataset, settings.rolls_per_step)
    # Stages see different crops: their epochs are numbered apart.
    crops = position.stage * 1_000_000 + position.epoch
    taken = 0
    pace.enter(position.stage)
    since = time.monotonic()
    first, size = position.step_in_epoch, settings.rolls_per_step
    for batch in batches(dataset, size, crops, first, settings.workers, run.device):
        _step(run, objective, batch, epochs * steps)
        taken += 1
        before, since = since, time.monotonic()
        position.seconds += since - before
        pace.steps, pace.seconds = pace.steps + 1, pace.seconds + since - before
        reporter.progress(
            Progress(
                stage=stage, epoch=position.epoch + 1, epochs=epochs, step=position.step_in_epoch, steps=steps,
                losses=_means(position.tally), rolls_per_second=pace.steps * len(batch.roll) / max(pace.seconds, 1e-9),
                seconds_left=pace.seconds_left(run, steps),
            )
        )  # fmt: skip
        if (stopped or taken >= budget) and position.step_in_epoch < steps:
            break
    return taken


def _step(run: Run, objective: Objective, whole: Batch, total: int) -> None:
    """One step of every side that is due, on R real rolls: equal batches, as many as `accumulate` says."""
    position, settings = run.position, run.settings
    progress = min(position.step / total, 1.0)
    batched = whole.chunk(settings.accumulate)
    frozen = objective.frozen(progress)
    for turn, side in enumerate(objective.sides(position.step)):
        if side in frozen:
            continue
        optimiser = run.optimisers[side]
        moving = [p for group in optimiser.param_groups for p in group["params"]]
        run.networks.requires_grad_(False)
        for parameter in moving:
            parameter.requires_grad_(True)
        optimiser.zero_grad(set_to_none=True)
        said = Said()
        for number, batch in enumerate(batched):
            seed = seed_of(settings.seed, position.stage, position.step, turn, number)
            torch.manual_seed(seed)  # for dropout
            moment = Moment(position.step, progress, torch.Generator().manual_seed(seed), batch.given)
            _backward(objective, settings, side, batch.roll, moment, said)
        if settings.gradient_clip:
            said.totals.append(nn.utils.clip_grad_norm_(moving, settings.gradient_clip))
        _tally(run, said)
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * _schedule(position.step, total)
        optimiser.step()
    position.step += 1
    position.step_in_epoch += 1
    position.total_steps += 1
    size = len(whole.roll)
    run.average.update(run.networks["generator"], size, position.step * size)


@dataclass
class Said:
    """What a side's turn came to, still on the device."""

    totals: list[Tensor] = field(default_factory=list)  # weighted losses of each batch, and the gradient's norm
    named: dict[str, list[Tensor]] = field(default_factory=dict)  # losses and figures of each batch


def _backward(
    objective: Objective, settings: TrainingSettings, side: str, real: Tensor, moment: Moment, said: Said
) -> None:
    """Add the gradient of a side's weighted losses on one batch of the step, real (B, C, K, T), to the others'."""
    terms = objective.losses(side, real, moment)
    weighted = [
        settings.weight(name) * objective.factor(name, moment.progress) * loss for name, loss in terms.losses.items()
    ]
    loss = torch.stack(weighted).sum()
    (loss / settings.accumulate).backward()
    said.totals.append(loss.detach())
    for name, value in (terms.losses | terms.figures).items():
        said.named.setdefault(name, []).append(value.detach())


def _tally(run: Run, said: Said) -> None:
    """Add what was said to the epoch's figures; MusiganError if a loss or the gradient is not a number.

    The one place of a side's turn that waits for the device.
    """
    values = [*said.totals, *(value for several in said.named.values() for value in several)]
    numbers = iter(torch.stack([value.float() for value in values]).tolist())
    totals = [next(numbers) for _ in said.totals]
    found = {name: [next(numbers) for _ in several] for name, several in said.named.items()}
    if not all(map(math.isfinite, totals)):
        bad = [name for name, several in found.items() if not all(map(math.isfinite, several))]
        raise _not_a_number(run, bad or ["gradient"])
    tally = run.position.tally
    for name, several in found.items():
        total, count = tally.get(name, [0.0, 0])
        tally[name] = [total + sum(several), count + len(several)]


def _not_a_number(run: Run, bad: list[str]) -> MusiganError:
    if run.saved:
        advice = "the last good checkpoint is kept: --resume it with lower learning rates in a --config file"
    else:
        advice = "no checkpoint was saved yet: start again with lower learning rates in a --config file"
    return MusiganError(
        f"training came apart in step {run.position.total_steps + 1}: {', '.join(bad)} is not a finite number; {advice}"
    )


def _save(run: Run, target: Path) -> None:
    checkpoints.save(target, run.snapshot())
    run.saved = True


def _schedule(step: int, total: int) -> float:
    """Learning rate factor: up over the first 2 %, then down by a cosine to a tenth."""
    warmup = max(total // 50, 1)
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(total - warmup, 1)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * min(share, 1.0)))


def _end_epoch(
    run: Run,
    dataset: RollDataset,
    target: Path,
    reporter: Reporter,
    journal: Journal | None,
    validation: RollDataset | None,
) -> None:
    """Write down the epoch, move on, and save where it is due."""
    position, settings = run.position, run.settings
    stage, epochs = run.plan[position.stage]
    done = sum(count for _, count in run.plan[: position.stage]) + position.epoch + 1
    entry: dict[str, Any] = {"stage": stage, "epoch": position.epoch + 1, "total_epoch": done}
    entry |= {"step": position.total_steps, "seconds": round(position.seconds, 3)}
    entry |= _means(position.tally)
    if validation is not None and len(validation) and stage in VALIDATED:
        entry |= validate(run, validation, stage)
    stage_over = position.epoch + 1 >= epochs
    draws = settings.sample_every and (stage_over or done % settings.sample_every == 0)
    saves = stage_over or draws or (position.epoch + 1) % settings.save_every == 0
    judged = validation is not None and len(validation) and _judged(run, stage, done)
    if saves or judged:
        calibrate(run, dataset)
    best = False
    if journal is not None and validation is not None and judged:
        evaluation = journal.evaluation(run, validation.reader, done, reporter.note)
        if evaluation is not None:
            reached = evaluation["distance"]
            best = reached is not None and reached < best_distance(run.history)
            entry["evaluation"] = evaluation
            reporter.note(f"epoch {done}: {evaluation['verdict']}")
    run.history.append(entry)
    position.epoch, position.step_in_epoch, position.tally = position.epoch + 1, 0, {}
    if stage_over:
        # The next stage starts from the smoothed weights, with fresh momentum.
        run.networks["generator"].load_state_dict(run.average.network.state_dict())
        run.optimisers = {}
        position.stage, position.epoch, position.step = position.stage + 1, 0, 0
    if saves:
        _save(run, target)
    if journal is not None:
        if best:
            checkpoints.save(journal.folder / "best.pt", run.snapshot())
        if saves and settings.keep_last:
            journal.keep(run, done, reporter.note)
        journal.record(entry)
        if draws:
            journal.samples(run, done, reporter.note)


def _judged(run: Run, stage: str, done: int) -> bool:
    """Whether samples are held against real music after epoch `done` of the plan: now and then, and at its end.

    Not before the generator was taught to draw.
    """
    every = run.settings.evaluate_every
    last = done == sum(epochs for _, epochs in run.plan)
    return bool(every) and stage != "variational" and (last or done % every == 0)


@torch.no_grad()
def validate(run: Run, validation: RollDataset, stage: str = "variational") -> dict[str, float]:
    """The losses of `stage` of the averaged generator on held-out songs, without augmentation."""
    networks = nn.ModuleDict({**run.networks, "generator": run.average.network})
    objective = OBJECTIVES[stage](networks, run.settings)
    size = min(run.settings.batch_size, len(validation))
    tally: dict[str, list[float]] = {}
    held = batches(validation, size, epoch=0, device=run.device)
    for number, batch in zip(range(VALIDATION_BATCHES), held, strict=False):
        moment = Moment(number, 1.0, torch.Generator().manual_seed(number), batch.given)
        terms = objective.losses("generator", batch.roll, moment)
        for name, value in (terms.losses | terms.figures).items():
            entry = tally.setdefault(f"validation_{name}", [0.0, 0])
            tally[f"validation_{name}"] = [entry[0] + value.item(), entry[1] + 1]
    return _means(tally)


def _means(tally: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: total / count for name, (total, count) in tally.items()}


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of stopping at once; deliver the first when all is saved."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    former = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in former.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if caught:
        signal.raise_signal(caught[0])
