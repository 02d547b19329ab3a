"""Which detection matched, per image: all that AP needs, kept so that images can be resampled without COCOeval.

They are those at area `all` and COCO's largest number of detections per image (100; 20 for keypoints).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RECALLS = np.linspace(0.0, 1.0, 101)
"""The recalls that COCO reads precision at."""

LANES = 1024
"""Running sums that are added side by side, since the next addition to one has to wait for the last."""


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

    ``image_weights`` is (I,) or (B, I), whole numbers that are not negative; all ones when None. Returns (T,) or
    (B, T); NaN where no ground truth has weight. The mean over T is COCO's AP. With weights of one it is pycocotools'
    `accumulate` (interpolated precision at 101 recalls, Everingham et al. 2010, section 4.2), to rounding in the last
    digit. A weight of n equals n copies of the image, but for ties of score inside one image.

    All sums are of whole numbers and so are exact: neither their order nor the processor matters.
    Raises ValueError for weights that are not whole.
    """
    if image_weights is None:
        image_weights = np.ones(len(matches.instances), dtype=np.int32)
    weights = np.atleast_2d(image_weights)
    if weights.dtype.kind not in "iu" and not (weights == np.floor(weights)).all():
        raise ValueError("weights are whole numbers: how often an image is drawn")
    ap = _ap(matches, weights)
    return ap if np.ndim(image_weights) == 2 else ap[0]


def _ap(matches: Matches, weights: np.ndarray) -> np.ndarray:
    """Return (B, T) from weights (B, I).

    Precision is computed at the end of each run of right detections alone. Within a run it rises, whatever the
    weights, and after it falls until the next; since the precision at a recall is the highest at that recall or beyond,
    no other place can have a say.
    """
    curves = _Curves(matches)
    total = np.array([row @ matches.instances for row in weights], dtype=np.float64)
    best = np.zeros((len(RECALLS), len(weights), len(matches.matched)))
    drawn = np.zeros(weights.shape[1] + 1, dtype=np.int32)
    for b, needed in enumerate(_needed(total)):
        drawn[:-1] = weights[b]
        curves.read(drawn, needed, best[:, b])
    np.maximum.accumulate(best[::-1], axis=0, out=best[::-1])
    ap: np.ndarray = best.sum(axis=0) / len(RECALLS)
    ap[total == 0] = np.nan
    return ap


def _needed(total: np.ndarray) -> np.ndarray:
    """Return how many of the ground truths (B) must be found to reach each of the `RECALLS`; whole numbers (B, R)."""
    total = np.maximum(total, 1)[:, None]
    needed = np.ceil(total * RECALLS)
    needed -= (needed - 1) / total >= RECALLS  # the product may be off by the last digit; the quotient is COCOeval's
    needed += needed / total < RECALLS
    return needed.astype(np.int64)


class _Curves:
    """The precision-recall curves of some matches at all thresholds, one after the other, for any weights.

    Ends are those of runs of right detections; E in all, by threshold and then by score.
    """

    def __init__(self, matches: Matches) -> None:
        detections = len(matches.scores)
        excused = [np.flatnonzero(row) for row in matches.ignored]
        hits = [np.flatnonzero(row) for row in (matches.matched != 0) & (matches.ignored == 0)]
        last = [_run_ends(hit, out, detections) for hit, out in zip(hits, excused, strict=True)]
        before = [np.searchsorted(out, hit[end]) for out, hit, end in zip(excused, hits, last, strict=True)]
        self.starts, self.stops = (np.array(ends)[:, None] for ends in zip(*_bounds(last), strict=True))
        self.threshold = np.repeat(np.arange(len(last)), [len(ends) for ends in last])
        images, nowhere = matches.image.astype(np.intp), len(matches.instances)
        at = np.concatenate([hit[end] for hit, end in zip(hits, last, strict=True)])
        self.seen = _RunningSums(images, at + 1, nowhere)
        self.right = _running(images, hits, [end + 1 for end in last], nowhere)
        self.excused = _running(images, excused, before, nowhere)
        self.any_excused = any(map(len, excused))

    def read(self, weights: np.ndarray, needed: np.ndarray, best: np.ndarray) -> None:
        """Write the highest precision between each recall and the next into ``best`` (R, T), zeros where not reached.

        ``weights`` is int32 (I + 1), the last zero; ``needed`` (R) the ground truths to be found at each recall.
        """
        thresholds = len(self.starts)
        counted = self.seen.of(weights)
        right = self.right.of(weights)
        right, before = right[:-thresholds], right[-thresholds:]
        # sums go on from one threshold to the next, so what is needed does, too
        at = np.maximum(np.searchsorted(right, before[:, None] + needed), self.starts)
        right -= before[self.threshold]
        if self.any_excused:
            excused = self.excused.of(weights)
            counted -= excused[:-thresholds]
            counted += excused[-thresholds:][self.threshold]
        precision = right / (counted + np.spacing(1))
        reached = at < self.stops
        if reached.any():
            best.T[reached] = np.maximum.reduceat(precision, at[reached])


def _running(images: np.ndarray, detections: list[np.ndarray], places: list[np.ndarray], nowhere: int) -> _RunningSums:
    """Return sums over the detections (positions) of one threshold after the other.

    They are taken after the first n of each threshold, given by ``places``, and, after all of those, at the start of
    each threshold.
    """
    starts = np.array([start for start, _ in _bounds(detections)])
    at = [n + start for n, start in zip(places, starts, strict=True)]
    return _RunningSums(images[np.concatenate(detections)], np.concatenate([*at, starts]), nowhere)


def _run_ends(hits: np.ndarray, excused: np.ndarray, detections: int) -> np.ndarray:
    """Return the positions, among the hits, of those that a wrong detection follows, or none."""
    wrong = np.ones(detections + 1, dtype=bool)
    wrong[hits] = wrong[excused] = False
    wrongs = np.cumsum(wrong)
    return np.flatnonzero(np.diff(wrongs[hits], append=-1)) if len(hits) else hits


def _bounds(parts: list[np.ndarray]) -> list[tuple[int, int]]:
    """Return where each part starts and stops when they are put one after the other."""
    stops = np.cumsum([len(part) for part in parts]).tolist()
    return [(stop - len(part), stop) for part, stop in zip(parts, stops, strict=True)]


class _RunningSums:
    """Sums of the weights of the first n images of a list, at some places n, for one set of weights after the other.

    The list is cut into `LANES` stretches. They are summed side by side, a stretch a column of an array, and what came
    before a stretch is added where it is asked for.
    """

    def __init__(self, images: np.ndarray, places: np.ndarray, nowhere: int) -> None:
        rows = max(2, -(-(len(images) + 1) // LANES))
        padded = np.full(LANES * rows, nowhere)
        padded[1 : len(images) + 1] = images
        self.images = padded.reshape(LANES, rows).T.ravel()
        self.lane = places // rows
        self.place = places % rows * LANES + self.lane
        self.weights = np.empty(LANES * rows, dtype=np.int32)
        self.rows = list(self.weights.reshape(rows, LANES))
        self.before = np.zeros(LANES + 1, dtype=np.int64)

    def of(self, weights: np.ndarray) -> np.ndarray:
        """Return the sums at the places, int64; ``weights`` int32."""
        np.take(weights, self.images, out=self.weights, mode="clip")
        above = self.rows[0]
        for row in self.rows[1:]:
            above = np.add(above, row, row)
        np.cumsum(self.rows[-1], out=self.before[1:])
        sums = self.before.take(self.lane, mode="clip")
        sums += self.weights.take(self.place, mode="clip")
        return sums
