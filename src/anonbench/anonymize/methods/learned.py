"""Changes whole frames by a network that has learnt what to hide and what to keep (`anonbench.anonymize.learned`)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench import portable
from anonbench.anonymize.contract import Changed, Crop, FitJob, Fitted, Method
from anonbench.anonymize.learned import options
from anonbench.blocks import Strict
from anonbench.errors import AnonbenchError
from anonbench.images.resizing import resized
from anonbench.records import RegionKind


class Learned(Method):
    """Shows each frame through a fitted network, at the scale that it was fitted at; each level is a fit of its own."""

    class Parameters(Strict):
        """Parameters of `Learned`."""

        batch: int = Field(16, ge=1, description="Frames in one go on a GPU; halved when its memory is not enough.")

    kinds: ClassVar[frozenset[RegionKind]] = frozenset((RegionKind.FRAME,))

    levels: ClassVar[dict[str, dict[str, Any]]] = {level: {} for level in options.LEVELS}

    batch = 8
    """On a processor, too, where frames go through the network one by one: it stays in the caches meanwhile."""

    FitSettings: ClassVar[type[Strict] | None] = options.FitSettings

    fit_levels: ClassVar[dict[str, dict[str, Any]]] = options.LEVELS

    stills = True

    facts: ClassVar[Mapping[str, str]] = {
        "rms": "root mean square difference to the original frame, in units of images in [0, 1]"
    }

    def __init__(self, parameters: dict[str, Any] | None = None) -> None:
        super().__init__(parameters)
        self._network: Any = None
        self._full_batches = False
        self._lock = threading.Lock()

    @classmethod
    def fit(cls, job: FitJob) -> Fitted:
        from anonbench.anonymize.learned import training  # torch takes seconds to import

        return training.fit(job)

    def load(self, weights: Path, kind: RegionKind, device: str) -> dict[str, Any]:
        import torch

        from anonbench.anonymize.learned import weights as files
        from anonbench.anonymize.learned.networks import folded
        from anonbench.learning.devices import choose_device, set_deterministic

        self._device = choose_device(device)
        if self._device.type == "cpu":
            portable.require_here("an anonymizer on a processor")
        fitted, origin = files.load(weights)
        self._architecture = fitted.architecture
        network: Any = folded(fitted)
        network.to(memory_format=torch.channels_last)
        if self._device.type == "cuda":
            self.batch = self.parameters.batch
            self._full_batches = True
            set_deterministic()
            network = network.to(self._device)
        self._network = network
        return {"fitted_on": origin}

    def change(self, crop: Crop) -> Changed:
        return self.change_batch([crop])[0]

    def change_batch(self, crops: Sequence[Crop]) -> Sequence[Changed]:
        """Change up to ``batch`` frames; those of one size go through the network together on a GPU."""
        import torch

        if self._network is None:
            raise AnonbenchError("the anonymizer has no weights", remedy="call load, or give --weights")
        if not self._full_batches:
            torch.set_num_threads(1)  # of this thread: the engine's threads work on images, and sums stay the same
            return [self._show([crop])[0] for crop in crops]
        with self._lock:
            groups = [list(group) for _, group in groupby(crops, key=lambda crop: crop.pixels.shape)]
            return [changed for group in groups for changed in self.in_full_batches(group, self._show)]

    def weakness(self, crop: Crop) -> str | None:
        return "no fit promises anything of a person: only attackers tell what is hidden"

    def _show(self, crops: Sequence[Crop]) -> list[Changed]:
        """Return changed frames, all of one size."""
        import torch

        height, width = crops[0].pixels.shape[:2]
        size = self._architecture.shape_for(width, height)
        seen = np.stack([resized(crop.pixels, size) for crop in crops])
        with torch.inference_mode():
            x = torch.from_numpy(seen).to(self._device).permute(0, 3, 1, 2).float().mul_(1 / 255)
            y = self._network(x).float().permute(0, 2, 3, 1)
            if not bool(torch.isfinite(y.sum())):
                raise ValueError("the network returned numbers that are not finite")
            if self._architecture.noise > 0:
                drawn = [crop.generator().standard_normal(y.shape[1:], np.float32) for crop in crops]
                y = y + self._architecture.noise * torch.from_numpy(np.stack(drawn)).to(self._device)
            shown = y.mul(255).round_().clamp_(0, 255).to(torch.uint8).contiguous().cpu().numpy()
        return [_said(crop, resized(one, crop.pixels.shape[1::-1])) for crop, one in zip(crops, shown, strict=True)]


def _said(crop: Crop, pixels: np.ndarray) -> Changed:
    """Return a changed frame with how far it is from the original; the sum of squares is a whole number."""
    squares = cv2.norm(pixels, crop.pixels, cv2.NORM_L2SQR)
    return Changed(pixels, {"rms": round((squares / pixels.size) ** 0.5 / 255, 6)})
