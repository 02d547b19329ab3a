"""The default study's numbers before and after a change that should not move them: every row of impact.csv.

python benchmarks/tables.py --before REVISION [--results results]
Reads ``impact.csv`` of the results in git at REVISION, of today's form (a row per metric) or of the form before (a row
per category, columns ap, ap50, ap75), and compares values, spreads, differences, intervals and verdicts with those of
the working tree. Ends with status 1 where anything differs in the last of the four digits that the tables have.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from tabulate import tabulate

from anonbench.cli import one_sentence

PROJECT = Path(__file__).parents[1]
NAMES = {"bbox": "detection", "segm": "segmentation", "keypoints": "pose"}
KEYS = ["dataset", "model", "direction", "task", "category", "variant", "metric"]
NUMBERS = ["value", "value_std", "difference", "difference_low", "difference_high", "share_changed"]
COUNTS = ["n_seeds", "seeds_needed", "samples_needed", "instances", "samples"]
OF_BEFORE = ["images", "images_needed"]
TEXTS = ["group", "region", "method", "level", "verdict", "leaks"]


def long(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of the form before in today's: a row per metric."""
    table = table.assign(task=table.task.map(NAMES), direction="original")
    table = table.rename(columns={"images": "samples", "images_needed": "samples_needed"})
    parts = [table.rename(columns={"ap": "value", "ap_std": "value_std"}).assign(metric="AP")]
    for column, metric in (("ap50", "AP50"), ("ap75", "AP75")):
        parts.append(table.rename(columns={column: "value"}).assign(metric=metric))
    return pd.concat(parts, ignore_index=True)


def read(text: str) -> pd.DataFrame:
    """Read impact.csv of either form."""
    table = pd.read_csv(
        io.StringIO(text), keep_default_na=False, na_values=dict.fromkeys((*NUMBERS, *COUNTS, *OF_BEFORE), "")
    )
    return long(table) if "metric" not in table.columns else table


def main(
    before: Annotated[str, typer.Option(help="revision of git with the results to compare with")],
    results: Annotated[Path, typer.Option(help="the folder of results")] = PROJECT / "results",
) -> None:
    """Print how many numbers were compared and what differs."""
    name = "results/tables/impact.csv"
    command = ["git", "show", f"{before}:{name}"]
    shown = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    texts = (shown, (results / "tables" / "impact.csv").read_text())
    old, new = (read(text).set_index(KEYS).sort_index() for text in texts)
    missing, more = old.index.difference(new.index), new.index.difference(old.index)
    rows, compared = [], 0
    for key in old.index.intersection(new.index):
        first = key[-1] == "AP"
        for column in (*NUMBERS, *COUNTS, *TEXTS) if first else ("value",):
            a, b = old.loc[key, column], new.loc[key, column]
            compared += 1
            if not ((pd.isna(a) and pd.isna(b)) or a == b):
                rows.append([*key, column, a, b])
    print(tabulate(rows, [*KEYS, "column", "before", "now"], "github"))
    gone = f"{len(missing)} rows gone, {len(more)} more"
    print(f"{compared} entries of {len(old)} rows compared: {len(rows)} differ; {gone}")
    sys.exit(1 if rows or len(missing) else 0)


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
