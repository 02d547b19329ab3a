"""Windows: the parts of an image in which people are worked on, the published study's (DeepPrivacy2's) among them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from anonbench.records import Region, RegionKind

PixelBox = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, end exclusive."""
FACE_SIZE = (128, 128)
"""Width, height of the published face crop."""
BODY_SIZE = (160, 288)
"""Width, height of the published body crop."""
FRAME_SIDE = BODY_SIZE[1]
"""Pixels along a frame's shorter side where a strength is given in pixels: as if the frame were one body's crop. No
publication has a crop of a frame."""


class Window(NamedTuple):
    """The part of the image that a method wants to see.

    ``box`` may leave the image: the engine pads it (`Method.padding`). ``size`` (width, height) is the
    working size that the engine resizes to and back from; None leaves the image's own resolution. ``note`` is
    whatever the method wants to find again in the crop.
    """

    box: PixelBox
    size: tuple[int, int] | None = None
    note: Any = None


def published_window(region: Region, width: int, height: int) -> Window:
    """Return the crop that the published study works on, for a face or body in an image of width x height.

    Face: a square of 1.7 x the longer side of the face box. Body: the mask's box grown by 10 % of its mean
    side per axis, then to height / width = 1.8, then until 30 % of it is background. Both are centred and
    then shifted into the image as far as they fit, and widened where a region of a few pixels, whose box is rounded
    outwards, does not fit into them.
    """
    if region.kind is RegionKind.FACE:
        x, y, w, h = region.subject
        side = max(1, round(1.7 * max(w, h)))
        x0, x1 = interval(x, x + w, side, width)
        y0, y1 = interval(y, y + h, side, height)
        return Window(_holding((x0, y0, x1, y1), region.box), FACE_SIZE)
    x0, y0, x1, y1 = region.box
    w, h = published_body_size(region.box, int(np.count_nonzero(region.mask)), width, height)
    left, right = interval(x0, x1, math.ceil(w), width)
    top, bottom = interval(y0, y1, math.ceil(h), height)
    return Window(_holding((left, top, right, bottom), region.box), BODY_SIZE)


def _holding(window: PixelBox, box: PixelBox) -> PixelBox:
    return min(window[0], box[0]), min(window[1], box[1]), max(window[2], box[2]), max(window[3], box[3])


def published_body_size(box: PixelBox, pixels: int, width: int, height: int) -> tuple[float, float]:
    """Return width and height of the published crop of a mask with ``pixels`` pixels in ``box``."""
    w, h = float(box[2] - box[0]), float(box[3] - box[1])
    margin = 0.1 * math.sqrt(w * h)
    w, h = min(w + margin, max(w, width)), min(h + margin, max(h, height))
    aspect = BODY_SIZE[1] / BODY_SIZE[0]
    w, h = max(w, h / aspect), max(h, w * aspect)
    grow = math.sqrt(max(1.0, pixels / 0.7 / (w * h)))
    return w * grow, h * grow


def interval(start: float, end: float, length: int, limit: int) -> tuple[int, int]:
    """Return an interval of ``length`` about the middle of start..end, shifted into 0..limit if it fits."""
    first = round((start + end - length) / 2)
    if length <= limit:
        first = min(max(first, 0), limit - length)
    return first, first + length
