"""Who are people: decided once, in annotate, by the study, the data set, and nobody's guess."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pycocotools.coco import COCO
from pydantic import ValidationError
from typer.testing import CliRunner

from anonbench import records, registry
from anonbench.annotate.choose import choose
from anonbench.annotate.options import RegionsConfig
from anonbench.annotate.people import convert
from anonbench.categories import looks_like_people
from anonbench.cli import app
from anonbench.config import Study
from anonbench.datasets.coco import Coco
from anonbench.errors import AnonbenchError
from anonbench.files import write_json
from anonbench.report.sheet import Status
from anonbench.report.sheet import choose as choose_for_the_sheet
from anonbench.tasks.truth import read_annotations
from anonbench.train.data import VariantSplit
from anonbench.workflow.plan import Plan
from tests.studies import COST

COCO_NAMES = (
    "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light", "fire hydrant",
    "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra",
    "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball",
    "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle", "wine glass",
    "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog",
    "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop",
    "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book",
    "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush", "vehicle", "outdoor", "animal", "accessory",
    "sports", "kitchen", "food", "furniture", "electronic", "appliance", "indoor",
)  # fmt: skip


def annotate(folder: Any, out: Path, people: Any = (), not_people: Any = ()) -> pd.DataFrame:
    """Annotate a split and return its ledger."""
    declared = dict.fromkeys(people, True) | dict.fromkeys(not_people, False)
    convert(Coco().read(folder.root, "train"), folder.root, out, "train", declared=declared)
    choose(out, "train", RegionsConfig())
    return pd.read_csv(out / "train.ledger.csv")


def rename(folder: Any, name: str, supercategory: str | None) -> None:
    """Give the category of people another name and supercategory."""
    category = folder.json["train"]["categories"][0]
    category["name"] = name
    category.pop("supercategory", None)
    if supercategory is not None:
        category["supercategory"] = supercategory
    folder.save("train")


@pytest.mark.parametrize(
    ("name", "supercategory"),
    [
        ("pedestrian", None),
        ("pedestrian", "road user"),
        ("Person", None),
        ("child", ""),
        ("rider", "vehicle"),
        ("thing", "Person"),
        ("thing", "human"),
    ],
)
def test_names_that_look_like_people_are_nobodys_guess(
    make_coco: Callable[..., Any], tmp_path: Path, name: str, supercategory: str | None
) -> None:
    folder = make_coco()
    category = {"id": 2, "name": name} | ({} if supercategory is None else {"supercategory": supercategory})
    folder.json["train"]["categories"].append(category)
    folder.person(number=1)["category_id"] = 2  # one of the two people is left
    folder.save("train")
    said = rf"instances_train\.json, categories: '{name}'.* looks like people, .*people: \[{name}\].*not_people: "
    with pytest.raises(AnonbenchError, match=said):
        annotate(folder, tmp_path / "out")
    assert not (tmp_path / "out" / "train.json").exists()


def test_all_of_them_are_named_at_once(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    more = [{"id": 7, "name": "Police Officer"}, {"id": 8, "name": "kids"}, {"id": 9, "name": "tree"}]
    folder.json["train"]["categories"] += more
    folder.save("train")
    with pytest.raises(AnonbenchError) as error:
        annotate(folder, tmp_path / "out")
    assert "'Police Officer', 'kids'" in str(error.value)
    assert "tree" not in str(error.value)
    assert "'car'" not in str(error.value)


def test_what_the_study_says_holds_in_every_stage(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    rename(folder, "Pedestrian", "road user")
    folder.json["train"]["categories"].append({"id": 4, "name": "head of a statue", "supercategory": "person"})
    statue = {**folder.person(), "id": 77, "category_id": 4, "bbox": [1, 1, 9, 9]}
    folder.json["train"]["annotations"].append(statue)
    folder.save("train")
    ledger = annotate(folder, tmp_path / "out", people=["Pedestrian"], not_people=["head of a statue"])
    assert set(ledger["category"]) == {"Pedestrian"}
    assert 77 not in set(ledger["person_id"])
    written = tmp_path / "out" / "train.json"
    truth = json.loads(written.read_text())
    assert [records.is_people(c) for c in truth["categories"]] == [True, False, False]
    assert {c["name"]: c.get("people") for c in truth["categories"]} == {
        "Pedestrian": True,
        "car": None,
        "head of a statue": False,
    }
    assert len(COCO(str(written)).getAnnIds()) == len(truth["annotations"])
    root = tmp_path / "variant"
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / "train.json").write_text(written.read_text())
    assert [c.person for c in VariantSplit.read(root, "train").categories] == [True, False, False]
    read = read_annotations(written)
    assert [c["name"] for c in read.categories.values() if records.is_people(c)] == ["Pedestrian"]
    drawn = choose_for_the_sheet(truth, 10, {"face-blur-medium": Status(True, {})})
    assert drawn
    assert 77 not in [row.person["id"] for row in drawn]


def test_what_needs_no_word_stays_as_it_was(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    annotate(folder, tmp_path / "out")
    categories = json.loads((tmp_path / "out" / "train.json").read_text())["categories"]
    assert categories == folder.json["train"]["categories"]


def test_people_who_are_declared_not_to_be_stay(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.json["train"]["categories"].append({"id": 4, "name": "face", "supercategory": "statue"})
    folder.json["train"]["annotations"].append({**folder.person(), "id": 77, "category_id": 4})
    folder.save("train")
    ledger = annotate(folder, tmp_path / "out", not_people=["face"])
    assert set(ledger["category"]) == {"person"}


def test_a_data_set_may_say_so_itself(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    rename(folder, "pedestrian", "road user")
    folder.json["train"]["categories"][0]["people"] = True
    folder.json["train"]["categories"][1]["people"] = "no"  # not an answer
    folder.save("train")
    assert set(annotate(folder, tmp_path / "out")["category"]) == {"pedestrian"}


@pytest.mark.parametrize("key", ["people", "not_people"])
def test_a_name_that_the_data_set_lacks_is_refused(make_coco: Callable[..., Any], tmp_path: Path, key: str) -> None:
    with pytest.raises(AnonbenchError, match=r"instances_train\.json, .*no category 'persn' \(did you mean 'person'\?"):
        annotate(make_coco(), tmp_path / "out", **{key: ["persn"]})
    with pytest.raises(AnonbenchError, match="no category 'Car'"):  # exactly as in the data set
        annotate(make_coco("b"), tmp_path / "out", **{key: ["Car"]})


def test_the_box_of_a_face_is_the_face(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    rename(folder, "Face", "thing")
    for annotation in folder.json["train"]["annotations"]:
        annotation.pop("keypoints", None)
    folder.save("train")
    ledger = annotate(folder, tmp_path / "out", people=["Face"])
    assert set(ledger.loc[ledger["kind"] == "face", "source"]) == {"ground_truth"}
    assert set(ledger.loc[ledger["kind"] == "body", "status"]) == {"no_mask"}


@pytest.mark.parametrize(
    "name",
    [
        "person", "Person", "PERSON", "persons", "people", "human", "Humans", "pedestrian", "Pedestrians", "rider",
        "cyclist", "bicyclist", "motorcyclist", "driver", "passenger", "child", "children", "kid", "boy", "girls",
        "man", "men", "Woman", "women", "baby", "babies", "infant", "adult", "worker", "player", "skier", "skater",
        "face", "head", "body", "bodies", "crowd", "group of people", "person-fall", "person_sitting", "Police Officer",
        "policeman", "TrafficPolice", "PersonGroup", "persongroup", "person2", "salesperson", "human.pedestrian.adult",
        "Fußgänger", "piéton", "peatón", "peato\u0301n", "行人", "人脸", "歩行者", "보행자", "пешеход",
        "pedestrian/child", "  Person  ",
    ],
)  # fmt: skip
def test_names_of_people_look_like_people(name: str) -> None:
    assert looks_like_people(name)


@pytest.mark.parametrize("name", [*COCO_NAMES, "manhole", "headlight", "bodywork", "romance", "", None, 5])
def test_names_of_things_do_not(name: Any) -> None:
    assert not looks_like_people(name)


def test_the_adapters_know_their_people() -> None:
    known = {"bdd100k": {"pedestrian", "rider"}, "cityscapes": {"person", "rider"}, "streetlife": {"person", "rider"}}
    for name, people in known.items():
        module = __import__(registry.module("datasets", name), fromlist=["x"])
        categories = getattr(module, "CATEGORIES", None)
        if categories is None:
            from anonbench.datasets.streetlife.dataset import CATEGORIES as categories
        assert {c["name"] for c in categories if records.is_people(c)} == people


def test_the_study_hands_it_on(tmp_path: Path) -> None:
    block = {"adapter": "coco", "root": "x", "people": ["Police Officer"], "not_people": ["face mask"]}
    study = {"name": "s", "datasets": {"a": block}, "variants": ["original"], "models": COST["models"]}
    said = Plan(study, tmp_path).arguments.categories("a")
    assert said == "--people 'Police Officer' --not-people 'face mask'"
    block["not_people"] = ["Police Officer"]
    with pytest.raises(ValidationError, match="'Police Officer' cannot be both people and not_people"):
        Study.model_validate(study)


def test_the_command_takes_it(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    rename(folder, "Pedestrian", None)
    record = {"dataset": "mine", "adapter": "coco", "options": {}, "root": str(folder.root), "splits": {}}
    write_json(tmp_path / "data" / "download.json", record)
    words = ["annotate", "--data", str(tmp_path / "data"), "--split", "train", "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code != 0
    done = CliRunner().invoke(app, [*words, "--people", "Pedestrian", "--not-people", "car"])
    assert done.exit_code == 0, done.output
    assert "2 people" in done.output
