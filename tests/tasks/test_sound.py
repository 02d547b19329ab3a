"""Entries that are checked all at once: never passed where one by one some would be refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from anonbench.evaluate import synthetic
from anonbench.tasks import segmentation
from anonbench.tasks.base import load
from anonbench.tasks.segmentation import _all_fill, _fills
from anonbench.tasks.truth import Truth, all_numbers, numbers

TASKS = ("detection", "segmentation", "pose", "faces", "people")
DATA = synthetic.ground_truth(3, per_image=4, width=64, height=48)
TRUTH = Truth(
    Path("val.json"),
    {i["id"]: i for i in DATA["images"]},
    {c["id"]: c for c in DATA["categories"]},
    DATA["annotations"],
)
ENTRIES = synthetic.predictions(DATA, 0.9, extra=5)["detections"]


@pytest.mark.parametrize("task", TASKS)
def test_good_entries_are_passed_at_once(task: str) -> None:
    assert load(task).sound(ENTRIES, TRUTH)
    assert load(task).sound([], TRUTH)


VALUES = st.one_of(
    st.sampled_from([None, "", "0.5", [], {}, [1, 2], [[1, 2, 3, 4]], (1, 2, 3, 4), True, 1, 1.0, 10**400, -(10**400)]),
    st.sampled_from([float("nan"), float("inf"), 4, -1, [1, 2, 3, "4"], [1, 2, 3, float("nan")], [0, 0, 10**400, 1]]),
    st.lists(st.floats(), min_size=3, max_size=5),
    st.just([0.0] * 51),
    st.just([0.0] * 50 + [float("inf")]),
    st.sampled_from([{"size": [48, 64], "counts": c} for c in ("", "0", "P", "PP", "é", "q", [0, 3072], None)]),
    st.sampled_from([{"size": size, "counts": "P`0"} for size in ([48, 64], [64, 48], [48.0, 64], None)]),
)


@pytest.mark.parametrize("task", TASKS)
@given(data=st.data())
def test_a_bad_entry_is_never_passed(task: str, data: st.DataObject) -> None:
    entries = copy.deepcopy(ENTRIES)
    entry = entries[data.draw(st.integers(0, len(entries) - 1))]
    key = data.draw(st.sampled_from(["category_id", "score", "bbox", "segmentation", "keypoints"]))
    if data.draw(st.booleans()):
        entry[key] = data.draw(VALUES)
    else:
        entry.pop(key, None)
    if any(load(task).problem(entry, TRUTH) is not None for entry in entries):
        assert not load(task).sound(entries, TRUTH)


@given(st.lists(st.one_of(st.lists(st.one_of(st.integers(), st.floats(), st.text(max_size=1)), max_size=3), st.none())))
def test_numbers_of_many_lists(lists: list[Any]) -> None:
    for count in range(4):
        assert all_numbers(lists, count) == all(numbers(values, count) for values in lists)


@st.composite
def run_lengths(draw: st.DrawFn) -> tuple[str, list[int]]:
    """Draw the run lengths of a mask, perhaps damaged, and the size of the image."""
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    random = np.random.default_rng(draw(st.integers(0, 9)))
    mask = random.random(size) < draw(st.sampled_from([0, 0.02, 0.5, 1]))
    counts = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
    damage = draw(st.sampled_from(["none", "none", "none", "cut", "letters", "size"]))
    if damage == "cut":
        counts = counts[: draw(st.integers(0, len(counts)))]
    if damage == "letters":
        counts += draw(st.text(st.characters(min_codepoint=40, max_codepoint=130), max_size=12))
    return counts, [size[0], size[1] + (damage == "size")]


@given(st.lists(run_lengths(), max_size=8), st.sampled_from([1, 50, 10**6]))
def test_masks_that_fill_their_images(masks: list[tuple[str, list[int]]], digits: int) -> None:
    one_by_one = all(_fills(counts, size) for counts, size in masks)
    before, segmentation.DIGITS = segmentation.DIGITS, digits
    try:
        at_once = _all_fill([counts for counts, _ in masks], [h * w for _, (h, w) in masks])
    finally:
        segmentation.DIGITS = before
    assert at_once == one_by_one
