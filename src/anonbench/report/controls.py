"""How much of what is not people meets what is anonymized: a car with a person before it is no untouched car."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from anonbench import lines, regions
from anonbench.errors import AnonbenchError, in_one_line
from anonbench.records import is_people
from anonbench.report.collect import Sources
from anonbench.report.study import ORIGINAL, ReportStudy
from anonbench.tasks.base import UNTOUCHED


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
        heights, images, names, boxes = _boxes(*lines.read(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"is not a COCO annotation file ({in_one_line(error, typed=True)})"
        raise AnonbenchError(said, file=path, remedy="run the annotate stage again") from error
    if not names:
        return Boxes()
    table = regions.read(folder / f"{split}.regions.parquet", regions.REGIONS)
    table = table.filter(pc.equal(table["status"], regions.REGION)).combine_chunks()
    corners = np.stack([table[name].to_numpy() for name in ("x0", "y0", "x1", "y1")], axis=1).astype(np.int64)
    kinds, runs = table["kind"].to_pylist(), table["runs"]
    met: set[tuple[str, int]] = set()
    region, mask = -1, None
    for row, box, x0, y0, x1, y1 in _pairs(table["image_id"].to_numpy(), corners, images, boxes).tolist():
        if (kinds[row], box) in met:
            continue
        if row != region:
            region, of = row, runs[row]
            place = tuple(corners[row].tolist())
            counts = of.values.to_numpy() if of.is_valid else None
            mask = None if counts is None else regions.decode(counts, heights[int(images[box])], place)
        if mask is None or mask[y0 - place[1] : y1 - place[1], x0 - place[0] : x1 - place[0]].any():
            met.add((kinds[row], box))
    return Boxes(Counter(names), Counter((kind, names[box]) for kind, box in met))


def _boxes(
    coco: dict[str, Any], annotations: Sequence[dict[str, Any]]
) -> tuple[dict[int, int], np.ndarray, list[str], np.ndarray]:
    """Return the images' heights and, of each box that a model learns from, but people's: image, category, corners.

    Boxes are sorted by image; corners (N, 4) are x0, y0, x1, y1 of the pixels that a box lies on, cut to its image.
    """
    sizes = {image["id"]: (int(image["width"]), int(image["height"])) for image in coco["images"]}
    categories = {category["id"]: str(category["name"]) for category in coco["categories"] if not is_people(category)}
    found = [
        (a["image_id"], categories[a["category_id"]], a["bbox"])
        for a in annotations
        if a["category_id"] in categories and not a.get("iscrowd")
    ]
    found.sort(key=lambda one: one[0])
    given = np.array([box for _, _, box in found], dtype=np.float64).reshape(-1, 4)
    limits = np.array([sizes[image] for image, _, _ in found], dtype=np.float64).reshape(-1, 2)
    low, high = np.maximum(given[:, :2], 0), np.minimum(given[:, :2] + given[:, 2:], limits)
    used = (high > low).all(axis=1)
    corners = np.concatenate([np.floor(low), np.ceil(high)], axis=1)[used].astype(np.int64)
    names = [found[k][1] for k in np.flatnonzero(used)]
    images = np.array([found[k][0] for k in np.flatnonzero(used)], dtype=np.int64)
    return {image: height for image, (_, height) in sizes.items()}, images, names, corners


def _pairs(of_regions: np.ndarray, regions_at: np.ndarray, of_boxes: np.ndarray, boxes_at: np.ndarray) -> np.ndarray:
    """Return int64 (P, 6), by region: which region and which box meet as boxes, and the corners of what they share.

    ``of_`` (N) are ids of images, those of boxes sorted; ``_at`` (N, 4) corners.
    """
    first = np.searchsorted(of_boxes, of_regions, "left")
    times = np.searchsorted(of_boxes, of_regions, "right") - first
    region = np.repeat(np.arange(len(of_regions)), times)
    box = np.arange(len(region)) + np.repeat(first - np.cumsum(times) + times, times)
    low = np.maximum(regions_at[region, :2], boxes_at[box, :2])
    high = np.minimum(regions_at[region, 2:], boxes_at[box, 2:])
    meet = (high > low).all(axis=1)
    return np.column_stack([region, box, low, high])[meet]
