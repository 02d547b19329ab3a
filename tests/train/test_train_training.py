"""Trainings: repeatable to the byte, continued after a kill, stopped at a loss that is not finite."""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision import models as torchvision_models
from train_tiny import ARCHITECTURE, TINY, tiny_recipe, write_manifest, write_variant

from anonbench import portable
from anonbench import recipe as recipes
from anonbench.errors import AnonbenchError
from anonbench.learning import devices
from anonbench.learning.distributed import Place
from anonbench.learning.files import read_checkpoint
from anonbench.learning.loop import LEAST_SCALE
from anonbench.learning.supervised import optimizer_for
from anonbench.recipe import Recipe
from anonbench.train import initialisation, loop, models, torchvision, training
from anonbench.train.data import Category, VariantSplit
from anonbench.train.record import RECORD, TIMING, WEIGHTS
from anonbench.train.training import CHECKPOINT, run_training
from tests.faults.faults import inflict

CPU = torch.device("cpu")


def train(variant: Path, out: Path, recipe: Recipe | None = None, seed: int = 0, **options: Any) -> tuple[bytes, bytes]:
    """Train on one thread and return the bytes of the weights and of train.json."""
    run_training(variant, "train", recipe or tiny_recipe(), seed, out, device="cpu", **options)
    return (out / WEIGHTS).read_bytes(), (out / RECORD).read_bytes()


@pytest.fixture(scope="session")
def trained(variant: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    return train(variant, tmp_path_factory.mktemp("model"))


def test_two_trainings_have_the_same_bytes(variant: Path, tmp_path: Path, trained: tuple[bytes, bytes]) -> None:
    torch.rand(5)  # what was drawn before must not matter
    assert train(variant, tmp_path) == trained


def test_the_seed_changes_the_weights(variant: Path, tmp_path: Path, trained: tuple[bytes, bytes]) -> None:
    assert train(variant, tmp_path, seed=1)[0] != trained[0]


def test_the_record_is_complete(variant: Path, trained: tuple[bytes, bytes], tmp_path: Path) -> None:
    record = json.loads(trained[1])
    held = {"portable": portable.TORCH} if portable.level() == "portable" else {}
    assert record["resolved"] == {
        "batch_size": 2, "learning_rate": 0.02, "iterations": 4, "determinism": portable.level(), **held,
    }  # fmt: skip
    assert record["data"] | {"annotations_sha256": "", "dataset": ""} == {
        "dataset": "", "split": "train", "annotations_sha256": "", "images_digest": None,
        "images": 5, "used": 8, "crowd": 1, "empty_box": 0,
    }  # fmt: skip
    assert record["initialisation"] == {"kind": "scratch", "seen": [], "leaks": False}
    assert record["processes"] == 1
    assert [point["iteration"] for point in record["loss_curve"]] == [1, 2, 3, 4]
    assert {"loss_mask", "loss_keypoint", "learning_rate"} <= set(record["loss_curve"][0])
    train(variant, tmp_path)
    timing = json.loads((tmp_path / TIMING).read_text())
    names = {"seconds", "iterations", "iterations_per_second", "images_per_second", "loading_share", "peak_memory_mib"}
    assert set(timing) == {*names, "device", "python"}
    assert timing["iterations"] == 4
    assert str(tmp_path) not in trained[1].decode()


def test_decoding_ahead_changes_nothing(variant: Path) -> None:
    batches = loop.Batches(VariantSplit.read(variant, "train"), tiny_recipe({"horizontal_flip": 0.5}), 0)
    inline, ahead = (list(batches.ahead(1, 8, threads)) for threads in (0, 3))
    assert len(inline) == len(ahead) == 7
    for (images, targets), (others, more) in zip(inline, ahead, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(images, others, strict=True))
        assert all(torch.equal(a[k], b[k]) for a, b in zip(targets, more, strict=True) for k in a)


def test_an_epoch_shows_every_image_once(variant: Path) -> None:
    data = VariantSplit.read(variant, "train")
    batches = loop.Batches(data, tiny_recipe(batch_size=2), 0)
    assert [len(batches[i][0]) for i in range(3)] == [2, 2, 1]
    counts = [len(target["boxes"]) for i in range(3) for target in batches[i][1]]
    assert sorted(counts) == [0, 2, 2, 2, 2]


class Killed(Exception):
    pass


@pytest.mark.parametrize("steps", [1, 3])
def test_a_stopped_training_continues_to_the_same_weights(
    variant: Path, tmp_path: Path, trained: tuple[bytes, bytes], steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, done = loop.Detector.step, 0

    def stops(*arguments: Any) -> dict[str, float]:
        nonlocal done
        if done == steps:
            raise Killed
        done += 1
        return step(*arguments)

    monkeypatch.setattr(loop.Detector, "step", stops)
    with pytest.raises(Killed):
        train(variant, tmp_path / "out", checkpoints=tmp_path / "checkpoints")
    assert (tmp_path / "checkpoints" / CHECKPOINT).exists() == (steps >= 2)
    assert not (tmp_path / "out" / RECORD).exists()
    monkeypatch.setattr(loop.Detector, "step", step)
    assert train(variant, tmp_path / "out", checkpoints=tmp_path / "checkpoints") == trained
    assert not (tmp_path / "checkpoints" / CHECKPOINT).exists()


def test_a_killed_process_continues_to_the_same_weights(variant: Path, tmp_path: Path) -> None:
    recipe = {**TINY, "iterations": 40, "checkpoint_every": 3}
    code = (
        "import sys; from pathlib import Path; from anonbench import recipe; from anonbench.train.training import *\n"
        "variant, out, checkpoints, text = sys.argv[1:]\n"
        "run_training(Path(variant), 'train', recipe.read(text), 0, Path(out), device='cpu',"
        " checkpoints=Path(checkpoints))"
    )
    command = [sys.executable, "-c", code, str(variant), str(tmp_path / "out"), str(tmp_path / "c"), json.dumps(recipe)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "c" / CHECKPOINT).exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "out" / RECORD).exists()
    changed = tiny_recipe(iterations=40, checkpoint_every=3)
    resumed = train(variant, tmp_path / "out", changed, checkpoints=tmp_path / "c")
    assert resumed == train(variant, tmp_path / "whole", changed)


def test_a_checkpoint_of_another_training_is_not_used(
    variant: Path, tmp_path: Path, trained: tuple[bytes, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / CHECKPOINT).parent.mkdir(exist_ok=True)
    torch.save({"key": "other"}, tmp_path / CHECKPOINT)
    assert train(variant, tmp_path / "out", checkpoints=tmp_path) == trained
    assert "belongs to another training" in capsys.readouterr().err


@pytest.mark.parametrize("changed", ["images", "code", "nothing"])
def test_a_checkpoint_of_other_images_or_other_code_is_not_continued(
    tmp_path: Path,
    trained: tuple[bytes, bytes],
    changed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = write_variant(tmp_path / "v")
    one = write_manifest(root)

    def full(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:  # stops after the last checkpoint
        patched.setattr(training, "save_tensors", full)
        with pytest.raises(Killed):
            train(root, tmp_path / "out", checkpoints=tmp_path)
    assert (tmp_path / CHECKPOINT).exists()
    two = None
    if changed == "images":
        path = str(root / "train" / "001.png")
        cv2.imwrite(path, cv2.imread(path), [cv2.IMWRITE_PNG_COMPRESSION, 0])  # other bytes, the same pixels
        two = write_manifest(root)
        assert two != one
    if changed == "code":
        monkeypatch.setattr(torchvision, "code_hash", lambda *_: "other")
    weights, record = train(root, tmp_path / "out", checkpoints=tmp_path)
    assert weights == trained[0]
    assert json.loads(record)["data"]["images_digest"] == (two if changed == "images" else one)
    said = capsys.readouterr().err
    assert ("belongs to another training" in said) == (changed != "nothing")
    assert ("continuing after iteration 4" in said) == (changed == "nothing")


@pytest.mark.parametrize(
    ("module", "name", "error", "file"),
    [
        (os, "write", OSError(errno.ENOSPC, "No space left on device"), WEIGHTS),
        (torch, "save", RuntimeError("PytorchStreamWriter failed: file write failed\nbacktrace"), CHECKPOINT),
    ],
)
def test_a_full_disk_is_one_sentence(
    variant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, error: Exception, file: str
) -> None:
    def full(_: Any, part: Any) -> None:
        if isinstance(part, Path):
            part.write_bytes(b"half")
        raise error

    monkeypatch.setattr(module, name, full)
    with pytest.raises(AnonbenchError, match=rf"{file}: cannot be written \(.*\); free some space") as caught:
        train(variant, tmp_path, checkpoints=tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob(".*.part"))
    assert not (tmp_path / file).exists()


def test_a_damaged_checkpoint_is_named(variant: Path, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"PK not a checkpoint")
    with pytest.raises(AnonbenchError, match=r"checkpoint\.pt: is not a readable checkpoint"):
        train(variant, tmp_path / "out", checkpoints=tmp_path)


def test_a_checkpoint_with_a_flipped_bit_is_refused_or_the_same(tmp_path: Path) -> None:
    """Torch reads numbers that are not those that were written, and raises whatever names lead it to."""
    path, device = tmp_path / "checkpoint.pt", torch.device("cpu")
    torch.save({"key": "k", "iteration": 3, "weights": torch.zeros(30)}, path)
    whole, said = path.read_bytes(), []
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            state = read_checkpoint(path, "k", device)
        except AnonbenchError as error:
            said.append(str(error))
        else:
            assert state is not None
            assert state["iteration"] == 3
            assert (state["weights"] == 0).all()
    assert len(said) > 100
    assert all(re.fullmatch(r".*checkpoint\.pt: is not a readable checkpoint \(.+\); delete it", one) for one in said)


@pytest.mark.parametrize("what", [[1], "x", {"key": "k"}], ids=str)
def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, what: Any) -> None:
    torch.save(what, tmp_path / "checkpoint.pt")
    with pytest.raises(AnonbenchError, match=r"checkpoint\.pt: is not a readable checkpoint \(it holds something else"):
        read_checkpoint(tmp_path / "checkpoint.pt", "k", torch.device("cpu"))


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(variant: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(base_learning_rate=1e8, warmup_iterations=0, checkpoint_every=1)
    with pytest.raises(
        AnonbenchError, match=r"base_learning_rate: the loss is not finite at iteration 2: loss_.*= nan"
    ):
        train(variant, tmp_path / "out", recipe, checkpoints=tmp_path)
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["iteration"] == 1
    assert not (tmp_path / "out" / RECORD).exists()


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    root = write_variant(tmp_path)
    (root / "train" / "004.png").unlink()
    with pytest.raises(AnonbenchError, match=r"004\.png"):
        train(root, tmp_path / "out")


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    root = write_variant(tmp_path, images=0)
    with pytest.raises(AnonbenchError, match="no images"):
        train(root, tmp_path / "out")


def test_a_missing_device_is_named(variant: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(AnonbenchError, match="no CUDA device"):
        run_training(variant, "train", tiny_recipe(), 0, tmp_path, device="cuda")


def test_a_training_can_start_from_a_backbone(variant: Path, tmp_path: Path) -> None:
    train(variant, tmp_path / "a")
    weights = load_file(tmp_path / "a" / WEIGHTS)
    file = tmp_path / "backbone.safetensors"
    save_file({k: v for k, v in weights.items() if k.startswith("backbone.body.")}, file)
    start = {"kind": "backbone", "file": str(file), "provenance": "made by a test", "seen": ["tiny"]}
    record = json.loads(train(variant, tmp_path / "b", tiny_recipe(initialisation=start))[1])
    assert record["initialisation"]["seen"] == ["tiny"]
    assert len(record["initialisation"]["sha256"]) == 64
    save_file({"other": torch.zeros(1)}, file)
    with pytest.raises(AnonbenchError, match=r"lacks .* tensors, first"):
        train(variant, tmp_path / "c", tiny_recipe(initialisation=start))
    with pytest.raises(AnonbenchError, match="no such file"):
        train(variant, tmp_path / "c", tiny_recipe(initialisation={**start, "file": "gone"}))


@pytest.mark.parametrize("tasks", [["detection"], ["pose"], ["detection", "segmentation"]])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_each_set_of_tasks_and_precision_trains(
    variant: Path, tmp_path: Path, tasks: list[str], precision: str
) -> None:
    recipe = tiny_recipe(tasks=tasks, precision=precision, optimizer="adamw", schedule="cosine", gradient_clip=1.0)
    record = json.loads(train(variant, tmp_path, recipe)[1])
    terms = set(record["loss_curve"][-1])
    assert ("loss_mask" in terms) == ("segmentation" in tasks)
    assert ("loss_keypoint" in terms) == ("pose" in tasks)


def test_a_start_from_a_training_of_the_study_leaks(
    variant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(variant, tmp_path / "first", datasets=["streetlife"])
    start = {"kind": "checkpoint", "file": str(tmp_path / "first")}
    recipe = tiny_recipe(initialisation=start)
    record = json.loads(train(variant, tmp_path / "second", recipe, datasets=["streetlife"])[1])
    assert record["initialisation"]["seen"] == ["streetlife"]
    assert record["initialisation"]["leaks"] is True
    assert record["initialisation"]["provenance"] == "a training of streetlife by torchvision, seed 0"
    assert "WARNING: the first weights have seen streetlife" in capsys.readouterr().err
    record = json.loads(train(variant, tmp_path / "third", recipe, datasets=["cityscapes"])[1])
    assert record["initialisation"]["leaks"] is False
    other = write_variant(tmp_path / "v", categories=[{"id": 1, "name": "person"}, {"id": 3, "name": "bus"}])
    with pytest.raises(AnonbenchError, match=r"was trained on other categories \(1 person, 3 car\)"):
        train(other, tmp_path / "fourth", recipe)
    body = tiny_recipe(initialisation={**start, "kind": "backbone"})
    record = json.loads(train(other, tmp_path / "fourth", body, datasets=["cityscapes"])[1])
    assert record["initialisation"]["seen"] == ["streetlife"]
    assert record["initialisation"]["leaks"] is False
    inflict(tmp_path, f"first/{WEIGHTS}", "flip", -1)
    with pytest.raises(AnonbenchError, match=r"is damaged, or another file than train\.json tells of; train it again"):
        train(variant, tmp_path / "fifth", recipe)
    (tmp_path / "first" / RECORD).unlink()
    with pytest.raises(AnonbenchError, match="contains no finished training"):
        train(variant, tmp_path / "fifth", recipe)


def test_a_published_detector_starts_one_of_ours(variant: Path, tmp_path: Path) -> None:
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    torch.manual_seed(3)
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    # the published files lack a level of nesting in their names
    nested = re.compile(r"(_blocks\.\d|rpn\.head\.conv)(\.0)+\.")
    state = {nested.sub(r"\1.", name): value for name, value in theirs.state_dict().items()}
    torch.save({"model": state}, tmp_path / "coco.pth")
    start = {"kind": "coco", "file": str(tmp_path / "coco.pth"), "provenance": "made by a test", "seen": ["coco2017"]}
    recipe = recipes.parse({"tasks": ["detection", "segmentation"], "initialisation": start, "length": "1x"})
    categories = [Category(1, "person", True), Category(3, "car", False)]
    model = models.build(recipe, categories)
    record = initialisation.initialise(model, initialisation.TORCHVISION, recipe, categories)
    assert sorted(record["reinitialised"]) == [
        "roi_heads.box_predictor.bbox_pred.bias", "roi_heads.box_predictor.bbox_pred.weight",
        "roi_heads.box_predictor.cls_score.bias", "roi_heads.box_predictor.cls_score.weight",
        "roi_heads.mask.predictor.mask_fcn_logits.bias", "roi_heads.mask.predictor.mask_fcn_logits.weight",
    ]  # fmt: skip
    ours, given = model.state_dict(), theirs.state_dict()
    assert torch.equal(ours["roi_heads.mask.head.3.0.weight"], given["roi_heads.mask_head.3.0.weight"])
    assert torch.equal(ours["rpn.head.conv.0.0.weight"], given["rpn.head.conv.0.0.weight"])
    assert torch.equal(ours["backbone.fpn.inner_blocks.2.0.weight"], given["backbone.fpn.inner_blocks.2.0.weight"])
    posed = recipes.parse({"tasks": ["detection", "pose"], "initialisation": start, "length": "1x"})
    record = initialisation.initialise(models.build(posed, categories), initialisation.TORCHVISION, posed, categories)
    assert any(name.startswith("roi_heads.keypoint.") for name in record["reinitialised"])
    assert not any(name.startswith("roi_heads.mask.") for name in record["reinitialised"])


def test_a_resnets_names_go_both_ways() -> None:
    for name in torchvision_models.resnet50(weights=None).state_dict():
        if not name.startswith("fc.") and "num_batches" not in name:
            there = initialisation.backbone_to_detectron2(f"backbone.body.{name}")
            assert there.split(".")[0] in ("stem", "res2", "res3", "res4", "res5")
            assert initialisation.backbone_to_torchvision(f"backbone.bottom_up.{there}") == name


class _Harmful:
    def __reduce__(self) -> Any:
        return (os.mkdir, ("harm",))


def test_a_pickle_that_calls_is_no_file_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arrays = {"model": {"res2.0.conv1.weight": np.ones((2, 2), np.float32)}, "__author__": "third"}
    (tmp_path / "good.pkl").write_bytes(pickle.dumps(arrays))
    assert initialisation.read(tmp_path / "good.pkl")["res2.0.conv1.weight"].tolist() == [[1, 1], [1, 1]]
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"model": {"x": _Harmful()}}))
    with pytest.raises(AnonbenchError, match=r"bad\.pkl.*is not a \.pkl file of weights \(it names posix\.mkdir"):
        initialisation.read(tmp_path / "bad.pkl")
    assert not (tmp_path / "harm").exists()
    (tmp_path / "bad.pth").write_bytes(b"nothing")
    with pytest.raises(AnonbenchError, match=r"bad\.pth.*is not a \.pth file of weights"):
        initialisation.read(tmp_path / "bad.pth")


@pytest.mark.parametrize("what", ["initialisation", "order", "augmentation", "sampling"])
def test_each_seed_can_vary_alone(variant: Path, what: str) -> None:
    data = VariantSplit.read(variant, "train")
    plain, own = tiny_recipe({"min_size": [48, 64]}), tiny_recipe({"min_size": [48, 64]}, seeds={what: 7})
    before, after = (loop.Batches(data, recipe, 0) for recipe in (plain, own))
    drawn = [[tuple(image.shape) for i in range(9) for image in batches[i][0]] for batches in (before, after)]
    boxes = [[len(t["boxes"]) for i in range(9) for t in batches[i][1]] for batches in (before, after)]
    assert (drawn[0] != drawn[1]) == (what in ("order", "augmentation"))
    assert (boxes[0] != boxes[1]) == (what == "order")
    assert own.seeds.of(what, 0) == 7
    assert all(
        own.seeds.of(other, 0) == 0
        for other in ("initialisation", "order", "augmentation", "sampling")
        if other != what
    )


@pytest.mark.parametrize("what", ["initialisation", "sampling"])
def test_a_seed_of_its_own_changes_the_weights(
    variant: Path, tmp_path: Path, trained: tuple[bytes, bytes], what: str
) -> None:
    assert train(variant, tmp_path / "a", tiny_recipe(seeds={what: 7}))[0] != trained[0]
    assert train(variant, tmp_path / "b", tiny_recipe(seeds={what: 0}))[0] == trained[0]


def test_a_seeded_training_does_not_insist_on_repeatable_operations(variant: Path, tmp_path: Path) -> None:
    asked = []
    original = devices._insist
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(devices, "_insist", lambda on: (asked.append(on), original(on)))
        train(variant, tmp_path, tiny_recipe(determinism="seeded", iterations=1))
    assert asked[0] is False


def test_frozen_stages_keep_their_weights(variant: Path, tmp_path: Path) -> None:
    train(variant, tmp_path / "a")
    start = {"kind": "checkpoint", "file": str(tmp_path / "a")}
    recipe = tiny_recipe({"architecture": {**ARCHITECTURE, "frozen_stages": 2}}, initialisation=start)
    train(variant, tmp_path / "b", recipe)
    one, two = (load_file(tmp_path / name / WEIGHTS) for name in "ab")
    same = {name for name in one if torch.equal(one[name], two[name])}
    assert "backbone.body.layer1.0.conv1.weight" in same
    assert "backbone.body.layer2.0.conv1.weight" not in same


@pytest.mark.parametrize(
    ("room", "said"),
    [
        (
            5,
            r"not enough for 8 images .*iteration 1\); 4 fit; set batch_size: 4 .*rate 0\.04\), or lower settings",
        ),
        (
            3,
            r"not enough for 8 images .*iteration 1\); 2 fit; set batch_size: 2 .*rate 0\.02\), or lower settings",
        ),
        (
            1,
            r"not enough for 8 images .*iteration 1\); 1 fits; set batch_size: 1 .*rate 0\.01\), or lower settings",
        ),
        (0, r"not enough for 8 images .*iteration 1\); not even 1 fits; lower settings\.max_size, or settings\."),
    ],
)
@pytest.mark.parametrize("what", ["GPU", "processor", "NumPy"])
def test_running_out_of_memory_says_the_largest_batch_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, said: str, what: str
) -> None:
    """The allocator's error is simulated: it comes as soon as the model sees more images than there is room for."""
    error: Exception = torch.OutOfMemoryError("CUDA out of memory")
    if what == "NumPy":
        error = MemoryError("Unable to allocate 3.74 GiB")
    if what == "processor":
        error = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    forward, tried = models.Heads.forward, []

    def limited(heads: Any, features: Any, proposals: Any, *rest: Any) -> Any:
        tried.append(len(proposals))
        if len(proposals) > room:
            raise error
        return forward(heads, features, proposals, *rest)

    monkeypatch.setattr(models.Heads, "forward", limited)
    with pytest.raises(AnonbenchError, match="batch_size: the memory is " + said):
        train(write_variant(tmp_path / "variant", 8), tmp_path / "model", tiny_recipe(batch_size=8))
    fitting = max([size for size in (4, 2, 1) if size <= room], default=1)
    assert tried == [size for size in (8, 4, 2, 1) if size >= fitting]


def test_a_try_leaves_no_gradients_and_counts_the_optimisers_memory(
    variant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, recipe = VariantSplit.read(variant, "train"), tiny_recipe(optimizer="adamw")
    model = models.build(recipe, data.categories)
    detector = loop.Detector(model, loop.Batches(data, recipe, 0), CPU)
    asked = []
    empty_like = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda p, *a, **k: asked.append(p.shape) or empty_like(p, *a, **k))
    assert detector.largest(detector.data[0]) == 1
    assert all(p.grad is None for p in model.parameters())
    trained = [p.shape for p in model.parameters() if p.requires_grad]
    assert sorted(asked[: 2 * len(trained)]) == sorted(2 * trained)


def test_another_error_of_the_arithmetic_is_no_lack_of_memory(
    variant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(models.Heads, "forward", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(variant, tmp_path)


def test_half_precision_floats_need_a_gpu(variant: Path, tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match="fp16 needs a GPU"):
        train(variant, tmp_path, tiny_recipe(precision="fp16"))


def test_gradients_that_never_fit_into_half_precision_end_a_training(variant: Path, tmp_path: Path) -> None:
    data, recipe = VariantSplit.read(variant, "train"), tiny_recipe()
    torch.manual_seed(0)
    model = models.build(recipe, data.categories)
    detector = loop.Detector(model, loop.Batches(data, recipe, 0), torch.device("cpu"))
    detector.scaler = torch.amp.GradScaler("cpu", init_scale=LEAST_SCALE)
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(AnonbenchError, match="not finite at any scale"):
        detector.step(detector.data[0], 0)


def test_a_first_step_that_overflows_leaves_nothing_behind() -> None:
    """With a fused SGD the momentum of the next step was unwritten memory, and R50 in fp16 was NaN after six steps."""
    after = {}
    for precision in ("fp32", "fp16"):
        recipe = tiny_recipe(optimizer="sgd").model_copy(update={"precision": precision})
        layer = torch.nn.Linear(400, 400, bias=False)
        torch.nn.init.ones_(layer.weight)
        optimizer = optimizer_for(layer, recipe)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0, enabled=precision == "fp16")
        if precision == "fp16":  # memory that was used before
            _ = [torch.full((400, 400), float("nan")) for _ in range(8)]
            del _
        for gradient in (*((float("inf"),) if precision == "fp16" else ()), 1.0, 1.0):
            optimizer.zero_grad(set_to_none=True)
            scaler.scale((layer.weight * gradient).sum()).backward()
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        after[precision] = layer.weight.detach().clone()
    assert torch.equal(after["fp16"], after["fp32"])


def test_processes_share_a_batch(variant: Path) -> None:
    data, recipe = VariantSplit.read(variant, "train"), tiny_recipe(batch_size=4, iterations=None, epochs=1)
    whole = loop.Batches(data, recipe, 0)
    shares = [loop.Batches(data, recipe, 0, Place(rank, 2)) for rank in (0, 1)]
    together = [image for pair in zip(shares[0][0][0], shares[1][0][0], strict=True) for image in pair]
    assert all(torch.equal(a, b) for a, b in zip(together, whole[0][0], strict=True))
    assert [len(share[1][0]) for share in shares] == [1, 1], "the last image of five is shown to both"
    with pytest.raises(AnonbenchError, match="3 images cannot be shared equally by 2 processes"):
        loop.fit(torch.nn.Identity(), loop.Batches(data, tiny_recipe(batch_size=3), 0, Place(0, 2)), CPU, None, "")


@pytest.mark.slow
def test_torchrun_trains_in_two_processes(variant: Path, tmp_path: Path) -> None:
    weights, record = train(variant, tmp_path / "a", processes=2)
    assert json.loads(record)["processes"] == 2
    assert train(variant, tmp_path / "b", processes=2) == (weights, record)
    assert [point["iteration"] for point in json.loads(record)["loss_curve"]] == [1, 2, 3, 4]
    recipe = tiny_recipe(base_learning_rate=1e8, warmup_iterations=0)
    with pytest.raises(AnonbenchError, match="the loss is not finite at iteration 2"):
        train(variant, tmp_path / "c", recipe, processes=2)


def test_event_files_follow_the_curve(variant: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = json.loads(train(variant, tmp_path / "out", checkpoints=tmp_path / "c")[1])
    events = EventAccumulator(str(tmp_path / "c" / "events"))
    events.Reload()
    for point in record["loss_curve"]:
        found = {e.step: e.value for e in events.Scalars("loss_mask")}
        assert found[point["iteration"]] == pytest.approx(point["loss_mask"])
