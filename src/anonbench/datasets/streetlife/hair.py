"""Hair, hats and scarves on a head."""

from __future__ import annotations

import numpy as np

from .geometry import Array, Colour, ellipse, mix, smooth
from .head import COVERS_EARS, Head
from .sprite import HEAD, TORSO, Sprite

# Hairlines: (azimuth, height), the same on both sides.
_HAIRLINES: dict[str, list[tuple[float, float]]] = {
    "short": [(0, 0.52), (42, 0.5), (60, 0.3), (74, 0.05), (82, -0.18), (92, 0.1), (108, 0.0), (124, -0.45),
              (180, -0.7)],
    "receding": [(0, 0.62), (22, 0.72), (44, 0.68), (62, 0.3), (74, 0.05), (84, -0.14), (94, 0.1), (110, 0.0),
                 (126, -0.45), (180, -0.66)],
    "long": [(0, 0.66), (18, 0.58), (44, 0.36), (64, -0.1), (74, -0.5), (90, -0.6), (180, -0.6)],
    "fringe": [(0, 0.28), (50, 0.24), (62, -0.1), (70, -0.66), (92, -0.78), (180, -0.72)],
    "bob": [(0, 0.6), (26, 0.5), (52, 0.28), (66, -0.2), (72, -0.72), (92, -0.84), (180, -0.74)],
    "ponytail": [(0, 0.56), (46, 0.46), (70, 0.16), (84, 0.02), (94, 0.12), (110, -0.1), (140, -0.5), (180, -0.68)],
    "afro": [(0, 0.46), (50, 0.34), (68, 0.05), (86, -0.2), (110, -0.4), (180, -0.55)],
    "hat": [(0, 0.36), (60, 0.3), (90, 0.24), (130, 0.16), (180, 0.1)],
}  # fmt: skip
_LINE_OF = {
    "side": "short", "buzz": "short", "spiky": "short", "curly": "short", "wavy": "long", "bun": "ponytail",
    "cap": "short", "beanie": "short",
}  # fmt: skip
_GROW = {
    "buzz": 0.02, "receding": 0.03, "short": 0.07, "side": 0.08, "spiky": 0.08, "curly": 0.15, "afro": 0.36,
    "long": 0.09, "wavy": 0.13, "fringe": 0.09, "bob": 0.12, "ponytail": 0.05, "bun": 0.05, "cap": 0.03,
    "beanie": 0.03,
}  # fmt: skip
_FLOWING = {"long": -1.75, "wavy": -1.6}


def draw_behind(head: Head, sprite: Sprite) -> None:
    """What hangs behind the neck when the face looks at us."""
    style = head.who.hair_style
    if head.cos <= -0.1:
        return
    colour = head.tone.between(head.who.hair, 0.6)
    if style in _FLOWING or style in ("bob", "fringe"):
        low = _FLOWING.get(style, -0.86)
        v = np.array([0.4, 0.0, -0.5, low * 0.6 - 0.3, low])
        left = head.surface(np.full(5, -90.0 - head.yaw), v, 0.1, hair=True)[0]
        right = head.surface(np.full(5, 90.0 - head.yaw), v, 0.1, hair=True)[0]
        if abs(head.sin) > 0.5:  # from the side, hair hangs behind the ear only
            ear = head.surface(np.full(5, 80.0 if head.sin < 0 else -80.0), v, 0.1, hair=True)[0]
            left, right = (left, ear) if head.sin > 0 else (ear, right)
        sprite.add(smooth(np.concatenate([left, right[::-1]]), 1), colour, HEAD)
    elif style == "scarf":
        sprite.add(smooth(head.outline(0.12, -1.5, hair=True), 1), head.tone.shade(head.who.hat), HEAD)
    elif style in ("bun", "ponytail"):
        _tail(head, sprite, colour)


def _tail(head: Head, sprite: Sprite, colour: Colour) -> None:
    (x, y), _ = head.spot(180.0, 0.84 if head.who.hair_style == "bun" else 0.45, 0.1)
    r = head.radius
    if head.who.hair_style == "bun":
        sprite.add(ellipse(x, y - 0.12 * r, 0.36 * r, 0.34 * r, 16), colour, HEAD)
        return
    back = -head.sin
    points = [(-0.16, -0.12), (0.2, -0.1), (0.34, 0.3), (0.3, 0.9), (0.1, 1.45), (-0.12, 1.0), (-0.18, 0.4)]
    side = 1.0 if back >= 0 else -1.0
    shift = back * 0.28
    tail = np.array([(x + (px * side + shift * min(1.0, py + 0.3)) * r, y + py * r) for px, py in points])
    sprite.add(smooth(tail, 2), colour, HEAD)


def _cap(head: Head, line: list[tuple[float, float]], grow: float, skew: float = 0.0) -> Array:
    """The visible part of the skull above a hairline; `skew` lifts one side of the forehead."""
    full = head.who.hair_style in COVERS_EARS  # hangs straight down instead of following the skull
    azimuths = head.visible_azimuths(24)
    signed = (azimuths + 180.0) % 360.0 - 180.0
    away = np.abs(signed)
    v = np.interp(away, [a for a, _ in line], [h for _, h in line])
    if skew:
        v = v + skew * np.interp(signed, [-75, -40, -12, 20, 60], [0, 1, 0.9, -0.6, 0])
    edge = head.surface(azimuths, v, np.where(away > 78, grow, 0.015), full)[0]
    edge[[0, -1]] = head.surface(azimuths[[0, -1]], v[[0, -1]], grow, full)[0]
    crown = head.outline(grow, max(-0.7, float(min(v[0], v[-1]))), full)
    half = len(crown) // 2
    right, left = crown[:half], crown[half:]
    above_right, above_left = right[right[:, 1] < edge[-1, 1]], left[left[:, 1] < edge[0, 1]]
    return np.concatenate([edge, above_right, above_left])


def draw(head: Head, sprite: Sprite, detail: float) -> None:
    who, tone = head.who, head.tone
    style = who.hair_style
    colour, dark = tone.bright(who.hair), tone.shade(who.hair)
    if style == "scarf":
        _scarf(head, sprite)
        return
    if style != "bald":
        grow = _GROW[style]
        line = _HAIRLINES[_LINE_OF.get(style, style)]
        if style == "buzz":
            colour = tone.bright(mix(who.hair, who.skin, 0.3))
            dark = colour
        cap = _cap(head, line, grow, 0.14 if style in ("side", "long", "bob") else 0.0)
        if style in ("afro", "curly"):
            _curls(head, sprite, grow, colour)
        sprite.add(cap, colour, HEAD)
        if detail >= 7 and style not in ("afro", "curly"):
            _shine(head, sprite, colour)
        if style == "spiky":
            _spikes(head, sprite, colour)
    head.draw_near_ear(sprite)
    if style in _FLOWING or style in ("bob", "fringe"):
        _locks(head, sprite, colour, _FLOWING.get(style, -0.84))
    if style in ("bun", "ponytail") and head.cos <= -0.1:
        _tail(head, sprite, mix(colour, dark, 0.5))
    if style in ("cap", "beanie"):
        _hat(head, sprite)


def _shine(head: Head, sprite: Sprite, colour: Colour) -> None:
    """A soft band of light on the hair."""
    r = head.radius
    band = ellipse(head.x + head.tone.side * 0.2 * r, head.y - 0.78 * r, 0.34 * r, 0.1 * r, 12)
    sprite.add(band, mix(colour, (255, 250, 240), 0.14), HEAD)


def _curls(head: Head, sprite: Sprite, grow: float, colour: Colour) -> None:
    rim = head.outline(grow, -0.25 if grow > 0.3 else 0.15, hair=True)
    rim = np.concatenate([rim, head.place(np.array([-0.2, 0.2]), np.array([1.0, 1.0]) + grow)])
    r = (0.27 if grow > 0.3 else 0.2) * head.radius
    for x, y in rim:
        sprite.add(ellipse(float(x) * 0.9 + head.x * 0.1, float(y), r, r, 12), colour, HEAD)


def _spikes(head: Head, sprite: Sprite, colour: Colour) -> None:
    x = np.array([-0.72, -0.66, -0.46, -0.36, -0.16, -0.04, 0.12, 0.26, 0.4, 0.58, 0.62, 0.72])
    v = np.array([0.6, 1.06, 0.92, 1.24, 1.0, 1.3, 1.02, 1.26, 0.98, 1.12, 0.8, 0.6])
    sprite.add(head.place(x * 1.02, v), colour, HEAD)


def _locks(head: Head, sprite: Sprite, colour: Colour, low: float) -> None:
    """Hair that falls past the ears, in front of the neck, and all of the back of the head."""
    azimuths = head.visible_azimuths(12)
    signed = (azimuths + 180.0) % 360.0 - 180.0
    back = np.abs(signed) >= 70
    edges = np.flatnonzero(np.diff(np.concatenate([[False], back, [False]]).astype(np.int8)))
    for first, stop in edges.reshape(-1, 2).tolist():
        group = azimuths[first:stop]
        n = len(group)
        if n < 2:
            continue
        reach = min(1.0, (n - 1) / 4)
        end = -0.5 + (low + 0.5) * (0.35 + 0.65 * reach)
        top = head.surface(group, np.full(n, 0.3), 0.09, hair=True)[0]
        bottom = head.surface(group, np.full(n, end), 0.12, hair=True)[0]
        middle = head.surface(group[[0, -1]], np.full(2, (end - 0.2) / 2), 0.13, hair=True)[0]
        outline = np.concatenate([top, middle[1:], bottom[::-1], middle[:1]])
        sprite.add(smooth(outline, 1), colour, HEAD)


def _hat(head: Head, sprite: Sprite) -> None:
    who, tone = head.who, head.tone
    colour, dark = tone.bright(who.hat), tone.shade(who.hat)
    beanie = who.hair_style == "beanie"
    dome = _cap(head, _HAIRLINES["hat"], 0.13 if beanie else 0.1)
    sprite.add(dome, colour, HEAD)
    azimuths = head.visible_azimuths(12)
    away = np.abs((azimuths + 180.0) % 360.0 - 180.0)
    low = np.interp(away, [0, 90, 180], [0.32, 0.22, 0.1])
    if beanie:
        lower = head.surface(azimuths, low, 0.15, hair=True)[0]
        upper = head.surface(azimuths[::-1], low[::-1] + 0.24, 0.15, hair=True)[0]
        sprite.add(np.concatenate([lower, upper]), dark, HEAD)
        return
    brim_azimuths = np.array([-62.0, -45, -25, 0, 25, 45, 62])
    root, facing = head.surface(brim_azimuths, np.full(7, 0.38), 0.06)
    tip = head.surface(brim_azimuths[::-1], np.full(7, 0.26), np.array([0.1, 0.35, 0.5, 0.55, 0.5, 0.35, 0.1]))[0]
    if facing[3] > -0.3:
        sprite.add(np.concatenate([root, tip]), dark, HEAD)


def _scarf(head: Head, sprite: Sprite) -> None:
    colour, dark = head.tone.bright(head.who.hat), head.tone.shade(head.who.hat)
    outline = smooth(head.outline(0.12, -1.35, hair=True), 1)
    azimuths = head.visible_azimuths(24)
    signed = (azimuths + 180.0) % 360.0 - 180.0
    opening = azimuths[np.abs(signed) <= 60]
    if head.cos < -0.1 or len(opening) < 2:
        sprite.add(outline, colour, HEAD)
        return
    away = np.abs((opening + 180.0) % 360.0 - 180.0)
    upper = head.surface(opening, np.interp(away, [0, 40, 60], [0.56, 0.42, 0.1]))[0]
    lower = head.surface(opening, np.interp(away, [0, 40, 60], [-0.93, -0.85, -0.4]))[0]
    hole = np.concatenate([upper, lower[::-1]])
    sprite.ring(outline, hole, colour, HEAD)
    fold = head.place(np.array([-0.6, 0.0, 0.55, 0.0]), np.array([-1.15, -1.0, -1.2, -1.42]))
    if head.cos > 0.3:
        sprite.add(fold, dark, TORSO)
