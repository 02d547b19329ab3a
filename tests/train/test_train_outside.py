"""A trainer of an outside package (tests/outside): its settings, its tasks, and the way through both commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from anonbench import config, registry
from anonbench import recipe as recipes
from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.studies import DEFAULT
from anonbench.train.record import RECORD, WEIGHTS
from anonbench.train.training import CHECKPOINT, run_training
from anonbench.workflow.plan import Plan
from tests.outside.installed import install

RECIPE: dict[str, Any] = {
    "trainer": "thumbnails", "settings": {"side": 12}, "batch_size": 4, "iterations": 400, "optimizer": "adamw",
    "base_learning_rate": 0.002, "reference_batch_size": 4, "schedule": "cosine", "warmup_iterations": 5,
    "checkpoint_every": 20,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let this process, and those that it starts, find the package, as an installed one is found."""
    paths = [str(path) for path in install("thumbnails", tmp_path_factory.mktemp("site"))]
    for path in paths:
        monkeypatch.syspath_prepend(path)
    more = filter(None, [os.environ.get("PYTHONPATH")])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, *more]))
    registry._entries.cache_clear()
    yield
    registry._entries.cache_clear()


def anonbench(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    command = [sys.executable, "-m", "anonbench", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_trained_and_asked_by_the_commands(variant: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    common = ("--variant", variant, "--device", "cpu")
    done = anonbench("train", *common, "--recipe", tmp_path / "recipe.yaml", "--out", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    assert "trainer thumbnails, detection" in done.stderr
    assert "settings side 12, width 16" in done.stderr
    record = read_json(tmp_path / "model" / RECORD)
    assert record["recipe"]["settings"] == {"side": 12, "width": 16}, "with its defaults"
    curve = record["loss_curve"]
    assert curve[0]["learning_rate"] < curve[10]["learning_rate"] > curve[-1]["learning_rate"]
    assert curve[-1]["loss_box"] < 0.05 * curve[0]["loss_box"]
    out = tmp_path / "predictions.json"
    done = anonbench("predict", *common, "--model", tmp_path / "model", "--split", "train", "--out", out)
    assert done.returncode == 0, done.stderr
    found = read_json(out)
    assert found["model"]["trainer"] == "thumbnails"
    assert [d["image_id"] for d in found["detections"]] == [1, 2, 3, 4, 5]
    truth = {a["image_id"]: a for a in read_json(variant / "annotations" / "train.json")["annotations"][::-1]}
    for detection in found["detections"]:
        if detection["image_id"] in truth:
            assert detection["category_id"] == 1
            assert detection["bbox"] == pytest.approx(truth[detection["image_id"]]["bbox"], abs=5)


class Killed(Exception):
    pass


def test_it_continues_after_a_stop_to_the_same_bytes(
    variant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toy_trainer.learning import Learner

    recipe, step = recipes.parse({**RECIPE, "iterations": 60}), Learner.step

    def stops(learner: Any, batch: Any, iteration: int) -> dict[str, float]:
        if iteration == 25:
            raise Killed
        return step(learner, batch, iteration)

    run_training(variant, "train", recipe, 0, tmp_path / "whole", device="cpu")
    with monkeypatch.context() as patched:
        patched.setattr(Learner, "step", stops)
        with pytest.raises(Killed):
            run_training(variant, "train", recipe, 0, tmp_path / "parts", device="cpu", checkpoints=tmp_path)
    assert (tmp_path / CHECKPOINT).exists()
    run_training(variant, "train", recipe, 0, tmp_path / "parts", device="cpu", checkpoints=tmp_path)
    assert read_json(tmp_path / "parts" / "timing.json")["iterations"] == 40
    for name in (WEIGHTS, RECORD):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settings": {"sides": 8}}, r"settings\.sides: unknown key \(did you mean 'side'\?\)"),
        ({"settings": {"side": 2}}, r"settings\.side: .*greater than or equal to 4 \(got 2\)"),
        ({"settings": {"architecture": {}}}, r"settings\.architecture: unknown key"),
        ({"tasks": ["pose"]}, r"tasks: the trainer thumbnails cannot do pose; it can do detection; leave pose out"),
        (
            {"initialisation": {"kind": "checkpoint", "file": "models/m"}},
            r"initialisation\.kind: thumbnails start from scratch; leave it out",
        ),
    ],
)
def test_what_it_cannot_do_is_refused_when_a_study_is_read(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(AnonbenchError, match=rf"^study\.yaml: models\.m\.{said}"):
        config.parse({**DEFAULT, "models": {"m": {**RECIPE, **changes}}}, file="study.yaml")
    with pytest.raises(AnonbenchError, match=rf"^recipe: {said}"):
        recipes.parse({**RECIPE, **changes})


def test_the_workflow_takes_it_by_its_name_and_code() -> None:
    plan = Plan({**DEFAULT, "models": {"m": RECIPE, "n": {"preset": "cpu-small"}}}, Path("."))
    assert json.loads(plan.arguments.recipe("m"))["settings"] == {"side": 12, "width": 16}
    assert plan.fingerprints.trainer_code("m") != plan.fingerprints.trainer_code("n")
    assert plan.training_environment("m") == "train"
