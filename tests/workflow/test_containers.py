"""The two recipes for a container: the same steps, of files that are in git, and the install that they end with.

Nothing is built here: that needs Docker or Apptainer, and the package index.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.conftest import PROJECT, git

DOCKERFILE = PROJECT / "containers" / "Dockerfile"
APPTAINER = PROJECT / "containers" / "anonbench.def"
LOCK = (PROJECT / "requirements.lock").read_text()
HEADER = {"Bootstrap", "From"}
SECTIONS = {"%files", "%post", "%environment", "%runscript", "%test"}
ADDRESSES = r"\w://|--(?:extra-)?index-url|--find-links|--trusted-host|(?<!\S)-[if](?!\S)|PIP_\w+=|sources\.list"


class Recipe(NamedTuple):
    """What a container is made of: base image, files by where they go, commands in order, variables at run time."""

    base: str
    files: dict[str, str]
    commands: list[list[str]]
    variables: dict[str, str]


def uncommented(path: Path) -> str:
    return re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)


def words(commands: list[str]) -> list[list[str]]:
    return [shlex.split(command) for command in commands if command.strip()]


def docker() -> Recipe:
    """Read the Dockerfile, whose instructions are of few kinds."""
    base, folder = "", PurePosixPath("/")
    files: dict[str, str] = {}
    commands: list[str] = []
    variables: dict[str, str] = {}
    for line in uncommented(DOCKERFILE).replace("\\\n", " ").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "FROM":
            base = rest.strip()
        elif kind == "WORKDIR":
            folder = PurePosixPath(rest.strip())
        elif kind == "COPY":
            *sources, to = rest.split()
            for source in sources:
                into = folder / to / source if to.endswith("/") else folder / to
                files[into.as_posix()] = source
        elif kind == "RUN":
            commands += rest.split("&&")
        elif kind == "ENV":
            variables |= dict(word.split("=", 1) for word in shlex.split(rest))
        else:
            assert kind in ("", "CMD"), f"{kind} is read by no test"
    return Recipe(base, files, words(commands), variables)


def apptainer() -> Recipe:
    """Read the definition for Apptainer; what %post sets and where it works is not a step."""
    header, *parts = re.split(r"^(%\w+)\n", uncommented(APPTAINER), flags=re.MULTILINE)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    assert set(sections) == SECTIONS, "a section is read by no test"
    named = dict(line.split(": ", 1) for line in header.strip().splitlines())
    assert set(named) == HEADER
    assert named["Bootstrap"] == "docker"
    files = {to: source for source, to in map(str.split, sections["%files"].strip().splitlines())}
    exports = shlex.split(sections["%environment"].replace("export ", " "))
    commands = [
        line for line in sections["%post"].splitlines() if line.split()[:1] not in (["set"], ["export"], ["cd"])
    ]
    return Recipe(named["From"], files, words(commands), dict(word.split("=", 1) for word in exports))


def first(commands: list[list[str]], *start: str) -> list[str]:
    """Return the first command that begins with some words."""
    return next(command for command in commands if command[: len(start)] == [*start])


def ignored(path: str, patterns: list[str]) -> bool:
    """Return whether Docker leaves a file out: the last line of .dockerignore that names it or a folder of it wins."""
    names = [path, *(parent.as_posix() for parent in PurePosixPath(path).parents)]
    out = False
    for pattern in patterns:
        exact = re.escape(pattern.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(exact, name) for name in names):
            out = not pattern.startswith("!")
    return out


def tracked(folder: str) -> list[str]:
    """Return the files of git's index under a path."""
    return git("ls-files", "-z", "--", folder).split("\0")[:-1]


@pytest.fixture
def repository() -> None:
    if not (PROJECT / ".git").exists():
        pytest.skip("no git repository: what is in it is not known")


def test_both_are_made_of_the_same_steps() -> None:
    one, other = docker(), apptainer()
    assert one == other
    assert [" ".join(command[:2]) for command in one.commands] == [
        "apt-get update", "apt-get install", "rm -rf", "python3.11 -m", "pip install", "pip install",
        "anonbench --version",
    ]  # fmt: skip


def test_docker_has_the_files_before_it_installs() -> None:
    text = uncommented(DOCKERFILE)
    assert text.index("COPY requirements.lock") < text.index("--requirement requirements.lock")
    assert text.index("COPY src src") < text.index("--no-index .")


def test_apptainer_installs_into_the_environment_that_it_makes() -> None:
    """Its one script has to set and to enter what Docker's instructions do."""
    post = uncommented(APPTAINER).partition("%post")[2].partition("%environment")[0]
    lines = [line.strip() for line in post.splitlines() if line.strip()]
    assert lines[0] == "set -eu"
    made = next(number for number, line in enumerate(lines) if "-m venv" in line)
    pip = next(number for number, line in enumerate(lines) if line.startswith("pip "))
    assert made < lines.index("export PATH=/opt/anonbench/bin:$PATH PYTHONNOUSERSITE=1") < pip
    assert made < lines.index("cd /opt/source") < pip


@pytest.mark.usefixtures("repository")
def test_what_they_copy_is_in_git_and_reaches_docker() -> None:
    recipe = docker()
    patterns = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    for to, source in recipe.files.items():
        assert to == f"/opt/source/{source}"
        files = tracked(source)
        assert files, f"{source} is not in git"
        assert [file for file in files if ignored(file, patterns)] == []
        assert [file for file in files if not (PROJECT / file).is_file()] == []
    assert ignored("data/streetlife/train/1.jpg", patterns), "the study's data are sent to Docker"
    assert ignored("src/anonbench/__pycache__/cli.pyc", patterns)


def test_python_and_the_packages_are_those_of_the_lock() -> None:
    recipe = docker()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    version = first(recipe.commands, "python3.11")[0].removeprefix("python")
    assert version in SpecifierSet(project["requires-python"])
    assert f"--python-version {version} " in LOCK
    packages = first(recipe.commands, "apt-get", "install")
    assert {f"python{version}", f"python{version}-venv", "git", "ca-certificates"} <= {*packages}
    assert recipe.variables["PATH"].startswith(first(recipe.commands, f"python{version}")[-1] + "/bin:")
    locked = dict(re.findall(r"^([\w.-]+)(?:\[[^]]*])?==(\S+)", LOCK, re.MULTILINE))
    # hatchling builds the package, and no build looks for it elsewhere (--no-build-isolation)
    for text in (*project["dependencies"], "hatchling"):
        wanted = Requirement(text)
        assert locked[canonicalize_name(wanted.name)] in wanted.specifier
    assert [*map(len, (re.findall(r"^\S+==", LOCK, re.MULTILINE), re.findall(r"==.*\\\n    --hash=", LOCK)))] == [
        len(locked)
    ] * 2, "a package without a hash"
    with_lock, with_source = (command for command in recipe.commands if command[0] == "pip")
    assert {"--require-hashes", "--no-deps", "requirements.lock"} <= {*with_lock}
    assert {"--no-index", "--no-deps", "--no-build-isolation", "."} <= {*with_source}


@pytest.mark.parametrize("path", [DOCKERFILE, APPTAINER], ids=lambda path: path.name)
def test_no_address_of_a_registry_stands_in_them(path: Path) -> None:
    assert re.findall(ADDRESSES, uncommented(path)) == []
    assert "/" not in docker().base, "an image of some registry's"


def test_the_lock_has_no_address() -> None:
    assert re.findall(ADDRESSES, re.sub(r"^ *#.*\n", "", LOCK, flags=re.MULTILINE)) == []


@pytest.mark.slow
@pytest.mark.usefixtures("repository")
def test_the_install_needs_no_more_than_what_is_copied(tmp_path: Path) -> None:
    """In an environment of its own that sees this one's packages, but not its editable project."""
    recipe, place = docker(), tmp_path / "environment"
    for to, source in recipe.files.items():
        for file in tracked(source):
            path = tmp_path / "source" / Path(to).relative_to("/opt/source") / Path(file).relative_to(source)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / file, path)
    venv.create(place, symlinks=True)
    packages = place / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    python, (*_, install) = place / "bin" / "python", (one for one in recipe.commands if one[0] == "pip")
    environment = {"PATH": f"{place / 'bin'}:/usr/bin:/bin", "PYTHONNOUSERSITE": "1", "HOME": str(tmp_path)}

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=tmp_path / "source", env=environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    run(python, "-m", *install)
    shutil.rmtree(tmp_path / "source" / "src")
    assert run(place / "bin" / recipe.commands[-1][0], *recipe.commands[-1][1:]).startswith("anonbench ")
    there = {path.relative_to(packages).as_posix() for path in (packages / "anonbench").rglob("*") if path.is_file()}
    assert sorted({file.removeprefix("src/") for file in tracked("src/anonbench")} - there) == []


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="no hadolint on the path")
def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run(["hadolint", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
