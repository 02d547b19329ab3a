"""A small study attacks its variants: who attacks whom, files that repeat, and what an edit reruns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anonbench import config
from anonbench.report.attempts import read_attempt
from anonbench.workflow.files import Files
from tests.workflow.conftest import PROJECT, TINY, Project

pytestmark = pytest.mark.slow

QUICK = {"width": 16, "height": 32, "iterations": 4, "batch_size": 8, "dimensions": 8}
RESTORER = {"widths": [4, 8], "iterations": 4, "batch_size": 8}
STUDY: dict[str, Any] = {
    **TINY,
    "name": "attacked",
    "datasets": {
        "streetlife": {
            "options": {"train": 4, "val": 3, "gallery": 8, "probe": 8, "gallery_identities": 8, "attributes": True}
        }
    },
    "variants": ["original", "face-blur-medium", "body-mask_out"],
    "attack": {
        "attacks": ["link", "reidentify", "relink", "restore"],
        "probe": "probe",
        "gallery": "gallery",
        "sizes": [3],
        "attackers": {
            "body-naive": {"knowledge": "naive", "region": "body", **QUICK},
            "body-aware": {"knowledge": "aware", "region": "body", **QUICK},
            "face-aware": {"knowledge": "aware", "region": "face", "view": "region", "network": "mosaic", **QUICK},
            "face-reverse": {"knowledge": "reverse", "region": "face", **QUICK, "restorer": RESTORER},
            "face-inverse": {"knowledge": "reverse", "region": "face", **QUICK, "restorer": {"kind": "analytic"}},
            "body-reverse": {"knowledge": "reverse", "region": "body", **QUICK, "restorer": RESTORER},
            "body-inverse": {"knowledge": "reverse", "region": "body", **QUICK, "restorer": {"kind": "analytic"}},
            "body-half": {"knowledge": "partial", "variant": "face-blur-medium", "region": "body", **QUICK},
        },
    },
}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("attacked") / "project")
    project.study("tiny", STUDY)
    done = project.snakemake("attacks")
    assert done.returncode == 0, done.stdout
    return project


def metrics(project: Project) -> dict[str, Any]:
    root = project.folder / "attacks/streetlife"
    return {
        path.parent.relative_to(root).as_posix(): json.loads(path.read_text()) for path in root.rglob("metrics.json")
    }


def test_who_attacks_whom(attacked: Project) -> None:
    found = metrics(attacked)
    attackers = {
        "original": ["body-naive"],
        "face-blur-medium": ["face-aware", "face-reverse", "face-inverse"],
        "body-mask_out": ["body-naive", "body-aware", "body-half", "body-reverse"],  # whose colour nothing brings back
    }
    restore = {"body-naive", "body-reverse", "face-reverse", "face-inverse"}
    assert sorted(found) == sorted(
        f"{variant}/{attack}/{attacker}/seed0"
        for variant, names in attackers.items()
        for attack in ("link", "reidentify", "relink", "restore")
        for attacker in names
        if attack != "restore" or attacker in restore
    )
    learnt = {path.parent.parent.parent.parent.name for path in (attacked.folder / "attackers").rglob("attacker.json")}
    assert learnt == {"original", "face-blur-medium", "body-mask_out"}
    assert not list((attacked.folder / "models").rglob("*")), "attacks need no models"
    for place, one in found.items():
        assert one["test"]["probes"] > one["validation"]["probes"] > 0, place
        assert 0 <= one["test"]["linkability"]["3"] <= 1
        assert one["test"]["covered"] == (0 if place.startswith("original") else one["test"]["covered"])
    assert found["body-mask_out/link/body-aware/seed0"]["test"]["covered"] > 0.9
    assert found["face-blur-medium/reidentify/face-aware/seed0"]["people"] == {"probe": "probe", "gallery": "gallery"}
    for place, one in found.items():
        assert ("ssim" in one["test"]) == ("/restore/" in place)
    computed = found["face-blur-medium/restore/face-inverse/seed0"]
    assert computed["own"]["variant"] == "original", "who computes needs to learn nothing of the method"
    assert computed["test"]["ssim"] < 1


def test_scores_name_nobody(attacked: Project) -> None:
    for path in (attacked.folder / "attacks").rglob("scores.npz"):
        with np.load(path) as file:
            assert file["probe"].dtype == file["gallery"].dtype == np.int64
            assert file["scores"].shape == (len(file["probe"]), len(file["gallery"])) == file["allowed"].shape
            assert np.isfinite(file["scores"]).all()


def test_a_second_run_does_nothing_and_an_attackers_setting_reruns_its_own(attacked: Project, tmp_path: Path) -> None:
    assert attacked.jobs("attacks") == {}
    changed = {
        **STUDY["attack"]["attackers"],
        "body-half": {**STUDY["attack"]["attackers"]["body-half"], "iterations": 5},
    }
    attacked.study("other", {**STUDY, "attack": {**STUDY["attack"], "attackers": changed}})
    assert attacked.jobs("attacks", config="other") == {"fit_attacker": 3, "attack": 3, "attacks": 1}


def test_the_report_has_both_answers(attacked: Project) -> None:
    done = attacked.snakemake()
    assert done.returncode == 0, done.stdout
    results = attacked.folder / "results"
    table = pd.read_csv(results / "tables/privacy.csv", keep_default_na=False)
    assert set(zip(table.variant, table.attacker, strict=True)) == {
        ("original", "body-naive"), ("face-blur-medium", "face-aware"), ("face-blur-medium", "face-reverse"),
        ("face-blur-medium", "face-inverse"), ("body-mask_out", "body-naive"), ("body-mask_out", "body-aware"),
        ("body-mask_out", "body-half"), ("body-mask_out", "body-reverse"),
    }  # fmt: skip
    assert set(table["size"][table.measure == "linkability"]) == {"3", "all"}
    assert {"auc", "tar_1e2", "singling_out"} <= set(table.measure)
    values = table.loc[table.value_low != "", ["value_low", "value", "value_high"]].astype(float)
    assert len(values)
    assert (values.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    chosen = table[table.chosen.astype(str).str.lower() == "true"].groupby(["variant", "attack"]).attacker
    assert list(chosen.nunique()) == [1] * 12
    one = table[(table.variant == "body-mask_out") & (table.attacker == "body-naive") & (table["size"] == "all")]
    raw = table[(table.variant == "original") & (table["size"] == "all")]
    assert list(one.raw.astype(float)) == list(raw.value.astype(float))
    learnt = pd.read_csv(results / "tables/attackers.csv")
    assert set(learnt.attack) == {"link", "reidentify", "relink", "restore"}
    assert set(learnt.attacker[learnt.training == "restorer"]) == {"face-reverse", "body-reverse"}
    assert set(learnt.variant[learnt.attacker == "body-half"]) == {"face-blur-medium"}
    records = list((attacked.folder / "attackers").rglob("attacker.json"))
    assert len(learnt.drop_duplicates(["attack", "attacker", "variant"])) == len(records)
    assert set(learnt.groupby(["attack", "attacker", "variant", "training"]).iteration.max()) == {4}
    assert (results / "figures/attackers.png").stat().st_size > 1000
    assert "# What anonymization buys" in (results / "tables/privacy.md").read_text()
    assert (results / "figures/tradeoff.png").stat().st_size > 1000
    with Image.open(results / "figures/restored-streetlife.png") as restored:
        assert restored.height > 6 * 60, "faces and bodies, as they are, as they are left and restored"
    page = (results / "report.html").read_text()
    assert "as attackers who know the method restore them" in page
    page = (results / "report.html").read_text()
    assert "What it buys on streetlife (reidentify)" in page
    assert "What no attack here shows" in page
    assert attacked.jobs() == {}


OTHERS: dict[str, Any] = {
    **STUDY,
    "attack": {
        **STUDY["attack"],
        "attacks": ["coverage", "find", "infer"],
        "detectors": {"faces": {"plugin": "centerface", "scales": [1.0]}, "people": {"plugin": "hog", "scales": [1.0]}},
        "seeds": [0, 1],
    },
}


@pytest.fixture(scope="module")
def others(attacked: Project) -> Project:
    """Return the same project after attacks that rank nobody."""
    attacked.study("others", OTHERS)
    done = attacked.snakemake("attacks", config="others")
    assert done.returncode == 0, done.stdout
    return attacked


def test_only_who_learns_has_attackers_and_seeds(others: Project) -> None:
    found = {place for place in metrics(others) if place.split("/")[1] in ("coverage", "find", "infer")}
    learners = {
        "original": ["body-naive"],
        "face-blur-medium": ["face-aware", "face-reverse", "face-inverse"],
        "body-mask_out": ["body-naive", "body-aware", "body-half", "body-reverse"],
    }
    detectors = {"original": ["faces", "people"], "face-blur-medium": ["faces"], "body-mask_out": ["faces", "people"]}
    assert found == {
        *(f"{variant}/coverage/nobody/seed0" for variant in learners),
        *(f"{variant}/find/{name}/seed0" for variant, names in detectors.items() for name in names),
        *(f"{variant}/infer/{name}/seed{s}" for variant, names in learners.items() for name in names for s in (0, 1)),
    }
    learnt = {path.parent.parent.parent.name for path in (others.folder / "attackers").rglob("attacker.json")}
    assert learnt == {"link", "reidentify", "relink", "restore", "infer"}
    assert others.jobs("attacks", config="others") == {}


def test_what_attacks_that_rank_nobody_say(others: Project) -> None:
    root = others.folder / "attacks/streetlife"
    found = metrics(others)
    covered = found["body-mask_out/coverage/nobody/seed0"]
    assert covered["test"]["covered"] == covered["test"]["measures"]["changed"]["value"] > 0.9
    assert any(name.startswith("changed/") and "=" in name for name in covered["test"]["measures"])
    assert found["original/coverage/nobody/seed0"]["test"]["measures"]["changed"]["value"] == 0
    raw, hidden = (found[f"{variant}/find/faces/seed0"] for variant in ("original", "body-mask_out"))
    assert raw["finds"] == "face"
    assert raw["attacker"]["detector"]["plugin"] == "centerface"
    assert hidden["test"]["measures"]["recall"]["value"] == 0 < raw["test"]["measures"]["recall"]["value"]
    inferred = found["body-mask_out/infer/body-aware/seed0"]
    assert {"r2/upper", "r2/lower"} <= set(inferred["test"]["measures"])
    assert "outfit" not in inferred["skipped"]
    for place, one in found.items():
        variant, attack, _, seed = place.split("/")
        assert read_attempt({int(seed.removeprefix("seed")): (root / place).parent}, attack, variant).measures
        if "measures" in one["test"]:
            with np.load(root / place / "scores.npz") as file:
                for name, of in one["test"]["measures"].items():
                    if of["value"] is not None:
                        assert file[f"estimate/{name}"] == of["value"]
                        assert file[f"replicates/{name}"].shape == (STUDY["report"]["bootstrap"],)


def test_a_setting_of_a_detector_reruns_its_own_attacks(others: Project) -> None:
    detectors = {**OTHERS["attack"]["detectors"], "people": {"plugin": "hog", "scales": [1.0, 2.0]}}
    others.study("finer", {**OTHERS, "attack": {**OTHERS["attack"], "detectors": detectors}})
    assert others.jobs("attacks", config="finer") == {"attack": 2, "attacks": 1}


def test_an_attack_that_learns_nothing_needs_no_attackers_nor_own_people() -> None:
    block = {"attacks": ["coverage"], "probe": "train"}
    study = config.parse({**STUDY, "attack": block}, file="study")
    files = Files(study, PROJECT)
    assert files.attacks() == [f"streetlife/{variant}/coverage/nobody/seed0" for variant in STUDY["variants"]]
    assert files.splits("streetlife") == ["train", "val"]


def test_the_report_knows_the_split_that_is_attacked_and_what_codecs_took_there() -> None:
    from anonbench.workflow.arguments import Arguments

    block = {"attacks": ["coverage"], "probe": "probe", "variants": ["frame-jpeg-q20", "face-blur-medium"]}
    value = {**STUDY, "variants": ["original", "frame-jpeg-q20", "frame-jpeg-q30", "face-blur-medium"]}
    value["methods"] = {"jpeg": {"levels": {"q30": {"quality": 30}}}}
    study = config.parse({**value, "attack": block}, file="study")
    files = Files(study, PROJECT)
    assert json.loads(Arguments(study, files).summary())["attacks"]["probe"] == "probe"
    read = [path for path in files.manifests() if path.endswith("/probe.json")]
    assert [path.split("/private/")[1] for path in read] == ["frame-jpeg-q20/manifests/probe.json"]
    alone = config.parse({**value, "attack": {"attacks": ["coverage"]}}, file="study")
    assert "probe" not in json.loads(Arguments(alone, Files(alone, PROJECT)).summary())["attacks"]


def test_an_attacker_that_tries_one_attack_learns_for_no_other() -> None:
    from anonbench.workflow.arguments import Arguments

    attackers = {**STUDY["attack"]["attackers"]}
    attackers["longer"] = {**attackers.pop("body-aware"), "iterations": 9, "attacks": ["relink"]}
    study = config.parse({**STUDY, "attack": {**STUDY["attack"], "attackers": attackers}}, file="study")
    files = Files(study, PROJECT)
    tried = [one for one in files.attacks() if "/longer/" in one]
    assert tried == ["streetlife/body-mask_out/relink/longer/seed0"]
    assert len(files.attacks()) == len(Files(config.parse(STUDY, file="study"), PROJECT).attacks()) - 2
    told = Arguments(study, files)
    assert "attacks" not in json.loads(told.attacker("longer"))
    who = json.loads(told.summary())["attacks"]["attackers"]
    assert {attack for attack, of in who.items() if any("longer" in names for names in of.values())} == {"relink"}


def test_an_unknown_detector_is_named(others: Project) -> None:
    done = others.snakemake("attacks/streetlife/body-mask_out/find/face/seed0/metrics.json", config="others")
    assert done.returncode != 0
    assert "unknown detector 'face' (did you mean 'faces'?)" in done.stdout


FITTED: dict[str, Any] = {
    **STUDY,
    "variants": ["original", "body-gan", "body-mask_out"],
    "methods": {
        "gan": {
            "fit": {
                "body_size": [16, 24], "channels": [8, 8], "discriminator_channels": [8, 8], "latent_channels": 4,
                "style_channels": 8, "batch_size": 4, "body_iterations": 4, "clusters": 2, "palette": 2,
            }
        }
    },
    "attack": {
        **STUDY["attack"],
        "attacks": ["memorise"],
        "attackers": {"body-naive": {"knowledge": "naive", "region": "body", "view": "region", **QUICK}},
        "own": {"dataset": "elsewhere"},
    },
    "datasets": {
        **STUDY["datasets"],
        "elsewhere": {"adapter": "streetlife", "options": {"seed": 5, "train": 4, "val": 1}},
    },
    "models": {name: {**model, "datasets": ["streetlife"]} for name, model in TINY["models"].items()},
}  # fmt: skip


def test_members_are_those_whom_the_record_of_the_fit_names(attacked: Project) -> None:
    attacked.study("fitted", {**FITTED, "name": "fitted", "output": "runs/fitted"})
    done = attacked.snakemake("attacks", config="fitted")
    assert done.returncode == 0, done.stdout
    root = attacked.folder / "runs/fitted"
    places = {path.parent.relative_to(root / "attacks").as_posix() for path in root.glob("attacks/**/metrics.json")}
    assert places == {"streetlife/body-gan/memorise/body-naive/seed0"}, "only of what was fitted it can be asked"
    found = json.loads((root / "attacks" / places.pop() / "metrics.json").read_text())
    fit = json.loads((root / "anonymized/streetlife/private/fits/body-gan/fit.json").read_text())
    assert found["fitted_on"]["split"] == "train"
    assert found["members"] >= fit["data"]["people"] > 0
    assert found["fitted_on"]["weights_sha256"] == fit["weights_sha256"]
    assert set(found["test"]["measures"]) == {
        "membership_auc", "membership_auc_of_originals", "membership_auc_excess",
    }  # fmt: skip
    read = read_attempt({0: root / "attacks/streetlife/body-gan/memorise/body-naive"}, "memorise", "body-gan")
    assert {name: of.rate for (name, _), of in read.measures.items() if name.endswith("excess")} == {
        "membership_auc_excess": False
    }
    assert attacked.jobs("attacks", config="fitted") == {}


def test_an_unknown_attacker_is_named(attacked: Project) -> None:
    done = attacked.snakemake("attacks/streetlife/body-mask_out/link/body-nave/seed0/metrics.json")
    assert done.returncode != 0
    assert "unknown attacker 'body-nave' (did you mean 'body-naive'?)" in done.stdout


def test_an_attacker_of_its_own_data_has_its_own_random_numbers() -> None:
    value = {**STUDY, "datasets": {**STUDY["datasets"], "elsewhere": {"adapter": "streetlife", "options": {"seed": 5}}}}
    value["attack"] = {**STUDY["attack"], "own": {"dataset": "elsewhere"}}
    value["models"] = {name: {**model, "datasets": ["streetlife"]} for name, model in TINY["models"].items()}
    study = config.parse(value, file="study")
    files = Files(study, PROJECT)
    assert files.splits("elsewhere") == ["train", "val"]
    assert files.splits("streetlife") == ["train", "val", "probe", "gallery"]
    assert {one.split("/")[0] for one in files.attacks()} == {"streetlife"}
    from anonbench.workflow.arguments import Arguments

    arguments = Arguments(study, files)
    assert arguments.seed("streetlife") == study.seed != arguments.seed("elsewhere")
    # person 3 of one rendering is another one than person 3 of the other
    assert "--own-names" in arguments.attack("streetlife", "link")
    alone = config.parse(STUDY, file="study")
    assert "--own-names" not in Arguments(alone, Files(alone, PROJECT)).attack("streetlife", "link")
    # but of one seed they are the same, whatever else differs
    value["datasets"]["elsewhere"] = {"adapter": "streetlife", "options": {"identities": 90}}
    again = config.parse(value, file="study")
    assert "--own-names" not in Arguments(again, Files(again, PROJECT)).attack("streetlife", "link")


def test_options_are_those_that_an_attack_of_its_kind_reads() -> None:
    """Another list of galleries' sizes must not make detectors look at every image again."""
    from anonbench.workflow.arguments import Arguments

    attackers = {"n": {"knowledge": "naive", "region": "body"}}
    groups = {"clothes": ["upper"]}
    every = ["coverage", "find", "infer", "link", "memorise", "reidentify"]
    block = {**OTHERS["attack"], "attacks": every, "attackers": attackers, "attributes": groups}
    value = {**FITTED, "attack": {**block, "own": {"dataset": "elsewhere"}}}
    told = {}
    for change in ({}, {"sizes": [7]}, {"validation": 0.4, "most": 9}):
        study = config.parse({**value, "attack": {**value["attack"], **change}}, file="study")
        arguments = Arguments(study, Files(study, PROJECT))
        told[repr(change)] = {attack: arguments.attack("streetlife", attack) for attack in every}
    first, sizes, chosen = told.values()
    assert {a for a in every if first[a] != sizes[a]} == {"link", "reidentify"}
    assert {a for a in every if first[a] != chosen[a]} == set(every) - {"coverage"}
    assert {a for a in every if "--own-names" in first[a]} == {"infer", "link", "memorise", "reidentify"}
    assert {a for a in every if "--attributes" in first[a]} == {"infer"}
    assert {a for a in every if "--gallery" in first[a]} == {"reidentify"}
    assert first["coverage"] == f"--probe probe --seed {study.seed} --resamples {study.report.bootstrap}"


def test_who_knows_another_method_in_part_knows_the_fit_of_its_own_seed() -> None:
    from types import SimpleNamespace

    attackers = {name: {"knowledge": name, "region": "body"} for name in ("naive", "aware")}
    attackers["partial"] = {"knowledge": "partial", "variant": "body-gan", "region": "body"}
    gan = {**FITTED["methods"]["gan"], "refit": True}
    block = {**FITTED["attack"], "attacks": ["link"], "attackers": attackers, "seeds": [0, 1]}
    study = config.parse(
        {**FITTED, "methods": {"gan": gan}, "train": {**FITTED["train"], "seeds": [0, 1]}, "attack": block},
        file="study",
    )
    files = Files(study, PROJECT)

    def learns_from(variant: str, attacker: str, seed: int) -> str:
        w = SimpleNamespace(dataset="streetlife", variant=variant, attack="link", attacker=attacker, seed=str(seed))
        return files.attacker_folder(w).split("/")[2]

    assert [learns_from("body-mask_out", "partial", seed) for seed in (0, 1)] == ["body-gan", "body-gan-fit1"]
    assert learns_from("body-gan-fit1", "partial", 1) == learns_from("body-gan-fit1", "aware", 1) == "body-gan-fit1"
    assert {learns_from(v, "naive", 1) for v in ("body-gan-fit1", "body-mask_out")} == {"original"}


def test_whom_a_whole_frame_was_fitted_to_is_not_asked() -> None:
    """Attackers are about people; a codec's training set is one of images."""
    value = {**FITTED, "variants": ["original", "body-gan", "frame-roi_codec-fine"]}
    value["methods"] = {**FITTED["methods"], "roi_codec": {"levels": {"fine": {"step": 1.5}}}}
    study = config.parse(value, file="study")
    assert [v for v in study.variants if study.tried_by("memorise", v)] == ["body-gan"]


def test_the_attackers_own_split_may_be_called_as_the_one_that_is_attacked() -> None:
    """Nobody of the attacker's own data set is attacked; but the same data under two names is one."""
    from anonbench.errors import AnonbenchError

    coco = {"adapter": "coco", "root": "/d", "train": "train", "val": "val"}
    models = {name: {**model, "datasets": ["a"]} for name, model in TINY["models"].items()}
    attack = {
        "attacks": ["link"], "own": {"dataset": "b", "split": "val"},
        "attackers": {"n": {"knowledge": "naive", "region": "body"}},
    }  # fmt: skip
    value = {**STUDY, "models": models, "attack": attack, "datasets": {"a": coco, "b": {**coco, "root": "/e"}}}
    study = config.parse(value, file="study")
    assert [name for name in study.datasets if study.attacked(name)] == ["a"]
    market = {"adapter": "market1501", "train": "train", "val": "val"}  # fetched: the same files for both
    for datasets in (
        {"a": coco, "b": coco},
        {"a": coco, "b": {**coco, "root": "/e/../d"}},
        {"a": market, "b": market},
        {"a": {**market, "root": "m"}, "b": {**market, "root": str(Path("m").resolve())}},
    ):
        with pytest.raises(AnonbenchError, match=r"attack.own.split: 'val' of a is attacked"):
            config.parse({**value, "datasets": datasets}, file="study")
    config.parse({**value, "datasets": {"a": market, "b": {**market, "root": "/e"}}}, file="study")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"attacks": ["linc"]}, r"attack.attacks: unknown attack 'linc' \(did you mean 'link'"),
        ({"gallery": None}, r"attack.gallery: reidentify looks for people in another split; name it"),
        ({"attackers": {}}, r"attack.attackers: nobody attacks"),
        ({"own": {"dataset": "street"}}, r"attack.own.dataset: unknown data set 'street'"),
        ({"own": {"split": "gallery"}}, r"attack.own.split: 'gallery' of streetlife is attacked"),
        ({"attackers": {"a": {"knowledge": "partial"}}}, r"a partial attacker needs a variant"),
        ({"attackers": {"a": {"knowledge": "naive", "variant": "face-gan"}}}, r"a naive one needs none"),
        ({"attackers": {"a": {"knowledge": "partial", "variant": "face-gan"}}}, r"'face-gan' is not among the study's"),
        ({"attackers": {"A b": {"knowledge": "naive"}}}, r"'A b' is not a valid name"),
        ({"sizes": [1]}, r"attack.sizes.0"),
        ({"attacks": ["memorise"]}, r"attack.attacks: memorise asks whom a method was fitted to, and no variant's"),
        ({"gallery": "probe"}, r"attack.gallery: 'probe' is the split of streetlife that is attacked"),
        ({"attackers": {"a": {"knowledge": "aware", "restorer": {}}}}, r"restorer is for reverse attackers"),
        (
            {"attackers": {"a": {"knowledge": "reverse", "view": "silhouette"}}},
            r"a reverse attacker that sees the silhouette alone has nothing to restore",
        ),
        (
            {"attackers": {"a": {"knowledge": "naive", "attacks": ["lnik"]}}},
            r"attack.attackers.a.attacks: 'lnik' is not among the study's attacks \(did you mean 'link'",
        ),
        ({"attackers": {"a": {"knowledge": "naive", "attacks": []}}}, r"attack.attackers.a.attacks: "),
        (
            {"attacks": ["link", "coverage"], "attackers": {"a": {"knowledge": "naive", "attacks": ["coverage"]}}},
            r"attack.attackers.a.attacks: nobody learns for coverage",
        ),
        (
            {"attackers": {"a": {"knowledge": "naive", "attacks": ["link", "relink", "restore"]}}},
            r"attack.attackers: nobody tries reidentify",
        ),
        ({"attacks": ["link", "coverage", "link"]}, r"attack.attacks: 'link' stands there twice"),
        ({"seeds": [1, 1]}, r"attack.seeds: '1' stands there twice"),
        (
            {"attackers": {"a": {"knowledge": "aware", "attacks": ["restore"]}}},
            r"attack.attackers.a.attacks: restore: tried by attackers whose knowledge is naive or reverse, not aware",
        ),
        (
            {"attacks": ["restore"], "attackers": {"a": {"knowledge": "aware"}}},
            r"attack.attackers: nobody tries restore \(attackers whose knowledge is naive or reverse do\)",
        ),
        ({"own": {"dataset": "streetlife"}}, r"attack.own.dataset: 'streetlife' is the only data set, .* not attacked"),
        (
            {"attackers": {"a": {"knowledge": "naive", "temperature": float("inf")}}},
            r"attack.attackers.a.temperature: Input should be a finite number \(got Infinity\)",
        ),
        ({"validation": float("nan")}, r"attack.validation: Input should be a finite number"),
        ({"attackers": {"a\n": {"knowledge": "naive"}}}, r"is not a valid name"),
        ({"detectors": {"a\n": {"plugin": "hog"}}}, r"is not a valid name"),
        ({"attacks": ["find"]}, r"attack.detectors: nobody looks; name a detector"),
        ({"detectors": {"a": {"plugin": "yunet", "options": {}}}}, r"attack.detectors.a.options: .*weights"),
        ({"detectors": {"a": {"plugin": "hogg"}}}, r"unknown detector 'hogg' \(did you mean 'hog'"),
        ({"detectors": {"A b": {"plugin": "hog"}}}, r"attack.detectors: 'A b' is not a valid name"),
        (
            {"detectors": {"a": {"plugin": "boxes", "options": {"path": "x.json"}}}},
            r"attack.detectors.a: 'boxes' looks at no image",
        ),
    ],
)
def test_a_study_that_cannot_attack_is_refused(change: dict[str, Any], says: str) -> None:
    from anonbench.errors import AnonbenchError

    with pytest.raises(AnonbenchError, match=says):
        config.parse({**STUDY, "attack": {**STUDY["attack"], **change}}, file="study")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"own": {}}, r"attack.own.split: 'train' of streetlife is what gan is fitted to, and memorise asks whom"),
        (
            {"probe": "train"},
            r"attack.probe: 'train' of streetlife is what gan is fitted to, which may hide others less",
        ),
        (
            {"attackers": {"f": {"knowledge": "naive", "region": "face"}}},
            r"attack.attackers: nobody tries memorise \(attackers whose knowledge is naive or aware do\)",
        ),
    ],
)
def test_whom_a_method_has_met_is_asked_of_others_by_others(change: dict[str, Any], says: str) -> None:
    from anonbench.errors import AnonbenchError

    with pytest.raises(AnonbenchError, match=says):
        config.parse({**FITTED, "attack": {**FITTED["attack"], **change}}, file="study")


def test_an_attacker_must_not_have_learnt_from_those_it_attacks(attacked: Project, tmp_path: Path) -> None:
    """`val` of streetlife shows the people of `train`."""
    done = attacked.command(
        "anonbench", "attack", "--attack", "link", "--model",
        "attackers/streetlife/original/link/body-naive/seed0", "--variant", "anonymized/streetlife/original",
        "--original", "anonymized/streetlife/original", "--annotations", "annotations/streetlife",
        "--probe", "train", "--out", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 2
    assert "that the attacker has learnt from" in done.stdout
    assert not (tmp_path / "metrics.json").exists()
