"""Metrics by name, and estimates with an interval from a bootstrap over songs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Good = Literal["low", "high", "reference"]  # which values are good; "reference": those of real rolls


@dataclass(frozen=True)
class Metric:
    """The name, family, direction and bounds of a metric."""

    name: str
    family: str
    good: Good
    least: float = 0.0
    most: float = np.inf
    meaning: str = ""  # a sentence for people, where the name does not say it


@dataclass(frozen=True)
class Estimate:
    """A metric's value with its 95 % interval; NaN where undefined."""

    value: float
    low: float
    high: float

    def within(self, metric: Metric) -> Estimate:
        """Return the estimate with its interval cut to the values that the metric can have."""
        return Estimate(self.value, max(self.low, metric.least), min(self.high, metric.most))

    @classmethod
    def of(cls, value: float, deviation: float) -> Estimate:
        """Return the estimate `value` plus and minus 1.96 standard deviations."""
        return cls(float(value), float(value - 1.96 * deviation), float(value + 1.96 * deviation))


UNDEFINED = Estimate(np.nan, np.nan, np.nan)


def is_told_apart(metric: Metric, estimate: Estimate, floors: Sequence[Estimate]) -> bool:
    """Whether an interval lies, on its bad side, completely beyond all floors', or has no value where one has.

    Floors without a value do not count; where none has one, nothing is told apart.
    """
    known = [floor for floor in floors if np.isfinite(floor.value)]
    if not known:
        return False
    if not np.isfinite(estimate.value):
        return True
    is_above = estimate.low > max(floor.high for floor in known)
    is_below = estimate.high < min(floor.low for floor in known)
    return {"low": is_above, "high": is_below, "reference": is_above or is_below}[metric.good]


class Resampler:
    """A bootstrap over songs: each call draws as many songs as there are, with replacement."""

    def __init__(self, songs: np.ndarray, generator: np.random.Generator) -> None:
        _, inverse = np.unique(songs, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        self._groups = np.split(order, np.flatnonzero(np.diff(inverse[order])) + 1)
        self._generator = generator

    def __call__(self) -> np.ndarray:
        """Return the rows of one draw."""
        group_numbers = self._generator.integers(len(self._groups), size=len(self._groups))
        return np.concatenate([self._groups[number] for number in group_numbers])


def mean_of(values: np.ndarray) -> float:
    """Return the mean of the finite values; NaN where there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else np.nan


def deviation_of(values: list[float]) -> float:
    """Return the standard deviation of the finite values; 0 where there are none."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.std(finite)) if finite else 0.0
