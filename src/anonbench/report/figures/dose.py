"""Dose curves: the first metric on people against the strength of each method."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from anonbench.report.captions import by_strength, dosed
from anonbench.report.collect import PEOPLE
from anonbench.report.figures.impact import whose
from anonbench.report.figures.style import (
    BLUE,
    GRID,
    INK,
    MARKERS,
    METHODS,
    SLATE,
    WIDTH,
    all_ends,
    band_handle,
    interval,
    legend,
    limits_of,
    nothing,
    wide_handle,
)
from anonbench.report.study import ORIGINAL, ReportStudy, is_identity, parts, region_order
from anonbench.report.tables import blocks, capital, has, heading, is_number, primary, rows_of

MOST_BESIDE = 3
"""With more methods without levels than this, none of them stands beside the curves."""


MOST_LETTERS = 32
"""Of a panel's labels, if all were as long as the longest: with more they lean."""


class Row(NamedTuple):
    """A row of panels: one data set, model, direction, region and category of people."""

    name: list[str]
    region: str
    category: str
    rows: pd.DataFrame
    methods: dict[str, list[str]]
    beside: list[str]


def dose_figure(table: pd.DataFrame, study: ReportStudy) -> Figure:
    """First metric on people by level, from none (the original) to the strongest: a line per method with levels.

    A row of panels per data set, model, region and category of people, a column per task, each panel with its own
    scale. Methods without levels stand at the right.
    """
    table = primary(table)
    table = table[table.group == PEOPLE]
    wanted = list(_rows(table))
    if not wanted:
        return nothing("no method was evaluated at two levels or more")
    tasks = [t for t in dict.fromkeys(table.task) if any(t in set(row.rows.task) for row in wanted)]
    methods = list(dict.fromkeys(m for row in wanted for m in row.methods))
    looks = {m: (METHODS[k % len(METHODS)], MARKERS[k % len(MARKERS)]) for k, m in enumerate(methods)}
    figure = Figure(figsize=(WIDTH, 0.6 + 1.75 * len(wanted)), layout="constrained")
    axes = figure.subplots(len(wanted), len(tasks), squeeze=False)
    for line, row in enumerate(wanted):
        for column, task in enumerate(tasks):
            axis = axes[line, column]
            rows = row.rows[row.rows.task == task]
            if rows.empty:
                axis.set_visible(False)
                continue
            _panel(axis, rows, row, looks, study.margin_of(task))
            if line == 0:
                axis.set_title(capital(heading(rows, task)))
            if column == 0:
                axis.set_ylabel("\n".join([*row.name, f"{row.region}, {row.category}", rows.metric.iloc[0]]))
    figure.align_ylabels(axes[:, 0])
    handles: list[Any] = [
        Line2D([], [], color=colour, marker=marker, ms=4.5, lw=1.4, label=method.replace("_", " "))
        for method, (colour, marker) in looks.items()
    ]
    if any(row.beside for row in wanted):
        handles.append(Line2D([], [], color=SLATE, marker="s", ms=4, lw=1.4, label="without levels"))
    handles.append(Line2D([], [], color=INK, ls="--", lw=0.8, label="original"))
    if has(table, "simultaneous_low"):
        handles.append(wide_handle())
    handles.append(band_handle(study, table))
    legend(figure, handles)
    return figure


def _rows(table: pd.DataFrame) -> Any:
    several = len({(d, m) for d, m, _ in blocks(table)}) > 1 or table.direction.nunique() > 1
    for dataset, model, part in blocks(table):
        variants = list(dict.fromkeys(part.variant))
        doses = dosed(variants)
        for region in sorted({region for region, _ in doses}, key=region_order):
            methods = {method: found for (of, method), found in doses.items() if of == region}
            known = {v for found in methods.values() for v in found}
            beside = [
                v for v in variants if parts(v)[0] == region and v not in known and not is_identity(v) and v != ORIGINAL
            ]
            beside = beside if len(beside) <= MOST_BESIDE else []
            for category in dict.fromkeys(part.category):
                rows = part[(part.category == category) & part.variant.isin([ORIGINAL, *known, *beside])]
                name = [dataset, *whose(model, part)] if several else []
                yield Row(name, region, category, rows, methods, beside)


def _panel(axis: Axes, rows: pd.DataFrame, row: Row, looks: dict[str, tuple[str, str]], margin: float) -> None:
    """Draw the curves of one task; an interval is that of the difference, put around the metric's value."""
    of: dict[str, Any] = {found.variant: found for found in rows_of(rows)}
    base: Any = of[ORIGINAL].value if ORIGINAL in of else None
    if not is_number(base):
        axis.text(0.5, 0.5, "not evaluated", ha="center", va="center", transform=axis.transAxes)
        return
    low, high = limits_of(list(rows.difference.dropna()), all_ends(rows), [], margin, room=0.06)
    axis.set_ylim(base + low, base + high)
    axis.axhspan(base - margin, base + margin, color=BLUE, alpha=0.10, lw=0, zorder=0)
    axis.axhline(base, color=INK, ls="--", lw=0.8, zorder=1)
    places = _places(row)
    wide = 0.12
    for k, (method, variants) in enumerate(row.methods.items()):
        colour, marker = looks[method]
        shift = wide * (k - (len(row.methods) - 1) / 2)
        points = [(0.0, base)]
        for variant in variants:
            found = of.get(variant)
            if found is not None and is_number(found.difference):
                x = places[parts(variant)[2]] + shift
                interval(axis, found, x, colour, 1.6, horizontal=False, offset=base, alpha=0.9)
                points.append((x, base + found.difference))
        axis.plot(*np.transpose(points), color=colour, lw=1.1, zorder=4)
        axis.plot(*np.transpose(points[1:] or [(np.nan, np.nan)]), color=colour, marker=marker, ms=4.8, lw=0,
                  mec="white", mew=0.6, zorder=5)  # fmt: skip
    for variant in row.beside:
        found = of.get(variant)
        if found is not None and is_number(found.difference):
            x = places[variant]
            interval(axis, found, x, SLATE, 1.6, horizontal=False, offset=base, alpha=0.9)
            axis.plot([x], [base + found.difference], color=SLATE, marker="s", ms=4.4, mec="white", mew=0.6, zorder=5)
    if row.beside:
        axis.axvline(min(places[v] for v in row.beside) - 0.5, color=GRID, lw=0.6)
    labels = {0.0: "none"} | {x: (parts(name)[1] or name).replace("_", " ") for name, x in places.items()}
    crowded = len(labels) * max(map(len, labels.values())) > MOST_LETTERS
    leaning: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axis.set_xticks(list(labels), list(labels.values()), fontsize=7, **leaning)
    axis.set_xlim(-0.35, max(labels) + 0.45)
    axis.grid(axis="y", color=GRID, lw=0.5)
    axis.set_axisbelow(True)


def _places(row: Row) -> dict[str, float]:
    """Return where each level stands, mild first, and at the right of them each method without levels."""
    every = by_strength([v for variants in row.methods.values() for v in variants])
    levels = list(dict.fromkeys(parts(v)[2] for v in every))
    places = {level: float(k + 1) for k, level in enumerate(levels)}
    return places | {variant: len(levels) + 1.0 + k for k, variant in enumerate(row.beside)}
