"""People: from an identity, a pose and a place to a sprite with keypoints and a face box."""

from __future__ import annotations

from dataclasses import dataclass

from anonbench.records import KEYPOINTS

from . import hair, props
from .body import Body
from .geometry import Camera, Colour
from .head import COVERS_EARS, Head
from .light import Tone
from .population import Identity
from .poses import Skeleton
from .sprite import ARM_L, ARM_R, FACE, HEAD, LEG_L, LEG_R, TORSO, Sprite

_BODY_PARTS = {
    "shoulder": (TORSO, "arm"), "elbow": (None, "arm"), "wrist": (None, "arm"), "hip": (TORSO, "leg"),
    "knee": (None, "leg"), "ankle": (None, "leg"),
}  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """A keypoint in design units; it is visible where the person's part map shows one of `parts`.

    `known` is False when it faces so far away that nobody could point at it (COCO's v = 0).
    """

    x: float
    y: float
    parts: tuple[int, ...]
    known: bool = True


@dataclass
class Figure:
    """A person ready to be painted."""

    sprite: Sprite
    who: Identity
    rider: bool
    marks: list[Mark]  # in the order of KEYPOINTS
    face: tuple[float, float, float, float] | None  # x0, y0, x1, y1 in design units


def _draw(body: Body, head: Head, bicycle: Colour | None) -> None:
    """Paint from back to front."""
    sprite = body.sprite
    legs = sorted(("l", "r"), key=lambda n: body.toward[f"knee_{n}"] + body.toward[f"ankle_{n}"])
    depth = {n: (body.toward[f"elbow_{n}"] + body.toward[f"wrist_{n}"]) / 2 for n in ("l", "r")}
    arms = sorted(("l", "r"), key=lambda n: depth[n])
    apart = abs(body.sin) > 0.4
    behind = [n for n in arms if depth[n] < -0.035]
    if body.cos > -0.1:
        hair.draw_behind(head, sprite)
    if body.cos > 0.0:
        body.bag(behind=True)
    elif body.pose.holds:
        props.held(body)
    for name in behind:
        body.arm(name, far=apart)
    if bicycle is not None:
        body.leg(legs[0], far=apart)
        if body.cos > 0.5:  # riding towards us
            props.bicycle_rear(body, bicycle)
            body.leg(legs[1], far=False)
            body.torso()
            props.bicycle_front(body, bicycle)
            props.handlebar(body)
        elif body.cos < -0.5:  # riding away
            props.bicycle_front(body, bicycle)
            props.handlebar(body)
            body.leg(legs[1], far=False)
            props.bicycle_rear(body, bicycle)
            body.torso()
        else:
            props.bicycle_rear(body, bicycle)
            props.bicycle_front(body, bicycle)
            body.torso()
            body.leg(legs[1], far=False)
            props.handlebar(body)
    elif body.pose.seated:
        if body.cos > -0.2:
            props.bench_back(body)
        props.bench_seat(body)
        if body.cos > -0.2:
            body.torso()
        for name in legs:
            body.leg(name, far=apart and name == legs[0])
        if body.cos <= -0.2:
            body.torso()
    else:
        body.leg(legs[0], far=apart)
        body.leg(legs[1], far=False)
        body.torso()
    body.neck()
    if body.cos <= 0.0:
        body.bag(behind=body.who.bag == "backpack" and not body.who.packed)
    else:
        body.bag(behind=False)
    raised = [n for n in arms if n not in behind and body.at[f"wrist_{n}"][1] < body.at[f"shoulder_{n}"][1]]
    for name in arms:
        if name not in behind and name not in raised:
            body.arm(name, far=False)
    detail = head.radius * body.detail / body.unit
    head.draw(sprite, detail)
    hair.draw(head, sprite, detail)
    head.draw_glasses(sprite, detail)
    if body.pose.seated and body.cos <= -0.2:
        props.bench_back(body)
    for name in raised:
        body.arm(name, far=False)
    if body.pose.holds and body.cos > 0.0:
        props.held(body)


def _marks(body: Body, head: Head) -> list[Mark]:
    who = body.who
    facial = {"nose": (0.0, -who.nose_length, 0.1), "left_eye": (who.eye_angle, who.eye_height, 0.0),
              "right_eye": (-who.eye_angle, who.eye_height, 0.0)}  # fmt: skip
    marks = []
    for name in KEYPOINTS:
        if name in facial:
            azimuth, v, grow = facial[name]
            (x, y), facing = head.spot(azimuth, v + head.nod, grow)
            marks.append(Mark(x, y, (FACE,) if facing > 0.02 else (), facing > -0.45))
        elif name.endswith("ear"):
            (x, y), facing = head.spot(92.0 if name.startswith("left") else -92.0, -0.04, -0.02)
            parts: tuple[int, ...] = (HEAD, FACE) if facing > -0.1 and who.hair_style not in COVERS_EARS else ()
            marks.append(Mark(x, y, parts, facing > -0.5))
        else:
            side, joint = name.split("_")
            kind, limb = _BODY_PARTS[joint]
            own = {"arm": (ARM_L, ARM_R), "leg": (LEG_L, LEG_R)}[limb][0 if side == "left" else 1]
            x, y = body.at[f"{joint}_{side[0]}"]
            torso = kind == TORSO and (body.toward[f"{joint}_{side[0]}"] > -0.045)
            skirt = joint == "knee" and (who.bottom_style == "skirt" or who.top_style == "dress")
            marks.append(Mark(x, y, (own, TORSO) if torso or skirt else (own,)))
    return marks


def figure(
    who: Identity,
    pose: Skeleton,
    camera: Camera,
    x: float,
    z: float,
    yaw: float,
    tone: Tone,
    scale: float,
    bicycle: Colour | None = None,
) -> Figure:
    """Draw a person at (x, z) metres who faces `yaw` degrees (0 = the camera, 90 = image right).

    `scale`: canvas pixels per design unit, to leave out details nobody can see. `bicycle`: its colour.
    """  # fmt: skip
    body = Body(who, pose, camera, x, z, yaw, tone, scale, riding=bicycle is not None)
    hx, hy = body.at["head"]
    radius = 0.088 * who.head * body.unit
    turn = (yaw + pose.head_yaw + 180.0) % 360.0 - 180.0
    head = Head(who, hx, hy, radius, turn, pose.roll, pose.nod, tone)
    _draw(body, head, bicycle)
    outline = head.face_outline() if abs(turn) <= 86 else None
    face = None
    if outline is not None:
        low, high = outline.min(axis=0), outline.max(axis=0)
        face = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return Figure(body.sprite, who, bicycle is not None, _marks(body, head), face)
