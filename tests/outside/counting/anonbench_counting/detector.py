"""A detector: the upper fifth of every dark upright box is a face."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from anonbench.detectors.base import Detector, tidy


class Dark(Detector):
    """Faces of dark boxes."""

    @property
    def version(self) -> str:
        return "dark boxes 1.0"

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the top of each dark component."""
        found = []
        for image in images:
            dark = (image.mean(axis=2) < 70).astype(np.uint8)
            _, _, parts, _ = cv2.connectedComponentsWithStats(dark)
            boxes = [(x, y, w, max(1, h / 5), 0.9) for x, y, w, h, _ in parts[1:]]
            found.append(tidy(np.array(boxes), self.options.threshold))
        return found
