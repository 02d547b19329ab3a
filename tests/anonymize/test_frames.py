"""Variants whose region is the frame: everybody and everything in every image, with one row per frame."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from anonbench import images, manifests, regions, registry
from anonbench.anonymize import engine
from anonbench.anonymize.contract import make
from anonbench.anonymize.export import Export
from anonbench.anonymize.merge import merge
from anonbench.anonymize.methods.contrast import ROWS, side_of, standing
from anonbench.cli import app
from anonbench.crops import Crop, Work
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, sha256_file
from anonbench.records import ANONYMIZED, CONTROL, Region, RegionKind
from anonbench.seeding import seed_of
from anonbench.studies import DEFAULT
from anonbench.variants import Variant
from anonbench.workflow.plan import Plan
from tests.codec import tiny
from tests.fixtures.outside import install

from .conftest import Dataset, photograph
from .learned_tiny import ready

FRAME = RegionKind.FRAME


def frame(width: int, height: int) -> Region:
    return Region(0, FRAME, "frame", (0, 0, width, height), np.ones((height, width), bool), (0, 0, width, height))


def changed(pixels: np.ndarray, variant: str, parameters: dict[str, Any] | None = None) -> np.ndarray:
    method = make(Variant.parse(variant), parameters)
    if method.FitSettings is not None:
        if "codec" in method.name:
            with tempfile.TemporaryDirectory() as folder:
                method.load(tiny.write(Path(folder) / "weights.safetensors"), FRAME, "cpu")
        else:
            method = ready(method)
    return engine.anonymize_image(pixels, [frame(*pixels.shape[1::-1])], method, image_id=3, seed=1)


def every_method() -> list[str]:
    """Return a variant of each registered method that works on frames, at each of its levels."""
    found = []
    for name in registry.names("methods"):
        plugin = registry.load("methods", name)
        if FRAME in plugin.kinds:
            found += [f"frame-{name}-{level}" for level in plugin.levels] or [f"frame-{name}"]
    return found


@pytest.mark.parametrize("size", [(97, 83), (64, 48), (5, 40), (3, 3), (1, 7)], ids=str)
@pytest.mark.parametrize("variant", every_method())
def test_every_pixel_is_changed_and_the_size_is_kept(variant: str, size: tuple[int, int]) -> None:
    pixels = photograph(*size)
    before = pixels.copy()
    after = changed(pixels, variant)
    assert (pixels == before).all()
    assert after.shape == pixels.shape
    assert after.dtype == np.uint8
    method = registry.load("methods", Variant.parse(variant).method or "")
    if not method.anonymizes and not method.codec:
        assert (after == before).all()
    elif min(size) > 40:
        assert (after != before).mean() > 0.5
    assert (changed(pixels, variant) == after).all()


def test_blur_takes_the_shorter_side_for_288_pixels() -> None:
    for size in ((288, 400), (400, 288)):
        pixels = photograph(*size, seed=2)
        expected = cv2.GaussianBlur(pixels.astype(np.float32), (21, 21), 7.0, borderType=cv2.BORDER_REPLICATE)
        inner = np.s_[12:-12, 12:-12]
        found = changed(pixels, "frame-blur-medium").astype(np.float32)
        assert np.abs(found[inner] - expected[inner]).mean() < 1
    small, large = photograph(144, 144, seed=3), cv2.resize(photograph(144, 144, seed=3), (576, 576))
    twice = cv2.resize(changed(large, "frame-blur-medium"), (144, 144), interpolation=cv2.INTER_AREA)
    assert np.abs(twice.astype(int) - changed(small, "frame-blur-medium"))[10:-10, 10:-10].mean() < 2


@pytest.mark.parametrize(("level", "cells"), [("low", 32), ("medium", 16), ("high", 8)])
def test_pixelate_divides_the_shorter_side(level: str, cells: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    after = changed(pixels, f"frame-pixelate-{level}")
    side = 64 // cells
    blocks = after.reshape(cells, side, 2 * cells, side, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    means = pixels.reshape(cells, side, 2 * cells, side, 3).mean(axis=(1, 3))
    assert np.abs(blocks[:, 0, :, 0] - means).max() <= 1


@pytest.mark.parametrize("factor", [2, 4])
def test_downsample_keeps_the_means_of_areas_and_nothing_else(factor: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    after = changed(pixels, f"frame-downsample-{factor}x")
    means = pixels.reshape(48 // factor, factor, 64 // factor, factor, 3).mean(axis=(1, 3))
    shrunk = np.clip(np.floor(means + 0.5), 0, 255).astype(np.uint8)
    expected = cv2.resize(shrunk, (64, 48), interpolation=cv2.INTER_LINEAR)
    assert np.abs(after.astype(int) - expected).max() <= 1
    assert after.min() >= shrunk.min()
    assert after.max() <= shrunk.max()
    flipped = pixels.reshape(48 // factor, factor, 64 // factor, factor, 3)[:, ::-1, :, ::-1].reshape(pixels.shape)
    assert (changed(flipped, f"frame-downsample-{factor}x") == after).all(), "order within an area is lost"


def test_downsample_rounds_sides_that_the_factor_does_not_divide() -> None:
    pixels = photograph(101, 51)
    small = cv2.resize(pixels, (25, 13), interpolation=cv2.INTER_AREA)
    assert (changed(pixels, "frame-downsample-4x") == cv2.resize(small, (101, 51))).all()
    with pytest.raises(AnonbenchError, match="factor"):
        make(Variant.parse("frame-downsample-2x"), {"factor": 1})


def test_grey_keeps_the_luma_and_nothing_else() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    after = changed(pixels, "frame-grey")
    assert (after == after[:, :, :1]).all()
    assert np.abs(after[:, :, 0] - pixels @ np.array([0.299, 0.587, 0.114])).max() < 1
    assert (changed(after, "frame-grey") == after).all()


def test_contrast_of_a_hand_computed_case() -> None:
    pixels = np.full((40, 40, 3), 100, np.uint8)
    pixels[:, 20:] = 140
    after = changed(pixels, "frame-contrast")  # squares of 3 pixels
    assert (after == after[:, :, :1]).all()
    row = after[10, :, 0].astype(int)
    # two columns of three dark, one bright: the mean is 113.33, the deviation 18.856; and the other way round
    assert (row[[19, 20]] == [round(127.5 - 51 * 13.3333 / 18.8562), round(127.5 + 51 * 13.3333 / 18.8562)]).all()
    assert (np.delete(row, [19, 20]) == 128).all()
    assert (after == after[:1]).all(), "at the border there are fewer pixels, of the same kinds"


def test_contrast_is_what_each_square_says_of_its_middle() -> None:
    pixels = photograph(61, 47)
    assert side_of(0.2, 47, 61) == 9
    after = changed(pixels, "frame-contrast", {"around": 0.2})[..., 0]
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(float)
    for y, x in ((0, 0), (3, 60), (20, 30), (46, 2), (44, 58)):
        square = luma[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5]
        expected = 127.5 + 51 * (luma[y, x] - square.mean()) / max(square.std(), 12.75)
        assert abs(min(255, max(0, expected)) - after[y, x]) <= 0.51


def test_contrast_shows_neither_brightness_nor_how_much_it_differs() -> None:
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.integers(20, 110, (48, 64, 1), dtype=np.uint8), 3, 2)
    wide = {"around": 0.2}  # squares of 9 pixels, none of which is flat
    after = changed(pixels, "frame-contrast", wide)
    assert (changed(pixels + 100, "frame-contrast", wide) == after).all()
    assert (changed(2 * pixels, "frame-contrast", wide) == after).all()
    noise = (100 + rng.normal(0, 2, (48, 64, 1))).round().astype(np.uint8).repeat(3, 2)
    assert changed(noise, "frame-contrast").std() < 10, "noise is not enlarged"


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (500, 1), (1, 300), (70, 3 * ROWS + 5)])
@pytest.mark.parametrize("around", [0.075, 0.5, 1.0])
def test_contrast_does_not_depend_on_the_rows_that_are_worked_on_at_a_time(
    size: tuple[int, int], around: float
) -> None:
    pixels = photograph(*size)
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    whole = 127.5 + 51 * standing(luma, side_of(around, *luma.shape))
    after = make(Variant.parse("frame-contrast"), {"around": around}).change(SimpleNamespace(pixels=pixels))
    assert (after[..., 0] == np.floor(whole.clip(0, 255) + 0.5)).all()


def test_contrast_tells_how_bright_uneven_things_are_where_hardly_anything_differs() -> None:
    """What the documentation says that it does not hide."""
    rough = 1 + 0.03 * np.random.default_rng(0).normal(size=(48, 64, 1))
    dark, bright = (changed((k * rough).round().astype(np.uint8).repeat(3, 2), "frame-contrast") for k in (40, 200))
    assert bright.std() > 2 * dark.std()


def test_large_bright_squares_are_exact() -> None:
    luma = np.full((1000, 1200), 255, np.uint8)
    luma[500, 600] = 0
    found = standing(luma, 401)
    assert found[500, 600] == pytest.approx(-255 * (1 - 1 / 401**2) / 12.75, rel=1e-12)
    assert found[0, 0] == 0
    luma[500, 600:] = 0
    count, dark = 401**2, 201
    mean = 255 * (count - dark) / count
    assert found.shape == luma.shape
    assert standing(luma, 401)[500, 600] == pytest.approx(-mean / 12.75, rel=1e-12)


# The stage


@pytest.mark.parametrize("variant", ["frame-identity", "frame-blur-medium", "frame-downsample-4x"])
def test_one_row_per_frame_and_everybody_s_row_follows_it(dataset: Dataset, variant: str) -> None:
    out = dataset.run(variant, shards=2, strict=True)
    done = CONTROL if variant == "frame-identity" else ANONYMIZED
    rows = list(manifests.rows_of(out, "train"))
    frames = {row["image_id"]: row for row in rows if row["type"] == "frame"}
    assert sorted(frames) == list(range(1, 9)), "images without people, too"
    for image_id, row in frames.items():
        method = variant.split("-")[1]
        assert row == {
            "type": "frame", "image_id": image_id, "region": "frame", "status": done, "method": method,
            "pixels": (160 + 8 * image_id) * 120, "seed": seed_of(0, image_id, "frame"),
        }  # fmt: skip
    people = [row for row in rows if row["type"] == "person"]
    table = regions.read(dataset.annotations / "train.people.parquet", regions.PEOPLE)
    assert sorted(row["person_id"] for row in people) == sorted(table["person_id"].to_pylist())
    for row in people:  # a crowd and somebody without a usable box among them
        of_frame = frames[row["image_id"]]
        assert all(row[key] == of_frame[key] for key in ("region", "status", "method", "seed", "pixels"))
        assert row["box"] == [0, 0, 160 + 8 * row["image_id"], 120]
    assert {row["action"] for row in rows if row["type"] == "image"} == {"encoded"}
    summary = manifests.summary_of(out, "train")
    assert summary["touches"] == "everything"
    assert summary["frames"] == {
        "frames": 8, "anonymized": 8 * (done == ANONYMIZED), "reasons": {} if done == ANONYMIZED else {CONTROL: 8},
    }  # fmt: skip
    assert summary["people"]["total"] == len(people)
    assert summary["share_changed"] == (done == ANONYMIZED)


def test_what_a_variant_touches(dataset: Dataset) -> None:
    said = {"original": None, "body-mask_out": "regions", "face-identity": "regions", "frame-identity": "everything"}
    for variant, touches in said.items():
        assert manifests.summary_of(dataset.run(variant), "train")["touches"] == touches


def test_identity_keeps_the_pixels_of_a_png_and_images_without_people_change(dataset: Dataset) -> None:
    out = dataset.run("frame-identity")
    name = "deep/3.png"
    before, after = (images.read_rgb(folder / name) for folder in (dataset.data / "raw", out / "train"))
    assert (before == after).all()
    out = dataset.run("frame-downsample-2x")
    for name in ("7.jpg", "8.jpg"):  # a crowd only, nobody
        before, after = (images.read_rgb(folder / name) for folder in (dataset.data / "raw", out / "train"))
        assert (before != after).mean() > 0.5
        assert b"comment" not in (out / "train" / name).read_bytes()


def test_no_table_of_regions_is_needed(dataset: Dataset) -> None:
    (dataset.annotations / "train.regions.parquet").unlink()
    dataset.run("frame-blur-low", strict=True)
    with pytest.raises(AnonbenchError, match="no such table"):
        dataset.run("body-blur-low")


def test_threads_and_shards_change_no_byte(dataset: Dataset, tmp_path: Path) -> None:
    plain = dataset.run("frame-pixelate-medium", tmp_path / "plain")
    other = dataset.run("frame-pixelate-medium", tmp_path / "other", shards=3, threads=3)
    names = sorted(manifests.files_under(plain / "train"))
    assert len(names) == 8
    assert all(sha256_file(plain / "train" / name) == sha256_file(other / "train" / name) for name in names)
    assert list(manifests.rows_of(plain, "train")) == list(manifests.rows_of(other, "train"))


def test_who_may_still_be_recognised_is_said_of_each_person(dataset: Dataset) -> None:
    boxes = {11: ([0.0, 0.0, 60.0, 100.0], None), 12: ([0.0, 0.0, 6.0, 10.0], None), 13: (None, None)}
    faces = {14: ([0.0, 0.0, 6.0, 10.0], [1.0, 1.0, 40.0, 40.0])}
    people = [
        {"image_id": 1, "person_id": i, "category": "person", "area": 1.0, "box": box, "face": face}
        for i, (box, face) in {**boxes, **faces}.items()
    ]
    regions.write(dataset.annotations / "train.people.parquet", people, regions.PEOPLE)
    of_side = "of the face's side"
    expected = {
        "frame-grey": dict.fromkeys((11, 12, 14), "nothing but colour is taken away"),
        "frame-contrast": dict.fromkeys(
            (11, 12, 14), "nothing but colour and the brightness of what is even is taken away"
        ),
        "frame-downsample-2x": {11: f"blurred by 3.3 % {of_side}", 14: f"blurred by 2.5 % {of_side}"},
        "frame-blur-low": {11: f"blurred by 3.7 % {of_side}", 14: f"blurred by 2.8 % {of_side}"},
        "frame-pixelate-low": {14: "10.7 cells along the face's side"},  # 3.75 pixels: 8 along the other's
    }
    for variant, said in expected.items():
        out = dataset.run(variant)
        rows = [row for row in manifests.rows_of(out, "train") if row["type"] == "person"]
        weak = {row["person_id"]: row["weak"] for row in rows if "weak" in row}
        assert weak == said
        assert manifests.summary_of(out, "train")["people"]["weak"] == len(weak)
    strong = dataset.run("frame-blur-high")
    assert "weak" not in manifests.summary_of(strong, "train")["people"]


def test_a_guessed_frame_leaves_nobody_visible(dataset: Dataset) -> None:
    path = dataset.annotations / "train.images.parquet"
    rows = regions.read(path, regions.IMAGES).to_pylist()
    regions.write(path, rows, regions.IMAGES, {"frame_guessed": 3})
    out = dataset.run("frame-downsample-4x", strict=True)
    assert manifests.summary_of(out, "train")["frame_guessed"] == 3


def test_a_frame_variant_is_exported_and_its_control_is_not(dataset: Dataset, tmp_path: Path) -> None:
    out = dataset.run("frame-downsample-4x")
    Export(out, tmp_path / "release", tmp_path / "mapping.csv", strict=True).run()
    sheet = read_json(tmp_path / "release" / "datasheet.json")["splits"]["train"]
    assert (sheet["region"], sheet["touches"], sheet["parameters"]) == ("frame", "everything", {"factor": 4})
    assert sheet["frames"]["anonymized"] == 8
    with pytest.raises(AnonbenchError, match="is a control"):
        Export(dataset.run("frame-identity"), tmp_path / "other").run()


def test_a_killed_and_changed_run_is_checked_by_merge(dataset: Dataset) -> None:
    out = dataset.run("frame-blur-medium")
    path = manifests.shard_path(out, "train", 0)
    rows = manifests.read_rows(path)
    manifests.write_rows(path, [{**row, "type": "film"} if row["type"] == "frame" else row for row in rows])
    with pytest.raises(AnonbenchError, match="is not the row of an image, a frame or a person"):
        merge(dataset.annotations, "train", Variant.parse("frame-blur-medium"), 1, out)


# What cannot be done


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("frame-gan", "gan does not work on the region 'frame' (it works on: body, face)"),
        ("frame-mask_out", "mask_out does not work on the region 'frame' (it works on: body, face)"),
        ("body-downsample-2x", "downsample does not work on the region 'body' (it works on: frame)"),
        ("frames-blur-low", "unknown region 'frames' (did you mean 'frame'?)"),
    ],
)
def test_a_region_that_a_method_cannot_do_is_refused_before_anything_is_written(
    dataset: Dataset, variant: str, said: str
) -> None:
    with pytest.raises(AnonbenchError) as error:
        dataset.run(variant)
    assert said in str(error.value)
    assert not (dataset.folder / "out").exists()


def test_nothing_is_fitted_to_a_region_that_it_cannot_do(dataset: Dataset, tmp_path: Path) -> None:
    words = ["fit", "--data", str(dataset.data), "--annotations", str(dataset.annotations), "--method", "gan"]
    done = CliRunner().invoke(app, [*words, "--region", "frame", "--out", str(tmp_path / "fit")])
    assert isinstance(done.exception, AnonbenchError)
    assert "gan does not work on the region 'frame'" in str(done.exception)


FITTED = """
    from pathlib import Path
    from typing import ClassVar

    from anonbench.anonymize.contract import Fitted, Method
    from anonbench.blocks import NoSettings
    from anonbench.people import Frames
    from anonbench.records import RegionKind


    class Codec(Method):
        kinds: ClassVar = frozenset((RegionKind.FRAME,))
        FitSettings: ClassVar = NoSettings

        @classmethod
        def fit(cls, job):
            frames = Frames.read(job.table, job.images)
            sizes = [list(frames.regions(row)[0].box[2:]) for row in job.images]
            job.weights.parent.mkdir(parents=True, exist_ok=True)
            job.weights.write_bytes(b"weights")
            return Fitted({"sizes": sizes, "kind": job.kind.value}, {"seconds": 0.0})

        def load(self, weights, kind, device):
            assert (weights.read_bytes(), kind) == (b"weights", RegionKind.FRAME)
            return {"fitted_on": "frames"}

        def change(self, crop):
            return 255 - crop.pixels
"""


def test_a_method_is_fitted_to_frames(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "toy_fitted", FITTED)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._entries.cache_clear()
    try:
        (dataset.annotations / "train.regions.parquet").unlink()
        words = ["--data", str(dataset.data), "--annotations", str(dataset.annotations), "--method", "toy_fitted"]
        done = CliRunner().invoke(app, ["fit", *words, "--region", "frame", "--out", str(tmp_path / "fit")])
        assert done.exit_code == 0, done.output
        record = read_json(tmp_path / "fit" / "fit.json")
        assert record["sizes"] == [[160 + 8 * i, 120] for i in range(1, 9)]
        assert sorted(record["tables_sha256"]) == ["train.images.parquet", "train.people.parquet"]
        out = dataset.run("frame-toy_fitted", weights=tmp_path / "fit" / "weights.safetensors", strict=True)
        assert manifests.summary_of(out, "train")["fitted_on"] == "frames"
        study = {**DEFAULT, "variants": ["original", "frame-toy_fitted"]}
        plan = Plan(study, Path(__file__).parents[2])
        asked = SimpleNamespace(dataset="streetlife", region="frame", variant="frame-toy_fitted", split="train")
        assert plan.files.training_people()(asked) == "annotations/streetlife/train.people.parquet"
        assert plan.files.training_faces()(asked) == ["annotations/streetlife/train.regions.parquet"]
        assert plan.files.training_faces()(SimpleNamespace(dataset="streetlife", region="body")) == []
        assert plan.files.people_file()(asked) == ["annotations/streetlife/train.people.parquet"]
        assert plan.files.fitted()(asked) == ["anonymized/streetlife/private/fits/frame-toy_fitted/weights.safetensors"]
    finally:
        registry._entries.cache_clear()


def test_a_crop_of_a_frame_is_the_image() -> None:
    seen: list[Crop] = []
    method = make(Variant.parse("frame-identity"))
    method.change = lambda crop: seen.append(crop) or crop.pixels  # type: ignore[method-assign, func-returns-value]
    pixels = photograph(50, 40)
    engine.anonymize([Work(5, pixels, [frame(50, 40)])], method, seed=2)
    assert seen[0].pixels.shape == (40, 50, 3)
    assert seen[0].mask.all()
    assert seen[0].subject == (0, 0, 50, 40)
    assert seen[0].keypoints is None
    assert seen[0].seed == seed_of(2, 5, "frame")
