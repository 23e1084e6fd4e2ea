"""The judge of answers, on songs that keep to keys of their own."""

from __future__ import annotations

import numpy as np
import pytest

from musigan.errors import MusiganError
from musigan.metrics.matching import PairSet, between, describe_half, held_on, jump, match, other_song_numbers
from musigan.metrics.sets import collection_of
from musigan.rolls.shape import Geometry
from tests.musicstores import song

GEOMETRY = Geometry(0.02, 37)
FRAMES, KEYS = 250, 24


def pairs(songs: int, seed: int) -> PairSet:
    """Three pairs of each song; every song has a scale, a pulse and a loudness of its own."""
    rolls = [song(seed + number, 6, frames=FRAMES, keys=KEYS) for number in range(songs)]
    names = np.repeat([f"song {seed + number}" for number in range(songs)], 3)
    return PairSet(names, lambda n: (rolls[n // 3][2 * (n % 3)], rolls[n // 3][2 * (n % 3) + 1]))


def test_edges_by_hand() -> None:
    question, answer = np.zeros((2, 4, 10)), np.zeros((2, 4, 10))
    question[:, 0, :] = 0.25  # in model space .5: goes on
    question[:, 1, 5:] = 1.0  # stops at the joint
    question[:, 2, :5] = 1.0  # has stopped before
    answer[:, 0, :] = 0.25
    answer[:, 3, :] = 0.04
    q, a = describe_half(question, GEOMETRY, True), describe_half(answer, GEOMETRY, False)
    assert held_on(q, a) == 0.5
    assert jump(q, a) == pytest.approx((0 + 1 + 0 + 0.2) / 4)
    assert np.isnan(held_on(describe_half(0 * question, GEOMETRY, True), a))


def test_others_are_of_other_songs() -> None:
    songs = np.array(list("aaaabbc"))
    for seed in range(5):
        found = other_song_numbers(songs, np.random.default_rng(seed))
        assert (songs[found] != songs).all()


def test_between() -> None:
    assert between(0.3, 0.2, 0.6) == pytest.approx(0.25)
    assert np.isnan(between(0.3, 0.6, 0.6))


def test_scale_runs_from_random_to_true() -> None:
    learn, held = pairs(8, 0), pairs(5, 100)
    strange = pairs(5, 200)
    found = {
        "true": match(learn, held, GEOMETRY, lambda number, question: held.pair(number - 1)[1]),
        "strange": match(learn, held, GEOMETRY, lambda number, question: strange.pair(number - 1)[1]),
    }
    for kind in ("style", "joint"):
        assert found["true"][f"accuracy, {kind}"].value > 0.8
        assert found["true"][f"match, {kind}"].value == pytest.approx(1)
        assert found["strange"][f"match, {kind}"].value < 0.5
    true = found["true"]
    assert true["held on, drawn"].value == true["held on, true"].value > found["strange"]["held on, drawn"].value
    assert true["jump, drawn"].value == true["jump, true"].value < found["strange"]["jump, drawn"].value
    assert true["match, style"].low <= 1 <= true["match, style"].high


def test_too_few_songs() -> None:
    with pytest.raises(MusiganError, match="2 songs held back"):
        match(pairs(4, 0), pairs(2, 50), GEOMETRY, lambda number, question: question)


@pytest.mark.parametrize("paired", [True, False])
def test_pairs_of_a_collection(paired: bool, tmp_path) -> None:  # type: ignore[no-untyped-def]
    from musigan import store
    from tests import tiny

    path = tiny.write_keys(tmp_path / "k", songs=5, validation=2, paired=paired)
    reader = store.open_reader(str(path), ("keys",))
    found = collection_of(reader).pairs
    if not paired:
        assert found is None
        return
    assert found is not None
    learn, held = found
    assert sorted(set(held.songs)) == ["000001", "000002"]
    assert sorted(set(learn.songs)) == ["000003", "000004", "000005"]
    assert len(learn) == 6
    question, answer = held.pair(1)
    block = np.clip(reader.block("000001", 1)[0].astype(np.float32), 0, 1)
    np.testing.assert_allclose(question, block[0], atol=1e-6)
    np.testing.assert_allclose(answer, block[1], atol=1e-6)
