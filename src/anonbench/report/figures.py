"""The figures, drawn from the tables alone; the same tables give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from anonbench.directions import ON_DEPLOYED, ON_ORIGINAL, ON_SAME
from anonbench.files import write_bytes
from anonbench.records import UNANNOTATED, Reason
from anonbench.report.collect import COVERAGE_COLUMNS, HANDLED, PEOPLE, TOUCHED
from anonbench.report.starts import starts_figure
from anonbench.report.study import ORIGINAL, ReportStudy, is_identity, region_order
from anonbench.report.tables import (
    DAGGER,
    blocks,
    capital,
    daggered,
    direction,
    is_number,
    label,
    leaky,
    margins,
    marked,
    percent,
    primary,
    read_csv,
    reencoded,
    rows_of,
    shown,
)
from anonbench.tasks.base import ALL, UNTOUCHED, title

WIDTH = 7.0
"""Inches: a paper's text width."""

PEOPLE_COLOURS = ("#D55E00", "#CC79A7", "#56B4E9")
CONTROL_COLOURS = ("#5f6b7a", "#009E73", "#8a6d00")
"""Okabe and Ito's colours (2008), which stay apart for colour-blind readers and in grey."""

LINES = ("#000000", "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#8a6d00", "#5f6b7a")

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "anonbench",
    "figure.dpi": 150,
    "path.simplify": False,
}

SHORT = {ON_SAME: "tested on itself", ON_DEPLOYED: "deployed on it"}
"""Directions in few words, for the margin of a figure."""

PNG_DPI = 150
FORMATS = ("png", "pdf")


@contextmanager
def style() -> Iterator[None]:
    """Use matplotlib's own defaults and ours, whatever the user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)  # type: ignore[arg-type]
        yield


def save(figure: Figure, out: Path, name: str, tight: bool = True, dpi: int = PNG_DPI) -> list[str]:
    """Write ``name`` as PNG and PDF, without dates and versions; return the file names."""
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    }
    extra: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.04} if tight else {}
    for kind in FORMATS:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata[kind], facecolor="white", **extra)
        write_bytes(out / f"{name}.{kind}", _opaque(buffer) if kind == "png" else buffer.getvalue())
    return [f"{name}.{kind}" for kind in FORMATS]


def _opaque(png: io.BytesIO) -> bytes:
    """Return a PNG without the alpha channel that matplotlib gives it, packed tighter: some 15 % smaller."""
    smaller = io.BytesIO()
    with Image.open(png) as image:
        image.convert("RGB").save(smaller, "PNG", optimize=True, dpi=image.info["dpi"])
    return smaller.getvalue()


def write_figures(study: ReportStudy, tables: Path, out: Path) -> list[str]:
    """Draw ``impact``, ``curves``, ``coverage`` and ``people`` from the tables in ``tables``; return the file names.

    A study whose models differ in first weights or learning rate alone (``study.starts``) gets ``starts``, too.
    Raises AnonbenchError when a table is missing or damaged.
    """
    table, seeds = read_csv(tables / "impact.csv"), read_csv(tables / "seeds.csv")
    losses, cover = read_csv(tables / "curves.csv"), read_csv(tables / "coverage.csv")
    with style():
        drawn = save(impact_figure(table, seeds, study), out, "impact")
        drawn += save(curves_figure(losses), out, "curves")
        drawn += save(coverage_figure(cover), out, "coverage")
        drawn += save(people_figure(read_csv(tables / "people.csv")), out, "people")
        if study.starts:
            drawn += save(starts_figure(study, table), out, "starts")
    return drawn


# --- impact


def impact_figure(table: pd.DataFrame, seeds: pd.DataFrame, study: ReportStudy) -> Figure:
    """Difference of each task's first metric to the original: a column per task, a row of panels per region.

    Each row of panels has its own scale, so that small effects of faces stay visible beside large ones of bodies, and
    each unit in it.
    """
    table, seeds = primary(table[table.variant != ORIGINAL]), primary(seeds)
    panels = []
    for dataset, model, part in blocks(table):
        for region in sorted(set(part.region), key=region_order):
            panels.append((dataset, model, region, part[part.region == region]))
    if not panels:
        return _nothing("no variant but the original")
    tasks = list(dict.fromkeys(table.task))
    heights = [p.variant.nunique() + 0.6 for *_, p in panels]
    figure = Figure(figsize=(WIDTH, 0.75 + 0.34 * sum(heights) + 0.18 * len(panels)), layout="constrained")
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
            same = [t for t in tasks if _unit(table, t) == _unit(table, task)]
            limits = _limits(part[part.task.isin(same)], own[own.task.isin(same)], categories, study, same)
            _impact_panel(
                axis,
                rows,
                own[own.task == task],
                variants,
                [c for c in categories if c in set(rows.category)],
                colours,
                study.margin_of(task),
            )
            axis.set_xlim(*limits)
            axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            if row == 0:
                axis.set_title(capital(title(task)))
            if row == len(panels) - 1:
                axis.set_xlabel(f"Δ {_metric(part, task)} to original")
            if column == 0:
                axis.set_yticks(range(len(variants)), [_label(v, region) for v in variants])
                name = "\n".join([dataset, *_whose(model, part), region]) if several else region
                lying: dict[str, Any] = (
                    {"rotation": 0, "ha": "right", "va": "center", "labelpad": 10} if several else {}
                )
                axis.set_ylabel(name or "other", fontweight="bold", **lying)
    figure.align_ylabels(axes[:, 0])
    figure.legend(
        handles=_legend(table, study), loc="outside lower center", ncols=5, handletextpad=0.4, columnspacing=1.4
    )
    return figure


def _impact_panel(
    axis: Axes,
    rows: pd.DataFrame,
    seeds: pd.DataFrame,
    variants: list[str],
    categories: list[str],
    colours: dict[str, str],
    margin: float,
) -> None:
    axis.axvspan(-margin, margin, color="#0072B2", alpha=0.10, lw=0, zorder=0)
    axis.axvline(0, color="#333333", lw=0.7, zorder=1)
    step = 0.62 / max(1, len(categories))
    for k, category in enumerate(categories):
        people = (rows.loc[rows.category == category, "group"] == PEOPLE).all()
        for y, variant in enumerate(variants):
            found = rows[(rows.category == category) & (rows.variant == variant)]
            if found.empty:
                continue
            row = rows_of(found)[0]
            at = y + (k - (len(categories) - 1) / 2) * step
            if not is_number(row.difference):
                axis.text(0, at, "not evaluated", color="#aa0000", fontsize=6, ha="center", va="center")
                continue
            if is_number(row.difference_low):
                axis.plot(
                    [row.difference_low, row.difference_high], [at, at], color=colours[category],
                    lw=2.0 if people else 1.4, solid_capstyle="butt", zorder=3, alpha=0.9 if people else 0.75,
                )  # fmt: skip
            dots = seeds[(seeds.category == category) & (seeds.variant == variant)].difference.dropna()
            axis.scatter(
                dots, [at] * len(dots), s=9, facecolors="white", edgecolors=colours[category], lw=0.7, zorder=4
            )
            axis.scatter(
                [row.difference], [at], s=26 if people else 18, marker="o" if people else "s",
                color=colours[category], zorder=5, edgecolors="white", lw=0.6,
            )  # fmt: skip
    axis.set_ylim(len(variants) - 0.45, -0.55)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="#dddddd", lw=0.5)
    axis.set_axisbelow(True)


def _unit(table: pd.DataFrame, task: str) -> str:
    """Return the unit of a task's first metric."""
    return str(table.loc[table.task == task, "unit"].iloc[0])


def _limits(
    part: pd.DataFrame, seeds: pd.DataFrame, categories: list[str], study: ReportStudy, tasks: list[str]
) -> tuple[float, float]:
    """Return the x range of a row's panels of one unit: all points and intervals, at least twice the margin."""
    margin = max(study.margin_of(task) for task in tasks)
    rows = part[part.category.isin(categories)]
    own = seeds[seeds.variant.isin(set(part.variant)) & seeds.category.isin(categories)]
    values = pd.concat([rows.difference, rows.difference_low, rows.difference_high, own.difference]).dropna()
    low, high = min([*values, -2 * margin]), max([*values, 2 * margin])
    room = 0.04 * (high - low)
    return low - room, high + room


def _colours(part: pd.DataFrame, categories: list[str]) -> dict[str, str]:
    people = set(part.loc[part.group == PEOPLE, "category"])
    first, second = iter(PEOPLE_COLOURS * 9), iter(CONTROL_COLOURS * 9)
    return {c: next(first) if c in people else next(second) for c in categories}


def _label(variant: str, region: str) -> str:
    name = variant.removeprefix(f"{region}-").replace("_", " ").replace("-", ", ")
    return "identity (re-encoded only)" if is_identity(variant) else name


def _whose(model: str, part: pd.DataFrame) -> list[str]:
    """Return the lines that name a row's model and, unless it is the usual one, the direction."""
    on = direction(part)
    first = daggered(model, part)
    return [first] if on == ON_ORIGINAL else [first, SHORT[on]]


def _metric(part: pd.DataFrame, task: str) -> str:
    """Return the name of a task's first metric."""
    of = part.loc[part.task == task, "metric"]
    return str(of.iloc[0]) if len(of) else title(task)


def _legend(table: pd.DataFrame, study: ReportStudy) -> list[Any]:
    categories = list(dict.fromkeys(c for *_, part in blocks(table) for c in shown(part)))
    colours = _colours(table, categories)
    people = set(table.loc[table.group == PEOPLE, "category"])
    touched = set(table.loc[table.group == TOUCHED, "category"])
    handles: list[Any] = []
    for c in categories:
        shape, size, width = ("o", 4.5, 2.0) if c in people else ("s", 4.0, 1.4)
        means = {UNTOUCHED: f"{label(table, UNTOUCHED)} categories", ALL: "all categories"}
        left = "not people" if c in touched else "not anonymized"
        name = c if c in people else means.get(c, f"{c} ({left})")
        handles.append(Line2D([], [], color=colours[c], label=name, marker=shape, ms=size, lw=width))
    dot: dict[str, Any] = {"marker": "o", "ms": 3, "mfc": "white", "mec": "#444444", "mew": 0.7}
    trained = any(study.trains(model) for model in set(table.model))
    if trained:
        handles.append(Line2D([], [], color="none", label="one seed", **dot))
    handles.append(Patch(color="#0072B2", alpha=0.10, lw=0, label=f"{margins(study, table)}: no practical difference"))
    if leaky(table):
        handles.append(
            Line2D(
                [],
                [],
                color="none",
                label=f"{DAGGER} the {'start' if trained else 'model'} had seen the original images",
            )
        )
    return handles


def _nothing(text: str) -> Figure:
    figure = Figure(figsize=(WIDTH, 1))
    figure.text(0.5, 0.5, text, ha="center", va="center", color="#777777")
    return figure


# --- loss curves


def curves_figure(losses: pd.DataFrame) -> Figure:
    """Training loss, smoothed and averaged over seeds: a panel per data set and model, a line per variant."""
    if losses.empty:
        return _nothing("nothing was trained")
    parts_ = blocks(losses)
    columns = min(len(parts_), 2)
    rows = -(-len(parts_) // columns)
    figure = Figure(figsize=(WIDTH if columns > 1 else 0.72 * WIDTH, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(parts_) :]:
        axis.set_visible(False)
    variants = list(dict.fromkeys(losses.variant))
    for axis, (dataset, model, part) in zip(axes, parts_, strict=False):
        for k, variant in enumerate(variants):
            own = part[part.variant == variant]
            window = max(1, len(own) // 25)
            smooth = own.loss.rolling(window, min_periods=1).mean()
            emphasis = variant == ORIGINAL
            axis.plot(
                own.iteration, smooth, color=LINES[k % len(LINES)], lw=1.7 if emphasis else 1.0,
                ls="-" if k < len(LINES) else "--", label=variant, zorder=3 if emphasis else 2,
            )  # fmt: skip
        tail = part.groupby("variant").loss.apply(lambda v: v.iloc[len(v) // 20 :].max())
        axis.set_ylim(0, 1.08 * tail.max())
        axis.set_xlim(0, part.iteration.max())
        axis.set_title(f"{dataset}, {marked(model, part)}")
        axis.set_xlabel("iteration")
        axis.set_ylabel("training loss (mean over seeds)")
        axis.grid(color="#e4e4e4", lw=0.5)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    return figure


# --- coverage

REASON_COLOURS = ("#E69F00", "#56B4E9", "#F0E442", "#CC79A7", "#8a6d00", "#000000", "#999999")


def coverage_figure(cover: pd.DataFrame) -> Figure:
    """Who was anonymized, and why the others were not: a bar per variant over all categories of annotated people."""
    cover = cover[~reencoded(cover) & (cover.category != UNANNOTATED)]
    if cover.empty:
        return _nothing("nobody was to be anonymized")
    known = [reason.value for reason in Reason]
    reasons = [c for c in cover.columns if c not in (*COVERAGE_COLUMNS, HANDLED) and cover[c].sum() > 0]
    colours = {r: REASON_COLOURS[known.index(r) % len(REASON_COLOURS) if r in known else -1] for r in reasons}
    sums = cover.groupby(["dataset", "variant"], sort=False)[["people", "anonymized", *reasons]].sum()
    datasets = list(dict.fromkeys(cover.dataset))
    sizes = [len(sums.loc[d]) for d in datasets]
    figure = Figure(figsize=(WIDTH, 0.75 + 0.27 * sum(sizes) + 0.35 * len(datasets)), layout="constrained")
    axes = figure.subplots(len(datasets), 1, squeeze=False, height_ratios=sizes, sharex=True).ravel()
    for axis, dataset in zip(axes, datasets, strict=True):
        of = sums.loc[dataset]
        people = of.people.to_numpy(dtype=float)
        left = np.zeros(len(of))
        for name, colour in [("anonymized", "#0072B2"), *colours.items()]:
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
        axis.set_title(f"{dataset}: people in the training split", loc="left")
        axis.xaxis.set_major_formatter(PercentFormatter(1.0))
    handles = [Patch(color="#0072B2", label="anonymized")]
    handles += [Patch(color=c, label=r.replace("_", " ")) for r, c in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


# --- people

SOURCE_COLOURS = {
    "mask": "#0072B2", "ground_truth": "#00568A", "detector": "#3D9BD1", "union": "#7CC0E8", "keypoints": "#A8CDE6",
    "box": "#CFE6F5", "unannotated": "#003A5D",
}  # fmt: skip
"""Where a region comes from; whatever has no region is in a reason's colour."""
BARS = ("small", "medium", "large")


def people_figure(people: pd.DataFrame) -> Figure:
    """Where each person's region comes from, and why others have none: a bar per category and size."""
    panels = list(dict.fromkeys(zip(people.dataset, people.kind, strict=True)))
    if not panels:
        return _nothing("nobody was to be anonymized")
    known = [reason.value for reason in Reason]
    people = people.assign(what=people.source.where(people.source != "", people.status))
    whats = [w for w in (*SOURCE_COLOURS, *known) if w in set(people.what)]
    whats += [w for w in dict.fromkeys(people.what) if w not in whats]
    colours = {
        w: SOURCE_COLOURS.get(w) or REASON_COLOURS[known.index(w) % len(REASON_COLOURS) if w in known else -1]
        for w in whats
    }
    tables = [
        people[(people.dataset == dataset) & (people.kind == kind)].pivot_table(
            index=["category", "size"], columns="what", values="people", aggfunc="sum", fill_value=0
        )
        for dataset, kind in panels
    ]
    tables = [t.sort_index(key=lambda i: i.map(BARS.index) if i.name == "size" else i) for t in tables]
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
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure
