"""A study that asks about AP50: differences, intervals and verdicts are about it, and every form says so."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from anonbench import power
from anonbench.cli import app
from anonbench.config import parse
from anonbench.errors import AnonbenchError
from anonbench.evaluate import evidence
from anonbench.evaluate.metrics import evaluate_files
from anonbench.report import compare
from anonbench.report.answer import answers
from anonbench.report.collect import Sources
from anonbench.report.explorer import explorer
from anonbench.report.figures.impact import impact_figure
from anonbench.report.impact import impact
from anonbench.report.study import ReportStudy
from anonbench.report.tables import flat, latex, markdown, primary
from anonbench.statistics.resampling import Draw
from anonbench.tasks import base as tasks
from anonbench.workflow.arguments import Arguments
from anonbench.workflow.files import Files
from tests.report.synthetic_study import QUALITY, dump, predictions, write_study

SEEDS = (0, 1, 2)

Led = tuple[Path, ReportStudy, pd.DataFrame, pd.DataFrame, pd.DataFrame]
"""Its root, the study, its impact and single seeds, and the impact of the same evaluations without the question."""


def _sources(root: Path) -> Sources:
    return Sources(root / "evaluations", root / "models", root / "anonymized", annotations=root / "annotations")


@pytest.fixture(scope="module")
def led(tmp_path_factory: pytest.TempPathFactory) -> Led:
    root = tmp_path_factory.mktemp("led")
    study = ReportStudy.read(write_study(root, SEEDS, images=20, bootstrap=100, resampled=True, metric="AP50"))
    plain = tmp_path_factory.mktemp("plain")
    other = ReportStudy.read(write_study(plain, SEEDS, images=20, bootstrap=100))
    return root, study, *impact(study, _sources(root)), impact(other, _sources(plain))[0]


@pytest.mark.parametrize("name", ["detection", "segmentation", "pose"])
@pytest.mark.parametrize("metric", ["AP50", "AP75"])
def test_what_is_scored_again_is_what_was_measured(led: Led, name: str, metric: str) -> None:
    root, *_ = led
    folder = root / "evaluations/streetlife/body-blur-medium/compact/seed0/on-original"
    measured = pd.read_json(folder / "metrics.json", typ="series")["tasks"][name]["parts"]
    task = tasks.led(name, metric)
    assert [m.name for m in task.metrics] == [metric, *(m.name for m in tasks.load(name).metrics if m.name != metric)]
    assert task.title == tasks.load(name).title.replace("AP", metric)
    found = evidence.read(folder / "evidence.npz")[name].parts
    assert found
    for part, arrays in found.items():
        assert float(task.score(arrays)) == pytest.approx(measured[part][metric], abs=1e-9)
        assert float(tasks.load(name).score(arrays)) == pytest.approx(measured[part]["AP"], abs=1e-9)
        weights = np.ones((2, len(arrays["instances"])), dtype=np.int64)
        assert task.score(arrays, weights) == pytest.approx([measured[part][metric]] * 2, abs=1e-9)


def test_others_keep_their_own_first_metric() -> None:
    assert tasks.led("action", "AP50") is tasks.load("action")
    assert tasks.led("detection", "AP") is tasks.load("detection")
    assert tasks.led("detection", "APs") is tasks.load("detection")
    assert tasks.title("action", "top-5") == "top-1 accuracy"
    assert [m.name for m in tasks.load("detection").metrics][:2] == ["AP", "AP50"], "the task itself is as it was"


def test_intervals_and_verdicts_are_about_it(led: Led) -> None:
    _, _, table, _, plain = led
    first = primary(table)
    assert set(first.metric) == {"AP50"}
    assert set(first[first.question == "primary"].task) == {"detection", "pose"}
    assert table.loc[table.metric == "AP", "difference_low"].isna().all()
    keys = ["task", "category", "variant", "metric"]
    both = table.merge(plain, on=keys, suffixes=("", "_plain"))
    assert len(both) == len(table) == len(plain)
    assert np.allclose(both.value, both.value_plain, atol=1e-9)
    asked = both[(both.metric == "AP50") & (both.variant == "body-mask_out") & (both.category == "person")]
    assert (asked.difference_low < asked.difference_plain).all()
    assert (asked.difference_high > asked.difference_plain).all()
    assert asked.difference_low_plain.isna().all()


def test_replicates_of_another_metric_are_not_taken_for_it(tmp_path: Path) -> None:
    study = write_study(tmp_path, (0,), images=12, quality={"original": 0.8}, bootstrap=120, resampled=True)
    folder = tmp_path / "evaluations/streetlife/original/compact/seed0/on-original"
    draw = Draw(120, 7, "streetlife")
    plain = evidence.read(folder / "evidence.npz", draw)["detection"].replicates["person"]
    of_fifty = evidence.read(folder / "evidence.npz", draw, "AP50")["detection"].replicates["person"]
    assert (of_fifty > plain).all()
    for name in ("anonymized", "evaluations"):
        shutil.rmtree(tmp_path / name)
    led = write_study(
        tmp_path, (0,), images=12, quality={"original": 0.8}, bootstrap=120, resampled=True, metric="AP50"
    )
    assert led == study
    again = evidence.read(folder / "evidence.npz", draw, "AP50")["detection"].replicates["person"]
    assert np.array_equal(again, of_fifty)
    assert np.array_equal(evidence.read(folder / "evidence.npz", draw)["detection"].replicates["person"], plain)


def test_a_metric_of_no_draw_leaves_the_file_alone(tmp_path: Path) -> None:
    write_study(tmp_path, (0,), images=12, quality={"original": 0.8})
    folder = tmp_path / "evaluations/streetlife/original/compact/seed0/on-original"
    before = (folder / "evidence.npz").read_bytes()
    val = tmp_path / "anonymized/streetlife/original/annotations/val.json"
    truth = pd.read_json(val, typ="series").to_dict()
    dump(tmp_path / "p.json", predictions(truth, "original", 0.8, 0, ("detection", "segmentation", "pose")))
    evaluate_files(tmp_path / "p.json", val, folder, metric="AP50")
    assert (folder / "evidence.npz").read_bytes() == before


def test_every_form_says_it(led: Led) -> None:
    _, study, table, seeds, plain = led
    text = markdown(table, study)
    assert "(AP50 in per cent)" in text
    assert "compact: box AP50\n" in text
    assert "Keypoint AP50" in latex(table, study)
    assert "AP50 in per cent" in latex(table, study)
    said = " ".join(f"{one.text} {' '.join(one.points)}" for one in answers(table))
    assert "box AP50" in said
    assert "box AP " not in said
    titles = [axis.get_title() for axis in impact_figure(primary(table), seeds, study).axes]
    assert "Box AP50" in titles
    assert "AP50" not in markdown(plain, study).split("## ")[1], "a table is titled by its own rows"


@pytest.mark.parametrize(("metric", "tasks_"), [("AP90", ["detection"]), ("AP50", ["action"]), ("top-5", ["action"])])
def test_a_metric_without_intervals_is_refused(tmp_path: Path, metric: str, tasks_: list[str]) -> None:
    path = write_study(tmp_path, (0,), images=12, quality={"original": 0.8})
    study = pd.read_json(path, typ="series").to_dict()
    study["report"]["primary"] = {"metric": metric, "tasks": tasks_}
    dump(path, study)
    with pytest.raises(AnonbenchError, match=f"unknown name '{metric}'.*report.primary.metric|{metric}"):
        ReportStudy.read(path)


def _asks(models_: object = None, **primary: object) -> Arguments:
    study = {"name": "s", "datasets": {"streetlife": {}}, "variants": ["original", "face-blur-medium"]}
    study |= {"models": models_ or {"m": {"preset": "cpu-short"}}, "report": {"primary": primary}}
    whole = parse(study)
    return Arguments(whole, Files(whole, Path()))


def test_evaluations_resample_what_the_study_asks_about() -> None:
    assert _asks().metric("m") == ""
    assert _asks(metric="AP").metric("m") == "", "the first one anyway"
    both = _asks({"m": {"preset": "cpu-short"}, "a": {"preset": "clips-cpu"}}, metric="AP50", models=["m"])
    assert (both.metric("m"), both.metric("a")) == ("--metric AP50", "")


@pytest.mark.parametrize(
    ("models", "primary_", "said"),
    [
        (None, {"metric": "AP50", "tasks": ["action"]}, "'AP50' has no intervals in action; name one of top-1"),
        (
            {"a": {"preset": "clips-cpu"}},
            {"metric": "AP50"},
            r"'AP50' has no intervals in what models\.a does \(action\)",
        ),
    ],
)
def test_a_study_that_asks_for_what_has_no_intervals_is_refused(
    models: object, primary_: dict[str, object], said: str
) -> None:
    with pytest.raises(AnonbenchError, match=rf"report\.primary\.metric: {said}"):
        _asks(models, **primary_)


def test_evaluate_knows_what_can_be_resampled(led: Led) -> None:
    words = ["evaluate", "--predictions", "p", "--annotations", "a", "--out", "o", "--metric", "AP500"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code
    assert "'AP500' is resampled in no task (did you mean 'AP50'?)" in str(found.exception)


def test_a_plan_takes_only_a_pilot_that_was_asked_the_same(led: Led, tmp_path: Path) -> None:
    _, _, table, _, plain = led
    for name, rows in (("led", table), ("plain", plain)):
        (tmp_path / name / "tables").mkdir(parents=True)
        rows.to_csv(tmp_path / name / "tables" / "impact.csv", index=False)
    model = {"preset": "cpu-short"}
    study = {"name": "s", "datasets": {"streetlife": {}}, "variants": list(QUALITY), "models": {"compact": model}}
    asks = parse(study | {"report": {"primary": {"metric": "AP50"}}})
    said = "is about AP of detection, the study asks about AP50"
    with pytest.raises(AnonbenchError, match=said):
        power.of_pilot(asks, tmp_path / "plain", Path("s.yaml"))
    with pytest.raises(AnonbenchError, match="is about AP50 of detection, the study asks about AP"):
        power.of_pilot(parse(study), tmp_path / "led", Path("s.yaml"))
    (found,) = {
        round(known.value, 6)
        for keys, known in power.of_pilot(asks, tmp_path / "led", Path("s.yaml"))
        if known and (keys["task"], keys["variant"]) == ("detection", "body-mask_out")
    }
    (row,) = table[
        (table.metric == "AP50") & (table.task == "detection") & (table.variant == "body-mask_out")
        & (table.category == "person")
    ].itertuples()  # fmt: skip
    assert found == pytest.approx(row.difference, abs=1e-5)
    with pytest.raises(AnonbenchError, match="published study tells of mask AP alone"):
        power.of_published(asks)


def test_what_only_one_of_two_studies_asks_about_is_not_called_identical(led: Led) -> None:
    root, study, table, _, plain = led
    del root, study
    keys = ("streetlife", "compact", "detection", "person", "original", "face-mask_out")
    rows = {}
    for name, of in (("a", plain), ("b", table)):
        own = of[(of.task == "detection") & (of.category == "person") & (of.variant == "face-mask_out")]
        rows[name] = {(*keys, row["metric"]): row for row in own.to_dict("records")}
    results = {name: SimpleNamespace(rows=of) for name, of in rows.items()}
    said = {key[-1]: compare._row(results["a"], results["b"], key)["said"] for key in rows["a"]}  # type: ignore[arg-type]
    assert said == {"AP": "judged in A alone", "AP50": "judged in B alone", "AP75": "identical"}


def test_what_quotes_numbers_names_the_metric(led: Led) -> None:
    _, study, table, seeds, plain = led
    of = flat(table)["streetlife"]["body-mask_out"]["detection"]["person"]
    assert of["metric"] == "AP50"
    assert "metric" not in flat(plain)["streetlife"]["body-mask_out"]["detection"]["person"]
    made = {"commit": "", "dirty": False}
    page = explorer(table, seeds, study, made, Path("evaluations"), Path("results"))
    at = [column["of"] for column in page["columns"]].index("task")
    assert {one["cells"][at]["text"] for one in page["records"]} == {"box AP50", "mask AP50", "keypoint AP50"}
