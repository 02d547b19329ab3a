"""Two results of `report-tables` beside each other: what differs between them by more than noise."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from tabulate import tabulate

from anonbench.errors import AnonbenchError
from anonbench.report.collect import PRIMARY, SECONDARY
from anonbench.report.study import ORIGINAL
from anonbench.report.tables import AP_POINTS, is_number, percent, read_csv, write_csv
from anonbench.statistics.changes import Change, Estimate, holm
from anonbench.statistics.contrasts import LEVEL, quantile
from anonbench.statistics.verdicts import DROP, GAIN, SAME

KEYS = ("dataset", "model", "task", "category", "direction", "variant", "metric")
"""What names a row of impact.csv."""
NEEDED = (
    *KEYS, "role", "value", "value_std", "n_seeds", "difference", "difference_low", "difference_high", "verdict",
    "instances", "samples", "samples_needed",
)  # fmt: skip
ERRORS = ("error_seeds", "error_images", "freedom")
"""Columns that tables of older versions do not have."""

CHANGED, BEYOND, WITHIN, IDENTICAL = "changed", "beyond noise", "within noise", "identical"
UNTESTED, ONLY_A, ONLY_B = "no interval", "only in A", "only in B"
"""What is said of a row. `CHANGED`: also after Holm's correction for all rows that are compared; `BEYOND`: only by
its own interval; `IDENTICAL`: the same numbers, or the same difference without any error; `UNTESTED`: the tables hold
no error of it."""

COLUMNS = (
    *KEYS, "value_a", "value_b", "difference_a", "difference_b", "verdict_a", "verdict_b", "change", "change_low",
    "change_high", "freedom", "p", "p_holm", "said",
)  # fmt: skip

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

    ``approximate``: the tables are of an older version, which wrote intervals but not the errors behind them.
    """

    place: Place
    rows: dict[Key, dict[str, Any]]
    approximate: bool
    seeds: list[int]
    study: dict[str, Any] | None
    provenance: dict[str, Any] | None

    @classmethod
    def read(cls, name: str) -> Results:
        """Read results; raise AnonbenchError for a table that is missing, damaged or of no version that is known."""
        place = Place(name)
        impact, seeds = (place.table(f"tables/{table}.csv") for table in ("impact", "seeds"))
        if "ap" in impact.columns:
            impact = _long(impact)
        for column in NEEDED:
            if column not in impact.columns:
                raise AnonbenchError(
                    f"has no column '{column}'",
                    file=place.path("tables/impact.csv"),
                    remedy="it may be of another version: write the study's report again",
                )
        rows: dict[Key, dict[str, Any]] = {}
        for values in impact.itertuples(index=False, name=None):
            row = dict(zip(impact.columns, values, strict=True))
            key = tuple(str(row[name]) for name in KEYS)
            if key in rows:
                file, entry = place.path("tables/impact.csv"), " ".join(key)
                raise AnonbenchError("stands there twice", file=file, entry=entry, remedy="write it again")
            rows[key] = row
        used = sorted({int(s) for s in seeds["seed"].dropna()}) if "seed" in seeds.columns else []
        approximate = not set(ERRORS) <= set(impact.columns)
        return cls(place, rows, approximate, used, place.values("study.json"), place.values("provenance.json"))

    @property
    def same(self) -> tuple[str | None, ...]:
        """Return what must be equal in two results for them to be identical."""
        return tuple(self.place.text(f"tables/{table}.csv") for table in ("impact", "seeds"))

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
        frames.append(rows)
    return pd.concat(frames).sort_index(kind="stable")


def changes(a: Results, b: Results) -> pd.DataFrame:
    """Return a row per row of either results (see `COLUMNS`), in their order.

    ``change`` is difference B minus difference A, of the original value B minus value A, with a 95 % interval of two
    independent studies and the p-value of no change, ``p_holm`` after Holm's correction.
    """
    keys = dict.fromkeys([*a.rows, *b.rows])
    rows = [_row(a, b, key) for key in keys]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    tested = table.index[table.p.notna()]
    table.loc[tested, "p_holm"] = holm(table.loc[tested, "p"].to_numpy(dtype=float))
    table.loc[table.p.notna() & (table.p_holm < 1 - LEVEL), "said"] = CHANGED
    return table


def _row(a: Results, b: Results, key: Key) -> dict[str, Any]:
    found: dict[str, Any] = dict(zip(KEYS, key, strict=True))
    for of, name in ((a, "a"), (b, "b")):
        if key in of.rows:
            found |= {f"{column}_{name}": of.rows[key][column] for column in ("value", "difference", "verdict")}
    if key not in b.rows or key not in a.rows:
        return found | {"said": ONLY_A if key in a.rows else ONLY_B}
    what = "value" if found["variant"] == ORIGINAL else "difference"
    if is_number(found[f"{what}_a"]) and is_number(found[f"{what}_b"]):
        found["change"] = found[f"{what}_b"] - found[f"{what}_a"]
    known = is_number(found["difference_a"]) and is_number(found["difference_b"])
    if _equal(found, "value") and (what == "value" or not known or _equal(found, "difference")):
        return found | {"said": IDENTICAL}
    if what == "value" and not _alike(a, b, key):
        return found | {"said": UNTESTED}  # spread over seeds says nothing of other images
    first, second = a.estimate(key), b.estimate(key)
    if first is None or second is None:
        return found | {"said": UNTESTED}
    change = Change(first, second)
    if not change.error and not change.value:
        return found | {"said": IDENTICAL}
    low, high = change.interval()
    return found | {
        "change_low": low, "change_high": high, "freedom": change.freedom if np.isfinite(change.freedom) else None,
        "p": change.probability, "said": WITHIN if low <= 0 <= high else BEYOND,
    }  # fmt: skip


def _equal(row: dict[str, Any], column: str) -> bool:
    one, other = row[f"{column}_a"], row[f"{column}_b"]
    return bool(one == other or not (is_number(one) or is_number(other)))


def _alike(a: Results, b: Results, key: Key) -> bool:
    """Tell whether a row of both counts as many images and objects."""
    return all(a.rows[key][column] == b.rows[key][column] for column in ("instances", "samples"))


def summary(table: pd.DataFrame) -> str:
    """Return in words how many rows changed, and how many would by chance."""
    count = table.said.value_counts()
    tested = int(table.p.notna().sum())
    both = len(table) - int(count.get(ONLY_A, 0)) - int(count.get(ONLY_B, 0))
    beyond = int(count.get(CHANGED, 0) + count.get(BEYOND, 0))
    said = [f"{both} rows are in both"]
    if IDENTICAL in count:
        said.append(f"{count[IDENTICAL]} of them identical")
    if UNTESTED in count:
        said.append(f"{count[UNTESTED]} without an interval (secondary metrics, a single seed)")
    lines = [", ".join(said) + "."]
    if tested:
        chance = percent(1 - LEVEL)
        lines.insert(
            0,
            f"{beyond} of {tested} rows changed beyond noise ({chance} of them, {(1 - LEVEL) * tested:.1f}, would by "
            f"chance); after Holm's correction {count.get(CHANGED, 0)}.",
        )
    elif both and count.get(IDENTICAL, 0) == both:
        lines = [f"Nothing changed: the {both} rows that are in both are identical."]
    else:
        lines.insert(0, "Nothing can be said of a change: no row is in both with an interval and with other numbers.")
    return "\n".join(lines)


def alone(table: pd.DataFrame) -> Iterator[str]:
    """Yield what only one of the results has, by data set, model, direction and variant."""
    for said in (ONLY_A, ONLY_B):
        rows = table[table.said == said]
        for key, of in rows.groupby(["dataset", "model", "direction", "variant"], sort=False):
            tasks = ", ".join(dict.fromkeys(of.task))
            categories = ", ".join(dict.fromkeys(of.category))
            yield f"{said}: {' '.join(map(str, key))}: {len(of)} rows ({tasks}; {categories})"


def settings(a: Results, b: Results) -> list[str]:
    """Return a line for each setting that differs: of the study, or of what is known of it, and what made the results.

    The study is compared by study.json where both have it, else by the seeds that the tables tell of.
    """
    lines = []
    if a.study is not None and b.study is not None:
        lines += _differing(a.study, b.study)
    else:
        missing = " and ".join(name for of, name in ((a, "A"), (b, "B")) if of.study is None)
        lines.append(f"study.json is not in {missing}: of the study only its seeds and its hash can be compared")
        lines += _differing({"seeds": a.seeds}, {"seeds": b.seeds})
    return lines + _differing(a.provenance or {}, b.provenance or {})


def _differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    flat = [dict(_flat(value)) for value in (one, other)]
    lines = []
    for key in dict.fromkeys([*flat[0], *flat[1]]):
        before, after = (values.get(key) for values in flat)
        if before != after:
            lines.append(f"{key}: {_difference(before, after)}")
    return lines


def _flat(value: dict[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for key, of in value.items():
        if isinstance(of, dict) and of:
            yield from _flat(of, f"{start}{key}.")
        else:
            yield f"{start}{key}", of


def _difference(before: Any, after: Any) -> str:
    """Return two values with an arrow between them, or what a list has gained and lost."""
    if isinstance(before, list) and isinstance(after, list):
        gone, new = [v for v in before if v not in after], [v for v in after if v not in before]
        if gone or new:
            return ", ".join([*(f"without {json.dumps(v)}" for v in gone), *(f"with {json.dumps(v)}" for v in new)])
    return f"{_worded(before)} → {_worded(after)}"


def _worded(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value)


def notes(a: Results, b: Results, table: pd.DataFrame) -> list[str]:
    """Return what a reader must know of the intervals."""
    found = ["Intervals (95 %) take the two studies as independent."]
    seeds = [s for s in a.seeds if s in b.seeds]
    images = any(_alike(a, b, key) for key in a.rows if key in b.rows)
    if seeds or images:
        shared = [f"seeds {', '.join(map(str, seeds))}"] * bool(seeds)
        shared += ["as many validation images and objects"] * images
        found.append(
            f"Both have {' and '.join(shared)}: what seeds or images do to both alike is counted twice, so that the "
            "intervals are wider than they need be."
        )
    older = [name for of, name in ((a, "A"), (b, "B")) if of.approximate]
    if older:
        found.append(
            f"The tables of {' and '.join(older)} are of an older version, without error_seeds and error_images: there "
            f"a standard error is the half-width of the interval over {NORMAL:.2f}."
        )
    if (table.variant[table.p.notna()] == ORIGINAL).any():
        found.append("Of original the change is that of its value, and its noise that of seeds alone.")
    return found


def listing(table: pd.DataFrame, everything: bool = False) -> str:
    """Return the rows that changed, the surest first, then, with ``everything``, all others; '' for none."""
    changed = table[table.said.isin([CHANGED, BEYOND])].sort_values("p", kind="stable")
    rows = pd.concat([changed, table.drop(changed.index)]) if everything else changed
    if rows.empty:
        return ""
    constant = [key for key in KEYS if table[key].nunique() == 1 and key != "variant"]
    keys = [key for key in KEYS if key not in constant]
    head = [*keys, "A", "B", "A − original", "B − original", "change [95 %]", "p", "Holm", ""]
    body = []
    for row in rows.to_dict("records"):
        interval = f" [{_signed(row['change_low'])}, {_signed(row['change_high'])}]" if is_number(row["p"]) else ""
        said = row["said"]
        if row["verdict_a"] != row["verdict_b"] and said not in (ONLY_A, ONLY_B) and row["verdict_a"]:
            said += f" ({row['verdict_a']} → {row['verdict_b']})"
        values = [f"{row[name]:.2f}" if is_number(row[name]) else "–" for name in ("value_a", "value_b")]
        own = row["variant"] == ORIGINAL
        differences = ["–" if own else _signed(row[name]) for name in ("difference_a", "difference_b")]
        ps = [_p(row[name]) for name in ("p", "p_holm")]
        body.append([*(row[key] for key in keys), *values, *differences, _signed(row["change"]) + interval, *ps, said])
    same = ", ".join(f"{key} {table[key].iloc[0]}" for key in constant)
    text = tabulate(body, head, "github", disable_numparse=True)
    return f"{same}\n\n{text}" if same else text


def _signed(value: Any) -> str:
    if not is_number(value):
        return "–"
    value = round(float(value), 2) + 0.0
    return (f"{value:+.2f}" if value else "0.00").replace("-", "−")


def _p(value: Any) -> str:
    return "–" if not is_number(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def compare(
    a: Annotated[str, typer.Argument(help="results folder, or git revision of one: REV (of `results`) or REV:PATH")],
    b: Annotated[str, typer.Argument(help="the other one, such as the newer")],
    everything: Annotated[bool, typer.Option("--all", help="list every row, not only those that changed")] = False,
    csv: Annotated[Path | None, typer.Option(help="file for every row, as CSV")] = None,
) -> None:
    """Say what changed between two results beyond noise, with intervals."""
    first, second = Results.read(a), Results.read(b)
    table = changes(first, second)
    differing = settings(first, second)
    if first.same == second.same:
        typer.echo("identical: tables/impact.csv and tables/seeds.csv are the same in both")
    else:
        typer.echo(summary(table))
        for line in alone(table):
            typer.echo(line)
    typer.echo("\n".join(["", f"A: {a}", f"B: {b}", *(f"- {line}" for line in differing)]))
    rows = listing(table, everything)
    if rows:
        typer.echo("\n" + "\n".join([rows, "", *notes(first, second, table)]))
    if csv is not None:
        write_csv(csv, table)
