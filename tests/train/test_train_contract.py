"""Every registered trainer: trains, predicts in COCO's format, repeats itself, refuses what does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools import mask as coco_mask
from safetensors.torch import load_file, save_file
from train_tiny import ACTIONS, CATEGORIES, HEIGHT, WIDTH, recipe_for, write_clips, write_variant

from anonbench import registry
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, sha256_file, write_json
from anonbench.train.contract import Trainer
from anonbench.train.prediction import run_prediction
from anonbench.train.record import RECORD, WEIGHTS
from anonbench.train.training import run_training
from tests.faults.faults import inflict

TRAINED = [name for name in registry.names("trainers") if registry.load("trainers", name).trains]
"""The others have a test of their own, test_train_ready_made.py."""


@pytest.fixture(scope="session", params=TRAINED)
def trainer(request: pytest.FixtureRequest) -> str:
    """The name of each trainer."""
    if request.param == "detectron2":
        pytest.importorskip("detectron2")
    return str(request.param)


@pytest.fixture(scope="session")
def variant(trainer: str, variant: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A variant that the trainer can learn from: of images, or of clips."""
    if not of_clips(trainer):
        return variant
    root = tmp_path_factory.mktemp("clips")
    write_clips(root)
    return write_clips(root, 3, "val", seed=8)


@pytest.fixture(scope="session")
def model(trainer: str, variant: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each trainer, trained for a few iterations."""
    out = tmp_path_factory.mktemp(trainer)
    run_training(variant, "train", recipe_for(trainer, iterations=12), 0, out, device="cpu")
    return out


def of_clips(trainer: str) -> bool:
    return bool(registry.load("trainers", trainer).of_clips)


def predictions(model: Path, variant: Path, out: Path) -> dict[str, Any]:
    run_prediction(model, variant, "val", out, device="cpu")
    return json.loads(out.read_text())


def copy(model: Path, to: Path) -> Path:
    to.mkdir()
    for file in model.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_a_trainer_is_a_trainer() -> None:
    assert registry.names("trainers")
    for name in registry.names("trainers"):
        assert issubclass(registry.load("trainers", name), Trainer)


def test_predictions_are_coco_results(trainer: str, model: Path, variant: Path, tmp_path: Path) -> None:
    if of_clips(trainer):
        pytest.skip("of clips")
    result = predictions(model, variant, tmp_path / "p.json")
    assert [c["id"] for c in result["categories"]] == [1, 3]
    assert result["model"]["weights_sha256"] == sha256_file(model / WEIGHTS)
    assert result["model"]["tasks"] == ["detection", "segmentation", "pose"]
    assert result["detections"]
    for found in result["detections"]:
        assert found["image_id"] in (1, 2)
        assert found["category_id"] in (1, 3)
        assert 0 <= found["score"] <= 1
        x, y, w, h = found["bbox"]
        assert 0 <= x <= x + w <= WIDTH + 0.02
        assert 0 <= y <= y + h <= HEIGHT + 0.02
        assert coco_mask.decode(found["segmentation"]).shape == (HEIGHT, WIDTH)
        assert len(found.get("keypoints", [])) == (51 if found["category_id"] == 1 else 0)
        assert found["bbox"] == [round(v, 2) for v in found["bbox"]]


def test_predictions_of_clips_are_probabilities(trainer: str, model: Path, variant: Path, tmp_path: Path) -> None:
    if not of_clips(trainer):
        pytest.skip("of images")
    result = predictions(model, variant, tmp_path / "p.json")
    assert result["model"] == {
        "weights_sha256": sha256_file(model / WEIGHTS), "tasks": ["action"], "trainer": trainer,
    }  # fmt: skip
    assert [(found["video_id"], found["image_id"]) for found in result["actions"]] == [(1, 1), (2, 7), (3, 13)]
    for found in result["actions"]:
        assert list(found["scores"]) == ACTIONS
        assert sum(found["scores"].values()) == pytest.approx(1, abs=1e-5)
        assert min(found["scores"].values()) >= 0


def test_predictions_are_repeatable(model: Path, variant: Path, tmp_path: Path) -> None:
    predictions(model, variant, tmp_path / "a.json")
    predictions(model, variant, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_training_that_did_not_finish_is_no_model(variant: Path, model: Path, tmp_path: Path) -> None:
    broken = copy(model, tmp_path / "model")
    (broken / RECORD).unlink()
    with pytest.raises(AnonbenchError, match="no finished training"):
        predictions(broken, variant, tmp_path / "p.json")


def test_weights_that_were_changed_are_refused(variant: Path, model: Path, tmp_path: Path) -> None:
    broken = copy(model, tmp_path / "model")
    inflict(broken, WEIGHTS, "flip", -1)
    with pytest.raises(AnonbenchError, match=r"is damaged, or another file than train\.json tells of; train again"):
        predictions(broken, variant, tmp_path / "p.json")


def test_weights_of_another_architecture_are_refused(variant: Path, model: Path, tmp_path: Path) -> None:
    broken = copy(model, tmp_path / "model")
    weights = load_file(broken / WEIGHTS)
    weights.pop(sorted(weights)[0])
    save_file(weights, broken / WEIGHTS)
    write_json(broken / RECORD, read_json(broken / RECORD) | {"weights_sha256": sha256_file(broken / WEIGHTS)})
    with pytest.raises(AnonbenchError, match="do not fit the recipe"):
        predictions(broken, variant, tmp_path / "p.json")
    assert not (tmp_path / "p.json").exists()


def test_a_model_of_the_old_form_still_predicts(trainer: str, model: Path, variant: Path, tmp_path: Path) -> None:
    """A train.json of version 0.1 has the trainer's settings beside the schedule, and an entry for detectron2's zoo."""
    if of_clips(trainer):
        pytest.skip("version 0.1 had no clips")
    old = copy(model, tmp_path / "model")
    record = read_json(old / RECORD)
    settings = record["recipe"].pop("settings")
    record["recipe"] |= {"zoo": None, "preset": "some-preset-of-then", **settings}
    write_json(old / RECORD, record)
    predictions(old, variant, tmp_path / "old.json")
    predictions(model, variant, tmp_path / "new.json")
    assert (tmp_path / "old.json").read_bytes() == (tmp_path / "new.json").read_bytes()


def test_other_categories_are_refused(trainer: str, model: Path, tmp_path: Path) -> None:
    write = write_clips if of_clips(trainer) else write_variant
    root = write(tmp_path / "v", 2, "val", [*CATEGORIES, {"id": 7, "name": "dog", "supercategory": "animal"}])
    with pytest.raises(AnonbenchError, match=r"7 dog.*trained on 1 person, 3 car"):
        predictions(model, root, tmp_path / "p.json")
