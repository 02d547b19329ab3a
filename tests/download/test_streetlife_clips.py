"""Clips of streetlife: motion without jumps, everybody annotated in all frames, and actions that no attribute tells."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from anonbench import regions
from anonbench.config import Study
from anonbench.datasets.streetlife import Options, Scene, attributes, clips, render_split
from anonbench.datasets.streetlife.actions import ACTIONS, DETAILS, MOTIONS, manner_of
from anonbench.datasets.streetlife.dice import Dice
from anonbench.datasets.streetlife.figure import figure
from anonbench.datasets.streetlife.geometry import Camera
from anonbench.datasets.streetlife.light import Tone
from anonbench.datasets.streetlife.motion import LEG
from anonbench.datasets.streetlife.sprite import Canvas
from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from tests.fixtures import clips as fixture
from tests.workflow.conftest import TINY_MODEL

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")

SMALL = Options(**fixture.OPTIONS)
PINNED = "a73578066a242ac6d51b4e3174b36a2a32f21d5463683b075694e3a3017f6c05"
"""sha256 of the pixels of the fixture's training clips; a change of the drawing code changes it: look at the clips."""


@pytest.fixture(scope="module")
def rendered() -> dict[int, tuple[str, list[Scene]]]:
    """The training clips of the fixture: action and frames by number."""
    made = {index: clips.render_clip(SMALL, "train", index) for index in range(1, 9)}
    return {index: (clip.action, list(clip.frames)) for index, clip in made.items()}


def people(scene: Scene) -> dict[int, dict[str, Any]]:
    return {record["identity"]: record for record in scene.objects if "identity" in record}


def test_pixels_are_pinned(rendered: dict[int, tuple[str, list[Scene]]]) -> None:
    digest = hashlib.sha256()
    for _, frames in rendered.values():
        for scene in frames:
            digest.update(scene.image.tobytes())
    assert digest.hexdigest() == PINNED


def test_a_clip_depends_on_no_other(rendered: dict[int, tuple[str, list[Scene]]]) -> None:
    more = Options(**{**fixture.OPTIONS, "clips": {"train": 80, "val": 1}})
    again = list(clips.render_clip(more, "train", 5).frames)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(again, rendered[5][1], strict=True))
    other = next(clips.render_clip(SMALL, "val", 5).frames)
    assert not np.array_equal(other.image, again[0].image)


def test_everybody_is_annotated_in_every_frame(rendered: dict[int, tuple[str, list[Scene]]]) -> None:
    for index, (action, frames) in rendered.items():
        said, cast = clips.cast_of(SMALL, "train", index)
        assert said == action
        things = [sorted(record["category_id"] for record in scene.objects) for scene in frames]
        assert all(one == things[0] for one in things)
        for scene in frames:
            found = people(scene)
            assert set(found) == {who.number for who in cast}
            for who in cast:
                assert found[who.number]["attributes"] == attributes.of(who, SMALL)
                assert (found[who.number]["category_id"] == clips.RIDER) == (action == "cycle")


def test_the_background_stands_still_and_people_move(rendered: dict[int, tuple[str, list[Scene]]]) -> None:
    for action, frames in rendered.values():
        here = np.zeros(frames[0].image.shape[:2], bool)
        moved = 0.0
        for before, after in itertools.pairwise(frames):
            for record in (*before.objects, *after.objects):
                x, y, w, h = (int(v) for v in record["bbox"])
                here[y : y + h, x : x + w] |= "identity" in record
            pairs = [(people(before)[number], people(after)[number]) for number in people(before)]
            masks = [(coco_mask.decode(a["segmentation"]), coco_mask.decode(b["segmentation"])) for a, b in pairs]
            moved = max(moved, *(float((a != b).sum() / a.sum()) for a, b in masks))
        assert moved > 0.02, action
        first, last = (scene.image.astype(int)[~here] for scene in (frames[0], frames[-1]))
        assert np.median(np.abs(first - last)) <= 5, "noise alone differs, and shadows in a few places"


@pytest.mark.parametrize("action", ACTIONS)
def test_no_joint_jumps(action: str) -> None:
    """At 60 frames in a second no joint moves further than a fast hand does, however the cycle begins."""
    for number in range(12):
        manner = manner_of(action, 1.75, 3.0, Dice("joints", action, number))
        poses = [MOTIONS[action].pose(manner, frame / 60).joints for frame in range(181)]
        moved = 0.0
        for before, after in itertools.pairwise(poses):
            assert before.keys() == after.keys()
            steps = {name: np.linalg.norm(np.subtract(after[name], before[name])) for name in after}
            assert max(steps.values()) < 0.085, steps
            moved += max(steps.values())
        assert moved > 0.1
        for pose in poses:
            for name in ("l", "r"):
                thigh = np.subtract(pose[f"hip_{name}"], pose[f"knee_{name}"])
                shin = np.subtract(pose[f"knee_{name}"], pose[f"ankle_{name}"])
                assert 0.8 * LEG < np.linalg.norm(thigh) + np.linalg.norm(shin) < 1.12 * LEG
                assert pose[f"ankle_{name}"][1] > 0.03


@pytest.mark.parametrize("action", ["walk", "run"])
def test_feet_that_stand_do_not_slide(action: str) -> None:
    """The lower foot goes back under the body about as fast as the body goes forward."""
    manner = manner_of(action, 1.75, 3.0, Dice("feet", action))
    slides = []
    for frame in range(180):
        first, second = (MOTIONS[action].pose(manner, (frame + step) / 60).joints for step in (0, 1))
        low = min(("l", "r"), key=lambda name: first[f"ankle_{name}"][1])
        back = (first[f"ankle_{low}"][2] - second[f"ankle_{low}"][2]) * 1.75 * 60
        slides.append(back / manner.pace)
    assert 0.75 < float(np.median(slides)) < 1.3


@pytest.mark.parametrize("action", ["walk", "run", "cycle"])
def test_a_way_is_continuous_and_turns_round(action: str) -> None:
    manner = manner_of(action, 1.75, 12.0, Dice("way", action))
    motion, way = MOTIONS[action], manner.pace * 12
    track = clips._Track(min(way, motion.straight), motion.radius, 1, way)
    who = clips.people_of(SMALL, "train")[0]
    performer = clips._Performer(who, manner, 0.0, 9.0, 90.0, track, None)
    places = np.array([performer.place(frame / 60) for frame in range(721)])
    steps = np.linalg.norm(np.diff(places[:, :2], axis=0), axis=1)
    assert np.abs(steps * 60 - manner.pace).max() < 0.02 * manner.pace
    turns = (np.diff(places[:, 2]) + 180) % 360 - 180
    assert np.abs(turns).max() < 4
    ahead = np.stack([np.sin(np.radians(places[:-1, 2])), -np.cos(np.radians(places[:-1, 2]))], axis=1)
    along = (np.diff(places[:, :2], axis=0) * ahead).sum(axis=1)
    assert (along > 0.99 * steps).all(), "everybody looks where they go"
    assert np.ptp(places[:, 0]) <= motion.straight + 2 * motion.radius + 0.01


def test_a_long_clip_has_room() -> None:
    options = Options(**{**fixture.OPTIONS, "frames": 24, "fps": 2, "people": [1, 1]})
    assert {clips.render_clip(options, "train", index).action for index in range(1, 9)} == set(ACTIONS)


def test_no_attribute_tells_the_action() -> None:
    """In every eight clips the same people do everything once, in the same clothes."""
    options = Options(clips=320, identities=20, outfits=2, attributes=True)
    cast = [clips.cast_of(options, "train", index) for index in range(1, 321)]
    said: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for block in range(0, 320, 8):
        eight = cast[block : block + 8]
        assert sorted(action for action, _ in eight) == sorted(ACTIONS)
        assert all(people == eight[0][1] for _, people in eight)
    for action, people in cast:
        for who in people:
            for name, value in {**attributes.of(who, options), "identity": str(who.number)}.items():
                said[action][name, value] += 1
    assert all(counts == said["walk"] for counts in said.values())
    leads = Counter((people[0].number, people[0].outfit) for _, people in cast)
    assert leads == {(number, outfit): 8 for number in range(20) for outfit in range(2)}
    assert {len(people) for _, people in cast} == {1, 2, 3}
    orders = {tuple(action for action, _ in cast[block : block + 8]) for block in range(0, 320, 8)}
    assert len(orders) > 30, "nor does the clip's number"


def test_gallery_and_probe_of_clips_have_people_of_their_own() -> None:
    options = Options(
        clips={"train": 32, "gallery": 24, "probe": 24}, identities=4, gallery_identities=3, outfits=2, people=(1, 2)
    )
    who = {
        split: {one.number for index in range(1, count + 1) for one in clips.cast_of(options, split, index)[1]}
        for split, count in options.splits.items()
    }
    assert who == {"train": {0, 1, 2, 3}, "gallery": {4, 5, 6}, "probe": {4, 5, 6}}


def test_no_room_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "_perform", lambda *_: None)
    with pytest.raises(AnonbenchError, match=r"streetlife train, clip 1: the street has no room .*; ask for fewer"):
        clips.render_clip(SMALL, "train", 1)


def test_a_split_of_clips_is_coco_vid(tmp_path: Path) -> None:
    content = render_split(SMALL, "train", tmp_path, progress=False)
    assert content["actions"] == list(ACTIONS)
    assert [video["id"] for video in content["videos"]] == list(range(1, 9))
    assert sorted(video["action"] for video in content["videos"]) == sorted(ACTIONS)
    assert {(video["width"], video["height"], video["fps"]) for video in content["videos"]} == {(96, 96, 4.0)}
    places = [(image["video_id"], image["frame_index"]) for image in content["images"]]
    assert places == list(itertools.product(range(1, 9), range(4)))
    assert content["images"][5]["file_name"] == "000002_0001.png"
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == [i["file_name"] for i in content["images"]]


def test_the_fixture_goes_through_annotate(tmp_path: Path) -> None:
    data, annotations = fixture.write(tmp_path)
    assert read_json(data / "download.json")["options"] == fixture.OPTIONS
    for split in ("train", "val"):
        images = regions.read(annotations / f"{split}.images.parquet", regions.IMAGES)
        assert images["frame_index"].to_pylist() == [0, 1, 2, 3] * 8
        facts = regions.facts_of(annotations / f"{split}.images.parquet")
        assert sorted(video["action"] for video in facts["videos"]) == sorted(ACTIONS)
        assert facts["actions"] == list(ACTIONS)
        rows = regions.read(annotations / f"{split}.people.parquet", regions.PEOPLE).to_pylist()
        assert all(row["attributes"] and row["identity"] for row in rows)
        parts = [regions.shard_of(images, shard, 3)["video_id"].to_pylist() for shard in range(3)]
        assert all(set(a).isdisjoint(b) for a, b in itertools.combinations(parts, 2))


def test_a_study_takes_the_fixture() -> None:
    study = Study.model_validate(fixture.study("clips", ["original", "face-blur-low"], {"tiny": TINY_MODEL}))
    options = study.options("clips")
    assert Options(**options) == SMALL
    assert not {"train", "val"} & options.keys()


EVERY = tuple(MOTIONS)
CLOSE: dict[str, Any] = {**fixture.OPTIONS, "clips": 16, "actions": EVERY}


@pytest.mark.parametrize("action", DETAILS)
def test_no_joint_of_a_detailed_action_jumps(action: str) -> None:
    for number in range(6):
        manner = manner_of(action, 1.75, 3.0, Dice("joints", action, number))
        for role in (0, 1, 2):
            own = replace(manner, role=role, reach=1.08)
            poses = [MOTIONS[action].pose(own, frame / 60).joints for frame in range(181)]
            for before, after in itertools.pairwise(poses):
                assert max(np.linalg.norm(np.subtract(after[name], before[name])) for name in after) < 0.085


@pytest.mark.parametrize("pair", list(zip(DETAILS[::2], DETAILS[1::2], strict=True)), ids="-".join)
def test_a_silhouette_does_not_tell_the_two_of_a_pair(pair: tuple[str, str]) -> None:
    """The masks of the two are the same; of a head that turns, nose and hair are elsewhere."""
    canvas = Canvas(256, 192)
    everyone = clips.people_of(SMALL, "train")
    camera = Camera(256.0, 230.0, 128.0, 60.0, 1.4)
    even = Tone((1.0, 1.0, 1.0), (0.85, 0.85, 0.85), 0.3, (0, 0, 0))
    for number in range(12):
        who, yaw, time = everyone[number % len(everyone)], 35.0 * (number % 5) - 70, 0.2 * number
        drawn = []
        for action in pair:
            manner = replace(manner_of(action, who.height, 2.0, Dice("pair", number)), reach=1.08)
            pose = MOTIONS[action].pose(manner, time)
            made = figure(who, pose, camera, 0.0, 3.0, yaw, even, canvas.scale)
            drawn.append(canvas.stencil(made.sprite))
        masks = []
        for stencil in drawn:
            mask = np.zeros((3 * canvas.height, 3 * canvas.width), bool)
            h, w = stencil.parts.shape
            y, x = stencil.top + canvas.height, stencil.left + canvas.width
            mask[y : y + h, x : x + w] = stencil.parts > 0
            masks.append(mask)
        same = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
        assert same > (0.92 if "wait" in pair else 0.9999), (number, same)
        if abs(yaw) < 40:
            pictures = []
            for stencil in drawn:
                canvas.pixels[:] = 128
                canvas.paint(stencil)
                pictures.append(canvas.pixels.astype(int))
            assert np.abs(pictures[0] - pictures[1]).max() > 40 or "wait" in pair, "what they hold is seen"


def test_detailed_actions_are_told_by_no_attribute_and_have_people_enough() -> None:
    options = Options(clips=320, identities=10, outfits=2, attributes=True, actions=EVERY, people=(1, 2))
    cast = [clips.cast_of(options, "train", index) for index in range(1, 321)]
    said: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for block in range(0, 320, 16):
        assert sorted(action for action, _ in cast[block : block + 16]) == sorted(EVERY)
        assert all(people == cast[block][1] for _, people in cast[block : block + 16])
    for action, people in cast:
        assert len({who.number for who in people}) == 2
        for who in people:
            said[action].update({**attributes.of(who, options), "identity": str(who.number)}.items())
    assert all(counts == said["walk"] for counts in said.values())


def test_a_split_says_which_kind_an_action_is_of(tmp_path: Path) -> None:
    few = Options(**{**CLOSE, "clips": {"train": 3, "val": 1}, "actions": ("carry", "read", "wave"), "frames": 2})
    content = render_split(few, "train", tmp_path, progress=False)
    assert content["actions"] == ["carry", "read", "wave"]
    assert content["action_kinds"] == {"carry": "detail", "read": "detail", "wave": "silhouette"}
    assert content["info"]["options"]["actions"] == ["carry", "read", "wave"]
    assert sorted(video["action"] for video in content["videos"]) == ["carry", "read", "wave"]
    assert "action_kinds" not in render_split(SMALL, "val", tmp_path, progress=False)


def test_those_who_meet_face_each_other_and_their_hands_meet() -> None:
    options = Options(**{**CLOSE, "clips": 2, "actions": ("shake_hands", "hand_over"), "people": (2, 2)})
    clip = clips.render_clip(options, "train", 1)
    for scene in clip.frames:
        first, second = people(scene).values()
        wrists = [np.array(one["keypoints"]).reshape(17, 3)[10, :2] for one in (first, second)]
        tall = max(one["bbox"][3] for one in (first, second))
        assert np.linalg.norm(wrists[0] - wrists[1]) < 0.16 * tall


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"actions": ["walk", "shake_hand"]}, r"unknown action 'shake_hand' \(did you mean 'shake_hands'"),
        ({"actions": ["walk", "walk"]}, "the same action twice"),
        ({"actions": ["walk"]}, "at least 2"),
        ({"actions": ["walk", "hand_over"], "people": [1, 1]}, "two shake hands"),
        (
            {"actions": EVERY, "clips": {"gallery": 16, "probe": 16}, "gallery_identities": 1},
            "gallery_identities: two shake hands",
        ),
        ({"actions": EVERY, "clips": {"gallery": 20, "probe": 40}, "gallery_identities": 2}, "32 clips, 16 for each"),
    ],
)
def test_actions_that_cannot_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Options(**{**fixture.OPTIONS, **wrong})


DETAILS_PINNED = "04a3735165359c99e4d88483c25be1c24f634c74c148c6cecb6df4ea4a03f06b"
"""Likewise of a clip of each detailed action, two frames each."""


def test_pixels_of_detailed_actions_are_pinned() -> None:
    options = Options(**{**CLOSE, "clips": 8, "actions": DETAILS, "frames": 2, "people": (2, 3)})
    digest = hashlib.sha256()
    shown = set()
    for index in range(1, 9):
        clip = clips.render_clip(options, "train", index)
        shown.add(clip.action)
        for scene in clip.frames:
            digest.update(scene.image.tobytes())
    assert shown == {*DETAILS}
    assert digest.hexdigest() == DETAILS_PINNED
