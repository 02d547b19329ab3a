"""COCO's metrics, overall and for every category, and the matches behind them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Self

import numpy as np

from anonbench.tasks.base import (
    OTHER,
    Evidence,
    Metric,
    Outcome,
    Part,
    Problem,
    Task,
)
from anonbench.tasks.detections import ENTRIES, coco_result
from anonbench.tasks.engines import PYCOCOTOOLS, VECTORIZED, Engine
from anonbench.tasks.matches import Matches, ap_from_matches
from anonbench.tasks.reference import run_cocoeval
from anonbench.tasks.scored import NAMES, Scored
from anonbench.tasks.truth import Truth, all_finite, all_numbers, numbers
from anonbench.tasks.vectorized import run_vectorized

METRICS = (
    Metric("AP", "AP points"),
    Metric("AP50", "AP points"),
    Metric("AP75", "AP points"),
    Metric("APs", "AP points", shown=False, size="small"),
    Metric("APm", "AP points", shown=False, size="medium"),
    Metric("APl", "AP points", shown=False, size="large"),
    Metric("AR", "AP points", shown=False),
)


THRESHOLDS = {"AP50": 0, "AP75": 5}
"""Metrics at one of COCO's ten thresholds of overlap (.5 to .95), by its position."""


class CocoTask(Task):
    """A task that is scored as by COCOeval: average precision of objects matched by their overlap, in per cent.

    Each category is a part. Evidence holds the fields of `Matches`, whose ``image`` and ``instances`` are by group.
    """

    iou_type: ClassVar[str]
    """COCOeval's name of the overlap: ``bbox``, ``segm`` or ``keypoints``."""

    metrics = METRICS
    leaders = tuple(THRESHOLDS)
    entries = ENTRIES
    floor = 5.0
    engine: Engine = VECTORIZED

    def by(self, engine: Engine) -> Self:
        """Return the task as an engine computes it."""
        task = copy.copy(self)
        task.engine = engine
        return task

    def encode(self, output: Any, people: frozenset[int]) -> dict[str, Any]:
        """Return a `Detection` as COCO's results format has it."""
        return coco_result(output, output.category_id in people)

    def problem(self, entry: dict[str, Any], truth: Truth) -> Problem | None:
        """Return what is wrong with an entry's category, score or box, and what it lacks."""
        if type(entry.get("category_id")) is not int or entry["category_id"] not in truth.categories:
            return Problem(f"is of category {entry.get('category_id')}, which the annotations do not have", OTHER)
        return box_problem(entry) or (self.lacks(entry, truth) if entry["category_id"] in self.judged(truth) else None)

    def lacks(self, entry: dict[str, Any], truth: Truth) -> Problem | None:
        """Return what an entry of a category that can be judged lacks beside its box."""
        return None

    def sound(self, entries: Sequence[dict[str, Any]], truth: Truth) -> bool:
        """Tell whether no entry has a problem."""
        categories = [entry.get("category_id") for entry in entries]
        if set(map(type, categories)) - {int} or set(categories) - truth.categories.keys() or not boxes_sound(entries):
            return False
        judged = self.judged(truth)
        return self.lack_nothing([e for e, c in zip(entries, categories, strict=True) if c in judged], truth)

    def lack_nothing(self, entries: Sequence[dict[str, Any]], truth: Truth) -> bool:
        """Tell whether none of many entries of categories that can be judged `lacks` anything; False if unsure."""
        return not any(self.lacks(entry, truth) for entry in entries)

    def unranked(self, entries: Sequence[dict[str, Any]], trained: bool) -> Problem | None:
        """Return that too many entries share their score, unless a training has collapsed: that is a result."""
        return None if trained and collapsed(entries) else tied(entries)

    def judged(self, truth: Truth) -> Collection[int]:
        """Return the ids of the categories that the annotations can judge."""
        return truth.names

    def measure(self, truth: Truth, entries: Sequence[dict[str, Any]]) -> Outcome:
        """Score the categories that can be judged."""
        return self._outcome(truth, entries, sorted(self.judged(truth)))

    def subset(self, truth: Truth, entries: Sequence[dict[str, Any]], name: str, parts: Sequence[str]) -> Outcome:
        """Measure categories on the images that count in a subset; annotations that do not are ignored.

        Finding such an annotation is neither right nor wrong.
        """
        return self._outcome(truth, entries, [c for c, category in truth.names.items() if category in parts], name)

    def _outcome(
        self, truth: Truth, entries: Sequence[dict[str, Any]], categories: list[int], subset: str | None = None
    ) -> Outcome:
        overall, measures, matches = score_objects(self.engine, self.iou_type, truth, entries, categories, subset)
        groups, _ = truth.groups()
        instances = Counter(a["category_id"] for a in truth.annotations if self.counts(a))
        parts = {truth.names[c]: Part(measures[c], instances[c], asdict(matches[c])) for c in categories}
        return Outcome(
            overall,
            parts,
            groups,
            truth.sampled,
            frozenset(truth.names[c] for c in truth.people),
            {} if categories else {"": "the annotations have none"},
        )

    def counts(self, annotation: dict[str, Any]) -> bool:
        """Tell whether an annotation is an instance that is to be found."""
        return not annotation.get("iscrowd")

    def score(self, evidence: Evidence, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the first metric in per cent: AP, the mean over COCO's ten thresholds, or that of one of them."""
        found = 100 * ap_from_matches(Matches(**evidence), weights)
        threshold = THRESHOLDS.get(self.metrics[0].name)
        return np.asarray(found.mean(axis=-1) if threshold is None else found[..., threshold])


def box_problem(entry: dict[str, Any]) -> Problem | None:
    """Return what is wrong with an entry's score or box."""
    if not numbers([entry.get("score")], 1):
        return Problem("has no finite score")
    if not numbers(entry.get("bbox"), 4):
        return Problem("has no bbox of four finite numbers")
    return None


MANY, FEW_SCORES = 100, 20
"""So many detections with fewer different scores than that were rounded, to 0.1 for example, or have none at all."""


def tied(entries: Sequence[dict[str, Any]]) -> Problem | None:
    """Return that the scores of detections do not rank them, which average precision is all about.

    pycocotools breaks ties by the order of images and of entries, so that AP would be that order's.
    """
    different = len({entry["score"] for entry in entries})
    if len(entries) < MANY or different >= FEW_SCORES:
        return None
    return Problem(
        f"have {different} different score{'s' if different > 1 else ''} among {len(entries)}, and AP is about their"
        " order",
        "write scores with all their digits",
    )


def collapsed(entries: Sequence[dict[str, Any]]) -> bool:
    """Tell whether detections have one score for each category, which no rounding of scores that rank leaves."""
    return len({(e["category_id"], e["score"]) for e in entries}) == len({e["category_id"] for e in entries})


def boxes_sound(entries: Sequence[dict[str, Any]]) -> bool:
    """Tell whether none of many entries has a `box_problem`."""
    scores, boxes = ([entry.get(key) for entry in entries] for key in ("score", "bbox"))
    return all_finite(scores) and all_numbers(boxes, 4)


ENGINES: dict[Engine, Callable[..., Scored]] = {VECTORIZED: run_vectorized, PYCOCOTOOLS: run_cocoeval}


def score_objects(
    engine: Engine,
    iou_type: str,
    truth: Truth,
    detections: Sequence[dict[str, Any]],
    categories: list[int],
    subset: str | None = None,
) -> Scored:
    """Score ``bbox``, ``segm`` or ``keypoints`` of some categories (ids, rising) as COCO does.

    With ``subset`` the images that do not count in it are left out, and annotations that do not are ignored: finding
    one is neither right nor wrong.

    As in official result files, masks and keypoints are scored without the detection's box, so that the area of a
    detection is its mask's, or its keypoints' bounding box's.
    """
    if not categories:
        return Scored(dict.fromkeys(NAMES), {}, {})
    if subset is not None:
        truth = truth.images_of(subset)
        detections = [d for d in detections if d["image_id"] in truth.images]
    return ENGINES[engine](iou_type, truth, detections, categories, subset)
