"""What an engine that computes COCO's metrics returns, and what the two engines have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from anonbench.records import KEYPOINTS
from anonbench.tasks.base import Measures
from anonbench.tasks.matches import Matches

AREAS = ("all", "small", "medium", "large")
"""COCO's areas: bounds at 32 and 96 pixels squared. Keypoints have no `small`."""

FIELDS = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}
"""What of a detection is scored, by COCOeval's name of the overlap."""

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR")


class Scored(NamedTuple):
    """An engine's outcome: the measures over all, those of each category and its matches, by id."""

    overall: Measures
    categories: dict[int, Measures]
    matches: dict[int, Matches]

    @classmethod
    def of(cls, precision: np.ndarray, recall: np.ndarray, matches: dict[int, Matches]) -> Scored:
        """Return the outcome of the arrays of `measures`, whose K categories are those of ``matches``, in order."""
        each = {c: measures(precision[:, :, [k]], recall[:, [k]]) for k, c in enumerate(matches)}
        return cls(measures(precision, recall), each, matches)


def measures(precision: np.ndarray, recall: np.ndarray) -> Measures:
    """Return COCO's seven numbers in per cent.

    ``precision`` (T, R, K, A) and ``recall`` (T, K, A) are those of COCOeval's `accumulate` at its largest number of
    detections, -1 where there is no ground truth. Without categories all numbers are None.
    """
    small = 1 if precision.shape[3] == len(AREAS) else None
    medium = 2 if small else 1
    cuts = {
        "AP": precision[..., 0],
        "AP50": precision[0, ..., 0],
        "AP75": precision[5, ..., 0],
        "APs": precision[..., small] if small else np.array([]),
        "APm": precision[..., medium],
        "APl": precision[..., medium + 1],
        "AR": recall[..., 0],
    }
    return {name: _mean(cuts[name]) for name in NAMES}


def _mean(values: np.ndarray) -> float | None:
    known = values[values > -1]
    return 100 * float(np.mean(known)) if known.size else None


def area_of(annotation: dict[str, Any], image: dict[str, Any]) -> float:
    """Return an annotation's area in pixels: what it says, or its mask's, or its box's."""
    area = annotation.get("area")
    if area is not None:
        return float(area)
    if not annotation.get("segmentation"):
        return float(annotation["bbox"][2] * annotation["bbox"][3])
    return float(coco_mask.area(runs_of(annotation["segmentation"], image)))


def runs_of(masks: Any, image: dict[str, Any]) -> dict[str, Any]:
    """Return an annotation's polygons or run lengths as compressed run lengths."""
    size = int(image["height"]), int(image["width"])
    if isinstance(masks, list):
        merged: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects(masks, *size))
        return merged
    runs: dict[str, Any] = coco_mask.frPyObjects(masks, *size) if isinstance(masks["counts"], list) else masks
    return runs


def keypoints_of(annotation: dict[str, Any]) -> list[float]:
    """Return an annotation's keypoints as COCO has them; zeros, none of them labelled, where it has none."""
    return annotation.get("keypoints") or [0.0] * 3 * len(KEYPOINTS)
