"""Skeletons: joint positions of a person in a pose.

Joints are (left, up, forward) in units of the person's height, the origin on the ground below the hips.
`left` is the person's left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .dice import Dice
from .geometry import Point3, cosine, sine

UPPER_ARM, FOREARM, THIGH, SHIN = 0.165, 0.15, 0.232, 0.228
ANKLE = 0.042
SHOULDER, HIP = 0.103, 0.045  # half widths
TORSO = 0.3  # hips to shoulders
SIDES = (("l", 1), ("r", -1))


@dataclass
class Skeleton:
    """`joints`: hip/knee/ankle/toe/shoulder/elbow/wrist with _l and _r, neck, head, pelvis. `lean`: degrees."""

    joints: dict[str, Point3]
    lean: float
    head_yaw: float = 0.0  # relative to the body
    roll: float = 0.0
    nod: float = 0.0
    phone: str = ""  # the hand that holds a telephone: l, r or none
    seated: bool = False
    holds: str = ""  # a thing of `handling`
    hand: str = ""  # that holds it: l, r or both
    paint: int = 0  # which of its colours it has


def step(start: Point3, side: int, length: float, pitch: float, spread: float) -> Point3:
    """The end of a limb that hangs down at 0, swings forward by `pitch` and outward by `spread` degrees."""
    out = sine(spread)
    hang = cosine(spread)
    return (
        start[0] + side * length * out,
        start[1] - length * hang * cosine(pitch),
        start[2] + length * hang * sine(pitch),
    )


def middle(start: Point3, end: Point3, first: float, second: float, forward: float) -> Point3:
    """The middle joint of a two-part limb (in the person's sagittal plane); `forward` picks the side (+1, -1)."""
    dy, dz = end[1] - start[1], end[2] - start[2]
    reach = math.sqrt(dy * dy + dz * dz)
    reach = min(max(reach, 1e-3), first + second - 1e-4)
    along = (first * first - second * second + reach * reach) / (2 * reach)
    off = math.sqrt(max(0.0, first * first - along * along)) * forward
    uy, uz = dy / reach, dz / reach
    return (
        round((start[0] + end[0]) / 2, 6),
        round(start[1] + along * uy + off * uz, 6),
        round(start[2] + along * uz - off * uy, 6),
    )


def torso(joints: dict[str, Point3], lean: float, twist: float = 0.0) -> None:
    """Shoulders, neck and head above the pelvis."""
    _, y, z = joints["pelvis"]
    up, ahead = cosine(lean), sine(lean)
    top_y, top_z = y + TORSO * up, z + TORSO * ahead
    for name, side in SIDES:
        joints[f"shoulder_{name}"] = (side * SHOULDER, top_y - 0.026, top_z + side * twist)
    joints["neck"] = (0.0, top_y + 0.02 * up, top_z + 0.02 * ahead)
    joints["head"] = (0.0, top_y + 0.11, top_z + 0.02 + 0.09 * ahead)


def legs(joints: dict[str, Point3], pitches: dict[str, tuple[float, float]], spread: float, lift: bool) -> None:
    """Legs from (thigh pitch, knee bend); the lower foot stands on the ground."""
    low = 0.0
    chains = {}
    for name, side in SIDES:
        pitch, bend = pitches[name]
        hip = (side * HIP, 0.0, 0.0)
        knee = step(hip, side, THIGH, pitch, spread)
        ankle = step(knee, side, SHIN, pitch - bend, spread * 0.4)
        chains[name] = (hip, knee, ankle, pitch - bend)
        low = min(low, ankle[1])
    raise_by = ANKLE - low
    for name, (hip, knee, ankle, shin) in chains.items():
        for joint, (x, y, z) in zip(("hip", "knee", "ankle"), (hip, knee, ankle), strict=True):
            joints[f"{joint}_{name}"] = (x, y + raise_by, z)
        x, y, z = joints[f"ankle_{name}"]
        # A swinging foot points down as much as its shin leans back.
        drop = min(0.0, shin) * (0.8 if lift else 0.0)
        above = y - ANKLE
        dip = max(-0.09, 0.085 * sine(drop)) if above > 0.004 else 0.0
        side = 1 if name == "l" else -1
        joints[f"toe_{name}"] = (x + side * 0.018, y - 0.028 + dip, z + 0.085 * cosine(drop))
    joints["pelvis"] = (0.0, raise_by, 0.0)


def arm(joints: dict[str, Point3], name: str, upper: tuple[float, float], fore: tuple[float, float]) -> None:
    """An arm from (pitch, spread) of its two parts."""
    side = 1 if name == "l" else -1
    elbow = step(joints[f"shoulder_{name}"], side, UPPER_ARM, *upper)
    joints[f"elbow_{name}"] = elbow
    joints[f"wrist_{name}"] = step(elbow, side, FOREARM, *fore)


def _arm_action(joints: dict[str, Point3], name: str, action: str, dice: Dice) -> None:
    jitter = dice.uniform(-6, 6)
    if action == "hang":
        arm(joints, name, (jitter, 7 + abs(jitter) * 0.5), (14 + jitter, 3))
    elif action == "wave":
        arm(joints, name, (10, 78 + jitter), (12, 158 + 3 * jitter))
    elif action == "raise":
        arm(joints, name, (20, 128 + jitter), (14, 160 + jitter))
    elif action == "phone":
        arm(joints, name, (34 + jitter, 8), (128 + jitter, -24))
    elif action == "call":
        arm(joints, name, (38 + jitter, 40), (160, -14))
    elif action == "hip":
        arm(joints, name, (-8, 40 + jitter), (16, -46))
    elif action == "pocket":
        arm(joints, name, (-10, 18 + jitter * 0.3), (24, -14))
    elif action == "strap":
        arm(joints, name, (12, 14), (122 + jitter, -16))
    elif action == "point":
        arm(joints, name, (76 + jitter, 26), (84 + jitter, 22))


def standing(dice: Dice) -> Skeleton:
    joints: dict[str, Point3] = {}
    relaxed = dice.choice(("l", "r"))
    pitches = {name: (10.0, 14.0) if name == relaxed else (0.0, 0.0) for name in ("l", "r")}
    legs(joints, pitches, dice.uniform(2, 7), lift=False)
    torso(joints, dice.uniform(-2, 3))
    actions = ("hang", "wave", "raise", "phone", "call", "hip", "pocket", "strap", "point")
    first = dice.weighted(actions, (3, 4, 1, 4, 2, 3, 4, 1, 1))
    second = first if first in ("pocket", "hip") and dice.chance(0.6) else dice.choice(("hang", "hang", "pocket"))
    name = dice.choice(("l", "r"))
    _arm_action(joints, name, first, dice)
    _arm_action(joints, "r" if name == "l" else "l", second, dice)
    nod = -0.14 if first == "phone" else dice.uniform(-0.05, 0.04)
    turn = 0.0 if first == "phone" else dice.uniform(-24, 24)
    return Skeleton(joints, 0.0, turn, dice.uniform(-5, 5), nod, name if first in ("phone", "call") else "")


def walking(dice: Dice) -> Skeleton:
    joints: dict[str, Point3] = {}
    ahead = dice.choice(("l", "r"))
    behind = "r" if ahead == "l" else "l"
    stride = dice.uniform(12, 27)
    legs(
        joints,
        {ahead: (stride, dice.uniform(2, 12)), behind: (-stride * 0.8, dice.uniform(10, 34))},
        dice.uniform(0, 3),
        lift=True,
    )
    lean = dice.uniform(1, 5)
    torso(joints, lean, twist=0.0)
    swing = stride * dice.uniform(0.7, 1.1)
    arm(joints, behind, (swing, 8), (swing + dice.uniform(12, 34), 2))
    arm(joints, ahead, (-swing, 8), (-swing + dice.uniform(8, 22), 4))
    extra = dice.weighted(("none", "phone", "wave", "strap", "pocket", "call"), (58, 10, 8, 8, 10, 6))
    name = dice.choice(("l", "r"))
    if extra != "none":
        _arm_action(joints, name, extra, dice)
    phone = name if extra in ("phone", "call") else ""
    nod = -0.1 if extra == "phone" else 0.0
    return Skeleton(joints, lean, dice.uniform(-22, 22), dice.uniform(-4, 4), nod, phone)


def running(dice: Dice) -> Skeleton:
    joints: dict[str, Point3] = {}
    ahead = dice.choice(("l", "r"))
    behind = "r" if ahead == "l" else "l"
    legs(joints, {ahead: (52, dice.uniform(50, 76)), behind: (-22, dice.uniform(12, 36))}, 1.0, lift=True)
    lean = dice.uniform(6, 12)
    torso(joints, lean)
    arm(joints, behind, (46, 12), (130, -6))
    arm(joints, ahead, (-46, 16), (36, -4))
    return Skeleton(joints, lean, dice.uniform(-10, 10), 0.0, 0.0)


# The bicycle, in units of the rider's height (up, forward): see figure.bicycle.
SADDLE = (0.545, -0.1)
PEDALS = (0.165, 0.02)
CRANK = 0.095
GRIPS = (0.62, 0.26)


def cyclist(turn: float, lean: float, head_yaw: float = 0.0) -> Skeleton:
    """Somebody on a bicycle whose left pedal stands at `turn` degrees (0: ahead, 90: up)."""
    joints: dict[str, Point3] = {"pelvis": (0.0, SADDLE[0] + 0.02, SADDLE[1])}
    for name, side in SIDES:
        angle = turn + (0 if name == "l" else 180)
        hip = (side * HIP, joints["pelvis"][1], SADDLE[1])
        pedal = (PEDALS[0] + CRANK * sine(angle), PEDALS[1] + CRANK * cosine(angle))
        ankle = (side * 0.06, round(pedal[0] + 0.045, 6), round(pedal[1] - 0.035, 6))
        joints[f"hip_{name}"], joints[f"ankle_{name}"] = hip, ankle
        joints[f"knee_{name}"] = middle(hip, ankle, THIGH, SHIN, 1.0)
        joints[f"toe_{name}"] = (side * 0.066, round(pedal[0] + 0.012, 6), round(pedal[1] + 0.05, 6))
    torso(joints, lean)
    for name, side in SIDES:
        wrist = (side * 0.13, GRIPS[0] + 0.012, GRIPS[1] - 0.01)
        joints[f"wrist_{name}"] = wrist
        elbow = middle(joints[f"shoulder_{name}"], wrist, UPPER_ARM, FOREARM, -1.0)
        joints[f"elbow_{name}"] = (elbow[0] + side * 0.03, elbow[1], elbow[2])
    return Skeleton(joints, lean, head_yaw, 0.0, 0.03)


def cycling(dice: Dice) -> Skeleton:
    turn = dice.uniform(0, 360)
    pose = cyclist(turn, dice.uniform(22, 32))
    joints = pose.joints
    if dice.chance(0.15):
        _arm_action(joints, dice.choice(("l", "r")), "wave", dice)
    pose.head_yaw = dice.uniform(-25, 25)
    return pose


SEAT = 0.262  # height of a bench, in units of the sitter's height


def sitting(dice: Dice) -> Skeleton:
    """On a bench, which the figure brings along."""
    joints: dict[str, Point3] = {"pelvis": (0.0, SEAT + 0.05, -0.05)}
    crossed = dice.chance(0.25)
    for name, side in SIDES:
        hip = (side * HIP, SEAT + 0.05, -0.05)
        knee = (side * dice.uniform(0.05, 0.085), SEAT + 0.025 + 0.02 * crossed, THIGH - 0.055)
        shift = dice.uniform(-0.05, 0.07)
        ankle = (knee[0] * 0.9, ANKLE, round(knee[2] + shift, 6))
        joints[f"hip_{name}"], joints[f"knee_{name}"], joints[f"ankle_{name}"] = hip, knee, ankle
        joints[f"toe_{name}"] = (ankle[0] + side * 0.015, ANKLE - 0.028, ankle[2] + 0.085)
    lean = dice.uniform(-6, 14)
    torso(joints, lean)
    phone = dice.choice(("l", "r", "", ""))
    for name, _ in SIDES:
        if name == phone:
            _arm_action(joints, name, "phone", dice)
        else:
            arm(joints, name, (dice.uniform(14, 28), 8), (dice.uniform(62, 80), -12))
    turn = 0.0 if phone else dice.uniform(-30, 30)
    return Skeleton(joints, lean, turn, dice.uniform(-4, 4), -0.12 if phone else 0.0, phone, seated=True)


def pedestrian(dice: Dice, may_sit: bool = True) -> Skeleton:
    pose = dice.weighted((walking, standing, running, sitting), (50, 38, 5, 12 if may_sit else 0))
    return pose(dice)
