"""Before and after: who is shown is decided by the stated rule alone."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file
from anonbench.manifests import shard_path, summary_path, write_rows
from anonbench.report import pictures, slider
from anonbench.report.slider import CANDIDATES, sliders
from anonbench.report.study import ReportStudy

SIDE = 64


def write(root: Path, variant: str, people: list[dict[str, Any]]) -> None:
    """Write a variant with one image per person, grey 100, whose box is lighter by ``change``."""
    folder = root / "d" / variant
    (folder / "train").mkdir(parents=True)
    images, annotations, rows = [], [], [{"type": "shard"}]
    for number, person in enumerate(people, start=1):
        x0, y0, x1, y1 = person.get("at", (10, 10, 40, 50))
        pixels = np.full((SIDE, SIDE, 3), 100, np.uint8)
        pixels[y0:y1, x0:x1] += person["change"]
        Image.fromarray(pixels).save(folder / "train" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
        digest = sha256_file(folder / "train" / f"{number}.png")
        rows.append({"type": "image", "image_id": number, "file_name": f"{number}.png", "sha256": digest})
        annotations.append(
            {"id": 100 + number, "image_id": number, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
        )
        row = {"type": "person", "image_id": number, "person_id": 100 + number, "category": "person"}
        rows.append({"status": "anonymized", "box": [x0, y0, x1, y1], **row, **person.get("row", {})})
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (folder / "annotations").mkdir()
    (folder / "annotations" / "train.json").write_text(json.dumps(coco))
    shard = shard_path(folder, "train", 0)
    shard.parent.mkdir(parents=True)
    write_rows(shard, rows)
    summary = {"shards": [sha256_file(shard)], "digest": "", "annotations_sha256": ""}
    summary_path(folder, "train").write_text(json.dumps(summary))


def shown(root: Path, variant: str, people: list[dict[str, Any]]) -> dict[str, float]:
    """Return the scores of a variant's people by rank."""
    write(root, "original", [{**person, "change": 0} for person in people])
    write(root, variant, people)
    variants, controls = ["original", variant], ("frame-jpeg-q20",)
    study = ReportStudy("s", 0, {"d": {"train": "train", "val": "val"}}, variants, {"m": {}}, [0], controls=controls)
    found = sliders(study, root)
    return {p["rank"]: float(p["score"].split()[-1]) for of in found for group in of["groups"] for p in group["people"]}


def test_the_least_the_median_and_the_most_changed(tmp_path: Path) -> None:
    changes = [50, 10, 90, 20, 70, 60]
    assert shown(tmp_path, "body-blur", [{"change": c} for c in changes]) == {
        "changed least": 10, "changed by the median": 50, "changed most": 90,
    }  # fmt: skip


def test_who_was_not_changed_or_is_too_small_is_passed_over(tmp_path: Path) -> None:
    people: list[dict[str, Any]] = [{"change": c} for c in (30, 40, 50)]
    people.append({"change": 1, "row": {"status": "no_face_found", "box": None}})
    people.append({"change": 99, "at": (5, 5, 12, 15)})
    assert shown(tmp_path, "face-blur", people)["changed most"] == 50
    assert shown(tmp_path / "small", "face-blur", [{"change": 9, "at": (5, 5, 12, 15)}]) == {"changed most": 9}


def test_whole_images_and_the_control(tmp_path: Path) -> None:
    """Rows of a whole image's people have no box of their own; those of `identity` say that it is a control."""
    people: list[dict[str, Any]] = [{"change": c, "row": {"box": None}} for c in (30, 40, 50)]
    assert shown(tmp_path, "frame-downsample-2x", people)["changed least"] == 30
    controls: list[dict[str, Any]] = [{"change": c, "row": {"status": "control"}} for c in (1, 2, 3)]
    assert shown(tmp_path / "c", "body-identity", controls)["changed most"] == 3
    assert shown(tmp_path / "j", "frame-jpeg-q20", controls)["changed most"] == 3
    assert shown(tmp_path / "n", "body-blur", controls) == {}


def test_of_many_people_a_sample_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    real = slider.read
    monkeypatch.setattr(
        slider, "read", lambda folder, image, sha256: read.append(folder) or real(folder, image, sha256)
    )
    shown(tmp_path, "body-blur", [{"change": 1 + k % 90} for k in range(2 * CANDIDATES)])
    assert len(read) == 2 * CANDIDATES


def test_the_crops_are_of_original_and_variant(tmp_path: Path) -> None:
    write(tmp_path, "original", [{"change": 0}] * 3)
    write(tmp_path, "body-blur", [{"change": 100}] * 3)
    study = ReportStudy("s", 0, {"d": {"train": "train", "val": "val"}}, ["original", "body-blur"], {"m": {}}, [0])
    (found,) = sliders(study, tmp_path)
    person = found["groups"][0]["people"][0]
    middles = []
    for name in ("before", "after"):
        data = base64.b64decode(person[name].removeprefix("data:image/jpeg;base64,"))
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (found["width"], found["height"])
            middles.append(image.convert("L").getpixel((found["width"] // 2, found["height"] // 2)))
    assert middles == [pytest.approx(100, abs=3), pytest.approx(200, abs=3)]


def test_an_image_that_is_gone_is_named(tmp_path: Path) -> None:
    people = [{"change": 9}] * 3
    shown(tmp_path, "body-blur", people)
    (tmp_path / "d/body-blur/train/2.png").unlink()
    study = ReportStudy("s", 0, {"d": {"train": "train", "val": "val"}}, ["original", "body-blur"], {"m": {}}, [0])
    with pytest.raises(AnonbenchError, match=r"2\.png.*run the anonymize stage again"):
        sliders(study, tmp_path)


@pytest.mark.parametrize("variant", ["original", "body-blur"])
def test_an_image_that_is_not_the_manifest_s_is_shown_to_nobody(tmp_path: Path, variant: str) -> None:
    shown(tmp_path, "body-blur", [{"change": 9}] * 3)
    path = tmp_path / "d" / variant / "train" / "2.png"
    pixels = np.asarray(Image.open(path)) ^ 1
    Image.fromarray(pixels).save(path)
    study = ReportStudy("s", 0, {"d": {"train": "train", "val": "val"}}, ["original", "body-blur"], {"m": {}}, [0])
    with pytest.raises(AnonbenchError, match=r"2\.png: was edited or damaged .*run the anonymize stage again"):
        sliders(study, tmp_path)
    digest = sha256_file(tmp_path / "d" / variant / "train" / "1.png")
    image = {"file_name": "2.png", "width": SIDE, "height": SIDE}
    with pytest.raises(AnonbenchError, match=r"2\.png: was edited or damaged .*run the anonymize stage again"):
        pictures.read(path.parent, image, digest)
