"""The figure of a study whose models differ in their first weights or learning rate alone."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from anonbench.directions import ON_ORIGINAL
from anonbench.report.answer import learnt
from anonbench.report.collect import PEOPLE
from anonbench.report.figures.style import (
    GRID,
    INK,
    MARKERS,
    STARTS,
    WIDTH,
    all_ends,
    band_handle,
    interval,
    limits_of,
    method_of,
    not_evaluated,
    panel,
    wide_handle,
)
from anonbench.report.study import ORIGINAL, ReportStudy, region_order
from anonbench.report.tables import (
    DAGGER,
    LEAKY,
    capital,
    has,
    heading,
    is_number,
    leaky,
    marked,
    most_frequent,
    number,
    primary,
    rows_of,
)

KINDS = {
    "scratch": "from scratch",
    "backbone": "from a backbone",
    "coco": "from a detector of COCO",
    "checkpoint": "from a checkpoint",
}


LONG = 3
"""An interval so many times longer than is usual in its panel is cut: a start that learns by chance tells nothing."""


def learning_rate(recipe: dict[str, Any]) -> float:
    """Return the peak learning rate of a recipe as the study's file holds it (the linear rule, see `Recipe`)."""
    rate: float = recipe["base_learning_rate"] * recipe["batch_size"] / recipe["reference_batch_size"]
    return rate


def looks(models: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return each model's colour, by its start, and marker, by its learning rate."""
    starts = list(dict.fromkeys(_start(recipe) for recipe in models.values()))
    rates = sorted({learning_rate(recipe) for recipe in models.values()})
    return {
        name: (
            STARTS[starts.index(_start(recipe)) % len(STARTS)],
            MARKERS[rates.index(learning_rate(recipe)) % len(MARKERS)],
        )
        for name, recipe in models.items()
    }


def _start(recipe: dict[str, Any]) -> str:
    return json.dumps(recipe["initialisation"], sort_keys=True)


def panels(study: ReportStudy, table: pd.DataFrame) -> list[tuple[str, list[str], str, str, pd.DataFrame]]:
    """Return data set, models, category, region and rows of each row of panels.

    The category is that of people with the most instances.
    """
    found = []
    for dataset, models in study.starts:
        rows = table[(table.dataset == dataset) & table.model.isin(models) & (table.group == PEOPLE)]
        if rows.empty:
            continue
        category = most_frequent(rows)
        rows = rows[rows.category == category]
        for region in sorted(set(rows.loc[rows.variant != ORIGINAL, "region"]), key=region_order):
            chosen = rows[(rows.region == region) | (rows.variant == ORIGINAL)]
            found.append((dataset, models, category, region, chosen))
    return found


def starts_figure(study: ReportStudy, table: pd.DataFrame) -> Figure:
    """Difference to the original, on people: a row of panels per region, a column per task, a mark per model.

    ``table`` is impact.csv. What is not evaluated yet is said so in its place.
    """
    table = primary(table[table.direction == ON_ORIGINAL])
    wanted = panels(study, table)
    tasks = [t for t in dict.fromkeys(table.task) if any(t in set(rows.task) for *_, rows in wanted)]
    heights = [
        rows.loc[rows.variant != ORIGINAL, "variant"].nunique() * (0.4 + 0.22 * len(models)) + 0.3
        for _, models, _, _, rows in wanted
    ]
    named = sum(len(models) for _, models in study.starts)
    figure = Figure(figsize=(WIDTH, 1.2 + 0.17 * named + 0.5 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(wanted), len(tasks), squeeze=False, height_ratios=heights, sharey="row")
    handles: list[Any] = []
    for row, (dataset, models, category, region, rows) in enumerate(wanted):
        recipes = {name: study.models[name] for name in models}
        look = looks(recipes)
        variants = [v for v in dict.fromkeys(rows.variant) if v != ORIGINAL]
        for column, task in enumerate(tasks):
            axis = axes[row, column]
            _panel(axis, rows[rows.task == task], variants, look, study.margin_of(task))
            if row == 0:
                axis.set_title(capital(heading(rows, task)))
            if row == len(wanted) - 1:
                axis.set_xlabel(f"Δ on {category} to the same start trained on the original")
        axes[row, 0].set_yticks(range(len(variants)), [method_of(v, region) for v in variants])
        several = len({d for d, *_ in wanted}) > 1
        axes[row, 0].set_ylabel(f"{dataset}\n{region}" if several else region, fontweight="bold")
        handles += [h for h in _handles(rows, tasks[0], recipes, look) if h.get_label() not in _labels(handles)]
    figure.align_ylabels(axes[:, 0])
    if not all(_learnt(rows) for *_, rows in wanted):
        empty: dict[str, Any] = {"marker": "o", "ms": 5, "mfc": "white", "mec": INK, "mew": 0.9}
        handles.append(
            Line2D([], [], color="none", label="open: learnt next to nothing, so a difference says nothing", **empty)
        )
    if any(leaky(rows) for *_, rows in wanted):
        handles.append(Line2D([], [], color="none", label=f"{DAGGER} {LEAKY}"))
    if has(table, "simultaneous_low"):
        handles.append(wide_handle())
    handles.append(band_handle(study, table))
    figure.legend(handles=handles, loc="outside lower center", ncols=1, handletextpad=0.6)
    return figure


def _labels(handles: list[Any]) -> list[str]:
    return [str(handle.get_label()) for handle in handles]


def _handles(
    rows: pd.DataFrame, task: str, recipes: dict[str, dict[str, Any]], look: dict[str, tuple[str, str]]
) -> list[Line2D]:
    """Return the legend: each model's start and learning rate, and the AP that its differences are taken to."""
    handles = []
    for name, recipe in recipes.items():
        own = rows[(rows.model == name) & (rows.task == task)]
        base = own[own.variant == ORIGINAL].value
        reached = ""
        if len(base) and is_number(base.iloc[0]):
            reached = f"; {number(base.iloc[0])} {heading(own, task)} when trained on the original"
        kind = KINDS[recipe["initialisation"]["kind"]]
        label = f"{marked(name, own)}: {kind}, learning rate {learning_rate(recipe):g}{reached}"
        colour, marker = look[name]
        handles.append(Line2D([], [], color=colour, marker=marker, ms=5, lw=1.6, label=label, **_fill(own, colour)))
    return handles


def _learnt(rows: pd.DataFrame) -> bool:
    """Tell whether a model learnt anything on the original: if not, a difference to it says nothing."""
    return bool(learnt(rows[rows.variant == ORIGINAL]).all())


def _fill(rows: pd.DataFrame, colour: str) -> dict[str, Any]:
    """Return a mark's filling: none where the model learnt next to nothing."""
    return {"mfc": colour, "mec": "white", "mew": 0.6} if _learnt(rows) else {"mfc": "white", "mec": colour, "mew": 0.9}


def _panel(
    axis: Axes, rows: pd.DataFrame, variants: list[str], look: dict[str, tuple[str, str]], margin: float
) -> None:
    ends = {name: all_ends(one) for name, one in rows.groupby(["model", "variant"])}
    spans = {name: max(of) - min(of) for name, of in ends.items() if of}
    usual = LONG * median(spans.values()) if spans else 0.0
    firm = [end for name, span in spans.items() if span <= usual for end in ends[name]]
    panel(axis, margin, limits_of(list(rows.difference.dropna()), firm, all_ends(rows), margin))
    step = 0.76 / len(look)
    for k, (name, (colour, marker)) in enumerate(look.items()):
        for y, variant in enumerate(variants):
            found = rows[(rows.model == name) & (rows.variant == variant)]
            if found.empty:  # the study does not ask for it
                continue
            row = rows_of(found)[0]
            at = y + (k - (len(look) - 1) / 2) * step
            if not is_number(row.difference):
                not_evaluated(axis, at)
                continue
            interval(axis, row, at, colour, 1.6)
            own = rows[rows.model == name]
            axis.plot([row.difference], [at], marker=marker, ms=5, color=colour, zorder=5, **_fill(own, colour))
    for y in range(1, len(variants)):
        axis.axhline(y - 0.5, color=GRID, lw=0.5)
    axis.set_ylim(len(variants) - 0.5, -0.5)
