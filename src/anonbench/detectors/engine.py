"""How a detector looks at an image: in several sizes, in tiles, with one list of boxes of what it finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product

import cv2
import numpy as np

from anonbench.detectors.base import Detector, nms, order
from anonbench.detectors.config import DetectorConfig

_EDGE = 1.0
"""A box that comes this near (pixels) to the side of a tile inside the image may be a part of something larger."""
_PART = 0.5
"""Such a box goes when a whole one holds more than this share of it."""


@dataclass(frozen=True, slots=True)
class View:
    """What the detector is shown: x0, y0, x1, y1 (end exclusive) of the image resized to ``size`` (width, height)."""

    size: tuple[int, int]
    box: tuple[int, int, int, int]


def detect(detector: Detector, pixels: np.ndarray, config: DetectorConfig) -> np.ndarray:
    """Return what a detector finds in an image (uint8 HxWx3, RGB), looked at as ``config`` says.

    The result is float32 (n, 5): x, y, width, height in the image's pixels (may leave it) and score, the best first.
    """
    height, width = pixels.shape[:2]
    todo = views(width, height, config.scales, config.tile, config.overlap)
    whole, parts = [np.zeros((0, 5), np.float32)], [np.zeros((0, 5), np.float32)]
    shown = _shown(pixels, todo)
    while few := list(islice(shown, detector.batch)):
        for (view, _), boxes in zip(few, detector.detect([image for _, image in few]), strict=True):
            cut = _cut(boxes, view)
            (w, h), (x0, y0, _, _) = view.size, view.box
            scale = np.array([width / w, height / h, width / w, height / h, 1], np.float32)
            boxes = (boxes + np.array([x0, y0, 0, 0, 0], np.float32)) * scale
            whole.append(boxes[~cut])
            parts.append(boxes[cut])
    return _merge(np.concatenate(whole), np.concatenate(parts), config.nms)


def views(width: int, height: int, scales: list[float], tile: int | None, overlap: float) -> list[View]:
    """Return what to look at in an image of ``width`` x ``height`` pixels.

    Without ``tile`` that is the image in every size. With it, sizes that are larger than a tile are cut into tiles of
    equal size that share at least ``overlap`` of their side, and if no size is left whole, the image is added in the
    largest size that fits into a tile: what is larger than the overlap may be whole in no tile.
    """
    found: list[View] = []
    whole = False
    for scale in sorted(scales):
        size = _scaled(width, height, scale)
        columns, rows = (_spans(side, tile, overlap) for side in size)
        whole |= len(columns) == len(rows) == 1
        found += [View(size, (x0, y0, x1, y1)) for (y0, y1), (x0, x1) in product(rows, columns)]
    if tile is not None and not whole:
        size = _scaled(width, height, tile / max(width, height))
        found.insert(0, View(size, (0, 0, *size)))
    return found


def _scaled(width: int, height: int, scale: float) -> tuple[int, int]:
    return max(1, round(width * scale)), max(1, round(height * scale))


def _spans(side: int, tile: int | None, overlap: float) -> list[tuple[int, int]]:
    """Return first and end (exclusive) of the tiles along a side."""
    if tile is None or side <= tile:
        return [(0, side)]
    number = 1 - int(-(side - tile) // (tile * (1 - overlap)))
    starts = [round(index * (side - tile) / (number - 1)) for index in range(number)]
    return [(start, start + tile) for start in starts]


def _shown(pixels: np.ndarray, todo: list[View]) -> Iterator[tuple[View, np.ndarray]]:
    """Yield the views' pixels; every size is made once."""
    size, resized = None, pixels
    for view in todo:
        if view.size != size:
            size = view.size
            smaller = size[0] < pixels.shape[1]
            same = size == (pixels.shape[1], pixels.shape[0])
            how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            resized = pixels if same else cv2.resize(pixels, size, interpolation=how)
        x0, y0, x1, y1 = view.box
        shown = np.ascontiguousarray(resized[y0:y1, x0:x1]).view()
        shown.flags.writeable = False
        yield view, shown


def _cut(boxes: np.ndarray, view: View) -> np.ndarray:
    """Return which boxes (n, 5), in a tile's pixels, reach one of its sides that lies inside the image."""
    (w, h), (x0, y0, x1, y1) = view.size, view.box
    return (
        ((x0 > 0) & (boxes[:, 0] <= _EDGE))
        | ((y0 > 0) & (boxes[:, 1] <= _EDGE))
        | ((x1 < w) & (boxes[:, 0] + boxes[:, 2] >= x1 - x0 - _EDGE))
        | ((y1 < h) & (boxes[:, 1] + boxes[:, 3] >= y1 - y0 - _EDGE))
    )


def _merge(whole: np.ndarray, parts: np.ndarray, iou: float) -> np.ndarray:
    """Return one list of boxes (n, 5): parts that a tile's side cut stay where nothing whole explains them."""
    kept = nms(whole, iou)
    for part in parts[order(parts)]:
        wide = np.minimum(part[0] + part[2], kept[:, 0] + kept[:, 2]) - np.maximum(part[0], kept[:, 0])
        high = np.minimum(part[1] + part[3], kept[:, 1] + kept[:, 3]) - np.maximum(part[1], kept[:, 1])
        inside = np.clip(wide, 0, None) * np.clip(high, 0, None)
        area, areas = part[2] * part[3], kept[:, 2] * kept[:, 3]
        if not ((inside > _PART * area) | (inside > iou * (area + areas - inside))).any():
            kept = np.concatenate([kept, part[None]])
    return kept[order(kept)]


def inside(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the boxes cut to the frame; what lies outside it goes."""
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]], axis=1)
    corners = np.clip(corners, 0, np.array([width, height, width, height], np.float32))
    clipped = np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2], boxes[:, 4]]).astype(np.float32)
    return clipped[(clipped[:, 2] > 0) & (clipped[:, 3] > 0)]
