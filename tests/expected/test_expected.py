"""Expected results: the smallest study has them, the committed ones agree, and a result that is off is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from anonbench import cli, config
from anonbench.errors import AnonbenchError
from anonbench.report import expected
from anonbench.report.tables import read_csv
from tests.workflow.conftest import Project

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
KEYS = {"dataset": "street", "model": "m", "task": "detection", "category": "person", "direction": "original"}
METRICS = (
    {"metric": "AP", "role": "primary", "unit": "AP points"},
    {"metric": "AP50", "role": "secondary", "unit": "AP points"},
)


def entry(**changes: object) -> dict[str, object]:
    return {**KEYS, "variant": "original", "value": 40.0, "tolerance": 2.0, **changes}


def results(folder: Path, **changes: object) -> Path:
    """Write an impact.csv of two variants; return the folder of results."""
    rows = [
        {**KEYS, **metric, "group": "people", "variant": variant, "value": value, "n_seeds": 2, "share_changed": 0.5}
        for variant, values in (("original", (41.5, 80.0)), ("face-blur", (30.0, None)))
        for metric, value in zip(METRICS, values, strict=True)
    ]
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    pd.DataFrame([{**row, **changes} for row in rows]).to_csv(folder / "tables" / "impact.csv", index=False)
    return folder


def file(path: Path, *entries: dict[str, object], **more: object) -> Path:
    path.write_text(yaml.safe_dump({"study": "s", "source": "a test", "entries": list(entries), **more}))
    return path


@pytest.mark.slow
def test_the_smallest_study_has_the_expected_results(tmp_path: Path) -> None:
    """Trains on 60 images, predicts, evaluates: whatever breaks learning on the way changes these numbers."""
    project = Project(tmp_path / "project")
    project.study("small", yaml.safe_load((HERE / "study.yaml").read_text()))
    done = project.snakemake("tables", config="small")
    assert done.returncode == 0, done.stdout
    checked = project.command("anonbench", "check", "--expected", str(HERE / "expected.yaml"))
    assert checked.returncode == 0, checked.stdout
    found = expected.compare(
        expected.read(HERE / "expected.yaml"), read_csv(project.folder / "results/tables/impact.csv")
    )
    learnt = {c.entry.variant for c in found if c.entry.metric == "AP" and c.entry.value - c.entry.tolerance > 10}
    assert learnt == {"original"}, "the tolerance tells learning from not learning"


def test_the_committed_results_are_the_expected_ones(committed: Path) -> None:
    wanted = expected.read(PROJECT / "config" / "expected" / "default.yaml")
    study = config.load(PROJECT / "config" / "default.yaml")
    assert wanted.study == study.name
    assert {e.variant for e in wanted.entries} == set(study.variants)
    compared = expected.compare(wanted, read_csv(committed / "results" / "tables" / "impact.csv"))
    assert [c for c in compared if not c.within] == []


def test_within_the_tolerance_is_as_expected(tmp_path: Path) -> None:
    wanted = file(tmp_path / "e.yaml", entry(), entry(variant="face-blur", value=31.9), entry(metric="AP50", value=79))
    done = CliRunner().invoke(cli.app, ["check", f"--expected={wanted}", f"--results={results(tmp_path)}"])
    assert done.exit_code == 0, done.output
    assert "all 3 are as expected" in done.output
    assert "40.00 ± 2.00" in done.output


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            entry(value=39.4),
            r"impact.csv, street m original original detection person AP: is 41.50, and 39.4 ± 2 is expected \(1 of 2",
        ),
        (entry(variant="gone"), r"street m gone original detection person AP: is not there, and 40 ± 2 is expected"),
        (entry(variant="face-blur", metric="AP50"), r"street m face-blur original detection person AP50: is not there"),
        (entry(metric="beauty"), r"street m original original detection person beauty: is not there"),
    ],
)
def test_the_first_result_that_is_off_is_named(tmp_path: Path, wrong: dict[str, object], said: str) -> None:
    with pytest.raises(AnonbenchError, match=said):
        expected.check(file(tmp_path / "e.yaml", entry(), wrong), results(tmp_path))


def test_who_was_changed_can_be_expected_too(tmp_path: Path) -> None:
    share = entry(metric="share_changed", value=0.5, tolerance=0)
    expected.check(file(tmp_path / "e.yaml", share), results(tmp_path))
    with pytest.raises(AnonbenchError, match=r"share_changed: is 0\.50, and 1 ± 0 is expected"):
        expected.check(file(tmp_path / "e.yaml", {**share, "value": 1.0}), results(tmp_path))


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"impact.csv: no such table"):
        expected.check(file(tmp_path / "e.yaml", entry()), tmp_path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace(",direction", "").replace(",original,AP", ",AP"), "has no column 'direction'"),
        (lambda text: text.replace("41.5", "many"), "is not a table"),
        (lambda text: text + "," * 40 + "\n", "is not a table"),
    ],
)
def test_a_table_of_another_form_is_named(tmp_path: Path, damage: Callable[[str], str], said: str) -> None:
    table = results(tmp_path) / "tables" / "impact.csv"
    table.write_text(damage(table.read_text()))
    with pytest.raises(AnonbenchError, match=rf"impact.csv: {said}") as error:
        expected.check(file(tmp_path / "e.yaml", entry()), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 2020-99-99", "is not valid YAML"),
        ("a: [1\nb: 2", "is not valid YAML"),
        ("[1]", "does not hold expected results"),
        ("a: [", "is not valid YAML"),
        ("{study: s, source: t, entries: []}", "entries: "),
        ("{study: s, source: t, entries: [{dataset: d}]}", r"entries.0.model: Field required"),
        ("{study: s, source: t, entries: [1], tolerence: 1}", "entries.0|tolerence"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(text)
    with pytest.raises(AnonbenchError, match=rf"e.yaml: .*({said})") as error:
        expected.read(path)
    assert "\n" not in str(error.value)
    with pytest.raises(AnonbenchError, match=r"none.yaml: no such file"):
        expected.read(tmp_path / "none.yaml")


def test_proposed_tolerances_follow_the_spread_over_seeds(tmp_path: Path) -> None:
    impact = read_csv(results(tmp_path) / "tables" / "impact.csv")
    impact.loc[4] = {**impact.loc[0].to_dict(), "variant": "body-mask_out", "value": 0.1}
    impact.loc[5] = {**impact.loc[0].to_dict(), "category": "car", "group": "control"}
    aps = {"original": (40.5, 42.5), "face-blur": (29.0, 31.0), "body-mask_out": (0.0, 0.2)}
    seeds = pd.DataFrame(
        [
            {**KEYS, **METRICS[0], "variant": v, "seed": i, "value": ap}
            for v, pair in aps.items()
            for i, ap in enumerate(pair)
        ]
    )
    proposed = expected.propose("s", impact, seeds)
    assert [e.variant for e in proposed.entries] == list(aps), "controls are left out"
    spread = 2**0.5  # of two seeds that are two points apart
    wanted = [round(expected.DEVIATIONS * spread / 2**0.5, 1)] * 2 + [expected.LEAST]
    assert [e.tolerance for e in proposed.entries] == wanted
    assert [e.value for e in proposed.entries] == [41.5, 30.0, 0.1]
    expected.write(proposed, tmp_path / "e.yaml")
    assert expected.read(tmp_path / "e.yaml") == proposed


ATTACK = {
    "dataset": "street", "variant": "body-blur", "attack": "reidentify", "attacker": "body-aware",
    "measure": "linkability", "size": "100",
}  # fmt: skip


def attacked(folder: Path, **changes: object) -> Path:
    """Write a privacy.csv of two sizes of galleries beside an impact.csv; return the folder of results."""
    row = {**ATTACK, "chosen": "true", "headline": "true", "value": 0.28, "error_seeds": 0.01, "error_people": 0.02}
    rows = [{**row, **changes}, {**row, "size": "10", "headline": "false", "value": 0.54}]
    pd.DataFrame(rows).to_csv(results(folder) / "tables" / "privacy.csv", index=False)
    return folder


def test_what_attackers_find_can_be_expected_too(tmp_path: Path) -> None:
    found = {**ATTACK, "value": 0.27, "tolerance": 0.02}
    wanted = file(tmp_path / "e.yaml", entry(), attacks=[found, {**found, "size": "10", "value": 0.54}])
    done = CliRunner().invoke(cli.app, ["check", f"--expected={wanted}", f"--results={attacked(tmp_path)}"])
    assert done.exit_code == 0, done.output
    assert "all 3 are as expected" in done.output
    assert "0.2700 ± 0.0200" in done.output
    with pytest.raises(
        AnonbenchError,
        match=r"privacy.csv, street body-blur reidentify body-aware linkability 100: is 0.4000, and 0.27 ± 0.02 is exp",
    ):
        expected.check(wanted, attacked(tmp_path, value=0.4))
    with pytest.raises(AnonbenchError, match=r"privacy.csv, .* 100: is not there"):
        expected.check(wanted, attacked(tmp_path, attacker="body-naive"))
    (tmp_path / "tables" / "privacy.csv").unlink()
    with pytest.raises(AnonbenchError, match=r"privacy.csv: no such table"):
        expected.check(wanted, tmp_path)


def test_proposed_rates_follow_the_attackers_seeds_or_the_people(tmp_path: Path) -> None:
    impact = read_csv(results(tmp_path) / "tables" / "impact.csv")
    seeds = pd.DataFrame([{**KEYS, **METRICS[0], "variant": "original", "seed": 0, "value": 41.5}])
    for error, tolerance in ((0.01, 0.04), (0.001, expected.LEAST_RATE), (None, 0.08)):
        privacy = read_csv(attacked(tmp_path, error_seeds=error) / "tables" / "privacy.csv")
        proposed = expected.propose("s", impact, seeds, privacy)
        assert [(one.size, one.value, one.tolerance) for one in proposed.attacks] == [("100", 0.28, tolerance)]
        expected.write(proposed, tmp_path / "e.yaml")
        assert expected.read(tmp_path / "e.yaml") == proposed
        expected.check(tmp_path / "e.yaml", tmp_path)
