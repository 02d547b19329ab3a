"""Attacks on data sets that others made, from the official layout on: who is compared with whom, and what is true."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from anonbench import regions
from anonbench.attack import cli, inference, trials
from anonbench.attack.attacks.infer import Infer
from anonbench.attack.guessing import Guessed
from anonbench.attack.subjects import read_subjects
from anonbench.datasets import hmdb51 as hmdb
from anonbench.datasets.layout import unrelated_order
from anonbench.errors import AnonbenchError
from anonbench.records import RegionKind
from anonbench.workflow.plan import Plan
from tests.attack.test_matching import plain
from tests.attack.town import Town
from tests.datasets.stages import command
from tests.fixtures import hmdb51, lfw, market1501
from tests.workflow.conftest import PROJECT

LEARNS = {"knowledge": "naive", "width": 16, "height": 32, "iterations": 2, "batch_size": 8, "dimensions": 8}
"""An attacker that has hardly learnt."""


def town_of(adapter: str, root: Path, splits: list[str], variants: list[str], folder: Path, **options: Any) -> Town:
    """Take splits of a data set in its official layout through the stages before `attack`."""
    town, data = Town(folder), folder / "data"
    given = ("--adapter", adapter, "--root", root, "--options", json.dumps(options))
    command("download", "--dataset", "town", "--splits", ",".join(splits), "--out", data, *given)
    for split in splits:
        where = ("--annotations", town.annotations, "--split", split)
        command("annotate", "--data", data, "--split", split, "--out", town.annotations)
        command("regions", *where)
        for variant in variants:
            made = (*where, "--variant", variant, "--out", town.variant(variant))
            command("anonymize", "--data", data, "--encoder", "lossless", *made)
            command("merge", *made)
    return town


def learnt(town: Town, attack: str, **attacker: Any) -> Path:
    """Return the folder of an attacker that has learnt a little from the originals of the split `train`."""
    original, model = town.variant("original"), town.folder / "model"
    described = json.dumps({**LEARNS, **attacker})
    cli.fit_attacker(attack, described, original, original, town.annotations, model, split="train", device="cpu")
    return model


def attacked(
    town: Town, model: Path, variant: str, attack: str = "reidentify", probe: str = "probe", **more: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Attack a variant; return what metrics.json says, and the arrays of scores.npz."""
    out = town.folder / "attacks" / variant
    cli.attack(
        attack, town.variant(variant), town.variant("original"), town.annotations, out, model=model, probe=probe,
        size=[5], device="cpu", **more,
    )  # fmt: skip
    with np.load(out / "scores.npz") as file:
        return json.loads((out / "metrics.json").read_text()), dict(file)


def shape(crops: np.ndarray) -> np.ndarray:
    """Return a description by what is lighter and what is darker in a picture; of one colour alone there is none."""
    found = crops.reshape(len(crops), -1).astype(np.float32)
    found -= found.mean(axis=1, keepdims=True)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-3)


def colour(crops: np.ndarray) -> np.ndarray:
    """Return a description by the mean colour alone, which light changes."""
    return plain(crops.mean(axis=(1, 2), keepdims=True))


def names(town: Town, split: str) -> list[str]:
    """Return the names that the files of a split's images have in the data set, in the order of their ids."""
    rows = regions.read(town.annotations / f"{split}.images.parquet", regions.IMAGES).to_pylist()
    return [Path(row["path"]).name for row in rows]


def agree(one: list[str], other: list[str], part: slice) -> np.ndarray:
    """Return where a part of two names is the same: bool (P, G)."""
    return np.array([[a[part] == b[part] for b in other] for a in one])


# Market-1501

PERSON, CAMERA = slice(0, 4), slice(5, 7)
"""Where a name says who it is, and which camera: 1001_c2s1_000200_01.jpg."""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Town:
    folder = tmp_path_factory.mktemp("market")
    market1501.write(folder / "raw", images=12)
    splits = ["train", "probe", "gallery"]
    town = town_of("market1501", folder / "raw", splits, ["original", "body-mask_out"], folder)
    learnt(town, "reidentify", region="body")
    return town


def test_market1501_leaves_out_the_same_camera_distractors_and_junk(market: Town) -> None:
    metrics, found = attacked(market, market.folder / "model", "original", gallery="gallery")
    probe, everything = names(market, "probe"), names(market, "gallery")
    gallery = [name for name in everything if not name.startswith(("-1", "0000"))]
    assert (len(probe), len(everything), len(gallery)) == (12, 26, 24)
    same = agree(probe, gallery, PERSON)
    assert np.array_equal(found["probe"][:, None] == found["gallery"], same)
    assert np.array_equal(found["allowed"], ~(same & agree(probe, gallery, CAMERA)))
    assert (found["allowed"] & same).sum(axis=1).tolist() == [1] * 12, "the picture by the other camera"
    assert metrics["people"] == {"probe": "probe", "gallery": "gallery"}
    assert metrics["own"]["split"] == "train"
    assert (metrics["drawn"], metrics["validation"]["probes"], metrics["test"]["probes"]) == ("people", 4, 8)
    assert metrics["test"]["candidates"] == 8


def test_market1501_is_judged_by_its_protocol(market: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture by the probe's own camera is the likest of all, and everybody would be found by it."""
    monkeypatch.setattr(trials, "describe_with", lambda *_: colour)
    metrics, found = attacked(market, market.folder / "model", "original", gallery="gallery")
    likest = found["scores"].argmax(axis=1)
    assert np.array_equal(found["gallery"][likest], found["probe"])
    assert not found["allowed"][np.arange(12), likest].any()
    reported = found["probe"][~found["validation"]]
    ranks = []
    for who, scores, allowed in zip(found["probe"], found["scores"], found["allowed"], strict=True):
        if who in reported:
            others = scores[allowed & np.isin(found["gallery"], reported)]
            ranks.append(1 + (others > scores[allowed & (found["gallery"] == who)]).sum())
    assert metrics["test"]["rank_1"] == pytest.approx(np.mean(np.array(ranks) == 1))
    assert metrics["test"]["mean_average_precision"] == pytest.approx(np.mean(1 / np.array(ranks)))
    assert metrics["test"]["rank_1"] < 1


def test_people_of_market1501_are_found_by_the_other_camera_and_masked_ones_are_not(
    market: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "describe_with", lambda *_: shape)
    for variant, expected in (("original", 1), ("body-mask_out", 1 / 5)):
        metrics, _ = attacked(market, market.folder / "model", variant, gallery="gallery")
        assert metrics["test"]["linkability"]["5"] == pytest.approx(expected)
        assert metrics["test"]["covered"] == (variant != "original")


# LFW


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Town:
    folder = tmp_path_factory.mktemp("lfw")
    lfw.write(folder / "raw", images=10, several=8)
    splits = ["train", "gallery", "probe"]
    town = town_of("lfw", folder / "raw", splits, ["original", "face-mask_out"], folder, **lfw.OPTIONS)
    learnt(town, "reidentify", region="face", view="region")
    return town


def test_people_of_lfw_are_looked_for_in_their_first_pictures(faces: Town) -> None:
    metrics, found = attacked(faces, faces.folder / "model", "original", gallery="gallery")
    probe, gallery = ([name.partition("_")[0] for name in names(faces, split)] for split in ("probe", "gallery"))
    assert (len(probe), len(gallery), len({*probe}), len({*gallery})) == (16, 10, 8, 10)
    assert {*probe} < {*gallery}, "who has one picture alone is somebody to be told from"
    assert {name[-8:-4] for name in names(faces, "gallery")} == {"0001"}
    assert np.array_equal(found["probe"][:, None] == found["gallery"], agree(probe, gallery, slice(None)))
    assert found["allowed"].all(), "no camera takes two pictures of anybody"
    assert (metrics["drawn"], metrics["test"]["candidates"]) == ("people", 7)


def test_faces_of_lfw_are_found_again_and_masked_ones_are_not(faces: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "describe_with", lambda *_: shape)
    for variant, expected in (("original", 1), ("face-mask_out", 1 / 5)):
        metrics, _ = attacked(faces, faces.folder / "model", variant, gallery="gallery")
        assert metrics["test"]["linkability"]["5"] == pytest.approx(expected)
        assert metrics["test"]["covered"] == (variant != "original")


# HMDB51 with PA-HMDB51's labels


def person_in(action: str, place: int) -> dict[str, str | None]:
    """Return what is said of whoever is in all of a clip, the place-th of its kind."""
    return {
        "gender": ("male", "female")[place % 2],
        "skin_color": ("white", "several")[place // 2 % 2],
        "nudity": "none",
        "relationship": "identifiable" if (action, place) == ("wave", 3) else "unidentifiable",
    }


def in_frame(action: str, place: int, frame: int) -> dict[str, str | None]:
    """Return what is said of whoever is in a frame; of the first clip of each kind there is nothing."""
    if not place:
        return dict.fromkeys(hmdb.VALUES)
    return {**person_in(action, place), "face": "complete" if frame < 2 else "partial" if frame < 4 else None}


def label(root: Path) -> dict[str, tuple[str, int]]:
    """Write labels of all clips but the first of each kind; return action and place of every clip by its path."""
    clips = {}
    for action in hmdb51.ACTIONS:
        said = {}
        for kind in ("Clip*", "tested_*", "neither_*"):
            for place, path in enumerate(sorted((root / hmdb.FOLDERS[0] / action).glob(kind))):
                clips[path.relative_to(root).as_posix()] = action, place
                of = person_in(action, place)
                numbers = {name: hmdb.VALUES[name].index(value) for name, value in of.items() if value != "several"}
                whole = {name: [[0, 5, numbers.get(name, [2, 3])]] for name in of}
                if place:
                    said[path.name] = {**whole, "face": [[0, 1, 2], [2, 3, 1]]}
        (root / hmdb.LABELS / f"{action}.json").write_text(json.dumps(said))
    return clips


@pytest.fixture(scope="module")
def crowds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Town, dict[int, tuple[str, int]]]:
    """Return attacked clips of HMDB51, and action and place of those of the split `test` by number."""
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("hmdb51")
    hmdb51.write_official(folder / "raw", videos=6, tested=10)
    clips = label(folder / "raw")
    town = town_of(
        "hmdb51", folder / "raw", ["train", "test", "pa_train"], ["original", "frame-grey"], folder, **hmdb51.OPTIONS
    )
    tested = unrelated_order("test", [path for path in clips if "tested_" in path])
    return town, {number: clips[path] for number, path in enumerate(tested, 1)}


def test_what_pa_hmdb51_says_of_frames_is_what_infer_asks_for(
    crowds: tuple[Town, dict[int, tuple[str, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    town, clips = crowds
    rows = regions.read(town.annotations / "test.images.parquet", regions.IMAGES).to_pylist()
    where = [clips[row["video_id"]] for row in rows]
    said = [in_frame(*clip, int(Path(row["path"]).stem)) for clip, row in zip(where, rows, strict=True)]
    assert len(said) == 20 * 3
    site = replace(town.site("frame-grey"), split="test")
    seen = read_subjects(site.variant, site.annotations, "test", RegionKind.BODY, "person", (16, 32), wholes=True)
    truth = Infer().truth(site, seen)
    assert {name: of.tolist() for name, of in truth.labels.items()} == {
        name: [of[name] for of in said] for name in hmdb.VALUES
    }
    assert not truth.numbers
    # whose guesses are right, but for the gender of those in some clips
    wrong = np.array([clip in (("wave", 4), ("wave", 5), ("brush_hair", 8)) for clip in where])
    guess_with = inference.guess_with

    def sure(*given: Any) -> Callable[[np.ndarray], Guessed]:
        guess = guess_with(*given)
        return lambda crops: planted(guess(crops))

    def planted(guessed: Guessed) -> Guessed:
        chances = {
            name: np.array([[value == of[name] for value in values] for of in said], dtype=np.float64)
            for name, values in guessed.values.items()
        }
        chances["gender"][wrong] = chances["gender"][wrong][:, ::-1]
        return replace(guessed, chances=chances)

    monkeypatch.setattr(inference, "guess_with", sure)
    model = learnt(town, "infer")
    metrics, found = attacked(town, model, "frame-grey", "infer", "test")
    assert (metrics["drawn"], metrics["first"], metrics["test"]["covered"]) == ("images", "cmap", 1)
    assert metrics["skipped"] == {
        "nudity": "has one value alone among those whom the attacker learns from",
        "relationship": "has fewer than two values that 5 or more of the reported people or images have",
    }
    measures = metrics["test"]["measures"]
    assert {name.partition("/")[2] for name in measures} == {"", "face", "gender", "skin_color"}
    assert measures["balanced_accuracy/face"]["value"] == measures["balanced_accuracy/skin_color"]["value"] == 1
    reported = [k for k in np.flatnonzero(~found["validation"]) if said[k]["gender"] is not None]
    right = [np.mean([not wrong[k] for k in reported if said[k]["gender"] == gender]) for gender in ("male", "female")]
    assert 0.5 < np.mean(right) < 1
    assert measures["balanced_accuracy/gender"]["value"] == pytest.approx(np.mean(right))
    assert measures["balanced_accuracy/gender"]["people"] == len({where[k] for k in reported}), "whole clips are drawn"
    assert measures["balanced_accuracy/gender"]["units"] == len(reported)


def test_clips_without_labels_teach_infer_nothing(crowds: tuple[Town, dict[int, tuple[str, int]]]) -> None:
    original, attacker = crowds[0].variant("original"), json.dumps(LEARNS)
    with pytest.raises(AnonbenchError, match=r"attack\.own: nothing can be learnt of the attacker's own people"):
        cli.fit_attacker(
            "infer", attacker, original, original, crowds[0].annotations, crowds[0].folder / "none", split="pa_train",
            device="cpu",
        )  # fmt: skip


# Pages


@pytest.mark.parametrize(("name", "layout"), [("market1501", market1501), ("lfw", lfw)])
def test_the_study_on_the_page_of_a_data_set_attacks_its_people(name: str, layout: Any) -> None:
    page = (PROJECT / "docs" / "datasets" / f"{name}.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    plan = Plan(yaml.safe_load(block), PROJECT)
    assert {*plan.files.splits(name)} <= {*layout.SPLITS}
    assert {"train", "probe", "gallery"} <= {*plan.files.splits(name)}
    tried = {tuple(place.split("/")[1:4]) for place in plan.files.attacks()}
    variants = [variant for variant in plan.study.variants if variant != "original"]
    assert {variant for variant, *_ in tried} == {"original", *variants}
    assert {attack for _, attack, _ in tried} == {"reidentify"}
    assert all((variant, "reidentify", "aware") in tried for variant in variants)
