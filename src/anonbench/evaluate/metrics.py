"""COCO's metrics by pycocotools, overall and for every category, and the matches behind them."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from anonbench.errors import AnonbenchError
from anonbench.evaluate import matches as match_file
from anonbench.evaluate.inputs import (
    IOU_TYPES,
    GroundTruth,
    Predictions,
    counts_in,
    has_box_mask,
    read_annotations,
    read_predictions,
)
from anonbench.evaluate.matches import Matches
from anonbench.files import sha256_file, write_json
from anonbench.records import KEYPOINTS, is_people

AREAS = ("all", "small", "medium", "large")
"""COCO's areas: bounds at 32 and 96 pixels squared. Keypoints have no `small`."""

OUTSIDE = 1e12
"""An area in pixels beyond COCO's largest: COCOeval ignores such an object, and matches it as any other."""

Metrics = dict[str, float | None]


@dataclass(frozen=True)
class Task:
    """One metric's outcome: ``overall`` and ``categories`` (by id) hold per cent or None, ``matches`` are by id.

    A category that the annotations cannot judge has None in ``categories`` and no ``matches``.
    """

    overall: Metrics
    categories: dict[int, Metrics]
    matches: dict[int, Matches]


def evaluate_task(
    iou_type: str,
    truth: GroundTruth,
    detections: list[dict[str, Any]],
    categories: list[int],
    subset: str | None = None,
) -> Task:
    """Run COCOeval for ``bbox``, ``segm`` or ``keypoints`` over the given category ids.

    With ``subset`` the images that do not count in it are left out, and annotations that do not are ignored: finding
    one is neither right nor wrong.

    As in official result files, masks and keypoints are scored without the detection's box, so that the area of a
    detection is its mask's, or its keypoints' bounding box's.
    """
    if not categories:
        return Task(_metrics(None, None), {}, {})
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
    return Task(
        _metrics(precision, recall),
        {c: _metrics(precision[:, :, [k]], recall[:, [k]]) for k, c in enumerate(categories)},
        {c: _matches(run, k, len(images)) for k, c in enumerate(categories)},
    )


def _annotations(iou_type: str, truth: GroundTruth, categories: set[int], subset: str | None) -> list[dict[str, Any]]:
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


def _results(iou_type: str, detections: list[dict[str, Any]], categories: set[int]) -> list[dict[str, Any]]:
    field = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}[iou_type]
    keys = ("image_id", "category_id", "score", field)
    return [{key: d[key] for key in keys} for d in detections if d["category_id"] in categories]


def _nothing(coco: Any) -> Any:
    empty = COCO()
    empty.dataset = {**coco.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _metrics(precision: np.ndarray | None, recall: np.ndarray | None) -> Metrics:
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


def _matches(run: Any, category: int, images: int) -> Matches:
    """Collect COCOeval's per-image matches of one category (by position) at area `all`."""
    areas, thresholds, most = len(run.params.areaRng), len(run.params.iouThrs), run.params.maxDets[-1]
    start = category * areas * images
    scores, image, matched, ignored = [], [], [], []
    instances = np.zeros(images, dtype=np.int32)
    for i, found in enumerate(run.evalImgs[start : start + images]):
        if found is None:
            continue
        score = found["dtScores"][:most]
        scores.append(score)
        image.append(np.full(len(score), i))
        matched.append(found["dtMatches"][:, :most] != 0)
        ignored.append(found["dtIgnore"][:, :most] != 0)
        instances[i] = np.count_nonzero(np.asarray(found["gtIgnore"]) == 0)
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


def evaluate_files(predictions: str | Path, annotations: str | Path, out: str | Path) -> dict[str, Any]:
    """Evaluate one model and write ``metrics.json`` and ``matches.npz`` into ``out``; return the metrics.

    Raises AnonbenchError when a file is missing, damaged, or of another data set.
    """
    truth = read_annotations(annotations)
    given = read_predictions(predictions, truth)
    value, found = evaluate(truth, given)
    value["files"] = {"predictions": sha256_file(predictions), "annotations": sha256_file(annotations)}
    out = Path(out)
    names = {c: str(category["name"]) for c, category in sorted(truth.categories.items())}
    match_file.write(out / "matches.npz", sorted(truth.images), {k: t.matches for k, t in found.items()}, names)
    write_json(out / "metrics.json", value)
    return value


def evaluate(truth: GroundTruth, predictions: Predictions) -> tuple[dict[str, Any], dict[str, Task]]:
    """Return the value of ``metrics.json`` and the tasks by iou type."""
    names = {c: str(category["name"]) for c, category in sorted(truth.categories.items())}
    if len(set(names.values())) < len(names):
        raise AnonbenchError("has two categories of one name", file=truth.file, entry="categories")
    tasks: dict[str, Task] = {}
    skipped: dict[str, str] = {}
    for task in predictions.tasks:
        iou_type = IOU_TYPES[task]
        of = {"bbox": lambda: list(names), "segm": truth.with_masks, "keypoints": truth.with_keypoints}
        categories = of[iou_type]()
        if categories:
            tasks[iou_type] = evaluate_task(iou_type, truth, predictions.detections, categories)
        else:
            skipped[iou_type] = "the annotations have none"
        if iou_type == "segm":
            for category in truth.with_boxes_for_masks():
                skipped[f"segm/{names[category]}"] = "no annotation has a mask, only its box's outline"
                if iou_type in tasks:
                    tasks[iou_type].categories[category] = _metrics(None, None)
    value: dict[str, Any] = {
        "format": 1,
        "library": {"pycocotools": version("pycocotools")},
        "model": predictions.model,
        "counts": _counts(truth, predictions, names),
        "skipped": skipped,
        "tasks": {
            iou_type: {"overall": t.overall, "categories": {names[c]: m for c, m in sorted(t.categories.items())}}
            for iou_type, t in tasks.items()
        },
    }
    if subsets := truth.subsets():
        value["subsets"] = {
            name: _subset(name, truth, predictions.detections, {k: sorted(t.matches) for k, t in tasks.items()}, names)
            for name in subsets
        }
    return value, tasks


def _subset(
    name: str,
    truth: GroundTruth,
    detections: list[dict[str, Any]],
    categories: dict[str, list[int]],
    names: dict[int, str],
) -> dict[str, Any]:
    """Return the numbers of images and of instances that count in a subset, and the metrics of each iou type on it."""
    within = truth.images_of(name)
    instances = sum(counts_in(a, name) and not a.get("iscrowd") for a in within.annotations)
    tasks = {k: evaluate_task(k, truth, detections, found, name) for k, found in categories.items()}
    return {
        "images": len(within.images),
        "instances": instances,
        "tasks": {
            k: {"overall": t.overall, "categories": {names[c]: m for c, m in sorted(t.categories.items())}}
            for k, t in tasks.items()
        },
    }


def _counts(truth: GroundTruth, predictions: Predictions, names: dict[int, str]) -> dict[str, Any]:
    keys = ("instances", "crowds", "with_keypoints", "box_masks", "detections")
    of = {c: dict.fromkeys(keys, 0) for c in names}
    for a in truth.annotations:
        of[a["category_id"]]["crowds" if a.get("iscrowd") else "instances"] += 1
        if not a.get("iscrowd") and any(v > 0 for v in (a.get("keypoints") or ())[2::3]):
            of[a["category_id"]]["with_keypoints"] += 1
        if not a.get("iscrowd") and has_box_mask(a):
            of[a["category_id"]]["box_masks"] += 1
    for d in predictions.detections:
        of[d["category_id"]]["detections"] += 1
    total = {key: sum(c[key] for c in of.values()) for key in keys}
    people = [names[c] for c in names if is_people(truth.categories[c])]
    return {"images": len(truth.images), **total, "categories": {names[c]: n for c, n in of.items()}, "people": people}
