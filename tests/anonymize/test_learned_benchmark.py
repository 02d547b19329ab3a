"""benchmarks/learned.py, as small as it goes."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def benchmark() -> Any:
    path = Path(__file__).parents[2] / "benchmarks" / "learned.py"
    spec = importlib.util.spec_from_file_location("learned_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "extra",
    [[], ["--preset", "published", "--settings", '{"widths": [4, 6], "observer": "small", "utility": "r3d_small"}']],
    ids=["cpu", "published"],
)
def test_it_says_what_a_fit_and_the_stage_take(benchmark: Any, tmp_path: Path, extra: list[str]) -> None:
    import typer

    app = typer.Typer()
    app.command()(benchmark.main)
    out = tmp_path / "lines.jsonl"
    words = ["--size", "32", "--steps", "4", "--turns", "2", "--out", str(out), *extra]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    fit, apply = (json.loads(line) for line in out.read_text().splitlines())
    assert (fit["what"], apply["what"]) == ("fit", "apply")
    assert fit["steps"] == 4
    assert fit["steps_per_second"] == pytest.approx(
        2 / (fit["anonymizer_step_seconds"] + fit["rivals_step_seconds"]), rel=0.01
    )
    assert apply["stage_over_network"] > 0.5
    assert apply["working_size"][1] == 32
    assert fit["peak_memory_mib"] > 0
