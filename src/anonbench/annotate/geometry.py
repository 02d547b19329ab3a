"""Boxes, masks and head boxes from COCO annotations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from anonbench.records import KEYPOINTS, Box
from anonbench.regions import runs_of
from anonbench.windows import PixelBox

LONGEST_OUTLINE = 4_000_000
"""Pixels along all polygons of a person beyond which they are not drawn: pycocotools takes some 50 bytes for each."""

HEAD = [KEYPOINTS.index(name) for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
FRONT = HEAD[:3]
SHOULDERS = [KEYPOINTS.index(name) for name in ("left_shoulder", "right_shoulder")]


class InvalidGeometry(ValueError):
    """A box or a segmentation that cannot be drawn; the message says what is wrong with it."""


def box_of(value: Any) -> Box:
    """Return a COCO box as four finite floats with positive sides; raise InvalidGeometry otherwise."""
    try:
        x, y, w, h = (float(v) for v in value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidGeometry(f"bbox {value!r:.80} is not four numbers") from None
    if not all(math.isfinite(v) for v in (x, y, w, h, x + w, y + h, w * h)):
        raise InvalidGeometry("bbox is not finite")
    if w <= 0 or h <= 0:
        raise InvalidGeometry(f"bbox has no size ({w:g}x{h:g})")
    return x, y, w, h


def pixel_box(box: Box, width: int, height: int) -> PixelBox | None:
    """Return the pixels inside the image that a box touches as x0, y0, x1, y1 (end exclusive), None without any."""
    x, y, w, h = box
    x0, y0 = max(0, math.floor(x + 1e-6)), max(0, math.floor(y + 1e-6))
    x1, y1 = min(width, math.ceil(x + w - 1e-6)), min(height, math.ceil(y + h - 1e-6))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def bounded(box: Box, width: int, height: int) -> Box:
    """Return the part of a box that is within an image's width and height of the image, some pixels of it at least.

    It is what a method's strength follows: boxes without end ask for memory without end.
    """
    x, y, w, h = box
    if x >= -width and y >= -height and x + w <= 2 * width and y + h <= 2 * height:
        return box
    x0, y0 = min(max(x, -width), 2.0 * width - 1), min(max(y, -height), 2.0 * height - 1)
    x1, y1 = min(max(x + w, x0 + 1), 2.0 * width), min(max(y + h, y0 + 1), 2.0 * height)
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)


def holds(box: Box, rle: dict[str, Any]) -> bool:
    """Tell whether a box holds half of an RLE's set pixels or more."""
    bounds = mask_bounds(rle)
    if bounds is None:
        return True
    x, y, w, h = box
    if x - 1 <= bounds[0] and y - 1 <= bounds[1] and x + w + 1 >= bounds[2] and y + h + 1 >= bounds[3]:
        return True
    height, width = rle["size"]
    pixels = pixel_box(box, width, height)
    if pixels is None:
        return False
    inside = coco_mask.merge([rle, union_of_boxes([box], width, height)], intersect=True)
    return 2 * area(inside) >= area(rle)


def rle_of(segmentation: Any, width: int, height: int) -> dict[str, Any]:
    """Return COCO's compressed RLE (``size``, ``counts`` as bytes) of a segmentation, by pycocotools.

    Raises InvalidGeometry when any polygon cannot be drawn (fewer than three points, not finite numbers): what is left
    would show the rest of the person; and for an RLE that does not fit an image of ``width`` x ``height`` pixels.
    """
    checked = check_segmentation(segmentation, width, height)
    if isinstance(checked, dict):
        return checked
    drawn = coco_mask.frPyObjects(checked, height, width)
    return drawn[0] if len(drawn) == 1 else coco_mask.merge(drawn)


def check_segmentation(segmentation: Any, width: int, height: int) -> list[list[float]] | dict[str, Any]:
    """Return a segmentation that can be drawn: its polygons, or its RLE in compressed form; raise as `rle_of` does."""
    if isinstance(segmentation, dict):
        return _check_rle(segmentation, width, height)
    if not isinstance(segmentation, list) or not segmentation:
        raise InvalidGeometry("no segmentation")
    bad = sum(not _drawable(polygon) for polygon in segmentation)
    if bad:
        raise InvalidGeometry(f"{bad} of {len(segmentation)} polygons lack three finite points")
    if sum(map(_outline, segmentation)) > LONGEST_OUTLINE:
        raise InvalidGeometry(f"the outlines of its polygons are longer than {LONGEST_OUTLINE} pixels")
    return segmentation


def _drawable(polygon: Any) -> bool:
    """Tell whether a polygon is a flat list of three or more finite points of a sensible size."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    try:
        return max(polygon) < 1e6 and min(polygon) > -1e6 and math.isfinite(math.fsum(polygon))
    except (TypeError, ValueError, OverflowError):
        return False


def _outline(polygon: list[float]) -> float:
    """Return the length of a polygon's outline, each side by its longer extent."""
    if (max(polygon) - min(polygon)) * len(polygon) < 20_000:  # of nearly all people, cheaply: no side is longer
        return 0.0
    points = np.asarray(polygon, np.float64).reshape(-1, 2)
    return float(np.abs(np.diff(points, axis=0, append=points[:1])).max(axis=1).sum())


def _check_rle(rle: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, (list, tuple)) or [*size] != [height, width]:
        raise InvalidGeometry(f"RLE is for size {size}, the image is {[height, width]}")
    try:
        if isinstance(counts, list):
            runs = np.asarray(counts, dtype=np.int64)
            if (runs < 0).any() or runs.sum() != width * height:
                raise InvalidGeometry(f"RLE covers {runs.sum()} pixels, the image has {width * height}")
            return coco_mask.frPyObjects(rle, height, width)
        if not isinstance(counts, (str, bytes)):
            raise InvalidGeometry("RLE has no counts")
        runs = runs_of(counts)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidGeometry(str(error)) from None
    if (runs < 0).any() or runs.sum() != width * height:
        raise InvalidGeometry(f"RLE covers {runs.sum()} pixels, the image has {width * height}")
    return {"size": [height, width], "counts": counts if isinstance(counts, bytes) else counts.encode()}


def mask_bounds(rle: dict[str, Any]) -> PixelBox | None:
    """Return x0, y0, x1, y1 (end exclusive) of an RLE's set pixels, None when it has none."""
    if not coco_mask.area(rle):
        return None
    x, y, w, h = (int(v) for v in coco_mask.toBbox(rle))
    return x, y, x + w, y + h


def union_of_boxes(boxes: Sequence[Box], width: int, height: int) -> dict[str, Any]:
    """Return the RLE of the pixels that any of the boxes touches, in an image of ``width`` x ``height`` pixels."""
    mask = np.zeros((height, width), np.uint8, order="F")
    for box in boxes:
        pixels = pixel_box(box, width, height)
        if pixels is not None:
            mask[pixels[1] : pixels[3], pixels[0] : pixels[2]] = 1
    return coco_mask.encode(mask)


def union(*rles: dict[str, Any]) -> dict[str, Any]:
    """Return the RLE of the pixels that any of several has set."""
    return coco_mask.merge(list(rles))


def area(rle: dict[str, Any]) -> int:
    """Return the number of set pixels of an RLE."""
    return int(coco_mask.area(rle))


def dilate(rle: dict[str, Any], radius: int) -> dict[str, Any]:
    """Return the RLE grown by a disc of ``radius`` pixels."""
    if radius < 1:
        return rle
    if radius > 100:  # OpenCV's time and memory grow with the area of the disc
        mask = coco_mask.decode(rle)
        if not mask.any():
            return rle
        away = cv2.distanceTransform(np.ascontiguousarray(1 - mask), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return coco_mask.encode(np.asfortranarray(away <= radius, np.uint8))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return coco_mask.encode(np.asfortranarray(cv2.dilate(coco_mask.decode(rle), disc)))


def keypoints_of(value: Any) -> np.ndarray | None:
    """Return COCO keypoints as float32 17x3 (x, y, visibility), or None when there are none or none is labelled."""
    if not isinstance(value, list) or len(value) != 3 * len(KEYPOINTS):
        return None
    if not all(isinstance(v, (int, float)) for v in value):
        return None
    try:
        with np.errstate(over="ignore"):
            points = np.asarray(value, dtype=np.float32).reshape(-1, 3)
    except OverflowError:
        return None
    if not np.isfinite(points).all() or not (points[:, 2] > 0).any():
        return None
    return points


def head_box(keypoints: np.ndarray, person: Box) -> Box | None:
    """Return a face box (x, y, w, h in pixels) from COCO keypoints 17x3, None when neither nose nor eye is labelled.

    The face is taken 1.3 times as high as wide. Its width is the largest that the labelled points ask for: 2.3 times
    the distance of the eyes, 1.15 times that of the ears, 2.0 times that of nose and ear (a head in profile), 0.45
    times that of the shoulders; a single point falls back on 0.4 of the person's shorter side. All of these are
    proportions of adult faces; the box is never wider than the person and always holds every labelled head point.
    """
    labelled = keypoints[:, 2] > 0
    front = [i for i in FRONT if labelled[i]]
    if not front:
        return None
    points = keypoints[:, :2].astype(np.float64)

    def distance(a: int, b: int) -> float:
        return float(np.hypot(*(points[a] - points[b]))) if labelled[a] and labelled[b] else 0.0

    nose, left_eye, right_eye, left_ear, right_ear = HEAD
    width = max(
        2.3 * distance(left_eye, right_eye),
        1.15 * distance(left_ear, right_ear),
        2.0 * distance(nose, left_ear),
        2.0 * distance(nose, right_ear),
        2.0 * distance(nose, left_eye),
        2.0 * distance(nose, right_eye),
        0.45 * distance(*SHOULDERS),
    )
    if width == 0:
        width = 0.4 * min(person[2], person[3])
    width = min(width, max(person[2], person[3]))
    height = 1.3 * width
    head = points[[i for i in HEAD if labelled[i]]]
    centre = points[front].mean(axis=0)
    x0 = min(centre[0] - width / 2, head[:, 0].min() - 0.05 * width)
    x1 = max(centre[0] + width / 2, head[:, 0].max() + 0.05 * width)
    y0 = min(centre[1] - 0.5 * height, head[:, 1].min() - 0.05 * height)
    y1 = max(centre[1] + 0.5 * height, head[:, 1].max() + 0.05 * height)
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)


def labelled_box(keypoints: np.ndarray) -> Box | None:
    """Return the smallest box that holds the labelled points of the head (COCO keypoints 17x3), None without any."""
    points = keypoints[HEAD][keypoints[HEAD, 2] > 0, :2].astype(np.float64)
    if not len(points):
        return None
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return float(x0), float(y0), float(x1 - x0) + 1, float(y1 - y0) + 1


def neck_box(head: Sequence[float]) -> Box | None:
    """Return a box (x, y, w, h in pixels) about the head between its top and the neck, None where one is not labelled.

    ``head`` holds x, y and visibility of both. The box is as high as they lie apart and 0.8 times as wide (a head's
    proportion in profile, so that it covers the face wherever it turns), but upright.
    """
    top_x, top_y, top, neck_x, neck_y, neck = (float(v) for v in head)
    height = math.hypot(top_x - neck_x, top_y - neck_y)
    if not (top and neck and height > 0):
        return None
    width = max(0.8 * height, abs(top_x - neck_x))
    x, y = (top_x + neck_x) / 2, (top_y + neck_y) / 2
    return x - width / 2, y - height / 2, width, height


def scaled(box: Box, factor: float) -> Box:
    """Return a box with both sides multiplied by ``factor`` about its centre."""
    x, y, w, h = box
    return x + w * (1 - factor) / 2, y + h * (1 - factor) / 2, w * factor, h * factor
