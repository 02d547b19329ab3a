"""How well attackers guess what is true of people: by attribute, over all of them, and colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anonbench.attack.answers import mean_over
from anonbench.attack.contract import Answers, Choose, Measure, Statistic, Traits, drawn_together
from anonbench.attack.metrics import TEST, VALIDATION
from anonbench.attack.subjects import Subjects
from anonbench.errors import AnonbenchError, nearest
from anonbench.seeding import generator
from anonbench.statistics.rates import share_of
from anonbench.statistics.resampling import FEWEST

CMAP, MACRO_F1 = "cmap", "macro_f1"
BALANCED, PRECISION, R2 = "balanced_accuracy", "average_precision", "r2"
"""Names of measures; those of an attribute or a colour have its name after a slash."""
DEALT = 200
"""How often attributes are dealt anew for what chance gets."""


@dataclass(frozen=True)
class Guessed:
    """What an attacker guesses of N people.

    ``values``: by attribute, the values that it knows (C); ``chances``: by attribute, float64 (N, C), the probability
    of each; ``priors``: by attribute, float64 (C), the shares of its own people; ``numbers``: by name, float64 (N, K).
    ``notes``: by attribute, why it guesses nothing of it.
    """

    values: Mapping[str, list[str]]
    chances: Mapping[str, np.ndarray]
    priors: Mapping[str, np.ndarray]
    numbers: Mapping[str, np.ndarray]
    notes: Mapping[str, str]


@dataclass(frozen=True)
class _Class:
    """One value of an attribute: the attacker's probabilities and who has it, float64 and bool (N,), of known (N,)."""

    chances: np.ndarray
    true: np.ndarray
    known: np.ndarray

    def precision(self, rows: np.ndarray) -> Statistic:
        """Return the average precision on some of the people, ``rows`` bool (N,)."""
        known = self.known[rows]
        inner = average_precision(self.chances[rows][known], self.true[rows][known])
        return lambda weights: inner(weights[:, known])

    def blind(self, rows: np.ndarray, groups: np.ndarray) -> float:
        """Return the mean average precision on ``rows`` where who has the value is `dealt` anew; NaN for nobody."""
        there = rows & self.known
        if not self.true[there].any():
            return float("nan")
        again = self.true[there][dealt(groups[there])]
        return float(np.nanmean(average_precision(self.chances[there], again)(np.ones((1, int(there.sum()))))))


def judge(
    truth: Traits, guessed: Guessed, seen: Subjects, choose: Choose, scenes: Mapping[int, int] | None = None,
    together: Mapping[str, Sequence[str]] | None = None,
) -> Answers:  # fmt: skip
    """Return how good guesses are, on the people on whom attackers are chosen and on the others.

    ``truth`` is that of the N people ``seen``, in their order; ``scenes`` are `Site.scenes`, without clips not needed.
    Of an attribute those values count that the attacker has met and that `FEWEST` of the reported people (or images)
    have. ``together``: by name, attributes that are judged as a group, too, by the same threshold. Raises
    AnonbenchError where nothing can be judged, for an attribute of a group of which nothing is said, and where nothing
    of a group can be judged.
    """
    images = seen.images.tolist()
    groups, drawn = drawn_together(seen.identities, np.array([(scenes or {}).get(image, image) for image in images]))
    chosen = choose(groups)
    parts = {VALIDATION: chosen, TEST: ~chosen}
    kept, skipped = _countable(truth, guessed, groups, ~chosen)
    numbers = {name: of for name, of in truth.numbers.items() if name in guessed.numbers}
    for name in list(numbers):
        if len(np.unique(groups[~chosen & _known(numbers[name])])) < FEWEST:
            skipped[name] = f"is known of fewer than {FEWEST} of the reported people or images"
            del numbers[name]
    if not kept and not numbers:
        raise AnonbenchError(
            "nothing can be inferred of these people: " + "; ".join(f"{name} {why}" for name, why in skipped.items())
            if skipped else "nothing is said of these people that an attacker could infer",
            entry="attack.attacks",
            remedy="leave out the attack, or give people attributes",
        )  # fmt: skip
    within = {name: _group(name, of, kept, truth, skipped) for name, of in (together or {}).items()}
    threshold = _threshold(truth, guessed, kept, chosen)
    measures: dict[str, dict[str, Measure]] = {}
    for part, rows in parts.items():
        found = _of_attributes(truth, guessed, kept, rows, groups, seen.covered, threshold)
        for name, few in within.items():
            some = _of_attributes(truth, guessed, few, rows, groups, seen.covered, threshold)
            found |= {f"{measure}/{name}": some[measure] for measure in (CMAP, MACRO_F1)}
        for name, of in numbers.items():
            there = rows & _known(of)
            statistic = r_squared(of[there], guessed.numbers[name][there])
            found[f"{R2}/{name}"] = Measure(statistic, groups[there], 0.0, seen.covered[there])
        measures[part] = found
    facts: dict[str, Any] = {"skipped": {**guessed.notes, **skipped}, "values": kept}
    if kept:
        facts["threshold"] = threshold
    arrays = {"probe": groups, "images": seen.images, "covered": seen.covered, "validation": chosen}
    arrays |= {f"chances/{name}": guessed.chances[name] for name in kept}
    arrays |= {f"numbers/{name}": guessed.numbers[name] for name in numbers}
    return Answers(measures, CMAP if kept else f"{R2}/{next(iter(numbers))}", drawn, facts, arrays)


def _countable(
    truth: Traits, guessed: Guessed, groups: np.ndarray, reported: np.ndarray
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return, by attribute, the values that count, and of the others a reason why none do."""
    kept: dict[str, list[str]] = {}
    skipped: dict[str, str] = {}
    for name, labels in truth.labels.items():
        if name in guessed.notes:
            continue
        if name not in guessed.values:
            skipped[name] = "is said of nobody whom the attacker has learnt from"
            continue
        often = [v for v in guessed.values[name] if len(np.unique(groups[reported & (labels == v)])) >= FEWEST]
        if len(often) < 2:
            skipped[name] = f"has fewer than two values that {FEWEST} or more of the reported people or images have"
        else:
            kept[name] = often
    return kept, skipped


def _group(
    name: str, attributes: Sequence[str], kept: Mapping[str, list[str]], truth: Traits, skipped: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return what counts of a group of attributes."""
    where = f"attack.attributes.{name}"
    for one in attributes:
        if one not in truth.labels:
            raise AnonbenchError(f"nothing is said of '{one}'{nearest(one, truth.labels)}", entry=where)
    found = {one: kept[one] for one in attributes if one in kept}
    if not found:
        why = "; ".join(f"{one} {skipped.get(one, 'has one value alone')}" for one in attributes)
        raise AnonbenchError(f"nothing of it can be judged: {why}", entry=where, remedy="name other attributes")
    return found


def _of_attributes(
    truth: Traits, guessed: Guessed, kept: Mapping[str, list[str]], rows: np.ndarray, groups: np.ndarray,
    covered: np.ndarray, threshold: float,
) -> dict[str, Measure]:  # fmt: skip
    """Return the measures of attributes on some of the people, ``rows`` bool (N,)."""
    classes = _classes(truth, guessed, kept)
    blind = np.array([one.blind(rows, groups) for one, _ in classes])
    found = _of_all([one for one, _ in classes], blind, rows, groups, covered, threshold) if classes else {}
    for name, values in kept.items():
        there = rows & np.logical_or.reduce([truth.labels[name] == value for value in values])
        if not there.any():
            continue
        places = [guessed.values[name].index(value) for value in values]
        # who knows how common values are, and is judged on each alike, takes the one whose chance has grown most; among
        # those that count, or somebody who knows nothing would be right less often than one in so many times
        choice = (guessed.chances[name] / guessed.priors[name])[:, places].argmax(axis=1)
        hits = (np.array(values, dtype=object)[choice] == truth.labels[name])[there]
        has = np.stack([truth.labels[name][there] == value for value in values], axis=1)
        found[f"{BALANCED}/{name}"] = Measure(
            balanced(hits, has), groups[there], 1 / int(has.any(axis=0).sum()), covered[there], kinds=has
        )
        own = [k for k, (_, of) in enumerate(classes) if of == name]
        some = [classes[k][0] for k in own]
        found[f"{PRECISION}/{name}"] = _precision(some, blind[own], rows & some[0].known, groups, covered)
    return found


def _of_all(
    classes: list[_Class], blind: np.ndarray, rows: np.ndarray, groups: np.ndarray, covered: np.ndarray,
    threshold: float,
) -> dict[str, Measure]:  # fmt: skip
    """Return the measures over all values of all attributes; ``blind`` (C) are their average precisions by chance.

    The chance of macro F1 is what saying everything of everybody gets, the best that can be had without looking.
    """
    shares = _shares(classes, rows)
    everybody = float(np.mean([2 * share / (1 + share) for share in shares])) if shares else None
    each = mean_over([_f1(one, rows, threshold) for one in classes])
    return {
        CMAP: _precision(classes, blind, rows, groups, covered),
        MACRO_F1: Measure(each, groups[rows], everybody, covered[rows]),
    }


def _shares(classes: list[_Class], rows: np.ndarray) -> list[float]:
    """Return which share of those of whom it is known has each value, of the values that anybody has."""
    return [float(one.true[rows & one.known].mean()) for one in classes if one.true[rows].any()]


def _classes(truth: Traits, guessed: Guessed, kept: Mapping[str, list[str]]) -> list[tuple[_Class, str]]:
    """Return every value that counts, with its attribute."""
    return [
        (
            _Class(
                guessed.chances[name][:, guessed.values[name].index(value)],
                truth.labels[name] == value,
                np.array([label is not None for label in truth.labels[name]]),
            ),
            name,
        )
        for name, values in kept.items()
        for value in values
    ]


def _precision(
    classes: list[_Class], blind: np.ndarray, rows: np.ndarray, groups: np.ndarray, covered: np.ndarray
) -> Measure:
    """Return mean average precision over classes, whose average precisions by chance are ``blind`` (C)."""
    shares, known = _shares(classes, rows), blind[~np.isnan(blind)]
    return Measure(
        mean_over([one.precision(rows) for one in classes]), groups[rows],
        float(known.mean()) if len(known) else None, covered[rows],
        more={"prevalence": float(np.mean(shares)), "classes": len(shares)} if shares else {},
    )  # fmt: skip


def dealt(groups: np.ndarray, times: int = DEALT) -> np.ndarray:
    """Return int64 (times, U): of which unit each gets what is true, where people are dealt each other's.

    Units of one group, int64 (U,), are those of a person: all get what another person's have, in order, from the start
    again where there are more. An attacker who knows nothing but finds a person alike in all pictures ranks people, not
    pictures, at random, and random orders of few have a higher average precision: what is dealt is as alike within
    people as the true. It is the same whatever the attacker.
    """
    order = np.argsort(groups, kind="stable")
    _, starts, of, sizes = np.unique(groups[order], return_index=True, return_inverse=True, return_counts=True)
    place = np.arange(len(groups)) - starts[of]
    random = generator("dealt", len(starts))
    found = np.empty((times, len(groups)), dtype=np.int64)
    for row in found:
        from_whom = random.permutation(len(starts))[of]
        row[order] = order[starts[from_whom] + place % sizes[from_whom]]
    return found


def average_precision(scores: np.ndarray, true: np.ndarray) -> Statistic:
    """Return the average precision of scores (U,) for who is ``true`` bool (U,), the mean over all orders of the tied.

    With ``true`` (R, U) and a single row of weights, that of each of its rows.
    McSherry and Najork (2008), in closed form: of a tie of t units, r of them true, after n others, of which R were
    true, the mean precision at its true units is that of a random order. Where all scores tie, it is what a random
    order gets, which is above the prevalence where few are true (Bestgen 2015). Units that are counted twice tie.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(ordered) else np.zeros(0, np.int64)
    hit = true[..., order].astype(np.float64)

    def statistic(weights: np.ndarray) -> np.ndarray:
        if not len(starts):
            return np.full(len(weights), np.nan)
        drawn = weights[:, order]
        tied = np.add.reduceat(drawn, starts, axis=1)
        right = np.add.reduceat(drawn * hit, starts, axis=1)
        upto = np.cumsum(tied, axis=1)
        before, found = upto - tied, np.cumsum(right, axis=1) - right
        harmonic = np.append(0.0, np.cumsum(1 / np.arange(1, int(upto[:, -1].max()) + 1)))
        spread = harmonic[upto.astype(np.int64)] - harmonic[before.astype(np.int64)]
        slope = np.divide(right - 1, tied - 1, out=np.zeros_like(right), where=tied > 1)
        each = (found + 1) * spread + slope * (tied - (before + 1) * spread)
        share = np.divide(right, tied, out=np.zeros_like(right), where=tied > 0)
        return share_of((share * each).sum(axis=1), right.sum(axis=1))

    return statistic


def balanced(hits: np.ndarray, has: np.ndarray) -> Statistic:
    """Return the balanced accuracy: of each value the share of those who have it whose guess is right, and the mean.

    ``hits`` bool (U,): whose guess is right; ``has`` bool (U, C): who has which value.
    """
    right = (has & hits[:, None]).astype(np.float64)
    one = has.astype(np.float64)
    return mean_over([lambda w, c=c: share_of(w @ right[:, c], w @ one[:, c]) for c in range(has.shape[1])])  # type: ignore[misc]


def _f1(one: _Class, rows: np.ndarray, threshold: float) -> Statistic:
    """Return F1 of a value, said of everybody whose chance reaches a threshold; NaN where nobody has it."""
    counted = one.known[rows]
    said = ((one.chances[rows] >= threshold) & counted).astype(np.float64)
    true = (one.true[rows] & counted).astype(np.float64)

    def statistic(weights: np.ndarray) -> np.ndarray:
        has = weights @ true
        return np.where(has > 0, share_of(2 * (weights @ (said * true)), weights @ said + has), np.nan)

    return statistic


def _threshold(truth: Traits, guessed: Guessed, kept: Mapping[str, list[str]], rows: np.ndarray) -> float:
    """Return the probability, one for all classes, from which on macro F1 on some people is highest."""
    classes = [one for one, _ in _classes(truth, guessed, kept)]
    every = np.ones((1, int(rows.sum())))
    tried = np.linspace(0.0, 1.0, 101)[:-1]
    found = [mean_over([_f1(one, rows, t) for one in classes])(every)[0] for t in tried] if classes else [np.nan]
    return float(tried[np.nanargmax(found)]) if np.isfinite(found).any() else 0.5


def r_squared(true: np.ndarray, guess: np.ndarray) -> Statistic:
    """Return R2 of guesses of numbers, both float64 (U, K): 1 - sum of squared errors / sum of squares about the mean.

    Errors are summed over the K numbers; of Lab, they are squared differences of colour (CIE 1976). 0 is what the mean
    of all gets, 1 a sure attack; it may be negative. NaN where all are the same.
    """
    centred = true - true.mean(axis=0) if len(true) else true
    wrong = ((true - guess) ** 2).sum(axis=1)
    squares = (centred**2).sum(axis=1)

    def statistic(weights: np.ndarray) -> np.ndarray:
        count = weights.sum(axis=1)
        about = ((weights @ centred) ** 2).sum(axis=1) / np.maximum(count, 1)
        return 1 - share_of(weights @ wrong, weights @ squares - about)

    return statistic


def _known(numbers: np.ndarray) -> np.ndarray:
    return np.asarray(np.isfinite(numbers).all(axis=1))
