"""The published study's results by seed, and what may be said of them."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from typer.testing import CliRunner

from anonbench.cli import app
from anonbench.report import published
from anonbench.variants import ORIGINAL

PAGE = Path(__file__).parents[2] / "docs" / "measurements" / "published.md"


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return published.table().set_index(["category", "variant"])


@pytest.fixture(scope="module")
def results() -> pd.DataFrame:
    return published.read()


def test_the_file_names_its_source_and_holds_every_training(results: pd.DataFrame) -> None:
    head = [line for line in published.FILE.read_text().splitlines() if line.startswith("#")]
    assert any("arXiv 2306.05135" in line for line in head)
    assert any("hukkelas/bdd100k-models-anonymization, commit 14db157" in line for line in head)
    seeds = results.reset_index().groupby("variant").seed.apply(list)
    assert len(seeds) == 17
    assert sum(map(len, seeds)) == 49
    short = {name: of for name, of in seeds.items() if of != [0, 1, 2]}
    assert short == {"body-realistic-41M-min16": [1, 2], "body-realistic-revised-min16": [0, 1]}


def test_the_mean_over_classes_is_that_of_the_eight(results: pd.DataFrame) -> None:
    eight = results.drop(columns="all")
    assert eight.shape[1] == 8
    assert np.abs(eight.mean(axis=1) - results["all"]).max() < 0.05 + 0.05 + 1e-9  # each is rounded to 0.1


@pytest.mark.parametrize("variant", ["face-blur", "face-mask_out", "face-realistic"])
def test_faces_do_not_move_the_mean_over_classes_beyond_the_noise_of_seeds(rows: pd.DataFrame, variant: str) -> None:
    row = rows.loc["all", variant]
    expected = {"face-blur": 0.333, "face-mask_out": 0.1, "face-realistic": 0.433}
    assert row.difference == pytest.approx(expected[variant], abs=1e-3)
    assert row.difference_high - row.difference == pytest.approx(1.06, abs=0.01)
    assert row.difference_low < 0 < row.difference_high
    assert row.verdict == ("no practical difference" if variant == "face-mask_out" else "cannot tell")


def test_pedestrians_under_masked_bodies_are_lost(rows: pd.DataFrame, results: pd.DataFrame) -> None:
    row = rows.loc["pedestrian", "body-mask_out"]
    assert results.loc[ORIGINAL].pedestrian.mean() == pytest.approx(31.97, abs=0.01)
    assert (row.value, row.value_std) == (0, 0)
    assert row.difference == pytest.approx(-31.97, abs=0.01)
    assert (row.difference_low, row.difference_high) == pytest.approx((-32.27, -31.67), abs=0.01)
    assert row.verdict == "drop"
    assert rows.loc["pedestrian", "body-realistic-revised"].kept == pytest.approx(39.9, abs=0.1)


def test_faces_cost_pedestrians_less_than_a_point(rows: pd.DataFrame) -> None:
    masked = rows.loc["pedestrian", "face-mask_out"]
    assert (masked.difference_low, masked.difference_high) == pytest.approx((-0.93, -0.27), abs=0.01)
    assert masked.simultaneous_high > 0
    for variant in ("face-blur", "face-mask_out", "face-realistic"):
        assert rows.loc["pedestrian", variant].verdict == "no practical difference"


def test_histogram_matching_costs_about_two_and_a_half(rows: pd.DataFrame) -> None:
    found = rows.loc["pedestrian"].loc[["body-realistic-41M-matched", "body-realistic-60M-matched"]]
    assert list(found.reference) == ["body-realistic-41M", "body-realistic-60M"]
    assert list(found.difference) == pytest.approx([-2.467, -2.433], abs=1e-3)
    assert list(found.difference_low) == pytest.approx([-3.41, -3.13], abs=0.01)
    assert list(found.difference_high) == pytest.approx([-1.52, -1.73], abs=0.01)
    assert set(found.verdict) == {"drop"}


def test_riders_lose_half_where_bodies_are_changed(rows: pd.DataFrame) -> None:
    found = rows.loc["rider"].loc[["body-blur", "body-mask_out", "body-realistic-revised"]]
    assert list(found.kept) == pytest.approx([43.6, 40.2, 59.8], abs=0.1)
    assert (found.kept_low < 50).all()
    assert (found.kept_high > 50).all()
    assert list(found.verdict) == ["drop", "drop", "cannot tell"]
    assert (found.difference_high < 0).all()


def test_a_seed_does_the_same_to_cars_of_every_training(results: pd.DataFrame) -> None:
    f, p, variants = published.seed_effect(results, "car")
    assert (f, variants) == (pytest.approx(17.48, abs=0.01), 15)
    assert p < 2e-5
    assert published.seed_effect(results, "all")[1] == pytest.approx(0.82, abs=0.01)


def test_welch_without_blocks_says_the_same_of_faces(results: pd.DataFrame) -> None:
    base = results.loc[ORIGINAL]["all"]
    for variant, (low, high) in {"face-blur": (-0.44, 1.11), "face-mask_out": (-0.73, 0.93)}.items():
        found = scipy.stats.ttest_ind(results.loc[variant]["all"], base, equal_var=False).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)


def test_all_at_once_is_wider_and_only_for_the_primary_rows(rows: pd.DataFrame) -> None:
    family = rows[rows.question == "primary"]
    assert len(family) == 20
    factors = (family.simultaneous_high - family.difference) / (family.difference_high - family.difference)
    assert factors.std() < 1e-6
    assert 1.5 < factors.iloc[0] < 2.5
    assert rows[rows.question == "exploratory"].simultaneous_low.isna().all()


def test_the_command_prints_what_the_page_shows(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["published", "--csv", str(tmp_path / "table.csv")])
    assert found.exit_code == 0, found.output
    lines = [line for line in found.output.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 26 + 2 + 4
    page = [line.strip() for line in PAGE.read_text().splitlines()]
    assert [line for line in lines if line not in page] == []
    written = pd.read_csv(tmp_path / "table.csv")
    assert len(written) == 26
    assert math.isclose(written.difference.min(), -31.9667, abs_tol=1e-3)
