"""How much of what is not people meets what is anonymized: a car with a person before it is no untouched car."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from anonbench import regions
from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.records import is_people
from anonbench.report.collect import Sources
from anonbench.report.study import ORIGINAL, ReportStudy
from anonbench.tasks.base import UNTOUCHED

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels."""


@dataclass(frozen=True)
class Boxes:
    """A split's boxes of what is not people: ``total`` by category; ``met`` by kind of region and category.

    A box is met where at least one pixel of a region lies in it. Those of crowds and without area are not counted: no
    model learns from them.
    """

    total: Counter[str] = field(default_factory=Counter)
    met: Counter[tuple[str, str]] = field(default_factory=Counter)

    def share(self, kind: str, category: str) -> float | None:
        """Return the share (0..1) of a category's boxes that are met, or of all (`UNTOUCHED`); None without any."""
        names = list(self.total) if category == UNTOUCHED else [category]
        total = sum(self.total[name] for name in names)
        return sum(self.met[kind, name] for name in names) / total if total else None


def boxes_of(study: ReportStudy, sources: Sources, dataset: str, split: str) -> Boxes:
    """Return the boxes of a data set's ``train`` or ``val`` split; none of a study that anonymizes nothing.

    Raises AnonbenchError when the annotations or the table of regions are missing or damaged.
    """
    if sources.annotations is None or study.variants_of(dataset) == [ORIGINAL]:
        return Boxes()
    return count(sources.annotations / dataset, study.datasets[dataset][split])


def count(folder: Path, split: str) -> Boxes:
    """Count the boxes in a folder of `annotate`; see `boxes_of`."""
    path = folder / f"{split}.json"
    try:
        heights, of_image = _boxes(read_json(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"is not a COCO annotation file ({type(error).__name__}: {error})"
        raise AnonbenchError(said, file=path, remedy="run the annotate stage again") from error
    boxes = Boxes(Counter(name for found in of_image.values() for name, _ in found))
    if not boxes.total:
        return boxes
    seen: set[tuple[str, int, int]] = set()
    for kind, image, box, runs in _regions(folder / f"{split}.regions.parquet"):
        mask: np.ndarray | None = None
        for number, (name, other) in enumerate(of_image.get(image, ())):
            x0, y0, x1, y1 = _common(box, other)
            if x0 >= x1 or y0 >= y1 or (kind, image, number) in seen:
                continue
            if runs is not None and mask is None:
                mask = regions.decode(runs.values.to_numpy(), heights[image], box)
            if mask is None or mask[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]].any():
                seen.add((kind, image, number))
                boxes.met[kind, name] += 1
    return boxes


def _boxes(coco: dict[str, Any]) -> tuple[dict[int, int], dict[int, list[tuple[str, Box]]]]:
    """Return the images' heights, and of each image the categories and boxes that a model learns from, but people's."""
    sizes = {image["id"]: (int(image["width"]), int(image["height"])) for image in coco["images"]}
    names = {category["id"]: str(category["name"]) for category in coco["categories"] if not is_people(category)}
    found: dict[int, list[tuple[str, Box]]] = defaultdict(list)
    for annotation in coco["annotations"]:
        if annotation["category_id"] not in names or annotation.get("iscrowd"):
            continue
        x, y, w, h = annotation["bbox"]
        width, height = sizes[annotation["image_id"]]
        if min(x + w, width) > max(x, 0) and min(y + h, height) > max(y, 0):
            box = _common((0, 0, width, height), (math.floor(x), math.floor(y), math.ceil(x + w), math.ceil(y + h)))
            found[annotation["image_id"]].append((names[annotation["category_id"]], box))
    return {image: height for image, (_, height) in sizes.items()}, found


def _regions(path: Path) -> Iterator[tuple[str, int, Box, Any]]:
    """Yield kind, image, box and run lengths (an Arrow list; None: the whole box) of what is anonymized."""
    table = regions.read(path, regions.REGIONS)
    table = table.filter(pc.equal(table["status"], regions.REGION)).combine_chunks()
    corners = zip(*(table[name].to_pylist() for name in ("x0", "y0", "x1", "y1")), strict=True)
    runs = table["runs"]
    for row, (kind, image, box) in enumerate(
        zip(table["kind"].to_pylist(), table["image_id"].to_pylist(), corners, strict=True)
    ):
        of = runs[row]
        yield kind, image, box, of if of.is_valid else None


def _common(one: Box, other: Box) -> Box:
    """Return what two boxes have in common; x0 >= x1 or y0 >= y1 for nothing."""
    return max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])
