"""Looks for faces and people in pixels, on several threads, and says who is there."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anonbench import regions
from anonbench.annotate.options import FaceRegions
from anonbench.detectors.base import Detector, StoredDetections, make
from anonbench.detectors.config import DetectorConfig
from anonbench.detectors.engine import detect, inside
from anonbench.errors import AnonbenchError
from anonbench.records import Box

PERSON = "person"
"""Category of everybody who is found."""
NOBODY = np.zeros((0, 5), np.float32)
"""No detections."""
ENOUGH = 0.25
"""Share of the body that a face tells which the box of a person must hold; somebody who sits has about as much."""
MARGIN = FaceRegions().margin
"""By which a face is grown, as a share of its longer side, unless somebody says another."""
TOUCH = 1e-3
"""Pixels by which float32 may put an edge beyond another that it lies on."""
TOLD_BY_FACE = "body told by the face"
"""Note of a person of whom only the face was found."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What detectors find in one image: float32 (n, 5) each, x, y, width, height, score, cut to the image."""

    faces: np.ndarray = field(default_factory=NOBODY.copy)
    persons: np.ndarray = field(default_factory=NOBODY.copy)

    def to_json(self) -> dict[str, Any]:
        """Return it for a journal; float32 survives."""
        return {"faces": self.faces.tolist(), "persons": self.persons.tolist()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Seen:
        """Return what `to_json` returned."""
        return cls(*(np.array(value[name], np.float32).reshape(-1, 5) for name in ("faces", "persons")))


class Search:
    """The detectors of a run; every thread has its own, since networks are not shared.

    Raises AnonbenchError for a detector that cannot be made, or that finds something else.
    """

    def __init__(self, face: DetectorConfig | None, person: DetectorConfig | None) -> None:
        self.configs = {name: config for name, config in (("face", face), ("person", person)) if config is not None}
        for name, config in self.configs.items():
            if config.finds != name:
                raise AnonbenchError(
                    f"'{config.plugin}' finds {config.finds}s", entry=f"--{name}-detector", remedy="choose another"
                )
        self._own = threading.local()
        self._own.detectors = {name: make(c.plugin, c.options) for name, c in self.configs.items()}
        self._stored = {n: d for n, d in self._own.detectors.items() if isinstance(d, StoredDetections)}
        self.told = {
            name: {"version": detector.version, "weights": [list(one) for one in detector.weights]}
            | self.configs[name].model_dump(mode="json")
            for name, detector in self._own.detectors.items()
        }

    @property
    def looks_up(self) -> bool:
        """Whether a detector knows images by their names alone."""
        return bool(self._stored)

    def __call__(self, pixels: np.ndarray, image_id: int = 0, name: str = "") -> Seen:
        """Return what is found in an image (uint8 HxWx3 RGB); id and name are for detections that are stored."""
        if not hasattr(self._own, "detectors"):
            self._own.detectors = self._stored | {
                name: make(config.plugin, config.options)
                for name, config in self.configs.items()
                if name not in self._stored
            }
        height, width = pixels.shape[:2]
        found = dict.fromkeys(("face", "person"), NOBODY)
        for finds, detector in self._own.detectors.items():
            if isinstance(detector, Detector):
                boxes = detect(detector, pixels, self.configs[finds])
            else:
                boxes = self._entry(detector, finds, image_id, name)
            found[finds] = inside(boxes, width, height)
        return Seen(found["face"], found["person"])

    def _entry(self, detector: StoredDetections, finds: str, image_id: int, name: str) -> np.ndarray:
        boxes = detector.boxes_of(image_id, name)
        if boxes is None and self.configs[finds].options.get("missing") != "empty":
            raise AnonbenchError(
                f"has no entry for {name}",
                file=self.configs[finds].files[0],
                remedy="run the detector on that image, or set options.missing to 'empty'",
            )
        return NOBODY if boxes is None else boxes


def people(
    image_id: int, seen: Seen, size: tuple[int, int], bodies: bool, first: int, margin: float = MARGIN
) -> list[dict[str, Any]]:
    """Return the people of an image (``size``: width, height) as rows of the table of people, numbered from ``first``.

    They are the detected persons. Where ``bodies`` are changed, somebody of whom only the face was found is one, too.
    ``margin`` is how much of its longer side a face is grown by before it counts as held by a person's box.
    ``detection``, which is no column, says of which face or person each is.
    """
    boxes = [(_box(found), "", ("person", place)) for place, found in enumerate(seen.persons)]
    if bodies:
        for place, face in enumerate(seen.faces):
            more = margin * max(face[2], face[3])
            grown = (face[0] - more, face[1] - more, face[2] + 2 * more, face[3] + 2 * more)
            whole, told = (
                inside(np.array([[*box, face[4]]], np.float32), *size) for box in (grown, body_of(_box(face)))
            )
            if not any(_is_of(whole[0], told[0], found) for found in seen.persons):
                boxes.append((_box(told[0]), TOLD_BY_FACE, ("face", place)))
    empty = dict.fromkeys(regions.PEOPLE.names)
    return [
        {
            **empty,
            "image_id": image_id,
            "person_id": first + number,
            "category": PERSON,
            "crowd": False,
            "ignore": False,
            "box": list(box),
            "area": box[2] * box[3],
            "note": note,
            "detection": of,
        }
        for number, (box, note, of) in enumerate(boxes)
    ]


def body_of(face: Box) -> Box:
    """Return a box that holds the body of a face: four faces wide and ten high, a guess that covers rather too much.

    One of the ten is above the face. An adult stands seven and a half heads tall and about three wide with the arms
    down; a face's box is a little less than a head.
    """
    x, y, w, h = face
    side = max(w, h)
    return x + w / 2 - 2 * side, y - side, 4 * side, 10 * side


def _is_of(face: np.ndarray, told: np.ndarray, person: np.ndarray) -> bool:
    """Tell whether a grown face is that of a detected person, whose box will do for the body that the face tells.

    The box holds the whole of it, in its upper half the centre, and some of the told body: a detector may take a head
    for a person, and two who stand side by side for one.
    """
    held = (face[:2] >= person[:2] - TOUCH) & (face[:2] + face[2:4] <= person[:2] + person[2:4] + TOUCH)
    if not held.all() or face[1] + face[3] / 2 >= person[1] + person[3] / 2:
        return False
    corner, end = np.maximum(told[:2], person[:2]), np.minimum(told[:2] + told[2:4], person[:2] + person[2:4])
    return float(np.prod(np.maximum(end - corner, 0))) >= ENOUGH * float(told[2] * told[3])


def _box(found: np.ndarray) -> Box:
    x, y, w, h = (float(value) for value in found[:4])
    return x, y, w, h
