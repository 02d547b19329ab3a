"""How often intervals hold the truth, how wide they are, and how often a family of them misleads: by simulation.

    python benchmarks/intervals.py                    # every scenario, about ten minutes on two cores
    python benchmarks/intervals.py --studies 500      # rougher
    python benchmarks/intervals.py --write            # the tables of docs/measurements/intervals.md anew
    python benchmarks/intervals.py --against 3 --seeds 3 --studies 400   # variants against each other (versus.csv)
    python benchmarks/intervals.py --margin 3 --studies 400              # equivalence, and the share that is kept

A simulated study has an original and `--variants` variants in two tasks, trained with 2, 3 or 5 seeds, and the original
with `--further` ones. No variant does anything, so every interval that leaves out zero is wrong. The scenarios differ
in what a seed does to all variants alike, in who spreads how much, and in how much images matter. With `--against` all
are compared with so many of them, of which the first stands in the original's place. With `--margin` every variant is
worse by just that, so that each "no practical difference" is wrong.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy import special
from tabulate import tabulate

from anonbench.cli import one_sentence
from anonbench.report.judging import intervals, judged
from anonbench.report.judging import kept as share_kept
from anonbench.statistics.contrasts import Contrast, Panel
from anonbench.statistics.family import Member, simultaneous_factor, simultaneous_intervals
from anonbench.statistics.verdicts import SAME

PAGE = Path(__file__).parents[1] / "docs" / "measurements" / "intervals.md"
TASKS = 2
IMAGES, REPLICATES = 120, 200
TRUE = 50.0
"""What every model would reach, were there no noise; in spreads of a variant."""


@dataclass(frozen=True)
class Scenario:
    """Standard deviations, in units of a usual variant's spread over seeds.

    ``sds`` returns those of the original and the variants, given their APs (original first); ``seed`` is what a seed
    does to all alike, in proportion to AP where ``grows``; ``image`` is what images do to a difference; ``listed``: the
    intervals must hold in it (others are there to see where they break).
    """

    name: str
    sds: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    seed: float = 0.0
    grows: bool = False
    image: float = 0.0
    listed: bool = True

    def called(self, name: str = "") -> str:
        """Return the scenario's name, or another one of it, as a table has it: in italics where it is not listed."""
        name = name or self.name
        return name if self.listed else f"*{name}*"


def equal(ap: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the same spread for all."""
    return np.ones(len(ap))


def growing(ap: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a spread in proportion to AP."""
    return ap / ap[0]


def original(factor: float, ap: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a spread that is larger for the original."""
    return np.r_[factor, np.ones(len(ap) - 1)]


def ragged(ap: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return spreads that differ from variant to variant by a factor of 1.6 up or down."""
    return np.exp(0.5 * random.standard_normal(len(ap)))


def one_wild(ap: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the same spread for all but one variant, which spreads four times as much."""
    return np.where(np.arange(len(ap)) == len(ap) // 2, 4.0, 1.0)


SCENARIOS = (
    Scenario("nothing in common", equal),
    Scenario("seeds in common", equal, seed=1.5),
    Scenario("spread grows with AP", growing),
    Scenario("spread grows with AP, seeds in common", growing, seed=1.5, grows=True),
    Scenario("original spreads twice as much", partial(original, 2.0)),
    Scenario("original spreads twice as much, seeds in common", partial(original, 2.0), seed=1.5),
    Scenario("images matter as much as seeds", equal, seed=1.5, image=1.0),
    Scenario("original spreads three times as much", partial(original, 3.0), listed=False),
    Scenario("every variant spreads in its own way", ragged, seed=1.5, listed=False),
    Scenario("one variant spreads four times as much", one_wild, seed=1.5, listed=False),
)


def study(
    scenario: Scenario, variants: int, seeds: int, random: np.random.Generator, further: int = 0
) -> Iterator[Panel]:
    """Yield a panel (V + 1, n) per task; images are drawn by bootstrap from effects of their own on every model."""
    whole = seeds + further
    ap = np.r_[40.0, np.linspace(40, 8, variants)]
    effects = random.standard_normal((variants + 1, 1, IMAGES)) * scenario.image * np.sqrt(IMAGES / 2)
    weights = random.multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES), size=REPLICATES) / IMAGES
    for _ in range(TASKS):
        alike = scenario.seed * random.standard_normal((1, whole)) * (ap[:, None] / ap[0] if scenario.grows else 1)
        sds = scenario.sds(ap, random)
        # what images do to one training alone is a part of its spread over seeds
        single = 0.3 * random.standard_normal((variants + 1, whole, IMAGES)) * sds[:, None, None] * np.sqrt(IMAGES)
        own = np.sqrt(1 - 0.3**2) * sds[:, None] * random.standard_normal((variants + 1, whole))
        each = effects + single
        values = TRUE + alike + own + each.mean(axis=2)
        replicates = None
        if scenario.image:
            replicates = (TRUE + alike + own)[:, :, None] + each @ weights.T
        drawn, more = None, None
        if replicates is not None:
            drawn, more = replicates[:, :seeds], replicates[0, seeds:]
        learnt = np.ones(variants + 1, dtype=bool)
        yield Panel(values[:, :seeds], drawn, IMAGES, learnt, further=values[0, seeds:], further_replicates=more)


def pooled_before(panel: Panel) -> float:
    """Return the half-width as it was before: spread pooled over all variants, seeds as if not paired."""
    within = panel.values.var(axis=1, ddof=1)
    freedom = within.size * (panel.seeds - 1)
    images = (
        0.0 if panel.replicates is None else float((panel.replicates[1:] - panel.replicates[:1]).mean(1).var(1).mean())
    )
    return float(special.stdtrit(freedom, 0.975) * np.sqrt(2 * within.mean() / panel.seeds + images))


def two_way(panel: Panel) -> float:
    """Return the half-width of a two-way analysis of variance: seeds as blocks, one spread for all, images as now."""
    freedom = (len(panel.values) - 1) * (panel.seeds - 1)
    images = panel.contrast(1).part(images=True)
    return float(special.stdtrit(freedom, 0.975) * np.sqrt(2 * two_way_square(panel) / panel.seeds + images))


def two_way_square(panel: Panel) -> float:
    """Return the one mean square of a two-way analysis of variance."""
    residuals = panel.values - panel.values.mean(axis=1, keepdims=True)
    residuals = residuals - residuals.mean(axis=0)
    return float((residuals**2).sum() / (len(residuals) - 1) / (panel.seeds - 1))


def own_pairs(contrast: Contrast, panel: Panel, variant: int) -> float:
    """Return the half-width of the paired t interval of one variant alone."""
    differences = panel.values[variant] - panel.values[0]
    return float(special.stdtrit(panel.seeds - 1, 0.975) * differences.std(ddof=1) / np.sqrt(panel.seeds))


@dataclass(frozen=True)
class Found:
    """What many studies of one scenario came to: shares in per cent, half-widths in the unit of spread."""

    scenario: Scenario
    seeds: int
    further: int
    covered: float
    worst: float
    width: float
    median: float
    covered_before: float
    width_before: float
    width_own: float
    covered_pooled: float
    width_pooled: float
    wrong: float
    wrong_alone: float
    wrong_before: float


def simulate(job: tuple[int, int, int, int, int]) -> Found:
    """Run the studies of one scenario (by position), number of seeds, and of further ones of the original."""
    position, seeds, further, variants, studies = job
    scenario, random = SCENARIOS[position], np.random.default_rng([position, seeds, variants, *[further][:further]])
    inside, before, pooled, widths, earlier, own, joint = [], [], [], [], [], [], []
    wrong = alone = then = 0
    for k in range(studies):
        members, errors, old, both = [], [], [], []
        for task, panel in enumerate(study(scenario, variants, seeds, random, further)):
            half, together = pooled_before(panel), two_way(panel)
            for v in range(1, variants + 1):
                contrast = panel.contrast(v)
                members.append(Member(str(task), "image", contrast))
                errors.append(abs(contrast.value))
                old.append(half)
                both.append(together)
                own.append(own_pairs(contrast, panel, v))
        error, halves = np.array(errors), np.array([m.contrast.half() for m in members])
        factor = simultaneous_factor(members, k, draws=2000)
        inside.append(error <= halves)
        before.append(error <= np.array(old))
        pooled.append(error <= np.array(both))
        joint.append(both)
        widths.append(halves)
        earlier.append(old)
        alone += (error > halves).any()
        wrong += (error > factor * halves).any()
        then += (error > np.array(old)).any()
    share = 100 * np.mean(inside, axis=0)
    return Found(
        scenario, seeds, further, float(share.mean()), float(share.min()),
        float(np.mean(widths)), float(np.median(widths)),
        100 * float(np.mean(before)), float(np.mean(earlier)), float(np.mean(own)),
        100 * float(np.mean(pooled)), float(np.mean(joint)),
        100 * wrong / studies, 100 * alone / studies, 100 * then / studies,
    )  # fmt: skip


def table(found: list[Found]) -> str:
    """Return the results as Markdown."""
    heads = [
        "scenario", "seeds", "coverage, %", "worst variant", "half-width, mean", "median", "before: coverage, %",
        "before: mean", "two-way: coverage, %", "two-way: mean",
        "own pairs alone: mean", "family misleads, %", "row by row", "before",
    ]  # fmt: skip
    rows = [
        [
            f.scenario.called(),
            f"{f.seeds} + {f.further}" if f.further else f.seeds, f"{f.covered:.1f}",
            f"{f.worst:.1f}", f"{f.width:.2f}", f"{f.median:.2f}",
            *([""] * 5 if f.further else (  # rules that know no further seeds
                f"{f.covered_before:.1f}", f"{f.width_before:.2f}", f"{f.covered_pooled:.1f}", f"{f.width_pooled:.2f}",
                f"{f.width_own:.2f}",
            )),
            f"{f.wrong:.1f}", f"{f.wrong_alone:.1f}", "" if f.further else f"{f.wrong_before:.1f}",
        ]
        for f in found
    ]  # fmt: skip
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


@dataclass(frozen=True)
class Rivals:
    """What many studies of variants against each other came to: families that hold, in per cent, and half-widths."""

    scenario: Scenario
    seeds: int
    pairs: int
    covered: float
    width: float
    covered_alone: float
    width_alone: float
    covered_pooled: float
    width_pooled: float


def simulate_pairs(job: tuple[int, int, int, int, int]) -> Rivals:
    """Run studies of one scenario (by position) and number of seeds, with so many references; see `Rivals`."""
    position, seeds, count, variants, studies = job
    scenario, random = SCENARIOS[position], np.random.default_rng([position, seeds, variants, count])
    references = sorted({int(place) for place in np.linspace(0, variants - 1, count)})
    # of two references the first is the base, in whichever order they are told
    pairs = [(v, r) for r in references for v in range(variants + 1) if v != r]
    pairs = [(max(v, r), min(v, r)) if v in references else (v, r) for v, r in pairs]
    rows, bases = np.array(pairs).T
    critical = largest_of_pairs(rows, bases, variants + 1, seeds)
    inside, widths = np.zeros((studies, 3), dtype=bool), np.zeros((studies, 3))
    for k in range(studies):
        panel = next(study(scenario, variants, seeds, random))
        members = [Member("task", "image", panel.against(v, r), str(v), str(r)) for v, r in pairs]
        ends = np.array(simultaneous_intervals(members, k, draws=1000))
        alone = [replace(panel, pools=False).against(v, r) for v, r in pairs]
        images = np.array([contrast.part(images=True) for contrast in alone])
        halves = np.stack(
            [
                np.ptp(ends, axis=1) / 2,
                [contrast.half(1 - 0.05 / len(pairs)) for contrast in alone],
                critical * np.sqrt(2 * two_way_square(panel) / seeds + images),
            ]
        )
        errors = np.abs([member.contrast.value for member in members])
        inside[k], widths[k] = (errors <= halves).all(axis=1), np.median(halves, axis=1)
    covered, width = 100 * inside.mean(axis=0), widths.mean(axis=0)
    numbers = (float(number) for both in zip(covered, width, strict=True) for number in both)
    return Rivals(scenario, seeds, len(pairs), *numbers)


def largest_of_pairs(rows: np.ndarray, bases: np.ndarray, variants: int, seeds: int) -> float:
    """Return the 95 % quantile of the largest t of pairs that all share one spread."""
    random = np.random.default_rng([variants, seeds, len(rows)])
    freedom = (variants - 1) * (seeds - 1)
    means = random.standard_normal((20_000, variants))
    largest = np.abs(means[:, rows] - means[:, bases]).max(axis=1) / np.sqrt(2)
    return float(np.quantile(largest / np.sqrt(random.chisquare(freedom, len(means)) / freedom), 0.95))


def table_of_pairs(found: list[Rivals]) -> str:
    """Return the results of `simulate_pairs` as Markdown."""
    heads = [
        "scenario", "seeds", "pairs", "family holds, %", "half-width", "own pairs, Bonferroni: %", "half-width",
        "one spread for all: %", "half-width",
    ]  # fmt: skip
    rows = []
    for f in found:
        name = f.scenario.name.replace("original", "one reference")
        rows.append(
            [
                f.scenario.called(name), f.seeds, f.pairs, f"{f.covered:.1f}", f"{f.width:.2f}",
                f"{f.covered_alone:.1f}", f"{f.width_alone:.2f}", f"{f.covered_pooled:.1f}", f"{f.width_pooled:.2f}",
            ]
        )  # fmt: skip
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


@dataclass(frozen=True)
class Equal:
    """What many studies say of a loss that is just the margin, and of none: shares of rows, in per cent."""

    scenario: Scenario
    seeds: int
    wrong: float
    worst: float
    right: float
    covered: float
    kept: float


def simulate_equivalence(job: tuple[int, int, float, int, int]) -> Equal:
    """Run studies of one scenario (by position) and number of seeds, whose variants all lose the margin; see `Equal`.

    The same studies are judged once more without the loss.
    """
    position, seeds, margin, variants, studies = job
    scenario, random = SCENARIOS[position], np.random.default_rng([position, seeds, variants, 90])
    wrong, right, inside, kept = ([] for _ in range(4))
    loss = np.r_[0.0, np.full(variants, margin)]
    for _ in range(studies):
        panel = next(study(scenario, variants, seeds, random))
        drawn = None if panel.replicates is None else panel.replicates - loss[:, None, None]
        lost = replace(panel, values=panel.values - loss[:, None], replicates=drawn)
        reference, true = float(lost.values[0].mean()), 100 * (1 - margin / TRUE)
        told, bare = ([intervals(one.contrast(v), None) for v in range(1, variants + 1)] for one in (lost, panel))
        wrong.append([judged(found, margin, True) == SAME for found in told])
        right.append([judged(found, margin, True) == SAME for found in bare])
        inside.append([found["equivalence_low"] <= -margin <= found["equivalence_high"] for found in told])
        shares = [
            share_kept(found["difference"], reference, partial(lost.contrast, v)) for v, found in enumerate(told, 1)
        ]
        kept.append([share["kept_low"] <= true <= share["kept_high"] for share in shares])
    false = 100 * np.mean(wrong, axis=0)
    shown = (float(100 * np.mean(one)) for one in (right, inside, kept))
    return Equal(scenario, seeds, float(false.mean()), float(false.max()), *shown)


def table_of_equivalence(found: list[Equal]) -> str:
    """Return the results of `simulate_equivalence` as Markdown."""
    heads = [
        "scenario", "seeds", "wrongly no practical difference, %", "worst variant", "rightly, of no loss, %",
        "90 % interval holds, %", "share kept: 95 % interval holds, %",
    ]  # fmt: skip
    rows = [
        [
            f.scenario.called(), f.seeds,
            *(f"{number:.1f}" for number in (f.wrong, f.worst, f.right, f.covered, f.kept)),
        ]
        for f in found
    ]  # fmt: skip
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies per scenario")
    parser.add_argument("--variants", type=int, nargs="+", default=[7], help="variants of a study")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--further", type=int, nargs="+", default=[0], help="further seeds of the original alone")
    parser.add_argument("--scenarios", type=int, nargs="+", default=range(len(SCENARIOS)), help="by number, from 0")
    parser.add_argument("--against", type=int, default=0, help="instead: all against so many of them")
    parser.add_argument("--margin", type=float, default=0.0, help="instead: equivalence, in spreads of a variant")
    parser.add_argument("--write", action="store_true", help="renew the tables of docs/measurements/intervals.md")
    given = parser.parse_args()
    texts = []
    with multiprocessing.Pool(len(os.sched_getaffinity(0))) as pool:
        for variants in given.variants:
            if given.against:
                tried = [(k, n, given.against, variants, given.studies) for k in given.scenarios for n in given.seeds]
                against = table_of_pairs(pool.map(simulate_pairs, tried, chunksize=1))
                print(f"### {variants + 1} variants, {given.studies} studies per row\n\n{against}\n", flush=True)
                continue
            if given.margin:
                tests = [(k, n, given.margin, variants, given.studies) for k in given.scenarios for n in given.seeds]
                text = table_of_equivalence(pool.map(simulate_equivalence, tests, chunksize=1))
                print(f"### Margin {given.margin:g}, {given.studies} studies per row\n\n{text}\n", flush=True)
                continue
            jobs = [
                (k, n, m, variants, given.studies) for k in given.scenarios for n in given.seeds for m in given.further
            ]
            found = pool.map(simulate, jobs, chunksize=1)
            texts.append(f"### {variants} variants, {given.studies} studies per row\n\n{table(found)}\n")
            print(texts[-1], flush=True)
    if given.write and texts:
        head, mark, _ = PAGE.read_text(encoding="utf-8").partition("<!-- tables -->\n")
        PAGE.write_text(head + mark + "\n" + "\n".join(texts), encoding="utf-8")


if __name__ == "__main__":
    with one_sentence():
        main()
