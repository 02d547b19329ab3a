"""The published study, whose results by seed come with the package, under this project's statistics.

Hukkelås and Lindseth (2023) trained Mask R-CNN on BDD100K, original and anonymized, with three seeds each. What its
images add to the uncertainty is not known: intervals here are of seeds alone, for its validation images as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from scipy import special
from tabulate import tabulate

from anonbench.files import write_text
from anonbench.report.impact import CONFIRMATORY, EXPLORATORY
from anonbench.report.judging import intervals, judged, kept
from anonbench.statistics.contrasts import Contrast, Panel
from anonbench.statistics.family import Member, simultaneous_factor
from anonbench.tasks import base as tasks
from anonbench.tasks.base import ALL
from anonbench.variants import ORIGINAL

FILE = Path(__file__).parents[1] / "published" / "bdd100k_2023.csv"
"""Its first lines, which begin with #, name the source."""

TASK, PEDESTRIAN, RIDER, CAR = "segmentation", "pedestrian", "rider", "car"
IMAGES = 1000
"""Validation images of BDD100K's instance segmentation."""

VARIANTS = ("face-blur", "face-mask_out", "face-realistic", "body-blur", "body-mask_out", "body-realistic-revised")
"""What the published study compares with the original: its last generator of bodies stands for the realistic one."""

MATCHED = (("body-realistic-41M", "body-realistic-41M-matched"), ("body-realistic-60M", "body-realistic-60M-matched"))
"""The same generator of bodies without and with histogram matching."""

POOLS = ((ORIGINAL, *VARIANTS), (*(name for pair in MATCHED for name in pair), "body-realistic-revised"))
"""The variants of one question: their spreads over seeds are taken together."""

MARGIN = 1.0
"""AP points. The publication names none; a point is ours, and small beside what bodies cost."""


@dataclass(frozen=True)
class Question:
    """A variant against a reference, in one category; ``primary`` ones are answered all at once."""

    variant: str
    reference: str
    category: str
    primary: bool


def questions() -> Iterator[Question]:
    """Yield the table's rows: what the published study asks, and cars, which nobody anonymized."""
    for category in (PEDESTRIAN, RIDER, ALL, CAR):
        for variant in VARIANTS:
            yield Question(variant, ORIGINAL, category, category != CAR)
    for reference, variant in MATCHED:
        yield Question(variant, reference, PEDESTRIAN, True)


def read() -> pd.DataFrame:
    """Return mask AP in per cent: a row per variant and seed, a column per category."""
    table = pd.read_csv(FILE, comment="#", keep_default_na=False)
    parts = {
        "region": table.region,
        "method": table.method,
        "checkpoint": table.generator_checkpoint.where(table.region == "body", ""),
        "matched": table.histogram_matching.map({"none": "", "naive": "matched"}),
        "smallest": table.min_size_px.map(lambda side: f"min{side}" if side else ""),
    }
    named = ["-".join(filter(None, of)) for of in zip(*parts.values(), strict=True)]
    table["variant"] = [ORIGINAL if name == f"none-{ORIGINAL}" else name for name in named]
    return table.astype({"ap": float}).pivot(index=["variant", "seed"], columns="category", values="ap")


def contrast(results: pd.DataFrame, of: Question, ratio: float = 1.0) -> Contrast:
    """Return a variant minus ``ratio`` times its reference, with the spread that their pool has over the seeds."""
    pool = next(pool for pool in POOLS if of.reference in pool and of.variant in pool)
    named = [of.reference, *(name for name in pool if name != of.reference)]
    values = results[of.category].unstack("seed").loc[named].to_numpy()
    learnt = np.array([_learnt(float(mean)) for mean in values.mean(axis=1)])
    return Panel(values, None, IMAGES, learnt).contrast(named.index(of.variant), ratio)


def _learnt(value: float) -> bool:
    task = tasks.load(TASK)
    return task.learnt(value, task.floor)


def seed_effect(results: pd.DataFrame, category: str) -> tuple[float, float, int]:
    """Return F and p of what a seed does to all variants alike, and how many variants that is asked of.

    A two-way analysis of variance (variant and seed, no interaction) of those that learnt and have every seed.
    """
    wide = results[category].unstack("seed").dropna()
    values = wide[[_learnt(float(mean)) for mean in wide.mean(axis=1)]].to_numpy()
    residuals = values - values.mean(axis=1, keepdims=True)
    common = residuals.mean(axis=0)
    freedom = values.shape[1] - 1, (len(values) - 1) * (values.shape[1] - 1)
    f = (len(values) * (common**2).sum() / freedom[0]) / (((residuals - common) ** 2).sum() / freedom[1])
    return float(f), float(special.fdtrc(*freedom, f)), len(values)


def table() -> pd.DataFrame:
    """Return the comparisons, a row per question, in AP points; columns are named as in impact.csv."""
    results, asked = read(), list(questions())
    found = {of: contrast(results, of) for of in asked}
    family = [Member(f"{q.category} {q.reference}", "", found[q]) for q in asked if q.primary]
    factor = simultaneous_factor(family, "published")
    return pd.DataFrame([_row(results, of, found[of], factor) for of in asked])


def _row(results: pd.DataFrame, of: Question, found: Contrast, factor: float) -> dict[str, Any]:
    own, base = (results.loc[name][of.category] for name in (of.variant, of.reference))
    reference = float(base.mean())
    said = intervals(found, factor if of.primary else None)
    return {
        "category": of.category, "variant": of.variant, "reference": of.reference,
        "value": own.mean(), "value_std": own.std(ddof=1), "n_seeds": len(own),
        **said,
        **kept(found.value, reference, functools.partial(contrast, results, of)),
        "question": CONFIRMATORY if of.primary else EXPLORATORY,
        "verdict": judged(said, MARGIN, _learnt(reference)),
    }  # fmt: skip


def markdown(rows: pd.DataFrame) -> str:
    """Return the comparisons as a Markdown table."""

    def interval(row: Any, name: str, digits: str) -> str:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return "" if pd.isna(low) else f"{low:{digits}} to {high:{digits}}"

    lines = [
        [
            row["category"], f"`{row['variant']}`", f"`{row['reference']}`",
            f"{row['value']:.1f} ± {row['value_std']:.1f}", f"{row['difference']:+.2f}",
            interval(row, "difference", "+.2f"), interval(row, "simultaneous", "+.2f"),
            f"{row['kept']:.0f} % ({interval(row, 'kept', '.0f')})", row["verdict"],
        ]
        for row in rows.to_dict("records")
    ]  # fmt: skip
    head = ["category", "variant", "against", "AP", "difference", "95 %", "95 %, all at once", "AP kept", "verdict"]
    return tabulate(lines, head, "github", disable_numparse=True)


def published(
    csv: Annotated[Path | None, typer.Option(help="Write the table to this file, too, with every digit.")] = None,
) -> None:
    """Print what the published study (Hukkelås and Lindseth 2023, BDD100K) shows under this project's statistics."""
    rows = table()
    if csv is not None:
        write_text(csv, rows.to_csv(index=False))
    typer.echo(markdown(rows))
    results, effects = read(), []
    for category in dict.fromkeys(rows.category):
        f, p, variants = seed_effect(results, category)
        effects.append([category, str(variants), f"{f:.1f}", f"{p:.5f}" if p < 0.001 else f"{p:.3f}"])
    typer.echo("\nDoes a seed do the same to all variants?\n")
    typer.echo(tabulate(effects, ["category", "variants", "F", "p"], "github", disable_numparse=True))
