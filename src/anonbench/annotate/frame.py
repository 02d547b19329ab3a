"""Which frame labels were drawn in: where sizes cannot tell, what a detector finds is compared with the labels.

The detector looks at the upright and at the stored image, as it finds few faces upside down; all that it finds is then
held against the labels, once as if they were drawn on the upright image and once as if on the stored one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from anonbench import images, regions
from anonbench.annotate.options import LabelsOn
from anonbench.detectors.base import Detector, make, nms
from anonbench.detectors.config import DetectorConfig
from anonbench.detectors.engine import detect
from anonbench.errors import AnonbenchError
from anonbench.seeding import seed_of

MATCH = 0.5
"""IoU from which on a detected person is a labelled one."""
DOUBT = 0.05
"""Chance at which coins would agree as often as the images do, above which nothing is said."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One image: how many of its labelled ``people`` hold a detection with the labels read in either frame.

    ``taken`` is the frame that the annotations have.
    """

    file_name: str
    orientation: int
    people: int
    upright: int
    stored: int
    taken: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the images say together; ``frame`` is None where they are too few, or do not agree."""

    votes: Sequence[Vote]

    @property
    def sides(self) -> dict[LabelsOn, list[Vote]]:
        """The images in which one reading explains more people than the other, by reading."""
        return {
            LabelsOn.UPRIGHT: [vote for vote in self.votes if vote.upright > vote.stored],
            LabelsOn.STORED: [vote for vote in self.votes if vote.stored > vote.upright],
        }

    @property
    def frame(self) -> LabelsOn | None:
        """The reading that the images agree on, by a two-sided sign test."""
        few, many = sorted(self.sides.items(), key=lambda side: len(side[1]))
        total = len(few[1]) + len(many[1])
        chance = 2 * sum(math.comb(total, number) for number in range(len(few[1]) + 1)) / 2**total
        return many[0] if chance < DOUBT else None

    @property
    def agrees(self) -> bool:
        """Whether nothing speaks against the annotations."""
        return self.frame is None or all(vote.taken == self.frame for vote in self.votes)


def check(annotations: Path, split: str, root: Path, config: DetectorConfig, sample: int, seed: int = 0) -> Answer:
    """Let a detector look at up to ``sample`` images with people in which both frames fit the annotated size.

    ``annotations`` holds the tables of `annotate`, ``root`` the images. Raises AnonbenchError for a detector that does
    not look at pixels, and for images that cannot be decoded.
    """
    detector = make(config.plugin, config.options)
    if not isinstance(detector, Detector):
        raise AnonbenchError(
            f"'{config.plugin}' holds boxes of one frame and cannot look at another",
            entry="--detector",
            remedy="choose a detector that looks at images, such as centerface",
        )
    rows = regions.read(annotations / f"{split}.images.parquet", regions.IMAGES).to_pylist()
    people: dict[int, list[dict[str, Any]]] = {}
    columns = ["image_id", "crowd", "ignore", "box", "face"]
    for person in regions.read(annotations / f"{split}.people.parquet", regions.PEOPLE).select(columns).to_pylist():
        if person["box"] is not None and not person["crowd"] and not person["ignore"]:
            people.setdefault(person["image_id"], []).append(person)
    rows = [row for row in rows if row["image_id"] in people]
    rows.sort(key=lambda row: seed_of(seed, "frame", row["image_id"]))
    votes: list[Vote] = []
    for row in tqdm(rows, f"frames of {split}", unit="image", disable=None):
        if len(votes) == sample:
            break
        vote = _vote(root / row["path"], row, people[row["image_id"]], detector, config)
        if vote is not None:
            votes.append(vote)
    return Answer(votes)


def _vote(
    path: Path, row: dict[str, Any], people: list[dict[str, Any]], detector: Detector, config: DetectorConfig
) -> Vote | None:
    """Return what an image says, None where the sizes tell."""
    data = images.read_bytes(path)
    header = images.header(data, file=path)
    if not images.orientation_is_ambiguous(header, (row["width"], row["height"])):
        return None
    found = []
    for frame in (LabelsOn.UPRIGHT, LabelsOn.STORED):
        pixels = images.decode(data, file=path, **{**regions.frame_of(row), "labels_on": frame.value}).pixels
        boxes = detect(detector, pixels, config)
        found.append(_stored(boxes, header) if frame is LabelsOn.UPRIGHT else boxes)
    stored = nms(np.concatenate(found), config.nms)
    upright = _upright(stored, header)
    faces = detector.finds == "face"
    read_upright, as_stored = (sum(_holds(person, boxes, faces) for person in people) for boxes in (upright, stored))
    return Vote(row["file_name"], header.orientation, len(people), read_upright, as_stored, row["labels_on"])


def _holds(person: dict[str, Any], boxes: np.ndarray, faces: bool) -> bool:
    """Tell whether a detection is of a labelled person: a face in the face box or in the person's, or the same box."""
    x, y, w, h = (person["face"] or person["box"]) if faces else person["box"]
    if faces:
        centres = boxes[:, :2] + boxes[:, 2:4] / 2
        inside = (centres >= (x, y)).all(axis=1) & (centres <= (x + w, y + h)).all(axis=1)
        return bool((inside & (boxes[:, 2] <= w * 1.5)).any())
    wide = np.minimum(boxes[:, 0] + boxes[:, 2], x + w) - np.maximum(boxes[:, 0], x)
    high = np.minimum(boxes[:, 1] + boxes[:, 3], y + h) - np.maximum(boxes[:, 1], y)
    common = np.clip(wide, 0, None) * np.clip(high, 0, None)
    return bool((common >= MATCH * (boxes[:, 2] * boxes[:, 3] + w * h - common)).any())


def _upright(boxes: np.ndarray, header: images.Header) -> np.ndarray:
    """Return boxes (n, 5) of the stored frame in the upright one: as `images.decode` turns the pixels."""
    width, height = header.size
    if header.orientation >= 5:
        boxes, width, height = boxes[:, [1, 0, 3, 2, 4]], height, width
    return _mirrored(boxes, header.orientation, width, height)


def _stored(boxes: np.ndarray, header: images.Header) -> np.ndarray:
    """Return boxes (n, 5) of the upright frame in the stored one."""
    width, height = header.upright
    boxes = _mirrored(boxes, header.orientation, width, height)
    return boxes[:, [1, 0, 3, 2, 4]] if header.orientation >= 5 else boxes


def _mirrored(boxes: np.ndarray, orientation: int, width: int, height: int) -> np.ndarray:
    boxes = boxes.copy()
    if orientation in (2, 3, 6, 7):
        boxes[:, 0] = width - boxes[:, 0] - boxes[:, 2]
    if orientation in (3, 4, 7, 8):
        boxes[:, 1] = height - boxes[:, 1] - boxes[:, 3]
    return boxes


def told(answer: Answer, split: str) -> list[str]:
    """Return what there is to say, a line each."""
    votes, sides = answer.votes, answer.sides
    if not votes:
        return [f"{split}: no image with people has an EXIF orientation that the annotated size does not settle"]
    everyone = sum(vote.people for vote in votes)
    lines = [f"{split}: {len(votes)} images with {everyone} people whose sizes do not tell the frame of their labels"]
    for frame, sided in sides.items():
        explained = sum(getattr(vote, frame.value) for vote in votes)
        example = f", such as {sided[0].file_name} (orientation {sided[0].orientation})" if sided else ""
        lines.append(
            f"  labels read {'upright' if frame is LabelsOn.UPRIGHT else 'as stored'}: {explained} of {everyone} "
            f"people hold what was detected; {len(sided)} images speak for it{example}"
        )
    if answer.frame is None:
        lines.append("  cannot tell: look at the examples, or take a larger sample or another detector")
    elif answer.agrees:
        lines.append(f"  {answer.frame}, as the annotations have it")
    else:
        lines.append(f"  {answer.frame}: set labels_on of the data set to '{answer.frame}', and run annotate again")
    return lines
