"""Cityscapes with fine annotations: ``leftImg8bit/<split>/<city>/`` and ``gtFine/<split>/<city>/``.

Layout and values are those of the official scripts (github.com/mcordts/cityscapesScripts, helpers/labels.py and
preparation/json2instanceImg.py); docs/datasets/cityscapes.md says what becomes of what.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field

from anonbench.blocks import Strict
from anonbench.datasets.base import DatasetAdapter, Split
from anonbench.datasets.bitmask import (
    Annotations,
    Entries,
    Runs,
    check_disjoint,
    check_label,
    check_pairs,
    files_in,
    read_label,
)
from anonbench.errors import AnonbenchError, nearest
from anonbench.files import read_json

THINGS = {
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""The classes of the official instance evaluation by their label id, which is the category's id here too."""

LABELS = 34
"""The official label ids that are drawn are 0 to 33."""

NOT_EVALUATED = (29, 30)
"""Caravan and trailer have instances, but the official evaluation does not ask for them."""

VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
"""Label ids that the official evaluation ignores (``ignoreInEval``), as they stand in an instanceIds image."""

CATEGORIES = [
    {"id": i, "name": name, "supercategory": "person" if i in (24, 25) else "vehicle"} for i, name in THINGS.items()
]

SPLITS = ("train", "val")
_IMAGE, _LABEL, _POLYGONS = "_leftImg8bit.png", "_gtFine_instanceIds.png", "_gtFine_polygons.json"
_AGAIN = "unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into the same folder again"


class CityscapesOptions(Strict):
    """Options of Cityscapes."""

    void: bool = Field(
        False,
        description="Add the void pixels of each image as a region to ignore to every category, as the official "
        "evaluation does. They are no people: they have no row in the ledger and are never changed.",
    )


class _Frame(NamedTuple):
    """One image's files and size in pixels."""

    label: Path
    polygons: Path
    width: int
    height: int


class Cityscapes(DatasetAdapter):
    """The eight thing classes with exact masks from instanceIds.png; groups are crowds."""

    Options: ClassVar[type[Strict]] = CityscapesOptions
    split_options = ()

    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``.

        Every file is looked at here (name, size, kind of pixels); the label images are decoded when ``annotations`` is
        iterated over. ``sources`` are the split's instanceIds and polygons files. Raises AnonbenchError for a split
        without public fine labels, folders that are missing or of another kind of annotation, and files that do not
        belong together; while iterating for label images that are damaged or hold ids that do not exist.
        """
        _check_split(split)
        folder, labels = root / "leftImg8bit" / split, root / "gtFine" / split
        if not folder.is_dir():
            raise AnonbenchError(
                "is not a folder; the images are expected as leftImg8bit/<split>/<city>/*_leftImg8bit.png",
                file=folder,
                remedy="check root, or unpack leftImg8bit_trainvaltest.zip there",
            )
        if not labels.is_dir():
            coarse = "; gtCoarse is there, but has no exact outlines" if (root / "gtCoarse").is_dir() else ""
            raise AnonbenchError(
                f"is not a folder; the labels are expected as gtFine/<split>/<city>/*_gtFine_instanceIds.png{coarse}",
                file=labels,
                remedy="check root, or unpack gtFine_trainvaltest.zip there",
            )
        images, frames = _frames(folder, labels)
        others = {s: [*files_in(root / "leftImg8bit" / s, f"*/*{_IMAGE}", _IMAGE)] for s in SPLITS if s != split}
        check_disjoint([*images], split, others, root / "leftImg8bit")
        entries = [
            {
                "id": number,
                "file_name": path.relative_to(folder).as_posix(),
                "width": frame.width,
                "height": frame.height,
                "license": 1,
            }
            for number, (path, frame) in enumerate(zip(images.values(), frames, strict=True), 1)
        ]
        return Split(
            folder=Path("leftImg8bit") / split,
            images=entries,
            categories=[dict(category) for category in CATEGORIES],
            annotations=Annotations(lambda index: self._entries(frames[index]), len(frames), f"cityscapes {split}"),
            sources=tuple(path for frame in frames for path in (frame.label, frame.polygons)),
            info={"description": f"Cityscapes, fine annotations, {split}", "url": "https://www.cityscapes-dataset.com"},
            licenses=[{"id": 1, "name": "Cityscapes", "url": "https://www.cityscapes-dataset.com/license/"}],
        )

    def _entries(self, frame: _Frame) -> Entries:
        """Return an image's annotations: instances, then groups, then (option ``void``) what to ignore."""
        labels = read_label(frame.label).astype(np.uint16)
        runs = Runs(labels)
        present = runs.values()
        _check_ids(present, frame.label)
        size = frame.height, frame.width
        instances = [v for v in present if v // 1000 in THINGS]
        entries = [m.entry(size, m.value // 1000, instance_id=m.value) for m in runs.masks(instances)]
        groups = [v for v in present if v in THINGS]
        if groups:
            owners, classes = _groups(labels, groups, frame.polygons)
            masks = Runs(owners).masks(range(1, len(classes) + 1))
            entries += [m.entry(size, classes[m.value - 1], iscrowd=1) for m in masks]
        if self.options.void:
            for mask in Runs(np.isin(labels, VOID).astype(np.uint8)).masks([1]):
                entries += [mask.entry(size, category, iscrowd=1, ignore=1, void=1) for category in THINGS]
        return entries


def _check_split(split: str) -> None:
    if split in SPLITS:
        return
    if split == "test":
        problem = "the labels of 'test' are not public: its gtFine files hold no people"
    elif split == "train_extra":
        problem = "'train_extra' has coarse labels only, without exact outlines of people"
    else:
        problem = f"Cityscapes has no split '{split}'{nearest(split, SPLITS)}"
    raise AnonbenchError(problem, entry="cityscapes", remedy="use the splits train and val")


def _frames(folder: Path, labels: Path) -> tuple[dict[str, Path], list[_Frame]]:
    """Return the images by their path without the ending, and the frame of each, after checking that all is there."""
    for path in sorted(folder.rglob("*.png")):
        hidden = path.name.startswith(".")
        if not hidden and not (path.parent.parent == folder and path.name.endswith(_IMAGE)):
            raise AnonbenchError(f"is not named <city>/<city>_<sequence>_<frame>{_IMAGE}", file=path, remedy=_AGAIN)
    images = files_in(folder, f"*/*{_IMAGE}", _IMAGE)
    if not images:
        raise AnonbenchError(f"has no image */*{_IMAGE}", file=folder, remedy=_AGAIN)
    found = files_in(labels, f"*/*{_LABEL}", _LABEL)
    if not found and any(labels.glob("*/*_gtCoarse_*")):
        raise AnonbenchError(
            f"holds coarse labels (*_gtCoarse_*), not */*{_LABEL}",
            file=labels,
            remedy="unpack gtFine_trainvaltest.zip",
        )
    check_pairs(images, found, lambda name: labels / f"{name}{_LABEL}", _AGAIN)
    frames = []
    for name, path in images.items():
        if not path.name.startswith(f"{path.parent.name}_"):
            # The official evaluation finds a prediction by the file's name alone.
            raise AnonbenchError(f"does not begin with its city '{path.parent.name}_'", file=path, remedy=_AGAIN)
        label, polygons = found[name], labels / f"{name}{_POLYGONS}"
        header = check_label(label, path, 16, 0, "use the instanceIds.png files of gtFine as they are published")
        if not polygons.is_file():
            raise AnonbenchError(f"lacks its twin {polygons.name}", file=label, remedy=_AGAIN)
        frames.append(_Frame(label, polygons, header.width, header.height))
    return images, frames


def _check_ids(present: list[int], file: Path) -> None:
    for value in present:
        if value < LABELS or value // 1000 in THINGS or value // 1000 in NOT_EVALUATED:
            continue
        train = value == 255 or 11 <= value // 1000 <= 18
        hint = ", which is a train id" if train else ""
        raise AnonbenchError(
            f"has pixels of {value}; ids are 0 to 33, or 1000 times a thing class plus a number{hint}",
            file=file,
            remedy="use the instanceIds.png files of gtFine as they are published",
        )


def _groups(labels: np.ndarray, groups: list[int], file: Path) -> tuple[np.ndarray, list[int]]:
    """Tell the groups of an image apart by the polygons that they were drawn from.

    Returns the number of the group that each pixel belongs to (uint16, height x width, 0 for none, from 1) and the
    class of each group. A pixel of a group belongs to the last group polygon that covers it, since later polygons were
    drawn over earlier ones; a pixel at an edge that none covers, to the nearest one of its class.
    """
    canvas = Image.new("I", labels.shape[::-1], 0)
    draw = ImageDraw.Draw(canvas)
    classes: list[int] = []
    for category, points in _group_polygons(file):
        classes.append(category)
        draw.polygon(points, fill=len(classes))
    drawn = np.asarray(canvas)
    class_of = np.array([0, *classes])
    owners = np.zeros(labels.shape, np.uint16)
    for category in groups:
        x, y, width, height = cv2.boundingRect((labels == category).astype(np.uint8))
        crop = np.s_[y : y + height, x : x + width]
        inside, numbers = labels[crop] == category, drawn[crop]
        known = inside & (class_of[numbers] == category)
        if not known.any():
            raise AnonbenchError(
                f"has no polygon for the {THINGS[category]}group in {file.name.replace(_POLYGONS, _LABEL)}",
                file=file,
                remedy=_AGAIN,
            )
        if (known != inside).any():
            numbers = _nearest(numbers, known)
        owners[crop][inside] = numbers[inside]
    return owners, classes


def _nearest(numbers: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return for each pixel the number of the nearest pixel that is ``known`` (bool, height x width)."""
    unknown = (~known).astype(np.uint8)
    _, near = cv2.distanceTransformWithLabels(unknown, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    number_of = np.zeros(int(near.max()) + 1, numbers.dtype)
    number_of[near[known]] = numbers[known]
    return number_of[near]


def _group_polygons(file: Path) -> list[tuple[int, list[tuple[float, float]]]]:
    """Return class and corners of the group polygons of the thing classes, in drawing order."""
    ids = {f"{name}group": i for i, name in THINGS.items()}
    found = []
    try:
        for thing in read_json(file)["objects"]:
            if thing["label"] in ids and not thing.get("deleted"):
                points = [(float(x), float(y)) for x, y in thing["polygon"]]
                if len(points) > 2:
                    found.append((ids[thing["label"]], points))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise AnonbenchError(
            "does not hold a list 'objects' of labels and polygons", file=file, remedy=_AGAIN
        ) from None
    return found
