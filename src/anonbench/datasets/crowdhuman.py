"""CrowdHuman: crowds of people, each with a box of the head, of what is visible and of the whole body.

Layout and fields: https://www.crowdhuman.org (Shao et al., "CrowdHuman: A Benchmark for Detecting Human in a Crowd",
arXiv 1805.00123). A file ``.odgt`` is text of one JSON object per image and line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from anonbench.blocks import Strict
from anonbench.datasets.base import DatasetAdapter, Sources, Split
from anonbench.datasets.layout import AGAIN, check_split, image_size, need_folder
from anonbench.errors import AnonbenchError

SPLITS = ("train", "val")
PAGE = "https://www.crowdhuman.org/download.html"
CATEGORY = {"id": 1, "name": "person", "supercategory": "person"}
PERSON, MASK = "person", "mask"
"""The tags of a box: somebody, and a region of people, pictures or reflections that nobody was told apart in."""
BOXES = {"full": "fbox", "visible": "vbox", "head": "hbox"}
"""What the boxes are called in the file."""

_Box = list[float]


class CrowdHumanOptions(Strict):
    """Which of a person's boxes stand for the person, and whether heads are faces."""

    box: Literal["full", "visible"] = Field(
        "full",
        description="Box that is the person: `full`, what the official metric is about, reaches behind whatever hides "
        "the person; `visible` does not.",
    )
    heads: bool = Field(
        True,
        description="Take the box of the head for the face, seen from the side or from behind, too; without it a face "
        "comes from a detector.",
    )


class CrowdHuman(DatasetAdapter):
    """People with three boxes each and no masks; both splits share one folder of images."""

    Options: ClassVar[type[Strict]] = CrowdHumanOptions
    split_options = ()

    def download(self, target: Path, splits: list[str], sources: Sources) -> None:
        """Refuse: there is no address that serves the archives to everybody who asks."""
        raise AnonbenchError(
            "CrowdHuman cannot be fetched automatically",
            remedy=f"get the archives of images and annotation_*.odgt as {PAGE} says, unpack them into one folder, and "
            "give the study that folder as root:",
        )

    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``: the file of labels, sizes from the image headers."""
        check_split("crowdhuman", split, SPLITS)
        folder = need_folder(root / "Images")
        labels = root / f"annotation_{split}.odgt"
        rows = read_labels(labels)
        images = []
        for number, name in enumerate(rows, 1):
            width, height = image_size(folder / f"{name}.jpg", f"image {number}")
            images.append({"id": number, "file_name": f"{name}.jpg", "width": width, "height": height})
        return Split(
            folder=Path("Images"),
            images=images,
            categories=[CATEGORY],
            annotations=list(self._annotations(rows)),
            sources=(labels,),
            info={"description": f"CrowdHuman {split}", **self.options.model_dump()},
        )

    def _annotations(self, rows: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        number = 0
        for image, boxes in enumerate(rows.values(), 1):
            for row in boxes:
                number += 1
                yield self._annotation(number, image, row)

    def _annotation(self, number: int, image: int, row: dict[str, Any]) -> dict[str, Any]:
        """Return a box's annotation: one that is to be ignored is a crowd, as COCO's evaluation knows only that."""
        ignored = row["tag"] != PERSON or row["extra"].get("ignore", 0) == 1
        of: dict[str, _Box] = {name: row[key] for name, key in BOXES.items() if key in row}
        box = of.get(self.options.box) or of["full"]
        annotation: dict[str, Any] = {
            "id": number,
            "image_id": image,
            "category_id": CATEGORY["id"],
            "bbox": box,
            "area": max(box[2], 0.0) * max(box[3], 0.0),
            "iscrowd": int(ignored),
            **{f"{name}_box": list(found) for name, found in of.items()},
        }
        if ignored:
            return {**annotation, "ignore": 1}
        head = of.get("head")
        if self.options.heads and head and min(head[2:]) > 0 and row["head_attr"].get("ignore", 0) != 1:
            annotation["face"] = {"bbox": list(head)}
        return annotation


def read_labels(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the boxes of each image by its name without suffix, in the file's order.

    A box has ``tag`` (`PERSON` or another, which is to be ignored), ``fbox`` and, of people, ``vbox`` and ``hbox`` (x,
    y, w, h in pixels, as floats; they may leave the image), ``extra`` and ``head_attr``, {} where the file has none.

    Raises AnonbenchError that names the line when the file is cut short or of another format.
    """
    labels: dict[str, list[dict[str, Any]]] = {}
    for number, line in enumerate(_lines(file), 1):
        if not line:
            continue
        try:
            name, boxes = _image(json.loads(line))
            if name in labels:
                raise ValueError(f"duplicate image {name}")
        except (ValueError, RecursionError) as error:
            said: object = error
            if isinstance(error, json.JSONDecodeError):
                said = "it is no JSON; the file may be cut short"
            elif isinstance(error, RecursionError):
                said = "it is nested too deeply"
            raise AnonbenchError(
                f"is not an image's labels in CrowdHuman's format ({said})",
                file=file,
                entry=f"line {number}",
                remedy=AGAIN,
            ) from None
        labels[name] = boxes
    return labels


def _lines(file: Path) -> list[str]:
    """Return the lines of a UTF-8 file, with or without its mark; names may hold what other texts break lines at."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise AnonbenchError("no such file", file=file, remedy=AGAIN) from None
    except UnicodeDecodeError as error:
        raise AnonbenchError(f"is not text in UTF-8 ({error.reason})", file=file, remedy=AGAIN) from None
    if not text.strip():
        raise AnonbenchError("is empty", file=file, remedy=AGAIN)
    return [line.strip() for line in text.split("\n")]


def _image(entry: Any) -> tuple[str, list[dict[str, Any]]]:
    """Return name and boxes of a line; raise ValueError for what has another form."""
    if not isinstance(entry, dict) or not isinstance(entry.get("gtboxes"), list):
        raise ValueError("it has no list 'gtboxes'")
    name = entry.get("ID")
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise ValueError(f"its 'ID' is {name!r}, which is no image's name")
    return name, [_checked(box, number) for number, box in enumerate(entry["gtboxes"], 1)]


def _checked(row: Any, number: int) -> dict[str, Any]:
    if not isinstance(row, dict) or not isinstance(row.get("tag"), str):
        raise ValueError(f"box {number} has no 'tag'")
    checked: dict[str, Any] = {"tag": row["tag"]}
    for key in BOXES.values():
        if key not in row and (key != "fbox" or row["tag"] != PERSON):
            continue
        box = row.get(key)
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
            raise ValueError(f"{key} of box {number} is not four numbers")
        checked[key] = [float(value) for value in box]
    if "fbox" not in checked:
        raise ValueError(f"box {number} has no 'fbox'")
    for key in ("extra", "head_attr"):
        of = row.get(key, {})
        if not isinstance(of, dict):
            raise ValueError(f"{key} of box {number} is no object")
        checked[key] = of
    return checked


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False
