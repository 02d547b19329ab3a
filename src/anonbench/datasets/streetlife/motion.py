"""What people do in a clip: skeletons that change continuously with time.

Joints are those of `poses`, angles degrees, times seconds. Gaits follow from the way that was gone, so that feet do
not slide.
"""

from __future__ import annotations

from dataclasses import dataclass

from .geometry import Point3, sine
from .poses import ANKLE, HIP, SEAT, SHIN, SIDES, THIGH, Skeleton, arm, cyclist, legs, middle, torso

LEG = THIGH + SHIN
Pair = tuple[float, float]


@dataclass(frozen=True)
class Manner:
    """How one person does something, the same in all frames of a clip."""

    height: float  # metres
    seconds: float  # that the clip lasts
    pace: float  # metres in a second
    start: float  # degrees of the cycle at the clip's begin
    size: float  # of movements, relative to the average
    lean: float  # degrees
    turn: float  # of the head, degrees
    aim: float  # how far to the side an arm points, degrees
    hand: str  # that does what one hand does: l or r
    role: int = 0  # of those who meet: 0 and 1, who shake hands, and others, who look on
    reach: float = 0.0  # how high hands meet, metres
    paint: int = 0  # which of its colours a thing has


def _ease(share: float) -> float:
    """0 to 1 with a slow start and end, for a share that may lie outside."""
    share = min(1.0, max(0.0, share))
    return share * share * (3.0 - 2.0 * share)


def _between(a: Pair, b: Pair, share: float) -> Pair:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def _positive(degrees: float) -> float:
    """The square of a cosine wave's upper half: a bump that begins and ends without a jerk."""
    wave = max(0.0, sine(degrees + 90))
    return wave * wave


def _swing(joints: dict[str, Point3], pitches: dict[str, Pair], spread: float, rise: float = 0.0) -> None:
    """Legs whose lower foot stands `rise` above the ground; feet tilt with their shins as they leave it."""
    legs(joints, pitches, spread, lift=True)
    for name, _ in SIDES:
        x, y, z = joints[f"toe_{name}"]
        above = joints[f"ankle_{name}"][1] - ANKLE
        shin = min(0.0, pitches[name][0] - pitches[name][1]) * 0.8
        dip = max(-0.09, 0.085 * sine(shin)) * _ease((above + rise) / 0.06)
        joints[f"toe_{name}"] = (x, ANKLE + above - 0.028 + dip, z)
    if rise:
        for joint, (x, y, z) in joints.items():
            joints[joint] = (x, y + rise, z)


def hang(joints: dict[str, Point3], name: str, sway: float = 0.0) -> None:
    arm(joints, name, (sway, 8.0), (13.0 + sway, 3.0))


def stand(manner: Manner, time: float, bend: float = 0.0, rise: float = 0.0, lean: float = 0.0) -> dict[str, Point3]:
    """Legs and torso of somebody who stands, breathes and shifts a little; `bend` of the knees in degrees."""
    joints: dict[str, Point3] = {}
    shift = 1.5 * sine(manner.start + 70 * time)
    _swing(joints, {n: (bend * 0.55 + shift * s, bend + 2.0) for n, s in SIDES}, 4.0, rise)
    torso(joints, manner.lean + lean + 0.5 * sine(manner.start + 110 * time))
    return joints


def walk(manner: Manner, time: float) -> Skeleton:
    joints: dict[str, Point3] = {}
    most = 23.0 * manner.size
    # Two steps, each of twice the leg's length times the sine of the thigh's pitch, are a cycle.
    phase = manner.start + 360 * manner.pace * time / (4 * LEG * manner.height * sine(most))
    at = {"l": phase, "r": phase + 180}
    _swing(joints, {n: (2.0 + most * sine(a), 5.0 + 50 * _positive(a + 12)) for n, a in at.items()}, 1.5)
    torso(joints, 2.5 + manner.lean, twist=-0.016 * sine(phase))
    for name, angle in at.items():
        pitch = -0.85 * most * sine(angle)
        arm(joints, name, (pitch, 8.0), (pitch + 18.0 - 9.0 * sine(angle), 3.0))
    return Skeleton(joints, manner.lean, manner.turn)


def run(manner: Manner, time: float) -> Skeleton:
    joints: dict[str, Point3] = {}
    most = 37.0 * manner.size
    phase = manner.start + 360 * manner.pace * time / (1.28 * manner.height * manner.size)
    at = {"l": phase, "r": phase + 180}
    flight = sine(phase) * sine(phase)  # both legs are apart
    pitches = {n: (9.0 + most * sine(a), 16.0 + 84 * _positive(a + 22)) for n, a in at.items()}
    _swing(joints, pitches, 1.0, 0.035 * flight)
    torso(joints, 9.0 + manner.lean, twist=-0.024 * sine(phase))
    for name, angle in at.items():
        pitch = -4.0 - 40.0 * sine(angle)
        arm(joints, name, (pitch, 13.0), (pitch + 84.0, -4.0))
    return Skeleton(joints, manner.lean, 0.5 * manner.turn)


def cycle(manner: Manner, time: float) -> Skeleton:
    return cyclist(manner.start - 360 * manner.pace * time / 3.3, 26.0 + 2 * manner.lean, manner.turn)


def wave(manner: Manner, time: float) -> Skeleton:
    joints = stand(manner, time)
    beat = sine(manner.start + 500 * time) * manner.size
    hang(joints, "r" if manner.hand == "l" else "l", sine(manner.start + 110 * time))
    arm(joints, manner.hand, (12.0, 92.0 + 5 * beat), (14.0, 160.0 + 26 * beat))
    return Skeleton(joints, 0.0, manner.turn, 2.0 * beat)


def talk(manner: Manner, time: float) -> Skeleton:
    """Standing with both hands before the body, which go up and down in turns, and a nodding head."""
    joints = stand(manner, time)
    beat = manner.start + 260 * time
    for name, side in SIDES:
        share = 0.5 + 0.5 * sine(beat + (70 if name == manner.hand else 190)) * manner.size
        arm(joints, name, (6.0 + 20 * share, 10.0 + 7 * share), (58.0 + 44 * share, -10.0 + 8 * side * sine(beat / 2)))
    return Skeleton(joints, 0.0, 0.6 * manner.turn, 2.0 * sine(beat / 2), 0.05 * sine(beat))


def point(manner: Manner, time: float) -> Skeleton:
    """An arm goes up, stays and comes down, again and again."""
    joints = stand(manner, time)
    cycle_of = (manner.start / 360 + time / 3.0) % 1.0
    share = _ease(cycle_of / 0.2) - _ease((cycle_of - 0.75) / 0.2)
    tremble = sine(manner.start + 300 * time)
    hang(joints, "r" if manner.hand == "l" else "l", tremble)
    upper = _between((0.0, 8.0), (80.0 * manner.size, manner.aim), share)
    fore = _between((13.0, 3.0), (84.0 * manner.size + 1.5 * tremble, manner.aim), share)
    arm(joints, manner.hand, upper, fore)
    side = 1 if manner.hand == "l" else -1
    return Skeleton(joints, 0.0, manner.turn + 14 * share * side)


def sit_down(manner: Manner, time: float) -> Skeleton:
    """From standing before a bench to sitting on it, in half of the clip, but within 0.8 to 1.4 seconds."""
    begin = (0.08 + 0.16 * manner.start / 360) * manner.seconds
    share = _ease((time - begin) / min(1.4, max(0.8, 0.5 * manner.seconds)))
    feet = THIGH - 0.05
    low, high = SEAT + 0.05, LEG + ANKLE - 0.004
    # Hips go back first, then down.
    back = _ease(share * 1.25)
    front = feet - 0.02
    joints: dict[str, Point3] = {"pelvis": (0.0, high + (low - high) * share, front - (front + 0.05) * back)}
    for name, side in SIDES:
        hip = (side * HIP, joints["pelvis"][1], joints["pelvis"][2])
        ankle = (side * 0.058, ANKLE, feet)
        joints[f"hip_{name}"], joints[f"ankle_{name}"] = hip, ankle
        x, y, z = middle(hip, ankle, THIGH, SHIN, 1.0)
        joints[f"knee_{name}"] = (x + side * 0.02 * share, y, z)
        joints[f"toe_{name}"] = (side * 0.07, ANKLE - 0.028, feet + 0.085)
    forward = 4 * share * (1 - share)
    torso(joints, manner.lean + 2.0 * share + 34 * forward * manner.size)
    for name, _ in SIDES:
        upper = _between((0.0, 8.0), (22.0, 8.0), share)
        fore = _between((13.0, 3.0), (70.0, -12.0), share)
        arm(joints, name, (upper[0] + 16 * forward, upper[1]), fore)
    return Skeleton(joints, 0.0, manner.turn, 0.0, -0.05 * forward, seated=True)


def jump(manner: Manner, time: float) -> Skeleton:
    """Up and down on the spot: crouch, fly, land, crouch."""
    part = (manner.start / 360 + time / 1.15) % 1.0
    fly = min(1.0, max(0.0, (part - 0.34) / 0.36))
    rise = 0.62 * manner.size * fly * (1 - fly)
    if part < 0.34:
        crouch = _ease(part / 0.2) - _ease((part - 0.22) / 0.12)
    else:
        crouch = 0.75 * (_ease((part - 0.68) / 0.1) - _ease((part - 0.8) / 0.2))
    tuck = 4 * fly * (1 - fly)
    joints = stand(manner, time, 70 * crouch + 30 * tuck, rise, 16 * crouch)
    up = _ease((part - 0.15) / 0.26) - _ease((part - 0.5) / 0.32)
    for name, _ in SIDES:
        swing = _between((-30.0 * crouch, 10.0), (118.0, 24.0), up)
        fore = _between((13.0 - 10 * crouch, 4.0), (146.0, 12.0), up)
        arm(joints, name, swing, fore)
    return Skeleton(joints, 0.0, 0.5 * manner.turn)
