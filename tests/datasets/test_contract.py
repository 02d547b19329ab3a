"""Every registered data set plugin keeps the contract of anonbench.datasets.base on a small data set in its layout."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from anonbench import registry
from anonbench.datasets.base import DatasetAdapter, Split
from anonbench.errors import AnonbenchError
from anonbench.records import KEYPOINTS, is_people
from tests.conftest import CocoFolder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")

STREETLIFE = {"width": 192, "height": 144, "train": 3, "val": 2}
SIZELESS = ("widerface",)
"""Data sets whose format has boxes without width or height."""


NAMED_BY_FILES = ("market1501",)
"""Data sets whose labels are the names of their images."""
WHOLE = ("ucf101", "hmdb51", "vispr")
"""Data sets that do not say where in an image people are: each image is a crowd."""
MASKLESS = ("widerface", "crowdpose", "crowdhuman", "market1501", "lfw", *WHOLE)


@dataclass(frozen=True)
class Case:
    """A plugin and a small data set that it reads."""

    name: str
    plugin: DatasetAdapter
    root: Path
    splits: tuple[str, ...]


class Nothing:
    """Sources of a plugin that needs none."""

    def fetch(self, target: Path, splits: list[str]) -> None:
        raise AssertionError("nothing may be fetched")


@pytest.fixture(scope="module", params=registry.names("datasets"))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name = request.param
    root: Path = tmp_path_factory.mktemp(name) / "root"
    load = registry.load("datasets", name)
    if name == "streetlife":
        plugin = load(STREETLIFE)
        plugin.download(root, ["train", "val"], Nothing())
        return Case(name, plugin, root, ("train", "val"))
    if name == "coco":
        CocoFolder(root)
        return Case(name, load(), root, ("train", "val"))
    fixture = importlib.import_module(f"tests.fixtures.{name}")
    fixture.write(root)
    return Case(name, load(fixture.OPTIONS), root, tuple(fixture.SPLITS))


def tree(root: Path) -> dict[str, tuple[str, int]]:
    """Return the hash and time of change of every file, and of every folder its time."""
    return {
        path.relative_to(root).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mtime_ns,
        )
        for path in root.rglob("*")
    }


def read(case: Case) -> dict[str, Split]:
    return {split: case.plugin.read(case.root, split) for split in case.splits}


def test_reading_writes_nothing_and_repeats(case: Case) -> None:
    before = tree(case.root)
    for split, value in read(case).items():
        first = list(value.annotations)
        assert first == list(value.annotations), "annotations must be there again"
        assert first == list(case.plugin.read(case.root, split).annotations)
        assert first
        first[0]["bbox"] = "changed by a reader"
        first[0].clear()
        if not isinstance(value.annotations, list):
            assert all("id" in annotation for annotation in value.annotations)
    assert tree(case.root) == before


def test_it_is_json(case: Case) -> None:
    for split in read(case).values():
        parts = [split.images, split.categories, list(split.annotations), split.info, split.licenses]
        assert json.loads(json.dumps(parts, allow_nan=False)) == parts


def test_images_are_on_disk_with_the_size_of_their_header(case: Case) -> None:
    for split in read(case).values():
        assert not split.folder.is_absolute()
        ids = [image["id"] for image in split.images]
        names = [image["file_name"] for image in split.images]
        assert len(set(ids)) == len(ids) > 0
        assert len(set(names)) == len(names)
        for image in split.images:
            assert type(image["id"]) is int
            for said in (image["file_name"], split.path_of(image)):
                name = PurePosixPath(said)
                assert not name.is_absolute()
                assert ".." not in name.parts
                assert "\\" not in said
            with Image.open(case.root / split.folder / name) as header:
                assert header.size == (image["width"], image["height"])
            assert all(isinstance(subset, str) for subset in image.get("subsets", []))
        assert split.sources or case.name in NAMED_BY_FILES
        assert all(path.is_file() and path.is_relative_to(case.root) for path in split.sources)


def test_splits_share_no_image(case: Case) -> None:
    first, second = (read(case)[split] for split in case.splits[:2])
    paths = [{(split.folder / split.path_of(image)).as_posix() for image in split.images} for split in (first, second)]
    assert not paths[0] & paths[1]


def test_annotations_are_of_known_images_and_categories(case: Case) -> None:
    for split in read(case).values():
        images = {image["id"]: image for image in split.images}
        categories = {category["id"]: category for category in split.categories}
        assert len(categories) == len(split.categories) == len({c["name"] for c in split.categories})
        people = {number for number, category in categories.items() if is_people(category)}
        assert people
        annotations = list(split.annotations)
        ids = [annotation["id"] for annotation in annotations]
        assert len(set(ids)) == len(ids)
        assert all(type(number) is int for number in ids)
        assert all(a["image_id"] in images and a["category_id"] in categories for a in annotations)
        assert sum(a["category_id"] in people and a["iscrowd"] == (case.name in WHOLE) for a in annotations) >= 2
        for annotation in annotations:
            assert annotation["iscrowd"] in (0, 1)
            if annotation.get("ignore"):
                assert annotation["iscrowd"] == 1, "COCO's evaluation knows only iscrowd"
            assert all(isinstance(subset, str) for subset in annotation.get("subsets", []))


def test_boxes_have_a_size_and_masks_lie_in_them(case: Case) -> None:
    masks = 0
    for split in read(case).values():
        images = {image["id"]: image for image in split.images}
        for annotation in split.annotations:
            x, y, w, h = annotation["bbox"]
            assert all(math.isfinite(v) for v in (x, y, w, h))
            assert (w > 0 and h > 0) or case.name in SIZELESS
            assert annotation["area"] >= 0
            image = images[annotation["image_id"]]
            size = (image["height"], image["width"])
            given = annotation.get("segmentation")
            if not given:
                continue
            masks += 1
            mask = coco_mask.decode(_rle(given, *size))
            assert mask.shape == size
            slack = 1e-6 if isinstance(given, dict) else 0.1 * annotation["area"] + 4  # polygons round at the border
            assert abs(float(mask.sum()) - annotation["area"]) <= slack
            rows, columns = np.nonzero(mask)
            assert rows.size
            assert x - 1 <= columns.min()
            assert y - 1 <= rows.min()
            assert columns.max() + 1 <= x + w + 1
            assert rows.max() + 1 <= y + h + 1
    assert masks or case.name in MASKLESS


def _rle(given: Any, height: int, width: int) -> Any:
    if isinstance(given, list):
        return coco_mask.merge(coco_mask.frPyObjects(given, height, width))
    return coco_mask.frPyObjects(given, height, width) if isinstance(given["counts"], list) else given


def test_keypoints_and_faces_are_well_formed(case: Case) -> None:
    for split in read(case).values():
        for annotation in split.annotations:
            if "keypoints" in annotation:
                assert len(annotation["keypoints"]) == 3 * len(KEYPOINTS)
                assert set(annotation["keypoints"][2::3]) <= {0, 1, 2}
                assert annotation["num_keypoints"] == sum(v > 0 for v in annotation["keypoints"][2::3])
            if "face" in annotation:
                assert len(annotation["face"]["bbox"]) == 4
            if "head" in annotation:
                assert len(annotation["head"]) == 6


def test_an_unknown_split_is_told_the_known_ones(case: Case) -> None:
    with pytest.raises(AnonbenchError) as error:
        case.plugin.read(case.root, "no_such_split")
    assert all(split in str(error.value) for split in case.splits)


def test_a_missing_folder_is_named(case: Case, tmp_path: Path) -> None:
    for split in case.splits:
        with pytest.raises(AnonbenchError, match=str(tmp_path)):
            case.plugin.read(tmp_path / "nothing", split)


def test_unknown_options_are_refused(case: Case) -> None:
    with pytest.raises(AnonbenchError, match="no_such_option"):
        type(case.plugin)({"no_such_option": 1})
