"""What a study says of its trainings: presets, first weights, processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from anonbench import recipe as recipes
from anonbench.config import load, parse
from anonbench.errors import AnonbenchError
from anonbench.workflow.plan import Plan
from tests.studies import COST


def plan(models: dict[str, Any], folder: Path = Path("."), **more: Any) -> Plan:
    train = {**COST["train"], "seeds": [0, 1]}
    return Plan({**COST, "train": train, "models": models, **more}, folder)


def test_a_study_names_a_preset() -> None:
    study = parse({**COST, "models": {"m": {"preset": "cpu-small", "epochs": 2}}})
    assert study.models["m"].settings == recipes.read("cpu-small").settings
    assert study.models["m"].epochs == 2
    named = plan({"m": {"preset": "cpu-small"}}).arguments.recipe("m")
    assert json.loads(named)["epochs"] == recipes.read("cpu-small").epochs
    with pytest.raises(AnonbenchError, match=r"models\.m: unknown preset 'cpu-smal' \(did you mean 'cpu-small'\?\)"):
        parse({**COST, "models": {"m": {"preset": "cpu-smal"}}})
    with pytest.raises(AnonbenchError, match=r"models\.m\.epoch: unknown key \(did you mean 'epochs'\?\)"):
        parse({**COST, "models": {"m": {"preset": "cpu-small", "epoch": 2}}})


def test_a_study_names_a_recipe_in_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "fast.yaml").write_text("preset: cpu-small\nepochs: 1\n")
    value = {**COST, "models": {"m": {"preset": "own/fast.yaml", "batch_size": 2}}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(value))
    model = load(tmp_path / "study.yaml").models["m"]
    assert (model.epochs, model.batch_size) == (1, 2)
    seen = Plan(value, Path("."), ["config/default.yaml", tmp_path / "study.yaml"])
    assert json.loads(seen.arguments.recipe("m"))["epochs"] == 1
    (tmp_path / "own" / "fast.yaml").unlink()
    with pytest.raises(AnonbenchError, match=r"models\.m: preset: there is no file .*own/fast\.yaml"):
        load(tmp_path / "study.yaml")


def test_only_the_values_of_a_preset_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renamed, reworded and other presets retrain nothing; a changed value does."""
    named = plan({"m": {"preset": "cpu-small"}})
    recipe, code = named.arguments.recipe("m"), named.fingerprints.trainer_code("m")
    assert "preset" not in json.loads(recipe)
    shutil.copytree(recipes.PRESETS, tmp_path / "recipes")
    monkeypatch.setattr(recipes, "PRESETS", tmp_path / "recipes")
    file, renamed = (tmp_path / "recipes" / f"{name}.yaml" for name in ("cpu-small", "small"))
    renamed.write_text("# other words\n" + file.read_text())
    (tmp_path / "recipes" / "clean-bdd100k.yaml").write_text("epochs: 1\n")
    for name in ("cpu-small", "small"):
        after = plan({"m": {"preset": name}})
        assert (after.arguments.recipe("m"), after.fingerprints.trainer_code("m")) == (recipe, code)
    assert plan({"m": json.loads(recipe)}).arguments.recipe("m") == recipe
    renamed.write_text(file.read_text().replace("epochs: 7", "epochs: 8"))
    assert plan({"m": {"preset": "small"}}).arguments.recipe("m") != recipe


def test_a_start_within_the_study_is_waited_for() -> None:
    start = {"kind": "checkpoint", "file": "models/streetlife/original/first/seed0"}
    study = plan({"first": {"preset": "cpu-small"}, "second": {"preset": "cpu-small", "initialisation": start}})
    assert study.files.start_files("first") == []
    assert study.files.start_files("second") == [f"{start['file']}/train.json", f"{start['file']}/weights.safetensors"]
    assert (study.fingerprints.first_weights("first"), study.fingerprints.first_weights("second")) == (
        "scratch",
        start["file"],
    )


def test_other_first_weights_are_another_training(tmp_path: Path) -> None:
    file = tmp_path / "start.safetensors"
    start = {"kind": "backbone", "file": str(file), "provenance": "made by a test", "seen": []}
    models = {"m": {"preset": "cpu-small", "initialisation": start}}
    assert plan(models).fingerprints.first_weights("m") == "missing"
    found = []
    for content in (b"one", b"two"):
        file.write_bytes(content)
        found.append(plan(models).fingerprints.first_weights("m"))
    assert len({"missing", *found}) == 3


def test_a_data_set_is_known_by_its_name_and_its_plugin() -> None:
    named = {"street": {"adapter": "streetlife"}, "own": {"adapter": "coco", "root": "."}}
    study = plan({"m": {"preset": "cpu-small"}}, datasets=named)
    assert study.arguments.known_as("street") == "--dataset street --dataset streetlife"
    assert study.arguments.known_as("own") == "--dataset own"


def test_processes_are_gpus_and_share_batches() -> None:
    train = {"seeds": [0], "device": "cuda", "processes": 4}
    assert plan({"m": {"preset": "cpu-small"}}, train=train).gpus() == 4
    assert plan({"m": {"preset": "cpu-small"}}, train={**train, "device": "cpu"}).gpus() == 0
    with pytest.raises(
        AnonbenchError, match=r"train\.processes: 4 processes cannot share models\.m's batches of 6 images"
    ):
        plan({"m": {"preset": "cpu-small", "batch_size": 6}}, train=train)
