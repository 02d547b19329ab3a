"""Fills people in with a generator that is fitted to a training split (`anonbench fit`), see `anonbench.anonymize.gan`.

The generator never sees a pixel under the mask: not while it fills, and of the person's colours only with
``histogram`` and ``reference: person``, as published.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import cv2
import numpy as np
from pydantic import Field

from anonbench import portable
from anonbench.anonymize.contract import Crop, FitJob, Fitted, Method
from anonbench.anonymize.fallbacks import Fallback
from anonbench.anonymize.gan import histogram, options
from anonbench.anonymize.gan.data import published_crop, shares, shrink
from anonbench.blocks import Strict
from anonbench.errors import AnonbenchError
from anonbench.records import Region, RegionKind
from anonbench.windows import Window

if TYPE_CHECKING:
    import torch


class Gan(Method):
    """Replaces faces or bodies with generated ones that suit their surroundings."""

    class Parameters(Strict):
        """Parameters of `Gan`."""

        truncation: float = Field(
            1.0, ge=0, le=1, description="Share kept of a drawn style's deviation; 0: the mean style, or the centres."
        )
        modes: bool = Field(
            True, description="Draw styles around a random cluster centre of the style space instead of its mean."
        )
        consistent: Literal["person", "identity"] = Field(
            "person",
            description="`person`: each region its own style; `identity`: one style in all images that show the same "
            "person, where the data set tells.",
        )
        histogram: Literal["none", "naive", "latent"] = Field(
            "none",
            description="Fit the colours to `reference`: `naive` matches histograms of the pixels, `latent` moves the "
            "style until the histograms of saturation and value agree.",
        )
        reference: Literal["context", "person"] = Field(
            "context",
            description="Whose colours: those of the crop outside everybody's mask, or, as published, of the whole "
            "original crop with the person, which leaks the colours of their clothes.",
        )
        steps: int = Field(100, ge=1, description="Steps of `histogram: latent` at most.")
        step_size: float = Field(0.001, gt=0, description="Learning rate of `histogram: latent` (Adam's).")
        stop: float = Field(0.02, ge=0, description="Loss below which `histogram: latent` ends.")
        require_keypoints: bool = Field(
            False, description="Give bodies without a complete limb to the fallback, instead of filling them without."
        )
        batch: int = Field(32, ge=1, description="People in one go on a GPU; halved when its memory is not enough.")
        fallback: Fallback = "mask_out"

    FitSettings: ClassVar[type[Strict] | None] = options.FitSettings

    def __init__(self, parameters: dict[str, Any] | None = None) -> None:
        super().__init__(parameters)
        self.fallback = self.parameters.fallback
        self._lock = threading.Lock()
        self._full_batches = False
        self._size: tuple[int, int] | None = None

    @classmethod
    def fit(cls, job: FitJob) -> Fitted:
        from anonbench.anonymize.gan import training  # torch takes seconds to import

        return training.fit(job)

    def load(self, weights: Path, kind: RegionKind, device: str) -> dict[str, Any]:
        import torch

        from anonbench.anonymize.gan import weights as files
        from anonbench.learning.devices import choose_device, set_deterministic

        self._device = choose_device(device)
        if self._device.type == "cpu":
            portable.require_here("a generator on a processor")
        self._architecture, self._local, self._styles, origin = files.load(weights)
        if self._architecture.kind != kind:
            raise AnonbenchError(
                f"holds a generator of {self._architecture.kind} regions, not of {kind} ones",
                file=weights,
                remedy=f"fit one with --region {kind}",
            )
        self._network: Any = self._local
        if self._device.type == "cuda":
            self.batch = self.parameters.batch
            self._full_batches = True
            set_deterministic()
            network: Any = copy.deepcopy(self._local)
            self._network = network.to(self._device, memory_format=torch.channels_last)
        self._size = (self._architecture.width, self._architecture.height)
        return {"fitted_on": origin}

    def window(self, region: Region, width: int, height: int) -> Window:
        return published_crop(region, width, height)

    def change(self, crop: Crop) -> np.ndarray:
        return self.change_batch([crop])[0]

    def change_batch(self, crops: Sequence[Crop]) -> Sequence[np.ndarray]:
        """Fill in up to ``batch`` crops."""
        import torch

        if self._size is None:
            raise AnonbenchError("the generator has no weights", remedy="call load, or give --weights")
        if not self._full_batches:
            torch.set_num_threads(1)  # of this thread: the engine's threads work on images, and sums stay the same
            return [self._fill([crop])[0] for crop in crops]
        with self._lock:
            return self.in_full_batches(crops, self._fill)

    def _fill(self, crops: Sequence[Crop]) -> list[np.ndarray]:
        """Return filled crops, float32 HxWx3 in 0..255; not finite where the generator failed."""
        import torch

        from anonbench.anonymize.gan.conditions import maps_of, surroundings, to_unit

        assert self._size is not None
        blind = [(np.where(crop.mask[..., None], np.uint8(0), crop.pixels), crop.mask) for crop in crops]
        visible, masks = zip(*(shrink(pixels, mask, self._size) for pixels, mask in blind), strict=True)
        points = np.stack([shares(crop.keypoints, crop.pixels.shape[1::-1]) for crop in crops])
        with torch.inference_mode(self.parameters.histogram != "latent"):
            x = to_unit(torch.from_numpy(np.stack(visible)))
            covered = torch.from_numpy(np.stack(masks))[:, None].float()
            x, covered = x.to(self._device), covered.to(self._device)
            beside = surroundings(x, covered).cpu().split(1)
            maps = maps_of(torch.from_numpy(points).to(self._device), self._architecture)
            if (
                self.parameters.require_keypoints
                and self._architecture.lines
                and not maps.any(dim=3).any(2).any(1).all()
            ):
                raise ValueError("no limb has both its keypoints")
            w = torch.cat([self._style(*pair) for pair in zip(crops, beside, strict=True)]).to(self._device)
            if self.parameters.histogram == "latent":
                for n, crop in enumerate(crops):
                    one = slice(n, n + 1)
                    w[one] = self._move(crop, w[one], x[one], covered[one], maps[one])
            with torch.no_grad():
                filled = self._network(x, covered, maps, w).float().clamp(-1, 1)
            results = ((filled + 1) * 127.5).permute(0, 2, 3, 1).cpu().numpy()
        return [self._finish(crop, result, mask) for crop, result, mask in zip(crops, results, masks, strict=True)]

    def _style(self, crop: Crop, beside: torch.Tensor) -> torch.Tensor:
        p = self.parameters
        same = p.consistent == "identity"
        random = crop.generator(identity=same)
        return self._styles.draw(random, p.truncation, p.modes, self._local, None if same else beside)

    def _reference(self, crop: Crop) -> np.ndarray:
        """Return the pixels (uint8 Nx3) whose colours are the example."""
        if self.parameters.reference == "person":
            return crop.pixels.reshape(-1, 3)
        return crop.pixels[crop.background]

    def _compared(self, mask: np.ndarray) -> np.ndarray:
        """Return which pixels of the filled crop (bool HxW) are compared with the example; as published, all."""
        return np.ones_like(mask) if self.parameters.reference == "person" else mask

    def _move(
        self, crop: Crop, w: torch.Tensor, x: torch.Tensor, covered: torch.Tensor, maps: torch.Tensor
    ) -> torch.Tensor:
        """Return a style that gives the person the example's saturation and value."""
        import torch

        def fill(style: torch.Tensor) -> torch.Tensor:
            return x + covered * (self._network(x, covered, maps, style).float() - x)

        p = self.parameters
        chosen = torch.from_numpy(self._compared(covered[0, 0].cpu().numpy() > 0)).to(self._device)
        reference = self._reference(crop)
        return histogram.latent(w, fill, chosen, reference, steps=p.steps, step_size=p.step_size, stop=p.stop)

    def _finish(self, crop: Crop, result: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return a filled crop at the image's own resolution."""
        if self.parameters.histogram == "naive" and np.isfinite(result).all():
            seen = shrink(crop.pixels, crop.mask, mask.shape[::-1])[0]
            pasted = np.where(mask[..., None], result, seen)
            result = histogram.naive(pasted, mask, self._compared(mask), self._reference(crop)).astype(np.float32)
        return cv2.resize(result, crop.pixels.shape[1::-1], interpolation=cv2.INTER_CUBIC)
