"""The forest plot: what each variant does to each task's first metric."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from anonbench.directions import ON_DEPLOYED, ON_ORIGINAL, ON_SAME
from anonbench.report.collect import CONTROL, MEAN, OVERLAPPED, PEOPLE
from anonbench.report.figures.style import (
    CONTROL_COLOURS,
    GRID,
    PEOPLE_COLOURS,
    WIDTH,
    all_ends,
    band_handle,
    interval,
    legend,
    limits_of,
    method_of,
    not_evaluated,
    nothing,
    panel,
    seed_handle,
    wide_handle,
)
from anonbench.report.study import ORIGINAL, ReportStudy, is_identity, region_order
from anonbench.report.tables import (
    DAGGER,
    blocks,
    capital,
    daggered,
    direction,
    first_metric,
    has,
    heading,
    is_number,
    label,
    leaky,
    most_frequent,
    primary,
    rows_of,
    shown,
)
from anonbench.tasks.base import ALL, UNTOUCHED, title

SHORT = {ON_SAME: "tested on itself", ON_DEPLOYED: "deployed on it"}
"""Directions in few words, for the margin of a figure."""


def impact_figure(table: pd.DataFrame, seeds: pd.DataFrame, study: ReportStudy) -> Figure:
    """Difference of each task's first metric to the original: a column per task, a row of panels per region.

    Each panel has its own scale: data sets, models, tasks and regions differ by more than one axis can show. An
    interval of a category that is not the main one of people ends in an arrow where it would more than double it.
    """
    table, seeds = primary(table[table.variant != ORIGINAL]), primary(seeds)
    panels = []
    for dataset, model, part in blocks(table):
        for region in sorted(set(part.region), key=region_order):
            panels.append((dataset, model, region, part[part.region == region]))
    if not panels:
        return nothing("no variant but the original")
    tasks = list(dict.fromkeys(table.task))
    heights = [0.6 + p.variant.nunique() * max(1.0, 0.4 + 0.2 * len(shown(p))) for *_, p in panels]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.34 * sum(heights) + 0.18 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), len(tasks), squeeze=False, height_ratios=heights, sharey="row")
    several = len({(d, m) for d, m, *_ in panels}) > 1 or table.direction.nunique() > 1
    for row, (dataset, model, region, part) in enumerate(panels):
        categories = shown(part)
        colours = _colours(part, categories)
        variants = list(dict.fromkeys(part.variant))
        own = seeds[(seeds.dataset == dataset) & (seeds.model == model) & seeds.direction.isin(part.direction)]
        for column, task in enumerate(tasks):
            axis = axes[row, column]
            rows = part[part.task == task]
            there = [c for c in categories if c in set(rows.category)]
            dots = own[(own.task == task) & own.variant.isin(variants) & own.category.isin(there)]
            panel(axis, study.margin_of(task), _limits(rows, dots, there, study.margin_of(task)))
            _marks(axis, rows, dots, variants, there, colours)
            axis.set_ylim(len(variants) - 0.45, -0.55)
            if row == 0:
                axis.set_title(capital(heading(table, task)))
            if row == len(panels) - 1:
                axis.set_xlabel(f"Δ {first_metric(table, task) or title(task)} to original")
            if column == 0:
                axis.set_yticks(range(len(variants)), [_label(v, region) for v in variants])
                name = "\n".join([dataset, *whose(model, part), region]) if several else region
                lying: dict[str, Any] = (
                    {"rotation": 0, "ha": "right", "va": "center", "labelpad": 10} if several else {}
                )
                axis.set_ylabel(name or "other", fontweight="bold", **lying)
    figure.align_ylabels(axes[:, 0])
    legend(figure, _legend(table, study))
    return figure


def _marks(
    axis: Axes,
    rows: pd.DataFrame,
    seeds: pd.DataFrame,
    variants: list[str],
    categories: list[str],
    colours: dict[str, str],
) -> None:
    step = 0.66 / max(1, len(categories))
    for y in range(1, len(variants)):
        axis.axhline(y - 0.5, color=GRID, lw=0.4, zorder=0)
    for k, category in enumerate(categories):
        people = (rows.loc[rows.category == category, "group"] == PEOPLE).all()
        for y, variant in enumerate(variants):
            found = rows[(rows.category == category) & (rows.variant == variant)]
            if found.empty:
                continue
            row = rows_of(found)[0]
            at = y + (k - (len(categories) - 1) / 2) * step
            if not is_number(row.difference):
                not_evaluated(axis, at)
                continue
            colour = colours[category]
            interval(axis, row, at, colour, 2.0 if people else 1.4, alpha=0.9 if people else 0.75)
            dots = seeds[(seeds.category == category) & (seeds.variant == variant)].difference.dropna()
            axis.scatter(dots, [at] * len(dots), s=9, facecolors="white", edgecolors=colour, lw=0.7, zorder=4)
            axis.plot([row.difference], [at], lw=0, zorder=5, **_mark(row.group, colour))


def _mark(group: str, colour: str) -> dict[str, Any]:
    """Return how a point looks: people round, the rest square, and open where its boxes met changed pixels."""
    if group == PEOPLE:
        return {"marker": "o", "ms": 5.1, "mfc": colour, "mec": "white", "mew": 0.6}
    met = group not in (CONTROL, MEAN)
    return {"marker": "s", "ms": 4.2, "mfc": "white" if met else colour, "mec": colour if met else "white", "mew": 0.8}


def _limits(rows: pd.DataFrame, seeds: pd.DataFrame, categories: list[str], margin: float) -> tuple[float, float]:
    """Return the x range of a panel: points, and intervals of the category of people with the most instances."""
    rows = rows[rows.category.isin(categories)]
    people = rows[rows.group == PEOPLE]
    main = rows
    if len(people):
        main = rows[rows.category == most_frequent(people)]
    points = [float(v) for v in (*rows.difference.dropna(), *seeds.difference.dropna())]
    return limits_of(points, all_ends(main), all_ends(rows), margin)


def _colours(part: pd.DataFrame, categories: list[str]) -> dict[str, str]:
    people = set(part.loc[part.group == PEOPLE, "category"])
    first, second = iter(PEOPLE_COLOURS * 9), iter(CONTROL_COLOURS * 9)
    return {c: next(first) if c in people else next(second) for c in categories}


def _label(variant: str, region: str) -> str:
    return "identity (re-encoded only)" if is_identity(variant) else method_of(variant, region)


def whose(model: str, part: pd.DataFrame) -> list[str]:
    """Return the lines that name a row's model and, unless it is the usual one, the direction."""
    on = direction(part)
    first = daggered(model, part)
    return [first] if on == ON_ORIGINAL else [first, SHORT[on]]


def _legend(table: pd.DataFrame, study: ReportStudy) -> list[Any]:
    categories = list(dict.fromkeys(c for *_, part in blocks(table) for c in shown(part)))
    colours = _colours(table, categories)
    groups = {c: set(table.loc[table.category == c, "group"]) for c in categories}
    handles: list[Any] = []
    for c in categories:
        people = PEOPLE in groups[c]
        means = {UNTOUCHED: f"{label(table, UNTOUCHED)} categories", ALL: "all categories"}
        name = c if people else means.get(c, f"{c} ({'not anonymized' if groups[c] == {CONTROL} else 'not people'})")
        shape, size, width = ("o", 4.5, 2.0) if people else ("s", 4.0, 1.4)
        handles.append(Line2D([], [], color=colours[c], label=name, marker=shape, ms=size, lw=width))
    if {CONTROL, OVERLAPPED} <= set(table.group):
        open_ = _mark(OVERLAPPED, CONTROL_COLOURS[0])
        handles.append(Line2D([], [], color="none", label="open: its boxes met changed pixels", **open_))
    trained = any(study.trains(model) for model in set(table.model))
    if trained:
        handles.append(seed_handle())
    if has(table, "simultaneous_low"):
        handles.append(wide_handle())
    handles.append(band_handle(study, table))
    if leaky(table):
        seen = f"{DAGGER} the {'start' if trained else 'model'} had seen the original images"
        handles.append(Line2D([], [], color="none", label=seen))
    return handles
