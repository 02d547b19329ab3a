"""A task of whole images: how many people are there? Judged by the mean absolute error, the lower the better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from anonbench.tasks.base import Evidence, Metric, Outcome, Part, Problem, Task
from anonbench.tasks.truth import Truth, numbers


class Counting(Task):
    """The number of people on an image, crowds left out."""

    metrics = (Metric("MAE", "people", best="lower"), Metric("bias", "people"))
    title = "counting error"
    entries = "counts"

    def encode(self, output: tuple[int, float], people: frozenset[int]) -> dict[str, Any]:
        """Return an image's id and count as JSON."""
        image, count = output
        return {"image_id": image, "count": round(float(count), 4)}

    def problem(self, entry: dict[str, Any], truth: Truth) -> Problem | None:
        """Return what is wrong with a count."""
        return None if numbers([entry.get("count")], 1) else Problem("has no finite count")

    def measure(self, truth: Truth, entries: Sequence[dict[str, Any]]) -> Outcome:
        """Compare the counts; an image without one counts as empty."""
        groups, place = truth.groups()
        people = Counter(
            a["image_id"] for a in truth.annotations if a["category_id"] in truth.people and not a.get("iscrowd")
        )
        said = {entry["image_id"]: entry["count"] for entry in entries}
        errors, images, bias = np.zeros(len(groups)), np.zeros(len(groups), int), 0.0
        for image, k in place.items():
            error = said.get(image, 0.0) - people[image]
            errors[k] += abs(error)
            images[k] += 1
            bias += error
        evidence = {"errors": errors, "images": images}
        measures = {"MAE": float(self.score(evidence)), "bias": bias / len(place)}
        part = Part(measures, sum(people.values()), evidence)
        sampled = truth.sampled
        return Outcome(measures, {"people": part}, groups, sampled, frozenset({"people"}))

    def score(self, evidence: Evidence, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the mean absolute error under weights."""
        if weights is None:
            weights = np.ones(len(evidence["errors"]))
        with np.errstate(invalid="ignore"):
            return weights @ evidence["errors"] / (weights @ evidence["images"])
