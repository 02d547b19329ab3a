"""The wrapper's own work everywhere; the package's networks, with random weights, where a checkout is named.

Set DEEP_PRIVACY2 to a checkout of hukkelas/deep_privacy2 in an environment like envs/deepprivacy2.yaml.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anonbench.anonymize import engine
from anonbench.anonymize.deepprivacy2 import geometry, models, package, surface
from anonbench.anonymize.methods.deepprivacy2 import DeepPrivacy2
from anonbench.crops import Work
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file
from anonbench.manifests import shard_path
from anonbench.records import ANONYMIZED, Reason, Region, RegionKind

from .conftest import Dataset, ellipse, photograph, region

CHECKOUT = os.environ.get("DEEP_PRIVACY2")
installed = pytest.mark.skipif(CHECKOUT is None, reason="DEEP_PRIVACY2 names no checkout of hukkelas/deep_privacy2")
BODY, FACE = RegionKind.BODY, RegionKind.FACE
POSE = np.column_stack([np.tile([30, 50, 40], 6)[:17], np.linspace(15, 85, 17), np.full(17, 2)]).astype(np.float32)


def pose_in(box: tuple[int, int, int, int]) -> np.ndarray:
    """Return the pose, fitted into a box."""
    x0, y0, x1, y1 = box
    scale = np.array([(x1 - x0) / 40, (y1 - y0) / 80, 1], np.float32)
    return (POSE - (20, 10, 0)) * scale + np.array([x0, y0, 0], np.float32)


def test_the_published_checksums_are_the_packages() -> None:
    assert {name: model.md5[:8] for name, model in models.MODELS.items()} == {
        "fdf128": "bccd4403",
        "fdf256": "e8e32190",
        "triagan": "b649410e",
        "nocse": "fda0d809",
        "cse": "3411478b",
    }


def test_a_file_is_found_by_its_checksum_alone(tmp_path: Path) -> None:
    (tmp_path / "a-b-c").write_bytes(b"one")
    (tmp_path / "d-e-f").write_bytes(b"two")
    (tmp_path / "notes.txt").write_bytes(b"two")
    md5 = hashlib.md5(b"two").hexdigest()
    sha256 = hashlib.sha256(b"one").hexdigest()
    assert models.find(tmp_path, md5, None) == (tmp_path / "d-e-f", hashlib.sha256(b"two").hexdigest())
    assert models.find(tmp_path, md5, sha256.upper()) == (tmp_path / "a-b-c", sha256)
    assert models.find(tmp_path / "d-e-f", md5, None)[0] == tmp_path / "d-e-f"
    with pytest.raises(AnonbenchError, match=rf"a-b-c, weights: its checksum is not md5 {md5}"):
        models.find(tmp_path / "a-b-c", md5, None)
    with pytest.raises(AnonbenchError, match=r"holds no file with sha256 0000"):
        models.find(tmp_path, md5, "0" * 64)
    with pytest.raises(AnonbenchError, match="no such file or folder"):
        models.find(tmp_path / "nothing", md5, None)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    path, fuse = tmp_path / "weights.ckpt", tmp_path / "fuse"
    torch.save({"EMA_generator": {"a": torch.zeros(2)}, "more": Bomb(fuse)}, path)
    with pytest.raises(AnonbenchError, match=r"weights: holds more than tensors.*trust_pickle"):
        models.read(path)
    path.write_bytes(pickle.dumps(Bomb(fuse)))
    with pytest.raises(AnonbenchError, match="weights: "):
        models.read(path)
    assert not fuse.exists()


def test_densepose_files_hold_arrays_only(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path, fuse = tmp_path / "model.pkl", tmp_path / "fuse"
    path.write_bytes(pickle.dumps({"model": {"a": np.arange(3, dtype=np.float32)}, "__author__": "x"}, protocol=2))
    assert surface.read(path)["a"].tolist() == [0, 1, 2]
    path.write_bytes(pickle.dumps({"model": {"a": Bomb(fuse)}}))
    with pytest.raises(AnonbenchError, match=r"densepose_weights: is not a file of arrays \(it asks for "):
        surface.read(path)
    assert not fuse.exists()
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(AnonbenchError, match="is not a file of arrays"):
        surface.read(path)
    torch.save({"model": {"a": torch.ones(2)}}, tmp_path / "model.pth")
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    assert all(surface.read(tmp_path / f"model.{end}")["a"].sum() == 2 for end in ("pth", "safetensors"))
    with pytest.raises(AnonbenchError, match="no such file"):
        surface.read(tmp_path / "nothing.pkl")


def test_checkpoints_are_read_or_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "weights.ckpt"
    torch.save({"running_average_generator": {"a": torch.ones(2)}, "w_centers": torch.zeros(3, 4)}, path)
    assert models.read(path)["w_centers"].shape == (3, 4)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(AnonbenchError, match="is not a checkpoint"):
        models.read(path)
    torch.save({"discriminator": {}}, path)
    with pytest.raises(AnonbenchError, match="no EMA_generator"):
        models.read(path)
    safe = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(2), "w_centers": torch.zeros(3, 4)}, safe)
    assert {
        key: set(value) if isinstance(value, dict) else value.shape for key, value in models.read(safe).items()
    } == {
        "EMA_generator": {"a"},
        "w_centers": (3, 4),
    }
    safe.write_bytes(safe.read_bytes()[:20])
    with pytest.raises(AnonbenchError, match="is not a checkpoint"):
        models.read(safe)


def test_weights_of_another_architecture_are_refused() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    state = network.state_dict()
    models.check_state({**state, "w_centers": torch.zeros(1)}, network, Path("w"), "fdf128")
    models.check_state({k: v for k, v in state.items() if "running" not in k}, network, Path("w"), "fdf128")
    with pytest.raises(AnonbenchError, match=r"is not of model 'fdf128': 0.weight is \(4, 2\), not \(3, 2\)"):
        models.check_state({**state, "0.weight": torch.zeros(4, 2)}, network, Path("w"), "fdf128")
    with pytest.raises(AnonbenchError, match=r"is not of model 'triagan': 0.bias and 0 more are missing"):
        models.check_state({k: v for k, v in state.items() if k != "0.bias"}, network, Path("w"), "triagan")


def checkout(folder: Path) -> Path:
    """Make a folder with the names that a checkout has, and nothing in them."""
    for name in package.LAYOUT:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_refusals_when_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"model": "fdf128", "checkout": str(tmp_path / "checkout"), "weights": str(tmp_path / "w.ckpt")}
    with pytest.raises(
        AnonbenchError, match=r"checkout: is not a checkout of hukkelas/deep_privacy2 \(no dp2/infer.py\)"
    ):
        DeepPrivacy2(options)
    checkout(tmp_path / "checkout")
    with pytest.raises(AnonbenchError, match="weights: no such file or folder"):
        DeepPrivacy2(options)
    torch.save({"EMA_generator": {}}, tmp_path / "w.ckpt")
    with pytest.raises(AnonbenchError, match="weights: its checksum is not md5 bccd4403e7c9bca682566ff3319e8176"):
        DeepPrivacy2(options)
    options["sha256"] = sha256_file(tmp_path / "w.ckpt")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(AnonbenchError, match=r"device: deep_privacy2 takes a GPU .*CUDA_VISIBLE_DEVICES"):
        DeepPrivacy2({**options, "device": "cpu"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AnonbenchError, match="device: there is no GPU here"):
        DeepPrivacy2({**options, "device": "cuda"})
    assert DeepPrivacy2.available() == "deepprivacy2 needs 'model', 'checkout' and 'weights'"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "fdf64"}, "model: Input should be 'fdf128'"),
        ({"model": "cse"}, "model: cse needs densepose_config and densepose_weights"),
        ({"densepose_weights": "x"}, "model: fdf128 uses no DensePose"),
        ({"truncation_value": 2}, "truncation_value: "),
        ({"sha256": "abc"}, "sha256: "),
        ({"fallback": "deepprivacy3"}, "fallback: no such method"),
        ({"chekout": "x"}, "chekout: unknown key .did you mean 'checkout'"),
    ],
)
def test_bad_parameters(change: dict[str, Any], message: str) -> None:
    with pytest.raises(AnonbenchError, match=message):
        DeepPrivacy2({"model": "fdf128", "checkout": ".", "weights": ".", **change})


def test_windows() -> None:
    assert geometry.window_of(region((40, 40, 60, 70), FACE), 200, 200, "fdf128") == (24, 30, 75, 81)
    assert geometry.window_of(region((40, 40, 60, 70), FACE), 200, 200, "fdf256") == (29, 34, 71, 76)
    assert geometry.window_of(region((0, 0, 1, 1), FACE), 200, 200, "fdf256") == (0, 0, 1, 1)
    assert geometry.window_of(region((0, 2, 20, 22), FACE), 200, 200, "fdf256") == (-4, -2, 24, 26)
    x0, y0, x1, y1 = geometry.window_of(region((50, 20, 90, 120)), 200, 200, "triagan")
    assert (y1 - y0) / (x1 - x0) == pytest.approx(1.8, abs=0.03)


def test_nothing_of_the_person_is_left_along_the_edge() -> None:
    mask = np.zeros((40, 40), bool)
    mask[11:30, 13:28] = True
    crops = []
    for value in (0, 255):
        pixels = photograph(40, 40)
        pixels[mask] = value
        assert (geometry.without(pixels, mask)[~mask] == pixels[~mask]).all()
        crops.append(geometry.face_crop(geometry.without(pixels, mask), (128, 128)))
    assert (crops[0] == crops[1]).all()
    assert (geometry.without(pixels, np.ones_like(mask)) == 128).all()


def test_the_dilation_leaves_the_padding_alone() -> None:
    inside = geometry.inside_image((-10, 5, 70, 149), 60, 200)
    assert inside.shape == (144, 80)
    assert inside[:, 10:70].all()
    assert not inside[:, :10].any()
    assert not inside[:, 70:].any()
    mask = np.zeros((144, 80), bool)
    mask[40:100, 10:40] = True
    small, grown = geometry.body_mask(mask, inside, (160, 288))
    assert small[80:200, 20:80].all()
    assert small.sum() == 120 * 60
    assert not grown[:, :20].any()
    assert grown[100, 83]
    assert not grown[100, 84]
    assert grown[76, 50]
    assert not grown[75, 50]
    thin = np.zeros((900, 501), bool)
    thin[:, 250] = True
    assert geometry.body_mask(thin, np.ones_like(thin), (160, 288))[0].any()


def test_the_face_is_the_rectangle_of_its_box() -> None:
    mask = geometry.face_mask((40, 40, 60, 70), (24, 29, 75, 80), (128, 128))
    rows, columns = np.where(mask.any(axis=1))[0], np.where(mask.any(axis=0))[0]
    assert (rows[0], rows[-1] + 1) == (int(11 * 128 / 51), int(41 * 128 / 51))
    assert (columns[0], columns[-1] + 1) == (int(16 * 128 / 51), int(36 * 128 / 51))
    assert geometry.face_mask((5, 5, 6, 6), (0, 0, 900, 900), (128, 128)).sum() == 1


def test_keypoints_outside_the_crop_are_invisible() -> None:
    points = np.zeros((17, 3), np.float32)
    points[:4] = [(20, 30, 2), (-1, 30, 2), (20, 61, 1), (20, 30, 0)]
    found = geometry.crop_keypoints(points, (40, 60))
    assert found[0].tolist() == [0.5, 0.5, 1]
    assert found[:, 2].tolist() == [1] + 16 * [0]


class Paints:
    """Stands for the package: notes what it gets and paints one colour."""

    centres = False

    def __init__(self, value: float = 200.0) -> None:
        self.value, self.calls = value, list[dict[str, Any]]()

    def paint(self, pixels: Any, erased: Any, mask: Any, keypoints: Any, surface: Any, **options: Any) -> np.ndarray:
        self.calls.append(
            {"pixels": pixels, "erased": erased, "mask": mask, "keypoints": keypoints, "surface": surface, **options}
        )
        return np.full(pixels.shape, self.value, np.float32)


@pytest.fixture
def painted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[DeepPrivacy2, Paints]]:
    def make(model: str, value: float = 200.0, **options: Any) -> tuple[DeepPrivacy2, Paints]:
        paints = Paints(value)
        monkeypatch.setattr("anonbench.anonymize.methods.deepprivacy2.Package", lambda *_: paints)
        torch.save({"EMA_generator": {}}, tmp_path / "w.ckpt")
        sha256 = sha256_file(tmp_path / "w.ckpt")
        folder = checkout(tmp_path / "checkout")
        options = {"model": model, "checkout": str(folder), "weights": str(tmp_path / "w.ckpt"), **options}
        return DeepPrivacy2({"sha256": sha256, **options}), paints

    return make


@pytest.mark.parametrize(("model", "kind"), [("fdf128", FACE), ("fdf256", FACE), ("nocse", BODY), ("triagan", BODY)])
@pytest.mark.parametrize("box", [(20, 10, 60, 90), (0, 0, 30, 40), (100, 80, 120, 100), (0, 0, 120, 100), (5, 5, 6, 6)])
def test_what_the_package_gets_and_what_is_pasted(
    painted: Callable[..., tuple[DeepPrivacy2, Paints]], model: str, kind: RegionKind, box: tuple[int, int, int, int]
) -> None:
    method, paints = painted(model)
    pixels, one = photograph(120, 100), region(box, kind)
    changed = engine.anonymize_image(pixels, [one], method, keypoints={1: pose_in(box)})
    x0, y0, x1, y1 = box
    inside = np.zeros((100, 120), bool)
    inside[y0:y1, x0:x1] = one.mask
    assert (changed[inside] == 200).all()
    assert (changed[~inside] == pixels[~inside]).all()
    (call,) = paints.calls
    width, height = method.model.size
    assert call["pixels"].shape == (height, width, 3)
    assert call["pixels"].dtype == np.uint8
    assert call["erased"].shape == call["mask"].shape == (height, width)
    assert (call["erased"] | ~call["mask"]).all()
    assert call["mask"].any()
    assert (call["keypoints"] is not None) == (model == "triagan")
    assert 0 <= call["seed"] < 2**32
    assert call["multi_modal_truncation"] is False


def test_seeds(painted: Callable[..., tuple[DeepPrivacy2, Paints]]) -> None:
    people = [
        Region(n, BODY, "mask", (20 * n, 5, 20 * n + 15, 50), ellipse(45, 15), (0, 0, 1, 1), identity=identity)
        for n, identity in enumerate((None, "a", "a"))
    ]
    for consistent, same in (("person", False), ("identity", True)):
        method, paints = painted("nocse", consistent=consistent)
        for image_id in (1, 2):
            engine.anonymize_image(photograph(120, 100), people, method, image_id=image_id)
        seeds = [call["seed"] for call in paints.calls]
        assert (len({seeds[i] for i in (1, 2, 4, 5)}) == 1) == same
        assert seeds[0] not in seeds[1:]


def test_who_cannot_be_painted_falls_back(painted: Callable[..., tuple[DeepPrivacy2, Paints]]) -> None:
    people = [region((10, 10, 40, 90), person_id=1), region((60, 10, 90, 90), person_id=2)]
    hidden = POSE * (1, 1, 0)
    method, _ = painted("triagan", fallback="pixelate")
    for keypoints in ({1: POSE}, {1: POSE, 2: hidden.astype(np.float32)}):
        work = Work(1, photograph(120, 100), people, keypoints)
        (rows,) = engine.anonymize([work], method, seed=0)
        assert [(row.status, row.fallback) for row in rows] == [
            (ANONYMIZED, None),
            (Reason.METHOD_FAILED, "pixelate"),
        ]
    method, _ = painted("nocse", value=float("nan"))
    (rows,) = engine.anonymize([Work(1, photograph(120, 100), people)], method, seed=0)
    assert {(row.status, row.fallback) for row in rows} == {(Reason.METHOD_FAILED, "mask_out")}


def test_a_variant_of_the_other_kind_ends_the_run(painted: Callable[..., tuple[DeepPrivacy2, Paints]]) -> None:
    method, _ = painted("fdf128")
    with pytest.raises(AnonbenchError, match=r"model 'fdf128' paints face regions, not body ones; use it in a variant"):
        engine.anonymize_image(photograph(120, 100), [region((10, 10, 40, 90))], method)


def test_cluster_centres_must_be_there(painted: Callable[..., tuple[DeepPrivacy2, Paints]]) -> None:
    with pytest.raises(AnonbenchError, match="multi_modal_truncation: contains no cluster centres"):
        painted("fdf128", multi_modal_truncation=True)


def densepose(folder: Path) -> dict[str, str]:
    """Write a configuration of DensePose CSE, its published one but for the trunk's depth, and random weights."""
    config = folder / "densepose.yaml"
    config.write_text(DENSEPOSE)
    cfg = importlib.import_module("detectron2.config").get_cfg()
    importlib.import_module("densepose").add_densepose_config(cfg)
    cfg.merge_from_file(str(config))
    cfg.MODEL.WEIGHTS = cfg.MODEL.ROI_DENSEPOSE_HEAD.CSE.EMBEDDERS[surface.MESH].INIT_FILE = ""
    cfg.MODEL.DEVICE = "cpu"
    torch.manual_seed(0)
    state = importlib.import_module("detectron2.modeling").build_model(cfg).state_dict()
    for name, value in state.items():
        if "embedder" in name:
            torch.nn.init.normal_(value)
    state = {name: value.numpy() for name, value in state.items()}
    (folder / "densepose.pkl").write_bytes(pickle.dumps({"model": state}))
    return {"densepose_config": str(config), "densepose_weights": str(folder / "densepose.pkl")}


DENSEPOSE = """
VERSION: 2
MODEL:
  WEIGHTS: "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
  META_ARCHITECTURE: GeneralizedRCNN
  BACKBONE: {NAME: build_resnet_fpn_backbone}
  RESNETS: {DEPTH: 50, OUT_FEATURES: [res2, res3, res4, res5]}
  FPN: {IN_FEATURES: [res2, res3, res4, res5]}
  ANCHOR_GENERATOR: {SIZES: [[32], [64], [128], [256], [512]]}
  RPN: {IN_FEATURES: [p2, p3, p4, p5, p6]}
  DENSEPOSE_ON: true
  ROI_HEADS: {NAME: DensePoseROIHeads, IN_FEATURES: [p2, p3, p4, p5], NUM_CLASSES: 1}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 2, POOLER_RESOLUTION: 7, POOLER_TYPE: ROIAlign}
  ROI_DENSEPOSE_HEAD:
    NAME: DensePoseV1ConvXHead
    POOLER_TYPE: ROIAlign
    NUM_COARSE_SEGM_CHANNELS: 2
    PREDICTOR_NAME: DensePoseEmbeddingPredictor
    LOSS_NAME: DensePoseCseLoss
    CSE:
      EMBED_LOSS_NAME: EmbeddingLoss
      EMBEDDERS:
        smpl_27554:
          TYPE: vertex_feature
          NUM_VERTICES: 27554
          FEATURE_DIM: 256
          FEATURES_TRAINABLE: false
          IS_TRAINABLE: true
          INIT_FILE: "https://example.org/nothing.pkl"
INPUT: {MIN_SIZE_TEST: 128}
"""


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Return a function that gives the parameters of a model with random weights of the package's own architecture."""
    made: dict[str, dict[str, Any]] = {}

    def make(name: str) -> dict[str, Any]:
        if name not in made:
            root = Path(str(CHECKOUT))
            with package._imports(root):
                tops = importlib.import_module("tops")
                config = importlib.import_module("dp2.utils").load_config(root / models.MODELS[name].config)
                torch.manual_seed(0)
                state = tops.config.instantiate(config.generator).state_dict()
            state["style_net.w_avg"] = torch.randn(512)
            path = tmp_path_factory.mktemp("weights") / f"{name}.ckpt"
            torch.save({"EMA_generator": state, "w_centers": torch.randn(4, 512)}, path)
            made[name] = {"model": name, "checkout": str(root), "weights": str(path), "sha256": sha256_file(path)}
            if models.MODELS[name].surface:
                made[name] |= densepose(path.parent)
        return made[name]

    return make


@installed
@pytest.mark.parametrize("name", models.MODELS)
def test_the_packages_networks_paint(weights: Callable[[str], dict[str, Any]], name: str) -> None:
    method = DeepPrivacy2(weights(name))
    one = region((20, 10, 60, 90), method.model.kind)
    inside = np.zeros((100, 120), bool)
    inside[10:90, 20:60] = one.mask
    results = []
    for value, seed in ((0, 1), (255, 1), (0, 2)):
        pixels = photograph(120, 100)
        pixels[inside] = value
        results.append(engine.anonymize_image(pixels, [one], method, keypoints={1: POSE}, seed=seed))
        assert (results[-1][~inside] == pixels[~inside]).all()
        assert (results[-1][inside] != value).mean() > 0.5
    if name != "cse":  # DensePose looks at the person
        assert (results[0] == results[1]).all(), "the person's pixels reached the generator"
    assert (results[0] != results[2]).any(), "the seed chooses among the cluster centres"


@installed
def test_the_whole_stage(weights: Callable[[str], dict[str, Any]], dataset: Dataset) -> None:
    folder = dataset.run("face-deepprivacy2", parameters=weights("fdf128"), threads=2)
    rows = [json.loads(line) for line in shard_path(folder, "train", 0).read_text().splitlines()]
    assert rows[0]["parameters"]["sha256"] == weights("fdf128")["sha256"]
    people = [row for row in rows if row["type"] == "person"]
    assert [row["method"] for row in people if row["status"] == "anonymized"] == 6 * ["deepprivacy2"]


@installed
def test_latents_are_the_packages(weights: Callable[[str], dict[str, Any]]) -> None:
    def paint(seed: int, **options: Any) -> np.ndarray:
        method = DeepPrivacy2({**weights("fdf128"), **options})
        return engine.anonymize_image(photograph(120, 100), [region((20, 10, 60, 60), FACE)], method, seed=seed)

    mean = {"multi_modal_truncation": False, "truncation_value": 0.0}
    assert (paint(1, **mean) == paint(2, **mean)).all()
    wide = {"multi_modal_truncation": False, "truncation_value": 1.0}
    assert (paint(1, **wide) != paint(2, **wide)).any()
    assert (paint(1, **wide) == paint(1, **wide)).all()


@installed
@pytest.mark.parametrize(("name", "histogram"), [("nocse", "naive"), ("fdf128", "latent")])
def test_the_packages_histograms_run(weights: Callable[[str], dict[str, Any]], name: str, histogram: str) -> None:
    pytest.importorskip("kornia")
    method = DeepPrivacy2({**weights(name), "histogram": histogram, "steps": 2})
    one = region((20, 10, 60, 60), method.model.kind)
    plain = engine.anonymize_image(photograph(120, 100), [one], DeepPrivacy2(weights(name)), seed=1)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    changed = engine.anonymize_image(photograph(120, 100), [one], method, seed=1)
    assert (changed != plain).any()
    assert (engine.anonymize_image(photograph(120, 100), [one], method, seed=1) == changed).all()
    assert (np.random.get_state()[1] == before[0]).all()
    assert (torch.get_rng_state() == before[1]).all()


@installed
def test_the_surface_is_the_packages(weights: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the generator gets of an answer of DensePose's, and what the package's own detection makes of the same."""
    box, pixels = (70, 40, 110, 130), photograph(200, 180)
    one, model, own = region(box), models.MODELS["cse"], DeepPrivacy2(weights("cse"))._package
    x0, y0, x1, y1 = geometry.window_of(one, 200, 180, "cse")
    crop, mask = pixels[y0:y1, x0:x1], np.zeros((y1 - y0, x1 - x0), bool)
    mask[box[1] - y0 : box[3] - y0, box[0] - x0 : box[2] - x0] = one.mask
    erased = geometry.body_mask(mask, np.ones_like(mask), model.size)[1]
    inner = (box[0] - x0, box[1] - y0, box[2] - x0, box[3] - y0)
    embedding, body = own._surface.find(crop, inner)
    assert embedding.shape == (16, *body.shape)
    bands = own._surface.embeddings[torch.arange(body.shape[0]) // 14 * 1000]  # its own weights are random, a noise
    embedding, body = bands.T[..., None].expand_as(embedding).contiguous(), torch.from_numpy(ellipse(*body.shape))
    asked = []
    monkeypatch.setattr(own._surface, "find", lambda _, box: (asked.append(box), (embedding, body))[1])
    found = own.surface_of(crop, mask, erased)
    assert asked == [inner]
    assert found is not None
    with package._imports(Path(str(CHECKOUT))):
        structures = importlib.import_module("dp2.detection.structures")
    full = torch.zeros((1, 180, 200), dtype=torch.bool)
    full[0, box[1] : box[3], box[0] : box[2]] = torch.from_numpy(one.mask)
    cse = {
        "instance_embedding": embedding[None],
        "instance_segmentation": body[None],
        "bbox_XYXY": torch.tensor(box)[None],
    }
    theirs = structures.CSEPersonDetection(
        full, cse, model.size[::-1], {"percentage_background": 0.3, "axis_minimum_expansion": 0.1},
        {"minimum_area": 64, "min_bbox_ratio_inside": 0, "aspect_ratio_range": [0, 99999]}, 0.02,
        own._surface.embeddings, (3, 180, 200), normalize_embedding=False,
    ).get_crop(0, torch.from_numpy(pixels).permute(2, 0, 1))  # fmt: skip
    shown, expected = found["E_mask"][0, 0].bool(), theirs["E_mask"][0, 0].bool() & torch.from_numpy(erased)
    assert 0 < shown.sum() < shown.numel()
    assert (shown & expected).sum() / (shown | expected).sum() > 0.85
    assert (found["embedding"][0, :, ~shown] == 0).all()
    both = shown & expected
    difference = (found["embedding"][0] - theirs["embedding"][0]).abs().amax(dim=0)[both]
    assert (difference < 1e-5).float().mean() > 0.5


@installed
def test_weights_of_another_model_are_refused(weights: Callable[[str], dict[str, Any]]) -> None:
    with pytest.raises(AnonbenchError, match="weights: is not of model 'fdf128'"):
        DeepPrivacy2({**weights("nocse"), "model": "fdf128"})


@installed
@pytest.mark.parametrize("box", [(60, 40, 110, 140), (2, 30, 40, 110), (150, 100, 199, 180), (80, 80, 92, 100)])
def test_crops_are_the_packages(box: tuple[int, int, int, int]) -> None:
    """The same window, picture and masks as its detections prepare, but for rounding."""
    with package._imports(Path(str(CHECKOUT))):
        structures = importlib.import_module("dp2.detection.structures")
    pixels = photograph(200, 180)
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    for name in ("fdf128", "fdf256", "triagan"):
        model = models.MODELS[name]
        one = region(box, model.kind)
        x0, y0, x1, y1 = window = geometry.window_of(one, 200, 180, name)
        if model.kind is FACE:
            theirs = structures.FaceDetection(
                torch.tensor([box]), model.size[::-1], fdf128_expand=name == "fdf128"
            ).get_crop(0, image)
        else:
            full = torch.zeros((1, 180, 200), dtype=torch.bool)
            full[0, box[1] : box[3], box[0] : box[2]] = torch.from_numpy(one.mask)
            points = torch.from_numpy(POSE * (1, 1, 1))[None].float()
            theirs = structures.PersonDetection(
                full, model.size[::-1], {"percentage_background": 0.3, "axis_minimum_expansion": 0.1},
                {"minimum_area": 64, "min_bbox_ratio_inside": 0, "aspect_ratio_range": [0, 99999]}, 0.02,
                image.shape, kp_vis_thr=0.05, keypoints=points, insert_joint_map=True,
            ).get_crop(0, image)  # fmt: skip
        assert np.abs(theirs["boxes"].numpy()[0] - window).max() <= 2, (name, theirs["boxes"], window)
        padded = np.pad(pixels, ((300, 300), (300, 300), (0, 0)))[y0 + 300 : y1 + 300, x0 + 300 : x1 + 300]
        if model.kind is FACE:
            crop, erased = geometry.face_crop(padded, model.size), geometry.face_mask(box, window, model.size)
        else:
            mask = np.zeros((y1 - y0, x1 - x0), bool)
            mask[box[1] - y0 : box[3] - y0, box[0] - x0 : box[2] - x0] = one.mask
            crop = geometry.body_crop(padded, model.size)
            erased = geometry.body_mask(mask, geometry.inside_image(window, 200, 180), model.size)[1]
            found = geometry.crop_keypoints(POSE - (x0, y0, 0), (x1 - x0, y1 - y0))
            assert np.abs(theirs["keypoints"][0].numpy()[:, 2] - found[:, 2]).max() <= 1
            both = (theirs["keypoints"][0, :, 2].numpy() > 0) & (found[:, 2] > 0)
            assert np.abs(theirs["keypoints"][0].numpy() - found)[both].max(initial=0) < 0.05
        gone = theirs["mask"].numpy()[0, 0] == 0
        assert (gone & erased).sum() / (gone | erased).sum() > 0.85, name
        assert np.abs(theirs["img"][0].permute(1, 2, 0).numpy().astype(float) - crop).mean() < 8, name
