"""Pixels at the size that a network works on."""

from __future__ import annotations

import cv2
import numpy as np


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return pixels (uint8 HxWx3) at a size (width, height): themselves where they have it.

    Of fewer pixels each is the mean of the area that it covers; of more they are interpolated bilinearly.
    """
    height, width = pixels.shape[:2]
    if (width, height) == tuple(size):
        return pixels
    shrinks = size[0] * size[1] < width * height
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
