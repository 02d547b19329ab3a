"""Cityscapes: what becomes of instances, groups and void, what is refused, and the official AP beside ours."""

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
from anonbench.datasets.bitmask import Runs
from anonbench.datasets.cityscapes import THINGS, Cityscapes
from anonbench.errors import AnonbenchError
from anonbench.records import is_people
from anonbench.tasks.reference import run_cocoeval
from anonbench.tasks.truth import Truth
from tests.datasets import official_cityscapes as official
from tests.fixtures import cityscapes as fixture

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cityscapes")
    fixture.write(root)
    return root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "cityscapes"))


def label_of(root: Path, split: Split, index: int) -> Path:
    name = split.images[index]["file_name"].removesuffix("_leftImg8bit.png")
    return root / "gtFine" / split.folder.name / f"{name}_gtFine_instanceIds.png"


def ids_of(root: Path, split: Split, index: int) -> np.ndarray:
    return cv2.imread(str(label_of(root, split, index)), cv2.IMREAD_UNCHANGED)


def decoded(entry: dict[str, Any]) -> np.ndarray:
    return coco_mask.decode(entry["segmentation"]).astype(bool)


@pytest.mark.parametrize("name", fixture.SPLITS)
def test_every_pixel_of_a_thing_class_is_in_exactly_one_mask(written: Path, name: str) -> None:
    split = Cityscapes().read(written, name)
    entries = list(split.annotations)
    assert [e["id"] for e in entries] == list(range(1, len(entries) + 1))
    assert entries == list(split.annotations)
    assert {e["category_id"] for e in entries} >= {24, 25, 26}
    for index, image in enumerate(split.images):
        ids = ids_of(written, split, index)
        assert ids.shape == (image["height"], image["width"])
        own = [e for e in entries if e["image_id"] == image["id"]]
        covered = np.zeros(ids.shape, int)
        for entry in own:
            mask = decoded(entry)
            covered += mask
            wanted = entry["category_id"] if entry["iscrowd"] else entry["instance_id"]
            assert (ids[mask] == wanted).all()
            assert entry["area"] == mask.sum()
            assert entry["bbox"] == coco_mask.toBbox(entry["segmentation"]).tolist()
            if not entry["iscrowd"]:
                assert (mask == (ids == entry["instance_id"])).all()
        things = np.isin(ids // 1000, list(THINGS)) | np.isin(ids, list(THINGS))
        assert (covered == things).all()
        assert {e["instance_id"] for e in own if not e["iscrowd"]} == {int(v) for v in np.unique(ids) if v >= 24000}


def test_people_sources_and_images(written: Path) -> None:
    split = Cityscapes().read(written, "train")
    assert {c["name"] for c in split.categories if is_people(c)} == {"person", "rider"}
    assert {c["id"]: c["name"] for c in split.categories} == THINGS
    assert len(split.sources) == 2 * len(split.images) == 6
    assert {image["file_name"].split("/")[0] for image in split.images} == {"aachen", "zürich"}
    assert all((written / split.folder / image["file_name"]).is_file() for image in split.images)


def test_groups_are_one_crowd_per_polygon(written: Path) -> None:
    split = Cityscapes().read(written, "train")
    for image in split.images:
        crowds = [e for e in split.annotations if e["image_id"] == image["id"] and e["iscrowd"]]
        assert [e["category_id"] for e in crowds] == [24, 26]
        assert not any("ignore" in e for e in crowds)
    # A pole stands before the group of people: two parts, one annotation.
    crowd = next(e for e in split.annotations if e["iscrowd"])
    assert cv2.connectedComponents(decoded(crowd).astype(np.uint8))[0] == 3


def test_touching_groups_are_told_apart_and_edges_go_to_the_nearest(tmp_path: Path) -> None:
    left, right = fixture.box(10, 10, 29, 29), fixture.box(30, 10, 49, 29)
    image = np.zeros((64, 96, 3), np.uint8)
    things = [("persongroup", left), ("persongroup", right), ("cargroup", fixture.box(60, 10, 70, 20))]
    fixture.write_frame(tmp_path, "val", "ulm", "ulm_000000_000019", image, things)
    split = Cityscapes().read(tmp_path, "val")
    ids = ids_of(tmp_path, split, 0).copy()
    ids[30, 10:50] = 24  # a row that no polygon covers, as other versions of the drawing library make them
    Image.fromarray(ids).save(label_of(tmp_path, split, 0))
    entries = list(split.annotations)
    assert [(e["category_id"], e["bbox"]) for e in entries] == [
        (24, [10, 10, 20, 21]),
        (24, [30, 10, 20, 21]),
        (26, [60, 10, 11, 11]),
    ]


def test_holes_stay_holes(tmp_path: Path) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    things = [("person", fixture.box(10, 10, 40, 40)), ("car", fixture.box(20, 20, 25, 25))]
    fixture.write_frame(tmp_path, "val", "ulm", "ulm_000000_000019", image, things)
    person, car = Cityscapes().read(tmp_path, "val").annotations
    assert (person["area"], person["bbox"], car["area"]) == (31 * 31 - 36, [10, 10, 31, 31], 36)
    assert not decoded(person)[20:26, 20:26].any()


def test_an_image_with_nobody_stays(tmp_path: Path) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    things = [("road", fixture.box(0, 0, 95, 63)), ("caravan", fixture.box(5, 5, 9, 9))]
    fixture.write_frame(tmp_path, "val", "ulm", "ulm_000000_000019", image, things)
    split = Cityscapes().read(tmp_path, "val")
    assert len(split.images) == 1
    assert list(split.annotations) == []


def test_void_is_a_region_to_ignore_for_every_category_on_request(written: Path) -> None:
    split = Cityscapes({"void": True}).read(written, "val")
    for index, image in enumerate(split.images):
        void = [e for e in split.annotations if e["image_id"] == image["id"] and e.get("ignore")]
        assert [e["category_id"] for e in void] == list(THINGS)
        assert all(e["iscrowd"] == 1 for e in void)
        assert (decoded(void[0]) == np.isin(ids_of(written, split, index), official.VOID)).all()
    plain = Cityscapes().read(written, "val")
    kept = [{k: v for k, v in e.items() if k != "id"} for e in split.annotations if "ignore" not in e]
    assert kept == [{k: v for k, v in e.items() if k != "id"} for e in plain.annotations]


def test_run_lengths_are_pycocotools_own() -> None:
    random = np.random.default_rng(1)
    for height, width in [(1, 1), (1, 9), (9, 1), (7, 5), (40, 60)]:
        labels = random.integers(0, 4, (height, width)).astype(np.uint16)
        labels[:, : width // 3] = 3  # whole columns, and a mask that begins with the image
        runs = Runs(labels)
        masks = runs.masks(range(4))
        assert [m.value for m in masks] == runs.values() == np.unique(labels).tolist()
        for mask in masks:
            entry = mask.entry((height, width), 1)
            given = coco_mask.encode(np.asfortranarray(labels == mask.value, dtype=np.uint8))
            assert entry["segmentation"]["counts"] == given["counts"].decode()
            assert entry["bbox"] == coco_mask.toBbox(given).tolist()
            assert entry["area"] == coco_mask.area(given)
        assert runs.masks([7]) == []


# Bad input


def first(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


def first_label(root: Path) -> Path:
    return first(root, "gtFine/train/*/*_instanceIds.png")


def save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-80])


def only_coarse(root: Path) -> None:
    shutil.move(root / "gtFine", root / "gtCoarse")


def coarse_inside(root: Path) -> None:
    for path in root.glob("gtFine/train/*/*"):
        path.rename(path.with_name(path.name.replace("gtFine", "gtCoarse")))


def in_both_splits(root: Path) -> None:
    shutil.copytree(root / "leftImg8bit/train/aachen", root / "leftImg8bit/val/aachen")


def twice_in_two_cities(root: Path) -> None:
    for kind in ("leftImg8bit", "gtFine"):
        shutil.copytree(root / kind / "train/aachen", root / kind / "train/bremen")


def beside_the_cities(root: Path) -> None:
    shutil.copy(first(root, "leftImg8bit/train/*/*"), root / "leftImg8bit/train/x.png")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: shutil.rmtree(r / "leftImg8bit"), r"leftImg8bit/train: is not a folder.*leftImg8bit_trainvaltest"),
        (lambda r: shutil.rmtree(r / "gtFine/train"), r"gtFine/train: is not a folder.*gtFine_trainvaltest.zip"),
        (only_coarse, r"gtCoarse is there, but has no exact outlines"),
        (coarse_inside, r"holds coarse labels"),
        (lambda r: first_label(r).unlink(), r"_leftImg8bit.png: has no label image .*_instanceIds.png;"),
        (lambda r: shutil.rmtree(r / "gtFine/train/aachen"), r"has no label image .* \(nor have 1 other images\)"),
        (lambda r: first(r, "leftImg8bit/train/*/*").unlink(), r"instanceIds.png: labels an image that is not there"),
        (lambda r: first(r, "gtFine/train/*/*.json").unlink(), r"instanceIds.png: lacks its twin .*_polygons.json"),
        (lambda r: shutil.rmtree(r / "leftImg8bit/train/aachen"), r"labels an image .* \(and so do 1 others\)"),
        (lambda r: [p.unlink() for p in r.glob("leftImg8bit/train/*/*")], r"has no image \*/\*_leftImg8bit.png"),
        (lambda r: save(first_label(r), np.zeros((96, 192), np.uint8)), r"8-bit grey pixels where .* 16-bit grey"),
        (lambda r: save(first_label(r), np.zeros((96, 192, 3), np.uint8)), r"holds 8-bit RGB pixels"),
        (lambda r: save(first_label(r), np.zeros((48, 96), np.uint16)), r"is 96x48 pixels, its image .* is 192x96"),
        (lambda r: first_label(r).write_bytes(b""), r"instanceIds.png: is empty"),
        (lambda r: first_label(r).write_bytes(b"<html>log in</html>" * 9), r"instanceIds.png: is not a PNG file"),
        (lambda r: first(r, "leftImg8bit/train/*/*").write_bytes(b""), r"leftImg8bit.png: is not an image that can"),
        (lambda r: cut(first_label(r)), r"instanceIds.png: cannot be decoded"),
        (lambda r: save(first_label(r), np.full((96, 192), 34, np.uint16)), r"has pixels of 34; ids are 0 to 33"),
        (lambda r: save(first_label(r), np.full((96, 192), 20001, np.uint16)), r"has pixels of 20001"),
        (lambda r: save(first_label(r), np.full((96, 192), 40001, np.uint16)), r"has pixels of 40001"),
        (lambda r: save(first_label(r), np.full((96, 192), 11002, np.uint16)), r"pixels of 11002.*is a train id"),
        (lambda r: save(first_label(r), np.full((96, 192), 28, np.uint16)), r"has no polygon for the busgroup"),
        (lambda r: cut(first(r, "gtFine/train/*/*.json")), r"polygons.json: is not valid JSON"),
        (lambda r: first(r, "gtFine/train/*/*.json").write_text("[]"), r"does not hold a list 'objects'"),
        (lambda r: first(r, "gtFine/train/*/*.json").write_text(""), r"polygons.json: is not valid JSON"),
        (in_both_splits, r"aachen_000000_000019: is in the splits 'train' and 'val'"),
        (twice_in_two_cities, r"bremen/aachen_.*: does not begin with its city 'bremen_'"),
        (beside_the_cities, r"train/x.png: is not named <city>/"),
    ],
)  # fmt: skip
def test_bad_input_is_named(root: Path, change: Change, said: str) -> None:
    change(root)
    with pytest.raises(AnonbenchError, match=said) as error:
        list(Cityscapes().read(root, "train").annotations)
    assert "\n" not in str(error.value)
    assert error.value.remedy or error.value.file


@pytest.mark.parametrize(
    ("split", "said"),
    [("test", "not public"), ("train_extra", "coarse labels only"), ("vall", r"no split 'vall' \(did you mean 'val'")],
)
def test_splits_without_fine_labels_are_refused(written: Path, split: str, said: str) -> None:
    with pytest.raises(AnonbenchError, match=said):
        Cityscapes().read(written, split)


def test_hidden_twins_of_files_are_not_images(root: Path) -> None:
    first_image = first(root, "leftImg8bit/train/*/*")
    (first_image.parent / f"._{first_image.name}").write_bytes(b"\0\5\x16\7")
    assert len(Cityscapes().read(root, "train").images) == 3


def test_deleted_polygons_are_not_drawn(tmp_path: Path) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    stem = "ulm_000000_000019"
    fixture.write_frame(tmp_path, "val", "ulm", stem, image, [("persongroup", fixture.box(10, 10, 29, 29))])
    file = tmp_path / "gtFine/val/ulm" / f"{stem}_gtFine_polygons.json"
    value = json.loads(file.read_text())
    gone = {"label": "persongroup", "polygon": fixture.box(0, 0, 95, 63), "deleted": 1}
    file.write_text(json.dumps({**value, "objects": [*value["objects"], gone]}))
    (entry,) = Cityscapes().read(tmp_path, "val").annotations
    assert entry["bbox"] == [10, 10, 20, 20]


# The official AP beside ours


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> tuple[Truth, list[np.ndarray]]:
    """The val split of a larger fixture with void, and its instanceIds images."""
    root = tmp_path_factory.mktemp("evaluated")
    fixture.write(root, images=12, seed=3)
    split = Cityscapes({"void": True}).read(root, "val")
    truth = Truth(
        root,
        {i["id"]: i for i in split.images},
        {c["id"]: c for c in split.categories},
        [*split.annotations],
    )
    return truth, [ids_of(root, split, i) for i in range(len(split.images))]


def perturbed(ids: list[np.ndarray], seed: int) -> list[list[official.Prediction]]:
    """Move, grow, lose and double the instances, and add detections of nothing, in groups and in the void."""
    random = np.random.default_rng(seed)
    found: list[list[official.Prediction]] = []
    for image in ids:
        here: list[official.Prediction] = []
        for value in np.unique(image[image >= 24000]):
            if random.random() < 0.15:
                continue
            for _ in range(1 + (random.random() < 0.15)):
                mask = np.roll(image == value, random.integers(-1, 2, 2), (0, 1))
                if random.random() < 0.4:
                    mask = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
                here.append(official.Prediction(int(value) // 1000, 0.0, mask))
        for label in (24, 25, 26):
            for x, y, width, height in [(8, 40, 12, 12), (80, 92, 30, 4), (152, 40, 8, 6), (100, 4, 14, 20)]:
                if random.random() < 0.4:
                    mask = np.zeros(image.shape, bool)
                    mask[y : y + height, x : x + width] = True
                    here.append(official.Prediction(label, 0.0, mask))
        found.append(here)
    scores = random.permutation(sum(map(len, found))) / 1000 + 0.2
    number = 0
    for here in found:
        for prediction in here:
            prediction.score = float(scores[number])
            number += 1
    return found


def our_average_precision(truth: Truth, found: list[list[official.Prediction]]) -> dict[int, float]:
    detections = []
    for image, here in enumerate(found, 1):
        for p in here:
            rle = coco_mask.encode(np.asfortranarray(p.mask, dtype=np.uint8))
            rle = {"size": rle["size"], "counts": rle["counts"].decode()}
            detections.append(
                {"image_id": image, "category_id": p.label, "score": p.score, "segmentation": rle, "bbox": [0, 0, 1, 1]}
            )
    scored = run_cocoeval("segm", truth, detections, [24, 25, 26])
    return {c: float(scored.categories[c]["AP"] or 0) for c in (24, 25, 26)}


@pytest.mark.parametrize("seed", range(4))
def test_matches_and_ignored_regions_are_the_official_ones(city: tuple[Truth, list[np.ndarray]], seed: int) -> None:
    """With COCO's integral, no smallest region and overlaps of exactly the threshold, the official AP is ours."""
    truth, ids = city
    found = perturbed(ids, seed)
    for label, ours in our_average_precision(truth, found).items():
        theirs = official.average_precision(ids, found, label, official.interpolated, 0, at_least=True)
        assert ours == pytest.approx(100 * theirs, abs=1e-6)
        assert 5 < ours < 95


@pytest.mark.parametrize("seed", range(4))
def test_the_official_number_is_within_the_stated_difference(city: tuple[Truth, list[np.ndarray]], seed: int) -> None:
    """docs/datasets/cityscapes.md: the official integral takes points away, the fewer the more instances there are."""
    truth, ids = city
    found = perturbed(ids, seed)
    for label, ours in our_average_precision(truth, found).items():
        theirs = 100 * official.average_precision(ids, found, label, min_region=0)
        assert -0.5 < ours - theirs < 6
        assert ours == pytest.approx(100 * official.average_precision(ids, found, label), abs=8)


def test_a_perfect_model_has_all_points_in_both_and_small_people_count_in_ours_only(
    city: tuple[Truth, list[np.ndarray]],
) -> None:
    truth, ids = city
    perfect = [
        [official.Prediction(int(v) // 1000, 0.5, image == v) for v in np.unique(image[image >= 24000])]
        for image in ids
    ]
    assert our_average_precision(truth, perfect) == pytest.approx({24: 100, 25: 100, 26: 100})
    assert official.average_precision(ids, perfect, 24) == pytest.approx(1)
    large = [[p for p in here if p.mask.sum() >= official.MIN_REGION] for here in perfect]
    assert sum(map(len, large)) < sum(map(len, perfect))
    assert official.average_precision(ids, large, 24) == pytest.approx(1)
    assert our_average_precision(truth, large)[24] < 99
