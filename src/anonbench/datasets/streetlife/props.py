"""What people bring along: bicycles and benches, which are in nobody's mask, and what is in their hands, which is."""

from __future__ import annotations

import itertools

import numpy as np

from .body import Body
from .geometry import Array, Colour, Point, Point3, box, capsule, cosine, ellipse, sine
from .handling import BOOK, BOX, CLASP, CUP, PHONE, ahead_of_hand, middle_of_hands
from .poses import GRIPS, PEDALS, SADDLE, SEAT
from .sprite import ARM_L, ARM_R, THING

# The bicycle, in units of the rider's height: (left, up, forward) or forward only.
PEDAL_AXLE = (0.0, PEDALS[0], PEDALS[1])
WHEEL_AXLE, FRONT_WHEEL, REAR_WHEEL = 0.199, 0.34, -0.3


def _bar(body: Body, a: Point3, b: Point3, radius: float, colour: Colour) -> None:
    start, end = body.project(a)[0], body.project(b)[0]
    body.sprite.add(capsule(start, end, radius * body.unit, radius * body.unit), colour, THING)


def _wheel(body: Body, forward: float) -> None:
    """A wheel in the plane of the bicycle: tyre, rim, hub and spokes."""
    radius, rim = 0.195, 0.177
    up = radius + 0.004
    tyre = body.tone.shade((40, 40, 46))
    circle = ellipse(0, 0, 1, 1, 32)

    def ring(r: float) -> Array:
        return np.array([body.project((0.0, up + r * float(y), forward + r * float(x)))[0] for x, y in circle])

    body.sprite.ring(ring(radius), ring(rim), tyre)
    if abs(body.sin) < 0.4:  # seen from the front a tyre is a bar
        _bar(body, (0.0, 0.014, forward), (0.0, 2 * up - 0.014, forward), 0.013, tyre)
    elif body.detail > 80:
        grey = body.tone.bright((172, 176, 184))
        for turn in (10, 70, 130):
            y, z = rim * sine(turn), rim * cosine(turn)
            _bar(body, (0.0, up - y, forward - z), (0.0, up + y, forward + z), 0.0016, grey)
        _bar(body, (0.0, up, forward), (0.0, up, forward), 0.014, body.tone.shade((120, 122, 130)))


def bicycle_front(body: Body, colour: Colour) -> None:
    """Front wheel, fork and the tubes before the rider's knees."""
    paint, dark, black = body.tone.bright(colour), body.tone.shade(colour), body.tone.shade((44, 44, 50))
    head_tube = (0.0, 0.52, 0.235)
    _wheel(body, FRONT_WHEEL)
    _bar(body, PEDAL_AXLE, head_tube, 0.012, paint)
    _bar(body, (0.0, SADDLE[0] - 0.1, SADDLE[1] + 0.015), head_tube, 0.011, paint)
    _bar(body, (0.0, WHEEL_AXLE, FRONT_WHEEL), head_tube, 0.01, dark)
    _bar(body, head_tube, (0.0, GRIPS[0], GRIPS[1] - 0.02), 0.009, black)


def bicycle_rear(body: Body, colour: Colour) -> None:
    """Rear wheel, saddle and pedals."""
    paint, dark, black = body.tone.bright(colour), body.tone.shade(colour), body.tone.shade((44, 44, 50))
    rear, seat = (0.0, WHEEL_AXLE, REAR_WHEEL), SADDLE[0]
    _wheel(body, REAR_WHEEL)
    _bar(body, rear, PEDAL_AXLE, 0.008, dark)
    _bar(body, rear, (0.0, seat - 0.09, SADDLE[1] + 0.01), 0.007, dark)
    _bar(body, PEDAL_AXLE, (0.0, seat - 0.03, SADDLE[1]), 0.01, paint)
    _bar(body, (0.0, seat - 0.02, SADDLE[1] - 0.06), (0.0, seat - 0.015, SADDLE[1] + 0.06), 0.016, black)
    x, y = body.project(PEDAL_AXLE)[0]
    body.sprite.add(ellipse(x, y, max(0.3, abs(body.sin)) * 0.032 * body.unit, 0.032 * body.unit, 16), black)
    for name, side in (("l", 1), ("r", -1)):
        _, up, forward = body.pose.joints[f"toe_{name}"]
        _bar(body, PEDAL_AXLE, (side * 0.05, up - 0.02, forward - 0.04), 0.006, black)


def _slat(body: Body, up: float, forward: float, tall: float) -> None:
    wood = (166, 116, 72)
    a, b = (0.34, up, forward), (-0.34, up, forward)
    _bar(body, a, b, tall, body.tone.shade(wood))
    (x0, y0), (x1, y1) = body.project(a)[0], body.project(b)[0]
    lift = 0.35 * tall * body.unit
    body.sprite.add(capsule((x0, y0 - lift), (x1, y1 - lift), lift * 1.4, lift * 1.4), body.tone.bright(wood), THING)


def bench_seat(body: Body) -> None:
    iron = body.tone.shade((60, 62, 66))
    for side in (-0.3, 0.3):
        _bar(body, (side, 0.0, -0.1), (side, SEAT, -0.1), 0.01, iron)
        _bar(body, (side, 0.0, 0.1), (side, SEAT, 0.1), 0.01, iron)
    for forward in (-0.09, 0.0, 0.09):
        _slat(body, SEAT - 0.012, forward, 0.015)


def bench_back(body: Body) -> None:
    iron = body.tone.shade((60, 62, 66))
    for side in (-0.3, 0.3):
        _bar(body, (side, SEAT, -0.12), (side, SEAT + 0.22, -0.15), 0.01, iron)
    for up in (0.1, 0.19):
        _slat(body, SEAT + up, -0.15, 0.022)


def handlebar(body: Body) -> None:
    black = body.tone.shade((44, 44, 50))
    _bar(body, (-0.14, GRIPS[0] - 0.004, GRIPS[1] - 0.012), (0.14, GRIPS[0] - 0.004, GRIPS[1] - 0.012), 0.009, black)


COVERS: list[Colour] = [(188, 52, 48), (44, 84, 158), (36, 122, 84), (120, 62, 140)]
CARDBOARD, TAPE, PAPER, SCREEN, CASE = (176, 130, 82), (222, 198, 150), (244, 242, 234), (150, 212, 244), (34, 36, 44)


def held(body: Body) -> None:
    """What somebody holds; the two things of a pair (`handling`) have the same outline.

    It is the person's, as is all that people carry.
    """
    thing, hand = body.pose.holds, body.pose.hand
    part = ARM_L if hand == "l" else ARM_R
    if thing in (BOOK, BOX):
        _flat(body, thing, part)
    elif thing in (CUP, PHONE):
        _upright(body, thing, part)
    elif thing:
        _between_hands(body, thing, part)


def _block(body: Body, at: Point3, half: Point3, colour: Colour, part: int) -> None:
    """A block around a point, as large to each side as `half` says (left, up, forward)."""
    signs = itertools.product((-1, 1), repeat=3)
    corners = [(at[0] + i * half[0], at[1] + j * half[1], at[2] + k * half[2]) for i, j, k in signs]
    body.sprite.add(_hull([body.project(corner)[0] for corner in corners]), colour, part)


def _face(body: Body, at: Point3, wide: float, tall: float, colour: Colour, part: int) -> None:
    """An upright rectangle across the body, `wide` and `tall` to each side."""
    left, up, forward = at
    corners = [(left - wide, up - tall, forward), (left + wide, up - tall, forward), (left + wide, up + tall, forward)]
    corners.append((left - wide, up + tall, forward))
    body.sprite.add(np.array([body.project(corner)[0] for corner in corners]), colour, part)


def _flat(body: Body, thing: str, part: int) -> None:
    """A book with a title on its cover, or a box with tape over it."""
    at, half = middle_of_hands(body.pose.joints), (0.095, 0.062, 0.02)
    tone, front = body.tone, at[2] + half[2]
    book = thing == BOOK
    colour = COVERS[body.pose.paint % len(COVERS)] if book else CARDBOARD
    _block(body, at, half, tone.shade(PAPER if book else CARDBOARD), part)
    if body.cos > 0.15:
        _face(body, (at[0], at[1], front), half[0], half[1], tone.bright(colour), part)
        wide, tall = (0.055, 0.02) if book else (0.018, 0.9 * half[1])
        _face(body, (at[0], at[1], front), wide, tall, tone.bright(PAPER if book else TAPE), part)


def _upright(body: Body, thing: str, part: int) -> None:
    """A cup with a band, or a telephone with its screen alight."""
    left, up, forward = ahead_of_hand(body.pose.joints, body.pose.hand)
    low, high = body.project((left, up - 0.012, forward))[0], body.project((left, up + 0.058, forward))[0]
    radius, tone = 0.026 * body.unit, body.tone
    cup = thing == CUP
    body.sprite.add(capsule(low, high, radius, radius), tone.bright(PAPER if cup else CASE), part)
    inner = COVERS[body.pose.paint % len(COVERS)] if cup else SCREEN
    middle = (low[1] + high[1]) / 2
    tall = 0.014 * body.unit if cup else 0.036 * body.unit
    wide = (0.9 if cup else 0.7) * radius
    x = (low[0] + high[0]) / 2
    body.sprite.add(box(x - wide, middle - tall, x + wide, middle + tall), tone.bright(inner), part)


def _between_hands(body: Body, thing: str, part: int) -> None:
    """A parcel with string around it, or two hands in each other."""
    at, half = ahead_of_hand(body.pose.joints, body.pose.hand), (0.03, 0.026, 0.034)
    tone = body.tone
    if thing == CLASP:
        _block(body, at, half, tone.bright(body.who.skin), part)
        return
    _block(body, at, half, tone.bright(COVERS[body.pose.paint % len(COVERS)]), part)
    tall = 0.9 * half[1]
    low, high = body.project((at[0], at[1] - tall, at[2]))[0], body.project((at[0], at[1] + tall, at[2]))[0]
    wide = 0.007 * body.unit
    body.sprite.add(box(low[0] - wide, high[1], low[0] + wide, low[1]), tone.bright(PAPER), part)


def _hull(points: list[Point]) -> Array:
    """The convex hull of points (N, 2), by Andrew's monotone chain."""
    ordered = sorted(set(points))

    def chain(along: list[Point]) -> list[Point]:
        found: list[Point] = []
        for x, y in along:
            while len(found) > 1:
                (ax, ay), (bx, by) = found[-2], found[-1]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                found.pop()
            found.append((x, y))
        return found[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))
