"""The before/after sheet: the same people under every variant, whole and with their face enlarged."""

from __future__ import annotations

import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from anonbench import lines, manifests
from anonbench.datasets.coco import CocoFile
from anonbench.errors import AnonbenchError, nearest
from anonbench.records import ANONYMIZED, is_people
from anonbench.report.collect import HANDLED
from anonbench.report.figures.style import RED, save, styled
from anonbench.report.pictures import read
from anonbench.report.study import ORIGINAL, ReportStudy, parts
from anonbench.variants import EVERYTHING

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

TALLEST = 0.95
"""Quantile of the height of the tallest person shown: not the tallest of all, who is often an exception."""

HEAD = (0, 1, 2, 3, 4)
"""Nose, eyes and ears among COCO's keypoints."""

_OF_OTHERS = ("id", "image_id", "category_id", "bbox")
_OF_PEOPLE = (*_OF_OTHERS, "iscrowd", "face", "keypoints")
"""The keys of an annotation that people are chosen by."""

Crop = tuple[float, float, float, float]


class Status(NamedTuple):
    """Who was changed by one variant: ``everybody``, or the people of ``of`` (image and person id) by status."""

    everybody: bool
    of: dict[tuple[int, int], str]

    def changed(self, person: dict[str, Any]) -> bool:
        """Tell whether an annotated person was changed; somebody whom a method failed on is covered all the same."""
        return self.everybody or self.why(person) in (ANONYMIZED, HANDLED)

    def why(self, person: dict[str, Any]) -> str:
        """Return the person's status, as the manifest has it."""
        return self.of.get(_key(person), "not in the manifest")


class Row(NamedTuple):
    """A row of the sheet: a person and their image, and why they were ``left`` by the variants that did not change
    them, by variant."""

    person: dict[str, Any]
    image: dict[str, Any]
    left: dict[str, str]


def write_sheet(study: ReportStudy, dataset: str, anonymized: Path, out: Path) -> list[str]:
    """Draw ``sheet-<dataset>`` as PNG and PDF and return the file names.

    Raises AnonbenchError for an unknown data set and for images, annotations or manifests that are missing or damaged.
    """
    if dataset not in study.datasets:
        raise AnonbenchError(f"unknown data set '{dataset}'{nearest(dataset, study.datasets)}", entry="--dataset")
    split = study.shown_split(dataset)
    root = anonymized / dataset
    variants = [v for v in study.variants_of(dataset) if not study.sheet or v in (ORIGINAL, *study.sheet)]
    annotations = manifests.annotations_path(root / ORIGINAL, split)
    truth = _truth(annotations)
    anonymized_in = [v for v in variants if v != ORIGINAL and not study.is_control(v)]
    rows = choose(truth, study.people_per_sheet, statuses(root, anonymized_in, split, study.after))
    if not rows:
        raise AnonbenchError(
            "contains nobody with a box",
            file=annotations,
            remedy="choose another split, or leave the sheet out",
        )
    shown = {row.image["id"]: row.image for row in rows}
    columns = [_images(root / variant, split, shown) for variant in variants]
    pictures = [[column[row.image["id"]] for column in columns] for row in rows]
    with styled():
        return save(
            _draw(variants, rows, pictures), out, f"sheet-{dataset}", study.vector_formats, tight=False, dpi=DPI
        )


def _truth(path: Path) -> dict[str, Any]:
    """Return what of a COCO file the choice needs: of people no mask, of other objects where they are."""
    coco, annotations = lines.read(path)
    people = {c["id"] for c in coco["categories"] if is_people(c)}
    of = {True: _OF_PEOPLE, False: _OF_OTHERS}
    found = [{key: a[key] for key in of[a["category_id"] in people] if key in a} for a in annotations]
    return {"images": coco["images"], "categories": coco["categories"], "annotations": found}


def statuses(root: Path, variants: Iterable[str], split: str, after: Collection[str] = ()) -> dict[str, Status]:
    """Return who was changed by each of the ``variants``, which anonymize, from the manifests beside them.

    Those in ``after`` come after another one, so that a whole image is changed and not everybody in it.
    Raises AnonbenchError for one that is missing or damaged.
    """
    found = {}
    keys: dict[tuple[int, int], tuple[int, int]] = {}  # each is said by every variant, and held once
    for variant in variants:
        touches = manifests.summary_of(root / variant, split).get("touches")
        everybody = touches == EVERYTHING and variant not in after
        rows = () if everybody else manifests.rows_of(root / variant, split)
        of = {}
        for row in (row for row in rows if row["type"] == "person"):
            key = (row["image_id"], row["person_id"])
            of[keys.setdefault(key, key)] = sys.intern(row["status"])
        found[variant] = Status(everybody, of)
    return found


def choose(truth: dict[str, Any], count: int, status: Mapping[str, Status]) -> list[Row]:
    """Return up to ``count`` people, chosen by annotations and manifests alone, so that every variant's effect is seen.

    1. People whom most variants changed come first: where somebody was changed by all, only such people. Where nobody
       was, the next are those whom most of the variants changed that have not been seen to change anybody.
    2. Of equals, those come first who are seen well (at least `SMALLEST` pixels tall, not cut off by the image's edge,
       nobody in front of or behind more than a third of them, no crowd), then those whose face is visible.
    3. Of those who are still equal, the rows take even quantiles of height, from `TALLEST` down, of different images.
    4. The last row of two or more, unless a variant's effect has not been seen yet, is of somebody whom a variant left
       visible, if there is anybody who is seen well: of those left for the most frequent reason the one of median
       height.
    """
    images = {image["id"]: image for image in truth["images"]}
    people = _people(truth, images)
    changed = {_key(a): frozenset(v for v, of in status.items() if of.changed(a)) for a, _ in people}
    visible = [a for a, (poor, _) in people if not poor and len(changed[_key(a)]) < len(status)]
    spare = count > 1 and bool(_left(visible, status))
    waiting = {_key(a): (a, merit) for a, merit in people}
    unseen = frozenset[str]().union(*changed.values())
    chosen: list[dict[str, Any]] = []
    last: list[dict[str, Any]] = []
    while waiting and len(chosen) < (count if unseen else count - spare):
        ranks = {key: (-len(changed[key] & unseen), -len(changed[key]), *merit) for key, (_, merit) in waiting.items()}
        first = min(ranks.values())
        equal = [waiting[key][0] for key, rank in ranks.items() if rank == first]
        wanted = max(1, count - spare - len(chosen)) if unseen <= changed[_key(equal[0])] else 1
        for a in _at_quantiles(equal, wanted, chosen):
            chosen.append(a)
            unseen -= changed[_key(a)]
            del waiting[_key(a)]
    if len(chosen) < count:
        last = _at_quantiles(_left([a for a in visible if _key(a) in waiting], status), 1, chosen)
    return [
        Row(a, images[a["image_id"]], {v: of.why(a) for v, of in status.items() if v not in changed[_key(a)]})
        for a in [*sorted(chosen, key=_tall_first), *last]
    ]


Merit = tuple[int, bool]


def _people(truth: dict[str, Any], images: dict[int, dict[str, Any]]) -> list[tuple[dict[str, Any], Merit]]:
    """Return the people with a box, tall first, each with how well they are seen and whether their face is not.

    How well: 0 well, 1 not (small, cut off, covered or crowded), 2 a crowd.
    """
    kinds = {c["id"] for c in truth["categories"] if is_people(c)}
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for a in truth["annotations"]:
        by_image[a["image_id"]].append(a)
    found = []
    for a in truth["annotations"]:
        if a["category_id"] not in kinds or not a.get("bbox") or min(a["bbox"][2:]) <= 0:
            continue
        poor = a["bbox"][3] < SMALLEST or _cut(a["bbox"], images[a["image_id"]])
        poor = poor or any(
            _overlap(a["bbox"], other["bbox"]) > 1 / 3
            for other in by_image[a["image_id"]]
            if other is not a and other.get("bbox")
        )
        found.append((a, (2 if a.get("iscrowd") else int(poor), face_box(a) is None)))
    return sorted(found, key=lambda one: _tall_first(one[0]))


def _key(person: dict[str, Any]) -> tuple[int, int]:
    """Return what names a person in a manifest."""
    return person["image_id"], person["id"]


def _tall_first(person: dict[str, Any]) -> tuple[float, int, int]:
    return (-person["bbox"][3], person["image_id"], person["id"])


def _left(people: list[dict[str, Any]], status: Mapping[str, Status]) -> list[dict[str, Any]]:
    """Return those of the people whom some variant left for the reason that is most frequent among them."""
    reasons = {_key(a): {of.why(a) for of in status.values() if not of.changed(a)} for a in people}
    counts = Counter(reason for of in reasons.values() for reason in of)
    if not counts:
        return []
    most = min(counts, key=lambda reason: (-counts[reason], reason))
    return [a for a in people if most in reasons[_key(a)]]


def _at_quantiles(people: list[dict[str, Any]], count: int, beside: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return ``count`` of the people (tall first) nearest to even quantiles of height, of images not shown yet.

    The quantiles go from `TALLEST` down to ``1 - TALLEST``; of one person it is the median.
    """
    if count < 1 or not people:
        return []
    heights = np.array([a["bbox"][3] for a in people])
    share = np.linspace(TALLEST, 1 - TALLEST, count) if count > 1 else np.array([0.5])
    shown = {a["image_id"] for a in beside}
    left = list(range(len(people)))
    picked = []
    for target in np.quantile(heights, share)[: len(people)]:
        best = min(left, key=lambda i: (people[i]["image_id"] in shown, abs(heights[i] - target), i))
        left.remove(best)
        picked.append(people[best])
        shown.add(people[best]["image_id"])
    return picked


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
    found, hashes = {}, manifests.image_hashes(variant, split)
    file = manifests.annotations_path(variant, split)
    for image in CocoFile(file).images:
        if image["id"] in shown:
            name = image["file_name"]
            entry = {**shown[image["id"]], "file_name": name}
            found[image["id"]] = Image.fromarray(read(variant / split, entry, hashes.get(name)))
    for image in (image for number, image in shown.items() if number not in found):
        raise AnonbenchError("lacks the image", file=file, entry=f"image {image['id']}", remedy=manifests.REMEDY)
    return found


def _draw(variants: list[str], rows: list[Row], pictures: list[list[Image.Image]]) -> Figure:
    """Paste all crops into one picture at the figure's own resolution, and write beside it."""
    cell, gap, head, side = (round(v * DPI) for v in (CELL, 0.05, 0.52, 0.74))
    tall = round(ASPECT * cell)
    step = cell + gap + tall + 3 * gap
    width, height = side + len(variants) * (cell + gap), head + len(rows) * step
    canvas = Image.new("RGB", (width, height), "white")
    figure = Figure(figsize=(width / DPI, height / DPI))
    axis = figure.add_axes((0, 0, 1, 1), zorder=-1)
    for column, variant in enumerate(variants):
        x = side + column * (cell + gap) + cell / 2
        figure.text(x / width, 1 - head / 2 / height, _lines(variant), ha="center", va="center", weight="bold")
    for line, (row, images) in enumerate(zip(rows, pictures, strict=True)):
        top = head + line * step
        face = face_box(row.person)
        close = face or upper_box(row.person)
        figure.text((side - 2 * gap) / width, 1 - (top + step / 2) / height, _beside(row), ha="right", va="center")
        for column, (variant, image) in enumerate(zip(variants, images, strict=True)):
            left = side + column * (cell + gap)
            near = crop_box(close, 1.0, *image.size, least=1.6 * max(close[2:]))
            whole = crop_box(tuple(row.person["bbox"]), ASPECT, *image.size)
            canvas.paste(image.resize((cell, cell), Image.Resampling.BICUBIC, box=near), (left, top))
            canvas.paste(image.resize((cell, tall), Image.Resampling.BICUBIC, box=whole), (left, top + cell + gap))
            if variant in row.left:
                corner = (left - gap / 2, top - gap / 2)
                dashed: dict[str, Any] = {"fill": False, "ec": RED, "lw": 1.6, "ls": (0, (3, 2)), "zorder": 3}
                axis.add_patch(Rectangle(corner, cell + gap - 1, cell + tall + 2 * gap, **dashed))
    axis.imshow(canvas.point([STEP * round(v / STEP) for v in range(256)] * 3), aspect="auto", interpolation="none")
    axis.axis("off")
    return figure


def _beside(row: Row) -> str:
    """Return what stands beside a row: how tall the person and the face are, and why somebody was left."""
    face = face_box(row.person)
    text = f"{row.person['bbox'][3]:.0f} px\ntall\n\n" + (f"face\n{max(face[2:]):.0f} px" if face else "upper\nthird")
    reasons = list(dict.fromkeys(row.left.values()))
    said = "\n\n".join(textwrap.fill(reason.replace("_", " "), 10) for reason in reasons)
    return f"{text}\n\nnot\nchanged:\n{said}" if reasons else text


def _lines(variant: str) -> str:
    region, method, level = parts(variant)
    return "\n".join(text for text in (region, method.replace("_", " "), level) if text)
