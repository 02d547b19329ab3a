"""Variants against each other: what one keeps and gives away beyond another, beside the differences to the original."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anonbench.report.attempts import Attempt
from anonbench.report.collect import Sources
from anonbench.report.gates import strongest
from anonbench.report.impact import Compared, asked
from anonbench.report.privacy import attempts_of, headline_of
from anonbench.report.privacy_text import named
from anonbench.report.study import ORIGINAL, ReportStudy, phrase
from anonbench.report.tables import interval_of, is_number, joined, number, rows_of, span
from anonbench.statistics.contrasts import Contrast, Panel
from anonbench.tasks.base import title

VERSUS_COLUMNS = (
    "dataset", "half", "model", "task", "category", "direction", "attack", "measure", "size", "unit", "variant",
    "reference", "difference", "difference_low", "difference_high", "n_seeds",
)  # fmt: skip
"""Columns of versus.csv, a row per variant and reference. ``half``: what is ``kept`` (the first metric in what the
study's primary question asks about, in ``unit``) or ``found`` (what an attack is judged by, by the strongest attacker
of each of the two, 0..1 but for R2). ``difference``: variant minus reference, with its 95 % interval, each by itself,
paired over seeds and over images or people."""
KEPT, FOUND = "kept", "found"


def versus(study: ReportStudy, sources: Sources, allow_missing: bool = False) -> pd.DataFrame:
    """Return every variant against the study's references (`ReportStudy.against`), which are there for all to beat.

    Raises AnonbenchError when an evaluation or attack is missing or damaged.
    """
    rows = [row for model, compared in asked(study, sources, allow_missing) for row in _kept(study, model, compared)]
    if sources.attacks is not None:
        rows += list(_found(study, sources.attacks))
    return pd.DataFrame(rows, columns=list(VERSUS_COLUMNS))


def _pairs(study: ReportStudy, there: list[str]) -> Iterator[tuple[str, str]]:
    for reference in study.against:
        for variant in there:
            if variant not in (reference, ORIGINAL) and reference in there:
                yield variant, reference


def _kept(study: ReportStudy, model: str, compared: Compared) -> Iterator[dict[str, Any]]:
    first = compared.task.metrics[0]
    for variant, reference in _pairs(study, list(compared.scores)):
        own, base = compared.scores[variant], compared.scores[reference]
        seeds = [seed for seed in own if seed in base]
        if not seeds:
            continue
        values = np.array([[of[s].measures[first.name] for s in seeds] for of in (base, own)])
        replicates = np.array([[of[s].replicates for s in seeds] for of in (base, own)])
        learnt = np.array([compared.task.learnt(float(mean)) for mean in values.mean(axis=1)])
        contrast = Panel(values, replicates, compared.telling, learnt, pools=False).contrast(1)
        yield {
            "dataset": compared.dataset, "half": KEPT, "model": model, "task": compared.name,
            "category": compared.category, "direction": study.primary.direction, "measure": first.name,
            "unit": first.unit, "variant": variant, "reference": reference, **_ends(contrast, len(seeds)),
        }  # fmt: skip


def _found(study: ReportStudy, attacks: Path) -> Iterator[dict[str, Any]]:
    for dataset, attack, found in attempts_of(study, attacks):
        best: dict[str, Attempt] = {
            variant: of[name] for variant, of in found.items() if (name := strongest(of)) is not None
        }
        key = headline_of(found)
        for variant, reference in _pairs(study, list(best)):
            one, other = best[variant], best[reference]
            if key is None or one.sample != other.sample or key not in one.measures or key not in other.measures:
                continue
            contrast = one.measures[key].less(other.measures[key])
            if contrast is not None:
                yield {
                    "dataset": dataset, "half": FOUND, "attack": attack, "measure": key[0], "size": key[1],
                    "variant": variant, "reference": reference, **_ends(contrast, len(one.measures[key].values)),
                }  # fmt: skip


def _ends(contrast: Contrast, seeds: int) -> dict[str, Any]:
    low, high = contrast.interval()
    return {"difference": contrast.value, "difference_low": low, "difference_high": high, "n_seeds": seeds}


def told(table: pd.DataFrame) -> list[str]:
    """Return a sentence per data set and reference on who beats it, from versus.csv.

    A variant beats a reference where less is found, the interval without zero, and no less is kept, as far as can be
    told: the interval of what is kept does not lie below zero.
    """
    said = []
    for (dataset, reference), part in table.groupby(["dataset", "reference"], sort=False):
        for attack, found in part[part.half == FOUND].groupby("attack", sort=False):
            kept = {row.variant: row for row in rows_of(part[part.half == KEPT])}
            lower = [row for row in rows_of(found) if is_number(row.difference_high) and row.difference_high < 0]
            both = [row for row in lower if row.variant in kept and not _less(kept[row.variant])]
            first: Any = rows_of(found)[0]
            measure = named(first.measure, first.size)
            start = f"{dataset}, {attack}, against {phrase(str(reference))} ({reference}): "
            if not lower:
                said.append(f"{start}no variant was seen to give away less ({measure}).")
                continue
            words = joined(f"{row.variant} ({_points(row)} {measure})" for row in lower)
            text = f"{start}{words} {'gives' if len(lower) == 1 else 'give'} away less"
            if not kept:
                said.append(f"{text}.")
                continue
            these = joined(
                f"{row.variant} ({number(kept[row.variant].difference, True)}, "
                f"{span(interval_of(kept[row.variant]))} {title(kept[row.variant].task)})"
                for row in both
            )
            said.append(
                f"{text}; of these {these or 'none'} {'was' if len(both) < 2 else 'were'} not seen to keep less."
            )
    return said


def _less(row: Any) -> bool:
    return bool(is_number(row.difference_high) and row.difference_high < 0)


def _points(row: Any) -> str:
    ends = (100 * row.difference_low, 100 * row.difference_high)
    return f"{number(100 * row.difference, True)}, {span(ends)}"
