"""Attacks as the stage `attack` left them: what an attacker found on a variant, over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from anonbench.arrays import reading
from anonbench.blocks import explain
from anonbench.errors import AnonbenchError
from anonbench.files import check_sha256, read_json
from anonbench.records import RegionKind
from anonbench.report.attack_record import (
    ALL,
    CrowdSaid,
    FilesSaid,
    HeadSaid,
    PartSaid,
    RankingSaid,
    RecordSaid,
    is_rate,
    within,
)
from anonbench.report.study import parts
from anonbench.statistics.contrasts import Contrast, Panel
from anonbench.statistics.rates import ROUNDING, at_least, level, rate_interval
from anonbench.statistics.resampling import FEWEST
from anonbench.variants import refitted

ATTACKER, CONTROL, REFERENCE = "attacker", "control", "reference"
NAIVE, AWARE, REVERSE, PRETRAINED = "naive", "aware", "reverse", "pretrained"
"""What an attacker knows: who has learnt from originals alone, from what the method makes, or to undo it first."""
PERSON, SURROUNDINGS = "person", "surroundings"
CONTROLS = (SURROUNDINGS, "silhouette")
"""Views of what no method of a region is asked to change."""
REFERENCES = ("colour",)
"""Views of next to nothing, which a method may change: no control, since hiding it is no failure of an attack."""
LINKABILITY, SINGLING_OUT = "linkability", "singling_out"
AGAIN = "delete the folder and attack again"

Told = TypeVar("Told", bound=HeadSaid)
Key = tuple[str, str]
"""A measure's name and, of linkability, the size of the gallery, else ''."""


@dataclass(frozen=True)
class Measured:
    """A measure of an attack on test people: ``values`` (n) by seed of the attacker, 0..1 but for R2.

    ``chance``: what knowing nothing gives, None where there is no such thing; ``replicates`` (n, B) on draws of people,
    None without; ``telling``: how many people tell of it, of all ``people`` with their ``units`` (pictures).
    ``parted``: columns of privacy.csv on whom the variant has changed, and the others. ``rate``: whether it cannot
    leave 0..1 (`attack_record.NO_RATES`). ``fixed``: one of a recogniser or detector, of which
    every seed would have the same.
    """

    values: np.ndarray
    chance: float | None
    units: int
    people: int
    telling: float = 0.0
    replicates: np.ndarray | None = None
    parted: Mapping[str, float | None] = field(default_factory=dict)
    rate: bool = True
    fixed: bool = False

    @property
    def value(self) -> float:
        """Return the mean over seeds."""
        return float(self.values.mean())

    @cached_property
    def contrast(self) -> Contrast | None:
        """Return the measure with its uncertainty, None where too little tells of it."""
        if self.replicates is None or self.telling < FEWEST:
            return None
        found = level(self.values, self.replicates, self.telling)
        known = 0 if found.replicates is None else len(found.replicates)
        return found if known >= self.replicates.shape[1] / 2 else None

    def interval(self, factor: float = 1.0) -> tuple[float, float] | None:
        """Return the ends of the 95 % interval, widened by ``factor``; None where too little tells of it."""
        if self.contrast is None:
            return None
        if not self.rate:
            return self.contrast.interval(factor=factor)
        return rate_interval(self.contrast, self.telling, factor=factor)

    def less(self, other: Measured, ratio: float = 1.0) -> Contrast | None:
        """Return this minus ``ratio`` times another, whose seeds and draws of people are the same; None without draws.

        Both must be of one `Attempt.sample`. What is `fixed` stands beside as many seeds as the other has.
        """
        if self.contrast is None or other.contrast is None or seeds_of_both(self, other) is None:
            return None
        assert self.replicates is not None
        assert other.replicates is not None
        values = np.stack(np.broadcast_arrays(other.values, self.values))
        drawn = np.stack(np.broadcast_arrays(other.replicates, self.replicates))
        groups = min(self.telling, other.telling)
        panel = Panel(values, drawn, groups, np.ones(2, dtype=bool), pools=False)
        return at_least(panel.contrast(1, ratio), groups)


def seeds_of_both(one: Measured, other: Measured) -> int | None:
    """Return how many seeds two measures have between them, None where each has others."""
    seeds = {len(of.values) for of in (one, other) if not of.fixed}
    return None if len(seeds) > 1 else max(seeds, default=1)


@dataclass(frozen=True)
class Attempt:
    """The attacks of one attacker on one variant, a seed each.

    ``attacker`` is its configuration, {} where nothing has learnt; ``strength`` its success on the people on whom
    attackers are chosen, None where none are; ``measures`` stand in the order of the file. ``sample`` is equal where
    draws of people are the same ones. ``drawn``: whole ``people`` or ``images``. ``kind`` of region that the variant
    changes, '' for none. ``finds``: what a detector looks for, '' where nobody detects.
    """

    risk: str
    attacker: Mapping[str, Any]
    strength: float | None
    measures: dict[Key, Measured]
    sample: tuple[object, ...]
    drawn: str = "people"
    kind: str = ""
    finds: str = ""

    @property
    def role(self) -> str:
        """Tell an attacker, a control, and a reference: one that sees little, of which a method may change some.

        A method of whole frames changes surroundings, too.
        """
        view = self.attacker.get("view")
        if view in REFERENCES or (view == SURROUNDINGS and self.kind == RegionKind.FRAME):
            return REFERENCE
        return CONTROL if view in CONTROLS else ATTACKER

    @property
    def region(self) -> str:
        """Return the kind of region that it is about, '' where nothing has learnt."""
        return str(self.attacker.get("region") or "")

    @property
    def about(self) -> str:
        """Return the kind of region that it looks at or, of a detector, looks for; '' where nobody looks."""
        return self.region or {"face": RegionKind.FACE.value, "person": RegionKind.BODY.value}.get(self.finds, "")

    def sees_as(self, other: Attempt) -> bool:
        """Tell whether another attacker sees the same of people; a detector, or a recogniser, sees what itself does.

        All of a person is the same whichever region of them an attacker is about.
        """
        if "view" not in self.attacker:
            return self.attacker == other.attacker
        keys = ("view", "recogniser") if self.attacker["view"] == PERSON else ("region", "view", "recogniser")
        return all(self.attacker.get(key) == other.attacker.get(key) for key in keys)


def read_attempt(folders: Mapping[int, Path], attack: str, variant: str) -> Attempt:
    """Read the attacks of an attacker's seeds; ``folders`` are those that hold each seed's.

    Raises AnonbenchError for one that is missing or damaged, of another variant or attack, where two seeds have
    attacked other people or have drawn them otherwise, and where they are one training.
    """
    read = [_read(folder / f"seed{seed}", attack, variant, seed) for seed, folder in folders.items()]
    first = read[0]
    for (seed, folder), one in zip(folders.items(), read, strict=True):
        if one.sample != first.sample:
            raise AnonbenchError(
                f"is about other people than seed{next(iter(folders))} beside it, or draws them otherwise",
                file=folder / f"seed{seed}" / "metrics.json", remedy="attack with both again",
            )  # fmt: skip
    _check_apart([folder / f"seed{seed}" / "metrics.json" for seed, folder in folders.items()], [r.files for r in read])
    measures = {}
    for key, of in first.found.items():
        if any(key not in one.found for one in read):  # one seed has no number of it: so has their mean
            continue
        every = [one.found[key] for one in read]
        drawn = [found.replicates for found in every]
        measures[key] = Measured(
            np.array([found.value for found in every]),
            None if of.chance is None else float(np.mean([found.chance for found in every])),
            of.units,
            of.people,
            min(found.telling for found in every),
            None if any(one is None for one in drawn) else np.stack([one for one in drawn if one is not None]),
            {name: _mean([found.parted.get(name) for found in every]) for name in of.parted},
            is_rate(key[0]),
            len(read) == 1 and ("view" not in first.attacker or first.attacker.get("knowledge") == PRETRAINED),
        )
    strengths = [one.strength for one in read]
    return Attempt(
        first.risk,
        first.attacker,
        None if None in strengths else float(np.mean([s for s in strengths if s is not None])),
        measures,
        first.sample,
        first.drawn,
        parts(variant)[0],
        first.finds,
    )


def _check_apart(records: Sequence[Path], files: Sequence[FilesSaid]) -> None:
    """Raise AnonbenchError where two seeds are one training: its noise would pass for that of two.

    Two trainings may well score alike, as where nothing is left to be seen; their weights differ. So may what learns
    nothing on two fits of a method.
    """
    known: dict[tuple[str, str | Path], Path] = {}
    for record, of in zip(records, files, strict=True):
        other = known.setdefault((of.weights or of.scores, "" if of.weights else record.parent.parent), record)
        if other != record:
            what = "scores" if of.weights is None else "attacker"
            raise AnonbenchError(
                f"tells of the same {what} as {other}: two seeds are two trainings", file=record,
                remedy="delete the attacker and the attack of one of them, and run again",
            )  # fmt: skip


@dataclass(frozen=True)
class _Single:
    """A measure of one seed; see `Measured`.

    ``arrays``: folder and name of its arrays in scores.npz; ``values``: the folder of those that it is the mean of, for
    each of its units, or of it itself.
    """

    value: float
    chance: float | None
    units: int
    people: int
    parted: dict[str, float | None]
    arrays: tuple[str, str]
    values: str
    rate: bool = True
    telling: float = 0.0
    replicates: np.ndarray | None = None


@dataclass(frozen=True)
class _Read:
    """One seed's files."""

    risk: str
    attacker: dict[str, Any]
    drawn: str
    files: FilesSaid
    found: dict[Key, _Single]
    strength: float | None
    sample: tuple[object, ...]
    finds: str


def read_metrics(place: Path, attack: str, variant: str, seed: int) -> dict[str, Any]:
    """Return the metrics of the attack of one seed, which lies in ``place``.

    Raises AnonbenchError where they are missing or damaged, tell of another attack or of another variant, unless it is
    what the fit of that seed makes of it, and where the scores beside them are not those that they tell of.
    """
    file = place / "metrics.json"
    metrics = read_json(file)
    head = _said(HeadSaid, metrics, file)
    told = head.attack, head.variant
    if told not in ((attack, variant), (attack, refitted(variant, seed))):
        raise AnonbenchError(f"tells of {told[0]} on {told[1]}, not of {attack} on {variant}", file=file, remedy=AGAIN)
    check_sha256(place / "scores.npz", head.files.scores, file.name, AGAIN)
    return dict(metrics)


def reading_scores(place: Path) -> AbstractContextManager[dict[str, np.ndarray]]:
    """Yield the arrays of an attack; raise AnonbenchError when they are missing or damaged (`arrays.reading`)."""
    return reading(place / "scores.npz", "attack again", "attack first")


def _said(model: type[Told], metrics: Any, file: Path) -> Told:
    """Return what metrics say; raise AnonbenchError, which names the entry, where they cannot be an attack's."""
    try:
        return model.model_validate(metrics)
    except ValidationError as error:
        raise AnonbenchError(f"contains no attack ({explain(error)})", file=file, remedy=AGAIN) from None


def _read(place: Path, attack: str, variant: str, seed: int) -> _Read:
    """Read the attack of one seed; see `read_attempt`."""
    metrics = read_metrics(place, attack, variant, seed)
    said = _said(RecordSaid, metrics, place / "metrics.json")
    chosen = _named(said.validation) if said.validation else {}
    strength = next((one.value for (_, size), one in chosen.items() if size in ("", ALL)), None)
    with reading_scores(place) as arrays:
        found = {key: _drawn(one, arrays, said.draw is not None) for key, one in _named(said.test).items()}
        whom = tuple(arrays[name].tobytes() for name in ("probe", "validation", "groups") if name in arrays)
        draws = sorted({0 if one.replicates is None else len(one.replicates) for one in found.values()})
        if len(draws) > 1:
            raise ValueError(f"its measures have {draws[0]} and {draws[-1]} replicates")
    sample = repr((said.people, said.draw)), tuple(draws), whom
    who, finds = metrics["attacker"] or {}, said.finds or ""
    return _Read(said.risk, who, said.drawn, said.files, found, strength, sample, finds)


def _named(part: PartSaid) -> dict[Key, _Single]:
    """Return each measure of a part that has a value."""
    found = _linkabilities(part, LINKABILITY, "")
    for name, of in part.measures.items():
        if of.value is not None:
            parted = {
                "covered": of.covered if "covered" in of.model_fields_set else part.covered,
                "value_covered": of.of_covered, "value_missed": of.of_missed, "share_missed": of.share_of_missed,
                "prevalence": of.prevalence,
            }  # fmt: skip
            found[name, ""] = _Single(
                of.value, of.chance, of.units, of.people, parted, ("", name), "estimate", is_rate(name)
            )
    for kind, ranking in part.kinds.items():
        found |= _linkabilities(ranking, f"{LINKABILITY}/{kind}", f"{kind}/")
    return found


def _linkabilities(part: RankingSaid, name: str, folder: str) -> dict[Key, _Single]:
    """Return linkability by the size of the gallery, of all pairs or of one kind; {} of an attack that ranks nobody."""
    found, crowd = {}, part.crowd or CrowdSaid()
    for size, value in part.linkability.items():
        if value is not None:
            parted = {
                "covered": part.covered, "value_covered": part.linkability_of_covered.get(size),
                "value_missed": part.linkability_of_missed.get(size), "share_missed": part.share_of_missed.get(size),
                "crowd_median": crowd.median, "crowd_fifth": crowd.fifth, "crowd_below_10": crowd.below_10,
                "mean_average_precision": part.mean_average_precision, "rank_1": part.rank_1,
            }  # fmt: skip
            given = value, part.chance[size], part.probes, part.people
            found[name, size] = _Single(*given, parted, (folder, size), LINKABILITY)
    return found


def _drawn(one: _Single, arrays: Mapping[str, np.ndarray], draws: bool) -> _Single:
    """Return a measure with how many people tell of it, and its replicates, which there are if anybody ``draws`` any.

    Raises ValueError where they cannot be its own, and where its value is not what its own scores say.
    """
    folder, name = one.arrays
    values = arrays.get(f"{folder}{one.values}/{name}")
    if values is not None:
        _check_value(one, values, f"{folder}{one.values}/{name}")
    telling, drawn = (arrays.get(f"{folder}{what}/{name}") for what in ("telling", "replicates"))
    if draws and (telling is None or drawn is None):
        raise ValueError(f"it has no {folder}replicates/{name} or telling/{name}, though people were drawn")
    if telling is None or drawn is None:
        return one
    if drawn.dtype.kind != "f" or drawn.ndim != 1 or np.isinf(drawn).any() or np.isnan(drawn).all():
        raise ValueError(f"{folder}replicates/{name} are no numbers")
    if one.rate and not (within(float(np.nanmin(drawn))) and within(float(np.nanmax(drawn)))):
        raise ValueError(f"{folder}replicates/{name} are not from 0 to 1")
    if telling.dtype.kind not in "fiu" or telling.ndim or not 0 <= telling <= one.people + ROUNDING:
        raise ValueError(f"{folder}telling/{name} is no number of {one.people} people")
    return replace(one, telling=float(telling), replicates=drawn.astype(np.float64))


def _check_value(one: _Single, values: np.ndarray, name: str) -> None:
    """Raise ValueError unless a measure's value is the mean of its ``values``, NaN left out."""
    shape = () if one.values == "estimate" else (one.units,)
    if values.dtype.kind not in "fiu" or values.shape != shape or np.isnan(values).all():
        raise ValueError(f"{name} is no number for each of {one.units}" if shape else f"{name} is no number")
    if not abs(float(np.nanmean(values)) - one.value) <= ROUNDING:
        raise ValueError(f"{name} comes to {np.nanmean(values):.6g}, but metrics.json says {one.value:.6g}")


def _mean(values: list[Any]) -> float | None:
    return None if any(value is None for value in values) else float(np.mean(values))
