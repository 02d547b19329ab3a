"""Methods that are fitted, and detectors that look at pixels, through the command."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import detection

from anonbench.apply.search import TOLD_BY_FACE
from anonbench.detectors.base import Detector, make
from anonbench.detectors.config import DetectorConfig
from anonbench.detectors.engine import detect
from anonbench.errors import AnonbenchError
from anonbench.images import read_rgb
from anonbench.records import RegionKind
from tests.anonymize import gan_tiny, learned_tiny
from tests.apply import moving
from tests.apply.conftest import Run, encoded
from tests.detectors import drawn

Box = tuple[int, int, int, int]


def ledger(out: Path) -> list[dict[str, str]]:
    with open(out.parent / "private" / out.name / "ledger.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def one(photos: Path, pixels: np.ndarray) -> Path:
    """Write a folder of one photograph."""
    photos.mkdir()
    (photos / "a.png").write_bytes(encoded(pixels, "PNG"))
    return photos


def bright() -> np.ndarray:
    """Return a picture of a white square of 32 pixels at 64, 96."""
    pixels = np.zeros((224, 160, 3), np.uint8)
    pixels[96:128, 64:96] = 255
    return pixels


def ssdlite(path: Path) -> Path:
    """Write random weights of a small detector."""
    torch.manual_seed(1)
    model = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=2)
    save_file(model.state_dict(), path)
    return path


def centerface(_: Path) -> tuple[str, np.ndarray, Box]:
    return '{"plugin": "centerface"}', drawn.scene(320, 240, [(200, 40, 80)]), (220, 70, 260, 100)


def yunet(folder: Path) -> tuple[str, np.ndarray, Box]:
    model = {"plugin": "yunet", "options": {"weights": str(drawn.yunet(folder / "model.onnx"))}, "scales": [1.0]}
    return json.dumps(model), bright(), (64, 96, 80, 112)  # where its boxes lie


def hog(_: Path) -> tuple[str, np.ndarray, Box]:
    return "hog", drawn.somebody(), (100, 90, 140, 220)


def torchvision(folder: Path) -> tuple[str, np.ndarray, Box]:
    options = {
        "model": "ssdlite320_mobilenet_v3_large", "classes": 2, "device": "cpu", "threshold": 0.0,
        "weights": str(ssdlite(folder / "model.safetensors")),
    }  # fmt: skip
    model = {"plugin": "torchvision", "options": options, "scales": [1.0]}
    return json.dumps(model), drawn.scene(200, 150, [(40, 40, 64)]), (0, 0, 0, 0)  # knows nothing: no place is sure


@pytest.mark.parametrize(
    ("variant", "named"),
    [
        ("face-mask_out", centerface), ("face-mask_out", yunet), ("body-mask_out", hog), ("body-mask_out", torchvision),
    ],
)  # fmt: skip
def test_whom_a_detector_finds_is_changed_and_nobody_else(
    run: Run, tmp_path: Path, variant: str, named: Callable[[Path], tuple[str, np.ndarray, Box]]
) -> None:
    said, pixels, (x0, y0, x1, y1) = named(tmp_path)
    photos, out = one(tmp_path / "photos", pixels), tmp_path / "out"
    words = ["--face-detector", said]
    if variant.startswith("body"):
        words = ["--face-detector", "none", "--person-detector", said]
    config = DetectorConfig.model_validate(json.loads(said) if said.startswith("{") else {"plugin": said})
    detector = make(config.plugin, config.options)
    assert isinstance(detector, Detector)
    expected = detect(detector, pixels, config)
    run("apply", photos, "--variant", variant, "--out", out, *words)
    found = np.array([[float(row[key]) for key in ("x", "y", "width", "height")] for row in ledger(out)])
    assert len(found) == len(expected) >= 1
    touched = np.zeros(pixels.shape[:2], bool)
    for x, y, w, h in found:
        margin = 0.25 * max(w, h) + 1 if variant.startswith("face") else 1
        left, top = max(int(x - margin), 0), max(int(y - margin), 0)
        touched[top : int(y + h + margin) + 1, left : int(x + w + margin) + 1] = True
    shown = read_rgb(out / "a.png")
    assert (shown[y0:y1, x0:x1] == 128).all()
    assert (shown[~touched] == pixels[~touched]).all()
    assert (shown[touched] != pixels[touched]).any()


def test_bodies_are_looked_for_by_hog_and_guessed_from_faces(run: Run, tmp_path: Path) -> None:
    """What nobody names a detector for."""
    pixels = np.concatenate([drawn.somebody(), drawn.scene(240, 320, [(150, 20, 60)])], axis=1)
    out = tmp_path / "out"
    run("apply", one(tmp_path / "photos", pixels), "--variant", "body-mask_out", "--out", out)
    told = {row["note"] for row in ledger(out)}
    assert told == {"", TOLD_BY_FACE}
    shown = read_rgb(out / "a.png")
    assert (shown[90:220, 100:140] == 128).all()
    assert (shown[30:300, 360:480] == 128).all()
    assert (shown[:5, :100] == pixels[:5, :100]).all()


@pytest.mark.parametrize("variant", ["face-gan", "body-gan", "frame-learned-b30"])
def test_a_method_that_is_fitted(run: Run, tmp_path: Path, variant: str) -> None:
    photos, out, weights = tmp_path / "photos", tmp_path / "out", tmp_path / "weights.safetensors"
    pixels = drawn.scene(320, 240, [(200, 40, 80)])
    one(photos, pixels)
    moving.write(photos / "v.mp4", frames=4, where=lambda _: (400, 300), sound=False)  # nobody is there
    if variant.startswith("frame"):
        learned_tiny.write_weights(weights)
    else:
        gan_tiny.write_weights(weights, RegionKind(variant.partition("-")[0]))
    words: list[object] = ["apply", photos, "--variant", variant, "--out", out]
    if variant.startswith("body"):
        words += ["--person-detector", "none"]
    for more in ((), ("--dry-run",)):
        with pytest.raises(AnonbenchError, match="is fitted to data and needs its weights"):
            run(*words, *more)
    words += ["--weights", weights, "--preview"]
    run(*words, tmp_path / "dry.png", "--dry-run")
    said = run(*words, tmp_path / "sheet.png")
    sheets = [np.asarray(Image.open(tmp_path / name)) for name in ("dry.png", "sheet.png")]
    assert (sheets[0] == sheets[1]).all()
    shown = read_rgb(out / "a.png")
    face = shown[60:100, 220:260].astype(int)
    assert abs(face - pixels[60:100, 220:260]).mean() > 10
    assert abs(face - 128).mean() > 10, "the grey of the fallback"
    header, *manifest = map(json.loads, (tmp_path / "private" / "out" / "manifest.jsonl").read_text().splitlines())
    assert header["fitted_on"]["dataset"] == "none"
    assert {row["status"] for row in manifest if row["type"] == "person"} <= {"anonymized"}
    frames = [moving.read(folder / "v.mp4")[0].astype(int) for folder in (photos, out)]
    if variant.startswith("frame"):
        assert abs(frames[0] - frames[1]).mean() > 5
        assert "may be handed out" not in said
    else:
        assert "1 face found, 1 changed" in said or "1 person found, 1 changed" in said
        assert (shown[:20, :40] == pixels[:20, :40]).all()
        assert abs(frames[0] - frames[1]).mean() < 2
    before = (out / "a.png").read_bytes()
    (out / "a.png").unlink()
    run(*words, tmp_path / "sheet.png")
    assert (out / "a.png").read_bytes() == before
    other = tmp_path / "other.safetensors"
    if variant.startswith("frame"):
        learned_tiny.write_weights(other, seed=1)
    else:
        gan_tiny.write_weights(other, RegionKind(variant.partition("-")[0]), seed=1)
    with pytest.raises(AnonbenchError, match="other settings: fitted"):
        run(*words[:-2], other)


def test_a_face_of_a_video_is_filled_in_by_a_method_that_is_fitted(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    weights = gan_tiny.write_weights(tmp_path / "weights.safetensors", RegionKind.FACE)
    frames = [drawn.scene(240, 160, [(20 + 8 * number, 40, 72)]) for number in range(4)]
    moving.film(tmp_path / "photos" / "v.mp4", frames)
    out = tmp_path / "out"
    run("apply", tmp_path / "photos", "--variant", "face-gan", "--out", out, "--weights", weights)
    for number, (old, new) in enumerate(zip(frames, moving.read(out / "v.mp4"), strict=True)):
        face = (slice(60, 100), slice(40 + 8 * number, 75 + 8 * number))
        assert abs(old[face].astype(int) - new[face]).mean() > 20
        assert abs(old[130:].astype(int) - new[130:]).mean() < 4
        assert abs(new[face].astype(int) - 128).mean() > 10, "the grey of the fallback"
