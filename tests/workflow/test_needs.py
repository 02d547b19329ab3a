"""What jobs ask of a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from anonbench.config import parse
from anonbench.workflow.files import Files
from anonbench.workflow.needs import CODED, CODED_BY_NETWORK, LEAST_MINUTES, MEASURED, NETWORK, UNKNOWN, Needs
from tests.workflow.conftest import PROJECT, TINY, Project
from tests.workflow.test_dag import blocks


class Wildcards(SimpleNamespace):
    """A job's wildcards, as Snakemake gives them."""

    def get(self, name: str, default: Any = None) -> Any:
        return getattr(self, name, default)


JOB = Wildcards(
    dataset="streetlife", split="train", variant="body-mask_out", model="tiny", seed="0", attack="find",
    attacker="x", tested="original",
)  # fmt: skip


@pytest.fixture
def needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Needs]:
    """Return a function that makes the needs of the tiny study with so many images."""
    monkeypatch.chdir(tmp_path)

    def make(images: int | None = None, gpus: int = 0, **changed: Any) -> Needs:
        if images is not None:
            record = Path("data/streetlife/download.json")
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text(json.dumps({"splits": {s: {"images": images} for s in ("train", "val")}}))
        study = parse({**TINY, **changed})
        return Needs(study, Files(study, PROJECT), gpus)

    return make


def test_every_rule_of_a_cluster_says_what_it_needs() -> None:
    for name, text in blocks():
        if "localrule: True" in text:
            assert "mem_mb" not in text
            continue
        assert name in MEASURED
        assert f'mem_mb=plan.needs.memory("{name}"),' in text
        assert f'runtime=plan.needs.time("{name}"),' in text


@pytest.mark.parametrize("rule", sorted(MEASURED))
def test_more_images_need_no_less_and_a_second_try_gets_twice_as_much(needs: Callable[..., Needs], rule: str) -> None:
    few, many = needs(100), needs(1_000_000)
    for ask in (Needs.memory, Needs.time):
        small, large = ask(few, rule)(JOB, attempt=1), ask(many, rule)(JOB, attempt=1)
        assert isinstance(small, int)
        assert 0 < small <= large
        assert ask(few, rule)(JOB, attempt=2) == 2 * small
        assert ask(few, rule)(JOB, attempt=3) == 4 * small
    assert Needs.time(few, rule)(JOB, attempt=1) >= LEAST_MINUTES


def test_shards_share_the_time_and_not_the_tables(needs: Callable[..., Needs]) -> None:
    one, many = needs(10_000_000, anonymize={"shards": 1}), needs(10_000_000, anonymize={"shards": 50})
    assert one.time("anonymize")(JOB, 1) > 40 * many.time("anonymize")(JOB, 1)
    assert one.memory("anonymize")(JOB, 1) == many.memory("anonymize")(JOB, 1)
    assert one.time("merge")(JOB, 1) == many.time("merge")(JOB, 1)


def test_before_the_download_a_large_split_is_planned_for(needs: Callable[..., Needs]) -> None:
    found = needs()
    assert found.images("streetlife", "train") == UNKNOWN
    before = found.memory("train")(JOB, 1)
    needs(10)
    assert found.images("streetlife", "train") == 10
    assert found.memory("train")(JOB, 1) < before


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"splits": {"train": {}}}', '{"splits": {"train": {"images": "x"}}}']
)
def test_a_strange_record_stops_no_planning(needs: Callable[..., Needs], text: str) -> None:
    found = needs(10)
    Path("data/streetlife/download.json").write_text(text)
    assert found.images("streetlife", "train") == UNKNOWN


def test_a_gpu_takes_memory_of_its_machine(needs: Callable[..., Needs]) -> None:
    without, with_gpu = needs(10), needs(10, gpus=1)
    assert with_gpu.memory("train")(JOB, 1) > without.memory("train")(JOB, 1) + 5000
    assert with_gpu.memory("merge")(JOB, 1) == without.memory("merge")(JOB, 1)
    assert with_gpu.memory("anonymize")(JOB, 1) == without.memory("anonymize")(JOB, 1)


@pytest.mark.parametrize(
    ("variant", "need"),
    [
        ("body-mask_out", MEASURED["anonymize"]), ("frame-avif-q40", CODED), ("frame-jpeg-q40", CODED),
        ("frame-roi_codec", CODED_BY_NETWORK), ("frame-learned-b30", NETWORK), ("body-gan", NETWORK),
        ("original", MEASURED["anonymize"]),
    ],
)  # fmt: skip
def test_what_codecs_and_networks_take_is_planned_for(
    needs: Callable[..., Needs], variant: str, need: tuple[float, ...]
) -> None:
    assert needs(10)._method(variant) == need


def test_a_codec_is_given_the_time_that_avif_takes(needs: Callable[..., Needs]) -> None:
    """330 s for a thousand frames, after a search in 256 of them that every shard repeats."""
    job = Wildcards(**{**vars(JOB), "variant": "frame-avif-q40"})
    for images, shards, least in ((1000, 1, 330 + 85), (64_000, 64, 330 + 85), (1, 1, 85)):
        assert 60 * needs(images, anonymize={"shards": shards}).time("anonymize")(job, 1) >= 1.5 * least


def test_a_longer_training_gets_more_time(needs: Callable[..., Needs]) -> None:
    longer = {**TINY["models"]["tiny"], "iterations": 100_000}
    assert needs(10, models={"tiny": longer}).time("train")(JOB, 1) > 50 * needs(10).time("train")(JOB, 1)


@pytest.mark.parametrize("given", [["--profile", "site"], ["--profile=site"], []])
def test_a_profile_is_not_limited_by_the_default_one(project: Project, given: list[str]) -> None:
    """Snakemake lays profiles/default over the profile that --profile names."""
    (project.folder / "site").mkdir()
    (project.folder / "site" / "profile.yaml").write_text(yaml.safe_dump({"cores": 3, "resources": {"gpu": 16}}))
    said = project.command("snakemake", *given, "results/study.json", "--configfile", "config/tiny.yaml").stdout
    assert ("Provided cores: 3" in said) == bool(given)
    assert ('"gpu", 16' in said) == bool(given)
    assert ('"gpu", 1)' in said) != bool(given)


@pytest.mark.parametrize("name", ["slurm", "generic", "kubernetes"])
def test_the_profiles_for_clusters_name_rules_that_there_are(name: str) -> None:
    profile = yaml.safe_load((PROJECT / "profiles" / name / "profile.yaml").read_text())
    rules = {rule for rule, _ in blocks()}
    assert set(profile.get("groups", {})) <= rules
    assert set(profile.get("group-components", {})) <= set(profile.get("groups", {}).values())
    if "groups" in profile:
        assert {rule for rule in rules if rule.startswith("report_")} <= {
            rule for rule, group in profile["groups"].items() if group == "report"
        }, "the whole report is submitted together"
    assert profile["retries"] == 2
