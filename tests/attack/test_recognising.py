"""An attacker that looks with a recogniser: it finds people, learns from nobody, and is the one that it says it is."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from anonbench import config, provenance
from anonbench.attack import cli
from anonbench.errors import AnonbenchError
from anonbench.recognisers.sface import SFace
from anonbench.report.attempts import read_attempt
from anonbench.report.study import ReportStudy
from anonbench.workflow.plan import Plan
from tests.attack.town import Town, build, person
from tests.recognisers import made
from tests.studies import COST
from tests.workflow.conftest import PROJECT

BLUR, GREY = "face-blur-medium", "face-mask_out"
LOOKS = {"knowledge": "pretrained", "region": "face", "view": "region"}


def town(folder: Path, seed: int, people: int = 24) -> Town:
    """Write pictures of noise with a face in each, and what two methods leave of them."""
    random = np.random.default_rng(seed)
    pictures = {k: random.integers(0, 256, (60, 60, 3), dtype=np.uint8) for k in range(1, people + 1)}
    rows = [person(k, k, (5.0, 5.0, 50.0, 50.0), face=[10, 10, 30, 30], identity=f"{seed}-{k}") for k in pictures]
    written = build(folder, pictures, rows)
    changed = [{"image_id": k, "person_id": k, "status": "anonymized"} for k in pictures]
    for name, hide in ((BLUR, lambda face: cv2.GaussianBlur(face, (0, 0), 1.0)), (GREY, lambda face: face * 0 + 127)):
        shown = {k: one.copy() for k, one in pictures.items()}
        for one in shown.values():
            one[10:40, 10:40] = hide(one[10:40, 10:40])
        written.show(name, shown, changed)
    return written


def sface(file: Path, **more: Any) -> str:
    return json.dumps({**LOOKS, "recogniser": {"plugin": "sface", "options": {"weights": str(file)}}, **more})


def adopt(of: Town, out: Path, attacker: str, attack: str = "link") -> Path:
    original = of.variant("original")
    cli.fit_attacker(attack, attacker, original, original, of.annotations, out, split=of.split, device="cpu")
    return out


def attack(of: Town, model: Path, own: Town, variant: str) -> dict[str, Any]:
    out = of.folder / "out" / variant / "seed0"
    cli.attack(
        "link", of.variant(variant), of.variant("original"), of.annotations, out, model=model, probe=of.split,
        own=own.annotations, size=[10], device="cpu",
    )  # fmt: skip
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return found


def test_it_links_whom_it_can_see_and_nobody_whom_it_cannot(tmp_path: Path) -> None:
    own, others = town(tmp_path / "own", 1, 4), town(tmp_path / "others", 2)
    model = adopt(own, tmp_path / "model", sface(made.sface(tmp_path / "model.onnx")))
    record = json.loads((model / "attacker.json").read_text())
    assert record["own_images"] == []
    assert record["recogniser"]["weights"][0][0] == "model.onnx"
    found = {variant: attack(others, model, own, variant)["test"]["linkability"]["10"] for variant in (BLUR, GREY)}
    assert found[BLUR] > 0.8
    assert found[GREY] == pytest.approx(0.1), "all are grey and tie"
    attempt = read_attempt({0: others.folder / "out" / BLUR}, "link", BLUR)
    assert attempt.attacker["recogniser"]["plugin"] == "sface"
    assert (attempt.attacker["knowledge"], attempt.attacker["view"]) == ("pretrained", "region")


def test_another_recogniser_than_the_record_names_is_refused(tmp_path: Path) -> None:
    own, others = town(tmp_path / "own", 1, 4), town(tmp_path / "others", 2)
    model = adopt(own, tmp_path / "model", sface(made.sface(tmp_path / "model.onnx")))
    made.sface(tmp_path / "model.onnx", seed=5)
    with pytest.raises(AnonbenchError, match=r"attacker\.json: names another recogniser than SFace.*learn again"):
        attack(others, model, own, BLUR)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(AnonbenchError, match=r"model\.onnx, options\.weights: no such file"):
        attack(others, model, own, BLUR)


def test_it_is_asked_who_somebody_is_and_nothing_else(tmp_path: Path) -> None:
    own = town(tmp_path / "own", 1, 4)
    with pytest.raises(AnonbenchError, match="infer is not tried by recognisers"):
        adopt(own, tmp_path / "model", sface(made.sface(tmp_path / "model.onnx")), "infer")


def study(folder: Path, plugin: str = "sface", **more: Any) -> dict[str, Any]:
    """Return a study in which a recogniser attacks beside somebody who learns."""
    options = {"weights": str(folder / "model.onnx")} if plugin == "sface" else {}
    attackers = {
        "body": {"knowledge": "aware", "region": "body"},
        "known": {**LOOKS, "recogniser": {"plugin": plugin, "options": options}, **more},
    }
    options = {"gallery": 20, "probe": 20}
    return {
        **COST,
        "datasets": {"streetlife": {"options": options}},
        "attack": {
            "attacks": ["link", "infer"],
            "probe": "probe",
            "gallery": "gallery",
            "attackers": attackers,
        },
    }


def test_the_workflow_gives_it_its_environment_and_watches_its_weights(tmp_path: Path) -> None:
    made.sface(tmp_path / "model.onnx")
    plans = {plugin: Plan(study(tmp_path, plugin), PROJECT) for plugin in ("sface", "dlib")}
    assert [plans[one].attacker_environment("known") for one in plans] == ["train", "dlib"]
    assert [plans[one].attack_environment("link", "known") for one in plans] == ["train", "dlib"]
    assert plans["dlib"].attack_environment("link", "body") == "train"
    plan = plans["sface"]
    assert plan.study.tried_by("link", "face-blur-medium") == ["known"]
    assert plan.study.tried_by("infer", "face-blur-medium") == []
    before = plan.fingerprints.attacker_code("link", "known"), plan.fingerprints.attack_code("link", BLUR, "known")
    made.sface(tmp_path / "model.onnx", seed=3).touch()
    plan = Plan(study(tmp_path), PROJECT)
    after = plan.fingerprints.attacker_code("link", "known"), plan.fingerprints.attack_code("link", BLUR, "known")
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_faces_are_looked_for_where_bodies_were_only_encoded_again(tmp_path: Path) -> None:
    """Else nobody would vouch for the attacks on faces of a study that encodes bodies again."""
    made.sface(tmp_path / "model.onnx")
    value = {**study(tmp_path), "variants": ["original", "body-identity", "body-mask_out", "face-mask_out"]}
    of = Plan(value, PROJECT).study
    assert {*of.tried_by("link", "original")} <= {*of.tried_by("link", "body-identity")}
    assert "known" in of.tried_by("link", "body-identity")
    assert "known" not in of.tried_by("link", "body-mask_out")


def test_it_attacks_once_where_others_learn_from_several_seeds(tmp_path: Path) -> None:
    made.sface(tmp_path / "model.onnx")
    value = study(tmp_path)
    plan = Plan({**value, "attack": {**value["attack"], "seeds": [4, 5]}}, PROJECT)
    of = [one.split("/") for one in plan.files.attacks()]
    seeds = {who: {one[4] for one in of if one[3] == who} for who in ("known", "body")}
    assert seeds == {"known": {"seed4"}, "body": {"seed4", "seed5"}}
    (tmp_path / "study.json").write_text(plan.arguments.summary())
    told = ReportStudy.read(tmp_path / "study.json").attacks
    assert told is not None
    assert [told.seeds_of("link", who, False) for who in ("known", "body")] == [[4], [4, 5]]
    assert told.seeds_of("link", "known", True) == [4, 5]


def test_it_sees_each_fit_of_a_method_that_is_fitted_for_each_seed(tmp_path: Path) -> None:
    made.sface(tmp_path / "model.onnx")
    value = study(tmp_path)
    more: dict[str, Any] = {
        "variants": ["original", "face-gan", "face-blur-medium"],
        "methods": {"gan": {"refit": True}},
    }
    plan = Plan({**value, **more, "attack": {**value["attack"], "attacks": ["link"], "seeds": [3, 4]}}, PROJECT)
    of = [one.split("/") for one in plan.files.attacks() if one.split("/")[3] == "known"]
    seeds = {variant: {one[4] for one in of if one[1].split("-fit")[0] == variant} for variant in more["variants"]}
    assert seeds == {"original": {"seed3"}, "face-blur-medium": {"seed3"}, "face-gan": {"seed3", "seed4"}}
    assert len({one[1] for one in of if one[1].startswith("face-gan")}) == 2


def test_its_code_is_what_it_depends_on_and_nobody_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    code = provenance.code_hash
    monkeypatch.setattr("anonbench.attack.code.code_hash", lambda *names: asked.append(names) or code(*names))
    plan = Plan(study(tmp_path), PROJECT)
    for who in ("known", "body"):
        plan.fingerprints.attacker_code("link", who)
        plan.fingerprints.attack_code("link", "body-mask_out", who)
    own = {"anonbench.attack.recognising", "anonbench.recognisers.sface"}
    assert [own <= set(names) for names in asked] == [True, True, False, False]
    assert [bool(own & reached(*names)) for names in asked] == [True, True, False, False]


def reached(*modules: str) -> set[str]:
    """Return all modules whose code a hash is of."""
    todo, seen = [*modules], set()
    while todo:
        if (one := todo.pop()) not in seen:
            seen.add(one)
            todo.extend(provenance._imports(one))
    return seen


def test_a_study_that_asks_it_for_more_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"attackers\.known\.attacks: infer: tried by .*, not pretrained"):
        config.parse(study(tmp_path, attacks=["infer"]))
    value = study(tmp_path)
    with pytest.raises(AnonbenchError, match=r"attackers\.known: no attack of the study is tried by .* pretrained"):
        config.parse({**value, "attack": {**value["attack"], "attacks": ["infer"]}})


def test_it_needs_no_people_of_its_own(tmp_path: Path) -> None:
    value = study(tmp_path)
    attackers = {"known": value["attack"]["attackers"]["known"]}
    block = {**value["attack"], "attacks": ["link"], "attackers": attackers, "own": {"split": "probe"}}
    plan = Plan({**value, "attack": block}, PROJECT)
    place = {"dataset": "streetlife", "variant": "original", "attack": "link", "attacker": "known", "seed": "0"}
    assert plan.files.own_people(SimpleNamespace(**place)) == []


@pytest.mark.parametrize(
    "numbers",
    [
        np.full((24, 128), np.nan),
        np.zeros((24, 0)),
        np.zeros(24),
        np.zeros((3, 128)),
        [[1.0], [1.0, 2.0]] * 12,
        [["a", "b"]] * 24,
        None,
    ],
    ids=["nan", "no columns", "one dimension", "too few", "ragged", "words", "nothing"],
)
def test_a_recogniser_that_describes_nobody_is_refused(
    numbers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, others = town(tmp_path / "own", 1, 4), town(tmp_path / "others", 2)
    model = adopt(own, tmp_path / "model", sface(made.sface(tmp_path / "model.onnx")))
    monkeypatch.setattr(SFace, "describe", lambda self, pictures: numbers)
    with pytest.raises(AnonbenchError, match=r"the recogniser sface does not describe .* finite numbers"):
        attack(others, model, own, BLUR)


@pytest.mark.parametrize("scale", [1e-200, 1e-25, 1e20, 1e200])
def test_how_long_a_description_is_says_nothing(scale: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, others = town(tmp_path / "own", 1, 4), town(tmp_path / "others", 2)
    model = adopt(own, tmp_path / "model", sface(made.sface(tmp_path / "model.onnx")))
    as_it_is = attack(others, model, own, BLUR)["test"]["linkability"]
    describe = SFace.describe
    monkeypatch.setattr(SFace, "describe", lambda self, p: describe(self, p).astype(np.float64) * scale)
    assert attack(others, model, own, BLUR)["test"]["linkability"] == as_it_is


def test_pictures_are_shown_and_not_given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, others = town(tmp_path / "own", 1, 4), town(tmp_path / "others", 2)
    model = adopt(own, tmp_path / "model", sface(made.sface(tmp_path / "model.onnx")))

    def scribble(self: SFace, pictures: np.ndarray) -> np.ndarray:
        pictures[:] = 0
        return np.ones((len(pictures), 2), np.float32)

    monkeypatch.setattr(SFace, "describe", scribble)
    with pytest.raises(AnonbenchError, match="the recogniser sface does not describe"):
        attack(others, model, own, BLUR)


def test_damaged_files_of_it_are_refused(tmp_path: Path) -> None:
    own, others = town(tmp_path / "own", 1, 4), town(tmp_path / "others", 2)
    model = adopt(own, tmp_path / "model", sface(made.sface(tmp_path / "model.onnx")))
    record = json.loads((model / "attacker.json").read_text())
    for change, said in (
        ({"recogniser": None}, "names another recogniser"),
        ({"attacker": {**record["attacker"], "recogniser": None}}, "is not the record of an attacker"),
        ({"attacker": {**record["attacker"], "knowledge": "naive"}}, "is not the record of an attacker"),
        ({"weights_sha256": "0" * 64}, "is damaged, or another file"),
    ):
        (model / "attacker.json").write_text(json.dumps({**record, **change}))
        with pytest.raises(AnonbenchError, match=said):
            attack(others, model, own, BLUR)
    (model / "attacker.json").write_text(json.dumps(record))
    (model / "weights.safetensors").write_bytes(b"junk")
    with pytest.raises(AnonbenchError, match=r"weights\.safetensors: is damaged"):
        attack(others, model, own, BLUR)
