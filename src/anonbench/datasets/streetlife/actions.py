"""The actions of clips: how each is done, and whether a silhouette tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import handling, motion
from .dice import Dice
from .motion import Manner, Pair
from .poses import Skeleton

SILHOUETTE, DETAIL = "silhouette", "detail"
"""Kinds of actions: told by outlines alone, or by what is in hands, what hands do, and where people look."""


@dataclass(frozen=True)
class Motion:
    """`pose` after a time, at a pace between the two of `speed` (metres in a second).

    Who moves goes up to `straight` metres before they turn round on half a circle of `radius` metres. `meets`: two
    people do it together.
    """

    pose: Callable[[Manner, float], Skeleton]
    speed: Pair = (0.0, 0.0)
    straight: float = 0.0
    radius: float = 1.0
    kind: str = SILHOUETTE
    meets: bool = False


MOTIONS = {
    "walk": Motion(motion.walk, (1.1, 1.5), 4.0, 0.5),
    "run": Motion(motion.run, (2.5, 3.2), 6.5, 0.9),
    "cycle": Motion(motion.cycle, (2.8, 3.8), 7.5, 1.4),
    "wave": Motion(motion.wave),
    "talk": Motion(motion.talk),
    "point": Motion(motion.point),
    "sit_down": Motion(motion.sit_down),
    "jump": Motion(motion.jump),
    "read": Motion(handling.read, kind=DETAIL),
    "carry": Motion(handling.carry, kind=DETAIL),
    "drink": Motion(handling.drink, kind=DETAIL),
    "call": Motion(handling.call, kind=DETAIL),
    "shake_hands": Motion(handling.shake_hands, kind=DETAIL, meets=True),
    "hand_over": Motion(handling.hand_over, kind=DETAIL, meets=True),
    "wait": Motion(handling.wait, kind=DETAIL),
    "look_around": Motion(handling.look_around, kind=DETAIL),
}
ACTIONS = tuple(name for name, made in MOTIONS.items() if made.kind == SILHOUETTE)
"""The actions of clips unless others are asked for, in the order of their labels."""
DETAILS = tuple(name for name, made in MOTIONS.items() if made.kind == DETAIL)
"""In pairs: the two of a pair move alike."""


def manner_of(action: str, height: float, seconds: float, dice: Dice) -> Manner:
    """Draw how somebody `height` metres tall does something."""
    return Manner(
        height=height,
        seconds=seconds,
        pace=dice.uniform(*MOTIONS[action].speed),
        start=dice.uniform(0, 360),
        size=dice.uniform(0.88, 1.12),
        lean=dice.uniform(-1, 2),
        turn=dice.uniform(-14, 14),
        aim=dice.uniform(18, 66),
        hand=dice.choice(("l", "r")),
        # the first data sets drew no more
        paint=dice.integer(0, 3) if MOTIONS[action].kind == DETAIL else 0,
    )
