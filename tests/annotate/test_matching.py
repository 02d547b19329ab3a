"""Faces and people find each other whatever their order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from anonbench.annotate.matching import match, union_box, unmatched

SIZE = (60, 80)


def rle(*boxes: tuple[int, int, int, int]) -> dict[str, Any]:
    """Return the mask of boxes x0, y0, x1, y1 as COCO's compressed RLE."""
    mask = np.zeros(SIZE, np.uint8, order="F")
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = 1
    return coco_mask.encode(mask)


def points(*places: tuple[float, float]) -> np.ndarray:
    """Return 17 keypoints of which the first ones are labelled."""
    keypoints = np.zeros((17, 3), np.float32)
    for index, (x, y) in enumerate(places):
        keypoints[index] = (x, y, 2)
    return keypoints


def slow_iou(faces: np.ndarray, masks: list[dict[str, Any]]) -> np.ndarray:
    """Return IoU (faces, people) on whole decoded masks, corners without their fractions."""
    ious = np.zeros((len(faces), len(masks)))
    for i, (x, y, w, h, _) in enumerate(faces):
        drawn = np.zeros(SIZE, bool)
        drawn[max(int(y), 0) : int(y + h), max(int(x), 0) : int(x + w)] = True
        for j, mask in enumerate(masks):
            person = coco_mask.decode(mask).astype(bool)
            either = (drawn | person).sum()
            ious[i, j] = (drawn & person).sum() / either if either else 0
    return ious


def published(ious: np.ndarray, scores: np.ndarray, least: float) -> dict[int, int]:
    """Return the study's greedy choice from a table of IoUs, by person."""
    pairs = [(face, person) for face, person in zip(*np.nonzero(ious > least), strict=True)]
    pairs.sort(key=lambda pair: (-ious[pair], -scores[pair[0]]))
    matches: dict[int, int] = {}
    for face, person in pairs:
        if person not in matches and face not in matches.values():
            matches[int(person)] = int(face)
    return matches


@st.composite
def scenes(draw: st.DrawFn) -> tuple[np.ndarray, list[dict[str, Any]], list[Any], list[Any]]:
    """Faces, masks, boxes and keypoints; no two faces or people alike."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    faces = np.column_stack(
        [rng.uniform(0, 70, 5), rng.uniform(0, 50, 5), rng.uniform(3, 25, (5, 2)), rng.uniform(0.3, 1, 5)]
    )[: draw(st.integers(0, 5))]
    masks, boxes, heads = [], [], []
    for index in range(draw(st.integers(0, 5))):
        x0, y0 = int(rng.integers(0, 60)), int(rng.integers(0, 40))
        x1, y1 = x0 + int(rng.integers(5, 20)), y0 + int(rng.integers(5, 20))
        masks.append(rle((x0, y0, x1, y1), (x0, y1, (x0 + x1) // 2, y1 + 1 + index)))
        boxes.append((float(x0), float(y0), float(x1 - x0), float(y1 - y0)))
        known = draw(st.booleans())
        heads.append(points(*rng.uniform((x0, y0), (x1, y1), (3, 2))) if known else None)
    return faces, masks, boxes, heads


class TestPublished:
    @given(scenes(), st.sampled_from([0.01, 0.1, 0.3]))
    @settings(max_examples=150, deadline=None)
    def test_is_the_greedy_choice_on_whole_masks(self, scene: Any, least: float) -> None:
        faces, masks, boxes, _ = scene
        expected = published(slow_iou(faces, masks), faces[:, 4], least) if masks else {}
        assert match(faces, masks, boxes, SIZE, min_iou=least) == expected

    def test_iou_before_score(self) -> None:
        faces = np.array([[10, 10, 10, 10, 0.5], [10, 10, 12, 12, 0.9]])
        assert match(faces, [rle((10, 10, 20, 20))], None, SIZE) == {0: 0}

    def test_score_decides_between_equal_faces(self) -> None:
        faces = np.array([[10, 10, 10, 10, 0.5], [10, 10, 10, 10, 0.9]])
        assert match(faces, [rle((10, 10, 20, 30))], None, SIZE) == {0: 1}

    def test_a_face_of_less_than_a_hundredth_is_lost(self) -> None:
        faces = np.array([[10, 10, 5, 5, 0.9]])
        person = [rle((0, 0, 80, 40))]
        assert match(faces, person, None, SIZE) == {}
        assert match(faces, person, None, SIZE, prefer="head") == {0: 0}

    def test_a_face_goes_to_one_person_only(self) -> None:
        faces = np.array([[10, 10, 10, 10, 0.9]])
        people = [rle((5, 5, 25, 50)), rle((8, 8, 22, 30))]
        assert match(faces, people, None, SIZE) == {1: 0}

    def test_corners_that_float32_moved_stay_where_they_were(self) -> None:
        x, x1 = np.float32(10.3), np.float32(21)
        face = np.array([[x, 10, x1 - x, 10, 0.9]], np.float32)
        below = np.nextafter(np.float32(face[0, 2]), np.float32(0))
        face[0, 2] = below
        assert float(x) + float(below) < 21
        assert match(face, [rle((20, 10, 21, 20))], None, SIZE, min_iou=0.09) == {0: 0}


class TestHead:
    def test_the_labelled_head_decides(self) -> None:
        faces = np.array([[20, 10, 10, 10, 0.9]])
        front, back = rle((15, 5, 40, 60)), rle((20, 10, 30, 20))
        both = [front, back]
        assert match(faces, both, None, SIZE) == {1: 0}, "IoU favours the small one"
        heads = [points((24, 14), (22, 13), (27, 13)), None]
        assert match(faces, both, None, SIZE, heads=heads, prefer="head") == {0: 0}

    def test_someone_whose_head_is_elsewhere_does_not_get_the_face(self) -> None:
        faces = np.array([[20, 10, 10, 10, 0.9]])
        person = [rle((15, 5, 40, 60))]
        assert match(faces, person, None, SIZE, heads=[points((60, 40))], prefer="head") == {}
        assert match(faces, person, None, SIZE, heads=[points((31, 14))], prefer="head") == {0: 0}, (
            "an ear at the border"
        )
        assert match(faces, person, None, SIZE, heads=[np.zeros((17, 3))], prefer="head") == {0: 0}, "none labelled"

    def test_points_below_the_head_say_nothing(self) -> None:
        keypoints = np.zeros((17, 3))
        keypoints[15] = (60, 40, 2)
        faces = np.array([[20, 10, 10, 10, 0.9]])
        assert match(faces, [rle((15, 5, 40, 60))], None, SIZE, heads=[keypoints], prefer="head") == {0: 0}

    def test_of_two_boxes_that_hold_a_face_the_one_with_it_at_the_top_wins(self) -> None:
        faces = np.array([[20, 30, 6, 6, 0.9]])
        boxes = [(10.0, 0.0, 30.0, 60.0), (18.0, 28.0, 12.0, 30.0)]
        assert match(faces, None, boxes, SIZE, prefer="head") == {1: 0}
        assert match(faces, [None, None], boxes[::-1], SIZE, prefer="head") == {0: 0}

    def test_a_face_beside_a_person_is_not_theirs(self) -> None:
        faces = np.array([[40, 10, 10, 10, 0.9], [28, 10, 10, 10, 0.8]])
        assert match(faces, [rle((10, 5, 30, 60))], None, SIZE, prefer="head") == {}


@pytest.mark.parametrize("prefer", ["iou", "head"])
class TestBoth:
    @given(scene=scenes(), seed=st.integers(0, 1000))
    @settings(max_examples=100, deadline=None)
    def test_one_to_one_whatever_the_order(self, prefer: Any, scene: Any, seed: int) -> None:
        faces, masks, boxes, heads = scene
        matches = match(faces, masks, boxes, SIZE, heads=heads, prefer=prefer)
        assert len(set(matches.values())) == len(matches)
        assert all(0 <= person < len(masks) and 0 <= face < len(faces) for person, face in matches.items())
        assert sorted([*unmatched(faces, matches), *matches.values()]) == list(range(len(faces)))
        rng = np.random.default_rng(seed)
        a, b = rng.permutation(len(faces)), rng.permutation(len(masks))
        shuffled = match(
            faces[a], [masks[i] for i in b], [boxes[i] for i in b], SIZE, heads=[heads[i] for i in b], prefer=prefer
        )
        assert {int(b[person]): int(a[face]) for person, face in shuffled.items()} == matches

    @given(scene=scenes(), low=st.floats(0, 0.5), step=st.floats(0, 0.5))
    @settings(max_examples=100, deadline=None)
    def test_a_lower_threshold_takes_nobodys_face(self, prefer: Any, scene: Any, low: float, step: float) -> None:
        faces, masks, boxes, heads = scene
        name = "min_iou" if prefer == "iou" else "min_fit"
        few = match(faces, masks, boxes, SIZE, heads=heads, prefer=prefer, **{name: low + step})
        many = match(faces, masks, boxes, SIZE, heads=heads, prefer=prefer, **{name: low})
        assert few.items() <= many.items()

    def test_nobody_and_nothing(self, prefer: Any) -> None:
        none = np.zeros((0, 5))
        assert match(none, [rle((1, 1, 9, 9))], None, SIZE, prefer=prefer) == {}
        face = np.array([[1, 1, 8, 8, 0.9]])
        assert match(face, [], [], SIZE, prefer=prefer) == {}
        assert match(face, None, None, SIZE, prefer=prefer) == {}
        assert match(face, [None], [None], SIZE, prefer=prefer) == {}
        assert match(face, [rle()], None, SIZE, prefer=prefer) == {}, "a mask without pixels"
        assert unmatched(face, {}) == [0]

    def test_a_box_stands_in_for_a_mask(self, prefer: Any) -> None:
        face = np.array([[10, 10, 10, 10, 0.9]])
        assert match(face, [None], [(8.0, 8.0, 20.0, 40.0)], SIZE, prefer=prefer) == {0: 0}

    def test_faces_beyond_the_frame(self, prefer: Any) -> None:
        faces = np.array([[-5, -5, 12, 12, 0.9], [200, 10, 10, 10, 0.8], [75, 55, 20, 20, 0.7]])
        people = [rle((0, 0, 10, 40)), rle((70, 50, 80, 60))]
        assert match(faces, people, None, SIZE, prefer=prefer) == {0: 0, 1: 2}


@given(*[st.tuples(*[st.floats(-50, 50)] * 2, *[st.floats(0.1, 50)] * 2)] * 2)
def test_union_box_is_the_smallest_that_holds_both(a: Any, b: Any) -> None:
    x, y, w, h = union_box(a, b)
    assert (x, y) == (min(a[0], b[0]), min(a[1], b[1]))
    for box in (a, b):
        assert x + w >= box[0] + box[2] - 1e-9
        assert y + h >= box[1] + box[3] - 1e-9
    assert x + w == pytest.approx(max(a[0] + a[2], b[0] + b[2]))
    assert y + h == pytest.approx(max(a[1] + a[3], b[1] + b[3]))
