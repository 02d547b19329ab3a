"""A study of another kind of task on disk: an error in metres, the lower the better, of any parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_study import dump, manifest, write_annotations

from anonbench import registry
from anonbench.directions import Evaluation, pair
from anonbench.evaluate.metrics import evaluate_files
from anonbench.manifests import summary_path
from anonbench.report.collect import Sources
from anonbench.report.study import ReportStudy
from anonbench.tasks import base
from anonbench.tasks.base import Evidence, Metric, Outcome, Part, Problem, Task
from anonbench.tasks.truth import Truth


class Error(Task):
    """The mean of the errors that a file of predictions holds, by category; their spread where there are two."""

    metrics = (Metric("error", "m", best="lower"), Metric("spread", "m", best="lower"))
    title = "distance error"
    entries = "errors"
    floor = 10.0

    def encode(self, output: Any, people: frozenset[int]) -> dict[str, Any]:
        """Return an entry as it is."""
        return dict(output)

    def problem(self, entry: dict[str, Any], truth: Truth) -> Problem | None:
        """Return None: these files are ours."""
        return None

    def measure(self, truth: Truth, entries: Sequence[dict[str, Any]]) -> Outcome:
        """Average the errors."""
        groups, place = truth.groups()
        parts = {}
        for name in truth.names.values():
            own = [e for e in entries if e["part"] == name]
            evidence = {"errors": np.zeros(len(groups)), "groups": np.zeros(len(groups))}
            for entry in own:
                evidence["errors"][place[entry["image_id"]]] += entry["error"]
                evidence["groups"][place[entry["image_id"]]] += 1
            errors = [e["error"] for e in own]
            measures = {
                "error": float(np.mean(errors)) if errors else None,
                "spread": float(np.std(errors)) if len(errors) > 1 else None,
            }
            parts[name] = Part(measures, len(own), evidence)
        people = frozenset(truth.names[c] for c in truth.people)
        return Outcome({}, parts, groups, truth.sampled, people)

    def score(self, evidence: Evidence, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the mean error under weights."""
        drawn = np.ones(len(evidence["errors"])) if weights is None else weights
        with np.errstate(invalid="ignore"):
            return np.asarray(drawn @ evidence["errors"] / (drawn @ evidence["groups"]))


class Share(Error):
    """The same in another unit, the higher the better, without a floor."""

    metrics = (Metric("share", "shares"),)
    title = "share"
    floor = None

    def measure(self, truth: Truth, entries: Sequence[dict[str, Any]]) -> Outcome:
        """Return a hundredth of the error as a share."""
        entries = [{**entry, "error": entry["error"] / 100} for entry in entries]
        outcome = super().measure(truth, entries)
        for part in outcome.parts.values():
            part.measures.pop("spread")
            part.measures["share"] = part.measures.pop("error")
        return outcome


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tasks known for as long as a test runs."""
    own: dict[str, type[Task]] = {"error": Error, "share": Share}
    names, load, module = registry.names, registry.load, registry.module
    monkeypatch.setattr(registry, "names", lambda g: sorted([*names(g), *(own if g == "tasks" else ())]))
    monkeypatch.setattr(registry, "load", lambda g, n: own[n] if g == "tasks" and n in own else load(g, n))
    here = {name: task.__module__ for name, task in own.items()}
    monkeypatch.setattr(registry, "module", lambda g, n: here[n] if g == "tasks" and n in here else module(g, n))
    monkeypatch.setattr(base, "load", base.load.__wrapped__)  # type: ignore[attr-defined]


def write(
    root: Path,
    error: Callable[[str, str, str, int, int], float | None],
    variants: Sequence[str] = ("original", "face-identity", "face-blur-mild", "face-blur-medium", "face-blur-strong"),
    parts: Sequence[str] = ("person", "car"),
    directions: Sequence[str] = ("original",),
    tasks: Sequence[str] = ("error",),
    seeds: int = 3,
    images: int = 24,
    per_video: int = 0,
) -> tuple[ReportStudy, Sources]:
    """Write a study in which a part's ``error(part, trained, tested, seed, image)`` is as given, None for no entry."""
    recipe = {"trainer": "torchvision", "tasks": list(tasks), "initialisation": {"kind": "scratch"}}
    study = {
        "name": "errors", "seed": 7, "datasets": {"walk": {"train": "train", "val": "val"}}, "variants": list(variants),
        "models": {"net": recipe}, "seeds": list(range(seeds)), "directions": list(directions),
        "report": {"margin": 1.0, "bootstrap": 200, "margins": {"share": 0.01}},
    }  # fmt: skip
    dump(root / "study.json", study)
    truth: dict[str, Any] = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 8} for i in range(images)],
        "categories": [
            {"id": k, "name": name, "supercategory": "person" if name == "person" else "thing"}
            for k, name in enumerate(parts)
        ],
        "annotations": [],
    }
    if per_video:
        truth["videos"] = [{"id": v} for v in range(images // per_video)]
        for image in truth["images"]:
            image |= {"video_id": image["id"] // per_video, "frame_index": image["id"] % per_video}
    dump(root / "val.json", truth)
    for variant in variants:
        said = manifest(variant)
        if variant.startswith("frame"):
            said["touches"] = "everything"
        dump(summary_path(root / "anonymized/walk" / variant, "train"), said)
        said["people"]["by_category"]["person"] |= {"people": 10, "anonymized": 4}
        dump(summary_path(root / "anonymized/walk" / variant, "val"), said)
        for seed in range(seeds):
            record = {"loss_curve": [{"iteration": 1, "loss": 1.0}, {"iteration": 2, "loss": 0.5}], "recipe": recipe}
            dump(root / "models/walk" / variant / f"net/seed{seed}/train.json", record)
            for direction in ("original", *directions):
                trained, tested = pair(direction, variant)
                entries = [
                    {"image_id": i, "part": part, "error": value}
                    for part in parts
                    for i in range(images)
                    if (value := error(part, trained, tested, seed, i)) is not None
                ]
                dump(root / "predictions.json", {"model": {"tasks": list(tasks)}, "errors": entries})
                place = root / "evaluations" / Evaluation("walk", trained, "net", seed, tested).folder
                evaluate_files(root / "predictions.json", root / "val.json", place)
    for split in ("train", "val"):
        write_annotations(root / "annotations/walk", truth, split)
    stages = {name: root / name for name in ("evaluations", "models", "anonymized", "annotations")}
    return ReportStudy.read(root / "study.json"), Sources(**stages)
