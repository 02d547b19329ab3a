"""Two results of `report-tables` beside each other: what differs between them by more than noise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from tabulate import tabulate

from anonbench.report.collect import PRIMARY, leaves
from anonbench.report.results import ATTACK_KEYS, NORMAL, Key, Results
from anonbench.report.study import ORIGINAL
from anonbench.report.tables import KEYS, is_number, percent, write_csv
from anonbench.statistics.changes import Change, Estimate, holm
from anonbench.statistics.contrasts import LEVEL

CHANGED, BEYOND, WITHIN, IDENTICAL = "changed", "beyond noise", "within noise", "identical"
UNTESTED, ONLY_A, ONLY_B = "no interval", "only in A", "only in B"
JUDGED_A, JUDGED_B = "judged in A alone", "judged in B alone"
"""What is said of a row. `CHANGED`: also after Holm's correction for all rows that are compared; `BEYOND`: only by
its own interval; `IDENTICAL`: the same numbers, or the same difference without any error; `UNTESTED`: the tables hold
no error of it; `JUDGED_A`, `JUDGED_B`: it is of a metric that one of the two studies asks about alone."""

ATTACK_COLUMNS = (
    *ATTACK_KEYS, "value_a", "value_b", "verdict_a", "verdict_b", "change", "change_low", "change_high", "freedom",
    "p", "p_holm", "said",
)  # fmt: skip
ATTACK_NOTE = (
    "Intervals (95 %) take the two studies as independent: where both have attacked the same people, or with the same "
    "seeds, what these do to both alike is counted twice. An attacker of a single seed has no interval."
)
COLUMNS = (
    *KEYS, "value_a", "value_b", "difference_a", "difference_b", "verdict_a", "verdict_b", "change", "change_low",
    "change_high", "freedom", "p", "p_holm", "said",
)  # fmt: skip


def changes(a: Results, b: Results) -> pd.DataFrame:
    """Return a row per row of either results (see `COLUMNS`), in their order.

    ``change`` is difference B minus difference A, of the original value B minus value A, with a 95 % interval of two
    independent studies and the p-value of no change, ``p_holm`` after Holm's correction.
    """
    keys = dict.fromkeys([*a.rows, *b.rows])
    rows = [_row(a, b, key) for key in keys]
    return _corrected(pd.DataFrame(rows, columns=list(COLUMNS)))


def attack_changes(a: Results, b: Results) -> pd.DataFrame:
    """Return a row per row of privacy.csv of either results (see `ATTACK_COLUMNS`), as `changes` does.

    ``change`` is value B minus value A, of two independent studies: over other people and other attackers' seeds.
    """
    keys = dict.fromkeys([*a.attacks, *b.attacks])
    return _corrected(pd.DataFrame([_attack_row(a, b, key) for key in keys], columns=list(ATTACK_COLUMNS)))


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of changes with p-values after Holm's correction, and what that says."""
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
    role_a, role_b = (of.rows[key].get("role") for of in (a, b))
    if role_a != role_b:
        return found | {"said": JUDGED_A if role_a == PRIMARY else JUDGED_B}
    if _equal(found, "value") and (what == "value" or not known or _equal(found, "difference")):
        return found | {"said": IDENTICAL}
    if what == "value" and not _alike(a, b, key):
        return found | {"said": UNTESTED}  # spread over seeds says nothing of other images
    return found | _change(a.estimate(key), b.estimate(key))


def _attack_row(a: Results, b: Results, key: Key) -> dict[str, Any]:
    found: dict[str, Any] = dict(zip(ATTACK_KEYS, key, strict=True))
    for of, name in ((a, "a"), (b, "b")):
        if key in of.attacks:
            found |= {f"{column}_{name}": of.attacks[key][column] for column in ("value", "verdict")}
    if key not in b.attacks or key not in a.attacks:
        return found | {"said": ONLY_A if key in a.attacks else ONLY_B}
    found["change"] = found["value_b"] - found["value_a"]
    if _equal(found, "value"):
        return found | {"said": IDENTICAL}
    return found | _change(a.found(key), b.found(key))


def _change(first: Estimate | None, second: Estimate | None) -> dict[str, Any]:
    """Return what is said of a change between two estimates, with its interval."""
    if first is None or second is None:
        return {"said": UNTESTED}
    change = Change(first, second)
    if not change.error and not change.value:
        return {"said": IDENTICAL}
    low, high = change.interval()
    return {
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
    judged = int(count.get(JUDGED_A, 0) + count.get(JUDGED_B, 0))
    if judged:
        said.append(f"{judged} of a metric that only one of the two studies asks about")
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
    """Yield what only one of the results has, by data set, model (or attack), direction and variant."""
    if "attack" in table.columns:
        for said in (ONLY_A, ONLY_B):
            rows = table[table.said == said]
            for key, of in rows.groupby(["dataset", "attack", "variant"], sort=False):
                yield f"{said}: {' '.join(map(str, key))}: {len(of)} rows ({', '.join(dict.fromkeys(of.attacker))})"
        return
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
    flat = [leaves(value) for value in (one, other)]
    lines = []
    for key in dict.fromkeys([*flat[0], *flat[1]]):
        before, after = (values.get(key) for values in flat)
        if before != after:
            lines.append(f"{key}: {_difference(before, after)}")
    return lines


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
    """Return the rows that changed, the surest first, then, with ``everything``, all others; '' for none.

    Of attacks rates are in per cent.
    """
    changed = table[table.said.isin([CHANGED, BEYOND])].sort_values("p", kind="stable")
    rows = pd.concat([changed, table.drop(changed.index)]) if everything else changed
    if rows.empty:
        return ""
    named, scale = (ATTACK_KEYS, 100.0) if "attack" in table.columns else (KEYS, 1.0)
    constant = [key for key in named if table[key].nunique() == 1 and key != "variant"]
    keys = [key for key in named if key not in constant]
    differs = "difference_a" in table.columns
    head = [*keys, "A", "B", *(["A − original", "B − original"] if differs else []), "change [95 %]", "p", "Holm", ""]
    body = []
    for row in rows.to_dict("records"):
        ends = [_signed(row[name], scale) for name in ("change_low", "change_high")]
        interval = f" [{ends[0]}, {ends[1]}]" if is_number(row["p"]) else ""
        said = row["said"]
        if row["verdict_a"] != row["verdict_b"] and said not in (ONLY_A, ONLY_B) and row["verdict_a"]:
            said += f" ({row['verdict_a']} → {row['verdict_b']})"
        values = [f"{scale * row[name]:.2f}" if is_number(row[name]) else "–" for name in ("value_a", "value_b")]
        if differs:
            own = row["variant"] == ORIGINAL
            values += ["–" if own else _signed(row[name]) for name in ("difference_a", "difference_b")]
        ps = [_p(row[name]) for name in ("p", "p_holm")]
        change = _signed(row["change"], scale) + interval
        body.append([*(row[key] for key in keys), *values, change, *ps, said])
    same = ", ".join(f"{key} {table[key].iloc[0]}" for key in constant if table[key].iloc[0] != "")
    text = tabulate(body, head, "github", disable_numparse=True)
    return f"{same}\n\n{text}" if same else text


def _signed(value: Any, scale: float = 1.0) -> str:
    if not is_number(value):
        return "–"
    value = round(scale * float(value), 2) + 0.0
    return (f"{value:+.2f}" if value else "0.00").replace("-", "−")


def _p(value: Any) -> str:
    return "–" if not is_number(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def compare(
    a: Annotated[str, typer.Argument(help="results folder, or git revision of one: REV (of `results`) or REV:PATH")],
    b: Annotated[str, typer.Argument(help="the other one, such as the newer")],
    everything: Annotated[bool, typer.Option("--all", help="list every row, not only those that changed")] = False,
    csv: Annotated[Path | None, typer.Option(help="file for every row, as CSV; attacks: NAME-attacks")] = None,
) -> None:
    """Say what changed between two results beyond noise, with intervals."""
    first, second = Results.read(a), Results.read(b)
    table, attacks = changes(first, second), attack_changes(first, second)
    differing = settings(first, second)
    if first.same == second.same:
        typer.echo("identical: tables/impact.csv, seeds.csv and, if there is one, privacy.csv are the same in both")
    else:
        typer.echo(summary(table))
        for line in alone(table):
            typer.echo(line)
    if len(attacks) and first.same != second.same:
        typer.echo(f"\nAttacks: {summary(attacks)}")
        for line in alone(attacks):
            typer.echo(line)
    typer.echo("\n".join(["", f"A: {a}", f"B: {b}", *(f"- {line}" for line in differing)]))
    rows = listing(table, everything)
    if rows:
        typer.echo("\n" + "\n".join([rows, "", *notes(first, second, table)]))
    found = listing(attacks, everything)
    if found:
        typer.echo(f"\nWhat attackers find, in per cent:\n\n{found}\n\n{ATTACK_NOTE}")
    if csv is not None:
        write_csv(csv, table)
        if len(attacks):
            write_csv(csv.with_name(f"{csv.stem}-attacks{csv.suffix}"), attacks)
