"""Reading of what the earlier stages wrote, and the numbers of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anonbench.errors import AnonbenchError
from anonbench.evaluate.matches import MatchFile, ap_from_matches
from anonbench.evaluate.matches import read as read_matches
from anonbench.files import read_json
from anonbench.manifests import summary_path
from anonbench.records import UNANNOTATED, Reason
from anonbench.report import resample
from anonbench.report.study import IDENTITY, ORIGINAL, TASKS, Study, parts

ALL, UNTOUCHED = "all", "untouched"
"""Names of the two means over categories: every one, and every one that is not people."""

PEOPLE, CONTROL, MEAN = "people", "control", "mean"
"""A row's group: people (what is anonymized), a category that nobody touched, a mean over several."""

LEAKS = "true"
"""In a table's column ``leaks``: the first weights of the row's models have seen the data set's original images."""

IMPACT_COLUMNS = (
    "dataset", "model", "task", "category", "group", "variant", "region", "method", "level", "ap", "ap_std", "ap50",
    "ap75", "n_seeds", "difference", "difference_low", "difference_high", "verdict", "seeds_needed", "images_needed",
    "share_changed", "instances", "images", "leaks",
)  # fmt: skip
SEED_COLUMNS = (
    "dataset", "model", "task", "category", "group", "variant", "seed", "ap", "ap50", "ap75", "difference", "leaks",
)  # fmt: skip
HANDLED = Reason.METHOD_FAILED.value
"""The one reason of people who count as anonymized all the same: a fallback covered them."""

COVERAGE_COLUMNS = (
    "dataset", "split", "variant", "region", "method", "category", "people", "anonymized", "share",
    "fitted_on",
)  # fmt: skip
SUBSET_COLUMNS = (
    "dataset", "model", "task", "category", "subset", "variant", "ap", "ap50", "n_seeds", "difference", "instances",
    "images", "leaks",
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

    def evaluation(self, dataset: str, variant: str, model: str, seed: int) -> Path:
        """Return the folder of one evaluation."""
        return self.evaluations / dataset / variant / model / f"seed{seed}"

    def manifest(self, study: Study, dataset: str, variant: str) -> dict[str, Any] | None:
        """Return a variant's training manifest; None for an original without one.

        Raises AnonbenchError when another variant has none, or one without its counts.
        """
        path = summary_path(self.anonymized / dataset / variant, study.datasets[dataset]["train"])
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
    """One evaluated model: metrics.json and matches.npz."""

    metrics: dict[str, Any]
    matches: MatchFile
    file: Path


def read_run(folder: Path) -> Run:
    """Read an evaluation; raise AnonbenchError when a file is missing or damaged."""
    metrics = read_json(folder / "metrics.json")
    try:
        measured = isinstance(metrics["tasks"], dict) and isinstance(metrics["counts"]["categories"], dict)
    except (KeyError, TypeError):
        measured = False
    if not measured:
        raise AnonbenchError("holds no metrics", file=folder / "metrics.json", remedy="delete it and evaluate again")
    return Run(metrics, read_matches(folder / "matches.npz"), folder)


def read_runs(
    study: Study, sources: Sources, dataset: str, model: str, allow_missing: bool
) -> dict[str, dict[int, Run]]:
    """Return the evaluations by variant and seed.

    Raises AnonbenchError for the first that is missing, unless ``allow_missing``; always when the original has none,
    or when two were not made on the same images.
    """
    runs: dict[str, dict[int, Run]] = {variant: {} for variant in study.trained(dataset, model)}
    first: Run | None = None
    for variant in runs:
        for seed in study.seeds:
            folder = sources.evaluation(dataset, variant, model, seed)
            if allow_missing and not (folder / "metrics.json").exists():
                continue
            run = read_run(folder)
            first = first or run
            same = np.array_equal(run.matches.image_ids, first.matches.image_ids)
            if not same or _truth(run) != _truth(first):
                raise AnonbenchError(
                    f"was not made on the same images and annotations as {first.file}",
                    file=folder,
                    remedy="evaluate both again",
                )
            runs[variant][seed] = run
    if not runs[ORIGINAL]:
        raise AnonbenchError(
            "the original has no evaluation, and every difference is taken to it",
            file=sources.evaluation(dataset, ORIGINAL, model, study.seeds[0]),
        )
    return runs


def _truth(run: Run) -> Any:
    return run.metrics.get("files", {}).get("annotations")


@dataclass(frozen=True)
class Scores:
    """AP of one run, task and category in per cent: ``point`` holds ap, ap50, ap75; ``replicates`` (B) ap."""

    point: np.ndarray
    replicates: np.ndarray


def _scores(run: Run, task: str, weights: np.ndarray, people: set[str]) -> dict[str, Scores]:
    """Return the scores of each category that was evaluated (null in metrics.json: skipped) and of the means."""
    found: dict[str, Scores] = {}
    given = (run.metrics["tasks"].get(task) or {}).get("categories") or {}
    for category, matches in run.matches.of.get(task, {}).items():
        point = ap_from_matches(matches)
        if not given.get(category) or np.isnan(point).all():
            continue
        chosen = np.array([point.mean(), point[0], point[5]])
        found[category] = Scores(100 * chosen, 100 * ap_from_matches(matches, weights).mean(axis=1))
    means = {ALL: list(found), UNTOUCHED: [c for c in found if c not in people]}
    if len(found) == len(means[UNTOUCHED]):
        means.pop(UNTOUCHED)
    for name, members in means.items():
        if len(members) > 1:
            replicates = np.stack([found[c].replicates for c in members])
            filled = np.isfinite(replicates)
            mean = np.where(filled, replicates, 0).sum(axis=0) / np.maximum(filled.sum(axis=0), 1)
            found[name] = Scores(np.mean([found[c].point for c in members], axis=0), mean)
    return found


def impact(study: Study, sources: Sources, allow_missing: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the impact table and the table of single seeds (see `IMPACT_COLUMNS`, `SEED_COLUMNS`).

    AP in per cent, differences in AP points. A variant without an evaluation raises AnonbenchError or, with
    ``allow_missing``, gets rows without numbers and the verdict 'not evaluated'.
    """
    rows: list[dict[str, Any]] = []
    seeds: list[dict[str, Any]] = []
    for dataset in study.datasets:
        manifests = {v: sources.manifest(study, dataset, v) for v in study.variants_of(dataset)}
        for model in study.models:
            if not study.trained(dataset, model):
                continue
            runs = read_runs(study, sources, dataset, model, allow_missing)
            leaky = leaks(study, sources, dataset, model)
            for row, single in _rows(study, dataset, model, runs, manifests):
                rows.append({**row, "leaks": leaky})
                seeds += [{**one, "leaks": leaky} for one in single]
    return pd.DataFrame(rows, columns=list(IMPACT_COLUMNS)), pd.DataFrame(seeds, columns=list(SEED_COLUMNS))


def _rows(
    study: Study,
    dataset: str,
    model: str,
    runs: dict[str, dict[int, Run]],
    manifests: dict[str, dict[str, Any] | None],
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    one = next(iter(runs[ORIGINAL].values()))
    images = len(one.matches.image_ids)
    people = set(one.metrics["counts"]["people"])
    counts = one.metrics["counts"]["categories"]
    weights = resample.image_weights(images, study.bootstrap, study.seed, dataset)
    for task in (t for t in TASKS if t in one.matches.of):
        scored = {
            variant: {seed: _scores(run, task, weights, people) for seed, run in of.items()}
            for variant, of in runs.items()
        }
        first = next(iter(scored[ORIGINAL].values()))
        for category in first:
            group = PEOPLE if category in people else MEAN if category in (ALL, UNTOUCHED) else CONTROL
            field = "with_keypoints" if task == "keypoints" else "instances"
            scores = [[of[category].point[0] for of in seeds.values() if category in of] for seeds in scored.values()]
            spread = resample.pooled([np.array(values) for values in scores])
            freedom = spread.freedom if spread else 0
            noise = resample.student(freedom + 1, study.bootstrap, study.seed, dataset)
            for variant in runs:
                region, method, level = _name(variant, manifests[variant])
                row: dict[str, Any] = {
                    "dataset": dataset, "model": model, "task": task, "category": category, "group": group,
                    "variant": variant, "region": region, "method": method, "level": level,
                    "n_seeds": sum(category in of for of in scored[variant].values()),
                    "share_changed": _share(manifests[variant], method, category),
                    "instances": _instances(counts, field, category, people), "images": images,
                }  # fmt: skip
                own = {s: of[category] for s, of in scored[variant].items() if category in of}
                base = {s: of[category] for s, of in scored[ORIGINAL].items() if category in of}
                both = [s for s in own if s in base]
                if own:
                    points = np.array([score.point for score in own.values()])
                    row |= dict(zip(("ap", "ap50", "ap75"), points.mean(axis=0), strict=True))
                    row["ap_std"] = points[:, 0].std(ddof=1) if len(points) > 1 else None
                row["verdict"] = resample.MISSING
                if variant == ORIGINAL:
                    row |= {"difference": 0.0, "verdict": resample.REFERENCE}
                elif both:
                    per_seed = np.array([own[s].point[0] - base[s].point[0] for s in both])
                    replicates = np.stack([own[s].replicates - base[s].replicates for s in both], axis=1)
                    reference = float(np.mean([base[s].point[0] for s in both]))
                    found = resample.difference(per_seed, replicates, noise, study.margin, images, reference, spread)
                    row |= {
                        "difference": found.value, "difference_low": found.low, "difference_high": found.high,
                        "verdict": found.verdict, "seeds_needed": found.seeds_needed,
                        "images_needed": found.images_needed,
                    }  # fmt: skip
                elif own:
                    row["verdict"] = resample.UNSURE
                key = {k: row[k] for k in ("dataset", "model", "task", "category", "group", "variant")}
                single = [
                    {
                        **key, "seed": s, "ap": score.point[0], "ap50": score.point[1], "ap75": score.point[2],
                        "difference": score.point[0] - base[s].point[0] if s in base else None,
                    }
                    for s, score in own.items()
                ]  # fmt: skip
                yield row, single


def subsets(study: Study, sources: Sources) -> pd.DataFrame:
    """Return AP on the data sets' evaluation subsets (easy, medium, hard): people only, means over seeds, no intervals.

    Reads the evaluations that are there; empty for data sets without subsets.
    """
    rows = []
    for dataset in study.datasets:
        for model in study.models:
            found = {v: _subsets_of(study, sources, dataset, model, v) for v in study.trained(dataset, model)}
            for (task, category, subset), base in found.get(ORIGINAL, {}).items():
                for variant in found:
                    own = found[variant].get((task, category, subset), [])
                    scores = pd.DataFrame(own, columns=["seed", "ap", "ap50", "instances", "images"])
                    joined = scores.merge(pd.DataFrame(base, columns=scores.columns), on="seed", suffixes=("", "_base"))
                    rows.append(
                        {
                            "dataset": dataset, "model": model, "task": task, "category": category, "subset": subset,
                            "variant": variant, "ap": scores.ap.mean(), "ap50": scores.ap50.mean(),
                            "n_seeds": len(scores), "difference": (joined.ap - joined.ap_base).mean(),
                            "instances": base[0][3], "images": base[0][4],
                            "leaks": leaks(study, sources, dataset, model),
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(SUBSET_COLUMNS))


def _subsets_of(
    study: Study, sources: Sources, dataset: str, model: str, variant: str
) -> dict[tuple[str, str, str], list[tuple[int, float, float, int, int]]]:
    """Return seed, AP, AP50, instances and images of each task, category of people and subset."""
    found: dict[tuple[str, str, str], list[tuple[int, float, float, int, int]]] = {}
    for seed in study.seeds:
        path = sources.evaluation(dataset, variant, model, seed) / "metrics.json"
        if not path.exists():
            continue
        metrics = read_json(path)
        for subset, value in metrics.get("subsets", {}).items():
            for task, scores in value["tasks"].items():
                for category, of in scores["categories"].items():
                    if category in metrics["counts"]["people"] and of["AP"] is not None:
                        row = (seed, of["AP"], of["AP50"], value["instances"], value["images"])
                        found.setdefault((task, category, subset), []).append(row)
    return found


def _instances(counts: dict[str, Any], field: str, category: str, people: set[str]) -> int:
    if category in counts:
        return int(counts[category].get(field) or 0)
    return sum(n.get(field) or 0 for name, n in counts.items() if category == ALL or name not in people)


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
    if manifest is None or category == UNTOUCHED or method in (ORIGINAL, IDENTITY):
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


def leaks(study: Study, sources: Sources, dataset: str, model: str) -> str:
    """Tell whether the first weights of a model's trainings have seen the data set: true, false or, unknown, ''.

    The trainings' records say so (``initialisation.leaks``).
    """
    said = set()
    for variant in study.trained(dataset, model):
        for seed in study.seeds:
            record = training_record(sources, dataset, variant, model, seed) or {}
            said.add((record.get("initialisation") or {}).get("leaks"))
    return LEAKS if True in said else "false" if False in said else ""


def curves(study: Study, sources: Sources, allow_missing: bool = False) -> pd.DataFrame:
    """Return the training loss, averaged over seeds, per iteration: the total and its terms.

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
