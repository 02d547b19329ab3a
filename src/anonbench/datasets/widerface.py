"""WIDER FACE: every face is an object with a box, six attributes and, in val, its easy, medium and hard subset.

Layout and attributes: the readme of wider_face_split.zip, http://shuoyang1213.me/WIDERFACE (Yang et al., "WIDER FACE: A
Face Detection Benchmark", CVPR 2016); subsets: the ground truth of its eval_tools.zip.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from anonbench.datasets.base import DatasetAdapter, Split
from anonbench.datasets.layout import AGAIN, check_split, image_size, need_folder, read_lines
from anonbench.errors import AnonbenchError

SPLITS = ("train", "val")
CATEGORY = {"id": 1, "name": "face", "supercategory": "person"}
ATTRIBUTES = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")
"""The six numbers after a box, in their order in the label file."""
SUBSETS = ("easy", "medium", "hard")
GROUND_TRUTH = ("eval_tools/ground_truth", "ground_truth")
"""Where the subsets of val are looked for under the root."""

Row = list[int]


class WiderFace(DatasetAdapter):
    """Faces as objects; those marked invalid are ignored regions, those of no size stay and get a ledger row."""

    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``: label file, sizes from the image headers, and subsets where they are."""
        check_split("widerface", split, SPLITS)
        folder = need_folder(root / f"WIDER_{split}" / "images")
        labels = root / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt"
        rows = read_labels(labels)
        _check_images(folder, rows, labels)
        images = []
        for number, name in enumerate(rows, 1):
            width, height = image_size(folder / name, f"image {number}")
            images.append({"id": number, "file_name": name, "width": width, "height": height})
        sources, subsets = [labels], None
        if split == "val" and (files := _subset_files(root)):
            subsets = {subset: read_subset(file, rows, labels) for subset, file in files.items()}
            sources += files.values()
        return Split(
            folder=folder.relative_to(root),
            images=images,
            categories=[CATEGORY],
            annotations=list(_annotations(rows, subsets)),
            sources=tuple(sources),
            info={"description": f"WIDER FACE {split}"},
        )


def read_labels(file: Path) -> dict[str, list[Row]]:
    """Return the rows (x, y, w, h in pixels, then `ATTRIBUTES`) of each image by its name, in the file's order.

    A number of 0 faces is followed by one row of zeros, which is no face.

    Raises AnonbenchError that names the line when the file is cut short or of another format.
    """
    lines = read_lines(file)
    while not lines[-1]:
        lines.pop()
    labels: dict[str, list[Row]] = {}
    at = 0

    def refuse(line: int, message: str) -> AnonbenchError:
        return AnonbenchError(message, file=file, entry=f"line {line + 1}", remedy=AGAIN)

    def numbers(line: int, count: int) -> Row:
        if line >= len(lines):
            raise refuse(line, "the file is cut short")
        try:
            values = [int(value) for value in lines[line].split()]
        except ValueError:
            values = []
        if len(values) != count:
            what = "a number of faces" if count == 1 else f"a face's {count} whole numbers"
            raise refuse(line, f"'{lines[line][:60]}' is not {what}")
        return values

    while at < len(lines):
        name = lines[at]
        if not name.lower().endswith((".jpg", ".jpeg", ".png")) or ".." in name.split("/") or name.startswith("/"):
            raise refuse(at, f"'{name[:60]}' is not the path of an image")
        if name in labels:
            raise refuse(at, f"duplicate image {name}")
        (count,) = numbers(at + 1, 1)
        if count < 0:
            raise refuse(at + 1, f"{count} faces")
        first = at + 2
        labels[name] = [numbers(line, 4 + len(ATTRIBUTES)) for line in range(first, first + count)]
        if count == 0 and any(numbers(first, 4 + len(ATTRIBUTES))):
            raise refuse(first, "a face follows a number of 0 faces")
        at = first + max(count, 1)
    return labels


def _check_images(folder: Path, rows: dict[str, list[Row]], labels: Path) -> None:
    """Raise AnonbenchError for images on disk that the label file does not know: their faces would be nobody's."""
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".png")}
    unknown = sorted(name for name in found if name not in rows and not Path(name).name.startswith("."))
    if unknown:
        raise AnonbenchError(
            f"has no labels of {len(unknown)} images in {folder}, the first one {unknown[0]}",
            file=labels,
            remedy="use images and labels of the same release, or remove the images",
        )


def _annotations(
    rows: dict[str, list[Row]], subsets: dict[str, dict[str, set[int]]] | None
) -> Iterator[dict[str, Any]]:
    number = 0
    for image, (name, faces) in enumerate(rows.items(), 1):
        for index, row in enumerate(faces, 1):
            number += 1
            box = [float(v) for v in row[:4]]
            attributes = dict(zip(ATTRIBUTES, row[4:], strict=True))
            annotation = {
                "id": number,
                "image_id": image,
                "category_id": CATEGORY["id"],
                "bbox": box,
                "area": max(box[2], 0.0) * max(box[3], 0.0),
                "iscrowd": int(attributes["invalid"] == 1),
                "face": {"bbox": list(box)},
                **attributes,
            }
            if attributes["invalid"] == 1:
                annotation["ignore"] = 1
            if subsets is not None:
                annotation["subsets"] = [s for s in SUBSETS if index in subsets[s].get(name, ())]
            yield annotation


def _subset_files(root: Path) -> dict[str, Path]:
    """Return the three files of subsets, or none of them; raise AnonbenchError when one is missing."""
    for place in GROUND_TRUTH:
        files = {subset: root / place / f"wider_{subset}_val.mat" for subset in SUBSETS}
        missing = [file for file in files.values() if not file.is_file()]
        if missing and len(missing) < len(files):
            raise AnonbenchError("no such file", file=missing[0], remedy="unpack eval_tools.zip again")
        if not missing:
            return files
    return {}


def read_subset(file: Path, rows: dict[str, list[Row]], labels: Path) -> dict[str, set[int]]:
    """Return the numbers (from 1) of the faces of a subset by image name, from a MATLAB file of eval_tools.

    The cells ``event_list``, ``file_list``, ``face_bbx_list`` and ``gt_list`` (indices from 1) are parallel. Raises
    AnonbenchError when the file is damaged, or its boxes are not those of ``rows``, read from ``labels``.
    """
    from scipy.io import loadmat  # slow to import, and only val has subsets

    try:
        cells = loadmat(file)
        events = [str(event[0].item()) for event in cells["event_list"]]
        found: dict[str, set[int]] = {}
        boxes: dict[str, np.ndarray] = {}
        for event, names, faces, kept in zip(
            events, cells["file_list"], cells["face_bbx_list"], cells["gt_list"], strict=True
        ):
            for name, box, index in zip(names[0], faces[0], kept[0], strict=True):
                path = f"{event}/{name[0].item()}.jpg"
                found[path] = {int(i) for i in index[0].ravel()}
                boxes[path] = np.asarray(box[0]).reshape(-1, 4)
    except Exception as error:  # loadmat raises whatever a damaged file leads it to
        raise AnonbenchError(
            f"is not a ground truth of WIDER FACE's eval_tools ({error})",
            file=file,
            remedy="unpack eval_tools.zip again",
        ) from error
    for name, faces in rows.items():
        ours = np.array([row[:4] for row in faces] or [[0] * 4])
        if name not in found or not np.array_equal(boxes[name], ours) or max(found[name], default=1) > len(ours):
            raise AnonbenchError(
                f"has other boxes of image {name} than {labels}",
                file=file,
                remedy="use labels and eval_tools of the same release",
            )
    return found
