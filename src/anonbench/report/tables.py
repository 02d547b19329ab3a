"""The tables: stable bytes for machines (csv, json), rounded numbers for people (md, tex)."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from anonbench.directions import ON_ORIGINAL, in_words
from anonbench.errors import AnonbenchError, in_one_line
from anonbench.files import write_json, write_text
from anonbench.report.attackers import ATTACKER_COLUMNS, attackers
from anonbench.report.collect import (
    CONTROL,
    COVERAGE_COLUMNS,
    LEAKS,
    MEAN,
    OVERLAPPED,
    PEOPLE,
    PEOPLE_COLUMNS,
    PRIMARY,
    SUBSET_COLUMNS,
    TOUCHED,
    Sources,
    coverage,
    curves,
    ledger,
    subsets,
)
from anonbench.report.impact import CONFIRMATORY, EXPLORATORY, IMPACT_COLUMNS, SEED_COLUMNS, impact
from anonbench.report.sizes import SIZE_COLUMNS, sizes
from anonbench.report.study import ORIGINAL, ReportStudy, is_coded, is_identity
from anonbench.statistics.verdicts import DROP, GAIN, MISSING, REFERENCE, SAME, UNSURE
from anonbench.tasks.base import ALL, UNTOUCHED, title

MOST_CONTROLS = 3
"""With more untouched categories than this, tables for people and figures show their mean instead."""

PLURALS = {
    "image": "images",
    "video": "videos",
    "group": "groups of images that show the same people",
    "person": "people",
}
"""What intervals are drawn over, in words."""

INTEGERS = (
    "n_seeds", "seeds_needed", "samples_needed", "instances", "images", "samples", "seed", "iteration", "units",
    "frames", "weak", "points", "frames_attacked",
)  # fmt: skip

TEXTS = (
    "dataset", "model", "task", "category", "group", "variant", "region", "method", "level", "verdict", "split",
    "kind", "size", "status", "source", "subset", "stage", "device", "leaks", "fitted_on", "direction", "metric",
    "role", "unit", "best", "sampled", "first", "question", "attack", "risk", "attacker", "knowledge", "sees",
    "view", "chosen", "measure", "headline", "why", "drawn", "half", "reference", "curve", "anchor",
    "split_attacked", "kept_on", "training",
)  # fmt: skip

WORDS = ("leaks", "chosen", "headline")
"""Of these the columns that say ``true`` and ``false``, which are no truth values."""

DAGGER = "†"
LEAKY = "the first weights had seen the original images: what anonymization costs may be underestimated"
LEAKY_AS_IT_IS = "the model was fitted on images of the data set: on the original it finds more than on new ones"
"""The footnotes of the dagger; the second one of a model that is not trained."""

AP_POINTS = "AP points"
"""Unit of COCO's metrics."""

MARKS = {DROP: "−", GAIN: "+", SAME: "=", UNSURE: "?", REFERENCE: "", MISSING: "!"}
TEX_MARKS = {DROP: r"\downarrow", GAIN: r"\uparrow", SAME: "=", UNSURE: "?", REFERENCE: "", MISSING: "!"}


KEYS = ("dataset", "model", "task", "category", "direction", "variant", "metric")
"""What names a row of impact.csv."""
COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "impact": (IMPACT_COLUMNS, KEYS),
    "seeds": (SEED_COLUMNS, (*KEYS, "seed")),
    "coverage": (COVERAGE_COLUMNS, ("dataset", "variant", "category")),
    "subsets": (SUBSET_COLUMNS, ()),
    "people": (PEOPLE_COLUMNS, ()),
    "sizes": (SIZE_COLUMNS, ()),
    "curves": (("dataset", "model", "variant", "leaks", "iteration", "n_seeds", "loss"), ()),
    "attackers": (ATTACKER_COLUMNS, ATTACKER_COLUMNS[:6]),
}
"""Columns of the tables, and which of them name a row."""


def write_tables(study: ReportStudy, sources: Sources, out: Path, allow_missing: bool = False) -> pd.DataFrame:
    """Write every table into ``out`` and return the impact table.

    ``impact.{csv,md,tex}``, ``seeds.csv``, ``subsets.csv``, ``coverage.csv``, ``people.csv``, ``sizes.csv``,
    ``curves.csv``, ``numbers.tex`` and ``metrics.json``, of a study that attacks also ``privacy.{csv,md,tex}`` and
    ``tradeoff.{csv,md}``, where attackers learn ``attackers.csv``, of one that names variants to beat ``versus.csv``,
    of one with codecs ``rates.{csv,md}`` and ``bd_rates.csv``. The same inputs give the same bytes. Raises
    AnonbenchError when an input is missing or broken.
    """
    from anonbench.report.macros import macros  # which rounds and escapes with this module
    from anonbench.report.privacy import privacy
    from anonbench.report.privacy_text import flat_privacy, privacy_latex, privacy_macros, privacy_markdown
    from anonbench.report.rates import bd_rates, rates, rates_markdown
    from anonbench.report.tradeoff import markdown as tradeoff_markdown
    from anonbench.report.tradeoff import tradeoff
    from anonbench.report.versus import versus

    cover, present = coverage(study, sources), ledger(study, sources)
    losses = curves(study, sources, allow_missing)
    table, seeds = impact(study, sources, allow_missing)
    frames = {
        "impact": table, "seeds": seeds, "coverage": cover, "subsets": subsets(study, sources), "people": present,
        "sizes": sizes(study, sources), "curves": losses,
    }  # fmt: skip
    texts = {"impact.md": markdown(table, study), "impact.tex": latex(table, study)}
    metrics, numbers = flat(table), []
    if study.attacks is not None and sources.attacks is not None:
        bought = frames["privacy"] = privacy(study, sources.attacks)
        both = frames["tradeoff"] = tradeoff(study, table, bought, sources.anonymized)
        texts["tradeoff.md"] = tradeoff_markdown(both, table)
        texts |= {"privacy.md": privacy_markdown(bought), "privacy.tex": privacy_latex(bought)}
        metrics |= flat_privacy(bought)
        numbers = list(privacy_macros(bought))
        if study.attacks.learners and sources.attackers is not None:
            frames["attackers"] = attackers(study, sources, allow_missing)
    if study.against:
        frames["versus"] = versus(study, sources, allow_missing)
    if any(map(is_coded, study.variants)):
        taken = frames["rates"] = rates(study, sources)
        frames["bd_rates"] = bd_rates(taken)
        texts["rates.md"] = rates_markdown(taken, frames["bd_rates"], table, frames.get("privacy"))
    texts["numbers.tex"] = macros(table, cover, study, sources, numbers)
    # all is computed before anything is written, so that no new table stands beside an old one
    for name, frame in frames.items():
        write_csv(out / f"{name}.csv", frame)
    for name, text in texts.items():
        write_text(out / name, text)
    write_json(out / "metrics.json", metrics)
    return table


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table with four digits after the point, no negative zero, and whole numbers without a point."""
    frame = frame.copy()
    for name in frame.columns:
        if name in INTEGERS:
            frame[name] = frame[name].astype("Int64")
        elif pd.api.types.is_float_dtype(frame[name]) or name.startswith(("value", "difference")):
            frame[name] = pd.to_numeric(frame[name]).round(4) + 0.0
    write_text(path, frame.to_csv(index=False, float_format="%.4f", lineterminator="\n"))


def read_csv(path: Path, text: str | None = None) -> pd.DataFrame:
    """Read a table that `write_csv` wrote, or its ``text``; raise AnonbenchError when it is missing or damaged."""
    try:
        text = path.read_text(encoding="utf-8") if text is None else text
        if text and not text.endswith("\n"):
            raise AnonbenchError("is cut short", file=path, remedy="write it again")
        source = io.StringIO(text)
        frame = pd.read_csv(source, keep_default_na=False, na_values={}, dtype=dict.fromkeys(WORDS, str))
        for name in frame.columns:
            frame[name] = frame[name].astype(str) if name in TEXTS else pd.to_numeric(frame[name].replace("", None))
    except FileNotFoundError:
        raise AnonbenchError("no such table", file=path, remedy="run `anonbench report-tables` first") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise AnonbenchError(f"is not a table ({in_one_line(error)})", file=path, remedy="write it again") from None
    return frame


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """Read a table that `write_tables` wrote; raise AnonbenchError unless it has all columns, and each row once."""
    path = folder / f"{name}.csv"
    frame = read_csv(path)
    columns, keys = COLUMNS[name]
    check_columns(frame, columns, path)
    twice = frame[frame.duplicated(list(keys))] if keys else frame[:0]
    if len(twice):
        entry = " ".join(str(twice.iloc[0][key]) for key in keys)
        raise AnonbenchError("stands there twice", file=path, entry=entry, remedy="write the study's report again")
    return frame


def check_columns(frame: pd.DataFrame, columns: Iterable[str], file: str | Path) -> None:
    """Raise AnonbenchError for the first of some columns that a table lacks."""
    for column in columns:
        if column not in frame.columns:
            remedy = "it may be of an earlier version: write the study's report again"
            raise AnonbenchError(f"has no column '{column}'", file=file, remedy=remedy)


def primary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the metrics that tasks are judged by."""
    return table[table.role == PRIMARY]


def shown(table: pd.DataFrame) -> list[str]:
    """Return the categories worth a column: people first, then the others, or their mean when there are many.

    Without people the mean of the others is that of all.
    """
    people = list(dict.fromkeys(table.loc[table.group == PEOPLE, "category"]))
    controls = list(dict.fromkeys(table.loc[~table.group.isin([PEOPLE, MEAN]), "category"]))
    if len(controls) > MOST_CONTROLS:
        controls = [UNTOUCHED if people else ALL]
    return people + controls


def shares_people(table: pd.DataFrame, dataset: str, counts: Mapping[str, Any]) -> bool:
    """Tell whether a data set's images, of which ``counts`` tells, share people and are drawn one by one."""
    return bool(counts.get("shared")) and set(table[table.dataset == dataset].sampled) == {"image"}


def most_frequent(rows: pd.DataFrame) -> str:
    """Return the category with the most instances in some rows, the first of several."""
    return str(rows.sort_values("instances", ascending=False, kind="stable").category.iloc[0])


def label(table: pd.DataFrame, category: str) -> str:
    """Return a category's name; of the mean of those that are not people, whether no variant touched them."""
    return "other" if category == UNTOUCHED and table.group.isin([OVERLAPPED, TOUCHED]).any() else category


def rows_of(table: pd.DataFrame) -> list[Any]:
    """Return a table's rows as named tuples."""
    return list(table.itertuples())


def reencoded(table: pd.DataFrame) -> pd.Series:
    """Return, per row, whether its variant only re-encodes."""
    return table.variant.map(is_identity).astype(bool)


def blocks(table: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Return data set, model and rows of the table's parts, by data set, model and direction, in the table's order."""
    keys = ["dataset", "model", *(["direction"] if "direction" in table.columns else [])]
    return [(str(key[0]), str(key[1]), part) for key, part in table.groupby(keys, sort=False)]


def leaky(part: pd.DataFrame) -> bool:
    """Tell whether the first weights of the models in a part of a table had seen the data set's original images."""
    return bool((part.leaks == LEAKS).any())


def direction(part: pd.DataFrame) -> str:
    """Return the direction that a part of a table is about."""
    return str(part.direction.iloc[0]) if "direction" in part.columns and len(part) else ON_ORIGINAL


def footnote(table: pd.DataFrame, study: ReportStudy) -> str:
    """Return what the dagger says in a table; '' where there is none."""
    models = set(table.loc[table.leaks == LEAKS, "model"])
    said = {True: LEAKY, False: LEAKY_AS_IT_IS}
    return "; ".join(text for trains, text in said.items() if trains in {study.trains(m) for m in models})


def named(model: str, part: pd.DataFrame, fixed: bool = False) -> str:
    """Return a model's name and, unless it is tested on original images, what it is tested on.

    ``fixed`` of a model that is not trained.
    """
    on = direction(part)
    return model if on == ON_ORIGINAL else f"{model}, {in_words(on, fixed)}"


def marked(model: str, part: pd.DataFrame, fixed: bool = False) -> str:
    """Return `named` of `daggered`."""
    return named(daggered(model, part), part, fixed)


def daggered(model: str, part: pd.DataFrame) -> str:
    """Return a model's name, with a dagger where its first weights had seen the data set's original images."""
    return f"{model} {DAGGER}" if leaky(part) else model


def flat(table: pd.DataFrame) -> dict[str, Any]:
    """Return the first metrics by data set, model (when there are several), variant, task and category.

    Categories are people, controls and means. Directions other than the usual one have names of their own. Each has
    its ``value`` and, of a variant, the ``difference``, the ``low`` and ``high`` end of the 95 % interval that the
    ``verdict`` rests on, the share ``kept`` in per cent and the ``question`` (primary or exploratory), as far as the
    table has them; and its ``metric``, where the study asks about another one than the task's own first.
    """
    table = primary(table)
    result: dict[str, Any] = {}
    several = table.model.nunique() > 1
    for dataset, model, part in blocks(table):
        wanted = {(task, c) for task, rows in part.groupby("task") for c in shown(rows)}
        root = result.setdefault(dataset, {})
        if several:
            root = root.setdefault(model, {})
        if direction(part) != ON_ORIGINAL:
            root = root.setdefault(direction(part), {})
        for row in rows_of(part):
            if (row.group == MEAN or (row.task, row.category) in wanted) and is_number(row.value):
                root.setdefault(row.variant, {}).setdefault(row.task, {})[row.category] = _flat(row)
    return result


def _flat(row: Any) -> dict[str, Any]:
    """Return what `flat` says of a row."""
    columns = {"value": "value"}
    if row.variant != ORIGINAL:
        columns |= {"difference": "difference", "kept": "kept"}
    numbers = {name: getattr(row, column, None) for name, column in columns.items()}
    numbers |= dict(zip(("low", "high"), deciding(row) or (), strict=False)) if row.variant != ORIGINAL else {}
    found: dict[str, Any] = {
        name: round(float(value), 2) + 0.0 for name, value in numbers.items() if value is not None and is_number(value)
    }
    words = ("verdict", "question") if row.variant != ORIGINAL else ()
    if title(row.task, metric := getattr(row, "metric", None)) != title(row.task):
        found["metric"] = metric  # what the study asks about in place of the task's own first
    return found | {word: getattr(row, word) for word in words if getattr(row, word, "")}


def is_number(value: Any) -> bool:
    """Tell a number from None and NaN."""
    return value is not None and not pd.isna(value) and math.isfinite(value)


def interval_of(row: Any, name: str = "difference") -> tuple[float, float] | None:
    """Return the ends of one of a row's intervals (`difference`, `simultaneous`, `equivalence`); None for none."""
    low: Any = getattr(row, f"{name}_low", None)
    high: Any = getattr(row, f"{name}_high", None)
    return (low, high) if is_number(low) and is_number(high) else None


def deciding(row: Any) -> tuple[float, float] | None:
    """Return the ends of the 95 % interval that a row's verdict rests on: of the primary question the simultaneous."""
    return interval_of(row, "simultaneous") or interval_of(row)


def span(ends: tuple[float, float] | None, signed: bool = True) -> str:
    """Return an interval in words, `−1.2 to +0.4`; '' for none."""
    return f"{number(ends[0], signed)} to {number(ends[1], signed)}" if ends else ""


def has(table: pd.DataFrame, column: str) -> bool:
    """Tell whether a table has a column with a number or a word in any row."""
    return column in table.columns and bool((table[column].notna() & (table[column].astype(str) != "")).any())


def number(value: Any, signed: bool = False) -> str:
    """Return a number with one digit and a real minus sign; a dash for none."""
    if not is_number(value):
        return "–"
    value = round(float(value), 1) + 0.0
    text = f"{value:+.1f}" if signed and value else f"{value:.1f}"
    return text.replace("-", "−")


def _cell(row: Any) -> str:
    if row is None or not is_number(row.value):
        return MISSING
    value = number(row.value) + (f" ± {number(row.value_std)}" if is_number(row.value_std) else "")
    if row.verdict == REFERENCE or not is_number(row.difference):
        return value
    low, high = deciding(row) or (None, None)
    interval = f" [{number(low, True)}, {number(high, True)}]"
    mark = MARKS[row.verdict]
    return f"{value}; {number(row.difference, True)}{interval} {f'({mark})' if is_exploratory(row) else mark}"


def is_exploratory(row: Any) -> bool:
    """Tell whether a row of impact.csv is outside the study's primary question."""
    return bool(getattr(row, "question", "") == EXPLORATORY)


def brackets(table: pd.DataFrame) -> str:
    """Say what verdicts in brackets are; '' for a table without any."""
    explores = "question" in table.columns and bool((table.question == EXPLORATORY).any())
    return "; in brackets: exploratory, outside the primary question" if explores else ""


def margins(study: ReportStudy, table: pd.DataFrame) -> str:
    """Return the margins of a table's tasks, such as ``±1 AP points``; several with the tasks that they belong to."""
    units = dict(zip(table.task, table.unit, strict=True))
    said = {task: f"±{study.margin_of(task):g} {unit}" for task, unit in units.items()}
    if len(set(said.values())) <= 1:
        return next(iter(said.values()), f"±{study.margin:g}")
    return ", ".join(f"{text} ({heading(table, task)})" for task, text in said.items())


def first_metric(table: pd.DataFrame, task: str) -> str | None:
    """Return the metric that a table of first metrics has of a task; None for a task that it lacks."""
    metrics = table.loc[table.task == task, "metric"]
    return str(metrics.iloc[0]) if len(metrics) else None


def heading(table: pd.DataFrame, task: str) -> str:
    """Return a task's title by the metric that a table of first metrics has of it."""
    return title(task, first_metric(table, task))


def titled(row: Any) -> str:
    """Return the title of a row's task by the row's metric."""
    return title(row.task, row.metric)


def units(table: pd.DataFrame) -> str:
    """Return what the values of a table of first metrics are in, such as ``AP in per cent``."""
    said = dict.fromkeys(
        f"{metric} in per cent" if unit == AP_POINTS else f"{title(task, metric)} in {unit}"
        for task, metric, unit in zip(table.task, table.metric, table.unit, strict=True)
    )
    return ", ".join(said)


def lower(table: pd.DataFrame) -> str:
    """Return a sentence on the metrics whose lower values are better; '' where there are none."""
    names = dict.fromkeys(heading(table, task) for task in table.task[table.best == "lower"])
    return f"Of {' and '.join(names)} lower is better: a drop is a rise of the number." if names else ""


def markdown(table: pd.DataFrame, study: ReportStudy) -> str:
    """Return the impact as Markdown: per data set, model and task a row per variant, a column per category."""
    table = primary(table)
    tested = f" {lower(table)}" if lower(table) else ""
    if study.directions == (ON_ORIGINAL,):
        tested += " Models are trained on the variant and tested on the original images."
    lines = [
        "# Impact of anonymization",
        "",
        f"Mean ± standard deviation over seeds ({units(table)}); then the difference to `original` with its 95 % "
        "interval (those of the primary question hold all at once) and a verdict: − drop, + gain, = no practical "
        f"difference (90 % interval inside {margins(study, table)}), ? cannot tell{brackets(table)}.{tested} "
        "`changed`: share of people whose region was changed; `kept`: share of the original's value, with the 95 % "
        "interval of each by itself. Written by `anonbench report-tables`.",
    ]
    for dataset, model, part in blocks(table):
        for task in dict.fromkeys(part.task):
            rows = part[part.task == task]
            categories = [c for c in shown(rows) if c in set(rows.category)]
            whose = marked(model, part, not study.trains(model))
            main = _main_category(rows, categories)
            lines += ["", f"## {dataset}, {whose}: {heading(rows, task)}", ""]
            body = []
            for variant in dict.fromkeys(rows.variant):
                of = {row.category: row for row in rows_of(rows[rows.variant == variant])}
                first: Any = of[categories[0]]
                body.append(
                    [
                        f"`{variant}`",
                        percent(first.share_changed),
                        int(first.n_seeds),
                        *(_kept(of.get(c)) for c in main),
                        *(_cell(of.get(c)) for c in categories),
                    ]
                )
            own = [f"{_heading(rows, c)} kept" for c in main]
            head = ["variant", "changed", "seeds", *own, *(_heading(rows, c) for c in categories)]
            lines.append(tabulate(body, headers=head, tablefmt="github", disable_numparse=True))
    if leaky(table):
        lines += ["", f"{DAGGER} {footnote(table, study)}."]
    return "\n".join(lines) + "\n"


def _main_category(rows: pd.DataFrame, categories: Sequence[str]) -> list[str]:
    """Return the category that the study asks about, or else the first of people; none if nothing says what is kept."""
    asked = set(rows.category[rows.question == CONFIRMATORY]) if "question" in rows.columns else set()
    people = [c for c in categories if (rows.loc[rows.category == c, "group"] == PEOPLE).all()]
    chosen = [c for c in (*(c for c in categories if c in asked), *people) if has(rows[rows.category == c], "kept")]
    return chosen[:1]


def _kept(row: Any) -> str:
    """Return the share of the original's value that is kept, in per cent, with its interval; '' for the original."""
    if row is None or not is_number(row.value):
        return MISSING
    if not is_number(getattr(row, "kept", None)):
        return "" if row.verdict == REFERENCE else "–"
    ends = interval_of(row, "kept")
    inner = f" [{round(ends[0])}, {round(ends[1])}]" if ends else ""
    return f"{round(row.kept)} %{inner}".replace("-", "−")


def percent(share: Any) -> str:
    """Return a share (0..1) as per cent; 100 % only when it is all, 0 % only when it is none."""
    if not is_number(share):
        return "–"
    value = 100 * float(share)
    if 99.5 <= value < 100:
        return ">99 %"
    if 0 < value < 0.5:
        return "<1 %"
    return f"{value:.0f} %"


def joined(words: Iterable[Any]) -> str:
    """Join words with commas and, before the last, `and`."""
    said = [str(word) for word in words]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def capital(text: str) -> str:
    """Return a text with a capital at its start."""
    return text[:1].upper() + text[1:]


def _heading(rows: pd.DataFrame, category: str) -> str:
    groups = set(rows.loc[rows.category == category, "group"])
    if OVERLAPPED in groups and TOUCHED not in groups:
        return f"{category} (not people)"
    return f"{category} (untouched)" if groups == {CONTROL} else label(rows, category)


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


FIT = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}"
"""Shrinks what is wider than the text and leaves the rest as it is."""


def escape(text: str) -> str:
    """Escape what LaTeX takes for a command."""
    return "".join(_TEX.get(letter, letter) for letter in text)


def latex(table: pd.DataFrame, study: ReportStudy) -> str:
    """Return two booktabs ``tabular`` per data set and model: rows are variants, columns values and differences.

    The second has the intervals of the category that is asked about, or else the first of people. A table wider than
    the text is shrunk to it. It needs the packages booktabs and graphicx; put each into a ``table`` of your own.
    """
    table = primary(table)
    parts_ = [
        r"% Needs \usepackage{booktabs} and \usepackage{graphicx}; each table is shrunk to \textwidth if it is wider.",
        f"% Written by anonbench report-tables. Means over seeds ({units(table)}) and differences to original.",
        "% Marks: down-arrow drop, up-arrow gain, = no practical difference (90 % interval inside "
        f"{margins(study, table).replace('±', '+-')}), "
        f"? cannot tell{brackets(table)}.",
        *([f"% {lower(table)}"] if lower(table) else []),
    ]
    for dataset, model, part in blocks(table):
        columns = [
            (
                task,
                category,
                label(part[part.task == task], category),
                bool((part.loc[part.category == category, "group"] == PEOPLE).all()),
            )
            for task in dict.fromkeys(part.task)
            for category in shown(part[part.task == task])
            if category in set(part.loc[part.task == task, "category"])
        ]
        head: list[str] = []
        rules: list[str] = []
        at = 3
        for task in dict.fromkeys(part.task):
            wide = sum(1 + int(people) for t, *_, people in columns if t == task)
            head.append(rf"\multicolumn{{{wide}}}{{c}}{{{escape(capital(heading(part, task)))}}}")
            rules.append(rf"\cmidrule(lr){{{at}-{at + wide - 1}}}")
            at += wide
        names = [rf"{escape(c)} & $\Delta$" if people else rf"$\Delta$ {escape(c)}" for *_, c, people in columns]
        kinds = "".join("rl" if people else "l" for *_, people in columns)
        lines = [
            f"% {dataset}, {named(model, part, not study.trains(model))}",
            FIT + "{%",
            rf"\begin{{tabular}}{{lr{kinds}}}",
            r"\toprule",
            " & & " + " & ".join(head) + r" \\",
            "".join(rules),
            _tex_first(part) + " & changed & " + " & ".join(names) + r" \\",
        ]
        last = None
        for variant in dict.fromkeys(part.variant):
            rows = part[part.variant == variant]
            region = rows.region.iloc[0]
            if region != last:
                lines.append(r"\midrule")
                last = region
            of = {(row.task, row.category): row for row in rows_of(rows)}
            share = escape(percent(rows.share_changed.iloc[0])) if variant != ORIGINAL else "--"
            cells = [_tex_cell(of.get((task, category)), people) for task, category, _, people in columns]
            lines.append(f"{escape(variant)} & {share} & " + " & ".join(cells) + r" \\")
        note = _tex_note(part, study, at - 1)
        parts_.append("\n".join([*lines, r"\bottomrule", *note, r"\end{tabular}}"]))
        parts_ += _tex_intervals(part, study)
    return "\n\n".join(parts_) + "\n"


def _tex_intervals(part: pd.DataFrame, study: ReportStudy) -> list[str]:
    """Return a ``tabular`` of the intervals of each task's `_main_category`; none where nothing has one."""
    of_task = {task: part[part.task == task] for task in dict.fromkeys(part.task)}
    main = {task: _main_category(rows, shown(rows)) for task, rows in of_task.items()}
    columns = [(task, category) for task, own in main.items() for category in own]
    if not columns:
        return []
    head = [
        rf"\multicolumn{{2}}{{c}}{{{escape(f'{capital(heading(part, t))}, {label(of_task[t], c)}')}}}"
        for t, c in columns
    ]
    rules = [rf"\cmidrule(lr){{{2 + 2 * k}-{3 + 2 * k}}}" for k in range(len(columns))]
    lines = [
        "% The same with 95 % intervals: those of differences in the primary question hold all at once, others, and",
        "% those of what is kept, each by itself.",
        FIT + "{%",
        rf"\begin{{tabular}}{{l{'ll' * len(columns)}}}",
        r"\toprule",
        " & " + " & ".join(head) + r" \\",
        "".join(rules),
        _tex_first(part) + r" & $\Delta$ & kept" * len(columns) + r" \\",
        r"\midrule",
    ]
    for variant in dict.fromkeys(part.variant):
        rows = part[(part.variant == variant) & (part.verdict != REFERENCE)]
        of = {(row.task, row.category): row for row in rows_of(rows)}
        if of:
            cells = [_tex_interval(of.get(column)) for column in columns]
            lines.append(f"{escape(variant)} & " + " & ".join(cells) + r" \\")
    return ["\n".join([*lines, r"\bottomrule", *_tex_note(part, study, 1 + 2 * len(columns)), r"\end{tabular}}"])]


def _tex_first(part: pd.DataFrame) -> str:
    """Return the head of the first column, with a dagger where `_tex_note` says what it means."""
    return r"Variant$^\dagger$" if leaky(part) else "Variant"


def _tex_note(part: pd.DataFrame, study: ReportStudy, columns: int) -> list[str]:
    """Return the row below a ``tabular`` that says what the dagger means; none where nothing has one."""
    said = footnote(part, study)
    return [rf"\multicolumn{{{columns}}}{{l}}{{\footnotesize $^\dagger$ {said}}} \\"] if said else []


def _tex_interval(row: Any) -> str:
    """Return a difference with its verdict and what is kept, with their intervals."""
    if row is None or row.verdict == REFERENCE or not is_number(row.difference):
        return "-- & --"
    ends = deciding(row)
    inner = rf"\ [{tex_signed(ends[0])}, {tex_signed(ends[1])}]" if ends else ""
    kept = escape(_kept(row)).replace("−", "$-$") if is_number(row.kept) else "--"
    return f"${_tex_difference(row)}{inner}$ & {kept}"


def tex_signed(value: float) -> str:
    """Return a number with one digit and its sign, for LaTeX's mathematics; zero has none."""
    return number(value, True).replace("−", "-")


def _tex_cell(row: Any, people: bool) -> str:
    """Return value and difference of people, the difference alone of the others."""
    if row is None or not is_number(row.value):
        return "-- & --" if people else "--"
    own = f"{row.value:.1f} & " if people else ""
    if row.verdict == REFERENCE or not is_number(row.difference):
        return own if people else f"({row.value:.1f})"
    return f"{own}${_tex_difference(row)}$"


def _tex_difference(row: Any) -> str:
    """Return a difference with its verdict, in brackets where it is exploratory."""
    mark = TEX_MARKS[row.verdict]
    return f"{tex_signed(row.difference)}^{{{f'({mark})' if is_exploratory(row) else mark}}}"
