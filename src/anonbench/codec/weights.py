"""The file of a fitted codec: its networks and its integer tables, as safetensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from anonbench.codec.networks import Architecture, Codec
from anonbench.codec.tables import Tables
from anonbench.errors import AnonbenchError, in_one_line
from anonbench.learning.files import FIT_AGAIN, check_finite, read_fitted, save_fitted

FORMAT = "anonbench.codec"
PARTS = ("first", "sizes", "counts")
MOST_STEPS = 32


def save(path: Path, codec: Codec, tables: Sequence[Tables], origin: dict[str, Any]) -> None:
    """Write a codec, the tables of its steps, and what it was fitted on; equal ones give equal bytes."""
    found = {f"codec.{name}": value for name, value in codec.state_dict().items()}
    for number, one in enumerate(tables):
        found |= {f"tables.{number}.{part}": torch.from_numpy(getattr(one, part)) for part in PARTS}
    told = {
        "architecture": asdict(codec.architecture),
        "steps": [one.step for one in tables],
        "origin": origin,
    }
    save_fitted(found, path, FORMAT, json.dumps(told))


def load(path: Path) -> tuple[Codec, list[Tables], dict[str, Any]]:
    """Read a fitted codec: networks, tables, and what it was fitted on.

    Raises AnonbenchError when the file is missing, cut short, of another kind or of another architecture, or holds
    numbers that are not finite or tables that no coder can use.
    """
    metadata, tensors = read_fitted(path)
    try:
        told = json.loads(metadata[FORMAT])
        architecture, origin = Architecture(**told["architecture"]), dict(told["origin"])
        steps = [float(step) for step in told["steps"]]
        if not 1 <= len(steps) <= MOST_STEPS:
            raise ValueError(f"{len(steps)} steps")
        codec = _networks(architecture, tensors)
        tables = [_tables(number, step, tensors, architecture.channels) for number, step in enumerate(steps)]
        known = len(codec.state_dict()) + len(PARTS) * len(steps)
        if known != len(tensors):
            raise ValueError(f"{len(tensors) - known} tensors that belong to nothing")
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise AnonbenchError(
            f"does not hold a codec of this version ({in_one_line(error, typed=True)})", file=path, remedy=FIT_AGAIN
        ) from None
    check_finite(tensors, path)
    return codec, tables, origin


def _networks(architecture: Architecture, tensors: dict[str, torch.Tensor]) -> Codec:
    """Return the networks with their weights; nothing is allocated that the file does not hold."""
    with torch.device("meta"):
        codec = Codec(architecture)
    own = {name.removeprefix("codec."): value for name, value in tensors.items() if name.startswith("codec.")}
    for name, wanted in codec.state_dict().items():
        if name not in own or own[name].shape != wanted.shape or own[name].dtype != wanted.dtype:
            raise ValueError(f"another architecture than it says, first in '{name}'")
    codec.load_state_dict(own, assign=True)
    return codec.eval().requires_grad_(False)


def _tables(number: int, step: float, tensors: dict[str, torch.Tensor], channels: int) -> Tables:
    found = [tensors[f"tables.{number}.{part}"] for part in PARTS]
    if any(one.dtype != torch.int32 for one in found):
        raise ValueError("tables that are not int32")
    tables = Tables(step, *(one.numpy() for one in found))
    tables.check(channels)
    return tables
