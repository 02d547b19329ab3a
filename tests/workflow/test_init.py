"""anonbench init: a study that is ready to run, of a data set in COCO's layout or of photographs alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from anonbench.cli import app
from anonbench.config import load
from anonbench.errors import AnonbenchError
from tests.anonymize.conftest import photograph
from tests.apply.conftest import encoded, stored
from tests.conftest import CocoFolder
from tests.workflow.conftest import Project


def init(*words: object) -> str:
    result = CliRunner().invoke(app, ["init", *map(str, words)])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_a_coco_folder_becomes_a_study_that_snakemake_plans(
    project: Project, make_coco: Callable[..., CocoFolder]
) -> None:
    coco = make_coco("My Data", images=6)
    said = project.command("anonbench", "init", str(coco.root), "--out", "config/My study.yaml")
    assert said.returncode == 0, said.stdout
    assert "train: 6 images (median 64x48), people: 5 person with masks, keypoints" in said.stdout
    study = load(project.folder / "config" / "My study.yaml")
    assert study.name == "my-study"
    assert study.output == Path("runs/my-study")
    assert study.models["cpu-small"].tasks == ("detection", "segmentation", "pose")
    assert study.regions.detectors.face is not None
    assert study.regions.detectors.face.plugin == "centerface"
    jobs = project.jobs(config="My study")
    assert jobs["train"] == 6 * 3
    assert jobs["annotate"] == 2


@pytest.mark.slow
def test_the_study_runs(project: Project, make_coco: Callable[..., CocoFolder]) -> None:
    coco = make_coco(images=4)
    done = project.command("anonbench", "init", str(coco.root), "--out", "config/mine.yaml")
    assert done.returncode == 0, done.stdout
    done = project.snakemake("variants", config="mine")
    assert done.returncode == 0, done.stdout
    made = project.folder / "runs" / "mine" / "anonymized" / "coco" / "face-mask_out" / "train"
    assert sorted(path.name for path in made.iterdir()) == [f"{number:06d}.jpg" for number in range(1, 5)]


def test_labels_decide_tasks_and_anchors_follow_the_people(
    tmp_path: Path, make_coco: Callable[..., CocoFolder]
) -> None:
    coco = make_coco(images=5)
    for split in ("train", "val"):
        for annotation in coco.json[split]["annotations"]:
            for key in ("segmentation", "keypoints", "num_keypoints"):
                annotation.pop(key, None)
        coco.save(split)
    init(coco.root, "--out", tmp_path / "a.yaml")
    model = load(tmp_path / "a.yaml").models["cpu-small"]
    assert model.tasks == ("detection",)
    architecture = model.settings["architecture"] if isinstance(model.settings, dict) else model.settings.architecture
    told = architecture if isinstance(architecture, dict) else architecture.model_dump()
    sizes = [size for level in told["anchor_sizes"] for size in level]
    assert sizes == sorted(sizes)
    assert sizes[0] == pytest.approx((16 * 36) ** 0.5 * 256 / 48, abs=1)  # all people are 16x36
    assert max(told["aspect_ratios"]) == pytest.approx(36 / 16, abs=0.06)


def test_a_large_data_set_gets_the_usual_networks(
    tmp_path: Path, make_coco: Callable[..., CocoFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anonbench.init.SMALL", 3)
    monkeypatch.setattr("anonbench.init.SHARD", 2)
    coco = make_coco(images=5)
    init(coco.root, "--out", tmp_path / "a.yaml", "--face-detector", "none")
    study = load(tmp_path / "a.yaml")
    assert set(study.models) == {"mask-rcnn", "keypoint-rcnn"}
    assert study.anonymize.shards == 3
    assert study.regions.detectors.face is None


def test_faces_that_are_labelled_need_no_detector(tmp_path: Path, make_coco: Callable[..., CocoFolder]) -> None:
    coco = make_coco(images=4)
    for split in ("train", "val"):
        coco.person(split)["face"] = {"bbox": [12, 6, 8, 10]}
        coco.save(split)
    assert "faces" in init(coco.root, "--out", tmp_path / "a.yaml")
    assert load(tmp_path / "a.yaml").regions.detectors.face is None


def test_who_is_people_is_asked_and_not_guessed(tmp_path: Path, make_coco: Callable[..., CocoFolder]) -> None:
    coco = make_coco(images=4)
    for split in ("train", "val"):
        coco.json[split]["categories"].append({"id": 7, "name": "Rider"})
        coco.save(split)
    with pytest.raises(AnonbenchError, match=r"Rider.*--people NAME, --not-people NAME"):
        init(coco.root, "--out", tmp_path / "a.yaml")
    init(coco.root, "--out", tmp_path / "a.yaml", "--people", "Rider")
    init(coco.root, "--out", tmp_path / "b.yaml", "--not-people", "Rider")
    assert load(tmp_path / "a.yaml").datasets["coco"].people == ["Rider"]
    assert load(tmp_path / "b.yaml").datasets["coco"].not_people == ["Rider"]


@pytest.mark.parametrize("name", ["фото", "private", "labels"])
def test_a_folder_whose_name_makes_none_is_called_photos(
    tmp_path: Path, make_coco: Callable[..., CocoFolder], name: str
) -> None:
    coco = make_coco(name, images=4)
    init(coco.root, "--out", tmp_path / "a.yaml")
    assert list(load(tmp_path / "a.yaml").datasets) == ["photos"]


def test_the_folder_one_is_in_has_a_name(
    tmp_path: Path, make_coco: Callable[..., CocoFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_coco("Mine", images=4).root)
    init(".", "--out", tmp_path / "a.yaml")
    assert list(load(tmp_path / "a.yaml").datasets) == ["mine"]


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("images", {"file_name": None}, "image 1: has no file_name"),
        ("annotations", {"bbox": ["a", 2, 3, 4]}, "annotation 10: has a bbox that is no list of numbers"),
        ("annotations", {"category_id": [1]}, "annotation 10: has a category_id that is no id"),
        ("categories", {"id": [1]}, "category number 0: has no integer id, or no name"),
    ],
)
def test_entries_that_make_no_sense_are_named(
    tmp_path: Path, make_coco: Callable[..., CocoFolder], kind: str, change: dict[str, Any], told: str
) -> None:
    coco = make_coco(images=4)
    entry = coco.person("train") if kind == "annotations" else coco.json["train"][kind][0]
    entry.update(change)
    coco.save("train")
    with pytest.raises(AnonbenchError) as caught:
        init(coco.root, "--out", tmp_path / "a.yaml")
    assert str(caught.value) == f"{coco.root}/annotations/instances_train.json, {told}; correct that entry"
    assert not (tmp_path / "a.yaml").exists()


def test_missing_images_are_skipped_and_said(tmp_path: Path, make_coco: Callable[..., CocoFolder]) -> None:
    coco = make_coco(images=4)
    (coco.root / "val" / "000002.jpg").unlink()
    said = init(coco.root, "--out", tmp_path / "a.yaml")
    assert "1 images of val are not on disk, such as 000002.jpg" in said
    assert load(tmp_path / "a.yaml").datasets["coco"].on_bad_image == "skip"
    shutil.rmtree(coco.root / "val")
    (coco.root / "val").mkdir()
    with pytest.raises(AnonbenchError, match="holds none of the 4 images"):
        init(coco.root, "--out", tmp_path / "b.yaml")


def test_splits_are_found_or_asked_for(tmp_path: Path, make_coco: Callable[..., CocoFolder]) -> None:
    coco = make_coco(images=4)
    for old, new in (("train", "first"), ("val", "second")):
        (coco.root / old).rename(coco.root / new)
        path = coco.root / "annotations" / f"instances_{old}.json"
        path.rename(path.with_name(f"instances_{new}.json"))
    with pytest.raises(AnonbenchError, match=r"0 splits that could be train \(known: first, second\)"):
        init(coco.root, "--out", tmp_path / "a.yaml")
    with pytest.raises(AnonbenchError, match="did you mean 'first'"):
        init(coco.root, "--out", tmp_path / "a.yaml", "--train", "fist", "--val", "second")
    with pytest.raises(AnonbenchError, match="trained and tested on"):
        init(coco.root, "--out", tmp_path / "a.yaml", "--train", "first", "--val", "first")
    init(coco.root, "--out", tmp_path / "a.yaml", "--train", "first", "--val", "second")
    assert load(tmp_path / "a.yaml").datasets["coco"].train == "first"
    with pytest.raises(AnonbenchError, match="exists"):
        init(coco.root, "--out", tmp_path / "a.yaml", "--train", "first", "--val", "second")


def test_photographs_alone_are_labelled_by_a_detector(project: Project, tmp_path: Path) -> None:
    photos = tmp_path / "my photos"
    names = [f"{number}.jpg" for number in range(10)]
    for number, name in enumerate(names):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(encoded(photograph(80, 60, number), "JPEG"))
    (photos / "notes.txt").write_text("x")
    boxes: dict[str, Any] = {name: [[10, 5, 40, 55, 0.9], [50, 10, 70, 50, 0.6]] for name in names[::3]}
    persons = stored(tmp_path / "p.json", "person_boxes", boxes)
    words = ("anonbench", "init", str(photos), "--out", "config/mine.yaml")
    done = project.command(*words)
    assert done.returncode == 2
    assert "has no labels" in done.stdout
    done = project.command(*words, "--person-detector", persons)
    assert done.returncode == 0, done.stdout
    assert "labels are those of person_boxes" in done.stdout
    assert "neither photograph nor video 1" in done.stdout
    root = project.folder / "runs" / "mine" / "labels"
    coco = {s: json.loads((root / "annotations" / f"instances_{s}.json").read_text()) for s in ("train", "val")}
    assert [image["file_name"] for split in coco.values() for image in split["images"]] == names
    assert [len(split["annotations"]) for split in coco.values()] == [6, 2]
    assert coco["val"]["annotations"][0]["bbox"] == [10, 5, 30, 50]
    assert project.jobs(config="mine")["annotate"] == 2
    done = project.snakemake("runs/mine/annotations/photos/train.people.parquet", config="mine")
    assert done.returncode == 0, done.stdout
    assert (
        project.command(*words[:-1], "config/other.yaml", "--name", "mine", "--person-detector", persons).returncode
        == 2
    )


def test_labels_of_photographs_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(5):
        (photos / f"{number}.jpg").write_bytes(encoded(photograph(80, 60, number), "JPEG"))
    monkeypatch.chdir(tmp_path)
    persons = stored(tmp_path / "p.json", "person_boxes", {"0.jpg": [[10, 5, 40, 55, 0.9]]})
    words = ("--out", tmp_path / "mine.yaml", "--person-detector", persons)
    with pytest.raises(AnonbenchError, match="nobody is found in the 1 photographs of val"):
        init(photos, *words)
    assert not (tmp_path / "runs").exists()
    stored(tmp_path / "p.json", "person_boxes", {key: [[10, 5, 40, 55, 0.9]] for key in ("0.jpg", "4.jpg")})
    init(photos, *words)
    monkeypatch.chdir(photos)
    with pytest.raises(AnonbenchError, match="lies among the photographs, which are only read"):
        init(Path(), "--out", tmp_path / "other.yaml", "--person-detector", persons)
    with pytest.raises(AnonbenchError, match=r"x\.yaml: lies in the data set, which is only read"):
        init(Path(), "--out", photos / "x.yaml", "--person-detector", persons)
    assert sorted(path.name for path in photos.iterdir()) == [f"{number}.jpg" for number in range(5)]


def test_official_layouts_have_studies_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "set" / "WIDER_train").mkdir(parents=True)
    with pytest.raises(AnonbenchError, match=r"config/widerface\.yaml"):
        init(tmp_path / "set", "--out", tmp_path / "a.yaml")
    with pytest.raises(AnonbenchError, match="is not a folder"):
        init(tmp_path / "none", "--out", tmp_path / "a.yaml")
