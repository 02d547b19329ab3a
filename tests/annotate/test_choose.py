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
        (None, ["union", "keypoints"]),
        (["ground_truth"], [None, None]),
    ],
)
def test_sources_are_tried_in_order_and_named(
    make_coco: Callable[..., Any], tmp_path: Path, sources: list[str] | None, expected: list[str | None]
) -> None:
    face = {} if sources is None else {"sources": sources}
    rows = run(make_coco(), tmp_path / "out", {1: [FACE_OF_FIRST]}, face=face, detectors=FACES)
    rows = rows[rows["person_id"] > 0]
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
    both = {**FACES, "person": {"plugin": "hog"}}
    without = run(folder, tmp_path / "without", found, persons, detectors=both)
    left = without[without["person_id"] < 0]
    assert sorted(zip(left["image_id"], left["kind"], strict=True)) == [(1, "body"), (1, "face"), (3, "body")]
    assert set(left["status"]) == {"left_unannotated"}
    assert set(left["category"]) == {"unannotated"}
    assert left["source"].isna().all()
    assert left["x0"].isna().all()
    ledger = pd.read_csv(tmp_path / "without" / "train.ledger.csv")
    box = ledger.loc[(ledger["person_id"] < 0) & (ledger["kind"] == "face"), ["x", "y", "width", "height"]]
    assert box.to_numpy().tolist() == [list(POSTER[:4])]
    coverage = pd.read_csv(tmp_path / "without" / "train.coverage.csv").set_index("status")
    assert list(coverage.loc["left_unannotated", "people"]) == [2, 1]
    rows = run(folder, tmp_path / "with", found, persons, detectors=both, unannotated=True)
    strangers = rows[rows["person_id"] < 0]
    assert sorted(zip(strangers["image_id"], strangers["kind"], strict=True)) == [(1, "body"), (1, "face"), (3, "body")]
    assert set(strangers["category"]) == set(strangers["source"]) == {"unannotated"}
    assert strangers["person_id"].is_unique
    known = (each[each["person_id"] > 0].reset_index(drop=True) for each in (rows, without))
    pd.testing.assert_frame_equal(*known, check_dtype=False)
    annotated = json.loads((tmp_path / "with" / "train.json").read_text())["annotations"]
    assert all(a["id"] > 0 for a in annotated)  # for anonymization only: nobody is trained on them
    ledger = pd.read_csv(tmp_path / "with" / "train.ledger.csv")
    assert len(ledger) == len(rows)


def test_a_face_that_a_region_covers_in_part_gets_a_row_where_all_are_to_be_covered(
    make_coco: Callable[..., Any], tmp_path: Path
) -> None:
    neighbour = (21.0, 7.0, 8.0, 9.0, 0.7)  # three quarters of it are in the grown face of the first
    config = {"detectors": FACES, "unannotated": True, "face": {"sources": ["detector"]}}
    rows = run(make_coco(), tmp_path, {1: (FACE_OF_FIRST, neighbour)}, **config)
    assert not (rows["person_id"] < 0).any()
    chosen = RegionsConfig.model_validate(config)
    choose(tmp_path, "train", chosen, [tmp_path / "faces.parquet"], cover_all=True)
    rows = regions.read(tmp_path / "train.regions.parquet", regions.REGIONS).to_pandas()
    (row,) = rows[rows["person_id"] < 0].to_dict("records")
    assert (row["kind"], row["status"], row["x0"] <= 21, row["x1"] >= 29) == ("face", "region", True, True)
    assert face_of(rows, 10)["status"] == "region"


def test_the_faces_in_a_crowd_are_its_region(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.person().update(iscrowd=1, bbox=[0, 0, 64, 24], segmentation=[[0, 0, 64, 0, 64, 24, 0, 24]])
    folder.save("train")
    faces = [(4.0, 4.0, 6.0, 8.0, 0.9), (30.0, 5.0, 4.0, 5.0, 0.8), (30.0, 40.0, 6.0, 6.0, 0.7)]
    folder.person()["keypoints"] = None
    folder.save("train")
    rows = run(folder, tmp_path / "out", {1: faces}, face={"margin": 0}, detectors=FACES, unannotated=True)
    row = face_of(rows, 10)
    assert (row["status"], row["source"], list(row["subject"])) == ("region", "detector", [4.0, 4.0, 6.0, 8.0])
    mask = regions.to_region(row.to_dict(), 48)
    assert mask.box == (4, 4, 34, 12)
    assert mask.mask.sum() == 6 * 8 + 4 * 5
    assert list(rows.loc[rows["person_id"] < 0, "y0"]) == [40]  # the one outside the crowd is nobody's
    left = run(folder, tmp_path / "skip", {1: faces}, detectors=FACES, crowd="skip")
    assert face_of(left, 10)["status"] == "crowd"


def test_a_crowd_without_a_mask_is_its_box(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.person().update(iscrowd=1, bbox=[0, 0, 64, 24], segmentation=[], keypoints=None)
    folder.save("train")
    rows = run(folder, tmp_path / "out", {1: [(30.0, 5.0, 4.0, 5.0, 0.8)]}, face={"margin": 0}, detectors=FACES)
    row = face_of(rows, 10)
    assert (row["status"], row["source"]) == ("region", "detector")
    assert (row.x0, row.y0, row.x1, row.y1) == (30, 5, 34, 10)


def test_a_crowd_has_the_head_that_its_keypoints_tell(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.person()["iscrowd"] = 1
    folder.save("train")
    alone = face_of(run(folder, tmp_path / "alone"), 10)
    assert (alone["status"], alone["source"]) == ("region", "keypoints")
    found = {1: [(20.0, 30.0, 4.0, 5.0, 0.9)]}
    both = face_of(run(folder, tmp_path / "both", found, face={"margin": 0}, detectors=FACES), 10)
    assert both["source"] == "union"
    mask = regions.to_region(both.to_dict(), 48)
    head = (alone.x1 - alone.x0) * (alone.y1 - alone.y0)
    assert mask.mask.sum() == head + 4 * 5


def test_a_face_between_two_of_a_crowd_is_somebodys(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    """The box that holds all faces of a crowd is no region: what lies between them stays visible."""
    folder = make_coco()
    shape = [[0, 0, 20, 0, 20, 24, 0, 24], [44, 0, 64, 0, 64, 24, 44, 24]]
    folder.person().update(iscrowd=1, bbox=[0, 0, 64, 24], segmentation=shape, keypoints=None)
    folder.save("train")
    faces = [(4.0, 4.0, 6.0, 8.0, 0.9), (50.0, 5.0, 4.0, 5.0, 0.8), (30.0, 6.0, 4.0, 4.0, 0.7)]
    for changed, status in ((True, "region"), (False, "left_unannotated")):
        rows = run(folder, tmp_path / status, {1: faces}, detectors=FACES, unannotated=changed)
        assert rows.loc[rows["person_id"] < 0, "status"].to_list() == [status]


@pytest.mark.parametrize(
    ("given", "min_size", "found", "source", "status"),
    [
        ([500, 500, 8, 8], 1, [FACE_OF_FIRST], "union", "region"),
        ([500, 500, 8, 8], 1, [], "keypoints", "region"),
        ([16, 7, 2, 2], 4, [FACE_OF_FIRST], "union", "region"),
        ([16, 7, 2, 2], 4, [], "keypoints", "region"),
        ([16, 7, 2, 2], 30, [FACE_OF_FIRST], None, "below_min_size"),
        ([500, 500, 2, 2], 30, [], None, "below_min_size"),
        ([500, 500, 8, 8], 1, None, None, "outside_image"),
        ([16, 7, 2, 2], 4, None, None, "below_min_size"),
    ],
)
def test_a_given_face_that_cannot_be_used_does_not_end_the_search(
    make_coco: Callable[..., Any],
    tmp_path: Path,
    given: list[float],
    min_size: int,
    found: list[Any] | None,
    source: str | None,
    status: str,
) -> None:
    folder = make_coco()
    folder.person()["face"] = {"bbox": given}
    if found is None:  # and nobody else knows it
        folder.person()["keypoints"] = None
    folder.save("train")
    rows = run(folder, tmp_path / "out", {1: found or []}, face={"min_size": min_size}, detectors=FACES)
    assert tuple(face_of(rows, 10)[["source", "status"]]) == (source, status)


def test_a_detected_face_has_a_margin_and_holds_the_labelled_points(
    make_coco: Callable[..., Any], tmp_path: Path
) -> None:
    folder = make_coco()
    folder.person()["keypoints"][9:12] = [12.0, 12.0, 2]  # an ear outside the detected box
    folder.save("train")
    x, y, w, h, _ = FACE_OF_FIRST
    for margin, source in ((0.0, "detector"), (0.25, "detector"), (0.25, "union"), (0.0, "union")):
        face = {"sources": [source], "margin": margin}
        row = face_of(run(folder, tmp_path / "out", {1: [FACE_OF_FIRST]}, face=face, detectors=FACES), 10)
        m = margin * max(w, h)
        assert row.x0 <= np.floor(x - m)
        assert row.x1 >= np.ceil(x + w + m)
        assert row.y1 >= np.ceil(y + h + m)
        if source == "union":
            assert row.x0 <= 12 < row.x1
        else:
            assert (row.x0, row.x1) == (np.floor(x - m), np.ceil(x + w + m))
    default = run(folder, tmp_path / "default", {1: [FACE_OF_FIRST]}, detectors=FACES)
    chosen = {"sources": ["ground_truth", "union"], "margin": 0.25}
    pd.testing.assert_frame_equal(
        default, run(folder, tmp_path / "said", {1: [FACE_OF_FIRST]}, face=chosen, detectors=FACES)
    )


def test_an_ear_alone_belongs_to_the_detected_face(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    keypoints = folder.person()["keypoints"]
    keypoints[0:9], keypoints[9:12], keypoints[12:15] = [0.0] * 9, [15.0, 12.0, 2], [0.0] * 3
    folder.save("train")
    row = face_of(run(folder, tmp_path / "out", {1: [FACE_OF_FIRST]}, face={"margin": 0}, detectors=FACES), 10)
    assert (row.source, row.x0, row.y0, row.x1, row.y1) == ("union", 15, 7, 24, 16)


def test_a_face_that_was_detected_twice_is_covered_whole(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder, larger = make_coco(), (13.0, 3.0, 15.0, 17.0, 0.4)
    face = {"sources": ["detector"], "margin": 0}
    rows = run(folder, tmp_path / "out", {1: [FACE_OF_FIRST, larger]}, face=face, detectors=FACES)
    assert (rows["person_id"] > 0).all()
    row = face_of(rows, 10)
    assert (row.x0, row.y0, row.x1, row.y1) == (13, 3, 28, 20)


@pytest.mark.parametrize("source", ["detector", "ground_truth"])
def test_a_detection_that_a_given_face_does_not_cover_has_a_row(
    make_coco: Callable[..., Any], tmp_path: Path, source: str
) -> None:
    """The second face in a person's mask: somebody in front of them whom nobody annotated."""
    folder = make_coco()
    folder.person()["keypoints"] = None
    folder.person()["face"] = {"bbox": [16, 7, 8, 9]}
    folder.save("train")
    second = (14.0, 28.0, 8.0, 9.0, 0.9)
    faces = [second] if source == "ground_truth" else [FACE_OF_FIRST, second]
    for changed, status in ((True, "region"), (False, "left_unannotated")):
        rows = run(
            folder, tmp_path / status, {1: faces}, face={"sources": [source]}, detectors=FACES, unannotated=changed
        )
        assert face_of(rows, 10)["status"] == "region"
        assert rows.loc[rows["person_id"] < 0, "status"].to_list() == [status]


def test_whom_a_setting_leaves_out_owns_the_faces_in_their_mask(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.person()["iscrowd"] = 1
    folder.save("train")
    rows = run(folder, tmp_path / "out", {1: [FACE_OF_FIRST, POSTER]}, detectors=FACES, crowd="skip")
    assert face_of(rows, 10)["status"] == "crowd"
    assert rows.loc[rows["person_id"] < 0, "status"].to_list() == ["left_unannotated"]  # the poster alone


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_scale_and_the_margin_hold_for_everybody(
    make_coco: Callable[..., Any], tmp_path: Path, scale: float
) -> None:
    face = {"scale": scale, "margin": 0.25}
    rows = run(
        make_coco(), tmp_path / "out", {1: [(40.0, 20.0, 8.0, 8.0, 0.9)]}, face=face, detectors=FACES, unannotated=True
    )
    row = rows[rows["person_id"] < 0].iloc[0]
    assert row.x1 - row.x0 == row.y1 - row.y0 == scale * (8 + 2 * 0.25 * 8)
    small = {"min_size": 9}
    rows = run(
        make_coco("b"),
        tmp_path / "b",
        {1: [(40.0, 20.0, 8.0, 8.0, 0.9)]},
        face=small,
        detectors=FACES,
        unannotated=True,
    )
    assert rows.loc[rows["person_id"] < 0, "status"].to_list() == ["below_min_size"]


def test_a_stranger_in_the_box_of_a_person_is_not_them(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    """Somebody small between the legs or the arms of somebody large."""
    folder = make_coco()
    folder.person().update(
        bbox=[0, 0, 60, 48], segmentation=[[0, 0, 12, 0, 12, 48, 0, 48], [48, 0, 60, 0, 60, 48, 48, 48]]
    )
    folder.save("train")
    person = {"person": {"plugin": "hog"}}
    found = {1: [(20.0, 8.0, 16.0, 36.0, 0.9), (1.0, 1.0, 58.0, 46.0, 0.8), (1.0, 1.0, 10.0, 20.0, 0.7)]}
    rows = run(folder, tmp_path / "out", None, found, detectors=person, unannotated=True)
    assert rows.loc[rows["person_id"] < 0, "x0"].to_list() == [20]


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
    with pytest.raises(AnonbenchError, match="image 3 was not looked at"):
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
        ({"detectors": {"face": {"plugin": "centreface"}}}, "did you mean 'centerface'"),
        ({"detectors": {"face": {"plugin": "hog"}}}, "finds"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RegionsConfig.model_validate(config)
