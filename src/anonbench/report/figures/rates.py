"""Rate curves: the picture outside of faces, what models find and what attackers find, over bits per pixel."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from anonbench.report.figures.style import GRID, INK, LINES, MARKERS, WIDTH, legend, nothing
from anonbench.report.rates import Series, rate_of, series
from anonbench.report.tables import capital, rows_of

COLUMNS = 3


def rates_figure(taken: pd.DataFrame, table: pd.DataFrame, privacy: pd.DataFrame | None) -> Figure:
    """Draw a panel per measure of each data set, a line per codec and what comes before it; bits on a log scale.

    Bits are those of the split that a measure is about: of what attackers find of the one that they attack.
    ``taken`` is rates.csv, ``table`` impact.csv, ``privacy`` privacy.csv. The dashed line is the original.
    """
    panels = [(d, one) for d in dict.fromkeys(taken.dataset) for one in series(taken, table, privacy, d)]
    if not panels:
        return nothing("no codec has coded anything")
    curves = list(dict.fromkeys(taken.curve))
    looks = {c: (LINES[k % len(LINES)], MARKERS[k % len(MARKERS)]) for k, c in enumerate(curves)}
    lines = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(WIDTH, 0.6 + 0.25 * len(curves) / 3 + 1.9 * lines), layout="constrained")
    axes = figure.subplots(lines, COLUMNS, squeeze=False)
    several = taken.dataset.nunique() > 1
    bits = [rate_of(row, attacked) for row in rows_of(taken) for attacked in (False, True)]
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (dataset, one) in zip(axes.flat, panels, strict=False):
        _panel(axis, taken[taken.dataset == dataset], one, looks)
        name = capital(one.name)
        axis.set_title(f"{dataset}: {name}" if several else name, fontsize=6.5, fontweight="normal", wrap=True)
        axis.set_xlim(0.85 * min(bits), max(bits) / 0.85)
    for axis in axes.flat[max(len(panels) - COLUMNS, 0) : len(panels)]:  # the lowest of each column
        axis.set_xlabel("bits per pixel", fontsize=7)
    handles = [
        Line2D([], [], color=colour, marker=marker, ms=4.5, lw=1.2, label=curve)
        for curve, (colour, marker) in looks.items()
    ]
    if any(one.original is not None for _, one in panels):
        handles.append(Line2D([], [], color=INK, ls="--", lw=0.8, label="original"))
    legend(figure, handles)
    return figure


def _panel(axis: Axes, mine: pd.DataFrame, one: Series, looks: dict[str, tuple[str, str]]) -> None:
    if one.original is not None:
        axis.axhline(one.original, color=INK, ls="--", lw=0.8, zorder=1)
    for curve, rows in mine.groupby("curve", sort=False):
        points = sorted(
            (rate_of(row, one.found), one.values[row.variant]) for row in rows_of(rows) if row.variant in one.values
        )
        if points:
            colour, marker = looks[str(curve)]
            axis.plot(*zip(*points, strict=True), color=colour, marker=marker, ms=3.6, lw=1.1, mec="white", mew=0.4)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(color=GRID, lw=0.5)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=6.5)
