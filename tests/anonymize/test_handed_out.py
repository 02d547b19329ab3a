"""What of a variant may be handed out: its labels, what lies beside it, and `anonbench export`."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import stat
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from typer.testing import CliRunner

from anonbench import images, manifests
from anonbench.annotate.choose import choose
from anonbench.annotate.options import RegionsConfig
from anonbench.annotate.people import convert
from anonbench.anonymize.export import DATASHEET, SUMS, TIME, Export
from anonbench.anonymize.labels import INFO, KEPT, Labels
from anonbench.cli import app
from anonbench.datasets.coco import Coco
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, sha256_file, write_json
from anonbench.tasks.truth import read_annotations
from anonbench.train.data import VariantSplit

from .conftest import Dataset
from .test_anonymize_stage import PHOTOS

SECRET = "SECRET"
"""Stands in everything that names the original or somebody."""


def spoil(coco: dict[str, Any]) -> None:
    """Put into a COCO file all that a real one says of photographs and people, and keys that nobody knows."""
    coco["info"] = {
        "description": f"{SECRET}-press",
        "url": f"http://{SECRET}.example",
        "contributor": f"{SECRET} Jane",
        "date_created": f"{SECRET}-2017/09/01",
        f"{SECRET}-key": {"deep": [f"{SECRET}-value"]},
    }
    coco["licenses"] = [
        {"id": 4, "name": f"(c) {SECRET} Jane", "url": "http://creativecommons.org/licenses/by/2.0/"},
        {"id": 5, "name": "own", "url": f"http://{SECRET}.example/licence"},
    ]
    coco[f"{SECRET}-top"] = [f"{SECRET}-value"]
    for number, image in enumerate(coco["images"]):
        image |= {
            "license": 4 + number % 2,
            "flickr_url": f"http://farm9.example/{SECRET}_z.jpg",
            "coco_url": f"http://images.example/{SECRET}.jpg",
            "date_captured": f"{SECRET}-2013-11-14 17:02:52",
            "gps": {"lat": f"{SECRET}-63.4", "lon": 10.4},
            "photographer": f"{SECRET} Jane",
            "subsets": ["easy"],
            f"{SECRET}-unknown": [{"deep": f"{SECRET}-value"}],
        }
    for annotation in coco["annotations"]:
        annotation |= {
            "name": f"{SECRET} John",
            "identity": f"{SECRET}-7",
            "caption": f"{SECRET} John crosses the street",
            "attributes": {"deep": {"deeper": f"{SECRET}-value"}},
            f"{SECRET}-unknown": f"{SECRET}-value",
        }
        if annotation["category_id"] == 1:
            x, y, w, _ = annotation["bbox"]
            annotation["face"] = {"bbox": [x, y, w, w], "of": f"{SECRET} John"}
    for category in coco["categories"]:
        category |= {"people_named": [f"{SECRET} John"], f"{SECRET}-unknown": f"{SECRET}-value"}


def anonymize(root: Path, folder: Path, split: str = "train", variant: str = "face-blur-medium") -> Path:
    """Run the stages up to a variant over a data set in COCO's layout; return the variant's folder."""
    dataset = Dataset(folder, split)
    convert(Coco({}).read(root, split), root, dataset.annotations, split)
    choose(dataset.annotations, split, RegionsConfig())
    write_json(dataset.data / "download.json", {"dataset": "press", "root": str(root.resolve())})
    return dataset.run(variant)


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of all files under a folder."""
    for name in manifests.files_under(folder):
        yield name, (folder / name).read_bytes()


def assert_silent(folder: Path, sources: list[str]) -> None:
    """Assert that neither a name nor a byte under a folder tells a secret, a source's hash or a seed."""
    found = list(everything(folder))
    assert found
    for name, data in found:
        for word in (SECRET, *sources):
            assert word not in name, name
            assert word.encode() not in data, f"{name} holds {word}"


def hashes_of_changed_sources(out: Path, split: str = "train") -> list[str]:
    """Return the sources' hashes of images with somebody in them; of the others the copy has the source's by nature."""
    rows = [row for row in manifests.rows_of(out, split) if row["type"] == "image"]
    found = [row["source_sha256"] for row in rows if row["action"] != "copied"]
    assert found
    return found


@pytest.fixture
def leaky(make_coco: Callable[..., Any], tmp_path: Path) -> Path:
    """Return a variant of a data set that says too much."""
    folder = make_coco(images=5)
    spoil(folder.json["train"])
    folder.save("train")
    return anonymize(folder.root, tmp_path / "study")


def run_export(*words: str) -> Any:
    """Run the command; an error that a user can cause is raised."""
    result = CliRunner().invoke(app, ["export", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_a_variant_names_neither_the_originals_nor_people(leaky: Path) -> None:
    assert_silent(leaky, hashes_of_changed_sources(leaky))
    assert {path.name for path in leaky.iterdir()} == {"train", "annotations"}
    coco = read_json(leaky / "annotations" / "train.json")
    assert coco["info"] == INFO
    assert coco["licenses"] == [{"id": 4, "url": "http://creativecommons.org/licenses/by/2.0/"}]
    assert [image.get("license") for image in coco["images"]] == [4, None, 4, None, 4]
    for what, entries in (("image", "images"), ("annotation", "annotations"), ("category", "categories")):
        for entry in coco[entries]:
            assert list(entry) == [key for key in KEPT[what] if key in entry]
    assert all(list(a["face"]) == ["bbox"] for a in coco["annotations"] if a["category_id"] == 1)


def test_what_is_left_out_is_counted_and_stays_with_the_annotations(leaky: Path) -> None:
    left = manifests.summary_of(leaky, "train")["left_out"]
    coco = read_json(leaky / "annotations" / "train.json")
    people = sum(a["category_id"] == 1 for a in coco["annotations"])
    assert left["image.flickr_url"] == left["image.gps"] == len(coco["images"]) == 5
    assert left["image.license"] == 2
    assert left["annotation.caption"] == left["annotation.identity"] == len(coco["annotations"])
    assert left["annotation.face.of"] == people
    assert left["info.contributor"] == 1
    assert (left["license.name"], left["license.url"]) == (2, 1)
    assert left[f"category.{SECRET}-unknown"] == 2
    kept = read_json(leaky.parents[1] / "annotations" / "train.json")
    assert all(image["flickr_url"].endswith(f"{SECRET}_z.jpg") for image in kept["images"])


def test_the_original_is_treated_alike(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    spoil(folder.json["train"])
    folder.save("train")
    files = [
        (anonymize(folder.root, tmp_path / "study", variant=variant) / "annotations" / "train.json").read_bytes()
        for variant in ("original", "face-blur-medium")
    ]
    assert files[0] == files[1]
    assert SECRET.encode() not in files[0]


def test_what_later_stages_read_is_kept(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    coco = folder.json["train"]
    coco["annotations"][0] |= {"subsets": ["easy", "hard"], "head": [1.0, 2.0, 2, 3.0, 4.0, 2]}
    coco["annotations"][2] |= {"iscrowd": 1, "ignore": 1}
    coco["annotations"][3] |= {"segmentation": []}
    coco["images"][0]["subsets"] = ["easy"]
    folder.save("train")
    out = anonymize(folder.root, tmp_path / "study")
    before, after = (read_json(f / "annotations" / "train.json") for f in (out.parents[1], out))
    assert after["annotations"] == before["annotations"]
    assert after["images"] == before["images"]
    assert after["categories"] == before["categories"]
    assert {key for a in after["annotations"] for key in a} >= {"mask_source", "ignore", "head", "subsets"}
    assert read_annotations(out / "annotations" / "train.json").subsets() == ["easy", "hard"]
    assert VariantSplit.read(out, "train").images_digest


KEYS = st.text(string.ascii_lowercase, min_size=1, max_size=6)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.just(SECRET), st.just(f"a{SECRET}z"))
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.just(SECRET), inner, max_size=3)
)
FREE = {("image", "file_name"), ("image", "subsets"), ("annotation", "subsets")} | {
    ("category", key) for key in ("name", "supercategory", "keypoints")
}
"""Keys whose text is the data set's own."""


def clips(make_coco: Callable[..., Any], tmp_path: Path) -> Path:
    """Write a variant of two clips (images 2, 4 and 1, 3, 5) and a still image; return its folder."""
    folder = make_coco(images=6)
    coco = folder.json["train"]
    coco["videos"] = [
        {"id": 9, "name": f"{SECRET} John", "action": "wave", f"{SECRET}-key": 1, "width": 64},
        {"id": 3, "name": f"{SECRET} Jane"},
    ]
    coco["actions"], coco["attributes"] = ["walk", "wave"], {f"{SECRET}-hair": [f"{SECRET}-grey"]}
    for number, (video, frame) in {2: (9, 0), 4: (9, 1), 1: (3, 0), 3: (3, 1), 5: (3, 2)}.items():
        coco["images"][number - 1] |= {"video_id": video, "frame_index": frame}
    folder.person()["attributes"] = {f"{SECRET}-hair": f"{SECRET}-grey"}
    folder.save("train")
    annotations, data = tmp_path / "annotations" / "small", tmp_path / "data" / "small"
    convert(Coco().read(folder.root, "train"), folder.root, annotations, "train")
    choose(annotations, "train", RegionsConfig())
    write_json(data / "download.json", {"dataset": "small", "root": str(folder.root)})
    out = tmp_path / "anonymized" / "small" / "body-mask_out"
    shard = ["--annotations", str(annotations), "--split", "train", "--variant", "body-mask_out", "--out", str(out)]
    for command in (["anonymize", "--data", str(data), *shard], ["merge", *shard]):
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    return out


def test_a_variant_keeps_clips_and_actions_but_neither_names_nor_attributes(
    make_coco: Callable[..., Any], tmp_path: Path
) -> None:
    variant = clips(make_coco, tmp_path)
    text = manifests.annotations_path(variant, "train").read_text()
    assert SECRET not in text
    written = json.loads(text)
    size = {"width": 64, "height": 48}
    assert written["videos"] == [{"id": 9, **size, "frames": 2, "action": "wave"}, {"id": 3, **size, "frames": 3}]
    assert written["actions"] == ["walk", "wave"]
    places = {image["id"]: (image.get("video_id"), image.get("frame_index")) for image in written["images"]}
    assert places == {1: (3, 0), 2: (9, 0), 3: (3, 1), 4: (9, 1), 5: (3, 2), 6: (None, None)}
    left_out = manifests.summary_of(variant, "train")["left_out"]
    expected = {"annotation.attributes": 1, "video.name": 2, f"video.{SECRET}-key": 1, f"attributes.{SECRET}-hair": 1}
    assert {key: left_out.get(key) for key in expected} == expected


def test_an_action_that_is_none_of_the_list_does_not_pass(tmp_path: Path) -> None:
    size = {"width": 64, "height": 48}
    videos = [{"id": 1, **size, "frames": 2, "action": f"{SECRET} waves"}]
    coco = {"images": [], "annotations": [], "categories": [], "videos": videos, "actions": ["wave", 7]}
    write_json(tmp_path / "x.json", coco)
    labels = Labels(tmp_path / "x.json")
    assert labels.videos == [{"id": 1, **size, "frames": 2}]
    assert labels.actions == ["wave"]
    assert labels.left_out["video.action"] == 1


def test_new_names_keep_clips_together_and_in_order(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    """The export is again a data set of clips that `annotate` takes."""
    variant = clips(make_coco, tmp_path)
    mapping = tmp_path / "mapping.csv"
    Export(variant, tmp_path / "export", mapping).run()
    written = read_json(tmp_path / "export" / "annotations" / "instances_train.json")
    assert [image["id"] for image in written["images"]] == [1, 2, 3, 4, 5, 6]
    with open(mapping, newline="") as stream:
        rows = list(csv.DictReader(stream))
    old = {kind: {int(r["id"]): int(r["source_id"]) for r in rows if r["kind"] == kind} for kind in ("image", "video")}
    places = {
        old["image"][image["id"]]: (old["video"][image["video_id"]], image["frame_index"])
        for image in written["images"]
        if "video_id" in image
    }
    assert places == {1: (3, 0), 2: (9, 0), 3: (3, 1), 4: (9, 1), 5: (3, 2)}
    assert {old["video"][v["id"]]: (v.get("action"), v["frames"]) for v in written["videos"]} == {
        9: ("wave", 2),
        3: (None, 3),
    }
    counts = convert(Coco().read(tmp_path / "export", "train"), tmp_path / "export", tmp_path / "again", "train")
    assert counts["images"] == 6


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_nothing_unlisted_passes_at_any_depth(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    base = {
        "image": {"id": 1, "file_name": "1.jpg", "width": 9, "height": 9},
        "annotation": {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4.5, 5]},
        "category": {"id": 1, "name": "person"},
        "license": {"id": 1, "url": "https://creativecommons.org/licenses/by/4.0/"},
    }

    def entry(what: str) -> dict[str, Any]:
        listed = [st.just(key) for key in KEPT[what]]
        extra = st.dictionaries(st.one_of(KEYS, st.just(SECRET), *listed), TREES, max_size=4)
        drawn = {key: value for key, value in data.draw(extra).items() if (what, key) not in FREE}
        return {**drawn, **base[what]}

    coco = {
        "info": data.draw(st.dictionaries(KEYS | st.just(SECRET), TREES, max_size=3)),
        "licenses": [entry("license"), *data.draw(st.lists(TREES, max_size=2))],
        "images": [entry("image")],
        "annotations": [entry("annotation")],
        "categories": [entry("category")],
    }
    for key in ("segmentation", "face"):
        if data.draw(st.booleans()):
            form = {"size": [9, 9], "counts": [81]} if key == "segmentation" else {"bbox": [1, 1, 2, 2]}
            coco["annotations"][0][key] = {**data.draw(st.dictionaries(KEYS | st.just(SECRET), TREES)), **form}
    folder = tmp_path_factory.mktemp("labels")
    source, target = folder / "a.json", folder / "b.json"
    source.write_text(json.dumps(coco))
    labels = Labels(source)
    labels.write(target)
    assert SECRET.encode() not in target.read_bytes()
    written = read_json(target)
    for what, entries in (("image", "images"), ("annotation", "annotations"), ("category", "categories")):
        (kept,) = written[entries]
        assert base[what].items() <= kept.items()
        counted = {key for key in labels.left_out if key.startswith(f"{what}.") and key.count(".") == 1}
        assert {f"{what}.{key}" for key in coco[entries][0].keys() - kept.keys()} == counted
    shutil.rmtree(folder)


def test_labels_that_are_none_are_named(tmp_path: Path) -> None:
    good = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    for change, said in (
        ({"images": [{"id": 3, "file_name": ["1.jpg"], "width": 4, "height": 4}]}, r"image 3: has no usable file_name"),
        ({"annotations": [{"id": 7, "image_id": 1}]}, r"annotation 7: has no usable category_id"),
        ({"annotations": [5]}, r"annotation: has no usable id"),
        ({"categories": [{"id": True, "name": "person"}]}, r"category: has no usable id"),
    ):
        (tmp_path / "a.json").write_text(json.dumps({**good, **change}))
        with pytest.raises(AnonbenchError, match=said):
            Labels(tmp_path / "a.json").write(tmp_path / "b.json")
        assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("place", ["X/V", "V", ".", "X/V/", "X/../V"])
def test_a_copy_of_the_variant_takes_no_manifest_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    working = tmp_path / "working"
    (working / "X").mkdir(parents=True)
    monkeypatch.chdir(working)
    out = Path(place)
    for path in (manifests.shard_path(out, "train", 0), manifests.summary_path(out, "train")):
        assert out.resolve() not in path.resolve().parents
        assert path.resolve().is_relative_to(out.resolve().parent / "private" / out.resolve().name)


def test_a_folder_of_the_earlier_layout_is_refused(leaky: Path) -> None:
    shutil.copytree(manifests.private_folder(leaky) / "manifests", leaky / "manifests")
    dataset = Dataset(leaky.parents[1])
    said = r"manifests: is of an earlier version: it names the originals .*; delete the variant.s folder"
    for refused in (
        lambda: dataset.shard("face-blur-medium").run(),
        lambda: manifests.verify(leaky, "train"),
        lambda: VariantSplit.read(leaky, "train"),
        lambda: Export(leaky, leaky.parents[1] / "handed-out").run(),
    ):
        with pytest.raises(AnonbenchError, match=said):
            refused()
    with pytest.raises(AnonbenchError, match="cannot be called 'private'"):
        dataset.run("face-blur-medium", leaky.parent / "private")


@pytest.mark.parametrize("rename", [False, True])
def test_export_writes_what_may_be_handed_out_alone(leaky: Path, tmp_path: Path, rename: bool) -> None:
    out, mapping = tmp_path / "release" / "data", tmp_path / "mapping.csv"
    options = ["--rename", str(mapping)] if rename else []
    said = run_export(str(leaky), "--out", str(out), "--split", "train", *options).output
    assert "train: 5 images, 9 annotations, 4 of 4 anonymized" in said
    assert ("lead whoever has it to the original" in said) == (not rename)
    assert (f"{mapping} says which image was which" in said) == rename
    seeds = {str(row["seed"]) for row in manifests.rows_of(leaky, "train") if row["type"] == "person"}
    assert len(seeds) == 4
    assert_silent(out, [*hashes_of_changed_sources(leaky), *seeds, str(leaky.parents[1]), "press"])
    names = set(manifests.files_under(out))
    pictures = {name for name in names if name.startswith("train/")}
    assert names - pictures == {SUMS, DATASHEET, "annotations/instances_train.json"}
    assert len(pictures) == 5
    checked = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=out, capture_output=True, check=True)
    assert checked.stdout.count(b": OK") == 7
    for path in (out, *out.rglob("*")):
        assert path.stat().st_mtime == TIME
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)
        assert path.is_dir() or path.stat().st_nlink == 1
    sheet = read_json(out / DATASHEET)
    of = sheet["splits"]["train"]
    assert (sheet["variant"], sheet["renamed"]) == ("face-blur-medium", rename)
    assert (of["method"], of["parameters"], of["share_changed"]) == ("blur", {"sigma": 7.0, "kernel": 21}, 1.0)
    assert of["people"]["by_category"]["person"] == {"people": 4, "anonymized": 4, "reasons": {}}
    assert list(tmp_path.glob("release/*")) == [out]
    assert list(tmp_path.glob("release/.*")) == []


def test_an_export_is_a_coco_data_set(leaky: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_export(str(leaky), "--out", str(out), "--rename", str(tmp_path / "m.csv"))
    coco = COCO(str(out / "annotations" / "instances_train.json"))
    assert len(coco.getImgIds()) == 5
    for image in coco.loadImgs(coco.getImgIds()):
        shape = images.read_rgb(out / "train" / image["file_name"]).shape
        assert shape == (image["height"], image["width"], 3)
    again = anonymize(out, tmp_path / "again")
    assert manifests.summary_of(again, "train")["people"] == manifests.summary_of(leaky, "train")["people"]
    assert manifests.summary_of(again, "train")["left_out"] == {"info.description": 1}


def test_new_names_are_random_and_keep_who_is_where(leaky: Path, tmp_path: Path) -> None:
    before = read_json(leaky / "annotations" / "train.json")
    orders = set()
    for attempt in range(6):
        out, mapping = tmp_path / f"out{attempt}", tmp_path / f"mapping{attempt}.csv"
        run_export(str(leaky), "--out", str(out), "--rename", str(mapping))
        assert stat.S_IMODE(mapping.stat().st_mode) == 0o600
        rows = list(csv.DictReader(mapping.open()))
        pictures = {int(r["source_id"]): r for r in rows if r["kind"] == "image"}
        entries = {int(r["source_id"]): int(r["id"]) for r in rows if r["kind"] == "annotation"}
        after = read_json(out / "annotations" / "instances_train.json")
        assert [image["id"] for image in after["images"]] == [1, 2, 3, 4, 5]
        assert [a["id"] for a in after["annotations"]] == list(range(1, 10))
        by_image = {image["id"]: image for image in after["images"]}
        by_id = {a["id"]: a for a in after["annotations"]}
        for image in before["images"]:
            row = pictures[image["id"]]
            new = by_image[int(row["id"])]
            assert new == {**image, "id": int(row["id"]), "file_name": row["name"]}
            assert row["source_name"] == image["file_name"]
            there, here = leaky / "train" / image["file_name"], out / "train" / row["name"]
            assert here.read_bytes() == there.read_bytes()
        for a in before["annotations"]:
            new = by_id[entries[a["id"]]]
            assert new == {**a, "id": entries[a["id"]], "image_id": int(pictures[a["image_id"]]["id"])}
        orders.add(tuple(int(pictures[i]["id"]) for i in sorted(pictures)))
    assert len(orders) > 1, "six draws of 120 orders agree once in 25 billion times"


def test_names_do_not_follow_the_seed_of_the_process(leaky: Path, tmp_path: Path) -> None:
    found = set()
    for attempt in range(6):
        random.seed(0)
        run_export(str(leaky), "--out", str(tmp_path / f"o{attempt}"), "--rename", str(tmp_path / f"m{attempt}"))
        found.add((tmp_path / f"m{attempt}").read_bytes())
    assert len(found) > 1


def test_two_splits_go_together(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    for split in ("train", "val"):
        leaky = anonymize(folder.root, tmp_path / "study", split)
    out = tmp_path / "out"
    Export(leaky, out).run()
    assert set(read_json(out / DATASHEET)["splits"]) == {"train", "val"}
    for split in ("train", "val"):
        assert len(Coco({}).read(out, split).images) == 3
    with pytest.raises(AnonbenchError, match=r"split 'test' was not anonymized in this variant \(splits: train, val\)"):
        Export(leaky, tmp_path / "other").run(["test"])


def test_export_refuses_what_would_leak(leaky: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("x")
    private = manifests.private_folder(leaky)
    for out, said in (
        (full, "exists and is not an empty folder"),
        (full / "mine", "exists and is not an empty folder"),
        (leaky, "overlaps the variant"),
        (leaky / "train" / "out", "overlaps the variant"),
        (leaky.parent, "overlaps the variant"),
        (private / "out", "overlaps what may not be handed out"),
    ):
        with pytest.raises(AnonbenchError, match=said):
            Export(leaky, out)
    for mapping, said in (
        (full / "mine", "exists; choose another"),
        (leaky / "mapping.csv", "would be handed out"),
        (tmp_path / "new" / "mapping.csv", "would be handed out"),
    ):
        with pytest.raises(AnonbenchError, match=said):
            Export(leaky, tmp_path / "new", mapping)
    with pytest.raises(AnonbenchError, match="has no manifest that says what is in it"):
        Export(full, tmp_path / "new").run()
    assert (full / "mine").read_text() == "x"
    (tmp_path / "empty").mkdir()
    Export(leaky, tmp_path / "empty").run()


@pytest.mark.parametrize("variant", ["original", "face-identity"])
def test_controls_are_not_exported(make_coco: Callable[..., Any], tmp_path: Path, variant: str) -> None:
    out = anonymize(make_coco().root, tmp_path / "study", variant=variant)
    with pytest.raises(AnonbenchError, match=r"is a control .*: nobody in it is anonymized"):
        Export(out, tmp_path / "out").run()
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.glob(".*")) == []


def test_people_left_visible_are_told_and_refused_under_strict(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.person()["keypoints"] = [0.0] * 51
    folder.save("train")
    out = anonymize(folder.root, tmp_path / "study")
    with pytest.raises(AnonbenchError, match="strict: 1 of 2 people are left visible"):
        run_export(str(out), "--out", str(tmp_path / "out"), "--strict")
    assert not (tmp_path / "out").exists()
    said = run_export(str(out), "--out", str(tmp_path / "out")).output
    assert "1 people are left visible (no_face_found 1); --strict refuses" in said
    sheet = read_json(tmp_path / "out" / DATASHEET)["splits"]["train"]
    assert sheet["people"]["by_category"]["person"]["reasons"] == {"no_face_found": 1}


def test_export_sees_what_was_edited(leaky: Path, tmp_path: Path) -> None:
    image = next((leaky / "train").iterdir())
    data = image.read_bytes()
    image.write_bytes(data[:-1] + b"\0")
    with pytest.raises(AnonbenchError, match="was edited after it was written"):
        Export(leaky, tmp_path / "out").run()
    image.write_bytes(data)
    (leaky / "train" / "more.jpg").write_bytes(data)
    with pytest.raises(AnonbenchError, match="does not belong"):
        Export(leaky, tmp_path / "out").run()
    (leaky / "train" / "more.jpg").unlink()
    labels = leaky / "annotations" / "train.json"
    labels.write_text(labels.read_text().replace("person", "Person", 1))
    with pytest.raises(AnonbenchError, match="was edited"):
        Export(leaky, tmp_path / "out").run()
    assert list(tmp_path.glob("*out*")) == list(tmp_path.glob(".*")) == []


def test_unlisted_keys_do_not_pass_even_from_a_variant_that_has_them(leaky: Path, tmp_path: Path) -> None:
    labels = leaky / "annotations" / "train.json"
    coco = read_json(labels)
    spoil(coco)
    labels.write_text(json.dumps(coco))
    summary = manifests.summary_of(leaky, "train")
    write_json(manifests.summary_path(leaky, "train"), {**summary, "annotations_sha256": sha256_file(labels)})
    Export(leaky, tmp_path / "out").run()
    assert_silent(tmp_path / "out", [])


def test_parameters_are_told_without_seeds_paths_and_texts(leaky: Path, tmp_path: Path) -> None:
    path = manifests.summary_path(leaky, "train")
    given = {"sigma": 7.0, "kind": "fp16", "sizes": [3, 4], "first_seed": 5, "prompts": [f"{SECRET} Jane"]}
    given |= {"weights": f"/home/{SECRET}/w.bin", "sha256": "a" * 64, "more": {"a": 1}}
    write_json(path, {**manifests.summary_of(leaky, "train"), "parameters": given, "weights_sha256": "b" * 64})
    Export(leaky, tmp_path / "out").run()
    of = read_json(tmp_path / "out" / DATASHEET)["splits"]["train"]
    assert of["parameters"] == {"sigma": 7.0, "kind": "fp16", "sizes": [3, 4]}
    assert of["parameters_withheld"] == ["first_seed", "more", "prompts", "sha256", "weights"]
    assert_silent(tmp_path / "out", ["a" * 64, "b" * 64, "home"])


KILLED = """
import os, signal, sys
from pathlib import Path
from anonbench.anonymize import export
count, at = 0, int(sys.argv[3])
def counted(real):
    def call(*args):
        global count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)
    return call
for name in ("write_bytes", "write_json", "write_text", "_neutral_times"):
    setattr(export, name, counted(getattr(export, name)))
os.rename = counted(os.rename)
export.Export(Path(sys.argv[1]), Path(sys.argv[2])).run()
"""


def test_killed_at_any_moment_and_run_again(leaky: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for at in range(1, 10):  # five images, datasheet, checksums, times, rename
        done = subprocess.run([sys.executable, "-c", KILLED, str(leaky), str(out), str(at)], check=False)
        assert done.returncode == -signal.SIGKILL
        assert not out.exists()
    Export(leaky, out).run()
    assert {p.name for p in tmp_path.glob("*out*")} == {"out"}
    assert [p.name for p in tmp_path.glob(".*")] == []
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=out, check=True)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    leaky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(AnonbenchError, match="free some space"):
        Export(leaky, tmp_path / "out").run()
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"no photographs in {PHOTOS}")
def test_photographs_lose_their_addresses(tmp_path: Path) -> None:
    source = read_json(PHOTOS / "annotations" / "instances_train2017.json")
    addresses = [image[key] for image in source["images"] for key in ("flickr_url", "coco_url") if key in image]
    assert len(source["images"]) == 133
    assert len(addresses) >= 133
    leaky = anonymize(PHOTOS, tmp_path / "study", "train2017")
    left = manifests.summary_of(leaky, "train2017")["left_out"]
    assert left["image.coco_url"] == left["image.flickr_url"] == left["image.date_captured"] == 133
    Export(leaky, tmp_path / "out", tmp_path / "mapping.csv").run()
    labels = [data for name, data in everything(tmp_path / "out") if not name.endswith((".jpg", ".png"))]
    labels.append((leaky / "annotations" / "train2017.json").read_bytes())
    for text in labels:
        assert not any(address.encode() in text for address in addresses)
        assert b"http" not in text.replace(b"http://creativecommons.org/licenses/", b"").replace(
            b"http://flickr.com/commons/usage/", b""
        ).replace(b"http://www.usa.gov/copyright.shtml", b"")
    names = [image["file_name"].encode() for image in source["images"]]
    exported = [data for name, data in everything(tmp_path / "out") if name.endswith((".json", SUMS))]
    assert not any(name in text for name in names for text in exported)


def test_licences_whose_urls_are_escaped_twice_are_kept(make_coco: Any, tmp_path: Path) -> None:
    folder = make_coco()
    url = "http:\\/\\/creativecommons.org\\/licenses\\/by\\/2.0\\/"
    folder.json["train"]["licenses"] = [{"id": 4, "name": "who knows", "url": url}]
    folder.json["train"]["images"][0]["license"] = 4
    folder.save("train")
    Export(anonymize(folder.root, tmp_path / "study", "train"), tmp_path / "out").run()
    coco = read_json(tmp_path / "out" / "annotations" / "instances_train.json")
    assert coco["licenses"] == [{"id": 4, "url": "http://creativecommons.org/licenses/by/2.0/"}]
    assert coco["images"][0]["license"] == 4
