"""A copy of the project that a test can run, edit and kill."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import warm

PROJECT = Path(__file__).parents[2]
PARTS = (
    "Snakefile",
    "workflow",
    "config",
    "envs",
    "profiles",
    "src",
    "pyproject.toml",
    "requirements.lock",
    "README.md",
)

TINY_MODEL: dict[str, Any] = {
    "tasks": ["detection", "segmentation", "pose"],
    "batch_size": 2,
    "iterations": 2,
    "warmup_iterations": 1,
    "settings": {
        "min_size": [96],
        "max_size": 128,
        "architecture": {
            "backbone": "compact",
            "compact_widths": [8, 8, 16],
            "compact_depths": [1, 1, 1],
            "strides": [8, 16],
            "proposal_levels": [8, 16],
            "pyramid_channels": 16,
            "anchor_sizes": [[16], [48]],
            "roi_levels": [8, 16],
            "box_width": 16,
            "rpn_samples": 16,
            "box_samples": 16,
            "mask_head": {"roi_size": 7, "widths": [8], "regions_per_image": 4},
            "keypoint_head": {"roi_size": 7, "widths": [8], "regions_per_image": 4},
        },
    },
}

TINY: dict[str, Any] = {
    "name": "tiny",
    "seed": 7,
    "datasets": {"streetlife": {"options": {"train": 4, "val": 3}}},
    "variants": ["original", "body-identity", "face-blur-medium", "body-mask_out"],
    "anonymize": {"shards": 2},
    "models": {"tiny": TINY_MODEL},
    "train": {"seeds": [0], "device": "cpu", "threads": 1},
    "report": {"bootstrap": 100, "people_per_sheet": 2, "vector_formats": []},
}
"""A study of seconds: four training images, two iterations."""


class Project:
    """The project's files in a folder of their own; commands use the copy's code."""

    packages: tuple[Path, ...] = ()
    """Folders that are put on the path: of packages of others."""
    server: int = 0
    """Which server of loaded libraries starts the commands (tests/warm.py); another one has another order of sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            source = PROJECT / part
            if source.is_dir():  # with what is compiled, but for the files that another process is writing
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("*.pyc.*"))
            else:
                shutil.copy2(source, folder / part)
        self.study("tiny", TINY)

    def study(self, name: str, value: dict[str, Any]) -> None:
        """Write a study as config/<name>.yaml."""
        (self.folder / "config" / f"{name}.yaml").write_text(yaml.safe_dump(value, sort_keys=False))

    def environment(self) -> dict[str, str]:
        """Return the environment of a command: the copy's package first, this interpreter's tools on the path."""
        tools = [warm.commands(self.server)] if warm.USED else []
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, [self.folder / "src", *self.packages, *_path()])),
            "PATH": os.pathsep.join(map(str, [*tools, Path(sys.executable).parent, os.environ["PATH"]])),
            "XDG_CACHE_HOME": str(self.folder / ".cache"),
        }

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy; both streams in ``stdout``."""
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )

    def snakemake(self, *words: str, config: str = "tiny") -> subprocess.CompletedProcess[str]:
        """Run Snakemake on a study with two cores."""
        return self.command("snakemake", "--cores", "2", *words, "--configfile", f"config/{config}.yaml")

    def jobs(self, *words: str, config: str = "tiny") -> dict[str, int]:
        """Return how many jobs a dry run plans for each rule."""
        done = self.snakemake("--dry-run", *words, config=config)
        assert done.returncode == 0, done.stdout
        table = re.search(r"^job +count\n[- ]+\n(.*?)\n\n", done.stdout, re.MULTILINE | re.DOTALL)
        if table is None:
            assert "Nothing to be done" in done.stdout, done.stdout
            return {}
        rows = (line.split() for line in table.group(1).splitlines())
        return {name: int(count) for name, count in rows if name != "total"}


def _path() -> list[str]:
    return [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a fresh copy of the project."""
    return Project(tmp_path / "project")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the project in which the tiny study has run; tests must leave it as they found it."""
    project = Project(tmp_path_factory.mktemp("finished") / "project")
    done = project.snakemake()
    assert done.returncode == 0, done.stdout
    return project


@pytest.fixture
def edited(finished: Project, tmp_path: Path) -> Callable[[], Project]:
    """Return a function that copies the finished project, times and records included, to be edited."""

    def copy() -> Project:
        folder = tmp_path / "edited"
        shutil.copytree(finished.folder, folder, symlinks=True)
        project = Project.__new__(Project)
        project.folder = folder
        return project

    return copy
