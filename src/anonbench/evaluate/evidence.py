"""The file ``evidence.npz``: what it takes to compute each task's first metric again under resampling.

For the k-th part of a task it holds ``<task>/<k>/<field>`` with the fields of the part's evidence; beside them
``<task>/parts`` (their names), ``<task>/groups`` (G; the ids of what is drawn) and ``<task>/sampled`` (what that is:
``image``, ``video`` or ``person``). Where it has been computed again already, ``draw`` says on which draw of the
groups, and ``<task>/replicates`` (K, B) holds the first metric of each part on each resample, NaN where nothing was
left to judge. ``metric`` is there where a study has another one than the tasks' own for the first (`tasks.led`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anonbench.arrays import reading, write_arrays
from anonbench.statistics.resampling import Draw
from anonbench.tasks import base as tasks
from anonbench.tasks.base import Evidence, Outcome

FILE = "evidence.npz"


@dataclass(frozen=True)
class TaskEvidence:
    """The evidence of one task: ``groups`` (G) are drawn, each a ``sampled``; ``parts`` and ``replicates`` by name."""

    sampled: str
    groups: np.ndarray
    parts: dict[str, Evidence]
    replicates: dict[str, np.ndarray]


def write(
    path: str | Path, outcomes: Mapping[str, Outcome], draw: Draw | None = None, metric: str | None = None
) -> None:
    """Write the evidence of the tasks, by name, atomically and with the same bytes for the same contents.

    With a ``draw``, the first metric of every part, ``metric`` where a task can have that for the first, is computed on
    its resamples, and written with the evidence.
    """
    arrays: dict[str, np.ndarray] = {} if draw is None else {"draw": np.asarray(str(draw), dtype=np.str_)}
    if draw is not None and metric is not None:
        arrays["metric"] = np.asarray(metric, dtype=np.str_)
    for task, outcome in outcomes.items():
        parts = {name: part.evidence for name, part in outcome.parts.items() if part.evidence is not None}
        arrays[f"{task}/groups"] = outcome.groups
        arrays[f"{task}/sampled"] = np.asarray(outcome.sampled, dtype=np.str_)
        arrays[f"{task}/parts"] = np.asarray(list(parts), dtype=np.str_)
        for k, evidence in enumerate(parts.values()):
            arrays |= {f"{task}/{k}/{field}": np.asarray(values) for field, values in evidence.items()}
        if draw is not None:
            arrays[f"{task}/replicates"] = _replicates(task, metric, parts, draw.weights(len(outcome.groups)))
    write_arrays(path, arrays)


def _replicates(task: str, metric: str | None, parts: Mapping[str, Evidence], weights: np.ndarray) -> np.ndarray:
    """Return float64 (K, B)."""
    found = [tasks.led(task, metric).score(evidence, weights) for evidence in parts.values()]
    return np.stack(found) if found else np.empty((0, len(weights)))


def read(path: str | Path, draw: Draw | None = None, metric: str | None = None) -> dict[str, TaskEvidence]:
    """Return the evidence by task; raise AnonbenchError when the file is missing, damaged or of another version.

    With a ``draw``, ``replicates`` are those on its resamples, of the first metric or of ``metric`` (see `write`): as
    they were written, or computed here if the file has them of another draw or metric, or of none. Without, there are
    none.
    """
    with reading(path, "evaluate again", "run the evaluate stage first") as arrays:
        written = draw is not None and str(arrays.get("draw")) == str(draw)
        of = str(arrays["metric"]) if "metric" in arrays else None
        found = {}
        for task in (name for name, field in map(os.path.split, arrays) if field == "groups" and "/" not in name):
            names = [str(name) for name in arrays[f"{task}/parts"]]
            prefixes = {name: f"{task}/{k}/" for k, name in enumerate(names)}
            parts: dict[str, Evidence] = {
                name: {key.removeprefix(prefix): values for key, values in arrays.items() if key.startswith(prefix)}
                for name, prefix in prefixes.items()
            }
            sampled, groups = str(arrays[f"{task}/sampled"]), arrays[f"{task}/groups"]
            replicates = {}
            if draw is not None:
                drawn = (
                    arrays[f"{task}/replicates"]
                    if written and tasks.led(task, of) is tasks.led(task, metric)
                    else _replicates(task, metric, parts, draw.weights(len(groups)))
                )
                if drawn.shape != (len(names), draw.resamples) or drawn.dtype != np.float64 or np.isinf(drawn).any():
                    raise ValueError(f"{task}/replicates are {drawn.dtype} {drawn.shape} of {len(names)} parts")
                replicates = dict(zip(names, drawn, strict=True))
            found[task] = TaskEvidence(sampled, groups, parts, replicates)
        return found
