"""Objects by their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anonbench.tasks.coco import CocoTask
from anonbench.tasks.truth import Truth


class Detection(CocoTask):
    """Box AP of every category."""

    title = "box AP"
    iou_type = "bbox"

    def lack_nothing(self, entries: Sequence[dict[str, Any]], truth: Truth) -> bool:
        """A box is all that an entry needs."""
        return True
