"""A data set of a few pictures, written by hand as the stages before `attack` write it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from anonbench import manifests, regions
from anonbench.attack.contract import Site
from anonbench.files import sha256_file
from anonbench.variants import ORIGINAL


@dataclass(frozen=True)
class Town:
    """The folder of a data set, with one split."""

    folder: Path
    split: str = "val"

    @property
    def annotations(self) -> Path:
        """Return the folder of the tables."""
        return self.folder / "annotations" / "town"

    def variant(self, name: str) -> Path:
        """Return the folder of a variant."""
        return self.folder / "anonymized" / "town" / name

    def site(self, name: str = ORIGINAL, most: int | None = None) -> Site:
        """Return where people are attacked in a variant."""
        return Site(self.variant(name), self.variant(ORIGINAL), self.annotations, self.split, most, seed=1)

    def show(self, name: str, pictures: Mapping[int, np.ndarray], changed: Iterable[dict[str, Any]] = ()) -> Path:
        """Write a variant: pictures by id, and rows of a manifest (image_id, person_id and status).

        The original, which is written first, says which files it was made of.
        """
        out = self.variant(name)
        (out / self.split).mkdir(parents=True, exist_ok=True)
        entries: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        for number, pixels in pictures.items():
            assert cv2.imwrite(str(out / self.split / f"{number}.png"), pixels[..., ::-1])
            height, width = pixels.shape[:2]
            named = {"file_name": f"{number}.png"}
            entries.append({"id": number, **named, "width": width, "height": height})
            source = self.variant(ORIGINAL) / self.split / f"{number}.png"
            digest, before = (sha256_file(one) for one in (out / self.split / f"{number}.png", source))
            rows.append({"type": "image", "image_id": number, **named, "sha256": digest, "source_sha256": before})
        file = manifests.annotations_path(out, self.split)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"images": entries, "annotations": [], "categories": []}))
        shard = manifests.shard_path(out, self.split, 0)
        manifests.write_rows(shard, [{"type": "shard"}, *rows, *({"type": "person", **row} for row in changed)])
        summary = {
            "shards": [sha256_file(shard)],
            "digest": manifests.digest_of({row["file_name"]: row["sha256"] for row in rows}),
            "annotations_sha256": sha256_file(file),
        }
        manifests.summary_path(out, self.split).write_text(json.dumps(summary))
        return out


def nothing(count: int) -> np.ndarray:
    """Return the attributes of people of whom nothing is said."""
    found = np.empty(count, dtype=object)
    found[:] = [{} for _ in range(count)]
    return found


def person(image: int, number: int, box: tuple[float, ...] | None, **more: Any) -> dict[str, Any]:
    """Return somebody's row of the table of people."""
    area = 0.0 if box is None else box[2] * box[3]
    row = {
        "image_id": image, "person_id": number, "category": "person", "crowd": False, "ignore": False,
        "box": None if box is None else list(box), "area": area,
    }  # fmt: skip
    return row | more


def build(
    folder: Path, pictures: Mapping[int, np.ndarray], people: list[dict[str, Any]], split: str = "val",
    clips: Mapping[int, int] | None = None,
) -> Town:  # fmt: skip
    """Write originals and tables; the body of somebody with a box is all of it, the face their ``face``.

    ``clips`` are the numbers of videos by image.
    """
    town = Town(folder, split)
    town.show(ORIGINAL, pictures)
    town.annotations.mkdir(parents=True, exist_ok=True)
    rows = []
    for start, (number, pixels) in enumerate(pictures.items()):
        height, width = pixels.shape[:2]
        there = sum(one["image_id"] == number for one in people)
        name = f"{number}.png"
        rows.append(
            {
                "image_id": number, "file_name": name, "path": name, "width": width, "height": height,
                "labels_on": "upright", "bytes": 1, "people": there, "start": start,
                "video_id": (clips or {}).get(number),
            }
        )  # fmt: skip
    regions.write(town.annotations / f"{split}.images.parquet", rows, regions.IMAGES)
    regions.write(town.annotations / f"{split}.people.parquet", people, regions.PEOPLE)
    bodies = [
        _region(one, kind, one["box"] if kind == "body" else one.get("face"))
        for one in people
        for kind in ("face", "body")
    ]
    regions.write(town.annotations / f"{split}.regions.parquet", bodies, regions.REGIONS)
    return town


def _region(one: dict[str, Any], kind: str, box: list[float] | None) -> dict[str, Any]:
    row = {key: one.get(key) for key in ("image_id", "person_id", "category", "area", "identity")} | {"kind": kind}
    if box is None or one["crowd"]:
        return {**row, "status": "crowd" if one["crowd"] else "no_face_found"}
    x, y, w, h = (int(value) for value in box)
    return {
        **row, "status": regions.REGION, "source": "test", "x0": x, "y0": y, "x1": x + w, "y1": y + h,
        "subject": [float(value) for value in box],
    }  # fmt: skip
