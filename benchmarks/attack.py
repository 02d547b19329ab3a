"""How often intervals of an attack's measures hold chance, and how long the measures take.

python benchmarks/attack.py [--studies 400]

Every person has two probes and two gallery images, and nothing ties them together: each side is an embedding of some
dimensions, half of whose variance is a person's own. `t` is value ± t, `percentile` that of the resamples, `used` what
`statistics.rates.rate_interval` gives. The second table is of studies with six variants, all of whose intervals are to
hold at once. The third is of attackers who find people: how often the interval of a study of some people holds what the
same attacker finds among all people, whom probes and gallery are both drawn from.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer
from scipy import special
from tabulate import tabulate

from anonbench.attack.linkage import crowd, linkability
from anonbench.attack.retrieval import average_precision
from anonbench.attack.risk import identity_replicates
from anonbench.attack.verification import auc, tar_at_far, verification_replicates
from anonbench.cli import one_sentence
from anonbench.statistics.family import Member, simultaneous_factor
from anonbench.statistics.rates import level, rate_interval
from anonbench.statistics.resampling import group_weights

FAR = 0.01


def unrelated(random: np.random.Generator, identities: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and the identities of probes and gallery alike: cosines of embeddings that know nothing."""
    people = np.repeat(np.arange(identities), 2)
    sides = [
        random.normal(size=(identities, dimensions))[people] + random.normal(size=(2 * identities, dimensions))
        for _ in range(2)
    ]
    probe, gallery = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    return probe @ gallery.T, people


def coverage(studies: int, identities: int, dimensions: int) -> list[list[object]]:
    """Return a row per measure: the share of intervals that hold chance, in per cent, and their mean width."""
    random, weights = np.random.default_rng(1), group_weights(identities, 300, "attack")
    sizes = {"lambda(10)": 10, f"lambda({identities // 2})": identities // 2, "lambda(all)": identities}
    chance = {name: 1 / size for name, size in sizes.items()} | {"AUC": 0.5, f"TAR at FAR {FAR:g}": FAR}
    held, width = ({name: np.zeros(3) for name in chance} for _ in range(2))
    for _ in range(studies):
        scores, people = unrelated(random, identities, dimensions)
        curve = verification_replicates(scores, people, people, weights, (FAR,))
        found = {
            "AUC": (auc(scores, people, people), curve.auc),
            f"TAR at FAR {FAR:g}": (tar_at_far(scores, people, people, FAR), curve.tar[0]),
        }
        for name, size in sizes.items():
            values = linkability(scores, people, people, size)
            found[name] = float(values.mean()), identity_replicates(values, people, weights)
        for name, (value, replicates) in found.items():
            contrast = level([value], replicates[None], identities)
            low, high = np.quantile(replicates, (0.025, 0.975))
            ends = np.array([contrast.interval(), (low, high), rate_interval(contrast, identities)])
            held[name] += (ends[:, 0] <= chance[name]) & (chance[name] <= ends[:, 1])
            width[name] += ends[:, 1] - ends[:, 0]
    return [
        [identities, dimensions, name, *(100 * held[name] / studies).round(1), *(width[name] / studies).round(4)]
        for name in chance
    ]


def found_by(random: np.random.Generator, identities: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and identities as `unrelated`, of an attacker who sees people's 16 numbers through ``noise``."""
    people = np.repeat(np.arange(identities), 2)
    own = random.normal(size=(identities, 16))[people]
    probe, gallery = (
        side / np.linalg.norm(side, axis=1, keepdims=True)
        for side in (own + noise * random.normal(size=own.shape) for _ in range(2))
    )
    return probe @ gallery.T, people


def of_others(studies: int, identities: int, noise: float) -> list[list[object]]:
    """Return a row per size of gallery: what is found of 1,500 people, the spread of studies of so many, and how it is
    told: the mean standard error, and the share of intervals, in per cent, that hold what is found of all."""
    random, weights = np.random.default_rng(5), group_weights(identities, 300, "attack")
    scores, people = found_by(random, 1500, noise)
    sizes = [size for size in (10, 100) if size <= identities]
    truth = {size: float(linkability(scores, people, people, size).mean()) for size in sizes}
    values: dict[int, list[float]] = {size: [] for size in sizes}
    errors, held = (dict.fromkeys(sizes, 0.0) for _ in range(2))
    for _ in range(studies):
        scores, people = found_by(random, identities, noise)
        for size in sizes:
            each = linkability(scores, people, people, size)
            values[size].append(float(each.mean()))
            replicates = identity_replicates(each, people, weights)
            low, high = rate_interval(level([values[size][-1]], replicates[None], identities), identities)
            errors[size] += float(replicates.std(ddof=1)) / studies
            held[size] += 100 * (low <= truth[size] <= high) / studies
    return [
        [identities, f"lambda({size})", round(truth[size], 3), round(float(np.std(values[size], ddof=1)), 4),
         round(errors[size], 4), round(held[size], 1)]
        for size in sizes
    ]  # fmt: skip


RATES = (0.01, 0.02, 0.2, 0.28, 0.3, 0.4)
"""What the strongest attackers of six variants find in truth."""


def together(studies: int, identities: int, seeds: int, spread: float) -> list[object]:
    """Return the share of studies, in per cent, all of whose intervals hold: each by itself, and widened.

    Who is found is a matter of the person in half, by the same numbers in all variants (a probit model of hits; two
    probes each); an attacker's seed moves its threshold by ``spread`` standard deviations.
    """
    random, weights = np.random.default_rng(3), group_weights(identities, 200, "attack")
    probe, held, factors = np.repeat(np.arange(identities), 2), np.zeros(2), []
    for study in range(studies):
        person = random.normal(size=identities)
        found = []
        for rate in RATES:
            values = []
            for _ in range(seeds):
                threshold = special.ndtri(rate) * np.sqrt(1 + spread**2) + spread * random.normal()
                hidden = np.sqrt(0.5) * person[probe] + np.sqrt(0.3) * random.normal(size=len(probe))
                values.append(special.ndtr((threshold - hidden) / np.sqrt(0.2)))
            means, drawn = np.mean(values, axis=1), identity_replicates(np.stack(values), probe, weights)
            found.append(level(means, drawn, identities))
        members = [Member(str(k), "people", contrast) for k, contrast in enumerate(found)]
        factors.append(simultaneous_factor(members, study))
        for k, factor in enumerate((1.0, factors[-1])):
            ends = [rate_interval(contrast, identities, factor=factor) for contrast in found]
            held[k] += all(low <= rate <= high for rate, (low, high) in zip(RATES, ends, strict=True))
    return [identities, seeds, spread, *(100 * held / studies).round(1), np.mean(factors).round(2)]


def seconds(work: Callable[[], object]) -> float:
    """Return the shortest of three runs, in seconds."""
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def speed() -> list[list[object]]:
    """Return a row per measure at 400 probes, 400 gallery images and 200 people."""
    scores, people = unrelated(np.random.default_rng(2), 200, 64)
    weights, args = group_weights(200, 1000, "attack"), (people, people)
    values = linkability(scores, *args, 100)
    work: dict[str, Callable[[], object]] = {
        "lambda(100)": lambda: linkability(scores, *args, 100),
        "lambda(100), scores of two digits": lambda: linkability(scores.round(2), *args, 100),
        "lambda(all)": lambda: linkability(scores, *args, None),
        "crowd": lambda: crowd(scores, *args),
        "average precision": lambda: average_precision(scores, *args),
        "AUC": lambda: auc(scores, *args),
        "1,000 replicates of a mean over probes": lambda: identity_replicates(values, people, weights),
        "1,000 replicates of AUC and TAR at FAR 1e-2 and 1e-3": lambda: verification_replicates(
            scores, *args, weights, (1e-2, 1e-3)
        ),
    }
    return [[name, round(seconds(run), 3)] for name, run in work.items()]


def main(studies: Annotated[int, typer.Option(help="Simulated studies per row.")] = 400) -> None:
    """Print the tables."""
    rows = [
        row for people, dimensions in ((60, 16), (200, 4), (200, 64)) for row in coverage(studies, people, dimensions)
    ]
    columns = ["people", "dimensions", "measure"]
    kinds = ["t", "percentile", "used"]
    headers = [*columns, *(f"{kind}, %" for kind in kinds), *(f"width: {kind}" for kind in kinds)]
    print(tabulate(rows, headers=headers, tablefmt="github"), "\n")
    several = [together(studies, *case) for case in ((60, 1, 0.0), (140, 1, 0.0), (140, 3, 0.1), (140, 3, 0.3))]
    headers = ["people", "seeds", "spread of a seed", "each by itself, %", "all at once, %", "factor"]
    print(tabulate(several, headers=headers, tablefmt="github"), "\n")
    others = [row for case in ((60, 1.0), (140, 1.0), (140, 1.5)) for row in of_others(studies, *case)]
    headers = ["people", "measure", "among all people", "spread of studies", "standard error", "interval holds, %"]
    print(tabulate(others, headers=headers, tablefmt="github"), "\n")
    print(tabulate(speed(), headers=["measure, 400 x 400 scores", "seconds"], tablefmt="github"))


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
