"""The two engines of COCO's metrics give the same numbers and the same matches, to the last bit, for any input."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from anonbench.evaluate import synthetic
from anonbench.tasks import vectorized
from anonbench.tasks.coco import score_objects
from anonbench.tasks.engines import PYCOCOTOOLS, VECTORIZED
from anonbench.tasks.matches import Matches
from anonbench.tasks.scored import Scored
from anonbench.tasks.truth import Truth

KINDS = ("bbox", "segm", "keypoints")
HEIGHT, WIDTH = 40, 60

COORDINATES = st.sampled_from([0, 1, 2, 3, 5, 8, 10, 12.5, 20, 30])
SIZES = st.sampled_from([0, 1, 2, 4, 5, 10, 10, 20, 20, 20.5, -3])
BOXES = st.tuples(COORDINATES, COORDINATES, SIZES, SIZES).map(list)
HUGE = st.sampled_from(
    [[0, 0, 1e308, 1e308], [1e308, 0, 1e308, 4], [-1e200, -1e200, 1e250, 1e250], [0, 0, 1e-200, 1e-200]]
)
AREAS = st.sampled_from([None, 0, 1, 100, 1023.9, 1024, 1024.1, 9216, 9217, 1e10, 1e10 + 1e6, -1])
SCORES = st.sampled_from([0, 0.1, 0.5, 0.5, 0.5, 0.9, 1, 1e-9, -2.5])
SUBSETS = st.sampled_from([None, ["easy"], ["hard"], ["easy", "hard"], []])


def rle(box: list[float], size: tuple[int, int] = (HEIGHT, WIDTH)) -> dict[str, Any]:
    """Return the compressed run lengths of what a box covers of an image."""
    x, y, w, h = (int(v) for v in box)
    mask = np.zeros(size, dtype=np.uint8, order="F")
    mask[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = 1
    runs = coco_mask.encode(mask)
    return {"size": list(size), "counts": runs["counts"].decode()}


@st.composite
def masks(draw: st.DrawFn) -> Any:
    """Draw an annotation's mask in each of COCO's forms; one of another size than its image's, too."""
    x, y, w, h = draw(BOXES)
    form = draw(st.sampled_from(["runs", "runs", "counts", "polygons", "other size"]))
    if form == "polygons":
        return [[x, y, x + w, y, x + w, y + h, x, y + h], [30, 20, 40, 20, 40, 30]]
    if form == "counts":
        return {"size": [HEIGHT, WIDTH], "counts": [int(7 * x), HEIGHT * WIDTH - int(7 * x)]}
    return rle([x, y, w, h], (HEIGHT, WIDTH) if form == "runs" else (WIDTH, HEIGHT))


@st.composite
def keypoints(draw: st.DrawFn, box: list[float]) -> list[float]:
    """Draw 17 keypoints near a box, any number of them labelled."""
    spread = draw(st.sampled_from([0.0, 0.0, 1.0, 3.0]))
    random = np.random.default_rng(draw(st.integers(0, 3)))
    points = np.column_stack([np.tile(box[:2], (17, 1)) + spread * random.random((17, 2)), np.zeros(17)])
    points[: draw(st.sampled_from([0, 1, 2, 7, 8, 9, 16, 17])), 2] = draw(st.sampled_from([1, 2]))
    return list(random.permutation(points).ravel().tolist())


@st.composite
def problems(draw: st.DrawFn) -> tuple[Truth, list[dict[str, Any]], list[int]]:
    """Draw ground truth, detections and categories: few places, so that overlaps, areas and scores are often equal."""
    images = draw(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True))
    names = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True))
    boxes = st.one_of(BOXES, BOXES, BOXES, HUGE)
    video = draw(st.booleans())

    def entry() -> dict[str, Any]:
        box = draw(boxes)
        return {
            "image_id": draw(st.sampled_from(images)), "category_id": draw(st.sampled_from(names)), "bbox": box,
        }  # fmt: skip

    annotations, detections = [], []
    for number in range(draw(st.integers(0, 12))):
        annotation = {**entry(), "id": number, "segmentation": draw(masks())}
        for key, values in (("area", AREAS), ("iscrowd", st.sampled_from([0, 0, 0, 1, None])), ("subsets", SUBSETS)):
            value = draw(values)
            if value is not None:
                annotation[key] = value
        if draw(st.booleans()):
            annotation["keypoints"] = draw(keypoints(annotation["bbox"]))
        annotations.append(annotation)
    for _ in range(draw(st.integers(0, 15))):
        detection = {**entry(), "score": draw(SCORES)}
        detection["segmentation"] = rle(draw(BOXES))
        detection["keypoints"] = draw(keypoints(detection["bbox"]))
        copies = draw(st.sampled_from([1, 1, 1, 1, 2, 21, 101]))
        detections += [detection] * copies
    entries = {
        i: {"id": i, "height": HEIGHT, "width": WIDTH, **({"video_id": i % 2} if video else {})}
        | ({"subsets": s} if (s := draw(SUBSETS)) is not None else {})
        for i in images
    }
    truth = Truth(Path("val.json"), entries, {c: {"id": c, "name": str(c)} for c in names}, annotations)
    return truth, detections, sorted(draw(st.sets(st.sampled_from(names), min_size=1)))


def check_equal(one: Scored, other: Scored) -> None:
    """Check that two engines' results are the same: numbers and arrays, their types included."""
    assert one.overall == other.overall
    assert one.categories == other.categories
    assert list(one.matches) == list(other.matches)
    for category, theirs in one.matches.items():
        for of in fields(Matches):
            a, b = getattr(theirs, of.name), getattr(other.matches[category], of.name)
            assert (a.dtype, a.shape) == (b.dtype, b.shape), of.name
            assert np.array_equal(a, b), of.name


def both(kind: str, *problem: Any) -> tuple[Scored, Scored]:
    """Return what the engines say."""
    return score_objects(PYCOCOTOOLS, kind, *problem), score_objects(VECTORIZED, kind, *problem)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=40, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(problem=problems())
def test_engines_agree_on_any_input(kind: str, problem: Any) -> None:
    for subset in (None, "easy"):
        check_equal(*both(kind, *problem, subset))


def dense(images: int, quality: float, rounded: int) -> tuple[Truth, list[dict[str, Any]]]:
    """Return made-up truth and detections, scores rounded to some digits, some images emptied of either."""
    data = synthetic.ground_truth(images, per_image=6, width=320, height=200, seed=7)
    found = synthetic.predictions(data, quality, seed=7, extra=40)["detections"]
    for detection in found:
        detection["score"] = round(detection["score"], rounded)
    found = [d for d in found if d["image_id"] % 7]
    annotations = [a for a in data["annotations"] if a["image_id"] % 5]
    by_id = {i["id"]: i for i in data["images"]}
    return Truth(Path("val.json"), by_id, {c["id"]: c for c in data["categories"]}, annotations), found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounded", [1, 5])
def test_engines_agree_on_a_whole_evaluation(kind: str, rounded: int) -> None:
    """More than 20 detections of a category in an image (keypoints' most) and, of persons, scores that tie."""
    truth, found = dense(40, 0.7, rounded)
    check_equal(*both(kind, truth, found, [1, 2, 3] if kind != "keypoints" else [1]))


@pytest.mark.parametrize("kind", KINDS)
def test_how_pairs_are_divided_changes_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, found = dense(10, 0.7, 2)
    whole = score_objects(VECTORIZED, kind, truth, found, [1])
    for pairs in (1, 7, 100):
        monkeypatch.setattr(vectorized, "PAIRS", pairs)
        check_equal(whole, score_objects(VECTORIZED, kind, truth, found, [1]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_people_in_one_place(kind: str) -> None:
    """Every detection may match every person: the longest queues that there are."""
    truth, _ = dense(1, 1.0, 1)
    one = next(a for a in truth.annotations if a["category_id"] == 1 and not a["iscrowd"])
    people = [{**one, "id": n, "iscrowd": int(n % 9 == 8)} for n in range(100)]
    detections = [{**one, "score": (n % 3) / 3} for n in range(130)]
    check_equal(*both(kind, Truth(truth.file, truth.images, truth.categories, people), detections, [1]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("annotations", "detections"), [(0, 0), (0, 5), (5, 0)])
def test_nothing_to_find_and_nothing_found(kind: str, annotations: int, detections: int) -> None:
    truth, found = dense(3, 0.7, 2)
    people = [a for a in truth.annotations if a["category_id"] == 1][:annotations]
    found = [d for d in found if d["category_id"] == 1][:detections]
    truth = Truth(truth.file, truth.images, truth.categories, people)
    check_equal(*both(kind, truth, found, [1, 2] if kind != "keypoints" else [1]))


def test_what_cannot_be_told_apart_is_not_left_to_chance() -> None:
    """Two people in one place: COCOeval takes the later one, and of detections with one score the earlier."""
    truth, _ = dense(1, 1.0, 1)
    person = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "iscrowd": 0}
    small = {**person, "id": 1, "area": 100}
    large = {**person, "id": 2, "area": 100_000}
    found = [{**person, "score": 0.5}, {**person, "score": 0.5, "bbox": [100, 100, 10, 10]}]
    for people, medium in (([small, large], None), ([large, small], None)):
        scored = both("bbox", Truth(truth.file, truth.images, truth.categories, people), found, [1])
        check_equal(*scored)
        assert scored[1].overall["APs"] == pytest.approx(100)
        assert scored[1].overall["APm"] is medium
        assert scored[1].matches[1].matched[0].tolist() == [1, 0]
