"""The commands of the `report` stage: one per kind of artefact, so that an edited plot redraws plots only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StudyFile = Annotated[Path, typer.Option(help="The study as JSON: data sets, variants, models, seeds, report.")]
Models = Annotated[Path, typer.Option(help="Folder of the trainings (train.json).")]
Anonymized = Annotated[Path, typer.Option(help="Folder of the variants (images, annotations, manifests).")]
Tables = Annotated[Path, typer.Option(help="Folder that `anonbench report-tables` wrote.")]


def report_tables(
    study: StudyFile,
    evaluations: Annotated[Path, typer.Option(help="Folder of the evaluations (metrics.json, evidence.npz).")],
    models: Models,
    anonymized: Anonymized,
    annotations: Annotated[Path, typer.Option(help="Folder of the annotations (counts of people).")],
    out: Annotated[Path, typer.Option(help="Folder for the tables.")],
    attacks: Annotated[
        Path | None, typer.Option(help="Folder of the attacks (metrics.json, scores.npz), if the study has any.")
    ] = None,
    attackers: Annotated[
        Path | None, typer.Option(help="Folder of the attackers (attacker.json), if any of the study's learn.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option(help="Write rows without numbers for what is not evaluated yet, instead of failing.")
    ] = False,
) -> None:
    """Write impact.{csv,md,tex}, {seeds,subsets,coverage,people,sizes,curves}.csv, numbers.tex and metrics.json.

    Of a study that attacks also privacy.{csv,md,tex} and tradeoff.{csv,md}, where attackers learn attackers.csv, of one
    that names variants to beat versus.csv, of one with codecs rates.{csv,md} and bd_rates.csv.
    """
    from anonbench.report.collect import Sources
    from anonbench.report.study import ReportStudy
    from anonbench.report.tables import write_tables

    sources = Sources(evaluations, models, anonymized, annotations=annotations, attacks=attacks, attackers=attackers)
    table = write_tables(ReportStudy.read(study), sources, out, allow_missing)
    typer.echo(f"{out}: {len(table)} rows of impact")


def report_figures(
    study: StudyFile, tables: Tables, out: Annotated[Path, typer.Option(help="Folder for the figures.")]
) -> None:
    """Draw the study's figures, such as impact, trade-off, rates, doses and curves, from the tables alone.

    As PNG and in the vector formats that the study names.
    """
    from anonbench.report.figures import write_figures
    from anonbench.report.study import ReportStudy

    for name in write_figures(ReportStudy.read(study), tables, out):
        typer.echo(out / name)


def report_sheet(
    study: StudyFile,
    dataset: Annotated[str, typer.Option(help="Data set of the study.")],
    anonymized: Anonymized,
    out: Annotated[Path, typer.Option(help="Folder for the figure.")],
) -> None:
    """Draw sheet-<dataset>: the same people under every variant, or those that the study names."""
    from anonbench.report.sheet import write_sheet
    from anonbench.report.study import ReportStudy

    for name in write_sheet(ReportStudy.read(study), dataset, anonymized, out):
        typer.echo(out / name)


def report_restored(
    study: StudyFile,
    dataset: Annotated[str, typer.Option(help="Data set of the study.")],
    attacks: Annotated[Path, typer.Option(help="Folder of the attacks (metrics.json, scores.npz).")],
    out: Annotated[Path, typer.Option(help="Folder for the figure.")],
) -> None:
    """Draw restored-<dataset>: the same people as they are, as variants leave them, and as attackers restore them."""
    from anonbench.report.restored import write_restored
    from anonbench.report.study import ReportStudy

    for name in write_restored(ReportStudy.read(study), dataset, attacks, out):
        typer.echo(out / name)


def report_html(
    study: StudyFile,
    tables: Tables,
    figures: Annotated[Path, typer.Option(help="Folder with the figures and sheets.")],
    models: Models,
    out: Annotated[Path, typer.Option(help="The page, for example results/report.html.")],
    timings: Annotated[
        Path | None, typer.Option(help="Folder of the trainings' timing.json, when not beside train.json.")
    ] = None,
    logs: Annotated[
        Path | None, typer.Option(help="Folder of Snakemake's benchmark files, for the cost of the other stages.")
    ] = None,
    anonymized: Annotated[
        Path | None, typer.Option(help="Folder of the variants, for people before and after and for the methods.")
    ] = None,
    evaluations: Annotated[
        Path | None, typer.Option(help="Folder of the evaluations, for the methods and for how to make a number again.")
    ] = None,
) -> None:
    """Write the page that answers the study's question, and cost.csv, its figure and provenance.json beside it."""
    from anonbench.report.html import write_html
    from anonbench.report.study import ReportStudy

    answer = write_html(ReportStudy.read(study), tables, figures, models, out, timings, logs, anonymized, evaluations)
    typer.echo(answer)
