"""COCO metrics: hand-made cases, another implementation, and the matches that AP is computed from again."""

import contextlib
import io
import itertools
import json
import tracemalloc
import zipfile
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonbench import lines, regions
from anonbench.errors import AnonbenchError
from anonbench.evaluate import evidence, synthetic
from anonbench.evaluate.inputs import read_predictions
from anonbench.evaluate.metrics import evaluate, evaluate_files
from anonbench.statistics.resampling import Draw
from anonbench.tasks import matches as match_module
from anonbench.tasks.base import Outcome, load
from anonbench.tasks.engines import Engine
from anonbench.tasks.matches import RECALLS, Matches, _needed, ap_from_matches
from anonbench.tasks.reference import run_cocoeval
from anonbench.tasks.truth import read_annotations
from tests.test_lines import written

BOXES = [[10, 10, 40, 80], [100, 20, 40, 80], [200, 30, 40, 80], [260, 40, 40, 80]]


def _files(tmp_path, truth, predictions):
    a, p = tmp_path / "val.json", tmp_path / "predictions.json"
    a.write_text(json.dumps(truth))
    p.write_text(json.dumps(predictions))
    return p, a


def _matches(outcome: Outcome, category: str = "person") -> Matches:
    return Matches(**outcome.parts[category].evidence)


def _run(tmp_path, truth, predictions):
    p, a = _files(tmp_path, truth, predictions)
    ground = read_annotations(a)
    return evaluate(ground, read_predictions(p, ground))


def _tiny(crowd=()):
    annotations = [
        {
            "id": i,  # starts at 0 on purpose: COCOeval alone takes a match with id 0 for none
            "image_id": 1 + i // 2, "category_id": 1, "bbox": box, "area": box[2] * box[3],
            "iscrowd": int(i in crowd), "segmentation": synthetic.ellipse(box, 200, 320),
            "keypoints": [v for k in range(17) for v in (box[0] + 2 * k, box[1] + 4 * k, 2)],
        }
        for i, box in enumerate(BOXES)
    ]  # fmt: skip
    images = [{"id": i, "file_name": f"{i}.png", "width": 320, "height": 200} for i in (1, 2)]
    return {"images": images, "annotations": annotations, "categories": synthetic.CATEGORIES}


def _found(truth, shift=0.0, keep=None, score=lambda i: 0.9):
    detections = []
    for i, a in enumerate(truth["annotations"]):
        if keep is None or i in keep:
            box = [a["bbox"][0] + shift, *a["bbox"][1:]]
            points = list(a["keypoints"])
            points[0::3] = [x + shift for x in points[0::3]]
            detections.append(
                {
                    "image_id": a["image_id"], "category_id": 1, "bbox": box, "score": score(i), "keypoints": points,
                    "segmentation": synthetic.ellipse(box, 200, 320),
                }
            )  # fmt: skip
    return {"categories": [], "detections": detections, "model": {"tasks": ["detection", "segmentation", "pose"]}}


def test_perfect_detections_score_100_in_every_task(tmp_path) -> None:
    value, _ = _run(tmp_path, _tiny(), _found(_tiny()))
    for task in ("detection", "segmentation", "pose"):
        assert value["tasks"][task]["parts"]["person"]["AP"] == pytest.approx(100, abs=1e-9)
        assert value["tasks"][task]["overall"]["AP"] == pytest.approx(100, abs=1e-9)


def test_shifted_detections_score_0(tmp_path) -> None:
    value, _ = _run(tmp_path, _tiny(), _found(_tiny(), shift=39.9))
    assert {t: v["overall"]["AP"] for t, v in value["tasks"].items()} == {"detection": 0, "segmentation": 0, "pose": 0}


def test_half_of_the_instances_reach_half_of_the_recalls(tmp_path) -> None:
    value, _ = _run(tmp_path, _tiny(), _found(_tiny(), keep={0, 2}))
    # recall 0.5 with precision 1: 51 of the 101 recalls
    assert value["tasks"]["detection"]["overall"]["AP"] == pytest.approx(100 * 51 / 101)
    assert value["tasks"]["detection"]["overall"]["AR"] == pytest.approx(50)


def test_a_shift_counts_at_the_thresholds_that_it_passes(tmp_path) -> None:
    # 40 wide, shifted by 6: IoU 34/46 = 0.739, which passes 0.5 ... 0.7, five of ten thresholds
    value, _ = _run(tmp_path, _tiny(), _found(_tiny(), shift=6))
    got = value["tasks"]["detection"]["overall"]
    assert (got["AP"], got["AP50"], got["AP75"]) == pytest.approx((50, 100, 0))


def test_false_positives_before_true_ones_halve_the_precision(tmp_path) -> None:
    predictions = _found(_tiny(), score=lambda i: 0.5)
    for i in (1, 2):
        for k in range(2):
            wrong = {**predictions["detections"][0], "image_id": i, "bbox": [250, 120 + 30 * k, 20, 20], "score": 0.9}
            predictions["detections"].append(wrong)
    value, _ = _run(tmp_path, _tiny(), predictions)
    assert value["tasks"]["detection"]["overall"]["AP"] == pytest.approx(50, abs=1e-9)


def test_what_lies_on_a_crowd_counts_neither_way(tmp_path) -> None:
    truth = _tiny(crowd={3})
    value, tasks = _run(tmp_path, truth, _found(truth))
    assert value["tasks"]["detection"]["overall"]["AP"] == pytest.approx(100, abs=1e-9)
    assert value["counts"]["categories"]["person"] == {
        "instances": 3, "crowds": 1, "with_keypoints": 3, "box_masks": 0
    }  # fmt: skip
    assert _matches(tasks["detection"]).instances.tolist() == [2, 1]
    assert _matches(tasks["detection"]).ignored[0].sum() == 1


def test_a_category_without_ground_truth_is_null_and_not_part_of_the_mean(tmp_path) -> None:
    value, _ = _run(tmp_path, _tiny(), _found(_tiny()))
    assert value["tasks"]["detection"]["parts"]["car"] == dict.fromkeys(
        ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR")
    )
    assert list(value["tasks"]["segmentation"]["parts"]) == ["person"]
    assert list(value["tasks"]["pose"]["parts"]) == ["person"]
    assert "NaN" not in json.dumps(value)


def test_no_detections_score_0(tmp_path) -> None:
    value, tasks = _run(tmp_path, _tiny(), _found(_tiny(), keep=set()))
    assert {t: v["overall"]["AP"] for t, v in value["tasks"].items()} == {"detection": 0, "segmentation": 0, "pose": 0}
    assert ap_from_matches(_matches(tasks["segmentation"])).tolist() == [0] * 10


def test_areas_of_masks_and_keypoints_are_their_own_not_the_boxes(tmp_path) -> None:
    """An undetected ellipse in a 100x100 box has 7850 px (medium); judged by its box it would be large."""
    truth = _tiny()
    truth["annotations"] = truth["annotations"][:1]
    predictions = _found(truth)
    wrong = [100.0, 50.0, 100.0, 100.0]
    false = {
        **predictions["detections"][0],
        "bbox": wrong,
        "score": 1.0,
        "segmentation": synthetic.ellipse(wrong, 200, 320),
    }
    predictions["detections"].append(false)
    value, _ = _run(tmp_path, truth, predictions)
    assert value["tasks"]["segmentation"]["overall"]["APm"] == pytest.approx(
        50, abs=1e-9
    )  # the false one counts in medium
    assert value["tasks"]["detection"]["overall"]["APm"] == pytest.approx(100, abs=1e-9)  # as a box it is large


def test_people_without_keypoints_are_ignored_in_keypoint_ap(tmp_path) -> None:
    truth = _tiny()
    del truth["annotations"][3]["keypoints"]
    value, tasks = _run(tmp_path, truth, _found(_tiny(), keep={0, 1, 2}))
    assert value["tasks"]["pose"]["overall"]["AP"] == pytest.approx(100, abs=1e-9)
    assert _matches(tasks["pose"]).instances.sum() == 3


def test_tasks_that_the_annotations_cannot_judge_are_named(tmp_path) -> None:
    truth = _tiny()
    for a in truth["annotations"]:
        del a["segmentation"], a["keypoints"]
    value, _ = _run(tmp_path, truth, _found(_tiny()))
    assert list(value["tasks"]) == ["detection"]
    assert set(value["skipped"]) == {"segmentation", "pose"}


def test_a_category_with_boxes_for_masks_has_no_mask_metrics(tmp_path) -> None:
    truth = _tiny(crowd={3})
    for a in truth["annotations"][:3]:  # the crowd's own mask is no object's
        a["mask_source"] = "box"
    car = {**truth["annotations"][0], "id": 9, "category_id": 2, "mask_source": "source"}
    truth["annotations"].append(car)
    found = _found(truth)
    found["detections"][-1]["category_id"] = 2
    del found["detections"][0]["segmentation"]  # what is not judged is not asked for
    p, a = _files(tmp_path, truth, found)
    value = evaluate_files(p, a, tmp_path)
    segm = value["tasks"]["segmentation"]
    assert set(segm["parts"]["person"].values()) == {None}
    assert segm["parts"]["car"]["AP"] == segm["overall"]["AP"] == pytest.approx(100, abs=1e-9)
    assert value["skipped"] == {"segmentation/person": "no annotation has a mask, only its box's outline"}
    assert value["counts"]["box_masks"] == value["counts"]["categories"]["person"]["box_masks"] == 3
    of = evidence.read(tmp_path / "evidence.npz")
    assert (list(of["segmentation"].parts), list(of["detection"].parts)) == (["car"], ["person", "car", "bicycle"])


def test_boxes_for_some_masks_are_used_and_counted(tmp_path) -> None:
    truth = _tiny()
    truth["annotations"][0]["mask_source"] = "box"
    value, tasks = _run(tmp_path, truth, _found(truth))
    assert value["tasks"]["segmentation"]["overall"]["AP"] == pytest.approx(100, abs=1e-9)
    assert _matches(tasks["segmentation"]).instances.sum() == 4
    assert value["counts"]["categories"]["person"]["box_masks"] == 1
    assert value["skipped"] == {}


def test_only_boxes_for_masks_leave_out_the_task(tmp_path) -> None:
    truth = _tiny()
    for a in truth["annotations"]:
        a["mask_source"] = "box"
    value, tasks = _run(tmp_path, truth, _found(truth))
    assert list(value["tasks"]) == list(tasks) == ["detection", "pose"]
    assert set(value["skipped"]) == {"segmentation", "segmentation/person"}


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy")
    truth = synthetic.ground_truth(60, seed=3)
    p, a = _files(folder, truth, synthetic.predictions(truth, 0.7, seed=3, extra=8))
    ground = read_annotations(a)
    return folder, truth, ground, read_predictions(p, ground)


@pytest.mark.parametrize("iou_type", ["bbox", "segm", "keypoints"])
def test_equal_to_faster_coco_eval(noisy, iou_type: str) -> None:
    from faster_coco_eval import COCO, COCOeval_faster

    _, truth, ground, predictions = noisy
    categories = [1] if iou_type == "keypoints" else [1, 2, 3]
    task = run_cocoeval(iou_type, ground, predictions.entries["detections"], categories)
    field = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}[iou_type]
    results = [
        {k: d[k] for k in ("image_id", "category_id", "score", field)}
        for d in predictions.entries["detections"]
        if d["category_id"] in categories
    ]
    for of in (categories, *([c] for c in categories)):
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(json.loads(json.dumps(truth)))
            other = COCOeval_faster(coco, coco.loadRes(json.loads(json.dumps(results))), iou_type, print_function=str)
            other.params.catIds = of
            other.evaluate()
            other.accumulate()
            other.summarize()
        small = iou_type != "keypoints"
        names = ["AP", "AP50", "AP75", *(["APs"] if small else []), "APm", "APl"]
        expected = [100 * v for v in other.stats[: len(names)]]
        got = task.overall if of == categories else task.categories[of[0]]
        assert [got[n] for n in names] == pytest.approx(expected, abs=1e-9)
        assert got["AR"] == pytest.approx(100 * other.stats[8 if small else 5], abs=1e-9)


def _outlined(truth):
    """Return a truth whose objects have polygons, of two parts, in place of run lengths; crowds keep theirs."""

    def parts(box):
        x, y, w, h = box
        upper = [x, y + h / 2, x + w / 4, y, x + w, y, x + w, y + h / 2]
        return [upper, [x, y + h / 2, x + w, y + h / 2, x + 0.9 * w, y + h, x, y + h]]

    annotations = [a if a["iscrowd"] else {**a, "segmentation": parts(a["bbox"])} for a in truth["annotations"]]
    return {**truth, "annotations": annotations}


@pytest.mark.parametrize("engine", get_args(Engine))
@pytest.mark.parametrize("by_line", [True, False])
def test_polygons_that_are_read_by_line_or_whole_give_pycocotools_own_numbers(tmp_path, engine, by_line) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = _outlined(synthetic.ground_truth(12, seed=5))
    p, a = _files(tmp_path, truth, found := synthetic.predictions(truth, 0.8, seed=5))
    if by_line:
        written(a, truth["annotations"], {k: truth[k] for k in ("images", "categories")})
        assert lines.lazily(a) is not None
    value = evaluate_files(p, a, tmp_path / "out", engine)
    for task, kind in (("detection", "bbox"), ("segmentation", "segm"), ("pose", "keypoints")):
        results = [
            {k: d[k] for k in ("image_id", "category_id", "score", load(task).iou_type.replace("segm", "segmentation"))}
            for d in found["detections"]
            if kind != "keypoints" or d["category_id"] == 1
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO()
            coco.dataset = json.loads(json.dumps(truth))
            coco.createIndex()
            own = COCOeval(coco, coco.loadRes(results), kind)
            own.params.catIds = [1] if kind == "keypoints" else [1, 2, 3]
            own.evaluate()
            own.accumulate()
            own.summarize()
        got = value["tasks"][task]["overall"]
        assert [got[name] for name in ("AP", "AP50", "AP75")] == pytest.approx(100 * own.stats[:3], abs=1e-12)


def test_what_is_judged_by_takes_a_fraction_of_python_lists(tmp_path) -> None:
    """COCO's objects have polygons of some sixty numbers, of which a list holds 32 bytes each."""
    truth = _outlined(synthetic.ground_truth(100, seed=2))
    for a in truth["annotations"]:
        a["segmentation"] = [[round(a["bbox"][0] + k / 7, 2) for k in range(60)]]
    path = tmp_path / "val.json"
    written(path, truth["annotations"], {k: truth[k] for k in ("images", "categories")})
    tracemalloc.start()
    read = read_annotations(path)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(read.annotations) > 400
    assert held / len(read.annotations) < 1700, "3,500 as lists, with keypoints of every other"


def test_engines_write_the_same_numbers_and_their_name(noisy, tmp_path) -> None:
    folder, *_ = noisy
    files = folder / "predictions.json", folder / "val.json"
    values = {e: evaluate_files(*files, tmp_path / e, e) for e in get_args(Engine)}
    assert {e: value.pop("library")["engine"] for e, value in values.items()} == {e: e for e in values}
    assert values["vectorized"] == values["pycocotools"]
    one, other = ((tmp_path / e / "evidence.npz").read_bytes() for e in values)
    assert one == other


def test_ap_from_matches_is_pycocotools_ap(noisy) -> None:
    _, _, ground, predictions = noisy
    for iou_type in ("bbox", "segm", "keypoints"):
        task = run_cocoeval(
            iou_type, ground, predictions.entries["detections"], [1] if iou_type == "keypoints" else [1, 2, 3]
        )
        for category, matches in task.matches.items():
            ap = ap_from_matches(matches)
            expected = task.categories[category]
            assert abs(ap.mean() - expected["AP"] / 100) < 1e-12
            assert abs(ap[0] - expected["AP50"] / 100) < 1e-12
            assert abs(ap[5] - expected["AP75"] / 100) < 1e-12


@pytest.mark.parametrize("lanes", [1, 2, 7])
def test_a_weight_is_a_number_of_copies_and_lanes_do_not_matter(noisy, monkeypatch, lanes: int) -> None:
    """AP with weights equals COCOeval on a data set in which images are really repeated."""
    _, truth, ground, predictions = noisy
    random = np.random.default_rng(0)
    weights = random.multinomial(60, np.full(60, 1 / 60), size=3)
    matches = run_cocoeval("bbox", ground, predictions.entries["detections"], [1]).matches[1]
    together = ap_from_matches(matches, weights)
    monkeypatch.setattr(match_module, "LANES", lanes)
    assert (ap_from_matches(matches, weights) == together).all()
    assert (ap_from_matches(matches, weights.astype(float)) == together).all()
    for row, of in zip(together, weights, strict=True):
        copies = [(image, k) for image, n in enumerate(of, 1) for k in range(n)]
        number = {c: i for i, c in enumerate(copies, 1)}
        drawn = {
            "images": [{**truth["images"][i - 1], "id": n} for (i, _), n in number.items()],
            "annotations": [], "categories": truth["categories"],
        }  # fmt: skip
        found = []
        for (image, _), n in number.items():
            drawn["annotations"] += [{**a, "image_id": n} for a in truth["annotations"] if a["image_id"] == image]
            found += [{**d, "image_id": n} for d in predictions.entries["detections"] if d["image_id"] == image]
        again = type(ground)(
            ground.file, {i["id"]: i for i in drawn["images"]}, ground.categories, drawn["annotations"]
        )
        expected = run_cocoeval("bbox", again, found, [1]).overall
        assert row.mean() * 100 == pytest.approx(expected["AP"], abs=0.02)  # ties of score inside one image only


def test_images_without_weight_give_no_ap(noisy) -> None:
    _, _, ground, predictions = noisy
    matches = run_cocoeval("bbox", ground, predictions.entries["detections"], [1]).matches[1]
    assert np.isnan(ap_from_matches(matches, np.zeros(60, dtype=int))).all()


@given(st.integers(1, 5000))
def test_needed_are_counted_as_cocoeval_reaches_recalls(total: int) -> None:
    recall = np.arange(total + 1) / total
    assert (_needed(np.array([total]))[0] == np.searchsorted(recall, RECALLS)).all()


def test_weights_that_are_not_whole_are_refused(noisy) -> None:
    _, _, ground, predictions = noisy
    matches = run_cocoeval("bbox", ground, predictions.entries["detections"], [1]).matches[1]
    with pytest.raises(ValueError, match="whole numbers"):
        ap_from_matches(matches, np.full(60, 0.5))


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), max_size=12), st.integers(0, 3))
def test_ap_agrees_with_the_definition(rows: list[tuple[bool, bool, int]], missed: int) -> None:
    """A slow, literal AP: every row, precision made falling from the right, read at 101 recalls."""
    image = np.array([r[2] for r in rows], dtype=np.int32)
    matched = np.array([[r[0] for r in rows]], dtype=np.uint8).reshape(1, -1)
    ignored = np.array([[r[0] and r[1] for r in rows]], dtype=np.uint8).reshape(1, -1)
    hits = np.bincount(image, weights=(matched & (1 - ignored))[0], minlength=4) if rows else np.zeros(4)
    instances = (hits + np.eye(4)[missed] * missed).astype(np.int32)
    matches = Matches(np.linspace(1, 0, len(rows)), image, matched, ignored, instances)
    for weights in itertools.product((0, 1, 2), repeat=2):
        w = np.array([*weights, 1, 1])
        total = int(instances @ w)
        got = ap_from_matches(matches, w)[0]
        if total == 0:
            assert np.isnan(got)
            continue
        true = false = 0
        curve = []
        for hit, crowd, at in rows:
            if not (hit and crowd):
                true, false = true + hit * w[at], false + (not hit) * w[at]
                if true + false:
                    curve.append((true / total, true / (true + false)))
        expected = np.mean([max((p for r, p in curve if r >= level), default=0) for level in RECALLS])
        assert got == pytest.approx(expected, abs=1e-12)


def test_files_are_whole_and_have_the_same_bytes_every_time(tmp_path) -> None:
    p, a = _files(tmp_path, _tiny(), _found(_tiny()))
    for name in ("one", "two"):
        evaluate_files(p, a, tmp_path / name)
    for name in ("metrics.json", "evidence.npz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert sorted(f.name for f in (tmp_path / "one").iterdir()) == ["evidence.npz", "metrics.json"]
    read = evidence.read(tmp_path / "one" / "evidence.npz")["detection"]
    assert (read.sampled, read.groups.tolist()) == ("image", [1, 2])
    assert load("detection").score(read.parts["person"]) == pytest.approx(100)


def test_evidence_does_not_depend_on_the_release_of_python_or_zlib(tmp_path) -> None:
    """Python 3.11.2 and 3.11.7 wrote other headers by `numpy.savez_compressed`, so a certificate held on one alone."""
    p, a = _files(tmp_path, _tiny(), _found(_tiny()))
    evaluate_files(p, a, tmp_path)
    with zipfile.ZipFile(tmp_path / "evidence.npz") as file:
        for entry in file.infolist():
            assert (entry.compress_type, entry.create_version, entry.extract_version) == (zipfile.ZIP_STORED, 20, 20)
            assert (entry.date_time, entry.extra) == ((1980, 1, 1, 0, 0, 0), b"")


def test_frames_of_a_video_are_drawn_together(tmp_path) -> None:
    """Two frames of one video and a picture alone: three images, two groups, and a video's weight counts its frames."""
    truth = _tiny()
    truth["images"] = [{**image, "video_id": 7, "frame_index": k} for k, image in enumerate(truth["images"])] + [
        {"id": 3, "file_name": "3.png", "width": 320, "height": 200}
    ]
    truth["annotations"].append({**truth["annotations"][0], "id": 9, "image_id": 3})
    truth["videos"] = [{"id": 7, "name": "walk", "width": 320, "height": 200}]
    predictions = _found(truth, keep={0, 1, 4})
    value, outcomes = _run(tmp_path, truth, predictions)
    outcome = outcomes["detection"]
    assert (outcome.sampled, outcome.groups.tolist()) == ("video", ["video 7", "image 3"])
    matches = _matches(outcome)
    assert (matches.instances.tolist(), sorted(matches.image)) == ([4, 1], [0, 0, 1])
    score = load("detection").score(outcome.parts["person"].evidence, np.array([[1, 1], [2, 0], [0, 3]]))
    assert score == pytest.approx([value["tasks"]["detection"]["overall"]["AP"], 100 * 51 / 101, 100])


def test_replicates_are_those_of_the_draw_that_is_asked_for(tmp_path) -> None:
    p, a = _files(tmp_path, _tiny(), _found(_tiny()))
    draw, other = Draw(50, 7, "street"), Draw(50, 8, "street")
    evaluate_files(p, a, tmp_path / "with", draw=draw)
    evaluate_files(p, a, tmp_path / "without")
    written, computed = (evidence.read(tmp_path / name / "evidence.npz", draw) for name in ("with", "without"))
    assert written.keys() == computed.keys()
    for task, of in written.items():
        assert list(of.replicates) == list(of.parts) == list(computed[task].replicates)
        weights = draw.weights(len(of.groups))
        assert weights.shape == (50, 2)
        for part, replicates in of.replicates.items():
            assert np.array_equal(replicates, load(task).score(of.parts[part], weights), equal_nan=True)
            assert np.array_equal(replicates, computed[task].replicates[part], equal_nan=True)
    again = evidence.read(tmp_path / "with" / "evidence.npz", other)["detection"]
    weights = other.weights(len(again.groups))
    expected = load("detection").score(again.parts["person"], weights)
    assert np.array_equal(again.replicates["person"], expected, equal_nan=True), "not those of the draw in the file"
    assert not np.array_equal(weights, draw.weights(len(again.groups)))
    assert evidence.read(tmp_path / "with" / "evidence.npz")["detection"].replicates == {}


@pytest.mark.parametrize(
    "change", [lambda of: of[:-1], lambda of: of[:, :7], lambda of: of[0], lambda of: of.astype(str)]
)
def test_replicates_of_another_form_are_refused(tmp_path, change) -> None:
    p, a = _files(tmp_path, _tiny(), _found(_tiny()))
    draw = Draw(50, 7, "street")
    evaluate_files(p, a, tmp_path, draw=draw)
    with np.load(tmp_path / "evidence.npz") as file:
        arrays = {name: file[name] for name in file.files}
    whole = arrays["detection/replicates"]
    np.savez(tmp_path / "evidence.npz", **{**arrays, "detection/replicates": change(whole)})
    with pytest.raises(AnonbenchError, match=r"evidence\.npz: cannot be read"):
        evidence.read(tmp_path / "evidence.npz", draw)


def _seen(path, *rows) -> str:
    """Write a table of people: image, person, identity."""
    nothing = {field.name: None for field in regions.PEOPLE}
    people = [
        {**nothing, "image_id": image, "person_id": person, "category": "person", "area": 1.0, "crowd": False,
         "ignore": False, "identity": who}
        for image, person, who in rows
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(people, schema=regions.PEOPLE), path)
    return str(path)


@pytest.mark.parametrize("engine", get_args(Engine))
def test_images_of_one_person_are_drawn_together(tmp_path, engine: Engine) -> None:
    """Anna is in images 2 and 5, Ben in 5 and 9: those three are one group of the 22."""
    truth = synthetic.ground_truth(24, seed=3)
    p, a = _files(tmp_path, truth, synthetic.predictions(truth, seed=4))
    ids = sorted(image["id"] for image in truth["images"])
    rows = [(ids[2], 1, "Anna"), (ids[5], 2, "Anna"), (ids[5], 3, "Ben"), (ids[9], 4, "Ben"), (ids[0], 5, None)]
    value = evaluate_files(p, a, tmp_path / "together", engine, people=_seen(tmp_path / "people.parquet", *rows))
    plain = evaluate_files(p, a, tmp_path / "plain", engine)
    assert value["tasks"] == plain["tasks"], "what is drawn together changes no metric"
    assert (value["counts"]["shared"], plain["counts"]["shared"]) == (3, 0)
    of, alone = (evidence.read(tmp_path / name / "evidence.npz")["detection"] for name in ("together", "plain"))
    assert (of.sampled, alone.sampled) == ("group", "image")
    assert of.groups.tolist() == [i for i in ids if i not in (ids[5], ids[9])]
    twice = np.ones((1, len(of.groups)), int)
    twice[0, of.groups.tolist().index(ids[2])] = 2
    each = np.ones((1, len(ids)), int)
    each[0, [2, 5, 9]] = 2
    score = load("detection").score
    for part, arrays in of.parts.items():
        assert score(arrays, twice) == pytest.approx(score(alone.parts[part], each), abs=1e-12), part


@pytest.mark.parametrize(("groups", "drawn"), [(1, "image"), (4, "image"), (5, "group"), (12, "group")])
def test_as_many_groups_as_tell_of_anything_are_drawn(tmp_path, groups: int, drawn: str) -> None:
    truth = synthetic.ground_truth(60, seed=3)
    p, a = _files(tmp_path, truth, synthetic.predictions(truth, seed=4))
    ids = sorted(image["id"] for image in truth["images"])
    rows = [(image, n, f"person {n % groups}") for n, image in enumerate(ids)]
    evaluate_files(p, a, tmp_path, people=_seen(tmp_path / "people.parquet", *rows))
    assert evidence.read(tmp_path / "evidence.npz")["detection"].sampled == drawn


def test_one_large_group_does_not_leave_the_others_alone(tmp_path) -> None:
    """Of 40 images of Anna and 20 of nobody known, Kish's number is about two groups."""
    truth = synthetic.ground_truth(60, seed=3)
    p, a = _files(tmp_path, truth, synthetic.predictions(truth, seed=4))
    ids = sorted(image["id"] for image in truth["images"])
    rows = [(image, n, "Anna" if n < 40 else "") for n, image in enumerate(ids)]
    value = evaluate_files(p, a, tmp_path, people=_seen(tmp_path / "people.parquet", *rows))
    assert evidence.read(tmp_path / "evidence.npz")["detection"].sampled == "image"
    assert value["counts"]["shared"] == 40, "an empty name is nobody's"


def test_images_are_drawn_one_by_one_where_few_groups_would_be_left(tmp_path) -> None:
    truth = synthetic.ground_truth(24, seed=3)
    p, a = _files(tmp_path, truth, synthetic.predictions(truth, seed=4))
    ids = sorted(image["id"] for image in truth["images"])
    rows = [(image, n, f"person {n % 4}") for n, image in enumerate(ids)]
    value = evaluate_files(p, a, tmp_path, people=_seen(tmp_path / "people.parquet", *rows))
    assert value["counts"]["shared"] == 24
    assert evidence.read(tmp_path / "evidence.npz")["detection"].sampled == "image"
    with pytest.raises(AnonbenchError, match=r"none\.parquet: no such table"):
        evaluate_files(p, a, tmp_path, people=tmp_path / "none.parquet")
