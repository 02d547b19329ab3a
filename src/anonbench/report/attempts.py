"""Attacks as the stage `attack` left them: what an attacker found on a variant, over its seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from anonbench.arrays import reading
from anonbench.errors import AnonbenchError, in_one_line
from anonbench.files import check_sha256, read_json
from anonbench.records import RegionKind
from anonbench.report.study import parts
from anonbench.statistics.contrasts import Contrast, Panel
from anonbench.statistics.rates import at_least, level, rate_interval
from anonbench.statistics.resampling import FEWEST
from anonbench.variants import refitted

ATTACKER, CONTROL, REFERENCE = "attacker", "control", "reference"
NAIVE, AWARE, REVERSE = "naive", "aware", "reverse"
"""What an attacker knows: who has learnt from originals alone, from what the method makes, or to undo it first."""
SURROUNDINGS = "surroundings"
CONTROLS = (SURROUNDINGS, "silhouette")
"""Views of what no method of a region is asked to change."""
REFERENCES = ("colour",)
"""Views of next to nothing, which a method may change: no control, since hiding it is no failure of an attack."""
NO_RATES = ("r2",)
"""Measures that may leave 0..1, by the first part of their names."""
LINKABILITY, SINGLING_OUT = "linkability", "singling_out"
ALL = "all"
"""In the place of a gallery's size: everybody."""
AGAIN = "delete the folder and attack again"

Key = tuple[str, str]
"""A measure's name and, of linkability, the size of the gallery, else ''."""


@dataclass(frozen=True)
class Measured:
    """A measure of an attack on test people: ``values`` (n) by seed of the attacker, 0..1 but for R2.

    ``chance``: what knowing nothing gives, None where there is no such thing; ``replicates`` (n, B) on draws of people,
    None without; ``telling``: how many people tell of it, of all ``people`` with their ``units`` (pictures).
    ``parted``: columns of privacy.csv on whom the variant has changed, and the others. ``rate``: whether it cannot
    leave 0..1 (`NO_RATES`).
    """

    values: np.ndarray
    chance: float | None
    units: int
    people: int
    telling: float = 0.0
    replicates: np.ndarray | None = None
    parted: Mapping[str, float | None] = field(default_factory=dict)
    rate: bool = True

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

        Both must be of one `Attempt.sample`.
        """
        if self.contrast is None or other.contrast is None or self.values.shape != other.values.shape:
            return None
        assert self.replicates is not None
        assert other.replicates is not None
        values, drawn = np.stack([other.values, self.values]), np.stack([other.replicates, self.replicates])
        groups = min(self.telling, other.telling)
        panel = Panel(values, drawn, groups, np.ones(2, dtype=bool), pools=False)
        return at_least(panel.contrast(1, ratio), groups)


@dataclass(frozen=True)
class Attempt:
    """The attacks of one attacker on one variant, a seed each.

    ``attacker`` is its configuration, {} where nothing has learnt; ``strength`` its success on the people on whom
    attackers are chosen, None where none are; ``measures`` stand in the order of the file. ``sample`` is equal where
    draws of people are the same ones. ``drawn``: whole ``people`` or ``images``. ``kind`` of region that the variant
    changes, '' for none.
    """

    risk: str
    attacker: Mapping[str, Any]
    strength: float | None
    measures: dict[Key, Measured]
    sample: tuple[object, ...]
    drawn: str = "people"
    kind: str = ""

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

    def sees_as(self, other: Attempt) -> bool:
        """Tell whether another attacker sees the same of people; a detector sees what itself does."""
        if "view" not in self.attacker:
            return self.attacker == other.attacker
        return all(self.attacker.get(key) == other.attacker.get(key) for key in ("region", "view"))


def read_attempt(folders: Mapping[int, Path], attack: str, variant: str) -> Attempt:
    """Read the attacks of an attacker's seeds; ``folders`` are those that hold each seed's.

    Raises AnonbenchError for one that is missing or damaged, of another variant or attack, and where two seeds have
    attacked other people or have drawn them otherwise.
    """
    read = [_read(folder / f"seed{seed}", attack, variant, seed) for seed, folder in folders.items()]
    first = read[0]
    for (seed, folder), one in zip(folders.items(), read, strict=True):
        if one.sample != first.sample:
            raise AnonbenchError(
                f"is about other people than seed{next(iter(folders))} beside it, or draws them otherwise",
                file=folder / f"seed{seed}" / "metrics.json", remedy="attack with both again",
            )  # fmt: skip
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
            key[0].partition("/")[0] not in NO_RATES,
        )
    strengths = [one.strength for one in read]
    return Attempt(
        str(first.metrics["risk"]),
        first.metrics.get("attacker") or {},
        None if None in strengths else float(np.mean([s for s in strengths if s is not None])),
        measures,
        first.sample,
        str(first.metrics.get("drawn") or "people"),
        parts(variant)[0],
    )


@dataclass(frozen=True)
class _Single:
    """A measure of one seed; see `Measured`. ``arrays``: folder and name of its arrays in scores.npz."""

    value: float
    chance: float | None
    units: int
    people: int
    parted: dict[str, float | None]
    arrays: tuple[str, str]
    telling: float = 0.0
    replicates: np.ndarray | None = None


@dataclass(frozen=True)
class _Read:
    """One seed's files."""

    metrics: dict[str, Any]
    found: dict[Key, _Single]
    strength: float | None
    sample: tuple[object, ...]


def read_metrics(place: Path, attack: str, variant: str, seed: int) -> dict[str, Any]:
    """Return the metrics of the attack of one seed, which lies in ``place``.

    Raises AnonbenchError where they are missing, tell of another attack or of another variant, unless it is what the
    fit of that seed makes of it, and where the scores beside them are not those that they tell of.
    """
    file, scores = place / "metrics.json", place / "scores.npz"
    metrics = read_json(file)
    try:
        told, written = (metrics["attack"], metrics["variant"]), metrics["files"].get("scores")
        if not isinstance(metrics["attacker"], dict | None):
            raise TypeError("the attacker is not described")
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_attack(file, error) from None
    if told not in ((attack, variant), (attack, refitted(variant, seed))):
        raise AnonbenchError(f"tells of {told[0]} on {told[1]}, not of {attack} on {variant}", file=file, remedy=AGAIN)
    if written is not None:
        check_sha256(scores, written, file.name, AGAIN)
    return dict(metrics)


def reading_scores(place: Path) -> AbstractContextManager[dict[str, np.ndarray]]:
    """Yield the arrays of an attack; raise AnonbenchError when they are missing or damaged (`arrays.reading`)."""
    return reading(place / "scores.npz", "attack again", "attack first")


def _no_attack(file: Path, error: Exception) -> AnonbenchError:
    return AnonbenchError(f"contains no attack ({in_one_line(error)})", file=file, remedy=AGAIN)


def _read(place: Path, attack: str, variant: str, seed: int) -> _Read:
    """Read the attack of one seed; see `read_attempt`."""
    metrics = read_metrics(place, attack, variant, seed)
    try:
        named = _named(metrics["test"])
        chosen = _named(metrics["validation"]) if metrics.get("validation") else {}
        strength = next((one.value for (_, size), one in chosen.items() if size in ("", ALL)), None)
        people = (metrics["people"], metrics["draw"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _no_attack(place / "metrics.json", error) from None
    with reading_scores(place) as arrays:
        found = {key: _drawn(one, arrays) for key, one in named.items()}
        whom = tuple(arrays[name].tobytes() for name in ("probe", "validation", "groups") if name in arrays)
        draws = sorted({0 if one.replicates is None else len(one.replicates) for one in found.values()})
    return _Read(metrics, found, strength, (repr(people), tuple(draws), whom))


def _named(part: Mapping[str, Any]) -> dict[Key, _Single]:
    """Return each measure of a part that has a value; ValueError for what is no number."""
    found = _linkabilities(part, LINKABILITY, "")
    for name, of in part["measures"].items():
        if of["value"] is not None:
            chance = None if of["chance"] is None else _number(of["chance"])
            parted = {
                "covered": of.get("covered", part.get("covered")), "value_covered": of.get("of_covered"),
                "value_missed": of.get("of_missed"), "share_missed": of.get("share_of_missed"),
                "prevalence": of.get("prevalence"),
            }  # fmt: skip
            found[name, ""] = _Single(
                _number(of["value"]), chance, int(of["units"]), int(of["people"]), parted, ("", name)
            )
    for kind, of in (part.get("kinds") or {}).items():
        found |= _linkabilities(of, f"{LINKABILITY}/{kind}", f"{kind}/")
    return found


def _linkabilities(part: Mapping[str, Any], name: str, folder: str) -> dict[Key, _Single]:
    """Return linkability by the size of the gallery, of all pairs or of one kind; {} of an attack that ranks nobody."""
    crowd = part.get("crowd") or {}
    parted = {
        "covered": part.get("covered"), "value_covered": part.get("linkability_of_covered"),
        "value_missed": part.get("linkability_of_missed"), "share_missed": part.get("share_of_missed"),
        "crowd_median": crowd.get("median"), "crowd_below_10": crowd.get("below_10"),
    }  # fmt: skip
    return {
        (name, size): _Single(_number(value), _number(part["chance"][size]), part["probes"], part["people"], parted,
                              (folder, size))
        for size, value in (part.get(LINKABILITY) or {}).items()
        if value is not None
    }  # fmt: skip


def _drawn(one: _Single, arrays: Mapping[str, np.ndarray]) -> _Single:
    """Return a measure with how many people tell of it, and its replicates; ValueError where they are none."""
    folder, name = one.arrays
    telling, drawn = (arrays.get(f"{folder}{what}/{name}") for what in ("telling", "replicates"))
    if telling is None or drawn is None:
        return one
    if drawn.ndim != 1 or np.isinf(drawn).any() or np.isnan(drawn).all():
        raise ValueError(f"{folder}replicates/{name} are no numbers")
    return replace(one, telling=_number(float(telling)), replicates=drawn.astype(np.float64))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _mean(values: list[Any]) -> float | None:
    return None if any(value is None for value in values) else float(np.mean(values))
