"""COCO's metrics by pycocotools, overall and for every category, and the matches behind them."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from anonbench.records import KEYPOINTS
from anonbench.tasks.base import OTHER, Evidence, Measures, Metric, Outcome, Part, Problem, Task
from anonbench.tasks.detections import ENTRIES, coco_result
from anonbench.tasks.matches import Matches, ap_from_matches
from anonbench.tasks.truth import Truth, counts_in, numbers

AREAS = ("all", "small", "medium", "large")
"""COCO's areas: bounds at 32 and 96 pixels squared. Keypoints have no `small`."""

OUTSIDE = 1e12
"""An area in pixels beyond COCO's largest: COCOeval ignores such an object, and matches it as any other."""

METRICS = (
    Metric("AP", "AP points"),
    Metric("AP50", "AP points"),
    Metric("AP75", "AP points"),
    Metric("APs", "AP points", shown=False, size="small"),
    Metric("APm", "AP points", shown=False, size="medium"),
    Metric("APl", "AP points", shown=False, size="large"),
    Metric("AR", "AP points", shown=False),
)


class CocoTask(Task):
    """A task that COCOeval scores: average precision of objects that are matched by their overlap, in per cent.

    Each category is a part. Evidence holds the fields of `Matches`, whose ``image`` and ``instances`` are by group.
    """

    iou_type: ClassVar[str]
    """COCOeval's name of the overlap: ``bbox``, ``segm`` or ``keypoints``."""

    metrics = METRICS
    entries = ENTRIES
    floor = 5.0

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

    def judged(self, truth: Truth) -> Collection[int]:
        """Return the ids of the categories that the annotations can judge."""
        return truth.names

    def measure(self, truth: Truth, entries: Sequence[dict[str, Any]]) -> Outcome:
        """Run COCOeval over the categories that can be judged."""
        return self._outcome(truth, entries, sorted(self.judged(truth)))

    def subset(self, truth: Truth, entries: Sequence[dict[str, Any]], name: str, parts: Sequence[str]) -> Outcome:
        """Measure categories on the images that count in a subset; annotations that do not are ignored.

        Finding such an annotation is neither right nor wrong.
        """
        return self._outcome(truth, entries, [c for c, category in truth.names.items() if category in parts], name)

    def _outcome(
        self, truth: Truth, entries: Sequence[dict[str, Any]], categories: list[int], subset: str | None = None
    ) -> Outcome:
        overall, measures, matches = run_cocoeval(self.iou_type, truth, entries, categories, subset)
        groups, _ = truth.groups()
        instances = Counter(a["category_id"] for a in truth.annotations if self.counts(a))
        parts = {truth.names[c]: Part(measures[c], instances[c], asdict(matches[c])) for c in categories}
        return Outcome(
            overall,
            parts,
            groups,
            "video" if truth.clips else "image",
            frozenset(truth.names[c] for c in truth.people),
            {} if categories else {"": "the annotations have none"},
        )

    def counts(self, annotation: dict[str, Any]) -> bool:
        """Tell whether an annotation is an instance that is to be found."""
        return not annotation.get("iscrowd")

    def score(self, evidence: Evidence, weights: np.ndarray | None = None) -> np.ndarray:
        """Return AP in per cent, the mean over COCO's ten thresholds."""
        return 100 * ap_from_matches(Matches(**evidence), weights).mean(axis=-1)


def box_problem(entry: dict[str, Any]) -> Problem | None:
    """Return what is wrong with an entry's score or box."""
    if not numbers([entry.get("score")], 1):
        return Problem("has no finite score")
    if not numbers(entry.get("bbox"), 4):
        return Problem("has no bbox of four finite numbers")
    return None


class Scored(NamedTuple):
    """COCOeval's outcome: the measures over all, those of each category and its matches, by id."""

    overall: Measures
    categories: dict[int, Measures]
    matches: dict[int, Matches]


def run_cocoeval(
    iou_type: str,
    truth: Truth,
    detections: Sequence[dict[str, Any]],
    categories: list[int],
    subset: str | None = None,
) -> Scored:
    """Run COCOeval for ``bbox``, ``segm`` or ``keypoints`` over the given category ids.

    With ``subset`` the images that do not count in it are left out, and annotations that do not are ignored: finding
    one is neither right nor wrong.

    As in official result files, masks and keypoints are scored without the detection's box, so that the area of a
    detection is its mask's, or its keypoints' bounding box's.
    """
    if not categories:
        return Scored(_metrics(None, None), {}, {})
    if subset is not None:
        truth = truth.images_of(subset)
        detections = [d for d in detections if d["image_id"] in truth.images]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": list(truth.images.values()),
            "categories": list(truth.categories.values()),
            "annotations": _annotations(iou_type, truth, set(categories), subset),
        }
        coco.createIndex()
        results = _results(iou_type, detections, set(categories))
        found = coco.loadRes(results) if results else _nothing(coco)
        run = COCOeval(coco, found, iou_type)
        run.params.catIds = categories
        run.evaluate()
        run.accumulate()
    precision, recall = run.eval["precision"], run.eval["recall"]
    images = run.params.imgIds
    groups, place = truth.groups()
    where = np.array([place[image] for image in images])
    return Scored(
        _metrics(precision, recall),
        {c: _metrics(precision[:, :, [k]], recall[:, [k]]) for k, c in enumerate(categories)},
        {c: _matches(run, k, where, len(groups)) for k, c in enumerate(categories)},
    )


def _annotations(iou_type: str, truth: Truth, categories: set[int], subset: str | None) -> list[dict[str, Any]]:
    """Return copies that COCOeval may write into, with new ids (it takes id 0 for no match) and what it needs.

    Those outside ``subset`` are marked for it to ignore. COCOeval heeds no key ``ignore``, and ``iscrowd`` would let
    one object absorb many detections, so they get an area outside all bounds, or, as OKS is scaled by the area, no
    number of keypoints.
    """
    kept: list[dict[str, Any]] = []
    for annotation in truth.annotations:
        if annotation["category_id"] not in categories:
            continue
        copy = {key: annotation[key] for key in ("image_id", "category_id", "bbox")}
        copy["id"] = len(kept) + 1
        copy["iscrowd"] = int(annotation.get("iscrowd") or 0)
        area = annotation.get("area")
        copy["area"] = float(area) if area is not None else _area(annotation, truth.images[annotation["image_id"]])
        if iou_type == "segm":
            copy["segmentation"] = annotation["segmentation"]
        if iou_type == "keypoints":
            points = annotation.get("keypoints") or [0] * 3 * len(KEYPOINTS)
            copy["keypoints"] = points
            copy["num_keypoints"] = sum(v > 0 for v in points[2::3])
        if subset is not None and not counts_in(annotation, subset):
            copy.update({"num_keypoints": 0} if iou_type == "keypoints" else {"area": OUTSIDE})
        kept.append(copy)
    return kept


def _area(annotation: dict[str, Any], image: dict[str, Any]) -> float:
    masks = annotation.get("segmentation")
    if not masks:
        return float(annotation["bbox"][2] * annotation["bbox"][3])
    size = int(image["height"]), int(image["width"])
    if isinstance(masks, list):
        return float(coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(masks, *size))))
    runs = coco_mask.frPyObjects(masks, *size) if isinstance(masks["counts"], list) else masks
    return float(coco_mask.area(runs))


def _results(iou_type: str, detections: Sequence[dict[str, Any]], categories: set[int]) -> list[dict[str, Any]]:
    field = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}[iou_type]
    keys = ("image_id", "category_id", "score", field)
    return [{key: d[key] for key in keys} for d in detections if d["category_id"] in categories]


def _nothing(coco: Any) -> Any:
    empty = COCO()
    empty.dataset = {**coco.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _metrics(precision: np.ndarray | None, recall: np.ndarray | None) -> Measures:
    """Return COCO's seven numbers in per cent from `accumulate`'s arrays (T, R, K, A, M) and (T, K, A, M)."""
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR")
    if precision is None or recall is None:
        return dict.fromkeys(names)
    small = 1 if precision.shape[3] == len(AREAS) else None
    medium = 2 if small else 1
    best = precision[..., -1]
    cuts = {
        "AP": best[..., 0],
        "AP50": best[0, ..., 0],
        "AP75": best[5, ..., 0],
        "APs": best[..., small] if small else np.array([]),
        "APm": best[..., medium],
        "APl": best[..., medium + 1],
        "AR": recall[..., 0, -1],
    }
    return {name: _mean(cuts[name]) for name in names}


def _mean(values: np.ndarray) -> float | None:
    """Return the mean in per cent; -1 is COCO's mark of no ground truth."""
    known = values[values > -1]
    return 100 * float(np.mean(known)) if known.size else None


def _matches(run: Any, category: int, place: np.ndarray, groups: int) -> Matches:
    """Collect COCOeval's per-image matches of one category (by position) at area `all`.

    ``place`` (I) is each image's position among the ``groups``.
    """
    images = len(place)
    areas, thresholds, most = len(run.params.areaRng), len(run.params.iouThrs), run.params.maxDets[-1]
    start = category * areas * images
    scores, image, matched, ignored = [], [], [], []
    instances = np.zeros(groups, dtype=np.int32)
    for i, found in enumerate(run.evalImgs[start : start + images]):
        if found is None:
            continue
        score = found["dtScores"][:most]
        scores.append(score)
        image.append(np.full(len(score), place[i]))
        matched.append(found["dtMatches"][:, :most] != 0)
        ignored.append(found["dtIgnore"][:, :most] != 0)
        instances[place[i]] += np.count_nonzero(np.asarray(found["gtIgnore"]) == 0)
    score = np.concatenate(scores) if scores else np.zeros(0)
    order = np.argsort(-score, kind="mergesort")
    nothing = [np.zeros((thresholds, 0))]
    return Matches(
        scores=score[order].astype(np.float64),
        image=(np.concatenate(image) if image else np.zeros(0))[order].astype(np.int32),
        matched=np.concatenate(matched or nothing, axis=1)[:, order].astype(np.uint8),
        ignored=np.concatenate(ignored or nothing, axis=1)[:, order].astype(np.uint8),
        instances=instances,
    )
