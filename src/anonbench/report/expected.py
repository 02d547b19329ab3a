"""Results that a study is expected to have, with tolerances, after detectron2's ``TEST.EXPECTED_RESULTS``.

A file lists rows of ``impact.csv``, and of ``privacy.csv``, by their keys, with the metric and its value. The same
machine and versions repeat a study to the byte; other processors sum in another order, which moves a metric as another
seed would. That is what tolerances are for: `propose` takes them from the spread over seeds.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
import yaml
from pydantic import Field, ValidationError
from tabulate import tabulate

from anonbench.blocks import Strict, explain
from anonbench.errors import AnonbenchError
from anonbench.files import no_yaml, write_text
from anonbench.report.collect import PEOPLE, PRIMARY
from anonbench.report.tables import AP_POINTS, check_columns, is_number, read_csv

KEYS = ("dataset", "model", "variant", "direction", "task", "category", "metric")
ATTACK_KEYS = ("dataset", "variant", "attack", "attacker", "measure", "size")
SHARE = "share_changed"
"""A column of impact.csv that an entry may name in place of a metric."""
DEVIATIONS = 4.0
"""A tolerance is so many standard errors of a mean over seeds, since the spread itself is known from few of them."""
LEAST = 1.0
"""The least tolerance in AP points: where nothing is learnt, seeds agree by accident."""
LEAST_SHARE = 0.01
"""The least tolerance in another unit, as a share of the value: what a point is of AP."""
LEAST_RATE = 0.02
"""The least tolerance of what attackers find (0..1)."""


class Entry(Strict):
    """One metric of one row of impact.csv."""

    dataset: str = Field(description="name of the data set")
    model: str = Field(description="name of the model")
    variant: str = Field(description="name of the variant that was trained on")
    direction: str = Field("original", description="original, same or deployed (docs/evaluate.md)")
    task: str = Field(description="name of a task, such as detection")
    category: str = Field(description="name of the category, or `all`")
    metric: str = Field("AP", description="name of one of the task's metrics, or share_changed")
    value: float = Field(allow_inf_nan=False, description="what is expected, in the metric's unit (AP in per cent)")
    tolerance: float = Field(ge=0, allow_inf_nan=False, description="largest difference that is accepted")
    source: str | None = Field(None, description="where the value comes from, if not from the file's source")

    def name(self) -> list[str]:
        """Return the words that name the metric."""
        return [getattr(self, key) for key in KEYS]


class AttackEntry(Strict):
    """One row of privacy.csv."""

    dataset: str = Field(description="name of the data set")
    variant: str = Field(description="name of the variant that is attacked")
    attack: str = Field(description="name of the attack")
    attacker: str = Field(description="name of who tries it")
    measure: str = Field("linkability", description="name of the measure")
    size: str = Field("", description="people in the gallery, of linkability: a number, or `all`")
    value: float = Field(allow_inf_nan=False, description="what is expected, 0..1")
    tolerance: float = Field(ge=0, allow_inf_nan=False, description="largest difference that is accepted")
    source: str | None = Field(None, description="where the value comes from, if not from the file's source")

    def name(self) -> list[str]:
        """Return the words that name the row."""
        return [getattr(self, key) for key in ATTACK_KEYS]


class Expected(Strict):
    """The expected results of a study."""

    study: str = Field(description="name of the study")
    source: str = Field(description="where the values and the tolerances come from")
    entries: list[Entry] = Field(min_length=1, description="the metrics")
    attacks: list[AttackEntry] = Field([], description="what attackers find")


def read(path: Path) -> Expected:
    """Read a file of expected results; raise AnonbenchError naming the first wrong entry."""
    try:
        value = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise AnonbenchError("no such file", file=path) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise no_yaml(error, path) from None
    if not isinstance(value, dict):
        raise AnonbenchError("does not hold expected results (a mapping)", file=path)
    try:
        return Expected.model_validate(value)
    except ValidationError as error:
        raise AnonbenchError(explain(error, Expected), file=path) from None


@dataclass(frozen=True, slots=True)
class Compared:
    """An entry and what was found in its place; None where there is no such row or number."""

    entry: Entry | AttackEntry
    found: float | None

    @property
    def within(self) -> bool:
        """Tell whether the result is as expected."""
        return self.found is not None and abs(self.found - self.entry.value) <= self.entry.tolerance


def compare(expected: Expected, impact: pd.DataFrame) -> list[Compared]:
    """Look every entry up in the table impact.csv."""
    compared = []
    for entry in expected.entries:
        same = pd.Series(True, index=impact.index)
        column = SHARE if entry.metric == SHARE else "value"
        for key in KEYS:
            if key != "metric" or column == "value":
                same &= impact[key].astype(str) == getattr(entry, key)
        values = [v for v in impact.loc[same, column] if is_number(v)]
        compared.append(Compared(entry, float(values[0]) if values else None))
    return compared


def compare_attacks(expected: Expected, privacy: pd.DataFrame) -> list[Compared]:
    """Look every entry of an attack up in the table privacy.csv."""
    compared = []
    for entry in expected.attacks:
        same = (privacy[list(ATTACK_KEYS)].astype(str) == entry.name()).all(axis=1)
        values = [v for v in privacy.loc[same, "value"] if is_number(v)]
        compared.append(Compared(entry, float(values[0]) if values else None))
    return compared


def propose(study: str, impact: pd.DataFrame, seeds: pd.DataFrame, privacy: pd.DataFrame | None = None) -> Expected:
    """Return what to expect of a study that has run: the first metric of people in every task, on every variant.

    Of attacks it is what the strongest attacker finds, by the measure that the attack is judged by; the tolerance
    is `DEVIATIONS` standard errors over attackers' seeds (of a single seed those over people, in their place), and
    at least `LEAST_RATE`. ``impact``, ``seeds`` and ``privacy`` are the tables of those names. The tolerance of a
    task and category is `DEVIATIONS` standard errors of the mean over seeds, whose spread is pooled over the
    variants that learnt anything; where nothing is learnt, and at least, it is `LEAST` or, in another unit than AP
    points, `LEAST_SHARE` of the value.
    """
    entries: list[Entry] = []
    people = impact[(impact.group == PEOPLE) & (impact.role == PRIMARY) & impact.value.map(is_number)]
    same = ["dataset", "model", "direction", "task", "category", "metric"]
    for key, rows in people.groupby(same, sort=False):
        own = seeds[(seeds[same] == list(key)).all(axis=1)]
        points = set(rows.unit) == {AP_POINTS}
        several = [of for _, of in own.groupby("variant").value if len(of) > 1]
        groups = [of for of in several if not points or of.mean() >= LEAST]
        freedom = sum(len(of) - 1 for of in groups)
        spread = math.sqrt(sum(float(of.var()) * (len(of) - 1) for of in groups) / max(1, freedom))
        for row in rows.to_dict("records"):
            # among those that have several seeds, one that has a single seed is the same for every seed
            known = row["n_seeds"] > 1 or not several
            noise, value = DEVIATIONS * spread / math.sqrt(row["n_seeds"]) if known else 0.0, row["value"]
            keys = {name: str(row[name]) for name in KEYS}
            if points:
                rounded, tolerance = round(value, 2), round(max(LEAST, noise if value >= LEAST else 0), 1)
            else:
                rounded, tolerance = round(value, 4), round(max(LEAST_SHARE * abs(value), noise) + 1e-4, 4)
            entries.append(Entry(**keys, value=rounded, tolerance=tolerance))
    source = (
        f"a run of the study with {seeds.seed.nunique()} seeds; tolerances are {DEVIATIONS:g} standard errors of the "
        f"mean over seeds, whose spread is pooled over the variants, and at least {LEAST:g}"
    )
    return Expected(study=study, source=source, entries=entries, attacks=_found(privacy))


def _found(privacy: pd.DataFrame | None) -> list[AttackEntry]:
    """Return what to expect of attacks; [] of a study without."""
    if privacy is None:
        return []
    entries = []
    for row in privacy[(privacy.chosen == "true") & (privacy.headline == "true")].to_dict("records"):
        error = row["error_seeds"] if is_number(row["error_seeds"]) else row["error_people"]
        noise = DEVIATIONS * error if is_number(error) else 0.0
        keys = {name: str(row[name]) for name in ATTACK_KEYS}
        entries.append(AttackEntry(**keys, value=row["value"], tolerance=round(max(LEAST_RATE, noise), 3)))
    return entries


def write(expected: Expected, path: Path) -> None:
    """Write a file that `read` reads, an entry on a line."""

    def line(value: Any) -> str:
        return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).strip()

    head = [f"study: {expected.study}", f"source: {json.dumps(expected.source)}", "entries:"]
    entries = [f"  - {line(entry.model_dump(exclude_none=True, exclude_defaults=True))}" for entry in expected.entries]
    attacks = [f"  - {line(one.model_dump(exclude_none=True))}" for one in expected.attacks]
    write_text(path, "\n".join([*head, *entries, *(["attacks:", *attacks] if attacks else [])]) + "\n")


def check(
    expected: Annotated[Path, typer.Option(help="YAML file of expected results, as config/expected/default.yaml")],
    results: Annotated[Path, typer.Option(help="the study's results, with tables/impact.csv")] = Path("results"),
) -> None:
    """Compare a study's results with those that are expected of it."""
    wanted = read(expected)
    files = {name: results / "tables" / f"{name}.csv" for name in ("impact", "privacy")}
    impact = _table(files["impact"], (*KEYS, "value", SHARE))
    found = {"impact": compare(wanted, impact), "privacy": []}
    if wanted.attacks:
        found["privacy"] = compare_attacks(wanted, _table(files["privacy"], (*ATTACK_KEYS, "value")))
    for name, keys, digits in (("impact", KEYS, 2), ("privacy", ATTACK_KEYS, 4)):
        if found[name]:
            typer.echo(tabulate(*_lines(found[name], keys, digits), "github", disable_numparse=True))
    every = [(name, one) for name, compared in found.items() for one in compared]
    outside = [(name, one) for name, one in every if not one.within]
    if outside:
        name, first = outside[0]
        entry, digits = first.entry, 2 if name == "impact" else 4
        said = "is not there" if first.found is None else f"is {first.found:.{digits}f}"
        raise AnonbenchError(
            f"{said}, and {entry.value:g} ± {entry.tolerance:g} is expected ({len(outside)} of {len(every)} entries "
            "are outside)",
            file=files[name],
            entry=" ".join(part for part in entry.name() if part),
        )
    typer.echo(f"all {len(every)} are as expected")


def _table(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return a table of the results; raise AnonbenchError when it lacks one of the columns that are looked up."""
    table = read_csv(file)
    check_columns(table, columns, file)
    return table


def _lines(compared: list[Compared], keys: tuple[str, ...], digits: int) -> tuple[list[list[str]], list[str]]:
    """Return the lines and heads of the table of what was expected and found."""
    lines = []
    for c in compared:
        found = "absent" if c.found is None else f"{c.found:.{digits}f}"
        wanted = f"{c.entry.value:.{digits}f} ± {c.entry.tolerance:.{digits}f}"
        lines.append([*c.entry.name(), wanted, found, "yes" if c.within else "NO"])
    return lines, [*keys, "expected", "found", "within"]
