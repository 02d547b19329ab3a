"""VISPR: labels of photographs become attributes of whoever is in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anonbench import regions
from anonbench.datasets.base import Split
from anonbench.datasets.vispr import ATTRIBUTES, PRESETS, SPLITS, Vispr
from anonbench.errors import AnonbenchError
from tests.datasets.stages import command
from tests.fixtures import vispr


@pytest.fixture
def root(tmp_path: Path) -> Path:
    vispr.write(tmp_path / "vispr")
    return tmp_path / "vispr"


def said(split: Split) -> list[dict[str, str]]:
    return [annotation["attributes"] for annotation in split.annotations]


def test_the_data_set_has_68_attributes_and_three_splits() -> None:
    assert len({*ATTRIBUTES}) == len(ATTRIBUTES) == 68
    assert SPLITS == {"train2017": 10_000, "val2017": 4_167, "test2017": 8_000}
    assert len(PRESETS["seven"]) == 7
    assert {*PRESETS["seven"]} <= {*ATTRIBUTES}


def test_every_attribute_is_said_of_every_image(root: Path) -> None:
    split = Vispr().read(root, "train2017")
    assert {*split.attributes} == {*ATTRIBUTES}
    first, safe, third = said(split)
    assert {name for name, value in first.items() if value == "yes"} == {*vispr.LABELS[0]}
    assert [name for name, value in safe.items() if value == "yes"] == ["a0_safe"]
    assert {name for name, value in third.items() if value == "yes"} == {*vispr.LABELS[2]}
    assert any("has 3 images; the data set has 10000" in warning for warning in split.warnings)


def test_attributes_can_be_chosen(root: Path) -> None:
    seven = Vispr({"preset": "seven"}).read(root, "val2017")
    assert list(seven.attributes) == sorted(PRESETS["seven"], key=ATTRIBUTES.index)
    assert said(seven)[2] == {name: "yes" if name in vispr.LABELS[2] else "no" for name in seven.attributes}
    two = Vispr({"attributes": ["a59_sports", "a4_gender"], "preset": "seven"}).read(root, "val2017")
    assert list(two.attributes) == ["a4_gender", "a59_sports"]


def test_folders_side_by_side_are_read_too(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "train2017"
    other.mkdir(parents=True)
    for kind in ("images", "annotations"):
        for path in (root / kind / "train2017").iterdir():
            path.rename(other / path.name)
    assert len(Vispr().read(tmp_path / "other", "train2017").images) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attributes": ["a4_gendre"]}, r"attributes: unknown attribute 'a4_gendre' \(did you mean 'a4_gender'"),
        ({"attributes": ["a4_gender", "a4_gender"]}, "the same attribute twice"),
        ({"attributes": []}, "attributes"),
        ({"preset": "eight"}, "preset"),
    ],
)
def test_unknown_attributes_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(AnonbenchError, match=message):
        Vispr(options)


def test_files_that_are_missing_or_of_another_form_are_named(root: Path) -> None:
    path = next((root / "annotations" / "test2017").iterdir())
    path.write_text(json.dumps({"labels": "a4_gender"}))
    with pytest.raises(AnonbenchError, match=rf"{path.name}: has no list 'labels' of names"):
        Vispr().read(root, "test2017")
    path.write_text(json.dumps({"labels": ["a4_gender", "a999_new"]}))
    assert any("a999_new" in warning for warning in Vispr().read(root, "test2017").warnings)
    path.unlink()
    with pytest.raises(AnonbenchError, match=rf"{path.name}: no such file"):
        Vispr().read(root, "test2017")
    for image in (root / "images" / "test2017").iterdir():
        image.unlink()
    with pytest.raises(AnonbenchError, match=r"test2017: has no images"):
        Vispr().read(root, "test2017")


def test_attributes_reach_the_table_of_people(root: Path, tmp_path: Path) -> None:
    data, annotations = tmp_path / "data" / "vispr", tmp_path / "annotations" / "vispr"
    options = json.dumps({"preset": "seven"})
    command(
        "download", "--dataset", "vispr", "--splits", "train2017", "--out", data, "--root", root, "--options", options
    )
    command("annotate", "--data", data, "--split", "train2017", "--out", annotations)
    rows = regions.read(annotations / "train2017.people.parquet", regions.PEOPLE).to_pylist()
    assert [json.loads(row["attributes"])["a4_gender"] for row in rows] == ["yes", "no", "yes"]
    assert all(row["crowd"] for row in rows)
