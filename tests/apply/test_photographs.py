"""The command on photographs of COCO: labelled faces are hidden, in the pictures, in a video of one, as bodies."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anonbench.apply.search import TOLD_BY_FACE
from anonbench.images import read_rgb
from tests.apply import moving
from tests.apply.conftest import Run, files_of

PHOTOS = Path(os.environ.get("ANONBENCH_PHOTOS", Path(__file__).parents[3] / "shared" / "data" / "coco-people"))
SPLIT, NUMBER = "val2017", 8
"""Photographs with most labelled faces."""

pytestmark = pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"no photographs in {PHOTOS}")

Faces = dict[str, list[np.ndarray]]


@pytest.fixture(scope="module")
def labelled() -> Faces:
    """Return nose and eyes (3x2: x, y) of everybody who shows them, by photograph."""
    labels = json.loads((PHOTOS / "annotations" / f"person_keypoints_{SPLIT}.json").read_text())
    names = {image["id"]: image["file_name"] for image in labels["images"]}
    found: Faces = {}
    for person in labels["annotations"]:
        points = np.reshape(person.get("keypoints") or [0] * 51, (17, 3))[:3]
        if points[:, 2].all() and not person["iscrowd"]:
            found.setdefault(names[person["image_id"]], []).append(points[:, :2])
    most = sorted(found, key=lambda name: (-len(found[name]), name))[:NUMBER]
    return {name: found[name] for name in most}


def folder_of(path: Path, names: list[str]) -> Path:
    path.mkdir()
    for name in names:
        shutil.copy(PHOTOS / SPLIT / name, path)
    return path


def boxes_of(out: Path) -> dict[str, np.ndarray]:
    """Return the corners of what was found, by file."""
    found: dict[str, list[list[float]]] = {}
    with open(out.parent / "private" / out.name / "ledger.csv", newline="") as stream:
        for row in csv.DictReader(stream):
            assert row["status"] == "region"
            x, y, w, h = (float(row[key]) for key in ("x", "y", "width", "height"))
            found.setdefault(row["file_name"], []).append([x, y, x + w, y + h])
    return {name: np.array(boxes) for name, boxes in found.items()}


def test_labelled_faces_are_hidden_and_the_rest_stays(run: Run, labelled: Faces, tmp_path: Path) -> None:
    photos, out, sheet = folder_of(tmp_path / "photos", list(labelled)), tmp_path / "out", tmp_path / "sheet.png"
    run("apply", photos, "--variant", "face-blur-medium", "--out", out, "--preview", sheet)
    assert files_of(out).keys() == labelled.keys()
    assert Image.open(sheet).height > 2 * 300
    boxes, looked, missed = boxes_of(out), 0, 0
    for name, faces in labelled.items():
        old, new = (read_rgb(folder / name).astype(int) for folder in (photos, out))
        for points in faces:
            holds = [box for box in boxes[name] if (points[0] >= box[:2]).all() and (points[0] <= box[2:]).all()]
            looked, missed = looked + 1, missed + (not holds)
            for x0, y0, x1, y1 in np.array(holds).round().astype(int):
                before, after = (np.abs(np.diff(pixels[y0:y1, x0:x1], axis=1)).mean() for pixels in (old, new))
                assert after < before / 2
        far = np.ones(old.shape[:2], bool)
        for x0, y0, x1, y1 in boxes[name].astype(int):
            more = int(0.3 * max(x1 - x0, y1 - y0)) + 18  # the margin, and a block of chroma
            far[max(y0 - more, 0) : y1 + more, max(x0 - more, 0) : x1 + more] = False
        assert np.abs(new - old)[far].mean() < 1.5
    assert looked >= 20
    assert missed <= looked / 10


def test_a_pan_over_a_photograph_hides_them_in_every_frame(run: Run, labelled: Faces, tmp_path: Path) -> None:
    name = next(iter(labelled))
    pixels = read_rgb(PHOTOS / SPLIT / name)
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    shown = width * 3 // 4 // 2 * 2
    lefts = range(0, width - shown, 8)
    (tmp_path / "photos").mkdir()
    moving.film(tmp_path / "photos" / "v.mp4", [pixels[:height, left : left + shown] for left in lefts])
    out, sheet = tmp_path / "out", tmp_path / "sheet.png"
    run("apply", tmp_path / "photos", "--variant", "face-mask_out", "--out", out, "--preview", sheet)
    assert sheet.is_file()
    frames = moving.read(out / "v.mp4")
    assert len(frames) == len(lefts) > 10
    hidden, looked = 0, 0
    for left, frame in zip(lefts, frames, strict=True):
        for points in labelled[name]:
            x, y = (points[0] - (left, 0)).astype(int)
            if 20 <= x < shown - 20:
                looked += 1
                hidden += bool((abs(frame[y - 2 : y + 3, x - 2 : x + 3].astype(int) - 128) <= 16).all())
    assert looked > 50
    assert hidden >= 0.95 * looked


def test_bodies_hide_every_face_that_is_found(run: Run, labelled: Faces, tmp_path: Path) -> None:
    names = list(labelled)[:2]
    photos = folder_of(tmp_path / "photos", names)
    for variant in ("face-mask_out", "body-mask_out"):
        run("apply", photos, "--variant", variant, "--out", tmp_path / variant)
    faces = boxes_of(tmp_path / "face-mask_out")
    with open(tmp_path / "private" / "body-mask_out" / "ledger.csv", newline="") as stream:
        assert {row["note"] for row in csv.DictReader(stream)} == {"", TOLD_BY_FACE}  # hog found somebody, too
    for name in names:
        shown = read_rgb(tmp_path / "body-mask_out" / name).astype(int)
        for x0, y0, x1, y1 in faces[name].round().astype(int):
            inner = shown[max(y0, 0) : y1, max(x0, 0) : x1]
            assert abs(inner - 128).mean() < 4
