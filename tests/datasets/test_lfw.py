"""LFW: folds of different people, pairs by line, and names that go no further than the table of images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from anonbench import regions
from anonbench.annotate.identities import check_apart
from anonbench.datasets.base import Split
from anonbench.datasets.lfw import FACE, Lfw, Pair, image_path, read_pairs, read_people
from anonbench.download.fetch import download
from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from tests.datasets.stages import anonymized, command
from tests.fixtures import lfw, save
from tests.fixtures.lfw import FIRST


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lfw.write(tmp_path / "faces")
    return tmp_path / "faces"


def read(root: Path, split: str = "train", **options: Any) -> Split:
    return Lfw({**lfw.OPTIONS, **options}).read(root, split)


def files(split: Split) -> set[str]:
    """Return the first names and the numbers of a split's images."""
    return {f"{path.split('_')[0]} {int(path[-8:-4])}" for path in split.paths.values()}


def edit(path: Path, change: Callable[[list[str]], Any]) -> None:
    """Change the lines of a file in place."""
    lines = path.read_text().splitlines()
    change(lines)
    path.write_text("\n".join(lines) + "\n")


def test_folds_become_splits(root: Path) -> None:
    assert files(read(root)) == {"Zoe 1", "Zoe 2", "Zoe 3", "Adam 1", "Adam 2", "Adam 3", "Mia 1", "Tom 1"}
    assert files(read(root, "val")) == {"Eva 1", "Eva 2", "Eva 3", "Jan 1", "Jan 2", "Jan 3", "Uma 1", "Lars 1"}
    assert files(read(root, "gallery")) == {"Ida 1", "Rolf 1", "Nina 1", "Carl 1"}
    assert files(read(root, "probe")) == {"Ida 2", "Ida 3", "Rolf 2", "Rolf 3"}
    assert files(read(root, "val", fold=1)) == {
        "Ida 1",
        "Ida 2",
        "Ida 3",
        "Rolf 1",
        "Rolf 2",
        "Rolf 3",
        "Nina 1",
        "Carl 1",
    }
    assert files(read(root, "gallery", fold=1)) == {"Zoe 1", "Adam 1", "Mia 1", "Tom 1"}


def test_nobody_is_in_two_splits_but_for_gallery_and_probe(root: Path) -> None:
    plugin = Lfw(lfw.OPTIONS)
    for one, other in (("train", "val"), ("train", "gallery"), ("train", "probe"), ("val", "gallery")):
        check_apart(plugin, root, one, other)
    who = {split: {a["identity"] for a in read(root, split).annotations} for split in ("gallery", "probe")}
    assert who["probe"] < who["gallery"]


def test_people_are_numbers_in_the_order_of_their_names(root: Path) -> None:
    numbers = {name: number for number, name in enumerate(sorted(FIRST), 1)}
    for split in lfw.SPLITS:
        value = read(root, split)
        for annotation in value.annotations:
            assert annotation["identity"] == numbers[value.paths[annotation["image_id"]].split("_")[0]]
            assert annotation["bbox"] == annotation["face"]["bbox"] == list(FACE)
        order = [value.paths[image["id"]] for image in value.images]
        assert order != sorted(order)


def test_the_box_holds_the_detection_that_the_image_was_cut_around() -> None:
    x, y, w, h = FACE
    side = lfw.SIDE / 2.2
    assert x <= (lfw.SIDE - side) / 2
    assert y <= (lfw.SIDE - side) / 2
    assert w >= side
    assert y + h == 195
    assert x + w / 2 == lfw.SIDE / 2


@pytest.mark.parametrize("name", ["lfw_funneled", "lfw-deepfunneled", "mine"])
def test_aligned_images_are_read_too(root: Path, name: str) -> None:
    (root / "lfw").rename(root / name)
    split = read(root, images=name if name == "mine" else None)
    assert split.folder == Path(name)
    assert len(split.images) == 8


def test_without_people_txt_those_of_the_pairs_are_read(root: Path) -> None:
    (root / "people.txt").unlink()
    split = read(root)
    assert files(split) == {"Zoe 1", "Zoe 2", "Zoe 3", "Adam 1", "Adam 2", "Adam 3"}
    assert [path.name for path in split.sources] == ["pairs.txt"]
    (told,) = split.warnings
    assert told.startswith("6 people of ")
    assert told.endswith("stand in no fold of pairs.txt and are in no split")


def test_people_in_another_fold_of_the_pairs_are_counted(root: Path) -> None:
    edit(root / "pairs.txt", lambda lines: lines.__setitem__(1, "Ida_Testname\t1\t3"))
    (told,) = read(root).warnings
    assert told == "1 people of pairs.txt do not stand in the same fold of people.txt, which is followed"


def test_annotate_tells_warnings(root: Path, tmp_path: Path) -> None:
    save(root / "lfw" / "Max_Testname" / "Max_Testname_0001.jpg", lfw.face(99, 1))
    out = tmp_path / "out"
    given = ("--root", root, "--options", json.dumps(lfw.OPTIONS))
    command("download", "--dataset", "lfw", "--splits", "val", "--out", out / "data", *given)
    printed = command("annotate", "--data", out / "data", "--split", "val", "--out", out / "annotations")
    assert "warning: 1 people of" in printed


def test_pairs_have_folds_and_images_that_are_there(root: Path) -> None:
    pairs = read_pairs(root / "pairs.txt")
    assert len(pairs) == 12
    assert [pair.fold for pair in pairs] == [1] * 4 + [2] * 4 + [3] * 4
    assert [pair.same for pair in pairs] == [True, True, False, False] * 3
    assert pairs[0] == Pair(1, "Zoe_Testname/Zoe_Testname_0001.jpg", "Zoe_Testname/Zoe_Testname_0003.jpg", True)
    assert pairs[3] == Pair(1, "Zoe_Testname/Zoe_Testname_0002.jpg", "Adam_Testname/Adam_Testname_0003.jpg", False)
    assert all((root / "lfw" / path).is_file() for pair in pairs for path in (pair.first, pair.second))


def test_pairs_of_the_last_fold_are_among_gallery_and_probe(root: Path) -> None:
    there = {*read(root, "gallery").paths.values(), *read(root, "probe").paths.values()}
    for pair in read_pairs(root / "pairs.txt"):
        assert ({pair.first, pair.second} <= there) == (pair.fold == 3)


def test_lists_of_one_fold_have_no_number_of_folds(tmp_path: Path) -> None:
    file = tmp_path / "pairsDevTest.txt"
    file.write_text("1\nAda_B\t1\t12\nAda_B\t2\tCleo\t3\n\n")
    assert read_pairs(file) == [
        Pair(1, "Ada_B/Ada_B_0001.jpg", "Ada_B/Ada_B_0012.jpg", True),
        Pair(1, image_path("Ada_B", 2), "Cleo/Cleo_0003.jpg", False),
    ]
    file.write_text("2\nAda_B\t12\nCleo\t3\n")
    assert read_people(file) == [{"Ada_B": 12, "Cleo": 3}]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: lines.clear(), r"pairs.txt: is empty"),
        (lambda lines: lines.__setitem__(0, "ten\t2"), r"line 1: 'ten\s2' does not say how many follow; fetch"),
        (lambda lines: lines.__setitem__(0, "3 2 1"), r"line 1: '3 2 1' does not say"),
        (lambda lines: lines.__setitem__(0, "0\t2"), r"line 1: '0\s2' does not say"),
        (lambda lines: lines.pop(), r"line 13: the file has 12 lines, and 3 folds of 2 .* would be 13"),
        (lambda lines: lines.append("Ida_Testname\t1\t2"), r"line 14: the file has 14 lines"),
        (lambda lines: lines.__setitem__(1, "Zoe_Testname\t1"), r"line 2: 'Zoe_Testname\s1' is not a name and the"),
        (lambda lines: lines.__setitem__(2, lines[3]), r"line 3: .* is not a name and the numbers of two images"),
        (lambda lines: lines.__setitem__(3, lines[2]), r"line 4: .* is not two names, each with the number"),
        (lambda lines: lines.__setitem__(3, "Zoe_Testname\t0\tJan_Testname\t1"), r"line 4: .* is not two names"),
        (lambda lines: lines.__setitem__(1, "Zoe_Testname\t2\t2"), r"line 2: a pair of an image with itself"),
        (lambda lines: lines.__setitem__(4, "Jan_Testname\t1\tJan_Testname\t2"), r"line 5: a mismatched pair of one"),
    ],
)  # fmt: skip
def test_a_wrong_list_of_pairs_names_the_line(root: Path, change: Callable[[list[str]], Any], problem: str) -> None:
    edit(root / "pairs.txt", change)
    with pytest.raises(AnonbenchError, match=problem):
        read_pairs(root / "pairs.txt")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: lines.clear(), r"people.txt: is empty"),
        (lambda lines: lines.pop(), r"line 16: the file is cut short"),
        (lambda lines: lines.__delitem__(slice(11, None)), r"line 12: the file is cut short"),
        (lambda lines: lines.append("Zoe_Testname\t1"), r"line 17: the file goes on after its last fold"),
        (lambda lines: lines.__setitem__(1, "5"), r"line 7: '4' is not a name and a number of images"),
        (lambda lines: lines.__setitem__(6, "four"), r"line 7: 'four' does not say how many follow"),
        (lambda lines: lines.__setitem__(3, "Adam_Testname\tmany"), r"line 4: 'Adam_Testname\smany' is not a name"),
        (lambda lines: lines.__setitem__(8, "Zoe_Testname\t3"), r"line 9: Zoe_Testname stands in line 3 already"),
        (lambda lines: lines.__setitem__(2, "Zora_Testname\t3"), r"people.txt, Zora_Testname: has 1 people of whom"),
        (lambda lines: lines.__setitem__(2, "Zoe_Testname\t4"), r"Zoe_Testname: says that there are 4 images, .* 3;"),
    ],
)  # fmt: skip
def test_a_wrong_list_of_people_ends_in_a_sentence(
    root: Path, change: Callable[[list[str]], Any], problem: str
) -> None:
    edit(root / "people.txt", change)
    with pytest.raises(AnonbenchError, match=problem):
        read(root)


def _small(root: Path) -> None:
    save(root / "lfw" / "Zoe_Testname" / "Zoe_Testname_0001.jpg", np.zeros((100, 100, 3), np.uint8))


def _in_two_folds(root: Path) -> None:
    (root / "people.txt").unlink()
    edit(root / "pairs.txt", lambda lines: lines.__setitem__(12, lines[4]))


@pytest.mark.parametrize(
    ("change", "options", "problem"),
    [
        (lambda r: (r / "lfw").rename(r / "raw"), {}, r"has no folder lfw or lfw_funneled or .*; unpack lfw"),
        (lambda r: None, {"images": "mine"}, r"has no folder mine of images"),
        (lambda r: (r / "lfw_funneled").mkdir(), {}, r"has the folders lfw and lfw_funneled; say which one to read"),
        (lambda r: [(r / f"{name}.txt").unlink() for name in ("people", "pairs")], {}, r"has neither people.txt"),
        (_in_two_folds, {}, r"pairs.txt: has pairs of Adam_Testname in fold 1 and in fold 3"),
        (lambda r: (r / "lfw" / "Nobody").mkdir(), {}, r"lfw/Nobody: has no images; remove the folder"),
        (lambda r: save(r / "lfw/Zoe_Testname/Adam_0001.jpg", lfw.face(1, 1)), {}, r"Adam_0001.jpg: is not named Zoe_"),
        (_small, {}, r"Zoe_Testname_0001.jpg: is 100x100 and not 250x250 pixels"),
        (lambda r: (r / "lfw/Zoe_Testname/Zoe_Testname_0002.jpg").write_bytes(b""), {}, r"Testname_0002.jpg.*is empty"),
        (lambda r: None, {"fold": 4}, r"people.txt: has no fold 4, but 3; use"),
        (lambda r: lfw.save_people(r, [{"Zoe_Testname": 3}, {"Ida_Testname": 3}]), {"fold": 1}, r"has 2 folds"),
    ],
)  # fmt: skip
def test_what_is_not_the_official_layout_ends_in_a_sentence(
    root: Path, change: Callable[[Path], Any], options: dict[str, Any], problem: str
) -> None:
    change(root)
    with pytest.raises(AnonbenchError, match=problem):
        read(root, **options)


def test_one_image_of_each_leaves_nobody_to_look_for(root: Path) -> None:
    lfw.save_people(root, [{"Zoe_Testname": 3}, {"Ida_Testname": 3}, {"Nina_Testname": 1, "Carl_Testname": 1}])
    assert files(read(root, "gallery")) == {"Nina 1", "Carl 1"}
    with pytest.raises(AnonbenchError, match=r"has nobody with two images in fold 3"):
        read(root, "probe")


def test_it_is_not_fetched_but_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"LFW cannot be fetched automatically; unpack lfw.tgz .*http"):
        download("lfw", "lfw", None, {}, ["train"], tmp_path / "out")


def test_faces_are_blurred_and_a_variant_names_nobody(root: Path, tmp_path: Path) -> None:
    variant = anonymized("lfw", root, "gallery", "face-blur-medium", tmp_path, "lossless", **lfw.OPTIONS)
    named = {image["id"]: image["file_name"] for image in read_json(variant / "annotations" / "gallery.json")["images"]}
    tables = tmp_path / "annotations" / "lfw"
    images = regions.read(tables / "gallery.images.parquet", regions.IMAGES).to_pylist()
    people = regions.read(tables / "gallery.people.parquet", regions.PEOPLE).to_pylist()
    assert len(images) == len(people) == 4
    x, y, w, h = (int(v) for v in FACE)
    for image in images:
        before, after = (
            cv2.imread(str(file)).astype(int)
            for file in (root / image["path"], variant / "gallery" / named[image["image_id"]])
        )
        changed = np.abs(before - after).max(axis=2)
        assert (changed[y : y + h, x : x + w] > 2).mean() > 0.2
        changed[y : y + h, x : x + w] = 0
        assert not changed.any()
    assert {person["identity"] for person in people} == {
        str(sorted(FIRST).index(name) + 1) for name in ("Ida", "Rolf", "Nina", "Carl")
    }
    read_by_others = [*variant.rglob("*"), tables / "gallery.json", tables / "gallery.people.parquet"]
    for path in (*read_by_others, tables / "gallery.ledger.csv", tables / "gallery.coverage.csv"):
        assert "Testname" not in path.name
        if path.is_file():
            assert b"Testname" not in path.read_bytes()
    assert "identity" not in (variant / "annotations" / "gallery.json").read_text()
