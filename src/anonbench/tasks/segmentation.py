"""Objects by their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from anonbench.regions import runs_of
from anonbench.tasks.base import Outcome, Part, Problem
from anonbench.tasks.coco import CocoTask
from anonbench.tasks.truth import Truth


def _fills(counts: str, size: list[int]) -> bool:
    """Tell whether run lengths end where the image does: pycocotools takes for granted that they do, or never ends."""
    try:
        runs = runs_of(counts)
    except ValueError:
        return False
    return bool(runs.size) and int(runs.min()) >= 0 and int(runs.sum()) == size[0] * size[1]


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
