"""Download: roots are checked and only read, and every data set plugin keeps its contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anonbench import registry
from anonbench.datasets.base import DatasetAdapter, Split
from anonbench.datasets.coco import Coco
from anonbench.datasets.record import root_of
from anonbench.download.fetch import download
from anonbench.errors import AnonbenchError

SMALL = {"streetlife": {"train": 3, "val": 2}}
"""Options that make a data set small enough for a test, of the plugins that need no root."""


def test_a_root_is_read_and_recorded(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    before = {p: p.stat().st_mtime_ns for p in folder.root.rglob("*")}
    record = download("coco", "coco", folder.root, {}, ["train", "val"], tmp_path / "data" / "coco")
    assert record["splits"]["train"]["images"] == 3
    assert root_of(tmp_path / "data" / "coco")[0] == folder.root
    assert {p: p.stat().st_mtime_ns for p in folder.root.rglob("*")} == before


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda root: None, r"nothing: the root is not a folder; check datasets.coco.root"),
        (lambda root: root.mkdir(), r"nothing: the root is empty"),
        (lambda root: (root / "x").mkdir(parents=True), r"annotations: has neither instances_train.json nor"),
    ],
)
def test_bad_roots_are_named(tmp_path: Path, prepare: Callable[[Path], None], said: str) -> None:
    root = tmp_path / "nothing"
    prepare(root)
    with pytest.raises(AnonbenchError, match=said):
        download("coco", "coco", root, {}, ["train"], tmp_path / "out")
    assert not (tmp_path / "out" / "download.json").exists()


def test_coco_without_a_root_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match="--config root="):
        download("coco", "coco", None, {}, ["train"], tmp_path / "out")


def test_unknown_split_and_cut_json(make_coco: Callable[..., Any]) -> None:
    folder = make_coco()
    with pytest.raises(AnonbenchError, match=r"did you mean 'train'"):
        Coco().read(folder.root, "trian")
    path = folder.root / "annotations" / "instances_train.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(AnonbenchError, match=r"instances_train.json: is not valid JSON"):
        Coco().read(folder.root, "train")
    path.write_text("[]")
    with pytest.raises(AnonbenchError, match=r"is not a COCO annotation file"):
        Coco().read(folder.root, "train")


def test_coco_joins_keypoints_and_keeps_chosen_categories(make_coco: Callable[..., Any]) -> None:
    folder = make_coco()
    whole = folder.json["train"]
    points = {**whole, "annotations": [a for a in whole["annotations"] if "keypoints" in a]}
    bare = {
        **whole,
        "annotations": [
            {k: v for k, v in a.items() if k not in ("keypoints", "num_keypoints")} for a in whole["annotations"]
        ],
        "categories": [{"id": 1, "name": "person", "supercategory": "person"}, whole["categories"][1]],
    }
    annotations = folder.root / "annotations"
    (annotations / "instances_train.json").write_text(json.dumps(bare))
    (annotations / "person_keypoints_train.json").write_text(json.dumps(points))
    assert Coco().read(folder.root, "train").coco["annotations"] == whole["annotations"]
    assert Coco().read(folder.root, "train").coco["categories"] == whole["categories"]
    only = Coco({"categories": ["person"]}).read(folder.root, "train").coco
    assert {a["category_id"] for a in only["annotations"]} == {1}
    assert len(only["images"]) == 3
    with pytest.raises(AnonbenchError, match="did you mean 'person'"):
        Coco({"categories": ["persom"]}).read(folder.root, "train")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a[0].update(id=999), r"annotation 999: is not in the instances file"),
        (lambda a: a[0].update(image_id=2), r"annotation 10: is not in the instances file, or there of another"),
        (lambda a: a.append(dict(a[0])), r"annotation 10: stands twice"),
    ],
)
def test_keypoints_of_other_annotations_are_refused(
    make_coco: Callable[..., Any], change: Callable[[list[dict[str, Any]]], None], said: str
) -> None:
    folder = make_coco()
    points = [dict(a) for a in folder.json["train"]["annotations"] if "keypoints" in a]
    change(points)
    path = folder.root / "annotations" / "person_keypoints_train.json"
    path.write_text(json.dumps({**folder.json["train"], "annotations": points}))
    with pytest.raises(AnonbenchError, match=said):
        Coco().read(folder.root, "train")


def test_a_smaller_rendering_leaves_nothing_of_a_larger_one(tmp_path: Path) -> None:
    out = tmp_path / "streetlife"
    for train, form in ((3, "png"), (2, "jpg")):
        again = download("streetlife", "streetlife", None, {"train": train, "val": 1, "format": form}, ["train"], out)
    fresh = download(
        "streetlife", "streetlife", None, {"train": 2, "val": 1, "format": "jpg"}, ["train"], tmp_path / "fresh"
    )
    assert again == fresh
    assert sorted(p.name for p in (out / "train").iterdir()) == ["000001.jpg", "000002.jpg"]


@pytest.mark.parametrize("name", registry.names("datasets"))
def test_contract(name: str, make_coco: Callable[..., Any], tmp_path: Path) -> None:
    plugin: DatasetAdapter = registry.load("datasets", name)(SMALL.get(name))
    if name in SMALL:
        root = tmp_path / "data"
        plugin.download(root, ["train", "val"])
    else:
        root = make_coco().root
    for split in ("train", "val"):
        read = plugin.read(root, split)
        assert isinstance(read, Split)
        people = {c["id"] for c in read.coco["categories"] if c.get("supercategory") == "person"}
        assert people
        assert all((root / read.images / image["file_name"]).is_file() for image in read.coco["images"])
        assert any(a["category_id"] in people for a in read.coco["annotations"])
        assert all(path.is_file() for path in read.sources)
    with pytest.raises(AnonbenchError):
        plugin.read(root, "no_such_split")
