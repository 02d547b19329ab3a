"""The impact table: what each variant does to each metric, how sure that is, and what may be said of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from anonbench.directions import ON_DEPLOYED
from anonbench.errors import AnonbenchError
from anonbench.report.collect import (
    CONTROL,
    MEAN,
    OVERLAPPED,
    PEOPLE,
    PRIMARY,
    SECONDARY,
    TOUCHED,
    Run,
    Runs,
    Sources,
    common_seeds,
    difference,
    leaks,
    name_parts,
    people_of,
    read_runs,
)
from anonbench.report.controls import Boxes, boxes_of
from anonbench.report.judging import intervals, judged, kept
from anonbench.report.study import ORIGINAL, ReportStudy
from anonbench.statistics.contrasts import Contrast, Panel
from anonbench.statistics.family import Member, simultaneous_factor
from anonbench.statistics.power import Pilot, plan
from anonbench.statistics.resampling import FEWEST, effective
from anonbench.statistics.verdicts import MISSING, REFERENCE, UNSURE
from anonbench.tasks import base as tasks
from anonbench.tasks.base import ALL, UNTOUCHED, Task
from anonbench.variants import EVERYTHING, IDENTITY

CONFIRMATORY, EXPLORATORY = "primary", "exploratory"
"""A row's question: of the family that the study declares beforehand, whose intervals hold all at once, or not."""

IMPACT_COLUMNS = (
    "dataset", "model", "task", "category", "group", "direction", "variant", "region", "method", "level", "metric",
    "role", "unit", "best", "value", "value_std", "floor", "n_seeds", "difference", "difference_low", "difference_high",
    "simultaneous_low", "simultaneous_high", "equivalence_low", "equivalence_high", "question", "verdict",
    "kept", "kept_low", "kept_high", "error_seeds", "error_images", "freedom", "seeds_needed", "samples_needed",
    "samples_telling", "share_changed", "share_met", "instances", "sampled", "samples", "leaks",
)  # fmt: skip
"""Columns of impact.csv, a row per metric. ``direction``: see `directions.TESTED`; ``best``: whether ``higher`` or
``lower`` values are better; ``value_std``: standard deviation over seeds; ``floor``: value that models must reach to
have learnt anything, on the original for a difference to it to say something; ``difference_low`` and ``_high``: 95 %
interval of this row alone, ``simultaneous``: of all rows of the primary question together, ``equivalence``: 90 %, for
two one-sided tests; ``kept``: the share of the original's value, in per cent, with its 95 % interval; ``error_seeds``
and ``error_images``: standard errors of the difference, ``freedom``: their degrees of freedom; ``share_met``: the
share (0..1) of the training boxes of what is not people that hold a changed pixel; ``samples``: how many ``sampled``
(images, videos, people) intervals are taken over, ``samples_telling`` how many of them tell of the category (Kish's
effective number, by their objects). Values and differences are in ``unit``."""

SEED_COLUMNS = (
    "dataset", "model", "task", "category", "group", "direction", "variant", "seed", "metric", "role", "unit", "value",
    "difference", "leaks",
)  # fmt: skip


@dataclass(frozen=True)
class Scores:
    """One run, task and category: ``measures`` by metric, the first as scored anew; ``replicates`` (B) of the first.

    ``instances`` (G) counts the objects in each group that is drawn, None where the task does not say; ``floor`` is the
    least value of the first that tells of anything learnt.
    """

    measures: dict[str, float]
    replicates: np.ndarray
    instances: np.ndarray | None = None
    floor: float | None = None


def _scores(run: Run, name: str, task: Task) -> dict[str, Scores]:
    """Return the scores of each part that was judged."""
    found: dict[str, Scores] = {}
    judged = run.metrics["tasks"].get(name) or {"parts": {}, "people": []}
    first = task.metrics[0].name
    of = run.evidence[name]
    for category, arrays in of.parts.items():
        point = float(task.score(arrays))
        measures = judged["parts"].get(category) or {}
        if np.isnan(point) or measures.get(first) is None:
            continue
        others = {m.name: measures[m.name] for m in task.metrics[1:] if measures.get(m.name) is not None}
        found[category] = Scores(
            {first: point, **others}, of.replicates[category], arrays.get("instances"), task.floor_of(arrays)
        )
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
                _sum_of_known([found[c].instances for c in members]),
                _mean_floor([found[c].floor for c in members]),
            )
    return scores


def _sum_of_known(counts: list[np.ndarray | None]) -> np.ndarray | None:
    known = [of for of in counts if of is not None]
    return np.sum(known, axis=0) if len(known) == len(counts) else None


def _mean_floor(floors: list[float | None]) -> float | None:
    known = [floor for floor in floors if floor is not None]
    return float(np.mean(known)) if len(known) == len(floors) else None


def _mean_of_known(replicates: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis of what is finite, NaN where nothing is."""
    filled = np.isfinite(replicates)
    with np.errstate(invalid="ignore"):
        known: np.ndarray = np.where(filled, replicates, 0).sum(axis=0) / filled.sum(axis=0)
    return known


def impact(study: ReportStudy, sources: Sources, allow_missing: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the impact table and the table of single seeds (see `IMPACT_COLUMNS`, `SEED_COLUMNS`).

    A variant without an evaluation raises AnonbenchError or, with ``allow_missing``, gets rows without numbers and the
    verdict 'not evaluated'.
    """
    rows: list[dict[str, Any]] = []
    seeds: list[dict[str, Any]] = []
    for dataset in study.datasets:
        variants = study.variants_of(dataset)
        changed = {on: "val" if on == ON_DEPLOYED else "train" for on in study.directions}
        learnt = {ORIGINAL, *study.trained_on(dataset)}
        tested = {v for model in study.models for v in study.told(dataset, model, ON_DEPLOYED)}
        seen = {name: [v for v in variants if v in of] for name, of in (("train", learnt), ("val", tested))}
        manifests = {
            split: {v: sources.manifest(study, dataset, v, split) for v in seen[split]} for split in {*changed.values()}
        }
        boxes = {split: boxes_of(study, sources, dataset, split) for split in manifests}
        for model in study.models:
            if not study.trained(dataset, model):
                continue
            leaky = leaks(study, sources, dataset, model)
            for direction in study.directions:
                if not study.told(dataset, model, direction):
                    continue
                runs = read_runs(study, sources, dataset, model, allow_missing, direction)
                keys = {"dataset": dataset, "model": model, "direction": direction, "leaks": leaky}
                found = list(_compared(study, dataset, model, runs, direction))
                factor = _family_factor(study, dataset, found, direction)
                for compared in found:
                    for variant in runs:
                        manifest = manifests[changed[direction]][variant]
                        row = compared.row(variant) | _describe(manifest, variant, compared, boxes[changed[direction]])
                        rows += [{**row, **keys, **metric} for metric in compared.metrics(variant, factor)]
                        about = {"task": compared.name, "category": compared.category, "variant": variant}
                        single = compared.single(variant)
                        seeds += [{**about, "group": row["group"], **keys, **one} for one in single]
    declared = study.primary.category
    if declared is not None and rows and declared not in {row["category"] for row in rows if row.get("question")}:
        raise AnonbenchError(
            f"nothing was judged of '{declared}', only of {', '.join(dict.fromkeys(row['category'] for row in rows))}",
            entry="report.primary.category",
            remedy="name one of these, or none",
        )
    return pd.DataFrame(rows, columns=list(IMPACT_COLUMNS)), pd.DataFrame(seeds, columns=list(SEED_COLUMNS))


def asked(study: ReportStudy, sources: Sources, allow_missing: bool = False) -> Iterator[tuple[str, Compared]]:
    """Yield model and comparison of each task and category that the primary question asks about."""
    on = study.primary.direction
    for dataset in study.datasets:
        for model in study.models:
            if on in study.directions and study.trained(dataset, model) and study.told(dataset, model, on):
                runs = read_runs(study, sources, dataset, model, allow_missing, on)
                yield from ((model, one) for one in _compared(study, dataset, model, runs, on) if one.primary)


@dataclass(frozen=True)
class Compared:
    """One category of one task over all variants: ``scores`` by variant and seed.

    ``primary`` holds the variants that the study's primary question asks of here. ``pools``: each variant has trainings
    of its own, whose spread over seeds is theirs together. ``fixed``: the model is not trained, so that there are no
    other seeds whose noise could be missing (but those of a variant that is made anew for each seed).
    """

    study: ReportStudy
    dataset: str
    name: str
    task: Task
    category: str
    people: frozenset[str]
    instances: int
    sampled: str
    samples: int
    scores: dict[str, dict[int, Scores]]
    primary: frozenset[str] = frozenset()
    pools: bool = True
    fixed: bool = False
    _panels: dict[tuple[int, ...], tuple[list[str], Panel]] = field(default_factory=dict, repr=False, compare=False)
    _rivals: dict[tuple[int, ...], tuple[list[str], Panel]] = field(default_factory=dict, repr=False, compare=False)

    def row(self, variant: str) -> dict[str, Any]:
        """Return what all metrics of a variant have in common."""
        return {
            "task": self.name, "category": self.category, "variant": variant,
            "instances": self.instances, "sampled": self.sampled, "samples": self.samples,
        }  # fmt: skip

    def of(self, variant: str, seed: int) -> Scores | None:
        """Return the scores of a variant with a seed; where neither model nor variant has any, the only ones."""
        own = self.scores[variant]
        return next(iter(own.values()), None) if self.is_fixed(variant) else own.get(seed)

    def common(self, variant: str, base: str) -> tuple[int, ...]:
        """Return the seeds that two variants both have; what is fixed stands beside as many as the other has."""
        whose = base if self.is_fixed(variant) else variant
        other = variant if whose == base else base
        return tuple(s for s in self.scores[whose] if self.of(other, s) is not None)

    def seeds(self, variant: str) -> tuple[int, ...]:
        """Return the seeds that a variant and the original both have."""
        return self.common(variant, ORIGINAL)

    def seeds_of_original(self, variant: str) -> tuple[int, ...]:
        """Return the seeds of the original that a variant is compared with: the common ones, then further ones.

        Where one model is tested on every variant, or a variant is made anew for each seed, there is nothing but pairs.
        """
        return self._whole(variant) if variant not in self.study.refitted else self.seeds(variant)

    def _whole(self, variant: str) -> tuple[int, ...]:
        further = self.study.original_seeds if self.pools else ()
        return common_seeds(self.scores[variant], self.scores[ORIGINAL], further)[1]

    def is_fixed(self, variant: str) -> bool:
        """Tell whether neither the model nor the variant would be another with another seed."""
        return self.fixed and variant not in self.study.refitted

    def contrast(self, variant: str, ratio: float = 1.0) -> Contrast:
        """Return the contrast of a variant to the original, with which it has one seed or more in common."""
        seeds = self.seeds(variant)
        if seeds not in self._panels:
            named, values, replicates = self._over(seeds, list(self.scores))
            more = [self.scores[ORIGINAL][s] for s in self._whole(variant)[len(seeds) :]]
            further = np.array([one.measures[self.task.metrics[0].name] for one in more])
            means = [float(np.concatenate([values[0], further]).mean()), *map(float, values[1:].mean(axis=1))]
            learnt = np.array([self.learnt(*one) for one in zip(named, means, strict=True)])
            drawn = np.array([one.replicates for one in more]) if more else None
            apart = np.array([v in self.study.refitted for v in named])
            panel = Panel(values, replicates, self.telling, learnt, self.pools, further, drawn, apart)
            self._panels[seeds] = named, panel
        named, panel = self._panels[seeds]
        return panel.contrast(named.index(variant), ratio)

    def _over(self, seeds: tuple[int, ...], variants: list[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Return which variants have all the seeds, the original first, with their values and replicates."""
        every = {v: [self.of(v, s) for s in seeds] for v in sorted(variants, key=lambda v: v != ORIGINAL)}
        found = {v: [one for one in of if one is not None] for v, of in every.items()}
        whole = {v: of for v, of in found.items() if len(of) == len(seeds)}
        first = self.task.metrics[0].name
        values = np.array([[one.measures[first] for one in of] for of in whole.values()])
        return list(whole), values, np.array([[one.replicates for one in of] for of in whole.values()])

    def rivals(self, seeds: tuple[int, ...], variant: str, base: str) -> Contrast:
        """Return the contrast of a variant to another one, or to the original, over seeds that both have."""
        if base == ORIGINAL:
            return self.contrast(variant)
        if seeds not in self._rivals:
            named, values, replicates = self._over(seeds, [v for v in self.scores if v != ORIGINAL])
            means = values.mean(axis=1).tolist()
            learnt = np.array([self.learnt(*one) for one in zip(named, means, strict=True)])
            apart = np.array([v in self.study.refitted for v in named])
            self._rivals[seeds] = named, Panel(values, replicates, self.telling, learnt, self.pools, apart=apart)
        named, panel = self._rivals[seeds]
        return panel.against(named.index(variant), named.index(base))

    @cached_property
    def telling(self) -> float:
        """Return how many of the images (videos) tell of the category."""
        counts = next((s.instances for s in self.scores[ORIGINAL].values()), None)
        return self.samples if counts is None else min(effective(counts), self.samples)

    def floor(self, variant: str) -> float | None:
        """Return the least value of the first metric that tells of anything learnt from a variant."""
        return max((s.floor for s in self.scores[variant].values() if s.floor is not None), default=None)

    def learnt(self, variant: str, value: float) -> bool:
        """Tell whether models with such a mean of the first metric have learnt anything from a variant."""
        return self.task.learnt(value, self.floor(variant))

    @cached_property
    def worth(self) -> bool:
        """Tell whether models that have seen the original have learnt anything that a variant could lose."""
        first = self.task.metrics[0].name
        values = [s.measures[first] for s in self.scores[ORIGINAL].values()]
        return bool(values) and self.learnt(ORIGINAL, float(np.mean(values)))

    @cached_property
    def contrasts(self) -> dict[str, Contrast]:
        """Return the contrast of every variant that has one."""
        return {v: self.contrast(v) for v in self.scores if v != ORIGINAL and self.seeds(v)}

    def metrics(self, variant: str, factor: float) -> Iterator[dict[str, Any]]:
        """Yield the numbers of each metric of a variant; the first one's with intervals and verdict."""
        own = self.scores[variant]
        for metric in (m for m in self.task.metrics if m.shown):
            primary = metric is self.task.metrics[0]
            common = [own[s] for s in self.seeds(variant)] or list(own.values())
            values = np.array([s.measures[metric.name] for s in common if metric.name in s.measures])
            if not primary and not len(values):
                continue
            found: dict[str, Any] = {
                "metric": metric.name, "role": PRIMARY if primary else SECONDARY, "unit": metric.unit,
                "best": metric.best, "value": values.mean() if len(values) else None,
                "value_std": values.std(ddof=1) if len(values) > 1 else None,
                "floor": self.floor(variant) if primary else None, "n_seeds": len(values),
            }  # fmt: skip
            if variant == ORIGINAL:
                found["difference"] = 0.0
            else:
                found["difference"] = self.difference(variant, metric.name)
            if primary:
                found |= self.decided(variant, factor)
            yield found

    def decided(self, variant: str, factor: float) -> dict[str, Any]:
        """Return intervals and verdict of a variant; ``factor`` widens those of the primary question."""
        if variant == ORIGINAL:
            return {"verdict": REFERENCE}
        question = CONFIRMATORY if variant in self.primary else EXPLORATORY
        contrast = self.contrasts.get(variant)
        if contrast is None:
            return {"question": question, "verdict": UNSURE if self.scores[variant] else MISSING}
        found: dict[str, Any] = {"difference": contrast.value, "question": question, "verdict": UNSURE}
        if contrast.replicates is None or not len(contrast.replicates):
            return found
        found |= intervals(contrast, factor if question == CONFIRMATORY else None)
        seeds = self.seeds(variant)
        first = self.task.metrics[0]
        whole = [one for s in self.seeds_of_original(variant) if (one := self.of(ORIGINAL, s)) is not None]
        reference = float(np.mean([one.measures[first.name] for one in whole]))
        learnt = self.learnt(ORIGINAL, reference)
        if learnt and reference > 0 and first.best == "higher":
            found |= kept(contrast.value, reference, functools.partial(self.contrast, variant))
        found |= {
            "error_seeds": contrast.part(images=False) ** 0.5 if len(seeds) > 1 else None,
            "error_images": contrast.part(images=True) ** 0.5,
            "freedom": contrast.freedom if np.isfinite(contrast.freedom) else None,
            "samples_telling": self.telling,
        }
        fixed = self.is_fixed(variant)
        if (len(seeds) < 2 and not fixed) or self.telling < FEWEST or certain(contrast):
            return found
        margin = self.study.margin_of(self.name)
        found["verdict"] = judged(found, margin, learnt, first.best)
        if judged(found, margin, True, first.best) == UNSURE:  # more of either could not make the original learn
            widened = factor if question == CONFIRMATORY else 1.0
            planned = plan(Pilot.of(contrast, self.samples, widened, not fixed), margin, least=len(seeds))
            found |= {"seeds_needed": planned.seeds, "samples_needed": planned.images}
        return found

    def difference(self, variant: str, metric: str) -> float | None:
        """Return the difference of a metric's mean to the original's, over the seeds that are compared."""
        own, common = self.scores[variant], self.differences(variant, metric)
        whole = [s for s in self.seeds_of_original(variant) if s in common or s not in own]
        base = [one.measures for s in whole if (one := self.of(ORIGINAL, s)) is not None]
        known = [of[metric] for of in base if metric in of]
        return difference([own[s].measures[metric] for s in common], known)

    def differences(self, variant: str, metric: str) -> dict[int, float]:
        """Return the differences of a metric to the original by seed, where both have it."""
        return {
            s: own.measures[metric] - base.measures[metric]
            for s, own in self.scores[variant].items()
            if (base := self.of(ORIGINAL, s)) is not None and metric in own.measures and metric in base.measures
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


def certain(contrast: Contrast) -> bool:
    """Tell whether different models show no spread at all, which says that too little was measured, not certainty."""
    return bool(contrast.terms) and contrast.variance == 0


def _family_factor(study: ReportStudy, dataset: str, found: list[Compared], direction: str) -> float:
    """Return the factor that widens the intervals of a model's primary question on a data set."""
    if direction != study.primary.direction:
        return 1.0
    members = [
        Member(f"{compared.name} {compared.category}", compared.sampled, contrast)
        for compared in found
        for variant, contrast in compared.contrasts.items()
        if variant in compared.primary
    ]
    return simultaneous_factor(members, study.seed, dataset)


def _compared(study: ReportStudy, dataset: str, model: str, runs: Runs, direction: str) -> Iterator[Compared]:
    """Yield what is compared over the variants: each task and category that the original has a score of.

    Where one model is tested on every variant, its seeds are paired and there are no trainings to pool a spread over.
    """
    one = next(iter(runs[ORIGINAL].values()))
    names = tasks.known(list(one.evidence))
    for name in names:
        task, of = study.task(name), one.evidence[name]
        scored = {
            variant: {seed: _scores(run, name, task) for seed, run in seeds.items()} for variant, seeds in runs.items()
        }
        described = one.metrics["tasks"].get(name) or {"people": [], "instances": {}}
        people = frozenset(described["people"])
        of_original = list(scored[ORIGINAL].values())
        judged = [c for c in of.parts if any(c in f for f in of_original)]
        for found in (f for seeds in scored.values() for f in seeds.values()):
            found |= _means(found, judged, people, task)
        asked = None
        primary = study.primary
        if primary.asks(model) and direction == primary.direction and name in primary.tasks_of(names):
            asked = primary.category_of(judged, [c for c in judged if c in people])
        for category in dict.fromkeys((*judged, *(c for f in of_original for c in f))):
            scores = {v: {s: f[category] for s, f in seeds.items() if category in f} for v, seeds in scored.items()}
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
                primary.variants_of(study.told(dataset, model, direction)) if category == asked else frozenset(),
                direction != ON_DEPLOYED,
                not study.trains(model),
            )


def _describe(manifest: dict[str, Any] | None, variant: str, compared: Compared, boxes: Boxes) -> dict[str, Any]:
    """Return what a variant's manifest says of it, and of whom, or of which ``boxes``, in a category it has changed."""
    region, method, level = name_parts(variant, manifest)
    category = compared.category
    everything = manifest is not None and manifest.get("touches") == EVERYTHING
    met = None if category in compared.people or category == ALL else boxes.share(region, category)
    if met is not None and (everything or method in (ORIGINAL, IDENTITY)):
        met = float(everything and method != IDENTITY)
    group = OVERLAPPED if met else CONTROL
    if category in compared.people:
        group = PEOPLE
    elif category in (ALL, UNTOUCHED):
        group = MEAN
    elif everything:
        group = TOUCHED
    whose = ALL if compared.task.all_people and group == PEOPLE else category
    share = _share(manifest, method, whose)
    return {
        "region": region, "method": method, "level": level, "group": group, "share_changed": share, "share_met": met,
    }  # fmt: skip


def _instances(counts: dict[str, int], category: str, people: frozenset[str]) -> int:
    if category in counts:
        return int(counts[category])
    return sum(n for name, n in counts.items() if category == ALL or name not in people)


def _share(manifest: dict[str, Any] | None, method: str, category: str) -> float:
    """Return the share (0..1) of a category's people that the variant changed; 0 for what is not people.

    The original and `identity` change nobody, whatever their manifests count as processed; of what is not people all
    is changed where whole images are.
    """
    if manifest is None or method in (ORIGINAL, IDENTITY):
        return 0.0
    other = 1.0 if manifest.get("touches") == EVERYTHING else 0.0
    if category == UNTOUCHED:
        return other
    if category == ALL:
        share = manifest.get("share_changed")
        return other if share is None else float(share)
    counts = people_of(manifest).get(category)
    if not counts or not counts["people"]:
        return other
    return float(counts["anonymized"] / counts["people"])
