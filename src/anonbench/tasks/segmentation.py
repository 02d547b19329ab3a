"""Objects by their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from anonbench.regions import runs_of
from anonbench.tasks.base import Outcome, Part, Problem
from anonbench.tasks.coco import CocoTask
from anonbench.tasks.truth import Truth

DIGITS = 2_000_000
"""Digits of run lengths that are read together: bounds the memory to some 100 MB."""
MOST_DIGITS = 8
"""Digits of a run length that are read together with others: no image has runs of 2^40 pixels."""


def _fills(counts: str, size: list[int]) -> bool:
    """Tell whether run lengths end where the image does: pycocotools takes for granted that they do, or never ends."""
    try:
        runs = runs_of(counts)
    except ValueError:
        return False
    return bool(runs.size) and int(runs.min()) >= 0 and int(runs.sum()) == size[0] * size[1]


def _all_fill(counts: list[str], pixels: list[int]) -> bool:
    """Tell whether many run lengths each end where an image of so many ``pixels`` does; False if unsure.

    `_fills` of all of them, some millions of digits at a time.
    """
    start = 0
    while start < len(counts):
        stop, digits = start, 0
        while stop < len(counts) and (stop == start or digits + len(counts[stop]) <= DIGITS):
            digits += len(counts[stop])
            stop += 1
        if not _block_fills(counts[start:stop], np.array(pixels[start:stop])):
            return False
        start = stop
    return True


def _block_fills(counts: list[str], pixels: np.ndarray) -> bool:
    lengths = np.array(list(map(len, counts)))
    joined = "".join(counts)
    if not lengths.all() or not joined.isascii():
        return False
    data = np.frombuffer(joined.encode(), dtype=np.uint8) - np.uint8(48)  # below "0" it wraps around to more than 63
    goes_on = (data & 0x20) != 0
    if data.max() > 63 or goes_on[np.cumsum(lengths) - 1].any():
        return False
    ends = np.flatnonzero(~goes_on)
    digits = np.diff(ends, prepend=-1)
    if digits.max() > MOST_DIGITS:
        return False
    # a number's digits, the least significant first, and its sign: see `regions.runs_of`
    values = (data[ends] & 0x1F).astype(np.int64)
    values -= (values & 0x10) << 1
    for more in range(1, int(digits.max())):
        of = digits > more
        values[of] = (values[of] << 5) + (data[ends[of] - more] & 0x1F)
    first = np.searchsorted(ends, np.cumsum(lengths) - lengths)
    count = np.diff(first, append=len(values))
    place = np.arange(len(values)) - np.repeat(first, count)
    odd = place % 2 == 1
    for every_other in (odd, ~odd & (place > 0)):  # from the fourth on, differences to the one before the last
        chain = np.where(every_other, values, 0)
        sums = np.cumsum(chain)
        sums -= np.repeat(sums[first] - chain[first], count)
        np.copyto(values, sums, where=every_other)
    return bool((values >= 0).all() and (np.add.reduceat(values, first) == pixels).all())


class Segmentation(CocoTask):
    """Mask AP of the categories whose every annotation has a mask."""

    title = "mask AP"
    iou_type = "segm"

    def lacks(self, entry: dict[str, Any], truth: Truth) -> Problem | None:
        """Return what is wrong with an entry's mask."""
        mask, image = entry.get("segmentation"), truth.images[entry["image_id"]]
        size = [int(image["height"]), int(image["width"])]
        if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str):
            return Problem("has no segmentation (compressed RLE), which its model's tasks promise")
        if mask.get("size") != size:
            return Problem(f"has a mask of size {mask.get('size')} in an image of size {size}")
        return None if _fills(mask["counts"], size) else Problem("has a mask that does not fill its image")

    def lack_nothing(self, entries: Sequence[dict[str, Any]], truth: Truth) -> bool:
        """Tell whether every entry has a mask that fills its image."""
        sizes = {i: [int(image["height"]), int(image["width"])] for i, image in truth.images.items()}
        counts, pixels = [], []
        for entry in entries:
            mask, size = entry.get("segmentation"), sizes[entry["image_id"]]
            if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str) or mask.get("size") != size:
                return False
            counts.append(mask["counts"])
            pixels.append(size[0] * size[1])
        return _all_fill(counts, pixels)

    def judged(self, truth: Truth) -> frozenset[int]:
        """Return the ids of the categories that have masks."""
        return truth.masked

    def measure(self, truth: Truth, entries: Sequence[dict[str, Any]]) -> Outcome:
        """Score the categories that have masks, and name those that have boxes in place of them."""
        outcome = super().measure(truth, entries)
        unmasked = [truth.names[c] for c in truth.with_boxes_for_masks()]
        nothing = Part(dict.fromkeys(metric.name for metric in self.metrics), 0)
        parts = {**outcome.parts, **dict.fromkeys(unmasked, nothing)}
        return replace(
            outcome,
            parts={name: parts[name] for name in truth.names.values() if name in parts},
            skipped={**outcome.skipped, **dict.fromkeys(unmasked, "no annotation has a mask, only its box's outline")},
        )
