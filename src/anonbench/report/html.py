"""One page that opens anywhere: the answer, what weakens it, tables, figures, cost and provenance."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from anonbench import __version__
from anonbench.directions import ON_DEPLOYED, ON_ORIGINAL, TESTED
from anonbench.files import write_json, write_text
from anonbench.provenance import provenance
from anonbench.report.animation import animations
from anonbench.report.answer import answers, warnings
from anonbench.report.bought import LIMITS, bought, risks, told_to_paste
from anonbench.report.captions import SECTIONS, listed
from anonbench.report.collect import CONTROL, COVERAGE_COLUMNS, PEOPLE, Sources, evaluated, training_record
from anonbench.report.cost import cost, hours, per_image
from anonbench.report.explorer import BADGES, anchors, chosen, explorer, key
from anonbench.report.figures.cost import cost_figure
from anonbench.report.figures.style import save, styled
from anonbench.report.impact import EXPLORATORY
from anonbench.report.methods import about, methods
from anonbench.report.page import render
from anonbench.report.pictures import data_url, jpeg
from anonbench.report.rates import bd_table, off_target, rate_table
from anonbench.report.slider import sliders
from anonbench.report.study import ORIGINAL, ReportStudy, is_coded, is_identity
from anonbench.report.tables import (
    DAGGER,
    PLURALS,
    blocks,
    capital,
    deciding,
    direction,
    footnote,
    heading,
    is_exploratory,
    is_number,
    label,
    leaky,
    lower,
    margins,
    marked,
    number,
    percent,
    primary,
    read_csv,
    read_table,
    rows_of,
    shown,
    span,
    units,
    write_csv,
)
from anonbench.report.tradeoff import pivot
from anonbench.report.versus import told
from anonbench.statistics.verdicts import MISSING, REFERENCE
from anonbench.tasks.base import title


def write_html(
    study: ReportStudy,
    tables: Path,
    figures: Path,
    models: Path,
    out: Path,
    timings: Path | None = None,
    logs: Path | None = None,
    anonymized: Path | None = None,
    evaluations: Path | None = None,
) -> str:
    """Write the page and, beside it, ``cost.csv``, the figure ``cost`` and ``provenance.json``.

    Return the opening paragraphs.

    Reads the tables of `report-tables`, the PNG figures, the trainings' records, in ``logs`` what Snakemake measured of
    other jobs, in ``anonymized`` people before and after and the methods' parameters, in ``evaluations`` the counts of
    images. Raises AnonbenchError when a table is missing or damaged; a figure or a record that is missing becomes a
    warning on the page.
    """
    table, cover = read_table(tables, "impact"), read_table(tables, "coverage")
    records, absent = _records(study, models, timings)
    answer = answers(table, study.untrained, margins(study, primary(table)))
    attacked = read_csv(tables / "privacy.csv") if study.attacks is not None else None
    attacks = [] if attacked is None else bought(table, attacked)
    answer += [one.paragraph for one in attacks if one.first]
    spent = cost(study, records, logs)
    with styled():
        save(cost_figure(spent, table, study), out.parent, "cost", study.vector_formats)
    images: list[dict[str, str]] = []
    for figure in listed(study):
        file = (out.parent if figure.section == "cost" else figures) / f"{figure.name}.png"
        if file.exists():
            images.append({**asdict(figure), "data": _inline(file)})
        else:
            absent.append(f"figure {file.name}")
    tested = {d: evaluated(study, d, evaluations) for d in study.datasets} if evaluations else {}
    counts = {dataset: found["counts"] for dataset, found in tested.items() if found}
    made = {
        **provenance(), "study": study.name, "seed": study.seed, "config_sha256": study.config_sha256,
        "anonbench": __version__,
    }  # fmt: skip
    ids = anchors(chosen(table)[0])
    taken = read_csv(tables / "rates.csv") if any(map(is_coded, study.variants)) else None
    both = [] if attacked is None else _tradeoff(read_csv(tables / "tradeoff.csv"), table, logs)
    page = render(
        study=study,
        answer=answer,
        attacks=attacks,
        tradeoff=both,
        against=told(read_csv(tables / "versus.csv"), study) if study.against and attacks else [],
        rates=[] if taken is None else _rates(taken, tables, table, attacked),
        risks=[] if attacked is None else risks(attacked),
        limits=LIMITS,
        leaky=f"{DAGGER} {footnote(table, study)}." if leaky(table) else "",
        warnings=[
            *warnings(study, table, cover, records, absent, read_table(tables, "seeds"), counts),
            *([] if taken is None else off_target(taken)),
        ],
        parts=[_part(d, m, part, not study.trains(m), ids) for d, m, part in blocks(primary(table))],
        fixed=[m for m in study.models if not study.trains(m)],
        trained=[m for m in study.models if study.trains(m)],
        margins=margins(study, primary(table)),
        asked=about(study),
        on_original=ON_ORIGINAL in study.directions,
        tested=[TESTED[on] for on in study.directions if on != ON_ORIGINAL],
        units=units(primary(table)),
        lower=lower(primary(table)),
        samples=" and ".join(dict.fromkeys(PLURALS[sampled] for sampled in table.sampled)),
        sliders=sliders(study, anonymized) if anonymized is not None else [],
        animations=animations(study, anonymized) if anonymized is not None else [],
        numbers=explorer(
            table,
            read_table(tables, "seeds"),
            study,
            made,
            _as_named(evaluations or models.parent / "evaluations"),
            _as_named(out.parent),
        ),
        methods=methods(
            study,
            table,
            cover,
            records,
            made,
            anonymized,
            evaluations,
            "" if attacked is None else told_to_paste(attacked),
        ),
        figures={section: [i for i in images if i["section"] == section] for section in SECTIONS},
        subsets=_subsets(read_table(tables, "subsets")),
        coverage=_coverage(cover),
        cost=_cost(spent),
        hours=hours(spent),
        trainings=_trainings(records),
        made=made,
    )
    write_text(out, page)
    write_csv(out.parent / "cost.csv", spent)
    write_json(out.parent / "provenance.json", made)
    return "\n".join(paragraph.plain() for paragraph in answer)


def _tradeoff(frame: pd.DataFrame, table: pd.DataFrame, logs: Path | None) -> list[dict[str, Any]]:
    """Return the tables of what is kept beside what is found, with what writing an image took."""
    keys = frame[["dataset", "variant"]].drop_duplicates().itertuples(index=False)
    if logs is None:
        return pivot(frame, table)
    spent = {(dataset, variant): per_image(logs, dataset, variant) for dataset, variant in keys}
    return pivot(frame, table, {key: seconds for key, seconds in spent.items() if seconds is not None})


def _as_named(folder: Path) -> Path:
    """Return a folder as a command in the project would name it: of one elsewhere its name, not this machine's path."""
    return Path(folder.name) if folder.is_absolute() else folder


def _inline(path: Path) -> str:
    """Return a PNG as a data URL; one of pictures of people as JPEG, which is a fifth of its size."""
    if path.name.startswith(("sheet", "restored")):
        with Image.open(path) as image:
            return jpeg(image.convert("RGB"), 90, subsampling=0)
    return data_url("png", path.read_bytes())


def _records(study: ReportStudy, models: Path, timings: Path | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the trainings' records that are there, and the names of those that are not."""
    sources = Sources(Path(), models, Path(), timings)
    records, absent = [], []
    for dataset, model, variant, seed in study.trainings():
        made = study.made_with(variant, seed)
        record = training_record(sources, dataset, made, model, seed)
        if record is None:
            absent.append(f"the training record of {dataset}/{made}/{model}/seed{seed}")
        else:
            keys = {"dataset": dataset, "model": model, "variant": variant, "seed": seed}
            records.append({**record, **keys})
    return records, absent


def _part(dataset: str, model: str, part: pd.DataFrame, fixed: bool, ids: dict[tuple[str, ...], str]) -> dict[str, Any]:
    """Return the main table of one data set and model: a block per task. ``fixed``: the model is not trained.

    ``ids`` are those of the numbers' rows on the page.
    """
    tasks = []
    for task in dict.fromkeys(part.task):
        rows = part[part.task == task]
        categories = [c for c in shown(rows) if c in set(rows.category)]
        groups = {c: rows.loc[rows.category == c, "group"].iloc[0] for c in categories}
        lines = []
        for variant in dict.fromkeys(rows.variant):
            of = {row.category: row for row in rows_of(rows[rows.variant == variant])}
            first: Any = of[categories[0]]
            lines.append(
                {
                    "variant": variant,
                    "region": first.region,
                    "changed": "" if variant == ORIGINAL or is_identity(variant) else percent(first.share_changed),
                    "cells": [_cell(of.get(c), groups[c] == PEOPLE, ids) for c in categories],
                }
            )
        alone = {c: set(rows.loc[rows.category == c, "group"]) == {CONTROL} for c in categories}
        heads = [
            {"name": label(rows, c), "note": "not anonymized" if alone[c] else "", "people": groups[c] == PEOPLE}
            for c in categories
        ]
        metric = rows.metric.iloc[0]
        tasks.append({"name": capital(title(task, metric)), "metric": metric, "heads": heads, "lines": lines})
    on = "tested on" if fixed or direction(part) == ON_DEPLOYED else "trained on"
    return {"dataset": dataset, "model": marked(model, part, fixed), "tasks": tasks, "on": on}


def _cell(row: Any, people: bool, ids: dict[tuple[str, ...], str]) -> dict[str, Any]:
    if row is None or not is_number(row.value):
        empty = dict.fromkeys(("std", "difference", "interval", "note", "needs", "id"), "")
        return {**empty, "value": "–", "people": people, "verdict": MISSING, "kind": "missing"}
    return {
        "value": number(row.value),
        "std": number(row.value_std) if is_number(row.value_std) else "",
        "people": people,
        "difference": "" if row.verdict == REFERENCE else number(row.difference, True),
        "interval": span(deciding(row)),
        "verdict": "" if row.verdict == REFERENCE else row.verdict,
        "kind": BADGES.get(row.verdict, ""),
        "note": EXPLORATORY if row.verdict != REFERENCE and is_exploratory(row) else "",
        "needs": needs(row),
        "id": ids.get(key(row), ""),
    }


def needs(row: Any) -> str:
    """Say how many seeds and images (or videos, people) would decide, where more of either are needed."""
    more = [
        f"{int(wanted)} {what}"
        for wanted, have, what in (
            (row.seeds_needed, row.n_seeds, "seeds"),
            (row.samples_needed, row.samples, PLURALS[row.sampled]),
        )
        if is_number(wanted) and wanted > have
    ]
    return f"about {' and '.join(more)} would tell" if more else ""


def _subsets(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a line per variant, task and category: the first metric and its difference on each subset."""
    table = primary(table)
    keys = ["dataset", "model", "task", "category", "variant"]
    lines = []
    for names, part in table.groupby(keys, sort=False):
        cells = [
            {"name": row.subset, "value": number(row.value), "difference": number(row.difference, True)}
            for row in part.itertuples()
        ]
        dataset, model, task, category, variant = (str(name) for name in names)
        lines.append({"key": [dataset, marked(model, part), heading(part, task), category, variant], "cells": cells})
    return lines


def _rates(
    taken: pd.DataFrame, tables: Path, table: pd.DataFrame, attacked: pd.DataFrame | None
) -> list[dict[str, Any]]:
    """Return per data set what its codecs take and leave, and how their curves differ; ``taken`` is rates.csv."""
    differences = read_csv(tables / "bd_rates.csv")
    found = []
    for dataset in dict.fromkeys(taken.dataset):
        heads, lines = rate_table(taken, table, attacked, dataset)
        mine = differences[differences.dataset == dataset]
        bd_heads, bd_lines = bd_table(differences, dataset)
        anchor = mine.anchor.iloc[0] if len(mine) else ""
        found.append(
            {
                "dataset": dataset,
                "heads": heads,
                "lines": lines,
                "anchor": anchor,
                "bd": {"heads": bd_heads, "lines": bd_lines},
            }
        )
    return found


def _coverage(cover: pd.DataFrame) -> dict[str, Any]:
    reasons = [c for c in cover.columns if c not in COVERAGE_COLUMNS and cover[c].sum() > 0]
    lines = [
        {
            "cells": [row["dataset"], row["variant"], row["category"]],
            "numbers": [
                int(row["people"]),
                int(row["anonymized"]),
                percent(row["share"]),
                *(int(row[r]) for r in reasons),
            ],
        }
        for row in cover.to_dict("records")
    ]
    learnt = cover[cover["fitted_on"] != ""].drop_duplicates(["dataset", "variant"])
    fitted = [f"{row['dataset']}, {row['variant']}: fitted to {row['fitted_on']}" for row in learnt.to_dict("records")]
    return {"reasons": [r.replace("_", " ") for r in reasons], "lines": lines, "fitted": fitted}


def _cost(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return what the trainings took, averaged over seeds."""
    lines = []
    for row in rows_of(table[table.stage == "train"]):
        memory = row.peak_gpu_memory_mib if is_number(row.peak_gpu_memory_mib) else row.peak_memory_mib
        speed = row.iterations_per_second
        lines.append(
            {
                "name": f"{row.dataset}, {row.model}", "variant": row.variant, "seconds": f"{row.seconds:.0f}",
                "speed": f"{speed:.2f}" if is_number(speed) else "–", "loading": percent(row.loading_share),
                "memory": f"{memory:.0f}" if is_number(memory) else "–", "device": row.device,
            }
        )  # fmt: skip
    return lines


def _seen(start: dict[str, Any]) -> str | None:
    if "seen" not in start:
        return None
    return "not known" if start["seen"] is None else ", ".join(start["seen"]) or "nothing"


def _trainings(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how each model was trained, from its first record."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for r in records:
        recipe, resolved = r.get("recipe") or {}, r.get("resolved") or {}
        start = r.get("initialisation") or {}
        rate = resolved.get("learning_rate")
        facts = {
            "trainer": recipe.get("trainer"),
            "tasks": ", ".join(recipe.get("tasks") or []),
            "backbone": ((recipe.get("settings") or {}).get("architecture") or {}).get("backbone"),
            "initialisation": start.get("kind"),
            "detector": start.get("detector"),
            "weights have seen": _seen(start),
            "optimiser": recipe.get("optimizer"),
            "learning rate": rate
            and f"{rate:g} (base {recipe.get('base_learning_rate'):g} at batch "
            f"{recipe.get('reference_batch_size')}, linear rule)"
            if recipe.get("base_learning_rate")
            else rate,
            "batch size": resolved.get("batch_size"),
            "iterations": resolved.get("iterations"),
            "training images": (r.get("data") or {}).get("images"),
            "device": r["timing"].get("device") or r.get("device"),
            "versions": ", ".join(f"{k} {v}" for k, v in (r.get("versions") or {}).items()),
        }
        key = (r["dataset"], r["model"])
        found.setdefault(key, {"name": ", ".join(key), "facts": {k: v for k, v in facts.items() if v}})
    return list(found.values())
