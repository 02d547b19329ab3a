"""Download: roots are checked and only read, files come from the catalogue, counts are told, COCO is read."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from download_server import packed, write_catalogue

from anonbench import catalogue
from anonbench.datasets.base import DatasetAdapter, Sources, Split
from anonbench.datasets.coco import Coco
from anonbench.datasets.record import root_of
from anonbench.download import fetch
from anonbench.download.fetch import download, told
from anonbench.download.sources import RECORD
from anonbench.errors import AnonbenchError
from anonbench.files import read_json

PUBLISHED = Path(__file__).parents[2] / "config" / "datasets.csv"
PARTS = {
    "train2017.zip": "train2017/", "val2017.zip": "val2017/", "annotations_trainval2017.zip": "annotations/",
    "PennFudanPed.zip": "PennFudanPed/", "WIDER_train.zip": "WIDER_train/", "WIDER_val.zip": "WIDER_val/",
    "wider_face_split.zip": "wider_face_split/", "eval_tools.zip": "eval_tools/", "images.zip": "images/",
    "leftImg8bit_trainvaltest.zip": "leftImg8bit/", "gtFine_trainvaltest.zip": "gtFine/",
    "bdd100k_images_10k.zip": "images/", "bdd100k_ins_seg_labels_trainval.zip": "labels/",
}  # fmt: skip
"""The official archives' top folders (BDD100K's have one more around, ``bdd100k``)."""


def snapshot(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_root_is_read_and_recorded(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    before = snapshot(folder.root)
    record = download("coco", "coco", folder.root, {}, ["train", "val"], tmp_path / "data" / "coco")
    assert record["splits"]["train"]["images"] == 3
    assert set(record) == {"dataset", "adapter", "root", "options", "splits"}
    assert set(record["splits"]["train"]) == {"images", "bytes", "listing_sha256", "annotations"}
    assert root_of(tmp_path / "data" / "coco")[0] == folder.root
    assert snapshot(folder.root) == before


def test_images_are_those_of_the_list(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    """In sub-folders, with any name; others in the folder do not count, and one that is missing is told by annotate."""
    folder = make_coco()
    (folder.root / "train" / "über").mkdir()
    (folder.root / "train" / "000001.jpg").rename(folder.root / "train" / "über" / "Straße 1.jpg")
    folder.json["train"]["images"][0]["file_name"] = "über/Straße 1.jpg"
    folder.save("train")
    first = download("coco", "coco", folder.root, {}, ["train"], tmp_path / "a")["splits"]["train"]
    (folder.root / "train" / "another.jpg").write_bytes(b"another")
    assert download("coco", "coco", folder.root, {}, ["train"], tmp_path / "b")["splits"]["train"] == first
    assert first["images"] == 3
    (folder.root / "train" / "000002.jpg").unlink()
    record = download("coco", "coco", folder.root, {}, ["train"], tmp_path / "c")
    assert record["splits"]["train"]["images"] == 2
    assert record["splits"]["train"]["listing_sha256"] != first["listing_sha256"]


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


def test_a_plugin_without_a_catalogue_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"no rows for 'pennfudan'; give --catalogue config/datasets.csv"):
        download("pennfudan", "pennfudan", None, {}, ["train"], tmp_path / "out")


@pytest.mark.parametrize("name", sorted({row.dataset for row in catalogue.read(PUBLISHED)}))
def test_published_rows_from_a_mirror_are_what_the_plugin_reads(name: str, tmp_path: Path) -> None:
    """Each data set's fixture, packed into archives of the published names and layout, through the real code path."""
    fixture = importlib.import_module(f"tests.fixtures.{name}")
    fixture.write(tmp_path / "official", images=2)
    files = {
        p.relative_to(tmp_path / "official").as_posix(): p for p in (tmp_path / "official").rglob("*") if p.is_file()
    }
    rows = [
        dataclasses.replace(row, bytes=None, md5=None, sha256=None)
        for row in catalogue.rows(PUBLISHED, name, fixture.SPLITS)
    ]
    used = set()
    for row in rows:
        place = tmp_path / "mirror" / name / row.file
        place.parent.mkdir(parents=True, exist_ok=True)
        if row.unpack is None:
            content = {row.file: files[row.file].read_bytes()}
            place.write_bytes(content[row.file])
        else:
            content = {n: path.read_bytes() for n, path in files.items() if n.startswith(PARTS[row.file])}
            outer = "bdd100k/" if name == "bdd100k" else ""
            place.write_bytes(packed({outer + n: data for n, data in content.items()}))
        assert content, f"{row.file} would be empty"
        used |= set(content)
    table = write_catalogue(tmp_path / "datasets.csv", rows)
    before = snapshot(tmp_path / "mirror")
    how: dict[str, Any] = {"catalogue": table, "mirror": str(tmp_path / "mirror")}
    splits = list(fixture.SPLITS)
    record = download(name, name, None, fixture.OPTIONS, splits, tmp_path / "data", **how)
    own = download(name, name, tmp_path / "official", fixture.OPTIONS, splits, tmp_path / "own", catalogue=table)
    for split in splits:
        found = record["splits"][split]
        assert found["images"] > 0
        assert {k: v for k, v in found.items() if k != "annotations"} == {
            k: v for k, v in own["splits"][split].items() if k != "annotations"
        }
        assert found["expected"] == catalogue.expected(PUBLISHED, name, split)
        assert "DIFFERENT: the catalogue expects" in told(name, split, found)
    assert set(record["archives"]) == {row.file for row in rows}
    assert "archives" not in own
    first = snapshot(tmp_path / "data")
    assert download(name, name, None, fixture.OPTIONS, splits, tmp_path / "data", **how) == record
    again = snapshot(tmp_path / "data")
    changed = {path.name for path in again if path.is_file() and again[path] != first.get(path)}
    assert changed == {"download.json"}
    assert snapshot(tmp_path / "mirror") == before


def test_a_second_split_leaves_the_first_alone(tmp_path: Path) -> None:
    """CrowdPose's splits share a folder: fetching one must not remove the other's images."""
    fixture = importlib.import_module("tests.fixtures.crowdpose")
    fixture.write(tmp_path / "official")
    rows = [dataclasses.replace(r, bytes=None, md5=None, sha256=None) for r in catalogue.rows(PUBLISHED, "crowdpose")]
    mirror = tmp_path / "mirror" / "crowdpose"
    (mirror / "json").mkdir(parents=True)
    images = sorted((tmp_path / "official" / "images").iterdir())
    (mirror / "images.zip").write_bytes(packed({f"images/{p.name}": p.read_bytes() for p in images}))
    for path in (tmp_path / "official" / "json").iterdir():
        (mirror / "json" / path.name).write_bytes(path.read_bytes())
    table = write_catalogue(tmp_path / "datasets.csv", rows)
    for split in ("train", "val"):
        download(
            "crowdpose",
            "crowdpose",
            None,
            {},
            [split],
            tmp_path / "data",
            catalogue=table,
            mirror=str(tmp_path / "mirror"),
        )
        assert sorted(p.name for p in (tmp_path / "data" / "images").iterdir()) == [p.name for p in images]
    assert set(read_json(tmp_path / "data" / RECORD)) == {
        "images.zip", "json/crowdpose_train.json", "json/crowdpose_val.json",
    }  # fmt: skip


def test_counts_that_agree_are_not_remarked() -> None:
    found = {"images": 3, "bytes": 1_200_000}
    assert told("toy", "val", found) == "toy val: 3 images, 1.2 MB"
    assert told("toy", "val", {**found, "expected": {"images": 3, "people": 5}}) == "toy val: 3 images, 1.2 MB"
    assert told("toy", "val", {**found, "expected": {"images": None, "people": None}}) == "toy val: 3 images, 1.2 MB"
    assert "expects 4 images" in told("toy", "val", {**found, "expected": {"images": 4, "people": None}})


class Files(DatasetAdapter):
    """A plugin of a user, whose images lie in one folder for all splits."""

    def download(self, target: Path, splits: list[str], sources: Sources) -> None:
        (target / "images").mkdir(exist_ok=True)
        for split in splits:
            (target / "images" / f"{split}.png").write_bytes(b"image")

    def read(self, root: Path, split: str) -> Split:
        images = [{"id": 1, "file_name": f"{split}.png", "width": 1, "height": 1}]
        return Split(folder=Path("images"), images=images, categories=[], annotations=[], sources=())


def test_splits_that_share_a_folder_keep_their_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "adapter_of", lambda name, options: Files())
    record = download("files", "files", None, {}, ["train", "val"], tmp_path)
    assert [record["splits"][split]["images"] for split in ("train", "val")] == [1, 1]


def test_a_smaller_rendering_leaves_nothing_of_a_larger_one(tmp_path: Path) -> None:
    out = tmp_path / "streetlife"
    for train, form in ((3, "png"), (2, "jpg")):
        again = download("streetlife", "streetlife", None, {"train": train, "val": 1, "format": form}, ["train"], out)
    fresh = download(
        "streetlife", "streetlife", None, {"train": 2, "val": 1, "format": "jpg"}, ["train"], tmp_path / "fresh",
        catalogue=PUBLISHED,
    )  # fmt: skip
    assert again == fresh
    assert sorted(p.name for p in (out / "train").iterdir()) == ["000001.jpg", "000002.jpg"]


# --- COCO's layout


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
    split = Coco().read(folder.root, "train")
    assert list(split.annotations) == whole["annotations"]
    assert split.categories == whole["categories"]
    only = Coco({"categories": ["person"]}).read(folder.root, "train")
    assert {a["category_id"] for a in only.annotations} == {1}
    assert len(only.images) == 3
    with pytest.raises(AnonbenchError, match="did you mean 'person'"):
        Coco({"categories": ["persom"]}).read(folder.root, "train")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a[0].update(id=999), r"annotation 999: is not in the instances file"),
        (lambda a: a[0].update(image_id=2), r"annotation 10: is not in the instances file, or there of another"),
        (lambda a: a.append(dict(a[0])), r"annotation 10: duplicate annotation"),
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
        list(Coco().read(folder.root, "train").annotations)
