"""How far a picture is from another: RMS, and PSNR and MS-SSIM, over all of it or outside of some boxes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from anonbench.records import Box

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of MS-SSIM's scales, the finest first (Wang et al. 2003, section 3.2)."""
WINDOW, DEVIATION = 11, 1.5
"""Pixels along a side of SSIM's Gaussian window, and its standard deviation (Wang et al. 2004)."""
MOST = 100.0
"""The PSNR in decibels of equal pictures, so that means stay finite; one sample off in 10 million has more."""
WITHIN = 0.02
"""How far a codec's rate may be from the one that is asked for, as a share of it."""

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def outside(boxes: Sequence[Box], width: int, height: int) -> np.ndarray:
    """Return where no box (x, y, w, h; may leave the picture) has a pixel or a part of one: bool HxW."""
    free = np.ones((height, width), bool)
    for x, y, w, h in boxes:
        left, top = max(int(np.floor(x)), 0), max(int(np.floor(y)), 0)
        free[top : max(int(np.ceil(y + h)), 0), left : max(int(np.ceil(x + w)), 0)] = False
    return free


def rms(one: np.ndarray, other: np.ndarray) -> float:
    """Return the root mean square of the difference of pictures uint8 HxWx3, over all samples, in units of 0 to 1."""
    apart = (other.astype(np.float64) - one.astype(np.float64)) / 255
    return float(np.sqrt((apart**2).mean()))


def psnr(one: np.ndarray, other: np.ndarray, counted: np.ndarray | None = None) -> float | None:
    """Return the peak signal to noise ratio in decibels of pictures uint8 HxWx3, over all samples.

    ``counted`` (bool HxW): of these pixels alone; None where there are none. `MOST` at most.
    """
    apart = one.astype(np.float64) - other
    if counted is not None:
        apart = apart[counted]
    if not apart.size:
        return None
    error = float(np.mean(apart**2))
    return MOST if error == 0 else min(MOST, float(10 * np.log10(255**2 / error)))


def ms_ssim(one: np.ndarray, other: np.ndarray, counted: np.ndarray | None = None) -> float | None:
    """Return the multi-scale structural similarity (0..1, 1 is equality) of pictures uint8 HxWx3.

    Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment" (Asilomar 2003), with
    their constants: the product over scales of contrast and structure, and at the coarsest of luminance, each to the
    power of its weight; means over the places where the window fits into the picture; negative means count as 0. Of
    each colour by itself, then the mean, as learned codecs are judged. A scale halves the picture by averaging 2x2
    pixels (a last odd row or column is left out). A picture in which the window does not fit at all five scales (sides
    below 176) has fewer, whose weights are enlarged to the same sum.

    ``counted`` (bool HxW): only windows that see nothing but these pixels count; scales end before there is none. None
    where there is none at the finest, or the picture is smaller than the window.
    """
    a, b = one.astype(np.float32), other.astype(np.float32)
    seen = np.ones(one.shape[:2], bool) if counted is None else counted
    levels: list[np.ndarray] = []
    luminance = np.ones(3)
    for _ in WEIGHTS:
        if min(seen.shape) < WINDOW:
            break
        whole = _fits(seen)
        if not whole.any():
            break
        light, structure = (values[whole].mean(0, dtype=np.float64) for values in _similarity(a, b))
        luminance = np.clip(light, 0, None)
        levels.append(np.clip(structure, 0, None))
        a, b, seen = _halved(a), _halved(b), _all_of_four(seen)
    if not levels:
        return None
    weights = np.array(WEIGHTS[: len(levels)])
    weights *= sum(WEIGHTS) / weights.sum()
    powers = [level**weight for level, weight in zip(levels, weights, strict=True)]
    return float(np.mean(np.prod(powers, axis=0) * luminance ** weights[-1]))


def _similarity(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return luminance, and contrast times structure, at each place of the window, float32 (H-10)x(W-10)x3."""
    mean_a, mean_b = _mean(a), _mean(b)
    variance = _mean(a * a) - mean_a**2 + _mean(b * b) - mean_b**2
    covariance = _mean(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return light, (2 * covariance + _C2) / (variance + _C2)


def _mean(values: np.ndarray) -> np.ndarray:
    half = WINDOW // 2
    return cv2.GaussianBlur(values, (WINDOW, WINDOW), DEVIATION)[half:-half, half:-half]


def _fits(seen: np.ndarray) -> np.ndarray:
    """Return at which places a window sees nothing but ``seen``."""
    half = WINDOW // 2
    least = cv2.erode(seen.view(np.uint8), np.ones((WINDOW, WINDOW), np.uint8))
    return least[half:-half, half:-half].view(bool)


def _even(values: np.ndarray) -> np.ndarray:
    height, width = (side // 2 * 2 for side in values.shape[:2])
    return values[:height, :width]


def _halved(values: np.ndarray) -> np.ndarray:
    values = _even(values)
    return (values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]) / 4


def _all_of_four(seen: np.ndarray) -> np.ndarray:
    seen = _even(seen)
    return np.ascontiguousarray(seen[::2, ::2] & seen[1::2, ::2] & seen[::2, 1::2] & seen[1::2, 1::2])
