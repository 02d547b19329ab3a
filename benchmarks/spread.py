"""How often the page's warning finds a variant that spreads over seeds more than the others, in simulated studies.

python benchmarks/spread.py [--studies 4000] [--variants 7]
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer
from tabulate import tabulate

from anonbench.cli import one_sentence
from anonbench.report.answer import ODD
from anonbench.statistics.spread import outlying_spread


def warned(studies: int, variants: int, seeds: int, times: float) -> float:
    """Return the share of studies with a warning, where the first variant spreads so many times as much."""
    random = np.random.default_rng(1)
    found = 0
    for _ in range(studies):
        values = random.normal(size=(variants, seeds)) + 2 * random.normal(size=seeds)
        values[0] += random.normal(size=seeds) * np.sqrt(times**2 - 1)
        found += outlying_spread(values)[2] < ODD
    return found / studies


def main(
    studies: Annotated[int, typer.Option(help="Simulated studies per row.")] = 4000,
    variants: Annotated[int, typer.Option(help="Variants but the original that learnt something.")] = 7,
) -> None:
    """Print the table."""
    spreads = (1, 2, 4)
    rows = [[seeds, *(f"{100 * warned(studies, variants, seeds, t):.0f} %" for t in spreads)] for seeds in (2, 3, 5)]
    print(tabulate(rows, headers=["seeds", *(f"{t} x the others' spread" for t in spreads)], tablefmt="github"))


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
