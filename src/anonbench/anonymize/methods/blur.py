"""The published study's Gaussian blur, without its detour over a resized crop.

DeepPrivacy2 resizes a person's crop to 288x160 (a face's to 128x128), convolves with a truncated Gaussian
(sigma 7, 21 taps) and resizes back, so that the strength follows the person's size. The same standard
deviation is applied here at the image's own resolution, by shrinking, blurring and enlarging: the cost does
not depend on the strength.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench.anonymize.contract import Crop, Method
from anonbench.anonymize.strength import weak_blur
from anonbench.blocks import Strict
from anonbench.records import Region, RegionKind
from anonbench.windows import FRAME_SIDE, PixelBox, Window, interval, published_window

NOISE_TO_SIGNAL = 0.3
"""Power of noise (rounding, compression) to that of a picture at one cycle per pixel, for `deconvolve`."""
ROUNDS = 4
"""Of `deconvolve`; further ones change little."""


class Blur(Method):
    """Gaussian blur whose strength follows the size of the person or face, or of the frame."""

    class Parameters(Strict):
        """Parameters of `Blur`; lengths in pixels of a crop: face 128x128, body 288 high, frame 288 (short side)."""

        sigma: float = Field(7.0, gt=0, description="Sigma of the Gaussian, in pixels of the published crop.")
        kernel: int = Field(21, ge=3, description="Taps of its kernel, which cuts the Gaussian off; odd.")

    levels: ClassVar[dict[str, dict[str, Any]]] = {
        "low": {"sigma": 3.5, "kernel": 11},
        "medium": {"sigma": 7.0, "kernel": 21},
        "high": {"sigma": 14.0, "kernel": 41},
    }

    kinds: ClassVar[frozenset[RegionKind]] = frozenset(RegionKind)

    brief: ClassVar[bool] = True

    inverts: ClassVar[bool] = True

    def __init__(self, parameters: dict[str, Any] | None = None) -> None:
        super().__init__(parameters)
        self._taps = np.arange(self.parameters.kernel) - (self.parameters.kernel - 1) / 2
        weights = np.exp(-0.5 * (self._taps / self.parameters.sigma) ** 2)
        self._weights = weights / weights.sum()
        self._deviation = math.sqrt(float((self._weights * self._taps**2).sum()))

    def window(self, region: Region, width: int, height: int) -> Window:
        scale = self._scale(region, width, height)
        ratio = shrinkage(scale * self._deviation)
        margin = math.ceil(scale * self._taps[-1]) + ratio
        return Window(surroundings(region.box, margin, ratio, width, height), note=scale)

    def change(self, crop: Crop) -> np.ndarray:
        scale = crop.window.note
        return convolve(crop.pixels, scale * self._taps, self._weights, shrinkage(scale * self._deviation))

    def invert(self, crop: Crop) -> np.ndarray:
        scale = crop.window.note
        return deconvolve(crop.pixels, crop.mask, scale * self._taps, self._weights, shrinkage(scale * self._deviation))

    def weakness(self, crop: Crop) -> str | None:
        return weak_blur(crop.window.note * self._deviation, crop.region)

    def _scale(self, region: Region, width: int, height: int) -> float:
        """Return the image's pixels per pixel of the published crop, or of a frame with a shorter side of 288."""
        if region.kind is RegionKind.FRAME:
            return min(region.subject[2:]) / FRAME_SIDE
        window = published_window(region, width, height)
        return (window.box[3] - window.box[1]) / (window.size or (1, 1))[1]


def surroundings(box: PixelBox, margin: int, ratio: int, width: int, height: int) -> PixelBox:
    """Return a box with ``margin`` pixels about it as far as the image has them, of sides that ``ratio`` divides."""
    x0, y0, x1, y1 = box
    columns = math.ceil(min(x1 - x0 + 2 * margin, width) / ratio)
    rows = math.ceil(min(y1 - y0 + 2 * margin, height) / ratio)
    x0, x1 = interval(x0, x1, columns * ratio, width)
    y0, y1 = interval(y0, y1, rows * ratio, height)
    return x0, y0, x1, y1


def shrinkage(deviation: float) -> int:
    """Return the ratio to shrink a crop by for a blur of ``deviation`` pixels, to about 2 pixels."""
    return max(1, round(deviation / 2))


def convolve(pixels: np.ndarray, offsets: np.ndarray, weights: np.ndarray, ratio: int) -> np.ndarray:
    """Return uint8 HxWx3 pixels convolved per axis with ``weights`` at ``offsets`` (pixels); borders are mirrored.

    The work is done on the crop shrunk by ``ratio``, of which H and W must be multiples. An offset between
    two pixels gives its weight to both of them, by its distance: for a small person the published crop is an
    enlarged one, and this is what a convolution there does to the pixels here. In units of the shrunk crop,
    shrinking by area adds a variance of 1/12, linear enlarging and the split of the weights 1/6 each: the
    offsets make up for it.
    """
    height, width = pixels.shape[:2]
    offsets = offsets / ratio
    if ratio > 1:
        offsets = offsets * math.sqrt(1 - 5 / 12 / float((weights * offsets**2).sum()))
    reach = math.ceil(offsets.max())
    distance = np.abs(np.arange(-reach, reach + 1)[:, None] - offsets)
    kernel = (np.maximum(1 - distance, 0) * weights).sum(axis=1)
    if ratio == 1:
        return cv2.convertScaleAbs(cv2.sepFilter2D(pixels.astype(np.float32), -1, kernel, kernel))
    shrunk = cv2.resize(pixels, (width // ratio, height // ratio), interpolation=cv2.INTER_AREA)
    blurred = cv2.convertScaleAbs(cv2.sepFilter2D(shrunk.astype(np.float32), -1, kernel, kernel))
    return cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)


def deconvolve(
    pixels: np.ndarray, mask: np.ndarray, offsets: np.ndarray, weights: np.ndarray, ratio: int
) -> np.ndarray:
    """Return an estimate (uint8 HxWx3) of what `convolve` with the same arguments blurred where ``mask`` (bool) is set.

    Wiener's filter (1949) in the cosine domain, which is where a symmetric kernel with mirrored borders is a product,
    for pictures whose power falls with the square of the frequency (Field 1987). Outside the mask the picture is known:
    there the estimate's own blur stands in for what was not blurred, in a few rounds. Like the blur, it works on the
    crop shrunk by ``ratio``.
    """
    from scipy import fft  # slow to import, and only attacks undo a blur

    height, width = pixels.shape[0] // ratio, pixels.shape[1] // ratio
    known = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA).astype(np.float64)
    share = cv2.resize(mask.astype(np.float64), (width, height), interpolation=cv2.INTER_AREA)[..., None]
    across, down = (_transfer(offsets / ratio, weights, n) for n in (width, height))
    transfer = np.multiply.outer(down, across)[..., None]
    fx, fy = (np.arange(n) / (2 * n) for n in (width, height))  # cycles per pixel
    power = np.maximum(np.add.outer(fy**2, fx**2), 1 / (2 * max(width, height)) ** 2)[..., None]
    wiener = transfer / (transfer**2 + NOISE_TO_SIGNAL * power)
    estimate = known
    for _ in range(ROUNDS):
        blurred = fft.idctn(transfer * fft.dctn(estimate, axes=(0, 1)), axes=(0, 1))
        blurred += share * (known - blurred)
        sharp = fft.idctn(wiener * fft.dctn(blurred, axes=(0, 1)), axes=(0, 1))
        estimate = known + share * (np.clip(sharp, 0, 255) - known)
    size = pixels.shape[1::-1]
    enlarged = cv2.resize(estimate, size, interpolation=cv2.INTER_CUBIC)
    return np.where(mask[..., None], np.clip(np.rint(enlarged), 0, 255).astype(np.uint8), pixels)


def _transfer(offsets: np.ndarray, weights: np.ndarray, length: int) -> np.ndarray:
    """Return what a symmetric kernel multiplies each of ``length`` cosines by."""
    return np.cos(np.pi * np.multiply.outer(np.arange(length) / length, offsets)) @ weights
