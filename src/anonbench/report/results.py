"""Results of `report-tables`, of this version or an older one, in a folder or in a git revision."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anonbench.errors import AnonbenchError
from anonbench.report.attempts import PRETRAINED
from anonbench.report.collect import PRIMARY, SECONDARY
from anonbench.report.study import ORIGINAL
from anonbench.report.tables import AP_POINTS, KEYS, check_columns, is_number, read_csv
from anonbench.statistics.changes import Estimate
from anonbench.statistics.contrasts import LEVEL, quantile
from anonbench.statistics.verdicts import DROP, GAIN, SAME

NEEDED = (
    *KEYS, "role", "value", "value_std", "n_seeds", "difference", "difference_low", "difference_high", "verdict",
    "instances", "samples", "samples_needed",
)  # fmt: skip
ATTACK_KEYS = ("dataset", "attack", "attacker", "measure", "size", "variant")
"""What names a row of privacy.csv."""
NEEDED_OF_ATTACKS = (
    *ATTACK_KEYS, "knowledge", "value", "verdict", "n_seeds", "error_seeds", "error_people", "freedom",
)  # fmt: skip
ERRORS = ("error_seeds", "error_images", "freedom")
"""Columns that tables of older versions do not have."""

NORMAL = quantile(0.5 + LEVEL / 2, np.inf)
"""Half-width of a 95 % interval in standard errors that are known."""

Key = tuple[str, ...]

_NAMES = {"bbox": "detection", "segm": "segmentation", "keypoints": "pose"}
_METRICS = {"ap": "AP", "ap50": "AP50", "ap75": "AP75"}
"""What tasks and metrics were called in tables that had a column per metric."""


class Place:
    """Where results lie: a folder, or a folder of a git revision, which is read without checking it out."""

    def __init__(self, name: str) -> None:
        """Find the place; raise AnonbenchError when ``name`` is neither a folder nor a revision."""
        self.name = name
        self.revision: str | None = None
        self.folder = name
        if Path(name).is_dir():
            return
        revision, _, folder = name.partition(":")
        self.revision = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if self.revision is None:
            raise AnonbenchError(
                "is neither a folder nor a git revision",
                file=name,
                remedy="name one, or a revision's folder as REV:PATH",
            )
        self.revision, self.folder = self.revision.strip(), folder.rstrip("/") or "results"

    def path(self, file: str) -> str:
        """Return what a file of the results is called in messages."""
        return f"{self.name.partition(':')[0]}:{self.folder}/{file}" if self.revision else f"{self.folder}/{file}"

    def text(self, file: str) -> str | None:
        """Return a file's text, None where there is no such file."""
        if self.revision:
            return _git("show", f"{self.revision}:{self.folder}/{file}")
        path = Path(self.folder, file)
        try:
            return path.read_text() if path.exists() else None
        except UnicodeDecodeError:
            raise AnonbenchError("is not text", file=path, remedy="write it again") from None

    def table(self, file: str) -> pd.DataFrame:
        """Return a table of the results; raise AnonbenchError when it is missing or damaged."""
        text = self.text(file)
        if text is None:
            remedy = "name a folder of results, in which `anonbench report-tables` wrote tables/"
            raise AnonbenchError("no such table", file=self.path(file), remedy=remedy)
        return read_csv(Path(self.path(file)), text)

    def values(self, file: str) -> dict[str, Any] | None:
        """Return a JSON object of the results, None where there is no such file."""
        text = self.text(file)
        if text is None:
            return None
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise AnonbenchError("is not a JSON object", file=self.path(file), remedy="write it again")
        return value


def _git(*arguments: str) -> str | None:
    """Return what git says, None where it fails, is not there, or the working folder is in no repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=True)
        return done.stdout.decode()
    except (OSError, subprocess.CalledProcessError, UnicodeDecodeError):
        return None


@dataclass(frozen=True)
class Results:
    """What `report-tables` wrote: ``rows`` are those of impact.csv by `KEYS`, ``seeds`` those that it tells of.

    ``attacks`` are the rows of privacy.csv by `ATTACK_KEYS`, {} of a study that attacks nobody.
    ``approximate``: the tables are of an older version, which wrote intervals but not the errors behind them.
    """

    place: Place
    rows: dict[Key, dict[str, Any]]
    approximate: bool
    seeds: list[int]
    study: dict[str, Any] | None
    provenance: dict[str, Any] | None
    attacks: dict[Key, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str) -> Results:
        """Read results; raise AnonbenchError for a table that is missing, damaged or of no version that is known."""
        place = Place(name)
        impact, seeds = (place.table(f"tables/{table}.csv") for table in ("impact", "seeds"))
        if "ap" in impact.columns:
            impact = _long(impact)
        rows = _rows(impact, KEYS, NEEDED, place.path("tables/impact.csv"))
        attacks: dict[Key, dict[str, Any]] = {}
        if place.text("tables/privacy.csv") is not None:
            file = place.path("tables/privacy.csv")
            attacks = _rows(place.table("tables/privacy.csv"), ATTACK_KEYS, NEEDED_OF_ATTACKS, file)
        used = sorted({int(s) for s in seeds["seed"].dropna()}) if "seed" in seeds.columns else []
        approximate = not set(ERRORS) <= set(impact.columns)
        settings = place.values("study.json"), place.values("provenance.json")
        return cls(place, rows, approximate, used, *settings, attacks)

    @property
    def same(self) -> tuple[str | None, ...]:
        """Return what must be equal in two results for them to be identical."""
        return tuple(self.place.text(f"tables/{table}.csv") for table in ("impact", "seeds", "privacy"))

    def found(self, key: Key) -> Estimate | None:
        """Return what an attacker finds with its error over people and seeds; None without error.

        An attacker that has learnt has no error known with a single seed.
        """
        row = self.attacks[key]
        if (row["knowledge"] not in ("", PRETRAINED) and row["n_seeds"] < 2) or not is_number(row["error_people"]):
            return None
        parts = [row[name] for name in ("error_seeds", "error_people") if is_number(row[name])]
        freedom = row["freedom"] if is_number(row["freedom"]) else np.inf
        return Estimate(row["value"], sum(part**2 for part in parts), freedom)

    def estimate(self, key: Key) -> Estimate | None:
        """Return a row's difference to the original, or the original's own value, over seeds alone; None without error.

        A model that is trained has no error known with a single seed. Of tables of an older version the error is the
        half-width of the interval over the normal quantile, and taken as known.
        """
        row = self.rows[key]
        if row["variant"] == ORIGINAL:
            if row["role"] != PRIMARY or row["n_seeds"] < 2 or not is_number(row["value_std"]):
                return None
            variance = row["value_std"] ** 2 / row["n_seeds"]
            return Estimate(row["value"], variance, row["n_seeds"] - 1)
        low, high = row["difference_low"], row["difference_high"]
        judged = row["n_seeds"] > 1 or row["verdict"] in (DROP, GAIN, SAME) or is_number(row["samples_needed"])
        if not judged or not is_number(low):
            return None
        if self.approximate:
            return Estimate(row["difference"], ((high - low) / 2 / NORMAL) ** 2)
        parts = [row[name] for name in ("error_seeds", "error_images") if is_number(row[name])]
        freedom = row["freedom"] if is_number(row["freedom"]) else np.inf
        return Estimate(row["difference"], sum(part**2 for part in parts), freedom)


def _rows(table: pd.DataFrame, keys: Key, needed: Key, file: str) -> dict[Key, dict[str, Any]]:
    """Return a table's rows by their keys; raise AnonbenchError for a column that lacks and a row that stands twice."""
    check_columns(table, needed, file)
    rows: dict[Key, dict[str, Any]] = {}
    for values in table.itertuples(index=False, name=None):
        row = dict(zip(table.columns, values, strict=True))
        key = tuple(str(row[name]) for name in keys)
        if key in rows:
            raise AnonbenchError("stands there twice", file=file, entry=" ".join(key), remedy="write it again")
        rows[key] = row
    return rows


def _long(wide: pd.DataFrame) -> pd.DataFrame:
    """Return a table that had a column per metric in the form that has a row per metric."""
    common = wide.rename(columns={"images_needed": "samples_needed", "images": "samples", "ap_std": "value_std"})
    common = common.drop(columns=list(_METRICS)).assign(direction=ORIGINAL)
    common["task"] = common["task"].replace(_NAMES)
    frames = []
    for old, metric in _METRICS.items():
        role = PRIMARY if metric == "AP" else SECONDARY
        rows = common.assign(metric=metric, role=role, unit=AP_POINTS, best="higher", value=wide[old])
        if role == SECONDARY:  # they had a difference of the first metric alone
            rows[["value_std", "difference", "difference_low", "difference_high"]] = np.nan
            rows["verdict"] = ""
        frames.append(rows)
    return pd.concat(frames).sort_index(kind="stable")
