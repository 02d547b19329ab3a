"""The before/after sheet: the same people under every variant, whole and with their face enlarged."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from anonbench.datasets.coco import CocoFile
from anonbench.errors import AnonbenchError, nearest
from anonbench.files import read_json
from anonbench.images import read_rgb
from anonbench.records import is_people
from anonbench.report.figures.style import save, styled
from anonbench.report.study import ORIGINAL, Study, parts

CELL = 0.95
"""Width of a cell in inches."""

DPI = 120
"""Pixels per inch of the crops, of the PNG and of the picture in the PDF."""

STEP = 3
"""Colours of the sheet are multiples of this, of 255: not to be seen, and a third less to store."""

ASPECT = 1.5
"""Height of a body cell by its width; face cells are square."""

CONTEXT = 1.25
"""A crop's size by the size of what it shows."""

SMALLEST = 32
"""Height in pixels of the smallest person worth showing where there are others."""

HEAD = (0, 1, 2, 3, 4)
"""Nose, eyes and ears among COCO's keypoints."""

Crop = tuple[float, float, float, float]


def write_sheet(study: Study, dataset: str, anonymized: Path, out: Path) -> list[str]:
    """Draw ``sheet-<dataset>`` as PNG and PDF and return the file names.

    Raises AnonbenchError for an unknown data set and for images or annotations that are missing or damaged.
    """
    if dataset not in study.datasets:
        raise AnonbenchError(f"unknown data set '{dataset}'{nearest(dataset, study.datasets)}", entry="--dataset")
    split = study.datasets[dataset]["train"]
    root = anonymized / dataset
    truth = read_json(root / ORIGINAL / "annotations" / f"{split}.json")
    people = choose(truth, study.people_per_sheet)
    if not people:
        raise AnonbenchError(
            "contains nobody with a box",
            file=root / ORIGINAL / "annotations" / f"{split}.json",
            remedy="choose another training split, or leave the sheet out",
        )
    shown = {image["id"]: image for _, image in people}
    columns = [_images(root / variant, split, shown) for variant in study.variants_of(dataset)]
    rows = [[column[image["id"]] for column in columns] for _, image in people]
    with styled():
        return save(_draw(study.variants_of(dataset), people, rows), out, f"sheet-{dataset}", tight=False, dpi=DPI)


def choose(truth: dict[str, Any], count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return up to ``count`` annotations with their image: people whose face is visible, evenly over sizes, tall first.

    A face is visible when the annotation has a face box, or a visible nose and eye. People who are crowds, cut off
    by the image's edge, or shown in front of or behind a larger person by more than a third are passed over, as long
    as others are left. Where nobody is left, it is the tallest people with a box, crowds last. The choice depends on
    nothing but the annotations.
    """
    images = {image["id"]: image for image in truth["images"]}
    kinds = {c["id"] for c in truth["categories"] if is_people(c)}
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for a in truth["annotations"]:
        by_image[a["image_id"]].append(a)
    everybody = [
        a for a in truth["annotations"] if a["category_id"] in kinds and a.get("bbox") and min(a["bbox"][2:]) > 0
    ]
    found = []
    for a in everybody:
        if a.get("iscrowd") or a["bbox"][3] < SMALLEST or face_box(a) is None:
            continue
        image = images[a["image_id"]]
        poor = _cut(a["bbox"], image) or any(
            _overlap(a["bbox"], other["bbox"]) > 1 / 3
            for other in by_image[a["image_id"]]
            if other is not a and other.get("bbox")
        )
        found.append((bool(poor), a))
    good = [a for poor, a in found if not poor]
    if not found:
        everybody.sort(key=lambda a: (bool(a.get("iscrowd")), -a["bbox"][3], a["image_id"], a["id"]))
        good = everybody[:count]
    elif len(good) < count:
        good += [a for poor, a in found if poor][: count - len(good)]
    good.sort(key=lambda a: (-a["bbox"][3], a["image_id"], a["id"]))
    if len(good) > count:
        good = _spread(good, count)
    return [(a, images[a["image_id"]]) for a in good]


def _spread(people: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return ``count`` of the people (tall first), nearest to evenly spaced logarithms of height, of many images."""
    heights = np.log([a["bbox"][3] for a in people])
    left = list(range(len(people)))
    images: set[int] = set()
    chosen: list[int] = []
    for target in np.linspace(heights[0], heights[-1], count):
        pick = min(left, key=lambda i: (people[i]["image_id"] in images, abs(heights[i] - target), i))
        left.remove(pick)
        chosen.append(pick)
        images.add(people[pick]["image_id"])
    return [people[i] for i in sorted(chosen)]


def face_box(annotation: dict[str, Any]) -> Crop | None:
    """Return x, y, w, h of a visible face: annotated, or around nose, eyes and ears; None when it is not visible."""
    face = annotation.get("face")
    box = face.get("bbox") if isinstance(face, dict) else None
    if box:
        return tuple(box)
    flat = annotation.get("keypoints") or ()
    if len(flat) < 3 * len(HEAD):
        return None
    points = np.asarray(flat, dtype=float).reshape(-1, 3)[list(HEAD)]
    visible = points[:, 2] >= 2
    if not (visible[0] and visible[1:3].any()):
        return None
    points = points[points[:, 2] > 0, :2]
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(1.3 * float((high - low).max()), 0.12 * annotation["bbox"][3])
    x, y = (low + high) / 2
    return (x - side / 2, y - side / 2, side, side)


def upper_box(annotation: dict[str, Any]) -> Crop:
    """Return x, y, w, h of the upper third of a person, as wide as tall: where the face is when nobody says."""
    x, y, w, h = annotation["bbox"]
    return (x + w / 2 - h / 6, y, h / 3, h / 3)


def _cut(box: list[float], image: dict[str, Any]) -> bool:
    x, y, w, h = box
    return x < 1 or y < 1 or x + w > image["width"] - 1 or y + h > image["height"] - 1


def _overlap(box: list[float], other: list[float]) -> float:
    """Return the share of ``box`` under ``other``."""
    w = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    h = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    return max(0, w) * max(0, h) / max(box[2] * box[3], 1e-9)


def crop_box(box: Crop, aspect: float, width: int, height: int, least: float = 0) -> Crop:
    """Return x0, y0, x1, y1 around ``box`` with context and height / width ``aspect``, moved into the image."""
    x, y, w, h = box
    tall = max(CONTEXT * h, CONTEXT * w * aspect, least)
    wide = tall / aspect
    if tall > height or wide > width:
        scale = min(height / tall, width / wide)
        tall, wide = tall * scale, wide * scale
    x0 = min(max(x + w / 2 - wide / 2, 0), width - wide)
    y0 = min(max(y + h / 2 - tall / 2, 0), height - tall)
    return x0, y0, x0 + wide, y0 + tall


def _images(variant: Path, split: str, shown: dict[int, dict[str, Any]]) -> dict[int, Image.Image]:
    """Return the images to be shown by id, under the names that the variant's own annotations give them."""
    found = {}
    for image in CocoFile(variant / "annotations" / f"{split}.json").images:
        if image["id"] in shown:
            found[image["id"]] = _open(variant / split / image["file_name"], shown[image["id"]])
    for image in (image for number, image in shown.items() if number not in found):
        raise AnonbenchError(
            "lacks the image",
            file=variant / "annotations" / f"{split}.json",
            entry=f"image {image['id']}",
            remedy="run the anonymize stage again",
        )
    return found


def _open(path: Path, image: dict[str, Any]) -> Image.Image:
    """Open an image in the frame of its labels."""
    try:
        return Image.fromarray(read_rgb(path, (image["width"], image["height"]), image.get("labels_on")))
    except AnonbenchError as error:
        raise AnonbenchError(error.message, file=path, remedy="run the anonymize stage again") from None


def _draw(
    variants: list[str], people: list[tuple[dict[str, Any], dict[str, Any]]], rows: list[list[Image.Image]]
) -> Figure:
    """Paste all crops into one picture at the figure's own resolution, and write beside it."""
    cell, gap, head, side = (round(v * DPI) for v in (CELL, 0.05, 0.42, 0.62))
    tall = round(ASPECT * cell)
    step = cell + gap + tall + 3 * gap
    width, height = side + len(variants) * (cell + gap), head + len(people) * step
    canvas = Image.new("RGB", (width, height), "white")
    figure = Figure(figsize=(width / DPI, height / DPI))
    for column, variant in enumerate(variants):
        x = side + column * (cell + gap) + cell / 2
        figure.text(x / width, 1 - head / 2 / height, _two_lines(variant), ha="center", va="center", weight="bold")
    for row, ((annotation, _), images) in enumerate(zip(people, rows, strict=True)):
        top = head + row * step
        face = face_box(annotation)
        close = face or upper_box(annotation)
        size = max(close[2:])
        label = f"{annotation['bbox'][3]:.0f} px\ntall\n\n" + (f"face\n{size:.0f} px" if face else "upper\nthird")
        figure.text((side - 2 * gap) / width, 1 - (top + step / 2) / height, label, ha="right", va="center")
        for column, image in enumerate(images):
            left = side + column * (cell + gap)
            near = crop_box(close, 1.0, *image.size, least=1.6 * size)
            whole = crop_box(tuple(annotation["bbox"]), ASPECT, *image.size)
            canvas.paste(image.resize((cell, cell), Image.Resampling.BICUBIC, box=near), (left, top))
            canvas.paste(image.resize((cell, tall), Image.Resampling.BICUBIC, box=whole), (left, top + cell + gap))
    axis = figure.add_axes((0, 0, 1, 1), zorder=-1)
    axis.imshow(canvas.point([STEP * round(v / STEP) for v in range(256)] * 3), aspect="auto", interpolation="none")
    axis.axis("off")
    return figure


def _two_lines(variant: str) -> str:
    region, method, level = parts(variant)
    return f"{region}\n{method.replace('_', ' ')}" + (f", {level}" if level else "") if region else variant
