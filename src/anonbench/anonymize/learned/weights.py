"""The file of a fitted anonymizer, as safetensors: the network's weights and what it is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anonbench.anonymize.learned.networks import Anonymizer, Architecture
from anonbench.errors import AnonbenchError, in_one_line
from anonbench.learning.files import FIT_AGAIN, check_finite, read_fitted, save_fitted

FORMAT = "anonbench.learned"


def save(path: Path, network: Anonymizer, origin: dict[str, Any]) -> None:
    """Write a fitted anonymizer and what it was fitted on; equal ones give equal bytes."""
    told = json.dumps({"architecture": asdict(network.architecture), "origin": origin})
    save_fitted(network.state_dict(), path, FORMAT, told)


def load(path: Path) -> tuple[Anonymizer, dict[str, Any]]:
    """Read a fitted anonymizer, ready for use, and what it was fitted on.

    Raises AnonbenchError when the file is missing, cut short, of another kind or of another architecture, or holds
    numbers that are not finite.
    """
    metadata, tensors = read_fitted(path)
    try:
        told = json.loads(metadata[FORMAT])
        fields, origin = told["architecture"], dict(told["origin"])
        network = Anonymizer(Architecture(**{**fields, "widths": tuple(fields["widths"])}))
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise AnonbenchError(
            f"does not hold an anonymizer of this version ({in_one_line(error, typed=True)})",
            file=path,
            remedy=FIT_AGAIN,
        ) from None
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    wrong = [name for name in wanted.keys() | tensors.keys() if name not in tensors or name not in wanted]
    wrong += [name for name in wanted.keys() & tensors.keys() if tensors[name].shape != wanted[name]]
    if wrong:
        raise AnonbenchError(
            f"holds another architecture than it says: {len(wrong)} tensors differ, first '{min(wrong)}'",
            file=path,
            remedy=FIT_AGAIN,
        )
    check_finite(tensors, path)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False), origin
