"""Who was anonymized and who was not, by variant, and by category and size."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from anonbench.records import UNANNOTATED, Reason
from anonbench.report.collect import COVERAGE_COLUMNS, HANDLED
from anonbench.report.figures.style import CHANGED, REASONS, SIZES, SOURCES, WIDTH, legend, nothing
from anonbench.report.tables import percent, reencoded


def coverage_figure(cover: pd.DataFrame) -> Figure:
    """Who was anonymized, and why the others were not: a bar per variant over all categories of annotated people."""
    cover = cover[~reencoded(cover) & (cover.category != UNANNOTATED)]
    if cover.empty:
        return nothing("nobody was to be anonymized")
    known = [reason.value for reason in Reason]
    reasons = [c for c in cover.columns if c not in (*COVERAGE_COLUMNS, HANDLED) and cover[c].sum() > 0]
    colours = {r: REASONS[known.index(r) % len(REASONS) if r in known else -1] for r in reasons}
    sums = cover.groupby(["dataset", "variant"], sort=False)[["people", "anonymized", *reasons]].sum()
    datasets = list(dict.fromkeys(cover.dataset))
    sizes = [len(sums.loc[d]) for d in datasets]
    figure = Figure(figsize=(WIDTH, 0.75 + 0.27 * sum(sizes) + 0.35 * len(datasets)), layout="constrained")
    axes = figure.subplots(len(datasets), 1, squeeze=False, height_ratios=sizes, sharex=True).ravel()
    for axis, dataset in zip(axes, datasets, strict=True):
        of = sums.loc[dataset]
        people = of.people.to_numpy(dtype=float)
        left = np.zeros(len(of))
        for name, colour in [("anonymized", CHANGED), *colours.items()]:
            share = np.divide(of[name], people, out=np.zeros(len(of)), where=people > 0)
            axis.barh(range(len(of)), share, left=left, color=colour, height=0.68, lw=0)
            left += share
        for y, (done, all_) in enumerate(zip(of.anonymized, of.people, strict=True)):
            share = done / all_ if all_ else None
            axis.text(1.01, y, f"{int(done)} of {int(all_)} ({percent(share)})", va="center", fontsize=7)
        axis.set_yticks(range(len(of)), list(of.index))
        axis.set_ylim(len(of) - 0.5, -0.5)
        axis.set_xlim(0, 1)
        axis.tick_params(axis="y", length=0)
        split = cover[cover.dataset == dataset].split.iloc[0]
        axis.set_title(f"{dataset}: people of the split “{split}”", loc="left")
        axis.xaxis.set_major_formatter(PercentFormatter(1.0))
    handles = [Patch(color=CHANGED, label="anonymized")]
    handles += [Patch(color=c, label=r.replace("_", " ")) for r, c in colours.items()]
    legend(figure, handles)
    return figure


def people_figure(people: pd.DataFrame) -> Figure:
    """Where each person's region comes from, and why others have none: a bar per category and size."""
    panels = list(dict.fromkeys(zip(people.dataset, people.kind, strict=True)))
    if not panels:
        return nothing("nobody was to be anonymized")
    known = [reason.value for reason in Reason]
    people = people.assign(what=people.source.where(people.source != "", people.status))
    whats = [w for w in (*SOURCES, *known) if w in set(people.what)]
    whats += [w for w in dict.fromkeys(people.what) if w not in whats]
    colours = {w: SOURCES.get(w) or REASONS[known.index(w) % len(REASONS) if w in known else -1] for w in whats}
    tables = [
        people[(people.dataset == dataset) & (people.kind == kind)].pivot_table(
            index=["category", "size"], columns="what", values="people", aggfunc="sum", fill_value=0
        )
        for dataset, kind in panels
    ]
    tables = [t.sort_index(key=lambda i: i.map(list(SIZES).index) if i.name == "size" else i) for t in tables]
    sizes = [len(t) for t in tables]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.24 * sum(sizes) + 0.4 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=sizes, sharex=True).ravel()
    for axis, (dataset, kind), table in zip(axes, panels, tables, strict=True):
        total = table.sum(axis=1).to_numpy(dtype=float)
        left = np.zeros(len(table))
        for what in (w for w in whats if w in table):
            share = table[what].to_numpy() / total
            axis.barh(range(len(table)), share, left=left, color=colours[what], height=0.68, lw=0)
            left += share
        for y, number in enumerate(total):
            axis.text(1.01, y, f"{int(number)}", va="center", fontsize=7)
        axis.set_yticks(range(len(table)), [f"{category}, {size}" for category, size in table.index])
        axis.set_ylim(len(table) - 0.5, -0.5)
        axis.set_xlim(0, 1)
        axis.tick_params(axis="y", length=0)
        axis.set_title(f"{dataset}: where the region of each {kind} comes from", loc="left")
        axis.xaxis.set_major_formatter(PercentFormatter(1.0))
    handles = [Patch(color=colours[w], label=w.replace("_", " ")) for w in whats]
    legend(figure, handles)
    return figure
