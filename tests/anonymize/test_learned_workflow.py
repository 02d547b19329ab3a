"""A fit for each level: which jobs there are, and what each is told."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from anonbench.config import parse
from anonbench.errors import AnonbenchError
from anonbench.workflow.plan import Plan

from ..workflow.conftest import PROJECT, TINY, Project

MINE: dict[str, Any] = {"fit_levels": {"mine": {"loss": "vita", "ensemble": 3}}}


def study(**learned: Any) -> dict[str, Any]:
    """Return the tiny study with three learned variants and two data sets."""
    value = copy.deepcopy(TINY)
    value["variants"] = ["original", "frame-grey", "frame-learned-b30", "frame-learned-spact", "frame-learned-mine"]
    other = {"adapter": "streetlife", "options": {"train": 6, "val": 2}}
    value["datasets"] = {**value["datasets"], "other": other}
    value["methods"] = {"learned": {**MINE, "fit_on": "other", **learned}}
    return value


def test_one_fit_for_each_level_however_many_data_sets(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.study("shared", study())
    assert project.jobs("variants", config="shared")["fit"] == 3


def test_weights_and_settings_of_levels() -> None:
    plan = Plan(study(fit={"iterations": 7, "utility_weight": 0.5}), PROJECT)
    assert plan.files.fit_folder("streetlife", "frame-learned-b30") == "anonymized/other/private/fits/frame-learned-b30"
    assert plan.files.fitting_of("streetlife", "frame-learned-mine")[0].endswith("frame-learned-mine/fit.json")
    told = {level: json.loads(plan.arguments.fit_settings("learned", level)) for level in ("b30", "spact", "mine")}
    assert [told[level]["loss"] for level in told] == ["penalty", "spact", "vita"]
    assert told["b30"]["budget"] == 0.3
    assert told["mine"]["ensemble"] == 3
    assert {one["iterations"] for one in told.values()} == {7}
    with pytest.raises(ValueError, match=r"the level 'tedspad' has utility_weight: 0\.7"):
        plan.arguments.fit_settings("learned", "tedspad")
    both = {"fit": {"utility_weight": 0.6}, "fit_levels": {"mine": {}, "tedspad": {"utility_weight": 0.5}}}
    own = Plan(study(**both), PROJECT)
    assert json.loads(own.arguments.fit_settings("learned", "tedspad"))["utility_weight"] == 0.5


def test_clips_and_stills_may_be_of_two_data_sets(tmp_path: Path) -> None:
    value = study(stills_on="streetlife")
    plan = Plan(value, PROJECT)
    told = plan.arguments.stills("learned")
    assert told == "--stills-data data/streetlife --stills-annotations annotations/streetlife --stills-split train"
    files = plan.files.fit_stills()(SimpleNamespace(method="learned", region="frame"))
    assert [Path(file).name for file in files] == ["download.json", "train.images.parquet", "train.people.parquet"]
    assert plan.arguments.stills("gan") == ""
    project = Project(tmp_path / "project")
    project.study("apart", value)
    assert project.jobs("variants", config="apart")["fit"] == 3
    attacked = {**value, "attack": {"attacks": ["coverage"], "probe": "train", "datasets": ["streetlife"]}}
    with pytest.raises(AnonbenchError, match=r"attack\.probe: 'train' of streetlife is what learned is fitted to"):
        parse(attacked)


def begun(start: str, **models: Any) -> dict[str, Any]:
    """Return a study whose learned method starts from a training of clips."""
    value: dict[str, Any] = yaml.safe_load((PROJECT / "config" / "action.yaml").read_text())
    value["methods"]["learned"]["fit"] |= {"start": start, "utility_widths": [8, 16, 32, 64], "utility_depths": [1] * 4}
    value["models"] |= models
    return value


def test_a_fit_may_start_from_a_training_of_the_study() -> None:
    asked = SimpleNamespace(method="learned", level="-vitagrey")
    folder = "runs/action/models/others/original/start/seed0"
    for named in ("models/others/original/start/seed0", folder, f"{folder}/weights.safetensors"):
        plan = Plan(begun(named), PROJECT)
        assert plan.files.fit_start()(asked) == [f"{folder}/train.json", f"{folder}/weights.safetensors"]
        assert json.loads(plan.arguments.fit_settings("learned", "vitagrey"))["start"] == folder
        assert plan.fingerprints.fit_code("learned", "vitagrey") == plan.fingerprints.fit_code("learned")
    plain = Plan(yaml.safe_load((PROJECT / "config" / "action.yaml").read_text()), PROJECT)
    assert plain.files.fit_start()(asked) == []
    assert plain.files.fit_start()(SimpleNamespace(method="gan", level="")) == []


def test_a_start_from_elsewhere_is_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"one")
    before = Plan(begun(str(folder)), PROJECT)
    assert before.files.fit_start()(SimpleNamespace(method="learned", level="-vitagrey")) == []
    assert json.loads(before.arguments.fit_settings("learned", "vitagrey"))["start"] == str(folder)
    told = before.fingerprints.fit_code("learned", "vitagrey")
    (folder / "weights.safetensors").write_bytes(b"another")
    assert Plan(begun(str(folder)), PROJECT).fingerprints.fit_code("learned", "vitagrey") != told


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("models/others/original/start/seed1", "fit.start: the study does not train others/original/start/seed1"),
        ("models/streetlife/original/start/seed0", "does not train streetlife/original/start/seed0"),
        ("models/streetlife/frame-learned-vitagrey/r3d/seed0", "r3d is trained on frame-learned-vitagrey, which"),
        ("models/streetlife/frame-grey/late/seed0", "r3d is trained on frame-learned-vitagrey, which the fit makes"),
        ("models/other/original/start/seed0", r"fit\.start: unknown dataset 'other' \(did you mean"),
        ("runs/action/models/others/original/strat/seed0", r"fit\.start: unknown model 'strat' \(did you mean"),
        (
            "models/others/original/narrow/seed0",
            r"fit\.utility_widths: \[8, 16, 32, 64\], where the start, narrow, has",
        ),
        ("models/others/original/boxes/seed0", r"boxes is trained by torchvision; name a model of trainer: clips"),
        ("models/swapped/original/peeks/seed0", r"attack\.probe: 'probe' of streetlife is what learned is fitted to"),
    ],
)
def test_starts_that_cannot_be_made_before_the_fit(start: str, message: str) -> None:
    from_fit = {"kind": "checkpoint", "file": "models/streetlife/frame-learned-vitagrey/r3d/seed0"}
    late = {"preset": "clips-cpu", "datasets": ["streetlife"], "initialisation": from_fit}
    narrow = {"preset": "clips-cpu", "datasets": ["others"], "settings": {"small_widths": [4], "small_depths": [1]}}
    peeks = {"preset": "clips-cpu", "datasets": ["swapped"], "variants": ["original"]}
    boxes = {"preset": "cpu-short", "datasets": ["others"]}
    value = begun(start, late=late, narrow=narrow, peeks=peeks, boxes=boxes)
    probed = {**value["datasets"]["streetlife"], "train": "probe", "val": "train", "adapter": "streetlife"}
    value["datasets"]["swapped"] = probed
    with pytest.raises(AnonbenchError, match=message):
        parse(value)


def photographs(**attack: Any) -> dict[str, Any]:
    """Return config/ucf101.yaml, attacked as said, too."""
    value: dict[str, Any] = yaml.safe_load((PROJECT / "config" / "ucf101.yaml").read_text())
    value["datasets"]["vispr"] |= {"root": "/data/vispr"}
    value["attack"] |= attack
    return value


def test_a_data_set_that_is_attacked_alone_has_the_variants_that_are_attacked() -> None:
    value = photographs()
    assert parse(value).variants_of("vispr") == value["variants"]
    few = parse(photographs(variants=["frame-grey"]))
    assert few.variants_of("vispr") == ["original", "frame-grey"]
    assert few.variants_of("ucf101") == value["variants"]
    value = photographs(datasets=["ucf101"], probe="val", own={"split": "test"})
    value["datasets"]["ucf101"] |= {"val": "val", "options": {"val_groups": 2}}
    value["models"]["r3d"]["variants"] = ["original", "frame-grey"]
    assert parse(value).variants_of("ucf101") == ["original", "frame-grey"], "what its models are for"
    value["attack"]["variants"] = ["frame-identity", "frame-grey"]
    with pytest.raises(
        AnonbenchError, match=r"attack\.variants: no model is used for 'frame-identity' on what is attack"
    ):
        parse(value)


def test_options_that_choose_no_pictures_hide_nobody() -> None:
    value = photographs(datasets=["photos"], probe="train2017", own={"split": "val2017"})
    value["datasets"]["photos"] = {"adapter": "vispr", "root": "/data/vispr", "train": "val2017", "val": "train2017"}
    with pytest.raises(AnonbenchError, match=r"'train2017' of photos is what learned is fitted to"):
        parse(value)
    value["datasets"]["photos"]["root"] = "/data/others"
    parse(value)
    own = photographs(datasets=["ucf101"], probe="test", own={"dataset": "small", "split": "test"})
    own["datasets"]["ucf101"]["root"] = "/data/ucf101"
    own["datasets"]["small"] = {"adapter": "ucf101", "root": "/data/ucf101", "train": "train", "val": "test",
                                "options": {"shorter_side": 112}}  # fmt: skip
    for options in ({"shorter_side": 112}, {"fold": 2}, {"val_groups": 3}):  # other folds divide the same clips
        own["datasets"]["small"]["options"] = options
        with pytest.raises(AnonbenchError, match=r"attack\.own\.split: 'test' of ucf101 is attacked"):
            parse(own)
    own["attack"]["own"]["split"] = "train"
    with pytest.raises(AnonbenchError, match=r"attack\.own\.split: 'train' of small may hold what is of ucf101 attack"):
        parse(own)
    own["datasets"]["small"]["options"] = {"shorter_side": 112}
    own["datasets"]["ucf101"]["options"] = {}
    parse(own)


@pytest.mark.parametrize(
    ("learned", "message"),
    [
        (
            {"fit_on": None, "stills_on": None},
            r"methods\.learned\.fit_on: vispr is attacked, and models are used for frame-learned-b30 of others",
        ),
        ({"fit_on": None}, r"methods\.learned\.fit_on: name the data set of the clips"),
        ({"stills_on": "ucf101"}, r"methods\.learned\.fit_on: name the data set of the clips"),
    ],
)
def test_one_fit_for_what_is_kept_and_what_is_found(learned: dict[str, Any], message: str) -> None:
    value = photographs()
    value["methods"]["learned"] |= learned
    with pytest.raises(AnonbenchError, match=message):
        parse(value)


def test_fits_of_each_data_set_are_no_matter_where_no_model_sees_them() -> None:
    value = photographs()
    value["methods"]["learned"] |= {"fit_on": None, "stills_on": None}
    value["models"]["r3d"]["variants"] = ["original", "frame-grey"]
    assert "frame-learned-b30" in parse(value).variants_of("vispr")
    value = photographs(attacks=[], datasets=None)
    value["methods"]["learned"] |= {"fit_on": None}
    value["datasets"]["hmdb51"] = {"root": "/data/hmdb51", "train": "train", "val": "test"}
    value["models"]["r3d"]["datasets"] = ["ucf101", "hmdb51"]
    parse(value)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"learned": {}}, r"variants: 'frame-learned-mine': unknown level 'mine'"),
        ({"learned": {**MINE, "fit": {"budget": 2}}}, r"methods\.learned\.fit\.budget"),
        (
            {"learned": {"fit_levels": {"mine": {"bugdet": 0.2}}}},
            r"methods\.learned\.fit_levels\.mine\.bugdet: unknown key \(did you mean 'budget'",
        ),
        (
            {"learned": {**MINE, "fit": {"budget": 0.1}}},
            r"methods\.learned\.fit\.budget: the level 'b30' has budget: 0\.3; say it of that level alone \(fit_le",
        ),
        ({"learned": {"fit_levels": {"mine": {}, "b31": {}}}}, r"fit_levels: unknown level 'b31' \(did you mean 'b30'"),
        (
            {"learned": MINE, "gan": {"fit_levels": {"mine": {}}}},
            r"methods\.gan\.fit_levels: one fit serves all levels of gan",
        ),
        ({"learned": {**MINE, "stills_on": "othr"}}, r"learned\.stills_on: unknown data set 'othr' \(did you mean"),
        (
            {"learned": MINE, "gan": {"stills_on": "other"}},
            r"methods\.gan\.stills_on: gan looks at the people of one data set alone; remove it",
        ),
        ({"learned": {**MINE, "fit": {"width": 30}}}, r"methods\.learned\.fit.*width: 30 is no multiple of 4"),
    ],
)
def test_bad_settings(methods: dict[str, Any], message: str) -> None:
    with pytest.raises(AnonbenchError, match=message):
        parse({**study(), "methods": methods})
