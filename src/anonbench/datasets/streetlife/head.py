"""Heads: a surface of revolution with a face on it, seen from any side.

A point of the surface has an azimuth (degrees around the head's axis, 0 = nose, positive towards the person's
left) and a height v (-1 = chin, 1 = top of the skull) in units of half the head's height.
"""

from __future__ import annotations

import numpy as np

from .geometry import COS, SIN, Array, Point, cosine, ellipse, mix, sine, smooth, tenths
from .light import Tone
from .population import Identity
from .sprite import FACE, HEAD, Sprite

_V = np.array([-1.0, -0.92, -0.8, -0.65, -0.45, -0.2, 0.1, 0.4, 0.65, 0.85, 0.96, 1.0])
_NARROW = np.array([0.14, 0.38, 0.58, 0.76, 0.91, 0.98, 1.0, 0.94, 0.77, 0.53, 0.28, 0.1])
_SQUARE = np.array([0.34, 0.62, 0.8, 0.92, 0.98, 1.0, 1.0, 0.94, 0.78, 0.54, 0.28, 0.1])
_FRONT = np.array([0.45, 0.66, 0.74, 0.76, 0.78, 0.79, 0.8, 0.81, 0.74, 0.56, 0.34, 0.12])
_BACK = np.array([0.0, 0.0, 0.12, 0.3, 0.55, 0.8, 0.97, 1.0, 0.9, 0.68, 0.42, 0.16])
_FINE = np.arange(-256, 257) / 256
_FRONT_TABLE, _BACK_TABLE = np.interp(_FINE, _V, _FRONT), np.interp(_FINE, _V, _BACK)

COVERS_EARS = {"long", "wavy", "fringe", "bob", "scarf", "afro"}


class Head:
    """Places and draws one head; `x`, `y`, `radius` in design units, `yaw` 0 = towards the camera, 90 = right."""

    def __init__(
        self, who: Identity, x: float, y: float, radius: float, yaw: float, roll: float, nod: float, tone: Tone
    ) -> None:
        self.who, self.x, self.y, self.radius, self.yaw, self.nod, self.tone = who, x, y, radius, yaw, nod, tone
        self.cos, self.sin = cosine(yaw), sine(yaw)
        self.roll_cos, self.roll_sin = cosine(roll), sine(roll)
        self.widths = who.face_width * (_NARROW + (_SQUARE - _NARROW) * who.jaw)
        self.width_table = np.interp(_FINE, _V, self.widths)
        self.skin, self.skin_shade = tone.bright(who.skin), tone.shade(who.skin)

    # -- geometry ------------------------------------------------------------------------------------------

    def place(self, x: Array, v: Array) -> Array:
        """Head coordinates (right, up) to design units, (N, 2)."""
        placed = np.empty((len(x), 2))
        placed[:, 0] = self.x + self.radius * (x * self.roll_cos + v * self.roll_sin)
        placed[:, 1] = self.y - self.radius * (v * self.roll_cos - x * self.roll_sin)
        return placed

    def surface(self, azimuth: Array, v: Array, grow: float | Array = 0.0, hair: bool = False) -> tuple[Array, Array]:
        """Points (N, 2) in design units and how much each faces the camera (> 0: visible)."""
        index = tenths(azimuth)
        sin_a, cos_a = SIN[index], COS[index]
        level = np.rint((np.maximum(v, -0.1) if hair else v) * 256).astype(np.int64) + 256
        level = np.minimum(np.maximum(level, 0), 512)
        width = self.width_table[level] + grow
        depth = np.where(cos_a > 0, _FRONT_TABLE[level], _BACK_TABLE[level]) + grow
        across, along = width * sin_a, depth * cos_a
        return self.place(across * self.cos + along * self.sin, v), along * self.cos - across * self.sin

    def spot(self, azimuth: float, v: float, grow: float = 0.0) -> tuple[Point, float]:
        points, facing = self.surface(np.array([azimuth]), np.array([v]), grow)
        return (float(points[0, 0]), float(points[0, 1])), float(facing[0])

    def patch(self, azimuth: float, v: float, da: float, dv: float, points: int = 12, grow: float = 0.0) -> Array:
        """An ellipse on the surface."""
        circle = ellipse(azimuth, v + self.nod, da, dv, points)
        return self.surface(self._seen(circle[:, 0]), circle[:, 1], grow)[0]

    def _seen(self, azimuth: Array) -> Array:
        """Azimuths moved to the nearest ones that can be seen."""
        return np.minimum(np.maximum(azimuth, -86.0 - self.yaw), 86.0 - self.yaw)

    def outline(self, grow: float = 0.0, low: float = -1.0, hair: bool = False) -> Array:
        """The silhouette from height `low` to the top."""
        v = np.concatenate([[low], _V[low + 0.01 < _V]])
        level = np.maximum(v, -0.1) if hair else v
        width = (np.interp(level, _V, self.widths) + grow) * abs(self.cos)
        front = (np.interp(level, _V, _FRONT) + grow) * abs(self.sin)
        back = (np.interp(level, _V, _BACK) + grow) * abs(self.sin)
        ahead, behind = np.sqrt(width * width + front * front), np.sqrt(width * width + back * back)
        right, left = (ahead, behind) if self.sin > 0 else (behind, ahead)
        v = np.where(v > 0, v * (1 + grow), v)
        return self.place(np.concatenate([right, -left[::-1]]), np.concatenate([v, v[::-1]]))

    def visible_azimuths(self, step: int = 18) -> Array:
        """Azimuths from the left edge of the silhouette to the right one."""
        return np.array([-90.0 + 180.0 * i / step - self.yaw for i in range(step + 1)])

    def face_outline(self) -> Array | None:
        """The visible part of the face (chin to hairline, cheek to cheek), or None when it is turned away."""
        azimuths = self.visible_azimuths()
        wrapped = (azimuths + 180.0) % 360.0 - 180.0
        azimuths = azimuths[np.abs(wrapped) <= 72.0]
        if len(azimuths) < 2 or self.cos < -0.12:
            return None
        low, high = np.full(len(azimuths), -1.0), np.full(len(azimuths), 0.5)
        lower, upper = self.surface(azimuths, low)[0], self.surface(azimuths, high)[0]
        middle = np.array([-0.8, -0.6, -0.3, 0.0, 0.3])
        first = self.surface(np.full(5, azimuths[0]), middle)[0]
        last = self.surface(np.full(5, azimuths[-1]), middle)[0]
        return np.concatenate([lower, last, upper[::-1], first[::-1]])

    # -- drawing -------------------------------------------------------------------------------------------

    def draw(self, sprite: Sprite, detail: float) -> None:
        """Skin and face. `detail` is the head's half height in canvas pixels."""
        who = self.who
        self._ears(sprite)
        outline = smooth(self.outline(), 1)
        sprite.add(outline, self.skin_shade, HEAD)
        lit = self._lit_side(outline)
        sprite.add(lit, self.skin, HEAD)
        face = self.face_outline()
        if face is not None:
            sprite.add(face, None, FACE)
            if abs(self.sin) > 0.5:
                self._profile_nose(sprite)
            if who.beard != "none":
                self._beard(sprite)
            if detail >= 4:
                self._features(sprite, detail)

    def _lit_side(self, outline: Array) -> Array:
        """The outline pulled towards the light."""
        centre = np.array([self.x, self.y])
        side = 0.1 * self.tone.side * self.radius
        pulled = (outline - centre) * np.array([1.0 - 0.1 * abs(self.tone.side), 0.985])
        return np.asarray(pulled + centre + np.array([side, 0]))

    def _ears(self, sprite: Sprite) -> None:
        if self.who.hair_style in COVERS_EARS:
            return
        for azimuth in (-92.0, 92.0):
            (x, y), facing = self.spot(azimuth, -0.04, 0.03)
            if facing > -0.35:
                r = self.radius
                wide = 0.1 + 0.08 * max(0.0, facing)
                sprite.add(ellipse(x, y, wide * r, 0.19 * r, 12), self.skin_shade, HEAD)
                sprite.add(ellipse(x, y, wide * 0.6 * r, 0.12 * r, 8), mix(self.skin, self.skin_shade, 0.5), HEAD)

    def draw_near_ear(self, sprite: Sprite) -> None:
        """The ear that faces the camera lies over the skin of the head."""
        if self.who.hair_style in COVERS_EARS:
            return
        for azimuth in (-96.0, 96.0):
            (x, y), facing = self.spot(azimuth, -0.06, 0.02)
            if facing > 0.15:
                r = self.radius
                wide = 0.07 + 0.09 * min(1.0, facing)
                sprite.add(ellipse(x, y, wide * r, 0.19 * r, 12), self.skin_shade, HEAD)
                sprite.add(ellipse(x, y - 0.01 * r, wide * 0.72 * r, 0.14 * r, 8), self.skin, HEAD)

    def _profile_nose(self, sprite: Sprite) -> None:
        who = self.who
        v = np.array([0.08, -who.nose_length + 0.1, -who.nose_length - 0.02, -who.nose_length - 0.12]) + self.nod
        grow = np.array([-0.03, 0.14, 0.17, -0.02])
        points = self.surface(np.zeros(4), v, grow)[0]
        base = self.surface(np.zeros(2), np.array([v[3], v[0]]), -0.2)[0]
        sprite.add(np.concatenate([points, base]), self.skin, FACE)

    def _beard(self, sprite: Sprite) -> None:
        who = self.who
        colour = self.tone.bright(mix(who.hair, who.skin, 0.55) if who.beard == "stubble" else who.hair)
        mouth = who.mouth_height + self.nod
        if who.beard in ("full", "stubble"):
            azimuths = np.array([a for a in self.visible_azimuths() if abs((a + 180) % 360 - 180) <= 88])
            if len(azimuths) >= 2:
                away = np.abs((azimuths + 180) % 360 - 180)
                upper = np.interp(away, [0, 14, 30, 60, 88], [mouth + 0.1, mouth + 0.13, mouth - 0.02, -0.34, -0.05])
                low = np.full(len(azimuths), -1.04 if who.beard == "full" else -1.0)
                top = self.surface(azimuths, upper)[0]
                bottom = self.surface(azimuths, low, 0.02)[0]
                sides = np.array([-0.85, -0.6])
                last = self.surface(np.full(2, azimuths[-1]), sides, 0.015)[0]
                first = self.surface(np.full(2, azimuths[0]), sides[::-1], 0.015)[0]
                sprite.add(np.concatenate([top, last[::-1], bottom[::-1], first[::-1]]), colour, FACE)
        if who.beard == "goatee" and self.cos > -0.1:
            sprite.add(self.patch(0, (mouth - self.nod - 1.0) / 2, 17, 0.25, 12, 0.01), colour, FACE)
        if who.beard in ("moustache", "goatee") and self.cos > -0.1:
            a = self._seen(np.array([-20.0, -8.0, 0.0, 8.0, 20.0, 10.0, 0.0, -10.0]))
            v = np.array([-0.02, 0.1, 0.09, 0.1, -0.02, 0.02, 0.03, 0.02]) + mouth + 0.03
            sprite.add(self.surface(a, v, 0.01)[0], colour, FACE)

    def _features(self, sprite: Sprite, detail: float) -> None:
        who, tone = self.who, self.tone
        shade = mix(self.skin, self.skin_shade, 0.85)
        if detail >= 9 and who.blush > 0.1:
            for side in (-1, 1):
                if self.spot(side * 38.0, -0.3)[1] > 0.15:
                    blush = mix(self.skin, tone.bright((226, 96, 92)), 0.32 * who.blush)
                    sprite.add(self.patch(side * 38.0, -0.3, 13, 0.13), blush, FACE)
        for side in (-1, 1):
            azimuth = side * who.eye_angle
            if self.spot(azimuth, who.eye_height)[1] > 0.12:
                self._eye(sprite, azimuth, side, detail)
        if self.cos > -0.1:
            if abs(self.sin) > 0.8:
                pass  # the nose is part of the silhouette
            elif detail >= 9:
                length, width = who.nose_length, who.nose_width * 62
                dark_side = -1.0 if tone.side > 0 else 1.0
                a = np.array([0.0, dark_side * width * 0.4, dark_side * width, 0.0, -dark_side * width * 0.8])
                v = np.array([0.04, -0.1, -length - 0.02, -length - 0.07, -length - 0.01]) + self.nod
                sprite.add(self.surface(a, v, 0.01)[0], shade, FACE)
                tip = self.patch(-dark_side * width * 0.1, -length + 0.03, width * 0.62, 0.07, 8)
                sprite.add(tip, mix(self.skin, (255, 255, 255), 0.1), FACE)
            elif detail >= 6:
                sprite.add(self.patch(0, -who.nose_length, 7, 0.05, 8), shade, FACE)
            self._mouth(sprite, detail)
            if who.mole is not None and detail >= 12:
                sprite.add(self.patch(who.mole[0], who.mole[1], 2.6, 0.035, 8), tone.bright((70, 44, 36)), FACE)

    def _eye(self, sprite: Sprite, azimuth: float, side: int, detail: float) -> None:
        who, tone = self.who, self.tone
        height, size = who.eye_height, who.eye_size
        if detail < 8:
            sprite.add(self.patch(azimuth, height, 6.0, 0.09, 8), tone.bright((52, 40, 38)), FACE)
        else:
            wide, tall = 11.0 * size, 0.1 * size
            a = np.array([-wide, -wide * 0.5, 0, wide * 0.5, wide, wide * 0.5, 0, -wide * 0.5]) + azimuth
            v = np.array([0, tall * 0.8, tall, tall * 0.8, 0, -tall * 0.7, -tall * 0.8, -tall * 0.7])
            slant = (a - azimuth) / wide * side * who.eye_slant
            v = v + slant + height + self.nod
            sprite.add(self.surface(a, v)[0], tone.bright((250, 248, 244)), FACE)
            sprite.add(self.patch(azimuth, height, 5.4 * size, 0.092 * size, 12), tone.bright(who.eye_colour), FACE)
            if detail >= 12:
                sprite.add(self.patch(azimuth, height, 2.6 * size, 0.05 * size, 8), (24, 20, 22), FACE)
                sprite.add(self.patch(azimuth + 2.0, height + 0.035, 1.5, 0.02, 8), (255, 255, 255), FACE)
            lid = np.concatenate([self.surface(a[:5], v[:5])[0], self.surface(a[4::-1], v[4::-1] + 0.05)[0]])
            sprite.add(lid, tone.bright((48, 36, 34)), FACE)
        if who.glasses != "sun" and detail >= 6:
            brow = height + who.brow_height
            weight = max(who.brow_weight, 0.35 / detail)
            a = np.array([-12.0, -4.0, 5.0, 13.0]) * side + azimuth
            lift = np.array([-0.04, 0.03, 0.035, -0.03]) + np.array([-1.0, -0.3, 0.4, 1.0]) * who.brow_slant
            upper = self.surface(a, brow + lift + weight + self.nod, 0.01)[0]
            lower = self.surface(a[::-1], (brow + lift - weight * np.array([1, 1, 0.6, 0.2]))[::-1] + self.nod, 0.01)[0]
            colour = mix(who.hair, (60, 44, 36), 0.35) if who.hair_style not in ("bald", "scarf") else (64, 46, 38)
            sprite.add(np.concatenate([upper, lower]), tone.bright(mix(colour, (30, 24, 24), 0.2)), FACE)

    def _mouth(self, sprite: Sprite, detail: float) -> None:
        who, tone = self.who, self.tone
        wide, mouth = who.mouth_width, who.mouth_height + self.nod
        x = self._seen(np.array([-1.0, -0.5, 0.0, 0.5, 1.0]) * wide) / wide
        line = mouth + who.smile * x * x
        lips = tone.bright(mix(who.lips, who.skin, 0.15))
        if detail < 8:
            sprite.add(self.patch(0, who.mouth_height, wide * 0.8, 0.06, 8), lips, FACE)
            return
        arch = 1.0 - x * x
        weight = who.mouth_weight
        upper = self.surface(x * wide, line + weight * arch * np.array([1, 1.1, 0.75, 1.1, 1]))[0]
        lower = self.surface(x[::-1] * wide, line - weight * 1.35 * arch)[0]
        sprite.add(np.concatenate([upper, lower]), lips, FACE)
        if who.smile > 0.05:
            teeth = self.surface(x * wide * 0.8, line + 0.01)[0]
            below = self.surface(x[::-1] * wide * 0.8, line - weight * 0.8 * arch)[0]
            sprite.add(np.concatenate([teeth, below]), tone.bright((250, 246, 240)), FACE)
        elif detail >= 12:
            seam = self.surface(x * wide, line + 0.012)[0]
            below = self.surface(x[::-1] * wide, line - 0.02)[0]
            sprite.add(np.concatenate([seam, below]), tone.bright(mix(who.lips, (40, 16, 20), 0.55)), FACE)

    def draw_glasses(self, sprite: Sprite, detail: float) -> None:
        """They lie over the hair."""
        who, tone = self.who, self.tone
        if who.glasses == "none" or detail < 4 or self.face_outline() is None:
            return
        colour = tone.bright((30, 30, 34) if who.glasses == "sun" else who.glasses_colour)
        frame = max(0.045, 0.5 / detail)
        circle = ellipse(0, 0, 1, 1, 16)
        if who.glasses == "square":
            circle = np.clip(circle * 1.35, -1.0, 1.0) * np.array([1.0, 0.82])
        for side in (-1, 1):
            azimuth = side * who.eye_angle
            if self.spot(azimuth, who.eye_height)[1] < 0.05:
                continue
            at = np.array([azimuth, who.eye_height + self.nod])
            outer = at + circle * np.array([15.5, 0.2 + frame])
            inner = at + circle * np.array([15.5 - frame * 65, 0.2])
            rim = self.surface(outer[:, 0], outer[:, 1], 0.05)[0]
            if who.glasses == "sun":
                sprite.add(rim, colour, FACE)
                glint = at + np.array([-4.0, 0.07]) + circle * np.array([5.0, 0.05])
                sprite.add(self.surface(glint[:, 0], glint[:, 1], 0.05)[0], tone.bright((96, 104, 120)), FACE)
            else:
                sprite.ring(rim, self.surface(inner[:, 0], inner[:, 1], 0.05)[0], colour, FACE)
            a = np.array([15.0, 90.0, 90.0, 15.0]) * side + np.array([azimuth, 0, 0, azimuth])
            v = np.array([0.05, 0.06, 0.0, -0.01]) + who.eye_height + self.nod
            arm, facing = self.surface(a, v, 0.04)
            if facing.min() > 0.0:
                sprite.add(arm, colour, FACE)
        half = who.eye_angle - 14.0
        if self.cos > 0.2 and half > 1:
            a = np.array([-half, 0.0, half, half, 0.0, -half])
            v = np.array([0.04, 0.08, 0.04, -0.02, 0.02, -0.02]) + who.eye_height + self.nod
            sprite.add(self.surface(a, v, 0.06)[0], colour, FACE)
