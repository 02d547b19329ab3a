"""Data sets of videos: official lists become splits, frames are decoded once, labels reach their frames."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from anonbench import manifests, regions
from anonbench.datasets import hmdb51 as hmdb
from anonbench.datasets import ucf101 as ucf_layout
from anonbench.datasets import videos
from anonbench.datasets.base import DatasetAdapter, Split
from anonbench.datasets.hmdb51 import Hmdb51, read_labels, read_masks
from anonbench.datasets.ucf101 import Ucf101, read_actions, read_list
from anonbench.datasets.videos import Video, VideoOptions, frames_of, kept
from anonbench.download.fetch import download
from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.train.data import VariantSplit
from tests.datasets.stages import anonymized, command
from tests.fixtures import hmdb51, ucf101
from tests.fixtures.video_files import write_video


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    ucf101.write_official(tmp_path / "ucf")
    return tmp_path / "ucf"


@pytest.fixture
def hmdb_root(tmp_path: Path) -> Path:
    hmdb51.write_official(tmp_path / "hmdb")
    return tmp_path / "hmdb"


def made(plugin: DatasetAdapter, root: Path, target: Path, split: str = "train") -> Split:
    plugin.convert(root, target, [split])
    return plugin.read(target, split)


def first_pictures(folder: Path) -> Counter[bytes]:
    """Return the first frames of the videos that were decoded under a folder, by their pixels."""
    return Counter(np.asarray(cv2.imread(str(path))).tobytes() for path in folder.rglob("000000.png"))


def pictures_of(root: Path, names: list[str]) -> Counter[bytes]:
    """Return the first frames of video files."""
    return Counter(next(frames_of(root / name))[:, :, ::-1].tobytes() for name in names)


def whole(folder: Path, split: str, clips: dict[str, int]) -> Path:
    """Write a split of so many clips of each action, of which nothing but that is there."""
    (folder / split).mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    found: dict[str, Any] = {key: [] for key in ("images", "annotations", "categories")}
    of = [{"id": number, "action": name} for name, count in clips.items() for number in range(count)]
    text = json.dumps({**found, "info": {}, "videos": of, "actions": list(clips)})
    (folder / "annotations" / f"{split}.json").write_text(text)
    return folder


def edit(path: Path, change: Callable[[list[str]], Any]) -> None:
    lines = path.read_text().splitlines()
    change(lines)
    path.write_text("\n".join(lines) + "\n")


# Frames


def test_all_frames_of_a_video_are_decoded_in_order(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", 9)
    frames = list(frames_of(tmp_path / "a.avi"))
    assert len(frames) == 9
    assert {frame.shape for frame in frames} == {(32, 48, 3)}
    places = [int(np.flatnonzero(frame[16].astype(int).sum(1) > 300)[0]) for frame in frames]
    assert places == [2 * number for number in range(9)], "the block goes two pixels to the right in each"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, range(10)),
        ({"every": 3}, [0, 3, 6, 9]),
        ({"most": 4}, [3, 4, 5, 6]),
        ({"every": 2, "most": 3}, [2, 4, 6]),
        ({"most": 99}, range(10)),
    ],
)
def test_frames_that_are_kept(options: dict[str, Any], expected: Any, tmp_path: Path) -> None:
    chosen = VideoOptions(**options, format="png")
    assert kept(10, chosen) == list(expected)
    write_video(tmp_path / "v" / "a.avi", 10)
    videos.convert(
        tmp_path / "v", tmp_path / "out", "train", [Video("a.avi", "go")], chosen, sources=[], actions=["go"]
    )
    files = sorted((tmp_path / "out" / "train" / "000001").iterdir())
    assert [int(path.stem) for path in files] == list(expected)
    decoded = list(frames_of(tmp_path / "v" / "a.avi"))
    for path in files:
        assert (cv2.imread(str(path))[:, :, ::-1] == decoded[int(path.stem)]).all()
    split = videos.read(tmp_path / "out", "train")
    assert [image["frame_index"] for image in split.images] == list(range(len(files)))


def test_frames_are_scaled_by_their_shorter_side(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", 2, width=96, height=64)
    options = VideoOptions(shorter_side=16)
    videos.convert(tmp_path, tmp_path / "out", "x", [Video("a.avi", "go")], options, sources=[], actions=["go"])
    split = videos.read(tmp_path / "out", "x")
    assert {(image["width"], image["height"]) for image in split.images} == {(24, 16)}
    assert split.videos == [{"id": 1, "action": "go", "width": 24, "height": 16}]


def test_a_killed_conversion_continues_and_other_options_begin_anew(
    ucf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, seen = videos._decode, Counter[str]()

    def counting(path: Path, made: Path, options: VideoOptions) -> None:
        seen[path.name] += 1
        if sum(seen.values()) == 4:
            raise KeyboardInterrupt
        decode(path, made, options)

    monkeypatch.setattr(videos, "_decode", counting)
    with pytest.raises(KeyboardInterrupt):
        made(Ucf101({"most": 3}), ucf, tmp_path / "out")
    assert not (tmp_path / "out" / "annotations" / "train.json").exists()
    first = made(Ucf101({"most": 3}), ucf, tmp_path / "out")
    assert sorted(seen.values()) == [1, 1, 1, 1, 1, 2], "only the one that was under way is decoded again"
    again = made(Ucf101({"most": 3}), ucf, tmp_path / "out")
    assert sum(seen.values()) == 7
    assert again.images == first.images
    other = made(Ucf101({"most": 2}), ucf, tmp_path / "out")
    assert sum(seen.values()) == 13
    assert len(other.images) == 12


def test_frames_of_a_removal_that_was_killed_are_not_believed(
    ucf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first = made(Ucf101({"most": 3}), ucf, out)

    def killed(folder: Path) -> None:
        sorted((out / "train" / "000001").iterdir())[1].unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(videos.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            made(Ucf101({"most": 2}), ucf, out)
    again = made(Ucf101({"most": 3}), ucf, out)
    assert again.images == first.images


def test_a_video_that_cannot_be_read_is_named(ucf: Path, tmp_path: Path) -> None:
    broken = next((ucf / "UCF-101" / "Archery").glob("*g08*"))
    broken.write_bytes(b"no video")
    with pytest.raises(AnonbenchError, match=rf"{broken.name}: cannot be decoded .*; fetch the video again"):
        made(Ucf101(), ucf, tmp_path / "out")
    assert not (tmp_path / "out" / "annotations" / "train.json").exists()
    broken.unlink()
    with pytest.raises(AnonbenchError, match=rf"{broken.name}: is not on disk"):
        made(Ucf101(), ucf, tmp_path / "out")


def test_without_the_decoder_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(AnonbenchError, match="reading videos needs the package av"):
        next(frames_of(tmp_path / "a.avi"))


# UCF101


def actions_of(split: Split) -> Counter[str]:
    return Counter(video["action"] for video in split.videos)


def test_official_lists_become_splits(ucf: Path, tmp_path: Path) -> None:
    train, test = (made(Ucf101(), ucf, tmp_path / "out", split) for split in ("train", "test"))
    assert actions_of(train) == dict.fromkeys(ucf101.ACTIONS, 2)
    assert actions_of(test) == dict.fromkeys(ucf101.ACTIONS, 1)
    assert train.actions == test.actions == list(ucf101.ACTIONS)
    assert len(train.images) == 6 * ucf101.FRAMES
    order = [video["action"] for video in train.videos]
    assert order != sorted(order), "numbers do not tell the action"
    for annotation in train.annotations:
        assert annotation["iscrowd"] == 1
        assert annotation["bbox"] == [0, 0, 48, 32]


def test_groups_are_kept_apart_to_choose_by(ucf: Path, tmp_path: Path) -> None:
    options = {"val_groups": 1}
    train, val = (made(Ucf101(options), ucf, tmp_path / "out", split) for split in ("train", "val"))
    assert actions_of(train) == actions_of(val) == dict.fromkeys(ucf101.ACTIONS, 1)
    key = read_json(tmp_path / "out" / "val" / videos.KEY)
    assert all("_g09_" in name for name in key["videos"])
    with pytest.raises(AnonbenchError, match=r"val_groups 2 leaves none to train on"):
        made(Ucf101({"val_groups": 2}), ucf, tmp_path / "out")
    with pytest.raises(AnonbenchError, match=r"no split to choose by of its own; set val_groups"):
        made(Ucf101(), ucf, tmp_path / "out", "val")


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("classInd.txt", lambda lines: lines.pop(0), r"classInd.txt, line 1: '2 Archery' is not '1 <action>'"),
        ("classInd.txt", lambda lines: lines.append("4 Archery"), r"line 4: '4 Archery' is not '4 <action>' of an"),
        ("trainlist01.txt", lambda lines: lines.append("x.avi 1"), r"line 7: 'x.avi' is not <action>/v_<action>"),
        ("trainlist01.txt", lambda lines: lines.append(lines[0]), r"line 7: .* stands there already"),
        (
            "trainlist01.txt",
            lambda lines: lines.append("Swim/v_Swim_g09_c01.avi 1"),
            r"line 7: 'Swim' is none of the actions",
        ),
        (
            "trainlist01.txt",
            lambda lines: lines.append("Archery/v_Archery_g11_c01.avi 3"),
            r"line 7: '3' is not the number of Archery",
        ),
    ],
)
def test_lists_of_another_form_are_named(ucf: Path, tmp_path: Path, file: str, change: Any, said: str) -> None:
    edit(ucf / "ucfTrainTestlist" / file, change)
    with pytest.raises(AnonbenchError, match=said):
        made(Ucf101(), ucf, tmp_path / "out")


def test_each_official_split_of_ucf101_has_the_clips_of_its_own_lists(ucf: Path, tmp_path: Path) -> None:
    members = {}
    for fold in (1, 2, 3):
        for split in ("train", "test"):
            lines = (ucf / ucf_layout.LISTS / f"{split}list{fold:02d}.txt").read_text().splitlines()
            listed = pictures_of(ucf / ucf_layout.VIDEOS, [line.split()[0] for line in lines])
            out = tmp_path / f"{fold}"
            made(Ucf101({"fold": fold, "every": 99, "format": "png"}), ucf, out, split)
            assert first_pictures(out / split) == listed, (fold, split)
            assert max(listed.values()) == 1, "each video has pictures of its own"
            members[fold, split] = {*listed}
        assert not members[fold, "train"] & members[fold, "test"]
    for split in ("train", "test"):
        assert len({frozenset(members[fold, split]) for fold in (1, 2, 3)}) == 3


def test_another_official_split_needs_its_lists(ucf: Path, tmp_path: Path) -> None:
    (ucf / ucf_layout.LISTS / "trainlist02.txt").unlink()
    with pytest.raises(AnonbenchError, match=r"trainlist02.txt: no such file"):
        made(Ucf101({"fold": 2}), ucf, tmp_path / "out")
    actions = read_actions(ucf / "ucfTrainTestlist" / "classInd.txt")
    assert len(read_list(ucf / "ucfTrainTestlist" / "testlist01.txt", actions)) == 3


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_a_part_of_ucf101_is_told_and_the_whole_is_not(fold: int, ucf: Path, tmp_path: Path) -> None:
    plugin, official = Ucf101({"fold": fold}), ucf_layout.CLIPS[fold]
    assert sum(official.values()) == 13_320
    for split, clips in (("train", 6), ("test", 3)):
        assert made(plugin, ucf, tmp_path / "part", split).warnings == [
            "ucfTrainTestlist/classInd.txt has 3 actions; the data set has 101",
            f"ucfTrainTestlist/{split}list0{fold}.txt has {clips} clips; the official one has {official[split]}",
        ]
        everything = {"0": official[split] - 100, **{str(action): 1 for action in range(1, 101)}}
        assert plugin.read(whole(tmp_path / "whole", split, everything), split).warnings == []
    apart = Ucf101({"fold": fold, "val_groups": 1})
    for split in ("train", "val"):
        (told,) = made(apart, ucf, tmp_path / "apart", split).warnings
        assert told.endswith("the data set has 101"), "of a list that is divided nobody knows the parts"


# HMDB51


def test_masks_become_splits(hmdb_root: Path, tmp_path: Path) -> None:
    masks, sources = read_masks(hmdb_root / hmdb.LISTS, 1)
    assert Counter(mask for of in masks.values() for mask in of.values()) == {0: 2, 1: 4, 2: 4}
    assert [path.name for path in sources] == ["brush_hair_test_split1.txt", "wave_test_split1.txt"]
    for split, count in (("train", 2), ("test", 2), ("rest", 1)):
        assert actions_of(made(Hmdb51(), hmdb_root, tmp_path / "out", split)) == dict.fromkeys(hmdb51.ACTIONS, count)
    for path in (hmdb_root / hmdb.LISTS).glob("*_test_split3.txt"):
        path.unlink()
    with pytest.raises(AnonbenchError, match=r"has no lists \*_test_split3.txt"):
        made(Hmdb51({"fold": 3}), hmdb_root, tmp_path / "out")


def test_each_official_split_of_hmdb51_has_the_clips_of_its_own_lists(hmdb_root: Path, tmp_path: Path) -> None:
    members = {}
    for fold in (1, 2, 3):
        masks: dict[str, list[str]] = {}
        for action in hmdb51.ACTIONS:
            for line in (hmdb_root / hmdb.LISTS / f"{action}_test_split{fold}.txt").read_text().splitlines():
                name, mask = line.split()
                masks.setdefault(mask, []).append(f"{action}/{name}")
        for split, mask in (("train", "1"), ("test", "2"), ("rest", "0")):
            listed = pictures_of(hmdb_root / hmdb.FOLDERS[0], masks[mask])
            out = tmp_path / f"{fold}"
            made(Hmdb51({"fold": fold, "every": 99, "format": "png"}), hmdb_root, out, split)
            assert first_pictures(out / split) == listed, (fold, split)
            assert max(listed.values()) == 1, "each video has pictures of its own"
            members[fold, split] = {*listed}
    for split in hmdb.SPLITS:
        assert len({frozenset(members[fold, split]) for fold in (1, 2, 3)}) == 3


def test_a_part_of_hmdb51_is_told_and_the_whole_is_not(hmdb_root: Path, tmp_path: Path) -> None:
    actions = "testTrainMulti_7030_splits has lists of 2 actions; the data set has 51"
    for split, official in (("train", 70), ("test", 30)):
        other = f"actions another number of clips in {split} than {official}, such as"
        assert made(Hmdb51(), hmdb_root, tmp_path / "part", split).warnings == [
            actions,
            f"testTrainMulti_7030_splits gives 2 of 2 {other} brush_hair with 2",
        ]
        of_each = {str(action): official for action in range(51)}
        assert Hmdb51().read(whole(tmp_path / "whole", split, of_each), split).warnings == []
        less = whole(tmp_path / "less", split, {**of_each, "7": 0})
        assert Hmdb51().read(less, split).warnings == [f"testTrainMulti_7030_splits gives 1 of 51 {other} 7 with 0"]
    labelled = Hmdb51({"labels": True})
    for split in ("rest", "pa_test", "pa_train"):
        assert made(labelled, hmdb_root, tmp_path / "part", split).warnings == [actions]


def test_labels_of_people_reach_their_frames(hmdb_root: Path, tmp_path: Path) -> None:
    plugin = Hmdb51({"labels": True, "every": 2})
    split = made(plugin, hmdb_root, tmp_path / "out", "pa_test")
    assert actions_of(split) == dict.fromkeys(hmdb51.ACTIONS, 2)
    frames = {image["id"]: image["frame_index"] for image in split.images}
    said = {frames[a["image_id"]]: a["attributes"] for a in split.annotations}
    common = {"skin_color": "several", "relationship": "unidentifiable", "nudity": "partial"}
    assert said == {
        0: {**common, "face": "complete", "gender": "male"},
        1: {**common, "face": "partial", "gender": "male"},
        2: {**common, "gender": "female"},
    }, "frames 0, 2 and 4 of the video; of its face nothing is said after frame 3"
    others = made(plugin, hmdb_root, tmp_path / "out", "pa_train")
    assert actions_of(others) == dict.fromkeys(hmdb51.ACTIONS, 3)
    assert not any("attributes" in annotation for annotation in others.annotations)
    with pytest.raises(AnonbenchError, match=r"'pa_test' is a split of PA-HMDB51"):
        Hmdb51().read(tmp_path / "out", "pa_test")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda of: of.update(face=[[0, 5, 3]]), "has no ranges of frames with a value of face"),
        (lambda of: of.update(face=[[3, 2, 1]]), "has no ranges of frames with a value of face"),
        (lambda of: of.update(face=[[0, 5, [1, 2]]]), "has no ranges of frames with a value of face"),
        (lambda of: of.update(gender=[[0, 5, []]]), "has no ranges of frames with a value of gender"),
        (lambda of: of.pop("nudity"), "has no ranges of frames with a value of nudity"),
    ],
)
def test_labels_of_another_form_are_named(hmdb_root: Path, change: Any, said: str) -> None:
    path = hmdb_root / hmdb.LABELS / "wave.json"
    value = read_json(path)
    name = next(iter(value))
    change(value[name])
    path.write_text(json.dumps(value))
    with pytest.raises(AnonbenchError, match=said) as error:
        read_labels(hmdb_root / hmdb.LABELS)
    assert error.value.entry == name


def test_labels_of_unknown_videos_and_masks_of_another_form_are_named(hmdb_root: Path, tmp_path: Path) -> None:
    path = hmdb_root / hmdb.LABELS / "wave.json"
    value = read_json(path)
    path.write_text(json.dumps({**value, "other.avi": hmdb51.SAID}))
    with pytest.raises(AnonbenchError, match=r"wave.json, other.avi: is no video of the action"):
        made(Hmdb51({"labels": True}), hmdb_root, tmp_path / "out")
    path.rename(path.with_name("waves.json"))
    with pytest.raises(AnonbenchError, match=r"waves.json: is of no action of HMDB51 \(did you mean 'wave'"):
        made(Hmdb51({"labels": True}), hmdb_root, tmp_path / "out")
    edit(hmdb_root / hmdb.LISTS / "wave_test_split1.txt", lambda lines: lines.append("new.avi 3"))
    with pytest.raises(AnonbenchError, match=r"line 6: 'new.avi 3' is not the name of a video and 0, 1 or 2"):
        made(Hmdb51(), hmdb_root, tmp_path / "out")


# The stages


def test_download_decodes_and_later_stages_read_frames(ucf: Path, tmp_path: Path) -> None:
    data = tmp_path / "data" / "ucf101"
    record = download("ucf101", "ucf101", ucf, {"most": 4}, ["train", "test"], data)
    assert record["root"] == "."
    assert record["converted"] == str(ucf)
    assert record["splits"]["train"]["images"] == 24
    again = download("ucf101", "ucf101", ucf, {"most": 4}, ["train", "test"], data)
    assert again == record
    less = download("ucf101", "ucf101", ucf, {"most": 2}, ["train", "test"], data)
    assert less["splits"]["train"]["images"] == 12
    assert len(list((data / "train").rglob("*.jpg"))) == 12
    with pytest.raises(AnonbenchError, match=r"cannot be fetched automatically; get UCF101.rar"):
        download("ucf101", "ucf101", None, {}, ["train"], tmp_path / "none")


@pytest.mark.parametrize("variant", ["frame-downsample-2x", "body-mask_out"])
def test_whole_frames_are_changed_and_actions_stay(ucf: Path, tmp_path: Path, variant: str) -> None:
    out = anonymized("ucf101", ucf, "train", variant, tmp_path)
    written = VariantSplit.read(out, "train", clips=True)
    assert len(written.clips) == 6
    assert written.actions == ucf101.ACTIONS
    assert Counter(written.actions[clip.action] for clip in written.clips if clip.action is not None) == dict.fromkeys(
        ucf101.ACTIONS, 2
    )
    people = manifests.summary_of(out, "train")["people"]["by_category"]["person"]
    assert people["anonymized"] == people["people"] == len(written.samples)
    text = manifests.annotations_path(out, "train").read_text()
    assert ".avi" not in text
    assert "_g08_" not in text
    if variant == "body-mask_out":
        pixels = cv2.imread(str(written.samples[0].path))
        assert pixels.std() < 2, "nobody says where people are: all of the frame may be somebody"


def test_labels_reach_the_table_of_people_and_no_variant(hmdb_root: Path, tmp_path: Path) -> None:
    data, annotations = tmp_path / "data" / "h", tmp_path / "annotations" / "h"
    given = ("--root", hmdb_root, "--options", json.dumps({"labels": True}), "--adapter", "hmdb51")
    command("download", "--dataset", "h", "--splits", "pa_test", "--out", data, *given)
    command("annotate", "--data", data, "--split", "pa_test", "--out", annotations)
    rows = regions.read(annotations / "pa_test.people.parquet", regions.PEOPLE).to_pylist()
    assert len(rows) == 24
    assert {json.loads(row["attributes"])["skin_color"] for row in rows} == {"several"}
