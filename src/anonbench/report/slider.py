"""Before and after: for each variant the people whose region it changed least, middling and most, as pairs of crops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anonbench import manifests
from anonbench.datasets.coco import CocoFile
from anonbench.records import ANONYMIZED, CONTROL, RegionKind
from anonbench.report.pictures import jpeg, read
from anonbench.report.sheet import Crop, crop_box
from anonbench.report.study import ORIGINAL, ReportStudy, parts
from anonbench.report.tables import number

CANDIDATES = 48
"""People of a variant who are looked at: reading all images of a large data set would take hours."""

TALL_ENOUGH = 16
"""Height in pixels of the smallest region worth showing where there are others."""

SIZE = (240, 300)
"""Width and height of a crop on the page, in pixels."""

MOST_PAIRS = 60
"""With more pairs crops become smaller, so that the page does not grow."""

AROUND = {RegionKind.FACE.value: 2.2}
"""How much more than the region a crop shows, by kind; without an entry its context alone."""

QUALITY = 85
"""Of the JPEGs in the page."""

RANKS = ("changed least", "changed by the median", "changed most")


def sliders(study: ReportStudy, anonymized: Path) -> list[dict[str, Any]]:
    """Return for each data set the pairs of crops by variant, as JPEG data URLs, and the rule that chose them.

    A variant's candidates are up to `CANDIDATES` people whose region it changed and who are at least `TALL_ENOUGH`
    tall there (if anybody is), at equal distances in the manifest's order. Their score is the mean absolute difference
    of the pixels (0..255, over the three channels) within the region's box. Of the least, the median (the lower one of
    two) and the highest score one person each is shown; equal scores go by the manifest's order. Variants without a
    manifest of people are left out. Raises AnonbenchError when images or manifests are missing or damaged.
    """
    chosen = {}
    for dataset in study.datasets:
        split = study.shown_split(dataset)
        variants = [v for v in study.variants_of(dataset) if v != ORIGINAL]
        variants = [v for v in variants if manifests.exist(anonymized / dataset / v, split)]
        if variants:
            chosen[dataset] = _of(anonymized / dataset, split, variants, study)
    pairs = sum(len(people) for groups in chosen.values() for people in groups.values())
    scale = min(1.0, math.sqrt(MOST_PAIRS / max(pairs, 1)))
    width, height = (round(side * scale) for side in SIZE)
    found = []
    for dataset, groups in chosen.items():
        shown = [
            {
                "variant": variant,
                "control": study.is_control(variant),
                "people": [
                    {
                        "rank": rank,
                        "score": f"mean change of the region’s pixels {number(score)}",
                        "before": jpeg(before.resize((width, height), Image.Resampling.LANCZOS), QUALITY),
                        "after": jpeg(after.resize((width, height), Image.Resampling.LANCZOS), QUALITY),
                    }
                    for rank, (score, before, after) in people.items()
                ],
            }
            for variant, people in groups.items()
            if people
        ]
        if shown:
            rule = _rule(study.shown_split(dataset))
            found.append({"dataset": dataset, "rule": rule, "groups": shown, "width": width, "height": height})
    return found


def _rule(split: str) -> str:
    return (
        f"People of the split “{split}”, chosen by a rule: of up to {CANDIDATES} people whose region the variant "
        f"changed, evenly spread over the images (regions of at least {TALL_ENOUGH} pixels in height, where there are "
        "any), those whose pixels changed least, by the median and most. The score is the mean absolute difference to "
        "the original within the region’s box. What changed least is the best case for a model and the worst for "
        "privacy; what changed most, the other way round."
    )


Shown = tuple[float, Image.Image, Image.Image]
"""A person: score, crop of the original and of the variant."""


def _of(root: Path, split: str, variants: list[str], study: ReportStudy) -> dict[str, dict[str, Shown]]:
    """Return the people to show by variant and rank."""
    originals = CocoFile(manifests.annotations_path(root / ORIGINAL, split))
    hashes = manifests.image_hashes(root / ORIGINAL, split)
    images = {image["id"]: {**image, "sha256": hashes.get(image["file_name"])} for image in originals.images}
    boxes: dict[int, Crop] = {}
    return {v: _ranked(root / v, split, images, originals, boxes, study.is_control(v)) for v in variants}


def _ranked(
    folder: Path, split: str, images: dict[int, dict[str, Any]], originals: CocoFile, boxes: dict[int, Crop],
    control: bool,
) -> dict[str, Shown]:  # fmt: skip
    region = parts(folder.name)[0]
    names = {image["id"]: image["file_name"] for image in CocoFile(manifests.annotations_path(folder, split)).images}
    hashes = manifests.image_hashes(folder, split)
    people = [row for row in manifests.rows_of(folder, split) if _changed(row, control)]
    if any(row["box"] is None for row in people) and not boxes:
        boxes.update(_boxes(originals))
    found = [(row["image_id"], box) for row in people if (box := _region(row, boxes)) and min(box[2:]) >= 1]
    found = [(image, box) for image, box in found if box[3] >= TALL_ENOUGH] or found
    at = np.unique(np.linspace(0, len(found) - 1, min(len(found), CANDIDATES)).round().astype(int))
    scored: list[Shown] = []
    for image, box in (found[i] for i in at):
        before = read(folder.with_name(ORIGINAL) / split, images[image], images[image]["sha256"])
        after = read(folder / split, {**images[image], "file_name": names[image]}, hashes.get(names[image]))
        crop = _around(box, AROUND.get(region, 1.0), before.shape[1], before.shape[0])
        scored.append((_score(before, after, box), _crop(before, crop), _crop(after, crop)))
    scored.sort(key=lambda entry: entry[0])
    if len(scored) < len(RANKS):
        return {rank: scored[-1] for rank in RANKS[-1:] if scored}
    places = (0, (len(scored) - 1) // 2, len(scored) - 1)
    return {rank: scored[place] for rank, place in zip(RANKS, places, strict=True)}


def _changed(row: dict[str, Any], control: bool) -> bool:
    """Tell whether a manifest's row is of somebody whose region the variant changed; of a ``control``, of anybody."""
    if row["type"] != "person" or row.get("category") is None:
        return False
    return row["status"] == ANONYMIZED or (control and row["status"] == CONTROL)


def _boxes(originals: CocoFile) -> Iterator[tuple[int, Crop]]:
    """Yield id and box (x, y, w, h) of the annotations that have one."""
    for annotation in originals.annotations:
        if annotation.get("bbox"):
            yield annotation["id"], tuple(annotation["bbox"])


def _region(row: dict[str, Any], boxes: dict[int, Crop]) -> Crop | None:
    """Return x, y, w, h of what was changed of a person, which is the whole person where a manifest has no box."""
    if row["box"] is None:
        return boxes.get(row["person_id"])
    x0, y0, x1, y1 = row["box"]
    return x0, y0, x1 - x0, y1 - y0


def _score(before: np.ndarray, after: np.ndarray, box: Crop) -> float:
    """Return the mean absolute difference within a box, 0..255."""
    x, y, w, h = box
    rows = slice(max(math.floor(y), 0), math.ceil(y + h))
    columns = slice(max(math.floor(x), 0), math.ceil(x + w))
    apart = before[rows, columns].astype(np.int16) - after[rows, columns].astype(np.int16)
    return float(np.abs(apart).mean()) if apart.size else 0.0


def _around(box: Crop, more: float, width: int, height: int) -> Crop:
    """Return x0, y0, x1, y1 of the crop of an image that shows a region's box, grown ``more`` times, with context."""
    x, y, w, h = box
    grown = (x + w / 2 - more * w / 2, y + h / 2 - more * h / 2, more * w, more * h)
    return crop_box(grown, SIZE[1] / SIZE[0], width, height)


def _crop(image: np.ndarray, box: Crop) -> Image.Image:
    return Image.fromarray(image).resize(SIZE, Image.Resampling.BICUBIC, box=box)
