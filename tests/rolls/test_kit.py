from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from musigan.rolls.keyboard import KeyRange
from musigan.rolls.kit import FAINTEST, KIT, Strokes, drum_plane, kit_rows
from musigan.rolls.notes import find_strokes


def test_the_kit_lies_on_the_keys_of_general_midi() -> None:
    assert [KeyRange().low + row + 20 for row in kit_rows(KeyRange())] == [36, 38, 45, 42, 49]
    assert kit_rows(KeyRange(16, 29)) == (0, 2, 9, 6, 13)
    assert kit_rows(KeyRange(17, 88)) == kit_rows(KeyRange(1, 28)) == ()


@given(
    frames=st.lists(st.integers(0, 299), min_size=1, max_size=12, unique=True),
    drum=st.integers(0, len(KIT) - 1),
    loudness=st.floats(0.1, 1.0),
)
def test_strokes_come_back_from_their_channel(frames: list[int], drum: int, loudness: float) -> None:
    kept = [frame for frame in sorted(frames) if frame + 1 not in frames]  # the frame before a stroke is silent
    strokes = Strokes((np.array(kept) + 0.5) * 0.02, np.full(len(kept), drum), np.full(len(kept), loudness))
    plane = drum_plane(strokes, KeyRange(), 300, 0.02)
    found = find_strokes(plane)
    assert found.starts.tolist() == kept
    np.testing.assert_allclose(found.loudness, loudness, rtol=1e-6)
    assert plane[plane > 0].min() >= FAINTEST * 0.9
    assert not np.delete(plane, kit_rows(KeyRange())[drum], axis=0).any()


def test_strokes_after_the_end_are_left_out() -> None:
    strokes = Strokes(np.array([-0.1, 0.5, 2.0]), np.array([0, 0, 0]), np.array([1.0, 0.01, 1.0]))
    assert not drum_plane(strokes, KeyRange(), 100, 0.02).any()
