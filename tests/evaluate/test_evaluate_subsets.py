"""AP on evaluation subsets: images of other subsets are left out, annotations of other subsets are ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anonbench.errors import AnonbenchError
from anonbench.evaluate import synthetic
from anonbench.evaluate.inputs import read_predictions
from anonbench.evaluate.metrics import evaluate
from anonbench.tasks.truth import read_annotations

BOXES = ([10, 10, 40, 80], [100, 20, 40, 80], [200, 30, 40, 80], [260, 40, 40, 80])
TASKS = ("detection", "segmentation", "pose")


def person(number: int, image: int, box: list[int], **extra: Any) -> dict[str, Any]:
    points = [v for k in range(17) for v in (box[0] + 2 * k, box[1] + 4 * k, 2)]
    mask = synthetic.ellipse(box, 200, 320)
    return {
        "id": number, "image_id": image, "category_id": 1, "bbox": box, "iscrowd": 0, "segmentation": mask,
        "area": box[2] * box[3], "keypoints": points, **extra,
    }  # fmt: skip


def run(folder: Path, truth: dict[str, Any], found: list[int], scores: dict[int, float]) -> dict[str, Any]:
    """Return the metrics of a model that finds the annotations of these ids exactly, and no others."""
    detections = [
        {key: a[key] for key in ("image_id", "category_id", "bbox", "segmentation", "keypoints")}
        | {"score": scores.get(a["id"], 0.5)}
        for a in truth["annotations"]
        if a["id"] in found
    ]
    tasks = {"tasks": ["detection", "segmentation", "pose"]}
    (folder / "val.json").write_text(json.dumps(truth))
    (folder / "found.json").write_text(json.dumps({"categories": [], "detections": detections, "model": tasks}))
    ground = read_annotations(folder / "val.json")
    return evaluate(ground, read_predictions(folder / "found.json", ground))[0]


def truth_of(annotations: list[dict[str, Any]], images: dict[int, list[str] | None]) -> dict[str, Any]:
    entries = [
        {"id": i, "file_name": f"{i}.png", "width": 320, "height": 200, **({} if s is None else {"subsets": s})}
        for i, s in images.items()
    ]
    return {"images": entries, "annotations": annotations, "categories": synthetic.CATEGORIES[:1]}


def test_annotations_outside_a_subset_are_neither_hit_nor_miss(tmp_path: Path) -> None:
    """Of four people two are easy. Found are one easy one (score 0.5) and, before it, one who is not easy (0.9)."""
    subsets = (["easy", "hard"], ["easy", "hard"], ["hard"], ["hard"])
    people = [person(i, 1, box, subsets=s) for i, (box, s) in enumerate(zip(BOXES, subsets, strict=True), 1)]
    value = run(tmp_path, truth_of(people, {1: None}), [1, 3], {3: 0.9})
    for task in TASKS:
        # easy: one of two found, nothing wrong before it: 51 of the 101 recalls; hard: two of four, 51 as well
        for name, instances in (("easy", 2), ("hard", 4)):
            subset = value["subsets"][name]
            assert subset["tasks"][task]["overall"]["AP"] == pytest.approx(100 * 51 / 101)
            assert (subset["images"], subset["instances"]) == (1, instances)
        assert value["tasks"][task]["overall"]["AP"] == pytest.approx(100 * 51 / 101)


@pytest.mark.parametrize(("detections", "expected"), [(1, 100), (2, 50)])
def test_an_ignored_person_absorbs_one_detection_as_any_object(
    tmp_path: Path, detections: int, expected: float
) -> None:
    """The person outside the subset is no crowd: a second detection stands as a wrong one before the right one."""
    outside = [person(1 + n, 1, BOXES[1], subsets=[]) for n in range(1, detections + 1)]
    truth = truth_of([person(1, 1, BOXES[0], subsets=["easy"]), *outside], {1: None})
    run(tmp_path, truth, [1, 2, 3], {2: 0.9, 3: 0.8})
    truth["annotations"] = truth["annotations"][:2]
    (tmp_path / "val.json").write_text(json.dumps(truth))
    ground = read_annotations(tmp_path / "val.json")
    tasks = evaluate(ground, read_predictions(tmp_path / "found.json", ground))[0]["subsets"]["easy"]["tasks"]
    assert {task: tasks[task]["overall"]["AP"] for task in TASKS} == dict.fromkeys(TASKS, pytest.approx(expected))


def test_an_ignored_person_excuses_nothing_elsewhere(tmp_path: Path) -> None:
    """A detection where nobody is stays wrong, although a person outside the subset has no other match."""
    people = [person(1, 1, BOXES[0], subsets=["easy"]), person(2, 1, BOXES[1], subsets=[])]
    run(tmp_path, truth_of([*people, person(3, 1, BOXES[3])], {1: None}), [1, 3], {3: 0.9})
    (tmp_path / "val.json").write_text(json.dumps(truth_of(people, {1: None})))
    ground = read_annotations(tmp_path / "val.json")
    tasks = evaluate(ground, read_predictions(tmp_path / "found.json", ground))[0]["subsets"]["easy"]["tasks"]
    assert {task: tasks[task]["overall"]["AP"] for task in TASKS} == dict.fromkeys(TASKS, pytest.approx(50))


def test_images_of_other_subsets_are_left_out(tmp_path: Path) -> None:
    people = [person(i, i, box) for i, box in enumerate(BOXES, 1)]
    images: dict[int, list[str] | None] = {1: ["easy"], 2: ["easy"], 3: ["hard"], 4: ["hard"]}
    value = run(tmp_path, truth_of(people, images), [1, 2, 3], {})
    for task in TASKS:
        found = {name: subset["tasks"][task]["overall"]["AP"] for name, subset in value["subsets"].items()}
        assert found == {"easy": pytest.approx(100), "hard": pytest.approx(100 * 51 / 101)}
        assert value["tasks"][task]["overall"]["AP"] == pytest.approx(100 * 76 / 101)
    assert {n: (s["images"], s["instances"]) for n, s in value["subsets"].items()} == {"easy": (2, 2), "hard": (2, 2)}


def test_a_subset_without_anybody_has_no_ap(tmp_path: Path) -> None:
    people = [person(1, 1, BOXES[0], subsets=["hard"])]
    value = run(tmp_path, truth_of(people, {1: None, 2: ["easy"]}), [1], {})
    assert value["subsets"]["easy"]["tasks"]["detection"]["overall"]["AP"] is None
    assert value["subsets"]["easy"]["instances"] == 0


def test_without_subsets_the_metrics_have_none(tmp_path: Path) -> None:
    value = run(tmp_path, truth_of([person(1, 1, BOXES[0])], {1: None}), [1], {})
    assert "subsets" not in value


@pytest.mark.parametrize("subsets", ["easy", [1], None, {"easy": 1}])
def test_subsets_that_are_no_names_are_refused(tmp_path: Path, subsets: Any) -> None:
    truth = truth_of([person(1, 1, BOXES[0], subsets=subsets)], {1: None})
    with pytest.raises(AnonbenchError, match=r"annotation 1: has 'subsets' that are not a list of names"):
        run(tmp_path, truth, [1], {})
    truth = truth_of([person(1, 1, BOXES[0])], {1: None})
    truth["images"][0]["subsets"] = subsets
    with pytest.raises(AnonbenchError, match=r"image 1: has 'subsets' that are not a list of names"):
        run(tmp_path, truth, [1], {})


def test_a_task_of_others_leaves_out_what_names_other_subsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default of `Task.subset`; COCO's tasks can ignore an annotation instead."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "outside" / "counting"))
    from anonbench_counting.task import Counting  # type: ignore[import-not-found]

    people = [person(1, 1, BOXES[0], subsets=["easy"]), person(2, 1, BOXES[1], subsets=["hard"])]
    (tmp_path / "val.json").write_text(json.dumps(truth_of(people, {1: None, 2: ["hard"]})))
    truth, entries = read_annotations(tmp_path / "val.json"), [{"image_id": 1, "count": 1}, {"image_id": 2, "count": 0}]
    easy = Counting().subset(truth, entries, "easy", ["people"])
    assert (easy.parts["people"].instances, easy.parts["people"].measures["MAE"]) == (1, 0)
    assert Counting().subset(truth, entries, "hard", []).parts == {}
