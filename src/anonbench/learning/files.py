"""Files of a training that are whole or not there: weights and checkpoints."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from anonbench.errors import AnonbenchError
from anonbench.files import atomic, remedy, write_bytes


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
    """Return the checkpoint of the training that ``key`` identifies; None when there is none, or one of another.

    Raises AnonbenchError for a file that cannot be read.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        advice = remedy(error, "delete it")
        raise AnonbenchError(f"is not a readable checkpoint ({error})", file=path, remedy=advice) from error
    if state.get("key") != key:
        print(f"{path}: belongs to another training and is not used", file=sys.stderr)
        return None
    print(f"{path}: continuing after iteration {state['iteration']}", file=sys.stderr)
    return state


def key_of(*parts: Any) -> str:
    """Return what must agree for a checkpoint to be continued: a hash of the parts (JSON), torch and its threads."""
    everything = [*parts, torch.get_num_threads(), torch.__version__]
    return hashlib.sha256(json.dumps(everything).encode()).hexdigest()
