"""DVC around the workflow: a fresh clone, offline, reproduces the certificate; then nothing is left to do."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import PROJECT
from tests.conftest import git as project_git
from tests.workflow.conftest import TINY, TINY_MODEL, Project

FILES = (
    ".dvc/config", ".dvc/.gitignore", ".dvc/plots/intervals.json", ".dvc/plots/by_variant.json",
    ".dvcignore", ".gitignore", "dvc.yaml", "data.dvc", "requirements.lock",
)  # fmt: skip


STUDY: dict[str, Any] = {
    **TINY,
    "datasets": {
        "streetlife": {"options": {"train": 4, "val": 3, "gallery": 8, "probe": 8, "gallery_identities": 8}},
        "attacker": {"adapter": "streetlife", "options": {"train": 4, "val": 1, "seed": 7}},
    },
    "variants": ["original", "body-mask_out"],
    "models": {"tiny": {**TINY_MODEL, "datasets": ["streetlife"]}},
    "attack": {
        "attacks": ["coverage", "reidentify"],
        "own": {"dataset": "attacker"},
        "probe": "probe",
        "gallery": "gallery",
        "sizes": [3],
        "attackers": {
            "body": {"knowledge": "aware", "width": 16, "height": 32, "iterations": 2, "batch_size": 8},
            "body-naive": {"knowledge": "naive", "width": 16, "height": 32, "iterations": 2, "batch_size": 8},
        },
    },
}
"""The default study, tiny, of two variants."""


def done(project: Project, *words: str) -> str:
    """Run a command that must succeed; return what it printed."""
    process = project.command(*words)
    assert process.returncode == 0, process.stdout
    return process.stdout


def git(project: Project, *words: str) -> str:
    """Run git with an author of its own."""
    return done(project, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", *words)


@pytest.fixture
def repository(project: Project, committed: Path) -> Project:
    """Return the project as a git repository whose default study is the tiny one, of two variants."""
    project.study("default", STUDY)
    for name in FILES:
        (project.folder / name).parent.mkdir(exist_ok=True)
        (project.folder / name).write_bytes((committed / name).read_bytes())
    git(project, "init", "-q", "-b", "main")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "start")
    return project


@pytest.mark.slow
def test_a_clone_reproduces_the_certificate(repository: Project, tmp_path: Path) -> None:
    done(repository, "snakemake", "--cores", "2", "data")
    done(repository, "dvc", "commit", "-f", "data.dvc")
    done(repository, "dvc", "repro")
    assert "up to date" in done(repository, "dvc", "status")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "certify")

    clone = Project.__new__(Project)
    clone.folder, clone.server = tmp_path / "clone", 1
    subprocess.run(["git", "clone", "-q", str(repository.folder), str(clone.folder)], check=True)
    done(clone, "dvc", "pull")
    done(clone, "dvc", "repro")
    assert "up to date" in done(clone, "dvc", "status")
    assert git(clone, "status", "--porcelain", "--", "dvc.lock", "data.dvc", "results/tables", "results/figures") == ""
    again = done(clone, "dvc", "repro")
    assert "Running stage" not in again
    assert "streetlife" in done(clone, "dvc", "metrics", "show")
    done(clone, "dvc", "plots", "show")
    assert not (clone.folder / "anonymized" / ".gitignore").exists()


def dvc_md5(path: Path) -> str:
    """Return the md5 that DVC gives a file, or a folder: that of the JSON list of its files' md5 and relative paths."""
    if path.is_file():
        return hashlib.md5(path.read_bytes()).hexdigest()
    files = {file.relative_to(path).as_posix(): dvc_md5(file) for file in path.rglob("*") if file.is_file()}
    listed = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return hashlib.md5(json.dumps(listed).encode()).hexdigest() + ".dir"


def certificate(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the md5 by path of dvc.lock's dependencies and outputs; they are the paths that dvc.yaml names."""
    stage = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]["study"]
    lock = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]["study"]
    deps, outs = ({entry["path"]: entry["md5"] for entry in lock[kind]} for kind in ("deps", "outs"))
    assert sorted(outs) == sorted(name if isinstance(name, str) else next(iter(name)) for name in stage["outs"])
    assert sorted(deps) == sorted(stage["deps"])
    assert lock["cmd"] == stage["cmd"]
    return deps, outs


def test_the_committed_certificate_is_that_of_the_committed_results(committed: Path) -> None:
    _, outs = certificate(committed)
    in_git = {path: md5 for path, md5 in outs.items() if (committed / path).exists()}
    assert set(in_git) == {"results/tables", "results/figures"}
    assert {path: dvc_md5(committed / path) for path in in_git} == in_git


def test_the_certificate_was_made_by_the_sources_that_it_was_committed_with(committed: Path, tmp_path: Path) -> None:
    """Sources may change before the study is certified anew, so they are those of the commit that wrote dvc.lock."""
    if project_git("rev-parse", "--is-shallow-repository").strip() == "true":
        pytest.skip("a shallow clone does not know which commit wrote dvc.lock")
    folder = committed
    if not project_git("diff", "--cached", "--name-only", "--", "dvc.lock"):
        commit = project_git("log", "-1", "--format=%H", "--", "dvc.lock").strip()
        command = ["git", "archive", "--format=tar", commit]
        with tarfile.open(fileobj=io.BytesIO(subprocess.check_output(command, cwd=PROJECT))) as archive:
            archive.extractall(tmp_path)  # our own archive; Python 3.11.2 has no filters
        folder = tmp_path
    deps, _ = certificate(folder)
    assert {path: dvc_md5(folder / path) for path in deps} == deps
