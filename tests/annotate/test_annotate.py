"""Annotate: every person has a region or a reason, and bad input ends in one sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from anonbench import regions
from anonbench.annotate import cli, geometry
from anonbench.annotate.choose import choose
from anonbench.annotate.options import BodyRegions, FaceRegions, RegionsConfig
from anonbench.annotate.people import convert
from anonbench.datasets.coco import Coco
from anonbench.errors import AnonbenchError
from anonbench.files import write_json


def run(folder: Any, out: Path, split: str = "train", **config: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Annotate a split and return its ledger and its regions."""
    convert(Coco().read(folder.root, split), folder.root, out, split)
    choose(out, split, RegionsConfig(**config))
    table = regions.read(out / f"{split}.regions.parquet", regions.REGIONS)
    return pd.read_csv(out / f"{split}.ledger.csv"), table.to_pandas()


def test_everybody_has_a_row_per_kind_and_the_json_opens(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    ledger, table = run(folder, tmp_path / "out")
    people = [a["id"] for a in folder.json["train"]["annotations"] if a["category_id"] == 1]
    assert sorted(ledger["person_id"]) == sorted(people * 2)
    assert set(ledger["status"]) == {"region"}
    assert set(table.loc[table["kind"] == "face", "source"]) == {"keypoints"}
    coco = COCO(str(tmp_path / "out" / "train.json"))
    assert len(coco.getAnnIds()) == len(folder.json["train"]["annotations"])


def test_body_masks_are_those_of_pycocotools(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.person()["segmentation"] = [[10.3, 7.7, 31.2, 9.1, 20.5, 39.9], [1, 1, 5, 1, 5, 6]]
    _, table = run(folder, tmp_path / "out")
    coco = COCO(str(folder.root / "annotations" / "instances_train.json"))
    for row in table[table["kind"] == "body"].to_dict("records"):
        expected = coco.annToMask(coco.anns[row["person_id"]])
        whole = np.zeros_like(expected)
        region = regions.to_region(row, expected.shape[0])
        x0, y0, x1, y1 = region.box
        whole[y0:y1, x0:x1] = region.mask
        np.testing.assert_array_equal(whole, expected)


def test_face_box_given_by_the_data_set_wins(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.person()["face"] = {"bbox": [15.5, 7.2, 6.0, 7.0], "score": 1.0, "source": "ground_truth"}
    folder.save("train")
    _, table = run(folder, tmp_path / "out")
    row = table[(table["kind"] == "face") & (table["source"] == "ground_truth")].iloc[0]
    assert (row.x0, row.y0, row.x1, row.y1) == (15, 7, 22, 15)
    ledger, _ = run(folder, tmp_path / "only", face=FaceRegions(sources=["ground_truth"]))
    assert sorted(ledger.loc[ledger["kind"] == "face", "status"]) == ["no_face_found", "region"]


@pytest.mark.parametrize(
    ("change", "kind", "status", "source"),
    [
        ({"iscrowd": 1}, "body", "region", "mask"),
        ({"iscrowd": 1, "ignore": 1, "keypoints": None}, "face", "ignore", None),
        ({"iscrowd": 1, "keypoints": None}, "face", "crowd", None),
        ({"iscrowd": 1}, "face", "region", "keypoints"),
        ({"keypoints": [0.0] * 51}, "face", "no_face_found", None),
        ({"segmentation": [[1, 2, 3, 4]]}, "body", "region", "box"),
        ({"segmentation": [[1, 2, float("nan"), 4, 5, 6]]}, "body", "region", "box"),
        ({"segmentation": [[12, 6, 28, 6, 28, 20], [12, float("nan"), 4, 5, 6, 9]]}, "body", "region", "box"),
        ({"segmentation": [[12, 6, 28, 6, 28, 1e8]]}, "body", "region", "box"),
        ({"segmentation": [[12, 6, 28, 6, 28, "20"], None]}, "body", "region", "box"),
        ({"area": float("nan")}, "body", "region", "mask"),
        ({"area": "large"}, "body", "region", "mask"),
        ({"keypoints": 5}, "face", "no_face_found", None),
        ({"keypoints": ["a"] * 51}, "face", "no_face_found", None),
        ({"face": {"bbox": [float("nan"), 1, 2, 3]}}, "face", "region", "keypoints"),
        ({"face": ["?"]}, "face", "region", "keypoints"),
        ({"score": float("inf")}, "body", "region", "mask"),
        ({"segmentation": [[500, 500, 600, 500, 600, 600]]}, "body", "region", "box"),
        ({"segmentation": {"size": [7, 7], "counts": [49]}}, "body", "region", "box"),
        ({"segmentation": {"size": [48, 64], "counts": "@@"}}, "body", "region", "box"),
        ({"bbox": [5, 5, 0, 9]}, "body", "region", "mask"),
        ({"bbox": [5, 5, 0, 9], "segmentation": []}, "body", "invalid_geometry", None),
        ({"bbox": [900, 5, 8, 9], "segmentation": []}, "body", "outside_image", None),
        ({"bbox": [float("nan"), 5, 8, 9], "segmentation": None}, "body", "invalid_geometry", None),
    ],
)
def test_odd_people_stand_in_the_ledger(
    make_coco: Callable[..., Any],
    tmp_path: Path,
    change: dict[str, Any],
    kind: str,
    status: str,
    source: str | None,
) -> None:
    folder = make_coco()
    person = folder.person()
    person.update(change)
    folder.save("train")
    ledger, _ = run(folder, tmp_path / "out")
    row = ledger[(ledger["person_id"] == person["id"]) & (ledger["kind"] == kind)].iloc[0]
    assert row["status"] == status
    assert row["source"] == source if source else pd.isna(row["source"])
    written = json.loads((tmp_path / "out" / "train.json").read_text())
    for annotation in written["annotations"]:
        assert all(math.isfinite(v) for v in annotation["bbox"])
        assert min(annotation["bbox"][2:]) > 0
        drawn = coco_mask.decode(geometry.rle_of(annotation["segmentation"], 64, 48))
        assert drawn.shape == (48, 64)
        assert ("mask_source" in annotation) == (annotation["segmentation"] != person["segmentation"]) or (
            annotation["id"] != person["id"]
        )


def test_crowds_and_small_people_can_be_left_out(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.person()["iscrowd"] = 1
    folder.save("train")
    ledger, _ = run(folder, tmp_path / "out", crowd="skip", face=FaceRegions(min_size=40))
    body = ledger[ledger["kind"] == "body"]
    assert sorted(body["status"]) == ["crowd", "region"]
    assert sorted(ledger.loc[ledger["kind"] == "face", "status"]) == ["below_min_size", "crowd"]


def test_dilation_grows_the_mask_by_a_disc(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    _, exact = run(folder, tmp_path / "exact")
    _, grown = run(folder, tmp_path / "grown", body=BodyRegions(dilate=0.1))
    before, after = (t[t["kind"] == "body"].iloc[0] for t in (exact, grown))
    radius = round(0.1 * math.sqrt(16 * 36))
    assert (after.x0, after.x1) == (before.x0 - radius, before.x1 + radius)


def _spoil_images(folder: Any, change: Callable[[dict[str, Any]], None]) -> None:
    change(folder.json["train"])
    folder.save("train")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["annotations"].append(dict(c["annotations"][0])), r"annotation 10: duplicate annotation id 10"),
        (lambda c: c["images"].append({**c["images"][0], "file_name": "b.jpg"}), r"image 1: duplicate image id 1"),
        (
            lambda c: c["images"].append({**c["images"][0], "id": 99}),
            r"image 99.*has the file name of image 1",
        ),
        (lambda c: c["annotations"][0].update(image_id=77), r"annotation 10.*belongs to image 77"),
        (lambda c: c["annotations"][0].update(image_id=[1]), r"annotation 10.*belongs to image \[1\]"),
        (lambda c: c["annotations"][0].update(category_id=8), r"annotation 10.*unknown category 8"),
        (lambda c: c["images"][0].update(file_name="gone.jpg"), r"image 1 \(gone.jpg\): is not on disk; .*fetch"),
        (lambda c: c["images"][0].update(file_name="../x.jpg"), r"image 1.*file name '\.\./x.jpg'"),
        (lambda c: c["images"][0].update(width=0), r"image 1.*width 0"),
        (lambda c: c["annotations"][0].pop("id"), r"annotation number 0.*no integer id"),
        (lambda c: c.pop("annotations"), r"no list of annotation entries"),
        (
            lambda c: c.update(annotations=[a for a in c["annotations"] if a["category_id"] == 3]),
            r"split 'train' has no person in 3 images",
        ),
    ],
)
def test_bad_files_end_in_one_sentence(
    make_coco: Callable[..., Any], tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    folder = make_coco()
    _spoil_images(folder, change)
    with pytest.raises(AnonbenchError, match=said) as error:
        run(folder, tmp_path / "out")
    assert "instances_train.json" in str(error.value)
    assert not (tmp_path / "out" / "train.json").exists()


def test_an_empty_image_is_named(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    (folder.root / "train" / "000002.jpg").write_bytes(b"")
    with pytest.raises(AnonbenchError, match=r"image 2 \(000002.jpg\): is empty; .*fetch"):
        run(folder, tmp_path / "out")


@given(st.integers(1, 30), st.integers(1, 30), st.data())
@settings(max_examples=60, deadline=None)
def test_run_lengths_equal_pycocotools(height: int, width: int, data: st.DataObject) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.asfortranarray(np.array(bits, dtype=np.uint8).reshape(height, width))
    rle = coco_mask.encode(mask)
    runs = regions.runs_of(rle["counts"])
    assert runs.sum() == height * width
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    np.testing.assert_array_equal(regions.decode(runs, height, (x0, y0, x1, y1)), mask[y0:y1, x0:x1].astype(bool))


@given(
    st.lists(
        st.tuples(st.floats(-50, 150), st.floats(-50, 150), st.sampled_from([0, 1, 2])),
        min_size=17,
        max_size=17,
    )
)
@settings(max_examples=60, deadline=None)
def test_head_box_holds_every_labelled_head_point(points: list[tuple[float, float, int]]) -> None:
    keypoints = np.array(points, dtype=np.float32)
    box = geometry.head_box(keypoints, (0, 0, 60, 120))
    if not (keypoints[geometry.FRONT, 2] > 0).any():
        assert box is None
        return
    assert box is not None
    x, y, w, h = box
    assert w > 0
    assert h > 0
    for i in geometry.HEAD:
        if keypoints[i, 2] > 0:
            assert x - 1e-3 <= keypoints[i, 0] <= x + w + 1e-3
            assert y - 1e-3 <= keypoints[i, 1] <= y + h + 1e-3


def test_a_broken_polygon_leaves_nobody_visible(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    person = folder.person()
    person["segmentation"] = [[12, 6, 28, 6, 28, 20], [12, 20, 28, 20, float("nan"), 42]]
    folder.save("train")
    ledger, table = run(folder, tmp_path / "out")
    row = table[(table["person_id"] == person["id"]) & (table["kind"] == "body")].iloc[0]
    x, y, w, h = person["bbox"]
    assert (row.x0, row.y0, row.x1, row.y1) == (x, y, x + w, y + h)
    note = ledger.loc[(ledger["person_id"] == person["id"]) & (ledger["kind"] == "body"), "note"].iloc[0]
    assert note == "1 of 2 polygons lack three finite points"


def test_people_are_known_by_name_or_supercategory(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.json["train"]["categories"][0].pop("supercategory")
    folder.save("train")
    ledger, _ = run(folder, tmp_path / "out")
    assert set(ledger["category"]) == {"person"}


def test_another_number_of_people_than_published_is_told(
    make_coco: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_coco()
    record = {"adapter": "coco", "options": {}, "root": str(folder.root), "splits": {}}
    for expected, told in ((2, False), (3, True), (None, False)):
        record["splits"] = {"train": {"expected": {"images": 3, "people": expected}}}
        write_json(tmp_path / "data" / "download.json", record)
        cli.annotate(tmp_path / "data", "train", tmp_path / "out")
        said = capsys.readouterr().out
        assert "3 images" in said
        assert ("warning: 3 people are expected" in said) == told


def test_void_is_nobody(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.person().update(iscrowd=1, ignore=1, void=1)
    folder.save("train")
    ledger, _ = run(folder, tmp_path / "out")
    assert folder.person()["id"] not in set(ledger["person_id"])
    written = json.loads((tmp_path / "out" / "train.json").read_text())
    assert folder.person()["id"] in {a["id"] for a in written["annotations"]}  # evaluation ignores it
