"""Ranks that are threads of one process: what they do together, without the seconds that processes take to start."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

import torch
from torch import Tensor

from musigan.machine.ranks import Ranks

T = TypeVar("T")
Result = TypeVar("Result")


class Meeting:
    """Where threads give a value each and take those of all, in order."""

    def __init__(self, size: int) -> None:
        self._given: list[object] = [None] * size
        self._barrier = threading.Barrier(size, timeout=600)

    def exchange(self, number: int, value: T) -> list[T]:
        self._given[number] = value
        self._barrier.wait()
        values = list(self._given)
        self._barrier.wait()
        return cast(list[T], values)

    def leave(self) -> None:
        """Have the others fail that wait for this one."""
        self._barrier.abort()


class ThreadRanks(Ranks):
    """A rank that meets the others in memory."""

    def __init__(self, number: int, size: int, meeting: Meeting) -> None:
        super().__init__(number, size, number)
        self.meeting = meeting
        self.reductions: list[int] = []  # how many numbers each sum was over

    def of_first(self, value: T) -> T:
        return self.meeting.exchange(self.number, value)[0]

    def _reduce(self, values: Tensor, operation: str = "SUM") -> None:
        every = torch.stack(self.meeting.exchange(self.number, values.clone()))
        values.copy_(every.sum(0) if operation == "SUM" else every.amax(0))
        self.reductions.append(values.numel())

    def _spread(self, values: Tensor) -> None:
        values.copy_(self.meeting.exchange(self.number, values.clone())[0])


def together(size: int, act: Callable[[Ranks], Result]) -> list[Result]:
    """What `act` returns at each of so many ranks that run at once."""
    meeting = Meeting(size)

    def safely(number: int) -> Result:
        try:
            return act(ThreadRanks(number, size, meeting))
        except BaseException:
            meeting.leave()
            raise

    with ThreadPoolExecutor(size) as threads:
        futures = [threads.submit(safely, number) for number in range(size)]
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in errors:
            if not isinstance(error, threading.BrokenBarrierError):  # that is of the others
                raise error
        return [future.result() for future in futures]
