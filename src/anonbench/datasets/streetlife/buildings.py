"""Houses, roofs and the trees of parks: what closes the view behind the street."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .dice import Dice
from .geometry import CIRCLES, DESIGN_HEIGHT, Array, Camera, Colour, Point, box, capsule, ellipse, mix, tint
from .light import Light
from .sprite import Canvas
from .street import NEAR, Street

WALLS: list[Colour] = [
    (226, 206, 176), (214, 178, 146), (198, 142, 116), (188, 196, 200), (232, 222, 204), (206, 186, 160),
    (174, 150, 138), (216, 196, 190), (190, 200, 184), (160, 108, 92), (228, 200, 150), (176, 186, 202),
]  # fmt: skip
AWNINGS: list[Colour] = [(200, 70, 64), (60, 120, 110), (226, 150, 60), (70, 96, 150), (150, 70, 96), (240, 236, 226)]
GLASS: Colour = (92, 118, 140)


class _Wall:
    """A vertical plane in the world with coordinates u (along, metres) and v (up, metres)."""

    def __init__(
        self, canvas: Canvas, camera: Camera, place: Callable[[Array], Array], scale_at: Callable[[float], float]
    ) -> None:
        self.canvas, self.camera, self.place, self.scale_at = canvas, camera, place, scale_at
        self.waiting: list[tuple[list[tuple[float, float, float, float]], Colour]] = []

    def quads(self, rectangles: list[tuple[float, float, float, float]], colour: Colour) -> None:
        """Fill rectangles (u0, v0, u1, v1) that do not overlap each other."""
        if rectangles:
            self.waiting.append((rectangles, colour))

    def flush(self) -> None:
        """Paint what was collected, projecting everything at once."""
        if not self.waiting:
            return
        r = np.array([rectangle for rectangles, _ in self.waiting for rectangle in rectangles])
        corners = r[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        screen = self.camera.points(self.place(corners))
        low, high = screen.min(axis=1), screen.max(axis=1)
        inside = (high[:, 0] > 0) & (low[:, 0] < self.camera.width) & (high[:, 1] > 0) & (low[:, 1] < DESIGN_HEIGHT)
        kept = inside.tolist()
        fixed = self.canvas.fix(screen)
        at = 0
        for rectangles, colour in self.waiting:
            group = [fixed[i] for i in range(at, at + len(rectangles)) if kept[i]]
            at += len(rectangles)
            if group:
                self.canvas.fill_fixed(group, colour)
        self.waiting.clear()


def _building(
    wall: _Wall, light: Light, dice: Dice, u0: float, u1: float, height: float, sunny: bool, haze: float
) -> None:
    """One house front between u0 < u1 with its windows, door or shop."""
    gains = light.sun if sunny else light.shadow
    plain = dice.choice(WALLS)

    def lit(colour: Colour, more: float = 0.0) -> Colour:
        return mix(tint(colour, gains), light.haze, min(0.7, haze + more))

    face = lit(plain)
    trim = lit(mix(plain, (255, 252, 244), 0.5))
    dark = lit(mix(plain, (60, 50, 60), 0.35))
    wall.quads([(u0, -0.05, u1, height)], face)
    wide = u1 - u0
    shop = dice.chance(0.55)
    ground = dice.uniform(3.0, 3.8)
    storey = dice.uniform(2.8, 3.3)
    near_scale = wall.scale_at((u0 + u1) / 2)
    wall.quads([(u0, 0.0, u1, 0.5)], dark)
    if dice.chance(0.4) and near_scale > 9:  # courses of stone
        rows = [(u0, v / 10, u1, v / 10 + 0.05) for v in range(int(ground * 10), int(height * 10), 7)]
        wall.quads(rows, lit(mix(plain, (60, 50, 60), 0.12)))
    wall.quads([(u0, height - 0.35, u1, height)], trim)
    wall.quads([(u0, height - 0.5, u1, height - 0.35)], dark)
    wall.quads([(u0, ground - 0.1, u1, ground + 0.12)], trim)
    # Windows.
    count = max(1, int(wide / dice.uniform(1.7, 2.6)))
    pitch = wide / count
    half = pitch * dice.uniform(0.24, 0.33)
    tall = dice.uniform(1.3, 1.9)
    glass: list[tuple[float, float, float, float]] = []
    warm: list[tuple[float, float, float, float]] = []
    level = ground + 0.75
    while level + tall < height - 0.5:
        for i in range(count):
            middle = u0 + (i + 0.5) * pitch
            spot = (middle - half, level, middle + half, level + tall)
            (warm if light.evening and dice.chance(0.45) else glass).append(spot)
        level += storey
    every = glass + warm
    frame = 0.12
    wall.quads([(a - frame, b - frame, c + frame, d + frame) for a, b, c, d in every], trim)
    glass_colour = lit(mix(GLASS, light.sky[0], 0.35))
    wall.quads(glass, glass_colour)
    wall.quads(warm, mix((255, 214, 140), light.haze, haze * 0.6))
    if near_scale > 6:
        wall.quads([(a, (b + d) / 2, c, d) for a, b, c, d in glass], mix(glass_colour, light.sky[1], 0.22))
        wall.quads([((a + c) / 2 - 0.04, b, (a + c) / 2 + 0.04, d) for a, b, c, d in every], trim)
        wall.quads([(a - 0.2, b - 0.24, c + 0.2, b - frame) for a, b, c, d in every], dark)
        curtains = [s for s in every if dice.chance(0.3)]
        wall.quads([(a, b, a + (c - a) * 0.3, d) for a, b, c, d in curtains], lit((236, 228, 214)))
    if dice.chance(0.3):
        boxes = [s for s in every if dice.chance(0.5)]
        wall.quads([(a - 0.1, b - 0.3, c + 0.1, b) for a, b, c, d in boxes], lit((96, 138, 84)))
    # The ground floor.
    door = dice.choice(((96, 62, 50), (52, 84, 92), (60, 70, 110), (120, 50, 52), (70, 92, 64)))
    at = u0 + wide * dice.uniform(0.1, 0.75)
    at = min(at, u1 - 1.3)
    if shop and wide > 3.2:
        awning = dice.choice(AWNINGS)
        wall.quads([(u0 + 0.3, 0.45, u1 - 0.3, ground - 0.75)], lit(mix(door, (40, 40, 46), 0.3)))
        panes = max(1, int((wide - 0.8) / 1.8))
        step = (wide - 0.8) / panes
        shown = [
            (u0 + 0.4 + i * step + 0.07, 0.62, u0 + 0.4 + (i + 1) * step - 0.07, ground - 0.95) for i in range(panes)
        ]
        pane = mix((255, 220, 160), light.haze, haze) if light.evening else lit(mix(GLASS, (220, 214, 196), 0.3))
        wall.quads(shown, pane)
        if near_scale > 6:
            wall.quads([(a, b, c, b + 0.5) for a, b, c, d in shown], mix(pane, lit((150, 120, 96)), 0.55))
            wall.quads(
                [(a + (c - a) * 0.55, b + 0.5, a + (c - a) * 0.75, d) for a, b, c, d in shown],
                mix(pane, (255, 255, 255), 0.2),
            )
        wall.quads([(at, 0.0, at + 1.05, 2.2)], lit(door))
        wall.quads([(at + 0.15, 1.0, at + 0.9, 2.05)], mix(pane, lit(door), 0.3))
        wall.quads([(u0 + 0.2, ground - 0.75, u1 - 0.2, ground - 0.2)], lit(mix(awning, (40, 36, 40), 0.25)))
        if near_scale > 7:  # letters of a sign, too far to read
            letters, x = [], u0 + wide * 0.3
            while x < u1 - wide * 0.3:
                w = dice.uniform(0.12, 0.3)
                letters.append((x, ground - 0.6, x + w, ground - 0.36))
                x += w + 0.1
            wall.quads(letters, lit((250, 240, 220)))
        if dice.chance(0.6):
            low, high = ground - 1.3, ground - 0.7
            wall.quads([(u0 + 0.2, low, u1 - 0.2, high)], lit(awning))
            stripes = [(u0 + 0.2 + i * 0.7, low, u0 + 0.55 + i * 0.7, high) for i in range(int((wide - 0.6) / 0.7))]
            wall.quads(stripes, lit(mix(awning, (255, 250, 240), 0.75)))
            wall.quads([(u0 + 0.2, low - 0.08, u1 - 0.2, low)], lit(mix(awning, (30, 20, 30), 0.4)))
    else:
        row = [(u0 + (i + 0.5) * pitch - half, 1.15, u0 + (i + 0.5) * pitch + half, ground - 0.6) for i in range(count)]
        row = [r for r in row if r[2] < at - 0.25 or r[0] > at + 1.3]
        wall.quads([(a - frame, b - frame, c + frame, d + frame) for a, b, c, d in row], trim)
        wall.quads(row, glass_colour)
        if near_scale > 6:
            wall.quads([((a + c) / 2 - 0.04, b, (a + c) / 2 + 0.04, d) for a, b, c, d in row], trim)
        wall.quads([(at - 0.12, 0.0, at + 1.17, 2.42)], trim)
        wall.quads([(at, 0.0, at + 1.05, 2.3)], lit(door))
        if near_scale > 8:
            wall.quads(
                [(at + 0.15, 1.3, at + 0.9, 2.1), (at + 0.15, 0.3, at + 0.9, 1.1)], lit(mix(door, (20, 20, 26), 0.25))
            )


def _along(canvas: Canvas, camera: Camera, street: Street, light: Light, dice: Dice) -> None:
    for side in (-1, 1):
        x = street.edges[0] if side < 0 else street.edges[1]

        def place(uv: Array, x: float = x) -> Array:
            world = np.empty((*uv.shape[:-1], 3))
            world[..., 0], world[..., 1] = x, uv[..., 1]
            world[..., 2] = np.maximum(uv[..., 0], NEAR)
            return world

        wall = _Wall(canvas, camera, place, lambda u: camera.focal / max(u, NEAR))
        sunny = light.side * side < 0
        houses = []
        z = NEAR - dice.uniform(0, 3)
        while z < street.far:
            wide = dice.uniform(5, 11)
            houses.append((z, z + wide, dice.uniform(7, 16)))
            z += wide
        for start, end, height in reversed(houses):
            _building(wall, light, dice, start, end, height, sunny, min(0.6, max(0.0, (start - 6) / 90)))
        wall.flush()


def _across(canvas: Canvas, camera: Camera, street: Street, light: Light, dice: Dice) -> None:
    z = street.edges[1]

    def place(uv: Array) -> Array:
        world = np.empty((*uv.shape[:-1], 3))
        world[..., 0], world[..., 1], world[..., 2] = uv[..., 0], uv[..., 1], z
        return world

    wall = _Wall(canvas, camera, place, lambda u: camera.focal / z)
    x, end = camera.right(-5, z) - dice.uniform(0, 4), camera.right(camera.width + 5, z)
    haze = min(0.5, max(0.0, (z - 6) / 80))
    if street.park:
        _park(canvas, camera, street, light, dice)
        return
    while x < end:
        wide = dice.uniform(6, 12)
        if dice.chance(0.12):  # a gap with a hedge
            wall.quads([(x, 0, x + 3.0, 1.5)], mix(tint((88, 128, 78), light.sun), light.haze, haze))
            x += 3.0
            continue
        height, sunny = dice.uniform(6.5, 11.5), light.shadow_z > -0.2
        if dice.chance(0.7):
            _roof(canvas, camera, light, dice, place, x, x + wide, height, haze)
        _building(wall, light, dice, x, x + wide, height, sunny, haze)
        x += wide
    wall.flush()


def _roof(
    canvas: Canvas,
    camera: Camera,
    light: Light,
    dice: Dice,
    place: Callable[[Array], Array],
    u0: float,
    u1: float,
    height: float,
    haze: float,
) -> None:
    """A roof with dormers and a chimney, seen from the street."""

    def paint(corners: list[tuple[float, float]], colour: Colour, gains: tuple[float, float, float]) -> None:
        canvas.fill([camera.points(place(np.array(corners)))], mix(tint(colour, gains), light.haze, haze))

    tiles = dice.choice(((104, 110, 124), (170, 96, 78), (146, 84, 70), (92, 96, 106)))
    rise, inset = dice.uniform(1.3, 2.3), dice.uniform(0.3, 1.4)
    top = height + rise
    at = dice.uniform(u0 + 1.2, u1 - 1.6)
    paint([(at, height), (at + 0.7, height), (at + 0.7, top + 0.8), (at, top + 0.8)], (150, 92, 78), light.shadow)
    paint(
        [(at - 0.1, top + 0.8), (at + 0.8, top + 0.8), (at + 0.8, top + 1.0), (at - 0.1, top + 1.0)],
        (110, 90, 86),
        light.shadow,
    )
    paint([(u0, height), (u1, height), (u1 - inset, top), (u0 + inset, top)], tiles, light.sun)
    for share in (0.3, 0.6):
        a, b = u0 + inset * share, u1 - inset * share
        v = height + rise * share
        paint([(a, v), (b, v), (b, v + 0.07), (a, v + 0.07)], mix(tiles, (40, 30, 40), 0.25), light.sun)
    if dice.chance(0.5) and rise > 1.6:
        count = max(1, int((u1 - u0) / 3.6))
        for i in range(count):
            middle = u0 + (i + 0.5) * (u1 - u0) / count
            low, high = height + 0.25, height + rise * 0.75
            paint(
                [
                    (middle - 0.55, low),
                    (middle + 0.55, low),
                    (middle + 0.55, high),
                    (middle, high + 0.4),
                    (middle - 0.55, high),
                ],
                (232, 224, 210),
                light.sun,
            )
            paint(
                [
                    (middle - 0.36, low + 0.1),
                    (middle + 0.36, low + 0.1),
                    (middle + 0.36, high - 0.1),
                    (middle - 0.36, high - 0.1),
                ],
                mix(GLASS, light.sky[0], 0.35),
                light.sun,
            )


def _crown(canvas: Canvas, dice: Dice, at: Point, size: Point, side: float, dark: Colour, bright: Colour) -> None:
    """The crown of a tree far away: a pointed one now and then, else a cloud of leaves lit from one side."""
    (x, y), (wide, tall) = at, size
    if dice.chance(0.14):
        for share in (1.0, 0.72, 0.44):
            low = y + tall * (2.0 * share - 1.0)
            half, top = wide * 0.62 * share, y - tall * (1.35 - 0.5 * share)
            canvas.fill([np.array([(x, top), (x + half, low), (x - half, low)])], dark)
            canvas.fill([np.array([(x, top), (x + half * side, low), (x + half * 0.2 * side, low)])], bright)
        return
    turn = dice.integer(0, 15)
    puffs = [(x + wide * 0.45 * dx, y + tall * 0.45 * dy, 0.5 + 0.05 * (i % 3)) for i, (dx, dy) in enumerate(
        np.roll(CIRCLES[16], turn, axis=0)[::3].tolist())]  # fmt: skip
    canvas.fill([ellipse(x, y, wide * 0.8, tall * 0.8, 32)], dark)
    for px, py, r in puffs:
        canvas.fill([ellipse(px, py, wide * r, tall * r, 32)], dark)
    middle = mix(dark, bright, 0.6)
    for shade, reach, shift in ((middle, 0.74, 0.12), (bright, 0.42, 0.24)):
        for px, py, r in puffs:
            cx, cy = px + wide * shift * side, py - tall * shift
            canvas.fill([ellipse(cx, cy, wide * r * reach, tall * r * reach, 32)], shade)


def _park(canvas: Canvas, camera: Camera, street: Street, light: Light, dice: Dice) -> None:
    """Lawns with rows of trees and a hedge."""
    z = street.edges[1]
    scale = camera.focal / z
    for row, (distance, share) in enumerate(((z + 14, 0.45), (z + 6, 0.28), (z, 0.12))):
        scale = camera.focal / distance
        base = camera.ground(0, distance)[1]
        x = -10.0
        while x < camera.width + 10:
            tall = dice.uniform(3.5, 7.5) * scale
            wide = tall * dice.uniform(0.32, 0.5)
            green = mix(dice.choice(((92, 140, 74), (112, 152, 78), (74, 122, 76), (146, 158, 82))), light.haze, share)
            trunk = mix(tint((104, 82, 66), light.shadow), light.haze, share)
            if row:
                canvas.fill([capsule((x, base), (x, base - tall * 0.5), 0.16 * scale, 0.12 * scale)], trunk)
            lower = base - tall * (0.62 if row else 0.4)
            _crown(
                canvas,
                dice,
                (x, lower),
                (wide, tall * 0.4),
                light.side,
                tint(green, light.shadow),
                tint(green, light.sun),
            )
            x += wide * dice.uniform(1.2, 2.4)
    hedge = box(-5, camera.point(0, 0.9, z)[1], camera.width + 5, camera.ground(0, z)[1] + 1)
    canvas.fill([hedge], mix(tint((78, 118, 70), light.shadow), light.haze, 0.1))
    canvas.fill(
        [box(-5, camera.point(0, 0.95, z)[1], camera.width + 5, camera.point(0, 0.7, z)[1])],
        mix(tint((104, 148, 84), light.sun), light.haze, 0.1),
    )


def paint_buildings(canvas: Canvas, camera: Camera, street: Street, light: Light, dice: Dice) -> None:
    (_along if street.kind == "along" else _across)(canvas, camera, street, light, dice)
