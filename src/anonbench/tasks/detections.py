"""An object that a model has found, and how it is written: COCO's results format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anonbench.records import KEYPOINTS

ENTRIES = "detections"
"""Their key among a trainer's outputs and in a file of predictions."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One detected object, in pixels of the original image.

    ``box`` float (4,): x0, y0, x1, y1; ``mask``: bool (height, width) or None; ``keypoints``: float (17, 3) or None.
    """

    image_id: int
    category_id: int
    box: np.ndarray
    score: float
    mask: np.ndarray | None = field(default=None, repr=False)
    keypoints: np.ndarray | None = field(default=None, repr=False)


def coco_result(detection: Detection, person: bool) -> dict[str, Any]:
    """Return the detection as COCO's results format has it; keypoints are for people only."""
    from pycocotools import mask as coco_mask  # studies are read without it

    x0, y0, x1, y1 = (float(v) for v in detection.box)
    result: dict[str, Any] = {
        "image_id": detection.image_id,
        "category_id": detection.category_id,
        "bbox": [round(v, 2) for v in (x0, y0, x1 - x0, y1 - y0)],
        "score": round(float(detection.score), 5),
    }
    if detection.mask is not None:
        rle = coco_mask.encode(np.asfortranarray(detection.mask, dtype=np.uint8))
        result["segmentation"] = {"size": list(rle["size"]), "counts": rle["counts"].decode()}
    if detection.keypoints is not None and person:
        assert detection.keypoints.shape == (len(KEYPOINTS), 3)
        result["keypoints"] = [round(float(v), 2) for v in detection.keypoints.ravel()]
    return result
