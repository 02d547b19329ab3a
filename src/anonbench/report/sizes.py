"""The table of what was measured on people of one size: metrics that `impact.csv` does not show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from anonbench.directions import ON_ORIGINAL
from anonbench.files import read_json
from anonbench.report.collect import Sources, leaks
from anonbench.report.study import ORIGINAL, ReportStudy
from anonbench.tasks import base as tasks

SIZE_COLUMNS = (
    "dataset", "model", "task", "category", "variant", "size", "seed", "metric", "first", "unit", "value", "difference",
    "leaks",
)  # fmt: skip
"""Columns of sizes.csv. ``metric`` measures as ``first``, the task's first metric, does, on people of one size."""


def sizes(study: ReportStudy, sources: Sources) -> pd.DataFrame:
    """Return a row per seed of each metric that a task has for people of one size, of models on original images.

    People only, without intervals. ``difference`` is to the original of the same seed. Reads the evaluations that are
    there; metrics that are null (nobody of that size) have no row.
    """
    rows: list[dict[str, Any]] = []
    for dataset in study.datasets:
        for model in study.models:
            if ON_ORIGINAL not in study.directions or not study.trained(dataset, model):
                continue
            found = {v: dict(_measured(study, sources, dataset, model, v)) for v in study.trained(dataset, model)}
            leaky = leaks(study, sources, dataset, model) if found.get(ORIGINAL) else ""
            ordered = dict.fromkeys((task, category) for of in found.values() for task, category, *_ in of)
            for task, category in ordered:
                metrics = tasks.load(task).metrics
                for variant, of in found.items():
                    for metric in (m for m in metrics if m.size):
                        for seed in study.seeds_of(model, variant):
                            key = (task, category, metric.name, seed)
                            if key in of:
                                base = found.get(ORIGINAL, {}).get(key)
                                rows.append(
                                    {
                                        "dataset": dataset, "model": model, "task": task, "category": category,
                                        "variant": variant, "size": metric.size, "seed": seed, "metric": metric.name,
                                        "first": metrics[0].name, "unit": metric.unit, "value": of[key],
                                        "difference": None if base is None else of[key] - base, "leaks": leaky,
                                    }
                                )  # fmt: skip
    return pd.DataFrame(rows, columns=list(SIZE_COLUMNS))


def _measured(
    study: ReportStudy, sources: Sources, dataset: str, model: str, variant: str
) -> Iterator[tuple[tuple[str, str, str, int], float]]:
    """Yield task, category, metric and seed with the value of each metric by size on people."""
    for seed in study.seeds_of(model, variant):
        path = sources.evaluation(study.evaluation(dataset, model, ON_ORIGINAL, variant, seed)) / "metrics.json"
        if not path.exists():
            continue
        for name, measured in read_json(path)["tasks"].items():
            if measured is None:
                continue
            metrics = [m.name for m in tasks.load(name).metrics if m.size]
            for category in measured["people"]:
                values = measured["parts"].get(category) or {}
                for metric in metrics:
                    if values.get(metric) is not None:
                        yield (name, category, metric, seed), float(values[metric])
