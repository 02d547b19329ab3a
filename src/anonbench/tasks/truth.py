"""What models are judged by: COCO annotations of a validation split, checked before anything is computed."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc

from anonbench import regions
from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.records import KEYPOINTS, is_people
from anonbench.statistics.resampling import FEWEST, effective

Sampled = Literal["image", "video", "group", "person"]
"""What is drawn; a group is of images that show the same people."""


@dataclass(frozen=True)
class Truth:
    """COCO annotations: ``images`` by id, ``categories`` by id, ``annotations`` as in the file.

    ``videos`` by id have one of the ``actions``, or none; ``action_kinds`` are those of `datasets.base.Split`.
    ``together`` holds, for each image, the first of those that are drawn with it, since the same person is in them;
    ``shared`` images show somebody whom others show, too, as far as that is known.
    """

    file: Path
    images: dict[int, dict[str, Any]]
    categories: dict[int, dict[str, Any]]
    annotations: list[dict[str, Any]]
    videos: dict[int, dict[str, Any]] = field(default_factory=dict)
    actions: tuple[str, ...] = ()
    action_kinds: dict[str, str] = field(default_factory=dict)
    together: dict[int, int] = field(default_factory=dict, repr=False)
    shared: int = 0

    @functools.cached_property
    def names(self) -> dict[int, str]:
        """Names of the categories by id, in the order of their ids.

        Raises AnonbenchError when two have one name.
        """
        names = {c: str(category["name"]) for c, category in sorted(self.categories.items())}
        if len(set(names.values())) < len(names):
            raise AnonbenchError("has two categories of one name", file=self.file, entry="categories")
        return names

    @functools.cached_property
    def people(self) -> frozenset[int]:
        """Ids of the categories of people."""
        return frozenset(c for c, category in self.categories.items() if is_people(category))

    @functools.cached_property
    def masked(self) -> frozenset[int]:
        """What `with_masks` returns."""
        return frozenset(self.with_masks())

    @functools.cached_property
    def posed(self) -> frozenset[int]:
        """What `with_keypoints` returns."""
        return frozenset(self.with_keypoints())

    @functools.cached_property
    def clips(self) -> bool:
        """Whether the images are frames of videos: these, not frames, are then independent of each other."""
        return any(image.get("video_id") is not None for image in self.images.values())

    @property
    def sampled(self) -> Sampled:
        """What is drawn when the truth is resampled."""
        return "video" if self.clips else "group" if self.together else "image"

    def groups(self) -> tuple[np.ndarray, dict[int, int]]:
        """Return what is drawn when the truth is resampled, and the position there of each image by its id.

        Those are the ids of the images, sorted, int64; of images that are drawn together, the id of the first. Or, of
        frames, the names ``video <id>`` (and ``image <id>`` of an image that stands alone).
        """
        if not self.clips:
            first = {image: self.together.get(image, image) for image in sorted(self.images)}
            ids = np.unique(list(first.values()))
            return ids.astype(np.int64), dict(
                zip(first, np.searchsorted(ids, list(first.values())).tolist(), strict=True)
            )
        of = {
            i: f"image {i}" if image.get("video_id") is None else f"video {image['video_id']}"
            for i, image in sorted(self.images.items())
        }
        place = {name: k for k, name in enumerate(dict.fromkeys(of.values()))}
        return np.array(list(place), dtype=np.str_), {image: place[name] for image, name in of.items()}

    def linked(self, people: str | Path) -> Truth:
        """Return the truth with images ``together`` that show the same person, as a split's table of people says.

        Drawn one by one nevertheless where groups are so few, or one of them so large, that fewer than `FEWEST` would
        tell of anything. Frames stay with their videos. Raises AnonbenchError when the table is missing or damaged.
        """
        from scipy.sparse import coo_array  # slow to import, and whoever reads a study imports this module
        from scipy.sparse.csgraph import connected_components

        table = regions.read(people, regions.PEOPLE).select(["image_id", "identity"]).drop_null()
        table = table.filter(pc.not_equal(table["identity"], ""))
        images = {image: k for k, image in enumerate(sorted(self.images))}
        rows = [(images[i], who) for i, who in zip(*table.to_pydict().values(), strict=True) if i in images]
        who = {name: len(images) + k for k, name in enumerate(dict.fromkeys(name for _, name in rows))}
        size = len(images) + len(who)
        ends = [image for image, _ in rows], [who[name] for _, name in rows]
        graph = coo_array((np.ones(len(rows), bool), ends), (size, size))
        group = connected_components(graph, directed=False)[1][: len(images)]
        sizes = np.bincount(group)
        shared = int(sizes[sizes > 1].sum())
        if self.clips or not shared or effective(sizes) < FEWEST:
            return replace(self, shared=shared)
        first: dict[int, int] = {}
        together = {image: first.setdefault(int(group[k]), image) for image, k in images.items()}
        return replace(self, together=together, shared=shared)

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

    def images_of(self, subset: str) -> Truth:
        """Return the ground truth of the images that count in a subset; without ``subsets`` an image counts in all."""
        images = {i: image for i, image in self.images.items() if counts_in(image, subset)}
        return replace(self, images=images, annotations=[a for a in self.annotations if a["image_id"] in images])


def counts_in(entry: dict[str, Any], subset: str) -> bool:
    """Tell whether an image or annotation counts in a subset: it names the subset, or names none at all."""
    return subset in entry.get("subsets", (subset,))


def has_box_mask(annotation: dict[str, Any]) -> bool:
    """Tell whether an annotation's segmentation is its box's outline, because the data has no mask."""
    return annotation.get("mask_source") == "box"


def read_annotations(path: str | Path) -> Truth:
    """Read COCO ground truth; raise AnonbenchError that names the first entry which is not COCO's."""
    path = Path(path)
    data = read_json(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise AnonbenchError(f"has no list '{key}'", file=path, remedy="give COCO annotations")
    images, categories = _by_id(data["images"], "image", path), _by_id(data["categories"], "category", path)
    videos = data.get("videos")
    if not isinstance(videos, list | None):
        raise AnonbenchError("has no list 'videos'", file=path, remedy="give COCO annotations")
    _by_id(data["annotations"], "annotation", path)
    truth = Truth(
        path,
        images,
        categories,
        data["annotations"],
        _by_id(videos or [], "video", path),
        tuple(_actions(data, videos or [], path)),
        _kinds(data, path),
    )
    if not truth.images:
        raise AnonbenchError("has no images", file=path, remedy="give the annotations of a validation split")
    for image in data["images"]:
        if not (_positive(image.get("height")) and _positive(image.get("width"))):
            raise AnonbenchError("has no height and width", file=path, entry=f"image {image['id']}")
        if not _names(image.get("subsets", [])):
            raise AnonbenchError("has 'subsets' that are not a list of names", file=path, entry=f"image {image['id']}")
    for annotation in truth.annotations:
        problem = _annotation_problem(annotation, truth)
        if problem:
            raise AnonbenchError(problem, file=path, entry=f"annotation {annotation.get('id')}")
    return truth


def _by_id(entries: list[Any], what: str, path: Path) -> dict[int, dict[str, Any]]:
    """Return entries by their id; raise AnonbenchError for one that has none."""
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or type(entry.get("id")) is not int:
            remedy = "give the annotations that the anonymize stage wrote"
            raise AnonbenchError("has no integer id", file=path, entry=f"{what} number {index}", remedy=remedy)
    return {entry["id"]: entry for entry in entries}


def _actions(data: dict[str, Any], videos: list[dict[str, Any]], path: Path) -> list[str]:
    """Return the names that an action may have; raise AnonbenchError for a video with another."""
    actions = data.get("actions", [])
    if not _names(actions) or len(set(actions)) < len(actions):
        raise AnonbenchError("is not a list of different names", file=path, entry="actions")
    for video in videos:
        if video.get("action") is not None and video["action"] not in actions:
            said = f"has the action {video['action']!a:.80}, which is not among the file's actions"
            raise AnonbenchError(said, file=path, entry=f"video {video['id']}")
    return actions


def _kinds(data: dict[str, Any], path: Path) -> dict[str, str]:
    kinds = data.get("action_kinds", {})
    if (
        not isinstance(kinds, dict)
        or not _names([*kinds.values()])
        or (kinds and {*kinds} != {*data.get("actions", [])})
    ):
        raise AnonbenchError("does not give each action one kind", file=path, entry="action_kinds")
    return kinds


def _annotation_problem(annotation: dict[str, Any], truth: Truth) -> str | None:
    image, category = annotation.get("image_id"), annotation.get("category_id")
    if type(image) is not int or image not in truth.images:
        return f"lies in image {image}, which is not among the images"
    if type(category) is not int or category not in truth.categories:
        return f"is of category {category}, which is not among the categories"
    if not numbers(annotation.get("bbox"), 4):
        return "has no bbox of four numbers"
    if not _names(annotation.get("subsets", [])):
        return "has 'subsets' that are not a list of names"
    masks = annotation.get("segmentation")
    if isinstance(masks, list) and not all(
        isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0 and numbers(p, len(p)) for p in masks
    ):
        return "has a polygon of fewer than three points"
    if masks and not isinstance(masks, list) and not (isinstance(masks, dict) and {"size", "counts"} <= masks.keys()):
        return "has a segmentation that is neither polygons nor run lengths"
    if annotation.get("area") is not None and not numbers([annotation["area"]], 1):
        return "has an area that is no number"
    if annotation.get("iscrowd") not in (None, 0, 1):
        return "has an iscrowd that is neither 0 nor 1"
    face = annotation.get("face")
    if face and not (isinstance(face, dict) and (face.get("bbox") is None or numbers(face["bbox"], 4))):
        return "has a face without a bbox of four numbers"
    points = annotation.get("keypoints")
    if points and not numbers(points, 3 * len(KEYPOINTS)):
        return f"has {len(points)} numbers as keypoints, not {3 * len(KEYPOINTS)} (COCO's sigmas are for 17 keypoints)"
    return None


def numbers(values: Any, count: int) -> bool:
    """Tell whether values are a list of so many finite numbers."""
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(v, (int, float)) and abs(v) <= sys.float_info.max for v in values)  # NaN is not
    )


def all_numbers(lists: Sequence[Any], count: int) -> bool:
    """Tell whether each of many values is a list of so many finite numbers: `numbers` of all of them, at once."""
    if set(map(type, lists)) - {list} or set(map(len, lists)) - {count}:
        return False
    return all_finite(list(itertools.chain.from_iterable(lists)))


def all_finite(values: Sequence[Any]) -> bool:
    """Tell whether each of many values is a finite number."""
    if set(map(type, values)) - {int, float, bool}:
        return False
    try:
        return bool(np.isfinite(np.array(values, dtype=np.float64)).all())
    except OverflowError:  # an integer that is larger than any float
        return False


def _names(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(v, str) for v in values)


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and value > 0
