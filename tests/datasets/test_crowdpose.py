"""CrowdPose: 14 keypoints to COCO's 17 and back, subsets by crowd index, sizes from the images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonbench.datasets.base import Split
from anonbench.datasets.crowdpose import BODY, POINTS, CrowdPose, from_coco17, subset_of, to_coco17
from anonbench.errors import AnonbenchError
from anonbench.records import KEYPOINTS
from tests.fixtures import HEIGHT, WIDTH, crowdpose
from tests.fixtures.crowdpose import json_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    crowdpose.write(tmp_path / "crowdpose")
    return tmp_path / "crowdpose"


def read(root: Path, split: str = "train") -> Split:
    return CrowdPose().read(root, split)


def edit(root: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a split's annotations in place."""
    file = json_file(root, "train")
    coco = json.loads(file.read_text())
    change(coco)
    file.write_text(json.dumps(coco))


def test_each_point_goes_where_its_name_is() -> None:
    points = [value for i in range(len(POINTS)) for value in (i, 100 + i, 1 + i % 2)]
    coco, head = to_coco17(points)
    for name in BODY:
        theirs, ours = 3 * POINTS.index(name), 3 * KEYPOINTS.index(name)
        assert coco[ours : ours + 3] == points[theirs : theirs + 3]
    missing = [name for i, name in enumerate(KEYPOINTS) if not any(coco[3 * i : 3 * i + 3])]
    assert missing == ["nose", "left_eye", "right_eye", "left_ear", "right_ear"]
    assert head == [12, 112, 1, 13, 113, 2]


@given(st.lists(st.integers(0, 500), min_size=42, max_size=42))
def test_there_and_back_is_the_same(points: list[int]) -> None:
    assert from_coco17(*to_coco17(points)) == points
    assert from_coco17(to_coco17(points)[0]) == [*points[:36], *[0] * 6]


def test_other_numbers_of_points_are_refused() -> None:
    with pytest.raises(ValueError, match="51 numbers, not 42"):
        to_coco17([0] * 51)
    with pytest.raises(ValueError, match="42 and 6 numbers, not 51 and 6"):
        from_coco17([0] * 42)


@pytest.mark.parametrize(
    ("index", "subset"),
    [(0.0, "easy"), (0.19, "easy"), (0.2, "medium"), (0.79, "medium"), (0.8, "hard"), (3.02, "hard")],
)
def test_subsets_are_those_of_the_official_evaluator(index: float, subset: str) -> None:
    assert subset_of(index) == subset


def test_people_have_coco_keypoints_head_and_area(root: Path) -> None:
    raw = json.loads(json_file(root, "train").read_text())
    split = read(root)
    assert [image["subsets"] for image in split.images] == [["easy"], ["medium"], ["hard"]]
    assert split.categories[0]["keypoints"] == list(KEYPOINTS)
    annotations = list(split.annotations)
    assert len(annotations) == len(raw["annotations"])
    for ours, theirs in zip(annotations, raw["annotations"], strict=True):
        assert ours["crowdpose_keypoints"] == theirs["keypoints"]
        assert from_coco17(ours["keypoints"], ours["head"]) == theirs["keypoints"]
        assert ours["num_keypoints"] == theirs["num_keypoints"]
        assert ours["area"] == theirs["bbox"][2] * theirs["bbox"][3]
        assert "segmentation" not in ours
        assert ours["iscrowd"] == theirs["iscrowd"]
        assert "ignore" not in ours
    assert any(a["iscrowd"] for a in annotations)


def test_trainval_is_train_and_val(root: Path) -> None:
    ids = {s: [image["id"] for image in read(root, s).images] for s in ("train", "val", "trainval", "test")}
    assert ids["trainval"] == ids["train"] + ids["val"]
    assert not set(ids["test"]) & set(ids["trainval"])


def test_width_and_height_exchanged_are_put_right(root: Path) -> None:
    edit(root, lambda c: [image.update(width=image["height"], height=image["width"]) for image in c["images"]])
    assert {(image["width"], image["height"]) for image in read(root).images} == {(WIDTH, HEIGHT)}


def test_boxes_beyond_the_frame_and_of_no_size_reach_annotate(root: Path) -> None:
    edit(root, lambda c: c["annotations"][0].update(bbox=[-20, 100, 500, 90]))
    edit(root, lambda c: c["annotations"][1].update(bbox=[5, 5, 0, 9]))
    edit(root, lambda c: c["annotations"][2].update(bbox=None))
    boxes = [a["bbox"] for a in read(root).annotations]
    assert boxes[:3] == [[-20, 100, 500, 90], [5, 5, 0, 9], None]
    assert [a.get("area") for a in read(root).annotations][:3] == [45000, 0, None]


def test_an_image_without_people_stays_and_names_need_no_ascii(root: Path) -> None:
    def change(coco: dict[str, Any]) -> None:
        image = coco["images"][0]
        coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] != image["id"]]
        (root / "images" / image["file_name"]).rename(root / "images" / "街.jpg")
        image["file_name"] = "街.jpg"

    edit(root, change)
    assert read(root).images[0]["file_name"] == "街.jpg"
    assert len(read(root).images) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["categories"][0].update(keypoints=list(KEYPOINTS)), r"categories: is not of one category"),
        (lambda c: c.update(categories=[]), r"is not of one category"),
        (lambda c: c["annotations"][0].update(keypoints=[0] * 51), r"annotation \d+: keypoints: 51 numbers, not 42"),
        (lambda c: c["annotations"][0].pop("keypoints"), r"annotation \d+: keypoints: None is not a list"),
        (lambda c: c["images"][0].pop("crowdIndex"), r"image 100000: has the crowdIndex None"),
        (lambda c: c["images"][0].update(width=500), r"is annotated as 500x144, but .*100000.jpg is 192x144; use"),
        (lambda c: c["images"][0].update(file_name="../a.jpg"), r"image 100000: has the file name '../a.jpg'"),
        (lambda c: c["images"][0].update(file_name="gone.jpg"), r"gone.jpg, image 100000: is not on disk"),
        (lambda c: c.pop("annotations"), r"has no list of annotation entries"),
    ],
)  # fmt: skip
def test_other_annotations_end_in_a_sentence(root: Path, change: Callable[[dict[str, Any]], Any], said: str) -> None:
    edit(root, change)
    with pytest.raises(AnonbenchError, match=said) as error:
        list(read(root).annotations)
    assert "crowdpose_train.json" in str(error.value) or "gone.jpg" in str(error.value)


@pytest.mark.parametrize("text", ["", '{"images": [', "<html>sign in</html>"])
def test_files_that_are_no_json_are_named(root: Path, text: str) -> None:
    json_file(root, "train").write_text(text)
    with pytest.raises(AnonbenchError, match=r"crowdpose_train.json: is not valid JSON"):
        read(root)


@pytest.mark.parametrize("gone", ["images", "json"])
def test_missing_folders_are_named(root: Path, gone: str) -> None:
    (root / gone).rename(root / "elsewhere")
    with pytest.raises(AnonbenchError, match=rf"{gone}: is not a folder"):
        read(root)


def test_a_missing_split_file_is_named(root: Path) -> None:
    json_file(root, "train").unlink()
    with pytest.raises(AnonbenchError, match=r"crowdpose_train.json: no such file"):
        read(root)
