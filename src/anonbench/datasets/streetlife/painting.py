"""From a plan to pixels: background, shadows, sprites and what a camera does to them."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import cv2
import numpy as np
import numpy.typing as npt

from . import street as background
from .buildings import paint_buildings
from .dice import Dice
from .geometry import Array, Camera, ellipse
from .light import Light
from .options import Options
from .scene import Actor, Plan
from .sprite import SHIFT, THING, Bytes, Canvas, Stencil
from .street import Street


def _cast(canvas: Canvas, camera: Camera, light: Light, actor: Actor, stencil: Stencil, shadow: Bytes) -> None:
    """Lay an object's outline on the ground, along the sun."""
    sprite = actor.sprite
    z, x = sprite.depth, sprite.x
    scale = camera.focal / z
    fx, fy = camera.ground(x, z)
    if sprite.footprint is not None:
        points = np.concatenate(
            [sprite.footprint, sprite.footprint + np.array([light.shadow_x, light.shadow_z]) * sprite.tall]
        )
        points[:, 1] = np.maximum(points[:, 1], 0.7)
        hull = cv2.convexHull(canvas.fix(_on_ground(camera, points)))
        cv2.fillPoly(shadow, [hull], (255,), cv2.LINE_AA, SHIFT)
        return
    contours, _ = cv2.findContours(stencil.parts, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = []
    for contour in contours:
        if len(contour) < 3:
            continue
        pixels = contour[:, 0, :].astype(np.float64) + np.array([stencil.left + 0.5, stencil.top + 0.5])
        points = pixels / canvas.scale
        up = np.maximum(0.0, (fy - points[:, 1]) / scale)
        ground = np.stack(
            [x + (points[:, 0] - fx) / scale + light.shadow_x * up, np.maximum(0.7, z + light.shadow_z * up)], axis=1
        )
        outlines.append(canvas.fix(_on_ground(camera, ground)))
    for outline in outlines:
        cv2.fillPoly(shadow, [outline], (255,), cv2.LINE_AA, SHIFT)


def _on_ground(camera: Camera, xz: Array) -> Array:
    return camera.points(np.stack([xz[:, 0], np.zeros(len(xz)), xz[:, 1]], axis=1))


def _shadows(canvas: Canvas, plan: Plan, stencils: list[Stencil]) -> None:
    camera, light, street = plan.camera, plan.light, plan.street
    shadow = np.zeros((canvas.height, canvas.width), np.uint8)
    for actor in plan.actors:  # where things touch the ground it is always a little darker
        sprite = actor.sprite
        if sprite.footprint is None:
            z = max(0.9, sprite.depth)
            fx, fy = camera.ground(sprite.x, z)
            wide = camera.focal / z * (0.34 if actor.figure else 0.3)
            spot = ellipse(fx, fy, wide, max(0.8, wide * camera.height / z * 0.8), 24)
            cv2.fillPoly(shadow, [canvas.fix(spot)], (110,), cv2.LINE_AA, SHIFT)
    if light.darkness >= 0.3 and street.shade > 0:
        _building_shadow(canvas, camera, light, street, shadow)
    for actor, stencil in zip(plan.actors, stencils, strict=True):
        _cast(canvas, camera, light, actor, stencil, shadow)
    top = max(0, min(canvas.height - 1, int(camera.horizon * canvas.scale)))
    size = max(3, int(canvas.scale * 1.4) | 1)
    soft = cv2.GaussianBlur(shadow[top:].copy(), (size, size), 0)
    region = canvas.pixels[top:].astype(np.uint16)
    for channel, share in enumerate((1.0, 0.96, 0.84)):
        loss = int(light.darkness * share * 256)
        keep = np.uint16(256) - ((soft.astype(np.uint16) * np.uint16(loss)) >> 8)
        canvas.pixels[top:, :, channel] = (region[:, :, channel] * keep) >> 8


def _building_shadow(canvas: Canvas, camera: Camera, light: Light, street: Street, shadow: Bytes) -> None:
    if street.kind == "across":
        z0, z1 = max(1.0, street.edges[1] - street.shade), street.edges[1]
        corners = np.array([(camera.right(-10, z0), z0), (camera.right(camera.width + 10, z0), z0),
                            (camera.right(camera.width + 10, z1), z1), (camera.right(-10, z1), z1)])  # fmt: skip
    else:
        x0, x1 = (
            (street.edges[0], street.edges[0] + street.shade)
            if light.side < 0
            else (street.edges[1] - street.shade, street.edges[1])
        )
        corners = np.array([(x0, 0.95), (x1, 0.95), (x1, street.far), (x0, street.far)])
    cv2.fillPoly(shadow, [canvas.fix(_on_ground(camera, corners))], (235,), cv2.LINE_AA, SHIFT)


def _finish_sprite(canvas: Canvas, stencil: Stencil, actor: Actor, light: Light) -> None:
    """Grain and soft relief on a painted sprite."""
    sprite = actor.sprite
    window = canvas.window(stencil)
    if window is None or (sprite.texture == 0 and sprite.relief == 0):
        return
    on_canvas, on_patch = window
    patch = stencil.parts[on_patch]
    region = canvas.pixels[on_canvas]
    h, w = patch.shape
    extra = np.zeros((h, w), np.int16)
    if sprite.texture:
        tile = background.grain_tiles()[1]
        rows, columns = np.arange(h) & 511, np.arange(w) & 511
        extra += (tile[rows][:, columns] * np.int16(sprite.texture)) >> 6
    if sprite.relief and abs(light.side) > 0.1 and h > 12 and w > 8:
        parts = stencil.parts[::2, ::2]  # half the resolution is enough for what is blurred anyway
        body = np.where((parts > 0) & (parts != THING), np.uint8(255), np.uint8(0))
        reach = max(1, min(stencil.parts.shape) // 32)
        padded = cv2.copyMakeBorder(body, 0, 0, reach, reach, cv2.BORDER_CONSTANT, value=0)
        soft = cv2.GaussianBlur(padded, (4 * reach + 1, 4 * reach + 1), 0).astype(np.int16)
        slope = soft[:, 2 * reach :] - soft[:, : -2 * reach]
        slope *= np.int16(int(-light.side * sprite.relief))
        slope >>= 8
        rows, columns = (np.arange(s.start, s.stop) >> 1 for s in on_patch)
        extra += slope[rows][:, columns]
    mask = (patch > 0).astype(np.uint8)
    cv2.add(region, cv2.merge([extra, extra, extra]), region, mask=mask, dtype=cv2.CV_8U)


@lru_cache(maxsize=4)
def _vignette(height: int, width: int) -> npt.NDArray[np.uint16]:
    """Squared distance to the centre, 0..256 in the corners."""
    y = (np.arange(height, dtype=np.int64) * 2 - height + 1)[:, None]
    x = (np.arange(width, dtype=np.int64) * 2 - width + 1)[None, :]
    return ((x * x * height * height + y * y * width * width) * 128 // (width * width * height * height)).astype(
        np.uint16
    )


@lru_cache(maxsize=16)
def _gauss_table(tenths: int) -> npt.NDArray[np.int8]:
    """256 equally likely values of a normal distribution with sigma = tenths / 10."""
    normal = NormalDist(0.0, tenths / 10)
    return np.array([round(normal.inv_cdf((i + 0.5) / 256)) for i in range(256)], np.int8)


def photograph(canvas: Canvas, options: Options, dice: Dice, noise: np.random.Generator) -> Bytes:
    """Shrink the canvas and add what a camera adds: white balance, vignetting, noise."""
    image = cv2.resize(canvas.pixels, (options.width, options.height), interpolation=cv2.INTER_AREA)
    warm = dice.uniform(-0.035, 0.035)
    exposure = dice.uniform(0.95, 1.05)
    gains = [int(256 * exposure * (1 + warm)), int(256 * exposure), int(256 * exposure * (1 - warm))]
    fall = dice.integer(10, 44)
    edge = np.uint16(256) - ((_vignette(options.height, options.width) * np.uint16(fall)) >> 8)
    levels = np.arange(256, dtype=np.int64)[:, None] * np.array(gains, np.int64)
    table = np.minimum(255, levels >> 8).astype(np.uint8).reshape(1, 256, 3)
    image = cv2.LUT(image, table)
    image = ((image.astype(np.uint16) * edge[:, :, None]) >> 8).astype(np.uint8)
    draws = np.frombuffer(noise.bytes(image.size), np.uint8)
    grain = np.take(_gauss_table(dice.integer(12, 30)), draws).reshape(image.shape)
    out: Bytes = np.empty(image.shape, np.uint8)
    cv2.add(image, grain, out, dtype=cv2.CV_8U)
    return out


def backdrop(canvas: Canvas, plan: Plan, dice: Dice) -> None:
    """Paint what stands behind everything, the same whoever is there: sky, buildings and ground."""
    background.paint_sky(canvas, plan.camera, plan.light, dice)
    paint_buildings(canvas, plan.camera, plan.street, plan.light, dice)
    background.paint_wall_grain(canvas, plan.camera, dice)
    background.paint_ground(canvas, plan.camera, plan.street, plan.light, dice)


def paint(canvas: Canvas, plan: Plan, stencils: list[Stencil]) -> None:
    """Paint shadows and sprites on a canvas that holds the `backdrop`."""
    _shadows(canvas, plan, stencils)
    for actor, stencil in zip(plan.actors, stencils, strict=True):
        canvas.paint(stencil)
        _finish_sprite(canvas, stencil, actor, plan.light)
