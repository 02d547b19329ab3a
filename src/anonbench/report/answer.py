"""The answer and what weakens it, both made from the tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from anonbench.directions import ON_ORIGINAL, ON_SAME, in_words
from anonbench.records import UNANNOTATED
from anonbench.report.collect import CONTROL, COVERAGE_COLUMNS, HANDLED, OVERLAPPED, PEOPLE
from anonbench.report.impact import CONFIRMATORY
from anonbench.report.study import ORIGINAL, ReportStudy, is_identity, phrase
from anonbench.report.tables import (
    PLURALS,
    blocks,
    capital,
    deciding,
    direction,
    heading,
    interval_of,
    is_number,
    joined,
    named,
    number,
    percent,
    primary,
    reencoded,
    rows_of,
    shares_people,
    span,
    titled,
)
from anonbench.statistics.changes import holm
from anonbench.statistics.spread import outlying_spread
from anonbench.statistics.verdicts import DROP, GAIN, MISSING, SAME, UNSURE
from anonbench.tasks import base as tasks

ENOUGH_SEEDS = 3

ENOUGH_SAMPLES = 20
"""With fewer images, videos or people, one odd one among them moves an interval."""

ODD = 0.05
"""Level of the test that one variant spreads over seeds more than the others."""


class Paragraph(NamedTuple):
    """A paragraph of the answer, and the points under it."""

    text: str
    points: tuple[str, ...] = ()

    def plain(self) -> str:
        """Return it as lines of text."""
        return "\n".join((self.text, *(f"- {point}" for point in self.points)))


def answers(table: pd.DataFrame, untrained: Collection[str] = (), margin: str = "") -> list[Paragraph]:
    """Return a paragraph per data set, model and direction: what each variant does to what the study asks about.

    First the primary question, a point per variant; then a line for each other task, for re-encoding and for controls.
    A loss or a gain is said where there is a verdict; where there is none, that is said, with the interval. Directions
    that no question was declared for are told of the same tasks and category, as exploratory. ``untrained`` are the
    models that are not trained, ``margin`` says in words within what there is no practical difference.
    """
    parts = blocks(primary(table))
    treated = [(d, m, part) for d, m, part in parts if set(part.variant) != {ORIGINAL}]
    treated.sort(key=lambda one: CONFIRMATORY not in set(one[2].question))
    several = table.model.nunique() > 1
    found = [_answer(d, m, part, several, m in untrained, table) for d, m, part in treated or parts]
    if margin and any(f"{SAME} " in point for paragraph in found for point in paragraph.points):
        last = f"No practical difference: a 90 % interval inside {margin}, the margins that the study has set."
        found[-1] = Paragraph(found[-1].text, (*found[-1].points, last))
    return found


def _answer(dataset: str, model: str, part: pd.DataFrame, several: bool, fixed: bool, table: pd.DataFrame) -> Paragraph:
    on = f"On {dataset}" + (f" with {model}" if several else "")
    on += "" if direction(part) == ON_ORIGINAL else f", {in_words(direction(part), fixed)}"
    asked = _asked(part, table)
    people = part[part.group == PEOPLE]
    if people.empty:
        return Paragraph(
            f"{on}, the validation images hold nobody whose {heading(part, part.task.iloc[0])} could be measured."
        )
    rows = part[[key in asked for key in zip(part.task, part.category, strict=True)]]
    if rows.empty:
        return Paragraph(f"{on}, nothing that the study asks about was measured.")
    measured = rows[(rows.variant != ORIGINAL) & rows.difference.notna()]
    if measured.empty:
        return Paragraph(f"{on}, no variant has been evaluated yet.")
    question = measured[measured.question == CONFIRMATORY]
    told = question if len(question) else measured[~reencoded(measured)]
    points = [f"{capital(phrase(v))}: {_effects(told[told.variant == v])}." for v in dict.fromkeys(told.variant)]
    others = [key for key in dict.fromkeys(zip(people.task, people.category, strict=True)) if key not in asked]
    for task in dict.fromkeys(task for task, _ in others if task not in {t for t, _ in asked}):
        category = next(c for t, c in others if t == task)
        points.append(_line(people[(people.task == task) & (people.category == category)]))
    points += [*_reencoding(measured), *_controls(part, asked)]
    return Paragraph(_lead(on, rows, question, fixed), tuple(points))


def _asked(part: pd.DataFrame, table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the pairs of task and category of the primary question; without one, the first of people."""
    of = table[(table.dataset == part.dataset.iloc[0]) & (table.question == CONFIRMATORY)]
    of = of[of.model == part.model.iloc[0]] if (of.model == part.model.iloc[0]).any() else of
    here = set(zip(part.task, part.category, strict=True))
    found = [key for key in dict.fromkeys(zip(of.task, of.category, strict=True)) if key in here]
    people = part[part.group == PEOPLE]
    return found or list(dict.fromkeys(zip(people.task, people.category, strict=True)))[:1]


def _lead(on: str, rows: pd.DataFrame, question: pd.DataFrame, fixed: bool) -> str:
    original = rows[rows.variant == ORIGINAL]
    levels = [f"{number(row.value)} {titled(row)}" for row in rows_of(original.drop_duplicates(["task", "category"]))]
    whom = _whom(str(rows.category.iloc[0]))
    seeds = int(rows.n_seeds.min())
    trained = "trained and tested on the originals" if direction(rows) == ON_SAME else "trained on the originals"
    how = "a model that is not trained" if fixed else f"models {trained} with {_trained(rows)}"
    base = f"{on}, {how} reach{'es' if fixed else ''} {joined(levels)} on {whom}"
    size = f" ({int(rows.instances.max())} in {_count(int(rows.samples.max()), str(rows.sampled.iloc[0]))})."
    if question.empty:
        return f"{base}{size} What a variant changes, each interval 95 % by itself (exploratory):"
    set_ = f"{base}{size} The question that was set beforehand is what each variant changes of that"
    if seeds < 2 and not fixed:
        return f"{set_}; of one seed there is the noise of images alone, and no verdict:"
    together = f"; its {len(question)} intervals of 95 % hold all at once" if len(question) > 1 else ""
    alone = "; those of 90 %, for equivalence, each by itself" if (question.verdict == SAME).any() else ""
    return f"{set_}{together}{alone}:"


def _trained(rows: pd.DataFrame) -> str:
    """Return with how many seeds: '3 seeds', or '6 seeds (on a variant: 3)'."""
    own, others = (rows.loc[which, "n_seeds"] for which in (rows.variant == ORIGINAL, rows.variant != ORIGINAL))
    said = _count(int(rows.n_seeds.max()), "seed")
    fewer = others[others > 0]
    if not len(own) or not len(fewer) or fewer.max() >= own.max():
        return said
    return f"{said} (on each variant: {int(fewer.max())})"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {PLURALS.get(what, what + 's')}"


def _whom(category: str) -> str:
    return {"person": "people", "face": "faces"}.get(category, _plural(category))


def _effects(rows: pd.DataFrame) -> str:
    """Say what a variant does to each metric: what is known first, then what cannot be told."""
    known = [_effect(row) for row in rows_of(rows) if row.verdict != UNSURE]
    unknown = [_effect(row) for row in rows_of(rows) if row.verdict == UNSURE]
    return "; ".join([*known, *([f"cannot tell for {joined(unknown)}"] if unknown else [])])


def _effect(row: Any) -> str:
    """Say what a variant does to one metric, with the interval that the verdict rests on."""
    name, size = titled(row), number(abs(row.difference))
    if row.verdict == SAME:
        inner = span(interval_of(row, "equivalence"))
        return f"no practical difference in {name} ({number(row.difference, True)}, 90 % interval {inner})"
    if row.verdict == UNSURE:
        return f"{name} ({number(row.difference, True)}{_interval(row)})"
    if row.best == "lower":
        return f"{'adds' if row.verdict == DROP else 'saves'} {size} {name} (lower is better{_interval(row)})"
    return f"{'costs' if row.verdict == DROP else 'gains'} {size} {name} ({_interval(row).removeprefix(', ')})"


def _interval(row: Any) -> str:
    return f", {span(deciding(row)) or 'no interval'}"


def _line(rows: pd.DataFrame) -> str:
    """Say in one line what the variants do to a task that the question is not about."""
    measured = rows[(rows.variant != ORIGINAL) & ~reencoded(rows) & rows.difference.notna()]
    said = []
    for verdict, words in ((DROP, "drops under"), (GAIN, "gains under"), (SAME, "no practical difference under")):
        of = measured[measured.verdict == verdict]
        if len(of):
            named = ", ".join(f"{row.variant} ({number(row.difference, True)})" for row in rows_of(of))
            said.append(f"{words} {named}")
    unsure = measured[measured.verdict == UNSURE]
    if len(unsure):
        said.append("cannot tell for " + ", ".join(unsure.variant))
    first = rows.iloc[0]
    return f"{capital(titled(first))} on {_whom(first.category)} (exploratory): {'; '.join(said) or 'not measured'}."


def _reencoding(measured: pd.DataFrame) -> list[str]:
    rows = measured[reencoded(measured)]
    return [f"Re-encoding alone ({v}): {_effects(rows[rows.variant == v])}." for v in dict.fromkeys(rows.variant)]


def _controls(part: pd.DataFrame, asked: list[tuple[str, str]]) -> list[str]:
    """Say how far what nobody changed on purpose moves, and what these controls could have seen."""
    task = asked[0][0]
    rows = part[(part.task == task) & part.group.isin([CONTROL, OVERLAPPED]) & (part.variant != ORIGINAL)]
    rows = rows[rows.difference_low.notna()]
    if rows.empty:
        return ["No category but people was measured, so there is no control."]
    found = []
    for group, words in ((CONTROL, "whose boxes met no changed pixel"), (OVERLAPPED, _overlap(rows))):
        of = rows[rows.group == group]
        names = list(dict.fromkeys(of.category))
        if not names:
            continue
        moved = int(_excludes_zero(of).sum())
        half = number(((of.difference_high - of.difference_low) / 2).median())
        plural = joined([_plural(n) for n in names]) if len(names) < 4 else f"{len(names)} other categories"
        found.append(
            f"{capital(plural)}, {words}, move by up to {number(of.difference.abs().max())} {heading(rows, task)}; "
            f"{moved} of {len(of)} intervals exclude zero. The controls could see about ±{half}."
        )
    return found


def _excludes_zero(rows: pd.DataFrame) -> pd.Series:
    return (rows.difference_low > 0) | (rows.difference_high < 0)


def _overlap(rows: pd.DataFrame) -> str:
    if "share_met" not in rows.columns or rows.share_met.isna().all():
        return "whose boxes may hold changed pixels"
    return f"of whose boxes up to {percent(rows.share_met.max())} hold changed pixels"


def _plural(name: str) -> str:
    if name.startswith("every "):
        return name
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")


def warnings(
    study: ReportStudy,
    table: pd.DataFrame,
    cover: pd.DataFrame,
    records: list[dict[str, Any]],
    absent: Iterable[str] = (),
    seeds: pd.DataFrame | None = None,
    counts: Mapping[str, dict[str, Any]] | None = None,
) -> list[str]:
    """Return what a reader must know before believing the numbers, gravest first.

    ``records`` are train.json contents with ``dataset``, ``variant``, ``model``, ``seed`` added; ``absent`` names
    files that should be there; ``seeds`` is the table of single seeds, ``counts`` those of an evaluation by data set.
    """
    table = primary(table)
    trained = table[table.model.map(study.trains).astype(bool)]
    found = [*_missing(study, table), *_learning(study, table), *_leaks(study, records), *_unequal(records)]
    found += [*_controls_moved(table), *_codec(study, table), *_few_seeds(trained), *_few_samples(table)]
    found += [] if seeds is None else _uneven(trained[~trained.variant.isin(study.refitted)], primary(seeds))
    found += _shared(table, counts or {})
    found += [*_fell_back(cover), *_visible(study, cover)]
    return [*dict.fromkeys(found)] + [f"{name} is missing, so the page does not show it." for name in absent]


def _shared(table: pd.DataFrame, counts: Mapping[str, dict[str, Any]]) -> list[str]:
    """Say where images that are drawn one by one show the same people."""
    return [
        f"{dataset}: {of['shared']:,} of the {of['images']:,} validation images show people whom others show, too, in "
        "too few groups to draw these instead. Intervals are about these people: with others they would be wider."
        for dataset, of in counts.items()
        if shares_people(table, dataset, of)
    ]


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
        wanted = [len(study.seeds_told(model, variant, direction(part))) for variant in part.variant]
        fewer = part[(part.n_seeds < wanted) & (part.n_seeds > 0)]
        if len(fewer):
            names = ", ".join(dict.fromkeys(fewer.variant))
            found.append(f"{where}: not every seed is evaluated for {names}; only common seeds are compared.")
    return found


def _learning(study: ReportStudy, table: pd.DataFrame) -> list[str]:
    rows = table[(table.variant == ORIGINAL) & (table.group == PEOPLE) & ~learnt(table)]
    found = []
    for dataset, model, part in blocks(rows[rows.direction == rows.direction.iloc[0]] if len(rows) else rows):
        poor = ", ".join(f"{number(row.value)} {titled(row)} on {row.category}" for row in rows_of(part))
        said = (
            f"trained on the original images, the model reaches only {poor}. It learnt next to nothing there"
            if study.trains(model)
            else f"on the original images, the model reaches only {poor}. It can do next to nothing there"
        )
        found.append(f"{dataset}, {model}: {said}, and a variant has little to lose: a small difference says nothing.")
    return found


def learnt(table: pd.DataFrame) -> pd.Series:
    """Return, per row, whether its value passes what a model must reach for a difference to say anything."""
    floors = [float(floor) if is_number(floor) else None for floor in table.floor]
    passed = [tasks.learnt(*row) for row in zip(table.task, table.value, floors, strict=True)]
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
        how = repr((record.get("resolved"), (record.get("data") or {}).get("images")))
        of.setdefault((record["dataset"], record["model"]), {}).setdefault(how, []).append(record["variant"])
    for (dataset, model), ways in of.items():
        if len(ways) > 1:
            odd = min(ways.values(), key=len)
            names = ", ".join(dict.fromkeys(odd))
            found.append(f"{dataset}, {model}: {names} was not trained like the others (length or number of images).")
    return found


def _controls_moved(table: pd.DataFrame) -> list[str]:
    found = []
    for dataset, model, part in blocks(table):
        for group, whose in (
            (CONTROL, "categories whose boxes met no changed pixel"),
            (OVERLAPPED, "other categories"),
        ):
            tried = part[(part.group == group) & part.difference_low.notna()]
            moved = tried[_excludes_zero(tried)]
            if moved.empty:
                continue
            worst = max(rows_of(moved), key=lambda row: abs(row.difference))
            half = number(((tried.difference_high - tried.difference_low) / 2).median())
            why = (
                "Effects of that size on people may not be the anonymization's."
                if group == CONTROL
                else "Parts of them were changed with the people before them, so that may be an effect of it."
            )
            found.append(
                f"{dataset}, {named(model, part)}: {len(moved)} of {len(tried)} intervals of {whose} exclude zero "
                "(by chance about 5 % do, but many at once, since all share the original; they could see about "
                f"±{half}); the largest is {worst.category} under {worst.variant}, {number(worst.difference, True)} "
                f"{titled(worst)}. {why}"
            )
    return found


def _codec(study: ReportStudy, table: pd.DataFrame) -> list[str]:
    if not any(is_identity(v) for v in study.variants):
        return ["The study has no `identity` variant, so what re-encoding alone does is not known."]
    rows = table[reencoded(table)]
    rows = rows[(rows.group == PEOPLE) & rows.verdict.isin([DROP, GAIN])]
    return [
        f"{dataset}, {named(model, part)}: {row.variant}, which only re-encodes, moves {titled(row)} on "
        f"{row.category} by {number(row.difference, True)}."
        for dataset, model, part in blocks(rows)
        for row in rows_of(part)
    ]


def _few_seeds(table: pd.DataFrame) -> list[str]:
    found = []
    for dataset, model, part in blocks(table):
        if set(part.variant) == {ORIGINAL} != set(table.variant):  # a start, which is compared with nothing
            continue
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


def _uneven(table: pd.DataFrame, seeds: pd.DataFrame) -> list[str]:
    """Say where, in what the primary question asks, one variant spreads over seeds more than the others.

    Of the variants whose spread intervals take as one (`statistics.contrasts.Panel`): those that learnt, where the
    original did, and whose models are not the original's. Holm's correction is over what is asked.
    """
    tested = []
    keys = ["dataset", "model", "direction", "task", "category"]
    able = table[learnt(table)]
    for key, rows in able.groupby(keys, sort=False):
        if CONFIRMATORY not in set(rows.question) or ORIGINAL not in set(rows.variant):
            continue
        of = seeds[(seeds[keys] == list(key)).all(axis=1) & seeds.variant.isin(rows.variant)]
        common = set(of.seed[of.variant != ORIGINAL])  # the original may have further seeds
        values = of[of.seed.isin(common)].pivot(index="variant", columns="seed", values="value").dropna()
        if ORIGINAL in values.index:  # whose spread is its own
            values = values[(values != values.loc[ORIGINAL]).any(axis=1)]
        values = values[~values.duplicated()]  # an anonymization that changes nothing trains the same models twice
        if len(values) < 3 or len(values.columns) < 2:
            continue
        most, times, p = outlying_spread(values.to_numpy())
        tested.append((rows_of(rows)[0], values.index[most], times, p))
    if not tested:
        return []
    corrected = holm(np.array([p for *_, p in tested]))
    return [
        f"{row.dataset}, {row.model}: {titled(row)} on {row.category} under {variant} spreads over seeds "
        f"{times:.1f} times as much as under the other variants ({_chance(p)} after Holm's correction). Intervals take "
        "one spread for all: that variant's may be too narrow, and the others' too wide."
        for (row, variant, times, _), p in zip(tested, corrected, strict=True)
        if p < ODD
    ]


def _chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _few_samples(table: pd.DataFrame) -> list[str]:
    found = []
    telling = table[(table.samples >= ENOUGH_SAMPLES) & (table.samples_telling < ENOUGH_SAMPLES)]
    for row in rows_of(telling.drop_duplicates(["dataset", "task", "category"])):
        found.append(
            f"{row.dataset}: {titled(row)} on {row.category} is told by about {number(row.samples_telling)} "
            f"{PLURALS[row.sampled]} alone (of {int(row.samples)}); intervals over so few are rough."
        )
    for row in rows_of(table[table.samples < ENOUGH_SAMPLES].drop_duplicates(["dataset", "sampled", "samples"])):
        found.append(
            f"{row.dataset}: intervals are drawn over only {int(row.samples)} {PLURALS[row.sampled]}. Over fewer than "
            f"{ENOUGH_SAMPLES} they are wide, and rest on these few being like all others."
        )
    return found


def _visible(study: ReportStudy, cover: pd.DataFrame) -> list[str]:
    """Say whom the variants left as they were; of controls, which leave everybody, nothing."""
    found = []
    reasons = [c for c in cover.columns if c not in (*COVERAGE_COLUMNS, HANDLED)]
    rows = cover[~cover.variant.map(study.is_control).astype(bool)]
    rows = rows.assign(region=rows.variant.map(study.region_of))
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
