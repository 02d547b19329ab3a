"""Whether detectors still find people: hand-made detections, COCO's own numbers, and a detector on drawn people."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from anonbench import regions
from anonbench.attack.answers import arrays_of, told
from anonbench.attack.attacks import find
from anonbench.attack.attacks.find import Find
from anonbench.attack.contract import Answers
from anonbench.attack.finding import Wanted, average_precision, match
from anonbench.attack.metrics import chooser
from anonbench.detectors import base
from anonbench.detectors.config import DetectorConfig
from anonbench.errors import AnonbenchError
from anonbench.statistics.resampling import Draw
from anonbench.tasks.scored import AREAS
from tests.attack.town import build, person


def wanted(*boxes: tuple[float, ...], crowd: Sequence[int] = ()) -> Wanted:
    array = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return Wanted(array, array[:, 2] * array[:, 3], np.isin(np.arange(len(array)), crowd))


def found(*boxes: tuple[float, ...]) -> np.ndarray:
    array = np.array(boxes, dtype=np.float32).reshape(-1, 5)
    return array[np.argsort(-array[:, 4], kind="stable")]


def test_each_box_is_found_once_from_an_overlap_of_one_half() -> None:
    truth = wanted((0, 0, 10, 10), (20, 0, 10, 10))
    right, excused, got = match(found((0, 0, 10, 10, 0.9), (0, 0, 10, 9, 0.8), (20, 0, 10, 5, 0.7)), truth)
    assert (right.tolist(), excused.tolist(), got.tolist()) == ([True, False, True], [False] * 3, [True, True])
    right, _, got = match(found((20, 0, 10, 4.9, 0.7)), truth)
    assert (right.tolist(), got.tolist()) == ([False], [False, False])


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong() -> None:
    truth = wanted((0, 0, 10, 10), (0, 0, 60, 60), crowd=[1])
    right, excused, _ = match(found((0, 0, 10, 10, 0.9), (30, 30, 9, 9, 0.8), (40, 40, 9, 9, 0.7)), truth)
    assert (right.tolist(), excused.tolist()) == ([True, False, False], [False, True, True])


def test_nothing_found_and_nothing_wanted() -> None:
    one = np.ones((1, 2))
    assert average_precision([found(), found()], [wanted((0, 0, 9, 9)), wanted()])(one)[0] == 0
    assert np.isnan(average_precision([found((0, 0, 9, 9, 1)), found()], [wanted(), wanted()])(one)[0])
    assert average_precision([found((0, 0, 9, 9, 1)), found()], [wanted((0, 0, 9, 9)), wanted()])(one)[
        0
    ] == pytest.approx(1)


def of_pycocotools(detections: list[np.ndarray], truths: list[Wanted]) -> dict[str, float]:
    images = [{"id": k, "width": 400, "height": 400} for k in range(len(truths))]
    annotations: list[dict[str, Any]] = []
    for k, truth in enumerate(truths):
        for box, area, crowd in zip(truth.boxes, truth.areas, truth.crowd, strict=True):
            annotations.append(
                {"id": len(annotations) + 1, "image_id": k, "category_id": 1, "bbox": box.tolist(), "area": float(area),
                 "iscrowd": int(crowd)}
            )  # fmt: skip
    results = [
        {"image_id": k, "category_id": 1, "bbox": row[:4].tolist(), "score": float(row[4])}
        for k, rows in enumerate(detections)
        for row in rows.astype(np.float64)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(results), "bbox")
        judge.params.iouThrs = np.array([0.5])
        judge.evaluate()
        judge.accumulate()
    return {size: float(judge.eval["precision"][0, :, 0, k, 2].mean()) for k, size in enumerate(AREAS)}


@pytest.mark.parametrize("seed", range(8))
def test_ap_is_pycocotools_own(seed: int) -> None:
    random = np.random.default_rng(seed)
    truths, detections = [], []
    for _ in range(12):
        count = random.integers(0, 7)
        boxes = np.column_stack([random.uniform(0, 250, (count, 2)), random.uniform(8, 140, (count, 2))])
        truths.append(Wanted(boxes, boxes[:, 2] * boxes[:, 3], random.random(count) < 0.2))
        near = boxes[random.random(count) < 0.8] + random.normal(0, 6, (0, 4)) if not count else boxes
        near = near * random.uniform(0.85, 1.15, near.shape)
        false = np.column_stack([random.uniform(0, 250, (3, 2)), random.uniform(8, 140, (3, 2))])
        every = np.concatenate([near, false, near * 1.02])
        scores = random.permutation(1000)[: len(every)] / 1000
        rows = np.column_stack([every, scores]).astype(np.float32)
        detections.append(rows[np.argsort(-rows[:, 4])])
    # scores of different images must not tie, or orders of sorting would differ
    for k, rows in enumerate(detections):
        rows[:, 4] = rows[:, 4] / 2 + k * 1e-4
    every = np.ones((1, len(truths)))
    for size, value in of_pycocotools(detections, truths).items():
        ours = average_precision(detections, truths, size)(every)[0]
        if value < 0:
            assert np.isnan(ours)
        else:
            assert ours == pytest.approx(value, abs=1e-12), size


def answers() -> Answers:
    """Return those of hand-made detections in ten images of two people each, the second covered and never found."""
    images = list(range(1, 11))
    people = [
        {**person(i, 2 * i + k, (10 + 100 * k, 10, 20, 40 + 60 * k)), "identity": None}
        for i in images
        for k in range(2)
    ]
    boxes = [found((10, 10, 20, 40, 0.9), (110, 80, 5, 5, 0.8)) for _ in images]
    changed = {(i, 2 * i + 1) for i in images}
    return find.judge(images, people, boxes, changed, chooser(0.3, 0), {"finds": "person"})


def test_hand_made_detections() -> None:
    told_of = {name: told(one) for name, one in answers().parts["test"].items()}
    recall = told_of["recall"]
    assert (recall["value"], recall["units"], recall["people"], recall["chance"]) == (0.5, 14, 7, None)
    assert (recall["covered"], recall["of_covered"], recall["of_missed"], recall["share_of_missed"]) == (0.5, 0, 1, 1)
    assert told_of["recall/small"]["value"] == 1
    assert told_of["recall/medium"]["value"] == 0
    assert "recall/large" not in told_of
    # one of two found, at the best scores: precision is 1 up to recall .5 (51 of 101 recalls)
    assert told_of["ap50"]["value"] == pytest.approx(51 / 101)
    assert told_of["ap50/small"]["value"] == pytest.approx(1)


def test_images_are_drawn_and_parted() -> None:
    made = answers()
    assert made.drawn == "images"
    parts = {part: set(of["ap50"].groups) for part, of in made.parts.items()}
    assert [len(parts[part]) for part in ("validation", "test")] == [3, 7]
    assert not parts["validation"] & parts["test"]
    drawn = arrays_of(made.parts["test"], Draw(30, 1, "x"))
    assert drawn["replicates/recall"] == pytest.approx(np.full(30, 0.5))
    assert drawn["replicates/ap50"] == pytest.approx(np.full(30, 51 / 101))
    assert drawn["telling/ap50"] == 7


class Bright(base.Detector):
    """Finds one box around all white pixels."""

    finds = "person"
    version = "1"

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the box of what is white."""
        return [self._one(image) for image in images]

    def _one(self, image: np.ndarray) -> np.ndarray:
        ys, xs = np.nonzero((image > 250).all(axis=2))
        if not len(ys):
            return np.zeros((0, 5), np.float32)
        x, y = xs.min(), ys.min()
        return np.array([[x, y, xs.max() + 1 - x, ys.max() + 1 - y, 0.9]], np.float32)


class BrightFace(Bright):
    """The same, of faces."""

    finds = "face"


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], DetectorConfig]:
    def use(finds: str) -> DetectorConfig:
        monkeypatch.setattr(base, "make", lambda name, options: {"person": Bright, "face": BrightFace}[finds]())
        return DetectorConfig(plugin="hog", scales=[1.0])

    return use


def pictures(count: int = 10, hidden: Sequence[int] = ()) -> dict[int, np.ndarray]:
    made = {number: np.zeros((60, 60, 3), np.uint8) for number in range(1, count + 1)}
    for number, pixels in made.items():
        pixels[10:40, 20:35] = 90 if number in hidden else 255
    return made


def test_a_method_that_hides_people_lowers_recall(tmp_path: Path, bright: Callable[[str], DetectorConfig]) -> None:
    people = [person(number, number, (20, 10, 15, 30)) for number in range(1, 11)]
    town = build(tmp_path, pictures(), people)
    hidden = [1, 2, 3, 4, 5]
    town.show(
        "body-mask_out", pictures(hidden=hidden),
        [{"image_id": n, "person_id": n, "status": "anonymized" if n in hidden else "no_mask"} for n in range(1, 11)],
    )  # fmt: skip
    detector = bright("person")
    raw = Find().look(town.site(), chooser(0.3, 0), detector).parts["test"]
    seen = Find().look(town.site("body-mask_out"), chooser(0.3, 0), detector).parts["test"]
    assert [told(raw[name])["value"] for name in ("recall", "ap50")] == pytest.approx([1, 1])
    recall = told(seen["recall"])
    assert (recall["of_covered"], recall["of_missed"]) == (0, 1)
    assert recall["value"] == pytest.approx(1 - recall["covered"])


def test_faces_come_from_the_data_set_or_from_its_regions(
    tmp_path: Path, bright: Callable[[str], DetectorConfig]
) -> None:
    detector = bright("face")
    one = build(tmp_path / "a", pictures(), [person(n, n, (5, 5, 50, 50), face=[20, 10, 15, 30]) for n in range(1, 11)])
    assert told(Find().look(one.site(), chooser(0.3, 0), detector).parts["test"]["recall"])["value"] == 1
    none = [person(n, n, (5, 5, 50, 50)) for n in range(1, 11)]
    two = build(tmp_path / "b", pictures(), none)
    with pytest.raises(AnonbenchError, match=r"val\.people\.parquet: no face has a box"):
        Find().look(two.site(), chooser(0.3, 0), detector)


def test_a_face_is_found_within_its_region_which_a_margin_makes_larger(
    tmp_path: Path, bright: Callable[[str], DetectorConfig]
) -> None:
    """With the overlap of one half nobody's face was found in photographs, not even in the originals."""
    grown = [person(n, n, (5, 5, 50, 50), face=[13, 3, 30, 45]) for n in range(1, 11)]  # of a face of 15x30
    town = build(tmp_path, pictures(), grown)
    at_half = Find().look(town.site(), chooser(0.3, 0), bright("face"))
    assert told(at_half.parts["test"]["recall"])["value"] == 0
    regions.write(town.annotations / "val.people.parquet", [{**one, "face": None} for one in grown], regions.PEOPLE)
    of_regions = Find().look(town.site(), chooser(0.3, 0), bright("face"))
    assert told(of_regions.parts["test"]["recall"])["value"] == 1
    assert (at_half.facts["overlap"], of_regions.facts["overlap"]) == (0.5, 0.2)


def test_as_many_images_as_people_are_asked_for(tmp_path: Path, bright: Callable[[str], DetectorConfig]) -> None:
    town = build(tmp_path, pictures(), [person(n, n, (20, 10, 15, 30)) for n in range(1, 11)])
    some = Find().look(town.site(most=6), chooser(0.4, 0), bright("person"))
    assert some.facts["images"] == 6
    assert sum(len(of["recall"].groups) for of in some.parts.values()) == 6


def test_clips_are_drawn_whole(tmp_path: Path, bright: Callable[[str], DetectorConfig]) -> None:
    people = [person(n, n, (20, 10, 15, 30)) for n in range(1, 13)]
    town = build(tmp_path, pictures(12), people, clips={n: (n - 1) // 2 for n in range(1, 13)})
    made = Find().look(town.site(), chooser(0.4, 0), bright("person"))
    parts = {part: set(of["ap50"].groups.tolist()) for part, of in made.parts.items()}
    assert parts["validation"] | parts["test"] == {1, 3, 5, 7, 9, 11}
    assert not parts["validation"] & parts["test"]
    assert told(made.parts["test"]["recall"])["people"] == len(parts["test"]) == 4
    assert told(made.parts["test"]["recall"])["units"] == told(made.parts["test"]["ap50"])["units"] == 8


def test_nobody_is_there(tmp_path: Path, bright: Callable[[str], DetectorConfig]) -> None:
    town = build(tmp_path, pictures(), [person(n, n, (20, 10, 15, 30), ignore=True) for n in range(1, 11)])
    with pytest.raises(AnonbenchError, match="nobody has a box, so that there is nothing to find"):
        Find().look(town.site(), chooser(0.3, 0), bright("person"))


def test_two_images_are_too_few(tmp_path: Path, bright: Callable[[str], DetectorConfig]) -> None:
    town = build(tmp_path, pictures(2), [person(n, n, (20, 10, 15, 30)) for n in (1, 2)])
    with pytest.raises(AnonbenchError, match="2 people or images are too few to choose attackers"):
        Find().look(town.site(), chooser(0.3, 0), bright("person"))


def test_missing_weights_are_named(tmp_path: Path) -> None:
    town = build(tmp_path, pictures(2), [person(n, n, (20, 10, 15, 30), face=[20, 10, 9, 9]) for n in (1, 2)])
    detector = DetectorConfig(plugin="yunet", options={"weights": str(tmp_path / "none.onnx")})
    with pytest.raises(AnonbenchError, match=r"none\.onnx, options\.weights: no such file"):
        Find().look(town.site(), chooser(0.3, 0), detector)


def test_stored_boxes_are_refused(tmp_path: Path) -> None:
    town = build(tmp_path, pictures(2), [person(n, n, (20, 10, 15, 30)) for n in (1, 2)])
    file = tmp_path / "boxes.json"
    file.write_text("{}")
    detector = DetectorConfig(plugin="person_boxes", options={"path": str(file)})
    with pytest.raises(AnonbenchError, match="'person_boxes' looks at no image"):
        Find().look(town.site(), chooser(0.3, 0), detector)
