"""The cost panel: what each variant took, beside what it did."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from anonbench.report.collect import PEOPLE
from anonbench.report.figures.impact import whose
from anonbench.report.figures.style import (
    GRID,
    RED,
    STAGES,
    WIDTH,
    all_ends,
    band_handle,
    interval,
    legend,
    limits_of,
    nothing,
    panel,
)
from anonbench.report.study import ReportStudy
from anonbench.report.tables import blocks, capital, heading, is_number, most_frequent, primary, rows_of

STAGE_OF = {
    "fit": "fit", "anonymize": "anonymize", "merge": "anonymize", "train": "train", "predict": "predict and evaluate",
    "evaluate": "predict and evaluate",
}  # fmt: skip
UNITS = ((2 * 3600, 3600, "hours"), (120, 60, "minutes"), (0, 1, "seconds"))
"""From how many seconds on, in how many, a panel is in which unit."""


def spent(cost: pd.DataFrame, dataset: str, model: str, variants: list[str]) -> pd.DataFrame:
    """Return the wall time in seconds of each variant (rows) by stage (columns), summed over jobs.

    Fitting and anonymizing are those of all models, and fitting those of all levels of a method.
    """
    taken = {variant: dict.fromkeys(STAGES, 0.0) for variant in variants}
    own = cost[(cost.dataset == dataset) & cost.stage.isin(STAGE_OF) & cost.model.isin(["", model])]
    for row in rows_of(own):
        for variant in variants:
            if row.variant == variant or (row.stage == "fit" and variant.startswith(f"{row.variant}-")):
                taken[variant][STAGE_OF[row.stage]] += float(row.seconds) * float(row.runs)
    return pd.DataFrame.from_dict(taken, orient="index", columns=list(STAGES))


def cost_figure(cost: pd.DataFrame, table: pd.DataFrame, study: ReportStudy) -> Figure:
    """Wall time per variant by stage, and beside it the difference on people of each task.

    ``cost`` is cost.csv, ``table`` impact.csv. A row of panels per data set, model and direction; of the categories of
    people that with the most instances.
    """
    table = primary(table)
    people = table[table.group == PEOPLE]
    wanted = [(d, m, part, spent(cost, d, m, list(dict.fromkeys(part.variant)))) for d, m, part in blocks(people)]
    wanted = [one for one in wanted if one[-1].to_numpy().sum() > 0]
    if not wanted:
        return nothing("nothing was measured of what it took")
    tasks = list(dict.fromkeys(people.task))
    heights = [0.5 + len(took) for *_, took in wanted]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.24 * sum(heights) + 0.3 * len(wanted)), layout="constrained")
    axes = figure.subplots(
        len(wanted), 1 + len(tasks), squeeze=False, height_ratios=heights, sharey="row",
        width_ratios=[2.0, *(1.0 for _ in tasks)],
    )  # fmt: skip
    several = len(wanted) > 1
    for line, (dataset, model, part, took) in enumerate(wanted):
        _bars(axes[line, 0], took)
        axes[line, 0].set_yticks(range(len(took)), list(took.index))
        axes[line, 0].set_ylim(len(took) - 0.45, -0.55)
        if several:
            axes[line, 0].set_ylabel("\n".join([dataset, *whose(model, part)]), fontweight="bold")
        most = most_frequent(part)
        for axis, task in zip(axes[line, 1:], tasks, strict=True):
            rows = part[(part.task == task) & (part.category == most)]
            margin = study.margin_of(task)
            panel(axis, margin, limits_of(list(rows.difference.dropna()), all_ends(rows), [], margin), ticks=4)
            for row in rows_of(rows):
                if is_number(row.difference):
                    at = list(took.index).index(row.variant)
                    interval(axis, row, at, RED)
                    axis.plot([row.difference], [at], marker="o", ms=4.6, color=RED, mec="white", mew=0.6, zorder=5)
            axis.set_xlabel(f"Δ {rows.metric.iloc[0]} on {most}" if len(rows) else "")
            if line == 0:
                axis.set_title(capital(heading(people, task)))
    axes[0, 0].set_title("Wall time")
    handles = [Patch(color=colour, label=name) for name, colour in STAGES.items()]
    legend(figure, [*handles, band_handle(study, people)])
    return figure


def _bars(axis: Axes, took: pd.DataFrame) -> None:
    total = took.sum(axis=1).to_numpy()
    _, unit, name = next(u for u in UNITS if total.max() >= u[0])
    left = np.zeros(len(took))
    for stage, colour in STAGES.items():
        width = took[stage].to_numpy() / unit
        axis.barh(range(len(took)), width, left=left, color=colour, height=0.66, lw=0)
        left += width
    for y, value in enumerate(total / unit):
        text = f"{value:.0f}" if value >= 100 else f"{value:.1f}"
        axis.annotate(text, (value, y), (3, 0), textcoords="offset points", va="center", fontsize=7)
    axis.set_xlim(0, 1.12 * total.max() / unit)
    axis.set_xlabel(name)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color=GRID, lw=0.5)
    axis.set_axisbelow(True)
