"""Files of a training that are whole or not there: weights and checkpoints."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from anonbench.errors import AnonbenchError, first_line, in_one_line
from anonbench.files import atomic, check_sha256, read_json, remedy, write_bytes
from anonbench.records import FIT_RECORD, FITTED

FIT_AGAIN = "fit it again (anonbench fit), or give the file that it wrote"
"""What to do about a file of fitted weights that is no good."""


@contextlib.contextmanager
def saving(path: Path) -> Iterator[Path]:
    """Do what `files.atomic` does, and raise AnonbenchError where torch hides that writing failed."""
    try:
        with atomic(path) as part:
            yield part
    except RuntimeError as error:
        raise AnonbenchError(f"cannot be written ({first_line(error)})", file=path, remedy="free some space") from error


def save_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically; equal tensors (contiguous, on the CPU) give equal bytes.

    safetensors' own `save_file` writes under a random name beside it, which a killed process leaves there for good.

    Raises AnonbenchError when the disk is full or read-only.
    """
    write_bytes(path, save(tensors, metadata))


def save_fitted(state: dict[str, torch.Tensor], path: Path, form: str, told: str) -> None:
    """Write what was fitted, and what is told of it (JSON) under the name of its form; equal ones give equal bytes."""
    tensors = {name: state[name].detach().cpu().contiguous().clone() for name in sorted(state)}
    save_tensors(tensors, path, {form: told})  # one key: safetensors keeps several in random order


def read_fitted(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Return the metadata and the tensors of a file that `save_fitted` wrote, unchecked but by its record.

    Raises AnonbenchError when it is missing, cut short or no safetensors file (a pickle is never opened as one), and
    when the record of `anonbench fit`, if it stands beside the file, tells of another one.
    """
    if not path.is_file():
        raise AnonbenchError("no such file", file=path, remedy="run anonbench fit first")
    if path.name == FITTED and (record := path.with_name(FIT_RECORD)).is_file():
        told = read_json(record)
        if isinstance(told, dict) and "weights_sha256" in told:
            check_sha256(path, told["weights_sha256"], FIT_RECORD, FIT_AGAIN)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise AnonbenchError(
            f"cannot be read as safetensors ({first_line(error)})", file=path, remedy=FIT_AGAIN
        ) from None
    return metadata, tensors


def check_finite(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Raise AnonbenchError when a tensor of a file holds a number that is not finite."""
    bad = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if bad:
        raise AnonbenchError(f"holds numbers that are not finite, first in '{bad[0]}'", file=path, remedy=FIT_AGAIN)


def read_checkpoint(path: Path, key: str, device: torch.device) -> dict[str, Any] | None:
    """Return the checkpoint of the training that ``key`` identifies; None when there is none, or one of another.

    Raises AnonbenchError for a file that cannot be read, or whose checksums, which torch does not look at, are wrong.
    """
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as parts:
            damaged = parts.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(state, dict) or (state.get("key") == key and "iteration" not in state):
            raise ValueError("it holds something else")
    except MemoryError:
        raise
    except Exception as error:  # torch and zipfile raise whatever damaged bytes lead them to
        advice = remedy(error, "delete it")
        raise AnonbenchError(
            f"is not a readable checkpoint ({in_one_line(error)})", file=path, remedy=advice
        ) from error
    if state.get("key") != key:
        print(f"{path}: belongs to another training and is not used", file=sys.stderr)
        return None
    print(f"{path}: continuing after iteration {state['iteration']}", file=sys.stderr)
    return state


def key_of(*parts: Any) -> str:
    """Return what must agree for a checkpoint to be continued: a hash of the parts (JSON), torch and its threads."""
    everything = [*parts, torch.get_num_threads(), torch.__version__]
    return hashlib.sha256(json.dumps(everything).encode()).hexdigest()
