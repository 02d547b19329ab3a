"""How often a study that was planned from a pilot decides rightly: by simulation.

    python benchmarks/power.py                    # every scenario, about three minutes on two cores
    python benchmarks/power.py --studies 100      # rougher
    python benchmarks/power.py --write            # the tables of docs/measurements/power.md anew

A pilot of 3 seeds is drawn, a plan is made from it, a study with the planned seeds and images is drawn, and its verdict
is compared with the truth. Right is a drop or gain of the true sign, or `no practical difference` where the truth lies
within the margin. Truths are even between minus and plus four margins; plans that are given up are counted apart.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import special
from tabulate import tabulate

from anonbench.cli import one_sentence
from anonbench.statistics.contrasts import EQUIVALENCE_LEVEL, Contrast, Panel
from anonbench.statistics.power import MOST_SEEDS, Pilot, plan
from anonbench.statistics.verdicts import DROP, GAIN, SAME, UNSURE, verdict

PAGE = Path(__file__).parents[1] / "docs" / "measurements" / "power.md"
REPLICATES = 200
SEEDS, IMAGES, MARGIN = 3, 500, 1.0
BANDS = ((0.0, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 4.0))
"""Sizes of the true difference, in margins."""


@dataclass(frozen=True)
class Scenario:
    """``spread``: standard deviation of a variant over seeds, in margins; ``original``: how many times that is the
    original's; ``image``: standard deviation of what the pilot's images do to a difference; ``variants``: how many."""

    name: str
    variants: int
    spread: float
    original: float = 1.0
    image: float = 0.0


SCENARIOS = (
    Scenario("one variant", 1, 1.0),
    Scenario("seven variants", 7, 1.0),
    Scenario("seven variants, seeds spread twice as much", 7, 2.0),
    Scenario("seven variants, the original spreads twice as much", 7, 1.0, original=2.0),
    Scenario("seven variants, images matter as much as seeds", 7, 1.0, image=0.8),
    Scenario("seven variants, images matter most", 7, 0.3, image=0.8),
)


def study(scenario: Scenario, truth: float, seeds: int, images: int, random: np.random.Generator) -> Contrast:
    """Draw a study and return the contrast of its first variant, whose true difference is ``truth``."""
    sds = scenario.spread * np.r_[scenario.original, np.ones(scenario.variants)]
    common = 1.5 * scenario.spread * random.standard_normal(seeds)
    image = scenario.image * np.sqrt(IMAGES / images / 2)
    values = 40 + common + sds[:, None] * random.standard_normal((scenario.variants + 1, seeds))
    values += image * random.standard_normal((scenario.variants + 1, 1))
    values[1] += truth
    drawn = image * np.sqrt(1 - 1 / images) * random.standard_normal((scenario.variants + 1, 1, REPLICATES))
    replicates = values[:, :, None] + drawn if image else None
    return Panel(values, replicates, images, np.ones(scenario.variants + 1, dtype=bool)).contrast(1)


def said(contrast: Contrast) -> str:
    """Return the verdict of a contrast by itself."""
    return verdict(contrast.interval(), contrast.interval(EQUIVALENCE_LEVEL), MARGIN)


def plan_before(scenario: Scenario, pilot: Contrast) -> tuple[int | None, int]:
    """Return seeds and images as they were planned before: the half-width that would decide, were the pilot true."""
    target = max(MARGIN - abs(pilot.value), abs(pilot.value))
    half = 1.96 * math.sqrt(pilot.part(images=True))
    enough = half < 0.9 * target
    images = IMAGES if enough else math.ceil(2 * IMAGES * (half / target) ** 2)
    left = math.sqrt(target**2 - half**2) if enough else target / math.sqrt(2)
    spread = math.sqrt(pilot.part(images=False) * SEEDS)
    for seeds in range(SEEDS, MOST_SEEDS + 1):
        if special.stdtrit(scenario.variants * (seeds - 1), 0.975) * spread / math.sqrt(seeds) <= left:
            return seeds, images
    return None, images


def right(judged: str, truth: float) -> bool:
    """Tell whether a verdict is right."""
    return (judged == SAME and abs(truth) < MARGIN) or judged == (DROP if truth < 0 else GAIN)


def simulate(job: tuple[int, int]) -> list[str]:
    """Return a row of the table: a scenario (by position) with many pilots."""
    position, studies = job
    scenario, random = SCENARIOS[position], np.random.default_rng([position])
    outcomes: dict[str, list[bool]] = {}
    near = f"within {BANDS[2][1]:g}"
    given_up = undecided = 0
    seeds, images = [], []
    for _ in range(studies):
        truth = random.uniform(-BANDS[-1][1], BANDS[-1][1]) * MARGIN
        pilot = study(scenario, truth, SEEDS, IMAGES, random)
        if said(pilot) != UNSURE:
            continue
        undecided += 1
        then = plan_before(scenario, pilot)
        if then[0] is not None:
            judged = said(study(scenario, truth, then[0], then[1], random))
            outcomes.setdefault("before", []).append(right(judged, truth))
        found = plan(Pilot.of(pilot, IMAGES), MARGIN, least=SEEDS)
        if found.seeds is None or found.images is None:
            given_up += 1
            continue
        judged = said(study(scenario, truth, found.seeds, found.images, random))
        low, high = next(band for band in BANDS if abs(truth) <= band[1] * MARGIN)
        for key in ("all", f"{low:g} to {high:g}", *([near] if high <= BANDS[2][1] else [])):
            outcomes.setdefault(key, []).append(right(judged, truth))
        outcomes.setdefault("wrong", []).append(judged != UNSURE and not right(judged, truth))
        seeds.append(found.seeds)
        images.append(found.images)
    keys = ("all", near, *(f"{low:g} to {high:g}" for low, high in BANDS), "wrong", "before")
    shares = [f"{100 * np.mean(outcomes[key]):.0f}" if outcomes.get(key) else "" for key in keys]
    return [
        scenario.name,
        str(undecided - given_up),
        *shares,
        f"{100 * given_up / undecided:.0f}",
        f"{np.median(seeds):.0f}",
        f"{np.median(images):.0f}",
    ]


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=500, help="pilots per scenario")
    parser.add_argument("--write", action="store_true", help="renew the table of docs/measurements/power.md")
    given = parser.parse_args()
    with multiprocessing.Pool(len(os.sched_getaffinity(0))) as pool:
        rows = pool.map(simulate, [(k, given.studies) for k in range(len(SCENARIOS))], chunksize=1)
    bands = [f"{low:g} to {high:g}" for low, high in BANDS]
    near = f"within {BANDS[2][1]:g}"
    heads = [
        "scenario",
        "plans",
        "right, %",
        near,
        *bands,
        "wrong, %",
        "before: right, %",
        "given up, %",
        "seeds, median",
        "images, median",
    ]
    text = tabulate(rows, heads, tablefmt="github", disable_numparse=True)
    print(text)
    if given.write:
        head, mark, _ = PAGE.read_text(encoding="utf-8").partition("<!-- table -->\n")
        PAGE.write_text(f"{head}{mark}\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    with one_sentence():
        main()
