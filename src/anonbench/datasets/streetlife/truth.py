"""Ground truth: who is seen where, as COCO annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from . import attributes
from .figure import Mark
from .options import Options
from .scene import Actor
from .sprite import FACE, SUPERSAMPLING, THING, Bytes, Canvas, Stencil

MIN_PIXELS = 12
MIN_SHARE = 0.2  # of an object that must be visible for it to stay in the scene
MIN_FACE_SHARE = 0.25


@dataclass
class _View:
    """Who is seen at each canvas pixel: `owner` = position in the list of actors + 1, `parts` see sprite.py."""

    owner: npt.NDArray[np.int16]
    parts: Bytes


def _look(canvas: Canvas, actors: list[Actor], stencils: list[Stencil]) -> _View:
    owner = np.zeros((canvas.height, canvas.width), np.int16)
    parts = np.zeros((canvas.height, canvas.width), np.uint8)
    for number, (actor, stencil) in enumerate(zip(actors, stencils, strict=True), 1):
        window = canvas.window(stencil)
        if window is None:
            continue
        on_canvas, on_patch = window
        patch = stencil.parts[on_patch]
        drawn = patch > 0
        np.copyto(parts[on_canvas], patch, where=drawn)
        if actor.figure is None:
            np.copyto(owner[on_canvas], np.int16(number), where=drawn)
        else:
            # A rider's bicycle hides what is behind it but is not the person.
            np.copyto(owner[on_canvas], np.where(patch == THING, np.int16(0), np.int16(number)), where=drawn)
    return _View(owner, parts)


def _shrink(mask: Bytes) -> Bytes:
    """Canvas-sized 0/255 to image-sized 0/1: 1 where at least half of a pixel is covered."""
    half = cv2.resize(mask, None, fx=1 / SUPERSAMPLING, fy=1 / SUPERSAMPLING, interpolation=cv2.INTER_AREA)
    return (half >= 128).astype(np.uint8)


def _whole(stencil: Stencil, actor: Actor) -> int:
    """Canvas pixels of an object if nothing hid it."""
    if actor.figure is None:
        return int(np.count_nonzero(stencil.parts))
    return int(np.count_nonzero((stencil.parts > 0) & (stencil.parts != THING)))


def _keypoints(marks: list[Mark], view: _View, number: int, canvas: Canvas, options: Options) -> list[float]:
    flat: list[float] = []
    for mark in marks:
        x, y = mark.x * canvas.scale, mark.y * canvas.scale
        if not mark.known or not (0 <= x < canvas.width and 0 <= y < canvas.height):
            flat += [0, 0, 0]
            continue
        row, column = int(y), int(x)
        near = slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2)
        own = view.owner[near] == number
        seen = not set(mark.parts).isdisjoint(view.parts[near][own].tolist())
        px = min(round(x / SUPERSAMPLING, 2), options.width - 0.01)
        py = min(round(y / SUPERSAMPLING, 2), options.height - 0.01)
        flat += [px, py, 2 if seen else 1]
    return flat


def _face(
    actor: Actor, stencil: Stencil, view: _View, number: int, canvas: Canvas, options: Options
) -> dict[str, Any] | None:
    made = actor.figure
    window = canvas.window(stencil)
    if made is None or made.face is None or window is None:
        return None
    whole = int(np.count_nonzero(stencil.parts == FACE))
    on_canvas = window[0]
    seen = int(np.count_nonzero((view.owner[on_canvas] == number) & (view.parts[on_canvas] == FACE)))
    if whole == 0 or seen < MIN_FACE_SHARE * whole or seen < 4 * SUPERSAMPLING**2:
        return None
    ratio = canvas.scale / SUPERSAMPLING
    x0, y0 = max(0.0, made.face[0] * ratio), max(0.0, made.face[1] * ratio)
    x1, y1 = min(float(options.width), made.face[2] * ratio), min(float(options.height), made.face[3] * ratio)
    if x1 - x0 < 1 or y1 - y0 < 1:
        return None
    box = [round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2)]
    return {"bbox": box, "score": 1.0, "source": "ground_truth"}


def annotate(
    canvas: Canvas, actors: list[Actor], stencils: list[Stencil], options: Options
) -> tuple[list[dict[str, Any]], list[int]]:
    """The annotations, and the positions of objects of which too little is seen."""
    view = _look(canvas, actors, stencils)
    objects: list[dict[str, Any]] = []
    hidden: list[int] = []
    for number, (actor, stencil) in enumerate(zip(actors, stencils, strict=True), 1):
        if actor.category == 0:
            continue
        window = canvas.window(stencil)
        owned = view.owner == number if window else None
        seen = int(np.count_nonzero(owned)) if owned is not None else 0
        if owned is None or seen < MIN_SHARE * _whole(stencil, actor):
            hidden.append(number - 1)
            continue
        mask = _shrink(owned.astype(np.uint8) * np.uint8(255))
        area = int(np.count_nonzero(mask))
        if area < MIN_PIXELS:
            hidden.append(number - 1)
            continue
        rle = coco_mask.encode(np.asfortranarray(mask))
        record: dict[str, Any] = {
            "area": area,
            "bbox": [float(v) for v in coco_mask.toBbox(rle)],
            "category_id": actor.category,
            "iscrowd": 0,
            "segmentation": {"size": [options.height, options.width], "counts": rle["counts"].decode("ascii")},
        }
        if actor.figure is not None:
            keypoints = _keypoints(actor.figure.marks, view, number, canvas, options)
            record["identity"] = actor.figure.who.number
            if options.attributes:
                record["attributes"] = attributes.of(actor.figure.who, options)
            record["keypoints"] = keypoints
            record["num_keypoints"] = sum(1 for v in keypoints[2::3] if v > 0)
            face = _face(actor, stencil, view, number, canvas, options)
            if face is not None:
                record["face"] = face
        objects.append(record)
    return objects, hidden
