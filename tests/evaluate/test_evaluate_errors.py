"""What a user can get wrong is said in one sentence with the file, the entry and a remedy."""

import copy
import io
import json
import zipfile

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from anonbench.errors import AnonbenchError
from anonbench.evaluate import evidence, synthetic
from anonbench.evaluate.cli import evaluate
from anonbench.evaluate.metrics import evaluate_files
from anonbench.tasks import base as tasks
from anonbench.tasks.truth import read_annotations

TRUTH = synthetic.ground_truth(4, seed=1)
FOUND = synthetic.predictions(TRUTH, 0.9, seed=1)
MASK = FOUND["detections"][0]["segmentation"]["counts"]


def _set(path: str, value):
    def change(data) -> None:
        *parents, last = path.split("/")
        for key in parents:
            data = data[int(key) if key.isdigit() else key]
        place = int(last) if last.isdigit() else last
        if value is None:
            del data[place]
        else:
            data[place] = value

    return change


def _person() -> int:
    return next(i for i, d in enumerate(FOUND["detections"]) if d["category_id"] == 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("detections/2/image_id", 99), "detection 2: lies in image 99"),
        (_set("detections/2/category_id", 7), "detection 2: is of category 7"),
        (_set("detections/0/score", float("nan")), "detection 0: has no finite score"),
        (_set("detections/0/bbox", [1, 2, 3]), "detection 0: has no bbox"),
        (_set("detections/0/segmentation", None), "detection 0: has no segmentation"),
        (_set("detections/0/segmentation", {"size": [3, 3], "counts": "09"}), "mask of size \\[3, 3\\]"),
        (_set("detections/0/segmentation/size", 5), "detection 0: has a mask of size 5"),
        (_set("detections/0/segmentation/counts", MASK + "oooo"), "detection 0: has a mask that does not fill"),
        (_set("detections/0/segmentation/counts", MASK[:-9]), "detection 0: has a mask that does not fill"),
        (_set("detections/0/segmentation/counts", "\ud800"), "detection 0: has a mask that does not fill"),
        (_set("detections/2/image_id", True), "detection 2: lies in image True"),
        (_set("detections/2/category_id", [1]), "detection 2: is of category \\[1\\]"),
        (_set("detections/0/score", 10**400), "detection 0: has no finite score"),
        (_set("detections/0/bbox", [10**400, 1, 1, 1]), "detection 0: has no bbox"),
        (_set("categories", [{"name": "person"}]), "category 0: has no id and name"),
        (_set("categories", {"a": 1}), "has no list 'categories'"),
        (_set(f"detections/{_person()}/keypoints", [0.0]), "has no keypoints"),
        (_set("categories/1/name", "boat"), "'boat' is not category 2 .*another data set"),
        (_set("model/tasks", ["flying"]), "model.tasks: unknown task .flying."),
        (_set("detections", {}), "has no list 'detections'"),
        (_set("model/seconds", float("nan")), "model: holds a number that is not finite"),
    ],
)  # fmt: skip
def test_wrong_predictions(tmp_path, change, says: str) -> None:
    found = copy.deepcopy(FOUND)
    change(found)
    (tmp_path / "val.json").write_text(json.dumps(TRUTH))
    (tmp_path / "p.json").write_text(json.dumps(found))
    with pytest.raises(AnonbenchError, match=says) as caught:
        evaluate_files(tmp_path / "p.json", tmp_path / "val.json", tmp_path / "out")
    assert str(caught.value).startswith(str(tmp_path / "p.json"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("images", []), "has no images"),
        (_set("categories", None), "has no list 'categories'"),
        (_set("images/0/height", None), "image 1: has no height"),
        (_set("annotations/0/category_id", 9), "annotation 1: is of category 9"),
        (_set("annotations/0/image_id", 9), "annotation 1: lies in image 9"),
        (_set("annotations/0/segmentation", [[1, 2, 3, 4]]), "fewer than three points"),
        (_set("annotations/0/keypoints", [1, 2]), "2 numbers as keypoints"),
        (_set("annotations/0/bbox", "all"), "annotation 1: has no bbox"),
        (_set("images/0", 3), "image number 0: has no integer id"),
        (_set("images/0/id", [1]), "image number 0: has no integer id"),
        (_set("categories/0/id", None), "category number 0: has no integer id"),
        (_set("videos", {"a": 1}), "has no list 'videos'"),
        (_set("videos", [{"id": "1"}]), "video number 0: has no integer id"),
        (_set("annotations/1", 3), "annotation number 1: has no integer id"),
        (_set("annotations/0/category_id", [1]), "annotation 1: is of category \\[1\\]"),
        (_set("annotations/0/image_id", {}), "annotation 1: lies in image {}"),
        (_set("annotations/0/segmentation", "all"), "annotation 1: has a segmentation that is neither"),
        (_set("annotations/0/segmentation", {"size": [480, 640]}), "annotation 1: has a segmentation that is neither"),
        (_set("annotations/0/segmentation", [[1, 2, 3, 4, 5, "6"]]), "annotation 1: has a polygon of fewer than three"),
        (_set("annotations/0/area", "large"), "annotation 1: has an area that is no number"),
        (_set("annotations/0/iscrowd", "no"), "annotation 1: has an iscrowd that is neither 0 nor 1"),
        (_set("annotations/0/face", {"bbox": [1]}), "annotation 1: has a face without a bbox of four numbers"),
    ],
)
def test_wrong_annotations(tmp_path, change, says: str) -> None:
    truth = copy.deepcopy(TRUTH)
    change(truth)
    (tmp_path / "val.json").write_text(json.dumps(truth))
    with pytest.raises(AnonbenchError, match=says):
        read_annotations(tmp_path / "val.json")


def test_masks_on_a_part_of_a_category(tmp_path) -> None:
    truth = copy.deepcopy(TRUTH)
    del truth["annotations"][0]["segmentation"]
    (tmp_path / "val.json").write_text(json.dumps(truth))
    with pytest.raises(AnonbenchError, match="annotation 1: has no segmentation, but others"):
        read_annotations(tmp_path / "val.json").with_masks()


def _claims(numbers: int) -> bytes:
    """Return an archive with an array that says that it has so many numbers."""
    array, archive = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f8", "fortran_order": False, "shape": (numbers,)})
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("detection/groups.npy", array.getvalue())
    return archive.getvalue()


def test_cut_files(tmp_path) -> None:
    (tmp_path / "val.json").write_text(json.dumps(TRUTH))
    (tmp_path / "p.json").write_text(json.dumps(FOUND)[:-20])
    with pytest.raises(AnonbenchError, match="not valid JSON"):
        evaluate_files(tmp_path / "p.json", tmp_path / "val.json", tmp_path)
    (tmp_path / "p.json").write_text(json.dumps(FOUND))
    evaluate_files(tmp_path / "p.json", tmp_path / "val.json", tmp_path)
    whole = (tmp_path / "evidence.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[200:220] = bytes(20)  # inside the first array's data
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    scalar = io.BytesIO()
    np.savez(scalar, **{"detection/groups": np.zeros(1), "detection/parts": np.zeros(())})
    for damaged in (whole[:200], b"", b"{}", bytes(flipped), array.getvalue(), scalar.getvalue(), _claims(10**12)):
        (tmp_path / "evidence.npz").write_bytes(damaged)
        with pytest.raises(AnonbenchError, match="cannot be read"):
            evidence.read(tmp_path / "evidence.npz")
    with pytest.raises(AnonbenchError, match="no such file"):
        evidence.read(tmp_path / "absent.npz")


def test_command(tmp_path) -> None:
    (tmp_path / "val.json").write_text(json.dumps(TRUTH))
    (tmp_path / "p.json").write_text(json.dumps(FOUND))
    app = typer.Typer()
    app.command()(evaluate)
    command = ["--predictions", str(tmp_path / "p.json"), "--annotations", str(tmp_path / "val.json")]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "box AP: all " in result.output
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["counts"]["images"] == 4


@pytest.mark.parametrize(("digits", "says"), [(1, "have 1[01] different scores"), (None, "have 1 different score ")])
def test_scores_that_rank_nothing_are_refused(tmp_path, digits: int | None, says: str) -> None:
    found = copy.deepcopy(FOUND)
    rows = found["detections"]
    rows[:] = [{**rows[i % len(rows)], "score": i / 200} for i in range(200)]
    (tmp_path / "val.json").write_text(json.dumps(TRUTH))
    (tmp_path / "p.json").write_text(json.dumps(found))
    evaluate_files(tmp_path / "p.json", tmp_path / "val.json", tmp_path)
    for row in rows:
        row["score"] = 0.5 if digits is None else round(row["score"], digits)
    if digits is None:
        del found["model"]["weights_sha256"]
    (tmp_path / "p.json").write_text(json.dumps(found))
    with pytest.raises(AnonbenchError, match=f"p.json, detections: {says}.*among 200, and AP is about their order"):
        evaluate_files(tmp_path / "p.json", tmp_path / "val.json", tmp_path)
    rows[99:] = []
    (tmp_path / "p.json").write_text(json.dumps(found))
    evaluate_files(tmp_path / "p.json", tmp_path / "val.json", tmp_path)  # so few may well share their scores


def test_a_training_that_collapsed_is_a_result(tmp_path) -> None:
    found = copy.deepcopy(FOUND)
    rows = found["detections"]
    rows[:] = [{**rows[i % len(rows)], "score": 0.5} for i in range(200)]
    (tmp_path / "val.json").write_text(json.dumps(TRUTH))
    (tmp_path / "p.json").write_text(json.dumps(found))
    assert "weights_sha256" in found["model"]
    evaluate_files(tmp_path / "p.json", tmp_path / "val.json", tmp_path)
    rows[0]["score"] = 0.6
    (tmp_path / "p.json").write_text(json.dumps(found))
    with pytest.raises(AnonbenchError, match="2 different scores among 200"):
        evaluate_files(tmp_path / "p.json", tmp_path / "val.json", tmp_path)


@pytest.mark.parametrize("thing", ["faces", "people"])
def test_what_needs_no_training_has_not_collapsed(thing: str) -> None:
    task = tasks.load(thing)
    rows = [{"image_id": 1, "bbox": [0, 0, 5, 5], "score": i / 200} for i in range(200)]
    assert task.unranked(rows, trained=True) is None
    same = task.unranked([{**row, "score": 0.5} for row in rows], trained=True)
    assert same is not None
    assert "1 different score among 200" in same.message
