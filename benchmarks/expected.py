"""The default study's results against those that are expected of it, or the expectations anew after a change.

python benchmarks/expected.py [--results results] [--expected config/expected/default.yaml] [--write]
The tests do the same with the smallest study (tests/expected); this one takes a finished run of the default study, as
`make demo` makes it or as it stands in git. With --write the file is made from the results: values, and tolerances from
the spread over seeds. Look at what changed before you commit it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anonbench.cli import one_sentence
from anonbench.files import read_json
from anonbench.report import expected as expectations
from anonbench.report.tables import read_csv

PROJECT = Path(__file__).parents[1]


def main(
    results: Annotated[Path, typer.Option(help="the study's folder of results")] = PROJECT / "results",
    expected: Annotated[Path, typer.Option(help="the expected results")] = PROJECT / "config/expected/default.yaml",
    write: Annotated[bool, typer.Option(help="write the expected results from these results")] = False,
) -> None:
    """Print the table of expected and found results."""
    if write:
        tables = results / "tables"
        made = read_json(results / "provenance.json")
        impact, seeds = (read_csv(tables / f"{name}.csv") for name in ("impact", "seeds"))
        privacy = read_csv(tables / "privacy.csv") if (tables / "privacy.csv").is_file() else None
        proposed = expectations.propose(made["study"], impact, seeds, privacy)
        expectations.write(proposed, expected)
    expectations.check(expected, results)


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
