"""One picture with its ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .dice import Dice, generator
from .options import Options
from .painting import backdrop, paint, photograph
from .scene import CAR, compose, lead_of
from .sprite import Bytes, Canvas
from .truth import annotate


@dataclass(frozen=True)
class Scene:
    """`image`: uint8 (height, width, 3) RGB. `objects`: COCO annotations without id and image_id."""

    image: Bytes
    objects: list[dict[str, Any]]


def render_scene(options: Options, split: str, index: int) -> Scene:
    """Image `index` (from 1) of a split with its ground truth; depends on nothing but the arguments.

    Everybody in the picture is annotated: who is hidden too much is taken out before painting.
    """
    canvas = Canvas(options.width, options.height)
    lead = lead_of(options, split, index)
    for attempt in range(50):
        plan = compose(options, split, index, attempt)
        stencils = [canvas.stencil(actor.sprite) for actor in plan.actors]
        while True:
            objects, hidden = annotate(canvas, plan.actors, stencils, options)
            if not hidden:
                break
            # Whoever is hidden most may be hidden by somebody who goes too: take out one at a time, the last first.
            gone = hidden[0]
            del plan.actors[gone], stencils[gone]
        shown = [record["identity"] for record in objects if record["category_id"] != CAR]
        if len(shown) >= options.people[0] and (lead is None or lead in shown):
            break
    else:
        raise RuntimeError(
            f"streetlife {split}/{index}: no room for {options.people[0]} people; ask for fewer or for a wider image"
        )
    key = ("streetlife", options.seed, split, index)
    backdrop(canvas, plan, Dice(*key, "background"))
    paint(canvas, plan, stencils)
    image = photograph(canvas, options, Dice(*key, "camera"), generator(*key, "noise"))
    return Scene(image, objects)
