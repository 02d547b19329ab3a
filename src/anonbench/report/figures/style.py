"""How every figure looks: sizes, colours, marks of an interval, and files whose bytes depend on nothing else.

A figure stands on a white ground of its own, on the page in dark, too: what is printed and what is shown are the same.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from PIL import Image

from anonbench.files import write_bytes
from anonbench.report.study import ReportStudy
from anonbench.report.tables import deciding, interval_of, margins

WIDTH = 7.0
"""Inches: a paper's text width."""

GROUND = "#ffffff"
INK, SOFT, GRID, MISSING = "#333333", "#777777", "#dddddd", "#aa0000"

BLUE, SKY, GREEN, ORANGE, RED, PINK, BLACK = (
    "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#000000",
)  # fmt: skip
"""Okabe and Ito's colours (2008), which stay apart for colour-blind readers and in grey."""
SLATE, BROWN, NIGHT = "#5f6b7a", "#6b4500", "#003A5D"
"""Three more of about their distances; tests/report/test_report_figures.py measures them as colour-blind people see."""

PEOPLE_COLOURS = (RED, PINK, SKY)
CONTROL_COLOURS = (SLATE, GREEN, BROWN)
LINES = (BLACK, BLUE, SKY, GREEN, ORANGE, RED, PINK, BROWN, SLATE)
METHODS = (BLUE, RED, GREEN, PINK, ORANGE, SLATE)
SIZES = {"small": SKY, "medium": BLUE, "large": NIGHT}
STAGES = {"fit": ORANGE, "anonymize": RED, "train": BLUE, "predict and evaluate": SKY}
STARTS = (INK, BLUE, RED, GREEN, PINK, ORANGE)
CHANGED = BLUE
REASONS = (ORANGE, SKY, "#F0E442", PINK, BROWN, BLACK, "#cccccc")
"""Why people were left visible."""
SOURCES = {
    "mask": BLUE, "ground_truth": "#00568A", "detector": "#3D9BD1", "union": "#7CC0E8", "keypoints": "#A8CDE6",
    "box": "#CFE6F5", "unannotated": NIGHT,
}  # fmt: skip
"""Where a region comes from; whatever has no region is in a reason's colour."""
DIVERGING = LinearSegmentedColormap.from_list("drop-gain", ["#7f3000", RED, "#f7f7f7", BLUE, NIGHT])
"""From a drop over nothing to a gain."""

MARKERS = ("o", "^", "D", "s", "v", "P")

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

PNG_DPI = 150


@contextmanager
def styled() -> Iterator[None]:
    """Use matplotlib's own defaults and ours, whatever the user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)  # type: ignore[arg-type]
        yield


def save(
    figure: Figure, out: Path, name: str, vector_formats: Sequence[str], tight: bool = True, dpi: int = PNG_DPI
) -> list[str]:
    """Write ``name`` as PNG and in vector formats (pdf, svg), without dates and versions; return the file names."""
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
        "svg": {"Date": None, "Creator": None},
    }
    formats = ("png", *vector_formats)
    extra: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.04} if tight else {}
    for kind in formats:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata[kind], facecolor=GROUND, **extra)
        figure.set_layout_engine("none")  # what is laid out once stays so
        write_bytes(out / f"{name}.{kind}", _opaque(buffer) if kind == "png" else buffer.getvalue())
    return [f"{name}.{kind}" for kind in formats]


def _opaque(png: io.BytesIO) -> bytes:
    """Return a PNG without the alpha channel that matplotlib gives it, packed tighter: some 15 % smaller."""
    smaller = io.BytesIO()
    with Image.open(png) as image:
        image.convert("RGB").save(smaller, "PNG", optimize=True, dpi=image.info["dpi"])
    return smaller.getvalue()


def nothing(text: str) -> Figure:
    """Return a figure that says why there is nothing to see."""
    figure = Figure(figsize=(WIDTH, 1))
    figure.text(0.5, 0.5, text, ha="center", va="center", color=SOFT)
    return figure


# --- intervals


def all_ends(table: pd.DataFrame) -> list[float]:
    """Return every end of every interval of a table's rows."""
    names = ("difference_low", "difference_high", "simultaneous_low", "simultaneous_high")
    return [float(v) for name in names if name in table.columns for v in table[name].dropna()]


def interval(
    axis: Axes,
    row: Any,
    at: float,
    colour: str,
    width: float = 2.0,
    horizontal: bool = True,
    offset: float = 0.0,
    **extra: Any,
) -> None:
    """Draw a row's interval at ``at``, the simultaneous one as a thinner whisker beyond it, moved by ``offset``.

    What leaves the panel, whose limits must have been set, ends in an arrow at its edge. ``width`` is in points.
    """
    limits = axis.get_xlim() if horizontal else axis.get_ylim()
    for found, line in ((interval_of(row, "simultaneous"), 0.9), (interval_of(row), width)):
        if found is None:
            continue
        shown = [float(np.clip(end + offset, *limits)) for end in found]
        points = (shown, [at, at]) if horizontal else ([at, at], shown)
        axis.plot(*points, color=colour, lw=line, solid_capstyle="butt", zorder=3, **extra)
    outer = deciding(row)
    for end, edge, marks in zip(outer or (), limits, (("<", "v"), (">", "^")), strict=False):
        if (end + offset < edge) if edge == limits[0] else (end + offset > edge):
            point = ([edge], [at]) if horizontal else ([at], [edge])
            axis.plot(*point, color=colour, marker=marks[0 if horizontal else 1], ms=3.5, lw=0, clip_on=False, zorder=6)


def limits_of(
    points: list[float], firm: list[float], others: list[float], margin: float, room: float = 0.04
) -> tuple[float, float]:
    """Return the range of a panel of differences: all points, the ``firm`` ends and at least twice the margin.

    ``others``, the ends of less important intervals, widen it to no more than twice that: what is longer is cut, so
    that one interval of nearly nothing does not hide all others.
    """
    core = [*points, *firm, -2 * margin, 2 * margin]
    low, high = min(core), max(core)
    reach = (high - low) / 2
    low, high = max(min([low, *others]), low - reach), min(max([high, *others]), high + reach)
    return low - room * (high - low), high + room * (high - low)


def panel(axis: Axes, margin: float, limits: tuple[float, float], ticks: int = 5) -> None:
    """Prepare a panel of differences along x: zero, the margin's band, limits and grid."""
    axis.axvspan(-margin, margin, color=BLUE, alpha=0.10, lw=0, zorder=0)
    axis.axvline(0, color=INK, lw=0.7, zorder=1)
    axis.set_xlim(*limits)
    axis.xaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color=GRID, lw=0.5)
    axis.set_axisbelow(True)


def not_evaluated(axis: Axes, at: float) -> None:
    """Say in a panel of differences along x that there is none at a height."""
    axis.text(0, at, "not evaluated", color=MISSING, fontsize=6, ha="center", va="center")


def band_handle(study: ReportStudy, table: pd.DataFrame) -> Patch:
    """Return the legend's entry of the margin's band; of tasks with margins of their own it names none."""
    said = {task: margins(study, part) for task, part in table.groupby("task")}
    alike = len(set(said.values())) == 1
    label = f"{margins(study, table)}: no practical difference" if alike else "margin of no practical difference"
    return Patch(color=BLUE, alpha=0.10, lw=0, label=label)


def wide_handle() -> Line2D:
    """Return the legend's entry of the simultaneous intervals."""
    return Line2D([], [], color=INK, lw=0.9, label="beyond: simultaneous 95 % interval")


def seed_handle() -> Line2D:
    """Return the legend's entry of the dots of single seeds."""
    return Line2D([], [], color="none", label="one seed", marker="o", ms=3, mfc="white", mec="#444444", mew=0.7)


def legend(figure: Figure, handles: list[Any]) -> None:
    """Put a legend below a figure: in one line where it fits, else in columns of much the same length."""
    room = 118 * figure.get_figwidth() / WIDTH
    letters = [len(str(handle.get_label())) + 8 for handle in handles]
    lines = -(-sum(letters) // int(room))
    columns = -(-len(handles) // lines)
    while columns > 1 and sum(max(letters[k * lines : (k + 1) * lines], default=0) for k in range(columns)) > room:
        lines += 1
        columns = -(-len(handles) // lines)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, handletextpad=0.4, columnspacing=1.4,
    )  # fmt: skip


def method_of(variant: str, region: str) -> str:
    """Return what a variant does to a region, in a figure's words: 'mask out', 'blur, medium'."""
    return variant.removeprefix(f"{region}-").replace("_", " ").replace("-", ", ")
