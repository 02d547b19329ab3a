"""BDD100K: what becomes of the bitmasks and of what only the JSON labels know, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from anonbench.datasets.base import Split
from anonbench.datasets.bdd100k import NAMES, Bdd100k
from anonbench.errors import AnonbenchError
from anonbench.records import is_people
from tests.fixtures import bdd100k as fixture
from tests.fixtures.bdd100k import Thing

Change = Callable[[Path], object]
JSON = "labels/ins_seg/polygons/ins_seg_train.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bdd100k")
    fixture.write(root)
    return root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "bdd100k"))


def box(x0: int, y0: int, x1: int, y1: int) -> list[list[int]]:
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def one(root: Path, things: list[Thing], labelled: list[Thing] | None = None) -> Split:
    """Write one image of 96x64 pixels with ``things`` in its bitmask and ``labelled`` in the JSON, and read it."""
    fixture.write_frame(root, "train", "a-1", np.zeros((64, 96, 3), np.uint8), things)
    if labelled is not None:
        fixture.write_json(root, "train", {"a-1": labelled})
    return Bdd100k().read(root, "train")


def decoded(entry: dict[str, Any]) -> np.ndarray:
    return coco_mask.decode(entry["segmentation"]).astype(bool)


@pytest.mark.parametrize("name", fixture.SPLITS)
def test_every_object_of_a_bitmask_is_one_exact_mask(written: Path, name: str) -> None:
    split = Bdd100k().read(written, name)
    entries = list(split.annotations)
    assert [e["id"] for e in entries] == list(range(1, len(entries) + 1))
    assert entries == list(split.annotations)
    assert {e["category_id"] for e in entries} >= {1, 2, 3}
    for image in split.images:
        file = written / "labels/ins_seg/bitmasks" / name / image["file_name"].replace(".jpg", ".png")
        blue, green, red, alpha = np.moveaxis(cv2.imread(str(file), cv2.IMREAD_UNCHANGED).astype(int), 2, 0)
        assert red.shape == (image["height"], image["width"])
        instances = blue * 256 + green * 0 + alpha
        own = [e for e in entries if e["image_id"] == image["id"]]
        assert [e["instance_id"] for e in own] == np.unique(instances[red > 0]).tolist()
        for entry in own:
            mask = decoded(entry)
            assert (mask == ((instances == entry["instance_id"]) & (red > 0))).all()
            assert (red[mask] == entry["category_id"]).all()
            bits = {int(v) for v in np.unique(green[mask])}
            assert bits == {8 * entry["truncated"] + 4 * entry["occluded"] + crowd_bits(entry)}
            assert entry["area"] == mask.sum()
            assert entry["bbox"] == coco_mask.toBbox(entry["segmentation"]).tolist()


def crowd_bits(entry: dict[str, Any]) -> int:
    if entry.get("ignore"):
        return 1
    return 2 * entry["iscrowd"]


def test_people_sources_and_images(written: Path) -> None:
    split = Bdd100k().read(written, "train")
    assert [c["name"] for c in split.categories] == [*NAMES]
    assert {c["name"] for c in split.categories if is_people(c)} == {"pedestrian", "rider"}
    assert len(split.sources) == len(split.images) + 1 == 4
    assert all((written / split.folder / image["file_name"]).is_file() for image in split.images)
    assert len(Bdd100k({"polygons": False}).read(written, "train").sources) == 3


def test_crowd_and_other_person_are_crowds_and_only_the_latter_is_to_be_ignored(written: Path) -> None:
    for image in Bdd100k().read(written, "train").images:
        own = [e for e in Bdd100k().read(written, "train").annotations if e["image_id"] == image["id"]]
        assert [(e["iscrowd"], e.get("ignore"), e.get("label")) for e in own[:2]] == [
            (1, None, None),
            (1, 1, "other person"),
        ]
        assert not any(e["iscrowd"] or "ignore" in e or "label" in e for e in own[2:])


def test_without_json_the_bitmasks_say_the_same(written: Path) -> None:
    with_json = [{k: v for k, v in e.items() if k != "label"} for e in Bdd100k().read(written, "val").annotations]
    assert with_json == list(Bdd100k({"polygons": False}).read(written, "val").annotations)


def test_other_people_that_the_bitmask_leaves_out_come_from_the_json(tmp_path: Path) -> None:
    rider, other = Thing("rider", box(10, 10, 30, 30)), Thing("other person", box(20, 20, 50, 40))
    car = Thing("car", box(60, 20, 80, 40), crowd=True)
    split = one(tmp_path, [rider, car], [rider, other, car])
    entries = list(split.annotations)
    assert [(e["category_id"], e["iscrowd"], e.get("ignore", 0)) for e in entries] == [(2, 0, 0), (3, 1, 0), (1, 1, 1)]
    assert entries[2]["label"] == "other person"
    seen = decoded(entries[2])
    assert seen.sum() == 31 * 21 - 11 * 11  # what the rider hides is the rider's
    assert not (seen & decoded(entries[0])).any()


def test_other_people_as_run_lengths_and_as_curves(tmp_path: Path) -> None:
    split = one(tmp_path, [], [])
    assert list(split.annotations) == []
    disc = np.zeros((64, 96), np.uint8)
    cv2.circle(disc, (70, 30), 12, 1, -1)
    runs = coco_mask.encode(np.asfortranarray(disc))
    k = 10 * 4 / 3 * (2**0.5 - 1)
    circle = [[30, 20], [30 + k, 20], [40, 30 - k], [40, 30], [40, 30 + k], [30 + k, 40], [30, 40], [20, 40], [20, 20]]
    labels = [
        {"id": "1", "category": "other person", "rle": {"counts": runs["counts"].decode(), "size": [64, 96]}},
        {
            "id": "2",
            "category": "other person",
            "poly2d": [{"vertices": circle, "types": "LCCLCCLLL", "closed": True}],
        },
    ]
    (tmp_path / JSON).write_text(json.dumps({"frames": [{"name": "a-1.jpg", "labels": labels}], "config": None}))
    first, second = Bdd100k().read(tmp_path, "train").annotations
    assert (decoded(first) == disc.astype(bool)).all()
    # a half disc of radius 10 and a rectangle of 10 x 20, and their border
    assert second["area"] == pytest.approx(np.pi * 100 / 2 + 200, rel=0.1)
    assert second["bbox"] == [20, 20, 21, 21]


def test_holes_and_people_out_of_sight(tmp_path: Path) -> None:
    things = [
        Thing("person", box(40, 40, 45, 45)),
        Thing("person", box(10, 10, 50, 50)),
        Thing("car", box(20, 20, 29, 29)),
    ]
    person, car = one(tmp_path, things, things).annotations
    assert (person["area"], person["instance_id"], car["area"]) == (41 * 41 - 100, 2, 100)
    assert not decoded(person)[20:30, 20:30].any()


def test_many_instances_use_both_bytes(tmp_path: Path) -> None:
    things = [Thing("person", box(4 * (i % 24), 2 * (i // 24), 4 * (i % 24) + 2, 2 * (i // 24))) for i in range(400)]
    entries = list(one(tmp_path, things, things).annotations)
    assert [e["instance_id"] for e in entries] == list(range(1, 401))
    assert {e["area"] for e in entries} == {3}


def test_the_folder_of_the_archives_is_found(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path / "bdd100k")
    split = Bdd100k().read(tmp_path, "train")
    assert split.folder == Path("bdd100k/images/10k/train")
    assert list(split.annotations) == list(Bdd100k().read(written, "train").annotations)


def test_non_ascii_names(tmp_path: Path) -> None:
    fixture.write_frame(
        tmp_path, "train", "straße-01", np.zeros((64, 96, 3), np.uint8), [Thing("car", box(1, 1, 9, 9))]
    )
    fixture.write_json(tmp_path, "train", {"straße-01": [Thing("car", box(1, 1, 9, 9))]})
    split = Bdd100k().read(tmp_path, "train")
    assert split.images[0]["file_name"] == "straße-01.jpg"
    assert len(list(split.annotations)) == 1


# Bad input


def first(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


def first_mask(root: Path) -> Path:
    return first(root, "labels/ins_seg/bitmasks/train/*")


def save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def paint(root: Path, value: tuple[int, int, int, int]) -> None:
    """Give a corner of the first bitmask another value."""
    pixels = np.array(Image.open(first_mask(root)))
    pixels[:4, :4] = value
    save(first_mask(root), pixels)


def old_labels(root: Path) -> None:
    shutil.rmtree(root / "labels")
    (root / "labels").mkdir()
    (root / "labels/bdd100k_labels_images_train.json").write_text("[]")


def only(root: Path, kept: str) -> None:
    shutil.rmtree(root / "labels")
    (root / "labels" / kept).mkdir(parents=True)


def edit(root: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    frames = json.loads((root / JSON).read_text())
    change(frames)
    (root / JSON).write_text(json.dumps(frames))


def in_two_splits(root: Path) -> None:
    shutil.copy(first(root, "images/10k/train/*"), root / "images/10k/val")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda r: shutil.rmtree(r / "images"),
            r"images/10k/train: is not a folder; the images are expected as images",
        ),
        (lambda r: shutil.rmtree(r / "images/10k/train"), r"images/10k/train: is not a folder.*'10K Images'"),
        (old_labels, r"bitmasks/train: is not a folder.*are the boxes of 2018"),
        (lambda r: only(r, "det_20"), r"det_20 holds the boxes of the 100K images"),
        (lambda r: only(r, "pan_seg"), r"pan_seg has other classes"),
        (lambda r: only(r, "ins_seg/polygons"), r"the polygons alone do not say who stands in front"),
        (lambda r: first_mask(r).unlink(), r"\.jpg: has no label image .*bitmasks/train/.*\.png; unpack"),
        (lambda r: first(r, "images/10k/train/*").unlink(), r"\.png: labels an image that is not there.*June 2021"),
        (lambda r: [p.unlink() for p in r.glob("images/10k/train/*")], r"has no image \*\.jpg"),
        (lambda r: shutil.copy(first_mask(r), r / "images/10k/train"), r"\.png: is not named <image>\.jpg"),
        (lambda r: save(first_mask(r), np.zeros((96, 192, 3), np.uint8)), r"8-bit RGB pixels where .* 8-bit RGBA"),
        (lambda r: save(first_mask(r), np.zeros((96, 192), np.uint16)), r"16-bit grey pixels where"),
        (lambda r: save(first_mask(r), np.zeros((90, 192, 4), np.uint8)), r"is 192x90 pixels, its image .* is 192x96"),
        (lambda r: first_mask(r).write_bytes(b""), r"\.png: is empty"),
        (lambda r: first_mask(r).write_bytes(first_mask(r).read_bytes()[:-60]), r"\.png: cannot be decoded"),
        (lambda r: paint(r, (9, 0, 0, 99)), r"has pixels of class 9; the classes are 1 to 8.*pan_seg"),
        (lambda r: paint(r, (200, 0, 0, 99)), r"has pixels of class 200"),
        (lambda r: paint(r, (1, 0, 0, 0)), r"has pixels of instance 0, which is none"),
        (lambda r: paint(r, (4, 0, 0, 1)), r"instance 1, which has two classes"),
        (lambda r: paint(r, (6, 0, 0, 99)), r"has train 99, which ins_seg_train.json does not have.*polygons: false"),
        (lambda r: (r / JSON).write_text(""), r"ins_seg_train.json: is not a file of Scalabel frames"),
        (lambda r: (r / JSON).write_text("[]"), r"ins_seg_train.json: holds no frames"),
        (lambda r: (r / JSON).write_text('{"images": []}'), r"is not a file of Scalabel frames"),
        (lambda r: edit(r, lambda f: f.append(f[0])), r"\.jpg: duplicate frame"),
        (lambda r: edit(r, lambda f: f[0].update(name="x.jpg")), r"x\.jpg: is labelled, but the image is not there"),
        (lambda r: edit(r, lambda f: f.pop(0)), r"\.png: has pedestrian 1, which ins_seg_train.json does not have"),
        (lambda r: edit(r, lambda f: f[0]["labels"].pop(0)), r"which ins_seg_train.json does not have"),
        (lambda r: edit(r, lambda f: f[0]["labels"][0].update(category="tree")), r"has the class 'tree'"),
        (in_two_splits, r"is in the splits 'train' and 'val'"),
    ],
)
def test_bad_input_is_named(root: Path, change: Change, said: str) -> None:
    change(root)
    with pytest.raises(AnonbenchError, match=said) as error:
        list(Bdd100k().read(root, "train").annotations)
    assert "\n" not in str(error.value)
    assert error.value.remedy


@pytest.mark.parametrize(
    "outline",
    [
        {"rle": {"counts": "abc", "size": [64, 96]}},
        {"rle": {"counts": "PPYo0", "size": [1, 1]}},
        {"rle": {"counts": 7, "size": [64, 96]}},
        {"poly2d": [{"vertices": [[1, 2, 3]], "types": "L"}]},
        {"poly2d": [{"vertices": "everywhere"}]},
    ],
)
def test_outlines_that_cannot_be_drawn(tmp_path: Path, outline: dict[str, Any]) -> None:
    one(tmp_path, [], [])
    frames = [{"name": "a-1.jpg", "labels": [{"id": "1", "category": "other person", **outline}]}]
    (tmp_path / JSON).write_text(json.dumps(frames))
    with pytest.raises(AnonbenchError, match=r"ins_seg_train.json, .*has an outline that cannot be drawn"):
        list(Bdd100k().read(tmp_path, "train").annotations)


def test_the_json_can_be_left_aside(root: Path) -> None:
    paint(root, (6, 0, 0, 99))
    entries = Bdd100k({"polygons": False}).read(root, "train").annotations
    assert [e["instance_id"] for e in entries if e["category_id"] == 6] == [99]


@pytest.mark.parametrize(("split", "said"), [("test", "not public"), ("trian", r"no split 'trian' \(did you mean")])
def test_splits_without_labels_are_refused(written: Path, split: str, said: str) -> None:
    with pytest.raises(AnonbenchError, match=said):
        Bdd100k().read(written, split)
