"""SFace, OpenCV's own face recogniser (cv2.FaceRecognizerSF), with a weights file that the user brings.

Model: Zhong et al., "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", 2021 (arXiv 2205.12010);
OpenCV's model zoo has the file (Apache-2.0). OpenCV's wheel does not carry it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench.blocks import Strict
from anonbench.detectors.base import check_file
from anonbench.errors import AnonbenchError
from anonbench.recognisers.base import Recogniser, one_by_one


class Options(Strict):
    """Settings of SFace."""

    weights: Path = Field(description="The model, an ONNX file: face_recognition_sface_2021dec.onnx.")
    sha256: str | None = Field(None, description="Expected sha256 of the file; not checked when left out.")


class SFace(Recogniser):
    """128 numbers of a face. Faces are not aligned by their eyes, which an anonymized face may not have."""

    Options: ClassVar[type[Strict]] = Options
    size: ClassVar[tuple[int, int]] = (112, 112)
    files: ClassVar[tuple[str, ...]] = ("weights",)

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self._sha256 = check_file(self.options.weights, self.options.sha256, "options.weights")
        try:
            self._net = cv2.FaceRecognizerSF.create(str(self.options.weights), "")
        except cv2.error as error:
            raise self._no_model(error) from None

    @property
    def version(self) -> str:
        return f"SFace, OpenCV {cv2.__version__}"

    @property
    def weights(self) -> list[tuple[str, str]]:
        return [(self.options.weights.name, self._sha256)]

    def describe(self, pictures: np.ndarray) -> np.ndarray:
        return one_by_one(pictures, self._describe)

    def _describe(self, picture: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(self._net.feature(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)))
        except cv2.error as error:
            raise self._no_model(error) from None

    def _no_model(self, error: cv2.error) -> AnonbenchError:
        return AnonbenchError(
            f"OpenCV cannot run it as SFace ({' '.join(str(error.err).split())})",
            file=self.options.weights,
            entry="options.weights",
            remedy="give face_recognition_sface_2021dec.onnx of OpenCV's model zoo",
        )
