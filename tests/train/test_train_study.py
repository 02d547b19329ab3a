"""What a study says of its trainings: presets, first weights, processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anonbench.config import parse
from anonbench.errors import AnonbenchError
from anonbench.recipe import PRESETS
from anonbench.studies import DEFAULT
from anonbench.workflow.plan import Plan


def plan(models: dict[str, Any], folder: Path = Path("."), **more: Any) -> Plan:
    return Plan({**DEFAULT, "models": models, **more}, folder)


def test_a_study_names_a_preset() -> None:
    study = parse({**DEFAULT, "models": {"m": {"preset": "cpu-small", "epochs": 2}}})
    assert study.models["m"].architecture == PRESETS["cpu-small"].architecture
    assert study.models["m"].epochs == 2
    assert json.loads(plan({"m": {"preset": "cpu-small"}}).recipe("m"))["epochs"] == PRESETS["cpu-small"].epochs
    with pytest.raises(AnonbenchError, match=r"models\.m: unknown preset 'cpu-smal' \(did you mean 'cpu-small'\?\)"):
        parse({**DEFAULT, "models": {"m": {"preset": "cpu-smal"}}})
    with pytest.raises(AnonbenchError, match=r"models\.m\.epoch: unknown key \(did you mean 'epochs'\?\)"):
        parse({**DEFAULT, "models": {"m": {"preset": "cpu-small", "epoch": 2}}})


def test_a_start_within_the_study_is_waited_for() -> None:
    start = {"kind": "checkpoint", "file": "models/streetlife/original/first/seed0"}
    study = plan({"first": {"preset": "cpu-small"}, "second": {"preset": "cpu-small", "initialisation": start}})
    assert study.start_files("first") == []
    assert study.start_files("second") == [f"{start['file']}/train.json", f"{start['file']}/weights.safetensors"]
    assert (study.start("first"), study.start("second")) == ("scratch", start["file"])


def test_other_first_weights_are_another_training(tmp_path: Path) -> None:
    file = tmp_path / "start.safetensors"
    start = {"kind": "backbone", "file": str(file), "provenance": "made by a test", "seen": []}
    models = {"m": {"preset": "cpu-small", "initialisation": start}}
    assert plan(models).start("m") == "missing"
    found = []
    for content in (b"one", b"two"):
        file.write_bytes(content)
        found.append(plan(models).start("m"))
    assert len({"missing", *found}) == 3


def test_a_data_set_is_known_by_its_name_and_its_plugin() -> None:
    named = {"street": {"adapter": "streetlife"}, "own": {"adapter": "coco", "root": "."}}
    study = plan({"m": {"preset": "cpu-small"}}, datasets=named)
    assert study.known_as("street") == "--dataset street --dataset streetlife"
    assert study.known_as("own") == "--dataset own"


def test_processes_are_gpus_and_share_batches() -> None:
    train = {"seeds": [0], "device": "cuda", "processes": 4}
    assert plan({"m": {"preset": "cpu-small"}}, train=train).gpus() == 4
    assert plan({"m": {"preset": "cpu-small"}}, train={**train, "device": "cpu"}).gpus() == 0
    with pytest.raises(AnonbenchError, match=r"train\.processes: 4 cannot share models\.m's batches of 6 images"):
        plan({"m": {"preset": "cpu-small", "batch_size": 6}}, train=train)
