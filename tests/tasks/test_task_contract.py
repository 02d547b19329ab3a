"""The contract of tasks, over every one that is registered and reads detections."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anonbench import registry
from anonbench.errors import AnonbenchError
from anonbench.evaluate import synthetic
from anonbench.tasks import base
from anonbench.tasks.detections import ENTRIES
from anonbench.tasks.truth import Truth, read_annotations
from tests.tasks.task_contract import check

TASKS = [name for name in registry.names("tasks") if base.load(name).entries == ENTRIES]


@pytest.fixture(scope="module", params=["images", "clips"])
def truth(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Truth:
    value = synthetic.ground_truth(24, seed=2)
    if request.param == "clips":
        value["videos"] = [{"id": v, "name": f"clip {v}", "width": 640, "height": 480} for v in range(6)]
        for k, image in enumerate(value["images"]):
            image |= {"video_id": k // 4, "frame_index": k % 4}
    path: Path = tmp_path_factory.mktemp("truth") / "val.json"
    path.write_text(json.dumps(value))
    return read_annotations(path)


def test_ours_are_registered() -> None:
    assert {"detection", "segmentation", "pose"} <= set(TASKS)
    assert base.known(["pose", "detection"]) == ["detection", "pose"]
    with pytest.raises(AnonbenchError, match=r"unknown task 'detektion' \(did you mean 'detection'"):
        base.known(["detektion"])


@pytest.mark.parametrize("name", TASKS)
def test_every_task_keeps_the_contract(name: str, truth: Truth) -> None:
    value = {
        "images": [*truth.images.values()],
        "annotations": truth.annotations,
        "categories": [*truth.categories.values()],
    }
    check(base.load(name), truth, synthetic.predictions(value, 0.8, seed=2)["detections"])


@pytest.mark.parametrize("name", TASKS)
def test_titles_are_found_without_the_task(name: str) -> None:
    assert base.title(name) == base.load(name).title
    assert base.title("somebody else's") == "somebody else's"
