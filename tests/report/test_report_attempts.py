"""What the report believes of an attack's metrics: what can be true, and what the scores beside them say."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_attacks import place, write_attack

from anonbench.arrays import write_arrays
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, sha256_file, write_json
from anonbench.report.attempts import Attempt, read_attempt

WHAT = ("reidentify", "body-blur-medium")
MISSING = object()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an attack's seeds: 0 and 1, with what linkability is the mean of, and with weights."""
    root = tmp_path_factory.mktemp("attempts")
    for seed in (0, 1):
        folder = place(root, WHAT[1], "body-aware", seed)
        write_attack(folder, 1.0, *WHAT, "body-aware", seed, 60)
        metrics = read_json(folder / "metrics.json")
        means = {f"linkability/{n}": np.full(80, v) for n, v in metrics["test"]["linkability"].items()}
        metrics["files"]["weights"] = f"{seed:064x}"
        write_json(folder / "metrics.json", metrics)
        sign(folder, means)
    return folder.parent


@pytest.fixture
def seeds(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "attacker"))


def read(seeds: Path) -> Attempt:
    return read_attempt(dict.fromkeys((0, 1), seeds), *WHAT)


def sign(folder: Path, arrays: dict[str, Any]) -> None:
    """Add arrays to the scores (None takes one away), and sign them as the attack does."""
    with np.load(folder / "scores.npz") as file:
        every = {name: file[name] for name in file.files} | arrays
    write_arrays(folder / "scores.npz", {name: of for name, of in every.items() if of is not None})
    tell(folder, "files.scores", sha256_file(folder / "scores.npz"))


def tell(folder: Path, entry: str, value: Any) -> None:
    """Write another value into metrics, or take the entry away."""
    metrics = read_json(folder / "metrics.json")
    *parents, last = entry.split(".")
    block = metrics
    for parent in parents:
        block = block[parent]
    if value is MISSING:
        del block[last]
    else:
        block[last] = value
    write_json(folder / "metrics.json", metrics)


def test_what_an_attack_writes_is_read(seeds: Path) -> None:
    found = read(seeds)
    assert found.measures["linkability", "30"].replicates is not None
    assert found.measures["auc", ""].telling == 40


@pytest.mark.parametrize(
    ("entry", "value", "says"),
    [
        ("format", 99, "format: Input should be 1"),
        ("format", MISSING, "format: Field required"),
        ("risk", "hello", "risk: Input should be 'singling out', 'linkability' or 'inference'"),
        ("risk", MISSING, "risk: Field required"),
        ("attacker", "x", "attacker: Input should be a valid dictionary"),
        ("attacker.view", ["person"], "attacker.view: Input should be a valid string"),
        ("files", {}, "files.scores: Field required"),
        ("files.scores", None, "files.scores: Input should be a valid string"),
        ("files.weights", "abc", "files.weights: "),
        ("draw", MISSING, "draw: Field required"),
        ("drawn", "pixels", "drawn: Input should be 'people' or 'images'"),
        ("validation", [1], "validation: Input should be a valid dictionary"),
        ("validation.linkability.all", 9, "validation.linkability.all: 9 is not from 0 to 1"),
        ("test.linkability.30", 7.5, "test.linkability.30: 7.5 is not from 0 to 1"),
        ("test.linkability.30", True, "test.linkability.30: Input should be a valid number"),
        ("test.linkability.30", 10**400, "test.linkability.30: Input should be a valid number"),
        ("test.linkability.abc", 0.5, "test.linkability.abc"),
        ("test.chance.30", -1, "test.chance.30: -1 is not from 0 to 1"),
        ("test.chance.30", MISSING, "test: chance.30 is missing"),
        ("test.covered", 9, "test.covered: 9 is not from 0 to 1"),
        ("test.covered", "x", "test.covered: Input should be a valid number"),
        ("test.crowd", "x", "test.crowd: Input should be a valid dictionary"),
        ("test.crowd.median", "x", "test.crowd.median: Input should be a valid number"),
        ("test.linkability_of_missed", {"30": 2.0}, "test.linkability_of_missed.30: 2 is not from 0 to 1"),
        ("test.people", None, "test.people: Input should be a valid integer"),
        ("test.people", 0, "test: 0 people of 80 probes can tell of nothing"),
        ("test.people", 81, "test: 81 people of 80 probes can tell of nothing"),
        ("test.measures.auc.units", -12, "test.measures.auc.units: Input should be greater than or equal to 0"),
        ("test.measures.auc.units", 12.5, "test.measures.auc.units: Input should be a valid integer"),
        ("test.measures.auc.value", -0.1, "test: measures.auc.value: -0.1 is not from 0 to 1"),
        ("test.measures.auc.chance", 1.5, "test: measures.auc.chance: 1.5 is not from 0 to 1"),
        ("test.measures.auc.of_covered", "x", "test.measures.auc.of_covered: Input should be a valid number"),
        ("test.kinds", {"x": {"linkability": {"all": 2}}}, "test.kinds.x.linkability.all: 2 is not from 0 to 1"),
    ],
)
def test_what_cannot_be_is_named(seeds: Path, entry: str, value: Any, says: str) -> None:
    tell(seeds / "seed1", entry, value)
    with pytest.raises(AnonbenchError) as raised:
        read(seeds)
    assert str(raised.value).startswith(f"{seeds}/seed1/metrics.json: contains no attack ({says}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("estimate/auc", lambda a: a - 0.1, "estimate/auc comes to .*, but metrics.json says"),
        ("estimate/auc", lambda a: a[None], "estimate/auc is no number"),
        ("linkability/30", lambda a: a * 0.5, "linkability/30 comes to .*, but metrics.json says"),
        ("linkability/30", lambda a: a[:-1], "linkability/30 is no number for each of 80"),
        ("linkability/30", lambda a: a * np.nan, "linkability/30 is no number for each of 80"),
        ("replicates/30", lambda a: a * 0 + 9, "replicates/30 are not from 0 to 1"),
        ("replicates/30", lambda a: a > 0.5, "replicates/30 are no numbers"),
        ("replicates/30", lambda a: a.astype(complex), "replicates/30 are no numbers"),
        ("replicates/30", lambda a: np.zeros(len(a), "M8[s]"), "replicates/30 are no numbers"),
        ("replicates/30", lambda a: a[:1], "its measures have 1 and 200 replicates"),
        ("replicates/30", lambda a: None, "it has no replicates/30"),
        ("telling/30", lambda a: np.asarray(1e9), "telling/30 is no number of 40 people"),
        ("telling/30", lambda a: np.asarray(-1.0), "telling/30 is no number of 40 people"),
        ("telling/30", lambda a: np.asarray(1j), "telling/30 is no number of 40 people"),
        ("telling/30", lambda a: None, "it has no replicates/30 or telling/30"),
    ],
)
def test_scores_that_say_something_else_are_refused(
    seeds: Path, name: str, change: Callable[[np.ndarray], Any], says: str
) -> None:
    with np.load(seeds / "seed1" / "scores.npz") as file:
        sign(seeds / "seed1", {name: change(file[name])})
    with pytest.raises(AnonbenchError, match=rf"seed1/scores\.npz: .*{says}"):
        read(seeds)


def test_one_training_is_not_two_seeds(seeds: Path) -> None:
    """Its noise would pass for that of two; but where nothing is left to be seen, two may well score alike."""
    other = read_json(seeds / "seed0" / "metrics.json")["files"]["weights"]
    shutil.copytree(seeds / "seed0", seeds / "seed1", dirs_exist_ok=True)
    says = r"seed1/metrics\.json: tells of the same attacker as .*seed0/metrics\.json: two seeds are two trainings"
    with pytest.raises(AnonbenchError, match=says):
        read(seeds)
    tell(seeds / "seed1", "files.weights", other[:-1] + "7")
    assert read(seeds).measures["linkability", "30"].values.std() == 0


def test_what_is_no_rate_may_be_below_nothing(seeds: Path) -> None:
    for folder in seeds.iterdir():
        auc = read_json(folder / "metrics.json")["test"]["measures"]["auc"]
        for name in ("r2/upper", "membership_auc_excess"):
            tell(folder, f"test.measures.{name}", copy.copy(auc) | {"value": -0.25, "chance": 0.0})
            drawn = {f"replicates/{name}": np.linspace(-1.5, 0.5, 200), f"telling/{name}": np.asarray(40.0)}
            sign(folder, {f"estimate/{name}": np.asarray(-0.25), **drawn})
    found = read(seeds)
    assert found.measures["r2/upper", ""].value == -0.25
    assert not found.measures["membership_auc_excess", ""].rate


def test_who_was_missed_is_told_by_the_size_of_the_gallery(seeds: Path) -> None:
    for folder in seeds.iterdir():
        tell(folder, "test.linkability_of_missed", {"30": 0.5, "all": 0.25})
        tell(folder, "test.share_of_missed", 0.125)  # as it was once written: among everybody
    parted = {size: read(seeds).measures["linkability", size].parted for size in ("10", "30", "all")}
    assert [of["value_missed"] for of in parted.values()] == [None, 0.5, 0.25]
    assert [of["share_missed"] for of in parted.values()] == [None, None, 0.125]


def test_what_learns_nothing_may_score_alike_on_two_fits_and_not_on_one(seeds: Path, tmp_path: Path) -> None:
    """Where nothing is found, scores are equal; in one folder they are one attack that was copied."""
    first = seeds / "seed0"
    tell(first, "files.weights", None)
    other = tmp_path / "fit1" / "attacker" / "seed1"
    shutil.copytree(first, other)
    tell(other, "seed", 1)
    value = read_attempt({0: seeds, 1: other.parent}, *WHAT).measures
    assert all(len(of.values) == 2 and of.values[0] == of.values[1] for of in value.values())
    shutil.rmtree(seeds / "seed1")
    shutil.copytree(other, seeds / "seed1")
    with pytest.raises(AnonbenchError, match=r"tells of the same scores as .*seed0/metrics\.json"):
        read(seeds)
