"""People by their keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anonbench.records import KEYPOINTS
from anonbench.tasks.base import Problem
from anonbench.tasks.coco import CocoTask
from anonbench.tasks.truth import Truth, all_numbers, numbers


class Pose(CocoTask):
    """Keypoint AP of the categories that have COCO's 17 keypoints."""

    title = "keypoint AP"
    iou_type = "keypoints"

    def lacks(self, entry: dict[str, Any], truth: Truth) -> Problem | None:
        """Return what is wrong with an entry's keypoints."""
        if not numbers(entry.get("keypoints"), 3 * len(KEYPOINTS)):
            return Problem(f"has no keypoints ({3 * len(KEYPOINTS)} finite numbers), which its model's tasks promise")
        return None

    def lack_nothing(self, entries: Sequence[dict[str, Any]], truth: Truth) -> bool:
        """Tell whether all entries have their keypoints."""
        return all_numbers([entry.get("keypoints") for entry in entries], 3 * len(KEYPOINTS))

    def judged(self, truth: Truth) -> frozenset[int]:
        """Return the ids of the categories that have keypoints."""
        return truth.posed

    def counts(self, annotation: dict[str, Any]) -> bool:
        """Tell whether an annotation has a keypoint to be found."""
        return super().counts(annotation) and any(v > 0 for v in (annotation.get("keypoints") or ())[2::3])
