"""What DVC shows of the committed results: metrics with their intervals, and plots by the project's templates."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from anonbench.files import write_json
from anonbench.report.tables import flat, read_csv

PLOTTED = (".dvc/config", "dvc.yaml")


@pytest.fixture
def shown(tmp_path: Path, committed: Path, request: pytest.FixtureRequest) -> Path:
    """Return a DVC project with the committed tables and figures, and metrics.json as it is written now."""
    project = request.config.rootpath
    for name in ("results/tables", "results/figures"):
        (tmp_path / name).mkdir(parents=True)
        for file in (committed / name).iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    for name in (*PLOTTED, *(f".dvc/plots/{file.name}" for file in (project / ".dvc/plots").iterdir())):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((project / name).read_bytes())
    write_json(tmp_path / "results/tables/metrics.json", flat(read_csv(tmp_path / "results/tables/impact.csv")))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def dvc(folder: Path, *words: str) -> str:
    done = subprocess.run(["dvc", *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_metrics_hold_the_intervals(shown: Path) -> None:
    values = json.loads(dvc(shown, "metrics", "show", "--json"))[""]["data"]["results/tables/metrics.json"]["data"]
    own = values["streetlife"]["body-mask_out"]["detection"]["person"]
    assert own["low"] < own["difference"] < own["high"] < 0
    assert own["verdict"] == "drop"


def test_every_plot_is_drawn(shown: Path) -> None:
    named = yaml.safe_load((shown / "dvc.yaml").read_text())["plots"]
    dvc(shown, "plots", "show")
    page = (shown / "dvc_plots/index.html").read_text()
    specs: list[dict[str, Any]] = [json.loads(text) for text in re.findall(r"var spec = (\{.*?\});\n", page, re.DOTALL)]
    of = {spec["title"]["text"]: spec for spec in specs}
    titles = {next(iter(entry.values()))["title"] for entry in named if isinstance(entry, dict)}
    assert set(of) == titles
    assert not re.search(r"<DVC_METRIC_\w+>", json.dumps(specs))
    table = read_csv(shown / "results/tables/impact.csv")
    intervals = of["What anonymization costs people, with 95 % intervals"]
    drawn = [row for row in intervals["data"]["values"] if row["role"] == "primary" and row["difference_low"]]
    assert len(drawn) == table[table.role == "primary"].difference_low.notna().sum() > 20
    images = [entry for entry in named if isinstance(entry, str)]
    assert len(list((shown / "dvc_plots/static").iterdir())) == len(images)
