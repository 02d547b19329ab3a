"""Benchmarks say what a user can mend as `anonbench` does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("name", sorted(path.name for path in BENCHMARKS.glob("*.py")))
def test_every_benchmark_runs_within_the_one_sentence(name: str) -> None:
    _, _, last = (BENCHMARKS / name).read_text().partition('\nif __name__ == "__main__":\n')
    first, *rest = last.splitlines()
    assert first == "    with one_sentence():"
    assert len(rest) == 1


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["expected.py", "--results", "nowhere"], "error: nowhere/tables/impact.csv: no such table; "),
        (
            ["strength.py", "--root", "nowhere"],
            "error: nowhere/annotations/person_keypoints_train2017.json: cannot be ",
        ),
        (["detectors.py", "--root", ".", "--detector", "{}"], "error: --detector: plugin: Field required"),
    ],
)
def test_a_wrong_argument_is_one_sentence(command: list[str], says: str, tmp_path: Path) -> None:
    script, *words = command
    run = [sys.executable, str(BENCHMARKS / script), *words]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1
