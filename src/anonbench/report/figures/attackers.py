"""Loss curves of attackers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from anonbench.report.attackers import RESTORER
from anonbench.report.figures.curves import line
from anonbench.report.figures.style import WIDTH, legend, nothing

COLUMNS = 4
"""Most panels in a row."""
ROW, LEGEND = 1.35, 0.025
"""Height of a row of panels, and of what a variant takes below them, in inches."""
WORDY = 16
"""Letters that a row's label has room for in the usual size."""


def attackers_figure(losses: pd.DataFrame, variants: Sequence[str] = ()) -> Figure:
    """Training loss of attackers, smoothed and averaged over seeds: a panel per attacker, a line per variant.

    Each attack begins a row; its panels share a logarithmic scale. ``variants`` are those that other figures of losses
    show, whose colours are kept.
    """
    if losses.empty:
        return nothing("no attacker has learnt yet")
    everybody = list(dict.fromkeys([*variants, *losses.variant]))
    groups = [part for _, part in losses.groupby(["dataset", "attack", "training"], sort=False)]
    panels = [[own for _, own in part.groupby("attacker", sort=False)] for part in groups]
    columns = min(COLUMNS, max(map(len, panels)))
    heights = [-(-len(of) // columns) for of in panels]
    wordy = max(len(line) for part in groups for line in _said(part, losses).splitlines()) > WORDY
    figure = Figure(figsize=(WIDTH, 0.5 + LEGEND * len(everybody) + ROW * sum(heights)), layout="constrained")
    grid = figure.add_gridspec(sum(heights), columns)
    first = 0
    for part, of, height in zip(groups, panels, heights, strict=True):
        shared: Axes | None = None
        for k, own in enumerate(of):
            axis = figure.add_subplot(grid[first + k // columns, k % columns], sharey=shared)
            shared = shared or axis
            for variant, curve in own.groupby("variant", sort=False):
                line(axis, curve, everybody.index(variant))
            axis.set_title(own.attacker.iloc[0], fontsize=7.5)
            axis.set_xlim(0, own.iteration.max())
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
            axis.grid(color="#e4e4e4", lw=0.5)
            axis.tick_params(labelsize=7, labelleft=k % columns == 0)
            if k % columns == 0:
                axis.set_ylabel(f"{_said(part, losses)}\ntraining loss", fontsize=6.5 if wordy else None)
            if k + columns >= len(of):  # nobody is below
                axis.set_xlabel("iteration", fontsize=7, labelpad=1)
        if shared is not None and (part.loss > 0).all():
            _logarithmic(shared, part)
        first += height
    lines = {one.get_label(): one for axis in figure.axes for one in axis.get_lines()}
    legend(figure, [lines[variant] for variant in everybody if variant in lines])
    return figure


def _logarithmic(axis: Axes, part: pd.DataFrame) -> None:
    """Give an axis of losses a logarithmic scale, with more marks where it spans little."""
    wide = part.loss.max() > 6 * part.loss.min()
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if wide else (1, 1.5, 2, 3, 4, 6, 8)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())


def _said(part: pd.DataFrame, losses: pd.DataFrame) -> str:
    """Return what a row of panels is about, a line for each of its names."""
    row = part.iloc[0]
    names = [row.dataset] if losses.dataset.nunique() > 1 else []
    names += [row.attack, RESTORER] if row.training == RESTORER else [row.attack]
    return "\n".join(textwrap.shorten(str(name), 26, placeholder="…") for name in names)
