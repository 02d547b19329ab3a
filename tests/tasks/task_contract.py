"""What every task promises, checked on a truth and a model's entries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from anonbench.tasks.base import Measures, Task
from anonbench.tasks.truth import Truth


def check(task: Task, truth: Truth, entries: Sequence[dict[str, Any]]) -> None:
    """Assert what `anonbench.tasks.base.Task` promises."""
    first, *_ = task.metrics
    names = [metric.name for metric in task.metrics]
    assert len(set(names)) == len(names)
    assert first.shown
    assert task.title
    for entry in entries:
        assert task.problem(json.loads(json.dumps(entry)), truth) is None
    outcome = task.measure(truth, entries)
    groups = len(outcome.groups)
    assert len(set(outcome.groups.tolist())) == groups
    assert outcome.people <= {*outcome.parts, *truth.names.values()}
    judged = {name: part for name, part in outcome.parts.items() if part.evidence is not None}
    assert judged, "nothing to check"
    random = np.random.default_rng(0)
    weights = random.multinomial(groups, np.full(groups, 1 / groups), size=4)
    for part in outcome.parts.values():
        _check_measures(part.measures, names)
    _check_measures(outcome.overall, names)
    for name, part in judged.items():
        assert part.evidence is not None
        score = task.score(part.evidence)
        assert np.ndim(score) == 0
        if part.measures[first.name] is None:
            assert np.isnan(score)
            continue
        assert float(score) == pytest.approx(part.measures[first.name], abs=1e-9), name
        of = task.score(part.evidence, weights)
        assert of.shape == (4,)
        ones = np.ones((1, groups), dtype=int)
        assert task.score(part.evidence, ones)[0] == pytest.approx(float(score), abs=1e-9)
        assert task.score(part.evidence, 3 * ones)[0] == pytest.approx(float(score), abs=0.05), "copies of everything"
        assert np.isnan(task.score(part.evidence, 0 * ones)).all()
    again = task.measure(truth, entries)
    for name, part in judged.items():
        for key, values in (part.evidence or {}).items():
            assert np.array_equal(values, (again.parts[name].evidence or {})[key]), (name, key)


def _check_measures(measures: Measures, names: list[str]) -> None:
    assert set(measures) <= set(names)
    assert all(value is None or np.isfinite(value) for value in measures.values())
