"""Codecs through the whole workflow: rates of what is tested on, one model that is in use, rates on the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from anonbench import images, manifests
from tests.workflow.conftest import TINY, TINY_MODEL, Project

pytestmark = pytest.mark.slow

VARIANTS = [
    "frame-identity", "frame-jpeg-r1", "frame-jpeg-faceblur1", "frame-avif-q40", "frame-roi_codec-s1",
    "frame-roi_codec-r1",
]  # fmt: skip
FIT = {
    "channels": 4, "hidden": 0, "size": [64, 64], "batch_size": 2, "iterations": 4, "steps": [0.25, 1.0, 4.0],
    "restorer_channels": 4, "checkpoint_every": 4, "choose_every": 2, "held_out": 0.3,
}  # fmt: skip
"""A learned codec of a second."""
STUDY: dict[str, Any] = {
    **TINY,
    "name": "coded",
    "datasets": {"streetlife": {"options": {"train": 4, "val": 12}}},
    "variants": ["original", *VARIANTS],
    "methods": {
        "jpeg": {"levels": {"r1": {"bpp": 0.9}, "faceblur1": {"bpp": 0.9, "after": "face-blur-high"}}},
        "roi_codec": {"fit": FIT, "levels": {"s1": {"step": 1}, "r1": {"bpp": 1.3}}},
    },
    "models": {"tiny": {**TINY_MODEL, "tasks": ["detection"], "trained_on": "original"}},
    "evaluate": {"on": ["original", "deployed"]},
    "report": {**TINY["report"], "sheet": ["frame-jpeg-r1", "frame-jpeg-faceblur1"]},
}


@pytest.fixture(scope="module", name="coded")
def _coded(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project in which a study of codecs was done."""
    project = Project(tmp_path_factory.mktemp("coded") / "project")
    project.study("coded", STUDY)
    jobs = project.jobs(config="coded")
    assert jobs["train"] == 1, "one model for all variants"
    assert jobs["evaluate"] == 1 + len(VARIANTS)
    assert jobs["fit"] == 1, "one codec for both of its levels"
    assert jobs["anonymize"] == 2 * (2 + len(VARIANTS)), "two shards: both splits of the original, of others what tests"
    done = project.snakemake(config="coded")
    assert done.returncode == 0, done.stdout
    return project


def test_the_rate_is_that_of_the_images_that_are_tested_on(coded: Project) -> None:
    root = coded.folder / "anonymized" / "streetlife"
    for variant in ("frame-jpeg-r1", "frame-jpeg-faceblur1"):
        said = manifests.summary_of(root / variant, "val")
        assert said["facts_mean"]["bpp"] == {"count": 12, "mean": pytest.approx(0.9, rel=0.02)}
        assert said["tuned"]["images"] == 12
    files = manifests.files_under(root / "frame-jpeg-r1" / "val")
    pixels = {
        name: [
            images.read_rgb(root / variant / "val" / name).astype(int)
            for variant in ("frame-jpeg-r1", "frame-jpeg-faceblur1")
        ]
        for name in files
    }
    assert any(np.abs(one - other).max() > 60 for one, other in pixels.values()), "faces are blurred before"
    alone, after = (manifests.summary_of(root / v, "val") for v in ("frame-jpeg-r1", "frame-jpeg-faceblur1"))
    assert alone["share_changed"] == 0
    assert alone["people"]["weak"] == alone["people"]["total"]
    assert 0 < after["share_changed"] < 1, "whose face is not to be seen was not blurred"


def test_tables_figure_and_page_tell_of_it(coded: Project) -> None:
    results = coded.folder / "results"
    rates = pd.read_csv(results / "tables" / "rates.csv").set_index("variant")
    assert list(rates.index) == VARIANTS[1:]
    learned = rates.loc["frame-roi_codec-s1"]
    assert (learned.weak, learned.curve) == (rates.loc["frame-jpeg-r1"].weak, "roi_codec")
    assert 0 < learned.share_picture < 1
    assert learned.psnr > 5
    assert set(rates.split) == {"val"}
    assert rates.loc["frame-roi_codec-r1", "bpp"] == pytest.approx(1.3, rel=0.02)
    for table in ("coverage.csv", "people.csv"):
        assert set(pd.read_csv(results / "tables" / table).split) == {"val"}, "nobody trains on a variant"
    assert rates.loc["frame-jpeg-r1", "bpp"] == pytest.approx(0.9, rel=0.02)
    assert (rates.psnr.drop(["frame-roi_codec-s1", "frame-roi_codec-r1"]) > 20).all()
    impact = pd.read_csv(results / "tables" / "impact.csv")
    deployed = impact[(impact.direction == "deployed") & (impact.metric == "AP") & (impact.category == "person")]
    assert set(deployed.variant) == set(STUDY["variants"])
    assert set(impact[impact.direction == "original"].variant) == {"original"}
    shares = deployed.set_index("variant").share_changed
    assert (shares["frame-identity"], shares["frame-jpeg-r1"], shares["frame-avif-q40"]) == (0, 0, 0)
    assert 0 < shares["frame-jpeg-faceblur1"] < 1
    assert (results / "figures" / "rates.png").is_file()
    assert "What codecs take and leave" in (results / "report.html").read_text()
    assert "frame-avif-q40" in (results / "tables" / "rates.md").read_text()


def test_another_rate_codes_again_and_trains_nothing(coded: Project) -> None:
    levels = STUDY["methods"]["jpeg"]["levels"]
    other = {**STUDY["methods"], "jpeg": {"levels": {**levels, "r1": {"bpp": 1.1}}}}
    coded.study("other", {**STUDY, "name": "coded", "methods": other})
    jobs = coded.jobs(config="other")
    assert jobs["anonymize"] == 2
    assert jobs["predict"] == 1
    assert "train" not in jobs
    blur = {**STUDY["methods"], "blur": {"parameters": {"sigma": 30.0}}}
    coded.study("other", {**STUDY, "name": "coded", "methods": blur})
    assert coded.jobs(config="other")["anonymize"] == 2, "what comes before has changed"


def test_models_that_only_test_need_the_direction(coded: Project) -> None:
    coded.study("wrong", {**STUDY, "evaluate": {"on": ["original"]}})
    done = coded.snakemake("--dry-run", config="wrong")
    assert done.returncode != 0
    assert "models.tiny: it is trained on original images, so variants can only be used to test it" in done.stdout
    attack = {"attacks": ["find"], "detectors": {"faces": {"plugin": "centerface"}}, "variants": ["frame-jpeg-r2"]}
    coded.study("wrong", {**STUDY, "attack": attack})
    done = coded.snakemake("--dry-run", config="wrong")
    assert "attack.variants: 'frame-jpeg-r2' is not among the study's variants" in done.stdout
    coded.study("wrong", {**STUDY, "attack": {**attack, "variants": ["frame-jpeg-r1"]}})
    assert coded.jobs("attacks", config="wrong")["attack"] == 2, "the original and the one"
    coded.study("wrong", {**STUDY, "report": {"sheet": ["frame-jpeg-r2"]}})
    done = coded.snakemake("--dry-run", config="wrong")
    assert "report.sheet: 'frame-jpeg-r2' is not among the study's variants" in done.stdout
