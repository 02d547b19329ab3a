"""Sprites (everything that stands in front of the background) and the canvas they are painted on.

The only drawing primitive is OpenCV's polygon fill on fixed-point coordinates, which is integer arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from .geometry import DESIGN_HEIGHT, Array, Colour

SUPERSAMPLING = 2
SHIFT = 4  # fractional bits of fixed-point coordinates

# What a pixel of a person shows. THING hides what is behind it but is nobody's body (bicycle, tree, car).
HEAD, FACE, TORSO, ARM_L, ARM_R, LEG_L, LEG_R, THING = range(1, 9)

Bytes = npt.NDArray[np.uint8]


@dataclass
class Sprite:
    """Polygons in painting order, plus where they stand.

    `shapes` holds (outlines, colour, part): outlines are (N, 2) design units, several of them fill by the
    even-odd rule (rings); colour None only marks the part.
    """

    depth: float  # metres
    shapes: list[tuple[list[Array], Colour | None, int]] = field(default_factory=list)
    texture: int = 0  # amplitude of the surface's grain in grey levels
    relief: int = 0  # strength of the soft shading from the outline, in grey levels
    x: float = 0.0  # metres, where it touches the ground
    footprint: Array | None = None  # (N, 2) X and Z of the ground it covers, for things with volume
    tall: float = 0.0  # metres, of things with a footprint

    def add(self, outline: Array, colour: Colour | None, part: int = THING) -> None:
        self.shapes.append(([outline], colour, part))

    def ring(self, outer: Array, inner: Array, colour: Colour, part: int = THING) -> None:
        self.shapes.append(([outer, inner], colour, part))


@dataclass
class Stencil:
    """A sprite in fixed-point canvas coordinates, with its parts drawn on a patch of its own.

    `parts` is uint8, 0 = nothing. It reaches beyond the image where the sprite does, its origin on the canvas
    is (left, top).
    """

    fixed: list[tuple[list[npt.NDArray[np.int32]], Colour | None, int]]
    parts: Bytes
    left: int
    top: int


class Canvas:
    """A supersampled RGB image (uint8, (height, width, 3)) with coordinates in design units."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width * SUPERSAMPLING, height * SUPERSAMPLING
        self.scale = height * SUPERSAMPLING / DESIGN_HEIGHT
        self.pixels: Bytes = np.zeros((self.height, self.width, 3), np.uint8)

    def fix(self, points: Array) -> npt.NDArray[np.int32]:
        """Design units to fixed point; a pixel's centre has whole coordinates in OpenCV."""
        return np.rint(points * (self.scale * (1 << SHIFT)) - (1 << (SHIFT - 1))).astype(np.int32)

    def fill(self, outlines: list[Array], colour: Colour) -> None:
        """Fill outlines with one colour, anti-aliased (even-odd where they overlap)."""
        self.fill_fixed([self.fix(o) for o in outlines], colour)

    def fill_fixed(self, outlines: list[npt.NDArray[np.int32]], colour: Colour) -> None:
        cv2.fillPoly(self.pixels, outlines, colour, cv2.LINE_AA, SHIFT)

    def stencil(self, sprite: Sprite) -> Stencil:
        outlines = [o for shape in sprite.shapes for o in shape[0]]
        fixed = self.fix(np.concatenate(outlines))
        low, high = fixed.min(axis=0) >> SHIFT, fixed.max(axis=0) >> SHIFT
        # Far outside the image nothing has to be kept exactly; this bounds the patch.
        left, top = max(int(low[0]) - 1, -self.width), max(int(low[1]) - 1, -self.height)
        right, bottom = min(int(high[0]) + 3, 2 * self.width), min(int(high[1]) + 3, 2 * self.height)
        parts = np.zeros((max(1, bottom - top), max(1, right - left)), np.uint8)
        shapes: list[tuple[list[npt.NDArray[np.int32]], Colour | None, int]] = []
        at = 0
        offset = np.array([left << SHIFT, top << SHIFT], np.int32)
        for shape_outlines, colour, part in sprite.shapes:
            pieces = []
            for outline in shape_outlines:
                pieces.append(fixed[at : at + len(outline)])
                at += len(outline)
            cv2.fillPoly(parts, [p - offset for p in pieces], (part,), cv2.LINE_8, SHIFT)
            shapes.append((pieces, colour, part))
        return Stencil(shapes, parts, left, top)

    def window(self, stencil: Stencil) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        """The slices of the canvas and of the stencil's patch where they overlap, or None."""
        h, w = stencil.parts.shape
        x0, y0 = max(0, stencil.left), max(0, stencil.top)
        x1, y1 = min(self.width, stencil.left + w), min(self.height, stencil.top + h)
        if x0 >= x1 or y0 >= y1:
            return None
        return (slice(y0, y1), slice(x0, x1)), (
            slice(y0 - stencil.top, y1 - stencil.top),
            slice(x0 - stencil.left, x1 - stencil.left),
        )

    def paint(self, stencil: Stencil) -> None:
        for pieces, colour, _ in stencil.fixed:
            if colour is not None:
                cv2.fillPoly(self.pixels, pieces, colour, cv2.LINE_AA, SHIFT)
