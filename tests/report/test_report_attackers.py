"""How attackers have learnt: the table of their losses, its figure, and who has either."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from synthetic_attacks import write_attacks
from synthetic_study import dump, write_study

from anonbench import config, registry
from anonbench.attack.options import ATTACKERS, RestorerConfig
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, write_json
from anonbench.report import captions
from anonbench.report.attackers import ATTACKER_COLUMNS, DISSIMILARITY, attackers
from anonbench.report.collect import Sources
from anonbench.report.figures import write_figures
from anonbench.report.figures.attackers import attackers_figure
from anonbench.report.figures.curves import curves_figure
from anonbench.report.html import write_html
from anonbench.report.study import Attacks, ReportStudy
from anonbench.report.tables import read_table, write_csv, write_tables
from anonbench.workflow.arguments import Arguments
from anonbench.workflow.files import Files
from tests.conftest import PROJECT

LEARNERS = (
    ("own", "link", "naive", ("original",)),
    ("own", "link", "aware", ("body-blur-medium", "body-gan")),
    ("own", "infer", "aware", ("body-gan",)),
)
STUDY = ReportStudy(
    name="s", seed=0, datasets={"d": {"train": "train", "val": "val"}}, models={"m": {}}, seeds=[0, 1],
    variants=["original", "body-blur-medium", "body-gan"], refitted=("body-gan",),
    attacks=Attacks(("d",), ("link", "infer"), {}, seeds=[0, 1], sizes=[], learners=LEARNERS),
)  # fmt: skip


def record(attack: str, *losses: float, restorer: dict[str, Any] | None = None, **of: Any) -> dict[str, Any]:
    """Return what an attacker's record says of two points or more, and of who has learnt to undo the method before."""
    curve = [{"iteration": 3 * k, "loss": loss} for k, loss in enumerate(losses, 1)]
    undone = {} if restorer is None else {"restorer": restorer}
    return {"attack": attack, "attacker": {"knowledge": "aware", "restorer": None}, "loss_curve": curve, **undone, **of}


def place(root: Path, variant: str, attack: str, attacker: str, seed: int) -> Path:
    return root / "own" / variant / attack / attacker / f"seed{seed}" / "attacker.json"


@pytest.fixture
def learnt(tmp_path: Path) -> Path:
    """Return the folder of the attackers of `STUDY`: two seeds each, and one of a study that asked for more."""
    for seed in (0, 1):
        gan = "body-gan-fit1" if seed else "body-gan"
        dump(place(tmp_path, "original", "link", "naive", seed), record("link", 4.0, 1.0 + seed))
        dump(place(tmp_path, "body-blur-medium", "link", "aware", seed), record("link", 3.0, 2.0 - seed))
        dump(place(tmp_path, gan, "link", "aware", seed), record("link", 5.0, 4.0 + 2 * seed))
        dump(place(tmp_path, gan, "infer", "aware", seed), record("infer", 1.0, 0.5))
    dump(place(tmp_path, "body-gan", "link", "former", 0), record("link", 9.0, 9.0))
    return tmp_path


def made(root: Path, allow_missing: bool = False, study: ReportStudy = STUDY) -> pd.DataFrame:
    return attackers(study, Sources(root, root, root, attackers=root), allow_missing)


def test_losses_are_means_over_seeds_of_those_whom_the_study_asks_for(learnt: Path, tmp_path: Path) -> None:
    expected = [
        ("own", "link", "naive", "original", 3, 2, 4.0), ("own", "link", "naive", "original", 6, 2, 1.5),
        ("own", "link", "aware", "body-blur-medium", 3, 2, 3.0),
        ("own", "link", "aware", "body-blur-medium", 6, 2, 1.5),
        ("own", "link", "aware", "body-gan", 3, 2, 5.0), ("own", "link", "aware", "body-gan", 6, 2, 5.0),
        ("own", "infer", "aware", "body-gan", 3, 2, 1.0), ("own", "infer", "aware", "body-gan", 6, 2, 0.5),
    ]  # fmt: skip
    table = made(learnt)
    assert tuple(table.columns) == ATTACKER_COLUMNS
    assert set(table.training) == {"attacker"}
    assert list(table.drop(columns="training").itertuples(index=False, name=None)) == expected
    write_csv(tmp_path / "attackers.csv", table)
    pd.testing.assert_frame_equal(read_table(tmp_path, "attackers"), table, check_dtype=False)


def test_who_restores_first_has_two_trainings(learnt: Path) -> None:
    """(1 - s) L1 + s (1 - SSIM); s is the record's, or what it is where nobody names it."""
    undone = {"crops": 5, "loss_curve": [{"iteration": 50, "l1": 0.2, "ssim": 0.7}]}
    file = place(learnt, "body-blur-medium", "link", "aware", 0)
    dump(file, record("link", 3.0, 2.0, restorer=undone))
    dump(place(learnt, "body-blur-medium", "link", "aware", 1), record("link", 3.0, 1.0))
    found = made(learnt)
    (row,) = found[found.training == "restorer"].itertuples()
    assert (row.attack, row.attacker, row.variant, row.iteration, row.n_seeds) == (
        "link", "aware", "body-blur-medium", 50, 1,
    )  # fmt: skip
    assert row.loss == pytest.approx(0.8 * 0.2 + 0.2 * 0.7)
    assert RestorerConfig().ssim == DISSIMILARITY
    looks = found[(found.training == "attacker") & (found.variant == "body-blur-medium")]
    assert list(looks.loss) == [3.0, 1.5]

    dump(file, record("link", 3.0, 2.0, restorer=undone, attacker={"restorer": {"ssim": 0.5}}))
    assert made(learnt).query("training == 'restorer'").loss.item() == pytest.approx(0.45)
    begin = [axis for axis in attackers_figure(made(learnt)).axes if axis.get_ylabel()]
    assert [(axis.get_title(), axis.get_ylabel().removesuffix("\ntraining loss")) for axis in begin] == [
        ("naive", "link"), ("aware", "link\nrestorer"), ("aware", "infer"),
    ]  # fmt: skip


def test_whoever_is_missing_is_an_error_unless_it_is_allowed(learnt: Path) -> None:
    file = place(learnt, "body-gan-fit1", "link", "aware", 1)
    file.unlink()
    with pytest.raises(AnonbenchError) as caught:
        made(learnt)
    assert str(caught.value).endswith("seed1/attacker.json: no such file; run fit-attacker first")
    table = made(learnt, allow_missing=True)
    assert list(table[(table.attack == "link") & (table.variant == "body-gan")].n_seeds) == [1, 1]
    nobody = made(learnt / "nowhere", allow_missing=True)
    assert nobody.empty
    assert tuple(nobody.columns) == ATTACKER_COLUMNS
    assert attackers_figure(nobody).texts[0].get_text() == "no attacker has learnt yet"


GOOD = record("link", 3.0, 2.0)


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        ("{", "not valid JSON"),
        ([1], "is not the record of an attacker; let it learn again"),
        ({"attack": "link"}, "is not the record of an attacker; let it learn again"),
        ({**GOOD, "attack": "infer"}, "is not the record of an attacker that has learnt to link; let it learn again"),
        (
            {**GOOD, "own": {"variant": "body-gan"}},
            "own.variant: is 'body-gan', but the attacker lies where that of 'body-blur-medium' is expected; let it",
        ),
        ({**GOOD, "seed": 4}, "seed: is 4, but the attacker lies where that of 1 is expected; let it learn again"),
        ({**GOOD, "loss_curve": []}, "loss_curve: has no loss curve; let it learn again"),
        ({**GOOD, "loss_curve": [{"iteration": 3}]}, "loss_curve: has no loss curve; let it learn again"),
        ({**GOOD, "loss_curve": [{"iteration": 3, "loss": None}]}, "loss_curve iteration 3 loss: None is no number"),
        ({**GOOD, "loss_curve": [{"iteration": [3], "loss": 1.0}]}, "is no number; let it learn again"),
        ({**GOOD, "restorer": {}}, "restorer.loss_curve: has no loss curve; let it learn again"),
        ({**GOOD, "restorer": 3}, "restorer.loss_curve: has no loss curve; let it learn again"),
        (
            {**GOOD, "restorer": {"loss_curve": [{"iteration": 3, "l1": 1.0}]}},
            "restorer.loss_curve: has no loss curve; let it learn again",
        ),
        (
            {**GOOD, "attacker": {"restorer": {"ssim": "half"}},
             "restorer": {"loss_curve": [{"iteration": 3, "l1": 1.0, "ssim": 1.0}]}},
            "attacker.restorer: is not the record of an attacker; let it learn again",
        ),
    ],
)  # fmt: skip
def test_a_damaged_record_stops_with_one_sentence(learnt: Path, damaged: Any, said: str) -> None:
    file = place(learnt, "body-blur-medium", "link", "aware", 1)
    if isinstance(damaged, str):
        file.write_text(damaged)
    else:
        write_json(file, damaged)
    for allowed in (False, True):
        with pytest.raises(AnonbenchError) as caught:
            made(learnt, allowed)
        assert str(file) in str(caught.value)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_each_attack_has_a_scale_and_each_variant_the_colour_that_it_has_elsewhere(learnt: Path) -> None:
    table = made(learnt)
    trained = pd.DataFrame(
        [
            {"dataset": "d", "model": "m", "variant": v, "leaks": "", "iteration": i, "n_seeds": 1, "loss": 1 / i}
            for v in ("original", "body-identity", "body-blur-medium")
            for i in (1, 2)
        ]
    )
    figure, others = attackers_figure(table, list(trained.variant)), curves_figure(trained)
    assert [axis.get_title() for axis in figure.axes] == ["naive", "aware", "aware"]
    naive, aware, infers = figure.axes
    assert [axis.get_ylabel() for axis in figure.axes] == ["link\ntraining loss", "", "infer\ntraining loss"]
    assert naive.get_ylim() == aware.get_ylim() != infers.get_ylim()
    assert {axis.get_yscale() for axis in figure.axes} == {"log"}
    assert [axis.get_xlabel() for axis in figure.axes] == ["iteration"] * 3
    colours = [
        {line.get_label(): line.get_color() for axis in one.axes for line in axis.get_lines()}
        for one in (figure, others)
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["original", "body-blur-medium", "body-gan"]
    assert len(set(colours[0].values())) == 3
    assert {v: colours[1][v] for v in ("original", "body-blur-medium")}.items() <= colours[0].items()
    assert colours[0]["body-gan"] not in colours[1].values()
    nothing_left = attackers_figure(table.assign(loss=0.0))
    assert {axis.get_yscale() for axis in nothing_left.axes} == {"linear"}


def test_only_a_study_whose_attackers_learn_has_table_and_figure(tmp_path: Path) -> None:
    root = tmp_path
    write_study(root, seeds=(0, 1), images=12, bootstrap=50, tasks=("detection",))
    write_attacks(root)
    pages = []
    for learns in (False, True):
        if learns:
            said = read_json(root / "study.json")
            said["attacks"]["learners"] = [["own", "reidentify", "body-aware", ["body-mask_out", "body-blur-medium"]]]
            write_json(root / "study.json", said)
            for variant in ("body-mask_out", "body-blur-medium"):
                dump(place(root / "attackers", variant, "reidentify", "body-aware", 0), record("reidentify", 4.0, 3.0))
        study = ReportStudy.read(root / "study.json")
        folders = {name: root / name for name in ("evaluations", "models", "anonymized", "annotations", "attacks")}
        out = root / str(learns)
        write_tables(study, Sources(**folders, attackers=root / "attackers"), out)
        assert (out / "attackers.csv").exists() == learns
        assert ("attackers.png" in write_figures(study, out, out)) == learns
        assert ("attackers" in [one.name for one in captions.listed(study)]) == learns
        write_html(study, out, out, root / "models", out / "report.html")
        pages.append((out / "report.html").read_text())
    assert "what such an attacker finds is a lower bound" not in pages[0]
    training = pages[1].partition('<h2 id="training">')[2]
    assert training.index("harder to fit") < training.index("what such an attacker finds is a lower bound")


@pytest.mark.parametrize(
    "name",
    [
        "default",
        "quick",
        "privacy",
        "action",
        "contrast",
        "learned",
        "novel",
        "ucf101",
        "codec",
        "dose",
        "coco-privacy",
    ],
)
def test_the_workflow_waits_for_every_attacker_that_learns_and_tells_the_report_who_they_are(name: str) -> None:
    whole = config.load(PROJECT / f"config/{name}.yaml")
    files = Files(whole, PROJECT)
    wanted = dict[str, None]()
    for one in files.attacks():
        dataset, variant, attack, attacker, seed = one.split("/")
        if registry.load("attacks", attack).by == ATTACKERS and attacker not in whole.recognisers():
            w = SimpleNamespace(
                dataset=dataset, variant=variant, attack=attack, attacker=attacker, seed=seed.removeprefix("seed")
            )
            wanted[f"{files.attacker_folder(w)}/attacker.json"] = None
    found = files.attacker_records()
    assert len(found) == len(set(found))
    assert set(found) == set(wanted)
    assert ("attackers.csv" in files.tables()) == ("attackers" in files.figures()) == bool(wanted)


def test_the_report_finds_attackers_where_the_workflow_has_put_them(tmp_path: Path) -> None:
    for name in ("default", "action"):
        whole = config.load(PROJECT / f"config/{name}.yaml")
        files = Files(whole, PROJECT)
        (tmp_path / "study.json").write_text(Arguments(whole, files).summary())
        study = ReportStudy.read(tmp_path / "study.json")
        found = [
            f"{own}/{study.made_with(variant, seed)}/{attack}/{attacker}/seed{seed}"
            for own, attack, attacker, variant, seed in study.learners()
        ]
        assert [f"{files.folder('attackers')}/{one}/attacker.json" for one in found] == files.attacker_records()
    nobody = replace(STUDY, attacks=replace(STUDY.attacks, learners=()))
    assert list(nobody.learners()) == []
    assert list(replace(STUDY, attacks=None).learners()) == []
