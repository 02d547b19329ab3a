"""The whole study on a few images: it runs, it repeats, and it reruns just what a change touches."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.conftest import TINY, Project

pytestmark = pytest.mark.slow

CERTIFIED = ("data", "annotations", "anonymized", "models", "evaluations", "results/tables", "results/figures")
"""Folders whose every byte must repeat; logs, seconds and the page's provenance are elsewhere."""


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file under the certified folders."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in CERTIFIED
        for path in sorted((folder / name).rglob("*"))
        if path.is_file()
    }


def test_the_answer_is_there(finished: Project) -> None:
    table = pd.read_csv(finished.folder / "results" / "tables" / "impact.csv")
    assert set(table["variant"]) == set(TINY["variants"])
    assert {"detection", "segmentation", "pose"} == set(table["task"])
    columns = {
        "dataset", "task", "category", "variant", "region", "method", "level", "metric", "value", "value_std",
        "n_seeds", "difference", "share_changed",
    }  # fmt: skip
    assert columns <= set(table.columns)
    page = (finished.folder / "results" / "report.html").read_text()
    assert "streetlife" in page
    for name in ("impact", "curves", "sheet-streetlife"):
        assert (finished.folder / "results" / "figures" / f"{name}.png").stat().st_size > 1000


def test_a_second_run_does_nothing(finished: Project) -> None:
    assert finished.jobs() == {}


def test_everyone_is_accounted_for(finished: Project) -> None:
    truth = json.loads((finished.folder / "annotations" / "streetlife" / "train.json").read_text())
    people = {c["id"] for c in truth["categories"] if c["supercategory"] == "person"}
    expected = sorted(a["id"] for a in truth["annotations"] if a["category_id"] in people)
    for variant in TINY["variants"][1:]:
        folder = finished.folder / "anonymized" / "streetlife" / "private" / variant / "manifests" / "train"
        rows = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
        assert sorted(row["person_id"] for row in rows if row["type"] == "person") == expected


def test_a_third_party_reader_opens_a_variant(finished: Project) -> None:
    from torchvision.datasets import CocoDetection

    variant = finished.folder / "anonymized" / "streetlife" / "body-mask_out"
    data = CocoDetection(str(variant / "train"), str(variant / "annotations" / "train.json"))
    image, target = data[0]
    assert image.size == (256, 192)
    assert target


def test_a_changed_parameter_reruns_one_branch(edited: Callable[[], Project]) -> None:
    project = edited()
    project.study("tiny", {**TINY, "methods": {"blur": {"levels": {"medium": {"sigma": 5.0}}}}})
    jobs = project.jobs()
    assert jobs["anonymize"] == 2
    assert (jobs["merge"], jobs["train"], jobs["predict"], jobs["evaluate"]) == (1, 1, 1, 1)
    assert "annotate" not in jobs
    assert "download" not in jobs


@pytest.mark.parametrize(
    ("module", "runs", "stays"),
    [
        ("report/figures/categories.py", {"report_figures"}, {"train", "evaluate", "report_tables"}),
        ("report/html.py", {"report_html"}, {"train", "evaluate", "report_tables", "report_figures"}),
        ("anonymize/methods/blur.py", {"anonymize", "train"}, {"annotate", "download"}),
        ("train/loop.py", {"train", "evaluate"}, {"anonymize", "merge"}),
        ("workflow/failures.py", set(), {"train", "anonymize", "report_html"}),
    ],
)
def test_edited_code_reruns_what_uses_it(
    edited: Callable[[], Project], module: str, runs: set[str], stays: set[str]
) -> None:
    project = edited()
    path = project.folder / "src" / "anonbench" / module
    text = path.read_text()
    path.write_text(text + "\n# another comment\n")
    assert not {*runs, *stays} & set(project.jobs()), "a comment reruns nothing"
    path.write_text(text + "\nedited = True\n")
    jobs = project.jobs()
    assert runs <= set(jobs)
    assert not stays & set(jobs)
    if module.endswith("blur.py"):
        assert jobs["train"] == 1


def test_another_seed_trains_only_that_seed(edited: Callable[[], Project]) -> None:
    project = edited()
    project.study("tiny", {**TINY, "train": {**TINY["train"], "seeds": [0, 1]}})
    jobs = project.jobs()
    assert jobs["train"] == len(TINY["variants"])
    assert "anonymize" not in jobs


MOMENTS = (
    "data/*/train/*",
    "anonymized/*/*/train/*",
    "models/*/*/*/*/*",
    "evaluations/*/*/*/*/*/*",
    "results/tables/*",
)
"""When a run is killed: one of these files is there, so a job of its stage is at work, or the other core's job is."""


def kill_when(project: Project, pattern: str, *words: str) -> None:
    """Start the study and kill it, with all its jobs, as soon as a file is there, whole or half-written."""
    inherited, kept = os.pipe()
    process = subprocess.Popen(
        ["snakemake", "--cores", "2", *words, "--configfile", "config/tiny.yaml"],
        cwd=project.folder,
        env=project.environment(),
        stdin=inherited,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(inherited)
    while not any(project.folder.glob(pattern)):
        assert process.poll() is None, f"the run ended without {pattern}"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    alive = select.poll()
    alive.register(kept, 0)
    alive.poll()  # until no job has the run's standard input any more
    os.close(kept)


def test_killed_and_run_again_ends_with_the_same_hashes(finished: Project, project: Project) -> None:
    project.server = 1
    kill_when(project, MOMENTS[0])
    assert project.snakemake("--unlock").returncode == 0
    for pattern in MOMENTS[1:]:
        kill_when(project, pattern, "--nolock")
    assert not (project.folder / "results" / "report.html").exists()
    done = project.snakemake("--nolock")
    assert done.returncode == 0, done.stdout
    assert digests(project.folder) == digests(finished.folder)


def test_a_failing_job_shows_the_end_of_its_log(project: Project) -> None:
    done = project.snakemake("data")
    assert done.returncode == 0, done.stdout
    labels = project.folder / "data" / "streetlife" / "annotations" / "train.json"
    labels.write_text(labels.read_text()[:-100])
    done = project.snakemake("variants")
    assert done.returncode != 0
    assert "train.json: is not valid JSON" in done.stdout
    assert "--- logs/annotate/streetlife/train.log" in done.stdout


def test_snakemake_report_has_the_captions(finished: Project) -> None:
    done = finished.snakemake("--report", "report-test.zip")
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(finished.folder / "report-test.zip") as archive:
        contents = {Path(name).name: archive.read(name) for name in archive.namelist()}
        pages = [archive.read(name) for name in archive.namelist() if name.endswith("report.html")]  # Snakemake's, too
    for name in ("impact.csv", "impact.png", "sheet-streetlife.png"):
        assert contents[name] == next((finished.folder / "results").rglob(name)).read_bytes()
    page = (finished.folder / "results" / "report.html").read_bytes()
    assert page.count(b"How to reproduce: ") > 20
    assert page.count(b"How to reproduce: ") in [other.count(b"How to reproduce: ") for other in pages]
    (finished.folder / "report-test.zip").unlink()
