"""From a data set's own annotations to the study's: plain COCO JSON, a table of images and one of people.

Annotations come one by one and are written at once, so that a file of any size is read in the memory of its people.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from tqdm import tqdm

from anonbench import regions
from anonbench.annotate import categories as naming
from anonbench.annotate import geometry
from anonbench.annotate.geometry import InvalidGeometry
from anonbench.datasets.base import Split
from anonbench.errors import AnonbenchError
from anonbench.files import atomic
from anonbench.records import KEYPOINTS, Box, RegionKind, is_people

_CHECKED = frozenset(("bbox", "segmentation", "area", "iscrowd", "keypoints"))


def convert(
    split: Split, root: Path, out: Path, name: str, declared: Mapping[str, bool] | None = None
) -> dict[str, int]:
    """Check a split and write ``<name>.json``, ``<name>.images.parquet`` and ``<name>.people.parquet``.

    ``declared`` holds the names of categories that the study says are people, or are not (see `categories.decide`).
    Returns how many images, annotations, people, and annotations without a usable box (left out of the JSON) there
    are. Raises AnonbenchError (file, entry, remedy) for duplicate ids or file names, annotations of unknown images or
    categories, categories that may be people and are not declared, images that are not on disk or have no size, and a
    split without people.
    """
    file = split.sources[0]
    images, sizes = _images(split.images, root / split.folder, file)
    categories = naming.decide(_by_id(split.categories, "category", file), declared or {}, file)
    people_categories = {number for number, category in categories.items() if is_people(category)}
    people: list[dict[str, Any]] = []
    counts = {"images": len(images), "annotations": 0, "people": 0, "unusable": 0}
    encode = msgspec.json.Encoder().encode
    out.mkdir(parents=True, exist_ok=True)
    with atomic(out / f"{name}.json") as part, open(part, "wb") as stream:
        head = {
            "info": split.info,
            "licenses": split.licenses,
            "images": split.images,
            "categories": [*categories.values()],
        }
        stream.write(encode(head)[:-1] + b',"annotations":[')
        separator = b"\n"
        bar = tqdm(split.annotations, desc=f"annotate {name}", unit="annotation", disable=None)
        for annotation in _checked(bar, images, categories, file):
            person = annotation["category_id"] in people_categories and not annotation.get("void")
            entry = Entry(annotation, images[annotation["image_id"]], mask=person)
            if person:
                people.append(entry.person(categories[annotation["category_id"]]["name"]))
            if entry.box is None:
                counts["unusable"] += 1
                continue
            counts["annotations"] += 1
            stream.write(separator + encode(entry.cleaned()))
            separator = b",\n"
        stream.write(b"\n]}\n")
        if not people:
            raise AnonbenchError(
                f"split '{name}' has no person in {len(images)} images",
                file=file,
                remedy="choose another split, or name the categories of people in the study (datasets.<name>.people)",
            )
    counts["people"] = len(people)
    people.sort(key=lambda row: (row["image_id"], row["person_id"]))
    regions.write(out / f"{name}.people.parquet", people, regions.PEOPLE)
    regions.write(out / f"{name}.images.parquet", _image_rows(images, sizes, split.folder, people), regions.IMAGES)
    return counts


def _image_rows(
    images: dict[int, dict[str, Any]], sizes: dict[int, int], folder: Path, people: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    present = dict.fromkeys(images, 0)
    for person in people:
        present[person["image_id"]] += 1
    rows = []
    start = 0
    for image_id in sorted(images):
        image = images[image_id]
        rows.append(
            {
                "image_id": image_id,
                "file_name": image["file_name"],
                "path": (folder / image["file_name"]).as_posix(),
                "width": image["width"],
                "height": image["height"],
                "bytes": sizes[image_id],
                "people": present[image_id],
                "start": start,
            }
        )
        start += sizes[image_id]
    return rows


class Entry:
    """One annotation in its image, with what of its geometry can be used.

    ``mask`` says that the mask itself is wanted; otherwise a segmentation is only checked.
    """

    def __init__(self, annotation: dict[str, Any], image: dict[str, Any], *, mask: bool) -> None:
        self.annotation = annotation
        width, height = image["width"], image["height"]
        self.crowd = bool(annotation.get("iscrowd"))
        self.notes: list[str] = []
        self.box: Box | None = None
        self.rle: dict[str, Any] | None = None
        self.drawable = False
        try:
            self.box = geometry.box_of(annotation.get("bbox"))
        except InvalidGeometry as error:
            self.notes.append(str(error))
        try:
            segmentation = annotation.get("segmentation")
            if mask or self.box is None:
                self.rle = geometry.rle_of(segmentation, width, height)
            else:
                geometry.check_segmentation(segmentation, width, height)
            self.drawable = True
        except InvalidGeometry as error:
            self.notes.append(str(error))
        if self.box is None and self.rle is not None and (bounds := geometry.mask_bounds(self.rle)):
            x0, y0, x1, y1 = bounds
            self.box = (float(x0), float(y0), float(x1 - x0), float(y1 - y0))
        self.keypoints = geometry.keypoints_of(annotation.get("keypoints"))
        area = annotation.get("area")
        if isinstance(area, (int, float)) and math.isfinite(area) and area > 0:
            self.area = float(area)
        else:
            self.area = self.box[2] * self.box[3] if self.box else 0.0

    def person(self, category: str) -> dict[str, Any]:
        """Return the row of the table of people."""
        face = self._face(category)
        head = self.annotation.get("head")
        if not (isinstance(head, list) and len(head) == 6 and all(_is_number(v) for v in head)):
            head = None
        identity = self.annotation.get("identity")
        return {
            "image_id": self.annotation["image_id"],
            "person_id": self.annotation["id"],
            "category": category,
            "crowd": self.crowd,
            "ignore": bool(self.annotation.get("ignore")),
            "box": self.box,
            "rle": None if self.rle is None else self.rle["counts"],
            "keypoints": None if self.keypoints is None else self.keypoints.ravel(),
            "face": face,
            "head": head,
            "area": self.area,
            "identity": None if identity is None else str(identity),
            "note": "; ".join(self.notes),
        }

    def _face(self, category: str) -> Box | None:
        """Return the data set's own face box; that of a person who is annotated as a face is the annotation's box."""
        face = self.annotation.get("face")
        if not isinstance(face, dict):
            return self.box if category.casefold() == RegionKind.FACE else None
        try:
            return geometry.box_of(face.get("bbox"))
        except InvalidGeometry as error:
            self.notes.append(f"face: {error}")
            return None

    def cleaned(self) -> dict[str, Any]:
        """Return the annotation with a box and a segmentation that every COCO tool draws.

        Where the segmentation cannot be drawn it is the box's outline, marked by ``mask_source``: ``box``. Extra keys
        stay if they are finite.
        """
        assert self.box is not None
        clean = {key: value for key, value in self.annotation.items() if key in _CHECKED or _finite(value)}
        clean.update(bbox=self.box, area=self.area, iscrowd=int(self.crowd))
        if not self.drawable:
            x, y, w, h = self.box
            clean["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            clean["mask_source"] = "box"
        if self.keypoints is None and "keypoints" in self.annotation:
            clean["keypoints"], clean["num_keypoints"] = [0] * (3 * len(KEYPOINTS)), 0
        return clean


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _finite(value: Any) -> bool:
    """Tell whether JSON can hold a value: no NaN or infinity anywhere in it."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_finite(v) for v in value.values())
    return all(_finite(v) for v in value) if isinstance(value, list) else True


def _checked(
    annotations: Any, images: dict[int, dict[str, Any]], categories: dict[int, dict[str, Any]], file: Path
) -> Iterator[dict[str, Any]]:
    """Yield annotations whose id is new and whose image and category are known."""
    seen: set[int] = set()
    for index, annotation in enumerate(annotations):
        number = _id_of(annotation, index, "annotation", file)
        if number in seen:
            _twice(number, "annotation", file)
        seen.add(number)
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if not isinstance(image, int) or image not in images:
            raise AnonbenchError(
                f"belongs to image {image}, which is not in the file",
                file=file,
                entry=f"annotation {number}",
                remedy="remove the annotation or add the image's entry",
            )
        if not isinstance(category, int) or category not in categories:
            raise AnonbenchError(
                f"has the unknown category {category}",
                file=file,
                entry=f"annotation {number}",
                remedy="add the category or remove the annotation",
            )
        yield annotation


def _id_of(entry: Any, index: int, what: str, file: Path) -> int:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), int):
        raise AnonbenchError("has no integer id", file=file, entry=f"{what} number {index}")
    return int(entry["id"])


def _twice(number: int, what: str, file: Path) -> None:
    raise AnonbenchError(
        f"{what} id {number} stands twice",
        file=file,
        entry=f"{what} {number}",
        remedy="ids must be unique within a file",
    )


def _by_id(entries: list[dict[str, Any]], what: str, file: Path) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for index, entry in enumerate(entries):
        number = _id_of(entry, index, what, file)
        if number in found:
            _twice(number, what, file)
        found[number] = entry
    return found


def _images(
    entries: list[dict[str, Any]], folder: Path, file: Path
) -> tuple[dict[int, dict[str, Any]], dict[int, int]]:
    """Return the images, checked, and the sizes of their files in bytes, by id."""
    sizes: dict[int, int] = {}
    images = _by_id(entries, "image", file)
    names: dict[str, int] = {}
    for image_id, image in images.items():
        name, entry = image.get("file_name"), f"image {image_id}"
        if not isinstance(name, str) or not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise AnonbenchError(f"has the file name {name!r}", file=file, entry=entry)
        for side in ("width", "height"):
            if not isinstance(image.get(side), int) or image[side] < 1:
                raise AnonbenchError(f"has the {side} {image.get(side)!r}", file=file, entry=entry)
        if name in names:
            raise AnonbenchError(f"has the file name of image {names[name]} ({name})", file=file, entry=entry)
        names[name] = image_id
        try:
            sizes[image_id] = (folder / name).stat().st_size
        except FileNotFoundError:
            raise AnonbenchError(
                f"{folder / name} is not on disk",
                file=file,
                entry=entry,
                remedy="fetch the image again or remove its entry",
            ) from None
        if sizes[image_id] == 0:
            raise AnonbenchError("is empty", file=folder / name, entry=entry, remedy="fetch the image again")
    return images, sizes
