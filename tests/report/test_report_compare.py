"""Two results beside each other: what is said to have changed, of folders and of git revisions."""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from typer.testing import CliRunner

from anonbench.cli import app
from anonbench.errors import AnonbenchError
from anonbench.report import compare
from anonbench.report.compare import BEYOND, CHANGED, IDENTICAL, ONLY_A, ONLY_B, UNTESTED, WITHIN
from anonbench.report.impact import IMPACT_COLUMNS, SEED_COLUMNS
from anonbench.report.privacy import PRIVACY_COLUMNS
from anonbench.report.results import Results
from anonbench.report.tables import write_csv
from anonbench.statistics.changes import Change, Estimate, holm

VARIANTS = ("original", "face-blur-medium", "body-mask_out")


def _impact(differences, categories=("person", "car"), error=0.5, value=40.0, seeds=3):
    """Return a table of one data set, model and task; each difference has the errors ``error`` of seeds and images."""
    rows = []
    for variant, difference in {"original": 0.0, **differences}.items():
        for category in categories:
            for metric, role in (("AP", "primary"), ("AP50", "secondary")):
                row = {
                    "dataset": "streetlife", "model": "compact", "task": "detection", "category": category,
                    "direction": "original", "variant": variant, "metric": metric, "role": role, "unit": "AP points",
                    "best": "higher", "value": value + difference, "value_std": 0.6, "n_seeds": seeds,
                    "difference": difference, "instances": 300, "samples": 120, "sampled": "image",
                }  # fmt: skip
                if role == "primary" and variant != "original":
                    row |= {
                        "difference_low": difference - 2, "difference_high": difference + 2, "verdict": "cannot tell",
                        "error_seeds": error, "error_images": error, "freedom": 8.0,
                    }  # fmt: skip
                rows.append(row)
    return pd.DataFrame(rows, columns=list(IMPACT_COLUMNS))


def _write(folder, impact, seeds=(0, 1, 2), study=None, provenance=None):
    frame = pd.DataFrame([{"seed": s, "variant": "original"} for s in seeds], columns=list(SEED_COLUMNS))
    write_csv(folder / "tables/impact.csv", impact)
    write_csv(folder / "tables/seeds.csv", frame)
    for name, value in (("study", study), ("provenance", provenance)):
        if value is not None:
            (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def _said(table):
    primary = table[table.metric == "AP"]
    return {(row.variant, row.category): row.said for row in primary.itertuples()}


def _changes(a, b):
    return compare.changes(Results.read(str(a)), Results.read(str(b)))


def _run(*arguments):
    done = CliRunner().invoke(app, ["compare", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0
    return done.stdout


def _privacy(found, error=0.02, seeds=3, knowledge="aware"):
    """Return a table of one attack: what is found of each variant, with the errors ``error`` of seeds and people."""
    rows = [
        {
            **dict.fromkeys(PRIVACY_COLUMNS),
            "dataset": "streetlife", "variant": variant, "attack": "reidentify", "attacker": "body-aware",
            "knowledge": knowledge, "measure": "linkability", "size": "100", "chosen": "true", "headline": "true",
            "value": value, "verdict": "above chance" if value > 0.1 else "not above chance", "why": "",
            "error_seeds": error if seeds > 1 else None, "error_people": error, "freedom": 20.0, "n_seeds": seeds,
            "units": 300, "people": 140,
        }
        for variant, value in found.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(PRIVACY_COLUMNS))


def _git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_change_of_two_studies_is_welch_s() -> None:
    random = np.random.default_rng(4)
    one, other = random.normal(0, 1, 4), random.normal(3, 5, 9)
    change = Change(*(Estimate(x.mean(), x.var(ddof=1) / len(x), len(x) - 1) for x in (one, other)))
    expected = scipy.stats.ttest_ind(other, one, equal_var=False)
    assert change.probability == pytest.approx(expected.pvalue, abs=1e-12)
    assert change.freedom == pytest.approx(expected.df, abs=1e-9)
    low, high = expected.confidence_interval(0.95)
    assert change.interval() == pytest.approx((low, high), abs=1e-9)


def test_known_errors_give_normal_quantiles_and_no_error_gives_certainty() -> None:
    change = Change(Estimate(1.0, 0.36), Estimate(3.0, 0.64))
    assert change.interval() == pytest.approx((2 - 1.959964, 2 + 1.959964), abs=1e-5)
    assert change.probability == pytest.approx(2 * scipy.stats.norm.sf(2), abs=1e-12)
    assert Change(Estimate(1.0, 0.0), Estimate(1.0, 0.0)).probability == 1
    assert Change(Estimate(1.0, 0.0), Estimate(2.0, 0.0)).probability == 0


def test_holm_by_hand() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
    assert not len(holm(np.array([])))


def test_the_change_of_a_difference_has_both_studies_errors(tmp_path) -> None:
    a = _write(tmp_path / "a", _impact({"face-blur-medium": -1.0, "body-mask_out": -20.0}))
    b = _write(tmp_path / "b", _impact({"face-blur-medium": -2.0, "body-mask_out": -12.0}, error=0.3, value=40.1))
    table = _changes(a, b)
    assert _said(table) == {
        ("original", "person"): WITHIN, ("original", "car"): WITHIN,
        ("face-blur-medium", "person"): WITHIN, ("face-blur-medium", "car"): WITHIN,
        ("body-mask_out", "person"): CHANGED, ("body-mask_out", "car"): CHANGED,
    }  # fmt: skip
    row = table[(table.variant == "body-mask_out") & (table.category == "person") & (table.metric == "AP")].iloc[0]
    variances = np.array([2 * 0.5**2, 2 * 0.3**2])
    freedom = variances.sum() ** 2 / (variances**2 / 8).sum()
    half = scipy.stats.t.ppf(0.975, freedom) * variances.sum() ** 0.5
    assert (row.change, row.change_low, row.change_high) == pytest.approx((8, 8 - half, 8 + half), abs=1e-6)
    assert row.freedom == pytest.approx(freedom)
    assert row.p_holm == pytest.approx(6 * row.p)
    original = table[(table.variant == "original") & (table.metric == "AP")].iloc[0]
    spread = (2 * 0.6**2 / 3) ** 0.5  # the value itself, over seeds
    assert original.change_high - 0.1 == pytest.approx(scipy.stats.t.ppf(0.975, 4) * spread, abs=1e-6)


def test_a_change_that_only_its_own_interval_shows_is_not_called_changed(tmp_path) -> None:
    many = tuple(f"c{i}" for i in range(30))
    a = _impact({"face-blur-medium": -1.0}, many)
    b = _impact({"face-blur-medium": -1.5}, many, value=40.2)
    b.loc[(b.category == "c3") & (b.variant != "original"), "difference"] = -3.6  # 2.6 standard errors
    table = _changes(_write(tmp_path / "a", a), _write(tmp_path / "b", b))
    assert table[table.category == "c3"].said.to_list() == [WITHIN, UNTESTED, BEYOND, UNTESTED]
    out = _run(tmp_path / "a", tmp_path / "b")
    assert out.startswith(
        "1 of 60 rows changed beyond noise (5 % of them, 3.0, would by chance); after Holm's correction 0.\n"
        "120 rows are in both, 60 without an interval (secondary metrics, a single seed).\n"
    )
    shown = [line for line in out.splitlines() if line.startswith("| c")]
    assert len(shown) == 2
    assert "c3" in shown[1]
    listed = [line for line in _run(tmp_path / "a", tmp_path / "b", "--all").splitlines() if line.startswith("| c")]
    assert len(listed) == 121
    assert "c3" in listed[1]


def test_what_one_of_them_lacks_is_named(tmp_path) -> None:
    a = _write(tmp_path / "a", _impact({"face-blur-medium": -1.0, "face-gan": -3.0}))
    b = _write(tmp_path / "b", _impact({"face-blur-medium": -1.0}, ("person", "bus")))
    said = _said(_changes(a, b))
    assert said["face-gan", "car"] == said["original", "car"] == ONLY_A
    assert said["original", "bus"] == ONLY_B
    assert said["face-blur-medium", "person"] == IDENTICAL
    out = _run(a, b)
    assert "only in A: streetlife compact original face-gan: 4 rows (detection; person, car)" in out
    assert "only in B: streetlife compact original original: 2 rows (detection; bus)" in out


def test_settings_that_differ_are_named(tmp_path) -> None:
    study = {"seeds": [0, 1], "models": {"m": {"epochs": 7, "steps": [0.5]}}, "report": {"margin": 1.0}, "name": "s"}
    other = {"seeds": [0, 1, 2], "models": {"m": {"epochs": 9, "steps": [0.5]}}, "report": {"margin": 2.0}, "name": "s"}
    same = _impact({"face-blur-medium": -1.0})
    a = _write(tmp_path / "a", same, (0, 1), study, {"commit": "abc", "versions": {"torch": "2.1"}})
    b = _write(tmp_path / "b", same, (0, 1, 2), other, {"commit": "abc", "versions": {"torch": "2.2"}})
    lines = [line for line in _run(a, b).splitlines() if line.startswith("- ")]
    assert lines == [
        "- seeds: with 2", "- models.m.epochs: 7 → 9", "- report.margin: 1.0 → 2.0", "- versions.torch: 2.1 → 2.2",
    ]  # fmt: skip
    (b / "study.json").unlink()
    lines = [line for line in _run(a, b).splitlines() if line.startswith("- ")]
    assert lines[0].startswith("- study.json is not in B")
    assert lines[1] == "- seeds: with 2"


def test_identical_results_are_called_so(tmp_path) -> None:
    a, b = (_write(tmp_path / name, _impact({"face-blur-medium": -1.0})) for name in "ab")
    assert _run(a, b).startswith("identical: ")
    write_csv(b / "tables/seeds.csv", pd.DataFrame({"seed": [0]}))
    assert _run(a, b).startswith("Nothing changed: the 8 rows that are in both are identical.")


def test_a_single_seed_and_other_images_give_no_interval(tmp_path) -> None:
    one = _impact({"face-blur-medium": -1.0}, seeds=1)
    one["error_seeds"] = one["value_std"] = None
    other = _impact({"face-blur-medium": -9.0}, value=45.0)
    a, b = _write(tmp_path / "a", one, (0,)), _write(tmp_path / "b", other)
    assert set(_said(_changes(a, b)).values()) == {UNTESTED}
    fixed = one.assign(samples_needed=np.where(one.verdict == "cannot tell", 900, None))  # a model that is not trained
    c = _write(tmp_path / "c", fixed, (0,))
    assert _said(_changes(c, b))["face-blur-medium", "person"] == CHANGED
    larger = other.assign(value=other.value - 5, difference=-1.0, samples=500)
    said = _said(_changes(b, _write(tmp_path / "d", larger)))
    assert said["original", "person"] == UNTESTED  # other images move the value, which seeds do not show
    assert said["face-blur-medium", "person"] == CHANGED


def test_tables_of_older_versions_have_the_errors_of_their_intervals(tmp_path) -> None:
    new = _impact({"face-blur-medium": -1.0})
    old = _impact({"face-blur-medium": -4.0}).drop(columns=["error_seeds", "error_images", "freedom"])
    a, b = _write(tmp_path / "a", old), _write(tmp_path / "b", new)
    table = _changes(a, b)
    row = table[(table.variant != "original") & (table.metric == "AP")].iloc[0]
    variances = np.array([(2 / 1.959964) ** 2, 0.5])
    freedom = variances.sum() ** 2 / (variances[1] ** 2 / 8)
    half = scipy.stats.t.ppf(0.975, freedom) * variances.sum() ** 0.5
    assert row.change_high - row.change == pytest.approx(half, abs=1e-5)
    assert "The tables of A are of an older version, without error_seeds and error_images" in _run(a, b, "--all")


def test_tables_with_a_column_per_metric_are_read(tmp_path) -> None:
    """The form of the first results in this project's own history."""
    new = _impact({"face-blur-medium": -1.0})
    first = new[new.metric == "AP"]
    wide = first.rename(columns={"value": "ap", "value_std": "ap_std", "samples": "images"}).assign(
        task="bbox", ap50=first.value.to_numpy() + 30, ap75=20.0, images_needed=None
    )
    had = ["dataset", "model", "task", "category", "variant", "ap", "ap_std", "ap50", "ap75", "n_seeds"]
    had += ["difference", "difference_low", "difference_high", "verdict", "images_needed", "instances", "images"]
    wide = wide[had]
    table = _changes(_write(tmp_path / "a", wide), _write(tmp_path / "b", new))
    assert set(table[table.metric == "AP"].said) == {IDENTICAL}
    assert table[table.metric == "AP50"].value_a.to_list() == [70.0, 70.0, 69.0, 69.0]
    assert set(table[table.metric == "AP75"].said) == {ONLY_A}
    assert set(table[table.metric == "AP75"].verdict_a) == {""}  # they were judged by AP alone


def test_revisions_are_read_without_a_checkout(tmp_path, monkeypatch) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    _git(repository, "init", "-q")
    _write(repository / "results", _impact({"face-blur-medium": -1.0}), study={"seeds": [0, 1, 2]})
    _git(repository, "add", "-A")
    _git(repository, "commit", "-qm", "one")
    _git(repository, "tag", "first")
    _write(repository / "results", _impact({"face-blur-medium": -9.0}), study={"seeds": [0, 1]})
    _write(repository / "runs/b/results", _impact({"face-blur-medium": -1.0}))
    _git(repository, "add", "-A")
    _git(repository, "commit", "-qm", "two")
    (repository / "results/tables/impact.csv").write_text("damaged")
    monkeypatch.chdir(repository)
    out = _run("first", "HEAD", "--csv", tmp_path / "changes.csv")
    assert out.startswith("2 of 2 rows changed beyond noise")
    assert "- seeds: without 2" in out
    assert set(pd.read_csv(tmp_path / "changes.csv").said) == {CHANGED, IDENTICAL, UNTESTED}
    assert _run("first:results", "HEAD:runs/b/results").startswith("identical")
    assert subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True).stdout == (
        " M results/tables/impact.csv\n"
    )
    with pytest.raises(AnonbenchError, match=r"HEAD:docs/tables/impact\.csv: no such table; name a folder of results"):
        _changes("HEAD:docs", "first")
    with pytest.raises(AnonbenchError, match=r"^second: is neither a folder nor a git revision; name one"):
        _changes("second", "first")
    with pytest.raises(AnonbenchError, match=r"results/tables/impact\.csv"):
        _changes("first", "results")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AnonbenchError, match=r"^first: is neither a folder nor a git revision"):
        _changes("first", "repository/results")


def test_folders_without_tables_and_damaged_ones_end_in_a_sentence(tmp_path) -> None:
    good = _write(tmp_path / "good", _impact({"face-blur-medium": -1.0}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnonbenchError, match=r"empty/tables/impact\.csv: no such table; name a folder of results"):
        _changes(good, tmp_path / "empty")
    bare = _write(tmp_path / "bare", _impact({"face-blur-medium": -1.0}).drop(columns="instances"))
    with pytest.raises(AnonbenchError, match=r"bare/tables/impact\.csv: has no column 'instances'"):
        _changes(bare, good)
    impact = _impact({"face-blur-medium": -1.0})
    twice = _write(tmp_path / "twice", pd.concat([impact, impact.tail(1)]))
    with pytest.raises(AnonbenchError, match=r"streetlife compact detection car original face-blur-medium AP50.*twice"):
        _changes(twice, good)
    (good / "study.json").write_text("[")
    with pytest.raises(AnonbenchError, match=r"good/study\.json: is not a JSON object"):
        Results.read(str(good))
    (good / "tables/seeds.csv").unlink()
    with pytest.raises(AnonbenchError, match=r"good/tables/seeds\.csv: no such table"):
        Results.read(str(good))


def test_one_in_twenty_rows_changes_by_chance_and_hardly_a_study_after_the_correction(tmp_path) -> None:
    """Coverage of the interval of a change, and the family-wise error, where both studies draw anew."""
    random = np.random.default_rng(11)
    studies, rows, seeds = 600, 20, 4
    beyond, wrong = 0, 0
    for _ in range(studies):
        ps = []
        for _ in range(rows):
            pair = []
            for spread in (1.0, 2.0):
                of = random.normal(-3, spread, seeds)
                pair.append(Estimate(of.mean(), of.var(ddof=1) / seeds, seeds - 1))
            change = Change(*pair)
            low, high = change.interval()
            beyond += not low <= 0 <= high
            ps.append(change.probability)
        wrong += bool((holm(np.array(ps)) < 0.05).any())
    assert 0.035 < beyond / (studies * rows) < 0.06
    assert wrong / studies < 0.07


def _attacked(folder, privacy):
    _write(folder, _impact({"body-blur-medium": -3.0}))
    write_csv(folder / "tables/privacy.csv", privacy)
    return folder


def test_what_attackers_find_is_compared_with_the_errors_of_both(tmp_path) -> None:
    a = _attacked(tmp_path / "a", _privacy({"original": 0.4, "body-blur-medium": 0.3, "body-gan": 0.05}))
    b = _attacked(tmp_path / "b", _privacy({"original": 0.4, "body-blur-medium": 0.1, "body-mask_out": 0.02}))
    table = compare.attack_changes(Results.read(str(a)), Results.read(str(b)))
    said = dict(zip(table.variant, table.said, strict=True))
    assert said == {
        "original": IDENTICAL, "body-blur-medium": CHANGED, "body-gan": ONLY_A,
        "body-mask_out": ONLY_B,
    }  # fmt: skip
    row = table[table.variant == "body-blur-medium"].iloc[0]
    assert row.change == pytest.approx(-0.2)
    half = scipy.stats.t.ppf(0.975, 40) * 0.04  # four errors of 0.02, two of 20 degrees of freedom each
    assert (row.change_low, row.change_high) == pytest.approx((-0.2 - half, -0.2 + half))
    text = _run(a, b, "--csv", tmp_path / "changes.csv")
    assert "Attacks: 1 of 1 rows changed beyond noise" in text
    assert "only in A: streetlife reidentify body-gan: 1 rows (body-aware)" in text
    assert "-20.00" in text.replace("−", "-")
    assert (tmp_path / "changes-attacks.csv").is_file()
    assert "identical" in _run(a, a)


def test_one_seed_of_an_attacker_says_nothing_of_a_change_but_counting_needs_none(tmp_path) -> None:
    for knowledge, wanted in (("aware", UNTESTED), ("", CHANGED)):
        folders = [
            _attacked(tmp_path / f"{knowledge}{value}", _privacy({"original": value}, seeds=1, knowledge=knowledge))
            for value in (0.4, 0.1)
        ]
        table = compare.attack_changes(*(Results.read(str(folder)) for folder in folders))
        assert list(table.said) == [wanted]


def test_a_damaged_table_of_attacks_is_named(tmp_path) -> None:
    table = _privacy({"original": 0.4})
    _attacked(tmp_path / "a", table.drop(columns="error_people"))
    with pytest.raises(AnonbenchError, match=r"tables/privacy\.csv: has no column 'error_people'"):
        Results.read(str(tmp_path / "a"))
    _attacked(tmp_path / "b", pd.concat([table, table]))
    with pytest.raises(
        AnonbenchError,
        match=r"privacy\.csv, streetlife reidentify body-aware linkability 100 original: stands there twice",
    ):
        Results.read(str(tmp_path / "b"))
