"""COCO's metrics, and the matches behind them, by arrays over all images at once: what COCOeval computes, faster.

Every number is the one that pycocotools computes (`reference`), matches included: overlaps of masks come from its C
code, those of boxes and keypoints from the same operations in the same order, and the greedy matching is its loop over
ground truths, run for many detections, areas and thresholds side by side. Nothing depends on a number of threads, or
on how the images are divided.

Speed comes from what is left out. Only pairs whose overlap reaches the lowest threshold can match, and those are few;
a detection without one is never looked at again, and those of different images do not wait for each other.

Dimensions: I images, K categories, cells (category times image, in that order), G ground truths, D detections, P
pairs, T thresholds, A areas.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import Params

from anonbench.records import KEYPOINTS
from anonbench.tasks.matches import Matches
from anonbench.tasks.scored import FIELDS, Scored, area_of, keypoints_of, runs_of
from anonbench.tasks.truth import Truth, counts_in

PAIRS = 1_000_000
"""Pairs of a detection and a ground truth that are compared together: bounds the memory to some 200 MB."""

_MOST = 1 - 1e-10
"""What COCOeval asks for at most of an overlap."""


@dataclass(frozen=True)
class GroundTruths:
    """Ground truths by cell, and there in the order of the file.

    ``cell`` int64 (G); ``shapes`` are boxes float64 (G, 4: x, y, width, height), masks (a list of G run lengths as
    pycocotools takes them) or keypoints float64 (G, 17, 3); ``boxes`` float64 (G, 4); ``area`` float64 (G), in pixels;
    ``crowd`` bool (G): may match many detections; ``ignored`` bool (G): neither to be found nor wrong to find.
    """

    cell: np.ndarray
    shapes: Any
    boxes: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True)
class Detections:
    """Detections by cell, and there by falling score. ``scores`` float64 (D); the rest as in `GroundTruths`."""

    cell: np.ndarray
    shapes: Any
    area: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Pairs:
    """Positions of detections and ground truths of one cell, sorted by both, and their overlap (float64), (P) each."""

    detection: np.ndarray
    truth: np.ndarray
    overlap: np.ndarray


def run_vectorized(
    iou_type: str,
    truth: Truth,
    detections: Sequence[dict[str, Any]],
    categories: Sequence[int],
    subset: str | None = None,
) -> Scored:
    """Do what `reference.run_cocoeval` does, with the same result."""
    params = Params(iou_type)
    areas = np.array(params.areaRng, dtype=np.float64)
    cells = _Cells(truth, categories)
    wanted = _ground_truths(iou_type, truth, cells, subset)
    found = _detections(iou_type, detections, cells, params.maxDets[-1])
    ignored = wanted.ignored[:, None] | _outside(wanted.area, areas)
    hit, excused = _match(wanted, found, ignored, _pairs(iou_type, wanted, found, params), params.iouThrs)
    excused |= ~hit & _outside(found.area, areas)[:, :, None]

    groups, place = truth.groups()
    group_of = np.array([place[image] for image in cells.images], dtype=np.int32)
    precision = np.full((len(params.iouThrs), len(params.recThrs), len(categories), len(areas)), -1.0)
    recall = np.full((len(params.iouThrs), len(categories), len(areas)), -1.0)
    matches: dict[int, Matches] = {}
    for k, category in enumerate(categories):
        ours, theirs = cells.of_category(k, found.cell), cells.of_category(k, wanted.cell)
        order = np.argsort(-found.scores[ours], kind="stable")
        hits, excuses = (np.ascontiguousarray(of[ours][order].transpose(1, 2, 0)) for of in (hit, excused))
        for a, total in enumerate((~ignored[theirs]).sum(axis=0)):
            if total:
                precision[:, :, k, a], recall[:, k, a] = _curve(
                    hits[a] & ~excuses[a], ~excuses[a], total, params.recThrs
                )
        counted = cells.image_of(wanted.cell[theirs][~ignored[theirs, 0]])
        matches[category] = Matches(
            scores=found.scores[ours][order],
            image=group_of[cells.image_of(found.cell[ours][order])],
            matched=np.asfortranarray(hits[0].view(np.uint8)),  # as pycocotools leaves them: files have one form
            ignored=np.asfortranarray(excuses[0].view(np.uint8)),
            instances=np.bincount(group_of[counted], minlength=len(groups)).astype(np.int32),
        )
    return Scored.of(precision, recall, matches)


class _Cells:
    """The cells of images and categories, whose ids are given."""

    def __init__(self, truth: Truth, categories: Sequence[int]) -> None:
        self.images = sorted(truth.images)
        self._place = {image: i for i, image in enumerate(self.images)}
        self._start = {category: k * len(self.images) for k, category in enumerate(categories)}

    def sort(self, entries: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], np.ndarray]:
        """Return the entries that are of the categories, and their cells, int64."""
        kept = [entry for entry in entries if entry["category_id"] in self._start]
        cells = (self._start[entry["category_id"]] + self._place[entry["image_id"]] for entry in kept)
        return kept, np.fromiter(cells, dtype=np.int64, count=len(kept))

    def of_category(self, k: int, cells: np.ndarray) -> slice:
        """Return which of some sorted cells are the k-th category's."""
        return slice(*np.searchsorted(cells, (k * len(self.images), (k + 1) * len(self.images))).tolist())

    def image_of(self, cells: np.ndarray) -> np.ndarray:
        """Return the positions of the images of some cells."""
        return cells % len(self.images)


def _ground_truths(iou_type: str, truth: Truth, cells: _Cells, subset: str | None) -> GroundTruths:
    annotations, cell = cells.sort(truth.annotations)
    order = np.argsort(cell, kind="stable")
    annotations = [annotations[i] for i in order]
    crowd = np.array([bool(a.get("iscrowd")) for a in annotations], dtype=bool)
    ignored = crowd.copy()
    if subset is not None:
        ignored |= np.array([not counts_in(a, subset) for a in annotations], dtype=bool)
    boxes = _numbers([a["bbox"] for a in annotations], 4)
    shapes: Any = boxes
    if iou_type == "segm":
        shapes = [runs_of(a["segmentation"], truth.images[a["image_id"]]) for a in annotations]
    if iou_type == "keypoints":
        shapes = _points([keypoints_of(a) for a in annotations])
        ignored |= ~(shapes[:, :, 2] > 0).any(axis=1)
    area = np.array([area_of(a, truth.images[a["image_id"]]) for a in annotations], dtype=np.float64)
    return GroundTruths(cell[order], shapes, boxes, area, crowd, ignored)


def _detections(iou_type: str, entries: Sequence[dict[str, Any]], cells: _Cells, most: int) -> Detections:
    """Return the detections, of each cell the ``most`` with the highest scores."""
    entries, cell = cells.sort(entries)
    scores = np.array([d["score"] for d in entries], dtype=np.float64)
    order = np.lexsort((-scores, cell))
    order = order[_rank(cell[order]) < most]
    cell, scores = cell[order], scores[order]
    values = [entries[i][FIELDS[iou_type]] for i in order]
    if iou_type == "segm":
        return Detections(cell, values, _mask_areas(values), scores)
    if iou_type == "bbox":
        boxes = _numbers(values, 4)
        return Detections(cell, boxes, _box_areas(boxes), scores)
    points = _points(values)
    width, height = np.ptp(points[:, :, :2], axis=1).T
    return Detections(cell, points, width * height, scores)


def _numbers(rows: list[list[float]], columns: int) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(-1, columns)


def _points(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(-1, len(KEYPOINTS), 3)


def _box_areas(boxes: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):  # boxes of 1e300 pixels overflow here as in pycocotools
        areas: np.ndarray = boxes[:, 2] * boxes[:, 3]
    return areas


def _mask_areas(masks: list[Any]) -> np.ndarray:
    # of pycocotools 2.0.11, which counts them in eight bits, more than 255 at once are an OverflowError
    parts = [coco_mask.area(masks[i : i + 255]) for i in range(0, len(masks), 255)]
    return np.concatenate([np.zeros(0), *parts])


def _rank(cell: np.ndarray) -> np.ndarray:
    """Return the position of each entry of sorted cells in its cell."""
    return np.arange(len(cell)) - np.searchsorted(cell, cell)


def _outside(area: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Tell which objects' areas (N) lie outside each range of areas (A, 2); bool (N, A)."""
    return (area[:, None] < areas[:, 0]) | (area[:, None] > areas[:, 1])


def _pairs(iou_type: str, wanted: GroundTruths, found: Detections, params: Params) -> Pairs:
    """Return all pairs of one cell whose overlap is not below the lowest threshold."""
    lowest = min(params.iouThrs[0], _MOST)
    overlaps: Callable[[np.ndarray, np.ndarray], np.ndarray]
    if iou_type == "bbox":
        overlaps = functools.partial(_box_overlaps, wanted, found)
    elif iou_type == "segm":
        overlaps = _MaskOverlaps(wanted, found, lowest)
    else:
        overlaps = functools.partial(_keypoint_overlaps, wanted, found, params.kpt_oks_sigmas)
    kept = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))]
    for d, g in _of_one_cell(wanted.cell, found.cell):
        with np.errstate(all="ignore"):
            overlap = overlaps(d, g)
        some = ~(overlap < lowest)
        beyond = np.isnan(overlap)
        if beyond.any():  # after one that is no number COCOeval takes the next, however small
            some |= np.isin(d, d[beyond])
        kept.append((d[some], g[some], overlap[some]))
    return Pairs(*map(np.concatenate, zip(*kept, strict=True)))


def _of_one_cell(wanted: np.ndarray, found: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the positions of all detections and ground truths of one cell, pair by pair, some `PAIRS` at a time."""
    first = np.searchsorted(wanted, found)
    count = np.searchsorted(wanted, found, side="right") - first
    ends = np.cumsum(count)
    start = 0
    while start < len(found):
        before = ends[start] - count[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + PAIRS, side="right")))
        of = slice(start, stop)
        d = np.repeat(np.arange(start, stop), count[of])
        yield d, np.arange(len(d)) + np.repeat(first[of] - (ends[of] - count[of] - before), count[of])
        start = stop


def _box_overlaps(wanted: GroundTruths, found: Detections, d: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return the intersection over union of pairs of boxes, or over the detection where the ground truth is a crowd."""
    ours, theirs = found.shapes[d], wanted.shapes[g]
    return _overlaps(ours, theirs, found.area[d], _box_areas(theirs), wanted.crowd[g])


def _overlaps(
    ours: np.ndarray, theirs: np.ndarray, found: np.ndarray, wanted: np.ndarray, crowd: np.ndarray, most: Any = np.inf
) -> np.ndarray:
    """Return the overlaps of things with these boxes (P, 4) and areas (P), as `bbIou` of pycocotools' maskApi.c.

    Their intersections are no larger than ``most``.
    """
    w = np.minimum(ours[:, 2] + ours[:, 0], theirs[:, 2] + theirs[:, 0]) - np.maximum(ours[:, 0], theirs[:, 0])
    h = np.minimum(ours[:, 3] + ours[:, 1], theirs[:, 3] + theirs[:, 1]) - np.maximum(ours[:, 1], theirs[:, 1])
    common = np.minimum(w * h, most)
    return np.where((w <= 0) | (h <= 0), 0, common / np.where(crowd, found, found + wanted - common))


class _MaskOverlaps:
    """The intersection over union of pairs of masks, or over the detection where the ground truth is a crowd.

    Pairs whose overlap must be below ``lowest``, as their areas and boxes say, get what it is at most.
    """

    def __init__(self, wanted: GroundTruths, found: Detections, lowest: float) -> None:
        self.wanted, self.found, self.lowest = wanted, found, lowest
        self.areas = _mask_areas(wanted.shapes)
        self.boxes = [_mask_boxes(of.shapes) for of in (wanted, found)]

    def __call__(self, d: np.ndarray, g: np.ndarray) -> np.ndarray:
        theirs, ours = self.boxes
        found, wanted = self.found.area[d], self.areas[g]
        overlap = _overlaps(ours[d], theirs[g], found, wanted, self.wanted.crowd[g], np.minimum(found, wanted))
        possible = np.flatnonzero(~(overlap < self.lowest))
        overlap[possible] = self._exact(d[possible], g[possible])
        return overlap

    def _exact(self, d: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return pycocotools' overlaps, which it computes for all detections and ground truths of an image."""
        if not len(d):
            return np.zeros(0)
        new = np.diff(d, prepend=-1) != 0
        rows, row = d[new], np.cumsum(new) - 1
        cell = self.found.cell[rows]
        starts = np.flatnonzero(np.diff(cell, prepend=-1))
        ends = np.append(starts[1:], len(rows))
        first, last = (np.searchsorted(self.wanted.cell, cell[starts], side=side) for side in ("left", "right"))
        found = [self.found.shapes[i] for i in rows]
        crowd = self.wanted.crowd.astype(np.uint8)
        blocks = [
            coco_mask.iou(found[i:j], self.wanted.shapes[p:q], crowd[p:q]).ravel()
            for i, j, p, q in zip(starts.tolist(), ends.tolist(), first.tolist(), last.tolist(), strict=True)
        ]
        at = np.cumsum([0, *map(len, blocks[:-1])])
        block = np.searchsorted(starts, row, side="right") - 1
        return np.concatenate(blocks)[at[block] + (row - starts[block]) * (last - first)[block] + g - first[block]]


def _mask_boxes(masks: list[Any]) -> np.ndarray:
    return np.array(coco_mask.toBbox(masks) if masks else [], dtype=np.float64).reshape(-1, 4)


def _keypoint_overlaps(
    wanted: GroundTruths, found: Detections, sigmas: np.ndarray, d: np.ndarray, g: np.ndarray
) -> np.ndarray:
    """Return the object keypoint similarity of pairs, as `COCOeval.computeOks`: by the keypoints that are labelled.

    Where none is, the ground truth's box, twice as large, takes their place. Pairs are taken together by the number of
    labelled keypoints, so that each sum has the terms and the order of pycocotools.
    """
    variances = (sigmas * 2) ** 2
    labelled = wanted.shapes[:, :, 2] > 0
    count = labelled.sum(axis=1)
    first = np.argsort(~labelled, axis=1, kind="stable")  # those that are labelled come first, in their order
    overlap = np.zeros(len(d))
    for n in np.unique(count[g]):
        of = np.flatnonzero(count[g] == n)
        i, j = d[of], g[of]
        if n:
            points = first[j, :n]
            dx, dy = np.moveaxis(
                np.take_along_axis(found.shapes[i, :, :2] - wanted.shapes[j, :, :2], points[:, :, None], 1), 2, 0
            )
            variance = variances[points]
        else:
            low = wanted.boxes[j, :2] - wanted.boxes[j, 2:]
            high = wanted.boxes[j, :2] + wanted.boxes[j, 2:] * 2
            at = found.shapes[i, :, :2]
            dx, dy = np.moveaxis(np.maximum(0, low[:, None] - at) + np.maximum(0, at - high[:, None]), 2, 0)
            variance = variances[None]
        e = (dx**2 + dy**2) / variance / (wanted.area[j] + np.spacing(1))[:, None] / 2
        overlap[of] = np.exp(-e).sum(axis=1) / e.shape[1]
    return overlap


def _match(
    wanted: GroundTruths, found: Detections, ignored: np.ndarray, pairs: Pairs, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which detections match a ground truth, and which of those one that does not count, bool (D, A, T) each.

    ``ignored`` (G, A) are the ground truths that do not count. In each cell detections choose in the order of their
    scores, each the ground truth with the largest overlap that is left, the later one of equals, and one that does not
    count only where no other is left (`COCOeval.evaluateImg`). A turn is one choice in every cell that has another
    detection that may match.
    """
    shape = ignored.shape[1], len(thresholds)
    hit = np.zeros((len(found.cell), *shape), dtype=bool)
    excused = np.zeros_like(hit)
    taken = np.zeros((len(wanted.cell), *shape), dtype=bool)
    first = np.flatnonzero(np.diff(pairs.detection, prepend=-1))
    chooser = pairs.detection[first]
    count = np.diff(first, append=len(pairs.detection))
    turn = _rank(found.cell[chooser])
    order = np.lexsort((-count, turn))  # in a turn those who have most to choose from come first
    for rows in np.split(order, np.flatnonzero(np.diff(turn[order])) + 1):
        best = np.broadcast_to(np.minimum(thresholds, _MOST), (len(rows), *shape)).copy()
        chosen = np.full(best.shape, -1)
        settled = np.zeros(best.shape, dtype=bool)
        for counts in (True, False):
            for k in range(count[rows].max(initial=0)):
                some = rows[: np.searchsorted(-count[rows], -k)]  # those who have more than k
                n, pair = len(some), first[some] + k
                g, overlap = pairs.truth[pair], pairs.overlap[pair][:, None, None]
                left = wanted.crowd[g][:, None, None] | ~taken[g]
                fits = (ignored[g] != counts)[:, :, None] & left & ~(overlap < best[:n]) & ~settled[:n]
                np.copyto(best[:n], overlap, where=fits)
                np.copyto(chosen[:n], g[:, None, None], where=fits)
            settled = chosen >= 0
        row, a, t = np.nonzero(settled)
        g = chosen[row, a, t]
        taken[g, a, t] = True
        hit[chooser[rows[row]], a, t] = True
        excused[chooser[rows[row]], a, t] = ignored[g, a]
    return hit, excused


def _curve(right: np.ndarray, counted: np.ndarray, total: int, recalls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the interpolated precision at the recalls (T, R) and the recall reached (T), as `COCOeval.accumulate`.

    Of detections by falling score, ``right`` and ``counted`` bool (T, D) say which are right and which count at all;
    ``total`` ground truths count. Only at those that are right does the recall rise, and the precision is highest.
    """
    precision = np.zeros((len(right), len(recalls)))
    reached = np.zeros(len(right))
    for t, (hits, seen) in enumerate(zip(right, np.cumsum(counted, axis=1), strict=True)):
        at = np.flatnonzero(hits)
        true = np.arange(1, len(at) + 1)
        best = np.maximum.accumulate((true / (seen[at] + np.spacing(1)))[::-1])[::-1]
        where = np.searchsorted(true / total, recalls)
        known = where < len(at)
        precision[t, known] = best[where[known]]
        reached[t] = len(at) / total
    return precision, reached
