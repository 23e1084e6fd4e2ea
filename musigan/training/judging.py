"""Evaluation during training: fast metrics of samples against held-out songs, every few epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from musigan.data import Reader
from musigan.machine import usable_cores
from musigan.metrics.baselines import BASELINES
from musigan.metrics.estimates import Estimate
from musigan.metrics.evaluation import Evaluation, Options
from musigan.metrics.sets import collection_of, sampled_set
from musigan.training.verdict import FLOOR, HELD_OUT, SAMPLES, distance, verdict

if TYPE_CHECKING:
    from musigan.sampling import Sampler

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
