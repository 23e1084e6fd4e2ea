"""Parallel work on several songs, with the results in order and few of them in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

In = TypeVar("In")
Out = TypeVar("Out")


def ordered_map(function: Callable[[In], Out], items: Iterable[In], jobs: int) -> Iterator[Out]:
    """Yield function(item) for each item, in order, computed in `jobs` threads.

    At most jobs + 1 items are in flight, so memory does not grow with their number. Threads are enough, because the
    slow work here (decoding, resampling, Fourier transforms) releases Python's lock. An exception of the function is
    raised in its item's place, one of `items` at once. A result that is ready waits until the next item arrives:
    `items` is read only between results. Linear algebra gets one thread, for any number of jobs: more threads would
    compete for the cores, and sums would be rounded differently.
    """
    if jobs <= 1:
        with threadpool_limits(1, "blas"):
            yield from map(function, items)
        return
    pool = ThreadPoolExecutor(jobs)
    futures: deque[Future[Out]] = deque()
    try:
        with threadpool_limits(1, "blas"):
            for item in items:
                futures.append(pool.submit(function, item))
                while len(futures) > jobs or (futures and futures[0].done()):
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
