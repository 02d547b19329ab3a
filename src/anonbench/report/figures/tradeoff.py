"""The trade-off: what a variant costs against what its strongest attacker still finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from anonbench.report.figures import style as look
from anonbench.report.impact import CONFIRMATORY
from anonbench.report.privacy import ALL
from anonbench.report.study import ORIGINAL, ReportStudy
from anonbench.report.tables import primary, rows_of
from anonbench.tasks.base import title

HEIGHT = 2.9


def tradeoff_figure(table: pd.DataFrame, privacy: pd.DataFrame, study: ReportStudy) -> Figure:
    """Draw, for each data set and attack, AP kept against the strongest attacker's success; ``table`` is impact.csv.

    The horizontal axis is the share of the original's first metric that is kept, of the primary question's first task,
    the vertical one linkability in the largest gallery that all variants have; both with 95 % intervals. Strengths of
    one method are joined. The best corner is at the lower right.
    """
    chosen = privacy[privacy.chosen == "true"]
    own = primary(table)
    asked = own[(own.question == CONFIRMATORY) | (own.variant == ORIGINAL)]
    if chosen.empty or asked.empty:
        return look.nothing("no variant was attacked, or none has a model")
    panels = list(dict.fromkeys(zip(chosen.dataset, chosen.attack, strict=True)))
    figure = Figure(figsize=(look.WIDTH, HEIGHT * -(-len(panels) // 2)), layout="constrained")
    axes = figure.subplots(-(-len(panels) // 2), min(2, len(panels)), squeeze=False)
    for axis in axes.ravel()[len(panels) :]:
        axis.set_visible(False)
    methods: dict[str, Any] = {}
    for axis, (dataset, attack) in zip(axes.ravel(), panels, strict=False):
        rows = chosen[(chosen.dataset == dataset) & (chosen.attack == attack)]
        size = _largest(rows)
        rows = rows[rows["size"] == size]
        costs = asked[asked.dataset == dataset]
        task, category, model = (costs.iloc[0][name] for name in ("task", "category", "model"))
        costs = costs[(costs.task == task) & (costs.category == category) & (costs.model == model)]
        kept = {row.variant: row for row in rows_of(costs)}
        points: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for row in rows_of(rows):
            if row.variant not in kept:
                continue
            name = "original" if row.variant == ORIGINAL else f"{row.region} {row.method}"
            if name not in methods:
                place = len(methods)
                methods[name] = (
                    look.INK if name == "original" else look.METHODS[place % len(look.METHODS)],
                    look.MARKERS[place % len(look.MARKERS)],
                )
            colour, marker = methods[name]
            x, low, high = _kept(kept[row.variant])
            axis.errorbar(
                x, 100 * row.value, xerr=[[max(x - low, 0)], [max(high - x, 0)]],
                yerr=[[100 * (row.value - row.value_low)], [100 * (row.value_high - row.value)]],
                fmt=marker, color=colour, markersize=5, elinewidth=0.8,
                markerfacecolor="white" if row.region == "face" else colour,
            )  # fmt: skip
            points.setdefault((row.region, row.method), []).append((x, 100 * row.value))
        for (region, method), found in points.items():
            if len(found) > 1:
                colour, _ = methods[f"{region} {method}"]
                axis.plot(*zip(*sorted(found), strict=True), color=colour, linewidth=0.8, alpha=0.6)
        axis.axhline(100 * float(rows.chance.mean()), color=look.SOFT, linewidth=0.8, linestyle=":")
        axis.set_ylim(bottom=0)
        axis.set_xlabel(f"{title(str(task))} of {category} kept, per cent")
        axis.set_ylabel(f"found first among {'all' if size == ALL else size}, per cent")
        axis.set_title(f"{dataset}: {attack}")
    handles = [
        look.Line2D([], [], color=colour, marker=marker, linestyle="", label=name)
        for name, (colour, marker) in methods.items()
    ]
    handles.append(look.Line2D([], [], color=look.SOFT, linestyle=":", label="chance"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _largest(rows: pd.DataFrame) -> str:
    """Return the largest gallery of a stated size that every variant has, else everybody."""
    stated = [s for s in dict.fromkeys(rows["size"]) if s != ALL]
    common = [s for s in stated if set(rows[rows["size"] == s].variant) == set(rows.variant)]
    return max(common, key=int) if common else ALL


def _kept(row: Any) -> tuple[float, float, float]:
    """Return the share of the original's value that is kept with its interval, per cent."""
    if row.variant == ORIGINAL:
        return 100.0, 100.0, 100.0
    if not np.isfinite(row.kept):
        return 0.0, 0.0, 0.0
    low, high = (float(v) if np.isfinite(v) else float(row.kept) for v in (row.kept_low, row.kept_high))
    return float(row.kept), low, high
