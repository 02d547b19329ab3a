"""The records that the stages exchange; names are COCO's where COCO has one."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FITTED, FIT_RECORD = "weights.safetensors", "fit.json"
"""What `anonbench fit` leaves of a method: the weights and, last, the record, which has their sha256."""

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels, x and y of the upper left corner."""

KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
"""COCO's 17 keypoints in COCO's order."""

SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10), (9, 11),
    (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
"""COCO's limbs, one-based pairs of keypoints."""

FLIP = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
"""Where each keypoint goes when the image is mirrored."""


class RegionKind(enum.StrEnum):
    """What is changed: of each person the face or the body, or the whole frame with everybody and everything in it."""

    FACE = "face"
    BODY = "body"
    FRAME = "frame"

    @property
    def table(self) -> str:
        """Return the name of the table that says who is where: in a frame are people without a region, too."""
        return "people" if self is RegionKind.FRAME else "regions"


OF_PEOPLE = (RegionKind.FACE, RegionKind.BODY)
"""The kinds of which every person has a region or a reason why not."""


class Reason(enum.StrEnum):
    """Why a person has no region, or has one that was not changed."""

    CROWD = "crowd"
    IGNORE = "ignore"
    LEFT_BY_PAPER = "left_by_paper"
    NO_FACE_FOUND = "no_face_found"
    NO_MASK = "no_mask"
    BELOW_MIN_SIZE = "below_min_size"
    OUTSIDE_IMAGE = "outside_image"
    INVALID_GEOMETRY = "invalid_geometry"
    METHOD_FAILED = "method_failed"
    BAD_IMAGE = "bad_image"
    LEFT_UNANNOTATED = "left_unannotated"


MAX_PIXELS = 178_956_970
"""Pixels of the largest image that is decoded unless a caller says otherwise: half a gigabyte of RGB, and the number
at which Pillow, too, refuses. The largest camera sensors have 150 million."""

LOSSLESS = "lossless"
"""Encoder policy under which every image that is changed becomes a PNG."""

ANONYMIZED = "anonymized"
"""The status of a person whose region was changed; every other status is `CONTROL` or a `Reason`."""

CONTROL = "control"
"""The status of a person whose region went through a method that hides nobody, such as `identity`."""


UNANNOTATED = "unannotated"
"""Category and source of a region that is nobody's who is annotated; such people count down from -1."""


@dataclass(frozen=True, slots=True)
class Region:
    """What will be changed of one person, or a whole frame (``person_id`` 0).

    ``box`` holds the integer pixel bounds x0, y0, x1, y1 (end exclusive) inside the image; ``mask`` is bool
    (y1-y0, x1-x0), True where pixels change. ``subject`` is the person's or face's own box (x, y, w, h, may leave
    the image), or of a frame the image: the scale that a method's strength follows. ``identity`` is the same for one
    person in several images, where the data set says so.
    """

    person_id: int
    kind: RegionKind
    source: str
    box: tuple[int, int, int, int]
    mask: np.ndarray = field(repr=False)
    subject: Box
    identity: str | None = None


def is_people(category: dict[str, Any]) -> bool:
    """Tell whether a COCO category is one of people.

    Its key ``people`` (true or false) says so; without it those are whose supercategory or name is ``person``.
    """
    said = category.get("people")
    return said if isinstance(said, bool) else "person" in (category.get("supercategory"), category.get("name"))


def is_void(annotation: dict[str, Any]) -> bool:
    """Tell whether an annotation is a region to ignore that is nobody (see `anonbench.datasets.base.Split`)."""
    return all(annotation.get(key) in (1, True) for key in ("void", "ignore", "iscrowd"))
