"""YuNet, OpenCV's own face detector (cv2.FaceDetectorYN), with a weights file that the user brings.

Model: Wu, Peng, Yu: YuNet: A Tiny Millisecond-level Face Detector, 2023 (https://doi.org/10.1007/s11633-023-1423-y),
trained on WIDER FACE; OpenCV's model zoo has the file (MIT licence). OpenCV's wheel does not carry it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench.detectors.base import BySize, Detector, DetectorOptions, Finds, check_file, tidy
from anonbench.errors import AnonbenchError


class Options(DetectorOptions):
    """Settings of YuNet."""

    weights: Path = Field(description="The model, an ONNX file.")
    sha256: str | None = Field(None, description="Expected sha256 of the file; not checked when left out.")
    threshold: float = Field(0.6, ge=0, le=1, description="Detections below this score are dropped.")
    nms: float = Field(0.3, gt=0, le=1, description="Of two faces whose IoU is above this the better one stays.")


class YuNet(Detector):
    """Faces of 10 to 300 pixels."""

    Options: ClassVar[type[DetectorOptions]] = Options
    finds: ClassVar[Finds] = "face"
    files: ClassVar[tuple[str, ...]] = ("weights",)

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self._sha256 = check_file(self.options.weights, self.options.sha256, "options.weights")
        self._nets: BySize[Any] = BySize()
        self._nets.get(32, 32, self._read)

    @property
    def version(self) -> str:
        return f"YuNet, OpenCV {cv2.__version__}"

    @property
    def weights(self) -> list[tuple[str, str]]:
        return [(self.options.weights.name, self._sha256)]

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        try:
            found = self._nets.get(width, height, self._read).detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        except cv2.error as error:
            raise self._no_model(error) from None
        if found is None:
            return np.zeros((0, 5), np.float32)
        return tidy(found[:, [0, 1, 2, 3, 14]], self.options.threshold)

    def _read(self, width: int, height: int) -> Any:
        """Return a detector that is to see images of one size only, as centerface.py explains."""
        options = self.options
        try:
            return cv2.FaceDetectorYN.create(
                str(options.weights), "", (width, height), score_threshold=options.threshold,
                nms_threshold=options.nms,
            )  # fmt: skip
        except cv2.error as error:
            raise self._no_model(error) from None

    def _no_model(self, error: cv2.error) -> AnonbenchError:
        return AnonbenchError(
            f"OpenCV cannot run it as YuNet ({' '.join(str(error.err).split())})",
            file=self.options.weights,
            entry="options.weights",
            remedy="give face_detection_yunet_2023mar.onnx of OpenCV's model zoo",
        )
