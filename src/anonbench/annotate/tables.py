"""From COCO JSON to the study's annotations: checked, with a region or a reason for every person."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from anonbench import regions
from anonbench.annotate import geometry
from anonbench.annotate.geometry import InvalidGeometry
from anonbench.annotate.options import BodyRegions, FaceRegions, RegionsConfig
from anonbench.datasets.base import Split
from anonbench.errors import AnonbenchError
from anonbench.files import write_json, write_text
from anonbench.records import Box, Reason, RegionKind, is_people

LEDGER = (
    "image_id",
    "person_id",
    "category",
    "kind",
    "status",
    "source",
    "x",
    "y",
    "width",
    "height",
    "note",
)


def annotate(split: Split, root: Path, config: RegionsConfig, out: Path, name: str) -> dict[str, Any]:
    """Check a split and write ``<name>.json``, ``.images.parquet``, ``.regions.parquet`` and ``.ledger.csv``.

    Returns the counts. Raises AnonbenchError (file, entry, remedy) for duplicate ids or file names, annotations of
    unknown images or categories, images that are not on disk or have no size, and a split without people.
    """
    coco, file = split.coco, split.sources[0]
    images = _images(coco, root / split.images, file)
    categories = _by_id(coco.get("categories"), "category", file)
    people_categories = {i for i, c in categories.items() if is_people(c)}
    annotations = sorted(_by_id(coco.get("annotations"), "annotation", file).values(), key=lambda a: a["id"])
    by_image: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in images}
    for annotation in annotations:
        if not isinstance(annotation.get("image_id"), int) or annotation["image_id"] not in images:
            raise AnonbenchError(
                f"belongs to image {annotation.get('image_id')}, which is not in the file",
                file=file,
                entry=f"annotation {annotation['id']}",
                remedy="remove the annotation or add the image's entry",
            )
        if not isinstance(annotation.get("category_id"), int) or annotation["category_id"] not in categories:
            raise AnonbenchError(
                f"has the unknown category {annotation.get('category_id')}",
                file=file,
                entry=f"annotation {annotation['id']}",
                remedy="add the category or remove the annotation",
            )
        by_image[annotation["image_id"]].append(annotation)

    image_rows: list[dict[str, Any]] = []
    region_rows: list[dict[str, Any]] = []
    ledger: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    start = 0
    for image_id in tqdm(sorted(images), desc=f"annotate {name}", unit="image", disable=None):
        image = images[image_id]
        people = 0
        for annotation in by_image[image_id]:
            person = annotation["category_id"] in people_categories
            entry = _Entry(annotation, image, categories[annotation["category_id"]]["name"])
            if person:
                people += 1
                for row, note in (entry.body(config.body), entry.face(config.face)):
                    region_rows.append(row)
                    ledger.append(entry.ledger(row, note))
            if entry.box is not None:
                kept.append(entry.cleaned())
        path = root / split.images / image["file_name"]
        size = path.stat().st_size
        image_rows.append(
            {
                "image_id": image_id,
                "file_name": image["file_name"],
                "path": (split.images / image["file_name"]).as_posix(),
                "width": image["width"],
                "height": image["height"],
                "bytes": size,
                "people": people,
                "start": start,
            }
        )
        start += size
    if not region_rows:
        raise AnonbenchError(
            f"split '{name}' has no person in {len(images)} images",
            file=file,
            remedy="choose another split, or give the categories of people the supercategory 'person'",
        )
    out.mkdir(parents=True, exist_ok=True)
    regions.write(out / f"{name}.images.parquet", image_rows, regions.IMAGES)
    regions.write(out / f"{name}.regions.parquet", region_rows, regions.REGIONS)
    write_text(out / f"{name}.ledger.csv", _csv(ledger))
    clean = {
        "info": coco.get("info", {}),
        "licenses": coco.get("licenses", []),
        "images": [images[i] for i in sorted(images)],
        "annotations": kept,
        "categories": [categories[i] for i in sorted(categories)],
    }
    write_json(out / f"{name}.json", clean, indent=None)
    return {
        "images": len(images),
        "annotations": len(kept),
        "unusable": len(annotations) - len(kept),
        "status": {f"{kind} {status}": n for (kind, status), n in sorted(_statuses(ledger).items())},
    }


def _statuses(ledger: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((row["kind"], row["status"]) for row in ledger)


class _Entry:
    """One annotation in its image, with what of its geometry can be used."""

    def __init__(self, annotation: dict[str, Any], image: dict[str, Any], category: str) -> None:
        self.annotation, self.category = annotation, category
        self.width, self.height = image["width"], image["height"]
        self.crowd = bool(annotation.get("iscrowd"))
        self.notes: list[str] = []
        self.box: Box | None = None
        self.rle: dict[str, Any] | None = None
        try:
            self.box = geometry.box_of(annotation.get("bbox"))
        except InvalidGeometry as error:
            self.notes.append(str(error))
        try:
            self.rle = geometry.rle_of(annotation.get("segmentation"), self.width, self.height)
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

    def body(self, config: BodyRegions) -> tuple[dict[str, Any], str]:
        """Return the row of the body region: the mask, or the box of a person whose mask cannot be used."""
        kind = RegionKind.BODY
        if self.crowd and config.crowd == "skip":
            return self._none(kind, Reason.CROWD)
        if self.box is None:
            return self._none(kind, Reason.INVALID_GEOMETRY)
        if min(self.box[2], self.box[3]) < config.min_size:
            return self._none(kind, Reason.BELOW_MIN_SIZE)
        if self.rle is not None:
            radius = round(config.dilate * math.sqrt(self.box[2] * self.box[3]))
            rle = geometry.dilate(self.rle, radius)
            bounds = geometry.mask_bounds(rle)
            if bounds is not None:
                return self._region(kind, "mask", bounds, self.box, regions.runs_of(rle["counts"]))
        pixels = geometry.pixel_box(self.box, self.width, self.height)
        if pixels is None:
            return self._none(kind, Reason.OUTSIDE_IMAGE)
        return self._region(kind, "box", pixels, self.box, None)

    def face(self, config: FaceRegions) -> tuple[dict[str, Any], str]:
        """Return the row of the face region from the first source that knows the face."""
        kind = RegionKind.FACE
        if self.crowd:
            return self._none(kind, Reason.CROWD)
        for source in config.sources:
            box = self._given_face() if source == "ground_truth" else self._head()
            if box is None:
                continue
            if min(box[2], box[3]) < config.min_size:
                return self._none(kind, Reason.BELOW_MIN_SIZE)
            box = geometry.scaled(box, config.scale)
            pixels = geometry.pixel_box(box, self.width, self.height)
            if pixels is None:
                return self._none(kind, Reason.OUTSIDE_IMAGE)
            return self._region(kind, source, pixels, box, None)
        return self._none(kind, Reason.NO_FACE_FOUND)

    def _given_face(self) -> Box | None:
        face = self.annotation.get("face")
        if not isinstance(face, dict):
            return None
        try:
            return geometry.box_of(face.get("bbox"))
        except InvalidGeometry as error:
            self.notes.append(f"face: {error}")
            return None

    def _head(self) -> Box | None:
        if self.keypoints is None:
            return None
        return geometry.head_box(self.keypoints, self.box or (0.0, 0.0, float(self.width), float(self.height)))

    def _region(
        self,
        kind: RegionKind,
        source: str,
        box: tuple[int, int, int, int],
        subject: Box,
        runs: np.ndarray | None,
    ) -> tuple[dict[str, Any], str]:
        x0, y0, x1, y1 = box
        row = self._row(kind, regions.REGION, source)
        row.update(x0=x0, y0=y0, x1=x1, y1=y1, subject=list(subject), runs=runs)
        return row, "; ".join(self.notes)

    def _none(self, kind: RegionKind, reason: Reason) -> tuple[dict[str, Any], str]:
        return self._row(kind, reason.value, None), "; ".join(self.notes)

    def _row(self, kind: RegionKind, status: str, source: str | None) -> dict[str, Any]:
        identity = self.annotation.get("identity")
        return {
            "image_id": self.annotation["image_id"],
            "person_id": self.annotation["id"],
            "category": self.category,
            "kind": kind.value,
            "status": status,
            "source": source,
            "keypoints": None if self.keypoints is None else self.keypoints.ravel(),
            "area": self.area,
            "identity": None if identity is None else str(identity),
        }

    def ledger(self, row: dict[str, Any], note: str) -> dict[str, Any]:
        x, y, w, h = self.box or ("", "", "", "")
        return {
            **{key: row[key] for key in ("image_id", "person_id", "category", "kind", "status")},
            "source": row["source"] or "",
            "x": x,
            "y": y,
            "width": w,
            "height": h,
            "note": note,
        }

    def cleaned(self) -> dict[str, Any]:
        """Return the annotation with a box and a segmentation that every COCO tool draws.

        Where the segmentation cannot be drawn it is the box's outline, marked by ``mask_source``: ``box``. Extra keys
        stay if they are finite.
        """
        assert self.box is not None
        clean = {key: value for key, value in self.annotation.items() if _finite(value)}
        clean.update(bbox=list(self.box), area=self.area, iscrowd=int(self.crowd))
        if self.rle is None:
            x, y, w, h = self.box
            clean["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            clean["mask_source"] = "box"
        if self.keypoints is None and "keypoints" in self.annotation:
            clean["keypoints"], clean["num_keypoints"] = [0] * 51, 0
        return clean


def _finite(value: Any) -> bool:
    """Tell whether JSON can hold a value: no NaN or infinity anywhere in it."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_finite(v) for v in value.values())
    return all(_finite(v) for v in value) if isinstance(value, list) else True


def _by_id(entries: Any, what: str, file: Path) -> dict[int, dict[str, Any]]:
    if not isinstance(entries, list):
        raise AnonbenchError(f"has no list of {what} entries", file=file, remedy="is it a COCO annotation file?")
    found: dict[int, dict[str, Any]] = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), int):
            raise AnonbenchError("has no integer id", file=file, entry=f"{what} number {index}")
        if entry["id"] in found:
            raise AnonbenchError(
                f"{what} id {entry['id']} stands twice",
                file=file,
                entry=f"{what} {entry['id']}",
                remedy="ids must be unique within a file",
            )
        found[entry["id"]] = entry
    return found


def _images(coco: dict[str, Any], folder: Path, file: Path) -> dict[int, dict[str, Any]]:
    images = _by_id(coco.get("images"), "image", file)
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
            size = (folder / name).stat().st_size
        except FileNotFoundError:
            raise AnonbenchError(
                f"{folder / name} is not on disk",
                file=file,
                entry=entry,
                remedy="fetch the image again or remove its entry",
            ) from None
        if size == 0:
            raise AnonbenchError("is empty", file=folder / name, entry=entry, remedy="fetch the image again")
    return images


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, LEDGER, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
