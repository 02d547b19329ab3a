"""What a study costs: seconds, speed and memory of its jobs, and their sum in GPU and CPU hours.

Its numbers differ from run to run. Therefore ``cost.csv`` is written beside the page, not among the tables that DVC
certifies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from anonbench.errors import AnonbenchError
from anonbench.report.collect import read_timing
from anonbench.report.study import ReportStudy
from anonbench.report.tables import is_number
from anonbench.variants import plain

STAGES = (
    "annotate",
    "detect",
    "regions",
    "fit",
    "anonymize",
    "merge",
    "train",
    "predict",
    "evaluate",
    "attacker",
    "attack",
)
"""Folders of the logs whose jobs are counted, in the order of the work; the report itself is not."""

KEYS = ("stage", "dataset", "variant", "model", "device")
COLUMNS = (
    *KEYS, "runs", "seconds", "iterations_per_second", "loading_share", "peak_memory_mib", "peak_gpu_memory_mib",
    "gpu_hours", "cpu_hours",
)  # fmt: skip
ALL = "all"
"""Stands in every key of the last row, the sum."""


def cost(study: ReportStudy, records: list[dict[str, Any]], logs: Path | None = None) -> pd.DataFrame:
    """Return a row per stage, data set, variant, model and device, and last the sum; no rows when nothing is known.

    Of those who learn to attack, and of attacks, the attack stands in the place of the model.
    ``records``: the trainings' records with their ``timing``. ``logs``: folder of Snakemake's benchmark files, for the
    stages besides ``train``. ``runs`` counts jobs; ``seconds`` (wall), ``iterations_per_second`` and ``loading_share``
    (0..1) are means over them, memories (MiB) maxima, hours sums. An hour of a GPU is one of wall time for each
    process; of a processor, in trainings one of wall time for each thread, elsewhere one of processor time. Raises
    AnonbenchError for a benchmark file that is damaged.
    """
    trainings = [record for record in records if study.trains(record["model"])]
    jobs = [_training(record) for record in trainings if is_number(record["timing"].get("seconds"))]
    on_gpu = {(job["dataset"], job["variant"], job["model"]) for job in jobs if is_number(job["gpu_hours"])}
    if logs is not None:
        jobs += [
            job
            for stage in STAGES
            if stage != "train"
            for path in sorted((logs / stage).rglob("*bench.tsv"))
            if (job := _job(study, stage, path, logs, on_gpu)) is not None
        ]
    if not jobs:
        return pd.DataFrame(columns=list(COLUMNS))
    attacks = [one for one in (study.attacks.attacks if study.attacks else ()) if one not in study.models]
    frame = pd.DataFrame(jobs, columns=[c for c in COLUMNS if c != "runs"])
    order = {
        "stage": list(STAGES), "dataset": list(study.datasets), "model": ["", *study.models, *attacks],
        "variant": list(dict.fromkeys(["", *study.variants, *frame.variant])), "device": sorted(set(frame.device)),
    }  # fmt: skip
    for name, values in order.items():
        frame[name] = pd.Categorical(frame[name], values, ordered=True)
    table = (
        frame.groupby([*KEYS], observed=True)
        .agg(
            runs=("seconds", "count"),
            seconds=("seconds", "mean"),
            iterations_per_second=("iterations_per_second", "mean"),
            loading_share=("loading_share", "mean"),
            peak_memory_mib=("peak_memory_mib", "max"),
            peak_gpu_memory_mib=("peak_gpu_memory_mib", "max"),
            gpu_hours=("gpu_hours", _total),
            cpu_hours=("cpu_hours", _total),
        )
        .reset_index()
    )
    table[[*KEYS]] = table[[*KEYS]].astype(str)
    last = {**dict.fromkeys(KEYS, ALL), "runs": int(table.runs.sum())}
    last |= {name: _total(table[name]) for name in ("gpu_hours", "cpu_hours")}
    return pd.concat([table, pd.DataFrame([last])], ignore_index=True)[list(COLUMNS)]


def per_image(logs: Path, dataset: str, variant: str) -> float | None:
    """Return the mean seconds that writing an image of a variant took, reading and encoding it included, or None.

    Those of the command itself, over all its splits and shards, without the start of Python.
    """
    spent, images = 0.0, 0.0
    for path in sorted((logs / "anonymize" / dataset / variant).glob("*.timing.json")):
        timing = read_timing(path)
        if is_number(timing.get("seconds")) and is_number(timing.get("images")):
            spent, images = spent + timing["seconds"], images + timing["images"]
    return spent / images if images else None


def hours(table: pd.DataFrame) -> str:
    """Return the sum in words, '1.25 GPU hours and 0.10 CPU hours'; '' when nothing is known."""
    if table.empty:
        return ""
    last = table.iloc[-1]
    known = [(last.gpu_hours, "GPU"), (last.cpu_hours, "CPU")]
    return " and ".join(f"{value:.2f} {kind} hours" for value, kind in known if is_number(value))


def _total(values: pd.Series) -> float:
    """Return the sum; nothing, rather than zero, of nothing."""
    return float(values.sum(min_count=1))


def _training(record: dict[str, Any]) -> dict[str, Any]:
    timing = record["timing"]
    spent, processes = float(timing["seconds"]), int(record.get("processes") or 1)
    wanted, done = (record.get("resolved") or {}).get("iterations"), timing.get("iterations")
    if wanted and done and done < wanted:  # a killed training left no times: its iterations took as long as the others
        spent *= wanted / done
    gpu = "peak_gpu_memory_mib" in timing
    threads = 0 if gpu else int(record.get("threads") or 1)
    return {
        **{key: record[key] for key in ("dataset", "variant", "model")},
        **{key: timing.get(key) for key in COLUMNS if key in timing},
        "stage": "train",
        "seconds": spent,
        "device": timing.get("device") or record.get("device") or "",
        "gpu_hours": spent * processes / 3600 if gpu else None,
        "cpu_hours": None if gpu else spent * processes * threads / 3600,
    }


def _trained(study: ReportStudy, dataset: str, model: str) -> list[str]:
    return study.trained(dataset, model) if model in study.models else []


def _job(
    study: ReportStudy, stage: str, path: Path, logs: Path, on_gpu: set[tuple[str, str, str]]
) -> dict[str, Any] | None:
    """Return a job by its benchmark file; None when the study no longer has it."""
    dataset, made, model, who, *_ = (*path.relative_to(logs / stage).parts[:-1], "", "", "")
    variant = plain(made)
    if stage == "fit":  # <region>-<method>, which variants of several levels share
        known = any(v == variant or v.startswith(f"{variant}-") for v in study.variants)
    else:
        known = variant in ("", *study.variants)
    if stage in ("attacker", "attack"):
        known &= study.attacks is not None and any(who in study.attacks.whom(model, v) for v in study.variants)
    else:
        known &= not model or variant in _trained(study, dataset, model)
    if dataset not in study.datasets or not known:
        return None
    try:
        row = pd.read_csv(path, sep="\t", na_values="-").iloc[-1]
        spent, memory = float(row["s"]), float(row["max_rss"])
        busy = float(row["cpu_time"]) if is_number(row["cpu_time"]) else spent  # too short to be sampled
    except (ValueError, KeyError, IndexError) as error:
        raise AnonbenchError(f"is not a benchmark file of Snakemake ({error})", file=path, remedy="delete it") from None
    beside = path.with_name(path.name.replace("bench.tsv", "timing.json"))
    timing = read_timing(beside) if beside.is_file() else {}
    gpu = "peak_gpu_memory_mib" in timing or (stage == "predict" and (dataset, variant, model) in on_gpu)
    return {
        "stage": stage, "dataset": dataset, "variant": variant, "model": model, "device": "GPU" if gpu else "CPU",
        "seconds": spent, "peak_memory_mib": memory, "peak_gpu_memory_mib": timing.get("peak_gpu_memory_mib"),
        "gpu_hours": spent / 3600 if gpu else None, "cpu_hours": None if gpu else busy / 3600,
    }  # fmt: skip
