"""The cost of a study: hours of the right kind, means and maxima, and nothing that the study does not have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from anonbench.errors import AnonbenchError
from anonbench.report.cost import COLUMNS, cost, hours
from anonbench.report.study import Attacks, ReportStudy
from anonbench.report.tables import write_csv

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def study() -> ReportStudy:
    return ReportStudy(
        "costly",
        7,
        {"street": {"train": "train", "val": "val"}},
        ["original", "face-gan-low", "face-gan-high"],
        {"small": {}, "large": {}},
        [0, 1],
        asked={"street": {"small": ["original", "face-gan-low"], "large": ["original"]}},
    )


def record(model: str = "small", variant: str = "original", seed: int = 0, **changes: Any) -> dict[str, Any]:
    timing = {
        "seconds": 1800.0 + 3600 * seed, "iterations": 100, "iterations_per_second": 0.5 + seed, "loading_share": 0.02,
        "peak_memory_mib": 500.0 + seed, "images_per_second": 4.0,
    }  # fmt: skip
    whole: dict[str, Any] = {
        "dataset": "street", "model": model, "variant": variant, "seed": seed, "device": "Processor 3000",
        "threads": 2, "processes": 1, "resolved": {"iterations": 100}, "timing": timing,
    }  # fmt: skip
    whole["timing"] |= changes.pop("timing", {})
    return {**whole, **changes}


def bench(logs: Path, place: str, seconds: float, busy: float, timing: dict[str, float] | None = None) -> None:
    path = logs / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEAD}{seconds}\t0:00:01\t300.5\t1\t1\t1\t0.1\t0.1\t50\t{busy}\n")
    if timing is not None:
        path.with_name(path.name.replace("bench.tsv", "timing.json")).write_text(json.dumps(timing))


def test_a_processors_hours_are_threads_times_wall_time_and_no_gpus(tmp_path: Path) -> None:
    table = cost(study(), [record(seed=0), record(seed=1)])
    assert tuple(table.columns) == COLUMNS
    row, last = table.iloc[0], table.iloc[-1]
    assert (row.stage, row.device, row.runs) == ("train", "Processor 3000", 2)
    assert (row.seconds, row.iterations_per_second, row.peak_memory_mib) == (3600.0, 1.0, 501.0)
    assert row.cpu_hours == pytest.approx((1800 + 5400) * 2 / 3600)
    assert pd.isna(row.gpu_hours)
    assert pd.isna(last.gpu_hours)
    assert hours(table) == "4.00 CPU hours"
    write_csv(tmp_path / "cost.csv", table)
    assert "GPU" not in (tmp_path / "cost.csv").read_text()


def test_each_gpu_of_a_training_counts() -> None:
    gpu = {"device": "Accelerator X", "processes": 4, "timing": {"peak_gpu_memory_mib": 9000.0}}
    table = cost(study(), [record(**gpu), record("large", seed=1)])
    assert list(table.device) == ["Accelerator X", "Processor 3000", "all"]
    assert table.iloc[0].gpu_hours == pytest.approx(2.0)
    assert pd.isna(table.iloc[0].cpu_hours)
    assert hours(table) == "2.00 GPU hours and 3.00 CPU hours"


def test_a_training_that_was_continued_counts_in_full() -> None:
    half = record(timing={"iterations": 50})
    assert cost(study(), [half]).iloc[0].seconds == pytest.approx(2 * half["timing"]["seconds"])


def test_other_stages_come_from_snakemakes_files(tmp_path: Path) -> None:
    gpu = {"seconds": 3600.0, "peak_gpu_memory_mib": 7000.0}
    bench(tmp_path, "fit/street/face-gan/bench.tsv", 3600, 100, gpu)
    bench(tmp_path, "anonymize/street/face-gan-low/train-0.bench.tsv", 1800, 100, gpu)
    bench(tmp_path, "anonymize/street/face-gan-low/train-1.bench.tsv", 1800, 100, gpu)
    bench(tmp_path, "annotate/street/train.bench.tsv", 7200, 3600)
    bench(tmp_path, "predict/street/original/small/seed0.bench.tsv", 360, 100)
    bench(tmp_path, "predict/street/original/large/seed0.bench.tsv", 360, 180)
    bench(tmp_path, "train/street/original/small/seed0/bench.tsv", 99999, 99999)
    for gone in (
        "annotate/elsewhere/train.bench.tsv",
        "anonymize/street/body-blur/train-0.bench.tsv",
        "fit/street/body-gan/bench.tsv",
        "predict/street/face-gan-low/large/seed0.bench.tsv",
        "predict/street/original/gone/seed0.bench.tsv",
    ):
        bench(tmp_path, gone, 99999, 99999)
    trained = [record(device="Accelerator X", timing={"peak_gpu_memory_mib": 1.0}), record("large")]
    table = cost(study(), trained, tmp_path)
    assert list(table.stage) == ["annotate", "fit", "anonymize", "train", "train", "predict", "predict", "all"]
    found = {(r.stage, r.model): r for r in table.itertuples()}
    assert found["annotate", ""].cpu_hours == pytest.approx(1.0), "processor time, not wall time"
    assert found["fit", ""].gpu_hours == pytest.approx(1.0)
    assert found["fit", ""].variant == "face-gan"
    assert (found["anonymize", ""].runs, found["anonymize", ""].gpu_hours) == (2, pytest.approx(1.0))
    assert found["anonymize", ""].peak_gpu_memory_mib == 7000.0
    assert found["predict", "small"].gpu_hours == pytest.approx(0.1), "its model was trained on a GPU"
    assert found["predict", "large"].cpu_hours == pytest.approx(0.05)
    last = table.iloc[-1]
    assert last.gpu_hours == pytest.approx(1 + 1 + 0.5 + 0.1)
    assert last.cpu_hours == pytest.approx(1 + 1 + 0.05)
    assert last.runs == 8


def test_attackers_and_attacks_are_paid_for_too(tmp_path: Path) -> None:
    who = {"link": {v: ["face"] for v in study().variants}, "find": {v: ["hog"] for v in study().variants}}
    attacks = Attacks(("street",), ("find", "link"), who, [0], [10])
    asked = replace(study(), datasets={**study().datasets, "own": {"train": "train", "val": "val"}}, attacks=attacks)
    bench(tmp_path, "attacker/own/original/link/face/seed0/bench.tsv", 40, 36, {"peak_gpu_memory_mib": 9.0})
    bench(tmp_path, "attacker/own/face-gan-low-fit4/link/face/seed4/bench.tsv", 40, 36)
    bench(tmp_path, "attack/street/original/link/face/seed0.bench.tsv", 20, 18)
    bench(tmp_path, "attack/street/face-gan-low/find/hog/seed0.bench.tsv", 10, 9)
    for gone in ("original/link/hog", "body-blur/link/face", "original/x/face"):
        bench(tmp_path, f"attack/street/{gone}/seed0.bench.tsv", 99999, 99999)
    table = cost(asked, [], tmp_path)
    found = [(r.stage, r.dataset, r.variant, r.model, r.runs, r.device) for r in table.itertuples()]
    assert found[:-1] == [
        ("attacker", "own", "original", "link", 1, "GPU"),
        ("attacker", "own", "face-gan-low", "link", 1, "CPU"),
        ("attack", "street", "original", "link", 1, "CPU"),
        ("attack", "street", "face-gan-low", "find", 1, "CPU"),
    ]
    assert table.iloc[-1].gpu_hours == pytest.approx(40 / 3600)
    assert table.iloc[-1].cpu_hours == pytest.approx((36 + 18 + 9) / 3600)
    assert cost(study(), [], tmp_path).empty, "a study that does not attack has paid for none"


def test_a_job_too_short_for_snakemake_to_see_counts_its_seconds(tmp_path: Path) -> None:
    path = tmp_path / "merge" / "street" / "original" / "train.bench.tsv"
    path.parent.mkdir(parents=True)
    path.write_text(f"{HEAD}0.4\t0:00:00\t-\t-\t-\t-\t-\t-\t-\t-\n")
    row = cost(study(), [], tmp_path).iloc[0]
    assert (row.stage, row.seconds) == ("merge", 0.4)
    assert row.cpu_hours == pytest.approx(0.4 / 3600)


def test_a_damaged_benchmark_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "merge" / "street" / "original" / "train.bench.tsv"
    path.parent.mkdir(parents=True)
    for text in ("", "a\tb\n1\t2\n", HEAD):
        path.write_text(text)
        with pytest.raises(AnonbenchError, match=r"train.bench.tsv: is not a benchmark file of Snakemake"):
            cost(study(), [], tmp_path)


def test_nothing_known_is_an_empty_table(tmp_path: Path) -> None:
    table = cost(study(), [{**record(), "timing": {}}], tmp_path)
    assert table.empty
    assert tuple(table.columns) == COLUMNS
    assert hours(table) == ""
