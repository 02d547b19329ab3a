"""Batches made ahead of the step that takes them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Made = TypeVar("Made")


def ahead(get: Callable[[int], Made], first: int, last: int, threads: int) -> Generator[Made, None, None]:
    """Yield ``get(first)`` ... ``get(last - 1)`` in order, made ahead in ``threads`` threads (0: in this one)."""
    if threads == 0:
        yield from (get(i) for i in range(first, last))
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: list[Future[Made]] = []
        try:
            for i in range(first, last + 2 * threads):
                if i < last:
                    waiting.append(pool.submit(get, i))
                if i >= first + 2 * threads:
                    yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def decoders(device: torch.device) -> int:
    """Return how many threads decode ahead; the number changes no result."""
    threads = torch.get_num_threads()
    if device.type == "cuda":
        return max(2, min(threads, 8))
    return 0 if threads == 1 else 2
