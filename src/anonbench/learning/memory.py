"""What to say when memory runs out: the largest batch that fits."""

from __future__ import annotations

from collections.abc import Callable

import torch

from anonbench.errors import AnonbenchError

FAILURES = (RuntimeError, MemoryError)
"""What says, among other things, that memory has run out: PyTorch by the one, NumPy and SciPy by the other."""


def exhausted(error: Exception) -> bool:
    """Tell whether an allocator, a GPU's or the processor's, had no more memory to give; ``error`` is of `FAILURES`."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def suffices(step: Callable[[], object], device: torch.device) -> bool:
    """Tell whether a step has the memory that it needs; the step is taken."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        step()
    except FAILURES as error:
        if not exhausted(error):
            raise
        return False
    return True


def largest(count: int, fits: Callable[[int], bool], least: int = 1) -> int:
    """Return how many samples fit where ``count`` were too many: half, a quarter, ..., ``least``; 0 if not so many."""
    tried = [half for n in range(1, count.bit_length()) if (half := count >> n) > least]
    return next(filter(fits, [*tried, least] if least < count else []), 0)


def advice(
    what: str,
    iteration: int,
    device: torch.device,
    fits: int | None,
    *,
    entry: str,
    remedy: str,
    instead: str,
    least: int = 1,
) -> AnonbenchError:
    """Return the error of an iteration (0-based) whose batch, ``what`` ("8 images"), was too large.

    ``fits`` samples were tried and fit (None: nothing was tried). ``remedy`` says which batch to set, if any is worth
    it, and ``instead`` what else helps.
    """
    memory = "the GPU's memory" if device.type == "cuda" else "the memory"
    said = ""
    if fits is not None:
        said = f"; {'' if fits else 'not even '}{fits or least} {'fit' if (fits or least) > 1 else 'fits'}"
    return AnonbenchError(
        f"{memory} is not enough for {what} at a time (iteration {iteration + 1}){said}",
        entry=entry,
        remedy=f"{remedy}, or {instead}" if remedy else instead,
    )
