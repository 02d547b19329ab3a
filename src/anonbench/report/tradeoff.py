"""What a variant keeps and what is still found in it, side by side: a table of the two halves of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from anonbench.report.apart import distortion
from anonbench.report.attempts import ATTACKER, AWARE, NAIVE, REVERSE
from anonbench.report.bought import asked_first, elsewhere
from anonbench.report.collect import PEOPLE
from anonbench.report.privacy_text import attacks_of, named, share
from anonbench.report.study import ReportStudy, parts
from anonbench.report.tables import interval_of, is_number, number, primary, rows_of, shown, titled

TRADEOFF_COLUMNS = (
    "dataset", "variant", "region", "method", "level", "kept_on", "model", "task", "category", "direction", "metric",
    "value", "kept", "kept_low", "kept_high", "rms", "attack", "measure", "size", "naive", "naive_low", "naive_high",
    "aware", "aware_low", "aware_high", "gap", "gap_low", "gap_high", "chance", "prevalence",
)  # fmt: skip
"""Columns of tradeoff.csv: a row per data set, variant, attack by those who learn and measure. ``value`` and ``kept``
are those of the primary question's first task and category in that task's first ``metric`` (impact.csv), on the data
set ``kept_on``, which is another one where no model is used for the one that is attacked; ``rms``: `report.apart`;
``naive`` and ``aware``: the strongest attacker, on the people on whom attackers are chosen, of those who have learnt
from originals alone and of those who know the method (`KNOWS`), with intervals of their own; where there is one who
knows, the naive are those who see the same of people as that one. The rest is privacy.csv's."""
KNOWS = {NAIVE: (NAIVE,), AWARE: (AWARE, REVERSE)}
"""Whose knowledge each column is about: whoever undoes the method first knows it as well, and `restore` has nobody
else who does."""
TOLD = ("cmap", "macro_f1")
"""Measures over many attributes that stand beside an attack's headline, of all of them and of a group."""


def tradeoff(study: ReportStudy, table: pd.DataFrame, privacy: pd.DataFrame, anonymized: Path) -> pd.DataFrame:
    """Return the table; ``table`` is impact.csv, ``privacy`` privacy.csv, ``anonymized`` holds the images.

    Raises AnonbenchError when images are missing or damaged.
    """
    rows: list[dict[str, Any]] = []
    apart: dict[tuple[str, str], float | None] = {}
    for dataset, attack, part in attacks_of(privacy[(privacy.knowledge != "") & (privacy.role == ATTACKER)]):
        kept = {row.variant: row for row in rows_of(asked_first(table, dataset))}
        for variant, of in part.groupby("variant", sort=False):
            name = str(variant)
            if (dataset, name) not in apart:
                apart[dataset, name] = distortion(study, anonymized, dataset, name)
            region, method, level = parts(name)
            keys = {"dataset": dataset, "variant": name, "region": region, "method": method, "level": level}
            own = kept.get(name)
            columns = ("model", "task", "category", "direction", "metric", "value", "kept", "kept_low", "kept_high")
            utility = {} if own is None else {column: getattr(own, column, None) for column in columns}
            utility |= {} if own is None else {"kept_on": own.dataset}
            for found in _measures(of):
                rows.append({**keys, **utility, "rms": apart[dataset, name], "attack": attack, **found})
    frame = pd.DataFrame(rows, columns=list(TRADEOFF_COLUMNS))
    numbers = [c for c in frame.columns if c not in TEXT_COLUMNS]
    return frame.astype(dict.fromkeys(numbers, float)).round(4)


TEXT_COLUMNS = (
    "dataset", "variant", "region", "method", "level", "kept_on", "model", "task", "category", "direction", "metric",
    "attack", "measure", "size",
)  # fmt: skip


def _measures(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return, of a variant and attack, each measure that is told with what naive and aware attackers reach."""
    best = {who: _strongest(rows[rows.knowledge.isin(knows)]) for who, knows in KNOWS.items()}
    aware = best[AWARE]
    if len(aware):  # the naive one who sees the same of people
        sees = ["sees", "view"]
        same = rows[(rows.knowledge == NAIVE) & (rows[sees] == aware[sees].iloc[0]).all(axis=1)]
        best[NAIVE] = _strongest(same)
    every = pd.concat(best.values())
    told = every[(every.headline == "true") | every.measure.map(lambda name: name.split("/")[0] in TOLD)]
    found = []
    for measure, size in dict.fromkeys(zip(told.measure, told["size"], strict=True)):
        one: dict[str, Any] = {"measure": measure, "size": size}
        for know, of in best.items():
            here = rows_of(of[(of.measure == measure) & (of["size"] == size)])
            for row in here[:1]:
                low, high = interval_of(row, "value") or (None, None)
                one |= {know: row.value, f"{know}_low": low, f"{know}_high": high}
                one |= {"chance": row.chance, "prevalence": row.prevalence}
                if know == AWARE:
                    one |= {name: getattr(row, name) for name in ("gap", "gap_low", "gap_high")}
        found.append(one)
    return found


def _strongest(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the attacker who found most where attackers are chosen, the first of equals."""
    if rows.empty:
        return rows
    strength = rows.groupby("attacker", sort=False).strength.first().fillna(-np.inf)
    return rows[rows.attacker == strength.idxmax()]


def pivot(
    frame: pd.DataFrame, table: pd.DataFrame, seconds: Mapping[tuple[str, str], float] | None = None
) -> list[dict[str, Any]]:
    """Return the table as cells of text, one per data set and attack: ``title``, ``heads``, ``lines``, ``note``.

    ``table`` is impact.csv, from which all categories of people come; ``seconds`` what writing an image took, by data
    set and variant, if it is to be told.
    """
    found = []
    for dataset, attack, part in attacks_of(frame):
        utility = _utility(table, dataset)
        measures = list(dict.fromkeys(zip(part.measure, part["size"], strict=True)))
        heads = ["variant", *utility, "RMS", *(["ms per image"] if seconds is not None else [])]
        heads += [f"{named(m, s)}, {who}" for m, s in measures for who in (NAIVE, AWARE)]
        lines = []
        for variant, rows in part.groupby("variant", sort=False):
            of = {(row.measure, row.size): row for row in rows_of(rows)}
            first: Any = next(iter(of.values()))
            line = [str(variant), *(cells.get(str(variant), "–") for cells in utility.values())]
            line.append(f"{first.rms:.3f}" if is_number(first.rms) else "–")
            if seconds is not None:
                spent = seconds.get((dataset, str(variant)))
                line.append(f"{1000 * spent:.1f}" if spent is not None else "–")
            for key in measures:
                line += [_rate(of.get(key), who) for who in (NAIVE, AWARE)]
            lines.append(line)
        note = _floors(part)
        if not utility:
            note += f"{' ' if note else ''}What models keep is not told: none is used for {dataset}, and the primary "
            note += "question is about several data sets or none."
        found.append({"title": f"{dataset}: {attack}", "heads": heads, "lines": lines, "note": note})
    return found


def _utility(table: pd.DataFrame, dataset: str) -> dict[str, dict[str, str]]:
    """Return, by heading, a cell per variant of each category of people in what the study asks about."""
    asked = asked_first(table, dataset)
    if asked.empty:
        return {}
    first: Any = rows_of(asked)[0]
    rows = primary(table)
    rows = rows[(rows.dataset == first.dataset) & (rows.model == first.model) & (rows.direction == first.direction)]
    rows = rows[(rows.task == first.task) & (rows.group == PEOPLE)]
    return {
        f"{titled(first)}{elsewhere(first, dataset)}, {category}": {
            row.variant: number(row.value) + (f" ± {number(row.value_std)}" if is_number(row.value_std) else "")
            for row in rows_of(rows[rows.category == category])
            if is_number(row.value)
        }
        for category in shown(rows)
    }


def _rate(row: Any, who: str) -> str:
    value = None if row is None else getattr(row, who)
    if not is_number(value):
        return "–"
    ends = interval_of(row, who)
    return share(value) + (f" ({share(ends[0])} to {share(ends[1])})" if ends else "")


def _floors(part: pd.DataFrame) -> str:
    """Say what knowing nothing gives, measure by measure."""
    said = []
    for (measure, size), rows in part.groupby(["measure", "size"], sort=False):
        chance, prevalence = rows.chance.dropna(), rows.prevalence.dropna()
        floor = f"{named(str(measure), str(size))} {_span(chance)} %" if len(chance) else ""
        floor += f" (prevalence {_span(prevalence)} %)" if floor and len(prevalence) else ""
        said += [floor] if floor else []
    return f"Knowing nothing gives: {'; '.join(said)}." if said else ""


def _span(values: pd.Series) -> str:
    low, high = share(values.min()), share(values.max())
    return low if low == high else f"{low} to {high}"


def markdown(frame: pd.DataFrame, table: pd.DataFrame) -> str:
    """Return the table as Markdown."""
    lines = [
        "# What is kept and what is found",
        "",
        "What models keep (mean ± standard deviation over seeds, in the direction that the primary question is about), "
        "beside what attackers find, in per cent with the 95 % interval of each by itself: *naive* ones have learnt "
        "from originals alone, *aware* ones from what the method makes of their own people, to see through it or to "
        "undo it first. The strongest of each kind was chosen on people who are not among those that are told of. RMS: "
        "of variant minus original, images in [0, 1]. Written by `anonbench report-tables`.",
    ]
    for one in pivot(frame, table):
        body = [[f"`{line[0]}`", *line[1:]] for line in one["lines"]]
        lines += ["", f"## {one['title']}", "", tabulate(body, one["heads"], tablefmt="github", disable_numparse=True)]
        lines += ["", one["note"]] if one["note"] else []
    return "\n".join(lines) + "\n"
