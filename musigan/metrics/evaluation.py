"""The judge at work: every row of the table held against the reference by every family of metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from musigan.errors import MusiganError
from musigan.metrics import distances, diversity, memorisation, notemetrics, twosample
from musigan.metrics.baselines import BASELINES
from musigan.metrics.comparison import Comparison, Judge
from musigan.metrics.description import Description, describe
from musigan.metrics.estimates import Estimate, Metric
from musigan.metrics.memorisation import CopyFinder
from musigan.metrics.sets import Collection, RollSet

JUDGES = (distances, twosample, notemetrics, memorisation, diversity)
METRICS: tuple[Metric, ...] = tuple(metric for family in JUDGES for metric in family.METRICS)
REFERENCE, FLOOR, SAME_SONGS, SPLITS, SAMPLES = "held-out", "floor", "same songs", "song splits", "samples"
FEWEST_ROLLS = 8
POOL = 1500  # training rolls described, of whole songs: song splits divide them anew
UNDEFINED = Estimate(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Options:
    """How thoroughly to judge."""

    count: int = 500  # rolls a set, at most
    seed: int = 1
    bootstraps: int = 100
    splits: int = 10  # other song splits to look at; 0: none
    baselines: tuple[str, ...] = tuple(BASELINES)
    forest: bool = True
    network: bool = False
    copies: bool = True  # look for copies of training songs
    jobs: int = 1


@dataclass
class Table:
    """Estimates by row and metric. Rows are in order; the first is the reference itself."""

    rolls: int  # in every set
    songs: dict[str, int]  # by row
    split: str
    rows: dict[str, dict[str, Estimate]] = field(default_factory=dict)

    def caught(self) -> dict[str, list[str]]:
        """By baseline, the metrics that tell it from the floor.

        A metric catches a row whose interval lies, on its bad side, wholly beyond the floor's and beyond what other
        song splits give; or which has no value where the floor has one.
        """
        return {
            row: [metric.name for metric in METRICS if self._catches(metric, row)]
            for row in self.rows
            if row not in (REFERENCE, FLOOR, SAME_SONGS, SPLITS)
        }

    def _catches(self, metric: Metric, row: str) -> bool:
        floors = [self.rows[name].get(metric.name, UNDEFINED) for name in (FLOOR, SPLITS) if name in self.rows]
        floors = [floor for floor in floors if np.isfinite(floor.value)]
        found = self.rows[row].get(metric.name)
        if not floors or found is None:
            return False
        if not np.isfinite(found.value):
            return True
        above = found.low > max(floor.high for floor in floors)
        below = found.high < min(floor.low for floor in floors)
        return {"low": above, "high": below, "reference": above or below}[metric.good]


def measure(judge: Judge, real: Description, fake: Description) -> dict[str, Estimate]:
    """All metrics of a set held against a reference."""
    comparison = Comparison(judge, real, fake)
    found: dict[str, Estimate] = {}
    for family in JUDGES:
        found |= family.measure(comparison)
    return {metric.name: found[metric.name].within(metric) for metric in METRICS if metric.name in found}


def evaluate(
    real: Collection, samples: RollSet | None, options: Options, step: Callable[[str], None] = lambda row: None
) -> Table:
    """The table of a set of samples (None: of the floor and the baselines alone) against real music.

    `step` is told each row before it is worked on. Raises MusiganError where there are too few rolls.
    """
    count = min(options.count, len(real.held_out), len(real.training) // 2 or 1)
    count = count if samples is None else min(count, len(samples))
    if count < FEWEST_ROLLS:
        raise MusiganError(
            f"sets of {count} rolls are too small to judge by; at least {FEWEST_ROLLS} of each are needed"
        )
    work = _Evaluation(real, options, count)
    step(REFERENCE)
    work.prepare()
    table = Table(count, {}, real.split)
    for row, fake in work.rows(samples, step):
        table.rows[row], table.songs[row] = fake
    return table


class _Evaluation:
    """Descriptions and the judge, as one evaluation needs them."""

    def __init__(self, real: Collection, options: Options, count: int) -> None:
        self.real, self.options, self.count = real, options, count

    def prepare(self) -> None:
        """Describe reference and training rolls, and fit the judge."""
        real, options = self.real, self.options
        frames = max(1, round(real.shape.frames * real.geometry.frame_seconds / 0.1))
        self.finder = CopyFinder(real.training_songs(), frames) if options.copies else None
        pool = real.training.whole_songs(max(POOL, 2 * self.count), options.seed)
        self.training_rolls = pool.drawn(len(pool), options.seed)
        self.held_out = self.describe(real.held_out.drawn(self.count, options.seed))
        self.training = self.describe(self.training_rolls, own=True)
        self.judge = Judge.fit(self.training, options.seed, options.bootstraps, options.forest, options.network)

    def describe(self, rolls: RollSet, own: bool = False) -> Description:
        """Describe a set of rolls."""
        return describe(rolls.rolls(), rolls.songs, self.real.geometry, self.finder, own, self.options.jobs)

    def rows(
        self, samples: RollSet | None, step: Callable[[str], None]
    ) -> Iterator[tuple[str, tuple[dict[str, Estimate], int]]]:
        """(row, (estimates, songs)) in the table's order."""
        judge, held_out = self.judge, self.held_out
        half = _halves(self.training.songs)
        first, second = (self.training.take(np.flatnonzero(half == side)[: self.count]) for side in (0, 1))
        yield REFERENCE, (self.own_values(held_out), _songs(held_out))
        if samples is not None:
            step(SAMPLES)
            described = self.describe(samples.drawn(self.count, self.options.seed))
            yield SAMPLES, (measure(judge, held_out, described), _songs(described))
        step(FLOOR)
        floor = self.training.take(np.arange(self.count))
        yield FLOOR, (measure(judge, held_out, floor), _songs(floor))
        if self.options.splits:
            step(SPLITS)
            yield SPLITS, (self.other_splits(), _songs(held_out))
        step(SAME_SONGS)
        yield SAME_SONGS, (measure(judge, first, second), _songs(second))
        source = self.training_rolls.chosen(np.arange(self.count))
        rolls = list(source.rolls()) if self.options.baselines else []
        for name in self.options.baselines:
            step(name)
            made = BASELINES[name](rolls, np.random.default_rng(self.options.seed))
            described = describe(made, source.songs, self.real.geometry, self.finder, own=False, jobs=self.options.jobs)
            yield name, (measure(judge, held_out, described), _songs(described))

    def own_values(self, described: Description) -> dict[str, Estimate]:
        """What the metrics of single sets are for the reference itself."""
        comparison = Comparison(self.judge, described, described)
        found = notemetrics.measure(comparison)
        found["copy distance"] = comparison.mean_of(described.copies, described.songs)
        return {metric.name: found[metric.name].within(metric) for metric in METRICS if metric.name in found}

    def other_splits(self) -> dict[str, Estimate]:
        """Median, 2.5th and 97.5th percentile over other divisions of the same songs into sets of the same sizes."""
        pool = Description.joined(self.held_out, self.training)
        names, rolls = np.unique(pool.songs, return_counts=True)
        held = _songs(self.held_out)
        judge = Judge(self.judge.coordinates, self.judge.centres, self.options.seed, bootstraps=0, forest=False)
        found: dict[str, list[float]] = {}
        for number in range(self.options.splits):
            generator = np.random.default_rng([self.options.seed, number])
            order = generator.permutation(len(names))
            enough = int(np.searchsorted(np.cumsum(rolls[order]), self.count)) + 1
            chosen = np.isin(pool.songs, names[order[: max(held, min(enough, len(names) - 1))]])
            sides = [pool.take(_some(np.flatnonzero(side), self.count, generator)) for side in (chosen, ~chosen)]
            for name, estimate in measure(judge, *sides).items():
                found.setdefault(name, []).append(estimate.value)
        return {name: _percentiles(values) for name, values in found.items()}


def _halves(songs: np.ndarray) -> np.ndarray:
    """0 or 1 (N,): the rolls of each song dealt out in turn."""
    half = np.zeros(len(songs), int)
    for song in np.unique(songs):
        mine = np.flatnonzero(songs == song)
        half[mine] = np.arange(len(mine)) % 2
    return half


def _some(rows: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    return np.sort(generator.permutation(rows)[:count])


def _songs(described: Description) -> int:
    return len(np.unique(described.songs))


def _percentiles(values: list[float]) -> Estimate:
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return UNDEFINED
    low, middle, high = np.quantile(finite, (0.025, 0.5, 0.975))
    return Estimate(float(middle), float(low), float(high))
