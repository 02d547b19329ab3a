"""Arithmetic on samples: fewer bits, transparency shown on black, grey."""

from __future__ import annotations

import cv2
import numpy as np


def eight_bit(values: np.ndarray) -> np.ndarray:
    """Scale uint16 samples to uint8, rounded."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def on_black(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return colours as they show on black under straight alpha, rounded.

    Both are uint8 or both uint16; colours HxW or HxWxC, alpha HxW.
    """
    full = np.uint32(np.iinfo(colours.dtype).max)
    product = np.multiply(colours, alpha if colours.ndim == 2 else alpha[..., None], dtype=np.uint32)
    product += full // 2
    product //= full
    return product.astype(colours.dtype)


def grey(pixels: np.ndarray) -> np.ndarray:
    """Return the grey channel (HxW) of RGB pixels; exact where the three are equal."""
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
