"""The device that the networks run on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch

from anonbench.errors import AnonbenchError


def choose_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu`` or ``cuda``; raise AnonbenchError when there is no such device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise AnonbenchError("no CUDA device is available", entry="--device cuda", remedy="use --device cpu or auto")
    if name not in ("cpu", "cuda"):
        raise AnonbenchError("unknown device", entry=f"--device {name}", remedy="use auto, cpu or cuda")
    return torch.device(name)


def always_repeatable() -> None:
    """Make torch refuse operations whose result cannot be repeated, from now on, and tune nothing to its load."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when its first handle is made
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """Make torch refuse operations whose result cannot be repeated, and restore its settings afterwards."""
    memory: Any = torch.utils.deterministic
    before, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    fill = memory.fill_uninitialized_memory
    always_repeatable()
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark, memory.fill_uninitialized_memory = benchmark, fill


@contextlib.contextmanager
def flushing() -> Iterator[None]:
    """Let a CPU take numbers next to nothing for zero, which they would otherwise spend a third of the time on."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
