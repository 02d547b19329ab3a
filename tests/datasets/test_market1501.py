"""Market-1501: what names say of people and cameras, whom the protocol leaves out, and what no variant may tell."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from anonbench import regions
from anonbench.annotate.identities import check_apart
from anonbench.annotate.image_files import Gate
from anonbench.annotate.options import OnBadImage
from anonbench.annotate.people import convert
from anonbench.datasets.base import CAMERA, Split
from anonbench.datasets.market1501 import Market1501, Shot, read_shots
from anonbench.download.fetch import download
from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from tests.datasets.stages import anonymized
from tests.fixtures import market1501
from tests.fixtures.market1501 import HEIGHT, TESTED, TRAINED, WIDTH, name, save_shot

GREY = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    market1501.write(tmp_path / "market")
    return tmp_path / "market"


def read(root: Path, split: str) -> Split:
    return Market1501().read(root, split)


def said(split: Split) -> dict[str, dict[str, Any]]:
    """Return the annotations by the names of their images' files."""
    return {split.paths[annotation["image_id"]]: annotation for annotation in split.annotations}


def test_names_say_who_and_by_which_camera(root: Path) -> None:
    split = read(root, "train")
    people = said(split)
    assert sorted(people) == sorted(name(TRAINED + number, camera) for number in range(3) for camera in (1, 2))
    for file, annotation in people.items():
        assert annotation["identity"] == int(file[:4])
        assert annotation["attributes"] == {CAMERA: file[6]}
        assert annotation["bbox"] == [0, 0, WIDTH, HEIGHT]
        assert not annotation["iscrowd"]
    assert split.attributes == {CAMERA: {"1": "camera 1", "2": "camera 2"}}
    assert split.warnings == []


def test_every_part_of_a_name_is_read(tmp_path: Path) -> None:
    file = "0002_c6s3_000451_03.jpg"
    save_shot(tmp_path, "train", file, GREY)
    (folder,) = tmp_path.iterdir()
    assert read_shots(folder) == {file: Shot(person=2, camera=6, sequence=3, frame=451, box=3)}


def test_junk_is_ignored_and_distractors_are_nobody_known(root: Path) -> None:
    people = said(read(root, "gallery"))
    junk, distractor = people["-1_c1s1_000300_01.jpg"], people["0000_c1s1_000300_00.jpg"]
    assert (junk["ignore"], junk["iscrowd"]) == (1, 1)
    assert "ignore" not in distractor
    assert distractor["iscrowd"] == 0
    assert "identity" not in junk
    assert "identity" not in distractor
    assert {a["identity"] for a in people.values() if "identity" in a} == {TESTED, TESTED + 1, TESTED + 2}


def test_probe_and_gallery_show_the_same_people_whom_train_does_not(root: Path) -> None:
    who = {split: {a.get("identity") for a in read(root, split).annotations} for split in ("train", "probe", "gallery")}
    assert who["probe"] == who["gallery"] - {None}
    check_apart(Market1501(), root, "train", "probe")
    with pytest.raises(AnonbenchError, match=r"shows '1001', who is in the split gallery too"):
        check_apart(Market1501(), root, "probe", "gallery")


def test_neither_names_nor_numbers_of_images_tell_who_is_in_them(tmp_path: Path) -> None:
    market1501.write(tmp_path, images=12)
    split = read(tmp_path, "train")
    assert [image["file_name"] for image in split.images] == [f"{number:06d}.jpg" for number in range(1, 25)]
    people = [annotation["identity"] for annotation in sorted(split.annotations, key=lambda a: a["image_id"])]
    together = sum(a == b for a, b in itertools.pairwise(people))
    assert together < 6  # in the order of names 12 of 23 neighbours show the same person
    assert people != sorted(people)


def _rename(split: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        for path in sorted((root / market1501.FOLDERS[split]).glob("*.jpg")):
            path.rename(path.with_name(change(path.name)))

    return apply


def _empty(root: Path) -> None:
    for path in (root / "bounding_box_train").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda r: (r / "bounding_box_train").rename(r / "train"), r"bounding_box_train: is not a folder; give .*http"),
        (_empty, r"bounding_box_train: has no images; give the folder of Market-1501"),
        (_rename("train", lambda n: n.replace("_c", "_k")), r"0002_k1s1_000100_01.jpg: 6 of 6 images are not named"),
        (lambda r: save_shot(r, "train", "me.png", GREY), r"bounding_box_train, me.png: 1 of 7 images are not named"),
        (lambda r: save_shot(r, "gallery", "-2_c1s1_000001_01.jpg", GREY), r"-2_c1s1_000001_01.jpg: 1 of 9 images"),
        (_rename("train", lambda n: f"0000{n[4:6]}{n[3]}{n[7:]}"), r"train: shows nobody who is known by number"),
        (lambda r: save_shot(r, "gallery", name(TRAINED, 3), GREY),
         r"bounding_box_test, 0002_c3s1_000100_01.jpg: shows person 2, who is in bounding_box_train too \(0002_c2"),
        (lambda r: save_shot(r, "probe", name(TRAINED, 3), GREY), r"query, 0002_c3s1.*: shows person 2"),
        (lambda r: (r / "bounding_box_train" / name(TRAINED, 1)).write_bytes(b""), r"0002_c1s1_0001.*is empty"),
        (lambda r: (r / "bounding_box_train" / name(TRAINED, 1)).write_bytes(b"<html>"), r"cannot be read as an image"),
    ],
)  # fmt: skip
def test_what_is_not_the_official_layout_ends_in_a_sentence(
    root: Path, change: Callable[[Path], Any], problem: str
) -> None:
    change(root)
    with pytest.raises(AnonbenchError, match=problem):
        read(root, "train")


def test_people_of_the_test_are_checked_in_each_of_its_splits(root: Path) -> None:
    save_shot(root, "probe", name(TRAINED, 3), GREY)
    for split in ("train", "probe", "gallery"):
        with pytest.raises(AnonbenchError, match="shows person 2, who is in bounding_box_train too"):
            read(root, split)


def test_people_who_cannot_be_found_are_counted(root: Path) -> None:
    for path in (root / "bounding_box_test").glob("*_c2s*"):
        path.unlink()
    (told,) = read(root, "gallery").warnings
    assert told.startswith("everybody in bounding_box_test was taken by camera 1")
    alone, lost = read(root, "probe").warnings
    assert alone.startswith("everybody in query was taken by camera 1")
    assert lost.startswith("3 of 3 images of query show people whom no other camera took in bounding_box_test")
    save_shot(root, "gallery", name(TESTED, 4), GREY)
    assert read(root, "probe").warnings[1].startswith("2 of 3 images of query")


def test_a_bad_image_is_named_as_it_is_on_disk(root: Path, tmp_path: Path) -> None:
    file = root / "bounding_box_train" / name(TRAINED, 1)
    file.write_bytes(file.read_bytes()[:-200])  # the header is whole
    with pytest.raises(AnonbenchError, match=r"image \d \(0002_c1s1_000100_01.jpg\)"):
        convert(read(root, "train"), root, tmp_path / "out", "train")
    skipped = convert(read(root, "train"), root, tmp_path / "out", "train", Gate(on_bad_image=OnBadImage.SKIP))
    assert skipped["images"] == 5
    assert name(TRAINED, 1) in (tmp_path / "out" / "train.bad_images.csv").read_text()


def test_it_is_not_fetched_but_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"cannot be fetched automatically; get Market-1501-v15.09.15.zip as http"):
        download("market1501", "market1501", None, {}, ["train"], tmp_path / "out")


def test_a_renamed_image_is_another_data_set(root: Path, tmp_path: Path) -> None:
    before = download("market1501", "market1501", root, {}, ["train"], tmp_path / "out")["splits"]["train"]
    assert before["images"] == 6
    (root / "bounding_box_train" / name(TRAINED, 1)).rename(root / "bounding_box_train" / name(TRAINED + 7, 1))
    after = download("market1501", "market1501", root, {}, ["train"], tmp_path / "out")["splits"]["train"]
    assert after["listing_sha256"] != before["listing_sha256"]


def test_bodies_are_blurred_and_a_variant_tells_neither_people_nor_cameras(root: Path, tmp_path: Path) -> None:
    variant = anonymized("market1501", root, "gallery", "body-blur-medium", tmp_path)
    tables = tmp_path / "annotations" / "market1501"
    images = regions.read(tables / "gallery.images.parquet", regions.IMAGES).to_pylist()
    people = regions.read(tables / "gallery.people.parquet", regions.PEOPLE).to_pylist()
    shots = read_shots(root / "bounding_box_test")
    assert len(images) == len(people) == len(shots) == 8
    for image, person in zip(images, people, strict=True):
        shot = shots[Path(image["path"]).name]
        assert image["image_id"] == person["image_id"]
        assert person["identity"] == (str(shot.person) if shot.known else None)
        assert json.loads(person["attributes"]) == {CAMERA: str(shot.camera)}
        assert person["ignore"] == (shot.person == -1)
        before, after = (
            cv2.imread(str(file)) for file in (root / image["path"], variant / "gallery" / image["file_name"])
        )
        assert (before != after).any(axis=2).mean() > 0.5
    written = (variant / "annotations" / "gallery.json").read_text()
    assert {path.name for path in (variant / "gallery").iterdir()} == {image["file_name"] for image in images}
    assert not re.search(r"identity|camera|_c\ds\d|100[1-3]", written)
    assert len(read_json(variant / "annotations" / "gallery.json")["annotations"]) == 8
    assert not re.search(r"_c\ds\d", (tables / "gallery.json").read_text())
