"""The configuration: shipped files are valid and current, and mistakes are named."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from anonbench import commands_page, config, config_pages
from anonbench.errors import AnonbenchError
from anonbench.studies import DEFAULT

PROJECT = Path(__file__).parents[1]
CONFIGS = sorted((PROJECT / "config").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_shipped_configurations_are_valid(path: Path) -> None:
    study = config.load(path)
    assert "original" in study.variants


def test_default_file_says_what_the_default_study_is() -> None:
    assert config.load(PROJECT / "config" / "default.yaml") == config.parse(DEFAULT)


@pytest.mark.parametrize("name", sorted(config_pages.generated()))
def test_generated_files_are_current(name: str) -> None:
    assert (PROJECT / name).read_text() == config_pages.generated()[name], "run: anonbench config --write"


def test_texts_of_generated_tables_stay_in_their_cell() -> None:
    assert commands_page.cell("<root>/x or a|b, `<root>/x`") == r"&lt;root>/x or a\|b, `<root>/x`"


def _changed(path: str, value: Any) -> dict[str, Any]:
    study = copy.deepcopy(DEFAULT)
    *parents, last = path.split("/")
    block = study
    for parent in parents:
        block = block.setdefault(parent, {})
    block[last] = value
    return study


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("seeds", [1], r"seeds: unknown key \(did you mean 'seed'\?\)"),
        ("datasets/private", {}, r"datasets: 'private' is reserved for what must not be handed out"),
        ("anonymize/encodr", "source", r"anonymize.encodr: unknown key \(did you mean 'encoder'\?\)"),
        ("anonymize/encoder", "best", r"anonymize.encoder: .*\"best\""),
        ("anonymize/encoder", "quality-0", r"anonymize.encoder: .*\"quality-0\""),
        ("methods/blur", {"encoder": "quality-101"}, r"methods.blur.encoder: .*\"quality-101\""),
        ("datasets/streetlife/rot", "x", r"datasets.streetlife.rot: unknown key \(did you mean 'root'\?\)"),
        ("datasets/streetlife/options/widht", 9, r"datasets.streetlife.options.widht"),
        ("datasets/streetlif", {}, r"unknown data set 'streetlif' \(did you mean 'streetlife'\?\)"),
        ("datasets/streetlife/val", "train", r"train and val are the same split"),
        ("regions/face/sources", ["dreams"], r"regions.face.sources"),
        ("variants", ["original", "face-blurr-medium"], r"unknown method 'blurr' \(did you mean 'blur'\?\)"),
        ("variants", ["original", "faces-blur-medium"], r"unknown region 'faces' \(did you mean 'face'\?\)"),
        ("variants", ["original", "face-blur-mediun"], r"unknown level 'mediun' \(did you mean 'medium'\?\)"),
        ("variants", ["original", "face-blur"], r"needs a level"),
        ("variants", ["original", "frame-gan"], r"gan does not work on the region 'frame' \(it works on: body, face\)"),
        ("variants", ["original", "face-downsample-2x"], r"downsample does not work on the region 'face'"),
        (
            "methods/gan",
            {"parameters": {"fallback": "downsample"}},
            r"-gan': its fallback downsample does not work on the region 'face' \(it works on: frame\)",
        ),
        ("variants", ["original", "frame-downsample"], r"needs a level \(known: 2x, 4x\)"),
        ("variants", ["original", "scene-blur-low"], r"unknown region 'scene'"),
        ("variants", ["original", "face-mask_out-medium"], r"unknown level 'medium'"),
        ("variants", ["face-blur-medium"], r"'original' is missing"),
        ("variants", ["original", "original"], "variants: duplicate variant"),
        ("methods/blur", {"levels": {"medium": {"sigmaa": 3}}}, r"methods.blur.*sigmaa"),
        ("methods/blur", {"levels": {"medum": {"sigma": 3}}}, r"unknown level 'medum' \(did you mean 'medium'\?\)"),
        ("methods/pixelate", {"parameters": {"face_cels": 3}}, r"pixelate.*face_cels.*did you mean 'face_cells'"),
        ("methods/blur", {"levels": {"very_low": {"sigma": 3}}}, r"methods.blur.levels"),
        ("datasets/streetlife/options/trian", 9, r"trian: unknown key \(did you mean 'train'\?\)"),
        ("datasets/streetlife/val", "test-dev", r"datasets.streetlife.val"),
        ("methods/blurr", {}, r"unknown method 'blurr' \(did you mean 'blur'\?\)"),
        ("train/seeds", [1, 1], "train.seeds: duplicate seed"),
        ("train/original_seeds", [7, 7], "train.original_seeds: duplicate seed"),
        ("train/original_seeds", [3, 9], "original_seeds: 3 is among seeds"),
        ("train", {"seeds": [1], "original_seeds": [7]}, "original_seeds: with one seed nothing is said"),
        ("models/My Model", {"epochs": 1}, r"'My Model' is not a valid name"),
        ("models/compact\n", {"epochs": 1}, r"'compact.n' is not a valid name"),
        ("report/margin", float("inf"), r"report.margin: Input should be a finite number \(got Infinity\)"),
        ("methods/blur", {"parameters": {"sigma": float("nan")}}, r"methods.blur.*sigma: Input should be a finite"),
        ("models/x", {"epochs": 1, "trainer": "torchvison"}, r"did you mean 'torchvision'"),
        ("report/bootstrap", 3, r"report.bootstrap: .*100"),
    ],
)
def test_mistakes_are_named(path: str, value: Any, said: str) -> None:
    with pytest.raises(AnonbenchError, match=said) as error:
        config.parse(_changed(path, value), file="study.yaml")
    assert str(error.value).startswith("study.yaml: ")
    assert "\n" not in str(error.value)


def test_parameters_say_which_regions_a_method_works_on() -> None:
    files = {"checkout": "deep_privacy2", "weights": "fdf128.ckpt"}
    study = _changed("methods/deepprivacy2", {"parameters": {"model": "fdf128", **files}})
    config.parse({**study, "variants": ["original", "face-deepprivacy2"]})
    with pytest.raises(AnonbenchError, match=r"does not work on the region 'body' \(it works on: face\)"):
        config.parse({**study, "variants": ["original", "body-deepprivacy2"]})


def test_frames_are_a_region_and_a_study_adds_levels() -> None:
    study = config.parse(
        {
            **_changed("methods/downsample", {"levels": {"8x": {"factor": 8}}}),
            "variants": ["original", "frame-identity", "frame-blur-low", "frame-downsample-4x", "frame-downsample-8x"],
        }
    )
    assert [study.parameters(v).get("factor") for v in study.variants[-2:]] == [4, 8]


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match="no such configuration file"):
        config.load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(AnonbenchError, match=r"bad.yaml: is not valid YAML"):
        config.load(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(AnonbenchError, match=r"list.yaml: is not a YAML mapping"):
        config.load(tmp_path / "list.yaml")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'name: "caf\xe9"\n', "is not UTF-8"),
        (b"name: " + b"[" * 5000, "nested too deeply"),
        (b"name: 2020-99-99\n", "is not valid YAML"),
        (b"seed: " + b"1" * 5000, "is not valid YAML"),
    ],
)
def test_files_that_yaml_stumbles_over_are_named(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "bad.yaml").write_bytes(data)
    with pytest.raises(AnonbenchError, match=rf"bad.yaml: .*{said}") as error:
        config.load(tmp_path / "bad.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("level", ["fit0", "fit01", "fit2d"])
def test_no_level_is_called_as_a_further_fit(level: str) -> None:
    """Rules tell a level from a fit by its name: `fit01` was taken for a fit of no level, silently."""
    levels = {level: {"sigma": 3.0, "kernel": 11}}
    for study in (
        {**DEFAULT, "variants": ["original", f"frame-blur-{level}"]},
        {**DEFAULT, "methods": {"blur": {"levels": levels}}},
    ):
        with pytest.raises(AnonbenchError, match=level):
            config.parse(study)


def test_a_step_that_a_codec_is_not_fitted_for_is_refused_before_the_fit() -> None:
    study = {**DEFAULT, "variants": ["original", "frame-roi_codec-fine"]}
    assert config.parse({**study, "methods": {"roi_codec": {"levels": {"fine": {"step": 1.5}}}}})
    with pytest.raises(AnonbenchError, match=r"frame-roi_codec-fine.*0\.5"):
        config.parse({**study, "methods": {"roi_codec": {"levels": {"fine": {"step": 0.5}}}}})


def test_levels_of_the_study_reach_the_method() -> None:
    study = config.parse(_changed("methods/blur", {"levels": {"medium": {"sigma": 3.25}}}))
    assert study.parameters("face-blur-medium")["sigma"] == 3.25
    assert study.parameters("original") == {}


def test_parameters_hold_at_every_level_and_a_level_beats_them() -> None:
    both = {"parameters": {"sigma": 3.0, "kernel": 5}, "levels": {"medium": {"sigma": 4.0}}}
    study = config.parse(
        {**_changed("methods/blur", both), "variants": ["original", "face-blur-medium", "face-blur-low"]}
    )
    assert study.parameters("face-blur-medium") == {"sigma": 4.0, "kernel": 5}
    assert study.parameters("face-blur-low") == {"sigma": 3.0, "kernel": 5}
