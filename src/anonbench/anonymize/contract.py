"""What a method is: it gets crops of people and returns them changed. Everything else is the engine's."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
from pydantic import ValidationError

from anonbench import registry
from anonbench.blocks import Strict
from anonbench.errors import AnonbenchError, nearest
from anonbench.records import Box, Region, RegionKind
from anonbench.variants import Variant

PixelBox = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, end exclusive."""


class Window(NamedTuple):
    """The part of the image that a method wants to see.

    ``box`` may leave the image: the engine pads it (`Method.padding`). ``size`` (width, height) is the
    working size that the engine resizes to and back from; None leaves the image's own resolution. ``note`` is
    whatever the method wants to find again in the crop.
    """

    box: PixelBox
    size: tuple[int, int] | None = None
    note: Any = None


@dataclass(frozen=True, slots=True)
class Crop:
    """One region as a method sees it, in pixels of the crop; ``region`` and ``window`` are in the image's pixels.

    ``pixels`` is uint8 HxWx3 RGB and read-only; ``subject`` is the person's or face's own box; ``keypoints``
    is float32 17x3 (x, y, visibility) or None.
    """

    pixels: np.ndarray = field(repr=False)
    subject: Box
    keypoints: np.ndarray | None
    region: Region
    window: Window
    seed: int

    @property
    def mask(self) -> np.ndarray:
        """Where the result will be pasted: bool HxW."""
        (left, top, right, bottom), (x0, y0, x1, y1) = self.window.box, self.region.box
        mask = np.zeros((bottom - top, right - left), np.uint8)
        mask[y0 - top : y1 - top, x0 - left : x1 - left] = self.region.mask
        if self.window.size is None:
            return mask.view(bool)
        return cv2.resize(mask, self.window.size, interpolation=cv2.INTER_NEAREST).view(bool)

    def generator(self) -> np.random.Generator:
        """Return a new random generator of this person, the same whenever and wherever it is worked on."""
        return np.random.Generator(np.random.PCG64(self.seed))


class NoParameters(Strict):
    """Parameters of a method that has none."""


class Method(abc.ABC):
    """An anonymizer.

    A method implements `change`; one that works on many crops at a time sets ``batch`` and implements
    `change_batch`. It never sees files, masks it would have to apply, or other people's order: the engine
    cuts, resizes, pads, calls, pastes inside the mask (small regions first, later ones see earlier ones) and
    seeds.
    """

    Parameters: ClassVar[type[Strict]] = NoParameters
    """Pydantic model: extra keys forbidden, a description on each field."""

    levels: ClassVar[dict[str, dict[str, Any]]] = {}
    """Named presets of the parameters, weakest first; empty for a method without a strength."""

    anonymizes: ClassVar[bool] = True
    """False for a control that leaves people as they are: its people count as not changed."""

    batch: ClassVar[int] = 1
    """Crops in one call of `change_batch` at most; they come from several images."""

    padding: ClassVar[str] = "replicate"
    """What stands outside the image: ``replicate`` (the border's pixels) or ``zero``."""

    fallback: ClassVar[str | None] = None
    """Method for a person whom this one failed on. None: a failure ends the run."""

    def __init__(self, parameters: dict[str, Any] | None = None) -> None:
        """Check the parameters; raise AnonbenchError naming the nearest known one."""
        try:
            self.parameters: Any = self.Parameters.model_validate(parameters or {})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            entry = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                message = f"unknown parameter{nearest(entry, self.Parameters.model_fields)}"
            else:
                message = first["msg"].removeprefix("Value error, ")
            raise AnonbenchError(message, entry=f"method {self.name}: {entry}") from None

    @property
    def name(self) -> str:
        """The name that the method is registered under: its module's."""
        return type(self).__module__.rpartition(".")[2]

    def window(self, region: Region, width: int, height: int) -> Window:
        """Return what the method wants to see of an image (width, height); it must hold the region's box."""
        return Window(region.box)

    @abc.abstractmethod
    def change(self, crop: Crop) -> np.ndarray:
        """Return the changed crop, uint8 HxWx3 RGB or float in 0..255; only what the mask covers is used."""

    def change_batch(self, crops: Sequence[Crop]) -> Sequence[np.ndarray]:
        """Change up to ``batch`` crops at once."""
        return [self.change(crop) for crop in crops]


def make(variant: Variant, parameters: dict[str, Any] | None = None) -> Method:
    """Return a variant's method: the parameters of its level, overridden by ``parameters``.

    Raises AnonbenchError for the original (it has no method), a level that neither the method nor
    ``parameters`` give a meaning, or parameters that are refused.
    """
    if variant.method is None:
        raise AnonbenchError("the original has no method")
    method = registry.load("methods", variant.method)
    if not parameters and variant.level is None and method.levels:
        raise AnonbenchError(f"variant '{variant}' names no level", remedy=f"choose one of {', '.join(method.levels)}")
    if not parameters and variant.level is not None and variant.level not in method.levels:
        raise AnonbenchError(f"variant '{variant}': unknown level{nearest(variant.level, method.levels)}")
    return method({**method.levels.get(variant.level, {}), **(parameters or {})})


# The published study's crops (DeepPrivacy2, paper sections on detection; reference/paper.md 1.2)

FACE_SIZE = (128, 128)
"""Width, height of the published face crop."""
BODY_SIZE = (160, 288)
"""Width, height of the published body crop."""


def published_window(region: Region, width: int, height: int) -> Window:
    """Return the crop that the published study works on, for an image of width x height.

    Face: a square of 1.7 x the longer side of the face box. Body: the mask's box grown by 10 % of its mean
    side per axis, then to height / width = 1.8, then until 30 % of it is background. Both are centred and
    then shifted into the image as far as they fit.
    """
    if region.kind is RegionKind.FACE:
        x, y, w, h = region.subject
        side = max(1, round(1.7 * max(w, h)))
        x0, x1 = interval(x, x + w, side, width)
        y0, y1 = interval(y, y + h, side, height)
        return Window((x0, y0, x1, y1), FACE_SIZE)
    x0, y0, x1, y1 = region.box
    w, h = x1 - x0, y1 - y0
    margin = 0.1 * math.sqrt(w * h)
    w, h = min(w + margin, max(w, width)), min(h + margin, max(h, height))
    aspect = BODY_SIZE[1] / BODY_SIZE[0]
    w, h = max(w, h / aspect), max(h, w * aspect)
    grow = math.sqrt(max(1.0, np.count_nonzero(region.mask) / 0.7 / (w * h)))
    left, right = interval(x0, x1, math.ceil(w * grow), width)
    top, bottom = interval(y0, y1, math.ceil(h * grow), height)
    return Window((left, top, right, bottom), BODY_SIZE)


def interval(start: float, end: float, length: int, limit: int) -> tuple[int, int]:
    """Return an interval of ``length`` about the middle of start..end, shifted into 0..limit if it fits."""
    first = round((start + end - length) / 2)
    if length <= limit:
        first = min(max(first, 0), limit - length)
    return first, first + length
