"""Points, outlines and the camera.

Lengths on screen are in design units: 1 unit = image height / 192. x grows to the right, y down. Lengths in
the world are metres: X to the right of the camera, Y up from the ground, Z away from the camera.
Angles are whole tenths of a degree or degrees; sine and cosine come from tables rounded to 1e-6, because libm
and SIMD kernels differ between machines in the last bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Point = tuple[float, float]
Point3 = tuple[float, float, float]
Colour = tuple[int, int, int]

DESIGN_HEIGHT = 192.0

SIN = np.array([round(math.sin(math.radians(i / 10)), 6) for i in range(3600)])
COS = np.array([round(math.cos(math.radians(i / 10)), 6) for i in range(3600)])


def sine(degrees: float) -> float:
    return round(math.sin(math.radians(degrees)), 6)


def cosine(degrees: float) -> float:
    return round(math.cos(math.radians(degrees)), 6)


def tenths(degrees: Array | list[float]) -> npt.NDArray[np.int64]:
    """Table indices of angles given in degrees."""
    return np.asarray(np.rint(np.asarray(degrees) * 10).astype(np.int64) % 3600)


def _circle(points: int) -> Array:
    index = tenths([360.0 * i / points for i in range(points)])
    return np.stack([COS[index], SIN[index]], axis=1)


CIRCLES = {n: _circle(n) for n in (8, 12, 16, 24, 32)}
_CAP = tenths([90.0 + 180.0 * i / 6 for i in range(7)])
_HALF = np.stack([COS[_CAP], SIN[_CAP]], axis=1)
_CAPSULE_X, _CAPSULE_Y = np.ascontiguousarray(np.concatenate([_HALF, -_HALF]).T)
_CAPSULE_END = np.array([0.0] * 7 + [1.0] * 7)


def ellipse(x: float, y: float, rx: float, ry: float | None = None, points: int = 16) -> Array:
    outline = np.empty((points, 2))
    outline[:, 0] = CIRCLES[points][:, 0] * rx + x
    outline[:, 1] = CIRCLES[points][:, 1] * (rx if ry is None else ry) + y
    return outline


def capsule(a: Point, b: Point, ra: float, rb: float) -> Array:
    """The outline of a limb: round ends of radius ra at a and rb at b. Shape (14, 2)."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = math.sqrt(dx * dx + dy * dy)
    if length < 1e-6:
        dx, dy, length = 1.0, 0.0, 1.0
    ux, uy = dx / length, dy / length
    radius = _CAPSULE_END * (rb - ra) + ra
    outline = np.empty((14, 2))
    outline[:, 0] = (_CAPSULE_X * ux - _CAPSULE_Y * uy) * radius + (_CAPSULE_END * (b[0] - a[0]) + a[0])
    outline[:, 1] = (_CAPSULE_X * uy + _CAPSULE_Y * ux) * radius + (_CAPSULE_END * (b[1] - a[1]) + a[1])
    return outline


def smooth(points: Array, rounds: int = 2) -> Array:
    """Chaikin's corner cutting of a closed outline."""
    for _ in range(rounds):
        following = np.concatenate([points[1:], points[:1]])
        cut = np.empty((2 * len(points), 2))
        cut[0::2] = 0.75 * points + 0.25 * following
        cut[1::2] = 0.25 * points + 0.75 * following
        points = cut
    return points


def box(x0: float, y0: float, x1: float, y1: float) -> Array:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """a with `share` of b."""
    return (
        int(a[0] + (b[0] - a[0]) * share + 0.5),
        int(a[1] + (b[1] - a[1]) * share + 0.5),
        int(a[2] + (b[2] - a[2]) * share + 0.5),
    )


def tint(colour: Colour, gains: tuple[float, float, float] | float) -> Colour:
    """A colour times a light, clipped."""
    r, g, b = (gains, gains, gains) if isinstance(gains, float) else gains
    return (
        min(255, int(colour[0] * r + 0.5)),
        min(255, int(colour[1] * g + 0.5)),
        min(255, int(colour[2] * b + 0.5)),
    )


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along Z, level, `height` metres above the ground."""

    width: float  # of the image, design units
    focal: float  # design units
    centre: float  # x of the vanishing point, design units
    horizon: float  # y of the horizon, design units
    height: float

    def point(self, x: float, y: float, z: float) -> Point:
        scale = self.focal / z
        return self.centre + x * scale, self.horizon + (self.height - y) * scale

    def points(self, xyz: Array) -> Array:
        """(N, 3) or (N, M, 3) metres to (N, 2) or (N, M, 2) design units; Z must be positive."""
        scale = self.focal / xyz[..., 2]
        screen = np.empty((*xyz.shape[:-1], 2))
        screen[..., 0] = self.centre + xyz[..., 0] * scale
        screen[..., 1] = self.horizon + (self.height - xyz[..., 1]) * scale
        return screen

    def ground(self, x: float, z: float) -> Point:
        return self.point(x, 0.0, z)

    def depth(self, size: float, metres: float) -> float:
        """The Z at which `metres` look `size` design units long."""
        return self.focal * metres / size

    def right(self, x: float, z: float) -> float:
        """The X in metres seen at screen x at depth z."""
        return (x - self.centre) * z / self.focal
