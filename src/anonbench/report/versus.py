"""Variants against each other: what one keeps and gives away beyond another, beside the differences to the original."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from anonbench.report.attempts import Attempt, seeds_of_both
from anonbench.report.collect import Sources
from anonbench.report.gates import Attempts, able, strongest
from anonbench.report.impact import Compared, asked, certain
from anonbench.report.privacy import attempts_of, headline_of
from anonbench.report.privacy_text import named
from anonbench.report.study import ORIGINAL, ReportStudy, phrase
from anonbench.report.tables import interval_of, is_number, joined, number, rows_of, span
from anonbench.statistics.family import Member, simultaneous_intervals
from anonbench.statistics.resampling import FEWEST
from anonbench.statistics.verdicts import UNSURE
from anonbench.tasks.base import title

VERSUS_COLUMNS = (
    "dataset", "half", "model", "task", "category", "direction", "attack", "attacker", "measure", "size", "unit",
    "best", "variant", "reference", "difference", "difference_low", "difference_high", "simultaneous_low",
    "simultaneous_high", "n_seeds",
)  # fmt: skip
"""Columns of versus.csv, a row per variant and reference. ``half``: what is ``kept`` (the first metric in what the
study's primary question asks about, in ``unit``) or ``found`` (what an attack is judged by, by the strongest attacker
of each of the two, 0..1 but for R2; where several detectors look, by the same ``attacker`` in both). ``best``:
whether ``higher`` or ``lower`` values keep more, '' of what is found. ``difference``: variant minus reference, with its
95 % interval by itself, paired over seeds and over images or people, and ``simultaneous``, of all pairs of variant and
reference together (`family.simultaneous_intervals`); where the primary question names its variants, of their pairs
with others alone. In what is kept variants share a spread over seeds, and each
reference has one of its own (`Panel.against`). Both are empty where there is no verdict of a difference to the original
either: with one seed of what learns, with too few images or people, and where the original itself was not learnt."""
KEPT, FOUND = "kept", "found"
NO_LESS, LESS = "no less", "less"


def versus(study: ReportStudy, sources: Sources, allow_missing: bool = False) -> pd.DataFrame:
    """Return every variant against the study's references (`ReportStudy.against`), which are there for all to beat.

    Raises AnonbenchError when an evaluation or attack is missing or damaged.
    """
    rows = [row for model, compared in asked(study, sources, allow_missing) for row in _kept(study, model, compared)]
    if sources.attacks is not None:
        rows += list(_found(study, sources.attacks))
    return pd.DataFrame(rows, columns=list(VERSUS_COLUMNS))


def _pairs(study: ReportStudy, there: list[str]) -> list[tuple[str, str]]:
    return [
        (variant, reference)
        for reference in study.against
        for variant in there
        if variant not in (reference, ORIGINAL) and reference in there
    ]


def _kept(study: ReportStudy, model: str, compared: Compared) -> Iterator[dict[str, Any]]:
    first = compared.task.metrics[0]
    rows: list[tuple[dict[str, Any], Member | None]] = []
    for variant, reference in _pairs(study, list(compared.scores)):
        seeds = compared.common(variant, reference)
        if not seeds:
            continue
        # of two references the original or the first is the base, whichever is told of the other: one interval
        base = next(one for one in (ORIGINAL, *study.against) if one in (variant, reference))
        other = reference if base == variant else variant
        contrast = compared.rivals(seeds, other, base)
        fixed = compared.is_fixed(variant) and compared.is_fixed(reference)
        sure = (len(seeds) > 1 or fixed) and compared.telling >= FEWEST and not certain(contrast) and compared.worth
        row = {
            "dataset": compared.dataset, "half": KEPT, "model": model, "task": compared.name,
            "category": compared.category, "direction": study.primary.direction, "measure": first.name,
            "unit": first.unit, "best": first.best, "variant": variant, "reference": reference, "n_seeds": len(seeds),
            "difference": contrast.value if base == reference else -contrast.value,
        }  # fmt: skip
        rows.append((row, Member(repr(seeds), compared.sampled, contrast, other, base) if sure else None))
    yield from _with_ends(rows, study, compared.dataset, model, compared.name, compared.category)


def _found(study: ReportStudy, attacks: Path) -> Iterator[dict[str, Any]]:
    for dataset, attack, found in attempts_of(study, attacks):
        key = headline_of(found)
        compared = [(who, of, _pairs(study, list(of))) for who, of in _by(found)]
        rows: list[tuple[dict[str, Any], Member | None]] = []
        for who, of, variant, reference in ((who, of, *pair) for who, of, pairs in compared for pair in pairs):
            one, other = of[variant], of[reference]
            if key is None or one.sample != other.sample or key not in one.measures or key not in other.measures:
                continue
            own, base = one.measures[key], other.measures[key]
            contrast, seeds = own.less(base), seeds_of_both(own, base)
            if seeds is None:
                continue
            assert study.attacks is not None
            once = attack in study.attacks.once or (own.fixed and base.fixed)
            fixed = once and not {variant, reference} & {*study.refitted}
            row = {
                "dataset": dataset, "half": FOUND, "attack": attack, "attacker": who, "measure": key[0], "size": key[1],
                "variant": variant, "reference": reference, "n_seeds": seeds, "difference": own.value - base.value,
            }  # fmt: skip
            member = None
            if contrast is not None and (seeds > 1 or fixed) and not certain(contrast):
                member = Member(who, repr(one.sample), contrast, variant, reference)
            rows.append((row, member))
        yield from _with_ends(rows, study, dataset, attack)


def _by(found: Mapping[str, Attempts]) -> Iterator[tuple[str, dict[str, Attempt]]]:
    """Yield whose attempts are compared, by variant: the strongest attacker's of each, with '' for a name.

    Of detectors, each one's: where one looks for faces and one for people, more found by the one is not less by the
    other.
    """
    every = {variant: able(of) for variant, of in found.items()}
    names = dict.fromkeys(name for of in every.values() for name in of)
    learns = any("view" in one.attacker for of in every.values() for one in of.values())
    if learns or len(names) < 2:
        yield "", {variant: of[name] for variant, of in found.items() if (name := strongest(of)) is not None}
        return
    for name in names:
        yield name, {variant: of[name] for variant, of in every.items() if name in of}


def _with_ends(
    rows: list[tuple[dict[str, Any], Member | None]], study: ReportStudy, *names: str
) -> Iterator[dict[str, Any]]:
    """Yield rows with the intervals of their differences, each by itself and those of the family all together."""
    family = set(study.primary.variants or study.variants)
    asked_about = [bool(family & {row["variant"], row["reference"]}) for row, _ in rows]
    members = [member for (_, member), told in zip(rows, asked_about, strict=True) if member is not None and told]
    together = iter(simultaneous_intervals(members, "versus", study.seed, *names))
    for (row, member), told in zip(rows, asked_about, strict=True):
        if member is None:
            yield row
            continue
        found = {"difference": member.contrast.interval()}
        if told:
            found["simultaneous"] = next(together)
        for name, (low, high) in found.items():
            ends = (low, high) if member.base == row["reference"] else (-high, -low)
            row |= {f"{name}_low": ends[0], f"{name}_high": ends[1]}
        yield row


def told(table: pd.DataFrame, study: ReportStudy) -> list[str]:
    """Return a sentence per data set, attack (of detectors each) and reference on who beats it, from versus.csv.

    A variant beats a reference where less is found and no less is kept, by the intervals that hold for all pairs of
    variant and reference together: that of what is found lies below zero, and that of what is kept above the study's
    negative margin, in every model, task and category that the primary question asks about. Its worst one is told.
    Where that question names its variants, nothing is said of pairs without one of them.
    """
    said = []
    for (dataset, reference), part in table.groupby(["dataset", "reference"], sort=False):
        judged = {
            str(variant): _worst(rows_of(rows), study)
            for variant, rows in part[part.half == KEPT].groupby("variant", sort=False)
        }
        family = study.primary.variants
        whole = not family or reference in family
        asked_about = part[(part.half == FOUND) & (whole | part.variant.isin(family))].fillna({"attacker": ""})
        for (attack, attacker), found in asked_about.groupby(["attack", "attacker"], sort=False):
            lower = [row for row in rows_of(found) if is_number(row.simultaneous_high) and row.simultaneous_high < 0]
            first: Any = rows_of(found)[0]
            measure = named(first.measure, first.size)
            tried = f"{attack} by {attacker}" if attacker else attack
            start = f"{dataset}, {tried}, against {phrase(str(reference))} ({reference}): "
            if not lower:
                unknown = not found.simultaneous_high.map(is_number).any()
                said.append(
                    f"{start}too little was tried to tell who gives away less ({measure})."
                    if unknown
                    else f"{start}{_none_of([] if whole else list(found.variant))} to give away less ({measure})."
                )
                continue
            words = joined(f"{row.variant} ({_points(row)} {measure})" for row in lower)
            text = f"{start}{words} {'gives' if len(lower) == 1 else 'give'} away less"
            if not judged:
                said.append(f"{text}.")
                continue
            by: dict[str, list[str]] = {}
            for row in lower:
                verdict, words = judged.get(row.variant, (UNSURE, "no model was tried"))
                by.setdefault(verdict, []).append(f"{row.variant} ({words})")
            each = [
                f"{joined(by[verdict])} {one if len(by[verdict]) == 1 else several}"
                for verdict, one, several in KINDS
                if verdict in by
            ]
            said.append(f"{text}; of these {'; '.join(each)}.")
    return said


def _none_of(variants: Sequence[str]) -> str:
    if len(variants) == 1:
        return f"{variants[0]} was not seen"
    return f"none of {joined(variants)} was seen" if variants else "no variant was seen"


KINDS = (
    (NO_LESS, "keeps no less, by the margin", "keep no less, by the margin"),
    (LESS, "keeps less", "keep less"),
    (UNSURE, "may keep less: one cannot tell", "may keep less: one cannot tell"),
)
"""What is said of the variants that keep as much, that keep less, and of which one cannot tell."""


def _worst(rows: list[Any], study: ReportStudy) -> tuple[str, str]:
    """Return whether a variant keeps less than a reference, from its rows of what is kept, and the worst in words.

    The worst is the one whose interval reaches farthest below, in margins; one without an interval is worse.
    """
    verdicts = {_verdict(row, study) for row in rows}
    verdict = next(one for one in (LESS, UNSURE, NO_LESS) if one in verdicts)
    of: Any = min((row for row in rows if _verdict(row, study) == verdict), key=lambda row: _least(row, study))
    where = [title(of.task, of.measure)]
    where += [of.category] if len({row.category for row in rows}) > 1 else []
    where += [of.model] if len({row.model for row in rows}) > 1 else []
    ends = interval_of(of, "simultaneous")
    interval = span(ends) if ends else "no interval"
    return verdict, f"{', '.join(where)}: {number(of.difference, True)}, {interval}"


def _kept_ends(row: Any) -> tuple[float, float] | None:
    """Return the interval of how much more is kept; higher is more."""
    ends = interval_of(row, "simultaneous")
    return ends if ends is None or row.best != "lower" else (-ends[1], -ends[0])


def _least(row: Any, study: ReportStudy) -> float:
    """Return, in margins, how much more a variant keeps at least."""
    ends = _kept_ends(row)
    return float("-inf") if ends is None else ends[0] / study.margin_of(row.task)


def _verdict(row: Any, study: ReportStudy) -> str:
    """Judge a row of what is kept; a loss within the margin is none, as in `statistics.verdicts`."""
    ends = _kept_ends(row)
    if ends is None:
        return UNSURE
    if ends[0] > -study.margin_of(row.task):
        return NO_LESS
    return LESS if ends[1] < 0 else UNSURE


def _points(row: Any) -> str:
    ends = (100 * row.simultaneous_low, 100 * row.simultaneous_high)
    return f"{number(100 * row.difference, True)}, {span(ends)}"
