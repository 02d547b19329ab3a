"""The protocol of the action study: fits by seed, fresh networks and attackers, nothing chosen on what is reported."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from PIL import Image

from anonbench import config
from anonbench.directions import Evaluation
from anonbench.errors import AnonbenchError
from anonbench.report.study import ReportStudy
from anonbench.workflow.plan import Plan
from tests.fixtures import clips
from tests.workflow.conftest import PROJECT, Project
from tests.workflow.test_action import MODEL

VARIANTS = ["original", "frame-grey", "body-mask_out", "body-gan"]
CLIPS: dict[str, Any] = {"actions": ["walk", "read"], "frames": 2, "identities": 24, "people": [2, 2]}
ATTACKER = {"region": "body", "width": 16, "height": 32, "iterations": 4, "batch_size": 8, "dimensions": 8}
FIT = {
    "body_size": [16, 32], "stem": 4, "channels": [8, 8], "discriminator_channels": [8, 8], "latent_channels": 4,
    "style_channels": 8, "batch_size": 4, "body_iterations": 3, "max_people": 12, "clusters": 2,
}  # fmt: skip


def study(**changes: Any) -> dict[str, Any]:
    """Return a study of two seeds with a method that is fitted for each, and attackers."""
    value = clips.study("protocol", VARIANTS, {"r3d": MODEL | {"settings": MODEL["settings"] | {"frames": 2}}})
    value["datasets"] = {
        "clips": clips.dataset(**CLIPS, clips={"train": 24, "val": 48}),
        "others": clips.dataset(**CLIPS, seed=3, clips={"train": 24, "val": 2}),
    }
    value["models"]["r3d"] |= {"datasets": ["clips"]}
    value["anonymize"] = {"shards": 1}
    value["train"]["seeds"] = [0, 1]
    value["methods"] = {"gan": {"fit_on": "others", "refit": True, "fit": FIT}}
    value["evaluate"] = {"on": ["same"]}
    value["attack"] = {
        "attacks": ["infer"], "own": {"dataset": "others"}, "seeds": [0, 1],
        "attributes": {"known": ["build", "bag"]},
        "attackers": {"naive": {"knowledge": "naive", **ATTACKER}, "aware": {"knowledge": "aware", **ATTACKER}},
    }  # fmt: skip
    value["report"] |= {
        "primary": {"tasks": ["action"], "category": "detail", "direction": "same"},
        "against": ["body-mask_out"],
    }
    return value | changes


def plan(**changes: Any) -> Plan:
    return Plan(study(**changes), PROJECT)


def test_a_seed_is_a_run_of_the_whole_chain() -> None:
    files = plan().files
    of_gan = [one for one in files.trainings() if "gan" in one]
    assert of_gan == ["clips/body-gan/r3d/seed0", "clips/body-gan-fit1/r3d/seed1"]
    assert [one for one in files.trainings() if "grey" in one] == [f"clips/frame-grey/r3d/seed{k}" for k in (0, 1)]
    assert Evaluation("clips", "body-gan-fit1", "r3d", 1, "body-gan-fit1") in files.evaluations()
    assert not [one for one in files.evaluations() if one.trained == "body-gan" and one.seed == 1]
    assert "clips/body-gan-fit1/infer/aware/seed1" in files.attacks()
    assert files.fit_folder("clips", "body-gan").endswith("others/private/fits/body-gan")
    assert files.fit_folder("clips", "body-gan-fit1").endswith("others/private/fits/body-gan-fit1")
    assert "anonymized/clips/private/body-gan-fit1/manifests/train.json" in files.manifests()


def test_fits_differ_in_their_seed_alone() -> None:
    arguments = plan().arguments
    assert arguments.fit_seed("") == 7, "the study's, as of a method that is fitted once"
    assert len({arguments.fit_seed(again) for again in ("", "-fit1", "-fit2")}) == 3
    assert arguments.method("body-gan") == arguments.method("body-gan-fit1")


def test_without_refit_nothing_is_fitted_twice() -> None:
    methods = study()["methods"]
    methods["gan"]["refit"] = False
    files = plan(methods=methods).files
    assert not [one for one in (*files.trainings(), *files.attacks(), *files.manifests()) if "-fit" in one]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"methods": {"grey": {"refit": True}}},
            r"methods\.grey: there is nothing to fit; remove fit, fit_on and refit",
        ),
        ({"variants": [*VARIANTS, "body-gan-fit1"]}, r"body-gan-fit1.*refit fits a method for each seed"),
        ({"train": {"seeds": [0, 2]}}, r"attack\.seeds: 1 is not among train\.seeds"),
        (
            {"report": {"primary": {"tasks": ["action"], "direction": "original"}}},
            "'original' is not among evaluate.on",
        ),
        ({"report": {"primary": {"direction": "sideways"}}}, "report.primary.direction"),
        (
            {"report": {"primary": {"tasks": ["detection"], "metric": "AP90"}}},
            r"report\.primary\.metric: 'AP90' has no intervals in detection; name one of AP, AP50, AP75",
        ),
        ({"report": {"primary": {"models": ["nobody"]}}}, "report.primary.models: 'nobody' is not among the study's"),
        ({"attack": {"datasets": ["clipz"]}}, r"attack.datasets: unknown data set 'clipz' \(did you mean 'clips'"),
        ({"attack": {"datasets": ["others"], "own": {"dataset": "others"}}}, "'others' is the attacker's own"),
        (
            {"report": {"against": ["body-mask"]}},
            r"report.against: 'body-mask' is not .*\(did you mean 'body-mask_out'",
        ),
        (
            {
                "models": {
                    "finder": {
                        "trainer": "ready_made",
                        "tasks": ["people"],
                        "only_seeds": [0],
                        "settings": {"detector": {"plugin": "hog"}},
                    }
                },
                "evaluate": {"on": ["original", "deployed"]},
            },
            r"models\.finder\.only_seeds: it needs no training, and has the first of train\.seeds; remove it",
        ),
        ({"models": {"r3d": MODEL | {"only_seeds": [4]}}}, r"models\.r3d\.only_seeds: 4 is not among train\.seeds"),
        ({"methods": {"blur": {"levels": {"fit2": {}}}}, "variants": ["original", "body-blur-fit2"]}, "fit2"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(AnonbenchError, match=said):
        config.parse(study(**change))


def test_no_training_can_be_chosen_on_what_is_reported() -> None:
    """A training and the learning of an attacker are given their own people's files, and no other split's."""
    files = Plan(config_of("action"), PROJECT).files
    tested = {files.evaluation_split("streetlife"), files.probe_split("streetlife")}
    assert tested == {"probe"}
    rules = {name: (PROJECT / "workflow" / "rules" / f"{name}.smk").read_text() for name in ("train", "attack")}
    training = rules["train"].split("rule train:")[1].split("rule ")[0]
    assert "evaluation_split" not in training
    assert "truth" not in training
    for name in ("training_file",):
        assert f"plan.files.{name}(" in training
    wildcards = type("W", (), {"dataset": "streetlife", "variant": "frame-grey", "attacker": "aware"})
    read = [files.training_file(what)(wildcards) for what in ("manifest", "annotations")]
    wildcards.dataset = "attacker"
    read += files.own_people(wildcards)
    assert read
    assert not [path for path in read if Path(path).name.split(".")[0] in tested]


def test_a_start_is_trained_with_the_seed_that_is_used() -> None:
    shipped = Plan(config_of("action"), PROJECT)
    assert [one for one in shipped.files.trainings() if "/start/" in one] == ["others/original/start/seed0"]
    assert json.loads(shipped.arguments.summary())["own_seeds"] == {"start": [0]}
    assert "only_seeds" not in json.loads(shipped.arguments.recipe("start"))


def config_of(name: str) -> dict[str, Any]:
    import yaml

    value: dict[str, Any] = yaml.safe_load((PROJECT / "config" / f"{name}.yaml").read_text())
    return value


def test_a_sheet_is_drawn_of_those_to_whom_something_was_done() -> None:
    assert Plan(config_of("action"), PROJECT).files.sheets() == ["sheet-streetlife"]


@pytest.mark.parametrize("name", ["action", "learned"])
def test_the_shipped_studies_have_four_groups_of_people(name: str) -> None:
    shipped = config.load(PROJECT / "config" / f"{name}.yaml")
    seeds = {dataset: shipped.options(dataset).get("seed") for dataset in shipped.datasets}
    assert len(set(seeds.values())) == 3, "each data set has people of its own"
    assert shipped.datasets["streetlife"].disjoint
    fitted = {method: of.fit_on for method, of in shipped.methods.items()}
    assert fitted == dict.fromkeys(["gan", "learned"], "others")
    assert shipped.methods["learned"].refit, "intervals hold what fits do"
    assert shipped.attack.own.dataset not in ("streetlife", "others")
    assert [dataset for dataset in shipped.datasets if shipped.attacked(dataset)] == ["streetlife"]
    start = shipped.starting_training("r3d")
    assert start is not None
    assert start[0] == "others", "nobody who is tested on, or trained on, or attacked, is in the start"
    assert shipped.report.primary.direction == "same"
    kinds = {attacker.knowledge for attacker in shipped.attack.attackers.values()}
    assert kinds >= {"naive", "aware"}


def test_the_study_of_known_and_novel_keeps_apart_who_and_what_was_learnt_from() -> None:
    shipped = config.load(PROJECT / "config" / "novel.yaml")
    of = {name: shipped.options(name) for name in shipped.datasets}
    assert len({options.get("seed") for options in of.values()}) == len(of) == 5, "each has people of its own"
    known, novel = set(of["streetlife"]["actions"]), set(of["novel"]["actions"])
    assert len(known) == len(novel) == 8
    assert not known & novel
    assert (set(of["others"]["actions"]), set(of["more"]["actions"])) == (known, novel)
    (fitted,) = shipped.methods.values()
    assert (fitted.fit_on, fitted.refit) == ("others", True)
    groups = shipped.attack.attributes
    assert sorted(fitted.fit["attributes"]) == sorted(groups["known"])
    assert not set(groups["known"]) & set(groups["novel"])
    starts = {model: shipped.starting_training(model) for model in ("r3d", "r3d-novel")}
    assert {model: start[0] for model, start in starts.items() if start} == {"r3d": "others", "r3d-novel": "more"}
    same = ("preset", "epochs", "base_learning_rate")
    models = config_of("novel")["models"]
    assert [models["r3d"][key] for key in same] == [models["r3d-novel"][key] for key in same]


def test_the_study_of_learned_anonymizers_shows_the_same_people_and_baselines() -> None:
    small, large = config_of("action"), config_of("learned")
    assert large["datasets"] == small["datasets"]
    assert [one for one in large["variants"] if one in small["variants"]] == small["variants"]
    assert all("learned" in one for one in set(large["variants"]) - set(small["variants"]))
    assert large["report"] == small["report"]


def test_the_study_of_contrast_is_that_of_actions_with_other_variants() -> None:
    small, other = config_of("action"), config_of("contrast")
    for part in ("datasets", "models", "evaluate", "report"):
        assert other[part] == small[part]
    assert other["attack"] == {**small["attack"], "seeds": other["train"]["seeds"]}
    shipped = config.load(PROJECT / "config" / "contrast.yaml")
    assert {"frame-grey", "frame-downsample-4x", "body-mask_out"} <= {*shipped.variants}
    fitted = shipped.methods["learned"]
    assert (fitted.fit_on, fitted.refit) == ("others", True)
    assert shipped.fit_start("learned", "vitacontrast") == shipped.starting_training("r3d")
    settings, start = shipped.fit_settings("learned", "vitacontrast"), shipped.models["start"].settings
    assert settings["watched"] == [start.width, start.height]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project in which the study has run."""
    project = Project(tmp_path_factory.mktemp("protocol") / "project")
    project.study("protocol", study())
    done = project.snakemake(config="protocol")
    assert done.returncode == 0, done.stdout
    return project


@pytest.mark.slow
def test_models_and_attackers_of_a_seed_see_its_fit(run: Project) -> None:
    fits = {path.parent.name: json.loads(path.read_text()) for path in run.folder.rglob("fit.json")}
    assert set(fits) == {"body-gan", "body-gan-fit1"}
    assert len({fit["seed"] for fit in fits.values()}) == 2
    assert len({fit["weights_sha256"] for fit in fits.values()}) == 2
    trained = sorted((run.folder / "models/clips").glob("body-gan*/r3d/seed*/train.json"))
    assert [path.parts[-4] for path in trained] == ["body-gan", "body-gan-fit1"]
    digests = [json.loads(path.read_text())["data"]["images_digest"] for path in trained]
    assert len(set(digests)) == 2
    attacks = sorted((run.folder / "attacks/clips").glob("body-gan*/infer/aware/seed*/metrics.json"))
    assert [path.parts[-5] for path in attacks] == ["body-gan", "body-gan-fit1"]
    for path in attacks:
        assert json.loads(path.read_text())["own"]["variant"] == path.parts[-5]


@pytest.mark.slow
def test_tables_know_the_variant_and_not_its_fits(run: Project) -> None:
    tables = run.folder / "results/tables"
    for name in ("impact", "seeds", "privacy", "tradeoff", "curves", "coverage"):
        found = pd.read_csv(tables / f"{name}.csv", keep_default_na=False)
        assert set(found.variant) <= set(VARIANTS), name
    impact = pd.read_csv(tables / "impact.csv", keep_default_na=False)
    asked = impact[impact.question == "primary"]
    assert set(asked.direction) == {"same"}
    assert set(asked.variant) == {"frame-grey", "body-mask_out", "body-gan"}
    gan = asked[asked.variant == "body-gan"].iloc[0]
    assert gan.n_seeds == 2
    assert "body-gan-fit" not in (tables / "impact.md").read_text()
    log = pd.read_csv(run.folder / "results/cost.csv", keep_default_na=False)
    assert set(log.variant) <= {"", "all", *VARIANTS}
    assert int(log[(log.stage == "fit")].runs.sum()) == 2


@pytest.mark.slow
def test_both_halves_stand_in_one_row(run: Project) -> None:
    tables = run.folder / "results/tables"
    both = pd.read_csv(tables / "tradeoff.csv", keep_default_na=False)
    assert set(both.measure) == {"cmap", "macro_f1", "cmap/known", "macro_f1/known"}
    first = both[both.measure == "cmap"].set_index("variant")
    assert first.rms["original"] == 0
    assert 0 < float(first.rms["frame-grey"]) < 1
    privacy = pd.read_csv(tables / "privacy.csv", keep_default_na=False)
    for variant in VARIANTS[1:]:
        for who in ("naive", "aware"):
            row = privacy[(privacy.variant == variant) & (privacy.attacker == who) & (privacy.measure == "cmap")].iloc[
                0
            ]
            assert float(first[who][variant]) == float(row.value)
            assert 0 < float(row.prevalence) <= float(row.chance) + 0.2
        assert float(first.gap[variant]) == pytest.approx(
            float(first.aware[variant]) - float(first.naive[variant]), abs=2e-4
        )
    assert first.aware["original"] == "", "nobody has to know a method there"
    text = (tables / "tradeoff.md").read_text()
    assert "`body-gan`" in text
    assert "cmap (known), aware" in text


@pytest.mark.slow
def test_variants_are_compared_with_what_is_there_to_beat(run: Project) -> None:
    table = pd.read_csv(run.folder / "results/tables/versus.csv", keep_default_na=False)
    assert set(table.reference) == {"body-mask_out"}
    assert set(zip(table.half, table.variant, strict=True)) == {
        (half, variant) for half in ("kept", "found") for variant in ("frame-grey", "body-gan")
    }
    impact = pd.read_csv(run.folder / "results/tables/impact.csv", keep_default_na=False)
    of = impact[(impact.category == "detail") & (impact.metric == "top-1")].set_index("variant").value.astype(float)
    kept = table[table.half == "kept"].set_index("variant")
    for variant in ("frame-grey", "body-gan"):
        assert kept.difference[variant] == pytest.approx(of[variant] - of["body-mask_out"], abs=2e-4)
        assert kept.difference_low[variant] <= kept.difference[variant] <= kept.difference_high[variant]
        assert kept.simultaneous_low[variant] <= kept.difference_low[variant]
    assert "Against what is there to beat" in (run.folder / "results/report.html").read_text()


@pytest.mark.slow
def test_the_page_says_what_is_asked_and_shows_clips(run: Project) -> None:
    page = (run.folder / "results/report.html").read_text()
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "primary question (models tested on the variant's own images)" in text.replace("’", "'").replace(
        "&#39;", "'"
    )
    assert "models trained and tested on the originals" in text
    assert "ms per image" in text
    assert "was fitted anew for each seed" in text
    moving = re.findall(r'<img src="(data:image/webp;base64,([^"]+))"[^>]*alt="([^"]+)"', page)
    assert len(moving) == 2 * 3, "a clip of each kind of action for each variant"
    for _, data, alt in moving:
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.n_frames == 2
        assert "frames" in alt
    stills = re.findall(
        r'<source media="\(prefers-reduced-motion: reduce\)" srcset="data:image/webp;base64,([^"]+)"', page
    )
    assert len(stills) == len(moving)
    with Image.open(io.BytesIO(base64.b64decode(stills[0]))) as image:
        assert image.n_frames == 1


def write(folder: Path, text: str) -> Path:
    (folder / "study.json").write_text(text)
    return folder / "study.json"


def test_what_learns_nothing_sees_each_fit(tmp_path: Path) -> None:
    """A detector and a model without training have one seed, and each fit of a method is looked at."""
    shipped = yaml.safe_load((PROJECT / "config" / "codec.yaml").read_text())
    files = Plan(shipped, PROJECT).files
    fits = {"frame-roi_codec-r1", "frame-roi_codec-r1-fit4", "frame-roi_codec-r1-fit5"}
    of = {(one.tested, one.seed, one.trained) for one in files.evaluations() if one.model == "centerface"}
    assert {one for one in of if one[0] in fits} == {(fit, 3, "original") for fit in fits}
    finds = [one.split("/") for one in files.attacks() if "/find/" in one]
    assert {(one[1], one[4]) for one in finds if one[1] in fits} == {
        ("frame-roi_codec-r1", "seed3"), ("frame-roi_codec-r1-fit4", "seed4"), ("frame-roi_codec-r1-fit5", "seed5"),
    }  # fmt: skip
    assert {one[4] for one in finds if one[1] not in fits} == {"seed3"}

    told = ReportStudy.read(write(tmp_path, Plan(shipped, PROJECT).arguments.summary()))
    evaluations = {
        told.evaluation("streetlife", model, on, variant, seed)
        for model in told.models
        for on in told.directions
        for variant in told.told("streetlife", model, on)
        for seed in told.seeds_told(model, variant, on)
    }
    assert evaluations == set(files.evaluations()), "the report reads what the workflow makes"
    assert told.attacks is not None
    read = {
        f"streetlife/{told.made_with(variant, seed)}/{attack}/{who}/seed{seed}"
        for attack in told.attacks.attacks
        for variant in told.variants
        for who in told.attacks.whom(attack, variant)
        for seed in told.attacks.seeds_of(attack, who, variant in told.refitted)
    }
    assert read == set(files.attacks())

    def learnt(training: bool) -> set[str]:
        found = [Path(one) for one in files.manifests(training)]
        return {one.parts[-3] for one in found if one.parts[-5] == "streetlife" and one.name == "train.json"}

    assert learnt(False) == {"original", *fits}, "the others only test"
    assert "frame-avif-r4" in learnt(True)
