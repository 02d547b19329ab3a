"""Published results of learned anonymizers: the page has the package's numbers, and says what does not add up."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

import anonbench

PACKAGE = Path(anonbench.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "measurements" / "published-actions.md"
ROUNDED = {"top-1": 0.0151, "cMAP": 0.0151, "F1": 0.0006}
"""What rounding explains: drops and values are printed to two digits, F1 to three."""


def read() -> pd.DataFrame:
    return pd.read_csv(PACKAGE / "published" / "actions_2025.csv", comment="#")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_the_page_lists_exactly_the_drops_that_do_not_add_up() -> None:
    results = read()
    raw = results[results.method == "raw"].set_index(["table", "data", "measure"]).value
    wrong = set()
    for row in results[results["drop"].notna()].itertuples():
        apart = raw[row.table, row.data, row.measure] - row.value - row.drop
        if abs(apart) > ROUNDED[row.measure]:
            wrong.add((row.table, row.data, row.measure, row.method, row.value, row.drop))
    assert len(wrong) == 15
    listed = set()
    for line in PAGE.read_text().splitlines():
        if re.match(r"\| (known|novel) \|", line):
            table, data, measure, method, base, value, drop, real = cells(line)
            assert float(base) == raw[table, data, measure]
            assert abs(float(base) - float(value) - float(real)) < 1e-9
            listed.add((table, data, measure, method, float(value), float(drop)))
    assert listed == wrong


def test_the_page_has_every_number() -> None:
    results = read()
    text = PAGE.read_text()
    found = set()
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if lines and lines[0].startswith("| | "):
            columns = [tuple(cell.rsplit(", ", 1)) for cell in cells(lines[0])[1:]]
            for line in lines[2:]:
                method, *values = cells(line)
                found |= {(*c, method, float(v)) for c, v in zip(columns, values, strict=True) if v != "–"}
    assert found == set(results[["data", "measure", "method", "value"]].itertuples(index=False, name=None))
