"""The tables: stable bytes for machines (csv, json), rounded numbers for people (md, tex)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from anonbench.errors import AnonbenchError
from anonbench.files import write_json, write_text
from anonbench.report.collect import (
    CONTROL,
    LEAKS,
    MEAN,
    PEOPLE,
    UNTOUCHED,
    Sources,
    coverage,
    curves,
    impact,
    ledger,
    subsets,
)
from anonbench.report.resample import DROP, GAIN, MISSING, REFERENCE, SAME, UNSURE
from anonbench.report.study import ORIGINAL, TASKS, Study, is_identity

MOST_CONTROLS = 3
"""With more untouched categories than this, tables for people and figures show their mean instead."""

INTEGERS = ("n_seeds", "seeds_needed", "images_needed", "instances", "images", "seed", "iteration")

TEXTS = (
    "dataset", "model", "task", "category", "group", "variant", "region", "method", "level", "verdict", "split",
    "kind", "size", "status", "source", "subset", "stage", "device", "leaks", "fitted_on",
)  # fmt: skip

DAGGER = "†"
LEAKY = "the first weights had seen the original images: what anonymization costs may be underestimated"
"""The footnote of the dagger."""

MARKS = {DROP: "−", GAIN: "+", SAME: "=", UNSURE: "?", REFERENCE: "", MISSING: "!"}
TEX_MARKS = {DROP: r"\downarrow", GAIN: r"\uparrow", SAME: "=", UNSURE: "?", REFERENCE: "", MISSING: "!"}


def write_tables(study: Study, sources: Sources, out: Path, allow_missing: bool = False) -> pd.DataFrame:
    """Write every table into ``out`` and return the impact table.

    ``impact.{csv,md,tex}``, ``seeds.csv``, ``subsets.csv``, ``coverage.csv``, ``people.csv``, ``curves.csv`` and
    ``metrics.json``. The same inputs give the same bytes. Raises AnonbenchError when an input is missing or broken.
    """
    cover, present = coverage(study, sources), ledger(study, sources)
    losses = curves(study, sources, allow_missing)
    table, seeds = impact(study, sources, allow_missing)
    write_csv(out / "impact.csv", table)
    write_csv(out / "seeds.csv", seeds)
    write_csv(out / "coverage.csv", cover)
    write_csv(out / "subsets.csv", subsets(study, sources))
    write_csv(out / "people.csv", present)
    write_csv(out / "curves.csv", losses)
    write_text(out / "impact.md", markdown(table, study.margin))
    write_text(out / "impact.tex", latex(table, study.margin))
    write_json(out / "metrics.json", flat(table))
    return table


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table with four digits after the point, no negative zero, and whole numbers without a point."""
    frame = frame.copy()
    for name in frame.columns:
        if name in INTEGERS:
            frame[name] = frame[name].astype("Int64")
        elif pd.api.types.is_float_dtype(frame[name]) or name.startswith(("ap", "difference")):
            frame[name] = pd.to_numeric(frame[name]).round(4) + 0.0
    write_text(path, frame.to_csv(index=False, float_format="%.4f", lineterminator="\n"))


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table that `write_csv` wrote; raise AnonbenchError when it is missing or damaged."""
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values={}, dtype={"leaks": str})
    except FileNotFoundError:
        raise AnonbenchError("no such table", file=path, remedy="run `anonbench report-tables` first") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise AnonbenchError(f"is not a table ({error})", file=path, remedy="write it again") from None
    for name in frame.columns:
        frame[name] = frame[name].astype(str) if name in TEXTS else pd.to_numeric(frame[name].replace("", None))
    return frame


def shown(table: pd.DataFrame) -> list[str]:
    """Return the categories worth a column: people first, then the untouched ones, or their mean when many."""
    people = list(dict.fromkeys(table.loc[table.group == PEOPLE, "category"]))
    controls = list(dict.fromkeys(table.loc[table.group == CONTROL, "category"]))
    if len(controls) > MOST_CONTROLS:
        controls = [UNTOUCHED]
    return people + controls


def rows_of(table: pd.DataFrame) -> list[Any]:
    """Return a table's rows as named tuples."""
    return list(table.itertuples())


def reencoded(table: pd.DataFrame) -> pd.Series:
    """Return, per row, whether its variant only re-encodes."""
    return table.variant.map(is_identity).astype(bool)


def blocks(table: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Return the table's parts by data set and model, in the table's order."""
    keys = list(dict.fromkeys(zip(table.dataset, table.model, strict=True)))
    return [(d, m, table[(table.dataset == d) & (table.model == m)]) for d, m in keys]


def leaky(part: pd.DataFrame) -> bool:
    """Tell whether the first weights of the models in a part of a table had seen the data set's original images."""
    return bool((part.leaks == LEAKS).any())


def marked(model: str, part: pd.DataFrame) -> str:
    """Return a model's name, with a dagger where its first weights had seen the data set's original images."""
    return f"{model} {DAGGER}" if leaky(part) else model


def flat(table: pd.DataFrame) -> dict[str, Any]:
    """Return AP of people, controls and means by data set, model (when there are several), variant, task, category."""
    result: dict[str, Any] = {}
    several = table.model.nunique() > 1
    for dataset, model, part in blocks(table):
        wanted = set(shown(part)) | set(part.loc[part.group == MEAN, "category"])
        root = result.setdefault(dataset, {})
        if several:
            root = root.setdefault(model, {})
        for row in rows_of(part):
            if row.category in wanted and is_number(row.ap):
                value = round(float(row.ap), 2) + 0.0
                root.setdefault(row.variant, {}).setdefault(row.task, {})[row.category] = value
    return result


def is_number(value: Any) -> bool:
    """Tell a number from None and NaN."""
    return value is not None and not pd.isna(value) and math.isfinite(value)


def number(value: Any, signed: bool = False) -> str:
    """Return a number with one digit and a real minus sign; a dash for none."""
    if not is_number(value):
        return "–"
    value = round(float(value), 1) + 0.0
    text = f"{value:+.1f}" if signed and value else f"{value:.1f}"
    return text.replace("-", "−")


def _cell(row: Any) -> str:
    if row is None or not is_number(row.ap):
        return MISSING
    ap = number(row.ap) + (f" ± {number(row.ap_std)}" if is_number(row.ap_std) else "")
    if row.verdict == REFERENCE or not is_number(row.difference):
        return ap
    interval = f" [{number(row.difference_low, True)}, {number(row.difference_high, True)}]"
    return f"{ap}; {number(row.difference, True)}{interval} {MARKS[row.verdict]}"


def markdown(table: pd.DataFrame, margin: float) -> str:
    """Return the impact as Markdown: per data set, model and task a row per variant, a column per category."""
    lines = [
        "# Impact of anonymization on AP",
        "",
        "AP in per cent, mean ± standard deviation over seeds; then the difference to `original` with its 95 % "
        f"interval and a verdict: − drop, + gain, = no practical difference (interval inside ±{margin:g} AP), "
        "? cannot tell. Models are trained on the variant and tested on the original images. `changed`: share of "
        "people whose region was changed. Written by `anonbench report-tables`.",
    ]
    for dataset, model, part in blocks(table):
        for task in dict.fromkeys(part.task):
            rows = part[part.task == task]
            categories = [c for c in shown(rows) if c in set(rows.category)]
            lines += ["", f"## {dataset}, {marked(model, part)}: {TASKS[task]} AP", ""]
            body = []
            for variant in dict.fromkeys(rows.variant):
                of = {row.category: row for row in rows_of(rows[rows.variant == variant])}
                first: Any = of[categories[0]]
                body.append(
                    [
                        f"`{variant}`",
                        percent(first.share_changed),
                        int(first.n_seeds),
                        *(_cell(of.get(c)) for c in categories),
                    ]
                )
            head = ["variant", "changed", "seeds", *(_heading(rows, c) for c in categories)]
            lines.append(tabulate(body, headers=head, tablefmt="github", disable_numparse=True))
    if leaky(table):
        lines += ["", f"{DAGGER} {LEAKY}."]
    return "\n".join(lines) + "\n"


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


def _heading(rows: pd.DataFrame, category: str) -> str:
    group = rows.loc[rows.category == category, "group"].iloc[0]
    return category if group == PEOPLE else f"{category} (untouched)" if group == CONTROL else category


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


FIT = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}"
"""Shrinks what is wider than the text and leaves the rest as it is."""


def escape(text: str) -> str:
    """Escape what LaTeX takes for a command."""
    return "".join(_TEX.get(letter, letter) for letter in text)


def latex(table: pd.DataFrame, margin: float) -> str:
    """Return one booktabs ``tabular`` per data set and model: rows are variants, columns AP and difference.

    A table wider than the text is shrunk to it. It needs the packages booktabs and graphicx; put each into a ``table``
    of your own.
    """
    parts_ = [
        r"% Needs \usepackage{booktabs} and \usepackage{graphicx}; each table is shrunk to \textwidth if it is wider.",
        "% Written by anonbench report-tables. AP in per cent (mean over seeds), difference to original in AP points.",
        f"% Marks: down-arrow drop, up-arrow gain, = no practical difference (95 % interval inside +-{margin:g}), "
        "? cannot tell.",
    ]
    for dataset, model, part in blocks(table):
        columns = [
            (task, category, bool((part.loc[part.category == category, "group"] == PEOPLE).all()))
            for task in dict.fromkeys(part.task)
            for category in shown(part[part.task == task])
            if category in set(part.loc[part.task == task, "category"])
        ]
        head: list[str] = []
        rules: list[str] = []
        at = 3
        for task in dict.fromkeys(part.task):
            wide = sum(1 + int(people) for t, _, people in columns if t == task)
            head.append(rf"\multicolumn{{{wide}}}{{c}}{{{TASKS[task].capitalize()} AP}}")
            rules.append(rf"\cmidrule(lr){{{at}-{at + wide - 1}}}")
            at += wide
        names = [rf"{escape(c)} & $\Delta$" if people else rf"$\Delta$ {escape(c)}" for _, c, people in columns]
        kinds = "".join("rl" if people else "l" for *_, people in columns)
        lines = [
            f"% {dataset}, {model}",
            FIT + "{%",
            rf"\begin{{tabular}}{{lr{kinds}}}",
            r"\toprule",
            " & & " + " & ".join(head) + r" \\",
            "".join(rules),
            (r"Variant$^\dagger$" if leaky(part) else "Variant") + " & changed & " + " & ".join(names) + r" \\",
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
            cells = [_tex_cell(of.get((task, category)), people) for task, category, people in columns]
            lines.append(f"{escape(variant)} & {share} & " + " & ".join(cells) + r" \\")
        note = [rf"\multicolumn{{{at - 1}}}{{l}}{{\footnotesize $^\dagger$ {LEAKY}}} \\"] if leaky(part) else []
        parts_.append("\n".join([*lines, r"\bottomrule", *note, r"\end{tabular}}"]))
    return "\n\n".join(parts_) + "\n"


def _tex_cell(row: Any, people: bool) -> str:
    """Return AP and difference of people, the difference alone of what nobody touched."""
    if row is None or not is_number(row.ap):
        return "-- & --" if people else "--"
    ap = f"{row.ap:.1f} & " if people else ""
    if row.verdict == REFERENCE or not is_number(row.difference):
        return ap if people else f"({row.ap:.1f})"
    value = round(float(row.difference), 1) + 0.0
    text = f"{value:+.1f}" if value else "0.0"
    return f"{ap}${text}^{{{TEX_MARKS[row.verdict]}}}$"
