"""OpenCV's pedestrian detector: histograms of oriented gradients and a linear SVM, both part of OpenCV.

Method: Dalal, Triggs: Histograms of Oriented Gradients for Human Detection, CVPR 2005. Weak by today's measure and
blind to anyone who does not stand upright and whole, but it needs no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench.detectors.base import Detector, DetectorOptions, Finds, nms, tidy
from anonbench.files import sha256_bytes

_WINDOW = (64, 128)
_MARGIN = 16
"""Pixels of the window around the person on every side (Dalal, Triggs, section 5)."""
_KEPT = 0.5
"""Share of the side margins that stays in the box: arms and bags reach into them."""


class Options(DetectorOptions):
    """Settings of the HOG people detector."""

    threshold: float = Field(
        0.5,
        ge=0.5,
        lt=1,
        description="Detections below this score are dropped; the score is the logistic function of the distance to "
        "the SVM's plane, so 0.5 is the plane.",
    )
    step: float = Field(1.05, gt=1, le=2, description="Factor between the sizes at which people are looked for.")
    nms: float = Field(0.4, gt=0, le=1, description="Of two people whose IoU is above this the better one stays.")


class Hog(Detector):
    """Upright people of 100 pixels and more."""

    Options: ClassVar[type[DetectorOptions]] = Options
    finds: ClassVar[Finds] = "person"

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self._svm = np.array(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32)
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(self._svm)

    @property
    def version(self) -> str:
        return f"HOG people detector, OpenCV {cv2.__version__}"

    @property
    def weights(self) -> list[tuple[str, str]]:
        return [("default people detector", sha256_bytes(self._svm.astype("<f4").tobytes()))]

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> np.ndarray:
        if image.shape[1] < _WINDOW[0] or image.shape[0] < _WINDOW[1]:
            return np.zeros((0, 5), np.float32)
        threshold = self.options.threshold
        found, distances = self._hog.detectMultiScale(
            image, float(np.log(threshold / (1 - threshold))), (8, 8), (8, 8), self.options.step, 0
        )
        windows = np.asarray(found, np.float32).reshape(-1, 4)
        scores = 1 / (1 + np.exp(-np.asarray(distances, np.float64).reshape(-1)))
        unit = windows[:, 2] / _WINDOW[0]
        side, end = unit * _MARGIN * (1 - _KEPT), unit * _MARGIN
        boxes = np.stack(
            [
                windows[:, 0] + side,
                windows[:, 1] + end,
                windows[:, 2] - 2 * side,
                windows[:, 3] - 2 * end,
                scores,
            ],
            axis=1,
        )
        return nms(tidy(boxes, threshold), self.options.nms)
