"""Composition: who and what stands where, in which light, seen by which camera."""

from __future__ import annotations

from dataclasses import dataclass

from . import scenery
from .dice import Dice
from .figure import Figure, figure
from .geometry import DESIGN_HEIGHT, Camera
from .light import LIGHT_WEIGHTS, LIGHTS, Light
from .options import REIDENTIFICATION, Options
from .population import Identity, dressed, people_of
from .poses import cycling, pedestrian
from .sprite import SUPERSAMPLING, Sprite
from .street import Street

PERSON, RIDER, CAR = 1, 2, 3
FOCAL = 230.0
Box = tuple[float, float, float, float]


@dataclass
class Actor:
    """Something in front of the background. `category` 0 = scenery, which is not annotated."""

    sprite: Sprite
    category: int
    figure: Figure | None = None


@dataclass
class Plan:
    """Everything that decides a picture before the camera's noise."""

    camera: Camera
    street: Street
    light: Light
    actors: list[Actor]


def _light(dice: Dice) -> Light:
    light = dice.weighted(LIGHTS, LIGHT_WEIGHTS)
    x = dice.sign() * dice.uniform(0.25, 1.3)
    z = dice.uniform(-0.35, 0.9)
    if light.darkness < 0.3:
        x, z = x * 0.25, z * 0.25
    side = max(-1.0, min(1.0, -x * 1.1))
    return light.turned(round(side, 6), x, z)


def _street(dice: Dice, light: Light) -> Street:
    if dice.chance(0.55):
        road, pavement = dice.uniform(5.6, 7.6), (dice.uniform(2.4, 4.0), dice.uniform(2.4, 4.0))
        middle = dice.uniform(-road / 2 - 1.6, road / 2 + 1.6)
        r0, r1 = middle - road / 2, middle + road / 2
        return Street(
            "along", (r0, r1), (r0 - pavement[0], r1 + pavement[1]), dice.uniform(45, 70), False,
            dice.weighted((0.0, dice.uniform(1.5, 5.0), dice.uniform(5.0, 9.0)), (3, 4, 2)),
        )  # fmt: skip
    park = dice.chance(0.28)
    if park:
        z = dice.uniform(13, 20)
        return Street("across", (z, z), (0.0, z), z, True, 0.0)
    start = dice.uniform(3.6, 7.0)
    end = start + dice.uniform(5.6, 7.0)
    back = end + dice.uniform(2.6, 4.4)
    shade = dice.uniform(2.0, 8.0) if light.shadow_z < -0.1 else 0.0
    return Street("across", (start, end), (0.0, back), back, False, shade)


def shaded(street: Street, light: Light, x: float, z: float) -> bool:
    """Whether the buildings' shadow lies at (x, z)."""
    if street.shade <= 0 or light.darkness < 0.3:
        return False
    if street.kind == "across":
        return z > street.edges[1] - street.shade
    if light.side < 0:
        return x < street.edges[0] + street.shade
    return x > street.edges[1] - street.shade


def overlap(a: Box, b: Box) -> float:
    """The intersection as a share of the smaller box."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))


def lead_of(options: Options, split: str, index: int) -> int | None:
    """The identity that image `index` of gallery or probe shows beside others; None in other splits.

    They take turns, so that both splits show everybody.
    """
    if split not in REIDENTIFICATION:
        return None
    return options.identities + (index - 1) % options.gallery_identities


def _cast(options: Options, split: str, index: int) -> list[Identity]:
    """The people of a split in the clothes that they wear in image `index`."""
    lead, turn = lead_of(options, split, index), (index - 1) // options.gallery_identities
    cast = []
    for who in people_of(options, split):
        if options.outfits == 1:
            outfit = 0
        elif who.number == lead:  # in other clothes from turn to turn, and in probe than in gallery
            outfit = (turn + (split == "probe")) % options.outfits
        else:
            key = ("streetlife", options.seed, split, index, "outfit", who.number)
            outfit = Dice(*key).integer(0, options.outfits - 1)
        cast.append(dressed(who, outfit, options.seed))
    return cast


class Stage:
    """Places actors and remembers the boxes that they take."""

    def __init__(self, options: Options, dice: Dice) -> None:
        self.options, self.dice = options, dice
        width = options.width * DESIGN_HEIGHT / options.height
        height = dice.uniform(1.3, 1.85)
        centre = width * dice.uniform(0.3, 0.7)
        self.camera = Camera(width, FOCAL, centre, dice.uniform(66, 98), height)
        self.light = _light(dice)
        self.street = _street(dice, self.light)
        self.scale = options.height * SUPERSAMPLING / DESIGN_HEIGHT
        self.actors: list[Actor] = []
        self.boxes: list[tuple[Box, float, bool]] = []  # box, depth, is a person
        self.solids: list[tuple[float, float, float, float]] = []  # x, z, half width, half depth in metres

    def add(self, sprite: Sprite, x: float, category: int = 0) -> None:
        sprite.x = x
        self.actors.append(Actor(sprite, category))

    def cars(self) -> None:
        dice, street, camera = self.dice, self.street, self.camera
        if street.park:
            return
        placed: list[tuple[float, float]] = []
        for _ in range(dice.weighted((0, 1, 2, 3), (24, 36, 28, 12))):
            if street.kind == "along":
                left = dice.chance(0.5)
                x = street.road[0] + 1.15 if left else street.road[1] - 1.15
                z = dice.uniform(6.5, 24.0)
                heading = 0 if left else 2
                apart = 7.0
                clear = all(px != x or abs(pz - z) > apart for px, pz in placed)
                if abs(x) < 1.6 and z < 9:
                    continue
            else:
                far = dice.chance(0.6)
                z = street.road[1] - 1.25 if far else street.road[0] + 1.5
                x = dice.uniform(camera.right(-10, z), camera.right(camera.width + 10, z))
                heading = 3 if far else 1
                clear = all(pz != z or abs(px - x) > 5.4 for px, pz in placed)
            if not clear:
                continue
            placed.append((x, z))
            tone = self.light.tone(z, shaded(street, self.light, x, z))
            sprite = scenery.car(camera, x, z, heading, tone, dice)
            self.add(sprite, x, CAR)
            self.solids.append((x, z, 1.1, 2.6) if street.kind == "along" else (x, z, 2.6, 1.1))
            (x0, y0), (x1, _) = camera.point(x - 1.9, 1.45, z), camera.point(x + 1.9, 1.45, z)
            if street.kind == "along":
                x0, x1 = camera.point(x - 0.9, 1.45, z - 2)[0], camera.point(x + 0.9, 1.45, z - 2)[0]
            self.boxes.append(((x0, y0, x1, camera.ground(x, z)[1]), z, False))

    def scenery(self) -> None:
        dice, street, camera = self.dice, self.street, self.camera
        kinds = ("tree", "lamp", "bollard", "planter", "bench", "sign")
        for _ in range(dice.integer(1, 6)):
            kind = dice.weighted(kinds, (4, 3, 2, 2, 1, 1))
            if street.kind == "along":
                side = dice.sign()
                kerb = street.road[0] - 0.5 if side < 0 else street.road[1] + 0.5
                wall = street.edges[0] + 0.5 if side < 0 else street.edges[1] - 0.5
                x, z = (wall if kind in ("planter", "bench") else kerb), dice.uniform(5.0, 26.0)
            elif street.park:
                z = dice.uniform(6.0, street.edges[1])
                x = camera.right(dice.uniform(0, camera.width), z)
            else:
                z = street.road[1] + 0.5 if kind in ("tree", "lamp", "sign", "bollard") else street.edges[1] - 0.5
                if dice.chance(0.25) and kind != "tree":
                    z = max(3.4, street.road[0] - 0.4)
                x = camera.right(dice.uniform(0, camera.width), z)
            if abs(x - camera.right(camera.width / 2, z)) * camera.focal / z > camera.width / 2 + 20:
                continue
            self.solids.append((x, z, 0.7, 0.45))
            tone = self.light.tone(z, shaded(street, self.light, x, z))
            if kind == "tree":
                self.add(scenery.tree(camera, x, z, tone, dice), x)
            elif kind == "lamp":
                self.add(scenery.lamp_post(camera, x, z, tone, dice, self.light.evening), x)
            else:
                self.add(getattr(scenery, kind)(camera, x, z, tone, dice), x)

    def spot(self, tall: float, metres: float, riding: bool) -> tuple[float, float] | None:
        """A free place for somebody who looks `tall` units high: (x, z), or None."""
        dice, street, camera = self.dice, self.street, self.camera
        z = camera.depth(tall, metres)
        if street.kind == "across":
            z = min(z, street.edges[1] - 0.7)
            if riding and not street.park:
                z = dice.uniform(street.road[0] + 0.6, street.road[1] - 0.6)
        screen = dice.uniform(-0.02, 1.02) if dice.chance(0.15) else dice.uniform(0.07, 0.93)
        x = camera.right(screen * camera.width, z)
        if street.kind == "along":
            low, high = street.edges[0] + 0.4, street.edges[1] - 0.4
            if riding:
                low, high = street.road[0] + 0.4, street.road[1] - 0.4
            elif dice.chance(0.6):  # rather on a pavement than on the road
                low, high = (
                    (low, street.road[0]) if x < (street.road[0] + street.road[1]) / 2 else (street.road[1], high)
                )
            if not low <= x <= high:
                return None
        return x, z

    def _free(self, box: Box, z: float) -> bool:
        for other, depth, person in self.boxes:
            share = overlap(box, other)
            if share > (0.5 if person else 0.6):
                return False
            if not person and share > 0.15 and abs(depth - z) < 1.6:
                return False
        return True

    def people(self, everyone: list[Identity], lead: int | None) -> None:
        options, dice, camera = self.options, self.dice, self.camera
        low, high = options.people
        counts = list(range(low, high + 1))
        wanted = dice.weighted(counts, [1.0 / (1 + abs(i - len(counts) * 0.35)) for i in range(len(counts))])
        deck = dice.shuffled(range(len(everyone)))
        if lead is not None:
            deck.sort(key=lambda number: everyone[number].number != lead)
        placed = 0
        for _ in range(wanted * 14):
            if placed == wanted:
                break
            who = everyone[deck[placed % len(deck)]]
            riding = dice.chance(0.25)
            tall = dice.weighted(
                (dice.uniform(24, 42), dice.uniform(42, 90), dice.uniform(90, 150), dice.uniform(150, 185)),
                (10, 38, 42, 10),
            )
            spot = self.spot(tall, who.height, riding)
            if spot is None:
                continue
            x, z = spot
            if any(abs(x - sx) < half_x and abs(z - sz) < half_z for sx, sz, half_x, half_z in self.solids):
                continue
            size = camera.focal * who.height / z
            fx, fy = camera.ground(x, z)
            half = size * (0.3 if riding else 0.17)
            box = (fx - half, fy - size, fx + half, fy)
            seen = (min(camera.width, box[2]) - max(0.0, box[0])) * (min(DESIGN_HEIGHT, box[3]) - max(0.0, box[1]))
            if seen < 0.38 * (box[2] - box[0]) * size or box[2] <= 0 or box[0] >= camera.width:
                continue
            if not self._free(box, z):
                continue
            self._person(who, x, z, riding)
            self.boxes.append((box, z, True))
            placed += 1

    def _person(self, who: Identity, x: float, z: float, riding: bool) -> None:
        dice = self.dice
        facing = dice.weighted(("front", "side", "back"), (62, 25, 13))
        if riding and self.street.kind == "across":
            facing = dice.weighted(("side", "front", "back"), (8, 1, 1))
        yaw = {
            "front": dice.uniform(-42, 42),
            "side": dice.sign() * dice.uniform(50, 105),
            "back": 180 + dice.uniform(-45, 45),
        }[facing]
        street = self.street
        road = x if street.kind == "along" else z
        may_sit = z > 3.0 and not street.road[0] - 0.7 < road < street.road[1] + 0.7
        pose = cycling(dice) if riding else pedestrian(dice, may_sit)
        tone = self.light.tone(z, shaded(self.street, self.light, x, z))
        bicycle = dice.choice(scenery.PAINTS) if riding else None
        made = figure(who, pose, self.camera, x, z, yaw, tone, self.scale, bicycle)
        made.sprite.x = x
        self.actors.append(Actor(made.sprite, RIDER if riding else PERSON, made))


def compose(options: Options, split: str, index: int, attempt: int = 0) -> Plan:
    """The plan of image `index` (from 1) of a split; `attempt` gives another one for the same image."""
    stage = Stage(options, Dice("streetlife", options.seed, split, index, attempt))
    stage.cars()
    stage.scenery()
    stage.people(_cast(options, split, index), lead_of(options, split, index))
    stage.actors.sort(key=lambda actor: -actor.sprite.depth)
    return Plan(stage.camera, stage.street, stage.light, stage.actors)
