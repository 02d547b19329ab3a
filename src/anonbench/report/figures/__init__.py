"""The figures, drawn from the tables alone; the same tables give the same bytes."""

from __future__ import annotations

from pathlib import Path

from anonbench.report.captions import dosed
from anonbench.report.figures.categories import categories_figure
from anonbench.report.figures.coverage import coverage_figure, people_figure
from anonbench.report.figures.curves import curves_figure
from anonbench.report.figures.dose import dose_figure
from anonbench.report.figures.impact import impact_figure
from anonbench.report.figures.sizes import sizes_figure
from anonbench.report.figures.starts import starts_figure
from anonbench.report.figures.style import save, styled
from anonbench.report.study import ReportStudy
from anonbench.report.tables import read_csv


def write_figures(study: ReportStudy, tables: Path, out: Path) -> list[str]:
    """Draw the figures that `captions.names` lists from the tables in ``tables``; return the file names.

    Raises AnonbenchError when a table is missing or damaged.
    """
    table, seeds, people = (read_csv(tables / f"{name}.csv") for name in ("impact", "seeds", "people"))
    with styled():
        drawn = save(impact_figure(table, seeds, study), out, "impact")
        if dosed(study.variants):
            drawn += save(dose_figure(table, study), out, "dose")
        drawn += save(categories_figure(table, study), out, "categories")
        drawn += save(sizes_figure(read_csv(tables / "sizes.csv"), people, study), out, "sizes")
        drawn += save(coverage_figure(read_csv(tables / "coverage.csv")), out, "coverage")
        drawn += save(people_figure(people), out, "people")
        drawn += save(curves_figure(read_csv(tables / "curves.csv")), out, "curves")
        if study.starts:
            drawn += save(starts_figure(study, table), out, "starts")
    return drawn
