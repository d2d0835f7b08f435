"""Work that is a sum over sources, in chunks over threads: interruptible, and the same bits on any number of threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
#: Told after each chunk the share that is done. What it raises ends the work.
Progress = Callable[[float], None]


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(
    count: int,
    chunk: int,
    work: Callable[[int, int], Part],
    merge: Callable[[Part], None],
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Call work(first, last) for every chunk of range(count), and merge the parts in order, in the calling thread.

    Ctrl-C, or an exception from `work`, `merge` or `progress`, ends it after the chunks that are under way.
    """
    lanes = min(threads or processors(), max(1, -(-count // chunk)))
    starts = iter(range(0, count, chunk))
    with ThreadPoolExecutor(lanes, thread_name_prefix="metrics") as pool:
        waiting: deque[tuple[int, Future[Part]]] = deque()

        def submit() -> None:
            for first in starts:
                last = min(first + chunk, count)
                waiting.append((last, pool.submit(work, first, last)))
                return

        try:
            for _ in range(lanes + 1):
                submit()
            while waiting:
                last, future = waiting.popleft()
                merge(future.result())
                submit()
                if progress is not None:
                    progress(last / count)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
