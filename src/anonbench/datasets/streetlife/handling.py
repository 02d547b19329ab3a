"""What people do in a clip that their silhouettes do not tell: pairs of actions with the same movements.

Two of a pair differ in what is in the hands, in what hands do to each other, or in where somebody looks. The things of
a pair have the same outline, so that a mask is the same, too.
"""

from __future__ import annotations

from .geometry import Point3, cosine, sine
from .motion import Manner, hang, stand
from .poses import SIDES, Skeleton, arm

BOOK, BOX, CUP, PHONE, PARCEL, CLASP = "book", "box", "cup", "phone", "parcel", "clasp"
"""Things; a clasp is that of two hands."""
HANDS_MEET = 0.62
"""Height of stretched hands, in units of the person's height."""
FAR = 82.0
"""Pitch of a stretched forearm in degrees."""


def _hold(manner: Manner, time: float, thing: str) -> Skeleton:
    """Both hands hold something flat before the chest, which goes up and down a little."""
    joints = stand(manner, time)
    beat = sine(manner.start + 150 * time) * manner.size
    for name, _ in SIDES:
        arm(joints, name, (20.0 + 3 * beat, 6.0), (82.0 + 7 * beat, -22.0))
    return Skeleton(joints, 0.0, 0.4 * manner.turn, 0.0, -0.1, holds=thing, paint=manner.paint)


def read(manner: Manner, time: float) -> Skeleton:
    return _hold(manner, time, BOOK)


def carry(manner: Manner, time: float) -> Skeleton:
    return _hold(manner, time, BOX)


def _lift(manner: Manner, time: float, thing: str) -> Skeleton:
    """A hand at the chin holds something upright."""
    joints = stand(manner, time)
    beat = sine(manner.start + 170 * time) * manner.size
    hang(joints, "r" if manner.hand == "l" else "l", sine(manner.start + 110 * time))
    arm(joints, manner.hand, (40.0 + 5 * beat, 30.0), (150.0 + 6 * beat, -12.0))
    return Skeleton(joints, 0.0, 0.4 * manner.turn, 0.0, 0.0, holds=thing, hand=manner.hand, paint=manner.paint)


def drink(manner: Manner, time: float) -> Skeleton:
    return _lift(manner, time, CUP)


def call(manner: Manner, time: float) -> Skeleton:
    return _lift(manner, time, PHONE)


def _meet(manner: Manner, time: float, thing: str) -> Skeleton:
    """Two stretch their right hands out to each other, up and down; others look on."""
    joints = stand(manner, time)
    hang(joints, "l", sine(manner.start + 110 * time))
    if manner.role > 1:
        hang(joints, "r", sine(manner.start + 90 * time))
        return Skeleton(joints, 0.0, 0.6 * manner.turn)
    # both hands are at the same height, however tall the two are
    beat = 0.012 * sine(300 * time)
    down = joints["shoulder_r"][1] - 0.15 * cosine(FAR) - manner.reach / manner.height - beat
    drop = min(1.0, max(0.2, down / 0.165))
    pitch = _arc_cosine(drop)
    arm(joints, "r", (pitch, -8.0), (FAR, -24.0))
    return Skeleton(
        joints, 0.0, 0.4 * manner.turn, holds=thing if manner.role == 0 else "", hand="r", paint=manner.paint
    )


def _arc_cosine(value: float) -> float:
    """Degrees (0..90) whose cosine is the value, to a tenth: the table of sines has no inverse."""
    low, high = 0.0, 90.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if cosine(middle) > value else (low, middle)
    return round(low, 1)


def shake_hands(manner: Manner, time: float) -> Skeleton:
    return _meet(manner, time, CLASP)


def hand_over(manner: Manner, time: float) -> Skeleton:
    return _meet(manner, time, PARCEL)


def _wait(manner: Manner, time: float) -> dict[str, Point3]:
    joints = stand(manner, time)
    for name, side in SIDES:
        hang(joints, name, side * sine(manner.start + 100 * time))
    return joints


def wait(manner: Manner, time: float) -> Skeleton:
    return Skeleton(_wait(manner, time), 0.0, 0.5 * manner.turn)


def look_around(manner: Manner, time: float) -> Skeleton:
    """Where `wait` looks ahead, the head turns far to either side."""
    side = 1 if manner.hand == "l" else -1
    return Skeleton(_wait(manner, time), 0.0, side * 66.0 * manner.size * sine(manner.start + 150 * time))


HOLD_AHEAD = 0.03
"""How far a held thing lies beyond the wrist, in units of the person's height."""


def middle_of_hands(joints: dict[str, Point3]) -> Point3:
    """Between both wrists, a little ahead."""
    (_, y0, z0), (_, y1, z1) = joints["wrist_l"], joints["wrist_r"]
    return 0.0, (y0 + y1) / 2 + 0.02, (z0 + z1) / 2 + HOLD_AHEAD


def ahead_of_hand(joints: dict[str, Point3], name: str) -> Point3:
    """Just beyond a wrist, along the forearm."""
    (x0, y0, z0), (x1, y1, z1) = joints[f"elbow_{name}"], joints[f"wrist_{name}"]
    share = HOLD_AHEAD / 0.15
    return x1 + (x1 - x0) * share, y1 + (y1 - y0) * share, z1 + (z1 - z0) * share
