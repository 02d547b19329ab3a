"""`make demo` and `make test` in either order: tests do not see what a run left, and leave nothing that a run sees."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT, WRITTEN_BY_RUNS, git

SENSITIVE = ("tests/test_readme.py", "tests/test_config.py", "tests/expected", "tests/workflow/test_dvc.py")
"""Tests of what is committed. Any test whose own process opens what a run writes fails at once (tests/conftest.py)."""
CACHES = {"__pycache__", ".git", ".hypothesis", ".pytest_cache", ".snakemake"}


@pytest.fixture
def clone(committed: Path, tmp_path: Path) -> Path:
    """Return a clone with this working tree's edits, its results as they are committed or staged."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(folder)], check=True)
    for path in folder.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(committed, folder, symlinks=True, dirs_exist_ok=True)
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    for name in git("ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")[:-1]:
        if name.partition("/")[0] in WRITTEN_BY_RUNS:
            continue
        (folder / name).unlink(missing_ok=True)
        if (PROJECT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name, follow_symlinks=False)
    return folder


def leave(folder: Path) -> None:
    """Change and make files as a demo on another machine does: other numbers and hashes, and what git ignores."""
    for path in [folder / "dvc.lock", folder / "data.dvc", *(folder / "results").rglob("*.*")]:
        if path.suffix in (".png", ".pdf"):
            path.write_bytes(path.read_bytes() + b"\n")
        else:
            path.write_text(re.sub(r"\d(?=\d*\.?\d)", lambda digit: str(9 - int(digit[0])), path.read_text()))
    for name in (
        "results/study.json", "data/streetlife/download.json", "annotations/streetlife/train.json",
        "anonymized/streetlife/private/original/manifests/train.json", "models/streetlife/original/m/seed0/train.json",
        "evaluations/streetlife/original/m/seed0/metrics.json", "logs/report/html.log", "scratch/a", "runs/a/b",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


def files(folder: Path) -> dict[str, tuple[int, str]]:
    """Return when every file was written and what it holds, but for caches."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file() and not CACHES.intersection(path.relative_to(folder).parts)
    }


def test_the_readmes_two_commands_pass_in_either_order(clone: Path) -> None:
    leave(clone)
    before = files(clone)
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *SENSITIVE]
    environment = {**os.environ, "PYTHONPATH": str(clone / "src")}
    for name in [name for name in environment if name.startswith("PYTEST")]:
        del environment[name]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
    assert files(clone) == before
