"""Which detection matched, per image: all that AP needs, kept so that images can be resampled without COCOeval.

They are those at area `all` and COCO's largest number of detections per image (100; 20 for keypoints).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RECALLS = np.linspace(0.0, 1.0, 101)
"""The recalls that COCO reads precision at."""

BATCH = 4_000_000
"""Entries of the largest temporary array in `ap_from_matches`: bounds its memory to a few dozen MB."""


@dataclass(frozen=True)
class Matches:
    """Detections of one category, highest score first (ties in COCOeval's order), D in all, at T thresholds.

    Images are those that are drawn when truth is resampled, or videos, with all their frames (`Truth.groups`).
    ``scores`` float64 (D); ``image`` int32 (D), index into the images; ``matched`` and ``ignored`` uint8 (T, D):
    matched to a ground truth; matched to one that does not count (crowd, no labelled keypoint); ``instances``
    int32 (I): ground truths that count, per image.
    """

    scores: np.ndarray
    image: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray
    instances: np.ndarray


def ap_from_matches(matches: Matches, image_weights: np.ndarray | None = None) -> np.ndarray:
    """Return AP (0..1) at every threshold, each image counted as often as its weight says.

    ``image_weights`` is (I,) or (B, I), not negative; all ones when None. Returns (T,) or (B, T); NaN where no
    ground truth has weight. The mean over T is COCO's AP. With weights of one it is pycocotools' `accumulate`
    (interpolated precision at 101 recalls, Everingham et al. 2010, section 4.2), to rounding in the last digit.

    Only rows of true positives are looked at: precision falls and recall stands still between them. A weight of n
    equals n copies of the image, but for ties of score inside one image.
    """
    if image_weights is None:
        image_weights = np.ones(len(matches.instances), dtype=np.int32)
    weights = np.asarray(image_weights)
    if np.issubdtype(weights.dtype, np.integer):
        weights = weights.astype(np.int32)
    if weights.ndim == 1:
        return _ap(matches, weights[:, None])[0]
    step = max(1, BATCH // max(1, len(matches.scores)))
    parts = [_ap(matches, np.ascontiguousarray(weights[i : i + step].T)) for i in range(0, len(weights), step)]
    return np.concatenate(parts)


def _ap(matches: Matches, weights: np.ndarray) -> np.ndarray:
    """Return (B, T) from weights (I, B)."""
    total = matches.instances @ weights
    seen = np.cumsum(weights[matches.image], axis=0)
    ap = np.zeros((weights.shape[1], len(matches.matched)))
    for t, (matched, ignored) in enumerate(zip(matches.matched, matches.ignored, strict=True)):
        hits = np.flatnonzero(matched & (1 - ignored))
        if not len(hits):
            continue
        out = np.flatnonzero(ignored)
        counted = seen[hits]
        if len(out):
            skipped = np.cumsum(weights[matches.image[out]], axis=0)
            before = np.searchsorted(out, hits)
            some = before > 0
            counted[some] -= skipped[before[some] - 1]
        true = np.cumsum(weights[matches.image[hits]], axis=0)
        precision = true / (counted + np.spacing(1))
        np.maximum.accumulate(precision[::-1], axis=0, out=precision[::-1])
        with np.errstate(invalid="ignore", divide="ignore"):
            reached = _recalls_reached(true / total)
        precision *= np.diff(reached, axis=0, prepend=0)
        ap[:, t] = precision.sum(axis=0) / len(RECALLS)
    ap[total == 0] = np.nan
    return ap


def _recalls_reached(recall: np.ndarray) -> np.ndarray:
    """Return how many of `RECALLS` are at most ``recall``: ``searchsorted(RECALLS, recall, 'right')``, faster."""
    last = len(RECALLS) - 1
    near = np.clip(np.nan_to_num(recall) * last + 1e-9, 0, last).astype(np.int32)
    return near + (RECALLS[near] <= recall)
