"""Trainings: repeatable to the byte, continued after a kill, stopped at a loss that is not finite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from train_tiny import TINY, tiny_recipe, write_manifest, write_variant

from anonbench.errors import AnonbenchError
from anonbench.recipe import Recipe
from anonbench.train import contract, loop, torchvision
from anonbench.train.contract import CHECKPOINT, RECORD, TIMING, WEIGHTS, run_training
from anonbench.train.data import Variant


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
    assert record["resolved"] == {"batch_size": 2, "learning_rate": 0.02, "iterations": 4}
    assert record["data"] | {"annotations_sha256": ""} == {
        "split": "train", "annotations_sha256": "", "images_digest": None,
        "images": 5, "used": 8, "crowd": 1, "empty_box": 0,
    }  # fmt: skip
    assert record["initialisation"] == {"kind": "scratch", "seen": []}
    assert [point["iteration"] for point in record["loss_curve"]] == [1, 2, 3, 4]
    assert {"loss_mask", "loss_keypoint", "learning_rate"} <= set(record["loss_curve"][0])
    train(variant, tmp_path)
    timing = json.loads((tmp_path / TIMING).read_text())
    assert set(timing) == {"seconds", "images_per_second", "loading_share", "peak_memory_mib"}
    assert str(tmp_path) not in trained[1].decode()


def test_decoding_ahead_changes_nothing(variant: Path) -> None:
    batches = loop.Batches(Variant.read(variant, "train"), tiny_recipe(horizontal_flip=0.5), 0)
    inline, ahead = (list(batches.ahead(1, 8, threads)) for threads in (0, 3))
    assert len(inline) == len(ahead) == 7
    for (images, targets), (others, more) in zip(inline, ahead, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(images, others, strict=True))
        assert all(torch.equal(a[k], b[k]) for a, b in zip(targets, more, strict=True) for k in a)


def test_an_epoch_shows_every_image_once(variant: Path) -> None:
    data = Variant.read(variant, "train")
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
    step, done = loop._step, 0

    def stops(*arguments: Any) -> dict[str, float]:
        nonlocal done
        if done == steps:
            raise Killed
        done += 1
        return step(*arguments)

    monkeypatch.setattr(loop, "_step", stops)
    with pytest.raises(Killed):
        train(variant, tmp_path / "out", checkpoints=tmp_path / "checkpoints")
    assert (tmp_path / "checkpoints" / CHECKPOINT).exists() == (steps >= 2)
    assert not (tmp_path / "out" / RECORD).exists()
    monkeypatch.setattr(loop, "_step", step)
    assert train(variant, tmp_path / "out", checkpoints=tmp_path / "checkpoints") == trained
    assert not (tmp_path / "checkpoints" / CHECKPOINT).exists()


def test_a_killed_process_continues_to_the_same_weights(variant: Path, tmp_path: Path) -> None:
    recipe = {**TINY, "iterations": 40, "checkpoint_every": 3}
    code = (
        "import sys; from pathlib import Path; from anonbench import recipe; from anonbench.train.contract import *\n"
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
        raise SafetensorError("no space")

    with monkeypatch.context() as patched:  # stops after the last checkpoint
        patched.setattr(contract, "save_file", full)
        with pytest.raises(AnonbenchError):
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
        (contract, "save_file", SafetensorError("IoError: No space left on device"), WEIGHTS),
        (torch, "save", RuntimeError("PytorchStreamWriter failed: file write failed\nbacktrace"), CHECKPOINT),
    ],
)
def test_a_full_disk_is_one_sentence(
    variant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, error: Exception, file: str
) -> None:
    def full(_: Any, part: Path) -> None:
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
    with pytest.raises(AnonbenchError, match=r"checkpoint\.pt: is no checkpoint"):
        train(variant, tmp_path / "out", checkpoints=tmp_path)


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
