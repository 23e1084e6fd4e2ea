"""The training loop: runs the stages of a plan for any model, can stop after any step and resume exactly.

A step takes `rolls_per_step` rolls. With accumulated gradients these are several batches, one after another: each
side's gradient is the mean over them, and the side moves once. Everything random is drawn from the seed and the
position in the plan (stage, epoch, step, side, batch), so a run that was stopped and resumed sees the same rolls and
the same noise as one that was not.

Several ranks (`musigan.machine.ranks`) share the batches of a step: two of one batch each do what one does with two
accumulated batches, and each side's gradient, its losses and figures are means over all. What is decided by the clock,
by signals or by drawn samples is decided for all, most of it by the first rank, which alone writes and evaluates.
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

from musigan.checkpoints import checkpoint as checkpoints
from musigan.datasets.batches import Batch, Examples, batches, steps_per_epoch
from musigan.datasets.rolls import RollDataset
from musigan.errors import LostRankError, MusiganError
from musigan.machine.reporting import counted
from musigan.machine.seeding import seed_of
from musigan.machine.signals import STOPPING
from musigan.models.stages import STAGES
from musigan.training.calibration import calibrate
from musigan.training.judging import best_distance
from musigan.training.objectives import OBJECTIVES, Objective, StepContext
from musigan.training.runs import Run, objective_of, optimisers_of
from musigan.training.together import unite

if TYPE_CHECKING:
    from musigan.checkpoints.settings import TrainingSettings
    from musigan.machine.ranks import Ranks
    from musigan.training.journal import Journal

VALIDATION_BATCHES = 4


@dataclass(frozen=True)
class Progress:
    """Progress of training, for display."""

    stage: str
    epoch: int  # from 1, of this stage
    epochs: int
    step: int  # from 1, of this epoch
    steps: int
    losses: Mapping[str, float]  # means over the epoch so far, by name
    rolls_per_second: float  # of this stage and sitting
    seconds_left: float  # of all stages, estimated from this stage's pace and the stages' costs


@dataclass
class Pace:
    """Steps and time of a stage in this sitting, without the time between epochs."""

    stage: int = -1
    steps: int = 0
    seconds: float = 0.0
    marked: tuple[int, float] = (0, 0.0)  # steps and seconds at the end of an epoch

    def enter(self, stage: int) -> None:
        """Reset the counts if `stage` is another than before."""
        if stage != self.stage:
            self.stage, self.steps, self.seconds, self.marked = stage, 0, 0.0, (0, 0.0)

    def of_epoch(self) -> float:
        """Return the seconds of a step in the epoch that ends now."""
        steps, seconds = self.steps - self.marked[0], self.seconds - self.marked[1]
        self.marked = self.steps, self.seconds
        return seconds / max(steps, 1)

    def seconds_left(self, run: Run, steps: int) -> float:
        """Return the estimated seconds for the rest of the plan, at `steps` steps an epoch."""
        (stage, epochs), *later = run.plan[self.stage :]
        if run.timetable is not None:
            return run.timetable.seconds_left(stage, (epochs * steps - run.position.step), self.seconds / self.steps)
        steps_left: float = epochs * steps - run.position.step
        steps_left += steps * sum(epochs * STAGES[name].cost / STAGES[stage].cost for name, epochs in later)
        return steps_left * self.seconds / max(self.steps, 1)


class TrainingReporter(Protocol):
    """Receiver of notes and progress during training."""

    def note(self, text: str) -> None:
        """Show a message on a line of its own."""

    def progress(self, progress: Progress) -> None:
        """Take the progress after every step; the reporter chooses how often to show it."""

    def epoch(self, figures: Mapping[str, Any], epochs: int) -> None:
        """Take the figures of an epoch that is over, as the journal records them; the stage has so many epochs."""


def train(
    run: Run,
    dataset: RollDataset,
    target: Path,
    reporter: TrainingReporter,
    journal: Journal | None = None,
    validation: RollDataset | None = None,
    steps_limit: int | None = None,
) -> bool:
    """Run the rest of the plan; return True if it was finished.

    Saves to `target` at ends of epochs and stages, after `steps_limit` steps, and on SIGINT, SIGTERM or SIGHUP, which
    take effect (KeyboardInterrupt, or the former handler) once all is saved. Raises MusiganError on a loss that is not
    finite; `target` then holds the last good state.
    """
    if run.ranks.is_first:
        checkpoints.check_writable(target)
    if len(dataset) < run.step_size:
        reporter.note(
            f"only {counted(len(dataset), 'rolls')} of {counted(dataset.songs, 'songs')}: steps of "
            f"{run.step_size} repeat them; more music gives more variety"
        )
    with _stop_signals() as signals, _lost_ranks_told(run, target):
        run.ranks.share(run.state())
        steps_left = math.inf if steps_limit is None else steps_limit
        pace = Pace()
        while not run.finished:
            objective = objective_of(run)
            examples = examples_of(run, objective, dataset)
            steps_left -= _run_epoch(run, objective, examples, reporter, signals, steps_left, pace)
            if place := checkpoints.not_finite(run.networks.state_dict()):  # the last step, which no loss has seen
                raise _not_a_number(run, [place])
            if run.position.step_in_epoch >= _steps(run, examples):
                _hold_to_time(run, pace, reporter)
                _end_epoch(run, dataset, target, reporter, journal, validation)
            is_stopped = run.ranks.any(bool(signals)) or steps_left <= 0
            if is_stopped and not run.finished:
                _calibrate(run, dataset, stops=True)
                _save(run, target)
                reporter.note(f"stopped; {target} holds everything: --resume {target} goes on from here")
                break
    return run.finished


def examples_of(run: Run, objective: Objective, dataset: RollDataset) -> Examples:
    """Return what the current stage learns from, made once a stage; before its first step, prepare the networks."""
    stage = run.position.stage
    if run.examples is None or run.examples[0] != stage:
        if run.position.step == 0:
            objective.begin(dataset)
        run.examples = stage, objective.examples(dataset)
        if run.position.step == 0:
            run.average.network.load_state_dict(run.networks["generator"].state_dict())
        run.ranks.share(run.state())  # what each has measured for itself
    return run.examples[1]


def _steps(run: Run, examples: Examples) -> int:
    """Return the number of steps in an epoch of the current stage."""
    most = run.settings.epoch_rolls.get(run.plan[run.position.stage][0], 0)
    return steps_per_epoch(examples, run.step_size, most)


def _run_epoch(
    run: Run,
    objective: Objective,
    examples: Examples,
    reporter: TrainingReporter,
    stopped: list[int],
    budget: float,
    pace: Pace,
) -> int:
    """Run the rest of the current epoch, as far as `budget` steps and signals allow; return the steps taken."""
    position, settings = run.position, run.settings
    stage, epochs = run.plan[position.stage]
    if not run.optimisers:
        count = min(len(examples), settings.epoch_rolls.get(stage, len(examples)))
        reporter.note(f"{STAGES[stage].title}: {counted(epochs, 'epochs')} of {counted(count, examples.name)}")
        run.optimisers = optimisers_of(objective)
    steps = _steps(run, examples)
    # Stages see different crops, so their epochs have different numbers.
    crop_epoch = position.stage * 1_000_000 + position.epoch
    steps_done = 0
    pace.enter(position.stage)
    step_start = time.monotonic()
    first, size = position.step_in_epoch, run.step_size
    for batch in batches(examples, size, crop_epoch, first, settings.workers, run.device, steps, run.ranks):
        step(run, objective, batch, epochs * steps, examples.rolls_each)
        steps_done += 1
        previous_start, step_start = step_start, time.monotonic()
        position.seconds += step_start - previous_start
        pace.steps, pace.seconds = pace.steps + 1, pace.seconds + step_start - previous_start
        reporter.progress(
            Progress(
                stage=stage, epoch=position.epoch + 1, epochs=epochs, step=position.step_in_epoch, steps=steps,
                losses=_means(position.tally),
                rolls_per_second=pace.steps * size * examples.rolls_each / max(pace.seconds, 1e-9),
                seconds_left=pace.seconds_left(run, steps),
            )
        )  # fmt: skip
        is_stopped = run.ranks.any(bool(stopped)) or steps_done >= budget
        if is_stopped and position.step_in_epoch < steps:
            break
    return steps_done


def step(run: Run, objective: Objective, whole: Batch, total: int, rolls_each: float = 1.0) -> None:
    """Run one step of every side that is due, on this rank's R examples, split into `accumulate` equal batches.

    An example counts for `rolls_each` rolls.
    """
    position, settings = run.position, run.settings
    progress = min(position.step / total, 1.0)
    batches_of_step = whole.chunk(settings.accumulate)
    frozen = objective.frozen(progress)
    for turn, side in enumerate(objective.sides(position.step)):
        if side in frozen:
            continue
        optimiser = run.optimisers[side]
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        run.networks.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_(True)
        optimiser.zero_grad(set_to_none=True)
        turn_results = TurnResults()
        for number, batch in enumerate(batches_of_step, run.ranks.number * settings.accumulate):
            seed = seed_of(settings.seed, position.stage, position.step, turn, number)
            torch.manual_seed(seed)  # for dropout
            context = StepContext(position.step, progress, torch.Generator().manual_seed(seed), batch.conditions)
            _backward(objective, settings, side, batch.roll, context, turn_results)
        turn_results.average(run.ranks, parameters)
        if settings.gradient_clip:
            turn_results.totals.append(nn.utils.clip_grad_norm_(parameters, settings.gradient_clip))
        _tally(run, turn_results)
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * _schedule(position.step, total)
        optimiser.step()
    position.step += 1
    position.step_in_epoch += 1
    position.total_steps += 1
    unite(run.networks, run.ranks)
    size = len(whole.roll) * run.ranks.size * rolls_each
    run.average.update(run.networks["generator"], size, position.step * size)


@dataclass
class TurnResults:
    """Losses and figures of one side's turn, still on the device."""

    totals: list[Tensor] = field(default_factory=list)  # weighted losses of each batch, and the gradient's norm
    named: dict[str, list[Tensor]] = field(default_factory=dict)  # losses and figures of each batch

    def values(self) -> list[Tensor]:
        """Return all of them, float32 scalars: the totals first, then those of each name in order."""
        return [value.float() for values in (self.totals, *self.named.values()) for value in values]

    def average(self, ranks: Ranks, parameters: list[nn.Parameter]) -> None:
        """Replace gradients, losses and figures by their means over all ranks."""
        if ranks.size == 1:
            return
        figures = torch.stack(self.values())
        ranks.average(parameters, figures)
        means = iter(figures)
        self.totals = [next(means) for _ in self.totals]
        self.named = {name: [next(means) for _ in several] for name, several in self.named.items()}


def _backward(
    objective: Objective,
    settings: TrainingSettings,
    side: str,
    real: Tensor,
    context: StepContext,
    results: TurnResults,
) -> None:
    """Accumulate the gradient of a side's weighted losses on one batch of the step, real (B, C, K, T)."""
    terms = objective.losses(side, real, context)
    weighted = [
        settings.weight(name) * objective.factor(name, context.progress) * loss for name, loss in terms.losses.items()
    ]
    loss = torch.stack(weighted).sum()
    (loss / settings.accumulate).backward()
    results.totals.append(loss.detach())
    for name, value in (terms.losses | terms.figures).items():
        results.named.setdefault(name, []).append(value.detach())


def _tally(run: Run, results: TurnResults) -> None:
    """Add a turn's losses and figures to the epoch's; MusiganError if a loss or the gradient is not finite.

    This is the only place in a side's turn that waits for the device.
    """
    numbers = iter(torch.stack(results.values()).tolist())
    totals = [next(numbers) for _ in results.totals]
    named = {name: [next(numbers) for _ in several] for name, several in results.named.items()}
    if not all(map(math.isfinite, totals)):
        bad = [name for name, several in named.items() if not all(map(math.isfinite, several))]
        raise _not_a_number(run, bad or ["gradient"])
    tally = run.position.tally
    for name, several in named.items():
        total, count = tally.get(name, [0.0, 0])
        tally[name] = [total + sum(several), count + len(several)]


def _not_a_number(run: Run, bad: list[str]) -> MusiganError:
    rates = "lower learning rates (--print-config shows them, --set prior.learning_rate=1e-4 sets one)"
    lower = rates if run.settings.gradient_clip else f"--set gradient_clip=1, or {rates}"
    if run.saved:
        advice = f"the last good checkpoint is kept: --resume it with {lower}"
    else:
        advice = f"no checkpoint was saved yet: start again with {lower}"
    return MusiganError(
        f"training diverged in step {run.position.total_steps + 1}: {', '.join(bad)} is not a finite number; {advice}"
    )


def _save(run: Run, target: Path) -> None:
    if run.ranks.is_first:
        checkpoints.save(target, run.snapshot())
    run.ranks.wait()
    run.saved = True


def _calibrate(run: Run, dataset: RollDataset, stops: bool = False) -> None:
    """Calibrate the averaged generator at the first rank, and give the others what was found."""
    if run.ranks.is_first:
        calibrate(run, dataset, stops)
    run.ranks.share(list(run.average.network.buffers()))


@contextmanager
def _lost_ranks_told(run: Run, target: Path) -> Iterator[None]:
    """Have the error of a rank that has ended say what is left of the run.

    The first may have saved just before it ended, which the others were not told.
    """
    before = _written_at(target)
    try:
        yield
    except LostRankError as error:
        left = f"{target} holds the last good state: start all with --resume {target}"
        is_saved = run.saved or _written_at(target) != before
        raise LostRankError(
            f"{error}; {left if is_saved else 'no checkpoint was saved yet: start all again'}"
        ) from error


def _written_at(target: Path) -> int | None:
    """Return when a file was last written, in nanoseconds; None if there is none."""
    try:
        return target.stat().st_mtime_ns
    except OSError:
        return None


def _schedule(step: int, total: int) -> float:
    """Return the learning rate factor: a linear rise over the first 2 %, then a cosine down to a tenth."""
    warmup = max(total // 50, 1)
    if step < warmup:
        return (step + 1) / warmup
    cosine_progress = (step - warmup) / max(total - warmup, 1)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * min(cosine_progress, 1.0)))


def _end_epoch(
    run: Run,
    dataset: RollDataset,
    target: Path,
    reporter: TrainingReporter,
    journal: Journal | None,
    validation: RollDataset | None,
) -> None:
    """Record the epoch, advance the position, evaluate and save where due."""
    position, settings = run.position, run.settings
    stage, epochs = run.plan[position.stage]
    epochs_done = sum(count for _, count in run.plan[: position.stage]) + position.epoch + 1
    entry: dict[str, Any] = {"stage": stage, "epoch": position.epoch + 1, "total_epoch": epochs_done}
    entry |= {"step": position.total_steps, "seconds": round(position.seconds, 3)}
    entry |= _means(position.tally)
    if validation is not None and len(validation) and STAGES[stage].is_validated and run.ranks.is_first:
        entry |= validate(run, validation, stage)
    reporter.epoch(entry, epochs)
    stage_over = position.epoch + 1 >= epochs
    is_shown = stage_over and (run.timetable is None or run.is_shown_at_end)
    is_sampled = settings.sample_every and (is_shown or epochs_done % settings.sample_every == 0)
    is_saved = stage_over or is_sampled or (position.epoch + 1) % settings.save_every == 0
    is_evaluated = validation is not None and len(validation) and _judged(run, stage, epochs_done)
    if is_saved or is_evaluated:
        _calibrate(run, dataset)
    is_best = False
    if journal is not None and validation is not None and is_evaluated:
        evaluation = journal.evaluation(run, validation.reader, epochs_done, reporter.note)
        if evaluation is not None:
            distance = evaluation["distance"]
            is_best = distance is not None and distance < best_distance(run.history)
            entry["evaluation"] = evaluation
            reporter.note(f"epoch {epochs_done}: {evaluation['verdict']}")
    run.history.append(entry)
    position.epoch, position.step_in_epoch, position.tally = position.epoch + 1, 0, {}
    if stage_over:
        # The next stage starts from the smoothed weights, with fresh momentum.
        run.networks["generator"].load_state_dict(run.average.network.state_dict())
        run.optimisers = {}
        position.stage, position.epoch, position.step = position.stage + 1, 0, 0
        _keep_up(run, stage, reporter)
    if is_saved:
        _save(run, target)
    if journal is not None:
        if is_best:
            checkpoints.save(journal.folder / "best.pt", run.snapshot())
        if is_saved and settings.keep_last:
            journal.keep(run, epochs_done, reporter.note)
        journal.record(entry)
        if is_sampled:
            journal.samples(run, epochs_done, reporter.note)
    run.ranks.wait()


def _hold_to_time(run: Run, pace: Pace, reporter: TrainingReporter) -> None:
    """Give the stage that runs more or fewer epochs, where a run was planned by time and its pace is another."""
    stage, done = run.plan[run.position.stage][0], run.position.epoch + 1
    if run.timetable is not None:
        _plan_anew(run, reporter, run.timetable.hold(stage, done, pace.of_epoch()))


def _plan_anew(run: Run, reporter: TrainingReporter, is_changed: bool) -> None:
    """Go by the timetable where it is changed; every rank by the first one's, as their clocks may differ."""
    is_changed, run.timetable = run.ranks.of_first((is_changed, run.timetable))
    if is_changed and run.timetable is not None:
        run.settings, run.plan = run.timetable.over(run.settings), list(run.timetable.epochs().items())
        reporter.note(f"planned anew, by the pace until here: {run.timetable}")


def _keep_up(run: Run, done: str, reporter: TrainingReporter) -> None:
    """Plan what comes after the stage `done` anew, where a run that was planned by time is late or early."""
    if run.timetable is not None:
        _plan_anew(run, reporter, run.timetable.keep_up(done))


def _judged(run: Run, stage: str, done: int) -> bool:
    """Return whether to evaluate samples after epoch `done` of the plan: every `evaluate_every` and at its end.

    Not in a stage before the generator is trained to draw.
    """
    every = run.settings.evaluate_every
    is_last = done == sum(epochs for _, epochs in run.plan)
    return bool(every) and STAGES[stage].can_sample and (is_last or done % every == 0)


@torch.no_grad()
def validate(run: Run, validation: RollDataset, stage: str = "variational") -> dict[str, float]:
    """Compute the losses of `stage` of the averaged generator on held-out songs, without augmentation."""
    networks = nn.ModuleDict({**run.accelerated, "generator": run.average.network})
    objective = OBJECTIVES[stage](networks, run.settings, run.shape.pitched)
    if run.held_out is None or run.held_out[0] != run.position.stage or run.held_out[1] is not validation:
        run.held_out = run.position.stage, validation, objective.examples(validation)
    examples = run.held_out[2]
    size = min(run.settings.batch_size, len(examples))
    tally: dict[str, list[float]] = {}
    held_out = batches(examples, size, epoch=0, device=run.device)
    for number, batch in zip(range(VALIDATION_BATCHES), held_out, strict=False):
        context = StepContext(number, 1.0, torch.Generator().manual_seed(number), batch.conditions)
        terms = objective.losses("generator", batch.roll, context)
        for name, value in (terms.losses | terms.figures).items():
            entry = tally.setdefault(f"validation_{name}", [0.0, 0])
            tally[f"validation_{name}"] = [entry[0] + value.item(), entry[1] + 1]
    return _means(tally)


def _means(tally: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: total / count for name, (total, count) in tally.items()}


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect the signals that stop a run in a list instead of stopping at once; raise the first again on leaving."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    former_handlers = {n: signal.getsignal(n) for n in STOPPING}
    for number, handler in former_handlers.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in former_handlers.items():
            signal.signal(number, handler)
    if caught:
        signal.raise_signal(caught[0])
