"""Has an attack worked? What fails here proves nothing by finding nobody."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from anonbench.records import RegionKind
from anonbench.report.attempts import ATTACKER, AWARE, NAIVE, PRETRAINED, Attempt, Key, Measured
from anonbench.report.study import ORIGINAL, is_identity, parts
from anonbench.statistics.contrasts import LEVEL, Contrast
from anonbench.statistics.rates import ROUNDING

ABOVE, AT_CHANCE, NO_VERDICT = "above chance", "not above chance", "no verdict"
LEAST = 0.1
"""What counts in judging attacks, as a part of what there is to find above chance: an attack must find so much on
original images, and what differs by less is no difference."""

RAW_FAILED = "the attack hardly finds people whom nobody anonymized"
CODEC = "pictures that were only encoded again give it another result than original ones"
NOT_TRIED = "nobody tried the attack on original images"
WORSE = "knowing the method made the attacker worse"
ONE_FIT = "it is of one fit alone of a method that is fitted anew for each seed"

Attempts = Mapping[str, Attempt]
"""Of one variant, by attacker."""


@dataclass(frozen=True)
class Judged:
    """What may be said of a measure on a variant: the ``verdict``, '' for none, and ``why`` the attack is doubted."""

    verdict: str
    why: tuple[str, ...] = ()


def strength_of(attempt: Attempt) -> float:
    """Return an attacker's success where attackers are chosen, which may be below 0, as R2 is; -inf for none."""
    return -math.inf if attempt.strength is None else attempt.strength


def able(attempts: Attempts) -> dict[str, Attempt]:
    """Return the attempts that are neither controls nor references."""
    return {name: one for name, one in attempts.items() if one.role == ATTACKER}


def strongest(attempts: Attempts) -> str | None:
    """Return who finds most of the people on whom attackers are chosen; None for nobody.

    Of several the first who knows the method, or the first: where those people are few, all of them may be found by
    everybody, and whoever has learnt from originals alone is not to stand for the others then.
    """
    found = {
        name: (strength_of(one), one.attacker.get("knowledge", NAIVE) not in (NAIVE, PRETRAINED))
        for name, one in able(attempts).items()
    }
    return max(found, key=lambda name: found[name]) if found else None


def counterpart(attempt: Attempt, raw: Attempts) -> Attempt | None:
    """Return the strongest attack on original images by whoever sees the same of people; None for none."""
    same = {name: one for name, one in raw.items() if one.sees_as(attempt)}
    name = strongest(same) if attempt.role == ATTACKER else next(iter(same), None)
    return same[name] if name is not None else None


def doubts(found: Mapping[str, Attempts], headline: Key) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return, by variant and attacker, why an attack may not have worked, by the measure that it is judged by.

    - `CODEC`: who is about the same kind of region finds people in pictures that were only encoded again more or less
      often than in original ones, so that the attack is one on the codec. Frames that were encoded again speak for
      variants of frames, where there are any, and only for them.
    - `WORSE`: of the attackers that see the same, the strongest that knows the method finds fewer people than the
      strongest that does not, so that it has not learnt what there was to learn.

    Differences count where their interval excludes zero, all of a kind together (Bonferroni), and they are `LEAST` of
    what was found above chance.
    """
    frames = any(is_identity(variant) and _of_frames(variant) for variant in found)
    odd = _mistaken(found, headline)
    pairs = {variant: list(_pairs(attempts)) for variant, attempts in found.items() if variant != ORIGINAL}
    count = sum(map(len, pairs.values()))
    result = {}
    for variant, attempts in found.items():
        worse = []
        for aware, naive in pairs.get(variant, ()):
            one, other = aware.measures.get(headline), naive.measures.get(headline)
            if one and other and aware.sample == naive.sample and _differs(one, other, count, both=False):
                worse = [WORSE]
        encoded = frames and _of_frames(variant)
        result[variant] = {
            name: (*([CODEC] if variant != ORIGINAL and (encoded, one.about) in odd else []), *worse)
            for name, one in attempts.items()
        }
    return result


def _of_frames(variant: str) -> bool:
    return parts(variant)[0] == RegionKind.FRAME


def _mistaken(found: Mapping[str, Attempts], headline: Key) -> set[tuple[bool, str]]:
    """Return which attackers take encoded pictures for others: whether of frames, and what they are about."""
    raw = found.get(ORIGINAL, {})
    pairs: dict[tuple[bool, str], list[tuple[Measured, Measured]]] = {}
    for variant, attempts in found.items():
        for name, one in able(attempts).items() if is_identity(variant) else ():
            bare = raw.get(name)
            encoded, original = one.measures.get(headline), bare.measures.get(headline) if bare else None
            if bare and encoded and original and one.sample == bare.sample:
                pairs.setdefault((_of_frames(variant), one.about), []).append((encoded, original))
    return {key for key, of in pairs.items() if any(_differs(*pair, len(of), both=True) for pair in of)}


def _pairs(attempts: Attempts) -> list[tuple[Attempt, Attempt]]:
    """Return the strongest aware attacker and the strongest naive one of those that see the same."""
    found = []
    known = [one for one in able(attempts).values() if one.attacker]
    for sight in dict.fromkeys((one.region, str(one.attacker.get("view"))) for one in known):
        of = {
            knowledge: [
                one
                for one in known
                if (one.region, str(one.attacker.get("view")), one.attacker.get("knowledge")) == (*sight, knowledge)
            ]
            for knowledge in (AWARE, NAIVE)
        }
        if all(of.values()):
            best = {name: max(these, key=strength_of) for name, these in of.items()}
            found.append((best[AWARE], best[NAIVE]))
    return found


def _differs(one: Measured, other: Measured, among: int, both: bool) -> bool:
    """Tell whether a measure is below another (or, with ``both``, differs) by more than noise, and by `LEAST`."""
    contrast: Contrast | None = one.less(other)
    if contrast is None:
        return False
    low, high = contrast.interval(1 - (1 - LEVEL) / max(among, 1))
    enough = LEAST * max((other.value - (other.chance or 0.0)), 0.0)
    return (high < 0 and one.value < other.value - enough) or (both and low > 0 and one.value > other.value + enough)


def judged(
    measured: Measured, ends: tuple[float, float] | None, raw: Measured | None, why: tuple[str, ...], headline: bool
) -> Judged:
    """Return what may be said of a measure, whose interval's ``ends`` are, beside ``raw``, the same on original images.

    Whoever is found is found: doubts of an attack that was too weak leave `ABOVE` as it is. What fails on original
    images (at chance or, of the ``headline``, below `LEAST` of what there is above it) says nothing of a variant, nor
    does one fit say that others hide people.
    """
    if measured.chance is None or ends is None:
        return Judged("")
    tried = NOT_TRIED if raw is None else RAW_FAILED if _fails(raw, headline) else ""
    doubtful = (*((tried,) if tried else ()), *why)
    if CODEC in doubtful:
        return Judged(NO_VERDICT, doubtful)
    if ends[0] > measured.chance + ROUNDING:
        return Judged(ABOVE, tuple(why for why in doubtful if why not in (NOT_TRIED, ONE_FIT)))
    return Judged(NO_VERDICT, doubtful) if doubtful else Judged(AT_CHANCE)


def _fails(raw: Measured, headline: bool) -> bool:
    chance, ends = raw.chance or 0.0, raw.interval()
    if ends is None or ends[0] <= chance + ROUNDING:
        return True
    return headline and raw.value - chance < LEAST * (1 - chance)
