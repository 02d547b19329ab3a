"""Bodies: limbs and clothes around a skeleton, seen from any side."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from .geometry import Array, Camera, Colour, Point, Point3, box, capsule, cosine, ellipse, mix, sine, smooth
from .light import Tone
from .population import Identity
from .poses import SHOULDER, Skeleton
from .sprite import ARM_L, ARM_R, LEG_L, LEG_R, TORSO, Sprite


class Body:
    """Projects one person's joints and draws the body from back to front."""

    def __init__(
        self,
        who: Identity,
        pose: Skeleton,
        camera: Camera,
        x: float,
        z: float,
        yaw: float,
        tone: Tone,
        scale: float,
        riding: bool = False,
    ) -> None:
        self.who, self.pose, self.camera, self.x, self.z, self.tone = who, pose, camera, x, z, tone
        self.riding = riding
        self.cos, self.sin = cosine(yaw), sine(yaw)
        self.unit = camera.focal * who.height / z  # the person's height in design units
        self.detail = self.unit * scale  # in canvas pixels
        self.sprite = Sprite(z, texture=3, relief=26)
        wide = {"shoulder": who.shoulders * (0.8 + 0.2 * who.build), "hip": who.hips * who.build}
        self.at: dict[str, Point] = {}
        self.toward: dict[str, float] = {}
        for name, joint in pose.joints.items():
            factor = wide.get(name.split("_")[0], 1.0)
            if name.startswith(("elbow", "wrist")):
                # Arms move outward with the shoulders that carry them.
                side = 1 if name.endswith("l") else -1
                joint = (joint[0] + side * SHOULDER * (wide["shoulder"] - 1.0), joint[1], joint[2])
                factor = 1.0
            if name.startswith(("knee", "ankle", "toe")):
                factor = 1.0 + 0.6 * (wide["hip"] - 1.0)
            self.at[name], self.toward[name] = self.project((joint[0] * factor, joint[1], joint[2]))

    def project(self, joint: Point3) -> tuple[Point, float]:
        """A joint to the screen, and how many heights it is nearer to the camera than the body's axis."""
        left, up, forward = joint
        across = left * self.cos + forward * self.sin
        toward = forward * self.cos - left * self.sin
        h = self.who.height
        return self.camera.point(self.x + across * h, up * h, max(0.4, self.z - toward * h)), toward

    @property
    def bent(self) -> bool:
        """Whether skirts and coats cannot hang down."""
        return self.riding or self.pose.seated

    # -- limbs ---------------------------------------------------------------------------------------------

    def limb(self, chain: list[tuple[str | Point, float]], colour: Colour, part: int, rim: float = 0.0) -> None:
        """A tapered limb through two or more (joint, radius in body heights), shaded on the side away from the sun.

        `rim` (body heights) sets it off from what is behind it by a thin dark contour.
        """
        u, side, tone = self.unit, self.tone.side, self.tone
        at = [(self.at[j] if isinstance(j, str) else j, r * u) for j, r in chain]
        if self.detail < 60:
            base = tone.between(colour, 0.3)
            for (a, ra), (b, rb) in pairwise(at):
                self.sprite.add(capsule(a, b, ra, rb), base, part)
            return
        bright, shade = tone.bright(colour), tone.shade(colour)
        if rim > 0:
            contour = mix(shade, (24, 20, 40), 0.18)
            (x0, y0), (x1, y1) = at[0][0], at[1][0]
            # It begins below the first joint, where the limb grows out of the body.
            outer = [((x0 + (x1 - x0) * 0.4, y0 + (y1 - y0) * 0.4), at[0][1] * 0.6 + at[1][1] * 0.4), *at[1:]]
            for (a, ra), (b, rb) in pairwise(outer):
                self.sprite.add(capsule(a, b, ra + rim * u, rb + rim * u), contour, part)
        for (a, ra), (b, rb) in pairwise(at):
            self.sprite.add(capsule(a, b, ra, rb), bright, part)
        for (a, ra), (b, rb) in pairwise(at):
            dx, dy = b[0] - a[0], b[1] - a[1]
            length = math.sqrt(dx * dx + dy * dy)
            if length < 0.5 * (ra + rb):
                continue
            nx, ny = -dy / length, dx / length
            if ny * 0.5 - nx * side < 0:
                nx, ny = -nx, -ny
            ends = [(b[0] + nx * rb, b[1] + ny * rb), (a[0] + nx * ra, a[1] + ny * ra)]
            inner = 0.5 - 0.2 * abs(side)
            ends += [(a[0] + nx * ra * inner, a[1] + ny * ra * inner), (b[0] + nx * rb * inner, b[1] + ny * rb * inner)]
            self.sprite.add(np.array(ends), shade, part)

    def along(self, a: str, b: str, share: float) -> Point:
        (x0, y0), (x1, y1) = self.at[a], self.at[b]
        return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share

    def leg(self, name: str, far: bool) -> None:
        who = self.who
        part = LEG_L if name == "l" else LEG_R
        fat = who.build
        bare = who.bottom_style != "trousers" or who.top_style == "dress"
        colour = who.skin if bare else who.bottom
        if far:
            colour = mix(colour, (30, 26, 48), 0.14)
        thigh, knee, ankle = (0.047, 0.034, 0.021) if bare else (0.051, 0.039, 0.03)
        thigh, knee, ankle = thigh * fat, knee * fat, ankle * (0.5 + 0.5 * fat)
        chain: list[tuple[str | Point, float]] = [
            (f"hip_{name}", thigh),
            (f"knee_{name}", knee),
            (f"ankle_{name}", ankle),
        ]
        self.limb(chain, colour, part, 0.0 if far else 0.003)
        if self.bent and (who.bottom_style == "skirt" or who.top_style == "dress"):
            cloth = who.top if who.top_style == "dress" else who.bottom
            hem = self.along(f"hip_{name}", f"knee_{name}", 0.72)
            self.limb([(f"hip_{name}", thigh * 1.25), (hem, knee * 1.5)], cloth, part)
        elif who.bottom_style == "shorts" and who.top_style != "dress":
            shorts = mix(who.bottom, (30, 26, 48), 0.14) if far else who.bottom
            hem = self.along(f"hip_{name}", f"knee_{name}", 0.8)
            self.limb([(f"hip_{name}", thigh * 1.1), (hem, knee * 1.32)], shorts, part)
        self._shoe(name, part, far)

    def _shoe(self, name: str, part: int, far: bool) -> None:
        u = self.unit
        colour = self.who.shoes if not far else mix(self.who.shoes, (30, 26, 48), 0.12)
        (ax, ay), (tx, ty) = self.at[f"ankle_{name}"], self.at[f"toe_{name}"]
        heel = (ax - (tx - ax) * 0.22, ay + 0.012 * u)
        sole = mix(colour, (30, 28, 30), 0.55) if sum(colour) > 300 else mix(colour, (255, 255, 255), 0.5)
        outline = capsule((heel[0], heel[1] + 0.008 * u), (tx, ty + 0.006 * u), 0.024 * u, 0.02 * u)
        self.sprite.add(outline, self.tone.shade(sole), part)
        self.sprite.add(capsule(heel, (tx, ty - 0.004 * u), 0.025 * u, 0.019 * u), self.tone.bright(colour), part)
        self.sprite.add(capsule((ax, ay - 0.006 * u), heel, 0.023 * u, 0.024 * u), self.tone.bright(colour), part)

    def arm(self, name: str, far: bool) -> None:
        who, u = self.who, self.unit
        part = ARM_L if name == "l" else ARM_R
        fat = 0.35 + 0.65 * who.build
        short = who.top_style in ("shirt", "dress")
        cloth = who.top if not far else mix(who.top, (30, 26, 48), 0.14)
        skin = who.skin if not far else mix(who.skin, (60, 30, 40), 0.12)
        puff = {"coat": 1.16, "hoodie": 1.16, "jacket": 1.1}.get(who.top_style, 1.0)
        shoulder, elbow, wrist = 0.03 * fat * puff, 0.025 * fat * puff, 0.018 * fat
        (ex, ey), (wx, wy) = self.at[f"elbow_{name}"], self.at[f"wrist_{name}"]
        hand = (wx + (wx - ex) * 0.2, wy + (wy - ey) * 0.2)
        rim = 0.0045
        self.limb([((wx, wy), 0.019), (hand, 0.02)], skin, part, rim)
        if short:
            skin_chain: list[tuple[str | Point, float]] = [(f"shoulder_{name}", shoulder * 0.86)]
            skin_chain += [(f"elbow_{name}", elbow * 0.88), (f"wrist_{name}", wrist * 0.95)]
            self.limb(skin_chain, skin, part, rim)
            hem = self.along(f"shoulder_{name}", f"elbow_{name}", 0.6)
            self.limb([(f"shoulder_{name}", shoulder), (hem, elbow * 1.25)], cloth, part, rim)
        else:
            cuff = self.along(f"elbow_{name}", f"wrist_{name}", 0.9)
            sleeve: list[tuple[str | Point, float]] = [(f"shoulder_{name}", shoulder), (f"elbow_{name}", elbow)]
            self.limb([*sleeve, (cuff, wrist * 1.2 * puff)], cloth, part, rim)
        if self.pose.phone == name and self.detail > 50:
            along = capsule(
                (hand[0], hand[1] + 0.012 * u),
                (hand[0] + 0.012 * u * self.sin, hand[1] - 0.04 * u),
                0.014 * u,
                0.014 * u,
            )
            self.sprite.add(along, self.tone.shade((44, 46, 56)), part)
            if self.cos < 0:
                self.sprite.add(ellipse(hand[0], hand[1] - 0.016 * u, 0.009 * u, 0.02 * u, 8), (196, 220, 236), part)
            self.limb([((wx, wy), 0.017), (hand, 0.017)], skin, part)

    # -- torso ---------------------------------------------------------------------------------------------

    def half_width(self, wide: float, deep: float) -> float:
        return math.sqrt((wide * self.cos) ** 2 + (deep * self.sin) ** 2)

    def torso_point(self, level: float, azimuth: float, grow: float = 1.0) -> Point:
        """A point on the torso: level 0 = hips .. 1 = shoulders, azimuth like a head's."""
        wide, deep = self.profile(level)
        across = wide * sine(azimuth) * self.cos + deep * cosine(azimuth) * self.sin
        (x0, y0), (x1, y1) = self.at["pelvis"], self.at["neck"]
        x, y = x0 + (x1 - x0) * level, y0 + (y1 - y0) * level
        return x + across * grow * self.unit, y

    def profile(self, level: float) -> tuple[float, float]:
        """Half width and half depth of the torso at a level, in body heights."""
        who = self.who
        puff = {"coat": 1.12, "hoodie": 1.12, "jacket": 1.06}.get(who.top_style, 1.0)
        fat = who.build * puff
        shoulders = 0.118 * who.shoulders * (0.8 + 0.2 * who.build)
        levels = [-0.2, 0.0, 0.4, 0.72, 0.92, 1.0]
        waist = 0.074 if who.shoulders < 1 else 0.084
        wide = [
            0.09 * who.hips * fat,
            0.091 * who.hips * fat,
            waist * fat,
            shoulders * 0.93,
            shoulders * 0.98,
            shoulders * 0.6,
        ]
        deep = [0.066 * fat, 0.068 * fat, 0.056 * fat, 0.066 * fat, 0.056, 0.042]
        return float(np.interp(level, levels, wide)), float(np.interp(level, levels, deep))

    def band(self, low: float, high: float, grow: float = 1.0) -> Array:
        """The silhouette of the torso between two levels."""
        levels = [low, *[v for v in (0.0, 0.4, 0.72, 0.92) if low < v < high], high]
        (x0, y0), (x1, y1) = self.at["pelvis"], self.at["neck"]
        dx, dy = x1 - x0, y1 - y0
        length = max(1e-3, math.sqrt(dx * dx + dy * dy))
        nx, ny = -dy / length, dx / length
        right, left = [], []
        for level in levels:
            half = self.half_width(*self.profile(level)) * grow * self.unit
            x, y = x0 + dx * level, y0 + dy * level
            right.append((x + nx * half, y + ny * half))
            left.append((x - nx * half, y - ny * half))
        return np.array(right + left[::-1])

    def torso(self) -> None:
        who, tone, sprite = self.who, self.tone, self.sprite
        if who.top_style != "dress":
            if who.bottom_style == "skirt" and not self.bent:
                self._flare(who.bottom, 0.12, 0.5, 1.18)
            else:
                hips = smooth(self.band(-0.2, 0.2), 1)
                sprite.add(hips, tone.bright(who.bottom), TORSO)
        top = np.concatenate([self.band(-0.04 if who.top_style != "hoodie" else -0.1, 1.0)])
        outline = smooth(top, 2)
        sprite.add(outline, tone.bright(who.top), TORSO)
        if who.top_style == "dress" and not self.bent:
            self._flare(who.top, 0.35, 0.62, 1.3)
        if who.top_style == "coat" and not self.bent:
            self._flare(who.top, 0.3, 0.42, 1.12)
        if self.detail >= 45:
            self._decorate()
            self._shade_side(top, who.top)

    def _shade_side(self, outline: Array, colour: Colour) -> None:
        """Darken the side of the torso that looks away from the sun, from its shoulder to its hip."""
        side = self.tone.side
        half = len(outline) // 2
        right, left = outline[:half], outline[half:][::-1]
        edge, other = (right, left) if right[0, 0] * side < left[0, 0] * side else (left, right)
        inner = edge + (other - edge) * (0.1 + 0.1 * abs(side))
        strip = np.concatenate([edge[:-1], inner[:-1][::-1]])
        self.sprite.add(strip, self.tone.shade(colour), TORSO)

    def _flare(self, colour: Colour, start: float, length: float, wider: float) -> None:
        """A skirt from a level of the torso down to `length` of the thigh."""
        band = self.band(0.0, start)
        top_right, top_left = band[len(band) // 2 - 1], band[len(band) // 2]
        hip_right, hip_left = band[0], band[-1]
        u = self.unit
        hems = [self.along(f"hip_{n}", f"knee_{n}", length * 1.35) for n in ("l", "r")]
        low = max(y for _, y in hems) + 0.01 * u
        half = self.half_width(*self.profile(0.0)) * wider * u
        x_left = min(min(x for x, _ in hems) - 0.035 * u, (hems[0][0] + hems[1][0]) / 2 - half)
        x_right = max(max(x for x, _ in hems) + 0.035 * u, (hems[0][0] + hems[1][0]) / 2 + half)
        middle = (x_left + x_right) / 2
        outline = np.array(
            [top_right, hip_right, (x_right, low - 0.012 * u), (middle, low + 0.006 * u), (x_left, low - 0.012 * u),
             hip_left, top_left]
        )  # fmt: skip
        self.sprite.add(outline, self.tone.bright(colour), TORSO)
        right, left = outline[[0, 1, 2]], outline[[6, 5, 4]]
        edge, other = (right, left) if self.tone.side < 0 else (left, right)
        inner = edge + (other - edge) * (0.1 + 0.1 * abs(self.tone.side))
        self.sprite.add(np.concatenate([edge, inner[::-1]]), self.tone.shade(colour), TORSO)

    def _decorate(self) -> None:
        who, tone, sprite, u = self.who, self.tone, self.sprite, self.unit
        style = who.top_style
        if style in ("jacket", "coat") and self.cos > 0.25:
            self._front_opening()
        elif who.pattern == "stripes" and style not in ("jacket", "coat"):
            for level in (0.14, 0.32, 0.5, 0.68):
                sprite.add(self.band(level, level + 0.07, 0.93), tone.bright(who.inner), TORSO)
        elif who.pattern == "band" and style not in ("jacket", "coat"):
            sprite.add(self.band(0.46, 0.66, 0.95), tone.bright(who.inner), TORSO)
        elif who.pattern == "print" and self.cos > 0.4 and style not in ("jacket", "coat"):
            x, y = self.torso_point(0.62, 0.0)
            wide = 0.036 * u * self.cos
            sprite.add(ellipse(x, y, wide, 0.036 * u, 16), tone.bright(who.inner), TORSO)
            if self.detail > 90:
                sprite.add(ellipse(x, y, wide * 0.5, 0.018 * u, 12), tone.bright(who.top), TORSO)
        if style == "hoodie" and self.detail > 90:
            if self.cos > 0.3:
                pocket = [self.torso_point(v, a) for v, a in ((0.06, -42), (0.28, -30), (0.28, 30), (0.06, 42))]
                sprite.add(np.array(pocket), tone.shade(who.top), TORSO)
            elif self.cos < -0.2:
                x, y = self.at["neck"]
                hood = ellipse(x, y + 0.035 * u, 0.062 * u * abs(self.cos), 0.045 * u)
                sprite.add(hood, tone.shade(who.top), TORSO)
        if style in ("shirt", "sleeves") and who.bottom_style != "skirt" and self.detail > 110:
            sprite.add(self.band(-0.05, -0.01, 0.98), tone.shade(mix(who.bottom, (20, 20, 20), 0.4)), TORSO)

    def _front_opening(self) -> None:
        """The shirt under an open jacket, with lapels and buttons."""
        who, tone, sprite = self.who, self.tone, self.sprite
        if who.top_style == "coat":
            edge = [self.torso_point(v, a) for v, a in ((0.95, -22), (0.62, 0), (0.95, 22))]
            sprite.add(np.array(edge), tone.bright(who.inner), TORSO)
            if self.detail > 110:
                for level in (0.48, 0.28, 0.08):
                    x, y = self.torso_point(level, 8)
                    sprite.add(ellipse(x, y, 0.007 * self.unit, 0.007 * self.unit, 8), tone.shade(who.inner), TORSO)
            return
        shirt = [(0.97, -24), (0.5, -20), (-0.03, -24), (-0.03, 24), (0.5, 20), (0.97, 24)]
        sprite.add(np.array([self.torso_point(v, a) for v, a in shirt]), tone.bright(who.inner), TORSO)
        if self.detail > 90:
            for side in (-1, 1):
                lapel = [(0.98, 22 * side), (0.62, 19 * side), (0.68, 40 * side), (0.98, 36 * side)]
                sprite.add(np.array([self.torso_point(v, a) for v, a in lapel]), tone.shade(who.top), TORSO)

    def neck(self) -> None:
        u, who = self.unit, self.who
        x, y = self.at["neck"]
        hx, hy = self.at["head"]
        skin = mix(who.skin, (120, 50, 40), 0.18)
        low, high = (x, y + 0.012 * u), (hx, hy + 0.03 * u)
        thick = 0.031 if who.shoulders < 1 else 0.037
        self.sprite.add(capsule(low, high, thick * u, thick * u * 0.95), self.tone.shade(skin), TORSO)
        if self.cos > -0.3 and who.top_style in ("shirt", "sleeves", "dress"):
            collar = ellipse(x + 0.02 * u * self.sin, y + 0.012 * u, 0.046 * u * max(0.5, abs(self.cos)), 0.024 * u, 12)
            self.sprite.add(collar, self.tone.between(who.skin, 0.35), TORSO)
        elif who.top_style in ("hoodie", "coat", "jacket"):
            half = self.half_width(0.05, 0.042)
            collar = np.array([(x - half * u, y + 0.03 * u), (x - half * 0.8 * u, y - 0.018 * u), (x, y + 0.012 * u),
                               (x + half * 0.8 * u, y - 0.018 * u), (x + half * u, y + 0.03 * u)])  # fmt: skip
            self.sprite.add(collar, self.tone.shade(who.top), TORSO)

    def bag(self, behind: bool) -> None:
        who, u = self.who, self.unit
        colour, dark = self.tone.bright(who.bag_colour), self.tone.shade(who.bag_colour)
        if who.bag == "backpack":
            if behind == (self.cos > 0.0):
                x, y = self.torso_point(0.55, 180.0, 1.5)
                wide = self.half_width(0.085, 0.055) * u
                tall = 0.125 * u
                pack = smooth(box(x - wide, y - tall, x + wide, y + tall), 2)
                if self.cos < 0.55:
                    self.sprite.add(pack, dark, TORSO)
                    inner = (pack - np.array([x, y])) * 0.9 + np.array([x + 0.006 * u * self.tone.side, y])
                    self.sprite.add(inner, colour, TORSO)
                    if self.cos < -0.3 and self.detail > 60:
                        self.sprite.add(
                            smooth(box(x - wide * 0.7, y + tall * 0.1, x + wide * 0.7, y + tall * 0.8), 1), dark, TORSO
                        )
            if not behind and self.cos > 0.25:
                for side in (-1, 1):
                    strap = [(0.98, 40 * side), (0.3, 52 * side), (0.3, 64 * side), (0.98, 56 * side)]
                    self.sprite.add(np.array([self.torso_point(v, a) for v, a in strap]), dark, TORSO)
        elif who.bag == "shoulder" and not behind:
            if abs(self.cos) > 0.3:
                sign = 1 if self.cos > 0 else -1
                a0, a1 = (-34, 60) if sign > 0 else (214, 120)
                strap = [(0.96, a0), (0.0, a1), (0.0, a1 + 8 * sign), (0.96, a0 + 11 * sign)]
                self.sprite.add(np.array([self.torso_point(v, a) for v, a in strap]), dark, TORSO)
            if self.toward["hip_l"] > -0.03:
                x, y = self.at["hip_l"]
                x += 0.05 * self.cos * u
                purse = smooth(box(x - 0.055 * u, y - 0.03 * u, x + 0.055 * u, y + 0.075 * u), 2)
                self.sprite.add(purse, dark, TORSO)
                self.sprite.add((purse - np.array([x, y])) * 0.88 + np.array([x, y]), colour, TORSO)
