"""COCO's layout: annotations are decoded one by one and are what Python's own reader makes of the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anonbench.datasets.coco import Coco, CocoFile
from anonbench.datasets.coco2017 import Coco2017
from anonbench.errors import AnonbenchError
from tests.fixtures import coco2017

NUMBERS = st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.sampled_from(["id", "image_id", "category_id", "x", "é"]), VALUES), max_size=5))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_annotations_are_those_of_pythons_reader(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"images": [], "categories": [], "annotations": entries, "more": [1]}))
    read = CocoFile(file).annotations
    assert list(read) == entries == list(read)
    assert len(read) == len(entries)
    ids = [(k.id, k.image_id, k.category_id) for k in read.ids()]
    assert ids == [tuple(e.get(key) for key in ("id", "image_id", "category_id")) for e in entries]


def test_annotations_stay_text_until_they_are_asked_for(make_coco: Callable[..., Any]) -> None:
    folder = make_coco()
    read = Coco().read(folder.root, "train").annotations
    assert all(isinstance(entry, msgspec.Raw) for entry in read.entries)  # type: ignore[attr-defined]
    assert list(read) == folder.json["train"]["annotations"]


def test_nan_is_read_as_before(make_coco: Callable[..., Any]) -> None:
    folder = make_coco()
    folder.person()["area"] = float("nan")
    folder.save("train")
    first = list(Coco().read(folder.root, "train").annotations)
    assert first[0]["area"] != first[0]["area"]
    assert [a["id"] for a in first] == [a["id"] for a in folder.json["train"]["annotations"]]
    only = Coco({"categories": ["person"]}).read(folder.root, "train")
    assert {a["category_id"] for a in only.annotations} == {1}


def test_entries_without_ids_reach_annotate(make_coco: Callable[..., Any]) -> None:
    """`annotate` refuses them by their number; leaving them out would make the data set smaller."""
    folder = make_coco()
    folder.json["train"]["annotations"] += [7, {"bbox": [1, 2, 3, 4]}]
    folder.save("train")
    for options in ({}, {"categories": ["person"]}):
        read = list(Coco(options).read(folder.root, "train").annotations)
        assert read[-2:] == [7, {"bbox": [1, 2, 3, 4]}]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-40], r"instances_train.json: is not valid JSON"),
        (lambda text: "", r"instances_train.json: is not valid JSON .*; the file may be cut short"),
        (lambda text: "<html>sign in</html>", r"is not valid JSON"),
        (lambda text: "[]", r"is not a COCO annotation file"),
        (lambda text: '{"images": 3}', r"is not a COCO annotation file"),
        (lambda text: json.dumps({**json.loads(text), "annotations": None}), r"has no list of annotation entries"),
        (lambda text: json.dumps({**json.loads(text), "categories": {}}), r"has no list of category entries"),
        (lambda text: json.dumps({**json.loads(text), "images": [3]}), r"image number 0: has no integer id"),
    ],
)
def test_bad_files_end_in_one_sentence(make_coco: Callable[..., Any], change: Callable[[str], str], said: str) -> None:
    folder = make_coco()
    path = folder.root / "annotations" / "instances_train.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(AnonbenchError, match=said):
        list(Coco().read(folder.root, "train").annotations)


def test_broken_text_inside_an_annotation_is_named(make_coco: Callable[..., Any]) -> None:
    folder = make_coco()
    path = folder.root / "annotations" / "instances_train.json"
    path.write_bytes(path.read_bytes().replace(b'"iscrowd": 0', b'"\xff": 0', 1))
    with pytest.raises(AnonbenchError, match=r"instances_train.json.*is not valid JSON"):
        list(Coco().read(folder.root, "train").annotations)


def test_keypoints_join_and_a_changed_dictionary_stays_the_readers(tmp_path: Path) -> None:
    coco2017.write(tmp_path)
    read = Coco2017().read(tmp_path, "train2017")
    points = json.loads((tmp_path / "annotations" / "person_keypoints_train2017.json").read_text())
    expected = {a["id"]: a["keypoints"] for a in points["annotations"]}
    found = {a["id"]: a["keypoints"] for a in read.annotations if "keypoints" in a}
    assert found == expected
    assert len(read.categories) == 80
    assert read.categories[0]["keypoints"] == points["categories"][0]["keypoints"]
    for annotation in read.annotations:
        annotation.clear()
    assert {a["id"]: a["keypoints"] for a in read.annotations if "keypoints" in a} == expected


def _remove(name: str) -> Callable[[Path], None]:
    return lambda root: (root / "annotations" / name).unlink()


def _subset(root: Path) -> None:
    file = root / "annotations" / "instances_train2017.json"
    coco = json.loads(file.read_text())
    file.write_text(json.dumps({**coco, "categories": coco["categories"][:20]}))


def _other_keypoints(root: Path) -> None:
    (root / "annotations" / "person_keypoints_val2017.json").replace(
        root / "annotations" / "person_keypoints_train2017.json"
    )


def _no_images(root: Path) -> None:
    (root / "train2017").rename(root / "elsewhere")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_remove("instances_train2017.json"), r"instances_train2017.json: no such file; .*or use the plugin 'coco'"),
        (_remove("person_keypoints_train2017.json"), r"person_keypoints_train2017.json: no such file"),
        (_subset, r"has 20 categories, COCO 2017 has 80; .*plugin 'coco' for a subset"),
        (_other_keypoints, r"annotation \d+: is not in the instances file.*same release"),
        (_no_images, r"train2017: is not a folder of images"),
    ],
)
def test_coco2017_is_the_official_release(tmp_path: Path, change: Callable[[Path], None], said: str) -> None:
    coco2017.write(tmp_path)
    change(tmp_path)
    with pytest.raises(AnonbenchError, match=said):
        Coco2017().read(tmp_path, "train2017")


def test_coco2017_fetches_and_coco_does_not(tmp_path: Path) -> None:
    class Sources:
        asked: list[tuple[Path, list[str]]] = []  # noqa: RUF012

        def fetch(self, target: Path, splits: list[str]) -> None:
            self.asked.append((target, splits))

    sources = Sources()
    Coco2017().download(tmp_path, ["val2017"], sources)
    assert sources.asked == [(tmp_path, ["val2017"])]
    with pytest.raises(AnonbenchError, match="--config root="):
        Coco().download(tmp_path, ["val2017"], sources)
    with pytest.raises(AnonbenchError, match=r"no split 'val' \(known: train2017, val2017\)"):
        Coco2017().read(tmp_path, "val")
