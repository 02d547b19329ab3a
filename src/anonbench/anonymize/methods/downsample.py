"""Shows the frame as a camera with fewer pixels would: the baseline of the published studies on video.

Wu et al., "Towards privacy-preserving visual recognition via adversarial training: a pilot study" (ECCV 2018), SPAct
(CVPR 2022) and TeD-SPAD (ICCV 2023) compare with frames of a half, a quarter and less of the resolution.
"""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench.anonymize.contract import Crop, Method
from anonbench.anonymize.strength import weak_blur
from anonbench.blocks import Strict
from anonbench.records import RegionKind


class Downsample(Method):
    """Shrinks the frame by averaging areas, as a sensor's larger pixels do, and enlarges it again bilinearly.

    It is enlarged so that boxes, masks and keypoints stay where they are; bilinearly because that adds nothing: values
    stay between those of the shrunk frame, where a bicubic kernel overshoots and sharpens. A side is divided by
    ``factor`` and rounded, and has one sample at least.
    """

    class Parameters(Strict):
        """Parameters of `Downsample`."""

        factor: int = Field(2, ge=2, description="Pixels of the frame per sample, along each side.")

    levels: ClassVar[dict[str, dict[str, Any]]] = {"2x": {"factor": 2}, "4x": {"factor": 4}}

    kinds: ClassVar[frozenset[RegionKind]] = frozenset((RegionKind.FRAME,))

    brief: ClassVar[bool] = True

    def change(self, crop: Crop) -> np.ndarray:
        height, width = crop.pixels.shape[:2]
        samples = [max(1, round(side / self.parameters.factor)) for side in (width, height)]
        shrunk = cv2.resize(crop.pixels, samples, interpolation=cv2.INTER_AREA)
        return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)

    def weakness(self, crop: Crop) -> str | None:
        # in units of the factor averaging adds a variance of 1/12, linear enlarging one of 1/6
        return weak_blur(self.parameters.factor / 2, crop.region)
