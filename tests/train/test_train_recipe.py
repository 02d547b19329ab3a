"""Recipes: what is refused, the linear rule, the schedule, the presets."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from train_tiny import ARCHITECTURE, TINY, tiny_recipe

from anonbench import config, registry
from anonbench import recipe as recipes
from anonbench.blocks import NoSettings
from anonbench.errors import AnonbenchError
from anonbench.learning.schedules import learning_rate
from anonbench.studies import DEFAULT
from anonbench.train import clip_models, models
from anonbench.train.contract import Trainer
from anonbench.train.data import Category

PROJECT = Path(__file__).parents[2]
BACKBONE = {"kind": "backbone", "file": "b.safetensors", "provenance": "made here", "seen": []}


def test_an_unknown_entry_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(AnonbenchError, match=r"recipe: batchsize: unknown.*batch_size"):
        tiny_recipe(batchsize=4)
    with pytest.raises(AnonbenchError, match=r"recipe: settings\.architecture\.mask_head\.roisize: unknown.*roi_size"):
        tiny_recipe({"architecture": {**ARCHITECTURE, "mask_head": {"roisize": 7}}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "greater than or equal to 1"),
        ({"base_learning_rate": 0}, "greater than 0"),
        ({"base_learning_rate": float("nan")}, "finite"),
        ({"settings": {"horizontal_flip": 1.5}}, r"settings\.horizontal_flip: .*less than or equal to 1"),
        ({"tasks": []}, "at least 1"),
        ({"tasks": ["detection", "detection"]}, "duplicate task"),
        ({"tasks": ["posee"]}, r"tasks: unknown task 'posee' \(did you mean 'pose'\?\)"),
        ({"trainer": "torchvison"}, r"trainer: unknown trainer 'torchvison' \(did you mean 'torchvision'\?\)"),
        ({"settings": {"zoo": "x.yaml"}}, r"settings\.zoo: unknown key"),
        ({"epochs": 3}, "either epochs or iterations"),
        ({"iterations": None}, "either epochs or iterations"),
        ({"settings": {"min_size": [200]}}, "recipe: settings: min_size 200 is larger than max_size 96"),
        ({"steps": [0.9, 0.5]}, "must increase"),
        ({"initialisation": {"kind": "scratch", "file": "x"}}, "scratch takes no file"),
        ({"initialisation": {"kind": "backbone", "file": "x.pth"}}, "provenance"),
        ({"initialisation": {"kind": "checkpoint", "file": "x.pth"}}, "a checkpoint needs its file, its provenance"),
        ({"initialisation": {"kind": "coco", "file": "x"}}, "provenance"),
        ({"initialisation": {"kind": "scratch", "pixels": "zoo"}}, "scratch takes no pixels"),
        ({"iterations": None, "length": "4x"}, "'1x', '2x' or '3x'"),
        ({"iterations": None, "length": "1x", "steps": [0.5]}, "has its own steps"),
        ({"iterations": None, "length": ["1x"]}, "length: Input should be '1x', '2x' or '3x'"),
        ({"preset": "clean-cityscape"}, "did you mean 'clean-cityscapes'"),
    ],
)
def test_an_impossible_value_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AnonbenchError, match=message):
        tiny_recipe(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": [4, 16]}, "consecutive"),
        ({"anchor_sizes": [[8]]}, "one per level"),
        ({"anchor_sizes": [[8], [16, 32]]}, "same number"),
        ({"roi_levels": [16]}, "roi_levels .16,. are not among the strides"),
        ({"proposal_levels": [16]}, "proposal_levels .16,. are not among the strides"),
        ({"strides": [8, 16], "roi_levels": [8]}, "beyond the compact backbone"),
        ({"strides": [64], "anchor_sizes": [[64]], "roi_levels": [4]}, "64"),
        ({"compact_depths": [1]}, "differ in length"),
        ({"norm": "frozen_batch"}, "given backbone"),
        ({"frozen_stages": 1}, "there are none from scratch"),
    ],
)
def test_an_impossible_architecture_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AnonbenchError, match=message):
        tiny_recipe({"architecture": {**ARCHITECTURE, **changes}})


def test_the_learning_rate_follows_the_batch_size() -> None:
    recipe = tiny_recipe(base_learning_rate=0.02, reference_batch_size=16, batch_size=2)
    assert recipe.learning_rate() == pytest.approx(0.0025)


def test_trainings_are_portable_on_processors_and_seeded_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [tiny_recipe().level(device) for device in ("cpu", "cuda")] == ["portable", "seeded"]
    assert [tiny_recipe().strict(device) for device in ("cpu", "cuda")] == [True, False]
    assert tiny_recipe(determinism="strict").strict("cuda")
    assert not tiny_recipe(determinism="seeded").strict("cpu")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert tiny_recipe().level("cpu") == "strict"


def test_no_training_is_portable_on_a_gpu() -> None:
    with pytest.raises(AnonbenchError, match=r"recipe determinism: portable: no two kinds of GPU .* use strict"):
        tiny_recipe(determinism="portable").level("cuda")


def test_an_epoch_ends_with_a_short_batch() -> None:
    recipe = tiny_recipe(iterations=None, epochs=3, batch_size=4)
    assert recipe.total_iterations(9) == 9
    assert tiny_recipe(iterations=7).total_iterations(9) == 7


def test_the_schedule_warms_up_and_falls() -> None:
    steps = tiny_recipe(base_learning_rate=1, warmup_iterations=10, schedule="steps", steps=[0.5, 0.9])
    rates = [learning_rate(steps, i, 100) for i in (0, 5, 10, 49, 50, 89, 90)]
    assert rates == pytest.approx([0.001, 0.5005, 1, 1, 0.1, 0.1, 0.01])
    cosine = tiny_recipe(base_learning_rate=1, warmup_iterations=0, schedule="cosine")
    assert [learning_rate(cosine, i, 100) for i in (0, 50, 100)] == pytest.approx([1, 0.5, 0])


def test_a_recipe_is_read_from_json_a_preset_or_a_file(tmp_path: Path) -> None:
    assert recipes.read(json.dumps(TINY)) == tiny_recipe()
    assert recipes.read("mask-rcnn-r50") == recipes.parse({"preset": "mask-rcnn-r50"})
    (tmp_path / "r.json").write_text(json.dumps(TINY))
    (tmp_path / "r.yaml").write_text("tasks: [pose]\nepochs: 2\n")
    assert recipes.read(str(tmp_path / "r.json")) == tiny_recipe()
    assert recipes.read(str(tmp_path / "r.yaml")).tasks == ("pose",)
    with pytest.raises(AnonbenchError, match="did you mean 'mask-rcnn-r50'"):
        recipes.read("mask-rcnn-r5")
    with pytest.raises(AnonbenchError, match="not valid JSON"):
        recipes.read("{")
    (tmp_path / "r.yaml").write_text("[1]")
    with pytest.raises(AnonbenchError, match="is not a YAML mapping"):
        recipes.read(str(tmp_path / "r.yaml"))


def test_a_recipe_survives_json() -> None:
    for name in recipes.presets():
        recipe = recipes.read(name)
        again = recipes.parse(json.loads(recipe.model_dump_json()))
        assert again == recipe.model_copy(update={"preset": None}), "the values alone are written"


def test_every_field_has_a_description() -> None:
    schema = recipes.Recipe.model_json_schema()
    for section in [schema, *schema["$defs"].values()]:
        assert all("description" in field for field in section["properties"].values())


@pytest.mark.parametrize("name", recipes.presets())
def test_a_preset_builds(name: str) -> None:
    recipe = recipes.read(name)
    if recipe.trainer == "clips":
        with torch.device("meta"):
            assert clip_models.build(recipe, 5).head.out_features == 5
        return
    with torch.device("meta"):
        model = models.build(recipe, [Category(1, "person", True), Category(3, "car", False)])
    assert (model.roi_heads.mask is not None) == ("segmentation" in recipe.tasks)
    assert (model.roi_heads.keypoint is not None) == ("pose" in recipe.tasks)


@pytest.mark.parametrize("norm", ["batch", "group", "frozen_batch"])
@pytest.mark.parametrize("backbone", ["compact", "resnet18", "resnet50"])
def test_a_backbone_gives_the_levels_asked_for(backbone: str, norm: str) -> None:
    changes = {"backbone": backbone, "norm": norm, "strides": [8, 16, 32, 64], "roi_levels": [8], "pyramid_channels": 8}
    changes |= {"anchor_sizes": [[8], [16], [32], [64]], "compact_widths": [8] * 4, "compact_depths": [1] * 4}
    recipe = tiny_recipe({"architecture": changes}, initialisation=BACKBONE)
    with torch.device("meta"):
        maps = models.Backbone(recipe.settings.architecture)(torch.zeros(1, 3, 128, 192))
    assert [tuple(level.shape) for level in maps.values()] == [
        (1, 8, 128 // stride, 192 // stride) for stride in (8, 16, 32, 64)
    ]


def test_a_named_schedule_is_the_model_zoos() -> None:
    recipe = recipes.parse({"length": "1x"})
    assert recipe.total_iterations(117266) == pytest.approx(90_000, rel=0.03)
    assert [round(90_000 * share) for share in recipe.steps] == [60_000, 80_000]
    recipe = recipes.parse({"length": "3x"})
    assert recipe.total_iterations(1600) == 3600
    assert [round(270_000 * share) for share in recipe.steps] == [210_000, 250_000]


def test_entries_are_laid_over_a_preset() -> None:
    larger = {"architecture": {"backbone": "resnet101"}}
    recipe = recipes.parse({"preset": "clean-cityscapes", "iterations": 500, "settings": larger})
    preset = recipes.read("clean-cityscapes")
    assert (recipe.iterations, recipe.steps, recipe.settings.max_size) == (500, preset.steps, preset.settings.max_size)
    assert recipe.settings.architecture == preset.settings.architecture.model_copy(update={"backbone": "resnet101"})
    longer = recipes.parse({"preset": "clean-cityscapes", "length": "3x"})
    assert (longer.iterations, longer.total_iterations(80), longer.steps[0]) == (None, 360, 210 / 270)
    other, trained = {"kind": "scratch"}, {"architecture": {"norm": "group", "frozen_stages": 0}}
    bare = recipes.parse({"preset": "clean-cityscapes", "initialisation": other, "settings": trained})
    assert bare.initialisation == recipes.Initialisation()
    for whole in (recipe, longer, bare):
        assert recipes.parse(json.loads(whole.model_dump_json())) == whole.model_copy(update={"preset": None})


def test_the_published_and_the_clean_recipes_differ_in_what_confounds() -> None:
    paper, clean = (recipes.read(f"{kind}-bdd100k") for kind in ("paper", "clean"))
    assert paper.learning_rate() == clean.learning_rate() == 0.02
    assert (paper.batch_size, clean.batch_size) == (2, 16)
    assert "bdd100k" in (paper.initialisation.seen or ())
    for name in ("cityscapes", "bdd100k", "coco-keypoints"):
        assert recipes.read(f"clean-{name}").initialisation.seen == ("imagenet",)


def test_the_named_recipes_are_in_the_clone_and_in_the_wheel(tmp_path: Path) -> None:
    folder = PROJECT / "config" / "recipes"
    assert sorted(path.stem for path in folder.glob("*.yaml")) == recipes.presets()
    assert folder.resolve() == recipes.PRESETS.resolve()
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {f"anonbench/recipes/{name}.yaml" for name in recipes.presets()} <= held


def test_every_named_recipe_says_where_its_values_come_from() -> None:
    for path in recipes.PRESETS.glob("*.yaml"):
        assert path.read_text().startswith("# "), path


def test_a_recipe_in_a_file_may_be_laid_over_another(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("preset: cpu-small\nepochs: 3\nbatch_size: 4\n")
    (tmp_path / "own.yaml").write_text("preset: base.yaml\nbatch_size: 2\n")
    recipe = recipes.read(str(tmp_path / "own.yaml"))
    assert (recipe.epochs, recipe.batch_size, recipe.schedule) == (3, 2, "cosine")
    (tmp_path / "base.yaml").write_text("preset: own.yaml\n")
    with pytest.raises(AnonbenchError, match=r"base\.yaml is laid over itself"):
        recipes.read(str(tmp_path / "own.yaml"))
    (tmp_path / "base.yaml").write_text("[1]")
    with pytest.raises(AnonbenchError, match=r"base\.yaml: is not a YAML mapping"):
        recipes.read(str(tmp_path / "own.yaml"))


def test_entries_of_the_old_form_are_refused_with_their_new_place(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"recipe: min_size: now settings\.min_size; run anonbench config"):
        recipes.parse({"epochs": 1, "min_size": [64]})
    (tmp_path / "old.yaml").write_text("epochs: 1\narchitecture: {backbone: resnet18}\n")
    with pytest.raises(AnonbenchError, match=r"old\.yaml, recipe: architecture: now settings\.architecture"):
        recipes.read(str(tmp_path / "old.yaml"))
    with pytest.raises(AnonbenchError, match=r"old\.yaml, architecture: now settings\.architecture; run anonbench"):
        recipes.parse({"preset": "old.yaml"}, "study.yaml", tmp_path)


class Boxes(Trainer):
    """A trainer that does detection alone."""

    tasks = ("detection",)

    def train(self, *_: Any) -> Any:
        raise NotImplementedError

    def predict(self, *_: Any) -> Any:
        raise NotImplementedError


def test_a_task_that_the_trainer_cannot_do_is_refused_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    names, load = registry.names, registry.load
    monkeypatch.setattr(registry, "names", lambda group: [*names(group), *(["boxes"] if group == "trainers" else [])])
    monkeypatch.setattr(registry, "load", lambda group, name: Boxes if name == "boxes" else load(group, name))
    recipe = {"trainer": "boxes", "epochs": 1}
    assert recipes.parse(recipe).settings == NoSettings()
    with pytest.raises(AnonbenchError, match=r"recipe: tasks: the trainer boxes cannot do pose; it can do detection"):
        recipes.parse({**recipe, "tasks": ["detection", "pose"]})
    with pytest.raises(AnonbenchError, match=r"recipe: settings\.min_size: unknown key"):
        recipes.parse({**recipe, "settings": {"min_size": [64]}})
    with pytest.raises(AnonbenchError, match=r"study\.yaml: models\.m\.tasks: the trainer boxes cannot do pose"):
        config.parse({**DEFAULT, "models": {"m": {**recipe, "tasks": ["pose"]}}}, file="study.yaml")
