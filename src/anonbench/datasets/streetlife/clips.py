"""Clips: a few people who do one thing before a street that stands still, seen by a camera that does, too.

As many clips after another as there are actions show the same people in the same clothes, each action once, in random
order: of all that describes a person nothing tells what they do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from anonbench.errors import AnonbenchError

from .actions import DETAIL, MOTIONS, manner_of
from .dice import Dice, generator
from .figure import figure
from .geometry import cosine, sine
from .handling import HANDS_MEET
from .motion import Manner
from .options import Options
from .painting import backdrop, paint, photograph
from .population import Identity, dressed, people_of
from .render import Scene
from .scene import CAR, PERSON, RIDER, Actor, Box, Plan, Stage, overlap, shaded
from .scenery import PAINTS
from .sprite import Canvas, Stencil
from .truth import annotate

ATTEMPTS = 1000
"""Stages that are tried until everybody has room for what they do."""
LEGS = (1.0, 0.75, 0.5, 0.35, 0.25)
"""How much of the straight way people go before they turn round, when there was no room for more."""


@dataclass(frozen=True)
class Clip:
    """`action` is one of the options' `actions`; `frames` are drawn one by one as they are iterated over."""

    action: str
    frames: Iterator[Scene]


@dataclass(frozen=True)
class _Track:
    """A closed way, metres: straight on, round half a circle to one `side`, back, round the other half.

    Whoever goes `length` along it is in the middle of the first straight halfway.
    """

    straight: float
    radius: float
    side: int
    length: float

    def at(self, gone: float) -> tuple[float, float, float]:
        """Metres ahead and to the right of the first straight's middle, and degrees turned, after `gone` metres."""
        half, bend = self.straight / 2, 3.141593 * self.radius
        way = (half + gone - self.length / 2) % (2 * self.straight + 2 * bend)
        if way < self.straight:
            return way - half, 0.0, 0.0
        way -= self.straight
        if way < bend:
            turn = 180 * way / bend
            return half + self.radius * sine(turn), self.side * self.radius * (1 - cosine(turn)), self.side * turn
        way -= bend
        if way < self.straight:
            return half - way, self.side * 2 * self.radius, self.side * 180.0
        turn = 180 * (way - self.straight) / bend
        right = self.side * self.radius * (1 + cosine(turn))
        return -half - self.radius * sine(turn), right, self.side * (180 + turn)


@dataclass(frozen=True)
class _Performer:
    """Somebody who stands at (x, z) metres and faces `yaw`, or goes there halfway, along a track."""

    who: Identity
    manner: Manner
    x: float
    z: float
    yaw: float
    track: _Track
    bicycle: tuple[int, int, int] | None

    def place(self, time: float) -> tuple[float, float, float]:
        """Where they are, metres, and which way they face, degrees."""
        if self.manner.pace == 0:
            return self.x, self.z, self.yaw
        ahead, right, turn = self.track.at(self.manner.pace * time)
        sin, cos = sine(self.yaw), cosine(self.yaw)
        x, z = self.x + ahead * sin + right * cos, self.z - ahead * cos + right * sin
        return round(x, 6), round(z, 6), self.yaw + turn


def cast_of(options: Options, split: str, index: int) -> tuple[str, list[Identity]]:
    """The action of clip `index` (from 1) of a split and its people, the first of whom leads one clip of each action.

    Whoever comes again, after all others, wears their next outfit.
    """
    block, place = divmod(index - 1, len(options.actions))
    everyone = people_of(options, split)
    deck = Dice("streetlife", options.seed, split, "clips").shuffled(range(len(everyone)))
    dice = Dice("streetlife", options.seed, split, "clips", block)
    action = dice.shuffled(options.actions)[place]
    least = 2 if options.meets else 1
    low, high = max(least, options.people[0]), max(least, min(3, options.people[1], len(everyone)))
    count = min(high, max(low, dice.weighted((1, 2, 3), (5, 3, 2))))
    turn, first = divmod(block, len(everyone))
    cast: list[Identity] = []
    for number in range(count):
        who = everyone[deck[(first + number * (1 + turn)) % len(deck)]]
        outfit = turn + first if number == 0 else dice.integer(0, options.outfits - 1)
        if who.number not in [other.number for other in cast]:
            cast.append(dressed(who, outfit % options.outfits, options.seed))
    for place in deck if len(cast) < least else ():  # the same person was drawn again
        if len(cast) < least and everyone[place].number != cast[0].number:
            cast.append(everyone[place])
    return action, cast


def render_clip(options: Options, split: str, index: int) -> Clip:
    """Clip `index` (from 1) of a split; depends on nothing but the arguments.

    Everybody is in all frames, and annotated in all. Raises AnonbenchError when there is no room for them.
    """
    action, cast = cast_of(options, split, index)
    canvas = Canvas(options.width, options.height)
    times = [round(frame / options.fps, 6) for frame in range(options.frames)]
    for attempt in range(ATTEMPTS):
        dice = Dice("streetlife", options.seed, split, "clip", index, attempt)
        stage = Stage(options, dice)
        stage.cars()
        stage.scenery()
        performers = _perform(stage, action, cast, times, LEGS[min(attempt // 40, len(LEGS) - 1)], options.close)
        if performers is None:
            continue
        shots = _shoot(canvas, stage, action, performers, times, options)
        if shots is not None:
            key = ("streetlife", options.seed, split, "clip", index)
            return Clip(action, _paint(canvas, stage, shots, options, key))
    raise AnonbenchError(
        f"the street has no room for {len(cast)} people who {action}",
        entry=f"streetlife {split}, clip {index}",
        remedy="ask for fewer people, or a wider image",
    )


def _perform(
    stage: Stage, action: str, cast: list[Identity], times: list[float], leg: float, close: bool
) -> list[_Performer] | None:
    """Give everybody a place and a way through the clip; None where there is no room."""
    dice, moves, riding = stage.dice, MOTIONS[action].speed[1] > 0, action == "cycle"
    seconds = times[-1]
    first = cast[0]
    manner = manner_of(action, first.height, seconds, dice)
    tall = dice.uniform(46, 84) if moves else dice.uniform(*((96, 140) if close else (58, 132)))
    spot = stage.spot(tall, first.height, riding)
    if spot is None:
        return None
    yaw = _heading(stage, action, moves)
    motion, way = MOTIONS[action], manner.pace * seconds
    track = _Track(min(way, leg * motion.straight), motion.radius, dice.sign(), way)
    x, z = spot
    performers = []
    for number, who in enumerate(cast):
        dx, dz, turned = _beside(action, yaw, number)
        own = manner if number == 0 else manner_of(action, who.height, seconds, dice)
        if moves:  # they stay together
            own = replace(own, pace=manner.pace)
        if MOTIONS[action].meets:
            reach = HANDS_MEET * (cast[0].height + cast[1].height) / 2
            own = replace(own, role=number, reach=reach)
        bicycle = dice.choice(PAINTS) if riding else None
        performers.append(_Performer(who, own, x + dx, z + dz, turned, track, bicycle))
    for time in times[:: max(1, len(times) // 12)] + times[-1:] if moves else times[:1]:
        boxes: list[Box] = []
        for performer in performers:
            box = _box(stage, performer, time, riding)
            if box is None or any(overlap(box, other) > 0.4 for other in boxes):
                return None
            boxes.append(box)
    return performers


def _heading(stage: Stage, action: str, moves: bool) -> float:
    dice = stage.dice
    across = stage.street.kind == "across"
    if action == "cycle":
        return dice.sign() * 90.0 if across else dice.choice((0.0, 180.0)) + dice.uniform(-3, 3)
    if moves:
        if across or dice.chance(0.5):
            return dice.sign() * dice.uniform(60, 112)
        return dice.choice((0.0, 180.0)) + dice.uniform(-24, 24)
    if action == "talk" or MOTIONS[action].meets:
        return dice.sign() * dice.uniform(52, 88)
    if MOTIONS[action].kind == DETAIL:  # what they hold, or their face, is seen
        return dice.uniform(-42, 42)
    return dice.weighted((dice.uniform(-58, 58), dice.sign() * dice.uniform(58, 100)), (4, 1))


def _beside(action: str, yaw: float, number: int) -> tuple[float, float, float]:
    """Where the `number`-th of a group stands, metres from the first, and which way they face."""
    if number == 0:
        return 0.0, 0.0, yaw
    ahead = (sine(yaw), -cosine(yaw))
    right = (cosine(yaw), sine(yaw))
    if action == "talk" or MOTIONS[action].meets:
        apart = 1.1 if action == "talk" else 0.98
        if number == 1:
            return ahead[0] * apart, ahead[1] * apart, yaw + 180
        side = 1 if right[1] > 0 else -1  # the far side, so that nobody is hidden
        return (ahead[0] * 0.55 + right[0] * side * 0.9, ahead[1] * 0.55 + right[1] * side * 0.9, yaw - 90.0 * side)
    if MOTIONS[action].speed[1] > 0:
        back = {"walk": 0.95, "run": 1.25, "cycle": 1.9}[action] * number
        sideways = 0.75 * number if abs(ahead[1]) > 0.7 else 0.2 * number
        back = back if abs(ahead[1]) <= 0.7 else 0.25 * back
        return (-ahead[0] * back + right[0] * sideways, -ahead[1] * back + right[1] * sideways, yaw)
    apart = (1.5 if action == "sit_down" else 1.05) * (1 if number == 1 else -1)
    if abs(right[0]) > 0.5:
        return right[0] * apart, right[1] * apart, yaw
    return apart, 0.0, yaw


def _box(stage: Stage, performer: _Performer, time: float, riding: bool) -> Box | None:
    """The box that somebody takes on screen; None where they may not be or are not seen whole."""
    street, camera = stage.street, stage.camera
    x, z, yaw = performer.place(time)
    if z < 1.6:
        return None
    if street.kind == "along":
        low, high = street.road if riding else street.edges
        if not low + 0.4 < x < high - 0.4 or z > street.far - 6:
            return None
    else:
        low, high = street.road if riding and not street.park else (0.0, street.edges[1] - 0.2)
        if not low + 0.5 < z < high - 0.5:
            return None
    if any(abs(x - sx) < half_x + 0.15 and abs(z - sz) < half_z + 0.15 for sx, sz, half_x, half_z in stage.solids):
        return None
    size = camera.focal * performer.who.height / z
    fx, fy = camera.ground(x, z)
    half = size * (0.32 * abs(sine(yaw)) + 0.1 if riding else 0.24)
    top = fy - size * (1.22 if performer.manner.pace == 0 else 1.04)
    if size < 34 or fx - half < 2 or fx + half > camera.width - 2 or top < 2 or fy > 189:
        return None
    return fx - half * 0.7, fy - size, fx + half * 0.7, fy


_Shot = tuple[list[Actor], list[Stencil]]


def _shoot(
    canvas: Canvas, stage: Stage, action: str, performers: list[_Performer], times: list[float], options: Options
) -> list[tuple[_Shot, list[dict[str, object]]]] | None:
    """Lay out all frames with their annotations; None where somebody is hidden in one of them.

    A car that is hidden in any frame is taken out of all.
    """
    still = [(actor, canvas.stencil(actor.sprite)) for actor in stage.actors]
    moving = [[_actor(stage, action, performer, time) for performer in performers] for time in times]
    drawn = [[(actor, canvas.stencil(actor.sprite)) for actor in frame] for frame in moving]
    while True:
        shots = []
        for frame in drawn:
            pairs = sorted([*still, *frame], key=lambda pair: -pair[0].sprite.depth)
            actors, stencils = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            objects, hidden = annotate(canvas, actors, stencils, options)
            if any(actors[position].category != CAR for position in hidden):
                return None
            if hidden:
                gone = actors[hidden[0]]
                still = [pair for pair in still if pair[0] is not gone]
                break
            shots.append(((actors, stencils), objects))
        else:
            return shots


def _actor(stage: Stage, action: str, performer: _Performer, time: float) -> Actor:
    x, z, yaw = performer.place(time)
    pose = MOTIONS[action].pose(performer.manner, time)
    tone = stage.light.tone(z, shaded(stage.street, stage.light, x, z))
    made = figure(performer.who, pose, stage.camera, x, z, yaw, tone, stage.scale, performer.bicycle)
    made.sprite.x = x
    return Actor(made.sprite, PERSON if performer.bicycle is None else RIDER, made)


def _paint(
    canvas: Canvas,
    stage: Stage,
    shots: list[tuple[_Shot, list[dict[str, object]]]],
    options: Options,
    key: tuple[object, ...],
) -> Iterator[Scene]:
    plans = [Plan(stage.camera, stage.street, stage.light, actors) for (actors, _), _ in shots]
    backdrop(canvas, plans[0], Dice(*key, "background"))
    behind = canvas.pixels.copy()  # the camera stands still
    for number, (plan, ((_, stencils), objects)) in enumerate(zip(plans, shots, strict=True)):
        np.copyto(canvas.pixels, behind)
        paint(canvas, plan, stencils)
        noise = generator(*key, "noise", number)
        yield Scene(photograph(canvas, options, Dice(*key, "camera"), noise), objects)
