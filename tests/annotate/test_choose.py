"""Choose: where each region comes from, whom the published study leaves out, and who was never annotated."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from anonbench import regions
from anonbench.annotate import detections, geometry
from anonbench.annotate.choose import choose
from anonbench.annotate.options import RegionsConfig
from anonbench.annotate.people import convert
from anonbench.datasets.coco import Coco
from anonbench.errors import AnonbenchError

FACES = {"face": {"plugin": "boxes", "options": {"path": "faces.json"}}}
FACE_OF_FIRST = (16.0, 7.0, 8.0, 9.0, 0.9)
"""In image 1, about the head of the only person (box 12, 6, 16, 36)."""
POSTER = (45.0, 2.0, 10.0, 12.0, 0.8)
"""In image 1, on nobody."""


def table(path: Path, found: dict[int, Sequence[Sequence[float]]], images: Sequence[int] = (1, 2, 3)) -> Path:
    """Write a table of detections of the three images of a `CocoFolder`."""
    boxes = [np.asarray(found.get(image, np.zeros((0, 5))), np.float32).reshape(-1, 5) for image in images]
    detections.write(path, list(images), boxes, {"plugin": "x", "options": {}}, {"images": list(images), "missing": 0})
    return path


def run(folder: Any, out: Path, faces: Any = None, persons: Any = None, **config: Any) -> pd.DataFrame:
    """Return the table of regions of a split's people."""
    convert(Coco().read(folder.root, "train"), folder.root, out, "train")
    tables = [
        [] if found is None else [table(out / f"{name}.parquet", found)]
        for name, found in (("faces", faces), ("persons", persons))
    ]
    choose(out, "train", RegionsConfig.model_validate(config), *tables)
    return regions.read(out / "train.regions.parquet", regions.REGIONS).to_pandas()


def face_of(rows: pd.DataFrame, person: int) -> Any:
    return rows[(rows["kind"] == "face") & (rows["person_id"] == person)].iloc[0]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["detector"], ["detector", None]),
        (["keypoints"], ["keypoints", "keypoints"]),
        (["union"], ["union", "keypoints"]),
        (["detector", "keypoints"], ["detector", "keypoints"]),
        (["ground_truth"], [None, None]),
    ],
)
def test_sources_are_tried_in_order_and_named(
    make_coco: Callable[..., Any], tmp_path: Path, sources: list[str], expected: list[str | None]
) -> None:
    rows = run(make_coco(), tmp_path / "out", {1: [FACE_OF_FIRST]}, face={"sources": sources}, detectors=FACES)
    found = [face_of(rows, person) for person in (10, 20)]
    assert [row["source"] for row in found] == expected
    assert [row["status"] for row in found] == ["region" if source else "no_face_found" for source in expected]


def test_a_union_holds_both_boxes(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    rows = run(folder, tmp_path / "out", {1: [FACE_OF_FIRST]}, face={"sources": ["union"]}, detectors=FACES)
    row = face_of(rows, 10)
    keypoints = np.array(folder.person()["keypoints"], np.float32).reshape(-1, 3)
    head = geometry.head_box(keypoints, tuple(folder.person()["bbox"]))
    assert head is not None
    for x, y, w, h in (head, FACE_OF_FIRST[:4]):
        assert row.x0 <= x
        assert row.y0 <= y
        assert x + w <= row.x1
        assert y + h <= row.y1


def test_a_detection_of_nobody_is_a_region_only_when_asked_for(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder, found = make_coco(), {1: [FACE_OF_FIRST, POSTER]}
    persons = {1: [(44.0, 0.0, 14.0, 28.0, 0.7), (11.0, 5.0, 18.0, 38.0, 0.9)], 3: [(5.0, 5.0, 20.0, 40.0, 0.6)]}
    without = run(folder, tmp_path / "without", found, detectors=FACES)
    assert (without["person_id"] > 0).all()
    both = {**FACES, "person": {"plugin": "hog"}}
    rows = run(folder, tmp_path / "with", found, persons, detectors=both, unannotated=True)
    strangers = rows[rows["person_id"] < 0]
    assert sorted(zip(strangers["image_id"], strangers["kind"], strict=True)) == [(1, "body"), (1, "face"), (3, "body")]
    assert set(strangers["category"]) == set(strangers["source"]) == {"unannotated"}
    assert strangers["person_id"].is_unique
    pd.testing.assert_frame_equal(rows[rows["person_id"] > 0].reset_index(drop=True), without)
    annotated = json.loads((tmp_path / "with" / "train.json").read_text())["annotations"]
    assert all(a["id"] > 0 for a in annotated)  # for anonymization only: nobody is trained on them
    ledger = pd.read_csv(tmp_path / "with" / "train.ledger.csv")
    assert len(ledger) == len(rows)


def test_the_faces_in_a_crowd_are_its_region(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.person().update(iscrowd=1, bbox=[0, 0, 64, 24], segmentation=[[0, 0, 64, 0, 64, 24, 0, 24]])
    folder.save("train")
    faces = [(4.0, 4.0, 6.0, 8.0, 0.9), (30.0, 5.0, 4.0, 5.0, 0.8), (30.0, 40.0, 6.0, 6.0, 0.7)]
    rows = run(folder, tmp_path / "out", {1: faces}, detectors=FACES, unannotated=True)
    row = face_of(rows, 10)
    assert (row["status"], row["source"], list(row["subject"])) == ("region", "detector", [4.0, 4.0, 6.0, 8.0])
    mask = regions.to_region(row.to_dict(), 48)
    assert mask.box == (4, 4, 34, 12)
    assert mask.mask.sum() == 6 * 8 + 4 * 5
    assert list(rows.loc[rows["person_id"] < 0, "y0"]) == [40]  # the one outside the crowd is nobody's
    left = run(folder, tmp_path / "skip", {1: faces}, detectors=FACES, crowd="skip")
    assert face_of(left, 10)["status"] == "crowd"


def test_the_paper_leaves_its_gaps_and_the_ledger_names_them(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco(images=4)
    folder.json["train"]["categories"].append({"id": 2, "name": "rider", "supercategory": "person"})
    folder.person(number=2).pop("keypoints")
    folder.person(number=1)["category_id"] = 2
    folder.json["train"]["annotations"].append({**folder.person(), "id": 99, "iscrowd": 1})
    folder.save("train")
    out = tmp_path / "out"
    convert(Coco().read(folder.root, "train"), folder.root, out, "train")
    faces = table(out / "faces.parquet", {1: [FACE_OF_FIRST], 3: [(24.0, 7.0, 8.0, 9.0, 0.9)]}, (1, 2, 3, 4))
    choose(out, "train", RegionsConfig.model_validate({"paper": True, "detectors": FACES}), [faces])
    ledger = pd.read_csv(out / "train.ledger.csv").set_index(["person_id", "kind"])
    assert ledger.loc[(10, "face"), "source"] == "detector"
    assert ledger.loc[(10, "body"), "status"] == "region"
    for person in (20, 30):  # a rider; a person without keypoints
        assert set(ledger.loc[person, "status"]) == {"left_by_paper"}
    assert set(ledger.loc[99, "status"]) == {"crowd"}
    choose(out, "train", RegionsConfig.model_validate({"detectors": FACES}), [faces])
    ledger = pd.read_csv(out / "train.ledger.csv")
    assert set(ledger.loc[ledger["kind"] == "body", "status"]) == {"region"}  # by default nobody is left out


def test_a_face_that_is_all_of_a_person_has_no_body(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.json["train"]["categories"][0]["name"] = "face"
    for annotation in folder.json["train"]["annotations"]:
        annotation["face"] = {"bbox": annotation["bbox"]}
    folder.person()["face"] = {"bbox": [3, 4, 0, 0]}
    folder.save("train")
    rows = run(folder, tmp_path / "out", face={"sources": ["ground_truth"]})
    assert set(rows.loc[rows["kind"] == "body", "status"]) == {"no_mask"}
    assert list(rows.loc[rows["kind"] == "face", "status"]) == ["invalid_geometry", "region"]


def test_the_coverage_counts_the_ledger(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    run(make_coco(), tmp_path / "out", {1: [FACE_OF_FIRST, POSTER]}, detectors=FACES, unannotated=True)
    ledger = pd.read_csv(tmp_path / "out" / "train.ledger.csv", keep_default_na=False)
    coverage = pd.read_csv(tmp_path / "out" / "train.coverage.csv", keep_default_na=False)
    keys = ["kind", "category", "status", "source"]
    expected = ledger.groupby(keys).size()
    pd.testing.assert_series_equal(coverage.groupby(keys)["people"].sum(), expected, check_names=False)
    assert set(coverage["size"]) == {"small"}


def test_tables_of_other_images_are_refused(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    out = tmp_path / "out"
    convert(Coco().read(folder.root, "train"), folder.root, out, "train")
    config = RegionsConfig.model_validate({"detectors": FACES})
    with pytest.raises(AnonbenchError, match="image 3, nobody looked at"):
        choose(out, "train", config, [table(out / "faces.parquet", {}, (1, 2))])
    rows = regions.read(out / "train.images.parquet", regions.IMAGES).to_pylist()
    regions.write(out / "train.images.parquet", rows[:1], regions.IMAGES)
    with pytest.raises(AnonbenchError, match=r"train\.people\.parquet: holds people of image 2, .*run annotate again"):
        choose(out, "train", config)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"face": {"sources": ["detector"]}}, "'detector' needs detectors.face"),
        ({"paper": True}, "paper: true needs detectors.face"),
        ({"paper": True, "detectors": FACES, "crowd": "skip"}, "paper: true decides crowd"),
        ({"paper": True, "detectors": FACES, "body": {"dilate": 0.1}}, "paper: true decides body"),
        ({"unannotated": True}, "unannotated: true needs"),
        ({"detectors": {"person": {"plugin": "hog"}}}, "only with unannotated"),
        ({"detectors": {"face": {"plugin": "centreface"}}}, "did you mean 'centerface'"),
        ({"detectors": {"face": {"plugin": "hog"}}}, "finds"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RegionsConfig.model_validate(config)
