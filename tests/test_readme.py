"""The landing page and the other pages: links lead somewhere, commands exist, the graph is current."""

from __future__ import annotations

import html
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from anonbench.cli import COMMANDS, app, described
from anonbench.report.privacy_text import deciding
from anonbench.report.tables import MARKS, read_csv

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def name(page: Path) -> str:
    return str(page.relative_to(PROJECT))


README = (PROJECT / "README.md").read_text()
SNAKEFILE = (PROJECT / "Snakefile").read_text()
MAKEFILE = (PROJECT / "Makefile").read_text()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page: Path) -> None:
    targets = [page.parent / target for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())]
    for target in targets:
        assert target.exists(), f"{page.name} links to {target}"
    if targets and (PROJECT / ".git").exists():  # nobody else has what git ignores
        command = ["git", "check-ignore", "--", *map(str, targets)]
        assert subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False).stdout == ""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    fenced = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    for command in re.findall(r"`anonbench ([a-z][a-z-]+)", text) + re.findall(r"^anonbench ([a-z-]+)", fenced, re.M):
        assert command in COMMANDS, f"{page.name} names anonbench {command}"
    for target in re.findall(r"\bmake ([a-z]+)\b(?=[`\s])", text):
        if f"`make {target}" in text or f"\nmake {target}" in text:
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), f"{page.name} names make {target}"
    for target in re.findall(r"`snakemake ([a-z]+)`", text):
        assert f"\nrule {target}:" in SNAKEFILE, f"{page.name} names snakemake {target}"
    for config in re.findall(r"config/[a-z0-9-]+\.yaml", text):
        assert config == "config/mine.yaml" or (PROJECT / config).is_file(), f"{page.name} names {config}"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_list_of_commands_says_what_each_says_of_itself(command: str) -> None:
    function = getattr(importlib.import_module(COMMANDS[command]), command.replace("-", "_"))
    said = inspect.getdoc(function)
    assert said
    assert described(command) == " ".join(said.split("\n\n")[0].split())


def test_help_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys, anonbench.cli; anonbench.cli.app(['--help'], standalone_mode=False); "
        "assert not {'torch', 'pandas', 'numpy', 'pydantic'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_user_errors_are_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "anonbench",
            "annotate",
            "--data",
            str(tmp_path),
            "--split",
            "train",
            "--out",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_two_commands_stand_first() -> None:
    first = README.index("```sh")
    assert README.index("make demo", first) < README.index("make test", first) < README.index("| I want |")


def test_the_graph_is_current() -> None:
    subprocess.run([sys.executable, "-m", "anonbench", "rulegraph"], cwd=PROJECT, check=True)


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_quoted_answer_is_that_of_the_committed_report(page: str, committed: Path) -> None:
    quoted = re.search(r"```text\n(.*?)```", (PROJECT / page).read_text(), re.DOTALL)
    assert quoted
    page = (committed / "results" / "report.html").read_text()
    report = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    said = re.sub(r"^\s*- ", "", quoted.group(1), flags=re.MULTILINE)  # a bullet's hyphen is not on the page
    parts = [" ".join(part.split()) for part in re.split(r"^\.\.\.$|^$", said, flags=re.MULTILINE)]
    told = [part for part in parts if part and not part.startswith("More in ")]
    assert [part for part in told if part not in report] == []
    assert told[0].startswith("On streetlife, models trained on the originals")
    assert any(part.startswith("What it buys on streetlife") for part in told)


HIDDEN = {
    "original": "nothing (originals)", "body-identity": "nothing, only encoded again",
    "face-blur-medium": "faces blurred", "face-mask_out": "faces masked out", "face-gan": "faces generated",
    "body-blur-medium": "bodies blurred", "body-pixelate-medium": "bodies pixelated",
    "body-mask_out": "bodies masked out", "body-gan": "bodies generated",
}  # fmt: skip


def test_the_table_of_both_halves_is_that_of_the_committed_results(committed: Path) -> None:
    tables = committed / "results" / "tables"
    impact, privacy = (read_csv(tables / name) for name in ("impact.csv", "privacy.csv"))
    told = re.findall(r"^\| (.+) \| (.+) \| (.+) \| (.+) \|$", README, re.MULTILINE)
    start = next(k for k, row in enumerate(told) if row[0] == "hidden") + 1
    told = told[start : start + len(HIDDEN)]
    attacked = privacy[(privacy.attack == "reidentify") & (privacy.chosen == "true") & (privacy.headline == "true")]
    for row, (hidden, box, keypoints, found) in zip(attacked.itertuples(), told, strict=True):
        assert hidden == HIDDEN[row.variant]
        asked = impact[(impact.variant == row.variant) & (impact.category == "person") & (impact.metric == "AP")]
        for task, said in (("detection", box), ("pose", keypoints)):
            (one,) = asked[asked.task == task].itertuples()
            own = f"{one.kept:.1f} ({one.kept_low:.1f} to {one.kept_high:.1f})".replace("-0.0", "0.0")
            own += f" {MARKS.get(one.verdict, '')}"
            assert said == ("100" if row.variant == "original" else own), row.variant
        ends = deciding(row) or ()
        assert found == f"{100 * row.value:.1f} ({' to '.join(f'{100 * end:.1f}' for end in ends)})", row.variant
    assert len(attacked) == 9


def test_pull_requests_run_the_command_that_the_readme_names() -> None:
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "test.yml").read_text())
    assert "pull_request" in workflow[True]  # YAML takes the key `on` for a truth value
    commands = {name: job["steps"][-1]["run"] for name, job in workflow["jobs"].items()}
    assert commands == {"test": "make test", "cluster": 'sudo env "PATH=$PATH" make cluster'}
    for job in workflow["jobs"].values():
        for action in [step["uses"] for step in job["steps"] if "uses" in step]:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", action)
        versions = [step["with"].get("python-version") for step in job["steps"] if "with" in step]
        (python,) = filter(None, versions)
        assert f'requires-python = ">={python},' in (PROJECT / "pyproject.toml").read_text()
