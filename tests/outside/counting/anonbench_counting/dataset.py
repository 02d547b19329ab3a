"""A data set: dark upright boxes, the people, on a grey ground, and a white one that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from anonbench.blocks import Strict
from anonbench.datasets.base import DatasetAdapter, Sources, Split
from anonbench.errors import AnonbenchError
from anonbench.seeding import generator

SIDE = 48
PERSON = {"id": 1, "name": "person", "supercategory": "person"}
THING = {"id": 2, "name": "fridge", "supercategory": "appliance"}


class Options(Strict):
    """How much is drawn."""

    train: int = Field(12, ge=1, description="images of the training split")
    val: int = Field(9, ge=1, description="images of the validation split")


class Boxes(DatasetAdapter):
    """Drawn when it is downloaded."""

    Options: ClassVar[type[Strict]] = Options
    renders = True

    def download(self, target: Path, splits: list[str], sources: Sources) -> None:
        """Draw the images of the splits."""
        for split in splits:
            (target / split).mkdir(parents=True, exist_ok=True)
            for number in range(1, self._count(split) + 1):
                image = np.full((SIDE, SIDE, 3), 128, np.uint8)
                for x, y, w, h, category in self._objects(split, number):
                    image[y : y + h, x : x + w] = 40 if category == 1 else 250
                cv2.imwrite(str(target / split / f"{number}.png"), image)

    def read(self, root: Path, split: str) -> Split:
        """Return the split in COCO's terms."""
        images, annotations = [], []
        for number in range(1, self._count(split) + 1):
            images.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
            for x, y, w, h, category in self._objects(split, number):
                annotations.append(_annotation(len(annotations) + 1, number, [x, y, w, h], category))
        return Split(Path(split), images, [PERSON, THING], annotations, ())

    def _count(self, split: str) -> int:
        if split not in ("train", "val"):
            raise AnonbenchError(f"the data set has no split '{split}'", remedy="use train or val")
        count: int = getattr(self.options, split)
        return count

    @staticmethod
    def _objects(split: str, number: int) -> list[tuple[int, int, int, int, int]]:
        """Return x, y, width, height and category of what is on an image: a box in each of up to five columns."""
        random = generator("boxes", split, number)
        people = int(random.integers(0, 5))
        kinds = random.permutation([1] * people + [2])
        return [(2 + 9 * k, int(random.integers(2, 20)), 6, 22, int(kind)) for k, kind in enumerate(kinds)]


def _annotation(number: int, image: int, box: list[int], category: int) -> dict[str, Any]:
    x, y, w, h = box
    outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {
        "id": number, "image_id": image, "category_id": category, "bbox": box, "area": w * h, "iscrowd": 0,
        "segmentation": outline,
    }  # fmt: skip
