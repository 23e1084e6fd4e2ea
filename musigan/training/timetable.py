"""Timetables: how many epochs, of how many steps, fit into given minutes at a measured pace.

The stages share the time as they would in a plan of epochs; each gets a few steps at least. A machine that becomes
slower is late, but what is left is planned anew before each later stage, so that none is left out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from musigan.checkpoints.settings import TrainingSettings
from musigan.machine.reporting import counted
from musigan.settings import as_mapping, build

FEWEST_STEPS = 4  # of a stage
EPOCH_SECONDS, WHOLE_EPOCHS = 30.0, 10  # length of an epoch, unless there is time for so many passes
VALIDATION_SHARE = 0.05  # of an epoch's time, at most
TOLERANCE = 1.1  # times the time that is left, or less than that part of it: what is left is planned anew
CALM_SHARE = 0.1  # of the whole plan, that counts as on time when the pace until now is judged
MANY_EPOCHS = 8  # of which the first does not say how fast the others are
MOST_EXTRA = 1.25  # times the planned time that later stages take where those before them were quicker


@dataclass(frozen=True)
class StagePace:
    """How long a stage takes: seconds of a step, of an epoch's end (validation), and of what comes once."""

    examples: int  # in a whole epoch
    step: float
    epoch: float = 0.0
    once: float = 0.0
    keys: int = 1  # in which songs are encoded as they are asked for
    key: float = 0.0  # seconds for all songs in one more key

    def seconds(self, epochs: int, steps: int) -> float:
        """Return how long `epochs` of `steps` steps take, with what comes once."""
        return self.once + epochs * (steps * self.step + self.epoch)

    def after(self, passes: float) -> StagePace:
        """Return the pace with what `passes` passes take for encoding counted to what comes once."""
        share = 1 - (1 - 1 / self.keys) ** passes
        return replace(self, once=self.once + (self.keys - 1) * share * self.key, keys=1, key=0.0)

    def slower(self, times: float) -> StagePace:
        """Return a pace at which everything takes `times` as long."""
        return replace(self, step=times * self.step, epoch=times * self.epoch, once=times * self.once)


@dataclass
class Timetable:
    """A plan by time: (epochs, steps in each) by stage, in order; `batch` examples make a step."""

    paces: Mapping[str, StagePace]
    plan: dict[str, tuple[int, int]]
    batch: int
    deadline: float  # on the clock of time.monotonic
    is_hurried: bool = False  # whether calibration and samples wait for the end of the run
    start: float = field(default_factory=time.monotonic)  # of the first stage

    def epochs(self) -> dict[str, int]:
        """Return the epochs by stage."""
        return {stage: epochs for stage, (epochs, _) in self.plan.items()}

    def over(self, settings: TrainingSettings) -> TrainingSettings:
        """Return the settings with the epochs of this plan and their lengths, where these are not whole passes."""
        counts = {stage: steps * self.batch for stage, (_, steps) in self.plan.items()}
        capped = {stage: count for stage, count in counts.items() if count < self.paces[stage].examples}
        values = {**as_mapping(settings), "epochs": sum(self.epochs().values()), "epoch_rolls": capped}
        return build(type(settings), values)

    def seconds(self, stage: str) -> float:
        """Return the seconds that a stage is to take."""
        return self.paces[stage].seconds(*self.plan[stage])

    def later(self, stage: str) -> list[str]:
        """Return the stages after `stage`."""
        stages = list(self.plan)
        return stages[stages.index(stage) + 1 :]

    def seconds_left(self, stage: str, steps: int, step_seconds: float) -> float:
        """Return how long the run lasts after `steps` more steps of `stage`, which take `step_seconds` each."""
        slowness = step_seconds / self.paces[stage].step
        return steps * step_seconds + slowness * sum(map(self.seconds, self.later(stage)))

    def __str__(self) -> str:
        return ", ".join(
            f"{stage} {counted(epochs * steps, 'steps')} in {counted(epochs, 'epochs')}"
            for stage, (epochs, steps) in self.plan.items()
        )

    def slowness(self, done: str) -> float:
        """Return how many times as long as planned all took until the end of the stage `done`, which is now.

        A part of the whole plan counts as on time, so that a short stage does not say too much.
        """
        later = self.later(done)
        wanted = sum(self.seconds(stage) for stage in self.plan if stage not in later)
        on_time = CALM_SHARE * sum(map(self.seconds, self.plan))
        return (time.monotonic() - self.start + on_time) / max(wanted + on_time, 1e-9)

    def keep_up(self, done: str) -> bool:
        """Plan the stages after `done` anew, by the pace so far, if they would end too late or early.

        Return whether that changed the plan.
        """
        slowness = self.slowness(done)
        paces = {stage: self.paces[stage].slower(slowness) for stage in self.later(done)}
        left = min(self.deadline - time.monotonic(), MOST_EXTRA * sum(self.seconds(stage) for stage in paces))
        shares = {stage: pace.seconds(*self.plan[stage]) - pace.once for stage, pace in paces.items()}
        wanted = sum(pace.seconds(*self.plan[stage]) for stage, pace in paces.items())
        if not paces or left / TOLERANCE <= wanted <= left * TOLERANCE:
            return False
        before = dict(self.plan)
        self.plan |= planned(paces, shares, left, self.batch)
        return self.plan != before

    def hold(self, stage: str, done: int, step_seconds: float) -> bool:
        """Give the stage that runs as many epochs as fit its time, after 1, 2, 4, ... of them, up to half, are `done`.

        Its first steps are timed on few songs, and other work may have been done beside them. Where there are many
        epochs, the first does not count: songs are encoded in it. Return whether that changed the plan.
        """
        (epochs, steps), pace = self.plan[stage], self.paces[stage]
        is_on_time = 1 / TOLERANCE <= step_seconds / pace.step <= TOLERANCE
        is_due = done & (done - 1) == 0 and 2 * done <= epochs and (done > 1 or epochs < MANY_EPOCHS)
        if is_on_time or not is_due:
            return False
        seconds = self.seconds(stage) - pace.once
        self.paces = {**self.paces, stage: replace(pace, step=step_seconds)}
        fitting = max(round(seconds / (steps * step_seconds + pace.epoch)), done + 1)
        self.plan[stage] = fitting, steps
        return fitting != epochs


def shares_of(epochs: Mapping[str, int], paces: Mapping[str, StagePace]) -> dict[str, float]:
    """Return the share of the time of each stage: as it would be in a plan of these epochs of all the music."""
    costs = {stage: epochs[stage] * pace.examples * pace.step for stage, pace in paces.items()}
    return {stage: cost / sum(costs.values()) for stage, cost in costs.items()}


def planned(
    paces: Mapping[str, StagePace], shares: Mapping[str, float], seconds: float, batch: int
) -> dict[str, tuple[int, int]]:
    """Divide `seconds` by `shares` among the stages; return (epochs, steps in each) of each.

    Those whose share is no more than FEWEST_STEPS have these, and the others what is left.
    """
    left = seconds - sum(pace.once for pace in paces.values())
    fewest = {stage: FEWEST_STEPS * pace.step + pace.epoch for stage, pace in paces.items()}
    times: dict[str, float] = {}
    rest = dict(shares)
    while short := [stage for stage in rest if left * rest[stage] <= fewest[stage] * sum(rest.values())]:
        for stage in short:
            times[stage] = fewest[stage]
            left -= fewest[stage]
            del rest[stage]
    times |= {stage: left * share / sum(rest.values()) for stage, share in rest.items()}
    return {stage: _epochs(pace, times[stage], batch) for stage, pace in paces.items()}


def _epochs(pace: StagePace, seconds: float, batch: int) -> tuple[int, int]:
    """Return (epochs, steps in each) that take `seconds`: whole passes where there is time for many, or equal parts."""
    whole_steps = -(-pace.examples // batch)
    whole_seconds = whole_steps * pace.step + pace.epoch
    if seconds >= WHOLE_EPOCHS * whole_seconds:
        return round(seconds / whole_seconds), whole_steps
    longest = max(EPOCH_SECONDS, pace.epoch / VALIDATION_SHARE)
    epochs = max(math.ceil(seconds / whole_seconds), int(seconds / longest), 1)
    steps = round((seconds / epochs - pace.epoch) / pace.step)
    return epochs, min(max(steps, math.ceil(FEWEST_STEPS / epochs)), whole_steps)
