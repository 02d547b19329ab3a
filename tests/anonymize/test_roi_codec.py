"""The codec that hides heads: its loss on cases computed by hand, its training, and what it does to frames."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from typer.testing import CliRunner

from anonbench import manifests, regions, registry
from anonbench.anonymize import engine
from anonbench.anonymize.contract import make
from anonbench.anonymize.roi_codec import data, loop
from anonbench.anonymize.roi_codec.data import Sources, boxes_of
from anonbench.anonymize.roi_codec.losses import Boxes, correlation, explained, head_term, terms
from anonbench.anonymize.roi_codec.options import FitSettings, Loss
from anonbench.cli import app
from anonbench.codec.compressor import Compressor
from anonbench.codec.networks import Architecture, Codec
from anonbench.crops import Work
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file
from anonbench.records import Reason, Region, RegionKind
from anonbench.variants import Variant
from tests.codec import tiny

from .conftest import Dataset, person, photograph, region

FRAME = RegionKind.FRAME
TINY: dict[str, Any] = {
    "channels": 4, "hidden": 0, "size": [32, 32], "batch_size": 3, "iterations": 6, "steps": [1.0, 2.0],
    "restorer_channels": 4, "checkpoint_every": 2, "choose_every": 1, "held_out": 0.3, "hide_from": 0.0,
    "hide_over": 0.0,
}  # fmt: skip
"""A training of a second."""


def boxes(*own: list[list[float]], size: tuple[int, int] = (4, 4)) -> Boxes:
    return Boxes.of([np.array(one, float).reshape(-1, 4) for one in own], size)


def grey(rows: list[list[float]]) -> torch.Tensor:
    """Return a batch of one image with equal channels."""
    return torch.tensor(rows).expand(1, 3, -1, -1)


# Two images of 4x4. The first is 0.5 everywhere and decoded as 0.7, its left half as 0.1; the second comes back.
BEFORE = torch.full((2, 3, 4, 4), 0.5)
AFTER = BEFORE.clone()
AFTER[0] = 0.7
AFTER[0, :, :, :2] = 0.1


def test_the_published_loss_by_hand() -> None:
    """MSE of the first image: half at 0.2^2, half at 0.4^2, so 0.1; of both 0.05.

    People: in the first image two boxes, the left half (0.16) and the right (0.04): mean 0.1; none in the second: 0.
    Heads: in the first image the left half, 1 - 0.16 = 0.84; in the second 1 - 0: the means are 0.92. 12 bits of the
    latents by 32 pixels.
    """
    loss = Loss(preset="published")
    found = terms(
        loss, BEFORE, AFTER, torch.full((2, 3, 1, 2), 0.5),
        boxes([[0, 0, 2, 4], [2, 0, 4, 4]], []), boxes([[0, 0, 2, 4]], [[1, 1, 3, 3]]),
    )  # fmt: skip
    assert found["background"] == pytest.approx(0.05)
    assert found["people"] == pytest.approx((0.16 + 0.04) / 2 / 2)
    assert found["heads"] == pytest.approx(0.6 * (0.84 + 1.0) / 2)
    assert found["rate"] == pytest.approx(0.04 * 12 / 32)
    assert set(found) == {"background", "people", "heads", "rate"}
    settings = FitSettings(preset="published").loss
    assert (settings.background, settings.people, settings.heads, settings.rate) == (1.0, 1.0, 0.6, 0.04)
    assert (settings.head_term, settings.restorer) == ("inverse", 0.0)


def test_it_is_what_a_loop_over_boxes_gives() -> None:
    """The published code's way: slices, a mean per image, a mean over images."""
    rng = np.random.default_rng(0)
    x, z = torch.rand(3, 3, 20, 30), torch.rand(3, 3, 20, 30)
    own = [np.sort(rng.uniform(-5, 30, (k, 2, 2)), 1).reshape(-1, 4) for k in (4, 0, 7)]
    expected, seen = 0.0, 0
    for image, rows in enumerate(own):
        found = []
        for x0, y0, x1, y1 in rows:
            a, b, c, d = max(int(x0), 0), max(int(y0), 0), min(int(x1), 30), min(int(y1), 20)
            if c > a and d > b:
                found.append(float((x - z)[image, :, b:d, a:c].square().mean()))
        seen += len(found)
        expected += sum(found) / len(found) / 3 if found else 0.0
    assert seen > 5
    made = Boxes.of(own, (30, 20))
    assert float(made.average(made.means((x - z).square()).mean(2))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "vanishing",
    [[1.2, 1, 1.9, 3], [1, 2, 3, 2.5], [-3, 0, 0, 4], [4, 0, 9, 4], [3, 3, 1, 1], [2, 2, 2, 2], [0, -2, 4, -1]],
    ids=str,
)
def test_boxes_that_shrink_to_nothing_are_left_out(vanishing: list[float]) -> None:
    """In the released code their mean is NaN, and with it the weights."""
    for loss in (Loss(preset="published"), Loss(), Loss(head_term="flat"), Loss(head_term="correlation")):
        alone, beside, without = (
            terms(loss, BEFORE, AFTER, torch.ones(1), some, some)
            for some in (boxes([vanishing], []), boxes([vanishing, [0, 0, 2, 4]], []), boxes([[0, 0, 2, 4]], []))
        )
        assert alone["people"] == alone["heads"] == 0
        assert beside == without
        assert all(torch.isfinite(value) for value in beside.values())


def test_no_regions_give_zero_and_no_gradient() -> None:
    after = AFTER.clone().requires_grad_(True)
    found = terms(Loss(background=0, rate=0), BEFORE, after, torch.ones(1), boxes([], []), boxes([], []), after)
    assert all(float(found[name].detach()) == 0 for name in ("people", "heads", "restored"))
    (found["people"] + found["heads"] + found["restored"]).backward()
    assert after.grad is None or not after.grad.any()


def test_each_factor_is_a_setting() -> None:
    own = (BEFORE, AFTER, torch.full((1,), 0.5), boxes([[0, 0, 2, 4]], []), boxes([[0, 0, 2, 4]], []), AFTER)
    factors = {"background": 1.0, "people": 1.0, "heads": 1.0, "restorer": 1.0, "rate": 1.0}
    once = terms(Loss.model_validate({**factors, "head_term": "inverse"}), *own)
    for name in factors:
        twice = terms(Loss.model_validate({**factors, "head_term": "inverse", name: 2.0}), *own)
        for term in once:
            of_it = term == ("restored" if name == "restorer" else name)
            assert twice[term] == pytest.approx(once[term] * (2 if of_it else 1))


# One box of 1x4 pixels in the first row.
STRIP = grey([[0.0, 0.2, 0.6, 1.0], [0.9] * 4])
BOX = boxes([[0, 0, 4, 1]], size=(4, 2))


@pytest.mark.parametrize(
    ("row", "inverse", "bounded", "flat", "correlated"),
    [
        # mean 0.45; variance (0.2025 + 0.0625 + 0.0225 + 0.3025) / 4 = 0.1475
        ([0.0, 0.2, 0.6, 1.0], 1.0, 1.0, 0.1475, 1.0),  # as it was
        ([1.0, 0.8, 0.4, 0.0], 1 - (1 + 0.36 + 0.04 + 1) / 4, 0.0, 0.1475 + 0.1**2, 1.0),  # inverted: mean 0.55
        ([0.45] * 4, 1 - 0.1475, 0.0, 0.0, 0.0),  # its mean colour
        ([0.5, 0.5, 0.5, 0.5], 1 - (0.25 + 0.09 + 0.01 + 0.25) / 4, 0.0, 0.0025, 0.0),
        ([0.1, 0.3, 0.7, 1.1], 1 - 0.01, 1 - 0.01 / 0.05, 0.1475 + 0.01, 1.0),  # brighter
        # (1, 0, 0, 1) has the mean 0.5, the variance 0.25, and with the strip the covariance 1 / 4 - 0.225 = 0.025
        ([1.0, 0.0, 0.0, 1.0], 1 - (1 + 0.04 + 0.36) / 4, 0.0, 0.25 + 0.0025, 0.025**2 / (0.1475 * 0.25)),
    ],
)
def test_terms_of_heads_by_hand(
    row: list[float], inverse: float, bounded: float, flat: float, correlated: float
) -> None:
    decoded = grey([row, [0.1] * 4])  # what is outside of the box does not matter
    for name, expected in (("inverse", inverse), ("bounded", bounded), ("flat", flat), ("correlation", correlated)):
        found = head_term(Loss(head_term=name, margin=0.05), STRIP, decoded, BOX)  # type: ignore[arg-type]
        assert found.tolist() == [[pytest.approx(expected, abs=1e-5)]], name


def test_who_inverts_colours_gains_from_the_published_term_alone() -> None:
    inverted, flat = 1 - STRIP, torch.full_like(STRIP, 0.45)
    published = [float(head_term(Loss(preset="published"), STRIP, z, BOX)) for z in (inverted, flat)]
    assert published[0] < published[1]
    for term in ("flat", "correlation"):
        ours = [float(head_term(Loss(head_term=term), STRIP, z, BOX)) for z in (inverted, flat)]  # type: ignore[arg-type]
        assert ours[0] > ours[1]


def test_what_is_explained() -> None:
    assert float(explained(STRIP, STRIP, BOX)) == pytest.approx(1.0)
    assert float(explained(STRIP, torch.full_like(STRIP, 0.45), BOX)) == pytest.approx(0.0, abs=1e-5)
    assert float(explained(STRIP, 1 - STRIP, BOX)) == 0.0
    half = 0.45 + 0.5 * (STRIP - 0.45)
    assert float(explained(STRIP, half, BOX)) == pytest.approx(0.75, abs=1e-5)
    assert float(correlation(torch.full_like(STRIP, 0.3), STRIP, BOX)) == pytest.approx(0.0, abs=1e-4)


def test_gradients_pull_the_way_that_the_terms_say() -> None:
    """From a faint copy: the published term drives it on to the other side, `flat` to one colour, ours to a margin."""
    z = (0.45 + 0.1 * (STRIP - 0.45)).clone().requires_grad_(True)
    slope = {}
    for term in ("inverse", "flat"):
        z.grad = None
        head_term(Loss(head_term=term), STRIP, z, BOX).sum().backward()  # type: ignore[arg-type]
        assert z.grad is not None
        slope[term] = z.grad[0, 0, 0].clone()
    contrast = STRIP[0, 0, 0] - 0.45
    assert float((slope["inverse"] * contrast).sum()) > 0, "less contrast, beyond zero, is rewarded"
    assert float((slope["flat"] * contrast).sum()) > 0
    assert torch.allclose(slope["flat"], 2 * 0.1 * contrast / 12, atol=1e-6)
    error = float(((STRIP - z.detach()) ** 2).mean())
    for margin, pushes in ((2 * error, 1.0), (0.5 * error, 0.0)):
        z.grad = None
        head_term(Loss(margin=margin), STRIP, z, BOX).sum().backward()
        assert z.grad is not None
        assert torch.allclose(z.grad[0, 0, 0], pushes * slope["inverse"] / margin, atol=1e-6)


def arguments(dataset: Dataset, out: Path, method: str = "roi_codec", **settings: Any) -> list[str]:
    """Return the command line of a training."""
    words = ["fit", "--data", dataset.data, "--annotations", dataset.annotations, "--region", "frame"]
    words += ["--method", method, "--device", "cpu", "--seed", "5", "--out", out]
    return [str(word) for word in [*words, "--settings", json.dumps({**TINY, **settings})]]


def run(dataset: Dataset, out: Path, method: str = "roi_codec", **settings: Any) -> dict[str, Any]:
    """Train in this process; return the record."""
    done = CliRunner().invoke(app, arguments(dataset, out, method, **settings))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads((out / "fit.json").read_text())


def with_boxes(dataset: Dataset) -> Dataset:
    """Give the people of the small data set boxes: its table has none."""
    table = regions.read(dataset.annotations / "train.people.parquet", regions.PEOPLE).to_pylist()
    for row in table:
        row |= {"box": [10.0, 5.0, 60.0, 110.0], "crowd": row["image_id"] == 7, "ignore": False}
    regions.write(dataset.annotations / "train.people.parquet", table, regions.PEOPLE)
    return dataset


def test_what_is_written(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "fit"
    record = run(with_boxes(dataset), out)
    left = {path.name for path in out.iterdir()} - {"events"}
    assert left == {"weights.safetensors", "fit.json", "timing.json"}
    assert (record["dataset"], record["split"], record["region"], record["seed"]) == ("small", "train", "frame", 5)
    assert record["data"]["images"] == 6
    assert record["data"]["held_out"] == 2
    assert record["weights_sha256"] == sha256_file(out / "weights.safetensors")
    assert set(record["tables_sha256"]) == {"train.images.parquet", "train.people.parquet", "train.regions.parquet"}
    for name, digest in record["tables_sha256"].items():
        assert digest == sha256_file(dataset.annotations / name)
    assert [row["iteration"] for row in record["loss_curve"]] == [1, 2, 3, 4, 5, 6]
    assert set(record["loss_curve"][0]) == {
        "iteration",
        "background",
        "people",
        "heads",
        "rate",
        "restored",
        "restorer",
    }
    assert 3 <= record["chosen"]["iteration"] <= 6
    assert FitSettings(**record["settings"]).model_dump(mode="json") == record["settings"]
    assert "seconds" not in json.dumps(record)


def test_twice_the_same_bytes_and_another_setting_other_ones(dataset: Dataset, tmp_path: Path) -> None:
    with_boxes(dataset)
    for name in ("a", "b"):
        run(dataset, tmp_path / name, noise=0.5)
    for file in ("weights.safetensors", "fit.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    run(dataset, tmp_path / "c")
    assert sha256_file(tmp_path / "a" / "weights.safetensors") != sha256_file(tmp_path / "c" / "weights.safetensors")


@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_stopped_training_goes_on_to_the_same_bytes(
    dataset: Dataset, tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_boxes(dataset)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(dataset, whole)
    step = loop.Fitting.step

    def stops(learner: loop.Fitting, batch: Any, iteration: int) -> dict[str, float]:
        if iteration == at:
            raise KeyboardInterrupt
        return step(learner, batch, iteration)

    monkeypatch.setattr(loop.Fitting, "step", stops)
    assert CliRunner().invoke(app, arguments(dataset, parts)).exit_code != 0
    assert not (parts / "fit.json").exists()
    taken = []

    def counts(learner: loop.Fitting, batch: Any, iteration: int) -> dict[str, float]:
        taken.append(iteration)
        return step(learner, batch, iteration)

    monkeypatch.setattr(loop.Fitting, "step", counts)
    run(dataset, parts)
    assert taken == list(range(at - at % 2, 6))
    for file in ("weights.safetensors", "fit.json"):
        assert (whole / file).read_bytes() == (parts / file).read_bytes()


def test_weights_are_chosen_on_what_was_held_out(dataset: Dataset, tmp_path: Path, monkeypatch: Any) -> None:
    """A training that is spoilt after its fourth step gives the weights from before."""
    with_boxes(dataset)
    step = loop.Fitting.step

    def spoils(learner: loop.Fitting, batch: Any, iteration: int) -> dict[str, float]:
        losses = step(learner, batch, iteration)
        if iteration >= 3:
            with torch.no_grad():
                learner.codec.synthesis[-2].bias.fill_(-9)
        return losses

    monkeypatch.setattr(loop.Fitting, "step", spoils)
    assert run(dataset, tmp_path / "chosen")["chosen"]["iteration"] == 3
    assert run(dataset, tmp_path / "last", held_out=0)["chosen"] is None
    compressor, _ = Compressor.load(tmp_path / "last" / "weights.safetensors", "cpu")
    assert compressor.decode(compressor.encode(photograph(40, 40))).max() < 30
    compressor, _ = Compressor.load(tmp_path / "chosen" / "weights.safetensors", "cpu")
    assert compressor.decode(compressor.encode(photograph(40, 40))).max() > 60


def test_held_out_images_are_not_learned_from(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    with_boxes(dataset)
    rows = regions.read(dataset.annotations / "train.images.parquet", regions.IMAGES).to_pylist()
    fit = FitSettings(**TINY)
    sources = Sources.read(dataset.data, rows, dataset.annotations / "train.people.parquet", fit, 5, 1)
    learned, held = ({row["image_id"] for row in part} for part in (sources.learned, sources.held))
    assert learned | held == set(range(1, 9))
    assert not learned & held
    drawn = []

    def remember(self: Sources, row: dict[str, Any]) -> np.ndarray:
        drawn.append(row["image_id"])
        return photograph(row["width"], row["height"])

    monkeypatch.setattr(Sources, "pixels", remember)
    for iteration in range(30):
        sources.batch(iteration, fit, 5)
    assert set(drawn) == learned
    drawn.clear()
    sources.held_out(fit)
    assert set(drawn) == held


@pytest.mark.parametrize("sampling", ["crop", "resize"])
def test_boxes_follow_what_is_done_to_images(dataset: Dataset, tmp_path: Path, sampling: str) -> None:
    """A head is one bright rectangle: in every sample its box is where it is bright."""
    small = Dataset(tmp_path / "heads")
    (small.data / "raw").mkdir(parents=True)
    images, people = [], []
    for image_id in range(1, 7):
        pixels = np.full((90, 120, 3), 20, np.uint8)
        x0, y0 = 8 + 12 * image_id, 6 + 8 * image_id
        pixels[y0 : y0 + 12, x0 : x0 + 16] = 250
        cv2.imwrite(str(small.data / "raw" / f"{image_id}.png"), pixels)
        images.append({"image_id": image_id, "file_name": f"{image_id}.png", "width": 120, "height": 90})
        face = region((x0, y0, x0 + 16, y0 + 12), RegionKind.FACE)
        people.append(person(image_id, image_id, face, (120, 90)))
    small.write(images, people)
    fit = FitSettings(**{**TINY, "size": [60, 48] if sampling == "resize" else [64, 48], "sampling": sampling,
                         "head_scale": 1.0, "hidden": 0, "aimed": 1.0})  # fmt: skip
    rows = regions.read(small.annotations / "train.images.parquet", regions.IMAGES).to_pylist()
    sources = Sources.read(small.data, rows, small.annotations / "train.people.parquet", fit, 1, 1)
    seen = 0
    for batch in [*(sources.batch(n, fit, 1) for n in range(20)), *sources.held_out(fit)]:
        for pixels, heads in zip(batch.pixels, batch.heads, strict=True):
            assert pixels.shape == (*fit.size[::-1], 3)
            x0, y0, x1, y1 = np.round(heads[0]).astype(int)
            inside = pixels[max(y0, 0) + 1 : max(y1 - 1, 0), max(x0, 0) + 1 : max(x1 - 1, 0)]
            bright = (pixels > 130).all(2)
            seen += int(bright.any())
            assert (inside > 200).all()
            grown = np.zeros_like(bright)
            grown[max(y0 - 1, 0) : max(y1 + 1, 0), max(x0 - 1, 0) : max(x1 + 1, 0)] = True
            assert not (bright & ~grown).any()
    assert seen > 40


def test_whose_boxes_there_are(dataset: Dataset) -> None:
    table = dataset.annotations / "train.people.parquet"
    rows = [{"image_id": number} for number in (1, 2, 3)]
    people = [
        {"image_id": 1, "person_id": 1, "category": "person", "box": [1, 2, 3, 4], "face": [1, 2, 2, 1]},
        {"image_id": 1, "person_id": 2, "category": "person", "crowd": True, "box": [0, 0, 9, 9]},
        {"image_id": 2, "person_id": 3, "category": "face", "box": [4, 4, 10, 20]},
        {"image_id": 2, "person_id": 4, "category": "person", "ignore": True, "box": [0, 0, 9, 9]},
        {"image_id": 3, "person_id": 5, "category": "person"},
        {"image_id": 4, "person_id": 6, "category": "person", "box": [0, 0, 9, 9]},
    ]
    full = [{"crowd": False, "ignore": False, "area": 1.0, **row} for row in people]
    regions.write(table, full, regions.PEOPLE)
    (dataset.annotations / "train.regions.parquet").unlink()
    found, heads = boxes_of(table, rows, 2.0)
    assert {one: of.tolist() for one, of in found.items()} == {1: [[1, 2, 4, 6]]}
    assert {one: of.tolist() for one, of in heads.items()} == {1: [[0, 1.5, 4, 3.5]], 2: [[-1, -6, 19, 34]]}
    chosen = [person(1, 1, region((5, 5, 9, 9), RegionKind.FACE), (50, 50)),
              {**person(1, 2, Reason.NO_FACE_FOUND, (50, 50)), "kind": "face"},
              person(2, 3, region((5, 5, 9, 9)), (50, 50))]  # fmt: skip
    regions.write(dataset.annotations / "train.regions.parquet", chosen, regions.REGIONS)
    _, heads = boxes_of(table, rows, 1.0)
    assert {one: of.tolist() for one, of in heads.items()} == {1: [[5, 5, 9, 9]]}, "the study's own choice of faces"


def test_heads_count_from_a_share_of_the_training_on(dataset: Dataset, tmp_path: Path) -> None:
    curve = run(with_boxes(dataset), tmp_path / "fit", hide_from=0.5, choose_from=0.0)["loss_curve"]
    later = {"heads", "restored", "restorer"}
    assert [later <= set(row) for row in curve] == [False] * 3 + [True] * 3
    assert not any(later & set(row) for row in curve[:3])
    assert json.loads((tmp_path / "fit" / "fit.json").read_text())["chosen"]["iteration"] >= 3


def test_the_factors_of_heads_rise(dataset: Dataset, tmp_path: Path) -> None:
    """Six iterations: over half of them to the whole factor, a third more each time; the first has equal weights."""
    table = with_boxes(dataset)
    full, rising = (
        run(table, tmp_path / str(over), hide_over=over)["loss_curve"] for over in (0.0, 0.5)
    )  # fmt: skip
    for name in ("heads", "restored"):
        assert rising[0][name] == pytest.approx(full[0][name] / 3, abs=1e-6)
    assert rising[0]["people"] == full[0]["people"]


def test_first_weights_are_multiplied() -> None:
    torch.manual_seed(0)
    codec = Codec(Architecture(3, 1))
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    codec.scale(2.0)
    last = f"synthesis.{len(codec.synthesis) - 2}."
    for name, value in codec.state_dict().items():
        convolution = name.endswith("weight") and not name.startswith(last)
        assert torch.equal(value, before[name] * (2 if convolution else 1)), name


@pytest.mark.parametrize("kept", [True, False])
def test_originals_that_were_edited_are_refused(dataset: Dataset, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    with_boxes(dataset)
    rows = regions.read(dataset.annotations / "train.images.parquet", regions.IMAGES).to_pylist()
    rows = [{**row, "sha256": sha256_file(dataset.data / row["path"])} for row in rows]
    table, fit = dataset.annotations / "train.people.parquet", FitSettings(**TINY)
    if not kept:
        monkeypatch.setattr(data, "IN_MEMORY", 0)
    sources = Sources.read(dataset.data, rows, table, fit, 5, 1)
    cv2.imwrite(str(dataset.data / rows[0]["path"]), photograph(rows[0]["width"], rows[0]["height"], 99))
    if kept:
        assert sources.pixels(rows[0]).shape == (rows[0]["height"], rows[0]["width"], 3)
    else:
        with pytest.raises(AnonbenchError, match=r"1\.jpg: was edited or damaged after it was written"):
            sources.pixels(rows[0])
    with pytest.raises(AnonbenchError, match=r"1\.jpg: was edited or damaged after it was written"):
        Sources.read(dataset.data, rows, table, fit, 5, 1)


def test_few_images_are_too_few(dataset: Dataset, tmp_path: Path) -> None:
    rows = regions.read(dataset.annotations / "train.images.parquet", regions.IMAGES).to_pylist()
    regions.write(dataset.annotations / "train.images.parquet", rows[:1], regions.IMAGES)
    with pytest.raises(AnonbenchError, match="1 images are too few"):
        run(with_boxes(dataset), tmp_path / "fit")


def test_images_without_anybody_can_be_learned_from(dataset: Dataset, tmp_path: Path) -> None:
    regions.write(dataset.annotations / "train.people.parquet", [], regions.PEOPLE)
    regions.write(dataset.annotations / "train.regions.parquet", [], regions.REGIONS)
    record = run(dataset, tmp_path / "fit")
    assert record["data"]["people"] == record["data"]["heads"] == 0
    assert all(row["people"] == row["heads"] == row["restored"] == 0 for row in record["loss_curve"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iteration": 3}, "iteration: unknown key"),
        ({"size": [30, 32]}, r"size: sides must be multiples of 4"),
        ({"steps": [1.0, 1.0]}, "steps: each must be named once"),
        ({"steps": []}, "steps"),
        ({"loss": {"head": 1}}, r"loss\.head: unknown key \(did you mean 'heads'\?\)"),
        ({"loss": {"head_term": "invers"}}, r"loss\.head_term"),
        ({"loss": {"rate": -1}}, r"loss\.rate"),
        ({"loss": {"heads": math.inf}}, r"loss\.heads: Input should be a finite number"),
        ({"learning_rate": math.inf}, "learning_rate: Input should be a finite number"),
        ({"size": [8_000_000_000, 64]}, r"size: sides must be multiples of 4 .*8192 at most"),
        ({"preset": "publishd"}, "preset"),
    ],
)
def test_settings_are_checked(dataset: Dataset, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AnonbenchError, match=message):
        run(dataset, tmp_path / "fit", **settings)


def test_presets() -> None:
    sizes = {name: (FitSettings(preset=name).channels, FitSettings(preset=name).hidden)  # type: ignore[arg-type]
             for name in ("published", "published-256-1", "published-128-2", "cpu")}  # fmt: skip
    assert sizes == {"published": (256, 2), "published-256-1": (256, 1), "published-128-2": (128, 2), "cpu": (32, 1)}
    published = FitSettings(preset="published")
    assert (published.learning_rate, published.last_rate, published.batch_size) == (1e-4, 1.0, 14)
    assert (published.size, published.iterations) == ((512, 512), 30_000)
    mixed = FitSettings.model_validate({"preset": "published", "loss": {"rate": 0.1}})
    assert (mixed.loss.head_term, mixed.loss.rate) == ("inverse", 0.1)
    ours = FitSettings.model_validate({"preset": "published", "loss": {"preset": "ours"}})
    assert (ours.loss, ours.channels) == (Loss(), 256)
    with pytest.raises(ValidationError):
        FitSettings.model_validate({"loss": 3})
    of = {name: registry.load("methods", name).FitSettings() for name in registry.names("methods") if "codec" in name}
    assert of["roi_codec"].loss == Loss()
    assert of["roi_codec_published"].loss == Loss(preset="published")
    assert (of["roi_codec_people"].loss.people, of["roi_codec_people"].loss.heads) == (1.0, 0.0)
    assert (of["stock_codec"].loss.people, of["stock_codec"].loss.heads, of["stock_codec"].loss.restorer) == (0, 0, 0)


def test_a_loss_that_is_no_number_stops(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"the loss is not finite at iteration \d"):
        run(with_boxes(dataset), tmp_path / "fit", learning_rate=1e30, gradient_clip=None)


def test_running_out_of_memory_says_the_largest_batch_that_fits(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allocator's error is simulated."""
    forward = loop.Codec.forward

    def limited(codec: Any, x: torch.Tensor, *rest: Any) -> Any:
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(codec, x, *rest)

    monkeypatch.setattr(loop.Codec, "forward", limited)
    with pytest.raises(
        AnonbenchError, match=r"not enough for 3 images at a time \(iteration 1\); 1 fits; set batch_size: 1"
    ):
        run(with_boxes(dataset), tmp_path / "fit")


@pytest.mark.slow
def test_it_learns_to_hide_heads_and_to_keep_the_rest(tmp_path: Path) -> None:
    """Heads are small chequered squares of their own colours; what was learned blurs these and nothing else."""
    small = Dataset(tmp_path)
    (small.data / "raw").mkdir(parents=True)
    images, people, boxed = [], [], {}
    for image_id in range(1, 31):
        rng = np.random.default_rng(image_id)
        pixels = cv2.resize(rng.integers(60, 190, (4, 4, 3), dtype=np.uint8), (64, 64))
        x0, y0 = (int(v) for v in rng.integers(4, 36, 2))
        pixels[y0 : y0 + 24, x0 : x0 + 24] = np.where(
            (np.indices((24, 24)) // 6).sum(0)[..., None] % 2, (250, 210, 30), (30, 10, 120))  # fmt: skip
        cv2.imwrite(str(small.data / "raw" / f"{image_id}.png"), pixels[..., ::-1])
        images.append({"image_id": image_id, "file_name": f"{image_id}.png", "width": 64, "height": 64})
        boxed[image_id] = (x0, y0, x0 + 24, y0 + 24)
        people.append(person(image_id, image_id, region(boxed[image_id], RegionKind.FACE), (64, 64)))
    small.write(images, people)
    common: dict[str, Any] = {
        "channels": 12, "size": [64, 64], "iterations": 250, "learning_rate": 0.004, "head_scale": 1.0,
        "choose_every": 50, "flip": 0.0, "batch_size": 8, "learn_steps": False, "hide_from": 0.3,
    }  # fmt: skip
    left, error = {}, {}
    for method, loss in (
        ("roi_codec", {"head_term": "flat", "heads": 1.0, "restorer": 0.02}),
        ("roi_codec_people", {}),
    ):
        run(small, tmp_path / method, method, **common, loss={"rate": 0.005, **loss})
        out = small.run(f"frame-{method}", weights=tmp_path / method / "weights.safetensors", device="cpu",
                        parameters={"step": 1.0}, encoder="lossless")  # fmt: skip
        found, outside = [], []
        for image_id, (x0, y0, x1, y1) in boxed.items():
            before, after = (
                cv2.imread(str(folder / f"{image_id}.png")).astype(float)
                for folder in (small.data / "raw", out / "train")
            )
            a, b = before[y0:y1, x0:x1].ravel(), after[y0:y1, x0:x1].ravel()
            found.append(np.corrcoef(a, b)[0, 1] ** 2 * b.var() / a.var())
            mask = np.ones((64, 64), bool)
            mask[max(y0 - 6, 0) : y1 + 6, max(x0 - 6, 0) : x1 + 6] = False
            outside.append(np.square(before - after)[mask].mean() / before[mask].var(0).mean())
        left[method], error[method] = float(np.mean(found)), float(np.mean(outside))
    # of heads a tenth at most of what the other codec leaves; of the rest more than half is there
    assert left["roi_codec"] < 0.1 * left["roi_codec_people"], left
    assert error["roi_codec"] < 0.5, error


def weights_for(folder: Path, **options: Any) -> Path:
    return tiny.write(folder / "codec.safetensors", **options)


def test_a_variant_of_frames(dataset: Dataset, tmp_path: Path) -> None:
    weights = weights_for(tmp_path, origin={"dataset": "none", "hides": "heads"})
    out = dataset.run("frame-roi_codec", weights=weights, device="cpu", parameters={}, encoder="lossless", shards=2)
    rows = [*manifests.rows_of(out, "train")]
    frames = [row for row in rows if row["type"] == "frame"]
    assert len(frames) == 8
    compressor, _ = Compressor.load(weights, "cpu")
    for row in frames:
        name = "deep/3.png" if row["image_id"] == 3 else f"{row['image_id']}.jpg"
        before = cv2.imread(str(dataset.data / "raw" / name))[..., ::-1]
        data = compressor.encode(np.ascontiguousarray(before))
        after = cv2.imread(str(out / "train" / name).replace(".jpg", ".jpg.png"))
        after = cv2.imread(str(next((out / "train").rglob(f"{row['image_id']}.*")))) if after is None else after
        assert (after[..., ::-1] == compressor.decode(data)).all()
        facts = row["facts"]
        assert facts["bits"] == 8 * len(data)
        assert facts["bpp"] == pytest.approx(8 * len(data) / before[..., 0].size, abs=1e-6)
        assert facts["mse"] == pytest.approx(np.square(before.astype(float) - after[..., ::-1]).mean(), abs=1e-3)
        assert facts["bits_estimated"] == pytest.approx(compressor.estimate(compressor.unpack(data)), abs=0.1)
    again = dataset.run("frame-roi_codec", tmp_path / "again", weights=weights, device="cpu", parameters={},
                        encoder="lossless", threads=3)  # fmt: skip
    assert [*manifests.rows_of(again, "train")] == rows


# --- rates


STEPS = (0.125, 2.0, 0.5, 0.25)


def rates_of(dataset: Dataset, weights: Path, out: Path, **parameters: Any) -> list[float]:
    made = dataset.run("frame-roi_codec", out, weights=weights, device="cpu", parameters=parameters, encoder="lossless")
    return [row["facts"]["bpp"] for row in manifests.rows_of(made, "train") if row["type"] == "frame"]


def test_a_rate_is_the_mean_of_the_split_whatever_the_shards(dataset: Dataset, tmp_path: Path) -> None:
    """Also with noise, whose numbers are the same when a rate is searched for and when an image is encoded."""
    weights = weights_for(tmp_path, steps=STEPS, noise=0.5)
    at = {step: float(np.mean(rates_of(dataset, weights, tmp_path / str(step), step=step))) for step in STEPS}
    assert at[0.125] > at[0.25] > at[0.5] > at[2.0]
    target = 0.6 * at[0.25] + 0.4 * at[0.5]
    outs = [
        dataset.run("frame-roi_codec", tmp_path / f"rate{shards}", weights=weights, device="cpu", shards=shards,
                    parameters={"bpp": target}, encoder="lossless")
        for shards in (1, 3)
    ]  # fmt: skip
    rows = [[row for row in manifests.rows_of(out, "train") if row["type"] == "frame"] for out in outs]
    assert rows[0] == rows[1]
    assert {row["facts"]["step"] for row in rows[0]} == {0.25, 0.5}
    found = [row["facts"]["bpp"] for row in rows[0]]
    assert np.mean(found) == pytest.approx(target, rel=0.02)
    tuned = manifests.summary_of(outs[0], "train")["tuned"]
    assert (tuned["images"], tuned["step"], tuned["finer"]) == (8, 0.5, 0.25)
    assert 0 < tuned["share_finer"] < 1
    assert tuned["bpp"] == pytest.approx(np.mean(found), abs=1e-5)


def test_the_rate_of_a_step_is_met_by_that_step(dataset: Dataset, tmp_path: Path) -> None:
    weights = weights_for(tmp_path, steps=STEPS)
    for step in (0.125, 0.5, 2.0):
        of_step = rates_of(dataset, weights, tmp_path / f"step{step}", step=step)
        asked = rates_of(dataset, weights, tmp_path / f"rate{step}", bpp=float(np.mean(of_step)))
        assert asked == of_step


def test_rates_that_no_step_has_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    weights = weights_for(tmp_path, steps=STEPS)
    for target, factor in ((0.01, "larger"), (90.0, "smaller")):
        said = (
            rf"method roi_codec bpp: roi_codec cannot reach {target:g} bits per pixel: the 8 frames .* at its largest "
            rf"step and .* at its smallest; .*, or fit it at a {factor} fit.loss.rate, or for "
        )
        with pytest.raises(AnonbenchError, match=said):
            rates_of(dataset, weights, tmp_path / "out", bpp=target)
    plugin = registry.load("methods", "roi_codec")
    with pytest.raises(AnonbenchError, match="step and bpp exclude each other; remove one of them"):
        plugin({"step": 2.0, "bpp": 0.5})
    one = FitSettings(**{**TINY, "steps": [2.0]}).model_dump(mode="json")
    assert plugin.misfit(plugin.Parameters(bpp=0.5), FitSettings(**TINY).model_dump(mode="json")) is None
    assert "the codec is fitted for one alone (fit.steps: 2)" in plugin.misfit(plugin.Parameters(bpp=0.5), one)
    said = "step 1 is none that the codec is fitted for (fit.steps: 2)"
    assert plugin.misfit(plugin.Parameters(), one) == said, "the default"


def test_a_rate_of_one_frame_alone_is_refused(tmp_path: Path) -> None:
    method = registry.load("methods", "roi_codec")({"bpp": 0.5})
    frame = Region(0, FRAME, "frame", (0, 0, 16, 16), np.ones((16, 16), bool), (0, 0, 16, 16))
    work = Work(1, np.zeros((16, 16, 3), np.uint8), [frame])
    with pytest.raises(AnonbenchError, match="the codec has no weights"):
        engine.anonymize([work], method, 1)
    method.load(weights_for(tmp_path), FRAME, "cpu")
    with pytest.raises(AnonbenchError, match=r"a rate is that of a whole split.*name a step instead"):
        engine.anonymize([work], method, 1)


def test_everybody_may_be_recognised(dataset: Dataset, tmp_path: Path) -> None:
    """Whatever a fit asked for, it promises nothing of a person."""
    with_boxes(dataset)
    found = {}
    for hides, method in (("heads", "roi_codec"), ("nobody", "stock_codec")):
        weights = weights_for(tmp_path, origin={"hides": hides})
        out = dataset.run(f"frame-{method}", tmp_path / hides, weights=weights, device="cpu", parameters={},
                          encoder="lossless")  # fmt: skip
        found[hides] = [row["weak"] for row in manifests.rows_of(out, "train") if "weak" in row]
    assert len(found["heads"]) == len(found["nobody"]) > 5
    assert set(found["nobody"]) == {"by a codec that was fitted to hide nobody"}
    assert set(found["heads"]) == {
        "by a codec that was fitted to hide heads: no fit promises it, only attackers tell what is hidden"
    }


def test_weights_of_a_control_make_nobody_anonymized(tmp_path: Path) -> None:
    weights = weights_for(tmp_path, origin={"hides": "nobody"})
    said = r"method roi_codec.*fitted to hide nobody, and roi_codec would count everybody as anonymized; .*stock_codec"
    with pytest.raises(AnonbenchError, match=said):
        registry.load("methods", "roi_codec")({}).load(weights, FRAME, "cpu")
    registry.load("methods", "stock_codec")({}).load(weights, FRAME, "cpu")


def test_a_step_that_nobody_fits_is_told_before_the_fit() -> None:
    plugin = registry.load("methods", "roi_codec")
    settings = FitSettings(**TINY).model_dump(mode="json")
    assert plugin.misfit(plugin.Parameters(step=2.0), settings) is None
    said = "step 3 is none that the codec is fitted for (fit.steps: 1, 2)"
    assert plugin.misfit(plugin.Parameters(step=3.0), settings) == said
    assert registry.load("methods", "learned").misfit(None, {}) is None


def test_a_fit_that_hides_nobody_is_a_control_s() -> None:
    """Otherwise a study would count people as anonymized whom nothing is done to."""
    settings = FitSettings(**{**TINY, "loss": {"heads": 0, "restorer": 0}}).model_dump(mode="json")
    told = {name: registry.load("methods", name) for name in ("roi_codec", "roi_codec_people", "stock_codec")}
    said = {name: plugin.misfit(plugin.Parameters(step=1.0), settings) for name, plugin in told.items()}
    assert said["roi_codec_people"] is said["stock_codec"] is None
    assert "everybody would count as anonymized: take roi_codec_people" in said["roi_codec"]
    for loss in ({"heads": 2, "restorer": 0}, {"heads": 0, "restorer": 0.02}):
        settings = FitSettings(**{**TINY, "loss": loss}).model_dump(mode="json")
        said = {name: plugin.misfit(plugin.Parameters(step=1.0), settings) for name, plugin in told.items()}
        assert said["roi_codec"] is None
        for control in ("roi_codec_people", "stock_codec"):
            assert "hides heads (heads, restorer), but the method counts as a control" in said[control]


def test_heads_count_in_full_before_the_end() -> None:
    FitSettings(**{**TINY, "hide_from": 0.5, "hide_over": 0.5})
    with pytest.raises(ValidationError, match=r"hide_over: heads would never count in full: after hide_from \(0\.7\)"):
        FitSettings(**{**TINY, "hide_from": 0.7, "hide_over": 0.4})


def test_the_published_training_is_published() -> None:
    """None of what is ours is in it, whatever method asks for it."""
    for name in ("published", "published-256-1", "published-128-2"):
        for method in ("roi_codec", "roi_codec_published", "roi_codec_people", "stock_codec"):
            fit = registry.load("methods", method).FitSettings(preset=name)
            ours = (fit.first_weights, fit.hide_over, fit.hide_from, fit.last_rate, fit.gain, fit.gradient_clip)
            assert ours == (1.0, 0.0, 0.0, 1.0, 1.0, None)


def test_the_codecs_that_hide_nobody_are_controls(dataset: Dataset, tmp_path: Path) -> None:
    with_boxes(dataset)
    for method, status in (("stock_codec", "control"), ("roi_codec_people", "control"), ("roi_codec", "anonymized")):
        out = dataset.run(f"frame-{method}", tmp_path / method, weights=weights_for(tmp_path), device="cpu",
                          parameters={}, encoder="lossless")  # fmt: skip
        rows = [*manifests.rows_of(out, "train")]
        assert {row["status"] for row in rows if row["type"] == "frame"} == {status}


def test_an_origin_that_no_manifest_can_hold(dataset: Dataset, tmp_path: Path) -> None:
    """It is read before any image is written, which its manifest would not have followed."""
    weights = weights_for(tmp_path, origin={"dataset": "\ud800", "hides": "heads"})
    with pytest.raises(AnonbenchError, match=r"safetensors: says of itself what no manifest can hold .*fit the method"):
        dataset.run("frame-roi_codec", tmp_path / "out", weights=weights, device="cpu", parameters={})
    assert not (tmp_path / "out").exists()


def test_without_weights_and_with_another_step(tmp_path: Path) -> None:
    method = make(Variant.parse("frame-roi_codec"))
    with pytest.raises(AnonbenchError, match="the codec has no weights"):
        method.change(None)  # type: ignore[arg-type]
    wrong = make(Variant.parse("frame-roi_codec"), {"step": 9.0})
    with pytest.raises(
        AnonbenchError, match=r"codec.safetensors.*step 9 is none that the codec is fitted for \(fit.steps: 1, 2\)"
    ):
        wrong.load(weights_for(tmp_path), FRAME, "cpu")
    with pytest.raises(AnonbenchError, match="does not work on the region 'face'"):
        make(Variant.parse("face-roi_codec"))
    one = make(Variant.parse("frame-roi_codec"), {"bpp": 0.5})
    (tmp_path / "one").mkdir()
    with pytest.raises(AnonbenchError, match="the codec is fitted for one alone"):
        one.load(weights_for(tmp_path / "one", steps=(2.0,)), FRAME, "cpu")
