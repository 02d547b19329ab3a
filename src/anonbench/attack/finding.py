"""Which of the original boxes a detector still finds: matched as COCO does, at one overlap, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import Params

from anonbench.attack.contract import Statistic
from anonbench.tasks.matches import Matches, ap_from_matches
from anonbench.tasks.scored import AREAS

IOU = 0.5
"""Overlap (intersection over union) from which on a box counts as found, as a rule."""
BOUNDS = dict(zip(AREAS, Params("bbox").areaRng, strict=True))
"""COCO's sizes: least and largest area in pixels, both included."""
SIZES = AREAS[1:]


def size_of(area: float) -> str:
    """Return the name of a size: ``small`` below 32 x 32 pixels, ``medium`` below 96 x 96, or ``large``."""
    return next(name for name in SIZES if area < BOUNDS[name][1] or name == SIZES[-1])


@dataclass(frozen=True)
class Wanted:
    """What is to be found in an image.

    ``boxes`` float64 (G, 4): x, y, width, height in pixels; ``areas`` float64 (G,), what sizes go by; ``crowd`` bool
    (G,): places where finding something is neither right nor wrong, such as a crowd. ``overlap``: from which overlap
    (intersection over union) on a box counts as found.
    """

    boxes: np.ndarray = field(repr=False)
    areas: np.ndarray
    crowd: np.ndarray
    overlap: float = IOU


def match(found: np.ndarray, wanted: Wanted, size: str = AREAS[0]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match detections, float32 (D, 5) with the best first, to what is wanted of a size.

    As COCOeval does: each takes, of what no better one has taken, what it overlaps most, from ``overlap`` on; what is
    not to be counted only if there is nothing else. Returns bool (D,): those that are right; bool (D,): those that are
    neither right nor wrong; bool (G,): what was found.
    """
    least, most = BOUNDS[size]
    ignored = wanted.crowd | (wanted.areas < least) | (wanted.areas > most)
    boxes = np.asarray(found[:, :4], dtype=np.float64)
    outside = (boxes[:, 2] * boxes[:, 3] < least) | (boxes[:, 2] * boxes[:, 3] > most)
    right, excused, got = np.zeros(len(boxes), bool), np.zeros(len(boxes), bool), np.zeros(len(ignored), bool)
    if len(boxes) and len(ignored):
        overlaps = coco_mask.iou(boxes, wanted.boxes, wanted.crowd.astype(np.uint8))
        order = np.argsort(ignored, kind="stable")
        for k, row in enumerate(overlaps):
            best, mine = wanted.overlap, -1
            for place in order:
                if got[place] and not wanted.crowd[place]:
                    continue
                if mine >= 0 and not ignored[mine] and ignored[place]:
                    break
                if row[place] >= best:
                    best, mine = row[place], int(place)
            if mine >= 0:
                got[mine] = True
                right[k], excused[k] = not ignored[mine], ignored[mine]
    excused |= ~right & ~excused & outside
    return right, excused, got


def average_precision(found: Sequence[np.ndarray], wanted: Sequence[Wanted], size: str = AREAS[0]) -> Statistic:
    """Return AP (0..1) at their overlap over images, each counted as often as its weight says, with COCO's 101 recalls.

    ``found`` and ``wanted`` are those of each image, in order. NaN where nothing of the size is wanted.
    """
    right, excused, scores, image, instances = [], [], [], [], []
    for k, (boxes, truth) in enumerate(zip(found, wanted, strict=True)):
        hit, out, _ = match(boxes, truth, size)
        right.append(hit)
        excused.append(out)
        scores.append(boxes[:, 4].astype(np.float64))
        image.append(np.full(len(boxes), k, dtype=np.int32))
        least, most = BOUNDS[size]
        instances.append(int((~truth.crowd & (truth.areas >= least) & (truth.areas <= most)).sum()))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    ignored = np.concatenate(excused)[order][None]
    matches = Matches(
        scores=np.concatenate(scores)[order],
        image=np.concatenate(image)[order],
        matched=(np.concatenate(right)[order][None] | ignored).astype(np.uint8),
        ignored=ignored.astype(np.uint8),
        instances=np.array(instances, dtype=np.int32),
    )

    def statistic(weights: np.ndarray) -> np.ndarray:
        if not matches.matched.any():  # nothing right: there is no curve
            return np.where(weights @ matches.instances > 0, 0.0, np.nan)
        return ap_from_matches(matches, weights.astype(np.int32))[:, 0]

    return statistic
