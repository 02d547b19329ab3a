"""Faces or people, whatever their category: what a detector that needs no training is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from anonbench.tasks.base import Outcome, Problem
from anonbench.tasks.coco import CocoTask, box_problem, boxes_sound, tied
from anonbench.tasks.truth import Truth


class Found(CocoTask):
    """Box AP of one thing, over all categories of people. An entry has an image, a box and a score."""

    iou_type = "bbox"
    all_people = True
    thing: ClassVar[str]

    def encode(self, output: Any, people: frozenset[int]) -> dict[str, Any]:
        """Return an image's id and a detection (float (5,): x, y, width, height, score) as JSON."""
        image, row = output
        box = [round(float(v), 2) for v in row[:4]]
        return {"image_id": image, "bbox": box, "score": round(float(row[4]), 5)}

    def problem(self, entry: dict[str, Any], truth: Truth) -> Problem | None:
        """Return what is wrong with an entry's score or box."""
        return box_problem(entry)

    def sound(self, entries: Sequence[dict[str, Any]], truth: Truth) -> bool:
        """Tell whether no entry has a problem with its score or box."""
        return boxes_sound(entries)

    def unranked(self, entries: Sequence[dict[str, Any]], trained: bool) -> Problem | None:
        """Return that too many entries share their score: what needs no training cannot have collapsed in it."""
        return tied(entries)

    def measure(self, truth: Truth, entries: Sequence[dict[str, Any]]) -> Outcome:
        """Score all entries as one category."""
        alone = self.of(truth)
        if not any(not a["iscrowd"] for a in alone.annotations):
            return Outcome({}, {}, truth.groups()[0], skipped={"": f"the annotations have no {self.thing}"})
        return super().measure(alone, [{**entry, "category_id": 1} for entry in entries])

    def subset(self, truth: Truth, entries: Sequence[dict[str, Any]], name: str, parts: Sequence[str]) -> Outcome:
        """Score all entries on a subset as one category."""
        return super().subset(self.of(truth), [{**entry, "category_id": 1} for entry in entries], name, parts)

    def of(self, truth: Truth) -> Truth:
        """Return a truth with one category, of the thing; what is to be ignored of people is a crowd."""
        category = {"id": 1, "name": self.thing, "supercategory": "person", "people": True}
        boxes = [
            {**{key: a[key] for key in ("id", "image_id", "subsets") if key in a}, "category_id": 1, **self.box(a)}
            for a in truth.annotations
            if a["category_id"] in truth.people and self.box(a)
        ]
        return replace(truth, categories={1: category}, annotations=boxes)

    def box(self, person: dict[str, Any]) -> dict[str, Any]:
        """Return box and crowd of a person's annotation; {} where the thing is not annotated."""
        raise NotImplementedError


class Faces(Found):
    """Box AP of faces, where the data set annotates them.

    The face of a person without such a box counts as a false one when it is found, unless the person is a crowd or to
    be ignored: what lies there is neither right nor wrong.
    """

    title = "face AP"
    entries = "faces"
    thing = "face"

    def box(self, person: dict[str, Any]) -> dict[str, Any]:
        """Return the face's box, or a crowd's own."""
        if person.get("iscrowd") or person.get("ignore"):
            return {"bbox": person["bbox"], "iscrowd": 1}
        face = (person.get("face") or {}).get("bbox")
        return {"bbox": face, "iscrowd": 0} if face else {}


class People(Found):
    """Box AP of people, whatever kinds of people the data set tells apart."""

    title = "people AP"
    entries = "people"
    thing = "person"

    def box(self, person: dict[str, Any]) -> dict[str, Any]:
        """Return the person's box."""
        return {"bbox": person["bbox"], "iscrowd": int(bool(person.get("iscrowd") or person.get("ignore")))}
