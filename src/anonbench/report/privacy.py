"""What anonymization buys: every variant's attacks as a table, with what attackers could have done without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from anonbench.arrays import reading
from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.report.answer import Paragraph
from anonbench.report.study import ORIGINAL, Attacks, ReportStudy, parts, phrase
from anonbench.report.tables import capital, is_number, number, percent, rows_of
from anonbench.statistics.rates import gain, level, rate_interval

PRIVACY_COLUMNS = (
    "dataset", "variant", "region", "method", "level", "attack", "risk", "attacker", "knowledge", "view", "role",
    "size", "value", "value_low", "value_high", "chance", "raw", "control", "gain", "chosen", "covered",
    "value_covered", "value_missed", "share_missed", "crowd_median", "crowd_below_10", "tar_1e2", "tar_1e3", "auc",
    "mean_average_precision", "rank_1", "n_seeds", "probes", "people",
)  # fmt: skip
"""Columns of privacy.csv: a row per variant, attack, attacker and size of the gallery (``all``: everybody).

``value`` is linkability, the chance (0..1) that the right person comes first, with its 95 % interval over people and
seeds; ``raw`` that of the same attack on original images by whoever sees the same of people and learnt from originals;
``control`` that of the best control of the same region; ``gain`` the part of what could be avoided that was:
1 - (value - control) / (raw - control). ``chosen``: the strongest attacker, on people who are not among those that are
reported. ``covered`` is the share of the probes that the variant changed, ``value_covered`` and ``value_missed`` are
theirs and the others' (over everybody in the gallery), ``share_missed`` the part of the risk that comes from the
latter."""
ATTACKER, CONTROL = "attacker", "control"
CONTROLS = ("surroundings", "silhouette")
"""Views of which no method is asked to change anything."""
ALL = "all"
HOPELESS = 2.0
"""An attack that finds people on original images no more often than so many times chance has failed."""


@dataclass(frozen=True)
class Attempt:
    """The attacks of one attacker on one variant, a seed each: ``metrics`` and ``arrays`` of scores.npz."""

    metrics: list[dict[str, Any]]
    arrays: list[dict[str, np.ndarray]]

    @property
    def config(self) -> dict[str, Any]:
        """Return the attacker's configuration."""
        return dict(self.metrics[0]["attacker"])

    @property
    def role(self) -> str:
        """Tell a control from an attacker."""
        return CONTROL if self.config["view"] in CONTROLS else ATTACKER

    def strength(self, part: str) -> float:
        """Return the mean linkability over everybody, of a part of the people."""
        return float(np.mean([one[part]["linkability"][ALL] for one in self.metrics]))

    def mean(self, size: str) -> float:
        """Return the mean linkability over test people in galleries of a size, NaN where there were too few people."""
        found = [one[f"linkability/{size}"] for one in self.arrays if f"linkability/{size}" in one]
        return float(np.mean([np.nanmean(values) for values in found])) if found else float("nan")

    def value(self, size: str) -> tuple[float, float, float] | None:
        """Return linkability in galleries of a size and its 95 % interval, None where there were too few people."""
        names = f"linkability/{size}", f"replicates/{size}", f"telling/{size}"
        if any(name not in one for one in self.arrays for name in names):
            return None
        values = [float(np.nanmean(one[names[0]])) for one in self.arrays]
        people = float(self.arrays[0][names[2]])
        rate = level(values, np.stack([one[names[1]] for one in self.arrays]), people)
        return (rate.value, *rate_interval(rate, people))


def read_attempt(folder: Path, seeds: list[int]) -> Attempt:
    """Read the attacks of an attacker's seeds; raise AnonbenchError for one that is missing or of other people."""
    metrics, arrays = [], []
    for seed in seeds:
        place = folder / f"seed{seed}"
        value = read_json(place / "metrics.json")
        if not isinstance(value, dict) or not {"attacker", "test", "validation", "people"} <= value.keys():
            raise AnonbenchError("contains no attack", file=place / "metrics.json", remedy="attack again")
        metrics.append(value)
        with reading(place / "scores.npz", "attack again", "attack first") as found:
            arrays.append(found)
        if value["people"] != metrics[0]["people"] or value["draw"] != metrics[0]["draw"]:
            raise AnonbenchError(
                f"is about other people than {folder / f'seed{seeds[0]}'}", file=place / "metrics.json",
                remedy="attack both again",
            )  # fmt: skip
    return Attempt(metrics, arrays)


def privacy(study: ReportStudy, attacks: Path) -> pd.DataFrame:
    """Return the privacy table (see `PRIVACY_COLUMNS`); without attacks it has no rows.

    Raises AnonbenchError when an attack is missing or damaged.
    """
    rows: list[dict[str, Any]] = []
    asked = study.attacks or Attacks((), (), {}, [], [])
    for dataset in asked.datasets:
        for attack in asked.attacks:
            found = {
                variant: {
                    name: read_attempt(attacks / dataset / variant / attack / name, asked.seeds)
                    for name in asked.whom(attack, variant)
                }
                for variant in study.variants_of(dataset)
            }
            for variant, attempts in found.items():
                rows += [
                    {"dataset": dataset, "variant": variant, "attack": attack, **row}
                    for row in _rows(asked, variant, attempts, found.get(ORIGINAL, {}))
                ]
    return pd.DataFrame(rows, columns=list(PRIVACY_COLUMNS))


def _rows(
    asked: Attacks, variant: str, attempts: dict[str, Attempt], raw: dict[str, Attempt]
) -> Iterator[dict[str, Any]]:
    region, method, strength = parts(variant)
    strongest = _strongest(attempts)
    for name, attempt in attempts.items():
        config, tests = attempt.config, [one["test"] for one in attempt.metrics]
        bare = next((one for one in raw.values() if _same_sight(one.config, config)), None)
        others = [one for one in attempts.values() if one.role == CONTROL and one.config["region"] == config["region"]]
        for size in (*(str(n) for n in asked.sizes), ALL):
            value = attempt.value(size)
            if value is None:
                continue
            control = max((one.mean(size) for one in others if attempt.role == ATTACKER), default=np.nan)
            unchanged = np.nan if bare is None else bare.mean(size)
            yield {
                "region": region, "method": method, "level": strength, "risk": attempt.metrics[0]["risk"],
                "attacker": name, "knowledge": config["knowledge"], "view": config["view"], "role": attempt.role,
                "size": size, "value": value[0], "value_low": value[1], "value_high": value[2],
                "chance": float(np.mean([one["chance"][size] for one in tests])), "raw": unchanged, "control": control,
                "gain": float(gain(value[0], control, unchanged)), "chosen": str(name == strongest).lower(),
                **_described(tests), "n_seeds": len(tests),
            }  # fmt: skip


def _same_sight(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (one["region"], one["view"]) == (other["region"], other["view"])


def _strongest(attempts: dict[str, Attempt]) -> str | None:
    """Return who finds most of the people on whom attackers are chosen."""
    able = {name: one.strength("validation") for name, one in attempts.items() if one.role == ATTACKER}
    return max(able, key=lambda name: able[name]) if able else None


def _described(tests: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means over seeds of what has no interval."""

    def mean(*path: str) -> float | None:
        found = []
        for one in tests:
            value: Any = one
            for key in path:
                value = value[key]
            found.append(value)
        return None if any(v is None for v in found) else float(np.mean(found))

    return {
        "covered": mean("covered"), "value_covered": mean("linkability_of_covered"),
        "value_missed": mean("linkability_of_missed"), "share_missed": mean("share_of_missed"),
        "crowd_median": mean("crowd", "median"), "crowd_below_10": mean("crowd", "below_10"),
        "tar_1e2": mean("tar", "0.01"), "tar_1e3": mean("tar", "0.001"), "auc": mean("auc"),
        "mean_average_precision": mean("mean_average_precision"), "rank_1": mean("rank_1"),
        "probes": tests[0]["probes"], "people": tests[0]["people"],
    }  # fmt: skip


def privacy_markdown(table: pd.DataFrame) -> str:
    """Return the table as Markdown: per data set and attack, a row per variant and attacker."""
    lines = [
        "# What anonymization buys",
        "",
        "How often the first guess is the right person, in galleries of so many people, in per cent with 95 % "
        "intervals over people and seeds. Attackers have learnt from other people; **the strongest** was chosen on "
        "people who are not among those that are told of. Controls see what no method is asked to change. `covered`: "
        "share of the pictures that the variant changed; `of the missed`: part of the risk that comes from the others. "
        "This is evidence of these attacks, no proof that nobody can be found. Written by `anonbench report-tables`.",
    ]
    for (dataset, attack), part in table.groupby(["dataset", "attack"], sort=False):
        sizes = list(dict.fromkeys(part["size"]))
        body = []
        for (variant, attacker), rows in part.groupby(["variant", "attacker"], sort=False):
            of = {row.size: row for row in rows_of(rows)}
            first = rows.iloc[0]
            name = f"**{attacker}**" if first.chosen == "true" else attacker
            cells = [_rate(of[size]) if size in of else "–" for size in sizes]
            body.append(
                [f"`{variant}`", name, first.knowledge, first["view"], *cells, percent(first.covered),
                 percent(first.share_missed), number(first.crowd_median)]
            )  # fmt: skip
        heads = [f"among {'all' if size == ALL else size}" for size in sizes]
        head = ["variant", "attacker", "knows", "sees", *heads, "covered", "of the missed", "median crowd"]
        chances = ", ".join(
            f"{100 * float(part.loc[part['size'] == size, 'chance'].mean()):.1f} % among {size}" for size in sizes
        )
        lines += ["", f"## {dataset}: {attack} ({part.risk.iloc[0]})", ""]
        lines.append(tabulate(body, headers=head, tablefmt="github", disable_numparse=True))
        lines += ["", f"{int(part.probes.iloc[0])} pictures of {int(part.people.iloc[0])} people; chance: {chances}."]
    return "\n".join(lines) + "\n"


def _rate(row: Any, unit: str = "") -> str:
    """Return a rate in per cent with its interval."""
    return f"{100 * row.value:.1f}{unit} ({100 * row.value_low:.1f} to {100 * row.value_high:.1f})"


def bought(table: pd.DataFrame) -> list[Paragraph]:
    """Return a paragraph per data set and attack: what the strongest attacker of each variant still finds."""
    found = []
    for (dataset, attack), part in table.groupby(["dataset", "attack"], sort=False):
        stated = [size for size in dict.fromkeys(part["size"]) if size != ALL]
        size = max(stated, key=int) if stated else ALL
        rows = part[(part["size"] == size) & (part.chosen == "true")]
        if rows.empty:
            continue
        crowd = f"{size} people" if size != ALL else "all people"
        raw = rows[rows.variant == ORIGINAL]
        lead = (
            f"What an attacker still finds on {dataset} ({attack}): the first guess among {crowd} is the right person"
        )
        if len(raw):
            lead += f" in {_rate(raw.iloc[0], ' %')} of pictures that nobody anonymized"
        lead += f"; chance is {100 * float(rows.chance.iloc[0]):.1f} %. Under the strongest attacker of each variant:"
        points = [
            f"{capital(phrase(row.variant))}: {_rate(row, ' %')}, by {row.attacker}{_failed(row)}."
            for row in rows_of(rows[rows.variant != ORIGINAL])
        ]
        found.append(Paragraph(lead, tuple(points)))
    return found


def _failed(row: Any) -> str:
    """Say where an attack says nothing of privacy: it does not even find people whom nobody anonymized."""
    if is_number(row.raw) and row.raw <= HOPELESS * row.chance:
        return " (the attack failed: it does not find people whom nobody anonymized either, so this is no verdict)"
    return ""
