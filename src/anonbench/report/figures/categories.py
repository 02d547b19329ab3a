"""The heat map: the difference of every category under every variant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure

from anonbench.report.collect import MEAN, PEOPLE
from anonbench.report.figures.impact import whose
from anonbench.report.figures.style import DIVERGING, INK, SOFT, WIDTH, nothing
from anonbench.report.study import ORIGINAL, ReportStudy
from anonbench.report.tables import blocks, capital, deciding, heading, is_number, number, primary, rows_of

MANY, WIDEST = 12, 14
"""From as many categories on, or with more variants than that, cells hold dots instead of numbers."""


def categories_figure(table: pd.DataFrame, study: ReportStudy) -> Figure:
    """Difference to the original: a row per category, people first, a column per variant, a panel per task.

    Each panel has its own colours, as far as its largest difference and at least as far as the margin.
    """
    table = primary(table)
    table = table[(table.group != MEAN) & (table.variant != ORIGINAL)]
    if table.empty:
        return nothing("no variant but the original")
    blocks_ = blocks(table)
    several = len(blocks_) > 1
    grids = []
    for dataset, model, part in blocks_:
        for task in dict.fromkeys(part.task):
            rows = part[part.task == task]
            named = [", ".join([dataset, *whose(model, part)])] if several else []
            grids.append(([*named, capital(heading(rows, task))], rows, study.margin_of(task)))
    variants = list(dict.fromkeys(table.variant))
    tall = max(rows.category.nunique() for _, rows, _ in grids) >= MANY
    wide = len(variants) > WIDEST
    columns = 2 if tall and not wide else 1
    lines = [grids[k : k + columns] for k in range(0, len(grids), columns)]
    each = 0.125 if tall else 0.2
    heights = [max(rows.category.nunique() for _, rows, _ in line) * each + 0.35 for line in lines]
    figure = Figure(figsize=(WIDTH, sum(heights) + (1.4 if wide else 1.0)), layout="constrained")
    shape = (len(lines), max(map(len, lines)))
    axes = figure.subplots(*shape, squeeze=False, height_ratios=heights)
    for axis in axes.ravel():
        axis.set_visible(False)
    for k, line in enumerate(lines):
        for column, (head, rows, margin) in enumerate(line):
            axis = axes[k, column]
            axis.set_visible(True)
            mesh = _panel(axis, rows, variants, margin, tall or wide)
            axis.set_title(("\n" if columns > 1 else ": ").join(head))
            bar = figure.colorbar(mesh, ax=axis, pad=0.015, aspect=30 if tall else 8, fraction=0.05)
            bar.outline.set_visible(False)
            bar.set_ticks(_ticks(mesh.norm.vmax, 5 if rows.category.nunique() >= MANY else 3))
            bar.set_label(f"Δ {rows.metric.iloc[0]}", fontsize=7)
            bar.ax.tick_params(labelsize=6.5, width=0.5, length=2)
            last = k == len(lines) - 1 or column >= len(lines[k + 1])
            axis.set_xticks(
                np.arange(len(variants)) + 0.5,
                variants if last else [],
                rotation=90 if wide else 45, va="center" if wide else "baseline", ha="right", rotation_mode="anchor",
                fontsize=6 if wide else 7,
            )  # fmt: skip
    return figure


def _panel(axis: Axes, rows: pd.DataFrame, variants: list[str], margin: float, dots: bool) -> Any:
    categories = list(dict.fromkeys([*rows[rows.group == PEOPLE].category, *rows.category]))
    people = set(rows[rows.group == PEOPLE].category)
    values = np.full((len(categories), len(variants)), np.nan)
    reach = max(margin, float(rows.difference.abs().max()) if rows.difference.notna().any() else 0)
    norm = FuncNorm((_root, _square), -reach, reach)  # small differences would be white beside large ones
    places = {c: y for y, c in enumerate(categories)}
    for row in rows_of(rows):
        y, x = places[row.category], variants.index(row.variant)
        if not is_number(row.difference):
            axis.text(x + 0.5, y + 0.5, "–", ha="center", va="center", fontsize=6, color=SOFT)
            continue
        values[y, x] = row.difference
        found = deciding(row)
        sure = found is not None and not found[0] <= 0 <= found[1]
        ink = "white" if _dark(DIVERGING(norm(row.difference))) else INK
        if dots and sure:
            axis.plot([x + 0.5], [y + 0.5], marker="o", ms=2.8, color=ink, mew=0)
        elif not dots:
            axis.text(x + 0.5, y + 0.5, number(row.difference, True), ha="center", va="center", color=ink,
                      fontsize=7, fontweight="bold" if sure else "normal")  # fmt: skip
    mesh = axis.pcolormesh(
        np.ma.masked_invalid(values), cmap=DIVERGING, norm=norm, edgecolors="white",
        linewidth=0.5 if dots else 1.0,
    )  # fmt: skip
    axis.set_ylim(len(categories), 0)
    axis.set_xlim(0, len(variants))
    axis.set_yticks(np.arange(len(categories)) + 0.5, categories, fontsize=6 if len(categories) >= MANY else 8)
    for text in axis.get_yticklabels():
        text.set_fontweight("bold" if text.get_text() in people else "normal")
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return mesh


def _root(values: Any) -> Any:
    return np.sign(values) * np.sqrt(np.abs(values))


def _square(values: Any) -> Any:
    return np.sign(values) * np.square(values)


def _ticks(reach: float, count: int) -> list[float]:
    """Return three or five round ticks around zero."""
    ten = 10 ** np.floor(np.log10(reach))
    top = max(k * ten for k in (1, 2, 5) if k * ten <= reach)
    return [-top, -top / 5, 0, top / 5, top] if count == 5 else [-top, 0, top]


def _dark(colour: tuple[float, ...]) -> bool:
    """Tell whether white letters stand out more than dark ones on a colour (relative luminance of sRGB)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722))) < 0.25
