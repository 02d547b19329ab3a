"""DeepPrivacy2's crops in NumPy: windows, resizing, masks and keypoints as its detections prepare them.

Source: hukkelas/deep_privacy2 (Apache-2.0), ``dp2.detection.structures``; Hukkelås and Lindseth, WACV 2023. Written
anew because its detections want whole images, and order and paste people themselves: the engine's work here.
"""

from __future__ import annotations

import cv2
import numpy as np

from anonbench.records import Region
from anonbench.windows import PixelBox, published_window

DILATION = 0.02
"""Radius by which a body's mask is dilated, over the square root of the crop's area."""


def window_of(region: Region, width: int, height: int, model: str) -> PixelBox:
    """Return the crop of a region in an image of width x height; it may leave the image.

    FDF256's is a square of 1.4 x the longer side of the face's box about its centre, the others' `published_window`.
    """
    if model != "fdf256":
        return published_window(region, width, height).box
    x0, y0, x1, y1 = region.box
    half = int(1.4 * max(x1 - x0, y1 - y0) // 2)
    x, y = x0 + (x1 - x0) // 2, y0 + (y1 - y0) // 2
    return min(x0, x - half), min(y0, y - half), max(x1, x + half), max(y1, y + half)


def inside_image(box: PixelBox, width: int, height: int) -> np.ndarray:
    """Return which pixels of a crop are in the image and not padding: bool HxW."""
    x0, y0, x1, y1 = box
    inside = np.zeros((y1 - y0, x1 - x0), bool)
    inside[max(0, -y0) : max(0, min(y1, height) - y0), max(0, -x0) : max(0, min(x1, width) - x0)] = True
    return inside


def without(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a crop (uint8 HxWx3) with the mean of its other pixels where ``mask`` is set.

    What is resized after this holds nothing of the person, not even along the mask's edge, where resizing mixes pixels.
    """
    known = pixels[~mask]
    filled = pixels.copy()
    filled[mask] = known.mean(axis=0).round() if len(known) else 128
    return filled


def face_crop(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a face's crop (uint8 HxWx3) to ``size`` (width, height): by area to shrink, bicubic to enlarge."""
    shrinks = pixels.shape[0] * pixels.shape[1] >= size[0] * size[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def body_crop(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a body's crop (uint8 HxWx3) to ``size`` (width, height): nearest to enlarge, else bicubic with antialias.

    Nearest is the publication's choice: its people come out sharper.
    """
    if pixels.shape[0] < size[1] and pixels.shape[1] < size[0]:
        return cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return bicubic(pixels, size).astype(np.uint8)


def bicubic(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize HxWx3 0..255 to ``size`` (width, height) with torch's antialiased bicubic filter; float32, rounded."""
    import torch
    from torch.nn.functional import interpolate

    planes = torch.from_numpy(np.array(pixels, np.float32)).permute(2, 0, 1)[None]
    resized = interpolate(planes, (size[1], size[0]), mode="bicubic", antialias=True, align_corners=False)
    return resized[0].permute(1, 2, 0).round().clamp(0, 255).numpy()


def face_mask(box: PixelBox, window: PixelBox, size: tuple[int, int]) -> np.ndarray:
    """Return the rectangle of a face's box in its crop at ``size`` (width, height): bool HxW, True is the face."""
    left, top, right, bottom = window
    scale = (size[0] / (right - left), size[1] / (bottom - top))
    x0, x1 = (int((value - left) * scale[0]) for value in (box[0], box[2]))
    y0, y1 = (int((value - top) * scale[1]) for value in (box[1], box[3]))
    mask = np.zeros((size[1], size[0]), bool)
    mask[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
    return mask


def body_mask(mask: np.ndarray, inside: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a body's mask at ``size`` (width, height), as it is and dilated (never into the padding): bool HxW."""
    small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    if not small.any():  # a thin person between the samples
        small = (cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    radius = int((size[0] * size[1]) ** 0.5 * DILATION)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    grown = cv2.dilate(small, (x**2 + y**2 <= radius**2).astype(np.uint8))
    within = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    return small.astype(bool), grown.astype(bool) & (within | small.astype(bool))


def crop_keypoints(keypoints: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return keypoints (17x3, in pixels of a crop of ``size`` width, height) in 0..1, those outside invisible."""
    points = keypoints.astype(np.float32)
    points[:, :2] /= size
    outside = ((points[:, :2] < 0) | (points[:, :2] > 1)).any(axis=1)
    points[:, 2] = (points[:, 2] > 0) & ~outside
    points[outside, :2] = 0
    return points
