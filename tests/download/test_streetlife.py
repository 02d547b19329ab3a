"""The embedded data set: the same bytes everywhere, and ground truth that fits the pixels."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pydantic import ValidationError

from anonbench.datasets.streetlife import (
    CATEGORIES,
    Options,
    Scene,
    encode,
    painting,
    population,
    render_scene,
    render_split,
)
from anonbench.datasets.streetlife.scene import CAR, PERSON, RIDER
from anonbench.errors import AnonbenchError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")

SCENES = 40

# sha256 of pixels and of encoded files. A change of the drawing code changes them: look at the pictures, then put in
# the new ones. A change of a library's version must not.
PINNED = {
    ("train", 1): (
        "36064adf5bc967ecccc062c8c935296ebc28c52ff740f7bc4c304cec6d8bb551",
        "e9ba0ecfa4e3e40aa3e6e60c48a9274af4555f0f4ceee08d3fe683ea5ad8f16b",
    ),
    ("train", 7): (
        "72bb6449a90d20f5e9dd459a3189f586b95028045c13211b945f1d9e0909de77",
        "9e01302f8707545462772d5a6ccf4f88172de4ac27c2b3c52d4ae294c9a80fb4",
    ),
    ("val", 3): (
        "98cd2860700e8d67a039b5845876699a2c751901760218c979ea3fe544d2eac4",
        "0aee887fd9053d28c0c67fd60a3d4774372c6ce7aa5e87182f3f38f554452511",
    ),
}
PINNED_PNG = "3f817fc2dca56c967d3d99e4eedb1ce00505da09c3289ee876b818f7b552363d"
FINGERPRINT = """
import hashlib
from anonbench.datasets.streetlife import Options, render_scene
digest = hashlib.sha256()
for index in range(1, 9):
    digest.update(render_scene(Options(), "train", index).image.tobytes())
print(digest.hexdigest())
"""


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_scene(Options(), "train", index) for index in range(1, SCENES + 1)]


def people(scene: Scene) -> list[dict[str, Any]]:
    return [record for record in scene.objects if record["category_id"] in (PERSON, RIDER)]


def points(record: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.array(record["keypoints"], float).reshape(17, 3)


@pytest.mark.parametrize(("split", "index"), list(PINNED))
def test_pixels_and_files_are_pinned(split: str, index: int) -> None:
    scene = render_scene(Options(), split, index)
    assert (sha(scene.image.tobytes()), sha(encode(scene.image, Options()))) == PINNED[split, index]


def test_png_is_lossless_and_its_pixels_are_pinned() -> None:
    options = Options(width=320, height=200, format="png")
    image = render_scene(options, "train", 2).image
    back = cv2.imdecode(np.frombuffer(encode(image, options), np.uint8), cv2.IMREAD_COLOR)
    assert back is not None
    assert np.array_equal(back[:, :, ::-1], image)
    assert sha(image.tobytes()) == PINNED_PNG


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the switches name x86 instruction sets")
def test_the_instruction_sets_of_the_cpu_do_not_matter() -> None:
    plain = {
        **os.environ,
        "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FMA3,FP16,AVX,SSE4.2,SSE4.1",
        "OPENCV_IPP": "disabled",
        "OPENCV_LOG_LEVEL": "ERROR",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    }
    command = [sys.executable, "-W", "ignore", "-c", FINGERPRINT]
    digests = {subprocess.run(command, env=env, capture_output=True, check=True).stdout for env in (None, plain)}
    assert len(digests) == 1


def test_a_scene_does_not_depend_on_the_others(tmp_path: Path) -> None:
    options = Options(train=5, val=2)
    content = render_split(options, "train", tmp_path, progress=False)
    alone = render_scene(options, "train", 4)
    assert (tmp_path / "train" / "000004.jpg").read_bytes() == encode(alone.image, options)
    written = [a for a in content["annotations"] if a["image_id"] == 4]
    assert [{k: v for k, v in a.items() if k not in ("id", "image_id")} for a in written] == alone.objects
    more = render_scene(Options(train=5000, val=0), "train", 4)
    assert np.array_equal(more.image, alone.image)
    assert not np.array_equal(render_scene(options, "val", 4).image, alone.image)
    assert not np.array_equal(render_scene(Options(seed=1), "train", 4).image, alone.image)


def test_the_files_of_a_split(tmp_path: Path) -> None:
    options = Options(train=3, val=4)
    for split, count in options.splits.items():
        render_split(options, split, tmp_path, progress=False)
        first = (tmp_path / "annotations" / f"{split}.json").read_bytes()
        content = json.loads(first)
        assert set(content) == {"info", "licenses", "images", "annotations", "categories"}
        assert [image["file_name"] for image in content["images"]] == [f"{i:06d}.jpg" for i in range(1, count + 1)]
        assert sorted(p.name for p in (tmp_path / split).iterdir()) == [i["file_name"] for i in content["images"]]
        ids = [a["id"] for a in content["annotations"]]
        assert len(set(ids)) == len(ids)
        assert min(ids) > 0
        assert {a["image_id"] for a in content["annotations"]} <= {image["id"] for image in content["images"]}
        assert content["licenses"][0]["name"] == "CC0-1.0"
        render_split(options, split, tmp_path, progress=False)
        assert (tmp_path / "annotations" / f"{split}.json").read_bytes() == first


def test_categories() -> None:
    assert {c["id"]: (c["name"], c["supercategory"]) for c in CATEGORIES} == {
        1: ("person", "person"),
        2: ("rider", "person"),
        3: ("car", "vehicle"),
    }
    assert all(len(c["keypoints"]) == 17 and len(c["skeleton"]) == 19 for c in CATEGORIES if c["id"] != CAR)


def test_masks_and_boxes_agree(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (192, 256, 3)
        assert scene.image.dtype == np.uint8
        taken = np.zeros((192, 256), int)
        for record in scene.objects:
            assert isinstance(record["segmentation"]["counts"], str)
            mask = coco_mask.decode(record["segmentation"])
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
            assert record["bbox"] == box
            assert record["area"] == mask.sum() >= 12
            assert record["iscrowd"] == 0
            taken += mask
        # A pixel covered half and half may count for both of its owners.
        assert (taken > 1).mean() < 0.01


def test_keypoints(scenes: list[Scene]) -> None:
    visible = inside = 0
    for scene in scenes:
        for record in people(scene):
            keypoints = points(record)
            known = keypoints[:, 2] > 0
            assert record["num_keypoints"] == known.sum()
            assert set(keypoints[:, 2]) <= {0, 1, 2}
            assert (keypoints[~known] == 0).all()
            assert ((keypoints[:, 0] >= 0) & (keypoints[:, 0] < 256)).all()
            assert ((keypoints[:, 1] >= 0) & (keypoints[:, 1] < 192)).all()
            mask = coco_mask.decode(record["segmentation"])
            seen = keypoints[keypoints[:, 2] == 2].astype(int)
            visible += len(seen)
            inside += int(mask[seen[:, 1], seen[:, 0]].sum())
    assert inside > 0.97 * visible > 0


def test_faces(scenes: list[Scene]) -> None:
    faces = 0
    for scene in scenes:
        for record in people(scene):
            if "face" not in record:
                continue
            faces += 1
            face = record["face"]
            assert face["score"] == 1.0
            assert face["source"] == "ground_truth"
            x, y, w, h = face["bbox"]
            px, py, pw, ph = record["bbox"]
            assert w > 0
            assert h > 0
            assert 0 <= x <= x + w <= 256.01
            assert 0 <= y <= y + h <= 192.01
            # Inside the person's box, but for hidden parts of the head and half a pixel.
            assert min(x + w, px + pw) - max(x, px) > 0.4 * w
            assert min(y + h, py + ph) - max(y, py) > 0.4 * h
            nose = points(record)[0]
            if nose[2] == 2:
                assert x - 0.25 * w - 1 <= nose[0] <= x + 1.25 * w + 1
                assert y <= nose[1] <= y + h
    count = sum(len(people(scene)) for scene in scenes)
    assert 0.4 < faces / count < 0.9


def test_somebody_who_turns_away_has_no_face(scenes: list[Scene]) -> None:
    for scene in scenes:
        for record in people(scene):
            if points(record)[0, 2] == 0 and points(record)[1:3, 2].sum() == 0:
                assert "face" not in record or record["bbox"][1] < 1  # cut by the frame


def test_nobody_is_drawn_without_an_annotation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts the people who are really painted."""
    painted: list[int] = []
    original = painting.paint

    def spy(canvas: Any, plan: Any, *rest: Any) -> None:
        painted.append(sum(actor.figure is not None for actor in plan.actors))
        original(canvas, plan, *rest)

    monkeypatch.setattr("anonbench.datasets.streetlife.render.paint", spy)
    for index in range(1, 31):
        scene = render_scene(Options(), "val", index)
        assert len(people(scene)) == painted[-1]
        assert 1 <= painted[-1] <= 6


def test_every_person_has_pixels_of_their_own(scenes: list[Scene]) -> None:
    """The clothes' colours of a person are found under the mask: masks follow the drawing."""
    everyone = population(2023, 40)
    close = 0
    total = 0
    for scene in scenes:
        for record in people(scene):
            if record["bbox"][3] < 60:
                continue
            pixels = scene.image[coco_mask.decode(record["segmentation"]) > 0].astype(int)
            who = everyone[record["identity"]]
            shades = np.array([who.top, who.bottom, who.skin])[:, None] * np.array([1.0, 0.78])[None, :, None]
            distance = np.abs(pixels[:, None] - shades.reshape(1, -1, 3)).max(axis=2).min(axis=1)
            close += int((distance < 70).sum())
            total += len(pixels)
    assert close > 0.8 * total


def test_identities_recur(scenes: list[Scene]) -> None:
    seen: dict[int, set[int]] = {}
    for number, scene in enumerate(scenes):
        present = [record["identity"] for record in people(scene)]
        assert len(set(present)) == len(present)
        for identity in present:
            seen.setdefault(identity, set()).add(number)
    assert all(0 <= identity < 40 for identity in seen)
    assert sum(len(where) >= 2 for where in seen.values()) > 20
    assert population(2023, 10) == population(2023, 40)[:10]
    assert len({(who.top, who.bottom, who.skin, who.hair_style) for who in population(2023, 40)}) == 40


def test_cars_have_no_identity_and_no_keypoints(scenes: list[Scene]) -> None:
    cars = [record for scene in scenes for record in scene.objects if record["category_id"] == CAR]
    assert cars
    assert all(not {"identity", "keypoints", "face"} & set(record) for record in cars)


def test_sizes_and_poses_vary(scenes: list[Scene]) -> None:
    heights = [record["bbox"][3] for scene in scenes for record in people(scene)]
    assert min(heights) < 45
    assert max(heights) > 120
    assert 50 < np.median(heights) < 120
    assert {record["category_id"] for scene in scenes for record in scene.objects} == {PERSON, RIDER, CAR}


@pytest.mark.parametrize(("width", "height"), [(64, 64), (640, 480), (512, 200), (150, 301)])
def test_other_image_sizes(width: int, height: int) -> None:
    options = Options(width=width, height=height)
    scene = render_scene(options, "train", 5)
    assert scene.image.shape == (height, width, 3)
    assert people(scene)
    for record in scene.objects:
        assert record["segmentation"]["size"] == [height, width]
        if "keypoints" in record:
            keypoints = points(record)
            assert (keypoints[:, 0] < width).all()
            assert (keypoints[:, 1] < height).all()


def test_a_bigger_image_shows_the_same_scene() -> None:
    small, big = render_scene(Options(), "train", 6), render_scene(Options(width=512, height=384), "train", 6)
    assert [r.get("identity") for r in small.objects] == [r.get("identity") for r in big.objects]
    halved = cv2.resize(big.image, (256, 192), interpolation=cv2.INTER_AREA)
    assert np.abs(halved.astype(int) - small.image).mean() < 8


@pytest.mark.parametrize("count", [(0, 0), (2, 2), (4, 8)])
def test_the_number_of_people_can_be_chosen(count: tuple[int, int]) -> None:
    for index in range(1, 6):
        assert count[0] <= len(people(render_scene(Options(people=count), "train", index))) <= count[1]


@pytest.mark.parametrize(
    "wrong", [{"widht": 5}, {"width": 10}, {"format": "gif"}, {"people": (4, 2)}, {"identities": 0}, {"quality": 0}]
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Options(**wrong)


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match="train"):
        render_split(Options(), "test", tmp_path)
