"""The trade-off: what a variant keeps against what its strongest attacker still finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from anonbench.report.attempts import SINGLING_OUT
from anonbench.report.bought import RISKS, elsewhere, kept_of
from anonbench.report.captions import dosed
from anonbench.report.figures.style import GRID, GROUND, INK, MARKERS, METHODS, SOFT, WIDTH, legend, nothing
from anonbench.report.gates import NO_VERDICT
from anonbench.report.privacy_text import attacks_of, deciding, named
from anonbench.report.study import ORIGINAL, is_coded, is_identity, parts
from anonbench.report.tables import capital, interval_of, is_number, rows_of, titled
from anonbench.variants import IDENTITY

POINTS = (155.0, 125.0)
"""About how wide and high a panel is, in points: it has its size only when all is laid out."""
HEIGHT = 2.35
MASK_OUT = "mask_out"
FILLS: Mapping[str, Any] = {"face": "none", "body": "full", "frame": "left"}
"""How a mark is filled, by kind of region."""
REGIONS = {"body": "bodies", "face": "faces", "frame": "whole images"}
DASHES: Mapping[str, Any] = {"body": (0, (4, 3)), "face": (0, (1.2, 1.8)), "frame": (0, (6, 2, 1.2, 2))}
"""How the level of masking out is drawn, by kind of region."""
LITTLE, NARROW = 50.0, 0.18
"""Variants that keep less than so many per cent share so much of an axis, as a part of the rest."""
LOW_CHANCE = 0.2
"""Measures whose chance is lower have an axis from nothing."""
ENCODED = "re-encoded only"
FRONT = "#cfd6de"
"""Colour of the Pareto front."""
CONTROL: Mapping[str, Any] = {"marker": "_", "ms": 9, "mew": 1.3, "color": SOFT}
"""How the best control is drawn."""
BREAK: Mapping[str, Any] = {"marker": [(-0.7, -1), (0.1, 1), (0.7, 1), (-0.1, -1), (-0.7, -1)], "ms": 11, "mew": 0.8,
                            "mfc": GROUND, "mec": INK}  # fmt: skip
"""How an axis is marked where its scale changes."""


class Panel(NamedTuple):
    """What a panel shows: one measure of an attack on a data set, by the strongest attacker of each variant."""

    dataset: str
    risk: str
    attack: str
    rows: pd.DataFrame


def tradeoff_figure(table: pd.DataFrame, privacy: pd.DataFrame) -> Figure:
    """Draw what is kept against what is found: a column per risk, a panel per attack; ``table`` is impact.csv.

    The horizontal axis is the share of the original's first metric that is kept, of the primary question's first task,
    the vertical one what an attack is judged by, or how many are singled out; both with 95 % intervals. Strengths of
    one method are joined, mild first; levels of one that have no order have their names. A bar below a mark is what
    the best control finds. The best corner is at the lower right.
    """
    kept = {dataset: kept_of(table, dataset) for dataset in dict.fromkeys(privacy.dataset)}
    panels = [panel for panel in _panels(privacy) if set(panel.rows.variant) & set(kept[panel.dataset])]
    if not panels:
        return nothing("no variant was attacked, or nothing is known of what the models keep")
    columns = [
        [p for p in panels if (p.risk, p.dataset) == key]
        for key in ((risk, dataset) for dataset in kept for risk in (*RISKS, ""))
    ]
    columns = [column for column in columns if column]
    tall = max(map(len, columns))
    wide = min(WIDTH, 1.2 + 2.9 * len(columns))
    figure = Figure(figsize=(wide, 0.75 + HEIGHT * tall), layout="constrained")
    axes = figure.subplots(tall, len(columns), squeeze=False)
    methods = list(dict.fromkeys(m for p in panels for m in _methods(p.rows)))
    doing = [m for m in methods if m != IDENTITY]
    looks = {m: (METHODS[k % len(METHODS)], MARKERS[k % len(MARKERS)]) for k, m in enumerate(doing)}
    looks |= {IDENTITY: (INK, "x")} if IDENTITY in methods else {}
    several = len(kept) > 1
    for at, column in enumerate(columns):
        for line in range(tall):
            axis = axes[line, at]
            if line >= len(column):
                axis.set_visible(False)
                continue
            panel = column[line]
            _draw(axis, panel, kept[panel.dataset], looks)
            name = f"{panel.dataset}, {panel.attack}" if several else panel.attack
            axis.set_title(name, fontsize=8, fontweight="normal")
            if line == 0:
                axis.annotate(capital(panel.risk), (0.5, 1), (0, 17), "axes fraction", "offset points", ha="center",
                              fontsize=9, fontweight="bold")  # fmt: skip
            if line == len(column) - 1:
                first = next(iter(kept[panel.dataset].values()))
                axis.set_xlabel(f"{titled(first)} kept{elsewhere(first, panel.dataset)}, %")
    legend(figure, _handles(panels, looks))
    return figure


def _panels(privacy: pd.DataFrame) -> list[Panel]:
    """Return the panels: of each attack what it is judged by, and whom it singles out."""
    found = []
    for dataset, attack, part in attacks_of(privacy[privacy.chosen == "true"]):
        for rows in (part[part.headline == "true"], part[part.measure == SINGLING_OUT]):
            rows = rows[rows.chance.notna()]
            if len(rows):
                found.append(Panel(dataset, str(rows.risk.iloc[0]), attack, rows))
    return found


def _methods(rows: pd.DataFrame) -> list[str]:
    return [m for m in dict.fromkeys(parts(v)[1] for v in rows.variant) if m != ORIGINAL]


def _draw(axis: Axes, panel: Panel, kept: dict[str, Any], looks: dict[str, tuple[str, str]]) -> None:
    """Draw one panel."""
    of = {row.variant: row for row in rows_of(panel.rows)}
    places = {v: (float(kept[v].kept), 100 * float(row.value)) for v, row in of.items() if v in kept}
    floor = 100 * float(panel.rows.chance.mean())
    axis.axhline(floor, color=SOFT, lw=0.9, ls=":", zorder=1)
    if ORIGINAL in of:
        raw = 100 * float(of[ORIGINAL].value)
        axis.axhline(raw, color=INK, lw=0.9, ls="-", zorder=1)
        places = {ORIGINAL: (100.0, raw), **places}
    for variant, (_, y) in places.items():
        region, method, _ = parts(variant)
        if method == MASK_OUT:
            axis.axhline(y, **_level(region, looks))
    _front(axis, [place for variant, place in places.items() if not is_identity(variant)])
    for (_, method), variants in dosed(places).items():
        axis.plot(*zip(*(places[v] for v in variants), strict=True), color=looks[method][0], lw=1.1, zorder=3)
    leveled = {v for variants in dosed(places).values() for v in variants}
    several = Counter(parts(variant)[:2] for variant in places if parts(variant)[2] and not is_coded(variant))
    notes: list[tuple[str, tuple[float, float]]] = []
    for variant, (x, y) in places.items():
        region, method, level = parts(variant)
        if variant == ORIGINAL:
            axis.plot([x], [y], marker="*", ms=11, color=INK, mec="white", mew=0.5, lw=0, zorder=4)
            continue
        colour, marker = looks[method]
        wide, tall = interval_of(kept[variant], "kept"), deciding(of[variant])
        if wide:
            axis.plot(wide, [y, y], color=colour, lw=0.8, alpha=0.7, solid_capstyle="butt", zorder=2)
        if tall:
            axis.plot([x, x], [100 * end for end in tall], color=colour, lw=0.8, alpha=0.7, zorder=2)
        axis.plot([x], [y], lw=0, zorder=5, **_mark(region, colour, marker))
        if is_number(of[variant].control):
            axis.plot([x], [100 * float(of[variant].control)], lw=0, zorder=2, **CONTROL)
        note = level if several[region, method] > 1 else ""
        if variant in leveled and not any(letter.isdigit() for letter in level):
            note = level[:1]
        note += "?" if of[variant].verdict == NO_VERDICT else ""
        if note:
            notes.append((note, (x, y)))
    axis.set_ylabel(f"{named(panel.rows.measure.iloc[0], panel.rows['size'].iloc[0])}, %")
    ends = [100 * end for row in of.values() for end in deciding(row) or (row.value,)]
    ends += [100 * float(of[v].control) for v in places if v != ORIGINAL and is_number(of[v].control)]
    low = min(0.0, *ends) if floor < 100 * LOW_CHANCE else min(floor, *ends)
    high = max(floor, *ends)
    axis.set_ylim(low - 0.03 * (high - low), high + 0.06 * (high - low))
    _across(axis, {v: interval_of(row, "kept") or (row.kept, row.kept) for v, row in kept.items() if v in places})
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.grid(color=GRID, lw=0.5)
    axis.set_axisbelow(True)
    write_notes(axis, notes)


def write_notes(axis: Axes, notes: list[tuple[str, tuple[float, float]]]) -> None:
    """Write a note at each place, in the first of four corners where it covers no other; ``axis`` has its limits."""
    taken: list[tuple[float, float, float, float]] = []
    for note, place in notes:
        across, up = axis.transAxes.inverted().transform(axis.transData.transform(place))
        wide, high = 3.8 * len(note), 6.5
        corners = [(dx, dy) for dy in (2.6, -2.6 - high) for dx in (3.2, -3.2 - wide)]
        boxes = [(POINTS[0] * across + dx, POINTS[1] * up + dy) for dx, dy in corners]
        sides = [(x, y, x + wide, y + high) for x, y in boxes]
        free = next((k for k, one in enumerate(sides) if not any(_meet(one, other) for other in taken)), 0)
        taken.append(sides[free])
        text = axis.annotate(note, place, corners[free], textcoords="offset points", fontsize=6.5, color=INK, zorder=7)
        text.set_path_effects([withStroke(linewidth=1.6, foreground=GROUND)])


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    """Tell whether two rectangles (left, bottom, right, top) have a point in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _across(axis: Axes, kept: dict[str, tuple[float, float]]) -> None:
    """Set the horizontal axis from the intervals of what is kept: what keeps little is put close together, shaded.

    One method that leaves nothing would else squeeze all others into a corner.
    """
    well = [low for low, high in kept.values() if low + high >= 2 * LITTLE]
    low, high = min(end for end, _ in kept.values()), max(100.0, *(end for _, end in kept.values()))
    bend = 10 * np.floor(min(well) / 10) if well else 0.0
    if len(well) < len(kept) and len(well) > 1 and bend > 10:
        shrunk = NARROW * (high - bend) / (bend - low)
        axis.set_xscale(
            "function",
            functions=(
                lambda x: np.where(x >= bend, x, bend + (x - bend) * shrunk),
                lambda x: np.where(x >= bend, x, bend + (x - bend) / shrunk),
            ),
        )
        axis.axvspan(low - (bend - low), bend, color=GRID, alpha=0.35, lw=0, zorder=0)
        axis.plot([bend], [0], transform=axis.get_xaxis_transform(), clip_on=False, zorder=8, lw=0, **BREAK)
        ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(bend, high)
        axis.set_xticks([0.0, *(tick for tick in ticks if bend <= tick <= high)])
        axis.set_xticks([], minor=True)
        axis.set_xlim(low - 0.06 * (high - bend) / shrunk, high + 0.04 * (high - bend))
    else:
        axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _mark(region: str, colour: str, marker: str) -> dict[str, Any]:
    """Return how a variant's point looks."""
    if marker == "x":
        return {"marker": marker, "ms": 4.8, "color": colour, "mew": 1.2}
    fill = FILLS.get(region, "full")
    edge = {"mec": "white", "mew": 0.6} if fill == "full" else {"mec": colour, "mew": 1.1}
    face = {"mfc": "white"} if fill == "none" else {"mfc": colour, "mfcalt": "white"}
    return {"marker": marker, "ms": 5.6, "color": colour, "fillstyle": "full" if fill == "none" else fill} | edge | face


def _level(region: str, looks: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Return how the line looks that tells what masking out leaves to be found."""
    return {"color": looks[MASK_OUT][0], "lw": 0.9, "ls": DASHES.get(region, DASHES["body"]), "zorder": 1}


def front(places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the places (kept, found) that no other beats or equals in both, more kept and less found, by kept."""
    found: list[tuple[float, float]] = []
    for x, y in sorted(set(places), key=lambda place: (-place[0], place[1])):
        if not found or y < found[-1][1]:
            found.append((x, y))
    return found[::-1]


def _front(axis: Axes, places: list[tuple[float, float]]) -> None:
    """Draw the Pareto front: to keep so much, at least so much is found."""
    best = front(places)
    if len(best) > 1:
        axis.plot(*zip(*best, strict=True), drawstyle="steps-pre", color=FRONT, lw=3.2, zorder=0.5,
                  solid_joinstyle="round")  # fmt: skip


def _handles(panels: list[Panel], looks: dict[str, tuple[str, str]]) -> list[Any]:
    """Return the legend: methods, kinds of region, lines."""
    variants = dict.fromkeys(v for panel in panels for v in panel.rows.variant)
    handles: list[Any] = [
        Line2D([], [], lw=0, label=ENCODED if m == IDENTITY else m.replace("_", " "), **_mark("body", *look))
        for m, look in looks.items()
    ]
    regions = dict.fromkeys(parts(v)[0] for v in variants if v != ORIGINAL)
    if len(regions) > 1:
        handles += [
            Line2D([], [], lw=0, label=label, **_mark(region, SOFT, "o"))
            for region, label in REGIONS.items()
            if region in regions
        ]
    if ORIGINAL in variants:
        handles.append(Line2D([], [], color=INK, lw=0.9, marker="*", ms=7, mec="white", mew=0.5, label="original"))
    masked = {parts(v)[0] for v in variants if parts(v)[1] == MASK_OUT}
    for region in (region for region in REGIONS if region in masked):
        of = f", {REGIONS[region]}" if len(masked) > 1 else ""
        handles.append(Line2D([], [], **_level(region, looks), label=f"level of mask out{of}"))
    if any(panel.rows.control[panel.rows.variant != ORIGINAL].notna().any() for panel in panels):
        handles.append(Line2D([], [], lw=0, label="best control", **CONTROL))
    handles.append(Line2D([], [], color=SOFT, lw=0.9, ls=":", label="chance"))
    handles.append(Line2D([], [], color=FRONT, lw=3.2, label="Pareto front"))
    if any((panel.rows.verdict == NO_VERDICT).any() for panel in panels):
        handles.append(Line2D([], [], color="none", label="?: no verdict"))
    return handles
