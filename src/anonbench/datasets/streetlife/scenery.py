"""Things that stand in the street: cars, trees, lamp posts and the like."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .dice import Dice
from .geometry import Array, Camera, Colour, box, capsule, ellipse, mix, smooth
from .light import Tone
from .sprite import THING, Sprite

PAINTS: list[Colour] = [
    (196, 54, 50), (62, 106, 170), (238, 238, 236), (56, 60, 68), (160, 166, 172), (232, 178, 60), (70, 130, 118),
    (150, 92, 72), (118, 150, 190), (210, 204, 190),
]  # fmt: skip
CAR = THING

# Profiles from the front bumper over the roof to the rear: (metres from the front, metres up), then the
# material of the panel that follows each point: p paint, g glass, f front, r rear.
_PROFILES: dict[str, tuple[list[tuple[float, float]], str, float, float]] = {
    "hatch": (
        [(0.0, 0.3), (0.02, 0.68), (0.9, 0.9), (1.6, 1.42), (2.0, 1.5), (3.2, 1.48), (3.75, 0.98), (3.85, 0.6),
         (3.8, 0.3)],
        "fpgppgrrp", 1.72, 0.31,
    ),
    "sedan": (
        [(0.0, 0.3), (0.03, 0.66), (1.2, 0.86), (1.95, 1.36), (2.3, 1.42), (3.1, 1.4), (3.8, 0.96), (4.45, 0.9),
         (4.5, 0.6), (4.45, 0.3)],
        "fpgppgprrp", 1.78, 0.32,
    ),
    "suv": (
        [(0.0, 0.38), (0.04, 0.86), (1.1, 1.05), (1.7, 1.6), (2.0, 1.7), (3.9, 1.66), (4.3, 1.1), (4.4, 0.75),
         (4.36, 0.38)],
        "fpgppgrrp", 1.86, 0.36,
    ),
    "van": (
        [(0.0, 0.36), (0.05, 0.85), (0.6, 1.15), (1.3, 1.85), (1.6, 1.98), (4.6, 1.98), (4.75, 1.2), (4.78, 0.8),
         (4.75, 0.36)],
        "fpgppgrrp", 1.92, 0.35,
    ),
}  # fmt: skip


def car(camera: Camera, x: float, z: float, heading: int, tone: Tone, dice: Dice) -> Sprite:
    """A car centred at (x, z) whose front points to 0 = the camera, 1 = right, 2 = away, 3 = left."""
    name = dice.weighted(tuple(_PROFILES), (4, 4, 3, 1.5))
    points, materials, wide, radius = _PROFILES[name]
    paint = dice.choice(PAINTS)
    length = points[-1][0]
    profile = np.array(points)
    ahead = {0: (0.0, -1.0), 1: (1.0, 0.0), 2: (0.0, 1.0), 3: (-1.0, 0.0)}[heading]
    left = (-ahead[1], ahead[0])  # of the car, seen from above with z up

    def place(along: Array, up: Array, side: float) -> Array:
        """Car coordinates to the screen; the cabin narrows towards the roof."""
        half = wide / 2 * (1.0 - 0.22 * np.maximum(0.0, up - 0.9)) * side
        forward = length / 2 - along
        world = np.stack(
            [x + forward * ahead[0] + half * left[0], up, np.maximum(0.6, z + forward * ahead[1] + half * left[1])],
            axis=-1,
        )
        return camera.points(world)

    bright, shade = tone.bright(paint), tone.shade(paint)
    glass = tone.bright((70, 88, 104))
    sides = sorted((-1.0, 1.0), key=lambda s: -(z + s * wide / 2 * left[1] + 0.0))
    if heading in (0, 2):
        sides = sorted((-1.0, 1.0), key=lambda s: -abs(x + s * wide / 2 * left[0]))
    far, near = sides
    sprite = Sprite(z - (length / 2 if heading in (0, 2) else wide / 2), texture=2, relief=0)
    wheels = (0.78, length - 0.82)
    corners = np.array([(a * length / 2, b * wide / 2) for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))])
    sprite.footprint = np.stack(
        [
            x + corners[:, 0] * ahead[0] + corners[:, 1] * left[0],
            z + corners[:, 0] * ahead[1] + corners[:, 1] * left[1],
        ],
        axis=1,
    )
    sprite.tall = 1.3
    dark = tone.shade((40, 40, 44))
    circle = ellipse(0, 0, 1, 1, 24)
    for at in wheels:
        disc = place(at + circle[:, 0] * radius, radius + circle[:, 1] * radius, far * 0.96)
        sprite.add(disc, dark)
    belly = place(np.array([0.2, length - 0.2, length - 0.2, 0.2]), np.array([0.22, 0.22, 0.5, 0.5]), near * 0.94)
    sprite.add(belly, tone.shade((30, 30, 34)))
    # The panels across the car, the ones further away first.
    count = len(points)
    order = sorted(
        range(count - 1), key=lambda i: -(z + (length / 2 - (points[i][0] + points[i + 1][0]) / 2) * ahead[1])
    )
    for i in order:
        (a0, u0), (a1, u1) = points[i], points[i + 1]
        # Only panels whose outside faces the camera.
        middle, up_middle = length / 2 - (a0 + a1) / 2, (u0 + u1) / 2
        eye_x, eye_z = -(x + middle * ahead[0]), -(z + middle * ahead[1])
        if (u1 - u0) * (ahead[0] * eye_x + ahead[1] * eye_z) + (a1 - a0) * (camera.height - up_middle) <= 0:
            continue
        quad = np.concatenate([place(np.array([a0, a1]), np.array([u0, u1]), far),
                               place(np.array([a1, a0]), np.array([u1, u0]), near)])  # fmt: skip
        material = materials[i]
        up = u1 > u0 and i < count // 2
        colour = {"g": glass, "f": tone.between(paint, 0.35), "r": tone.between(paint, 0.35)}.get(
            material, bright if abs(u1 - u0) < 0.3 else tone.between(paint, 0.3)
        )
        if material == "g":
            sprite.add(quad, shade)
            centre = quad.mean(axis=0)
            sprite.add((quad - centre) * np.array([0.88, 0.86]) + centre, tone.bright((96, 120, 138)) if up else glass)
        else:
            sprite.add(quad, colour)
        if material in "fr" and heading in (0, 2):
            _lamps(sprite, quad, tone, front=material == "f", tall=u1 - u0)
    # The side that we see.
    body = place(profile[:, 0], profile[:, 1], near)
    face_on = heading in (1, 3) or abs(x) - wide / 2 > 0.05
    if face_on:
        sprite.add(body, bright if heading in (1, 3) else tone.between(paint, 0.5))
        low = place(np.array([0.05, length - 0.05, length - 0.1, 0.1]), np.array([0.3, 0.3, 0.52, 0.52]), near * 1.005)
        sprite.add(low, tone.between(paint, 0.75))
        _side_windows(sprite, place, points, near, tone, glass, paint)
        for at in wheels:
            arch = place(
                at + circle[:, 0] * radius * 1.2, np.maximum(0.3, radius + circle[:, 1] * radius * 1.2), near * 1.005
            )
            sprite.add(arch, tone.shade((34, 34, 38)))
            sprite.add(place(at + circle[:, 0] * radius, radius + circle[:, 1] * radius, near * 1.01), dark)
            rim = place(at + circle[:, 0] * radius * 0.62, radius + circle[:, 1] * radius * 0.62, near * 1.01)
            sprite.add(rim, tone.bright((176, 180, 186)))
            hub = place(at + circle[:, 0] * radius * 0.3, radius + circle[:, 1] * radius * 0.3, near * 1.01)
            sprite.add(hub, tone.shade((120, 124, 130)))
        if heading in (1, 3):
            head = place(np.array([0.03, 0.28, 0.26, 0.03]), np.array([0.6, 0.68, 0.78, 0.7]), near * 1.01)
            sprite.add(head, tone.bright((250, 244, 220)))
            tail = place(length - np.array([0.02, 0.2, 0.2, 0.02]), np.array([0.68, 0.68, 0.86, 0.82]), near * 1.01)
            sprite.add(tail, tone.bright((200, 46, 44)))
    return sprite


def _lamps(sprite: Sprite, quad: Array, tone: Tone, front: bool, tall: float) -> None:
    """Lights, grille and plate on a panel that faces us; the quad's corners: far low, far high, near high, near low."""

    def patch(s0: float, t0: float, s1: float, t1: float) -> Array:
        corners = []
        for s, t in ((s0, t0), (s1, t0), (s1, t1), (s0, t1)):
            low = quad[0] + (quad[3] - quad[0]) * s
            high = quad[1] + (quad[2] - quad[1]) * s
            corners.append(low + (high - low) * t)
        return np.array(corners)

    if abs(tall) < 0.25 and front:
        return
    lamp = tone.bright((252, 246, 222) if front else (206, 44, 42))
    sprite.add(patch(0.04, 0.55, 0.2, 0.9), lamp)
    sprite.add(patch(0.8, 0.55, 0.96, 0.9), lamp)
    sprite.add(patch(0.36, 0.16, 0.64, 0.42), tone.bright((246, 244, 236)))
    if front:
        sprite.add(patch(0.28, 0.5, 0.72, 0.82), tone.shade((50, 52, 56)))


def _side_windows(
    sprite: Sprite,
    place: object,
    points: list[tuple[float, float]],
    near: float,
    tone: Tone,
    glass: Colour,
    paint: Colour,
) -> None:
    assert callable(place)
    peak = max(u for _, u in points)
    sill = next(u for (_, u), (_, v) in pairwise(points[1:]) if v - u > 0.3) + 0.04
    front = next(a for (a, u), (_, v) in pairwise(points[1:]) if v - u > 0.3)
    top = peak - 0.1
    roof = [a for a, u in points if u > peak - 0.15]
    rear = next(a for (a, u) in points if a > roof[-1] + 0.1)
    first, last = roof[0] + 0.08, roof[-1] - 0.02
    edge = np.array([front + 0.28, first, last, rear - 0.14])
    up = np.array([sill, top, top, sill])
    sprite.add(place(edge, up, near * 1.005), glass)
    middle = (first + last) / 2 + 0.1
    shine = np.array([front + 0.75, first + 0.3, first + 0.55, front + 1.05])
    sprite.add(place(shine, np.array([sill, top, top, sill]), near * 1.005), mix(glass, (255, 255, 255), 0.16))
    for at in (middle,):
        sprite.add(
            place(
                np.array([at - 0.05, at + 0.05, at + 0.05, at - 0.05]), np.array([sill, sill, top, top]), near * 1.006
            ),
            tone.shade(paint),
        )
        sprite.add(
            place(
                np.array([at - 0.012, at + 0.012, at + 0.012, at - 0.012]),
                np.array([0.42, 0.42, sill, sill]),
                near * 1.006,
            ),
            tone.between(paint, 0.7),
        )
        sprite.add(
            place(
                np.array([at + 0.1, at + 0.32, at + 0.32, at + 0.1]),
                np.array([sill - 0.16] * 2 + [sill - 0.11] * 2),
                near * 1.006,
            ),
            tone.shade(mix(paint, (40, 40, 40), 0.3)),
        )


def tree(camera: Camera, x: float, z: float, tone: Tone, dice: Dice) -> Sprite:
    s = camera.focal / z
    bx, by = camera.ground(x, z)
    tall = dice.uniform(4.2, 6.5) * s
    sprite = Sprite(z, texture=9, relief=0)
    bark = dice.choice(((112, 86, 68), (98, 78, 66), (128, 108, 90)))
    crown = by - tall * 0.72
    sprite.add(capsule((bx, by), (bx, crown), 0.16 * s, 0.1 * s), tone.shade(bark))
    sprite.add(
        capsule((bx + 0.03 * s * tone.side, by - 0.02 * s), (bx + 0.03 * s * tone.side, crown), 0.1 * s, 0.06 * s),
        tone.bright(bark),
    )
    green = dice.choice(((96, 148, 72), (124, 158, 70), (72, 128, 78), (176, 150, 66), (108, 140, 86)))
    wide = tall * dice.uniform(0.26, 0.34)
    puffs = [(dice.uniform(-0.75, 0.75), dice.uniform(-0.75, 0.6), dice.uniform(0.42, 0.62)) for _ in range(9)]
    puffs.sort(key=lambda p: -p[1])
    for tones, shift, shrink in (("dark", 0.0, 1.0), ("mid", 0.1, 0.84), ("lit", 0.24, 0.5)):
        colour = {
            "dark": tone.shade(mix(green, (30, 50, 60), 0.25)),
            "mid": tone.between(green, 0.55),
            "lit": tone.bright(mix(green, (255, 240, 150), 0.12)),
        }[tones]
        for px, py, r in puffs:
            cx = bx + (px + shift * tone.side) * wide
            cy = crown + (py - shift * 0.8) * wide
            sprite.add(ellipse(cx, cy, r * wide * shrink, r * wide * shrink * 0.92, 16), colour)
    return sprite


def lamp_post(camera: Camera, x: float, z: float, tone: Tone, dice: Dice, evening: bool) -> Sprite:
    s = camera.focal / z
    bx, by = camera.ground(x, z)
    sprite = Sprite(z)
    metal = dice.choice(((60, 66, 72), (52, 74, 68), (84, 84, 90)))
    tall, arm = dice.uniform(3.6, 4.6) * s, dice.sign() * 0.55 * s
    bright, dark = tone.bright(metal), tone.shade(metal)
    top = by - tall
    sprite.add(capsule((bx, by), (bx, by - 0.5 * s), 0.1 * s, 0.08 * s), dark)
    sprite.add(capsule((bx, by), (bx, top), 0.055 * s, 0.04 * s), dark)
    sprite.add(
        capsule((bx + 0.015 * s * tone.side, by), (bx + 0.015 * s * tone.side, top), 0.025 * s, 0.02 * s), bright
    )
    sprite.add(capsule((bx, top), (bx + arm, top - 0.1 * s), 0.035 * s, 0.03 * s), dark)
    glow = (255, 236, 170) if evening else tone.bright((236, 232, 216))
    sprite.add(ellipse(bx + arm, top, 0.2 * s, 0.11 * s, 16), dark)
    sprite.add(ellipse(bx + arm, top + 0.05 * s, 0.15 * s, 0.07 * s, 16), glow)
    return sprite


def bollard(camera: Camera, x: float, z: float, tone: Tone, dice: Dice) -> Sprite:
    s = camera.focal / z
    bx, by = camera.ground(x, z)
    sprite = Sprite(z)
    metal = dice.choice(((70, 74, 80), (150, 60, 54), (206, 200, 190)))
    sprite.add(capsule((bx, by - 0.04 * s), (bx, by - 0.72 * s), 0.08 * s, 0.075 * s), tone.shade(metal))
    sprite.add(
        capsule(
            (bx + 0.02 * s * tone.side, by - 0.06 * s), (bx + 0.02 * s * tone.side, by - 0.72 * s), 0.05 * s, 0.045 * s
        ),
        tone.bright(metal),
    )
    sprite.add(box(bx - 0.078 * s, by - 0.62 * s, bx + 0.078 * s, by - 0.53 * s), tone.bright((244, 240, 230)))
    return sprite


def planter(camera: Camera, x: float, z: float, tone: Tone, dice: Dice) -> Sprite:
    s = camera.focal / z
    bx, by = camera.ground(x, z)
    sprite = Sprite(z, texture=6)
    pot = dice.choice(((176, 104, 78), (120, 124, 128), (92, 100, 92)))
    trapeze = np.array(
        [(bx - 0.3 * s, by), (bx + 0.3 * s, by), (bx + 0.38 * s, by - 0.5 * s), (bx - 0.38 * s, by - 0.5 * s)]
    )
    green = dice.choice(((88, 142, 74), (66, 122, 82), (120, 150, 66)))
    bloom = dice.choice(((226, 92, 106), (246, 196, 70), (240, 236, 230), (170, 100, 180)))
    for dx, dy, r in ((-0.22, 0.62, 0.2), (0.22, 0.62, 0.2), (0.0, 0.76, 0.26)):
        sprite.add(ellipse(bx + dx * s, by - dy * s, r * s, r * s * 0.9, 12), tone.shade(green))
        sprite.add(
            ellipse(bx + (dx + 0.05 * tone.side) * s, by - (dy + 0.05) * s, r * s * 0.66, r * s * 0.6, 12),
            tone.bright(green),
        )
    for _ in range(6):
        dx, dy = dice.uniform(-0.32, 0.32), dice.uniform(0.55, 0.95)
        sprite.add(ellipse(bx + dx * s, by - dy * s, 0.05 * s, 0.05 * s, 8), tone.bright(bloom))
    sprite.add(trapeze, tone.shade(pot))
    inner = (trapeze - np.array([bx, by])) * np.array([0.8, 1.0]) + np.array([bx + 0.03 * s * tone.side, by])
    sprite.add(inner, tone.bright(pot))
    sprite.add(
        box(bx - 0.42 * s, by - 0.56 * s, bx + 0.42 * s, by - 0.46 * s), tone.bright(mix(pot, (255, 255, 255), 0.15))
    )
    return sprite


def bench(camera: Camera, x: float, z: float, tone: Tone, dice: Dice) -> Sprite:
    s = camera.focal / z
    bx, by = camera.ground(x, z)
    sprite = Sprite(z)
    wood, metal = dice.choice(((166, 116, 72), (140, 96, 66))), tone.shade((60, 62, 66))
    for dx in (-0.6, 0.6):
        sprite.add(capsule((bx + dx * s, by), (bx + dx * s, by - 0.8 * s), 0.035 * s, 0.03 * s), metal)
    for dy, thick in ((0.8, 0.05), (0.66, 0.05), (0.44, 0.06)):
        sprite.add(box(bx - 0.8 * s, by - (dy + thick) * s, bx + 0.8 * s, by - (dy - thick) * s), tone.shade(wood))
        sprite.add(
            box(bx - 0.8 * s, by - (dy + thick) * s, bx + 0.8 * s, by - (dy - thick * 0.2) * s), tone.bright(wood)
        )
    return sprite


def sign(camera: Camera, x: float, z: float, tone: Tone, dice: Dice) -> Sprite:
    s = camera.focal / z
    bx, by = camera.ground(x, z)
    sprite = Sprite(z)
    sprite.add(capsule((bx, by), (bx, by - 2.5 * s), 0.035 * s, 0.035 * s), tone.shade((130, 134, 138)))
    y = by - 2.35 * s
    kind = dice.choice(("round", "square", "triangle"))
    if kind == "round":
        sprite.add(ellipse(bx, y, 0.3 * s, 0.3 * s, 24), tone.bright((206, 52, 48)))
        sprite.add(ellipse(bx, y, 0.22 * s, 0.22 * s, 24), tone.bright((246, 244, 240)))
    elif kind == "square":
        sprite.add(smooth(box(bx - 0.29 * s, y - 0.29 * s, bx + 0.29 * s, y + 0.29 * s), 1), tone.bright((48, 96, 172)))
        sprite.add(ellipse(bx, y, 0.13 * s, 0.17 * s, 16), tone.bright((246, 244, 240)))
    else:
        for size, colour in ((0.34, (206, 52, 48)), (0.21, (246, 244, 240))):
            corners = np.array(
                [
                    (bx, y - size * s),
                    (bx + size * 0.95 * s, y + size * 0.7 * s),
                    (bx - size * 0.95 * s, y + size * 0.7 * s),
                ]
            )
            sprite.add(corners, tone.bright(colour))
    return sprite
