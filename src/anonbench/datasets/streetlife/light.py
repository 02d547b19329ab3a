"""The light of a scene and what it does to a surface's colour."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .geometry import Colour, mix, tint

Gains = tuple[float, float, float]


@dataclass(frozen=True)
class Tone:
    """How one object is lit: colour gains on its sunny and its shady side, and the haze before it."""

    lit: Gains
    dark: Gains
    side: float  # where the light comes from: -1 left .. 1 right of the image
    haze: Colour
    haze_share: float = 0.0

    def bright(self, colour: Colour) -> Colour:
        return mix(tint(colour, self.lit), self.haze, self.haze_share)

    def shade(self, colour: Colour) -> Colour:
        return mix(tint(colour, self.dark), self.haze, self.haze_share)

    def between(self, colour: Colour, share: float) -> Colour:
        return mix(self.bright(colour), self.shade(colour), share)


@dataclass(frozen=True)
class Light:
    """A weather and time of day. The sun casts shadows of length `length` x height along (`x`, `z`)."""

    name: str
    sky: tuple[Colour, Colour]  # at the top, at the horizon
    cloud: Colour
    haze: Colour
    sun: Gains  # on sunny surfaces
    shadow: Gains  # on surfaces the sun does not reach
    darkness: float  # of cast shadows, 0..1
    evening: bool = False
    side: float = 0.0
    shadow_x: float = 0.0
    shadow_z: float = 0.0

    def tone(self, depth: float, in_shade: bool = False) -> Tone:
        lit, dark = self.sun, self.shadow
        if in_shade:
            lit = (
                (self.sun[0] * 0.3 + dark[0] * 0.7),
                (self.sun[1] * 0.3 + dark[1] * 0.7),
                (self.sun[2] * 0.3 + dark[2] * 0.7),
            )
            dark = (dark[0] * 0.92, dark[1] * 0.92, dark[2] * 0.94)
        share = min(0.45, max(0.0, (depth - 5.0) / 70.0))
        return Tone(lit, dark, self.side, self.haze, share)

    def turned(self, side: float, shadow_x: float, shadow_z: float) -> Light:
        return replace(self, side=side, shadow_x=shadow_x, shadow_z=shadow_z)


LIGHTS = (
    Light(
        "noon", ((92, 160, 222), (196, 224, 240)), (248, 250, 252), (206, 224, 236),
        (1.06, 1.04, 1.0), (0.74, 0.76, 0.84), 0.5,
    ),
    Light(
        "morning", ((122, 178, 224), (250, 230, 204)), (255, 246, 232), (242, 226, 206),
        (1.1, 1.03, 0.93), (0.76, 0.75, 0.84), 0.45,
    ),
    Light(
        "golden", ((136, 158, 204), (255, 206, 150)), (255, 222, 186), (250, 206, 164),
        (1.14, 1.0, 0.82), (0.74, 0.68, 0.76), 0.48,
    ),
    Light(
        "overcast", ((178, 190, 202), (218, 222, 226)), (226, 230, 234), (212, 218, 222),
        (0.95, 0.97, 1.0), (0.8, 0.82, 0.86), 0.22,
    ),
    Light(
        "dusk", ((84, 92, 150), (240, 168, 148)), (196, 140, 160), (196, 150, 160),
        (0.86, 0.8, 0.92), (0.62, 0.58, 0.74), 0.25, evening=True,
    ),
)  # fmt: skip
LIGHT_WEIGHTS = (30, 25, 20, 17, 8)
