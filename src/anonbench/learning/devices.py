"""Where a network is trained or used, and how repeatable that is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch

from anonbench import portable
from anonbench.errors import AnonbenchError
from anonbench.resources import keep_memory


def choose_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu`` or ``cuda``; raise AnonbenchError when there is no such device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise AnonbenchError("no CUDA device is available", entry="--device cuda", remedy="use --device cpu or auto")
    if name not in ("cpu", "cuda"):
        raise AnonbenchError("unknown device", entry=f"--device {name}", remedy="use auto, cpu or cuda")
    return torch.device(name)


def set_deterministic(wanted: bool = True) -> None:
    """Make torch refuse operations without a reproducible result, or, unless ``wanted``, take the faster ones.

    cuDNN never tries all its kernels first: detectors give their heads another number of regions in every step, and
    each number would be tried anew, which took more than half of a step (docs/measurements/gpu.md).
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when its first handle is made
    _insist(wanted)
    torch.backends.cudnn.benchmark = False


def _insist(wanted: bool) -> None:
    """Set whether torch refuses operations without a reproducible result."""
    if torch.cuda.is_available():
        torch.use_deterministic_algorithms(wanted)
    else:  # the same, without importing the compiler, which takes a second and only GPUs use
        torch.set_deterministic_debug_mode("error" if wanted else "default")


@contextlib.contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """Do what `set_deterministic` does, and restore torch's settings afterwards."""
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled()
    benchmark, fill = torch.backends.cudnn.benchmark, memory.fill_uninitialized_memory
    set_deterministic(wanted)
    # only guards against reads of uninitialised memory, at the price of a write per allocation
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        _insist(before)
        torch.backends.cudnn.benchmark = benchmark
        memory.fill_uninitialized_memory = fill


def hold(level: str, threads: int, entry: str = "determinism: portable") -> None:
    """Hold this process to a level of determinism (see `portable.level`) and a number of threads; it keeps its memory.

    Raises AnonbenchError when the level is `portable` and this processor or process cannot be; ``entry`` asked for it.
    """
    if level == "portable":
        portable.require(entry)
    torch.set_num_threads(threads)
    keep_memory()


def held(level: str) -> dict[str, Any]:
    """Return what a record says of a level."""
    return {"determinism": level, **({"portable": portable.TORCH} if level == "portable" else {})}
