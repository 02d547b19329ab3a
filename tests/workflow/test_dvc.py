"""DVC around the workflow: a fresh clone, offline, reproduces the certificate; then nothing is left to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import PROJECT, TINY, Project

pytestmark = pytest.mark.slow

FILES = (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "dvc.yaml", "data.dvc", "requirements.lock")


def done(project: Project, *words: str) -> str:
    """Run a command that must succeed; return what it printed."""
    process = project.command(*words)
    assert process.returncode == 0, process.stdout
    return process.stdout


def git(project: Project, *words: str) -> str:
    """Run git with an author of its own."""
    return done(project, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", *words)


@pytest.fixture
def repository(project: Project) -> Project:
    """Return the project as a git repository whose default study is the tiny one."""
    project.study("default", TINY)
    for name in FILES:
        (project.folder / name).parent.mkdir(exist_ok=True)
        (project.folder / name).write_bytes((PROJECT / name).read_bytes())
    git(project, "init", "-q", "-b", "main")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "start")
    return project


def test_a_clone_reproduces_the_certificate(repository: Project, tmp_path: Path) -> None:
    done(repository, "snakemake", "--cores", "2", "data")
    done(repository, "dvc", "commit", "-f", "data.dvc")
    done(repository, "dvc", "repro")
    assert "up to date" in done(repository, "dvc", "status")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "certify")

    clone = Project.__new__(Project)
    clone.folder = tmp_path / "clone"
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


def test_the_committed_certificate_belongs_to_the_committed_files() -> None:
    stage = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]["study"]
    lock = yaml.safe_load((PROJECT / "dvc.lock").read_text())["stages"]["study"]
    names = [name if isinstance(name, str) else next(iter(name)) for name in stage["outs"]]
    assert sorted(out["path"] for out in lock["outs"]) == sorted(names)
    assert sorted(dep["path"] for dep in lock["deps"]) == sorted(stage["deps"])
