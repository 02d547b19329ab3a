"""The figures, drawn from the tables alone; the same tables give the same bytes."""

from __future__ import annotations

from pathlib import Path

from anonbench.report.captions import dosed
from anonbench.report.figures.attackers import attackers_figure
from anonbench.report.figures.categories import categories_figure
from anonbench.report.figures.coverage import coverage_figure, people_figure
from anonbench.report.figures.curves import curves_figure
from anonbench.report.figures.dose import dose_figure
from anonbench.report.figures.impact import impact_figure
from anonbench.report.figures.rates import rates_figure
from anonbench.report.figures.sizes import sizes_figure
from anonbench.report.figures.starts import starts_figure
from anonbench.report.figures.style import save, styled
from anonbench.report.figures.tradeoff import tradeoff_figure
from anonbench.report.study import ReportStudy, is_coded
from anonbench.report.tables import read_csv, read_table


def write_figures(study: ReportStudy, tables: Path, out: Path) -> list[str]:
    """Draw the figures that `captions.names` lists from the tables in ``tables``; return the file names.

    Raises AnonbenchError when a table is missing or damaged.
    """
    table, seeds, people = (read_table(tables, name) for name in ("impact", "seeds", "people"))
    with styled():
        figures = {"impact": impact_figure(table, seeds, study)}
        attacked = read_csv(tables / "privacy.csv") if study.attacks is not None else None
        if any(map(is_coded, study.variants)):
            figures["rates"] = rates_figure(read_csv(tables / "rates.csv"), table, attacked)
        if attacked is not None:
            figures["tradeoff"] = tradeoff_figure(table, attacked)
        if dosed(study.variants):
            figures["dose"] = dose_figure(table, study)
        figures["categories"] = categories_figure(table, study)
        figures["sizes"] = sizes_figure(read_table(tables, "sizes"), people, study)
        figures["coverage"] = coverage_figure(read_table(tables, "coverage"))
        figures["people"] = people_figure(people)
        losses = read_table(tables, "curves")
        figures["curves"] = curves_figure(losses)
        if study.attacks is not None and study.attacks.learners:
            figures["attackers"] = attackers_figure(read_table(tables, "attackers"), list(losses.variant))
        if study.starts:
            figures["starts"] = starts_figure(study, table)
        return [file for name, figure in figures.items() for file in save(figure, out, name, study.vector_formats)]
