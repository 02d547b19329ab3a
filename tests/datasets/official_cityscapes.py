"""The official definition of instance AP, for comparison with COCO's.

After evaluation/evalInstanceLevelSemanticLabeling.py of github.com/mcordts/cityscapesScripts (version 2.3), in our own
words and without its files: matches, regions to ignore, and the area under the precision-recall curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
THRESHOLDS = np.arange(0.5, 1.0, 0.05)
MIN_REGION = 100


@dataclass
class Prediction:
    """A detection: label id, confidence, mask (bool, height x width)."""

    label: int
    score: float
    mask: np.ndarray


Area = Callable[[np.ndarray, np.ndarray, int], float]


def stepwise(true: np.ndarray, score: np.ndarray, missed: int) -> float:
    """The official integral: precision at each confidence times the mean of the recall steps to both sides."""
    order = np.argsort(score)
    true, score = true[order], score[order]
    _, first = np.unique(score, return_index=True)
    below = np.concatenate(([0], np.cumsum(true)))[first]
    hits = true.sum() - below
    precision = hits / (len(true) - first)
    recall = hits / (true.sum() + missed)
    precision, recall = np.append(precision, precision[-1]), np.append(recall, 0.0)
    padded = np.concatenate((recall[:1], recall, [0.0]))
    return float(precision @ ((padded[:-2] - padded[2:]) / 2))


def interpolated(true: np.ndarray, score: np.ndarray, missed: int) -> float:
    """COCO's integral: the mean over 101 recalls of the best precision at that recall or a higher one."""
    order = np.argsort(-score, kind="mergesort")
    hits = np.cumsum(true[order])
    recall, precision = hits / (true.sum() + missed), hits / np.arange(1, len(true) + 1)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    return float(best[np.searchsorted(recall, np.linspace(0, 1, 101))].mean())


def average_precision(
    truth: list[np.ndarray],
    found: list[list[Prediction]],
    label: int,
    area: Area = stepwise,
    min_region: int = MIN_REGION,
    at_least: bool = False,
) -> float:
    """Return the AP (0..1) of a class over instanceIds images (integers, height x width) and their predictions.

    The official values are the defaults; ``at_least`` lets an overlap of exactly the threshold count, as COCO does.
    """
    limits = THRESHOLDS - 1e-9 if at_least else THRESHOLDS
    return float(np.mean([_average_precision(truth, found, label, float(t), area, min_region) for t in limits]))


def _average_precision(
    truth: list[np.ndarray], found: list[list[Prediction]], label: int, threshold: float, area: Area, min_region: int
) -> float:
    true: list[float] = []
    score: list[float] = []
    missed = 0
    for ids, all_predictions in zip(truth, found, strict=True):
        predictions = [p for p in all_predictions if p.label == label and p.mask.any()]
        void = np.isin(ids, VOID)
        values = [int(v) for v in np.unique(ids) if v == label or v // 1000 == label]
        sizes = {v: int((ids == v).sum()) for v in values}
        common = [{v: int((p.mask & (ids == v)).sum()) for v in values} for p in predictions]
        hits: dict[int, list[float]] = {v: [] for v in values if v >= 1000 and sizes[v] >= min_region}
        for prediction, shared in zip(predictions, common, strict=True):
            pixels = int(prediction.mask.sum())
            over = [v for v in values if shared[v] / (sizes[v] + pixels - shared[v]) > threshold]
            for value in over:
                if value in hits:
                    hits[value].append(prediction.score)
            if not over:
                ignored = int((void & prediction.mask).sum())
                ignored += sum(shared[v] for v in values if v < 1000)
                ignored += sum(shared[v] for v in values if sizes[v] < min_region)
                if ignored / pixels <= threshold:
                    true.append(0)
                    score.append(prediction.score)
        for scores in hits.values():
            missed += not scores
            for rank, value in enumerate(sorted(scores, reverse=True)):
                true.append(rank == 0)
                score.append(value)
    if not true:
        return 0.0
    return area(np.array(true, float), np.array(score), missed)
