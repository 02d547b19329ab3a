"""numbers.tex: a LaTeX macro for each number that a text would quote, so that no number is typed twice."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from anonbench.directions import ON_ORIGINAL
from anonbench.records import UNANNOTATED
from anonbench.report.collect import MEAN, Sources, evaluated, training_record
from anonbench.report.study import ORIGINAL, ReportStudy, is_identity
from anonbench.report.tables import escape, heading, is_number, number, percent, primary, rows_of, shown, tex_signed

PREFIX = "ab"
"""Of every macro, so that none is a command of LaTeX."""

DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")

HEAD = """\
% Written by anonbench report-tables: \\input{numbers} in the preamble, then \\abStreetlife... in the text.
% A name is "ab" and the words data set, model, (direction,) task, category, variant and what it is, each with a
% capital; digits are spelled out. Values are in the task's unit (AP in per cent), rounded as in impact.tex.
"""

WHAT = {
    "Value": "mean over seeds", "Std": "its standard deviation over seeds", "Instances": "annotated in the test split",
    "Difference": "variant minus original", "Low": "lower end of its 95 % interval", "High": "upper end",
    "Interval": "both ends, in brackets", "SimultaneousLow": "lower end of the simultaneous 95 % interval",
    "SimultaneousHigh": "upper end", "EquivalenceLow": "lower end of the 90 % interval", "EquivalenceHigh": "upper end",
    "Verdict": "in words", "Kept": "share of the original's value that is kept, in per cent",
    "KeptLow": "lower end of its 95 % interval", "KeptHigh": "upper end",
    "Changed": "share of the category's people whose region was changed",
}  # fmt: skip
"""What the last word of a number's name says, in the order of the file."""


WHAT_OF_ATTACKS = """\
% Of attacks a name is "ab" and the words data set, attack, measure, (size of the gallery,) variant and what it is;
% rates are those of the strongest attacker, in per cent.
% ...Low, High: ends of the 95 % interval, of all variants at once; Chance: what knowing nothing gives
% ...Raw, Control: on original images, and of the best control; Gain, GainLow, GainHigh: what was bought, in per cent
% ...Verdict: in words"""


def macros(
    table: pd.DataFrame,
    cover: pd.DataFrame,
    study: ReportStudy,
    sources: Sources,
    attacks: Sequence[tuple[str, str]] = (),
) -> str:
    """Return numbers.tex: a ``\\newcommand`` without arguments for each number that a text would quote.

    ``table`` is impact.csv, of which the first metric of the categories that tables for people show and of the means is
    taken, ``cover`` coverage.csv, ``attacks`` names and texts of what attackers found. Counts of images come from the
    records of trainings and evaluations in ``sources``.
    Two numbers whose names differ only in letters that a macro cannot hold are both left out, with a comment: a text
    that quotes one does not compile, instead of quoting the other.
    """
    found = [*_counts(table, cover, study, sources), *_numbers(table), *attacks]
    often = Counter(name for name, _ in found)
    lines = [*(f"% ...{word}: {said}" for word, said in WHAT.items()), *([WHAT_OF_ATTACKS] if attacks else []), ""]
    for name, text in found:
        if often[name] == 1:
            lines.append(rf"\newcommand{{\{name}}}{{{text}}}")
        elif often[name] > 1:
            lines.append(f"% left out, since {often[name]} numbers have the name {name}")
            often[name] = 0
    return HEAD + "\n".join(lines) + "\n"


def macro(*words: str) -> str:
    """Return the name of a macro, letters alone: ``abStreetlifePersonFaceBlurMedium`` without the backslash.

    Each run of letters gets a capital, digits are spelled out, accents are dropped, and any other letter becomes its
    code point in digits, spelled out.
    """
    found = []
    for letter in unicodedata.normalize("NFKD", " ".join(words)):
        if unicodedata.combining(letter):
            continue
        code = letter if letter.isascii() else f" {ord(letter)} " if letter.isalpha() else " "
        found.append(re.sub(r"\d", lambda digit: f" {DIGITS[int(digit.group())]} ", code))
    parts = re.findall(r"[A-Za-z]+", "".join(found))
    return PREFIX + "".join(part[:1].upper() + part[1:] for part in parts)


def _plain(value: Any) -> str:
    """Return a value with one digit, LaTeX's minus and no negative zero."""
    return number(value).replace("−", "-")


def _signed(value: Any) -> str:
    """Return a difference in mathematics, whose minus is one."""
    return rf"\ensuremath{{{tex_signed(value)}}}"


def _numbers(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield name and text of what stands in the rows of impact.csv."""
    own = primary(table)
    for _, part in own.groupby(["dataset", "model", "task", "direction"], sort=False):
        wanted = set(shown(part))
        for row in rows_of(part):
            if (row.group == MEAN or row.category in wanted) and is_number(row.value):
                words = [row.dataset, row.model, *([row.direction] if row.direction != ON_ORIGINAL else [])]
                words += [row.task, row.category, row.variant]
                yield from ((macro(*words, what), text) for what, text in _row(row) if text)


def _row(row: Any) -> Iterator[tuple[str, str]]:
    """Yield the last word of the name and the text of each number of a row, '' where there is none."""

    def of(column: str) -> Any:
        value = getattr(row, column, None)
        return value if is_number(value) else None

    def signed(column: str) -> str:
        return "" if of(column) is None else _signed(of(column))

    yield "Value", _plain(row.value)
    yield "Std", "" if of("value_std") is None else _plain(row.value_std)
    if row.variant == ORIGINAL:
        yield "Instances", "" if of("instances") is None else f"{int(row.instances)}"
        return
    low, high = of("difference_low"), of("difference_high")
    yield "Difference", signed("difference")
    yield "Low", signed("difference_low")
    yield "High", signed("difference_high")
    ends = [tex_signed(end) for end in (low, high) if end is not None]
    yield "Interval", rf"\ensuremath{{[{ends[0]},\,{ends[1]}]}}" if len(ends) == 2 else ""
    for name in ("simultaneous", "equivalence"):
        yield f"{name.capitalize()}Low", signed(f"{name}_low")
        yield f"{name.capitalize()}High", signed(f"{name}_high")
    yield "Verdict", escape(row.verdict or "")
    for name in ("kept", "kept_low", "kept_high"):
        yield name.title().replace("_", ""), "" if of(name) is None else _plain(of(name))
    if not is_identity(row.variant) and of("share_changed"):
        yield "Changed", escape(percent(row.share_changed))


def _counts(
    table: pd.DataFrame, cover: pd.DataFrame, study: ReportStudy, sources: Sources
) -> Iterator[tuple[str, str]]:
    """Yield name and text of how many seeds, images and people there are."""
    yield macro("seeds"), f"{len(study.seeds)}"
    if study.original_seeds:
        yield macro("original", "seeds"), f"{len(study.seeds) + len(study.original_seeds)}"
    yield macro("resamples"), f"{study.bootstrap}"
    for task in dict.fromkeys(table.task):
        yield macro(task, "margin"), f"{study.margin_of(task):g}"
        yield macro(task, "metric"), escape(heading(primary(table), task))
    for dataset, splits in study.datasets.items():
        people = cover[(cover.dataset == dataset) & (cover.category != UNANNOTATED) & (cover.split == splits["train"])]
        people = people.drop_duplicates("category")
        trained = [
            r
            for d, m, v, s in study.trainings()
            if d == dataset
            if (r := training_record(sources, d, study.made_with(v, s), m, s))
        ]
        images = {(record.get("data") or {}).get("images") for record in trained} - {None}
        if len(images) == 1:
            yield macro(dataset, "training images"), f"{images.pop()}"
        if len(people):
            yield macro(dataset, "training people"), f"{int(people.people.sum())}"
        for row in rows_of(people):
            yield macro(dataset, row.category, "training people"), f"{int(row.people)}"
        tested = evaluated(study, dataset, sources.evaluations)
        if tested:
            yield macro(dataset, "test images"), f"{tested['counts']['images']}"
        drawn = primary(table)
        drawn = drawn[(drawn.dataset == dataset) & drawn.samples.map(is_number).astype(bool)]
        for row in rows_of(drawn.drop_duplicates("sampled")):
            yield macro(dataset, "resampled", f"{row.sampled}s"), f"{int(row.samples)}"
