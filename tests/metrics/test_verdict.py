"""Every word of the verdict from figures made by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from musigan.metrics.verdict import DISTANCES, distance, verdict, verdict_once

Metrics = dict[str, dict[str, float | None]]


def at(
    share: float | None,
    copies: float | None = 0.0,
    diversity: float | None = 1.1,
    empty: float | None = 0.02,
    floor_copies: float | None = 0.0,
) -> Metrics:
    """Figures of samples `share` times as far from held-out songs as the floor; None: that is not known."""
    floors = (30.0, 2.0)
    found: Metrics = {
        name: {"samples": None if share is None else share * floor, "floor": floor, "held-out": None}
        for name, floor in zip(DISTANCES, floors, strict=True)
    }
    found["copies"] = {"samples": copies, "floor": floor_copies}
    found["diversity"] = {"samples": diversity, "floor": 0.9}
    found["empty bars"] = {"samples": empty, "floor": 0.0}
    return found


def after(*shares: float | None) -> str:
    return verdict([at(share) for share in shares])


def test_distance_is_the_mean_share_of_the_floor() -> None:
    figures = at(4.0)
    figures[DISTANCES[1]]["samples"] = 12.0  # 6 times its floor
    assert distance(figures) == pytest.approx(5.0)


@pytest.mark.parametrize(("row", "value"), [("samples", None), ("floor", None), ("floor", 0.0), ("floor", math.nan)])
def test_distance_is_unknown_where_one_of_its_parts_is(row: str, value: float | None) -> None:
    figures = at(4.0)
    figures[DISTANCES[0]][row] = value
    assert math.isnan(distance(figures))
    del figures[DISTANCES[0]]
    assert math.isnan(distance(figures))
    assert math.isnan(distance({}))


@pytest.mark.parametrize(
    ("shares", "word", "says"),
    [
        ([9.0], "begun", "9 times as far"),
        ([None, 9.0], "begun", "9 times"),
        ([9.0, 8.0], "learning", "8 times as far from held-out songs as the training songs are, 9 before"),
        ([9.0, 12.0, 8.0], "learning", "8 times as far from held-out songs as the training songs are, 9 before"),
        ([9.0, None, 8.0], "learning", "9 before"),
        ([9.0, 8.9], "wavering", "2 more evaluations"),
        ([9.0, 6.0, 7.0, 7.5], "wavering", "6 before; 1 more"),
        ([9.0, 6.0, 7.0, 7.5, 6.1], "stuck", "hardly better than 6 for 3 evaluations; best.pt is the better one"),
        ([9.0, 6.0, 7.0, 7.5, 6.1, 6.2], "stuck", "for 4 evaluations"),
        ([9.0, 6.0, 7.0, 7.5, 6.1, 5.0], "learning", "6 before"),
        ([9.0, 5.0, 1.2], "close", "1.2 times as far"),
        ([1.2], "close", "listen"),
        ([1.1, 1.25], "close", "listen"),
        ([None], "unknown", "could not be measured"),
        ([5.0, None], "unknown", "could not be measured"),
    ],
)
def test_words_of_distances(shares: Sequence[float | None], word: str, says: str) -> None:
    said = after(*shares)
    assert said.split(":")[0] == word
    assert says in said
    assert "\n" not in said


def test_small_steps_ahead_are_progress_once_they_add_up() -> None:
    words = [after(*[9 * 0.98**n for n in range(count)]).split(":")[0] for count in range(1, 8)]
    assert words == ["begun", "wavering", "learning", "wavering", "learning", "wavering", "learning"]


def test_best_pt_is_not_praised_where_the_last_is_the_best() -> None:
    said = after(9.0, 9.1, 9.2, 8.9)
    assert said.startswith("stuck")
    assert "best.pt" not in said


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        (at(1.0, copies=0.3), "memorising"),
        (at(1.0, copies=0.3, diversity=0.1, empty=0.9), "memorising"),
        (at(1.0, copies=0.3, floor_copies=0.2), "close"),  # the songs share much with each other
        (at(1.0, copies=0.7, floor_copies=0.2), "memorising"),
        (at(1.0, copies=0.3, floor_copies=None), "memorising"),
        (at(1.0, copies=0.05), "close"),
        (at(5.0, empty=0.6), "silent"),
        (at(None, empty=1.0, diversity=0.0), "silent"),
        (at(5.0, empty=0.4, diversity=0.3), "collapsed"),
        (at(None, diversity=0.3), "collapsed"),
        (at(5.0, copies=None, diversity=None, empty=None), "begun"),
        ({}, "unknown"),
    ],
)
def test_words_of_what_is_wrong_come_first(figures: Metrics, word: str) -> None:
    said = verdict([figures])
    assert said.split(":")[0] == word
    assert "\n" not in said


def test_advice_names_what_to_try() -> None:
    assert "30% of the samples" in verdict([at(2.0, copies=0.3)])
    assert "augment.transpose_keys" in verdict([at(2.0, copies=0.3)])
    assert "no_silence" in verdict([at(2.0, empty=0.9)])
    assert "adversarial.learning_rate" in verdict([at(2.0, diversity=0.2)])


def test_settings_of_the_advice_exist() -> None:
    from musigan.checkpoints.settings import configure

    changed = configure(
        "small",
        {"augment": {"transpose_keys": 5}, "adversarial": {"learning_rate": 1e-5}, "loss_weights": {"no_silence": 0.2}},
    )
    assert changed.augment.transpose_keys == 5
    assert configure("medium", {}).preset == "medium"


@pytest.mark.parametrize(
    ("figures", "word", "says"),
    [
        (at(9.0), "far", "9 times as far from held-out songs"),
        (at(1.2), "close", "1.2 times"),
        (at(9.0, copies=0.3), "memorising", "30%"),
        (at(None), "unknown", "could not be measured"),
    ],
)
def test_samples_by_themselves_have_a_verdict_too(figures: Metrics, word: str, says: str) -> None:
    said = verdict_once(figures)
    assert said.split(":")[0] == word
    assert says in said
