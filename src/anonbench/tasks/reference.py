"""COCO's metrics by pycocotools: the reference that `vectorized` is compared with."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from anonbench.tasks.matches import Matches
from anonbench.tasks.scored import FIELDS, Scored, area_of, keypoints_of
from anonbench.tasks.truth import Truth, counts_in

OUTSIDE = 1e12
"""An area in pixels beyond COCO's largest: COCOeval ignores such an object, and matches it as any other."""


def run_cocoeval(
    iou_type: str,
    truth: Truth,
    detections: Sequence[dict[str, Any]],
    categories: Sequence[int],
    subset: str | None = None,
) -> Scored:
    """Run COCOeval for ``bbox``, ``segm`` or ``keypoints`` over some categories (ids, rising; at least one).

    With ``subset`` annotations that do not count in it are ignored: finding one is neither right nor wrong.
    Detections of other categories are left out.

    As in official result files, masks and keypoints are scored without the detection's box, so that the area of a
    detection is its mask's, or its keypoints' bounding box's.
    """
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
        run.params.catIds = list(categories)
        run.evaluate()
        run.accumulate()
    precision, recall = run.eval["precision"][..., -1], run.eval["recall"][..., -1]
    images = run.params.imgIds
    groups, place = truth.groups()
    where = np.array([place[image] for image in images])
    return Scored.of(precision, recall, {c: _matches(run, k, where, len(groups)) for k, c in enumerate(categories)})


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
        copy["area"] = area_of(annotation, truth.images[annotation["image_id"]])
        if iou_type == "segm":
            copy["segmentation"] = annotation["segmentation"]
        if iou_type == "keypoints":
            copy["keypoints"] = keypoints_of(annotation)
            copy["num_keypoints"] = sum(v > 0 for v in copy["keypoints"][2::3])
        if subset is not None and not counts_in(annotation, subset):
            copy.update({"num_keypoints": 0} if iou_type == "keypoints" else {"area": OUTSIDE})
        kept.append(copy)
    return kept


def _results(iou_type: str, detections: Sequence[dict[str, Any]], categories: set[int]) -> list[dict[str, Any]]:
    keys = ("image_id", "category_id", "score", FIELDS[iou_type])
    return [{key: d[key] for key in keys} for d in detections if d["category_id"] in categories]


def _nothing(coco: Any) -> Any:
    empty = COCO()
    empty.dataset = {**coco.dataset, "annotations": []}
    empty.createIndex()
    return empty


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
