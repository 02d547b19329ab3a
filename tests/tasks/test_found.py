"""Faces and people as one category each, for detectors that need no training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anonbench.evaluate import synthetic
from anonbench.tasks import base
from anonbench.tasks.truth import Truth, read_annotations
from tests.tasks.task_contract import check


def truth_of(folder: Path, change: dict[int, dict[str, Any]] | None = None) -> Truth:
    """Write and read a truth in which everybody but crowds has a face, a tenth of the box; entries are overlaid."""
    value = synthetic.ground_truth(20, seed=4)
    for a in value["annotations"]:
        x, y, w, h = a["bbox"]
        if a["category_id"] == 1 and not a["iscrowd"]:
            a["face"] = {"bbox": [x + 0.4 * w, y, 0.2 * w, 0.15 * h]}
        a |= (change or {}).get(a["id"], {})
    (folder / "val.json").write_text(json.dumps(value))
    return read_annotations(folder / "val.json")


def exact(name: str, truth: Truth) -> list[dict[str, Any]]:
    """Return what a model finds that finds everything, as its task writes it."""
    task = base.load(name)
    boxes = [
        (a["image_id"], np.array([*(a["face"]["bbox"] if name == "faces" else a["bbox"]), 0.9]))
        for a in truth.annotations
        if a["category_id"] in truth.people and not a["iscrowd"]
    ]
    return [task.encode(box, truth.people) for box in boxes]


@pytest.mark.parametrize("name", ["faces", "people"])
def test_contract_and_what_is_found(name: str, tmp_path: Path) -> None:
    truth, task = truth_of(tmp_path), base.load(name)
    found = exact(name, truth)
    check(task, truth, found)
    check(task, truth, [{**e, "bbox": [v + 3 for v in e["bbox"]], "score": 0.1 + i / 999} for i, e in enumerate(found)])
    outcome = task.measure(truth, found)
    assert outcome.overall["AP"] == pytest.approx(100, abs=0.5)
    half = task.measure(truth, found[::2]).overall["AP"]
    assert half is not None
    assert 45 < half < 55
    (part,) = outcome.parts.values()
    assert part.instances == len(found)
    assert task.measure(truth, []).overall["AP"] == 0


def test_a_person_without_a_face_is_no_face_and_an_ignored_one_excuses(tmp_path: Path) -> None:
    truth = truth_of(tmp_path)
    whole = exact("faces", truth)
    one = next(a for a in truth.annotations if a.get("face"))
    early = [{**e, "score": 0.99 if e["image_id"] == one["image_id"] else 0.5} for e in whole]
    without = truth_of(tmp_path, {one["id"]: {"face": None}})
    assert (base.load("faces").measure(without, early).overall["AP"] or 0) < 99
    ignored = truth_of(tmp_path, {one["id"]: {"face": None, "ignore": 1}})
    assert base.load("faces").measure(ignored, early).overall["AP"] == pytest.approx(100, abs=0.5)


def test_data_without_faces_cannot_judge_them(tmp_path: Path) -> None:
    value = synthetic.ground_truth(3, seed=4)
    (tmp_path / "val.json").write_text(json.dumps(value))
    outcome = base.load("faces").measure(read_annotations(tmp_path / "val.json"), [])
    assert outcome.skipped == {"": "the annotations have no face"}
    assert outcome.parts == {}
