"""The COCO API's own example results on 100 images of val2014, with the numbers that it publishes.

Set ANONBENCH_COCOAPI to a folder with ``instances_val2014_fakebbox100_results.json`` and
``instances_val2014_fakesegm100_results.json`` (cocodataset/cocoapi, results/) and ``instances_val2014_100.json``
(the first 100 images of instances_val2014.json; faster_coco_eval, tests/dataset/cocoapi/).
"""

import json
import os
from pathlib import Path

import pytest

from anonbench.tasks.matches import ap_from_matches
from anonbench.tasks.reference import run_cocoeval
from anonbench.tasks.truth import read_annotations

FOLDER = Path(os.environ.get("ANONBENCH_COCOAPI", "/nonexistent"))

PUBLISHED = {  # cocoapi, results/val2014_fake_eval_res.txt
    "bbox": {"AP": 50.5, "AP50": 69.7, "AP75": 57.3, "APs": 58.6, "APm": 51.9, "APl": 50.1, "AR": 59.5},
    "segm": {"AP": 32.0, "AP50": 56.2, "AP75": 29.9, "APs": 38.7, "APm": 31.0, "APl": 32.7, "AR": 41.7},
}


@pytest.mark.skipif(not FOLDER.is_dir(), reason="ANONBENCH_COCOAPI names no folder with the COCO API's results")
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_the_published_example_gives_the_published_numbers(iou_type: str) -> None:
    truth = read_annotations(FOLDER / "instances_val2014_100.json")
    name = {"bbox": "fakebbox", "segm": "fakesegm"}[iou_type]
    detections = json.loads((FOLDER / f"instances_val2014_{name}100_results.json").read_text())
    task = run_cocoeval(iou_type, truth, detections, sorted(truth.categories))
    print(iou_type, task.overall)
    assert {key: round(value, 1) for key, value in task.overall.items()} == PUBLISHED[iou_type]
    for category, matches in task.matches.items():
        expected = task.categories[category]["AP"]
        ap = ap_from_matches(matches).mean()
        assert (expected is None and ap != ap) or abs(100 * ap - expected) < 1e-12 * 100
