"""Which detected face is whose: one-to-one, greedy, independent of the order of faces and people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from anonbench.annotate.geometry import mask_bounds, pixel_box
from anonbench.records import Box
from anonbench.regions import decode, runs_of
from anonbench.windows import PixelBox

_HEAD = 5
"""Nose, eyes and ears are the first of COCO's keypoints."""
_REACH = 0.25
"""A labelled head within this share of the face's sides outside it says neither that the face is theirs nor not."""


def match(
    faces: np.ndarray,
    masks: Sequence[dict[str, Any] | None] | None,
    boxes: Sequence[Box | None] | None,
    size: tuple[int, int],
    *,
    heads: Sequence[np.ndarray | None] | None = None,
    min_iou: float = 0.01,
    min_fit: float = 0.25,
    prefer: Literal["head", "iou"] = "iou",
) -> dict[int, int]:
    """Return the face of each person that has one, as index of the person to index of the face.

    ``faces`` is (n, 5): x, y, width, height in pixels and score. ``masks`` are the people's compressed COCO RLEs,
    ``boxes`` their boxes (x, y, width, height), which stand in where a mask is None; a person without both has no face.
    ``size`` is the image's height and width. ``heads`` are the people's keypoints in COCO's order ((17, 3): x, y,
    visibility; None without any).

    Pairs are taken best first, and every face and every person once.

    ``prefer="iou"`` is the published study's choice (get_matches in hukkelas/deep_privacy2,
    tools/anonymization/coco/annotate_faces.py): pairs with IoU(face box, person mask) > ``min_iou``, by IoU, then by
    the face's score, then by how few faces the person has to choose from. It favours people who are small beside
    their face, and loses faces below a hundredth of their person.

    ``prefer="head"``: first pairs in which the face holds labelled points of the person's head, by their number, then
    pairs with people whose head is not labelled or at the face's border; within both by how much of the face lies in
    the person's mask, less the lower it lies in the person (down to the half at the feet), then by score. Of the second
    kind only pairs whose fit is above ``min_fit`` count; someone whose head is labelled elsewhere does not own the
    face. ``min_iou`` is not used.

    With a lower threshold nobody loses a face (but by a tie that the number of faces decides).
    """
    faces = np.asarray(faces, np.float64).reshape(-1, 5)
    people = max(len(masks or ()), len(boxes or ()))
    pairs: list[tuple[tuple[Any, ...], int, int]] = []
    if prefer == "iou":
        frames = [_cut_off(face, size) for face in faces]
    else:
        frames = [pixel_box((face[0], face[1], face[2], face[3]), size[1], size[0]) for face in faces]
    for index in range(people):
        person = _Person(masks[index] if masks else None, boxes[index] if boxes else None, size)
        head = heads[index] if heads is not None else None
        if prefer == "iou":
            found = _by_iou(person, frames, faces, min_iou)
        else:
            found = _by_head(person, head, frames, faces, min_fit)
        pairs += [((*key, *person.key), index, face) for face, key in found]
    return _greedy(pairs)


def unmatched(faces: np.ndarray, matches: dict[int, int]) -> list[int]:
    """Return the indices of the faces (n, 5) that are nobody's, in order."""
    taken = set(matches.values())
    return [index for index in range(len(faces)) if index not in taken]


def union_box(face: Box, head: Box) -> Box:
    """Return the smallest box that holds both (x, y, width, height)."""
    x, y = min(face[0], head[0]), min(face[1], head[1])
    return x, y, max(face[0] + face[2], head[0] + head[2]) - x, max(face[1] + face[3], head[1] + head[3]) - y


class _Person:
    """A person's pixels: the mask's, or those of the box."""

    def __init__(self, mask: dict[str, Any] | None, box: Box | None, size: tuple[int, int]) -> None:
        self.height, self.runs, self.bounds = size[0], None, None
        self.area = 0
        if mask is not None:
            self.runs = runs_of(mask["counts"])
            self.area = int(self.runs[1::2].sum())
            self.bounds = mask_bounds(mask)
        elif box is not None:
            self.bounds = pixel_box(box, size[1], size[0])
            self.area = _area(self.bounds)
        self.key = (self.bounds or (), self.area)

    def inside(self, frame: PixelBox | None) -> int:
        """Return how many of the person's pixels lie in a pixel box."""
        if frame is None or self.bounds is None:
            return 0
        x0, y0 = max(frame[0], self.bounds[0]), max(frame[1], self.bounds[1])
        x1, y1 = min(frame[2], self.bounds[2]), min(frame[3], self.bounds[3])
        if x0 >= x1 or y0 >= y1:
            return 0
        return int(np.count_nonzero(decode(self.runs, self.height, (x0, y0, x1, y1))))


_Found = list[tuple[int, tuple[Any, ...]]]
"""Faces that a person may have, by index, each with what it is ordered by (least first)."""


def _by_iou(person: _Person, frames: Sequence[PixelBox | None], faces: np.ndarray, min_iou: float) -> _Found:
    ious = []
    for frame in frames:
        inside = person.inside(frame)
        ious.append(inside / (person.area + _area(frame) - inside) if inside else 0.0)
    able = [index for index, iou in enumerate(ious) if iou > min_iou]
    return [(index, (-ious[index], -faces[index, 4], len(able), *faces[index, :4])) for index in able]


def _by_head(
    person: _Person, head: np.ndarray | None, frames: Sequence[PixelBox | None], faces: np.ndarray, min_fit: float
) -> _Found:
    if person.bounds is None:
        return []
    points = np.zeros((0, 3)) if head is None else np.asarray(head, np.float64).reshape(-1, 3)[:_HEAD]
    points = points[points[:, 2] > 0]
    top, tall = person.bounds[1], person.bounds[3] - person.bounds[1]
    found: _Found = []
    for index, (frame, face) in enumerate(zip(frames, faces, strict=True)):
        held = _holds(face, points)
        if frame is None or (len(points) and not held and not _holds(face, points, _REACH)):
            continue
        depth = min(max((face[1] + face[3] / 2 - top) / tall, 0.0), 1.0)
        fit = person.inside(frame) / _area(frame) * (1 - depth / 2)
        if held or fit > min_fit:
            found.append((index, (-held, -fit, -face[4], *face[:4])))
    return found


def _holds(face: np.ndarray, points: np.ndarray, margin: float = 0.0) -> int:
    """Return how many points (n, 3) lie in a face's box, grown by ``margin`` of its sides on every side."""
    x, y, w, h = face[0] - margin * face[2], face[1] - margin * face[3], face[2], face[3]
    w, h = w * (1 + 2 * margin), h * (1 + 2 * margin)
    inside = (points[:, 0] >= x) & (points[:, 0] <= x + w) & (points[:, 1] >= y) & (points[:, 1] <= y + h)
    return int(inside.sum())


def _greedy(pairs: list[tuple[tuple[Any, ...], int, int]]) -> dict[int, int]:
    taken: set[int] = set()
    matches: dict[int, int] = {}
    for _, person, face in sorted(pairs):
        if person not in matches and face not in taken:
            matches[person] = face
            taken.add(face)
    return dict(sorted(matches.items()))


def _area(frame: PixelBox | None) -> int:
    return 0 if frame is None else (frame[2] - frame[0]) * (frame[3] - frame[1])


def _cut_off(face: np.ndarray, size: tuple[int, int]) -> PixelBox | None:
    """Return a face's pixels as the published study has them: its corners without their fractions.

    A thousandth makes up for what float32 loses of a corner that is a whole number.
    """
    x, y, w, h = face[:4]
    x0, y0, x1, y1 = (math.floor(value + 1e-3) for value in (x, y, x + w, y + h))
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, size[1]), min(y1, size[0])
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None
