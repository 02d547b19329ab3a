"""What can compute COCO's metrics: its name in a study, on the command line and in ``metrics.json``."""

from __future__ import annotations

from typing import Literal

Engine = Literal["vectorized", "pycocotools"]
"""Both give the same numbers, the second slowly, as the reference of the first."""

VECTORIZED: Engine = "vectorized"
PYCOCOTOOLS: Engine = "pycocotools"
