"""The work of the stage: every task of a model, scored against the truth."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anonbench import manifests
from anonbench.errors import AnonbenchError
from anonbench.evaluate import evidence
from anonbench.evaluate.code import evaluation_code
from anonbench.evaluate.inputs import Predictions, read_predictions
from anonbench.files import sha256_file, write_json
from anonbench.statistics.resampling import Draw
from anonbench.tasks.base import ALL, UNTOUCHED, Measures, Outcome
from anonbench.tasks.engines import VECTORIZED, Engine
from anonbench.tasks.truth import Truth, counts_in, has_box_mask, read_annotations

FORMAT = 2
"""Version of ``metrics.json``."""


def evaluate_files(
    predictions: str | Path,
    annotations: str | Path,
    out: str | Path,
    engine: Engine = VECTORIZED,
    draw: Draw | None = None,
    people: str | Path | None = None,
    metric: str | None = None,
) -> dict[str, Any]:
    """Evaluate one model and write ``metrics.json`` and ``evidence.npz`` into ``out``; return the metrics.

    ``people``, the split's table of people, says which images show the same person: they are drawn together. With a
    ``draw``, the first metric of every part is computed on its resamples, too, and kept with the evidence; ``metric``
    takes its place in tasks that can have it for the first (`tasks.led`).
    Raises AnonbenchError when a file is missing, damaged, or of another data set.
    """
    with _no_garbage_collection():
        truth = read_annotations(annotations)
        manifests.check_labels(annotations)
        if people is not None:
            truth = truth.linked(people)
        value, outcomes = evaluate(truth, read_predictions(predictions, truth), engine)
    value["files"] = {"predictions": sha256_file(predictions), "annotations": sha256_file(annotations)}
    if people is not None:
        value["files"]["people"] = sha256_file(people)
    out = Path(out)
    (out / "metrics.json").unlink(missing_ok=True)  # written last, it tells of the evidence beside it
    evidence.write(out / evidence.FILE, outcomes, draw, metric)
    value["files"]["evidence"] = sha256_file(out / evidence.FILE)
    write_json(out / "metrics.json", value)
    return value


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Look for no garbage: of millions of objects that are read none is, and looking takes as long as reading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def evaluate(
    truth: Truth, predictions: Predictions, engine: Engine = VECTORIZED
) -> tuple[dict[str, Any], dict[str, Outcome]]:
    """Return the value of ``metrics.json`` and the outcomes of the tasks that could be judged.

    Raises AnonbenchError when a part has the name of a mean over parts.
    """
    outcomes: dict[str, Outcome] = {}
    skipped: dict[str, str] = {}
    predictions = predictions.by(engine)
    for name, task in predictions.tasks.items():
        outcome = task.measure(truth, predictions.entries[task.entries])
        for taken in (part for part in outcome.parts if part in (ALL, UNTOUCHED)):
            raise AnonbenchError(
                f"{name} has a part named '{taken}', which is what the report calls a mean over parts",
                file=truth.file,
                remedy="give the part (a category, for example) another name",
            )
        for part, why in outcome.skipped.items():
            skipped[f"{name}/{part}" if part else name] = why
        if "" not in outcome.skipped:
            outcomes[name] = outcome
    value: dict[str, Any] = {
        "format": FORMAT,
        "code": evaluation_code(predictions.tasks),
        "library": {"engine": engine, "pycocotools": version("pycocotools")},
        "model": predictions.model,
        "counts": _counts(truth, predictions),
        "skipped": skipped,
        "tasks": {name: _described(outcome) for name, outcome in outcomes.items()},
    }
    if subsets := truth.subsets():
        value["subsets"] = {name: _subset(name, truth, predictions, outcomes) for name in subsets}
    return value, outcomes


def _described(outcome: Outcome) -> dict[str, Any]:
    return {
        **_measures(outcome),
        "instances": {name: part.instances for name, part in outcome.parts.items()},
        "people": [name for name in outcome.parts if name in outcome.people],
        **({"details": outcome.details} if outcome.details else {}),
    }


def _measures(outcome: Outcome) -> dict[str, Measures | dict[str, Measures]]:
    return {"overall": outcome.overall, "parts": {name: part.measures for name, part in outcome.parts.items()}}


def _subset(name: str, truth: Truth, predictions: Predictions, outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """Return the numbers of images and of instances that count in a subset, and the measures of each task on it."""
    within = truth.images_of(name)
    found = {}
    for key, outcome in outcomes.items():
        task = predictions.tasks[key]
        parts = [part for part, value in outcome.parts.items() if value.evidence is not None]
        found[key] = _measures(task.subset(truth, predictions.entries[task.entries], name, parts))
    instances = sum(counts_in(a, name) and not a.get("iscrowd") for a in within.annotations)
    return {"images": len(within.images), "instances": instances, "tasks": found}


def _counts(truth: Truth, predictions: Predictions) -> dict[str, Any]:
    keys = ("instances", "crowds", "with_keypoints", "box_masks")
    of = {c: dict.fromkeys(keys, 0) for c in truth.names}
    for a in truth.annotations:
        count = of[a["category_id"]]
        if a.get("iscrowd"):
            count["crowds"] += 1
            continue
        count["instances"] += 1
        count["with_keypoints"] += any(v > 0 for v in (a.get("keypoints") or ())[2::3])
        count["box_masks"] += has_box_mask(a)
    return {
        "images": len(truth.images),
        "shared": truth.shared,
        **{key: sum(c[key] for c in of.values()) for key in keys},
        "entries": {key: len(found) for key, found in predictions.entries.items()},
        "categories": {truth.names[c]: n for c, n in of.items()},
        "people": [name for c, name in truth.names.items() if c in truth.people],
    }
