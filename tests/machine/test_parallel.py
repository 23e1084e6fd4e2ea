"""ordered_map: order, few in flight, errors in their places, no hang."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from musigan.machine.parallel import ordered_map


@pytest.mark.parametrize("jobs", [0, 1, 2, 5])
def test_results_come_in_order(jobs: int) -> None:
    waits = random.Random(3)

    def work(number: int) -> int:
        time.sleep(waits.random() * 0.01)
        return number * number

    assert list(ordered_map(work, range(40), jobs)) == [n * n for n in range(40)]
    assert list(ordered_map(work, [], jobs)) == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_few_are_in_flight(jobs: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(30):
            taken = number + 1
            yield number

    ahead = []
    for done, _ in enumerate(ordered_map(lambda n: n, items(), jobs), 1):
        ahead.append(taken - done)
        time.sleep(0.002)
    assert max(ahead) <= jobs


def test_it_runs_several_at_once() -> None:
    together = threading.Barrier(3, timeout=10)
    assert list(ordered_map(lambda n: together.wait() >= 0, range(6), 3)) == [True] * 6


def test_an_exception_comes_in_its_place() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise KeyError(number)
        time.sleep(0.005 * (5 - number))
        return number

    got = []
    with pytest.raises(KeyError):  # noqa: PT012
        for result in ordered_map(work, range(5), 4):
            got.append(result)
    assert got == [0, 1, 2]


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_exception_of_the_input_comes_out(jobs: int) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError

    with pytest.raises(LookupError):
        list(ordered_map(lambda n: n, items(), jobs))


def test_closed_early_it_does_not_wait_for_what_is_left() -> None:
    release = threading.Event()
    results = ordered_map(lambda n: n or release.wait(10), iter([1, 0, 0, 0, 0, 0]), 2)
    assert next(results) == 1
    begin = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - begin < 1
    release.set()


def test_a_result_that_is_ready_comes_before_more_input_than_can_be_in_flight() -> None:
    """The promise is no more than this: of jobs + 1 items in flight, the first to be done comes out first."""
    stalled = threading.Event()

    def items() -> Iterator[int]:
        yield from range(3)
        stalled.set()
        raise AssertionError("asked for a fourth item before a result was taken")

    assert next(ordered_map(lambda n: n, items(), 2)) == 0
    assert not stalled.is_set()
