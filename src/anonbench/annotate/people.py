"""From a data set's own annotations to the study's: plain COCO JSON, a table of images and one of people.

Annotations come one by one and are written at once, so that a file of any size is read in the memory of its people.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from tqdm import tqdm

from anonbench import categories as naming
from anonbench import regions
from anonbench.annotate import clips, geometry, image_files
from anonbench.annotate.geometry import InvalidGeometry
from anonbench.annotate.image_files import Gate
from anonbench.annotate.options import OnBadImage
from anonbench.datasets.base import Split
from anonbench.errors import AnonbenchError
from anonbench.files import atomic
from anonbench.records import KEYPOINTS, Box, RegionKind, is_people, is_void

_ENCODER = msgspec.json.Encoder()
_CHECKED = frozenset(("bbox", "segmentation", "area", "iscrowd", "keypoints"))


def convert(
    split: Split,
    root: Path,
    out: Path,
    name: str,
    gate: Gate = Gate(),  # noqa: B008 (frozen)
    *,
    declared: Mapping[str, bool] | None = None,
) -> dict[str, Any]:
    """Check a split and write ``<name>.json``, ``<name>.images.parquet`` and ``<name>.people.parquet``.

    Every image file is looked at first, as ``gate`` says; those that cannot be used are listed in
    ``<name>.bad_images.csv``, and skipped if the gate says so. ``declared`` holds the names of categories that the
    study says are people, or are not (see `categories.decide`). Returns how many images, annotations, people, and
    annotations without a usable box (left out of the JSON) there are, and ``warnings``. Raises AnonbenchError (file,
    entry, remedy) for images that cannot be used (all of them in one sentence), duplicate ids or file names,
    annotations of unknown images or categories, categories that may be people and are not declared, videos whose
    frames are not all there in order, labels outside their lists (see `anonbench.annotate.clips`), and a split without
    people.
    """
    file = split.sources[0] if split.sources else root / split.folder
    if out.resolve() in {source.resolve().parent for source in split.sources}:
        raise AnonbenchError(
            "contains the data set's own annotations", file=out, remedy="choose another folder to write to"
        )
    categories = naming.decide(_categories(split.categories, file), declared or {}, file)
    people_categories = {number: category for number, category in categories.items() if is_people(category)}
    entries = _by_id(split.images, "image", file)
    attributes = clips.check_attributes(split.attributes, file)
    videos = clips.check_videos(_by_id(split.videos, "video", file), split.actions, entries, file)
    kinds = clips.check_kinds(split.action_kinds, split.actions, file) if videos else {}
    found = image_files.look(entries, root / split.folder, file, gate, name, split.paths)
    if gate.on_bad_image is OnBadImage.SKIP:
        clips.leave_out_whole(found, videos)
    out.mkdir(parents=True, exist_ok=True)
    listed = out / f"{name}.bad_images.csv"
    gone = image_files.lost(found, split.annotations, people_categories)
    image_files.write_list(listed, gone)
    if gone and gate.on_bad_image is not OnBadImage.SKIP:
        image_files.refuse(found, listed, file)
    skipped = set(found.bad)
    images = {number: entry for number, entry in found.entries.items() if number not in skipped}
    videos = [video for video in videos if not skipped.intersection(video.frames)]
    told = clips.told(videos, split.actions, kinds, attributes)
    people: list[dict[str, Any]] = []
    counts: dict[str, Any] = {"images": len(images), "annotations": 0, "people": 0, "unusable": 0}
    with atomic(out / f"{name}.json") as part, open(part, "wb") as stream:
        head: dict[str, Any] = {
            "info": split.info,
            "licenses": split.licenses,
            "images": list(images.values()),
            "categories": list(categories.values()),
            **({"videos": [video.entry for video in videos]} if videos else {}),
            **{key: told[key] for key in ("actions", "action_kinds", "attributes") if key in told},
        }
        stream.write(_json(lambda: head, file, "all but the annotations")[:-1] + b',"annotations":[')
        separator = b"\n"
        bar = tqdm(split.annotations, desc=f"annotate {name}", unit="annotation", disable=None)
        for annotation in _checked(bar, found.entries, categories, file):
            if annotation["image_id"] in skipped:
                continue
            person = annotation["category_id"] in people_categories and not is_void(annotation)
            entry = Entry(annotation, images[annotation["image_id"]], mask=person)
            if person:
                said = clips.attributes_of(annotation, attributes, file)
                people.append({**entry.person(categories[annotation["category_id"]]["name"]), "attributes": said})
            if entry.box is None:
                counts["unusable"] += 1
                continue
            counts["annotations"] += 1
            stream.write(separator + _json(entry.cleaned, file, f"annotation {annotation['id']}"))
            separator = b",\n"
        stream.write(b"\n]}\n")
        if not people:
            raise AnonbenchError(
                f"split '{name}' has no person in {len(images)} images",
                file=file,
                remedy="choose another split, or name the categories of people in the study (datasets.<name>.people)",
            )
    counts["people"] = len(people)
    counts["warnings"] = [*split.warnings, *image_files.warnings(found, gone, listed)]
    people.sort(key=lambda row: (row["image_id"], row["person_id"]))
    regions.write(out / f"{name}.people.parquet", people, regions.PEOPLE)
    rows = _image_rows(images, found, split.folder, people, clips.order(images, videos))
    guessed = sum(seen.guessed for seen in found.seen.values())
    facts = {key: value for key, value in (("skipped", gone), ("frame_guessed", guessed)) if value}
    regions.write(out / f"{name}.images.parquet", rows, regions.IMAGES, {**facts, **told})
    return counts


def _json(value: Callable[[], dict[str, Any]], file: Path, entry: str) -> bytes:
    try:
        return _ENCODER.encode(value())
    except (UnicodeEncodeError, OverflowError, TypeError, RecursionError, ValueError) as error:
        raise AnonbenchError(
            f"contains text that JSON in UTF-8 cannot hold ({error})",
            file=file,
            entry=entry,
            remedy="correct or remove the value",
        ) from None


def _image_rows(
    images: dict[int, dict[str, Any]],
    found: image_files.Found,
    folder: Path,
    people: list[dict[str, Any]],
    order: list[int],
) -> list[dict[str, Any]]:
    """Return the rows of the table of images, by id; ``order`` is that of their bytes."""
    present = dict.fromkeys(images, 0)
    for person in people:
        present[person["image_id"]] += 1
    rows = []
    start = 0
    for image_id in order:
        image, size = images[image_id], found.seen[image_id].bytes
        rows.append(
            {
                "image_id": image_id,
                "file_name": image["file_name"],
                "path": (folder / found.path(image_id)).as_posix(),
                "width": image["width"],
                "height": image["height"],
                "labels_on": found.seen[image_id].labels_on,
                "bytes": size,
                "people": present[image_id],
                "start": start,
                "video_id": image.get("video_id"),
                "frame_index": image.get("frame_index"),
            }
        )
        start += size
    return sorted(rows, key=lambda row: row["image_id"])


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
        area: Any = annotation.get("area")
        if _is_number(area) and area > 0:
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
            "identity": None if identity is None else str(identity).encode(errors="replace").decode(),
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
    try:
        return isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


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
            _refuse_duplicate(number, "annotation", file)
        seen.add(number)
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if number < 0:
            raise AnonbenchError(
                "has a negative id, as only people do whom nobody annotated",
                file=file,
                entry=f"annotation {number}",
                remedy="number the annotations from 0 or 1",
            )
        if type(image) is not int or image not in images:
            raise AnonbenchError(
                f"belongs to image {image!a:.80}, which is not in the file",
                file=file,
                entry=f"annotation {number}",
                remedy="remove the annotation or add the image's entry",
            )
        if type(category) is not int or category not in categories:
            raise AnonbenchError(
                f"has the unknown category {category!a:.80}",
                file=file,
                entry=f"annotation {number}",
                remedy="add the category or remove the annotation",
            )
        yield annotation


def _id_of(entry: Any, index: int, what: str, file: Path) -> int:
    number = entry.get("id") if isinstance(entry, dict) else None
    if type(number) is not int or not -(2**63) <= number < 2**63:
        raise AnonbenchError(
            "has no integer id", file=file, entry=f"{what} number {index}", remedy="number the entries of the file"
        )
    return number


def _refuse_duplicate(number: int, what: str, file: Path) -> None:
    raise AnonbenchError(
        f"duplicate {what} id {number}",
        file=file,
        entry=f"{what} {number}",
        remedy="ids must be unique within a file",
    )


def _categories(entries: list[dict[str, Any]], file: Path) -> dict[int, dict[str, Any]]:
    categories = _by_id(entries, "category", file)
    for number, category in categories.items():
        name = category.get("name")
        if not isinstance(name, str) or not name or not name.isprintable():
            raise AnonbenchError(
                f"has the name {name!a:.80}",
                file=file,
                entry=f"category {number}",
                remedy="give each category a name of printable characters",
            )
        above = category.get("supercategory")
        if above is not None and not isinstance(above, str):
            raise AnonbenchError(
                f"has the supercategory {above!a:.80}",
                file=file,
                entry=f"category {number}",
                remedy="write a name, or leave it out",
            )
    return categories


def _by_id(entries: list[dict[str, Any]], what: str, file: Path) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for index, entry in enumerate(entries):
        number = _id_of(entry, index, what, file)
        if number in found:
            _refuse_duplicate(number, what, file)
        found[number] = entry
    return found
