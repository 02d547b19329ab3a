"""CrowdPose: people in crowds with 14 keypoints, in a format like COCO's, and a crowd index of each image.

Format and evaluation: https://github.com/Jeff-sjtu/CrowdPose (Li et al., "CrowdPose: Efficient Crowded Scenes Pose
Estimation and A New Benchmark", CVPR 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anonbench.datasets.base import DatasetAdapter, Split
from anonbench.datasets.coco import Annotations, CocoFile
from anonbench.datasets.layout import AGAIN, check_split, image_size, need_folder
from anonbench.errors import AnonbenchError
from anonbench.records import KEYPOINTS, SKELETON

SPLITS = ("train", "val", "trainval", "test")
POINTS = (
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
    "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck",
)  # fmt: skip
"""CrowdPose's 14 keypoints in its order; ``head`` is the top of the head."""
BODY = POINTS[:12]
"""Those that COCO has too."""
MEDIUM, HARD = 0.2, 0.8
"""Crowd indices from which on an image is no longer easy, and is hard: those of the official evaluator."""

_PLACE = [KEYPOINTS.index(name) for name in BODY]


def to_coco17(points: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return COCO's 17 keypoints (51 numbers: x, y, visibility) and the top of the head and the neck (6 numbers).

    ``points`` are CrowdPose's 14 (42 numbers). Nose, eyes and ears, which CrowdPose does not have, become 0, 0, 0.
    Raises ValueError for another number of values.
    """
    if len(points) != 3 * len(POINTS):
        raise ValueError(f"{len(points)} numbers, not {3 * len(POINTS)}")
    coco: list[Any] = [0] * 3 * len(KEYPOINTS)
    for i, place in enumerate(_PLACE):
        coco[3 * place : 3 * place + 3] = points[3 * i : 3 * i + 3]
    return coco, list(points[3 * len(BODY) :])


def from_coco17(points: list[Any], head: list[Any] | None = None) -> list[Any]:
    """Return CrowdPose's 14 keypoints (42 numbers) from COCO's 17 and the top of the head and the neck.

    Without ``head`` these two become 0, 0, 0: COCO does not have them. Nose, eyes and ears are left out. Raises
    ValueError for another number of values.
    """
    head = [0] * 6 if head is None else head
    if len(points) != 3 * len(KEYPOINTS) or len(head) != 6:
        raise ValueError(f"{len(points)} and {len(head)} numbers, not {3 * len(KEYPOINTS)} and 6")
    return [value for place in _PLACE for value in points[3 * place : 3 * place + 3]] + list(head)


def subset_of(crowd_index: float) -> str:
    """Return ``easy``, ``medium`` or ``hard``, as the official evaluator divides images by their crowd index."""
    if crowd_index < MEDIUM:
        return "easy"
    return "medium" if crowd_index < HARD else "hard"


class CrowdPose(DatasetAdapter):
    """People with boxes and keypoints and no masks; all splits share one folder of images."""

    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``; annotations are converted when they are iterated over."""
        check_split("crowdpose", split, SPLITS)
        folder = need_folder(root / "images")
        coco = CocoFile(need_folder(root / "json") / f"crowdpose_{split}.json")
        person = _category(coco)
        return Split(
            folder=Path("images"),
            images=[_image(image, folder, coco.path) for image in coco.images],
            categories=[person],
            annotations=_Converted(coco.annotations, coco.path),
            sources=(coco.path,),
            info={"description": f"CrowdPose {split}", **coco.info},
            licenses=coco.licenses,
        )


def _category(coco: CocoFile) -> dict[str, Any]:
    """Return the one category with COCO's keypoints; raise AnonbenchError for a file of other keypoints."""
    names = [tuple(category.get("keypoints", ())) for category in coco.categories]
    if len(names) != 1 or names[0][: len(BODY)] != BODY or len(names[0]) != len(POINTS):
        raise AnonbenchError(
            f"is not of one category with CrowdPose's {len(POINTS)} keypoints",
            file=coco.path,
            entry="categories",
            remedy="use the official annotations of CrowdPose",
        )
    own = coco.categories[0]
    return {
        "id": own.get("id"),
        "name": "person",
        "supercategory": "person",
        "keypoints": list(KEYPOINTS),
        "skeleton": [list(limb) for limb in SKELETON],
    }


def _image(image: dict[str, Any], folder: Path, file: Path) -> dict[str, Any]:
    """Return an image's entry with its subset, and its size from the file.

    The first release of the annotations has width and height exchanged; any other difference is an error.
    """
    entry = f"image {image.get('id')}"
    name, index = image.get("file_name"), image.get("crowdIndex")
    if not isinstance(name, str) or Path(name).name != name:
        raise AnonbenchError(f"has the file name {name!r}", file=file, entry=entry, remedy=AGAIN)
    if not isinstance(index, (int, float)) or not math.isfinite(index):
        raise AnonbenchError(f"has the crowdIndex {index!r}", file=file, entry=entry, remedy=AGAIN)
    size = image_size(folder / name, entry)
    if sorted(size) != sorted(v for v in (image.get("width"), image.get("height")) if isinstance(v, int)):
        raise AnonbenchError(
            f"is annotated as {image.get('width')}x{image.get('height')}, but {folder / name} is {size[0]}x{size[1]}",
            file=file,
            entry=entry,
            remedy="use images and annotations of the same release",
        )
    return {**image, "width": size[0], "height": size[1], "subsets": [subset_of(index)]}


class _Converted:
    """CrowdPose's annotations in COCO's terms, one by one."""

    def __init__(self, annotations: Annotations, file: Path) -> None:
        self.annotations, self.file = annotations, file

    def __len__(self) -> int:
        return len(self.annotations)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number, annotation in enumerate(self.annotations):
            yield self._convert(annotation, number) if isinstance(annotation, dict) else annotation

    def _convert(self, annotation: dict[str, Any], number: int) -> dict[str, Any]:
        points = annotation.get("keypoints")
        try:
            if not isinstance(points, list):
                raise ValueError(f"{points!r} is not a list")
            coco, head = to_coco17(points)
        except ValueError as error:
            raise AnonbenchError(
                f"keypoints: {error}",
                file=self.file,
                entry=f"annotation {annotation.get('id', f'number {number}')}",
                remedy="use the official annotations of CrowdPose",
            ) from None
        converted = {**annotation, "keypoints": coco, "head": head, "crowdpose_keypoints": points}
        converted["num_keypoints"] = sum(isinstance(v, (int, float)) and v > 0 for v in coco[2::3])
        converted.setdefault("iscrowd", 0)
        if "area" not in annotation and (area := _area(annotation.get("bbox"))) is not None:
            converted["area"] = area
        return converted


def _area(box: Any) -> float | None:
    """Return a box's area in pixels, None for what is not a box: CrowdPose has no areas."""
    if isinstance(box, list) and len(box) == 4 and all(isinstance(v, (int, float)) for v in box[2:]):
        return max(float(box[2]), 0.0) * max(float(box[3]), 0.0)
    return None
