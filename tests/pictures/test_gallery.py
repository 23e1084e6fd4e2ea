"""Pictures of stores: where beats are drawn."""

from __future__ import annotations

import numpy as np

from musigan.pictures.gallery import PictureStyle
from musigan.rolls.beats import Beats
from musigan.store.excerpts import Excerpt


def test_beats_are_drawn_where_asked_for_and_where_there_is_a_beat() -> None:
    def excerpt(confidence: float) -> Excerpt:
        beats = Beats(np.array([0.5, 1.0, 1.5]), np.array([1, 2, 3]), confidence)
        return Excerpt(1, "T", np.zeros((1, 3, 90), np.float32), 0.0, beats)

    assert PictureStyle(beats=True).lines(excerpt(0.7)).seconds.tolist() == [0.5, 1.0, 1.5]
    assert len(PictureStyle(beats=True).lines(excerpt(0.3))) == 0
    assert len(PictureStyle().lines(excerpt(0.7))) == 0
