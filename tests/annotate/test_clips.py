"""Clips, actions and attributes: kept in JSON and tables, or refused in one sentence where they do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from anonbench import regions
from anonbench.annotate.image_files import Gate
from anonbench.annotate.options import OnBadImage
from anonbench.annotate.people import convert
from anonbench.anonymize.labels import Labels
from anonbench.datasets.coco import Coco
from anonbench.errors import AnonbenchError
from anonbench.files import read_json

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def clips(make_coco: Callable[..., Any]) -> Any:
    """Six images: video 9 (frames 2, 4, 6 in the order of their ids), video 3 (1 and 5) and a still image, 3."""
    folder = make_coco(images=6)
    coco = folder.json["train"]
    coco["videos"] = [{"id": 9, "name": "John waves", "action": "wave"}, {"id": 3, "name": "b", "fps": 8}]
    coco["actions"] = ["walk", "wave"]
    coco["attributes"] = {"glasses": ["none", "round"], "hair": {"dark": "black or brown", "grey": ""}}
    for number, (video, frame) in {2: (9, 0), 4: (9, 1), 6: (9, 2), 1: (3, 0), 5: (3, 1)}.items():
        coco["images"][number - 1] |= {"video_id": video, "frame_index": frame}
    folder.person(number=0)["attributes"] = {"hair": "grey", "glasses": "none"}
    folder.person(number=1)["attributes"] = {"glasses": "round"}
    folder.save("train")
    return folder


def annotated(folder: Any, out: Path, **gate: Any) -> dict[str, Any]:
    """Annotate the training split and return its counts."""
    folder.save("train")
    return convert(Coco().read(folder.root, "train"), folder.root, out, "train", Gate(**gate))


def rows(out: Path, name: str) -> list[dict[str, Any]]:
    schema = {"images": regions.IMAGES, "people": regions.PEOPLE}[name]
    return regions.read(out / f"train.{name}.parquet", schema).to_pylist()


def test_clips_and_labels_are_written(clips: Any, tmp_path: Path) -> None:
    annotated(clips, tmp_path)
    table = {row["image_id"]: (row["video_id"], row["frame_index"]) for row in rows(tmp_path, "images")}
    assert table == {1: (3, 0), 2: (9, 0), 3: (None, None), 4: (9, 1), 5: (3, 1), 6: (9, 2)}
    people = [row["attributes"] for row in rows(tmp_path, "people")]
    assert people == ['{"glasses": "none", "hair": "grey"}', '{"glasses": "round"}', None, None, None]
    written = read_json(tmp_path / "train.json")
    size = {"width": 64, "height": 48}
    assert written["videos"] == [
        {"id": 9, "name": "John waves", "action": "wave", **size, "frames": 3},
        {"id": 3, "name": "b", "fps": 8, **size, "frames": 2},
    ]
    assert written["actions"] == ["walk", "wave"]
    meanings = {"glasses": {"none": "", "round": ""}, "hair": {"dark": "black or brown", "grey": ""}}
    assert written["attributes"] == meanings
    assert written["images"][1] | {"video_id": 9, "frame_index": 0} == written["images"][1]
    assert written["annotations"][0]["attributes"] == {"hair": "grey", "glasses": "none"}
    facts = regions.facts_of(tmp_path / "train.images.parquet")
    assert facts["actions"] == ["walk", "wave"]
    assert facts["attributes"] == meanings
    assert [video["frames"] for video in facts["videos"]] == [3, 2]


def test_kinds_of_actions_are_written_and_reach_a_variant(clips: Any, tmp_path: Path) -> None:
    clips.json["train"]["action_kinds"] = {"wave": "hands", "walk": "legs"}
    annotated(clips, tmp_path)
    assert list(read_json(tmp_path / "train.json")["action_kinds"].items()) == [("walk", "legs"), ("wave", "hands")]
    assert regions.facts_of(tmp_path / "train.images.parquet")["action_kinds"] == {"walk": "legs", "wave": "hands"}
    labels = Labels(tmp_path / "train.json")
    labels.write(tmp_path / "variant.json")
    assert read_json(tmp_path / "variant.json")["action_kinds"] == {"walk": "legs", "wave": "hands"}


def test_kinds_that_are_not_of_all_actions_do_not_pass(tmp_path: Path) -> None:
    videos = [{"id": 1, "width": 64, "height": 48, "frames": 2, "action": "wave"}]
    coco = {"images": [], "annotations": [], "categories": [], "videos": videos, "actions": ["walk", "wave"]}
    for kinds in ({"wave": "hands"}, {"wave": "hands", "walk": 3}, {"wave": "hands", "walk": "legs", "x": "y"}):
        (tmp_path / "x.json").write_text(json.dumps({**coco, "action_kinds": kinds}))
        labels = Labels(tmp_path / "x.json")
        assert labels.action_kinds == {}
        assert sum(labels.left_out.values()) >= len(kinds)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ({"walk": "a", "fly": "b"}, "action_kinds: 'fly' is not among the file's actions"),
        ({"walk": "a"}, "action_kinds: has no kind of the action 'wave'"),
        ({"walk": "a", "wave": 3}, "action_kinds: 3 is not a string of printable characters"),
        ({"walk": "wave", "wave": "b"}, "action_kinds: has the kind 'wave', which is an action"),
    ],
)
def test_wrong_kinds_are_refused(clips: Any, tmp_path: Path, kinds: dict[str, Any], said: str) -> None:
    clips.json["train"]["action_kinds"] = kinds
    with pytest.raises(AnonbenchError, match=said):
        annotated(clips, tmp_path)
    assert not (tmp_path / "train.json").exists()


def test_a_data_set_of_still_images_says_nothing_of_clips(make_coco: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_coco()
    folder.person()["attributes"] = {"occluded": False}  # as annotation tools write, which no list explains
    annotated(folder, tmp_path)
    assert not {"videos", "actions", "attributes"} & read_json(tmp_path / "train.json").keys()
    assert regions.facts_of(tmp_path / "train.images.parquet") == {}
    assert {row["attributes"] for row in rows(tmp_path, "people")} == {None}
    assert {(row["video_id"], row["frame_index"]) for row in rows(tmp_path, "images")} == {(None, None)}


def frame(number: int, **change: Any) -> Change:
    return lambda coco: coco["images"][number - 1].update(change)


def without_frame(number: int) -> Change:
    def change(coco: dict[str, Any]) -> None:
        coco["images"] = [image for image in coco["images"] if image["id"] != number]
        coco["annotations"] = [entry for entry in coco["annotations"] if entry["image_id"] != number]

    return change


def person(**attributes: Any) -> Change:
    return lambda coco: coco["annotations"][0].update(attributes=attributes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_frame(4), "video 9: frame 1 is missing; number the frames"),
        (without_frame(2), "video 9: frame 0 is missing"),
        (frame(2, frame_index=-1), "video 9: has a frame -1"),
        (frame(6, frame_index=1), r"video 9: duplicate frame 1 \(image 6\); list each frame"),
        (frame(6, frame_index=0), r"video 9: duplicate frame 0 \(image 6\)"),
        (lambda coco: (frame(2, frame_index=1)(coco), frame(4, frame_index=0)(coco)),
         r"video 9: frame 0 \(image 4\) comes after frame 1; list each frame of a video once, in the order of time"),
        (frame(4, frame_index=None), "image 4: has the frame_index None; number"),
        (frame(4, frame_index="1"), "image 4: has the frame_index '1'"),
        (frame(4, frame_index=True), "image 4: has the frame_index True"),
        (frame(4, video_id=77), "image 4: belongs to video 77, which is not in the file; add"),
        (frame(4, video_id=None), "image 4: belongs to video None, which is not in the file"),
        (lambda coco: coco.pop("videos"), "image 1: belongs to video 3, which is not in the file"),
        (frame(6, width=63), "video 9: has frames of different sizes: image 6 is 63x48 and not 64x48; cut"),
        (lambda coco: coco["videos"][0].update(height=50), "image 2 is 64x48 and not 64x50"),
        (lambda coco: coco["videos"][0].update(width=None), "video 9: has the size Nonex48; write the pixels"),
        (lambda coco: coco["videos"][0].update(width=float("inf")), "video 9: has the size infx48; write"),
        (lambda coco: coco["videos"][0].update(width="64"), "video 9: has the size '64'x48; write"),
        (lambda coco: coco["videos"].append({"id": 9, "name": "c"}), "duplicate video id 9"),
        (lambda coco: coco["videos"].append({"id": 4, "name": "c"}), "video 4: has no frames; add its images"),
        (lambda coco: coco["videos"].append({"name": "c"}), "video number 2: has no integer id"),
        (lambda coco: coco["videos"][1].update(name=5), "video 3: has the name 5; write"),
        (lambda coco: coco.update(videos={"a": 1}), "has no list of video entries"),
        (lambda coco: coco["videos"][0].update(action="waves"),
         r"video 9: has the action 'waves', which is not among the file's actions \(did you mean 'wave'\?\); correct"),
        (lambda coco: coco["videos"][0].update(action=["wave"]), r"video 9: has the action \['wave'\], which is not"),
        (lambda coco: coco.pop("actions"), "video 9: has the action 'wave', which is not among"),
        (lambda coco: coco.update(actions=["wave", 3]), "actions: 3 is not a string of printable characters"),
        (lambda coco: coco.update(actions=["wave", "wave"]), "actions: duplicate 'wave'; list different names"),
        (person(glass="none"), r"annotation 10: has the attribute 'glass'.*\(did you mean 'glasses'\?\); correct"),
        (person(glasses="square"), r"annotation 10: has glasses 'square', which is not among its values .*; correct"),
        (person(glasses=1), "annotation 10: has glasses 1, which is not among its values"),
        (lambda coco: coco["annotations"][0].update(attributes=["a"]), r"annotation 10: has the attributes \['a'\]"),
        (lambda coco: coco["attributes"].update(bag=[]), r"attribute bag: has the values \[\]; list the values"),
        (lambda coco: coco["attributes"].update(bag="big"), "attribute bag: has the values 'big'"),
        (lambda coco: coco["attributes"].update(bag=["a", "a"]), "attribute bag: duplicate 'a'"),
    ],
)  # fmt: skip
def test_contradictions_are_one_sentence(clips: Any, tmp_path: Path, change: Change, said: str) -> None:
    change(clips.json["train"])
    with pytest.raises(AnonbenchError, match=said) as error:
        annotated(clips, tmp_path / "out")
    assert error.value.file == clips.root / "annotations" / "instances_train.json"
    assert not list(tmp_path.glob("out/*"))


def test_a_clip_with_a_bad_frame_is_skipped_whole(clips: Any, tmp_path: Path) -> None:
    (clips.root / "train" / "000004.jpg").write_bytes(b"")
    with pytest.raises(AnonbenchError, match=r"image 4 \(000004.jpg\): is empty"):
        annotated(clips, tmp_path)
    counts = annotated(clips, tmp_path, on_bad_image=OnBadImage.SKIP)
    assert counts["images"] == 3
    assert [row["image_id"] for row in rows(tmp_path, "images")] == [1, 3, 5]
    assert [video["id"] for video in read_json(tmp_path / "train.json")["videos"]] == [3]
    facts = regions.facts_of(tmp_path / "train.images.parquet")
    assert [video["id"] for video in facts["videos"]] == [3]
    reasons = {one["image_id"]: one["reason"] for one in facts["skipped"]}
    assert reasons[4] == "is empty"
    assert reasons[2] == reasons[6] == "is of video 9, of which image 4 cannot be used"


def test_sizes_that_json_writes_as_floats_reach_a_variant(clips: Any, tmp_path: Path) -> None:
    coco = clips.json["train"]
    coco["videos"][0] |= {"width": 64.0, "height": 48.0}
    clips.save("train")
    annotated(clips, tmp_path)
    (video, _) = Labels(tmp_path / "train.json").videos
    assert (video["width"], video["height"]) == (64, 48)


@pytest.mark.parametrize("shards", [1, 2, 3, 4, 7])
def test_no_shard_cuts_a_video(clips: Any, tmp_path: Path, shards: int) -> None:
    annotated(clips, tmp_path)
    table = regions.read(tmp_path / "train.images.parquet", regions.IMAGES)
    parts = [regions.shard_of(table, shard, shards)["image_id"].to_pylist() for shard in range(shards)]
    assert sorted(number for part in parts for number in part) == [1, 2, 3, 4, 5, 6]
    for video in ({2, 4, 6}, {1, 5}):
        assert sum(not video.isdisjoint(part) for part in parts) == 1
    if shards == 2:
        assert sorted(map(len, parts)) in ([2, 4], [3, 3])


def test_still_images_go_to_the_shards_that_they_went_to() -> None:
    """The places are those of the rule without videos: the middle of an image's bytes decides."""
    sizes = np.random.default_rng(0).integers(1, 1000, 50)
    start = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    table = pa.table({"bytes": sizes, "start": start, "video_id": pa.nulls(50, pa.int64())})
    for shard in range(7):
        expected = sizes[(start + sizes // 2) * 7 // sizes.sum() == shard]
        assert regions.shard_of(table, shard, 7)["bytes"].to_pylist() == expected.tolist()


def test_the_bytes_of_a_clip_stand_together(clips: Any, tmp_path: Path) -> None:
    annotated(clips, tmp_path)
    table = rows(tmp_path, "images")
    by_place = sorted(table, key=lambda row: row["start"])
    assert [row["image_id"] for row in by_place] == [1, 5, 2, 4, 6, 3]
    assert [row["image_id"] for row in table] == [1, 2, 3, 4, 5, 6]
    assert all(a["start"] + a["bytes"] == b["start"] for a, b in pairwise(by_place))


def test_meanings_are_text(clips: Any, tmp_path: Path) -> None:
    clips.json["train"]["attributes"]["height"] = {"tall": 1.9}
    annotated(clips, tmp_path)
    facts = regions.facts_of(tmp_path / "train.images.parquet")
    assert facts["attributes"]["height"] == {"tall": "1.9"}
    assert json.loads((tmp_path / "train.json").read_text())["attributes"]["height"] == {"tall": "1.9"}
