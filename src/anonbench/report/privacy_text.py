"""privacy.csv for people: as Markdown, LaTeX, macros and metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from tabulate import tabulate

from anonbench.report.attempts import ATTACKER, LINKABILITY, PRETRAINED, SINGLING_OUT
from anonbench.report.gates import ABOVE, AT_CHANCE, NO_VERDICT
from anonbench.report.macros import macro
from anonbench.report.study import ORIGINAL, is_identity
from anonbench.report.tables import FIT, capital, escape, interval_of, is_number, number, percent, rows_of

NAMES = {
    LINKABILITY: "found first", SINGLING_OUT: "singled out", "auc": "AUC", "tar_1e2": "TAR at FAR 1e-2",
    "tar_1e3": "TAR at FAR 1e-3",
}  # fmt: skip
"""Measures in words; others are called by their names."""
IMAGES = "images"
MOST_COLUMNS = 8
"""With more measures than this a row is a measure, and a column a variant."""


def named(measure: str, size: str = "") -> str:
    """Return a measure in words: `found first among 100`, `average precision (gender)`."""
    first, *rest = measure.split("/")
    name = NAMES.get(first, first.replace("_", " "))
    name += f" ({', '.join(rest).replace('_', ' ')})" if rest else ""
    return f"{name} among {size}" if size else name


def counted(row: Any) -> str:
    """Say of how many pictures of whom a row tells; where nobody says who anybody is, of how many images."""
    if row.drawn == IMAGES:
        return f"{int(row.units):,} pictures of people in {int(row.people):,} images"
    return f"{int(row.units):,} pictures of {int(row.people):,} people"


def over(table: pd.DataFrame) -> str:
    """Say over what intervals are: people, images where nobody says who anybody is, or, by data set, either."""
    return " or ".join(dict.fromkeys(table.drawn)) if len(table) else "people"


def told(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that an attack is judged by: its headline, by the strongest attacker of each variant."""
    return table[(table.chosen == "true") & (table.headline == "true")]


def attacks_of(table: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Return data set, attack and rows of the table's parts, in its order."""
    return [(str(d), str(a), part) for (d, a), part in table.groupby(["dataset", "attack"], sort=False)]


def deciding(row: Any) -> tuple[float, float] | None:
    """Return the ends of the interval that a verdict rests on: the simultaneous one, where there is one."""
    return interval_of(row, "simultaneous") or interval_of(row, "value")


def rate(row: Any, unit: str = "") -> str:
    """Return a value in per cent with the interval that its verdict rests on."""
    ends = deciding(row)
    said = f" ({number(100 * ends[0])} to {number(100 * ends[1])})" if ends else ""
    return f"{number(100 * row.value)}{unit}{said}"


def share(value: Any) -> str:
    """Return a share (0..1) in per cent, with one digit; a dash for none."""
    return number(100 * value) if is_number(value) else "–"


def privacy_markdown(table: pd.DataFrame) -> str:
    """Return the table as Markdown: per data set and attack the strongest attackers, then all that was measured."""
    lines = [
        "# What anonymization buys",
        "",
        f"Rates in per cent with 95 % intervals over {over(table)} and attackers' seeds; those of an attack's first "
        "table hold all at once for the variants of the primary question. Attackers have learnt from other people; the "
        "strongest of each variant was chosen on people who are not among those that are told of. `originals`: the "
        "same on original images, by whoever sees the same. `control`: the best of those that see what no method is "
        "asked to change. `gain`: the part of what could be avoided that was, 0 % as on original images, 100 % no "
        "better than the control. **This is evidence of these attacks, no proof that nobody can be found**: "
        f"*{AT_CHANCE}* means that these attackers did not find them, *{NO_VERDICT}* that the attack failed and says "
        "nothing. Written by `anonbench report-tables`.",
    ]
    for dataset, attack, part in attacks_of(table):
        lines += ["", f"## {dataset}: {attack} ({_risks(part)})", "", *_strongest(part), "", *_everything(part)]
    return "\n".join(lines) + "\n"


def _risks(part: pd.DataFrame) -> str:
    return ", ".join(dict.fromkeys(part.risk))


def _strongest(part: pd.DataFrame) -> list[str]:
    """Return the lines of the table of the strongest attackers, with notes."""
    rows = told(part)
    if rows.empty:
        return ["Nothing was measured."]
    heads, lines, notes = strongest_table(part)
    body = [[f"`{line[0]}`", *line[1:]] for line in lines]
    first: Any = rows_of(rows)[0]
    base = [f"{share(first.chance)} % {named(first.measure, first.size)}"] if is_number(first.chance) else []
    baselines = part[(part.chosen == "true") & (part.measure == SINGLING_OUT)].chance.dropna()
    if len(baselines):
        base.append(f"{share(baselines.min())} to {share(baselines.max())} % singled out")
    chance = f"; chance: {', '.join(base)}" if base else ""
    learnt = learners(rows)
    seeds = f"; attackers of {_count(int(learnt.n_seeds.max()))}" if len(learnt) else ""
    size = f"{counted(first)}{seeds}{chance}."
    table = tabulate(body, heads, tablefmt="github", disable_numparse=True)
    return [table, "", size, *(f"\n[{k}] {note}" for k, note in enumerate(notes, 1))]


def learners(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of privacy.csv of attackers who have learnt here, from seeds: no detectors, no recognisers."""
    return rows[~rows.knowledge.isin(("", PRETRAINED))]


def strongest_table(part: pd.DataFrame) -> tuple[list[str], list[list[str]], list[str]]:
    """Return heads, cells and notes of an attack's table: a row per variant, by its strongest attacker.

    Columns that would be empty are left out; a verdict's ``[1]`` is the first of the notes.
    """
    rows = told(part)
    first: Any = rows_of(rows)[0]
    singled = {row.variant: row for row in rows_of(part[(part.chosen == "true") & (part.measure == SINGLING_OUT)])}
    notes = list(dict.fromkeys(why for row in rows_of(rows) for why in _whys(row)))
    body = []
    for row in rows_of(rows):
        marks = "".join(f" [{notes.index(why) + 1}]" for why in _whys(row))
        raw = "–" if row.variant == ORIGINAL else share(row.raw)
        body.append(
            [row.variant, row.attacker, row.knowledge or "–", rate(row), f"{row.verdict or '–'}{marks}", raw,
             share(row.control), _gain(row), rate(singled[row.variant]) if row.variant in singled else "–",
             percent(row.covered), percent(row.share_missed) if row.covered else "–"]
        )  # fmt: skip
    heads = [
        "variant", "strongest attacker", "knows", named(first.measure, first.size), "verdict", "originals", "control",
        "gain", "singled out", "covered", "risk from the missed",
    ]  # fmt: skip
    kept = [k for k in range(len(heads)) if k in (0, 1, 3) or any(line[k] != "–" for line in body)]
    lines = [[line[k] for k in kept] for line in body]
    return [heads[k] for k in kept], lines, [f"{capital(note)}." for note in notes]


def _count(seeds: int) -> str:
    return "one seed, whose noise is in no interval" if seeds == 1 else f"{seeds} seeds"


def _whys(row: Any) -> list[str]:
    return [why for why in str(row.why).split("; ") if why]


def _gain(row: Any) -> str:
    if not is_number(row.gain) or row.variant == ORIGINAL:
        return "–"
    ends = interval_of(row, "gain")
    said = f" ({number(100 * ends[0])} to {number(100 * ends[1])})" if ends else ""
    return f"{number(100 * row.gain)}{said}"


CROWD = "crowd: median, 5th percentile, below 10"


def _crowd(row: Any) -> str:
    """Say in how large a crowd people hide."""
    if not is_number(row.crowd_median):
        return "–"
    return f"{number(row.crowd_median)}, {number(row.crowd_fifth)}, {percent(row.crowd_below_10)}"


def _everything(part: pd.DataFrame) -> list[str]:
    """Return the lines of the table of all attackers and measures."""
    every = list(dict.fromkeys(zip(part.measure, part["size"], strict=True)))
    keys = [key for key in every if "/" not in key[0]]
    rest = [key for key in every if key not in keys]
    if len(keys) > MOST_COLUMNS or not keys:
        return _by_measure(part[part.chosen == "true"], every)
    body = []
    for (variant, attacker), rows in part.groupby(["variant", "attacker"], sort=False):
        of = {(row.measure, row.size): row for row in rows_of(rows)}
        first = rows_of(rows)[0]
        name = f"**{attacker}**" if first.chosen == "true" else f"*{attacker}*" if first.role != ATTACKER else attacker
        cells = [_alone(of[key]) if key in of else "–" for key in keys]
        linked = rows_of(rows[rows.measure == LINKABILITY])[:1]
        crowd = [_crowd(linked[0]), share(linked[0].mean_average_precision)] if linked else ["–", "–"]
        body.append([f"`{variant}`", name, first.knowledge, first.view, *cells, *crowd])
    head = ["variant", "attacker", "knows", "sees", *(named(*key) for key in keys), CROWD, "mAP"]
    keep = [k for k in range(len(head)) if k < 2 or any(line[k] not in ("–", "") for line in body)]
    table = tabulate(
        [[line[k] for k in keep] for line in body], [head[k] for k in keep], tablefmt="github", disable_numparse=True
    )
    lines = ["Every attacker (**the strongest**, *controls and references*), each interval by itself:", "", table]
    return lines + (["", *_by_measure(part[part.chosen == "true"], rest)] if rest else [])


def _alone(row: Any) -> str:
    ends = interval_of(row, "value")
    said = f" ({number(100 * ends[0])} to {number(100 * ends[1])})" if ends else ""
    return f"{number(100 * row.value)}{said}"


def _by_measure(part: pd.DataFrame, keys: list[tuple[str, str]]) -> list[str]:
    variants = list(dict.fromkeys(part.variant))
    body = []
    for measure, size in keys:
        rows = {row.variant: row for row in rows_of(part[(part.measure == measure) & (part["size"] == size)])}
        chance = next((share(row.chance) for row in rows.values()), "–")
        cells = [f"{number(100 * rows[v].value)}{_mark(rows[v])}" if v in rows else "–" for v in variants]
        body.append([named(measure, size), chance, *cells])
    table = tabulate(body, ["measure", "chance", *(f"`{v}`" for v in variants)], "github", disable_numparse=True)
    return [f"By the strongest attacker (\\*: {ABOVE}):", "", table]


def _mark(row: Any) -> str:
    return r" \*" if row.verdict == ABOVE else ""


# --- LaTeX


def privacy_latex(table: pd.DataFrame) -> str:
    """Return one booktabs ``tabular`` per data set and attack: rows are variants, by the strongest attacker of each.

    It needs the packages booktabs and graphicx, as impact.tex does.
    """
    found = [
        "% Needs \\usepackage{booktabs} and \\usepackage{graphicx}; what is wider than \\textwidth is shrunk to it.\n"
        "% Written by anonbench report-tables. Rates in per cent by the strongest attacker of each variant, chosen on\n"
        f"% others; 95 % intervals over {over(table)} and attackers' seeds hold at once for all variants\n"
        "% of the primary question.\n"
        f"% Marks: * {ABOVE}; none: {AT_CHANCE}, which is no proof; ? {NO_VERDICT}: the attack failed."
    ]
    for dataset, attack, part in attacks_of(table):
        rows = told(part)
        if rows.empty:
            continue
        first: Any = rows_of(rows)[0]
        singled = {row.variant: row for row in rows_of(part[(part.chosen == "true") & (part.measure == SINGLING_OUT)])}
        chance = f" (chance {number(100 * first.chance)}\\,\\%)" if is_number(first.chance) else ""
        extra = " & Singled out" if singled else ""
        lines = [
            f"% {dataset}, {attack}: {_risks(part)}",
            FIT + "{%",
            rf"\begin{{tabular}}{{lllrr{'l' if singled else ''}}}",
            r"\toprule",
            rf"Variant & Strongest attacker & {escape(capital(named(first.measure, first.size)))}{chance} & Control & "
            rf"Gain{extra} \\",
        ]
        last = None
        for row in rows_of(rows):
            if row.region != last:
                lines.append(r"\midrule")
                last = row.region
            gain = "--" if row.variant == ORIGINAL or not is_number(row.gain) else _tex(100 * row.gain)
            cells = [escape(row.variant), escape(row.attacker), _tex_rate(row), _tex_share(row.control), gain]
            cells += [_tex_rate(singled[row.variant]) if row.variant in singled else "--"] if singled else []
            lines.append(" & ".join(cells) + r" \\")
        found.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}}"]))
    return "\n\n".join(found) + "\n"


def _tex(value: float) -> str:
    """Return a number with one digit in mathematics, whose minus is one."""
    return rf"${number(value).replace('−', '-')}$"


def _tex_share(value: Any) -> str:
    return _tex(100 * value) if is_number(value) else "--"


def _tex_rate(row: Any) -> str:
    ends = deciding(row)
    mark = {ABOVE: "^{*}", NO_VERDICT: "^{?}"}.get(row.verdict, "")
    said = rf"\ [{number(100 * ends[0])},\,{number(100 * ends[1])}]".replace("−", "-") if ends else ""
    return rf"${number(100 * row.value).replace('−', '-')}{mark}{said}$"


# --- macros and metrics


def privacy_macros(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield name and text of each number that a text would quote of the strongest attackers, in per cent.

    A name is data set, attack, measure (, gallery), variant and what it is: `Value`, `Low`, `High` (of all variants at
    once), `Raw`, `Control`, `Gain`, `GainLow`, `GainHigh`, `Chance`, `Verdict`.
    """
    for row in rows_of(table[table.chosen == "true"]):
        words = [row.dataset, row.attack, row.measure, row.size, row.variant]
        low, high = deciding(row) or (None, None)
        numbers = {"Value": row.value, "Low": low, "High": high, "Chance": row.chance}
        if row.variant != ORIGINAL:
            numbers |= {"Raw": row.raw, "Control": row.control, "Gain": row.gain}
            numbers |= {"GainLow": row.gain_low, "GainHigh": row.gain_high}
        for what, value in numbers.items():
            if is_number(value):
                yield macro(*words, what), rf"\ensuremath{{{number(100 * value).replace('−', '-')}}}"
        if row.verdict:
            yield macro(*words, "Verdict"), escape(row.verdict)


def flat_privacy(table: pd.DataFrame) -> dict[str, Any]:
    """Return the strongest attackers' headlines by attack, measure and variant, as `tables.flat` has AP.

    Under ``privacy of <data set>``, which no data set can be called.
    """
    found: dict[str, Any] = {}
    for row in rows_of(told(table)):
        low, high = deciding(row) or (None, None)
        numbers = {"value": row.value, "low": low, "high": high, "chance": row.chance, "gain": row.gain}
        of = {name: round(float(value), 4) + 0.0 for name, value in numbers.items() if is_number(value)}
        if row.variant == ORIGINAL or is_identity(row.variant):
            of.pop("gain", None)
        place = found.setdefault(f"privacy of {row.dataset}", {}).setdefault(row.attack, {})
        measure = f"{row.measure}_{row.size}" if row.size else row.measure
        place.setdefault(measure, {})[row.variant] = of | ({"verdict": row.verdict} if row.verdict else {})
    return found
