"""Files that somebody has edited: what is no longer what the stages wrote is refused, and named, not believed."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anonbench import manifests, regions
from anonbench.arguments import block, mapping
from anonbench.attack import cli
from anonbench.attack.options import AttackerConfig
from anonbench.attack.record import own_people, read_attacker
from anonbench.attack.subjects import disjoint, read_subjects
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file, write_json
from anonbench.learning import loop
from anonbench.records import RegionKind
from tests.attack.town import Town, build, person

QUICK = {"region": "body", "network": "mosaic", "width": 16, "height": 16, "iterations": 4, "checkpoint_every": 2,
         "batch_size": 8, "dimensions": 8}  # fmt: skip
BLUR = "body-blur-medium"
Edit = Callable[[Any], Any]


def settle(folder: Path, split: str, names: list[str | None], seed: int) -> Town:
    """Write a split of pictures of noise, one person in each, and what a blur leaves of them."""
    random = np.random.default_rng(seed)
    pictures = {k: random.integers(0, 256, (40, 60, 3), dtype=np.uint8) for k in range(1, len(names) + 1)}
    said = [json.dumps({"hair": "ab"[k // 2 % 2]}) for k in range(len(names))]
    rows = [
        person(k, k, (10.0, 4.0, 20.0, 30.0), identity=who, attributes=text)
        for k, who, text in zip(pictures, names, said, strict=True)
    ]
    town = build(folder, pictures, rows, split)
    blurred = {k: np.asarray(cv2.GaussianBlur(one, (0, 0), 3)) for k, one in pictures.items()}
    out = town.show(BLUR, blurred, [{"image_id": k, "person_id": k, "status": "anonymized"} for k in pictures])
    edit_json(manifests.summary_path(out, split), {"method": "blur", "parameters": {}, "region": "body"})
    return town


def edit_json(file: Path, change: dict[str, Any]) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))


def fit(town: Town, out: Path, attack: str = "link", seen: str = "original", **how: Any) -> Path:
    """Let an attacker learn from a split."""
    config = json.dumps({"knowledge": "naive", **QUICK, **how})
    cli.fit_attacker(
        attack, config, town.variant(seen), town.variant("original"), town.annotations, out, split=town.split,
        device="cpu",
    )  # fmt: skip
    return out


def attack(town: Town, model: Path | None, name: str = "link", **how: Any) -> dict[str, Any]:
    """Attack a split."""
    out = town.folder / "out"
    variant = town.variant(how.pop("variant", BLUR))
    cli.attack(
        name, variant, town.variant("original"), town.annotations, out, model=model, probe=town.split, size=[3],
        device="cpu", **how,
    )  # fmt: skip
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return found


TWICE: list[str | None] = [f"p{k // 2}" for k in range(24)]
OWN: list[str | None] = [f"o{k // 2}" for k in range(16)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of three splits and of attackers that have learnt on one of them."""
    folder = tmp_path_factory.mktemp("crafted")
    town = settle(folder, "train", OWN, 1)
    settle(folder, "val", TWICE, 2)
    settle(folder, "gallery", TWICE, 3)
    for name in ("link", "reidentify", "infer"):
        fit(town, folder / "attackers" / name, name)
    fit(town, folder / "attackers" / "aware", seen=BLUR, knowledge="aware")
    restorer = {"widths": [4, 8], "iterations": 2, "batch_size": 4}
    fit(town, folder / "attackers" / "restore", "restore", BLUR, knowledge="reverse", restorer=restorer)
    return folder


@pytest.fixture
def town(written: Path, tmp_path: Path) -> Town:
    """Return a copy that may be edited."""
    shutil.copytree(written, tmp_path / "town")
    return Town(tmp_path / "town", "val")


def model_of(town: Town, name: str) -> Path:
    return town.folder / "attackers" / name


def resign(town: Town, rows: list[dict[str, Any]], variant: str = BLUR) -> None:
    """Write a split's manifest as somebody who knows how it is signed."""
    out = town.variant(variant)
    shard = manifests.shard_path(out, town.split, 0)
    manifests.write_rows(shard, rows)
    hashes = {str(row.get("file_name")): str(row.get("sha256")) for row in rows if row["type"] == "image"}
    change = {"shards": [sha256_file(shard)], "digest": manifests.digest_of(hashes)}
    edit_json(manifests.summary_path(out, town.split), change)


def rows_in(town: Town, variant: str = BLUR) -> list[dict[str, Any]]:
    return manifests.read_rows(manifests.shard_path(town.variant(variant), town.split, 0))


def test_what_nobody_has_edited_is_attacked(town: Town) -> None:
    assert attack(town, model_of(town, "link"))["test"]["covered"] == 1
    assert attack(town, model_of(town, "aware"))["own"]["variant"] == BLUR
    assert attack(town, model_of(town, "reidentify"), "reidentify", gallery="gallery")["test"]["probes"]
    assert attack(town, model_of(town, "infer"), "infer")["test"]["probes"]
    assert attack(town, model_of(town, "restore"), "restore")["test"]["probes"]
    found = attack(town, None, "coverage")
    assert found["test"]["measures"]["changed"]["value"] == 1
    own = json.loads((model_of(town, "link") / "attacker.json").read_text())
    assert len(own["own_images"]) == len(OWN)
    assert "own_images" not in own["own"]


def test_labels_that_were_edited_are_not_believed(town: Town) -> None:
    file = manifests.annotations_path(town.variant(BLUR), "val")
    labels = json.loads(file.read_text())
    names = [image["file_name"] for image in labels["images"]]
    for image, name in zip(labels["images"], names[1:] + names[:1], strict=True):
        image["file_name"] = name
    file.write_text(json.dumps(labels))
    with pytest.raises(AnonbenchError, match=r"val\.json: is missing or was edited"):
        attack(town, model_of(town, "link"))
    summary = manifests.summary_path(town.variant(BLUR), "val")
    for wrong in ("2.png", "../../original/val/1.png"):
        labels["images"][0]["file_name"] = wrong
        file.write_text(json.dumps(labels))
        edit_json(summary, {"annotations_sha256": sha256_file(file)})
        with pytest.raises(AnonbenchError, match=r"image 1: says that it is .*, not '1\.png', as the manifest does"):
            attack(town, model_of(town, "link"))
    for key, value in (("file_name", None), ("file_name", 5), ("width", None), ("width", "60"), ("labels_on", [1])):
        labels["images"][0] = {"id": 1, "file_name": "1.png", "width": 60, "height": 40, key: value}
        file.write_text(json.dumps(labels))
        edit_json(summary, {"annotations_sha256": sha256_file(file)})
        with pytest.raises(AnonbenchError, match="contains no images"):
            attack(town, model_of(town, "link"))


def test_an_original_without_a_manifest_is_not_compared_with(town: Town) -> None:
    manifests.summary_path(town.variant("original"), "val").unlink()
    with pytest.raises(AnonbenchError, match=r"original.*val\.json: no such file"):
        attack(town, model_of(town, "link"))


def each(**change: Any) -> Edit:
    """Return what changes all rows of people, or, where a file's name is among it, of images."""
    kind = "image" if {"file_name", "sha256", "source_sha256"} & change.keys() else "person"
    return lambda rows: [{**row, **change} if row["type"] == kind else row for row in rows]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (each(image_id="1"), "has the image_id '1'"),
        (each(image_id=[1]), r"has the image_id \[1\]"),
        (each(status=["anonymized"]), r"has the status \['anonymized'\]"),
        (each(file_name=None), "has the file_name None"),
        (each(sha256=None), "has the sha256 None"),
        (each(source_sha256=None), "has the source_sha256 None"),
        (lambda rows: [row for row in rows if row["type"] != "image"], "image 1: tells of other images than the table"),
        (lambda rows: rows + rows[1:2], "image 1: is listed twice"),
    ],
)
def test_manifests_that_were_signed_again_are_not_believed(town: Town, change: Edit, says: str) -> None:
    resign(town, change(rows_in(town)))
    for name in ("link", "coverage"):
        with pytest.raises(AnonbenchError, match=says):
            attack(town, None if name == "coverage" else model_of(town, name), name)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"shards": []}, "does not match its shards"), ({"method": ["blur"]}, "is not the manifest of a split")],
)
def test_summaries_are_compared_with_their_shards(town: Town, change: dict[str, Any], says: str) -> None:
    edit_json(manifests.summary_path(town.variant(BLUR), "val"), change)
    for name in ("link", "coverage"):
        with pytest.raises(AnonbenchError, match=says):
            attack(town, None if name == "coverage" else model_of(town, name), name)


def at(number: int, **change: Any) -> Edit:
    return lambda rows: [{**row, **change} if k == number else row for k, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("table", "change", "says"),
    [
        ("people", at(3, box=[float("nan"), 1, 2, 3]), "box that is not finite"),
        ("people", at(3, box=[1.0, 1.0, float("inf"), 3]), "box that is not finite"),
        ("people", at(3, box=[1.0, 2.0, 3.0]), "box that is not four numbers"),
        ("people", at(3, box=[None, 2.0, 3.0, 4.0]), "box that is not four numbers"),
        ("people", at(3, area=float("nan")), "area that is not finite"),
        ("people", at(3, crowd=None), "rows without crowd"),
        ("people", at(3, image_id=999), "people of image 999, which the table of images lacks"),
        ("people", lambda rows: rows + rows[:1], r"several rows of one image_id and person_id \(1, 1\)"),
        ("people", at(3, attributes="[1]"), "attributes that are not JSON"),
        ("people", at(3, attributes="null"), "attributes that are not JSON"),
        ("people", at(3, attributes='{"hair": 1}'), "attributes that are not JSON"),
        ("people", at(3, attributes="[" * 100_000), "attributes that are not JSON"),
        ("people", at(3, attributes='{"hair": ' + "9" * 5000 + "}"), "attributes that are not JSON"),
        ("images", lambda rows: rows + rows[:1], r"several rows of one image_id \(1\)"),
        ("images", lambda rows: rows[1:], "people of image 1, which the table of images lacks"),
        ("regions", at(1, x0=30, x1=10), "regions that are empty or outside"),
        ("regions", at(1, x0=None), "regions without a place"),
        ("regions", at(1, subject=None), "regions without a place"),
        ("regions", at(1, subject=[1.0, 2.0, 3.0]), "subject that is not four numbers"),
        ("regions", at(1, x1=2_000_000_000, y1=2_000_000_000), "image 1: has a region that leaves its image"),
    ],
)
def test_tables_that_no_stage_has_written_are_refused(town: Town, table: str, change: Edit, says: str) -> None:
    file = town.annotations / f"val.{table}.parquet"
    schema = {"people": regions.PEOPLE, "images": regions.IMAGES, "regions": regions.REGIONS}[table]
    regions.write(file, change(regions.read(file, schema).to_pylist()), schema)
    for name in ("link", "infer", *(() if table == "regions" else ("coverage",))):
        with pytest.raises(AnonbenchError, match=says):
            attack(town, None if name == "coverage" else model_of(town, name), name)


def test_people_at_the_edge_of_an_image_crowds_and_lost_boxes_are_no_mistakes(tmp_path: Path) -> None:
    picture = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    rows = [
        person(1, 1, (-3.5, -2.0, 20.0, 30.0)), person(1, 2, (50.0, 30.0, 14.0, 14.0)), person(1, 3, None, area=9.0),
        person(1, 4, (0.0, 0.0, 60.0, 40.0), crowd=True), person(1, 5, (2.0, 2.0, 0.4, 0.4)),
    ]  # fmt: skip
    town = build(tmp_path, {1: picture}, [row for row in rows if row["person_id"] > 2])
    regions.write(town.annotations / "val.people.parquet", rows, regions.PEOPLE)
    regions.write(town.annotations / "val.regions.parquet", [], regions.REGIONS)
    seen = read_subjects(town.variant("original"), town.annotations, "val", RegionKind.BODY, "person", (16, 16))
    assert seen.people.tolist() == [1, 2, 5]


def test_own_pictures_are_not_attacked_whatever_their_people_are_called(tmp_path: Path) -> None:
    own = settle(tmp_path / "a", "train", TWICE, 2)
    others: list[list[str | None]] = [[f"x{name}" for name in TWICE], [f"{name} " for name in TWICE], [None] * 24]
    for k, names in enumerate(others):
        again = settle(tmp_path / f"b{k}", "val", names, 2)
        model = fit(own, tmp_path / "model")
        for own_names in (False, True):
            with pytest.raises(AnonbenchError, match=r"image 1: is a picture that the attacker has learnt from"):
                attack(again, model, own=own.annotations, own_names=own_names)
    record = json.loads((model / "attacker.json").read_text())
    del record["own_images"]
    write_json(model / "attacker.json", record)
    assert attack(again, model, own=own.annotations)["test"], "a record of an earlier version tells of identities alone"


def test_a_gallery_that_was_encoded_again_is_refused(town: Town) -> None:
    for split, seed in (("val", 2), ("gallery", 2)):
        settle(town.folder, split, TWICE, seed)
    there = Town(town.folder, "gallery")
    rows = each(source_sha256="another")(rows_in(there, "original"))
    resign(there, [{**row, "source_sha256": f"{k}"} if row["type"] == "image" else row for k, row in enumerate(rows)],
           "original")  # fmt: skip
    for variant in (BLUR, "original"):
        with pytest.raises(AnonbenchError, match="shows the very picture that is image"):
            attack(town, model_of(town, "reidentify"), "reidentify", gallery="gallery", variant=variant)


def test_without_names_pictures_are_compared_all_the_same(town: Town) -> None:
    asked = town.annotations, "val", RegionKind.BODY, "person", (16, 16)
    seen = read_subjects(town.variant("original"), *asked)  # type: ignore[arg-type]
    table = town.annotations / "val.people.parquet"
    disjoint(table, (seen, table), names=False)
    with pytest.raises(AnonbenchError, match=r"shows 'p0', who is also in"):
        disjoint(table, (seen, table))
    with pytest.raises(AnonbenchError, match="shows the very picture that is image"):
        disjoint(table, (seen, table), (seen, table), names=False)


def test_who_knows_another_method_is_not_aware_of_this_one(town: Town) -> None:
    model = model_of(town, "aware")
    with pytest.raises(AnonbenchError, match="attacks body-pixelate and is aware learns from body-pixelate"):
        read_attacker(model, "link", "body-pixelate")
    assert read_attacker(model, "link", f"{BLUR}-fit1")[1].knowledge == "aware"
    assert read_attacker(model_of(town, "link"), "link", "body-pixelate")[1].knowledge == "naive"
    with pytest.raises(AnonbenchError, match="attacks original and is aware learns from original"):
        attack(town, model, variant="original")


@pytest.mark.parametrize(
    "change",
    [
        {"own": None}, {"own": []}, {"own": {"split": ["train"]}}, {"own": {"split": "../train"}},
        {"own_images": "x"}, {"weights_sha256": None}, {"attacker": [1]}, {"attack": None}, {"seed": float("nan")},
    ],
)  # fmt: skip
def test_records_of_attackers_say_what_they_must(town: Town, change: dict[str, Any]) -> None:
    edit_json(model_of(town, "link") / "attacker.json", change)
    with pytest.raises(AnonbenchError, match=r"attacker\.json: is not the record of an attacker"):
        attack(town, model_of(town, "link"))


def test_a_record_without_its_split_names_nobody(town: Town) -> None:
    edit_json(model_of(town, "link") / "attacker.json", {"own": {}})
    record, _ = read_attacker(model_of(town, "link"))
    with pytest.raises(AnonbenchError, match="does not say whom the attacker has learnt from"):
        own_people(record, town.annotations)


@pytest.mark.parametrize(
    "change",
    [
        {"values": None}, {"values": {"hair": ["a", "a"]}}, {"values": {"hair": ["a"]}}, {"priors": {}},
        {"priors": {"hair": [0.0, 1.0]}}, {"priors": {"hair": [1.0]}}, {"priors": {"hair": ["a", "b"]}},
        {"notes": ["hair"]}, {"numbers": {"upper": {"means": [1.0], "deviations": [1.0, 2.0]}}},
        {"numbers": {"upper": {"means": ["a"], "deviations": [1.0]}}}, {"values": {}, "priors": {}, "numbers": {}},
    ],
)  # fmt: skip
def test_guesses_are_values_with_their_priors(town: Town, change: dict[str, Any]) -> None:
    file = model_of(town, "infer") / "attacker.json"
    edit_json(file, {"guesses": {**json.loads(file.read_text())["guesses"], **change}})
    with pytest.raises(AnonbenchError, match=r"attacker\.json: does not say what the attacker guesses"):
        attack(town, model_of(town, "infer"), "infer")


def reweigh(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    """Write other weights, and their hash in the record."""
    file = folder / "weights.safetensors"
    save_file(change(load_file(file)), file)
    edit_json(folder / "attacker.json", {"weights_sha256": sha256_file(file)})


def test_a_restorer_that_fails_is_no_safety(town: Town) -> None:
    model = model_of(town, "restore")
    kept = (model / "weights.safetensors").read_bytes(), (model / "attacker.json").read_bytes()

    def again() -> None:
        for name, data in zip(("weights.safetensors", "attacker.json"), kept, strict=True):
            (model / name).write_bytes(data)

    reweigh(model, lambda of: {
        name: one * float("nan") if name.startswith("restorer.") and one.is_floating_point() else one
        for name, one in of.items()
    })  # fmt: skip
    with pytest.raises(AnonbenchError, match=r"weights\.safetensors: restores pictures to numbers that are not finite"):
        attack(town, model, "restore")
    again()
    reweigh(model, lambda of: {name: one for name, one in of.items() if not name.startswith("restorer.")})
    with pytest.raises(AnonbenchError, match="tells of a restorer that is not there"):
        attack(town, model, "restore")
    again()
    record = json.loads(kept[1])
    del record["restorer"]
    (model / "attacker.json").write_text(json.dumps(record))
    with pytest.raises(AnonbenchError, match="holds a restorer that its record does not tell of"):
        attack(town, model, "restore")


def test_weights_of_another_type_are_refused(town: Town) -> None:
    reweigh(model_of(town, "link"), lambda of: {name: one.to(torch.int32) for name, one in of.items()})
    with pytest.raises(AnonbenchError, match=r"weights\.safetensors: cannot be read \(.* is of another type\)"):
        attack(town, model_of(town, "link"))


def nan_weights(state: dict[str, Any]) -> None:
    for value in state["model"].values():
        value.fill_(float("nan"))


CHECKPOINTS: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    (r"KeyError: 'model'", lambda state: state.pop("model")),
    (r"KeyError: 'optimizer'", lambda state: state.pop("optimizer")),
    ("its curve is none", lambda state: state.pop("curve")),
    ("its curve is none", lambda state: state.update(curve=[1])),
    ("its curve is none", lambda state: state.update(sums=None)),
    ("iteration '2' of 4", lambda state: state.update(iteration="2")),
    ("iteration 2.5 of 4", lambda state: state.update(iteration=2.5)),
    ("iteration -3 of 4", lambda state: state.update(iteration=-3)),
    ("iteration 1000000 of 4", lambda state: state.update(iteration=10**6)),
    ("in loading state_dict", lambda state: state.update(model={})),
    ("different number of parameter groups", lambda state: state["optimizer"].update(param_groups=[])),
    ("model holds numbers that are not finite", nan_weights),
]


def test_checkpoints_that_were_edited_are_not_continued(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    town, saved = Town(written, "train"), []
    save = loop._save

    def kept(path: Path, *more: Any) -> None:
        save(path, *more)
        saved.append(path.read_bytes())

    monkeypatch.setattr(loop, "_save", kept)
    weights = fit(town, tmp_path / "whole") / "weights.safetensors"
    for k, (says, change) in enumerate(CHECKPOINTS):
        state = torch.load(io.BytesIO(saved[1]), weights_only=True)
        change(state)
        out = tmp_path / str(k)
        out.mkdir()
        torch.save(state, out / "checkpoint.pt")
        with pytest.raises(AnonbenchError, match=rf"checkpoint\.pt: is no checkpoint of this training \(.*{says}"):
            fit(town, out)
        (out / "checkpoint.pt").write_bytes(saved[0])
        assert (fit(town, out) / "weights.safetensors").read_bytes() == weights.read_bytes()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' + "9" * 5000])
def test_settings_are_not_nested_without_end(text: str) -> None:
    with pytest.raises(AnonbenchError, match="--attacker: is not valid JSON"):
        mapping(text, "--attacker")


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e999"])
def test_settings_are_finite_numbers(number: str) -> None:
    with pytest.raises(AnonbenchError, match=r"--attacker: .*temperature: Input should be a finite number"):
        block(AttackerConfig, f'{{"knowledge": "naive", "temperature": {number}}}', "--attacker")


@pytest.mark.parametrize("share", [float("nan"), float("inf"), 0.0, 1.0, -1.0])
def test_a_share_is_between_nothing_and_all(town: Town, share: float) -> None:
    with pytest.raises(AnonbenchError, match=r"--validation: is .*, not a share"):
        attack(town, model_of(town, "link"), validation=share)
