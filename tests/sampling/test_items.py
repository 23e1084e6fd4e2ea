"""Pieces as items of a store: those of models that know no beat have the one that is found in them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from musigan.datasets.record import MusicRecord
from musigan.rolls.beats import Beat
from musigan.rolls.shape import RollShape
from musigan.sampling.items import as_item, found_beat
from musigan.sampling.sampler import Piece
from tests import tiny

FRAMES = 1000  # 20 s


def struck(tempo: float) -> np.ndarray:
    """A roll (2, 11, FRAMES) of short notes on every beat, the first 0.3 s late, every third one louder."""
    roll = np.zeros((2, 11, FRAMES), np.float32)
    starts = np.arange(0.3, FRAMES * 0.02 - 0.2, 60 / tempo)
    for number, start in enumerate((starts / 0.02).round().astype(int)):
        roll[:, 3 + number % 4, start : start + 6] = 0.8 if number % 3 == 0 else 0.5
    return roll


def random_notes() -> np.ndarray:
    generator = np.random.default_rng(3)
    roll = np.zeros((2, 11, FRAMES), np.float32)
    for start, key in zip(generator.integers(0, FRAMES - 9, 60), generator.integers(0, 11, 60), strict=True):
        roll[:, key, start : start + 6] = 0.5
    return roll


def item_of(piece: Piece) -> Any:
    sampler: Any = SimpleNamespace(
        store=MusicRecord(tiny.HEADER, 0.2), frame_seconds=0.02, roll_shape=RollShape(2, 11, tiny.FRAMES)
    )
    return as_item(piece, sampler, 1, "lstm")[2]


@pytest.mark.parametrize("tempo", [83.0, 132.0])
def test_a_beat_is_found(tempo: float) -> None:
    song = item_of(Piece(1, struck(tempo)))
    assert song.tempo == pytest.approx(tempo, rel=0.01)
    beat_seconds = 60 / tempo
    off = (song.first_beat - 0.3 + beat_seconds / 2) % beat_seconds - beat_seconds / 2
    assert abs(off) < 0.03
    assert song.beats == ()  # of a steady beat the tempo says all


def test_none_is_made_up() -> None:
    assert found_beat(random_notes(), 0.02) is None
    assert found_beat(np.zeros((2, 11, FRAMES), np.float32), 0.02) is None
    assert item_of(Piece(1, random_notes())).tempo is None


def test_a_beat_that_is_known_stays() -> None:
    assert item_of(Piece(1, struck(132.0), beat=Beat(90.0))).tempo == 90.0
