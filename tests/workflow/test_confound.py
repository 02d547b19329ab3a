"""config/confound.yaml: what it compares, the jobs it plans, and starts that name a training of the study."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from anonbench import config
from anonbench.errors import AnonbenchError
from anonbench.recipe import Recipe
from anonbench.recipe import parse as parse_recipe
from anonbench.studies import DEFAULT
from anonbench.train.initialisation import leaks
from anonbench.workflow.plan import Plan
from tests.studies import COST
from tests.workflow.conftest import PROJECT, TINY, TINY_MODEL, Project

FILE = PROJECT / "config" / "confound.yaml"
STARTS = ["scratch", "backbone", "leaky", "scratch-wrong", "leaky-wrong"]
VARIANTS = ["original", "face-mask_out", "body-blur-medium", "body-mask_out"]


@pytest.fixture(scope="module")
def confound() -> Plan:
    return Plan(config.read_yaml(FILE), PROJECT)


def study(models: dict[str, Any], **more: Any) -> Plan:
    train = {**COST["train"], "seeds": [0, 1]}
    return Plan({**COST, "train": train, "variants": VARIANTS, "models": models, **more}, PROJECT)


def start(file: str, **more: Any) -> dict[str, Any]:
    return {"preset": "cpu-small", "initialisation": {"kind": "checkpoint", "file": file, **more}}


def test_models_differ_in_start_and_learning_rate_alone(confound: Plan) -> None:
    assert confound.study.compared_starts() == [("streetlife", STARTS)]
    recipes = {name: parse_recipe(json.loads(confound.arguments.recipe(name))) for name in STARTS}
    rates = {name: recipe.learning_rate() for name, recipe in recipes.items()}
    assert rates["scratch"] == rates["backbone"] == rates["leaky"]
    assert rates["scratch-wrong"] == rates["leaky-wrong"] == 8 * rates["scratch"]
    assert [recipes[name].initialisation.kind for name in ("scratch", "backbone", "leaky")] == [
        "scratch",
        "backbone",
        "checkpoint",
    ]


def test_the_clean_start_is_of_other_images(confound: Plan) -> None:
    options = [confound.study.options(name) for name in ("streetlife", "elsewhere")]
    assert options[0]["seed"] != options[1]["seed"]
    names = confound.arguments.known_as("streetlife").split()
    start = confound.study.starting_training("backbone")
    assert start is not None
    assert not leaks(start[:1], names)
    assert leaks(["streetlife"], names)
    # the start was trained as the models are that start from it
    given = {"initialisation", "datasets", "variants"}
    clean, backbone = (confound.study.models[name].model_dump(exclude=given) for name in ("clean", "backbone"))
    assert clean == backbone


def test_starts_lie_in_the_studys_output(confound: Plan) -> None:
    folder = "runs/confound/models/streetlife/original/scratch/seed0"
    assert confound.files.start_files("leaky") == [f"{folder}/train.json", f"{folder}/weights.safetensors"]
    assert json.loads(confound.arguments.recipe("leaky"))["initialisation"]["file"] == folder
    assert confound.fingerprints.first_weights("leaky") == folder
    folder = "runs/confound/models/elsewhere/original/clean/seed0"
    assert confound.files.start_files("backbone") == [f"{folder}/train.json", f"{folder}/weights.safetensors"]
    assert json.loads(confound.arguments.recipe("backbone"))["initialisation"]["file"] == folder
    assert confound.files.start_files("scratch") == []


def test_the_dry_run_plans_the_asked_combinations_alone(project: Project, confound: Plan) -> None:
    done = project.snakemake("--dry-run", config="confound")
    assert done.returncode == 0, done.stdout
    jobs = project.jobs(config="confound")
    asked = len(STARTS) * len(VARIANTS) + 1
    trainings = len(confound.study.train.seeds) * asked
    assert jobs == {
        "all": 1,
        "download": 2,
        "annotate": 4,
        "regions": 1,
        "anonymize": len(VARIANTS) + 1 + 2,
        "merge": len(VARIANTS) + 1 + 2,
        "train": trainings,
        "predict": trainings,
        "evaluate": trainings,
        "study": 1,
        "report_tables": 1,
        "report_figures": 1,
        "report_sheet": 1,
        "report_html": 1,
    }
    trained = set(re.findall(r"train (\S+) on (\S+) (\S+), seed", done.stdout))
    assert [where[1:] for where in trained if where[0] == "clean"] == [("elsewhere", "original")]
    assert len(trained) == asked
    assert "figures/starts.png" in done.stdout


def test_the_default_study_draws_no_starts() -> None:
    plan = Plan(DEFAULT, PROJECT)
    assert plan.study.compared_starts() == []
    assert "starts" not in plan.files.figures()
    # larger models are no other starts
    larger = {"preset": "cpu-small", "settings": {"architecture": {"box_width": 64}}}
    other = study({"m": {"preset": "cpu-small"}, "n": larger})
    assert other.study.compared_starts() == []
    # two starts are compared by what training on a variant costs them
    starts = {"m": {"preset": "cpu-small"}, "n": {"preset": "cpu-small", "base_learning_rate": 0.003}}
    assert study(starts).study.compared_starts() == [("streetlife", ["m", "n"])]
    assert study(starts, evaluate={"on": ["deployed"]}).study.compared_starts() == []


def test_where_a_model_is_trained_is_not_part_of_its_recipe() -> None:
    whole, part = (
        study({"first": {"preset": "cpu-small"}, "m": {"preset": "cpu-small", **more}})
        for more in ({}, {"variants": ["original", "body-mask_out"]})
    )
    assert whole.arguments.recipe("m") == part.arguments.recipe("m")
    assert set(json.loads(part.arguments.recipe("m"))) == set(Recipe.model_fields) - {"preset"}
    assert {training.split("/")[1] for training in part.files.trainings() if "/m/" in training} == {
        "original",
        "body-mask_out",
    }
    summary = json.loads(part.arguments.summary())
    assert summary["asked"]["streetlife"] == {"first": VARIANTS, "m": ["original", "body-mask_out"]}


def test_what_no_model_is_trained_on_is_not_anonymized() -> None:
    models = {
        "m": {"preset": "cpu-small", "variants": ["original", "body-mask_out"]},
        "n": {"preset": "cpu-small", "datasets": ["other"], "variants": ["original"]},
    }
    plan = study(models, datasets={"streetlife": {}, "other": {"adapter": "streetlife"}})
    assert not any("body-blur" in path for path in plan.files.manifests())
    assert not any(
        "original" not in path for path in plan.files.manifests() if "/other/" in path and "body-mask" not in path
    )
    assert plan.study.trained("streetlife", "n") == []
    only = study(
        {"n": models["n"], "m": {**models["m"], "datasets": ["streetlife"]}},
        datasets={"other": {"adapter": "streetlife"}, "streetlife": {}},
    )
    assert only.study.variants_of("other") == ["original"]
    assert [path for path in only.files.coverages() if "other" in path] == []


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (
            {"m": {"preset": "cpu-small", "datasets": ["streetlif"]}},
            r"models\.m\.datasets: 'streetlif' is not among .* \(did you mean 'streetlife'\?\)",
        ),
        (
            {"m": {"preset": "cpu-small", "variants": ["original", "body-mask-out"]}},
            r"models\.m\.variants: 'body-mask-out' is not among .* \(did you mean 'body-mask_out'\?\)",
        ),
        (
            {"m": {"preset": "cpu-small", "variants": ["body-mask_out"]}},
            r"models\.m\.variants: 'original' is missing",
        ),
        (
            {"m": start("models/streetlife/original/m/seed0")},
            r"models\.m\.initialisation\.file: m starts from m: none of them can be trained first",
        ),
        (
            {"m": start("models/streetlife/original/n/seed0"), "n": start("models/streetlife/original/m/seed0")},
            r"m starts from n, which starts from m: none of them can be trained first",
        ),
        (
            {"m": start("models/streetlife/original/n/seed9"), "n": {"preset": "cpu-small"}},
            r"the study does not train streetlife/original/n/seed9",
        ),
        (
            {"m": start("models/streetlife/face-gan/n/seed0"), "n": {"preset": "cpu-small"}},
            r"the study does not train streetlife/face-gan/n/seed0",
        ),
    ],
)
def test_wrong_combinations_and_starts_are_named(models: dict[str, Any], said: str) -> None:
    with pytest.raises(AnonbenchError, match=said):
        study(models)


@pytest.mark.parametrize(
    ("output", "file"),
    [
        (".", "models/streetlife/original/n/seed0"),
        ("runs/x", "models/streetlife/original/n/seed0"),
        ("runs/x", "runs/x/models/streetlife/original/n/seed0"),
    ],
)
def test_a_start_may_be_named_with_or_without_the_output(output: str, file: str) -> None:
    plan = study({"m": start(file), "n": {"preset": "cpu-small"}}, output=output)
    folder = (Path(output) / "models/streetlife/original/n/seed0").as_posix()
    assert plan.fingerprints.first_weights("m") == folder
    assert json.loads(plan.arguments.recipe("m"))["initialisation"]["file"] == folder
    assert plan.files.start_files("m") == [f"{folder}/train.json", f"{folder}/weights.safetensors"]


def test_another_studys_training_is_a_file_on_disk(tmp_path: Path) -> None:
    folder = tmp_path / "models/streetlife/original/n/seed0"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"theirs")
    plan = study({"m": start(str(folder))})
    assert plan.files.start_files("m") == []
    assert len(plan.fingerprints.first_weights("m")) == 16
    assert json.loads(plan.arguments.recipe("m"))["initialisation"]["file"] == str(folder)


@pytest.mark.slow
def test_a_tiny_study_of_starts_runs(project: Project) -> None:
    """The whole way with four images: the start is waited for, found in the output folder, and marked."""
    models = {
        "first": TINY_MODEL,
        "leaky": {**TINY_MODEL, **start("models/streetlife/original/first/seed0"), "preset": None},
    }
    project.study(
        "starts",
        {**TINY, "output": "runs/starts", "variants": ["original", "body-mask_out"], "models": models},
    )
    done = project.snakemake(config="starts")
    assert done.returncode == 0, done.stdout
    out = project.folder / "runs/starts"
    record = json.loads((out / "models/streetlife/body-mask_out/leaky/seed0/train.json").read_text())
    assert record["initialisation"]["leaks"] is True
    assert record["initialisation"]["seen"] == ["streetlife"]
    assert (out / "results/figures/starts.png").is_file()
    assert "leaky †" in (out / "results/tables/impact.md").read_text()
    assert project.jobs(config="starts") == {}
