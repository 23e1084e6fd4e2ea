"""Conditions: what goes with a training roll into both sides of a conditional model. One function a condition.

A family names those it needs (`Family.needs`); the dataset makes them, the loop hands them to the objective, which
passes them to the networks by name. When music is drawn, `musigan.sampling` makes them from what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Excerpt:
    """Where a training roll was taken from."""

    attributes: Mapping[str, Any]  # of its song
    start_seconds: float  # of the roll's first frame, in the song
    before: np.ndarray | None  # (C, K, T) in model space: what sounded before, where it is needed


def question(excerpt: Excerpt) -> np.ndarray:
    """The chunk before the roll, (C, K, T) in model space: the call that the roll answers."""
    assert excerpt.before is not None
    return excerpt.before


CONDITIONS: dict[str, Callable[[Excerpt], np.ndarray]] = {"question": question}
