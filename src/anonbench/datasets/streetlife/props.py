"""What people bring along: bicycles and benches, drawn around their bodies. Nobody's mask includes them."""

from __future__ import annotations

import numpy as np

from .body import Body
from .geometry import Array, Colour, Point3, capsule, cosine, ellipse, sine
from .poses import GRIPS, PEDALS, SADDLE, SEAT
from .sprite import THING

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
