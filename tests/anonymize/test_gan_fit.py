"""The training of the generator: what it reads and writes, repetition, resuming, and that it learns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from typer.testing import CliRunner

from anonbench import regions
from anonbench.anonymize.gan import data, loop, training, weights
from anonbench.anonymize.gan.data import Crops
from anonbench.anonymize.gan.options import FitSettings
from anonbench.cli import app
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file
from anonbench.people import People
from anonbench.records import KEYPOINTS, RegionKind

from .conftest import Dataset, person, photograph, region
from .gan_tiny import SETTINGS

BODY, FACE = RegionKind.BODY, RegionKind.FACE


def arguments(dataset: Dataset, out: Path, kind: RegionKind = BODY, **settings: Any) -> list[str]:
    """Return the command line of a training."""
    words = ["fit", "--data", dataset.data, "--annotations", dataset.annotations, "--region", kind.value]
    words += ["--method", "gan", "--device", "cpu", "--seed", "5", "--out", out]
    return [str(word) for word in [*words, "--settings", json.dumps({**SETTINGS, **settings})]]


def run(dataset: Dataset, out: Path, kind: RegionKind = BODY, **settings: Any) -> dict[str, Any]:
    """Train in this process; return the record."""
    done = CliRunner().invoke(app, arguments(dataset, out, kind, **settings))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads((out / "fit.json").read_text())


def test_what_is_written(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "fit"
    record = run(dataset, out)
    left = {path.name for path in out.iterdir()} - {"events"}  # TensorBoard's, where it is installed
    assert left == {"weights.safetensors", "fit.json", "timing.json", "samples.png"}
    assert (record["dataset"], record["split"], record["region"], record["seed"]) == ("small", "train", "body", 5)
    assert record["data"]["images"] == 6
    assert record["data"]["people"] == 12
    assert record["weights_sha256"] == sha256_file(out / "weights.safetensors")
    for name, digest in record["tables_sha256"].items():
        assert digest == sha256_file(dataset.annotations / name)
    assert [row["iteration"] for row in record["loss_curve"]] == [1, 2, 3, 4, 5, 6]
    assert "adversarial" not in record["loss_curve"][2]
    assert "adversarial" in record["loss_curve"][3]
    assert "seconds" not in json.dumps(record)
    assert FitSettings(**record["settings"]).model_dump(mode="json") == record["settings"]


@pytest.mark.parametrize("kind", [BODY, FACE])
def test_twice_the_same_bytes_and_another_seed_other_ones(dataset: Dataset, tmp_path: Path, kind: RegionKind) -> None:
    for name in ("a", "b"):
        run(dataset, tmp_path / name, kind)
    for file in ("weights.safetensors", "fit.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    run(dataset, tmp_path / "c", kind, latent_channels=4)
    assert (tmp_path / "a" / "weights.safetensors").read_bytes() != (
        tmp_path / "c" / "weights.safetensors"
    ).read_bytes()


def test_other_splits_are_not_read(dataset: Dataset, tmp_path: Path) -> None:
    """Nothing but the split's own two tables is there, and the images of the other split are unreadable."""
    (dataset.annotations / "val.images.parquet").write_bytes(b"not a table")
    (dataset.annotations / "train.json").unlink()
    (dataset.annotations / "train.people.parquet").unlink()
    table = regions.read(dataset.annotations / "train.images.parquet", regions.IMAGES).to_pylist()
    others = {row["path"] for row in table if row["image_id"] > 6}  # nobody stands in them
    for path in others:
        (dataset.data / path).write_bytes(b"not an image")
    assert run(dataset, tmp_path / "fit")["data"]["images"] == 6


@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_stopped_training_goes_on_to_the_same_bytes(
    dataset: Dataset, tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(dataset, whole)
    step, taken = loop.step, []

    def stops(state: Any, x: Any, fit: FitSettings, seed: int, iteration: int, warmup: int) -> Any:
        if iteration == at:
            raise KeyboardInterrupt
        return step(state, x, fit, seed, iteration, warmup)

    monkeypatch.setattr(loop, "step", stops)
    assert CliRunner().invoke(app, arguments(dataset, parts)).exit_code != 0
    assert not (parts / "fit.json").exists()
    assert (parts / "checkpoint.pt").exists() == (at >= 2)

    def counts(state: Any, x: Any, fit: FitSettings, seed: int, iteration: int, warmup: int) -> Any:
        taken.append(iteration)
        return step(state, x, fit, seed, iteration, warmup)

    monkeypatch.setattr(loop, "step", counts)
    run(dataset, parts)
    assert taken == list(range(at - at % 2, 6))
    for file in ("weights.safetensors", "fit.json"):
        assert (whole / file).read_bytes() == (parts / file).read_bytes()
    assert not (parts / "checkpoint.pt").exists()


def test_a_killed_process_leaves_nothing_that_is_believed(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    words = arguments(dataset, out, body_iterations=100_000, samples_every=5)
    process = subprocess.Popen(
        [sys.executable, "-m", "anonbench", *words],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        for _ in range(400):
            if (out / "checkpoint.pt").exists():
                break
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert (out / "checkpoint.pt").exists()
    assert not (out / "fit.json").exists()
    assert not (out / "weights.safetensors").exists()
    record = run(dataset, out)  # other settings: the checkpoint is not used
    assert record["loss_curve"][-1]["iteration"] == 6


def test_a_damaged_checkpoint_is_named(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "fit"
    out.mkdir()
    (out / "checkpoint.pt").write_bytes(b"nonsense")
    with pytest.raises(AnonbenchError, match=r"checkpoint\.pt: is not a readable checkpoint"):
        run(dataset, out)


def test_it_learns_colours_and_reconstructs(tmp_path: Path) -> None:
    """People are red above and blue below, or the other way round: what was learned shows it, in several styles."""
    small = Dataset(tmp_path)
    (small.data / "raw").mkdir(parents=True)
    images, people = [], []
    import cv2

    for image_id in range(1, 25):
        pixels = np.full((72, 40, 3), 120, np.uint8)
        one = region((8, 4, 32, 68), person_id=1, mask=np.ones((64, 24), bool))
        red_above = image_id % 2
        pixels[4:36, 8:32] = (240, 20, 20) if red_above else (20, 20, 240)
        pixels[36:68, 8:32] = (20, 20, 240) if red_above else (240, 20, 20)
        (small.data / "raw" / f"{image_id}.png").write_bytes(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
        images.append({"image_id": image_id, "file_name": f"{image_id}.png", "width": 40, "height": 72})
        people.append(person(image_id, image_id, one, (40, 72)))
    small.write(images, people)
    settings = {"body_iterations": 130, "learning_rate": 0.02, "channels": [12, 16], "warmup": 0.8, "clusters": 2}
    record = run(small, tmp_path / "fit", **settings)
    curve = [row["reconstruction"] for row in record["loss_curve"]]
    # over six seeds and with three sets of instructions: 0.06 to 0.10 of the loss is left
    assert curve[-1] < 0.2 * curve[0]
    out = small.run(
        "body-gan", weights=tmp_path / "fit" / "weights.safetensors", device="cpu", parameters={"truncation": 0}
    )
    above = []
    for image_id in range(1, 25):
        pixels = cv2.imread(str(out / "train" / f"{image_id}.png"))[..., ::-1].astype(int)
        assert (pixels[:, :8] == 120).all()
        above.append(pixels[12:28, 14:26].mean((0, 1)) - pixels[44:60, 14:26].mean((0, 1)))
    differences = np.array(above)[:, 0] - np.array(above)[:, 2]  # of red over blue between above and below
    assert (np.abs(differences) > 230).all()  # likewise: the least of 12 times 24 is 465, and 440 in the images
    assert (differences > 0).any()
    assert (differences < 0).any()


def test_mirrored_people_keep_their_left(dataset: Dataset) -> None:
    crops = Crops(
        np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3),
        np.random.default_rng(0).random((2, 4, 6)) < 0.5,
        np.zeros((2, 17, 3), np.float32),
        {},
        "",
    )
    left, right = KEYPOINTS.index("left_wrist"), KEYPOINTS.index("right_wrist")
    crops.keypoints[:, left] = (0.25, 0.5, 2)
    plain, mirrored = (crops.batch(0, 2, 0, flip, 0.0) for flip in (0.0, 1.0))
    assert (mirrored.pixels == plain.pixels[:, :, ::-1]).all()
    assert (mirrored.masks == plain.masks[:, :, ::-1]).all()
    assert mirrored.keypoints[:, right] == pytest.approx(np.array([[0.75, 0.5, 2]] * 2))
    assert (mirrored.keypoints[:, left] == 0).all()
    assert (crops.batch(0, 2, 0, 0.0, 1.0).keypoints == 0).all()


def test_many_crops_lie_in_a_file(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    table = dataset.annotations / "train.regions.parquet"
    rows = regions.read(dataset.annotations / "train.images.parquet", regions.IMAGES).to_pylist()
    people = People.read(table, BODY, rows)
    given = (dataset.data, rows, people, BODY, (8, 16), 8, None, 0)
    held = Crops.read(*given, 1)
    monkeypatch.setattr(data, "IN_MEMORY", 0)
    mapped = Crops.read(*given, 3)
    assert isinstance(mapped.pixels, np.memmap)
    assert (held.pixels == mapped.pixels).all()
    assert held.digest == mapped.digest
    fewer = Crops.read(*given[:6], 3, 0, 1)
    assert len(fewer) == 3
    assert fewer.counts["regions"] == 12


def test_too_few_people(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"0 of the split's 12 body regions are at least 500 pixels high"):
        run(dataset, tmp_path / "fit", min_pixels=500)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iteration": 3}, "iteration: unknown key"),
        ({"batch_size": 1}, "batch_size"),
        ({"body_size": [7, 16]}, "body_size: sides must be multiples of 2"),
        ({"preset": "publishd"}, "preset"),
    ],
)
def test_settings_are_checked(dataset: Dataset, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AnonbenchError, match=message):
        run(dataset, tmp_path / "fit", **settings)


def test_a_method_without_a_training(dataset: Dataset, tmp_path: Path) -> None:
    words = arguments(dataset, tmp_path / "fit")
    words[words.index("gan")] = "blur"
    done = CliRunner().invoke(app, words)
    assert "has nothing to fit" in str(done.exception)


def test_presets() -> None:
    published = FitSettings(preset="published")
    assert (published.face_size, published.body_size) == ((128, 128), (160, 288))
    assert FitSettings(preset="published", body_iterations=5).body_iterations == 5
    assert (published.r1, FitSettings().r1) == (1.0, 0.1)
    assert FitSettings().body_size == (40, 72)
    with pytest.raises(ValidationError):
        FitSettings(preset="none")  # type: ignore[arg-type]


def test_a_loss_that_is_no_number_stops(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"the loss is not finite at iteration \d"):
        run(dataset, tmp_path / "fit", learning_rate=1e30)


def test_the_published_networks_run() -> None:
    """One step of both kinds at a quarter of the published channels and sizes, with every level there."""
    fit = FitSettings(
        preset="published", channels=[8, 8, 8, 8, 8], discriminator_channels=[8, 8, 8, 8, 8], face_size=(32, 32),
        body_size=(40, 72), latent_channels=4, style_channels=8, precision="fp32",
    )  # fmt: skip
    for kind in (BODY, FACE):
        a = training.architecture(fit, kind)
        state = loop.State.new(a, fit, 0, torch.device("cpu"))
        pixels = np.stack([photograph(a.width, a.height, n) for n in range(3)])
        masks = np.zeros(pixels.shape[:3], bool)
        masks[:, 4:-4, 4:-4] = True
        batch = data.Batch(pixels, masks, np.full((3, 17, 3), 0.5, np.float32))
        losses = loop.step(state, loop.Inputs.of(batch, a, torch.device("cpu")), fit, 0, 0, 0)
        assert set(losses) == {"discriminator", "reconstruction", "context", "kl", "adversarial", "features"}


def test_metadata_is_one_entry(dataset: Dataset, tmp_path: Path) -> None:
    """Safetensors writes several entries in random order, which would change the file's hash."""
    run(dataset, tmp_path / "fit")
    header = (tmp_path / "fit" / "weights.safetensors").read_bytes()
    told = json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])["__metadata__"]
    assert list(told) == [weights.FORMAT]


@pytest.mark.parametrize(
    ("room", "said"),
    [
        (2, r"for 4 crops at a time \(iteration 1\); 2 fit; set batch_size: 2, or lower channels"),
        (0, r"for 4 crops at a time \(iteration 1\); not even 2 fit; lower channels"),
    ],
)
def test_running_out_of_memory_says_the_largest_batch_that_fits(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, said: str
) -> None:
    """The allocator's error is simulated: it comes as soon as the encoder sees more crops than there is room for."""
    forward, tried = loop.Encoder.forward, []

    def limited(encoder: Any, real: torch.Tensor, *rest: Any) -> Any:
        tried.append(len(real))
        if len(real) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(encoder, real, *rest)

    monkeypatch.setattr(loop.Encoder, "forward", limited)
    with pytest.raises(AnonbenchError, match=rf"fit batch_size: the memory is not enough {said}"):
        run(dataset, tmp_path / "fit", warmup=0)
    assert tried == [4, 2]
    assert not (tmp_path / "fit" / "fit.json").exists()
