"""benchmarks/gpu.sh, rehearsed without a GPU: every part runs, and says what it found."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu.sh"


@functools.cache
def started() -> dict[str, str]:
    """Return what makes commands start warm."""
    if not warm.USED:
        return {}
    return {"PATH": f"{warm.commands()}{os.pathsep}{os.environ['PATH']}", "ANONBENCH": "anonbench"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments],
        env={**os.environ, **started(), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("gpu")
    done = run("--device", "cpu", "--small", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.mark.slow
def test_every_part_writes_its_numbers(rehearsal: tuple[Path, str]) -> None:
    out, table = rehearsal
    listed = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "parts"], capture_output=True, text=True
    ).stdout.split()
    found = {part: json.loads((out / f"{part}.json").read_text()) for part in listed}
    assert {part: value.get("said") for part, value in found.items() if "failed" in value} == {}
    assert found["levels"]["strict"]["same_bytes"] is True
    assert found["levels"]["killed_and_continued_same_bytes"] is True
    assert found["speed"]["bf16"]["images_per_second"] > 0
    assert set(found["accuracy"]["metrics"]) == {"detection", "segmentation"}
    assert found["gan"]["apply"]["seconds"] > 0
    assert all(part in table for part in listed)


def test_a_part_that_fails_is_written_down_and_the_next_goes_on(tmp_path: Path) -> None:
    done = run("--device", "cpu", "--small", "--out", str(tmp_path), "speed", "machine")
    assert done.returncode == 0
    failed = json.loads((tmp_path / "speed.json").read_text())
    assert failed["failed"] == "ended with 2"
    assert "original" in failed["said"]
    assert json.loads((tmp_path / "machine.json").read_text())["cores"] == os.cpu_count()
    assert "ended with 2" in done.stdout


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    done = run("--out", str(tmp_path), "sped")
    assert done.returncode == 2
    assert "unknown part sped" in done.stderr
