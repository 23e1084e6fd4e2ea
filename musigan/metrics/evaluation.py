"""Evaluation: every row of the table measured against the reference by every family of metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from musigan.errors import MusiganError
from musigan.machine.reporting import counted
from musigan.metrics import distances, diversity, memorisation, notemetrics, twosample
from musigan.metrics.baselines import BASELINES
from musigan.metrics.comparison import Comparison, Coordinates, Description, Judge
from musigan.metrics.describing import describe, picture_frames
from musigan.metrics.drawing import evenly
from musigan.metrics.estimates import UNDEFINED, Estimate, Metric, is_told_apart
from musigan.metrics.memorisation import CopyFinder
from musigan.metrics.pieces import PieceTable
from musigan.metrics.sets import Collection, RollSet
from musigan.metrics.verdict import verdict_once

JUDGES = (distances, twosample, notemetrics, memorisation, diversity)
METRICS: tuple[Metric, ...] = tuple(metric for family in JUDGES for metric in family.METRICS)
REFERENCE, FLOOR, SAME_SONGS, SPLITS, SAMPLES = "held-out", "floor", "same songs", "song splits", "samples"
FEWEST_ROLLS = 8


@dataclass(frozen=True)
class Options:
    """The size and thoroughness of an evaluation."""

    count: int = 500  # rolls a set, at most
    seed: int = 1
    bootstraps: int = 100
    splits: int = 10  # other song splits to measure; 0: none
    baselines: tuple[str, ...] = tuple(BASELINES)
    forest: bool = True
    network: bool = False
    copies: bool = True  # look for copies of training songs
    pool: int = 1500  # training rolls to describe, of whole songs; song splits divide them again
    jobs: int = 1


@dataclass
class Table:
    """Estimates by row and metric. Rows are in order; the first is the reference itself."""

    rolls: int  # in every set
    songs: dict[str, int]  # by row
    split: str
    rows: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    answers: dict[str, Estimate] = field(default_factory=dict)  # of matching.match, for models that continue music
    notes: list[str] = field(default_factory=list)  # what was left out, and why
    pieces: list[PieceTable] = field(default_factory=list)  # rhythm and form, of half a minute and of 2 minutes

    def verdict(self) -> str:
        """Return one line on the samples: how near they are to songs, what is wrong, their rhythm and form."""
        if SAMPLES not in self.rows:
            return "no samples: what the judge can tell on this music"
        values: dict[str, dict[str, float | None]] = {}
        for row, estimates in self.rows.items():
            for name, estimate in estimates.items():
                values.setdefault(name, {})[row] = estimate.value if np.isfinite(estimate.value) else None
        words = [words for words in (table.words() for table in self.pieces[:1]) if words]
        return "; ".join((verdict_once(values), *words))

    def caught(self) -> dict[str, list[str]]:
        """Return, for the samples and each baseline, the metrics that tell it from the floor.

        A metric catches a row whose interval lies, on its bad side, completely beyond the floor's and beyond that of
        other song splits. It also catches a row that has no value where the floor has one.
        """
        return {
            row: [metric.name for metric in METRICS if self._catches(metric, row)]
            for row in self.rows
            if row not in (REFERENCE, FLOOR, SAME_SONGS, SPLITS)
        }

    def _catches(self, metric: Metric, row: str) -> bool:
        floors = [self.rows[name].get(metric.name, UNDEFINED) for name in (FLOOR, SPLITS) if name in self.rows]
        estimate = self.rows[row].get(metric.name)
        return estimate is not None and is_told_apart(metric, estimate, floors)


def measure(judge: Judge, real: Description, fake: Description) -> dict[str, Estimate]:
    """Measure a set against a reference by all metrics."""
    comparison = Comparison(judge, real, fake)
    estimates: dict[str, Estimate] = {}
    for family in JUDGES:
        estimates |= family.measure(comparison)
    return _bounded(estimates)


def _bounded(found: dict[str, Estimate]) -> dict[str, Estimate]:
    return {metric.name: found[metric.name].within(metric) for metric in METRICS if metric.name in found}


def evaluate(
    real: Collection, samples: RollSet | None, options: Options, step: Callable[[str], None] = lambda row: None
) -> Table:
    """Return the table of a set of samples (None: of the floor and the baselines alone) against real music.

    `step` is called with each row's name before the row is computed. Raises MusiganError where there are too few rolls.
    """
    step(REFERENCE)
    evaluation = Evaluation(real, options, len(samples) if samples is not None else None)
    table = Table(evaluation.count, {}, real.split)

    def fill(row: str, measured: Callable[[], Measured]) -> None:
        """Compute one row."""
        step(row)
        table.rows[row], table.songs[row] = measured()

    table.rows[REFERENCE], table.songs[REFERENCE] = evaluation.reference()
    if samples is not None:
        fill(SAMPLES, lambda: evaluation.samples(samples))
    fill(FLOOR, evaluation.floor)
    if options.splits:
        fill(SPLITS, evaluation.other_splits)
    fill(SAME_SONGS, evaluation.same_songs)
    for name in options.baselines:
        fill(name, lambda name=name: evaluation.baseline(name))  # type: ignore[misc]
    return table


Measured = tuple[dict[str, Estimate], int]  # estimates by metric, and the number of songs


class Evaluation:
    """Real music described and a judge fitted on it, ready to measure sets of rolls.

    `available` is the number of rolls to be judged. Raises MusiganError where there are too few rolls.
    """

    def __init__(self, real: Collection, options: Options, available: int | None = None) -> None:
        self.real, self.options = real, options
        limits = (options.count, len(real.held_out), len(real.training) // 2 or 1)
        self.count = min(*limits, available if available is not None else options.count)
        if self.count < FEWEST_ROLLS:
            raise MusiganError(
                f"sets of {counted(self.count, 'rolls')} are too small to judge by; at least {FEWEST_ROLLS} of each "
                "are needed"
            )
        frames = picture_frames(real.shape.frames, real.geometry.frame_seconds)
        self._finder = CopyFinder(real.training_songs(), frames) if options.copies else None
        pool = real.training.whole_songs(max(options.pool, 2 * self.count), options.seed)
        self._training_rolls = pool.drawn(len(pool), options.seed)
        self._held_out = self._describe(real.held_out.drawn(self.count, options.seed))
        self._training = self._describe(self._training_rolls, own=True)
        coordinates = Coordinates.fit(self._training)
        centres = diversity.bin_centres(coordinates.musical(self._training), self.count, options.seed)
        self._judge = Judge(coordinates, centres, options.seed, options.bootstraps, options.forest, options.network)

    def _describe(self, rolls: RollSet, own: bool = False) -> Description:
        return describe(rolls.rolls(), rolls.songs, self.real.geometry, self._finder, own, self.options.jobs)

    def _against_held_out(self, described: Description) -> Measured:
        return measure(self._judge, self._held_out, described), _songs(described)

    def samples(self, samples: RollSet) -> Measured:
        """Measure the samples to be judged."""
        return self._against_held_out(self._describe(samples.drawn(self.count, self.options.seed)))

    def floor(self) -> Measured:
        """Measure training songs."""
        return self._against_held_out(self._training.take(np.arange(self.count)))

    def same_songs(self) -> Measured:
        """Measure half of the training songs' rolls against the other half; nothing where each song has one roll."""
        if len(np.unique(self._training.songs)) == len(self._training):
            return {}, 0
        half = _half_numbers(self._training.songs)
        first, second = (self._training.take(np.flatnonzero(half == side)[: self.count]) for side in (0, 1))
        return measure(self._judge, first, second), _songs(second)

    def baseline(self, name: str) -> Measured:
        """Measure a baseline made of training rolls."""
        source = self._training_rolls.chosen(np.arange(self.count))
        fake_rolls = BASELINES[name](list(source.rolls()), np.random.default_rng(self.options.seed))
        return self._against_held_out(
            describe(fake_rolls, source.songs, self.real.geometry, self._finder, jobs=self.options.jobs)
        )

    def reference(self) -> Measured:
        """Return the metrics of single sets for the held-out songs themselves."""
        described = self._held_out
        comparison = Comparison(self._judge, described, described)
        estimates = notemetrics.measure(comparison)
        estimates["copy distance"] = comparison.mean_of(described.copies, described.songs)
        return _bounded(estimates), _songs(described)

    def other_splits(self) -> Measured:
        """Return median, 2.5th and 97.5th percentile over other divisions of the songs into sets of the same sizes."""
        pool = Description.joined(self._held_out, self._training)
        names, roll_counts = np.unique(pool.songs, return_counts=True)
        held_out_count = _songs(self._held_out)
        judge = Judge(self._judge.coordinates, self._judge.centres, self.options.seed, bootstraps=0, forest=False)
        values_by_metric: dict[str, list[float]] = {}
        for number in range(self.options.splits):
            generator = np.random.default_rng([self.options.seed, number])
            order = generator.permutation(len(names))
            song_count = int(np.searchsorted(np.cumsum(roll_counts[order]), self.count)) + 1
            is_held_out = np.isin(pool.songs, names[order[: max(held_out_count, min(song_count, len(names) - 1))]])
            if min(is_held_out.sum(), (~is_held_out).sum()) < self.count:
                continue  # one song has so many rolls that the others are too few for a set of this size
            halves = [pool.take(np.flatnonzero(side)) for side in (is_held_out, ~is_held_out)]
            split_sets = [half.take(evenly(half.songs, self.count, generator)) for half in halves]
            for name, estimate in measure(judge, *split_sets).items():
                values_by_metric.setdefault(name, []).append(estimate.value)
        return {name: _percentiles(values) for name, values in values_by_metric.items()}, held_out_count


def _half_numbers(songs: np.ndarray) -> np.ndarray:
    """Assign 0 or 1 (N,) to rolls in turn, song by song, so that both halves are equally large."""
    half = np.zeros(len(songs), int)
    half[np.argsort(songs, kind="stable")] = np.arange(len(songs)) % 2
    return half


def _songs(described: Description) -> int:
    return len(np.unique(described.songs))


def _percentiles(values: list[float]) -> Estimate:
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return UNDEFINED
    low, middle, high = np.quantile(finite, (0.025, 0.5, 0.975))
    return Estimate(float(middle), float(low), float(high))
