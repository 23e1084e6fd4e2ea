"""Work on several songs at once, with the results in order and few of them in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

In = TypeVar("In")
Out = TypeVar("Out")


def ordered_map(function: Callable[[In], Out], items: Iterable[In], jobs: int) -> Iterator[Out]:
    """Yield function(item) for each item, in order, worked out in `jobs` threads.

    At most jobs + 1 items are in flight, so memory does not grow with their number. Threads serve, because what is
    slow here (decoding, resampling, Fourier transforms) releases Python's lock. An exception of the function comes
    out in its item's place, one of `items` at once. A result that is ready waits for the next item to come in:
    `items` is only looked at between results. Linear algebra gets one thread, however many jobs there are: more would
    get in each other's way, and sums would be rounded otherwise.
    """
    if jobs <= 1:
        with threadpool_limits(1, "blas"):
            yield from map(function, items)
        return
    pool = ThreadPoolExecutor(jobs)
    waiting: deque[Future[Out]] = deque()
    try:
        with threadpool_limits(1, "blas"):
            for item in items:
                waiting.append(pool.submit(function, item))
                while len(waiting) > jobs or (waiting and waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
