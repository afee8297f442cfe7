"""Items in order through threads and batches; queues are bounded."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(
    pool: Executor, function: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[R]:
    """Yield results in order; a pool computes at most `ahead` of them in advance."""
    waiting = iter(items)
    futures = deque(pool.submit(function, item) for item in itertools.islice(waiting, ahead))
    try:
        while futures:
            result = futures.popleft().result()
            futures.extend(pool.submit(function, item) for item in itertools.islice(waiting, 1))
            yield result
    finally:
        for future in futures:
            future.cancel()


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items; the last list may be shorter."""
    waiting = iter(items)
    while batch := list(itertools.islice(waiting, size)):
        yield batch


def ahead_of(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield the items; each is yielded after up to `count` more items have been taken."""
    waiting = iter(items)
    taken = deque(itertools.islice(waiting, count))
    for item in waiting:
        taken.append(item)
        yield taken.popleft()
    yield from taken
