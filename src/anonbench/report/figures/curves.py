"""Loss curves of the trainings."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anonbench.report.figures.style import LINES, WIDTH, nothing
from anonbench.report.study import ORIGINAL
from anonbench.report.tables import blocks, marked


def curves_figure(losses: pd.DataFrame) -> Figure:
    """Training loss, smoothed and averaged over seeds: a panel per data set and model, a line per variant."""
    if losses.empty:
        return nothing("nothing was trained")
    parts_ = blocks(losses)
    columns = min(len(parts_), 2)
    rows = -(-len(parts_) // columns)
    figure = Figure(figsize=(WIDTH, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(parts_) :]:
        axis.set_visible(False)
    variants = list(dict.fromkeys(losses.variant))
    for axis, (dataset, model, part) in zip(axes, parts_, strict=False):
        lines = []
        for k, variant in enumerate(variants):
            own = part[part.variant == variant]
            if own.empty:
                continue
            lines.append(line(axis, own, k))
        low, high = min(min(one) for one in lines), max(max(one[len(one) // 20 :]) for one in lines)
        room = 0.05 * (high - low) or 1.0
        axis.set_ylim(low - room, high + room)  # the first losses, which are much higher, may leave the panel
        axis.set_xlim(0, part.iteration.max())
        axis.set_title(f"{dataset}, {marked(model, part)}")
        axis.set_xlabel("iteration")
        axis.set_ylabel("training loss (mean over seeds)")
        axis.grid(color="#e4e4e4", lw=0.5)
    shown = {one.get_label(): one for axis in axes for one in axis.get_lines()}
    there = [variant for variant in variants if variant in shown]  # a panel may lack some
    figure.legend([shown[variant] for variant in there], there, loc="outside right upper")
    return figure


def line(axis: Axes, own: pd.DataFrame, place: int) -> list[float]:
    """Draw the loss of one variant, smoothed, in the colour of its ``place`` among all; return what is drawn."""
    smooth = own.loss.rolling(max(1, len(own) // 25), min_periods=1).mean()
    variant = str(own.variant.iloc[0])
    emphasis = variant == ORIGINAL
    axis.plot(
        own.iteration, smooth, color=LINES[place % len(LINES)], lw=1.7 if emphasis else 1.0,
        ls="-" if place < len(LINES) else "--", label=variant, zorder=3 if emphasis else 2,
    )  # fmt: skip
    return list(smooth)
