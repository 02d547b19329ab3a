"""A tiny data set in COCO's official layout, that a test can spoil before it is read."""

from __future__ import annotations

from anonbench import portable

portable.settle()  # before a test imports torch

import json  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from anonbench.records import KEYPOINTS, SKELETON  # noqa: E402


class CocoFolder:
    """``root`` with splits train and val; `instances` is the JSON of a split, written by `save`."""

    def __init__(self, root: Path, images: int = 3, size: tuple[int, int] = (64, 48)) -> None:
        self.root = root
        self.json: dict[str, dict[str, Any]] = {}
        for number, split in enumerate(("train", "val")):
            self.json[split] = self._split(split, images, size, seed=number)
            self.save(split)

    def _split(self, split: str, images: int, size: tuple[int, int], seed: int) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        width, height = size
        (self.root / split).mkdir(parents=True)
        coco: dict[str, Any] = {
            "info": {"description": "made by a test"},
            "licenses": [],
            "images": [],
            "annotations": [],
            "categories": [
                {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(KEYPOINTS),
                 "skeleton": [list(limb) for limb in SKELETON]},
                {"id": 3, "name": "car", "supercategory": "vehicle"},
            ],
        }  # fmt: skip
        for image_id in range(1, images + 1):
            pixels = rng.integers(60, 200, (height, width, 3), dtype=np.uint8)
            pixels = cv2.blur(pixels, (5, 5))
            name = f"{image_id:06d}.jpg"
            if image_id < images:  # the last image has a car and nobody in it
                x, y, w, h = 8 + 4 * image_id, 6, 16, 36
                pixels[y : y + h, x : x + w] = (40, 60 * image_id % 256, 220)
                keypoints = [0.0] * 51
                for index, (dx, dy) in enumerate([(8, 5), (6, 4), (10, 4), (4, 5), (12, 5), (3, 11), (13, 11)]):
                    keypoints[3 * index : 3 * index + 3] = [float(x + dx), float(y + dy), 2.0]
                coco["annotations"].append(
                    {"id": 10 * image_id, "image_id": image_id, "category_id": 1, "iscrowd": 0,
                     "bbox": [float(x), float(y), float(w), float(h)], "area": float(w * h),
                     "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                     "keypoints": keypoints, "num_keypoints": 7}
                )  # fmt: skip
            coco["annotations"].append(
                {"id": 10 * image_id + 1, "image_id": image_id, "category_id": 3, "iscrowd": 0,
                 "bbox": [40.0, 30.0, 20.0, 12.0], "area": 240.0,
                 "segmentation": [[40, 30, 60, 30, 60, 42, 40, 42]]}
            )  # fmt: skip
            pixels[30:42, 40:60] = (200, 30, 30)
            cv2.imwrite(str(self.root / split / name), pixels)
            coco["images"].append({"id": image_id, "file_name": name, "width": width, "height": height})
        return coco

    def save(self, split: str) -> Path:
        """Write the split's JSON as instances_<split>.json (keypoints inside) and return its path."""
        path = self.root / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(self.json[split]))
        return path

    def person(self, split: str = "train", number: int = 0) -> dict[str, Any]:
        """Return the annotation of the split's ``number``-th person, to be changed in place."""
        return [a for a in self.json[split]["annotations"] if a["category_id"] == 1][number]


@pytest.fixture
def make_coco(tmp_path: Path) -> Callable[..., CocoFolder]:
    """Return a function that makes a `CocoFolder` under the test's folder."""
    return lambda name="coco", **options: CocoFolder(tmp_path / name, **options)
