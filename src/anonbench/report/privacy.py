"""What anonymization buys: every variant's attacks as a table, with what attackers could have done without it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anonbench.report import judging
from anonbench.report.attempts import (
    ALL,
    ATTACKER,
    CONTROL,
    LINKABILITY,
    NAIVE,
    PRETRAINED,
    SINGLING_OUT,
    Attempt,
    Key,
    Measured,
    read_attempt,
)
from anonbench.report.gates import ONE_FIT, Attempts, able, counterpart, doubts, judged, strength_of, strongest
from anonbench.report.study import ORIGINAL, Attacks, ReportStudy, parts
from anonbench.report.tables import INTEGERS, TEXTS
from anonbench.statistics.contrasts import Contrast
from anonbench.statistics.family import Member, simultaneous_factor
from anonbench.statistics.rates import gain, residual

PRIVACY_COLUMNS = (
    "dataset", "variant", "region", "method", "level", "attack", "risk", "attacker", "knowledge", "sees", "view",
    "role", "strength", "chosen", "measure", "size", "headline", "value", "value_low", "value_high", "simultaneous_low",
    "simultaneous_high", "chance", "prevalence", "verdict", "why", "naive", "gap", "gap_low", "gap_high", "raw",
    "control", "residual", "gain", "gain_low", "gain_high", "error_seeds", "error_people", "freedom", "covered",
    "value_covered", "value_missed", "share_missed", "crowd_median", "crowd_fifth", "crowd_below_10",
    "mean_average_precision", "rank_1", "n_seeds", "units", "people", "drawn",
)  # fmt: skip
"""Columns of privacy.csv: a row per variant, attack, attacker, measure and, of linkability, size of the gallery.

``risk``: which of WP29's three the measure is about; ``sees``: the kind of region that an attacker is about, ``view``
what it sees of it; ``strength``: success on people who are not among those that are
told of; ``chosen``: the strongest attacker there; ``headline``: the measure that an attack is judged by. ``value``,
0..1 but for R2, with its 95 % interval over people and attackers' seeds; ``simultaneous``: of the chosen attackers of
all variants together; ``chance``: what knowing nothing gives; ``prevalence``: of average precisions the mean share of
those who have a value; ``verdict`` and ``why`` it is doubtful: `gates`. ``naive``: the same by the strongest of those
who see the same and learnt from originals alone, ``gap``: what this attacker finds beyond that, with its 95 % interval;
``raw``: the same on original images, by whoever sees the same and learnt from originals; ``control``: the best control
of the same region, chosen as attackers are; ``residual`` and ``gain``: `statistics.rates`, the latter with its 95 %
interval. ``error_seeds`` and ``error_people``: standard errors of the value, ``freedom``: their degrees of freedom.
``covered``: share of the units (probes) that the variant changed; ``value_covered`` and ``value_missed`` are theirs and
the others', ``share_missed`` the part of the risk that comes from the latter. ``crowd``: in people, its median and 5th
percentile, and the share of pictures that hide in one of fewer than ten; ``mean_average_precision`` and ``rank_1``:
over pictures, as Market-1501's are; all of these among everybody, whatever the size. ``people``: whom ``units`` show,
or, where ``drawn`` says images, in how many images they are; intervals are over these."""

SINGLED = "singling out"


def privacy(study: ReportStudy, attacks: Path) -> pd.DataFrame:
    """Return the privacy table (see `PRIVACY_COLUMNS`); without attacks it has no rows.

    Raises AnonbenchError when an attack is missing or damaged.
    """
    rows: list[dict[str, Any]] = []
    for dataset, attack, found in attempts_of(study, attacks):
        rows += [{"dataset": dataset, "attack": attack, **row} for row in _Attack(study, dataset, found).rows()]
    table = pd.DataFrame(rows, columns=list(PRIVACY_COLUMNS))
    numbers = [name for name in table.columns if name not in TEXTS and name not in INTEGERS]
    # rounded as in the file, so that nobody who rounds it once more finds another number than the other tables have
    return table.astype(dict.fromkeys(numbers, float)).round(4).astype({"people": int})


def attempts_of(study: ReportStudy, attacks: Path) -> Iterator[tuple[str, str, dict[str, Attempts]]]:
    """Yield data set, attack and the attempts by variant; raise AnonbenchError where one is missing or damaged."""
    asked = study.attacks or Attacks((), (), {}, [], [])
    for dataset in asked.datasets:
        for attack in asked.attacks:

            def read(variant: str, name: str, dataset: str = dataset, attack: str = attack) -> Attempt:
                places = {
                    seed: study.made_with(variant, seed)
                    for seed in asked.seeds_of(attack, name, variant in study.refitted)
                }
                folders = {seed: attacks / dataset / made / attack / name for seed, made in places.items()}
                return read_attempt(folders, attack, variant)

            variants = study.variants_of(dataset)
            yield dataset, attack, {v: {name: read(v, name) for name in asked.whom(attack, v)} for v in variants}


class _Attack:
    """One attack on a data set: who tried it on which variant."""

    def __init__(self, study: ReportStudy, dataset: str, found: Mapping[str, Attempts]) -> None:
        self.found = {variant: attempts for variant, attempts in found.items() if attempts}
        self.raw = self.found.get(ORIGINAL, {})
        self.chosen = {variant: strongest(attempts) for variant, attempts in self.found.items()}
        self.asked = study.primary.variants_of(list(self.found))
        self.seed = (study.seed, dataset)
        self.refitted = study.refitted
        self.headline = headline_of(self.found)
        self.doubts = doubts(self.found, self.headline) if self.headline else {}

    @functools.cache  # noqa: B019 (lives as long as a table is made)
    def factor(self, key: Key) -> float:
        """Return the factor that widens the intervals of a measure, by the chosen attackers, until all hold at once."""
        members = []
        for variant, name in self.chosen.items():
            one = self.found[variant][name] if name is not None and variant in self.asked else None
            contrast = one.measures[key].contrast if one is not None and key in one.measures else None
            if one is not None and contrast is not None:
                members.append(Member(variant, repr(one.sample), contrast))
        return simultaneous_factor(members, "attacks", *key, *self.seed)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows without data set and attack."""
        for variant, attempts in self.found.items():
            region, method, strength = parts(variant)
            for name, attempt in attempts.items():
                of = attempt.attacker
                bare = counterpart(attempt, self.raw)
                controls = [
                    one for one in attempts.values() if one.role == CONTROL and one.region == attempt.region != ""
                ]
                for key, measured in attempt.measures.items():
                    yield {
                        "variant": variant, "region": region, "method": method, "level": strength, "attacker": name,
                        "knowledge": of.get("knowledge") or "", "sees": attempt.region, "view": of.get("view") or "",
                        "role": attempt.role,
                        "risk": SINGLED if key[0] == SINGLING_OUT else attempt.risk, "measure": key[0], "size": key[1],
                        "strength": attempt.strength,
                        "chosen": _told(name == self.chosen[variant]), "headline": _told(key == self.headline),
                        **self._numbers(variant, name, key), **_beside(attempt, key, bare, controls),
                        **_beyond(attempt, key, attempts),
                        **measured.parted,
                        "n_seeds": len(measured.values), "units": measured.units, "people": measured.people,
                        "drawn": attempt.drawn,
                    }  # fmt: skip

    def _numbers(self, variant: str, name: str, key: Key) -> dict[str, Any]:
        """Return a measure's value, intervals and verdict."""
        attempt = self.found[variant][name]
        measured = attempt.measures[key]
        ends = measured.interval()
        found: dict[str, Any] = {"value": measured.value, "chance": measured.chance, "verdict": "", "why": ""}
        if ends is None or measured.contrast is None:
            return found
        contrast, family = measured.contrast, name == self.chosen[variant] and variant in self.asked
        found["value_low"], found["value_high"] = ends
        if family:
            ends = measured.interval(self.factor(key))
            assert ends is not None
            found["simultaneous_low"], found["simultaneous_high"] = ends
        if attempt.role == ATTACKER:
            raw = counterpart(attempt, self.raw)
            bare = None if raw is None else raw.measures.get(key)
            why = self.doubts.get(variant, {}).get(name, ())
            if variant in self.refitted and len(measured.values) < 2:
                why = (*why, ONE_FIT)
            said = judged(measured, ends, bare, why, key == self.headline)
            found |= {"verdict": said.verdict, "why": "; ".join(said.why)}
        return found | {
            "error_seeds": contrast.part(images=False) ** 0.5 if len(measured.values) > 1 else None,
            "error_people": contrast.part(images=True) ** 0.5,
            "freedom": contrast.freedom if np.isfinite(contrast.freedom) else None,
        }


def headline_of(found: Mapping[str, Attempts]) -> Key | None:
    """Return the measure that an attack is judged by: linkability in the largest stated gallery that all have, or among
    all, or, where nothing is linked, the first; None for no attempt. ``found``: the attempts by variant."""
    attempts = [one for of in found.values() for one in able(of).values()]
    if not attempts:
        return None
    sizes = [size for name, size in attempts[0].measures if name == LINKABILITY]
    if not sizes:
        return next(iter(attempts[0].measures), None)
    stated = [s for s in sizes if s != ALL and all((LINKABILITY, s) in one.measures for one in attempts)]
    return LINKABILITY, max(stated, key=int) if stated else ALL


def _told(yes: bool) -> str:
    return str(yes).lower()


def _beside(attempt: Attempt, key: Key, bare: Attempt | None, controls: list[Attempt]) -> dict[str, Any]:
    """Return what a measure is on original images and to the best control, and what is left of it beside these."""
    measured = attempt.measures[key]
    raw = bare.measures.get(key) if bare is not None else None
    found: dict[str, Any] = {"raw": None if raw is None else raw.value}
    there = [one for one in controls if key in one.measures] if attempt.role == ATTACKER else []
    if not there:
        return found
    best = max(there, key=strength_of)
    control = best.measures[key]
    found |= {"control": control.value, "residual": float(residual(measured.value, control.value))}
    if raw is None or bare is None:
        return found
    if len({one.sample for one in (attempt, bare, best)}) == 1 and raw.value > control.value:
        ends = _gain_interval(measured, control, raw)
        if ends is not None:  # else it is a ratio of noise
            found["gain"] = float(gain(measured.value, control.value, raw.value))
            found["gain_low"], found["gain_high"] = ends
    return found


def _beyond(attempt: Attempt, key: Key, others: Attempts) -> dict[str, Any]:
    """Return what an attacker finds beyond the strongest naive one that sees the same; {} for who knows no method."""
    if attempt.attacker.get("knowledge") in (None, NAIVE, PRETRAINED):
        return {}
    same = {
        name: one
        for name, one in others.items()
        if one.attacker.get("knowledge") == NAIVE and one.role == attempt.role and one.sees_as(attempt)
    }
    best = max(same.values(), key=strength_of) if same else None
    naive = None if best is None else best.measures.get(key)
    if best is None or naive is None:
        return {}
    measured = attempt.measures[key]
    found = {"naive": naive.value, "gap": measured.value - naive.value}
    contrast = measured.less(naive) if attempt.sample == best.sample else None
    ends = None if contrast is None else contrast.interval()
    return found | ({} if ends is None else {"gap_low": ends[0], "gap_high": ends[1]})


def _gain_interval(measured: Measured, control: Measured, raw: Measured) -> tuple[float, float] | None:
    """Return the 95 % interval of the privacy gain, 1 less the share of ``raw`` over ``control`` that is left.

    It is that of value minus share times raw over what raw has above its control (the delta method); None where too
    little tells of one, or ``raw`` is not clearly above the control, so that it would be a ratio of noise.
    """
    there = raw.less(control)
    if there is None or there.interval()[0] <= 0 or measured.replicates is None:
        return None
    own, bare = _over(measured, control), _over(raw, control)

    def left(share: float) -> Contrast:
        found = own.less(bare, share)
        assert found is not None
        return found

    if own.less(bare) is None:
        return None
    kept = judging.kept(own.value - bare.value, bare.value, left)
    return 1 - kept["kept_high"] / 100, 1 - kept["kept_low"] / 100


def _over(one: Measured, control: Measured) -> Measured:
    """Return a measure less that of its control, seed by seed and draw by draw."""
    assert one.replicates is not None
    assert control.replicates is not None
    return Measured(
        one.values - control.values, 0.0, one.units, one.people, min(one.telling, control.telling),
        one.replicates - control.replicates, rate=False, fixed=one.fixed and control.fixed,
    )  # fmt: skip
