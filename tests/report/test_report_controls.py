"""How much of what is not people meets what is anonymized: crafted boxes, every share by hand."""

import error_study
import numpy as np
import pytest
from synthetic_study import dump, write_study

from anonbench import regions
from anonbench.errors import AnonbenchError
from anonbench.regions import REGION, REGIONS
from anonbench.report.collect import CONTROL, MEAN, OVERLAPPED, PEOPLE, TOUCHED, Sources
from anonbench.report.controls import Boxes, boxes_of, count
from anonbench.report.impact import impact
from anonbench.report.study import ReportStudy
from anonbench.report.tables import markdown

CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person"}, {"id": 2, "name": "rider", "people": True},
    {"id": 3, "name": "car"}, {"id": 4, "name": "bus"}, {"id": 5, "name": "tree"},
]  # fmt: skip
HEIGHT = 40


def _region(kind, box, image=1, mask=None, status=REGION):
    """Return a row; ``mask`` bool (40, 100) of the whole image."""
    runs = None
    if mask is not None:
        flat = np.concatenate(([False], mask.ravel(order="F")))
        ends = np.flatnonzero(flat[1:] != flat[:-1])
        runs = np.diff(np.concatenate(([0], ends, [mask.size]))).tolist()
    corners = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
    return {
        "image_id": image, "person_id": 1, "category": "person", "kind": kind, "status": status, **corners,
        "runs": runs, "area": 1.0,
    }  # fmt: skip


def _write(folder, boxes, rows):
    """Write a split of two images (100 x 40) with ``boxes`` (category, x, y, w, h, and more of the annotation)."""
    images = [{"id": i, "width": 100, "height": HEIGHT, "file_name": f"{i}.png"} for i in (1, 2)]
    annotations = [
        {"id": i, "image_id": 1, "category_id": category, "bbox": box, "iscrowd": 0, **more}
        for i, (category, box, more) in enumerate(boxes)
    ]
    dump(folder / "train.json", {"images": images, "categories": CATEGORIES, "annotations": annotations})
    regions.write(folder / "train.regions.parquet", rows, REGIONS)
    return count(folder, "train")


def test_a_box_is_met_where_it_holds_a_pixel_of_a_region(tmp_path) -> None:
    cars = [
        (3, [0, 0, 20, 20], {}),  # holds the face and a part of the body
        (3, [0, 12, 20, 20], {}),  # the body alone
        (3, [50, 0, 20, 20], {}),  # nothing
        (3, [0, 0, 20, 20], {"image_id": 2}),  # the same place in another image
        (4, [50, 0, 20, 20], {}),
    ]
    boxes = _write(tmp_path, cars, [_region("face", (8, 2, 14, 8)), _region("body", (6, 2, 16, 30))])
    assert boxes.total == {"car": 4, "bus": 1}
    assert (boxes.share("face", "car"), boxes.share("body", "car")) == (0.25, 0.5)
    assert boxes.share("body", "bus") == 0
    assert boxes.share("body", "untouched") == 0.4
    assert boxes.share("body", "tree") is None  # has no box at all
    assert boxes.share("body", "person") is None


def test_pixels_count_and_not_boxes_of_masks(tmp_path) -> None:
    mask = np.zeros((HEIGHT, 100), bool)
    np.fill_diagonal(mask[5:25, 10:30], True)
    cars = [
        (3, [10, 20, 5, 5], {}),  # in the mask's box, below its diagonal
        (3, [19.5, 14.2, 0.4, 0.4], {}),  # lies in the one pixel (19, 14), which is set
        (3, [20, 14, 1, 1], {}),  # the pixel beside it
    ]
    boxes = _write(tmp_path, cars, [_region("body", (10, 5, 30, 25), mask=mask)])
    assert boxes.met == {("body", "car"): 1}
    assert boxes.total == {"car": 3}


def test_a_box_that_two_people_meet_counts_once_and_neighbours_do_not_meet(tmp_path) -> None:
    rows = [_region("face", (0, 0, 10, 10)), _region("face", (5, 5, 15, 15)), _region("face", (50, 0, 60, 10))]
    boxes = _write(tmp_path, [(3, [0, 0, 40, 40], {}), (3, [40, 0, 10, 40], {}), (3, [60, 0, 9, 9], {})], rows)
    assert boxes.met == {("face", "car"): 1}


def test_crowds_boxes_without_area_and_people_without_a_region_do_not_count(tmp_path) -> None:
    cars = [
        (3, [0, 0, 20, 20], {"iscrowd": 1}),
        (3, [0, 0, 0, 20], {}),
        (3, [-30, 0, 20, 20], {}),  # outside the image
        (3, [0, 0, 20, 20], {}),
        (1, [0, 0, 20, 20], {}),
    ]
    left = _region("face", (0, 0, 10, 10), status="no_face_found")
    boxes = _write(tmp_path, cars, [left, _region("body", (0, 0, 10, 10))])
    assert boxes.total == {"car": 1}
    assert (boxes.share("face", "car"), boxes.share("body", "car")) == (0, 1)


def test_a_split_of_people_alone_needs_no_regions(tmp_path) -> None:
    boxes = _write(tmp_path, [(1, [0, 0, 9, 9], {})], [])
    (tmp_path / "train.regions.parquet").unlink()
    assert boxes == count(tmp_path, "train") == Boxes()


def test_what_is_missing_or_damaged_is_named(tmp_path) -> None:
    _write(tmp_path, [(3, [0, 0, 9, 9], {})], [])
    (tmp_path / "train.regions.parquet").unlink()
    with pytest.raises(AnonbenchError, match=r"train\.regions\.parquet: no such table; run the annotate stage"):
        count(tmp_path, "train")
    dump(
        tmp_path / "train.json",
        {"images": [], "categories": CATEGORIES, "annotations": [{"category_id": 3, "image_id": 1}]},
    )
    with pytest.raises(AnonbenchError, match=r"train\.json: is not a COCO annotation file.*bbox"):
        count(tmp_path, "train")


def test_a_study_that_anonymizes_nothing_reads_nothing() -> None:
    study = ReportStudy("s", 0, {"d": {"train": "train", "val": "val"}}, ["original"], {"m": {}}, [0])
    nowhere = Sources(*("/nowhere",) * 3, annotations="/nowhere")
    assert boxes_of(study, nowhere, "d", "train") == Boxes()


def _groups(table, category):
    return dict(zip(table.variant[table.category == category], table.group[table.category == category], strict=True))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    quality = dict.fromkeys(("original", "face-identity", "face-blur-medium", "body-blur-medium"), 0.8)
    study = ReportStudy.read(write_study(root, (0, 1), 10, quality, ("detection",), bootstrap=20))
    return study, Sources(
        *(root / name for name in ("evaluations", "models", "anonymized")), None, root / "annotations"
    )


def test_the_impact_table_parts_overlapped_controls_from_others(made) -> None:
    study, sources = made
    folder = sources.annotations / "streetlife"
    truth = [(3, [0, 0, 20, 20], {}), (3, [50, 0, 20, 20], {})]
    _write(folder, truth, [_region("body", (0, 0, 10, 10)), _region("face", (90, 0, 95, 5))])
    table, _ = impact(study, sources)
    assert _groups(table, "car") == {
        "original": CONTROL, "face-identity": CONTROL, "face-blur-medium": CONTROL, "body-blur-medium": OVERLAPPED,
    }  # fmt: skip
    cars = table[(table.category == "car") & (table.role == "primary")]
    assert dict(zip(cars.variant, cars.share_met, strict=True)) == {
        "original": 0, "face-identity": 0, "face-blur-medium": 0, "body-blur-medium": 0.5,
    }  # fmt: skip
    people = table[table.group == PEOPLE]
    assert len(people)
    assert people.share_met.isna().all()
    assert set(table[table.category.isin(["all", "untouched"])].group) <= {MEAN}
    assert "car (not people)" in markdown(table, study)
    only_faces = table[~table.variant.str.startswith("body")]
    assert "car (untouched)" in markdown(only_faces, study)


def test_whole_frames_stay_touched(tmp_path, monkeypatch) -> None:
    error_study.register(monkeypatch)
    study, sources = error_study.write(tmp_path, lambda *of: 1.0, ("original", "frame-identity", "frame-downsample-4x"))
    truth = [(3, [0, 0, 20, 20], {})]
    _write(sources.annotations / "walk", truth, [_region("body", (0, 0, 10, 10))])
    table, _ = impact(study, sources)
    cars = table[(table.category == "car") & (table.role == "primary")]
    assert cars.group.to_list() == [CONTROL, TOUCHED, TOUCHED]
    assert cars.share_met.to_list() == [0, 0, 1]
