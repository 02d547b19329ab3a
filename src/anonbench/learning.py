"""What a network needs in whichever stage it is trained or used: a device, repeatability, and files that are whole."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from anonbench.errors import AnonbenchError
from anonbench.files import atomic, write_bytes


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
    """Make torch refuse operations without a reproducible result, or, unless ``wanted``, tune itself to its load."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when its first handle is made
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = not wanted


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
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark
        memory.fill_uninitialized_memory = fill


@contextlib.contextmanager
def saving(path: Path) -> Iterator[Path]:
    """Do what `files.atomic` does, and raise AnonbenchError where torch hides that writing failed."""
    try:
        with atomic(path) as part:
            yield part
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise AnonbenchError(f"cannot be written ({reason})", file=path, remedy="free some space") from error


def save_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically; equal tensors (contiguous, on the CPU) give equal bytes.

    safetensors' own `save_file` writes under a random name beside it, which a killed process leaves there for good.

    Raises AnonbenchError when the disk is full or read-only.
    """
    write_bytes(path, save(tensors, metadata))


def read_checkpoint(path: Path, key: str, device: torch.device) -> dict[str, Any] | None:
    """Return the checkpoint of the training that ``key`` stands for; None when there is none, or one of another.

    Raises AnonbenchError for a file that cannot be read.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise AnonbenchError(f"is no checkpoint that can be read ({error})", file=path, remedy="delete it") from error
    if state.get("key") != key:
        print(f"{path}: belongs to another training and is not used", file=sys.stderr)
        return None
    print(f"{path}: continuing after iteration {state['iteration']}", file=sys.stderr)
    return state
