"""What a study must be to decide its primary question: asked of a pilot run, or of the published study, beforehand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from tabulate import tabulate

from anonbench import config
from anonbench.directions import ON_ORIGINAL
from anonbench.errors import AnonbenchError
from anonbench.report import published as known
from anonbench.report.collect import MEAN, PEOPLE
from anonbench.report.study import Primary
from anonbench.report.tables import check_columns, primary, read_csv
from anonbench.statistics.family import Member, simultaneous_factor
from anonbench.statistics.power import POWER, Pilot, chance, images_for, plan, seeds_for
from anonbench.tasks import base as tasks
from anonbench.variants import ORIGINAL, Variant

READ = (
    "dataset", "model", "task", "category", "group", "direction", "variant", "metric", "role", "n_seeds", "difference",
    "difference_low", "difference_high", "simultaneous_low", "simultaneous_high", "error_seeds", "error_images",
    "freedom", "samples",
)  # fmt: skip
"""Columns of a pilot's impact.csv that are read."""

NOT_EVALUATED, NOT_PUBLISHED = "not in the pilot", "not published"

GENERATED = ("gan", "deepprivacy2", "diffusion")
"""Methods whose counterpart in the published study is its generator."""

Rows = list[tuple[dict[str, Any], Pilot | None]]
"""Each row of the primary question by its keys, with what the pilot knows of it; None for nothing."""


def power(
    study: Annotated[Path, typer.Option(help="The study as YAML: its `report.primary`, margins, seeds.")],
    pilot: Annotated[
        Path | None, typer.Option(help="Folder of a pilot run's results, with tables/impact.csv of two seeds or more.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Plan from the published study (BDD100K, mask AP of pedestrians).")
    ] = False,
    images: Annotated[
        int | None, typer.Option(min=2, help="Validation images (or videos) of the study; left out, as in the pilot.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(min=0, help="A margin for every task, in the unit of its first metric.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say how many seeds and images a study needs to decide its primary question with a chance of 80 %.

    Beside each row stands the chance that the study as it is configured decides.
    """
    if (pilot is None) == (not published):
        raise AnonbenchError(
            "a plan needs one source of what seeds and images do", remedy="give --pilot FOLDER or --published"
        )
    if margin == 0:
        raise AnonbenchError("no difference lies within a margin of 0", entry="--margin", remedy="name a larger one")
    asked = config.load(study)
    rows = of_published(asked) if pilot is None else of_pilot(asked, pilot, study)
    found = [_planned(asked, keys, knows, images, margin) for keys, knows in rows]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(_table(found))
    said = [f"\nneeded: for a chance of {POWER:.0%}, the other number as configured; both: where neither alone will do"]
    if pilot is not None:
        said += _allocation(asked, pilot)
    if published:
        said.append(f"what images add is not published: this is for its {known.IMAGES:,} validation images")
    typer.echo("\n".join(said))


def _question(study: config.Study) -> Primary:
    asked = study.report.primary
    return Primary(tuple(asked.tasks), asked.category, tuple(asked.variants), asked.direction, tuple(asked.models))


def of_pilot(study: config.Study, results: Path, file: Path) -> Rows:
    """Return what a pilot's results know of each row of a study's primary question; ``file`` is the study's.

    Raises AnonbenchError for a pilot without a table, of one seed, or in which nothing of the study is.
    """
    path = results / "tables" / "impact.csv"
    table = read_csv(path)
    check_columns(table, READ, path)
    table = primary(table)
    table = table[(table.direction == _question(study).direction) & (table.group != MEAN)]
    rows: Rows = []
    for dataset in study.datasets:
        for model in study.models:
            own = table[(table.dataset == dataset) & (table.model == model)]
            if len(own) and study.models[model].trains and _question(study).asks(model):
                rows += _rows_of(study, own, path, dataset, model)
    if not rows:
        raise AnonbenchError(
            f"holds no row of the primary question of {file}", file=path,
            remedy="a pilot has data sets, models and tasks of the study, by the same names",
        )  # fmt: skip
    return rows


def _rows_of(study: config.Study, table: pd.DataFrame, path: Path, dataset: str, model: str) -> Rows:
    """Return the rows of one data set and model, of which ``table`` has some."""
    question, rows = _question(study), []
    for task in question.tasks_of(list(dict.fromkeys(table.task))):
        of_task = table[table.task == task]
        asked, measured = _first(study, task), of_task.metric.iloc[0]
        if asked != measured:
            raise AnonbenchError(
                f"is about {measured} of {task}, the study asks about {asked}", file=path,
                entry="report.primary.metric", remedy="run the pilot's report with the study's metric",
            )  # fmt: skip
        people = list(dict.fromkeys(of_task.category[of_task.group == PEOPLE]))
        category = question.category_of(list(dict.fromkeys(of_task.category)), people)
        wanted = question.variants_of(study.told(dataset, model, question.direction))
        for variant in (v for v in study.variants if category is not None and v in wanted):
            keys = {"dataset": dataset, "model": model, "task": task, "category": category, "variant": variant}
            here = of_task[(of_task.category == category) & (of_task.variant == variant)].to_dict("records")
            rows.append((keys, _pilot(here[0], path) if here else None))
    return rows


def _first(study: config.Study, task: str) -> str:
    """Return the name of the metric that a study asks about in a task."""
    return tasks.led(task, study.report.primary.metric).metrics[0].name


def _allocation(study: config.Study, results: Path) -> list[str]:
    """Say where the pilot's original has seeds of its own in another proportion than the study's."""
    table = primary(read_csv(results / "tables" / "impact.csv"))
    of_original = table[table.variant == ORIGINAL].n_seeds.max()
    seeds = table[(table.variant != ORIGINAL) & (table.n_seeds > 1)].n_seeds.max()
    asked = len(study.train.seeds), len(study.train.seeds) + len(study.train.original_seeds)
    if pd.isna(seeds) or of_original * asked[0] == asked[1] * seeds:
        return []
    return [
        f"seeds are counted as the pilot has them, the original's {int(of_original)} beside {int(seeds)} of each "
        f"variant; this study has {asked[1]} beside {asked[0]}"
    ]


def _pilot(row: Mapping[Any, Any], path: Path) -> Pilot | None:
    """Return what a row of impact.csv knows; None where it was not evaluated."""
    if pd.isna(row["difference"]) or pd.isna(row["error_images"]):
        return None
    where = " ".join(str(row[key]) for key in ("dataset", "model", "task", "category", "variant"))
    for name, least in (("difference", -np.inf), ("error_seeds", 0), ("error_images", 0), ("freedom", 0),
                        ("n_seeds", 1), ("samples", 1)):  # fmt: skip
        needed = name in ("n_seeds", "samples")
        if (needed and pd.isna(row[name])) or not (pd.isna(row[name]) or least <= row[name] < np.inf):
            raise AnonbenchError(
                f"{name} is {row[name]}", file=path, entry=where, remedy="write the pilot's report again"
            )
    if pd.isna(row["error_seeds"]):
        raise AnonbenchError(
            "one seed does not tell what seeds do", file=path, entry=where,
            remedy="run the pilot with two seeds or more",
        )  # fmt: skip
    seeds, images = row["error_seeds"] ** 2, row["error_images"] ** 2
    samples, several = int(row["samples"]), int(row["n_seeds"])
    # freedom is that of seeds and images together (Satterthwaite); here of seeds alone
    freedom = np.inf
    if not pd.isna(row["freedom"]) and seeds > 0:
        rest = (seeds + images) ** 2 / row["freedom"] - images**2 / max(samples - 1, 1)
        freedom = max(several - 1, seeds**2 / rest) if rest > 0 else np.inf
    factor = 1.0
    if not pd.isna(row["simultaneous_high"]) and row["difference_high"] > row["difference_low"]:
        wide = row["simultaneous_high"] - row["simultaneous_low"]
        factor = max(1.0, wide / (row["difference_high"] - row["difference_low"]))
    return Pilot(row["difference"], seeds, images, freedom, several, samples, factor)


def of_published(study: config.Study) -> Rows:
    """Return what the published study knows of each variant of a study's primary question: by region and method."""
    if _question(study).direction != ON_ORIGINAL:
        raise AnonbenchError(
            "the published study tested on original images alone", entry="report.primary.direction",
            remedy="plan with --pilot",
        )  # fmt: skip
    if _first(study, known.TASK) != tasks.load(known.TASK).metrics[0].name:
        raise AnonbenchError(
            f"the published study tells of {tasks.load(known.TASK).title} alone", entry="report.primary.metric",
            remedy="plan with --pilot",
        )  # fmt: skip
    told = {v for d in study.datasets for m in study.models for v in study.told(d, m, ON_ORIGINAL)}
    wanted = _question(study).variants_of([v for v in study.variants if v in told])
    names = {v: _counterpart(v) for v in study.variants if v in wanted}
    results = known.read()
    contrasts = {
        name: known.contrast(results, known.Question(name, ORIGINAL, known.PEDESTRIAN, True))
        for name in dict.fromkeys(names.values())
        if name is not None
    }
    if not contrasts:
        raise AnonbenchError(
            "has no variant that was published", entry="report.primary",
            remedy="published are faces and bodies under blur, mask_out and generated ones; give --pilot FOLDER",
        )  # fmt: skip
    factor = simultaneous_factor([Member("", "", found) for found in contrasts.values()], "published")
    keys = {"dataset": "bdd100k", "model": "published", "task": known.TASK, "category": known.PEDESTRIAN}
    return [
        ({**keys, "variant": variant}, Pilot.of(contrasts[name], known.IMAGES, factor) if name else None)
        for variant, name in names.items()
    ]


def _counterpart(variant: str) -> str | None:
    """Return the published variant of the same region and kind of method."""
    parsed = Variant.parse(variant)
    method = "realistic" if parsed.method in GENERATED else parsed.method
    return next((name for name in known.VARIANTS if name.startswith(f"{parsed.region}-{method}")), None)


def _planned(
    study: config.Study, keys: dict[str, Any], pilot: Pilot | None, images: int | None, margin: float | None
) -> dict[str, Any]:
    """Return a row of the answer, numbers in the unit of the task's first metric; None for what is not known.

    ``chance`` (0..1) is that of the study as configured; ``seeds_needed`` goes with its images, ``samples_needed`` with
    its seeds, ``both`` holds seeds and images where neither will do.
    """
    margin = margin or study.report.margins.get(keys["task"], study.report.margin)
    seeds, samples = len(study.train.seeds), images or (pilot.images if pilot else None)
    row = {**keys, "margin": margin, "seeds": seeds, "samples": samples}
    if pilot is None or samples is None:
        return {**row, "note": NOT_PUBLISHED if keys["model"] == "published" else NOT_EVALUATED}
    needed = seeds_for(pilot, samples, margin), images_for(pilot, seeds, margin, least=2) if seeds > 1 else None
    both = None
    if needed == (None, None):
        together = plan(pilot, margin)
        both = None if together.seeds is None else [together.seeds, together.images]
    return {
        **row, "difference": pilot.value, "error_seeds": pilot.seed_variance**0.5,
        "error_images": pilot.image_variance**0.5, "pilot_seeds": pilot.seeds, "pilot_samples": pilot.images,
        "chance": chance(pilot, seeds, samples, margin) if seeds > 1 else 0.0,
        "seeds_needed": needed[0], "samples_needed": needed[1], "both": both,
    }  # fmt: skip


def _table(found: list[dict[str, Any]]) -> str:
    def lines() -> Iterator[list[str]]:
        for row in found:
            keys = [str(row[key]) for key in ("dataset", "model", "task", "category", "variant")]
            if "note" in row:
                yield [*keys, row["note"], f"{row['margin']:g}", "", "", "", ""]
                continue
            error = (row["error_seeds"] ** 2 + row["error_images"] ** 2) ** 0.5
            needed = ["-" if row[key] is None else str(row[key]) for key in ("seeds_needed", "samples_needed")]
            both = "{} x {}".format(*row["both"]) if row["both"] else ""
            here = f"{row['chance']:.0%} ({row['seeds']} x {row['samples']})"
            yield [*keys, f"{row['difference']:+.2f} ± {error:.2f}", f"{row['margin']:g}", here, *needed, both]

    head = ["data set", "model", "task", "category", "variant", "pilot ± standard error", "margin",
            "chance as configured (seeds x images)", "seeds needed", "images needed", "both"]  # fmt: skip
    return tabulate(lines(), head, "github", disable_numparse=True)
