"""BDD100K's instance segmentation: ``images/10k/<split>/`` and ``labels/ins_seg/{bitmasks/<split>,polygons}/``.

The format is that of doc.bdd100k.com/format.html and of the official converters (github.com/bdd100k/bdd100k,
label/to_mask.py, label/to_scalabel.py, configs/ins_seg.toml); docs/datasets/bdd100k.md says what becomes of what.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import cv2
import msgspec
import numpy as np
from pycocotools import mask as coco_mask
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
from anonbench.regions import runs_of

NAMES = ("pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
"""The evaluated classes; a bitmask's red channel holds the position, from 1."""

CATEGORIES = [
    {
        "id": number,
        "name": name,
        "supercategory": "person" if number < 3 else "vehicle" if number < 7 else "bike",
    }
    for number, name in enumerate(NAMES, 1)
]

SAME = {"bike": "bicycle", "caravan": "car", "motor": "motorcycle", "person": "pedestrian", "van": "car"}
"""Other names that the JSON labels use for the classes."""

IGNORED = {"other person": "pedestrian", "other vehicle": "car", "trailer": "truck"}
"""Classes of the JSON labels that are regions to ignore of the class they stand for."""

IGNORE, CROWD, OCCLUDED, TRUNCATED = 1, 2, 4, 8
"""Bits of a bitmask's green channel."""

SPLITS = ("train", "val")
_ALL_SPLITS = (*SPLITS, "test")
_AGAIN = (
    "unpack '10K Images' and 'Instance Segmentation' of the download page into the same folder again "
    "(10K images fetched before June 2021 do not match the labels)"
)
_AS_PUBLISHED = "use the bitmasks of labels/ins_seg as they are published"
_OR_ELSE = "use bitmasks and polygons of the same release, or read the bitmasks alone with the option polygons: false"


class Bdd100kOptions(Strict):
    """Options of BDD100K."""

    polygons: bool = Field(
        True,
        description="Compare the bitmasks with labels/ins_seg/polygons/ins_seg_<split>.json where it is there, and "
        "take from it the people that the bitmasks leave out ('other person').",
    )


class _Label(msgspec.Struct):
    """One object of a Scalabel frame; its geometry is decoded only when it is needed."""

    category: str
    attributes: dict[str, Any] | None = None
    poly2d: msgspec.Raw = msgspec.Raw(b"null")
    rle: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def drawn(self) -> bool:
        return any(bytes(part) not in (b"null", b"[]") for part in (self.poly2d, self.rle))

    @property
    def number(self) -> int:
        """The category's id; 0 when the class is not one of instance segmentation."""
        name = SAME.get(self.category, self.category)
        name = IGNORED.get(name, name)
        return NAMES.index(name) + 1 if name in NAMES else 0


class _Frame(msgspec.Struct):
    """One image of the JSON labels."""

    name: str
    labels: list[_Label] | None = None


class _Frames(msgspec.Struct):
    """The JSON labels in their newer form."""

    frames: list[_Frame]


class _Poly2d(msgspec.Struct):
    """A closed outline: a vertex of type C is part of a cubic Bezier curve (two control points and its end)."""

    vertices: list[tuple[float, float]]
    types: str


class _Rle(msgspec.Struct):
    """COCO's compressed run lengths; ``size`` is height and width."""

    counts: str
    size: tuple[int, int]


class _Picture(NamedTuple):
    """One image's files and size, and what the JSON says of it (None without JSON)."""

    label: Path
    width: int
    height: int
    objects: list[_Label] | None


class Bdd100k(DatasetAdapter):
    """The eight classes with exact masks from the bitmasks; crowds and what is to be ignored are crowds."""

    Options: ClassVar[type[Strict]] = Bdd100kOptions
    split_options = ()

    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``, or under its folder ``bdd100k`` (which the archives hold).

        Names, sizes and kind of pixels of all files are looked at here; the bitmasks are decoded when ``annotations``
        is iterated over. ``sources`` are the split's bitmasks and its JSON labels, where they are used. Raises
        AnonbenchError for a split without public labels, folders that are missing or of another kind of labels, and
        files that do not belong together; while iterating for bitmasks that are damaged, hold classes that do not
        exist, or contradict the JSON labels.
        """
        if split not in SPLITS:
            problem = (
                "the labels of 'test' are not public"
                if split == "test"
                else f"BDD100K has no split '{split}'{nearest(split, SPLITS)}"
            )
            raise AnonbenchError(problem, entry="bdd100k", remedy="use the splits train and val")
        inner = Path("bdd100k") if not (root / "images").is_dir() and (root / "bdd100k").is_dir() else Path()
        folder, labels = inner / "images" / "10k" / split, root / inner / "labels"
        images = _images(root / folder)
        others = {s: [*files_in(root / folder.parent / s, "*.jpg", ".jpg")] for s in _ALL_SPLITS if s != split}
        check_disjoint([*images], split, others, root / folder.parent)
        found = _bitmasks(labels, split)
        check_pairs(images, found, lambda name: labels / f"ins_seg/bitmasks/{split}/{name}.png", _AGAIN)
        file = labels / "ins_seg" / "polygons" / f"ins_seg_{split}.json"
        objects = _objects(file, images) if self.options.polygons and file.is_file() else None
        pictures = []
        for name, path in images.items():
            header = check_label(found[name], path, 8, 6, _AS_PUBLISHED)
            known = None if objects is None else objects.get(name, [])
            pictures.append(_Picture(found[name], header.width, header.height, known))
        entries = [
            {"id": number, "file_name": f"{name}.jpg", "width": p.width, "height": p.height, "license": 1}
            for number, (name, p) in enumerate(zip(images, pictures, strict=True), 1)
        ]
        sources = [picture.label for picture in pictures]
        return Split(
            folder=folder,
            images=entries,
            categories=[dict(category) for category in CATEGORIES],
            annotations=Annotations(lambda i: _entries(pictures[i], file), len(pictures), f"bdd100k {split}"),
            sources=tuple(sources if objects is None else [*sources, file]),
            info={"description": f"BDD100K, instance segmentation, {split}", "url": "https://www.bdd100k.com"},
            licenses=[{"id": 1, "name": "BDD100K", "url": "https://doc.bdd100k.com/license.html"}],
        )


def _images(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise AnonbenchError(
            "is not a folder; the images are expected as images/10k/<split>/*.jpg",
            file=folder,
            remedy="check root, or unpack '10K Images' there (the 100K images have no masks)",
        )
    for path in sorted(folder.rglob("*")):
        image = path.suffix.lower() in (".jpg", ".jpeg", ".png") and not path.name.startswith(".")
        if image and (path.suffix != ".jpg" or path.parent != folder):
            raise AnonbenchError("is not named <image>.jpg in the split's folder", file=path, remedy=_AGAIN)
    images = files_in(folder, "*.jpg", ".jpg")
    if not images:
        raise AnonbenchError("has no image *.jpg", file=folder, remedy=_AGAIN)
    return images


def _bitmasks(labels: Path, split: str) -> dict[str, Path]:
    folder = labels / "ins_seg" / "bitmasks" / split
    if not folder.is_dir():
        other = ""
        if any(labels.glob("bdd100k_labels_images_*.json")):
            other = "; bdd100k_labels_images_*.json are the boxes of 2018 for the 100K images and hold no masks"
        elif (labels / "det_20").is_dir():
            other = "; det_20 holds the boxes of the 100K images and no masks"
        elif (labels / "pan_seg").is_dir():
            other = "; pan_seg has other classes"
        elif (labels / "ins_seg" / "polygons").is_dir():
            other = "; the polygons alone do not say who stands in front"
        raise AnonbenchError(
            f"is not a folder; the labels are expected as labels/ins_seg/bitmasks/<split>/*.png{other}",
            file=folder,
            remedy="check root, or unpack 'Instance Segmentation' there",
        )
    return files_in(folder, "*.png", ".png")


def _objects(file: Path, images: dict[str, Path]) -> dict[str, list[_Label]]:
    """Return the JSON labels by the image's name without its ending: those with an outline, in the file's order."""
    try:
        given = msgspec.json.decode(file.read_bytes(), type=list[_Frame] | _Frames)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AnonbenchError(f"is not a file of Scalabel frames ({error})", file=file, remedy=_AGAIN) from None
    frames = given.frames if isinstance(given, _Frames) else given
    if not frames:
        raise AnonbenchError("holds no frames", file=file, remedy=_AGAIN)
    objects: dict[str, list[_Label]] = {}
    for frame in frames:
        name = Path(frame.name).name.removesuffix(".jpg")
        if name in objects:
            raise AnonbenchError("duplicate frame", file=file, entry=frame.name, remedy=_AGAIN)
        if name not in images:
            raise AnonbenchError("is labelled, but the image is not there", file=file, entry=frame.name, remedy=_AGAIN)
        objects[name] = [label for label in frame.labels or [] if label.drawn]
        for label in objects[name]:
            if not label.number:
                problem = f"has the class '{label.category}', which is not one of instance segmentation"
                raise AnonbenchError(problem, file=file, entry=frame.name, remedy=_OR_ELSE)
    return objects


def _entries(picture: _Picture, file: Path) -> Entries:
    """Return an image's annotations: the bitmask's objects, then those that only the JSON labels have."""
    bitmask = read_label(picture.label)
    runs = Runs(np.ascontiguousarray(bitmask).view(">u4")[..., 0].astype(np.int32))
    present = _check_ids(runs.values(), picture.label)
    twins = {} if picture.objects is None else _twins(present, picture, file)
    size = picture.height, picture.width
    entries = []
    for mask in runs.masks(present):
        category, bits, instance = mask.value >> 24, (mask.value >> 16) & 255, mask.value & 65535
        entry = mask.entry(size, category, instance_id=instance)
        entry |= {"occluded": int(bool(bits & OCCLUDED)), "truncated": int(bool(bits & TRUNCATED))}
        _mark(entry, bool(bits & CROWD), bool(bits & IGNORE), twins.get(instance))
        entries.append(entry)
    entries.sort(key=lambda entry: entry["instance_id"])
    seen = {id(label) for label in twins.values()}
    free = bitmask[..., 0] == 0
    for label in picture.objects or []:
        if label.category in IGNORED and id(label) not in seen:
            for mask in Runs(_draw(label, size, file) & free.astype(np.uint8)).masks([1]):
                entry = mask.entry(size, label.number)
                _mark(entry, False, True, label)
                entries.append(entry)
    return entries


def _mark(entry: dict[str, Any], crowd: bool, ignore: bool, label: _Label | None) -> None:
    """Set what is a crowd and what to ignore, by the bitmask's bits or by the JSON label of the same object."""
    if label is not None:
        attributes = label.attributes or {}
        crowd = crowd or bool(attributes.get("crowd"))
        ignore = ignore or bool(attributes.get("ignored")) or label.category in IGNORED
        if label.category in IGNORED:
            entry["label"] = label.category
    entry["iscrowd"] = int(crowd or ignore)
    if ignore:
        entry["ignore"] = 1


def _check_ids(values: list[int], file: Path) -> list[int]:
    """Return the values that are objects; raise AnonbenchError for a class or an instance that cannot be."""
    present: list[int] = []
    instances: set[int] = set()
    for value in values:
        category, instance = (value >> 24) & 255, value & 65535
        if category == 0:
            continue
        if category > len(NAMES):
            raise AnonbenchError(
                f"has pixels of class {category}; the classes are 1 to {len(NAMES)}",
                file=file,
                remedy=f"{_AS_PUBLISHED} (those of labels/pan_seg have other classes)",
            )
        if instance == 0 or instance in instances:
            problem = "which is none" if instance == 0 else "which has two classes or two sets of attributes"
            raise AnonbenchError(f"has pixels of instance {instance}, {problem}", file=file, remedy=_AS_PUBLISHED)
        instances.add(instance)
        present.append(value)
    return present


def _twins(present: list[int], picture: _Picture, file: Path) -> dict[int, _Label]:
    """Return the JSON label of each instance of a bitmask.

    The official converter numbers the labels that it draws from 1, in the order of the JSON; whether it draws those of
    the ignored classes is a setting of it, so that both ways of counting are tried. Raises AnonbenchError when an
    instance is of another class in both, or not in the JSON.
    """
    everything = picture.objects or []
    drawn = [label for label in everything if label.category not in IGNORED]
    wrong = 0
    for labels in (everything, drawn):
        twins = {}
        for value in sorted(present, key=lambda v: v & 65535):
            category, instance = value >> 24, value & 65535
            if instance > len(labels) or labels[instance - 1].number != category:
                wrong = wrong or value
                break
            twins[instance] = labels[instance - 1]
        else:
            return twins
    raise AnonbenchError(
        f"has {NAMES[(wrong >> 24) - 1]} {wrong & 65535}, which {file.name} does not have",
        file=picture.label,
        remedy=_OR_ELSE,
    )


def _draw(label: _Label, size: tuple[int, int], file: Path) -> np.ndarray:
    """Return a JSON label's pixels as uint8 (height, width), 1 inside."""
    try:
        rle = msgspec.json.decode(label.rle, type=_Rle | None)
        if rle is not None:
            runs = runs_of(rle.counts)
            if rle.size != size or (runs < 0).any() or runs.sum() != size[0] * size[1]:
                raise ValueError(f"its run lengths are not for {size[0]} rows of {size[1]} pixels")
            return coco_mask.decode({"size": [*size], "counts": rle.counts})
        outlines = msgspec.json.decode(label.poly2d, type=list[_Poly2d] | None) or []
    except (msgspec.DecodeError, ValueError) as error:
        problem = f"has an outline that cannot be drawn ({error})"
        raise AnonbenchError(problem, file=file, entry=label.category, remedy=_OR_ELSE) from None
    canvas = np.zeros(size, np.uint8)
    for outline in outlines:
        corners = np.rint(_flatten(outline)).astype(np.int32)
        if len(corners):
            cv2.fillPoly(canvas, [corners], 1)
    return canvas


def _flatten(outline: _Poly2d, steps: int = 8) -> np.ndarray:
    """Return the corners (n, 2) of an outline with each curve cut into ``steps`` straight lines."""
    points = np.array([*outline.vertices, *outline.vertices[:1]], np.float64).reshape(-1, 2)
    corners: list[np.ndarray] = []
    at = 0
    while at < len(outline.vertices):
        if outline.types[at : at + 1] == "C" and corners and at + 2 < len(points):
            t = np.linspace(0, 1, steps + 1)[1:, None]
            a, b, c, d = corners[-1], points[at], points[at + 1], points[at + 2]
            corners += [*((1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d)]
            at += 3
        else:
            corners.append(points[at])
            at += 1
    return np.array(corners).reshape(-1, 2)
