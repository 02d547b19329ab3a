"""Reading of what the earlier stages wrote, and the tables that only count."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anonbench.directions import ON_ORIGINAL, Evaluation
from anonbench.errors import AnonbenchError
from anonbench.evaluate import evidence
from anonbench.evaluate.evidence import TaskEvidence
from anonbench.files import check_sha256, read_json
from anonbench.manifests import summary_path
from anonbench.records import UNANNOTATED, Reason
from anonbench.report.study import ORIGINAL, ReportStudy, parts
from anonbench.statistics.resampling import Draw

PEOPLE, CONTROL, OVERLAPPED, TOUCHED, MEAN = "people", "control", "overlapped", "touched", "mean"
"""A row's group: people (what is anonymized), something else that the variant left alone, something else whose boxes
hold pixels that it changed, since people stand there, something else that it changed as well (whole images are
anonymized), a mean over several."""

PRIMARY, SECONDARY = "primary", "secondary"
"""A row's role: the metric that the task is judged by, which has intervals and verdicts, or another one."""

LEAKS = "true"
"""In a table's column ``leaks``: the first weights of the row's models have seen the data set's original images."""

HANDLED = Reason.METHOD_FAILED.value
"""The one reason of people who count as anonymized all the same: a fallback covered them."""

ABSENT = "not given"
"""Of an entry that only one of two records has; null is a value."""

COVERAGE_COLUMNS = (
    "dataset", "split", "variant", "region", "method", "category", "people", "anonymized", "share",
    "fitted_on",
)  # fmt: skip
SUBSET_COLUMNS = (
    "dataset", "model", "task", "category", "subset", "variant", "metric", "role", "unit", "value", "n_seeds",
    "difference", "instances", "images", "leaks",
)  # fmt: skip
PEOPLE_COLUMNS = ("dataset", "split", "kind", "category", "size", "status", "source", "people")


@dataclass(frozen=True)
class Sources:
    """The folders of the stages before."""

    evaluations: Path
    models: Path
    anonymized: Path
    timings: Path | None = None
    annotations: Path | None = None
    attacks: Path | None = None
    attackers: Path | None = None

    def evaluation(self, evaluation: Evaluation) -> Path:
        """Return the folder of one evaluation."""
        return self.evaluations / evaluation.folder

    def manifest(self, study: ReportStudy, dataset: str, variant: str, split: str) -> dict[str, Any] | None:
        """Return a variant's manifest of the ``train`` or ``val`` split; None for an original without one.

        Raises AnonbenchError when another variant has none, or one without its counts.
        """
        return self.manifest_of(dataset, variant, study.datasets[dataset][split])

    def manifest_of(self, dataset: str, variant: str, split: str) -> dict[str, Any] | None:
        """Return a variant's manifest of any split, by its name; see `manifest`."""
        path = summary_path(self.anonymized / dataset / variant, split)
        if variant == ORIGINAL and not path.exists():
            return None
        value = read_json(path)
        try:
            counted = all({"people", "anonymized"} <= set(c) for c in people_of(value).values())
        except (KeyError, TypeError, AttributeError):
            counted = False
        if not counted:
            raise AnonbenchError("does not count people by category", file=path, remedy="run the anonymize stage again")
        return value


def people_of(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a manifest's counts (``people``, ``anonymized``, ``reasons``) by category of people."""
    found: dict[str, dict[str, Any]] = manifest["people"]["by_category"]
    return found


def strangers_of(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a manifest's counts of detections of nobody who is annotated, by their category; {} without any."""
    found = manifest["people"].get("unannotated") or {}
    return {UNANNOTATED: found} if found.get("people") else {}


@dataclass(frozen=True)
class Run:
    """One evaluated model: metrics.json and evidence.npz."""

    metrics: dict[str, Any]
    evidence: dict[str, TaskEvidence]
    file: Path


def read_run(folder: Path, draw: Draw, metric: str | None = None) -> Run:
    """Read an evaluation and its replicates on a draw, of the first metric or of ``metric``.

    Raises AnonbenchError when a file is missing or damaged.
    """
    metrics = read_json(folder / "metrics.json")
    try:
        measured = isinstance(metrics["counts"]["images"], int) and all(
            isinstance(task[key], kind)
            for task in metrics["tasks"].values()
            if task is not None
            for key, kind in (("parts", dict), ("instances", dict), ("people", list))
        )
    except (KeyError, TypeError, AttributeError):
        measured = False
    if not measured:
        raise AnonbenchError("contains no metrics", file=folder / "metrics.json", remedy="delete it and evaluate again")
    file = folder / evidence.FILE
    said = (metrics.get("files") or {}).get("evidence") if isinstance(metrics.get("files"), dict | None) else None
    if said is not None:
        check_sha256(file, said, "metrics.json", "delete both and evaluate again")
    return Run(metrics, evidence.read(file, draw, metric), folder)


Runs = dict[str, dict[int, Run]]
"""Evaluations by variant and seed."""


def read_runs(
    study: ReportStudy, sources: Sources, dataset: str, model: str, allow_missing: bool, direction: str = ON_ORIGINAL
) -> Runs:
    """Return the evaluations of a direction by variant and seed; of the original those on original images.

    Raises AnonbenchError for the first that is missing, unless ``allow_missing``; always when the original has none,
    or when two were not made on the same images.
    """
    runs: Runs = {variant: {} for variant in study.told(dataset, model, direction)}
    first: Run | None = None
    start: tuple[Path, dict[str, Any]] | None = None
    draw = Draw(study.bootstrap, study.seed, dataset)
    for variant in runs:
        for seed in study.seeds_told(model, variant, direction):
            evaluation = study.evaluation(dataset, model, direction, variant, seed)
            trained, folder = evaluation.trained, sources.evaluation(evaluation)
            if allow_missing and not (folder / "metrics.json").exists():
                continue
            run = read_run(folder, draw, study.primary.metric)
            record = training_record(sources, dataset, trained, model, evaluation.seed)
            first = first or run
            _require_alike(run, first)
            if record is not None:
                file = sources.models / dataset / trained / model / f"seed{evaluation.seed}" / "train.json"
                start = start or (file, record)
                _require_trained_alike((file, record), start)
            if _truth(run) != _truth(first) or not _same_groups(run, first):
                raise AnonbenchError(
                    f"was not made on the same images and annotations as {first.file}",
                    file=folder,
                    remedy="evaluate both again",
                )
            runs[variant][seed] = run
    if not runs[ORIGINAL]:
        raise AnonbenchError(
            "the original has no evaluation, and every difference is taken to it",
            file=sources.evaluation(Evaluation(dataset, ORIGINAL, model, study.seeds_of(model, ORIGINAL)[0], ORIGINAL)),
        )
    return runs


def _require_alike(run: Run, first: Run) -> None:
    """Raise AnonbenchError for an evaluation by another version of the code, or another library, than the first."""
    for key, whose in (("format", "version"), ("code", "version of the code"), ("library", "library")):
        if run.metrics.get(key) != first.metrics.get(key):
            raise AnonbenchError(
                f"was evaluated by another {whose} ({_short(run.metrics.get(key))}) than {first.file}"
                f" ({_short(first.metrics.get(key))})",
                file=run.file,
                remedy="evaluate both again",
            )


def _require_trained_alike(training: tuple[Path, dict[str, Any]], first: tuple[Path, dict[str, Any]]) -> None:
    """Raise AnonbenchError for a training by another recipe, code or library than the first of the model."""
    for key, whose in (("recipe", "recipe"), ("code", "version of the code"), ("versions", "version of a library")):
        mine, others = (leaves(record.get(key)) for _, record in (training, first))
        if mine != others:
            differ = next(n for n in sorted({*mine, *others}) if mine.get(n, ABSENT) != others.get(n, ABSENT))
            raise AnonbenchError(
                f"was trained by another {whose} ({differ or key} {_short(mine.get(differ, ABSENT))}) than {first[0]}"
                f" ({_short(others.get(differ, ABSENT))})",
                file=training[0],
                remedy="train both again",
            )


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Return the entries of nested JSON objects by their dotted names; what is no object is an entry itself."""
    if not isinstance(value, dict):
        return {name: value}
    return {k: v for key, of in value.items() for k, v in leaves(of, f"{name}.{key}" if name else str(key)).items()}


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return "unknown" if value is None else str(value)


def _truth(run: Run) -> Any:
    return run.metrics.get("files", {}).get("annotations")


def _same_groups(run: Run, other: Run) -> bool:
    return run.evidence.keys() == other.evidence.keys() and all(
        np.array_equal(of.groups, other.evidence[task].groups) for task, of in run.evidence.items()
    )


def subsets(study: ReportStudy, sources: Sources) -> pd.DataFrame:
    """Return the measures on the data sets' evaluation subsets (easy, medium, hard), of models on original images.

    People only, means over seeds, no intervals. Reads the evaluations that are there; empty for data sets without
    subsets.
    """
    rows = []
    for dataset in study.datasets:
        for model in study.models:
            found = {v: _subsets_of(study, sources, dataset, model, v) for v in study.trained(dataset, model)}
            # reads every training's record
            leaky = leaks(study, sources, dataset, model) if found.get(ORIGINAL) else ""
            for (task, category, subset, metric), base in found.get(ORIGINAL, {}).items():
                metrics = {m.name: m for m in study.task(task).metrics}
                role = PRIMARY if metric == next(iter(metrics)) else SECONDARY
                for variant in found:
                    own = found[variant].get((task, category, subset, metric), {})
                    further = study.original_seeds if variant not in study.refitted else ()
                    common, whole = common_seeds(own, base, further)
                    both = [own[s][0] for s in common], [base[s][0] for s in whole]
                    _, instances, images = next(iter(base.values()))
                    rows.append(
                        {
                            "dataset": dataset, "model": model, "task": task, "category": category, "subset": subset,
                            "variant": variant, "metric": metric, "role": role, "unit": metrics[metric].unit,
                            "value": _mean([value for value, *_ in own.values()]), "n_seeds": len(own),
                            "difference": difference(*both), "instances": instances, "images": images,
                            "leaks": leaky,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(SUBSET_COLUMNS))


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def common_seeds(
    own: Collection[int], base: Collection[int], further: Collection[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the seeds that a variant and the original both have, and all of the original's that it is compared with.

    ``own`` and ``base`` are theirs, ``further`` those that a study has of the original alone.
    """
    common = tuple(seed for seed in own if seed in base)
    if len(common) < 2 or not further:
        return common, common
    return common, (*common, *(seed for seed in base if seed not in common))


def difference(own: list[float], base: list[float]) -> float | None:
    """Return the mean of a variant's values minus that of the original's, None without one of either.

    ``base`` begins with the seeds of ``own``: where all of these agree the models are the same, and differ by nothing.
    """
    if not own or not base:
        return None
    return 0.0 if own == base[: len(own)] else float(np.mean(own) - np.mean(base))


def _subsets_of(
    study: ReportStudy, sources: Sources, dataset: str, model: str, variant: str
) -> dict[tuple[str, str, str, str], dict[int, tuple[float, int, int]]]:
    """Return value, instances and images by seed of each task, category of people, subset and metric."""
    found: dict[tuple[str, str, str, str], dict[int, tuple[float, int, int]]] = {}
    for seed in study.seeds_of(model, variant):
        path = sources.evaluation(study.evaluation(dataset, model, ON_ORIGINAL, variant, seed)) / "metrics.json"
        if not path.exists():
            continue
        metrics = read_json(path)
        for subset, value in metrics.get("subsets", {}).items():
            for task, measured in value["tasks"].items():
                people = metrics["tasks"][task]["people"]
                shown = [m.name for m in study.task(task).metrics if m.shown]
                for category, of in measured["parts"].items():
                    for metric in shown:
                        if category in people and of.get(metric) is not None:
                            at = found.setdefault((task, category, subset, metric), {})
                            at[seed] = (of[metric], value["instances"], value["images"])
    return found


def name_parts(variant: str, manifest: dict[str, Any] | None) -> tuple[str, str, str]:
    """Return region, method and level: the manifest's where it has them, else the name's."""
    named = parts(variant)
    if variant == ORIGINAL or manifest is None:
        return named
    given = (manifest.get("region"), manifest.get("method"), manifest.get("level"))
    return tuple(str(g) if g else n for g, n in zip(given, named, strict=True))  # type: ignore[return-value]


def fitted_on(manifest: dict[str, Any]) -> str:
    """Return what the method of a variant was fitted to, by its ``manifest``: data set and split; '' for nothing."""
    origin = manifest.get("fitted_on") or {}
    found = [
        " ".join(str(one[key]) for key in ("dataset", "split") if key in one)
        for one in (origin, origin.get("stills") or {})
    ]
    return " and people of ".join(one for one in found if one)


def coverage(study: ReportStudy, sources: Sources) -> pd.DataFrame:
    """Return who was anonymized in the splits that are shown: a row per data set, variant and category of people.

    Detections of nobody who is annotated, if any, have a row of their own, of category ``unannotated``. ``fitted_on``
    names the data set and split that a generator has learnt from, '' for a method without one.
    A column per reason counts the people who were left as they are (0 where the reason does not occur).
    """
    rows, reasons = [], [reason.value for reason in Reason]
    for dataset in study.datasets:
        split = study.shown_split(dataset)
        for variant in study.variants_of(dataset):
            manifest = sources.manifest_of(dataset, variant, split)
            if variant == ORIGINAL or manifest is None:
                continue
            region, method, _ = name_parts(variant, manifest)
            for category, counts in (people_of(manifest) | strangers_of(manifest)).items():
                found = counts.get("reasons") or {}
                reasons += [reason for reason in sorted(found) if reason not in reasons]
                rows.append(
                    {
                        "dataset": dataset, "split": split, "variant": variant, "region": region,
                        "method": method, "category": category, "people": counts["people"],
                        "anonymized": counts["anonymized"],
                        "share": counts["anonymized"] / counts["people"] if counts["people"] else None,
                        "fitted_on": fitted_on(manifest),
                        **found,
                    }
                )  # fmt: skip
    frame = pd.DataFrame(rows, columns=[*COVERAGE_COLUMNS, *reasons])
    frame[reasons] = frame[reasons].fillna(0).astype(int)
    return frame


def ledger(study: ReportStudy, sources: Sources) -> pd.DataFrame:
    """Return the people of the splits that are shown by kind of region, category, size, status and source.

    Empty for a study that anonymizes nothing. Raises AnonbenchError when a count is missing or damaged.
    """
    frames = [pd.DataFrame(columns=list(PEOPLE_COLUMNS))]
    for dataset in study.datasets:
        if sources.annotations is None or study.variants_of(dataset) == [ORIGINAL]:
            continue
        split = study.shown_split(dataset)
        path = sources.annotations / dataset / f"{split}.coverage.csv"
        try:
            frame = pd.read_csv(path, keep_default_na=False)
        except FileNotFoundError:
            raise AnonbenchError("no such table", file=path, remedy="run the annotate stage first") from None
        if list(frame.columns) != list(PEOPLE_COLUMNS[2:]):
            raise AnonbenchError("does not count people", file=path, remedy="run the annotate stage again")
        frames.append(frame.assign(dataset=dataset, split=split)[list(PEOPLE_COLUMNS)])
    return pd.concat(frames, ignore_index=True)


def training_record(sources: Sources, dataset: str, variant: str, model: str, seed: int) -> dict[str, Any] | None:
    """Return a training's ``train.json``, with its seconds and memory as ``timing`` where they are known, or None."""
    place = Path(dataset, variant, model, f"seed{seed}")
    if not (sources.models / place / "train.json").exists():
        return None
    file = sources.models / place / "train.json"
    record = read_json(file)
    if not isinstance(record, dict):
        raise AnonbenchError("is not a training's record", file=file, remedy="train again")
    kinds = dict.fromkeys(("recipe", "resolved", "initialisation", "data"), dict)
    for name, kind in {**kinds, "processes": int, "threads": int}.items():
        if record.get(name) is not None and not isinstance(record[name], kind):
            raise AnonbenchError("is not a training's record", file=file, entry=name, remedy="train again")
    timing = (sources.timings or sources.models) / place / "timing.json"
    record["timing"] = read_timing(timing) if timing.exists() else {}
    return record


def read_timing(file: Path) -> dict[str, Any]:
    """Read the seconds and the memory of a job; raise AnonbenchError for what is no number."""
    value = read_json(file)
    remedy = "delete it: the job is then told without it"
    if not isinstance(value, dict):
        raise AnonbenchError("does not say what a job took", file=file, remedy=remedy)
    for name, found in value.items():
        if name not in ("device", "python") and not _finite(found):
            raise AnonbenchError(f"{found!r} is no number", file=file, entry=name, remedy=remedy)
    return value


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def evaluated(study: ReportStudy, dataset: str, evaluations: Path) -> dict[str, Any] | None:
    """Return the metrics.json of the first of a data set's evaluations that is there: all have the same counts."""
    for model in study.models:
        for direction in study.directions:
            for variant in study.told(dataset, model, direction):
                for seed in study.seeds_told(model, variant, direction):
                    path = (
                        evaluations / study.evaluation(dataset, model, direction, variant, seed).folder / "metrics.json"
                    )
                    if path.exists():
                        found: dict[str, Any] = read_json(path)
                        return found
    return None


def leaks(study: ReportStudy, sources: Sources, dataset: str, model: str) -> str:
    """Tell whether the first weights of a model's trainings have seen the data set: true, false or, unknown, ''.

    The trainings' records say so (``initialisation.leaks``).
    """
    said = set()
    for variant in study.trained(dataset, model):
        for seed in study.seeds_of(model, variant):
            record = training_record(sources, dataset, study.made_with(variant, seed), model, seed) or {}
            said.add((record.get("initialisation") or {}).get("leaks"))
    return LEAKS if True in said else "false" if False in said else ""


def loss_points(
    record: dict[str, Any], file: Path, remedy: str, entry: str = "", terms: Sequence[str] = ()
) -> list[dict[str, float]]:
    """Return the points of the loss curve in a training's record, or in an ``entry`` of it.

    Raises AnonbenchError naming the record's ``file`` where there is no curve or one without some ``terms``, and for
    what is no number.
    """
    told = record.get(entry) if entry else record
    points = told.get("loss_curve") if isinstance(told, dict) else None
    where = f"{entry}.loss_curve" if entry else "loss_curve"
    if (
        not isinstance(points, list)
        or not points
        or not all(isinstance(p, dict) and {"iteration", *terms} <= set(p) for p in points)
    ):
        raise AnonbenchError("has no loss curve", file=file, entry=where, remedy=remedy)
    for point in points:
        for name, value in point.items():
            if not _finite(value):
                at = f"{where} iteration {point['iteration']} {name}"
                raise AnonbenchError(f"{value!r} is no number", file=file, entry=at, remedy=remedy)
    return points


def curves(study: ReportStudy, sources: Sources, allow_missing: bool = False) -> pd.DataFrame:
    """Return the training loss, averaged over seeds, per iteration: the total and its terms; none of untrained models.

    Raises AnonbenchError when a training has no record, unless ``allow_missing``.
    """
    frames: list[pd.DataFrame] = []
    leaky = {(d, m): leaks(study, sources, d, m) for d in study.datasets for m in study.models}
    for dataset, model, variant, seed in study.trainings():
        made = study.made_with(variant, seed)
        record = training_record(sources, dataset, made, model, seed)
        folder = sources.models / dataset / made / model / f"seed{seed}"
        if record is None:
            if allow_missing:
                continue
            raise AnonbenchError("no such file", file=folder / "train.json", remedy="run the train stage first")
        if not study.trains(model):
            continue
        points = loss_points(record, folder / "train.json", "train again")
        frame = pd.DataFrame(points).drop(columns="learning_rate", errors="ignore")
        terms = [c for c in frame.columns if c not in ("iteration", "loss")]
        if "loss" not in frame:
            frame.insert(1, "loss", frame[terms].sum(axis=1))
        keys = {"dataset": dataset, "model": model, "variant": variant, "leaks": leaky[dataset, model]}
        frames.append(frame.assign(**keys, order=len(frames)))
    names = ["dataset", "model", "variant", "leaks", "iteration"]
    if not frames:
        return pd.DataFrame(columns=[*names, "n_seeds", "loss"])
    joined = pd.concat(frames, ignore_index=True)
    joined["order"] = joined.groupby(names[:3])["order"].transform("min")
    joined["n_seeds"] = 1
    terms = [c for c in joined.columns if c not in (*names, "order", "n_seeds", "loss")]
    how = {"n_seeds": "sum", "loss": "mean", **dict.fromkeys(sorted(terms), "mean")}
    return joined.groupby(["order", *names], sort=True).agg(how).reset_index().drop(columns="order")
