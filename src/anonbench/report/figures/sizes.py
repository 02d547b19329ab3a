"""The first metric by size of person, beside whom of that size the variants changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from anonbench.records import RegionKind
from anonbench.report.figures.style import (
    GRID,
    SIZES,
    SOFT,
    WIDTH,
    band_handle,
    legend,
    limits_of,
    nothing,
    panel,
    seed_handle,
)
from anonbench.report.study import ORIGINAL, ReportStudy
from anonbench.report.tables import capital, marked, number
from anonbench.tasks.base import title

MARKS = {"small": 3.2, "medium": 4.4, "large": 5.6}
"""Sizes of the marks, in points: larger for larger people."""


TITLE_PAD = 14
"""Points between a panel and its title, with a line of small text between them."""


def sizes_figure(sizes: pd.DataFrame, people: pd.DataFrame, study: ReportStudy) -> Figure:
    """Difference to the original by size of person, a column per task, and the share changed at the right.

    ``sizes`` is sizes.csv, ``people`` people.csv. A row of panels per data set, model and category of people.
    """
    keys = ["dataset", "model", "category"]
    wanted = [(key, part) for key, part in sizes.groupby(keys, sort=False) if set(part.variant) != {ORIGINAL}]
    if not wanted:
        return nothing("nothing was measured by the size of people")
    tasks = list(dict.fromkeys(sizes.task))
    # margins are of what the study asks about, which may be another metric than the one by size
    judged = {task for task in tasks if study.task(task).metrics[0].name == sizes[sizes.task == task]["first"].iloc[0]}
    heights = [0.6 + part.variant.nunique() for _, part in wanted]
    figure = Figure(figsize=(WIDTH, 0.8 + 0.24 * sum(heights) + 0.3 * len(wanted)), layout="constrained")
    axes = figure.subplots(
        len(wanted), len(tasks) + 1, squeeze=False, height_ratios=heights, sharey="row",
        width_ratios=[1.0] * len(tasks) + [0.8],
    )  # fmt: skip
    several = sizes[["dataset", "model"]].drop_duplicates().shape[0] > 1
    for line, ((dataset, model, category), part) in enumerate(wanted):
        variants = [v for v in dict.fromkeys(part.variant) if v != ORIGINAL]
        for column, task in enumerate(tasks):
            band = study.margin_of(task) if task in judged else 0.0
            _differences(axes[line, column], part[part.task == task], variants, band, line == 0, task)
        _changed(axes[line, -1], people[(people.dataset == dataset) & (people.category == category)], variants, study)
        axes[line, 0].set_yticks(range(len(variants)), variants)
        axes[line, 0].set_ylim(len(variants) - 0.45, -0.55)
        axes[line, 0].set_ylabel(
            f"{dataset}, {marked(str(model), part)}\n{category}" if several else str(category), fontweight="bold"
        )
        if line == 0:
            axes[line, -1].set_title("Share changed", pad=TITLE_PAD)
        if line == len(wanted) - 1:
            for axis, task in zip(axes[line], tasks, strict=False):
                axis.set_xlabel(f"Δ {sizes[sizes.task == task]['first'].iloc[0]} to original")
            axes[line, -1].set_xlabel("of these people")
    handles: list[Any] = [
        Line2D([], [], color=colour, lw=0, marker="o", ms=MARKS[size], label=f"{size} ({size[0].upper()})")
        for size, colour in SIZES.items()
        if size in set(sizes["size"])
    ]
    handles += [seed_handle(), *([band_handle(study, sizes[sizes.task.isin(judged)])] if judged else [])]
    legend(figure, handles)
    return figure


def _differences(axis: Axes, rows: pd.DataFrame, variants: list[str], margin: float, top: bool, task: str) -> None:
    there = [size for size in SIZES if size in set(rows["size"])]
    panel(
        axis,
        margin,
        limits_of(list(rows[rows.variant != ORIGINAL].difference.dropna()), [], [], margin or 1.0),
        ticks=4,
    )
    for y in range(1, len(variants)):
        axis.axhline(y - 0.5, color=GRID, lw=0.4, zorder=0)
    for k, size in enumerate(there):
        for y, variant in enumerate(variants):
            dots = rows[(rows.variant == variant) & (rows["size"] == size)].difference.dropna()
            if dots.empty:
                continue
            at, colour = y + (k - (len(there) - 1) / 2) * 0.26, SIZES[size]
            axis.plot([dots.min(), dots.max()], [at, at], color=colour, lw=0.8, zorder=2)
            axis.scatter(dots, [at] * len(dots), s=7, facecolors="white", edgecolors=colour, lw=0.7, zorder=3)
            axis.plot([dots.mean()], [at], marker="o", ms=MARKS[size], color=colour, mec="white", mew=0.5, zorder=4)
    if top:
        axis.set_title(capital(title(task)), pad=TITLE_PAD)
    base = rows[rows.variant == ORIGINAL].groupby("size").value.mean()
    _above(axis, "original", {size: number(base[size]) for size in there if size in base})


def _above(axis: Axes, what: str, values: dict[str, str]) -> None:
    """Write a value per size above a panel."""
    said = ", ".join(f"{size[0].upper()} {value}" for size, value in values.items())
    axis.annotate(
        f"{what}: {said}" if said else "not by size", (0.5, 1), (0, 3), xycoords="axes fraction",
        textcoords="offset points", ha="center", va="bottom", fontsize=6.5, color=SOFT,
    )  # fmt: skip


def _changed(axis: Axes, people: pd.DataFrame, variants: list[str], study: ReportStudy) -> None:
    """Draw the share of people whose region each variant changed, by size."""
    there = [size for size in SIZES if size in set(people["size"])]
    for y, variant in enumerate(variants):
        region = study.region_of(variant)
        for k, size in enumerate(there):
            of = people[(people.kind == region) & (people["size"] == size)]
            if study.is_control(variant):
                share = 0.0
            elif region == RegionKind.FRAME.value:
                share = 1.0
            else:
                share = of[of.status == "region"].people.sum() / of.people.sum() if of.people.sum() else np.nan
            at = y + (k - (len(there) - 1) / 2) * 0.26
            axis.barh([at], [share], height=0.2, color=SIZES[size], lw=0)
    kinds = people[people.kind == people.kind.iloc[0]] if len(people) else people
    _above(axis, "people", {size: str(int(kinds[kinds["size"] == size].people.sum())) for size in there})
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set_xticks([0, 0.5, 1])
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color=GRID, lw=0.5)
    axis.set_axisbelow(True)
