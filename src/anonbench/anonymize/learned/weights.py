"""The file of a fitted anonymizer, as safetensors: the network's weights and what it is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from anonbench.anonymize.learned.networks import Anonymizer, Architecture
from anonbench.errors import AnonbenchError
from anonbench.learning.files import save_tensors

FORMAT = "anonbench.learned"
REMEDY = "fit it again (anonbench fit), or give the file that it wrote"


def save(path: Path, network: Anonymizer, origin: dict[str, Any]) -> None:
    """Write a fitted anonymizer and what it was fitted on; equal ones give equal bytes."""
    state = network.state_dict()
    tensors = {name: state[name].detach().cpu().contiguous().clone() for name in sorted(state)}
    told = json.dumps({"architecture": asdict(network.architecture), "origin": origin})
    save_tensors(tensors, path, {FORMAT: told})  # one key: safetensors keeps several in random order


def load(path: Path) -> tuple[Anonymizer, dict[str, Any]]:
    """Read a fitted anonymizer, ready for use, and what it was fitted on.

    Raises AnonbenchError when the file is missing, cut short, of another kind or of another architecture, or holds
    numbers that are not finite.
    """
    if not path.is_file():
        raise AnonbenchError("no such file", file=path, remedy="run anonbench fit first")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise AnonbenchError(f"cannot be read as safetensors ({error})", file=path, remedy=REMEDY) from None
    try:
        told = json.loads(metadata[FORMAT])
        fields, origin = told["architecture"], dict(told["origin"])
        network = Anonymizer(Architecture(**{**fields, "widths": tuple(fields["widths"])}))
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise AnonbenchError(
            f"does not hold an anonymizer of this version ({type(error).__name__}: {error})", file=path, remedy=REMEDY
        ) from None
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    wrong = [name for name in wanted.keys() | tensors.keys() if name not in tensors or name not in wanted]
    wrong += [name for name in wanted.keys() & tensors.keys() if tensors[name].shape != wanted[name]]
    if wrong:
        raise AnonbenchError(
            f"holds another architecture than it says: {len(wrong)} tensors differ, first '{min(wrong)}'",
            file=path,
            remedy=REMEDY,
        )
    bad = sorted(name for name, value in tensors.items() if not torch.isfinite(value).all())
    if bad:
        raise AnonbenchError(f"holds numbers that are not finite, first in '{bad[0]}'", file=path, remedy=REMEDY)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False), origin
