"""The ground and the sky of a scene, painted straight onto the canvas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from .dice import Dice, generator
from .geometry import Camera, Colour, box, ellipse, mix, tint
from .light import Light
from .sprite import Canvas

NEAR = 0.9  # metres; nothing of the background is nearer


@dataclass(frozen=True)
class Street:
    """Where things are, in metres. `kind`: "along" (the street runs away from us) or "across".

    along: `road` and `edges` are X ranges of the road and between the facades; buildings end at `far`.
    across: they are Z ranges, the facade stands at edges[1].
    """

    kind: str
    road: tuple[float, float]
    edges: tuple[float, float]
    far: float
    park: bool
    shade: float  # metres the shadow of the buildings reaches; along: from the sun's side, across: from the back


@lru_cache(maxsize=1)
def grain_tiles() -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Two seamless 512x512 grains, about -64..64: coarse blotches with specks, and fine specks."""
    source = generator("streetlife", "grain")
    fine = source.integers(-64, 65, (512, 512)).astype(np.int32)
    total = np.zeros((512, 512), np.int32)
    for size, weight in ((8, 3), (16, 2), (32, 2), (64, 1)):
        cells = source.integers(-64, 65, (size, size)).astype(np.int32)
        step = 512 // size
        share = np.arange(512, dtype=np.int32) % step
        index = np.arange(512) // step
        follow = (index + 1) % size
        rows = cells[index] * (step - share)[:, None] + cells[follow] * share[:, None]
        both = rows[:, index] * (step - share) + rows[:, follow] * share
        total += (weight * (both // (step * step))).astype(np.int32)
    coarse = (total // 5 + fine // 4).clip(-64, 64)
    return coarse.astype(np.int16), fine.astype(np.int16)


def _gradient(canvas: Canvas, top: Colour, bottom: Colour, rows: int) -> None:
    rows = max(2, min(rows, canvas.height))
    ramp = np.arange(rows, dtype=np.int32)[:, None]
    colours = (np.array(top) * (rows - 1 - ramp) + np.array(bottom) * ramp) // (rows - 1)
    canvas.pixels[:rows] = cv2.repeat(colours.astype(np.uint8)[:, None, :], 1, canvas.width)
    canvas.pixels[rows:] = bottom


def paint_sky(canvas: Canvas, camera: Camera, light: Light, dice: Dice) -> None:
    horizon = camera.horizon
    _gradient(canvas, light.sky[0], light.sky[1], int(horizon * canvas.scale) + 1)
    for _ in range(dice.integer(1, 4)):
        x, y = dice.uniform(0, camera.width), dice.uniform(4, horizon * 0.7)
        size = dice.uniform(6, 15)
        colour = mix(light.cloud, light.sky[1], dice.uniform(0.1, 0.5))
        puffs = [(-1.5, 0.25, 0.6), (-0.7, -0.1, 0.85), (0.2, -0.35, 1.1), (1.1, 0.0, 0.8), (1.9, 0.3, 0.5)]
        for dx, dy, r in puffs:
            canvas.fill([ellipse(x + dx * size, y + dy * size * 0.6, r * size, r * size * 0.6, 24)], colour)
        canvas.fill([ellipse(x + 0.2 * size, y + 0.32 * size, 2.7 * size, 0.34 * size, 24)], colour)
    base = mix(light.haze, (120, 140, 160), 0.25)
    x = -10.0
    while x < camera.width + 10:  # the far skyline
        wide, tall = dice.uniform(8, 22), dice.uniform(6, 26)
        canvas.fill([box(x, horizon - tall, x + wide, horizon + 2)], mix(base, light.haze, dice.uniform(0.0, 0.6)))
        x += wide * dice.uniform(0.7, 1.1)


def paint_ground(canvas: Canvas, camera: Camera, street: Street, light: Light, dice: Dice) -> None:
    """Road, kerbs and pavements with joints, markings and grain."""
    asphalt = tint(dice.choice(((112, 112, 118), (124, 120, 120), (102, 104, 112))), light.sun)
    stone = tint(dice.choice(((196, 186, 172), (184, 180, 176), (206, 190, 168))), light.sun)
    if street.park:
        stone = tint(dice.choice(((206, 188, 156), (198, 182, 160))), light.sun)
    kerb, joint = mix(stone, (255, 255, 255), 0.25), mix(stone, (90, 80, 80), 0.22)
    gutter = mix(asphalt, (40, 40, 44), 0.35)
    paint = mix(asphalt, (244, 240, 230), 0.75)
    near = NEAR

    def strip(a0: float, a1: float, b0: float, b1: float, colour: Colour) -> None:
        """a: across the street, b: along it."""
        if street.kind == "along":
            b0, b1 = max(b0, near), max(b1, near)
            corners = [(a0, b0), (a1, b0), (a1, b1), (a0, b1)]
        else:
            a0, a1 = max(a0, near), max(a1, near)
            corners = [(b0, a0), (b0, a1), (b1, a1), (b1, a0)]
        canvas.fill([np.array([camera.ground(x, z) for x, z in corners])], colour)

    if street.kind == "along":
        first, last, reach = near, street.far, 14.0
        low, high = street.edges
    else:
        first, last = camera.right(-10, street.edges[1] + 1), camera.right(camera.width + 10, street.edges[1] + 1)
        low, high = near, street.edges[1]
        reach = last
    strip(low, high, first, last, stone)
    r0, r1 = street.road
    # Joints of the paving stones.
    size = dice.choice((0.6, 0.9, 1.2))
    for a0, a1 in ((low, r0), (r1, high)):
        if a1 - a0 < 0.3:
            continue
        steps = int((a1 - a0) / size)
        for i in range(1, steps + 1):
            strip(a0 + i * size, a0 + i * size + 0.03, first, min(last, reach), joint)
        count = int((min(last, reach) - first) / size)
        for i in range(count):
            b = first + i * size
            strip(a0, a1, b, b + 0.03, joint)
    if street.park:  # a lawn before the hedge
        lawn = tint(dice.choice(((126, 164, 88), (142, 172, 96), (112, 152, 84))), light.sun)
        edge = dice.uniform(max(6.0, high - 7), high - 1.5)
        strip(edge, high, first, last, lawn)
        strip(edge - 0.14, edge, first, last, kerb)
    if r1 > r0:
        strip(r0, r1, first, last, asphalt)
        for edge, inward in ((r0, 1), (r1, -1)):
            strip(edge - inward * 0.16, edge, first, last, kerb)
            strip(edge, edge + inward * 0.14, first, last, gutter)
        middle = (r0 + r1) / 2
        dash, b = dice.uniform(1.4, 2.2), first
        if dice.chance(0.75):
            while b < last:
                strip(middle - 0.06, middle + 0.06, b, b + dash, paint)
                b += dash * 2
        if dice.chance(0.35):  # a zebra crossing
            at = (
                dice.uniform(5, 11)
                if street.kind == "along"
                else dice.uniform(camera.right(20, r1), camera.right(camera.width - 60, r1))
            )
            a = r0 + 0.45
            while a < r1 - 0.6:
                strip(a, a + 0.5, at, at + 2.6, paint)
                a += 1.0
        for _ in range(dice.integer(0, 2)):
            a, b = dice.uniform(r0 + 0.6, r1 - 0.6), dice.uniform(first, min(last, 14.0))
            x, z = (a, max(b, 2.0)) if street.kind == "along" else (b, max(a, 1.5))
            x0, y0 = camera.ground(x, z)
            wide = 0.35 * camera.focal / z
            tall = (camera.ground(x, z - 0.35)[1] - camera.ground(x, z + 0.35)[1]) / 2
            canvas.fill([ellipse(x0, y0, wide, tall, 24)], mix(asphalt, (50, 50, 54), 0.4))
    _grain_ground(canvas, camera)


def _grain_ground(canvas: Canvas, camera: Camera) -> None:
    """A grain that lies on the ground plane: finer the further away."""
    top = max(0, min(canvas.height - 1, int((camera.horizon + 1.0) * canvas.scale)))
    rows = (np.arange(top, canvas.height) + 0.5) / canvas.scale
    z = camera.focal * camera.height / (rows - camera.horizon)
    columns = (np.arange(canvas.width) + 0.5) / canvas.scale - camera.centre
    tile = grain_tiles()[0]
    # Whole texels: positions on the ground times 56 a metre, wrapped into the tile.
    v = (np.floor(z * 56).astype(np.int32) & 511) << 9
    u = np.floor(columns[None, :] * (z * (56 / camera.focal))[:, None]).astype(np.int32)
    u &= 511
    u |= v[:, None]
    grain = np.take(tile, u)
    strength = np.minimum(64, 640 // np.maximum(1, z.astype(np.int16)) + 10)[:, None].astype(np.int16)
    grain *= strength
    grain >>= 9
    region = canvas.pixels[top:]
    cv2.add(region, cv2.merge([grain, grain, grain]), region, dtype=cv2.CV_8U)


def paint_wall_grain(canvas: Canvas, camera: Camera, dice: Dice) -> None:
    """Faint blotches over everything behind the street."""
    bottom = max(1, min(canvas.height, int((camera.horizon + 4) * canvas.scale)))
    tile = grain_tiles()[0]
    y, x = dice.integer(0, 511), dice.integer(0, 511)
    rows, columns = (np.arange(bottom) + y) & 511, (np.arange(canvas.width) + x) & 511
    grain = tile[rows][:, columns] >> 4
    region = canvas.pixels[:bottom]
    cv2.add(region, cv2.merge([grain, grain, grain]), region, dtype=cv2.CV_8U)
