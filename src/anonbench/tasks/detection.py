"""Objects by their boxes."""

from __future__ import annotations

from anonbench.tasks.coco import CocoTask


class Detection(CocoTask):
    """Box AP of every category."""

    title = "box AP"
    iou_type = "bbox"
