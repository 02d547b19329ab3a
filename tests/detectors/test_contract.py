"""Every registered detector keeps the contract."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import detection

from anonbench import registry
from anonbench.detectors import base
from anonbench.errors import AnonbenchError
from tests.detectors import drawn


@pytest.fixture(scope="session")
def options(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Return a function that gives a detector what it cannot do without."""
    folder = tmp_path_factory.mktemp("detectors")
    made: dict[str, dict[str, Any]] = {}

    def make(name: str) -> dict[str, Any]:
        if name in made:
            return made[name]
        if name == "yunet":
            made[name] = {"weights": str(drawn.yunet(folder / "model.onnx")), "threshold": 0.3}
        elif name == "torchvision":
            torch.manual_seed(0)
            model = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=2)
            torch.save(model.state_dict(), folder / "model.pth")
            made[name] = {
                "model": "ssdlite320_mobilenet_v3_large",
                "weights": str(folder / "model.pth"),
                "classes": 2,
                "threshold": 0.01,
                "device": "cpu",
            }
        elif name in ("boxes", "person_boxes"):
            path = folder / "boxes.json"
            path.write_text(json.dumps({"1": [[5, 5, 9, 9, 0.4], [10, 20, 30, 50, 0.9]], "2.jpg": [], "3": [[0] * 5]}))
            made[name] = {"path": str(path)}
        else:
            made[name] = {}
        return made[name]

    return make


def make(name: str, options: Callable[[str], dict[str, Any]]) -> Any:
    """Return a detector; one whose package is not in the lock, or another package's that needs settings, is skipped."""
    if name == "mtcnn" and importlib.util.find_spec("facenet_pytorch") is None:
        pytest.skip("facenet-pytorch is not installed")
    try:
        return base.make(name, options(name))
    except AnonbenchError as error:
        if registry.module("detectors", name).startswith("anonbench."):
            raise
        pytest.skip(f"'{name}' cannot be made without settings: {error}")


IMAGES = [
    drawn.scene(320, 240, [(20, 20, 64), (150, 90, 96)]),
    np.full((60, 90, 3), 117, np.uint8),
    np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8),
    drawn.scene(200, 330, [(60, 60, 72)]),
    np.full((1, 1, 3), 255, np.uint8),
    drawn.scene(320, 240, [(200, 20, 48)]),
]
NAMES = registry.names("detectors")
SEEING = [name for name in NAMES if issubclass(base.load(name), base.Detector)]
STORED = [name for name in NAMES if name not in SEEING]


def test_ours_are_registered() -> None:
    assert {"centerface", "yunet", "hog", "torchvision"} <= {*SEEING}
    assert {"boxes", "person_boxes"} <= {*STORED}


def check(boxes: np.ndarray, threshold: float) -> None:
    assert boxes.dtype == np.float32
    assert boxes.ndim == 2
    assert boxes.shape[1] == 5
    assert np.isfinite(boxes).all()
    assert (boxes[:, 2:4] > 0).all()
    assert ((boxes[:, 4] >= np.float32(threshold)) & (boxes[:, 4] <= 1)).all()
    assert (np.diff(boxes[:, 4]) <= 0).all()


@pytest.mark.parametrize("name", NAMES)
class TestAll:
    def test_names_what_it_is(self, name: str, options: Callable[[str], dict[str, Any]]) -> None:
        detector = make(name, options)
        assert detector.version.strip()
        assert detector.finds in ("face", "person")
        assert "threshold" in detector.Options.model_fields
        assert all(field.description for field in detector.Options.model_fields.values())
        assert set(detector.files) <= set(detector.Options.model_fields)
        weights = detector.weights
        assert all(re.fullmatch("[0-9a-f]{64}", digest) and "/" not in file for file, digest in weights)
        assert weights == make(name, options).weights

    def test_an_unknown_setting_is_refused(self, name: str, options: Callable[[str], dict[str, Any]]) -> None:
        with pytest.raises(AnonbenchError, match=r"treshold: unknown key .did you mean 'threshold'"):
            base.make(name, {**options(name), "treshold": 0.5})


@pytest.mark.parametrize("name", SEEING)
class TestDetectors:
    def test_no_image(self, name: str, options: Callable[[str], dict[str, Any]]) -> None:
        assert make(name, options).detect([]) == []

    def test_form_of_the_result(self, name: str, options: Callable[[str], dict[str, Any]]) -> None:
        detector = make(name, options)
        found = detector.detect(IMAGES)
        assert len(found) == len(IMAGES)
        for boxes in found:
            check(boxes, detector.options.threshold)

    def test_images_stay_as_they_are(self, name: str, options: Callable[[str], dict[str, Any]]) -> None:
        given = [image.copy() for image in IMAGES]
        for image in given:
            image.flags.writeable = False
        make(name, options).detect(given)
        assert all(np.array_equal(a, b) for a, b in zip(given, IMAGES, strict=True))

    def test_a_batch_is_its_images_one_by_one(self, name: str, options: Callable[[str], dict[str, Any]]) -> None:
        detector = make(name, options)
        together = detector.detect(IMAGES)
        alone = [make(name, options).detect([image])[0] for image in IMAGES]
        again = detector.detect(IMAGES[::-1])[::-1]
        for one, other, third in zip(together, alone, again, strict=True):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(one, third)

    def test_the_threshold_cuts(self, name: str, options: Callable[[str], dict[str, Any]]) -> None:
        loose = make(name, options)
        higher = min(0.99, loose.options.threshold + 0.2)
        strict = base.make(name, {**options(name), "threshold": higher})
        assert isinstance(strict, base.Detector)
        for few, many in zip(strict.detect(IMAGES), loose.detect(IMAGES), strict=True):
            check(few, higher)
            assert len(few) <= len(many)


@pytest.mark.parametrize("name", STORED)
def test_stored_boxes(name: str, options: Callable[[str], dict[str, Any]]) -> None:
    detector = make(name, options)
    boxes = detector.boxes_of(1, "1.jpg")
    check(boxes, detector.options.threshold)
    np.testing.assert_allclose(boxes, [[10, 20, 20, 30, 0.9], [5, 5, 4, 4, 0.4]])
    assert detector.boxes_of(2, "2.jpg").shape == (0, 5)
    assert detector.boxes_of(3, "3.jpg").shape == (0, 5), "a box without size is no box"
    assert detector.boxes_of(4, "4.jpg") is None
    assert detector.entries == 3
    strict = base.make(name, {**options(name), "threshold": 0.5})
    assert isinstance(strict, base.StoredDetections)
    assert len(strict.boxes_of(1, "1.jpg")) == 1


def test_a_class_that_is_no_detector_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda group, name: dict)
    with pytest.raises(AnonbenchError, match="the detector plugin 'mine' is not a Detector"):
        base.load("mine")


@pytest.mark.parametrize("seed", range(5))
def test_nms_keeps_the_best_of_each_heap_whatever_the_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = np.column_stack([rng.uniform(0, 60, (50, 2)), rng.uniform(5, 30, (50, 2)), rng.uniform(0, 1, 50)])
    kept = base.nms(boxes, 0.4)
    np.testing.assert_array_equal(kept, base.nms(rng.permutation(boxes), 0.4))
    ious = iou(kept, kept)
    assert (ious[~np.eye(len(kept), dtype=bool)] <= 0.4).all()
    for box in boxes:  # everything that went is explained by something better
        better = kept[kept[:, 4] >= box[4]]
        assert (better == box).all(axis=1).any() or (iou(box[None], better) > 0.4).any()


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU of every box of ``a`` with every one of ``b``."""
    start = np.maximum(a[:, None, :2], b[None, :, :2])
    end = np.minimum(a[:, None, :2] + a[:, None, 2:4], b[None, :, :2] + b[None, :, 2:4])
    inside = np.clip(end - start, 0, None).prod(axis=2)
    return inside / ((a[:, 2] * a[:, 3])[:, None] + (b[:, 2] * b[:, 3])[None] - inside)
