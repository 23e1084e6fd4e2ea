"""The judge beside training: fast metrics of samples against held-out songs, now and then."""

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

ROLLS = 120  # a set: drawing more would cost more than it tells
POOL = 400  # training rolls
SEED = 1


class TrainingJudge:
    """Real music described once, floor and baselines with it; samples as often as asked.

    Raises MusiganError where there are too few songs.
    """

    def __init__(self, reader: Reader) -> None:
        options = Options(count=ROLLS, seed=SEED, bootstraps=0, forest=False, pool=POOL, jobs=usable_cores())
        self._music = collection_of(reader)
        self._work = Evaluation(self._music, options)
        self._rows = {HELD_OUT: self._work.reference(), FLOOR: self._work.floor()}
        self._rows |= {name: self._work.baseline(name) for name in BASELINES}

    def evaluate(self, sampler: Sampler, history: list[dict[str, Any]]) -> dict[str, Any]:
        """Plain values for the run's history: `metrics` by name and row, `distance`, and `verdict` after `history`."""
        samples = sampled_set(sampler, self._music, self._work.count, SEED, "the run")
        rows = {SAMPLES: self._work.samples(samples), **self._rows}
        names = rows[SAMPLES][0]
        metrics = {
            name: {row: _plain(found[name]) for row, (found, _) in rows.items() if name in found} for name in names
        }
        earlier = [entry["evaluation"]["metrics"] for entry in history if "evaluation" in entry]
        reached = distance(metrics)
        return {
            "metrics": metrics,
            "distance": None if math.isnan(reached) else reached,
            "verdict": verdict([*earlier, metrics]),
        }


def best_distance(history: list[dict[str, Any]]) -> float:
    """The smallest distance of the evaluations so far; infinite where there are none."""
    found = [entry["evaluation"]["distance"] for entry in history if "evaluation" in entry]
    return min((value for value in found if value is not None), default=math.inf)


def _plain(estimate: Estimate) -> float | None:
    return float(estimate.value) if np.isfinite(estimate.value) else None
