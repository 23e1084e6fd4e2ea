"""Sets of rolls that are drawn to be judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from musigan.metrics.sets import Collection
from musigan.rolls.shape import RollShape
from musigan.sampling.sampler import Sampler
from musigan.sampling.sets import sampled_set
from tests import tiny

SHAPE = RollShape(tiny.CHANNELS, tiny.KEYS, 500)  # 10 s


@dataclass
class Counting:
    """Draws pieces whose frames say piece and frame, and remembers which."""

    on_beats: bool
    drawn: list[tuple[int, int]] = field(default_factory=list)

    @property
    def sampler(self) -> Sampler:
        family = SimpleNamespace(on_beats=self.on_beats)
        store = SimpleNamespace(header=tiny.HEADER)
        return cast(Sampler, SimpleNamespace(family=family, store=store, roll_shape=SHAPE, piece=self.piece))

    def piece(self, seed: int, number: int, frames: int) -> Any:
        assert seed == 5
        self.drawn.append((number, frames))
        times = np.arange(frames, dtype=np.float32) / 10000 + number / 100
        return SimpleNamespace(roll=np.broadcast_to(times, (tiny.CHANNELS, tiny.KEYS, frames)))


def rolls(drawing: Counting, count: int) -> Any:
    like = cast(Collection, SimpleNamespace(shape=SHAPE, geometry=tiny.HEADER.geometry))
    return sampled_set(drawing.sampler, like, count, 5, "net")


def test_rolls_of_a_composer_are_cut_from_half_a_minute() -> None:
    """In any order, each piece drawn once; three rolls of a piece are one song's."""
    drawing = Counting(on_beats=True)
    drawn = rolls(drawing, 7)
    assert drawn.songs.tolist() == ["piece 1"] * 3 + ["piece 2"] * 3 + ["piece 3"]
    for number in (4, 0, 6, 2, 5, 4):
        start = (number // 3 + 1) / 100 + number % 3 * 0.05
        assert drawn.roll(number).shape == (tiny.CHANNELS, tiny.KEYS, 500)
        assert drawn.roll(number)[0, 0, [0, -1]] == pytest.approx([start, start + 0.0499], abs=1e-4)
    assert drawing.drawn == [(2, 1500), (1, 1500), (3, 1500)]


def test_rolls_of_others_are_pieces_of_their_own() -> None:
    drawing = Counting(on_beats=False)
    drawn = rolls(drawing, 3)
    assert drawn.songs.tolist() == ["piece 1", "piece 2", "piece 3"]
    assert drawn.roll(2)[0, 0, 0] == pytest.approx(0.03, abs=1e-4)
    assert drawing.drawn == [(3, 500)]
