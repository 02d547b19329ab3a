"""What docs/storage.md says to type: a remote that another clone pulls from, and a cache that clones share.

The commands are the page's and the DVC files are the project's; the workflow is one rule that writes small files.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import PROJECT
from tests.workflow.test_dvc import FILES

SNAKEFILE = """
rule all:
    input: {results!r}
rule data:
    output: {data!r}
    run:
        raise SystemExit("nothing is made again")
rule study:
    input: {data!r}
    output: {results!r}
    run:
        raise SystemExit("nothing is made again")
"""
PRIVATE = {"data", "anonymized", "models", "evaluations", "attackers", "attacks"}
PAGE = (PROJECT / "docs" / "storage.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


class Clone:
    """A git repository in which commands of the page are run."""

    def __init__(self, folder: Path, lab: Path) -> None:
        self.folder, self.lab = folder, lab

    def __call__(self, commands: str) -> str:
        """Run a block of commands, each of which must succeed; return what they print."""
        author = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", commands.replace("/mnt/lab", str(self.lab))], cwd=self.folder, text=True, check=False,
            env={**os.environ, **author, "PATH": path, "XDG_CACHE_HOME": str(self.lab / ".cache")},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def files(self) -> dict[str, bytes]:
        """Return what every file of the folders that are kept private holds."""
        found = (path for folder in sorted(PRIVATE) for path in (self.folder / folder).rglob("*"))
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in found
            if path.is_file() and path.name != ".gitignore"
        }


@pytest.fixture
def repository(tmp_path: Path, committed: Path) -> Clone:
    """Return a repository whose study has run and is certified, with nothing in the cache."""
    folder = tmp_path / "first"
    stage = yaml.safe_load((committed / "dvc.yaml").read_text())["stages"]["study"]
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((committed / name).read_bytes())
    raw = [f"{out['path']}/0.txt" for out in yaml.safe_load((folder / "data.dvc").read_text())["outs"]]
    names = [out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]]
    results = [name if Path(name).suffix else f"{name}/0.txt" for name in names if not name.startswith("data/")]
    data = [name for name in names if name.startswith("data/")]
    deps = [name if Path(name).suffix or name == "Snakefile" else f"{name}/0.txt" for name in stage["deps"]]
    for name in (*deps, *data, *raw, *results):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name}\n")
    (folder / "Snakefile").write_text(SNAKEFILE.format(data=[*data, *raw], results=results))
    (folder / "profiles" / "default" / "profile.yaml").write_text("cores: all\n")
    one = Clone(folder, tmp_path / "lab")
    one("git init -q -b main && dvc commit -q -f && git add -A && git commit -q -m certify")
    return one


@pytest.mark.slow
def test_the_pages_commands_share_a_study(repository: Clone, tmp_path: Path) -> None:
    share, receive, cache = BLOCKS
    made = repository.files()
    assert {name.partition("/")[0] for name in made} == PRIVATE
    said = repository(share)
    assert said.count("Nothing to be done") == 2, "DVC starts Snakemake, twice, which has nothing to do"
    assert re.search(r"\d+ files? pushed", said)
    assert repository("git status --porcelain") == ""

    other = Clone(tmp_path / "other", tmp_path / "lab")
    repository(f"git clone -q . {other.folder}")
    assert other.files() == {}
    said = other(receive)
    assert other.files() == made
    assert "Nothing to be done" in said
    assert "up to date" in other("dvc status")

    third = Clone(tmp_path / "third", tmp_path / "lab")
    repository(f"git clone -q . {third.folder}")
    third(re.findall(r"`(dvc pull \w[^`]+)`", PAGE)[0])
    assert {name.partition("/")[0] for name in third.files()} == {"models", "evaluations"}
    third(cache)
    assert third.files() == made
    there = {path.read_bytes() for path in (tmp_path / "lab" / "dvc-cache").rglob("*") if path.is_file()}
    assert {*made.values()} <= there, "the cache that clones share is not filled"
