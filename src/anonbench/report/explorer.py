"""The page's table of every number, and for each how it was made and how to make it again."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from anonbench.directions import ON_ORIGINAL, TESTED, Evaluation
from anonbench.report.collect import CONTROL, MEAN, OVERLAPPED, PEOPLE, PRIMARY, TOUCHED
from anonbench.report.study import ORIGINAL, ReportStudy, is_identity
from anonbench.report.tables import (
    PLURALS,
    has,
    heading,
    interval_of,
    is_number,
    number,
    percent,
    primary,
    rows_of,
    shown,
    span,
    titled,
)
from anonbench.statistics.verdicts import DROP, GAIN, MISSING, REFERENCE, SAME, UNSURE

BADGES = {DROP: "drop", GAIN: "gain", SAME: "same", UNSURE: "unsure", REFERENCE: "", MISSING: "missing"}
"""Classes of the verdicts in the page's style."""

GROUPS = {PEOPLE: "", CONTROL: "control", OVERLAPPED: "control, overlapped by people", TOUCHED: "changed, too"}
"""What is said beside a category; `overlapped` are controls whose boxes hold changed pixels."""

MOST_ROWS = 1000
"""With more rows, the page shows the first metrics alone; more of these, those of people and of means."""

KEY = ("dataset", "model", "direction", "task", "category", "variant", "metric")


def key(row: Any) -> tuple[str, ...]:
    """Return what identifies a row of impact.csv."""
    return tuple(str(getattr(row, name)) for name in KEY)


def anchors(table: pd.DataFrame) -> dict[tuple[str, ...], str]:
    """Return the id on the page of each row, such as ``streetlife.cpu-small.detection.person.face-blur-medium.AP``.

    The usual direction is left out. Rows whose names differ only in letters that an id cannot hold get a number.
    """
    found: dict[tuple[str, ...], str] = {}
    taken: Counter[str] = Counter()
    for row in rows_of(table):
        words = [word for name, word in zip(KEY, key(row), strict=True) if (name, word) != ("direction", ON_ORIGINAL)]
        wanted = ".".join(re.sub(r"[^A-Za-z0-9_-]+", "-", word) for word in words)
        taken[wanted] += 1
        found[key(row)] = wanted if taken[wanted] == 1 else f"{wanted}.{taken[wanted]}"
    return found


def chosen(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the rows that the page shows, and a sentence about those that it does not ('' for none).

    A row per metric of the categories that the tables for people show and of the means, while these are few enough.
    """
    shown_of = {key: set(shown(part)) for key, part in table.groupby(["dataset", "model", "task"], sort=False)}
    wanted = [row.group == MEAN or row.category in shown_of[row.dataset, row.model, row.task] for row in rows_of(table)]
    kept = table[pd.Series(wanted, index=table.index, dtype=bool)]
    if len(kept) > MOST_ROWS:
        kept = kept[kept.role == PRIMARY]
    if len(kept) > MOST_ROWS:
        kept = kept[kept.group.isin([PEOPLE, MEAN])]
    left = len(table) - len(kept)
    return kept, f"Another {left} rows are in tables/impact.csv alone." if left else ""


def explorer(
    table: pd.DataFrame, seeds: pd.DataFrame, study: ReportStudy, made: dict[str, Any], evaluations: Path, results: Path
) -> dict[str, Any]:
    """Return the columns and records of the table of every number.

    ``table`` is impact.csv, ``seeds`` seeds.csv, ``made`` the page's provenance; ``evaluations`` and ``results`` are
    the folders of the evaluations and of the results, as the commands shall name them. Columns of intervals that no row
    has, and of names that all rows share, are left out.
    """
    rows, left_out = chosen(table)
    ids, by_seed = anchors(rows), _by_seed(seeds)
    columns = _columns(rows)
    firsts = primary(rows)
    named = {task: heading(firsts, task) for task in dict.fromkeys(rows.task)}
    records = []
    for row in rows_of(rows):
        own = by_seed.get(key(row), {})
        reference = by_seed.get(key(row._replace(variant=ORIGINAL)), {})
        differs = row.variant != ORIGINAL and is_number(row.difference)
        records.append(
            {
                "id": ids[key(row)],
                "what": _what(row),
                "variant": row.variant,
                "cells": [_cell(row, column, named) for column in columns],
                "differs": differs,
                "seeds": [
                    {
                        "seed": seed,
                        "value": _exact(value),
                        "original": _exact(_reference(reference, seed, study, row.model)),
                        "difference": _exact(difference),
                    }
                    for seed, (value, difference) in own.items()
                ],
                "interval": _interval(row, study) if differs else "",
                "commands": _commands(row, study, made, evaluations, results),
                "facts": _facts(row, study, made, evaluations, results),
            }
        )
    return {"columns": columns, "records": records, "left_out": left_out}


def _by_seed(seeds: pd.DataFrame) -> dict[tuple[str, ...], dict[int, tuple[Any, Any]]]:
    """Return value and difference by seed of each row."""
    found: dict[tuple[str, ...], dict[int, tuple[Any, Any]]] = {}
    for row in rows_of(seeds):
        found.setdefault(key(row), {})[int(row.seed)] = (row.value, row.difference)
    return found


def _columns(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the table's columns: ``of`` is what they show, ``kind`` how, ``filter`` the label of their menu."""
    firsts = set(rows.loc[rows.role == PRIMARY, "metric"])
    columns: list[dict[str, Any]] = [{"of": "variant", "name": "variant", "kind": "text", "filter": "Variant"}]
    several = {"dataset": "data set", "model": "model", "direction": "tested"}
    columns += [
        {"of": of, "name": name, "kind": "text", "filter": name.capitalize()}
        for of, name in several.items()
        if rows[of].nunique() > 1
    ]
    columns += [
        {"of": "task", "name": "task", "kind": "text", "filter": "Task"},
        {"of": "category", "name": "category", "kind": "text", "filter": "Category"},
        {
            "of": "metric", "name": "metric", "kind": "text", "filter": "Metric",
            "first": next(iter(firsts)) if len(firsts) == 1 else "",
        },
        {"of": "value", "name": "value", "kind": "numeric"},
        {"of": "difference", "name": "Δ to original", "kind": "numeric"},
        {"of": "difference_low", "name": "95 % interval", "kind": "numeric"},
    ]  # fmt: skip
    intervals = {"simultaneous_low": "simultaneous 95 %", "equivalence_low": "90 %", "kept": "kept, %"}
    columns += [{"of": of, "name": name, "kind": "numeric"} for of, name in intervals.items() if has(rows, of)]
    columns.append({"of": "verdict", "name": "verdict", "kind": "text verdict", "filter": "Verdict"})
    if has(rows, "question"):
        columns.append({"of": "question", "name": "question", "kind": "text", "filter": "Question"})
    columns.append({"of": "share_changed", "name": "people changed", "kind": "numeric"})
    return [{"filter": "", "first": "", **column} for column in columns]


def _cell(row: Any, column: dict[str, Any], named: dict[str, str]) -> dict[str, Any]:
    """Return what stands in a row's cell."""
    of, value = column["of"], getattr(row, column["of"])
    cell: dict[str, Any] = {"kind": column["kind"], "head": False, "badge": "", "note": "", "link": False}
    if column["kind"] != "numeric":
        cell["text"] = named[value] if of == "task" else value
        if of == "variant":
            cell["head"] = True
        elif of == "category":
            cell["note"] = GROUPS.get(row.group, row.group)
        elif of == "verdict":
            cell |= {"badge": BADGES.get(value, ""), "text": value or ""}
        return cell
    cell["raw"] = f"{float(value):.4f}" if is_number(value) else ""
    if of == "value":
        cell |= {"text": number(value), "link": True}
        cell["note"] = f"± {number(row.value_std)}" if is_number(row.value_std) else ""
    elif row.variant == ORIGINAL:
        cell |= {"text": "", "raw": ""}
    elif of == "difference":
        cell["text"] = number(value, True) if is_number(value) else ""
    elif of == "share_changed":
        cell["text"] = "" if is_identity(row.variant) else percent(value)
    elif of == "kept":
        cell["text"] = f"{number(value)}" if is_number(value) else ""
        cell["note"] = span(interval_of(row, "kept"), signed=False)
    else:
        cell["text"] = span(interval_of(row, of.removesuffix("_low")))
    return cell


def _exact(value: Any) -> str:
    return f"{float(value):.4f}".replace("-", "−") if is_number(value) else "–"


def _what(row: Any) -> str:
    name = titled(row)
    metric = name if row.role == PRIMARY else f"{row.metric} ({row.task})"
    on = "" if row.direction == ON_ORIGINAL else f", {TESTED[row.direction]}"
    return f"{metric} on {row.category}, {row.variant} ({row.dataset}, {row.model}{on})"


def _interval(row: Any, study: ReportStudy) -> str:
    """Say how the row's intervals were taken."""
    if interval_of(row) is None:
        return ""
    kinds = {
        "difference": "95 % interval of the difference",
        "simultaneous": "simultaneous over the study's family",
        "equivalence": "90 %, equivalence",
    }
    said = [f"{words}: {span(ends)}" for name, words in kinds.items() if (ends := interval_of(row, name))]
    return (
        f"{'; '.join(said)}. From the spread over seeds and {study.bootstrap} resamples of {int(row.samples)} "
        f"validation {PLURALS[row.sampled]}, drawn with the study's seed {study.seed}."
    )


def _evaluations(row: Any, study: ReportStudy) -> list[tuple[str, str, str]]:
    """Return the evaluations that a row is made from, as the variant trained on, the seeds, the one tested on."""
    found: dict[tuple[str, str], list[int]] = {}
    for variant in dict.fromkeys((row.variant, ORIGINAL)):
        for seed in _seeds_of(row, study, variant):
            on = row.direction if variant != ORIGINAL else ON_ORIGINAL
            one = study.evaluation(row.dataset, row.model, on, variant, seed)
            found.setdefault((one.trained, one.tested), []).append(one.seed)
    every = {places: sorted(set(seeds), key=seeds.index) for places, seeds in found.items()}
    said = {places: ",".join(map(str, seeds)) for places, seeds in every.items()}
    return [(a, f"{{{seeds}}}" if "," in seeds else seeds, b) for (a, b), seeds in said.items()]


def _reference(reference: dict[int, tuple[Any, Any]], seed: int, study: ReportStudy, model: str) -> Any:
    """Return the original's value with a seed; of a model without training, which has one, the only one."""
    return reference.get(seed if study.trains(model) else study.seeds[0], (None, None))[0]


def _seeds_of(row: Any, study: ReportStudy, variant: str) -> list[int]:
    """Return the seeds of a variant (or of the original) that a row rests on."""
    seeds = study.seeds_told(row.model, variant, row.direction)
    return [s for s in seeds if s not in study.original_seeds] if row.variant in study.refitted else seeds


def _seeds(row: Any, study: ReportStudy) -> str:
    """Return the seeds of a row's trainings in words."""
    own = _seeds_of(row, study, row.variant)
    more = [s for s in _seeds_of(row, study, ORIGINAL) if s not in own]
    said, further = (", ".join(map(str, of)) for of in (own, more))
    return f"{said}; of the original also {further}" if further else said


def _folders(row: Any, study: ReportStudy, evaluations: Path) -> list[str]:
    """Return the folders of a row's evaluations, seeds in braces as a shell expands them."""
    found = []
    for trained, seeds, tested in _evaluations(row, study):
        folder = Evaluation(row.dataset, trained, row.model, 0, tested).folder.as_posix()
        found.append((evaluations / folder.replace("/seed0/", f"/seed{seeds}/")).as_posix())
    return found


def _commands(row: Any, study: ReportStudy, made: dict[str, Any], evaluations: Path, results: Path) -> str:
    """Return the commands that make a row again in a clone of the project."""
    lines = [f"git checkout {made['commit']}"] if made["commit"] else []
    config = f" --configfile {' '.join(study.files)}" if study.files else ""  # which would take a target for a file
    files = " ".join(f"{folder}/metrics.json" for folder in _folders(row, study, evaluations))
    words = [row.dataset, row.model, row.task, row.category, row.group, row.direction, row.variant]
    pattern = ",".join(re.sub(r"([.*^$\\\[\]])", r"\\\1", word) for word in words)
    table = (results / "tables" / "impact.csv").as_posix()
    lines += [f"snakemake {targets} --cores all{config}" for targets in (files, table)]
    lines.append(f"grep '^{pattern},.*,{row.metric},{row.role},' {table}")
    return "\n".join(lines)


def _facts(row: Any, study: ReportStudy, made: dict[str, Any], evaluations: Path, results: Path) -> dict[str, str]:
    """Return where a row comes from."""
    revision = f"{made['commit']}{' with changes that are not committed' if made['dirty'] else ''}"
    return {
        "evaluations": " ".join(_folders(row, study, evaluations)),
        "single seeds": (results / "tables" / "seeds.csv").as_posix(),
        "seeds of training": _seeds(row, study) if study.trains(row.model) else "none",
        "seed of the study": str(study.seed),
        "sha256 of study.json": study.config_sha256,
        "git revision": revision if made["commit"] else "not in a git repository",
    }
