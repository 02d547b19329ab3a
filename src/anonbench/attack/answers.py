"""Attacks that rank nobody: measures by name, each with what the report needs to put an interval on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anonbench import registry
from anonbench.attack import metrics
from anonbench.attack.contract import (
    Answers,
    Attack,
    Choose,
    Guessing,
    Looking,
    Measure,
    Remembering,
    Site,
    Statistic,
)
from anonbench.attack.members import Members, apart_from_members
from anonbench.attack.metrics import TEST, chooser, known
from anonbench.attack.options import NOBODY
from anonbench.attack.record import own_people, read_attacker
from anonbench.attack.risk import mixture
from anonbench.attack.subjects import disjoint, read_pair, read_subjects
from anonbench.detectors.config import DetectorConfig
from anonbench.errors import AnonbenchError
from anonbench.records import RegionKind
from anonbench.statistics.rates import share_of
from anonbench.statistics.resampling import Draw, effective

CHUNK = 100
"""Resamples that are computed together, which bounds the memory."""


def run_answers(
    attack: str, site: Site, out: Path, *, model: Path | None = None, detector: DetectorConfig | None = None,
    members: Members | None = None, own: Path | None = None, own_names: bool = False, validation: float = 0.3,
    resamples: int = 0, device: str = "auto", threads: int = 1,
) -> str:  # fmt: skip
    """Attack a variant; write ``scores.npz`` and, last, ``metrics.json``; return what there is to say in a line.

    ``model`` is the folder of an attacker that has learnt, ``detector`` who looks instead, ``members`` whom the
    variant's method was fitted to, ``own`` the folder of the tables of the attacker's own data. Whether somebody is in
    both is told by identity, but with ``own_names``, as `trials.run_attack` does. Raises AnonbenchError for files that
    are missing or damaged, for people whom the attacker has learnt from, and where there is nobody to attack.
    """
    (out / "metrics.json").unlink(missing_ok=True)
    plugin: Attack = registry.load("attacks", attack)()
    choose = chooser(validation, site.seed)
    who: dict[str, Any] | None = None
    learnt: dict[str, Any] | None = None
    if isinstance(plugin, Guessing | Remembering):
        if model is None:
            raise AnonbenchError(f"{attack} is tried by attackers that learn", entry="--model", remedy="name one")
        record, config = read_attacker(model, attack)
        who, learnt = config.model_dump(mode="json"), record["own"]
        if isinstance(plugin, Guessing):
            answers = _guessed(plugin, site, model, choose, own, own_names, device, threads)
        else:
            if members is None:
                raise AnonbenchError(f"{attack} needs to know whom the method was fitted to", entry="--fit")
            answers = _recalled(plugin, site, members, model, choose, own, own_names, device, threads)
    elif isinstance(plugin, Looking):
        if (detector is None) != (plugin.by == NOBODY):
            remedy = "leave it out" if detector else "name one"
            raise AnonbenchError(f"{attack} is tried by {plugin.by}", entry="--detector", remedy=remedy)
        answers = plugin.look(site, choose, detector)
        who = None if detector is None else {"detector": detector.model_dump(mode="json")}
    else:
        raise AnonbenchError(f"{attack} answers with scores of pairs", entry="--attack")
    draw = Draw(resamples, site.seed, f"{answers.drawn} of {site.annotations.name}") if resamples else None
    parts = {part: part_of(of, answers.first) for part, of in answers.parts.items()}
    metrics.write(
        out, attack, plugin, variant=site.variant, who=who, own=learnt, people={"probe": site.split, "gallery": None},
        draw=draw, drawn=answers.drawn, said={"first": answers.first, **answers.facts, **parts},
        arrays={**answers.arrays, **arrays_of(answers.parts[TEST], draw)}, model=model,
    )  # fmt: skip
    return _sentence(plugin, site.variant.name, answers.first, parts[TEST]["measures"][answers.first])


def _guessed(
    plugin: Guessing, site: Site, model: Path, choose: Choose, own: Path | None, own_names: bool, device: str,
    threads: int,
) -> Answers:  # fmt: skip
    from anonbench.attack.fitting import restored_by  # torch takes seconds to import
    from anonbench.attack.guessing import judge
    from anonbench.attack.inference import guess_with

    record, config = read_attacker(model)
    region, size = RegionKind(config.region), config.size
    seen, raw = read_pair(
        site.variant, site.original, site.annotations, site.split, region, config.view, size, site.most, site.seed,
        config.inverts, wholes=True,
    )  # fmt: skip
    if not own_names:
        disjoint(own_people(record, own or site.annotations), (raw, site.table("people")))
    seen = restored_by(model, seen, device, threads)
    guessed = guess_with(model, device, threads)(seen.crops)
    return judge(plugin.truth(site, raw), guessed, seen, choose, site.scenes(), site.attributes)


def _recalled(
    plugin: Remembering, site: Site, fitted: Members, model: Path, choose: Choose, own: Path | None, own_names: bool,
    device: str, threads: int,
) -> Answers:  # fmt: skip
    from anonbench.attack.attackers import describe_with  # torch takes seconds to import

    record, config = read_attacker(model)
    region, asked = RegionKind(config.region), (config.view, config.size, site.most, site.seed)
    there = fitted.site(site, region)
    seen, raw = read_pair(site.variant, site.original, site.annotations, site.split, region, *asked)
    members = read_subjects(there.original, there.annotations, there.split, region, *asked)
    raw, members = (
        replace(people, images=np.array([scenes[image] for image in people.images.tolist()], dtype=np.int64))
        for people, scenes in ((raw, site.scenes()), (members, there.scenes()))
    )
    if there.annotations == site.annotations:
        apart_from_members(raw, members, site.table("people"))
    if not own_names:
        attacked = [(raw, site.table("people"))]
        attacked += [(members, there.table("people"))] if there.annotations == site.annotations else []
        disjoint(own_people(record, own or site.annotations), *attacked)
    answers = plugin.recall(seen, raw, members, describe_with(model, device, threads), choose, site.seed)
    return replace(answers, facts={**answers.facts, "fitted_on": fitted.told})


def mean_of(values: np.ndarray, groups: np.ndarray, **more: Any) -> Measure:
    """Return the measure that is the mean of values float64 (U,); ``more`` are fields of `Measure`."""
    return Measure(lambda weights: share_of(weights @ values, weights.sum(axis=1)), groups, values=values, **more)


def part_of(measures: Mapping[str, Measure], first: str) -> dict[str, Any]:
    """Return what ``metrics.json`` says of a part of the people: all measures, the ``first`` of them first.

    ``probes``, ``people`` and the share of them that the variant has ``covered`` are those of the first.
    """
    every = {name: told(measures[name]) for name in dict.fromkeys((first, *measures))}
    size = {"probes": every[first]["units"], "people": every[first]["people"], "covered": every[first].get("covered")}
    return {**size, "measures": every}


def told(measure: Measure) -> dict[str, Any]:
    """Return what ``metrics.json`` says of a measure; None for a number that there is not.

    ``of_covered`` and ``of_missed`` are the measure on people whom the variant has changed, and on the others;
    ``share_of_missed``, where it is a mean, the part of it that is due to the latter.
    """
    found: dict[str, Any] = {
        "value": _on(measure, np.ones(len(measure.groups), dtype=bool)),
        "chance": measure.chance,
        "units": len(measure.groups),
        "people": len(np.unique(measure.groups)),
        **measure.more,
    }
    if measure.covered is None or not len(measure.covered):
        return found
    found["covered"] = float(measure.covered.mean())
    found["of_covered"], found["of_missed"] = _on(measure, measure.covered), _on(measure, ~measure.covered)
    if measure.values is not None:
        found["share_of_missed"] = known(mixture(measure.values, measure.covered).share_missed)
    return found


def arrays_of(measures: Mapping[str, Measure], draw: Draw | None) -> dict[str, np.ndarray]:
    """Return ``estimate/<name>`` (), ``telling/<name>`` (), ``value/<name>`` (U,) of means, ``replicates/<name>`` (B,).

    Whole groups are drawn; ``telling`` is how many of them tell of the measure (Kish's number), of its rarest kind
    where it has kinds. Without a draw there are no replicates; of a measure that has no value there is nothing.
    """
    found: dict[str, np.ndarray] = {}
    for name, measure in measures.items():
        value = _on(measure, np.ones(len(measure.groups), dtype=bool))
        if value is None:
            continue
        there, of = np.unique(measure.groups, return_inverse=True)
        found[f"estimate/{name}"] = np.asarray(value)
        kinds = [of] if measure.kinds is None else [of[kind] for kind in measure.kinds.T if kind.any()]
        found[f"telling/{name}"] = np.asarray(min(effective(np.bincount(kind)) for kind in kinds))
        if measure.values is not None:
            found[f"value/{name}"] = measure.values
        if draw is not None:
            weights = draw.weights(len(there))
            parts = (weights[k : k + CHUNK][:, of].astype(np.float64) for k in range(0, len(weights), CHUNK))
            found[f"replicates/{name}"] = np.concatenate([measure.statistic(part) for part in parts])
    return found


def mean_over(statistics: list[Statistic]) -> Statistic:
    """Return the mean of statistics of the same units over those that have a number."""

    def statistic(weights: np.ndarray) -> np.ndarray:
        found = np.stack([one(weights) for one in statistics])
        there = ~np.isnan(found)
        return share_of(np.where(there, found, 0.0).sum(axis=0), there.sum(axis=0))

    return statistic


def _on(measure: Measure, rows: np.ndarray) -> float | None:
    """Return a measure on some of its units, bool (U,); None where there is no number."""
    return known(float(measure.statistic(rows.astype(np.float64)[None])[0])) if rows.any() else None


def _sentence(plugin: Attack, variant: str, name: str, found: Mapping[str, Any]) -> str:
    value = "nothing to tell" if found["value"] is None else f"{found['value']:.3f}"
    chance = "" if found["chance"] is None else f" (chance {found['chance']:.3f})"
    return f"{plugin.title}, {variant}: {name} {value}{chance}, of {found['units']} people or images"
