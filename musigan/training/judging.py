"""Evaluation during training: fast metrics of samples against held-out songs, every few epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from musigan.datasets.rolls import Reader
from musigan.machine.cores import usable_cores
from musigan.metrics.baselines import BASELINES
from musigan.metrics.estimates import Estimate
from musigan.metrics.evaluation import Evaluation, Options
from musigan.metrics.sets import collection_of
from musigan.sampling.sets import sampled_set

if TYPE_CHECKING:
    from musigan.sampling.sampler import Sampler

ROLLS = 120  # per set: more would cost more time than the precision is worth
POOL = 400  # training rolls to compare with
SEED = 1


class TrainingJudge:
    """Metrics of held-out songs, floor and baselines, computed once, to evaluate samples against.

    Raises MusiganError where there are too few songs.
    """

    def __init__(self, reader: Reader) -> None:
        options = Options(count=ROLLS, seed=SEED, bootstraps=0, forest=False, pool=POOL, jobs=usable_cores())
        self._music = collection_of(reader)
        self._work = Evaluation(self._music, options)
        self._rows = {HELD_OUT: self._work.reference(), FLOOR: self._work.floor()}
        self._rows |= {name: self._work.baseline(name) for name in BASELINES}

    def evaluate(self, sampler: Sampler, history: list[dict[str, Any]]) -> dict[str, Any]:
        """Return plain values for the run's history: `metrics` by name and row, `distance`, and `verdict`."""
        samples = sampled_set(sampler, self._music, self._work.count, SEED, "the run")
        rows = {SAMPLES: self._work.samples(samples), **self._rows}
        names = rows[SAMPLES][0]
        metrics = {
            name: {row: _plain(estimates[name]) for row, (estimates, _) in rows.items() if name in estimates}
            for name in names
        }
        earlier_metrics = [entry["evaluation"]["metrics"] for entry in history if "evaluation" in entry]
        distance_now = distance(metrics)
        return {
            "metrics": metrics,
            "distance": None if math.isnan(distance_now) else distance_now,
            "verdict": verdict([*earlier_metrics, metrics]),
        }


def best_distance(history: list[dict[str, Any]]) -> float:
    """Return the smallest distance of the evaluations so far; infinite where there are none."""
    distances = [entry["evaluation"]["distance"] for entry in history if "evaluation" in entry]
    return min((value for value in distances if value is not None), default=math.inf)


def _plain(estimate: Estimate) -> float | None:
    return float(estimate.value) if np.isfinite(estimate.value) else None


Metrics = Mapping[str, Mapping[str, float | None]]  # metric -> row -> value


SAMPLES, FLOOR, HELD_OUT = "samples", "floor", "held-out"


DISTANCES = ("Frechet, musical", "Frechet, random net")


FEW_KINDS = 0.4  # diversity relative to real rolls, below which samples are too much alike


MANY_COPIES = 0.1  # share of samples copied from training songs


MANY_EMPTY = 0.5  # share of bars without a note


NEAR = 1.3  # times the floor's distance counts as close


BETTER = 0.97  # times the smallest distance so far counts as progress


PATIENCE = 3  # evaluations without progress that mean stuck


def distance(metrics: Metrics) -> float:
    """Return the samples' distance to held-out songs relative to the floor's, mean over DISTANCES; NaN if unknown."""
    ratios = []
    for name in DISTANCES:
        values = metrics.get(name, {})
        sample, floor = values.get(SAMPLES), values.get(FLOOR)
        if sample is not None and floor is not None and floor > 0:
            ratios.append(sample / floor)
    return sum(ratios) / len(ratios) if len(ratios) == len(DISTANCES) else math.nan


def verdict(evaluations: Sequence[Metrics]) -> str:
    """Return the verdict on the last evaluation, given those before it: a word, the reason, and what to try."""
    latest = evaluations[-1]
    last_distance, earlier_distances = distance(latest), [distance(one) for one in evaluations[:-1]]
    copies, diversity, empty_bars = (
        latest.get(name, {}).get(SAMPLES) for name in ("copies", "diversity", "empty bars")
    )
    if copies is not None and copies > MANY_COPIES and copies > 3 * (latest["copies"].get(FLOOR) or 0):
        return (
            f"memorising: {copies:.0%} of the samples are pieces of training songs; try more songs, "
            "a larger augment.transpose_keys, or fewer epochs"
        )
    if empty_bars is not None and empty_bars > MANY_EMPTY:
        return (
            f"silent: {empty_bars:.0%} of the samples' bars are empty; train longer, or raise loss_weights.no_silence"
        )
    if diversity is not None and diversity < FEW_KINDS:
        return (
            f"collapsed: samples differ from each other {diversity:.2g} times as much as real rolls do; "
            "wait while the transformer is trained; in the adversarial stage, go on from best.pt with a lower "
            "adversarial.learning_rate"
        )
    if math.isnan(last_distance):
        return "unknown: the distance to held-out songs could not be measured"
    distance_text = f"{last_distance:.2g} times as far from held-out songs as the training songs are"
    known_distances = [value for value in earlier_distances if not math.isnan(value)]
    if last_distance <= NEAR:
        return f"close: {distance_text}; listen, and compare with evaluate"
    if not known_distances:
        return f"begun: {distance_text}"
    best, stale = _progress([*known_distances, last_distance])
    if not stale:
        return f"learning: {distance_text}, {best:.2g} before"
    if stale >= PATIENCE:
        better = "best.pt is the better one; " if last_distance > min(known_distances) else ""
        return (
            f"stuck: {distance_text}, hardly better than {best:.2g} for {stale} evaluations; {better}"
            "try more songs, or --preset medium on a GPU"
        )
    return (
        f"wavering: {distance_text}, {best:.2g} before; {PATIENCE - stale} more evaluations without progress mean stuck"
    )


def _progress(distances: Sequence[float]) -> tuple[float, int]:
    """Return the distance that the last of two or more had to beat, and how many in a row made no progress.

    The distance to beat changes only with progress that counts (BETTER), so many small gains count once they add up.
    """
    best, to_beat, stale = distances[0], distances[0], 0
    for value in distances[1:]:
        to_beat = best
        best, stale = (value, 0) if value < BETTER * best else (best, stale + 1)
    return to_beat, stale
