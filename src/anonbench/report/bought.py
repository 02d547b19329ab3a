"""The answer's second half: what attackers still find of whom a variant was to hide, and what that does not show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from anonbench import registry
from anonbench.records import RegionKind
from anonbench.report.answer import Paragraph
from anonbench.report.attempts import ALL, CONTROL, LINKABILITY, PRETRAINED, REFERENCE
from anonbench.report.gates import AT_CHANCE, NO_VERDICT, NOT_TRIED, ONE_FIT
from anonbench.report.impact import CONFIRMATORY
from anonbench.report.privacy_text import (
    IMAGES,
    attacks_of,
    counted,
    deciding,
    learners,
    named,
    over,
    rate,
    share,
    strongest_table,
    told,
)
from anonbench.report.study import ORIGINAL, is_identity, phrase
from anonbench.report.tables import capital, interval_of, is_number, joined, number, primary, rows_of, titled

WHO = {
    "aware": "an attacker who knows the method",
    "naive": "an attacker who has learnt from originals alone",
    "pretrained": "a recogniser that has learnt elsewhere",
    "partial": "an attacker who knows another method",
    "reverse": "an attacker who undoes the method first",
}
"""Attackers by what they know."""

RISKS = {
    "singling out": "Can one person's records be isolated among all?",
    "linkability": "Can two records of one person be linked, in one data set or in two?",
    "inference": "Can something be told of a person that the records do not say?",
}
"""The three risks of the Article 29 Working Party's Opinion 05/2014 (WP216), as questions."""

LIMITS = (
    "Evidence, no proof: a rate is what these attackers reached. Better ones, with more data or larger networks, may "
    "reach more; none can be shown to reach less.",
    "Nobody here knows the people, the place or the time, reads text, or sees other pictures of the same scene or how "
    "somebody moves. Whoever does can tell more.",
    "Attackers are strangers who search for somebody in original pictures. Acquaintances who recognise a friend are "
    "not measured.",
    "A rate is a mean over people. Somebody who looks unlike all others is found sooner than the mean says.",
    "It is about the people of this data set. Of other people, cameras and cultures, and where people are rendered of "
    "real ones, it says nothing.",
    "Whether data is anonymous in the sense of a law is for its owner to judge, from more than this.",
)
"""What no attack here shows."""


def kept_of(table: pd.DataFrame, dataset: str) -> dict[str, Any]:
    """Return, by variant, the row of impact.csv that says how much of the primary question's first metric is kept.

    Variants without a share are left out.
    """
    return {row.variant: row for row in rows_of(asked_first(table, dataset)) if is_number(row.kept)}


def elsewhere(kept: Any, dataset: str) -> str:
    """Return ' on' and the data set of a row of what is kept, where it is another one than what is told of."""
    return f" on {kept.dataset}" if kept.dataset != dataset else ""


def asked_first(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return the rows of impact.csv of a data set that are about what the study asks first; none where it asks none.

    They are those of the first task, category, model and direction of its primary question. Of a data set that no model
    is used for, whose people are only attacked, they are those of the one data set that the question is about.
    """
    rows = primary(table)
    if dataset not in set(rows.dataset):
        others = rows.dataset[rows.question == CONFIRMATORY].unique()
        dataset = others[0] if len(others) == 1 else dataset
    rows = rows[rows.dataset == dataset]
    asked = rows[rows.question == CONFIRMATORY]
    if asked.empty:
        return rows[:0]
    keys = ["task", "category", "model", "direction"]
    return rows[(rows[keys] == asked[keys].iloc[0]).all(axis=1)]


@dataclass(frozen=True)
class Bought:
    """What an attack on a data set says: the paragraph, and the table of the strongest attackers, as cells of text.

    ``first``: the attack that the answer tells of, the first one of a data set that looks for people whom it knows in
    other pictures, else the first that looks for a picture's own original, which is an upper bound, else the first.
    """

    dataset: str
    attack: str
    paragraph: Paragraph
    heads: list[str]
    lines: list[list[str]]
    notes: list[str]
    first: bool = False


def bought(table: pd.DataFrame, privacy: pd.DataFrame) -> list[Bought]:
    """Return what each attack says of a data set: what the strongest attacker of each variant still finds.

    ``table`` is impact.csv, ``privacy`` privacy.csv.
    """
    leading = {dataset: _leading(part) for dataset, part in privacy.groupby("dataset", sort=False)}
    found = []
    for dataset, attack, part in attacks_of(privacy):
        rows = told(part)
        treated = rows[(rows.variant != ORIGINAL) & ~rows.variant.map(is_identity).astype(bool)]
        if rows.empty:
            continue
        kept = kept_of(table, dataset)
        several = table.model.nunique() > 1
        points = [_point(row, kept.get(row.variant), several) for row in rows_of(treated)]
        said = Paragraph(
            _lead(dataset, attack, rows, treated), (*points, *_encoded(rows), *_controls(part), *_clothes(attack, part))
        )
        heads, lines, notes = strongest_table(part)
        found.append(Bought(dataset, attack, said, heads, lines, notes, attack == leading[dataset]))
    return found


def _leading(privacy: pd.DataFrame) -> str:
    ranked = told(privacy)
    ranked = ranked[(ranked.measure == LINKABILITY) & (ranked.drawn != IMAGES)]
    names = list(dict.fromkeys(ranked.attack)) or list(privacy.attack)
    return max(names, key=lambda name: _knows_people(str(name)))


def _knows_people(attack: str) -> bool:
    """Tell whether an attack needs to know who people are; False for one whose plugin is not there any more."""
    return attack in registry.names("attacks") and bool(registry.load("attacks", attack).needs_identities)


def _lead(dataset: str, attack: str, rows: pd.DataFrame, treated: pd.DataFrame) -> str:
    first: Any = rows_of(rows)[0]
    if not is_number(first.chance):  # nobody has to find anything: it is counted
        return f"{capital(named(first.measure, first.size))} on {dataset} ({attack}), in per cent:"
    raw = rows_of(rows[rows.variant == ORIGINAL])
    found = f"of pictures that nobody anonymized, {_found(first)} {rate(raw[0], ' %')}; " if raw else ""
    lead = f"What it buys on {dataset} ({attack}): {found}chance is {share(first.chance)} %."
    learnt = learners(rows)
    if len(learnt) and (learnt.n_seeds == 1).all():
        lead += " Attackers have one seed, whose noise is in no interval."
    if treated.empty:
        return lead
    asked = treated.simultaneous_low.notna()
    together = "; their intervals of 95 % hold all at once" if asked.all() and len(treated) > 1 else ""
    if asked.sum() > 1 and not asked.all():
        those = joined(treated.variant[asked])
        together = f"; intervals of 95 %, which of {those} hold all at once and of the others each by itself"
    return f"{lead} Of each variant by its strongest attacker, who was chosen on other {over(rows)}{together}:"


def _found(row: Any) -> str:
    """Say what is counted of pictures, before the number."""
    if row.measure != LINKABILITY:
        return f"{named(row.measure, row.size)} is"
    return f"the first guess among {'all' if row.size == ALL else row.size} people is right in"


def _does(row: Any) -> str:
    """Say what an attacker does, before the number."""
    if row.measure != LINKABILITY:
        return f"reaches a {named(row.measure, row.size)} of"
    return f"finds the right person among {'all' if row.size == ALL else row.size} in"


FAILED = {NOT_TRIED: "the attack was not seen to work", ONE_FIT: "who is found was not seen"}
"""What is said of an attack without a verdict, by the only reason for that, where it did not fail."""


def _point(row: Any, kept: Any, several: bool) -> str:
    """Say of a variant what it keeps, of which of ``several`` models, and what is still found."""
    start = capital(phrase(row.variant))
    if not is_number(row.chance):
        raw = f", on originals {share(row.raw)} %" if is_number(row.raw) else ""
        return f"{start}: {rate(row, ' %')}{raw}."
    if kept is not None:
        ends = interval_of(kept, "kept")
        inner = f" ({number(ends[0])} to {number(ends[1])} %)" if ends else ""
        start += (
            f" keeps {number(kept.kept)} %{inner} of {titled(kept)}{f' with {kept.model}' if several else ''}"
            f"{elsewhere(kept, row.dataset)}, and"
        )
    else:
        start += ":"
    who = WHO.get(row.knowledge, f"the attack by {row.attacker}")
    beside = f"; on originals {share(row.raw)} %" if is_number(row.raw) else ""
    beside += f"; whoever learnt from originals alone {share(row.naive)} %" if is_number(row.naive) else ""
    if is_number(row.control) and row.control > row.value:  # who does not look at what is hidden is stronger still
        beside += f"; whoever sees only what the method is not asked to change {share(row.control)} %"
    said = f"{number(100 * row.value)} % ({_ends(row)}{beside}; {row.attacker})"
    if row.verdict == NO_VERDICT:
        return f"{start} {FAILED.get(row.why, 'the attack failed')}, so there is no verdict: {row.why} ({said})."
    if not row.verdict:
        return f"{start} too few people were attacked to say what {who} finds ({said})."
    if row.verdict == AT_CHANCE:
        return f"{start} {who} was not seen to do better than chance: {said}."
    return f"{start} {who} still {_does(row)} {said}{f', or more: {row.why}' if row.why else ''}."


def _ends(row: Any) -> str:
    ends = deciding(row)
    return f"{number(100 * ends[0])} to {number(100 * ends[1])}" if ends else "no interval"


def _encoded(rows: pd.DataFrame) -> Iterator[str]:
    """Say what re-encoding alone leaves."""
    for row in rows_of(rows[rows.variant.map(is_identity).astype(bool)]):
        beside = f", on originals {share(row.raw)} %" if is_number(row.raw) else ""
        yield f"Re-encoding alone ({row.variant}): {rate(row, ' %')}{beside}."


SEEN = {"silhouette": "the outline", "surroundings": "what the region leaves of the person, and the scene around"}
"""What controls see."""


def _controls(part: pd.DataFrame) -> Iterator[str]:
    """Say what is found by those who see little: what no method is asked to change or, of each variant, may be."""
    for role, words in (
        (CONTROL, "whoever sees only what the method is not asked to change"),
        (REFERENCE, "whoever sees next to nothing, of which a method may hide some"),
    ):
        rows = part[(part.role == role) & (part.headline == "true")]
        said = []
        for attacker, of in rows.groupby("attacker", sort=False):
            if role == CONTROL:  # the same on all variants, but for who was in the way
                most = max(rows_of(of), key=lambda row: row.value)
                sees = SEEN.get(most.view, most.view)
                said.append(f"{attacker} ({sees}) {'' if of.value.nunique() == 1 else 'at most '}{rate(most, ' %')}")
                continue
            values = joined(f"{rate(row, ' %')} on {row.variant}" for row in rows_of(of))
            said.append(f"{attacker} {values}")
        if said:
            yield f"For comparison, {words}: {'; '.join(said)}."


def _clothes(attack: str, part: pd.DataFrame) -> Iterator[str]:
    """Say that clothes may tell who somebody is, of people who are looked for in other pictures, whatever they wear."""
    ranked = part.measure[part.measure.str.startswith(LINKABILITY)]
    faces = part.variant[~part.variant.map(is_identity).astype(bool)].str.startswith(f"{RegionKind.FACE}-")
    if _knows_people(attack) and faces.any() and len(ranked) and (ranked == LINKABILITY).all():
        yield (
            "Whether people wear the same in both pictures is not told apart here. Where they do, clothes may tell who "
            "they are, however well a face is hidden."
        )


@dataclass(frozen=True)
class Risk:
    """One of the three risks: its name, the question, and which attacks of a study stand for it."""

    name: str
    question: str
    attacks: tuple[str, ...]


def risks(privacy: pd.DataFrame) -> list[Risk]:
    """Return the three risks with the attacks and measures of privacy.csv that are evidence of each."""
    found = []
    for name, question in RISKS.items():
        parts = privacy[privacy.risk == name].groupby("attack", sort=False)
        attacks = tuple(f"{attack} ({_measures(list(dict.fromkeys(part.measure)))})" for attack, part in parts)
        found.append(Risk(name, question, attacks))
    return found


def _measures(names: list[str]) -> str:
    return joined(map(named, names)) if len(names) <= MOST_MEASURES else f"{len(names)} measures"


MOST_MEASURES = 6
"""So many measures of an attack are named."""


def told_to_paste(privacy: pd.DataFrame) -> str:
    """Return the paragraph of the methods on attacks, from privacy.csv."""
    if privacy.empty:
        return ""
    found: dict[bool, list[str]] = {True: [], False: []}
    for dataset, attack, part in attacks_of(privacy):
        first: Any = rows_of(part.sort_values("headline", ascending=False, kind="stable"))[0]
        found[bool((part.knowledge != "").any())].append(f"{attack} on {dataset} ({counted(first)})")
    attackers = privacy[privacy.knowledge != ""].drop_duplicates("attacker")
    learnt, ready = (attackers[(attackers.knowledge == PRETRAINED) == there] for there in (False, True))
    by = []
    if len(learnt):
        who = joined(f"{row.attacker} ({row.knowledge}, sees the {row.view})" for row in rows_of(learnt))
        by.append(f"attackers who had learnt from other people ({_times(int(learnt.n_seeds.max()))} each): {who}")
    if len(ready):
        who = joined(f"{row.attacker} (sees the {row.view})" for row in rows_of(ready))
        by.append(f"recognisers that had learnt elsewhere: {who}")
    said = [f"{joined(found[True])}, by {'; and by '.join(by)}"] if by else []
    if found[False]:
        said.append(f"{joined(found[False])}, for which nothing has to learn")
    return (
        f"Attacks. Of each variant: {'; '.join(said)}. Reported is the strongest attacker of each variant, "
        f"chosen on others than those that are reported, with 95 % intervals over {over(privacy)} and seeds "
        "(Korn and Graubard 1998) that hold for all variants of the primary question at once (max-t). An attack that "
        "does not work on original images, or differs on images that were only encoded again, gives no verdict."
    )


def _times(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"{seeds} seeds"
