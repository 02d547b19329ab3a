"""The answer in two sentences and what weakens it, both made from the tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pandas as pd

from anonbench.directions import ON_ORIGINAL, in_words
from anonbench.records import UNANNOTATED
from anonbench.report.collect import CONTROL, COVERAGE_COLUMNS, HANDLED, PEOPLE
from anonbench.report.study import ORIGINAL, ReportStudy, is_identity, phrase, region_order
from anonbench.report.tables import (
    PLURALS,
    blocks,
    capital,
    direction,
    is_number,
    named,
    number,
    percent,
    primary,
    reencoded,
    rows_of,
)
from anonbench.statistics.verdicts import DROP, GAIN, MISSING
from anonbench.tasks import base as tasks
from anonbench.tasks.base import UNTOUCHED, title

ENOUGH_SEEDS = 3

ENOUGH_SAMPLES = 20
"""With fewer images, videos or people, drawing them with replacement says too little of how they vary."""


def sentences(table: pd.DataFrame, untrained: Collection[str] = ()) -> list[str]:
    """Return two sentences per data set, model and direction: what anonymization costs, and what the controls did.

    They speak of the first task (boxes where there are any) and of the category of people with the most instances.
    ``untrained`` are the models that are not trained.
    """
    parts = blocks(primary(table))
    treated = [(d, m, part) for d, m, part in parts if set(part.variant) != {ORIGINAL}]
    several = table.model.nunique() > 1
    return [_sentences(d, m, part, several, m in untrained) for d, m, part in treated or parts]


def _sentences(dataset: str, model: str, part: pd.DataFrame, several: bool, fixed: bool) -> str:
    task = str(part.task.iloc[0])
    rows = part[part.task == task]
    people = rows[rows.group == PEOPLE]
    on = f"On {dataset}" + (f" with {model}" if several else "")
    on += "" if direction(part) == ON_ORIGINAL else f", {in_words(direction(part), fixed)}"
    if people.empty:
        return f"{on}, the validation images hold nobody whose {title(task)} could be measured."
    category = people.sort_values("instances", ascending=False, kind="stable").category.iloc[0]
    own = people[people.category == category]
    whom = {"person": "people", "face": "faces"}.get(category, category)
    treated = own[(own.variant != ORIGINAL) & ~reencoded(own)]
    measured = treated[treated.difference.notna()]
    if measured.empty:
        return f"{on}, no anonymized variant has been evaluated yet."
    clauses: list[str] = []
    for region in sorted(set(measured.region), key=region_order):
        of = measured[measured.region == region]
        of = of.sort_values("difference", ascending=of.best.iloc[0] == "lower", kind="stable")  # the mildest first
        named = rows_of(of)
        between = len(named) > 2
        chosen: list[Any] = [named[0], named[-1]] if between else named
        texts = []
        for k, row in enumerate(chosen):
            first = not clauses and k == 0
            unit = f" {title(task)} on {whom}" if first else ""
            verb = _verb(row) if k == 0 or _verb(row) != _verb(chosen[0]) else ""
            size = f"{verb} {number(abs(row.difference))}".strip()
            texts.append(f"{phrase(row.variant)} {size}{unit} ({_interval(row, first)})")
        joined = " and ".join(texts)
        clauses.append(f"{joined} (the mildest and the harshest of {len(named)})" if between else joined)
    return f"{on}, {', while '.join(clauses)}. {_controls(rows, own, whom, fixed)}"


def _verb(row: Any) -> str:
    """Return what a variant does to a metric; of an error that rises one would not say that it costs the error."""
    if row.best == "lower":
        return "saves" if round(row.difference, 1) < 0 else "adds"
    return "gains" if round(row.difference, 1) > 0 else "costs"


def _interval(row: Any, first: bool) -> str:
    if not is_number(row.difference_low):
        return str(row.verdict)
    ends = f"{number(row.difference_low, True)} to {number(row.difference_high, True)}"
    why = " (lower is better)" if first and row.best == "lower" else ""
    return f"{'95 % interval ' if first else ''}{ends}: {row.verdict}{why}"


def _controls(rows: pd.DataFrame, own: pd.DataFrame, whom: str, fixed: bool) -> str:
    controls = rows[(rows.group == CONTROL) & (rows.variant != ORIGINAL) & rows.difference.notna()]
    names = list(dict.fromkeys(controls.category))
    if len(names) > 2:
        mean = rows[(rows.category == UNTOUCHED) & rows.variant.isin(controls.variant)]
        first = f"The {len(names)} categories that nobody touched move by at most {_most(mean)} on average"
    elif names:
        plural = " and ".join(_plural(n) for n in names)
        first = f"{capital(plural)}, which nobody touched, move by at most {_most(controls)}"
    else:
        first = "No untouched category was there to compare with"
    codec = own[reencoded(own)]
    codec = codec[codec.difference.notna()]
    second = f"re-encoding alone moves {whom} by {_most(codec)}" if len(codec) else "re-encoding alone was not measured"
    seeds = int(own.n_seeds.max())
    trainings = "no training" if fixed else f"{seeds} {'seed' if seeds == 1 else 'seeds'}"
    return f"{first}, and {second} ({trainings}, {int(own.instances.max())} {whom})."


def _most(rows: pd.DataFrame) -> str:
    return number(rows.difference.abs().max())


def _plural(name: str) -> str:
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")


def warnings(
    study: ReportStudy,
    table: pd.DataFrame,
    cover: pd.DataFrame,
    records: list[dict[str, Any]],
    absent: Iterable[str] = (),
) -> list[str]:
    """Return what a reader must know before believing the numbers, gravest first.

    ``records`` are train.json contents with ``dataset``, ``variant``, ``model``, ``seed`` added; ``absent`` names
    files that should be there.
    """
    table = primary(table)
    trained = table[table.model.map(study.trains).astype(bool)]
    found = [*_missing(study, table), *_learning(study, table), *_leaks(study, records), *_unequal(records)]
    found += [*_controls_moved(table), *_codec(study, table), *_few_seeds(trained), *_few_samples(table)]
    found += [*_fell_back(cover), *_visible(cover)]
    return [*dict.fromkeys(found)] + [f"{name} is missing, so the page does not show it." for name in absent]


def _fell_back(cover: pd.DataFrame) -> list[str]:
    """Say where a method failed on people, whom its fallback covered: the variant is not what its name says."""
    if HANDLED not in cover.columns:
        return []
    sums = cover.groupby(["dataset", "variant"], sort=False, as_index=False)[["people", HANDLED]].sum()
    return [
        f"{row['dataset']}, {row['variant']}: the method failed on {row[HANDLED]} of {row['people']} people, whom its "
        "fallback covered (the manifest names it); the log of anonymize says why."
        for row in sums.to_dict("records")
        if row[HANDLED] > 0
    ]


def _missing(study: ReportStudy, table: pd.DataFrame) -> list[str]:
    found = []
    for dataset, model, part in blocks(table):
        empty = list(dict.fromkeys(part.loc[part.verdict == MISSING, "variant"]))
        empty += [v for v in study.told(dataset, model, direction(part)) if v not in set(part.variant)]
        where = f"{dataset}, {named(model, part, not study.trains(model))}"
        if empty:
            found.append(f"{where}: no evaluation of {', '.join(empty)}. The comparison is incomplete.")
        fewer = part[(part.n_seeds < len(study.seeds_of(model))) & (part.n_seeds > 0)]
        if len(fewer):
            names = ", ".join(dict.fromkeys(fewer.variant))
            found.append(f"{where}: not every seed is evaluated for {names}; only common seeds are compared.")
    return found


def _learning(study: ReportStudy, table: pd.DataFrame) -> list[str]:
    rows = table[(table.variant == ORIGINAL) & (table.group == PEOPLE) & ~learnt(table)]
    found = []
    for dataset, model, part in blocks(rows[rows.direction == rows.direction.iloc[0]] if len(rows) else rows):
        poor = ", ".join(f"{number(row.value)} {title(row.task)} on {row.category}" for row in rows_of(part))
        said = (
            f"trained on the original images, the model reaches only {poor}. It learnt next to nothing there"
            if study.trains(model)
            else f"on the original images, the model reaches only {poor}. It can do next to nothing there"
        )
        found.append(f"{dataset}, {model}: {said}, so a difference to it says nothing.")
    return found


def learnt(table: pd.DataFrame) -> pd.Series:
    """Return, per row, whether its value passes what a model must reach for a difference to say anything."""
    passed = [tasks.learnt(task, value) for task, value in zip(table.task, table.value, strict=True)]
    return pd.Series(passed, index=table.index, dtype=bool)


def _leaks(study: ReportStudy, records: list[dict[str, Any]]) -> list[str]:
    """Say which starts, or models, have seen the study's images; `train` decided that (``leaks`` in its record)."""
    found: list[str] = []
    for record in records:
        start = record.get("initialisation") or {}
        where = f"{record['dataset']}, {record['model']}"
        if not study.trains(record["model"]):
            if start.get("leaks") is False:
                continue
            text = (
                f"{where}: the model was fitted on {', '.join(start.get('seen') or [])}, that is, on images of this "
                "data set. On the original it finds more than it would on images that are new to it."
                if start.get("leaks")
                else f"{where}: the model does not say what it was fitted on; it may have been the original images."
            )
        elif start.get("leaks") is True:
            text = (
                f"{where}: the start weights have seen {', '.join(start.get('seen') or [])}, that is, the original "
                "images. What anonymization costs may be underestimated."
            )
        elif start.get("leaks") is None and start.get("kind") != "scratch":
            text = f"{where}: the start weights do not say what they have seen; they may have seen the original images."
        else:
            continue
        if text not in found:
            found.append(text)
    return found


def _unequal(records: list[dict[str, Any]]) -> list[str]:
    found = []
    of: dict[tuple[str, str], dict[str, list[str]]] = {}
    for record in records:
        how = repr((record.get("recipe"), record.get("resolved"), (record.get("data") or {}).get("images")))
        of.setdefault((record["dataset"], record["model"]), {}).setdefault(how, []).append(record["variant"])
    for (dataset, model), ways in of.items():
        if len(ways) > 1:
            odd = min(ways.values(), key=len)
            names = ", ".join(dict.fromkeys(odd))
            found.append(f"{dataset}, {model}: {names} was not trained like the others (recipe or number of images).")
    return found


def _controls_moved(table: pd.DataFrame) -> list[str]:
    found = []
    for dataset, model, part in blocks(table):
        tried = part[(part.group == CONTROL) & part.difference_low.notna()]
        moved = tried[tried.verdict.isin([DROP, GAIN])]
        if len(moved):
            worst = max(rows_of(moved), key=lambda row: abs(row.difference))
            found.append(
                f"{dataset}, {named(model, part)}: {len(moved)} of {len(tried)} intervals of untouched categories "
                f"exclude zero (about 5 % would by chance); the largest is {worst.category} under {worst.variant}, "
                f"{number(worst.difference, True)} {title(worst.task)}. Effects of that size on "
                "people may not be the anonymization's."
            )
    return found


def _codec(study: ReportStudy, table: pd.DataFrame) -> list[str]:
    if not any(is_identity(v) for v in study.variants):
        return ["The study has no `identity` variant, so what re-encoding alone does is not known."]
    rows = table[reencoded(table)]
    rows = rows[(rows.group == PEOPLE) & rows.verdict.isin([DROP, GAIN])]
    return [
        f"{dataset}, {named(model, part)}: {row.variant}, which only re-encodes, moves {title(row.task)} on "
        f"{row.category} by {number(row.difference, True)}."
        for dataset, model, part in blocks(rows)
        for row in rows_of(part)
    ]


def _few_seeds(table: pd.DataFrame) -> list[str]:
    found = []
    for dataset, model, part in blocks(table):
        seeds = int(part.loc[part.n_seeds > 0, "n_seeds"].min())
        if seeds == 1:
            found.append(
                f"{dataset}, {model}: one seed only. The intervals hold the noise of the images but not that of "
                "training, and no verdict is given."
            )
        elif seeds < ENOUGH_SEEDS:
            found.append(
                f"{dataset}, {model}: {seeds} seeds only. Intervals are wide; a claim needs {ENOUGH_SEEDS} or more."
            )
    return found


def _few_samples(table: pd.DataFrame) -> list[str]:
    found = []
    for row in rows_of(table[table.samples < ENOUGH_SAMPLES].drop_duplicates(["dataset", "sampled", "samples"])):
        found.append(
            f"{row.dataset}: intervals are drawn over only {int(row.samples)} {PLURALS[row.sampled]}. Over fewer than "
            f"{ENOUGH_SAMPLES} they are too narrow: in simulations they hold the truth in 83 % of studies with 5, "
            "90 % with 10."
        )
    return found


def _visible(cover: pd.DataFrame) -> list[str]:
    found = []
    reasons = [c for c in cover.columns if c not in (*COVERAGE_COLUMNS, HANDLED)]
    rows = cover[~reencoded(cover)]
    strangers = rows[rows.category == UNANNOTATED]
    for (dataset, region), part in strangers.groupby(["dataset", "region"], sort=False):
        seen = int((part.people - part.anonymized).max())
        if seen:
            found.append(
                f"{dataset}: {seen} detections are of nobody who is annotated and stay visible in the {region} "
                "variants (regions.unannotated: true changes them); the shares of people changed do not count them."
            )
    rows = rows[rows.category != UNANNOTATED]
    for (dataset, region), part in rows.groupby(["dataset", "region"], sort=False):
        left = part[part.people > part.anonymized]
        if left.empty:
            continue
        share = left.anonymized.sum() / max(left.people.sum(), 1)
        why = {r: int(left[r].sum() / left.variant.nunique()) for r in reasons if left[r].sum() > 0}
        text = ", ".join(f"{n} {r.replace('_', ' ')}" for r, n in sorted(why.items(), key=lambda item: -item[1]))
        found.append(
            f"{dataset}: {percent(share)} of the people had their {region} changed in each variant; the others stay "
            f"visible ({text or 'no reason given'}). Part of what looks harmless may be what was left alone."
        )
    return found
