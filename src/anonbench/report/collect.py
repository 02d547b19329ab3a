"""Reading of what the earlier stages wrote, and the numbers of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anonbench.directions import ON_DEPLOYED, ON_ORIGINAL, Evaluation, pair
from anonbench.errors import AnonbenchError
from anonbench.evaluate import evidence
from anonbench.evaluate.evidence import TaskEvidence
from anonbench.files import read_json
from anonbench.manifests import summary_path
from anonbench.records import UNANNOTATED, Reason
from anonbench.report import resample
from anonbench.report.study import IDENTITY, ORIGINAL, Study, parts
from anonbench.tasks import base as tasks
from anonbench.tasks.base import ALL, UNTOUCHED, Task
from anonbench.variants import EVERYTHING

PEOPLE, CONTROL, TOUCHED, MEAN = "people", "control", "touched", "mean"
"""A row's group: people (what is anonymized), something else that the variant left alone, something else that it
changed as well (whole images are anonymized), a mean over several."""

PRIMARY, SECONDARY = "primary", "secondary"
"""A row's role: the metric that the task is judged by, which has intervals and verdicts, or another one."""

LEAKS = "true"
"""In a table's column ``leaks``: the first weights of the row's models have seen the data set's original images."""

IMPACT_COLUMNS = (
    "dataset", "model", "task", "category", "group", "direction", "variant", "region", "method", "level", "metric",
    "role", "unit", "best", "value", "value_std", "n_seeds", "difference", "difference_low", "difference_high",
    "verdict", "seeds_needed", "samples_needed", "share_changed", "instances", "sampled", "samples", "leaks",
)  # fmt: skip
"""Columns of impact.csv, a row per metric. ``direction``: see `directions.TESTED`; ``best``: whether ``higher``
or ``lower`` values are better; ``value_std``: standard deviation over seeds; ``samples``: how many ``sampled`` (images,
videos, people) intervals are taken over. Values and differences are in ``unit``."""
SEED_COLUMNS = (
    "dataset", "model", "task", "category", "group", "direction", "variant", "seed", "metric", "role", "unit", "value",
    "difference", "leaks",
)  # fmt: skip
HANDLED = Reason.METHOD_FAILED.value
"""The one reason of people who count as anonymized all the same: a fallback covered them."""

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

    def evaluation(self, evaluation: Evaluation) -> Path:
        """Return the folder of one evaluation."""
        return self.evaluations / evaluation.folder

    def manifest(self, study: Study, dataset: str, variant: str, split: str = "train") -> dict[str, Any] | None:
        """Return a variant's manifest of the ``train`` or ``val`` split; None for an original without one.

        Raises AnonbenchError when another variant has none, or one without its counts.
        """
        path = summary_path(self.anonymized / dataset / variant, study.datasets[dataset][split])
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


def read_run(folder: Path) -> Run:
    """Read an evaluation; raise AnonbenchError when a file is missing or damaged."""
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
    return Run(metrics, evidence.read(folder / evidence.FILE), folder)


Runs = dict[str, dict[int, Run]]
"""Evaluations by variant and seed."""


def read_runs(
    study: Study, sources: Sources, dataset: str, model: str, allow_missing: bool, direction: str = ON_ORIGINAL
) -> Runs:
    """Return the evaluations of a direction by variant and seed; of the original those on original images.

    Raises AnonbenchError for the first that is missing, unless ``allow_missing``; always when the original has none,
    or when two were not made on the same images.
    """
    runs: Runs = {variant: {} for variant in study.told(dataset, model, direction)}
    first: Run | None = None
    for variant in runs:
        trained, tested = pair(direction, variant)
        for seed in study.seeds_of(model):
            folder = sources.evaluation(Evaluation(dataset, trained, model, seed, tested))
            if allow_missing and not (folder / "metrics.json").exists():
                continue
            run = read_run(folder)
            first = first or run
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
            file=sources.evaluation(Evaluation(dataset, ORIGINAL, model, study.seeds_of(model)[0], ORIGINAL)),
        )
    return runs


def _truth(run: Run) -> Any:
    return run.metrics.get("files", {}).get("annotations")


def _same_groups(run: Run, other: Run) -> bool:
    return run.evidence.keys() == other.evidence.keys() and all(
        np.array_equal(of.groups, other.evidence[task].groups) for task, of in run.evidence.items()
    )


@dataclass(frozen=True)
class Scores:
    """One run, task and category: ``measures`` by metric, the first as scored anew; ``replicates`` (B) of the first."""

    measures: dict[str, float]
    replicates: np.ndarray


def _scores(run: Run, name: str, task: Task, weights: np.ndarray) -> dict[str, Scores]:
    """Return the scores of each part that was judged."""
    found: dict[str, Scores] = {}
    judged = run.metrics["tasks"].get(name) or {"parts": {}, "people": []}
    first = task.metrics[0].name
    for category, arrays in run.evidence[name].parts.items():
        point = float(task.score(arrays))
        measures = judged["parts"].get(category) or {}
        if np.isnan(point) or measures.get(first) is None:
            continue
        others = {m.name: measures[m.name] for m in task.metrics[1:] if measures.get(m.name) is not None}
        found[category] = Scores({first: point, **others}, task.score(arrays, weights))
    return found


def _means(found: dict[str, Scores], judged: list[str], people: frozenset[str], task: Task) -> dict[str, Scores]:
    """Return a run's means over all ``judged`` categories and over those that are not people.

    A run without a score of one of them has no mean: it would be one over other categories than the original's.
    """
    means = {ALL: judged, UNTOUCHED: [c for c in judged if c not in people]}
    if len(judged) == len(means[UNTOUCHED]):
        means.pop(UNTOUCHED)
    scores = {}
    for mean, members in means.items():
        if len(members) > 1 and all(c in found for c in members):
            common = [m.name for m in task.metrics if all(m.name in found[c].measures for c in members)]
            scores[mean] = Scores(
                {name: float(np.mean([found[c].measures[name] for c in members])) for name in common},
                _mean_of_known(np.stack([found[c].replicates for c in members])),
            )
    return scores


def _mean_of_known(replicates: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis of what is finite, NaN where nothing is."""
    filled = np.isfinite(replicates)
    with np.errstate(invalid="ignore"):
        known: np.ndarray = np.where(filled, replicates, 0).sum(axis=0) / filled.sum(axis=0)
    return known


def impact(study: Study, sources: Sources, allow_missing: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the impact table and the table of single seeds (see `IMPACT_COLUMNS`, `SEED_COLUMNS`).

    A variant without an evaluation raises AnonbenchError or, with ``allow_missing``, gets rows without numbers and the
    verdict 'not evaluated'.
    """
    rows: list[dict[str, Any]] = []
    seeds: list[dict[str, Any]] = []
    for dataset in study.datasets:
        variants = study.variants_of(dataset)
        changed = {on: "val" if on == ON_DEPLOYED else "train" for on in study.directions}
        manifests = {
            split: {v: sources.manifest(study, dataset, v, split) for v in variants} for split in {*changed.values()}
        }
        for model in study.models:
            if not study.trained(dataset, model):
                continue
            leaky = leaks(study, sources, dataset, model)
            for direction in study.directions:
                if not study.told(dataset, model, direction):
                    continue
                runs = read_runs(study, sources, dataset, model, allow_missing, direction)
                keys = {"dataset": dataset, "model": model, "direction": direction, "leaks": leaky}
                for compared in _compared(study, dataset, model, runs, direction):
                    for variant in runs:
                        manifest = manifests[changed[direction]][variant]
                        row = compared.row(variant) | _describe(manifest, variant, compared)
                        rows += [{**row, **keys, **metric} for metric in compared.metrics(variant)]
                        about = {"task": compared.name, "category": compared.category, "variant": variant}
                        single = compared.single(variant)
                        seeds += [{**about, "group": row["group"], **keys, **one} for one in single]
    return pd.DataFrame(rows, columns=list(IMPACT_COLUMNS)), pd.DataFrame(seeds, columns=list(SEED_COLUMNS))


@dataclass(frozen=True)
class Compared:
    """One category of one task over all variants: ``scores`` by variant and seed.

    ``spread`` is that of a difference over seeds, pooled over the variants; None where each variant has its own.
    ``fixed``: the model is not trained, so that there are no other seeds whose noise could be missing.
    """

    study: Study
    dataset: str
    name: str
    task: Task
    category: str
    people: frozenset[str]
    instances: int
    sampled: str
    samples: int
    scores: dict[str, dict[int, Scores]]
    spread: resample.Spread | None
    fixed: bool = False

    def row(self, variant: str) -> dict[str, Any]:
        """Return what all metrics of a variant have in common."""
        return {
            "task": self.name, "category": self.category, "variant": variant,
            "instances": self.instances, "sampled": self.sampled, "samples": self.samples,
        }  # fmt: skip

    def metrics(self, variant: str) -> Iterator[dict[str, Any]]:
        """Yield the numbers of each metric of a variant; the first one's with interval and verdict."""
        own, base = self.scores[variant], self.scores[ORIGINAL]
        for metric in (m for m in self.task.metrics if m.shown):
            primary = metric is self.task.metrics[0]
            values = np.array([s.measures[metric.name] for s in own.values() if metric.name in s.measures])
            if not primary and not len(values):
                continue
            found: dict[str, Any] = {
                "metric": metric.name, "role": PRIMARY if primary else SECONDARY, "unit": metric.unit,
                "best": metric.best, "value": values.mean() if len(values) else None,
                "value_std": values.std(ddof=1) if len(values) > 1 else None, "n_seeds": len(values),
            }  # fmt: skip
            differences = list(self.differences(variant, metric.name).values())
            if variant == ORIGINAL:
                found["difference"] = 0.0
            elif differences:
                found["difference"] = float(np.mean(differences))
            if primary:
                found |= self.judged(variant, np.array(differences), bool(own), [s for s in own if s in base])
            yield found

    def judged(self, variant: str, per_seed: np.ndarray, evaluated: bool, both: list[int]) -> dict[str, Any]:
        """Return interval and verdict of a variant."""
        if variant == ORIGINAL:
            return {"verdict": resample.REFERENCE}
        if not both:
            return {"verdict": resample.UNSURE if evaluated else resample.MISSING}
        first, own, base = self.task.metrics[0], self.scores[variant], self.scores[ORIGINAL]
        replicates = np.stack([own[s].replicates - base[s].replicates for s in both], axis=1)
        reference = float(np.mean([base[s].measures[first.name] for s in both]))
        freedom = self.spread.freedom if self.spread else len(both) - 1
        noise = resample.student(freedom + 1, self.study.bootstrap, self.study.seed, self.dataset)
        margin, learnt = self.study.margin_of(self.name), self.task.learnt(reference)
        found = resample.difference(
            per_seed, replicates, noise, margin, self.samples, learnt, self.spread, first.best, self.fixed
        )
        return {
            "difference": found.value, "difference_low": found.low, "difference_high": found.high,
            "verdict": found.verdict, "seeds_needed": found.seeds_needed, "samples_needed": found.images_needed,
        }  # fmt: skip

    def differences(self, variant: str, metric: str) -> dict[int, float]:
        """Return the differences of a metric to the original by seed, where both have it."""
        own, base = self.scores[variant], self.scores[ORIGINAL]
        return {
            s: own[s].measures[metric] - base[s].measures[metric]
            for s in own
            if s in base and metric in own[s].measures and metric in base[s].measures
        }

    def single(self, variant: str) -> Iterator[dict[str, Any]]:
        """Yield each seed's value of each metric."""
        for metric in (m for m in self.task.metrics if m.shown):
            role = PRIMARY if metric is self.task.metrics[0] else SECONDARY
            differences = self.differences(variant, metric.name)
            for seed, scores in self.scores[variant].items():
                if metric.name in scores.measures:
                    yield {
                        "seed": seed, "metric": metric.name, "role": role, "unit": metric.unit,
                        "value": scores.measures[metric.name], "difference": differences.get(seed),
                    }  # fmt: skip


def _compared(study: Study, dataset: str, model: str, runs: Runs, direction: str) -> Iterator[Compared]:
    """Yield what is compared over the variants: each task and category that the original has a score of.

    Where one model is tested on every variant, its seeds are paired and there are no trainings to pool a spread over.
    """
    one = next(iter(runs[ORIGINAL].values()))
    for name in tasks.known(list(one.evidence)):
        task, of = tasks.load(name), one.evidence[name]
        weights = resample.image_weights(len(of.groups), study.bootstrap, study.seed, dataset)
        scored = {
            variant: {seed: _scores(run, name, task, weights) for seed, run in seeds.items()}
            for variant, seeds in runs.items()
        }
        described = one.metrics["tasks"].get(name) or {"people": [], "instances": {}}
        people = frozenset(described["people"])
        of_original = list(scored[ORIGINAL].values())
        judged = [c for c in of.parts if any(c in f for f in of_original)]
        for found in (f for seeds in scored.values() for f in seeds.values()):
            found |= _means(found, judged, people, task)
        for category in dict.fromkeys((*judged, *(c for f in of_original for c in f))):
            scores = {v: {s: f[category] for s, f in seeds.items() if category in f} for v, seeds in scored.items()}
            first = task.metrics[0]
            values = [np.array([s.measures[first.name] for s in seeds.values()]) for seeds in scores.values()]
            yield Compared(
                study,
                dataset,
                name,
                task,
                category,
                people,
                _instances(described["instances"], category, people),
                of.sampled,
                len(of.groups),
                scores,
                None if direction == ON_DEPLOYED else resample.pooled(values, task.floor, first.best),
                not study.trains(model),
            )


def _describe(manifest: dict[str, Any] | None, variant: str, compared: Compared) -> dict[str, Any]:
    """Return what a variant's manifest says of it, and of whom in a category it has changed."""
    region, method, level = _name(variant, manifest)
    category = compared.category
    everything = manifest is not None and manifest.get("touches") == EVERYTHING
    group = CONTROL
    if category in compared.people:
        group = PEOPLE
    elif category in (ALL, UNTOUCHED):
        group = MEAN
    elif everything:
        group = TOUCHED
    whose = ALL if compared.task.all_people and group == PEOPLE else category
    share = _share(manifest, method, whose)
    return {"region": region, "method": method, "level": level, "group": group, "share_changed": share}


def subsets(study: Study, sources: Sources) -> pd.DataFrame:
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
                metrics = {m.name: m for m in tasks.load(task).metrics}
                role = PRIMARY if metric == next(iter(metrics)) else SECONDARY
                for variant in found:
                    own = found[variant].get((task, category, subset, metric), {})
                    both = [own[seed][0] - base[seed][0] for seed in own if seed in base]
                    _, instances, images = next(iter(base.values()))
                    rows.append(
                        {
                            "dataset": dataset, "model": model, "task": task, "category": category, "subset": subset,
                            "variant": variant, "metric": metric, "role": role, "unit": metrics[metric].unit,
                            "value": _mean([value for value, *_ in own.values()]), "n_seeds": len(own),
                            "difference": _mean(both), "instances": instances, "images": images,
                            "leaks": leaky,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(SUBSET_COLUMNS))


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _subsets_of(
    study: Study, sources: Sources, dataset: str, model: str, variant: str
) -> dict[tuple[str, str, str, str], dict[int, tuple[float, int, int]]]:
    """Return value, instances and images by seed of each task, category of people, subset and metric."""
    found: dict[tuple[str, str, str, str], dict[int, tuple[float, int, int]]] = {}
    for seed in study.seeds_of(model):
        path = sources.evaluation(Evaluation(dataset, variant, model, seed, ORIGINAL)) / "metrics.json"
        if not path.exists():
            continue
        metrics = read_json(path)
        for subset, value in metrics.get("subsets", {}).items():
            for task, measured in value["tasks"].items():
                people = metrics["tasks"][task]["people"]
                shown = [m.name for m in tasks.load(task).metrics if m.shown]
                for category, of in measured["parts"].items():
                    for metric in shown:
                        if category in people and of.get(metric) is not None:
                            at = found.setdefault((task, category, subset, metric), {})
                            at[seed] = (of[metric], value["instances"], value["images"])
    return found


def _instances(counts: dict[str, int], category: str, people: frozenset[str]) -> int:
    if category in counts:
        return int(counts[category])
    return sum(n for name, n in counts.items() if category == ALL or name not in people)


def _name(variant: str, manifest: dict[str, Any] | None) -> tuple[str, str, str]:
    """Return region, method and level: the manifest's where it has them, else the name's."""
    named = parts(variant)
    if variant == ORIGINAL or manifest is None:
        return named
    given = (manifest.get("region"), manifest.get("method"), manifest.get("level"))
    return tuple(str(g) if g else n for g, n in zip(given, named, strict=True))  # type: ignore[return-value]


def _share(manifest: dict[str, Any] | None, method: str, category: str) -> float:
    """Return the share (0..1) of a category's people that the variant changed; 0 for what is not people.

    The original and `identity` change nobody, whatever their manifests count as processed.
    """
    if manifest is None or method in (ORIGINAL, IDENTITY):
        return 0.0
    if manifest.get("touches") == EVERYTHING:
        return 1.0
    if category == UNTOUCHED:
        return 0.0
    if category == ALL:
        return float(manifest.get("share_changed") or 0.0)
    counts = people_of(manifest).get(category)
    if not counts or not counts["people"]:
        return 0.0
    return float(counts["anonymized"] / counts["people"])


def coverage(study: Study, sources: Sources) -> pd.DataFrame:
    """Return who was anonymized in the training splits: a row per data set, variant and category of people.

    Detections of nobody who is annotated, if any, have a row of their own, of category ``unannotated``. ``fitted_on``
    names the data set and split that a generator has learnt from, '' for a method without one.
    A column per reason counts the people who were left as they are (0 where the reason does not occur).
    """
    rows, reasons = [], [reason.value for reason in Reason]
    for dataset, splits in study.datasets.items():
        for variant in study.variants_of(dataset):
            manifest = sources.manifest(study, dataset, variant)
            if variant == ORIGINAL or manifest is None:
                continue
            region, method, _ = _name(variant, manifest)
            origin = manifest.get("fitted_on") or {}
            for category, counts in (people_of(manifest) | strangers_of(manifest)).items():
                found = counts.get("reasons") or {}
                reasons += [reason for reason in sorted(found) if reason not in reasons]
                rows.append(
                    {
                        "dataset": dataset, "split": splits["train"], "variant": variant, "region": region,
                        "method": method, "category": category, "people": counts["people"],
                        "anonymized": counts["anonymized"],
                        "share": counts["anonymized"] / counts["people"] if counts["people"] else None,
                        "fitted_on": " ".join(str(origin[key]) for key in ("dataset", "split") if key in origin),
                        **found,
                    }
                )  # fmt: skip
    frame = pd.DataFrame(rows, columns=[*COVERAGE_COLUMNS, *reasons])
    frame[reasons] = frame[reasons].fillna(0).astype(int)
    return frame


def ledger(study: Study, sources: Sources) -> pd.DataFrame:
    """Return the people of the training splits by kind of region, category, size, status and source.

    Empty for a study that anonymizes nothing. Raises AnonbenchError when a count is missing or damaged.
    """
    frames = [pd.DataFrame(columns=list(PEOPLE_COLUMNS))]
    for dataset, splits in study.datasets.items():
        if sources.annotations is None or study.variants_of(dataset) == [ORIGINAL]:
            continue
        path = sources.annotations / dataset / f"{splits['train']}.coverage.csv"
        try:
            frame = pd.read_csv(path, keep_default_na=False)
        except FileNotFoundError:
            raise AnonbenchError("no such table", file=path, remedy="run the annotate stage first") from None
        if list(frame.columns) != list(PEOPLE_COLUMNS[2:]):
            raise AnonbenchError("does not count people", file=path, remedy="run the annotate stage again")
        frames.append(frame.assign(dataset=dataset, split=splits["train"])[list(PEOPLE_COLUMNS)])
    return pd.concat(frames, ignore_index=True)


def training_record(sources: Sources, dataset: str, variant: str, model: str, seed: int) -> dict[str, Any] | None:
    """Return a training's ``train.json``, with its seconds and memory as ``timing`` where they are known, or None."""
    place = Path(dataset, variant, model, f"seed{seed}")
    if not (sources.models / place / "train.json").exists():
        return None
    record = read_json(sources.models / place / "train.json")
    timing = (sources.timings or sources.models) / place / "timing.json"
    record["timing"] = read_json(timing) if timing.exists() else {}
    return record


def evaluated(study: Study, dataset: str, evaluations: Path) -> dict[str, Any] | None:
    """Return the metrics.json of the first of a data set's evaluations that is there: all have the same counts."""
    for model in study.models:
        for direction in study.directions:
            for variant in study.told(dataset, model, direction):
                trained, tested = pair(direction, variant)
                for seed in study.seeds_of(model):
                    path = evaluations / Evaluation(dataset, trained, model, seed, tested).folder / "metrics.json"
                    if path.exists():
                        found: dict[str, Any] = read_json(path)
                        return found
    return None


def leaks(study: Study, sources: Sources, dataset: str, model: str) -> str:
    """Tell whether the first weights of a model's trainings have seen the data set: true, false or, unknown, ''.

    The trainings' records say so (``initialisation.leaks``).
    """
    said = set()
    for variant in study.trained(dataset, model):
        for seed in study.seeds_of(model):
            record = training_record(sources, dataset, variant, model, seed) or {}
            said.add((record.get("initialisation") or {}).get("leaks"))
    return LEAKS if True in said else "false" if False in said else ""


def curves(study: Study, sources: Sources, allow_missing: bool = False) -> pd.DataFrame:
    """Return the training loss, averaged over seeds, per iteration: the total and its terms; none of untrained models.

    Raises AnonbenchError when a training has no record, unless ``allow_missing``.
    """
    frames: list[pd.DataFrame] = []
    leaky = {(d, m): leaks(study, sources, d, m) for d in study.datasets for m in study.models}
    for dataset, model, variant, seed in study.trainings():
        record = training_record(sources, dataset, variant, model, seed)
        folder = sources.models / dataset / variant / model / f"seed{seed}"
        if record is None:
            if allow_missing:
                continue
            raise AnonbenchError("no such file", file=folder / "train.json", remedy="run the train stage first")
        if not study.trains(model):
            continue
        points = record.get("loss_curve")
        if not points or not all(isinstance(p, dict) and "iteration" in p for p in points):
            raise AnonbenchError("has no loss curve", file=folder / "train.json", entry="loss_curve")
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
