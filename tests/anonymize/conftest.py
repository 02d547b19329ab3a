"""A small data set with the tables that `annotate` writes, and runs of the stage over it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from anonbench import regions
from anonbench.anonymize.merge import merge
from anonbench.anonymize.shard import Shard
from anonbench.files import write_json
from anonbench.records import Reason, Region, RegionKind
from anonbench.variants import Variant


def photograph(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Return uint8 HxWx3 with structure at every scale."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 128.0, np.float32)
    for cells, amplitude in ((3, 60), (9, 35), (40, 20)):
        coarse = rng.normal(0, amplitude, (cells, cells, 3)).astype(np.float32)
        pixels += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def ellipse(height: int, width: int) -> np.ndarray:
    """Return a bool mask that touches all four sides of its box."""
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (width // 2, height // 2), 0, 0, 360, 1, -1)
    mask[height // 2], mask[:, width // 2] = 1, 1
    return mask.astype(bool)


def region(
    box: tuple[int, int, int, int],
    kind: RegionKind = RegionKind.BODY,
    person_id: int = 1,
    mask: np.ndarray | None = None,
) -> Region:
    """Return a region of a pixel box, elliptic for a body and the whole box for a face unless a mask is given."""
    x0, y0, x1, y1 = box
    if mask is None:
        mask = ellipse(y1 - y0, x1 - x0) if kind is RegionKind.BODY else np.ones((y1 - y0, x1 - x0), bool)
    return Region(person_id, kind, "mask", box, mask, (x0, y0, x1 - x0, y1 - y0))


def runs(mask: np.ndarray) -> np.ndarray:
    """Return COCO's run lengths of a full-size bool mask."""
    return regions.runs_of(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"])


@dataclass
class Dataset:
    """Folders of a data set; `run` does the whole stage."""

    folder: Path
    split: str = "train"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def annotations(self) -> Path:
        return self.folder / "annotations"

    def shard(self, variant: str, out: Path | None = None, **options: Any) -> Shard:
        """Return a shard of a variant."""
        target = out or self.folder / "out" / variant
        return Shard(self.data, self.annotations, target, self.split, Variant.parse(variant), **options)

    def run(self, variant: str, out: Path | None = None, shards: int = 1, strict: bool = False, **options: Any) -> Path:
        """Write all shards, merge them and return the variant's folder."""
        todo = [self.shard(variant, out, shard=number, shards=shards, **options) for number in range(shards)]
        for one in todo:
            one.run()
        merge(self.annotations, self.split, Variant.parse(variant), shards, todo[0].out, strict=strict, contents=True)
        return todo[0].out

    def write(self, images: list[dict[str, Any]], people: list[dict[str, Any]]) -> None:
        """Write the tables; ``images`` need image_id, file_name, width, height."""
        start, rows = 0, []
        for image in images:
            size = (self.data / "raw" / image["file_name"]).stat().st_size
            count = len({p["person_id"] for p in people if p["image_id"] == image["image_id"]})
            place = {"path": f"raw/{image['file_name']}", "bytes": size, "start": start}
            rows.append({**image, **place, "labels_on": "upright", "people": count})
            start += size
        regions.write(self.annotations / f"{self.split}.images.parquet", rows, regions.IMAGES)
        regions.write(self.annotations / f"{self.split}.regions.parquet", people, regions.REGIONS)
        bodies = [row for row in people if row["kind"] == "body"]
        present = [{key: row[key] for key in ("image_id", "person_id", "category", "area")} for row in bodies]
        regions.write(self.annotations / f"{self.split}.people.parquet", present, regions.PEOPLE)
        entries = [{"id": image["image_id"], **image} for image in images]
        write_json(self.annotations / f"{self.split}.json", {"images": entries, "annotations": [], "categories": []})
        write_json(self.data / "download.json", {"dataset": "small", "root": "."})


def person(image_id: int, person_id: int, found: Region | Reason, size: tuple[int, int]) -> dict[str, Any]:
    """Return a row of the regions table."""
    row: dict[str, Any] = {"image_id": image_id, "person_id": person_id, "category": "person", "area": 100.0}
    if isinstance(found, Reason):
        return {**row, "kind": "body", "status": found.value}
    x0, y0, x1, y1 = found.box
    full = np.zeros((size[1], size[0]), bool)
    full[y0:y1, x0:x1] = found.mask
    row |= {"kind": found.kind.value, "status": regions.REGION, "source": "mask", "subject": list(found.subject)}
    return row | {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "runs": runs(full)}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Eight images: JPEG and PNG with people who overlap, one with a crowd only, one with nobody and a comment."""
    small = Dataset(tmp_path)
    (small.data / "raw" / "deep").mkdir(parents=True)
    images, people = [], []
    for image_id in range(1, 9):
        width, height = 160 + 8 * image_id, 120
        name = f"deep/{image_id}.png" if image_id == 3 else f"{image_id}.jpg"
        pixels = photograph(width, height, image_id)
        options = [] if name.endswith("png") else [cv2.IMWRITE_JPEG_QUALITY, 88]
        data = cv2.imencode(name[-4:], pixels, options)[1].tobytes()
        if image_id == 8:
            data = data[:2] + b"\xff\xfe\x00\x09comment" + data[2:]
        (small.data / "raw" / name).write_bytes(data)
        images.append({"image_id": image_id, "file_name": name, "width": width, "height": height})
        size = (width, height)
        if image_id <= 6:
            people.append(person(image_id, 10 * image_id, region((10, 5, 70, 115), person_id=1), size))
            people.append(person(image_id, 10 * image_id + 1, region((50, 40, 80, 100), person_id=2), size))
            people.append(person(image_id, 10 * image_id + 2, Reason.INVALID_GEOMETRY, size))
            people.append(person(image_id, 10 * image_id, region((25, 10, 50, 40), RegionKind.FACE), size))
        if image_id == 7:
            people.append(person(image_id, 70, Reason.CROWD, size))
    small.write(images, people)
    return small
