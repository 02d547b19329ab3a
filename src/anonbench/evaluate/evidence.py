"""The file ``evidence.npz``: what it takes to compute each task's first metric again under resampling.

For the k-th part of a task it holds ``<task>/<k>/<field>`` with the fields of the part's evidence; beside them
``<task>/parts`` (their names), ``<task>/groups`` (G; the ids of what is drawn) and ``<task>/sampled`` (what that is:
``image``, ``video`` or ``person``).
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anonbench.errors import AnonbenchError
from anonbench.files import atomic
from anonbench.tasks.base import Evidence, Outcome

FILE = "evidence.npz"
_DAMAGED = (
    OSError, EOFError, LookupError, TypeError, ValueError, ArithmeticError, MemoryError, NotImplementedError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What NumPy and zipfile raise for an archive that was cut short, edited, or is none."""


@dataclass(frozen=True)
class TaskEvidence:
    """The evidence of one task: ``groups`` (G) are drawn, each a ``sampled``; ``parts`` by name."""

    sampled: str
    groups: np.ndarray
    parts: dict[str, Evidence]


def write(path: str | Path, outcomes: Mapping[str, Outcome]) -> None:
    """Write the evidence of the tasks, by name, atomically and with the same bytes for the same contents."""
    arrays: dict[str, np.ndarray] = {}
    for task, outcome in outcomes.items():
        parts = {name: part.evidence for name, part in outcome.parts.items() if part.evidence is not None}
        arrays[f"{task}/groups"] = outcome.groups
        arrays[f"{task}/sampled"] = np.asarray(outcome.sampled, dtype=np.str_)
        arrays[f"{task}/parts"] = np.asarray(list(parts), dtype=np.str_)
        for k, evidence in enumerate(parts.values()):
            arrays |= {f"{task}/{k}/{field}": np.asarray(values) for field, values in evidence.items()}
    # numpy's own `savez` leaves bytes that depend on the release of Python (headers) and of zlib (compression)
    with atomic(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as file:
        for name, values in arrays.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, np.asanyarray(values), allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), stream.getvalue())


def read(path: str | Path) -> dict[str, TaskEvidence]:
    """Return the evidence by task; raise AnonbenchError when the file is missing, damaged or of another version."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        found = {}
        for task in (name for name, field in map(os.path.split, arrays) if field == "groups" and "/" not in name):
            names = [str(name) for name in arrays[f"{task}/parts"]]
            prefixes = {name: f"{task}/{k}/" for k, name in enumerate(names)}
            parts: dict[str, Evidence] = {
                name: {key.removeprefix(prefix): values for key, values in arrays.items() if key.startswith(prefix)}
                for name, prefix in prefixes.items()
            }
            found[task] = TaskEvidence(str(arrays[f"{task}/sampled"]), arrays[f"{task}/groups"], parts)
        return found
    except FileNotFoundError:
        raise AnonbenchError("no such file", file=path, remedy="run the evaluate stage first") from None
    except _DAMAGED as error:
        raise AnonbenchError(f"cannot be read ({error})", file=path, remedy="delete it and evaluate again") from None
