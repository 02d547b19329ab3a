"""The rule `fit`: which jobs there are, and what they depend on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from anonbench.config import parse
from anonbench.errors import AnonbenchError
from anonbench.workflow.plan import Plan

from ..workflow.conftest import PROJECT, TINY, Project


def study(**gan: Any) -> dict[str, Any]:
    """Return the tiny study with two generated variants and two data sets."""
    value = copy.deepcopy(TINY)
    value["variants"] = ["original", "body-gan", "face-gan", "body-mask_out"]
    other = {"adapter": "streetlife", "options": {"train": 6, "val": 2}}
    value["datasets"] = {**value["datasets"], "other": other}
    value["methods"] = {"gan": gan}
    return value


def test_one_fit_per_region_and_data_set(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.study("own", study())
    assert project.jobs("variants", config="own")["fit"] == 4
    project.study("shared", study(fit_on="other"))
    assert project.jobs("variants", config="shared")["fit"] == 2


def test_the_weights_that_a_variant_needs() -> None:
    plan = Plan(study(fit_on="other"), PROJECT)
    assert plan.study.is_fitted("body-gan")
    assert not plan.study.is_fitted("body-mask_out")
    assert not plan.study.is_fitted("original")
    assert plan.files.fit_folder("streetlife", "face-gan") == "anonymized/other/private/fits/face-gan"
    own = Plan(study(), PROJECT).files.fit_folder("streetlife", "face-gan")
    assert own == "anonymized/streetlife/private/fits/face-gan"
    assert plan.anonymize_environment("body-gan") == "train"
    assert plan.anonymize_environment("body-mask_out") == "data"
    assert plan.arguments.weights([]) == ""
    assert plan.arguments.weights(["a b"]) == "--weights 'a b' --device cpu"


def test_settings_reach_the_training() -> None:
    plan = Plan(study(fit={"body_iterations": 7}), PROJECT)
    assert '"body_iterations":7' in plan.arguments.fit_settings("gan")
    assert plan.arguments.fit_settings("gan") != Plan(study(), PROJECT).arguments.fit_settings("gan")
    assert plan.arguments.method("body-gan") == Plan(study(), PROJECT).arguments.method("body-gan")


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"gan": {"fit": {"iteration": 3}}}, r"methods\.gan\.fit\.iteration: unknown key"),
        ({"gan": {"fit_on": "othr"}}, r"methods\.gan\.fit_on: unknown data set 'othr' \(did you mean 'other'"),
        ({"blur": {"fit": {"a": 3}}}, r"methods\.blur: there is nothing to fit"),
        ({"gan": {"parameters": {"fallback": "gan"}}}, r"methods\.gan\.parameters\.fallback"),
    ],
)
def test_bad_settings(methods: dict[str, Any], message: str) -> None:
    with pytest.raises(AnonbenchError, match=message):
        parse({**study(), "methods": methods})
