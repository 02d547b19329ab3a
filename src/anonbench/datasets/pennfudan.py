"""Penn-Fudan: 170 photographs of pedestrians with a mask of each.

Layout: the readme.txt of PennFudanPed.zip, https://www.cis.upenn.edu/~jshi/ped_html (Wang et al., "Object Detection
Combining Recognition and Segmentation", ACCV 2007).
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from pydantic import Field

from anonbench.blocks import Strict
from anonbench.datasets.base import DatasetAdapter, Split
from anonbench.datasets.layout import AGAIN, check_split, image_size, need_folder, read_lines
from anonbench.errors import AnonbenchError

SPLITS = ("train", "val")
CATEGORY = {"id": 1, "name": "person", "supercategory": "person"}
PUBLISHED = "published"
"""The subset of the people whom the paper counts (345): all but those of added-object-list.txt."""

_SIZE = re.compile(r"Image size \(X x Y x C\) : (\d+) x (\d+) x \d+")
_BOX = re.compile(r"Bounding box for object (\d+) .*: \((\d+), (\d+)\) - \((\d+), (\d+)\)")


class PennFudanOptions(Strict):
    """How the images, which have no official split, are divided."""

    val_share: float = Field(0.3, gt=0, lt=1, description="Share of the images that val gets (51 of 170 at 0.3).")
    seed: int = Field(0, description="Seed of the division; the same seed divides alike on every machine.")


class PennFudan(DatasetAdapter):
    """Pedestrians with masks; the division into train and val is ours."""

    Options: ClassVar[type[Strict]] = PennFudanOptions
    split_options = ("val_share", "seed")

    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``, the folder that holds PennFudanPed."""
        check_split("pennfudan", split, SPLITS)
        base = need_folder(root / "PennFudanPed")
        for name in ("PNGImages", "PedMasks", "Annotation"):
            need_folder(base / name)
        names = _names(base)
        chosen = self._divide(names)[split]
        added = _added(base / "added-object-list.txt")
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, name in enumerate(names, 1):
            if name not in chosen:
                continue
            file = base / "PNGImages" / f"{name}.png"
            width, height = image_size(file, f"image {number}")
            images.append({"id": number, "file_name": file.name, "width": width, "height": height})
            for index, annotation in _people(base, name, (width, height)):
                subsets = {} if added is None else {"subsets": [] if (file.name, index) in added else [PUBLISHED]}
                annotations.append({"id": 1000 * number + index, "image_id": number, **annotation, **subsets})
        return Split(
            folder=Path("PennFudanPed") / "PNGImages",
            images=images,
            categories=[CATEGORY],
            annotations=annotations,
            sources=tuple(base / "Annotation" / f"{name}.txt" for name in sorted(chosen)),
            info={"description": f"Penn-Fudan {split}", **self.options.model_dump()},
        )

    def _divide(self, names: list[str]) -> dict[str, set[str]]:
        """Divide the images by a hash of seed and name: no order of files or generator's version matters."""

        def key(name: str) -> bytes:
            return hashlib.sha256(f"pennfudan {self.options.seed} {name}".encode()).digest()

        ordered = sorted(names, key=key)
        count = min(max(round(self.options.val_share * len(ordered)), 1), len(ordered) - 1)
        return {"val": set(ordered[:count]), "train": set(ordered[count:])}


def _names(base: Path) -> list[str]:
    """Return the images' names without suffix, sorted; raise AnonbenchError unless each has mask and annotation."""
    images = {p.stem for p in (base / "PNGImages").glob("*.png")}
    others = {
        "mask": ("PedMasks", "_mask.png", {p.name.removesuffix("_mask.png") for p in _files(base, "PedMasks")}),
        "annotation": ("Annotation", ".txt", {p.stem for p in _files(base, "Annotation")}),
    }
    if len(images) < 2:
        raise AnonbenchError(f"has {len(images)} images", file=base / "PNGImages", remedy=AGAIN)
    for what, (folder, suffix, names) in others.items():
        for name in sorted(images ^ names):
            if name in images:
                raise AnonbenchError(
                    f"no such file: image {name}.png has no {what}",
                    file=base / folder / f"{name}{suffix}",
                    remedy=AGAIN,
                )
            raise AnonbenchError("has no image", file=base / folder / f"{name}{suffix}", remedy=AGAIN)
    return sorted(images)


def _files(base: Path, folder: str) -> list[Path]:
    return [p for p in (base / folder).iterdir() if p.is_file() and not p.name.startswith(".")]


def _people(base: Path, name: str, size: tuple[int, int]) -> list[tuple[int, dict[str, Any]]]:
    """Return number and annotation of each pedestrian of an image, ordered by number.

    The mask's value n is the n-th pedestrian of the text file; the box is the mask's own. Raises AnonbenchError where
    mask and text disagree: one of them is of another release.
    """
    file, text = base / "PedMasks" / f"{name}_mask.png", base / "Annotation" / f"{name}.txt"
    boxes = read_boxes(text, size)
    image_size(file)
    try:
        with Image.open(file) as mask:
            values = np.asarray(mask)
    except (OSError, SyntaxError, ValueError) as error:
        raise AnonbenchError("cannot be decoded", file=file, remedy="unpack the official archive again") from error
    if values.ndim != 2 or values.shape != size[::-1]:
        raise AnonbenchError(f"is not a mask of one channel and {size[0]}x{size[1]} pixels", file=file, remedy=AGAIN)
    people = []
    found = {int(v) for v in np.unique(values)} - {0}
    if found != set(boxes):
        raise AnonbenchError(
            f"has the pedestrians {sorted(found)}, {text} has {sorted(boxes)}", file=file, remedy=AGAIN
        )
    for index in sorted(found):
        rle = coco_mask.encode(np.asfortranarray(values == index, dtype=np.uint8))
        annotation = {
            "category_id": CATEGORY["id"],
            "bbox": [float(v) for v in coco_mask.toBbox(rle)],
            "area": float(coco_mask.area(rle)),
            "iscrowd": 0,
            "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode()},
        }
        people.append((index, annotation))
    return people


def read_boxes(file: Path, size: tuple[int, int]) -> dict[int, tuple[float, float, float, float]]:
    """Return the boxes (x, y, w, h in pixels, from 0) of an annotation file in the PASCAL format 1.00, by number.

    Raises AnonbenchError when the file is empty, cut short, of another format, or of an image of another size.
    """
    text = "\n".join(read_lines(file))
    stated, objects = _SIZE.search(text), re.search(r"Objects with ground truth : (\d+)", text)
    if stated is None or objects is None:
        raise AnonbenchError("is not an annotation of Penn-Fudan (PASCAL format 1.00)", file=file, remedy=AGAIN)
    if (int(stated[1]), int(stated[2])) != size:
        raise AnonbenchError(
            f"is of an image of {stated[1]}x{stated[2]} pixels, which has {size[0]}x{size[1]}", file=file, remedy=AGAIN
        )
    boxes = {}
    for match in _BOX.finditer(text):
        index, x0, y0, x1, y1 = (int(v) for v in match.groups())
        boxes[index] = (x0 - 1.0, y0 - 1.0, x1 - x0 + 1.0, y1 - y0 + 1.0)  # pixels are counted from 1, both ends in
    if len(boxes) != int(objects[1]):
        raise AnonbenchError(f"names {objects[1]} pedestrians and has {len(boxes)} boxes", file=file, remedy=AGAIN)
    return boxes


def _added(file: Path) -> set[tuple[str, int]] | None:
    """Return image name and number of the people whom the release added to the paper's, None without the list."""
    if not file.is_file():
        return None
    added = set()
    for number, line in enumerate(read_lines(file), 1):
        if not line or line.startswith("#"):
            continue
        name, _, index = line.partition("\t")
        if not index.isdigit():
            raise AnonbenchError(f"'{line[:60]}' is not a name and a number", file=file, entry=f"line {number}")
        added.add((name, int(index)))
    return added
