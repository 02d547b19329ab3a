"""Tables of a made-up study: numbers by hand, stable bytes, nothing dropped silently."""

import contextlib
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from synthetic_study import QUALITY, manifest, predictions, write_study

from anonbench.errors import AnonbenchError
from anonbench.report.answer import answers, warnings
from anonbench.report.collect import Sources, common_seeds, coverage, curves, difference
from anonbench.report.explorer import _seeds
from anonbench.report.figures import coverage_figure, write_figures
from anonbench.report.html import write_html
from anonbench.report.impact import impact
from anonbench.report.study import ReportStudy, parts, phrase
from anonbench.report.tables import (
    MARKS,
    escape,
    flat,
    latex,
    markdown,
    number,
    percent,
    primary,
    read_csv,
    shown,
    write_tables,
)
from anonbench.statistics.verdicts import MISSING


def _sources(root):
    return Sources(root / "evaluations", root / "models", root / "anonymized", annotations=root / "annotations")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    study = ReportStudy.read(write_study(root, images=30, bootstrap=200))
    sources = _sources(root)
    write_tables(study, sources, root / "tables")
    return root, study, sources


@pytest.fixture
def copy(made, tmp_path):
    """A copy that a test may damage."""
    root = tmp_path / "study"
    shutil.copytree(made[0], root)
    return root, made[1], _sources(root)


def _row(table, **keys):
    if "role" in table and "metric" not in keys:
        table = primary(table)
    for key, value in keys.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table.iloc[0]


def _metrics(root, variant, seed):
    return json.loads(
        (root / f"evaluations/streetlife/{variant}/compact/seed{seed}/on-original/metrics.json").read_text()
    )


def test_numbers_are_the_evaluations_numbers(made) -> None:
    root, study, _ = made
    table = read_csv(root / "tables/impact.csv")
    for task, category in (("detection", "person"), ("segmentation", "car"), ("pose", "person")):
        ap = {
            v: np.array([_metrics(root, v, s)["tasks"][task]["parts"][category]["AP"] for s in study.seeds])
            for v in study.variants
        }
        for variant in study.variants:
            row = _row(table, task=task, category=category, variant=variant)
            assert row.value == pytest.approx(ap[variant].mean(), abs=1e-4)
            assert row.value_std == pytest.approx(ap[variant].std(ddof=1), abs=1e-4)
            assert row.difference == pytest.approx((ap[variant] - ap["original"]).mean(), abs=1e-4)
            assert row.n_seeds == 3
            if variant != "original":
                assert row.difference_low <= row.difference <= row.difference_high
    row = _row(table, task="detection", category="all", variant="face-mask_out")
    overall = [_metrics(root, "face-mask_out", s)["tasks"]["detection"]["overall"]["AP"] for s in study.seeds]
    assert row.value == pytest.approx(np.mean(overall), abs=1e-4)
    row = _row(table, task="detection", category="car", variant="face-mask_out", metric="AP50")
    ap50 = [_metrics(root, "face-mask_out", s)["tasks"]["detection"]["parts"]["car"]["AP50"] for s in study.seeds]
    assert (row.role, row.value, row.verdict) == ("secondary", pytest.approx(np.mean(ap50), abs=1e-4), "")


def test_a_refitted_variant_is_compared_over_common_seeds_alone(tmp_path) -> None:
    quality = {"original": 0.85, "face-mask_out": 0.8, "face-blur-medium": 0.83, "body-blur-medium": 0.6}
    file = write_study(
        tmp_path, tasks=("detection",), quality=quality, noise=True, original_seeds=(3, 4), images=20, bootstrap=100
    )
    for stage, seed in itertools.product(("evaluations", "models"), (1, 2)):
        folder = tmp_path / stage / "streetlife"
        name = Path("compact") / f"seed{seed}"
        (folder / f"face-mask_out-fit{seed}" / "compact").mkdir(parents=True)
        (folder / "face-mask_out" / name).rename(folder / f"face-mask_out-fit{seed}" / name)
    study = replace(ReportStudy.read(file), refitted=("face-mask_out",))
    table, seeds = impact(study, _sources(tmp_path))
    of = {
        v: seeds[(seeds.variant == v) & (seeds.category == "person") & (seeds.metric == "AP")].value.to_numpy()
        for v in quality
    }
    keys = {"task": "detection", "category": "person"}
    row = _row(table, **keys, variant="face-mask_out")
    paired = of["face-mask_out"] - of["original"][:3]
    assert row.difference == pytest.approx(paired.mean())
    assert row.error_seeds == pytest.approx(paired.std(ddof=1) / 3**0.5)
    other = _row(table, **keys, variant="face-blur-medium")
    assert other.difference == pytest.approx(of["face-blur-medium"].mean() - of["original"].mean())
    words = [_seeds(_row(table, **keys, variant=v), study) for v in ("face-mask_out", "face-blur-medium")]
    assert words == ["0, 1, 2", "0, 1, 2; of the original also 3, 4"]


def test_further_seeds_of_the_original_narrow_every_difference(tmp_path) -> None:
    """They count in its mean and its spread, and are told apart wherever seeds are named."""
    quality = {"original": 0.85, "face-blur-medium": 0.83, "face-mask_out": 0.8, "body-blur-medium": 0.6}
    few, more = tmp_path / "few", tmp_path / "more"
    for root, further in ((few, ()), (more, (3, 4))):
        file = write_study(root, tasks=("detection",), quality=quality, noise=True, original_seeds=further)
        write_tables(ReportStudy.read(file), _sources(root), root / "tables")
    study = ReportStudy.read(more / "study.json")
    table = read_csv(more / "tables/impact.csv")
    ap = {
        v: np.array([_metrics(more, v, s)["tasks"]["detection"]["parts"]["person"]["AP"] for s in seeds])
        for v in quality
        if (seeds := study.seeds_of("compact", v))
    }
    assert [len(values) for values in ap.values()] == [5, 3, 3, 3]
    original = _row(table, task="detection", category="person", variant="original")
    others = np.stack([ap[v] - ap[v].mean() for v in quality if v != "original"])
    spread = ((others - others.mean(axis=0)) ** 2).sum() / 4
    assert (original.n_seeds, original.value) == (5, pytest.approx(ap["original"].mean(), abs=1e-4))
    for variant in ("face-blur-medium", "face-mask_out"):
        keys = {"task": "detection", "category": "person", "variant": variant}
        row, before = _row(table, **keys), _row(read_csv(few / "tables/impact.csv"), **keys)
        assert before.difference == pytest.approx((ap[variant] - ap["original"][:3]).mean(), abs=1e-4)
        assert row.n_seeds == 3
        assert row.difference == pytest.approx(ap[variant].mean() - ap["original"].mean(), abs=1e-4)
        assert row.error_seeds == pytest.approx((ap["original"].var(ddof=1) / 5 + spread / 3) ** 0.5, abs=1e-4)
        ap50 = _row(table, **keys, metric="AP50"), _row(table, **{**keys, "variant": "original"}, metric="AP50")
        assert ap50[0].difference == pytest.approx(ap50[0].value - ap50[1].value, abs=2e-4)
    seeds = read_csv(more / "tables/seeds.csv")
    assert set(seeds.seed[seeds.variant == "original"]) == {0, 1, 2, 3, 4}
    assert set(seeds.seed[seeds.variant != "original"]) == {0, 1, 2}
    (answer,) = answers(table)
    assert "trained on the originals with 5 seeds (on each variant: 3)" in answer.text
    assert not any(
        "not every seed" in said for said in warnings(study, table, read_csv(more / "tables/coverage.csv"), [])
    )
    (more / "figures").mkdir()
    write_html(study, more / "tables", more / "figures", more / "models", more / "report.html")
    assert "Seeds: 0, 1, 2 (of the original also 3, 4)." in " ".join((more / "report.html").read_text().split())
    shutil.rmtree(more / "evaluations/streetlife/original/compact/seed4")
    with pytest.raises(AnonbenchError, match="seed4"):
        write_tables(study, _sources(more), more / "tables")
    write_tables(study, _sources(more), more / "tables", allow_missing=True)
    fewer = read_csv(more / "tables/impact.csv")
    assert _row(fewer, task="detection", category="person", variant="original").n_seeds == 4
    assert any(
        "not every seed is evaluated for original" in said
        for said in warnings(study, fewer, read_csv(more / "tables/coverage.csv"), [])
    )


@pytest.mark.parametrize(
    ("file", "entry", "value", "said"),
    [
        ("train.json", None, [], "train.json: is not a training's record"),
        ("train.json", "resolved", 3, "train.json, resolved: is not a training's record"),
        ("train.json", "threads", "two", "train.json, threads: is not a training's record"),
        ("train.json", "loss_curve", {"iteration": 1}, "train.json, loss_curve: has no loss curve"),
        ("train.json", "loss_curve", [{"iteration": 10, "loss": float("nan")}], "iteration 10 loss: nan is no number"),
        ("train.json", "loss_curve", [{"iteration": 10, "loss": [1]}], r"iteration 10 loss: \[1\] is no number"),
        ("timing.json", None, [1], "timing.json: does not say what a job took"),
        ("timing.json", "seconds", "long", "timing.json, seconds: 'long' is no number"),
    ],
)
def test_records_of_trainings_that_were_edited_are_refused(copy, file, entry, value, said) -> None:
    root, study, sources = copy
    path = root / "models/streetlife/face-mask_out/compact/seed1" / file
    path.write_text(json.dumps(value if entry is None else {**json.loads(path.read_text()), entry: value}))
    with pytest.raises(AnonbenchError, match=said):
        write_tables(study, sources, root / "tables")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[:-40], r"impact\.csv: is cut short; write it again"),
        (lambda text: text + text.splitlines(True)[3], r"impact\.csv, streetlife compact .*: stands there twice"),
        (lambda text: text.replace("simultaneous_low", "low"), r"impact\.csv: has no column 'simultaneous_low'"),
    ],
)
def test_tables_that_were_edited_are_refused(copy, damage, said) -> None:
    root, study, sources = copy
    table = root / "tables/impact.csv"
    table.write_text(damage(table.read_text()))
    with pytest.raises(AnonbenchError, match=said):
        write_figures(study, root / "tables", root / "figures")
    with pytest.raises(AnonbenchError, match=said):
        write_html(study, root / "tables", root / "figures", sources.models, root / "report.html")


def test_seeds_that_are_compared() -> None:
    assert common_seeds([0, 1], [0, 1, 2], [2]) == ((0, 1), (0, 1, 2))
    assert common_seeds([0, 1], [0, 1, 2], []) == ((0, 1), (0, 1))
    assert common_seeds([0, 1], [0, 1, 2, 3], [3]) == ((0, 1), (0, 1, 2, 3)), "one that the variant lacks counts, too"
    assert common_seeds([1], [0, 1, 2], [2]) == ((1,), (1,))
    assert difference([2.0, 4.0], [2.0, 4.0, 9.0]) == 0
    assert difference([2.0, 5.0], [2.0, 4.0, 9.0]) == pytest.approx(-1.5)
    assert difference([], [2.0]) is None


def _coco_ap(truth, found):
    """Return a function from a list of image indices, repeats allowed, to COCOeval's segm AP of people on them."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found["detections"]), "segm")
        evaluation.params.catIds, evaluation.params.areaRng, evaluation.params.maxDets = [1], [[0, 1e10]], [100]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
    per_image = evaluation.evalImgs

    def ap(drawn):
        evaluation.evalImgs = [per_image[i] for i in drawn]
        evaluation.params.imgIds = evaluation._paramsEval.imgIds = list(range(len(drawn)))
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.accumulate(evaluation.params)
        return 100 * evaluation.eval["precision"].mean()

    return ap


def _welch(whole, variant, of_images):
    """Return half-widths (95 %, 90 %) of variant minus original by Welch's two mean squares, in plain loops."""
    others = [values for name, values in whole.items() if name != "original" and values.mean() >= 5]
    n, several = len(whole["original"]), len(others)
    mean = [sum(values[s] - values.mean() for values in others) / several for s in range(n)]
    original = sum((whole["original"][s] - whole["original"].mean() - mean[s]) ** 2 for s in range(n)) / (n - 1)
    about = sum((values[s] - values.mean() - mean[s]) ** 2 for values in others for s in range(n))
    free = (several - 1) * (n - 1)
    parts = [(original / n, n - 1), (about / free * (1 - 1 / several) / n, free), (of_images, 29)]
    total = sum(part for part, _ in parts)
    freedom = total**2 / sum(part**2 / of for part, of in parts) * (1 - 0.65 * (1 - 2 / several) / (n - 1))
    return [scipy.stats.t.ppf(p, max(freedom, n - 1)) * total**0.5 for p in (0.975, 0.95)]


def test_the_intervals_by_other_means(made) -> None:
    """COCOeval on images drawn by another generator, and scipy's t: nothing of the report's or evaluation's code."""
    root, study, _ = made
    truth = json.loads((root / "anonymized/streetlife/original/annotations/val.json").read_text())
    ap = {
        variant: [_coco_ap(truth, predictions(truth, variant, good, s, ("segmentation",))) for s in study.seeds]
        for variant, good in QUALITY.items()
    }
    whole = {variant: np.array([of(range(30)) for of in runs]) for variant, runs in ap.items()}
    variant = "face-mask_out"
    random = np.random.default_rng(1)
    pairs = list(zip(ap[variant], ap["original"], strict=True))
    drawn = np.array([[v(d) - o(d) for v, o in pairs] for d in random.integers(0, 30, (300, 30))])
    between = np.cov(drawn.T)
    n = len(study.seeds)

    def ends(covariance):
        common = (covariance.sum() - np.trace(covariance)) / (n * (n - 1)) * 30 / 29
        return np.array(_welch(whole, variant, max(common, 0)))

    luck = np.std([ends(np.cov(drawn[random.integers(0, 300, 200)].T)) for _ in range(200)], axis=0)
    row = _row(read_csv(root / "tables/impact.csv"), task="segmentation", category="person", variant=variant)
    assert whole[variant].mean() > 5
    assert row.difference == pytest.approx((whole[variant] - whole["original"]).mean(), abs=1e-3)
    found = np.array([row.difference_high - row.difference, row.equivalence_high - row.difference])
    assert (np.abs(found - ends(between)) < 4 * luck + 1e-3).all(), (found, ends(between), luck)
    assert row.difference - row.difference_low == pytest.approx(found[0], abs=2e-4)
    kept = 100 * whole[variant].mean() / whole["original"].mean()
    assert row.kept == pytest.approx(kept, abs=1e-3)
    assert row.kept_low < row.kept < row.kept_high


def test_the_primary_question_is_a_family_and_the_rest_is_exploratory(made) -> None:
    table = primary(read_csv(made[0] / "tables/impact.csv"))
    asked = table[table.question == "primary"]
    assert set(zip(asked.task, asked.category, strict=True)) == {("detection", "person"), ("pose", "person")}
    assert set(asked.variant) == {v for v in QUALITY if v not in ("original", "face-identity")}
    assert (asked.simultaneous_low < asked.difference_low).all()
    factor = (asked.simultaneous_high - asked.difference) / (asked.difference_high - asked.difference)
    assert factor.max() - factor.min() < 0.01
    rest = table[(table.question != "primary") & (table.variant != "original")]
    assert set(rest.question) == {"exploratory"}
    assert rest.simultaneous_low.isna().all()
    assert set(table[table.variant == "original"].question) == {""}


def test_controls_and_codec_stand_in_the_table(made) -> None:
    table = read_csv(made[0] / "tables/impact.csv")
    assert set(table.group) == {"people", "control", "mean"}
    cars = table[(table.category == "car") & (table.variant != "original")]
    # the same predictions for cars under every variant
    assert (cars.difference == 0).all()
    assert set(primary(cars).verdict) == {"no practical difference"}
    assert (cars.share_changed == 0).all()
    assert set(table[table.variant == "face-identity"].share_changed) == {0}
    row = _row(table, task="detection", category="person", variant="face-blur-medium")
    assert (row.region, row.method, row.level, row.share_changed) == ("face", "blur", "medium", 0.765)
    assert set(table.variant) == set(QUALITY)


def test_coverage_counts_every_reason(made) -> None:
    cover = read_csv(made[0] / "tables/coverage.csv")
    row = _row(cover, variant="face-blur-medium")
    assert (row.people, row.anonymized, row.no_face_found, row.below_min_size, row.crowd) == (200, 153, 31, 12, 4)
    assert row.no_mask == 0
    assert "original" not in set(cover.variant)


def test_curves_average_over_seeds(made) -> None:
    root, study, _ = made
    table = read_csv(root / "tables/curves.csv")
    row = _row(table, variant="original", iteration=200)
    points = [
        json.loads((root / f"models/streetlife/original/compact/seed{s}/train.json").read_text())["loss_curve"][19]
        for s in study.seeds
    ]
    assert row.loss == pytest.approx(np.mean([p["loss_classifier"] + p["loss_box"] for p in points]), abs=1e-4)
    assert list(dict.fromkeys(table.variant)) == study.variants


def test_small_numbers_for_dvc(made) -> None:
    values = json.loads((made[0] / "tables/metrics.json").read_text())
    table = read_csv(made[0] / "tables/impact.csv")
    row = _row(table, task="detection", category="person", variant="original")
    assert values["streetlife"]["original"]["detection"]["person"] == {"value": pytest.approx(row.value, abs=0.005)}
    row = _row(table, task="detection", category="person", variant="body-mask_out")
    own = values["streetlife"]["body-mask_out"]["detection"]["person"]
    assert (own.pop("verdict"), own.pop("question")) == (row.verdict, "primary")
    assert own == {
        "value": pytest.approx(row.value, abs=0.005),
        "difference": pytest.approx(row.difference, abs=0.005),
        "low": pytest.approx(row.simultaneous_low, abs=0.005),
        "high": pytest.approx(row.simultaneous_high, abs=0.005),
        "kept": pytest.approx(row.kept, abs=0.005),
    }


def test_the_same_inputs_give_the_same_bytes(made, tmp_path) -> None:
    root, study, sources = made
    write_tables(study, sources, tmp_path)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == sorted(
        [
            "impact.csv",
            "impact.md",
            "impact.tex",
            "seeds.csv",
            "subsets.csv",
            "coverage.csv",
            "people.csv",
            "sizes.csv",
            "curves.csv",
            "metrics.json",
            "numbers.tex",
        ]
    )
    for name in names:
        assert (tmp_path / name).read_bytes() == (root / "tables" / name).read_bytes()
    assert b"-0.0000" not in (tmp_path / "impact.csv").read_bytes()


def test_latex_has_a_cell_per_column_and_nothing_unescaped(made) -> None:
    text = (made[0] / "tables/impact.tex").read_text()
    values, intervals, _ = text.split(r"\end{tabular}}")
    for part, count in ((values, 1 + len(QUALITY)), (intervals, len(QUALITY))):  # the original has no interval
        rows = [line for line in part.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        columns = len(part.split(r"\begin{tabular}{")[1].split("}")[0])
        assert len(rows) == count
        assert {row.count(" & ") for row in rows} == {columns - 1}
        assert r"body-mask\_out" in part
    assert r"76 \%" in values
    table = primary(read_csv(made[0] / "tables/impact.csv"))
    (row,) = table[
        (table.variant == "body-mask_out") & (table.task == "detection") & (table.group == "people")
    ].itertuples()
    low, high = row.simultaneous_low, row.simultaneous_high
    kept = f"{round(row.kept)} \\% [{round(row.kept_low)}, {round(row.kept_high)}]".replace("[-", "[$-$")
    assert (
        f"body-mask\\_out & ${row.difference:+.1f}^{{\\downarrow}}\\ [{low:+.1f}, {high:+.1f}]$ & {kept}" in intervals
    )
    assert text.count(r"\begin") == text.count(r"\end") == 2
    first, *others = text.splitlines()
    assert first.startswith("%")
    assert "graphicx" in first
    code = "\n".join(line for line in others if not line.startswith("%"))
    assert code.lstrip().startswith(r"\resizebox{")
    assert code.rstrip().endswith(r"\end{tabular}}")
    assert code.count("{") - code.count(r"\{") == code.count("}") - code.count(r"\}")
    assert escape("a_b&c%$#{}~^\\<") == (
        r"a\_b\&c\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}\textless{}"
    )


def test_what_is_asked_about_is_what_kept_and_intervals_are_of(made) -> None:
    """Of a study that asks about another category than its first; a variant without the number is evaluated still."""
    root, study, _ = made
    table = primary(read_csv(root / "tables/impact.csv"))
    asked = table.question.mask(table.category != "person", "primary").mask(table.category == "person", "exploratory")
    table["question"] = asked.mask(table.category == "bicycle", "exploratory")
    text = markdown(table, study)
    assert text.count("car (untouched) kept") == 2
    assert text.count("person kept") == 1, "keypoints, which have no cars"
    assert "Box AP, car" in latex(table, study)
    other = table.assign(kept=table.kept.mask(table.variant == "body-mask_out"))
    (line, *_) = [line for line in markdown(other, study).splitlines() if line.startswith("| `body-mask_out`")]
    assert line.split("|")[4].strip() == "–"
    (line, *_) = [line for line in markdown(other, study).splitlines() if line.startswith("| `original`")]
    assert line.split("|")[4].strip() == ""
    none = table.assign(kept=float("nan"))
    assert "kept |" not in markdown(none, study)
    assert latex(none, study).count("tabular}{") == 1
    assert latex(table.assign(leaks="true"), study).count(r"Variant$^\dagger$") == 2


def test_markdown_has_a_row_per_variant(made) -> None:
    text = (made[0] / "tables/impact.md").read_text()
    assert text.count("| `body-mask_out`") == 3
    table = primary(read_csv(made[0] / "tables/impact.csv"))
    for row in table[(table.group == "people") & (table.variant == "body-mask_out")].itertuples():
        kept = f"{round(row.kept)} % [{round(row.kept_low)}, {round(row.kept_high)}]".replace("-", "−")
        assert f"| {kept} " in text
    assert text.count("person kept") == 3
    assert "car (untouched)" in text


def test_what_is_exploratory_is_told_from_the_primary_question(made) -> None:
    """In every form: verdicts in brackets, and in metrics.json the interval that a verdict rests on."""
    root, study, _ = made
    table = primary(read_csv(root / "tables/impact.csv"))
    rows = table[(table.variant == "face-mask_out") & (table.task == "detection")]
    of = {row.category: row for row in rows.itertuples()}
    assert (of["person"].question, of["car"].question) == ("primary", "exploratory")
    (line,) = [t for t in markdown(table[table.task == "detection"], study).splitlines() if "`face-mask_out`" in t]
    _, _, _, _, person, *_, car = (cell.strip() for cell in line.strip("|").split("|"))
    assert person[-1] in "−+=?"
    assert car.endswith(f"({MARKS[of['car'].verdict]})")
    assert r"^{(" in latex(table, study)
    assert "in brackets: exploratory" in latex(table, study)
    found = flat(table)["streetlife"]["face-mask_out"]["detection"]
    assert found["person"]["question"] == "primary"
    assert found["person"]["low"] == pytest.approx(of["person"].simultaneous_low, abs=0.006)
    assert found["person"]["low"] < of["person"].difference_low
    assert found["car"]["low"] == pytest.approx(of["car"].difference_low, abs=0.006)
    unasked = table.assign(question="")
    assert "exploratory" not in latex(unasked, study) + markdown(unasked, study)


def test_a_category_that_nothing_is_judged_of_is_no_primary_question(made) -> None:
    _, study, sources = made
    asked = replace(study, primary=replace(study.primary, category="horse"))
    with pytest.raises(AnonbenchError, match=r"primary\.category: nothing was judged of 'horse', only of person"):
        impact(asked, sources)


def test_a_variant_without_evaluation_is_an_error_or_a_row(copy) -> None:
    root, study, sources = copy
    shutil.rmtree(root / "evaluations/streetlife/face-mask_out")
    with pytest.raises(AnonbenchError, match=r"face-mask_out.*no such file"):
        impact(study, sources)
    table, _ = impact(study, sources, allow_missing=True)
    rows = table[table.variant == "face-mask_out"]
    assert set(rows.verdict) == {MISSING}
    assert rows.value.isna().all()
    assert MISSING in markdown(table, study)
    assert "-- & --" in latex(table, study)
    shutil.rmtree(root / "evaluations/streetlife/original")
    with pytest.raises(AnonbenchError, match="the original has no evaluation"):
        impact(study, sources, allow_missing=True)


def test_a_missing_seed_leaves_the_common_ones(copy) -> None:
    root, study, sources = copy
    shutil.rmtree(root / "evaluations/streetlife/body-mask_out/compact/seed1")
    table, seeds = impact(study, sources, allow_missing=True)
    row = _row(table, task="detection", category="person", variant="body-mask_out")
    seeds = primary(seeds)
    own = seeds[(seeds.variant == "body-mask_out") & (seeds.task == "detection") & (seeds.category == "person")]
    assert row.n_seeds == len(own) == 2
    assert row.difference == pytest.approx(own.difference.mean())


def test_masks_that_were_skipped_for_people_leave_no_row_and_no_gap(copy) -> None:
    root, study, sources = copy
    for place in root.glob("evaluations/*/*/*/*/*/metrics.json"):
        value = json.loads(place.read_text())
        value["tasks"]["segmentation"]["parts"]["person"] = None
        value["skipped"] = {"segmentation/person": "its masks are boxes"}
        place.write_text(json.dumps(value))
    table = write_tables(study, sources, root / "tables")
    assert set(table[table.task == "segmentation"].category) >= {"car", "bicycle"}
    assert "person" not in set(table[table.task == "segmentation"].category)
    assert len(primary(table[(table.task == "detection") & (table.category == "person")])) == len(QUALITY)
    write_figures(study, root / "tables", root / "figures")
    write_html(study, root / "tables", root / "figures", root / "models", root / "report.html")


@pytest.mark.parametrize("null", ["task", "one variant"])
def test_metrics_may_be_null(copy, null: str) -> None:
    root, study, sources = copy
    for place in root.glob(f"evaluations/*/{'*' if null == 'task' else 'body-mask_out'}/*/*/*/metrics.json"):
        value = json.loads(place.read_text())
        value["tasks"]["segmentation"] = None
        place.write_text(json.dumps(value))
    table = write_tables(study, sources, root / "tables")
    rows = table[table.task == "segmentation"]
    if null == "task":
        assert rows.empty
    else:
        assert set(rows[rows.variant == "body-mask_out"].verdict) == {MISSING}
        assert "-- & --" in (root / "tables/impact.tex").read_text()


def test_evaluations_of_other_images_are_refused(copy) -> None:
    root, study, sources = copy
    place = root / "evaluations/streetlife/face-mask_out/compact/seed0/on-original/metrics.json"
    value = json.loads(place.read_text())
    value["files"]["annotations"] = "0" * 64
    place.write_text(json.dumps(value))
    with pytest.raises(AnonbenchError, match="not made on the same images and annotations"):
        impact(study, sources)


BADLY_TYPED = '{"tasks": [], "counts": {"categories": {}}}'
COUNTLESS = '{"people": {"by_category": {"person": {"people": 3}}}}'


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("evaluations/streetlife/original/compact/seed0/on-original/metrics.json", "{}", "contains no metrics"),
        ("evaluations/streetlife/original/compact/seed0/on-original/metrics.json", BADLY_TYPED, "contains no metrics"),
        ("evaluations/streetlife/original/compact/seed0/on-original/metrics.json", '{"tasks"', "not valid JSON"),
        ("evaluations/streetlife/original/compact/seed0/on-original/evidence.npz", "x", "is damaged, or another file"),
        ("anonymized/streetlife/private/body-mask_out/manifests/train.json", "{}", "does not count people by category"),
        (
            "anonymized/streetlife/private/body-mask_out/manifests/train.json",
            COUNTLESS,
            "does not count people by category",
        ),
        ("models/streetlife/original/compact/seed0/train.json", "{}", "has no loss curve"),
    ],
)
def test_broken_inputs(copy, name: str, text: str, says: str) -> None:
    root, study, sources = copy
    (root / name).write_text(text)
    with pytest.raises(AnonbenchError, match=says) as caught:
        write_tables(study, sources, root / "out")
    assert str(root / name) in str(caught.value)
    assert not (root / "out").exists()


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("metrics.json", {"code": "0" * 16}, "was evaluated by another version of the code (0000000000000000) than"),
        ("metrics.json", {"library": {"engine": "pycocotools"}}, "by another library (engine pycocotools) than"),
        ("train.json", {"code": "0" * 16}, "was trained by another version of the code (code 0000000000000000) than"),
        ("train.json", {"recipe": {"batch_size": 9}}, "by another recipe (base_learning_rate not given) than"),
        ("train.json", {"versions": {"torch": "1"}}, "by another version of a library (torch 1) than"),
    ],
)  # fmt: skip
def test_a_study_of_mixed_versions_is_refused(copy, file: str, change: dict, says: str) -> None:
    root, study, sources = copy
    place = "streetlife/body-mask_out/compact/seed1"
    folder = root / ("models" if file == "train.json" else "evaluations") / place
    path = folder / ("on-original" if file == "metrics.json" else "") / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AnonbenchError, match=re.escape(says)) as caught:
        write_tables(study, sources, root / "out")
    assert place in str(caught.value).partition(": ")[0], "the first that differs"
    assert "original/compact/seed0" in str(caught.value), "and what it differs from"
    assert not (root / "out").exists()


def test_evidence_of_another_model_is_refused(copy) -> None:
    """Killed between its two files, or copied by hand: an evaluation whose files do not belong together."""
    root, study, sources = copy
    one, other = (root / f"evaluations/streetlife/{v}/compact/seed0/on-original" for v in ("original", "body-mask_out"))
    (one / "evidence.npz").write_bytes((other / "evidence.npz").read_bytes())
    with pytest.raises(AnonbenchError, match=r"evidence\.npz: is damaged, or another file than metrics\.json tells of"):
        write_tables(study, sources, root / "out")


def test_no_table_is_written_before_all_are_computed(copy) -> None:
    root, study, sources = copy
    path = root / "models/streetlife/original/compact/seed0/train.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data": {"images": [5]}}))
    with pytest.raises(TypeError):
        write_tables(study, sources, root / "out")
    assert not (root / "out").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"margins": {"detection": -1}}, r"report\.margins\.detection: must be a positive number"),
        ({"margins": {"detection": "2"}}, r"report\.margins\.detection: must be a positive number"),
        ({"margins": {"detection": float("nan")}}, r"report\.margins\.detection: must be a positive number"),
        ({"margins": {"detecton": 1}}, r"report\.margins: unknown task 'detecton' \(did you mean 'detection'"),
        ({"margins": [1]}, r"report\.margins: is no JSON object"),
        ({"vector_formats": "pdf"}, r"report\.vector_formats: is no list of formats; list some of pdf, svg"),
        ({"vector_formats": ["eps"]}, r"report\.vector_formats: is no list of formats"),
    ],
)
def test_options_that_cannot_be_are_named(copy, change: dict, says: str) -> None:
    path = copy[0] / "study.json"
    value = json.loads(path.read_text())
    path.write_text(json.dumps(value | {"report": value["report"] | change}))
    with pytest.raises(AnonbenchError, match=rf"study\.json, {says}"):
        ReportStudy.read(path)


def test_an_entry_that_only_one_of_two_recipes_has_is_a_difference_though_it_is_null(copy) -> None:
    root, study, sources = copy
    for place, recipe in (
        ("original/compact/seed0", {"a": 1, "length": None}),
        ("body-mask_out/compact/seed1", {"a": 1}),
    ):
        path = root / "models/streetlife" / place / "train.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"recipe": recipe}))
    for path in (root / "models").rglob("train.json"):
        if "body-mask_out/compact/seed1" not in str(path):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"recipe": {"a": 1, "length": None}}))
    with pytest.raises(AnonbenchError, match=re.escape("by another recipe (length not given) than")):
        write_tables(study, sources, root / "out")


def test_inputs_are_checked_by_an_interpreter_that_optimises(copy) -> None:
    """``python -O`` drops every `assert`."""
    root, *_ = copy
    code = (
        "import sys; from pathlib import Path; from anonbench.report.collect import Sources, read_run;"
        "from anonbench.directions import Evaluation; from anonbench.report.study import ReportStudy;"
        "root = Path(sys.argv[1]); stages = [root / n for n in"
        " ('evaluations', 'models', 'anonymized')]; sources = Sources(*stages)\n"
        "study = ReportStudy.read(root / 'study.json')\n"
        "for check in (lambda: sources.manifest(study, 'streetlife', 'body-mask_out', 'train'),"
        " lambda: read_run(sources.evaluation(Evaluation('streetlife', 'original', 'compact', 0, 'original')), None)"
        "):\n"
        "    try:\n        check()\n    except Exception as error:\n        print(error)"
    )
    (root / "anonymized/streetlife/private/body-mask_out/manifests/train.json").write_text(COUNTLESS)
    (root / "evaluations/streetlife/original/compact/seed0/on-original/metrics.json").write_text(BADLY_TYPED)
    done = subprocess.run([sys.executable, "-O", "-c", code, str(root)], capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert len(said) == 2
    assert "does not count people by category" in said[0]
    assert "contains no metrics" in said[1]


def test_missing_inputs(copy) -> None:
    root, study, sources = copy
    (root / "models/streetlife/original/compact/seed0/train.json").unlink()
    with pytest.raises(AnonbenchError, match="run the train stage first"):
        curves(study, sources)
    assert len(curves(study, sources, allow_missing=True))
    (root / "anonymized/streetlife/private/body-mask_out/manifests/train.json").unlink()
    with pytest.raises(AnonbenchError, match="no such file"):
        impact(study, sources)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"variants": ["face-blur"]}, "'original' is missing"),
        ({"variants": []}, "variants: is missing or empty"),
        ({"seeds": []}, "seeds: is missing or empty"),
        ({"seeds": [0, "one"]}, r"seeds\.1: .*integer"),
        ({"seeds": [0, 0]}, "seeds: 0 stands there twice"),
        ({"original_seeds": [0]}, "seeds: 0 stands there twice"),
        ({"directions": ["original", "original"]}, "directions: 'original' stands there twice"),
        ({"directions": ["sideways"]}, r"directions\.0: .*'original'"),
        ({"starts": [["streetlife"]]}, r"starts\.0"),
        ({"starts": [["streetlif", ["compact"]]]}, "starts: unknown name 'streetlif'"),
        ({"asked": {"streetlife": {"compact": ["face-blur-mediun"]}}}, "asked: unknown name 'face-blur-mediun'"),
        ({"untrained": ["compakt"]}, "untrained: unknown name 'compakt'"),
        (
            {"report": {"primary": {"variants": ["face-blurr"]}}},
            r"report\.primary\.variants: unknown name 'face-blurr'",
        ),
        ({"report": {"primary": {"models": ["compakt"]}}}, r"report\.primary\.models: unknown name 'compakt'"),
        ({"report": {"primary": {"tasks": ["detektion"]}}}, r"report\.primary\.tasks: unknown name 'detektion'"),
        ({"report": {"margin": -1}}, "must be positive"),
    ],
)
def test_a_broken_study(made, tmp_path, change, says: str) -> None:
    value = json.loads((made[0] / "study.json").read_text()) | change
    (tmp_path / "study.json").write_text(json.dumps(value))
    with pytest.raises(AnonbenchError, match=says):
        ReportStudy.read(tmp_path / "study.json")


def test_a_fallback_counts_as_anonymized_and_identity_changes_nobody(copy) -> None:
    root, study, sources = copy
    value = manifest("body-mask_out")
    value["people"]["by_category"]["person"] = {"people": 200, "anonymized": 200, "reasons": {"method_failed": 3}}
    (root / "anonymized/streetlife/private/body-mask_out/manifests/train.json").write_text(json.dumps(value))
    table, _ = impact(study, sources)
    assert _row(table, task="detection", category="person", variant="body-mask_out").share_changed == 1


@pytest.mark.parametrize(("anonymized", "reasons"), [(0, {"control": 200}), (150, {"no_face_found": 50})])
def test_of_whole_images_too_whoever_counts_as_changed_is_counted(copy, anonymized: int, reasons: dict) -> None:
    """A codec alone is a control; after another variant it hides whom that hides."""
    root, study, sources = copy
    value = manifest("body-mask_out") | {"touches": "everything", "share_changed": anonymized / 200}
    value["people"]["by_category"]["person"] = {"people": 200, "anonymized": anonymized, "reasons": reasons}
    (root / "anonymized/streetlife/private/body-mask_out/manifests/train.json").write_text(json.dumps(value))
    table, _ = impact(study, sources)
    for category, share in (("person", anonymized / 200), ("car", 1)):
        row = _row(table, task="detection", category=category, variant="body-mask_out")
        assert row.share_changed == share


def test_detections_of_nobody_are_counted_apart(copy) -> None:
    root, study, sources = copy
    before, _ = impact(study, sources)
    value = manifest("face-mask_out")
    value["people"]["unannotated"] = {"people": 55, "anonymized": 0, "reasons": {"left_unannotated": 55}}
    (root / "anonymized/streetlife/private/face-mask_out/manifests/train.json").write_text(json.dumps(value))
    cover = coverage(study, sources)
    row = _row(cover, variant="face-mask_out", category="unannotated")
    assert (row.people, row.anonymized, row.left_unannotated) == (55, 0, 55)
    assert _row(cover, variant="face-mask_out", category="person").people == 200
    after, _ = impact(study, sources)
    pd.testing.assert_series_equal(before.share_changed, after.share_changed)
    said = " ".join(warnings(study, after, cover, []))
    assert "streetlife: 55 detections are of nobody who is annotated and stay visible in the face variants" in said
    assert "76 % of the people had their face changed" in said  # as without them
    labels = [text.get_text() for axis in coverage_figure(cover).axes for text in axis.texts]
    assert labels == [
        text.get_text() for axis in coverage_figure(cover[cover.people == 200]).axes for text in axis.texts
    ]


def test_many_untouched_categories_are_shown_as_one() -> None:
    rows = [{"category": f"c{i}", "group": "control"} for i in range(9)]
    table = pd.DataFrame([{"category": "person", "group": "people"}, *rows, {"category": "untouched", "group": "mean"}])
    assert shown(table) == ["person", "untouched"]


def test_words_and_numbers() -> None:
    assert parts("face-blur-medium") == ("face", "blur", "medium")
    assert phrase("body-mask_out") == "masking out bodies"
    assert phrase("face-deep_privacy-small") == "deep privacy of faces (small)"
    assert number(-0.04) == "0.0"
    assert number(-1.25, signed=True) == "−1.2"
    assert [percent(v) for v in (0, 0.001, 0.5, 0.9999, 1.0)] == ["0 %", "<1 %", "50 %", ">99 %", "100 %"]


def test_people_are_counted_as_annotate_counts_them(made) -> None:
    root, _, _ = made
    people = read_csv(root / "tables/people.csv")
    assert list(people.columns[:2]) == ["dataset", "split"]
    assert people.people.sum() == 400
    assert _row(people, kind="face", size="large", status="no_face_found").people == 10


def test_counts_that_are_missing_or_damaged_are_named(copy) -> None:
    root, study, sources = copy
    path = root / "annotations/streetlife/train.coverage.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(AnonbenchError, match=r"train\.coverage\.csv: does not count people; run the annotate"):
        write_tables(study, sources, root / "t")
    path.unlink()
    with pytest.raises(AnonbenchError, match=r"train\.coverage\.csv: no such table"):
        write_tables(study, sources, root / "t")


def test_subsets_are_means_over_seeds(copy) -> None:
    root, study, sources = copy
    assert read_csv(root / "tables/subsets.csv").empty
    for variant in study.variants:
        for seed in study.seeds:
            path = root / f"evaluations/streetlife/{variant}/compact/seed{seed}/on-original/metrics.json"
            value = json.loads(path.read_text())
            scores = {"AP": 10.0 + seed + (variant != "original"), "AP50": 30.0}
            tasks = {"detection": {"overall": scores, "parts": {"person": scores, "car": scores}}}
            value["subsets"] = {"hard": {"images": 9, "instances": 7, "tasks": tasks}}
            path.write_text(json.dumps(value))
    write_tables(study, sources, root / "t")
    table = read_csv(root / "t/subsets.csv")
    assert set(table.category) == {"person"}
    row = _row(table, variant="face-mask_out")
    assert row.value == pytest.approx(11 + np.mean(study.seeds))
    assert _row(table, variant="face-mask_out", metric="AP50").value == 30
    assert (row.difference, row.n_seeds, row.instances) == (1, len(study.seeds), 7)
