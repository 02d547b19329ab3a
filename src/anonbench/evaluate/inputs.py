"""What the stage reads: a model's predictions and COCO ground truth, checked before anything is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.records import KEYPOINTS

IOU_TYPES = {"detection": "bbox", "segmentation": "segm", "pose": "keypoints"}
"""A recipe's tasks and what COCO calls their metrics."""


@dataclass(frozen=True)
class GroundTruth:
    """COCO annotations: ``images`` by id, ``categories`` by id, ``annotations`` as in the file."""

    file: Path
    images: dict[int, dict[str, Any]]
    categories: dict[int, dict[str, Any]]
    annotations: list[dict[str, Any]]

    def with_masks(self) -> list[int]:
        """Return the ids of the categories whose every annotation has a mask, but for those `with_boxes_for_masks`.

        Raises AnonbenchError for a category of which only a part has one: its AP would mean nothing.
        """
        have, lack = set[int](), dict[int, int]()
        for annotation in self.annotations:
            if annotation.get("segmentation"):
                have.add(annotation["category_id"])
            else:
                lack.setdefault(annotation["category_id"], annotation["id"])
        for category in sorted(have & lack.keys()):
            raise AnonbenchError(
                f"has no segmentation, but others of '{self.categories[category]['name']}' have",
                file=self.file,
                entry=f"annotation {lack[category]}",
                remedy="give every annotation of the category a mask, or none",
            )
        return sorted(have - set(self.with_boxes_for_masks()))

    def with_boxes_for_masks(self) -> list[int]:
        """Return the ids of the categories in which no object has a mask, only its box's outline in place of one."""
        boxes = {a["category_id"] for a in self.annotations if has_box_mask(a)}
        real = {
            a["category_id"]
            for a in self.annotations
            if a.get("segmentation") and not a.get("iscrowd") and not has_box_mask(a)
        }
        return sorted(boxes - real)

    def with_keypoints(self) -> list[int]:
        """Return the ids of the categories with annotations that carry COCO's 17 keypoints."""
        return sorted({a["category_id"] for a in self.annotations if a.get("keypoints")})

    def subsets(self) -> list[str]:
        """Return the names of the data set's evaluation subsets, of images or of annotations (key ``subsets``)."""
        return sorted(
            {name for entry in (*self.images.values(), *self.annotations) for name in entry.get("subsets", ())}
        )

    def images_of(self, subset: str) -> GroundTruth:
        """Return the ground truth of the images that count in a subset; without ``subsets`` an image counts in all."""
        images = {i: image for i, image in self.images.items() if counts_in(image, subset)}
        return replace(self, images=images, annotations=[a for a in self.annotations if a["image_id"] in images])


def counts_in(entry: dict[str, Any], subset: str) -> bool:
    """Tell whether an image or annotation counts in a subset: it names the subset, or names none at all."""
    return subset in entry.get("subsets", (subset,))


def has_box_mask(annotation: dict[str, Any]) -> bool:
    """Tell whether an annotation's segmentation is its box's outline, because the data has no mask."""
    return annotation.get("mask_source") == "box"


@dataclass(frozen=True)
class Predictions:
    """A model's detections on the validation images, and what the train stage says of the model."""

    file: Path
    detections: list[dict[str, Any]]
    model: dict[str, Any]

    @property
    def tasks(self) -> list[str]:
        """The model's tasks, in the order of `IOU_TYPES`."""
        return [task for task in IOU_TYPES if task in self.model["tasks"]]


def read_annotations(path: str | Path) -> GroundTruth:
    """Read COCO ground truth; raise AnonbenchError that names the first entry which is not COCO's."""
    path = Path(path)
    data = read_json(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise AnonbenchError(f"has no list '{key}'", file=path, remedy="give COCO annotations")
    truth = GroundTruth(
        path, {i["id"]: i for i in data["images"]}, {c["id"]: c for c in data["categories"]}, data["annotations"]
    )
    if not truth.images:
        raise AnonbenchError("has no images", file=path, remedy="give the annotations of a validation split")
    for image in data["images"]:
        if not (_positive(image.get("height")) and _positive(image.get("width"))):
            raise AnonbenchError("has no height and width", file=path, entry=f"image {image['id']}")
        if not _names(image.get("subsets", [])):
            raise AnonbenchError("has 'subsets' that are no list of names", file=path, entry=f"image {image['id']}")
    for annotation in truth.annotations:
        problem = _annotation_problem(annotation, truth)
        if problem:
            raise AnonbenchError(problem, file=path, entry=f"annotation {annotation.get('id')}")
    return truth


def _annotation_problem(annotation: dict[str, Any], truth: GroundTruth) -> str | None:
    if annotation.get("image_id") not in truth.images:
        return f"lies in image {annotation.get('image_id')}, which is not among the images"
    if annotation.get("category_id") not in truth.categories:
        return f"is of category {annotation.get('category_id')}, which is not among the categories"
    if not _numbers(annotation.get("bbox"), 4):
        return "has no bbox of four numbers"
    if not _names(annotation.get("subsets", [])):
        return "has 'subsets' that are no list of names"
    masks = annotation.get("segmentation")
    if isinstance(masks, list) and not all(isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0 for p in masks):
        return "has a polygon of fewer than three points"
    points = annotation.get("keypoints")
    if points and not _numbers(points, 3 * len(KEYPOINTS)):
        return f"has {len(points)} numbers as keypoints, not {3 * len(KEYPOINTS)} (COCO's sigmas are for 17 keypoints)"
    return None


def read_predictions(path: str | Path, truth: GroundTruth) -> Predictions:
    """Read a model's predictions and check them against the ground truth.

    Raises AnonbenchError for a file of another shape or data set, and for the first detection of an unknown image or
    category, without what its model's tasks need, or with numbers that are not finite.
    """
    path = Path(path)
    data = read_json(path)
    if not isinstance(data, dict) or not isinstance(data.get("detections"), list):
        raise AnonbenchError("has no list 'detections'", file=path, remedy="give what `anonbench train` wrote")
    model = data.get("model") or {}
    known = set(IOU_TYPES)
    if not model.get("tasks") or not set(model["tasks"]) <= known:
        raise AnonbenchError(f"names no known tasks (known: {', '.join(IOU_TYPES)})", file=path, entry="model.tasks")
    categories = {c["id"]: c for c in data.get("categories") or truth.categories.values()}
    for category in categories.values():
        ours = truth.categories.get(category["id"])
        if ours is None or ours["name"] != category["name"]:
            raise AnonbenchError(
                f"'{category['name']}' is not category {category['id']} of {truth.file}"
                + (f" ('{ours['name']}' is)" if ours else ""),
                file=path,
                entry=f"category {category['id']}",
                remedy="the predictions are of another data set: give the annotations that they were made for",
            )
    predictions = Predictions(path, data["detections"], model)
    sizes = {i: [int(image["height"]), int(image["width"])] for i, image in truth.images.items()}
    needs_mask = set(truth.with_masks()) if "segmentation" in model["tasks"] else set()
    needs_points = set(truth.with_keypoints()) if "pose" in model["tasks"] else set()
    for index, detection in enumerate(predictions.detections):
        problem = _detection_problem(detection, sizes, categories, needs_mask, needs_points)
        if problem:
            message, remedy = problem
            raise AnonbenchError(message, file=path, entry=f"detection {index}", remedy=remedy)
    return predictions


_OTHER = "the predictions are of another data set or split: give the annotations that they were made for"
_AGAIN = "run the training's prediction again"


def _detection_problem(
    detection: Any, sizes: dict[int, list[int]], categories: dict[int, Any], masks: set[int], points: set[int]
) -> tuple[str, str] | None:
    if not isinstance(detection, dict):
        return "is not a JSON object", _AGAIN
    size = sizes.get(detection.get("image_id"))  # type: ignore[arg-type]
    category = detection.get("category_id")
    if size is None:
        return f"lies in image {detection.get('image_id')}, which the annotations do not have", _OTHER
    if category not in categories:
        return f"is of category {category}, which the annotations do not have", _OTHER
    if not _numbers([detection.get("score")], 1):
        return "has no finite score", _AGAIN
    if not _numbers(detection.get("bbox"), 4):
        return "has no bbox of four finite numbers", _AGAIN
    if category in masks:
        mask = detection.get("segmentation")
        if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str):
            return "has no segmentation (compressed RLE), which its model's tasks promise", _AGAIN
        if list(mask.get("size", ())) != size:
            return f"has a mask of size {mask.get('size')} in an image of size {size}", _AGAIN
    if category in points and not _numbers(detection.get("keypoints"), 3 * len(KEYPOINTS)):
        return f"has no keypoints ({3 * len(KEYPOINTS)} finite numbers), which its model's tasks promise", _AGAIN
    return None


def _numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(v, (int, float)) and math.isfinite(v) for v in values)
    )


def _names(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(v, str) for v in values)


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and value > 0
