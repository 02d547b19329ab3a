"""Boxes that another detector found, from a JSON file: how the published study's DSFD takes part.

The form is that of ``detect_faces.py`` in hukkelas/deep_privacy2 (tools/anonymization/coco): an object with one entry
per image, ``{"<image id>": [[x0, y0, x1, y1, score], ...]}`` in pixels of the frame that the labels refer to.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from anonbench.detectors.base import DetectorOptions, Finds, StoredDetections, check_file, tidy
from anonbench.errors import AnonbenchError


class Options(DetectorOptions):
    """Settings of stored boxes."""

    path: Path = Field(description="JSON: image id or file name to a list of [x0, y0, x1, y1, score].")
    sha256: str | None = Field(None, description="Expected sha256 of the file; not checked when left out.")
    threshold: float = Field(
        0.3, ge=0, le=1, description="Boxes below this score are dropped (published: 0.3, for Cityscapes 0.2)."
    )
    detector: str = Field("unknown", description="Name and version of what found them, for the record.")
    missing: Literal["refuse", "empty"] = Field(
        "refuse",
        description="An image with people that the file has no entry for: an error, or an image without detections.",
    )
    strangers: Literal["refuse", "ignore"] = Field(
        "refuse", description="An entry of an image that the split does not have: an error, or nothing."
    )


class Boxes(StoredDetections):
    """Faces from a JSON file."""

    Options: ClassVar[type[DetectorOptions]] = Options
    finds: ClassVar[Finds] = "face"
    files: ClassVar[tuple[str, ...]] = ("path",)

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self._sha256 = check_file(self.options.path, self.options.sha256, "options.path")
        self._boxes = _read(self.options.path)

    @property
    def version(self) -> str:
        return f"boxes of {self.options.detector}"

    @property
    def weights(self) -> list[tuple[str, str]]:
        return [(self.options.path.name, self._sha256)]

    @property
    def entries(self) -> int:
        return len(self._boxes)

    def boxes_of(self, image_id: int, file_name: str) -> np.ndarray | None:
        by_name, by_id = self._boxes.get(file_name), self._boxes.get(str(image_id))
        if by_name is not None and by_id is not None:
            raise AnonbenchError(
                f"has an entry for image {image_id} and one for its file name {file_name}",
                file=self.options.path,
                remedy="name every image once",
            )
        boxes = by_name if by_name is not None else by_id
        return None if boxes is None else tidy(boxes, self.options.threshold)


class PersonBoxes(Boxes):
    """People from a JSON file."""

    finds: ClassVar[Finds] = "person"


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the boxes by entry, float32 (n, 5): x, y, width, height, score; those without a size stay out."""
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_Once(path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AnonbenchError(f"is not valid JSON ({error})", file=path, remedy="write it again") from None
    if not isinstance(content, dict):
        raise AnonbenchError("is not an object of images", file=path, remedy='write {"<image id>": [boxes]}')
    return {name: _boxes(entry, name, path) for name, entry in content.items()}


def _boxes(entry: Any, name: str, path: Path) -> np.ndarray:
    rows = []
    if not isinstance(entry, list):
        raise AnonbenchError(
            "is not a list of boxes",
            file=path,
            entry=name,
            remedy="give the file of detections, not the file of faces that were matched to people",
        )
    for box in entry:
        if not isinstance(box, list) or len(box) != 5 or not all(_number(value) for value in box):
            raise AnonbenchError(
                f"{json.dumps(box)[:80]} is not [x0, y0, x1, y1, score]",
                file=path,
                entry=name,
                remedy="correct the box",
            )
        x0, y0, x1, y1, score = box
        if not 0 <= score <= 1:
            raise AnonbenchError(
                f"the score {score} is not within 0..1", file=path, entry=name, remedy="correct the box"
            )
        if x1 < x0 or y1 < y0:
            raise AnonbenchError(
                f"the box {json.dumps(box)} has its corners swapped",
                file=path,
                entry=name,
                remedy="write corners (x0, y0, x1, y1), not width and height",
            )
        rows.append((x0, y0, x1 - x0, y1 - y0, score))
    return np.array(rows, np.float32).reshape(-1, 5)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


class _Once:
    """Refuses an object with one name twice, of which JSON would silently keep the last."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise AnonbenchError("is a duplicate entry", file=self.path, entry=name, remedy="name every image once")
            found[name] = value
        return found
