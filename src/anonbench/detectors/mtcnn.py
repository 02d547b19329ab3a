"""MTCNN, as facenet-pytorch has it with weights in its wheel: the face detector of the paper on a learned codec.

Method: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016 (arXiv
1604.02878), trained on WIDER FACE and CelebA. The package asks for versions of torch and NumPy that the lock is beyond,
so it has an environment of its own, ``envs/mtcnn.yaml``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from anonbench import portable
from anonbench.detectors.base import Detector, DetectorOptions, Finds, check_file, tidy
from anonbench.errors import AnonbenchError

NETWORKS = ("pnet", "rnet", "onet")
SMALLEST = 12
"""Pixels along a side of what the first network looks at."""


class Options(DetectorOptions):
    """Settings of MTCNN."""

    threshold: float = Field(
        0.7, ge=0, le=1, description="Detections below this score of the last network are dropped."
    )
    smallest: int = Field(20, ge=SMALLEST, description="Pixels along the side of the smallest face that is looked for.")


class Mtcnn(Detector):
    """Faces, by three networks in turn; image by image on one thread, so that nothing else changes a result."""

    Options: ClassVar[type[DetectorOptions]] = Options
    needs_torch: ClassVar[bool] = True
    finds: ClassVar[Finds] = "face"

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        found = importlib.util.find_spec("facenet_pytorch")
        if found is None or found.origin is None:
            raise AnonbenchError(
                "the detector mtcnn needs the package facenet-pytorch, which is not installed",
                remedy="run with --use-conda, which installs envs/mtcnn.yaml, or install it without its dependencies",
            )
        import torch
        from facenet_pytorch import MTCNN

        portable.require_here("MTCNN on a processor")
        torch.set_num_threads(1)
        folder = Path(found.origin).parent / "data"
        self._weights = [(f"{name}.pt", check_file(folder / f"{name}.pt", None, "weights")) for name in NETWORKS]
        o = self.options
        self._net = MTCNN(
            min_face_size=o.smallest, thresholds=[0.6, 0.7, min(o.threshold, 0.7)], keep_all=True, device="cpu"
        )

    @property
    def version(self) -> str:
        return f"MTCNN, facenet-pytorch {version('facenet-pytorch')}"

    @property
    def weights(self) -> list[tuple[str, str]]:
        return self._weights

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> np.ndarray:
        if min(image.shape[:2]) < SMALLEST:
            return np.zeros((0, 5), np.float32)
        corners, scores = self._net.detect(np.ascontiguousarray(image))
        if corners is None:
            return np.zeros((0, 5), np.float32)
        corners = np.asarray(corners, np.float32)
        boxes = np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2], np.asarray(scores, np.float32)])
        return tidy(boxes, self.options.threshold)
