"""Threads that take one piece of work after the other, for work in libraries that release Python's lock."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

import cv2
from tqdm import tqdm

SWITCH = 0.0005
"""Seconds that a thread may keep the interpreter while another, back from a codec, waits for it; Python's 5 ms are as
long as a whole image."""

PROGRESS = 0.25
"""Seconds between two looks at how far the threads are."""

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def run(
    do: Callable[[Piece], object], pieces: Iterable[Piece], threads: int, bar: tqdm, done: Callable[[], int]
) -> None:
    """Call ``do`` with each of ``pieces``, on threads, in any order; ``bar`` shows ``done()``, how far the work is.

    No more pieces are taken than are worked on, and OpenCV starts no threads of its own. The first error stops all.
    """
    waiting = iter(list(pieces))
    stopped = threading.Event()

    def work() -> None:
        try:
            for piece in waiting:  # next() of a list's iterator is atomic
                if stopped.is_set():
                    return
                do(piece)
        except BaseException:
            stopped.set()
            raise

    with _pool(threads) as pool:
        try:
            workers = [pool.submit(work) for _ in range(threads)]
            with bar:
                pending = set(workers)
                while pending:  # woken rarely: this thread would compete with the workers for the interpreter
                    pending = wait(pending, PROGRESS, FIRST_EXCEPTION).not_done
                    bar.update(done() - bar.n)
            for worker in workers:
                worker.result()
        finally:
            stopped.set()


def stream(do: Callable[[Piece], Result], pieces: Iterable[Piece], threads: int) -> Iterator[Result]:
    """Yield what ``do`` makes of each of ``pieces``, on threads, in their order.

    Pieces are taken as they are needed, two per thread at most in advance, so that a long video is never in memory.
    """
    with _pool(threads) as pool:
        ahead: deque[Future[Result]] = deque()
        for piece in pieces:
            ahead.append(pool.submit(do, piece))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


@contextlib.contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield threads; as long as they work OpenCV starts none of its own."""
    threads_before, interval = cv2.getNumThreads(), sys.getswitchinterval()
    cv2.setNumThreads(1)
    sys.setswitchinterval(SWITCH)
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(threads_before)
        sys.setswitchinterval(interval)
