"""What a method says of a person or frame reaches the manifest, and a codec's output is not compressed once more."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from anonbench import config, images, manifests, registry
from anonbench.anonymize import engine
from anonbench.anonymize.contract import Changed, Crop, Method
from anonbench.anonymize.export import Export
from anonbench.crops import Work
from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.records import RegionKind
from anonbench.report.sheet import write_sheet
from anonbench.report.study import ReportStudy
from anonbench.studies import DEFAULT
from anonbench.train.data import VariantSplit
from anonbench.workflow.plan import Plan
from tests.fixtures.outside import CODEC, install

from .conftest import Dataset, photograph, region


@pytest.fixture
def codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = tmp_path / "outside"
    folder.mkdir()
    install(folder)
    monkeypatch.syspath_prepend(str(folder))
    registry._entries.cache_clear()
    yield "toy_codec"
    registry._entries.cache_clear()


# Facts


class Says(Method):
    """Returns whatever facts a test wants."""

    def __init__(self, facts: Mapping[str, Any], declared: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.said = facts
        self.facts = declared or {}  # type: ignore[misc]

    def change(self, crop: Crop) -> Changed:
        return Changed(255 - crop.pixels, self.said)


class Flag(int):
    """A number that no encoder of JSON knows."""


def said(method: Method) -> dict[str, Any]:
    (rows,) = engine.anonymize([Work(1, photograph(40, 30), [region((4, 4, 20, 20))])], method, seed=0)
    return dict(rows[0].facts)


def test_facts_are_json_scalars_and_numpy_s_become_python_s() -> None:
    facts = {"bits": np.int64(7), "psnr": np.float32(0.5), "kept": True, "codebook": "b1", "nothing": None}
    found = said(Says(facts))
    assert found == {"bits": 7, "psnr": 0.5, "kept": True, "codebook": "b1", "nothing": None}
    assert json.loads(json.dumps(found)) == found
    assert said(Says({})) == {}


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"bits": [1, 2]}, r"returned \[1, 2\] for the fact 'bits', which is not a JSON scalar"),
        ({"psnr": math.inf}, "returned inf for the fact 'psnr'"),
        ({"psnr": np.float32("nan")}, "returned nan for the fact 'psnr'"),
        ({"Bits": 1}, "returned a fact called 'Bits'"),
        ({1: 1}, "returned a fact called 1"),
        ({"seconds": 0.2}, "returned the fact 'seconds': times differ from run to run"),
        ({"decode_ms": 3}, "returned the fact 'decode_ms': times differ from run to run"),
        ({"bits": 10**400}, "returned 1000.*0 for the fact 'bits', which is not a JSON scalar"),
        ({"bits": Flag(1)}, "returned 1 for the fact 'bits', which is not a JSON scalar"),
        ({"codebook": "\ud800"}, r"returned '\\ud800' for the fact 'codebook', which is not a JSON scalar"),
        (None, "returned NoneType as facts, which is not a mapping"),
        ([("bits", 1)], "returned list as facts, which is not a mapping"),
    ],
)
def test_what_is_no_fact_ends_the_run_in_one_sentence(facts: dict[Any, Any], message: str) -> None:
    with pytest.raises(AnonbenchError, match=rf"method test_stored failed on person 1: {message}") as error:
        said(Says(facts))
    assert "\n" not in str(error.value)


class Fails(Method):
    """Raises what has several lines, as libraries do."""

    fallback = None

    def change(self, crop: Crop) -> np.ndarray:
        raise ValueError("one\n  two\nthree")


def test_a_failure_of_many_lines_is_told_in_one() -> None:
    with pytest.raises(AnonbenchError, match=r"method test_stored failed on person 1: one two three; fix"):
        said(Fails())


class Eats(Method):
    """Changes the masks that it is shown, its neighbour's too."""

    def change(self, crop: Crop) -> np.ndarray:
        for person in crop.people:
            person.mask[:] = False
        return 255 - crop.pixels


def test_a_method_cannot_take_people_out_of_their_masks() -> None:
    people = [region((0, 0, 10, 10), person_id=1), region((20, 0, 32, 10), person_id=2)]
    with pytest.raises(AnonbenchError, match=r"failed on person 1: assignment destination is read-only; fix"):
        engine.anonymize([Work(1, photograph(60, 40), people)], Eats(), seed=0)


class Falls(Method):
    """Fails, and names a fallback that fails, too."""

    fallback = "mask_out"

    def change(self, crop: Crop) -> np.ndarray:
        raise ValueError("out of ideas")


def test_a_fallback_that_fails_ends_the_run_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda group, name: Fails)
    with pytest.raises(AnonbenchError, match="out of ideas, and its fallback mask_out: one two three; fix one"):
        said(Falls())


def test_a_name_that_sounds_like_a_time_may_be_declared() -> None:
    assert said(Says({"time_steps": 4}, {"time_steps": "steps of the sampler"})) == {"time_steps": 4}


class Twice(Method):
    """Has facts in batches, and fails on wide crops."""

    batch = 4
    fallback = "mask_out"

    def change(self, crop: Crop) -> Changed:
        if crop.pixels.shape[1] > 30:
            raise ValueError("too wide")
        return Changed(crop.pixels, {"width": crop.pixels.shape[1]})


def test_facts_belong_to_their_person_and_not_to_a_fallback() -> None:
    people = [region((0, 0, 10, 10), person_id=1), region((20, 0, 32, 10), person_id=2)]
    people.append(region((0, 20, 40, 30), person_id=3))
    (rows,) = engine.anonymize([Work(1, photograph(60, 40), people)], Twice(), seed=0)
    assert [dict(row.facts) for row in rows] == [{"width": 10}, {"width": 12}, {}]
    assert rows[2].fallback == "mask_out"


@pytest.mark.parametrize("kind", list(RegionKind))
def test_facts_reach_the_row_of_the_person_or_frame(dataset: Dataset, codec: str, kind: RegionKind) -> None:
    out = dataset.run(f"{kind}-{codec}-8", encoder="lossless")
    rows = list(manifests.rows_of(out, "train"))
    those = [row for row in rows if row["type"] == ("frame" if kind is RegionKind.FRAME else "person")]
    facts = [row["facts"] for row in those if row["method"]]
    assert len(facts) == {RegionKind.FACE: 6, RegionKind.BODY: 12, RegionKind.FRAME: 8}[kind]
    assert all(set(one) == {"bits", "mse", "kept"} for one in facts)
    assert sum("facts" in row for row in rows) == len(facts), "nobody else has any"
    summary = manifests.summary_of(out, "train")
    assert summary["facts"] == {"bits": "size of the coded frame in bits", "mse": "mean squared error of a value"}
    mean = sum(one["bits"] for one in facts) / len(facts)
    assert summary["facts_mean"]["bits"] == {"count": len(facts), "mean": pytest.approx(mean)}
    assert set(summary["facts_mean"]) == {"bits", "mse"}
    other = dataset.run(f"{kind}-{codec}-8", dataset.folder / "again", shards=3, threads=2, encoder="lossless")
    assert manifests.summary_of(other, "train")["facts_mean"] == summary["facts_mean"]


# Storage


def test_everything_that_is_changed_becomes_a_png_and_is_found_under_its_name(dataset: Dataset, tmp_path: Path) -> None:
    out = dataset.run("frame-downsample-2x", encoder="lossless", shards=2, strict=True)
    assert sorted(manifests.files_under(out / "train")) == sorted(
        "deep/3.png" if i == 3 else f"{i}.png" for i in range(1, 9)
    )
    for name in manifests.files_under(out / "train"):
        assert (out / "train" / name).read_bytes().startswith(b"\x89PNG")
    entries = {image["id"]: image["file_name"] for image in read_json(out / "annotations" / "train.json")["images"]}
    rows = [row for row in manifests.rows_of(out, "train") if row["type"] == "image"]
    assert {row["image_id"]: row["file_name"] for row in rows} == entries
    assert {row["encoder"] for row in rows} == {"png"}
    summary = manifests.summary_of(out, "train")
    assert summary["encoder"] == "lossless"
    assert manifests.verify(out, "train") == summary["digest"]
    for sample in VariantSplit.read(out, "train").samples:
        assert images.read_rgb(sample.path, (sample.width, sample.height)).shape == (sample.height, sample.width, 3)
    plain, renamed = tmp_path / "plain", tmp_path / "renamed"
    Export(out, plain).run()
    Export(out, renamed, tmp_path / "mapping.csv").run()
    for folder in (plain, renamed):
        listed = read_json(folder / "annotations" / "instances_train.json")["images"]
        assert sorted(image["file_name"] for image in listed) == sorted(manifests.files_under(folder / "train"))


def test_the_pixels_are_the_method_s_own(dataset: Dataset, codec: str) -> None:
    lossless = dataset.run(f"frame-{codec}-8", encoder="lossless")
    before = images.read_rgb(dataset.data / "raw" / "1.jpg")
    after = images.read_rgb(lossless / "train" / "1.png")
    seed = next(row["seed"] for row in manifests.rows_of(lossless, "train") if row["type"] == "frame")
    assert (after == before // 8 * 8 + seed % 3).all()
    lossy = images.read_rgb(dataset.run(f"frame-{codec}-8", dataset.folder / "lossy") / "train" / "1.jpg")
    assert (lossy != after).any(), "what it would be after a JPEG of its own"


def test_images_that_nothing_is_changed_in_stay_as_they_are(dataset: Dataset) -> None:
    out = dataset.run("body-mask_out", encoder="lossless")
    entries = {image["id"]: image["file_name"] for image in read_json(out / "annotations" / "train.json")["images"]}
    assert [entries[i] for i in (1, 3, 7, 8)] == ["1.png", "deep/3.png", "7.jpg", "8.jpg"]
    assert (out / "train" / "7.jpg").read_bytes() == (dataset.data / "raw" / "7.jpg").read_bytes()
    assert b"comment" not in (out / "train" / "8.jpg").read_bytes()
    manifests.verify(out, "train")
    before, after = images.read_rgb(dataset.data / "raw" / "1.jpg"), images.read_rgb(out / "train" / "1.png")
    assert (after == before).all(axis=2).any()
    assert (dataset.run("original", encoder="lossless") / "train" / "1.jpg").is_file()


def test_a_png_keeps_nothing_of_the_photograph_s_metadata(dataset: Dataset) -> None:
    path = dataset.data / "raw" / "1.jpg"
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xfe\x00\x0csecret-txt" + data[2:])
    out = dataset.run("body-mask_out", encoder="lossless")
    stored = (out / "train" / "1.png").read_bytes()
    assert b"secret" not in stored
    assert images.strip(stored) == stored


def rename(dataset: Dataset, image_id: int, name: str) -> None:
    from anonbench import regions

    path = dataset.annotations / "train.images.parquet"
    rows = regions.read(path, regions.IMAGES).to_pylist()
    regions.write(
        path, [row | ({"file_name": name} if row["image_id"] == image_id else {}) for row in rows], regions.IMAGES
    )


def refused(dataset: Dataset, said: str) -> None:
    """Assert that lossless storage is refused in one sentence, before any image is written."""
    with pytest.raises(AnonbenchError, match=said) as error:
        dataset.run("frame-blur-low", encoder="lossless")
    assert "\n" not in str(error.value)
    assert not (dataset.folder / "out" / "frame-blur-low" / "train").exists()


def test_two_images_that_would_become_one_png_are_refused(dataset: Dataset) -> None:
    rename(dataset, 3, "2.png")
    refused(dataset, r"image 3: has the file name of image 2 \(2\.png\)")
    rename(dataset, 3, "2.jpeg")
    with pytest.raises(AnonbenchError, match=r"\(2\.png\) as a PNG, as '2\.jpeg' is stored losslessly"):
        dataset.run("frame-blur-low", encoder="lossless")
    dataset.shard("frame-blur-low").run()  # as JPEGs they are two


def test_an_image_that_would_take_the_name_of_a_folder_is_refused(dataset: Dataset) -> None:
    rename(dataset, 5, "2.png/5.jpg")
    refused(dataset, r"image 2: has the file name 2\.png, which is a folder")


def test_another_encoder_leaves_no_old_image(dataset: Dataset) -> None:
    dataset.run("frame-blur-low")
    out = dataset.run("frame-blur-low", encoder="lossless")
    assert {Path(name).suffix for name in manifests.files_under(out / "train")} == {".png"}
    out = dataset.run("frame-blur-low")
    assert sorted(manifests.files_under(out / "train"))[:2] == ["1.jpg", "2.jpg"]


def test_the_sheet_finds_images_under_their_own_names(dataset: Dataset, tmp_path: Path) -> None:
    coco = read_json(dataset.annotations / "train.json")
    person = {"id": 10, "image_id": 1, "category_id": 1, "bbox": [10, 5, 60, 110], "area": 6600, "iscrowd": 0}
    coco |= {"annotations": [person], "categories": [{"id": 1, "name": "person"}]}
    (dataset.annotations / "train.json").write_text(json.dumps(coco))
    for variant in ("original", "frame-downsample-4x"):
        dataset.run(variant, tmp_path / "anonymized" / "streetlife" / variant, encoder="lossless")
    splits, variants = {"train": "train", "val": "val"}, ["original", "frame-downsample-4x"]
    study = ReportStudy("s", 0, {"streetlife": splits}, variants, {"m": {}}, [0], people_per_sheet=1, vector_formats=())
    write_sheet(study, "streetlife", tmp_path / "anonymized", tmp_path)
    assert (tmp_path / "sheet-streetlife.png").stat().st_size > 1000


def test_who_says_how_a_variant_is_stored(codec: str) -> None:
    study = {**DEFAULT, "variants": ["original", "face-blur-medium", f"frame-{codec}-8"]}
    chosen = {
        "by the method": ({}, ["source", "source", "lossless"]),
        "for all": ({"anonymize": {"encoder": "quality-90"}}, ["quality-90", "quality-90", "lossless"]),
        "all of it": ({"anonymize": {"encoder": "lossless"}}, ["lossless"] * 3),
        "by the study": (
            {"methods": {codec: {"encoder": "source"}, "blur": {"encoder": "lossless"}}},
            ["source", "lossless", "source"],
        ),
    }
    for change, expected in chosen.values():
        plan = Plan({**study, **change}, Path(__file__).parents[2])
        assert [plan.arguments.encoder(variant) for variant in study["variants"]] == expected
    with pytest.raises(AnonbenchError, match=r"methods.blur.encoder"):
        config.parse({**study, "methods": {"blur": {"encoder": "best"}}})


def test_a_fallback_that_does_not_work_on_the_region_is_refused(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "falls", CODEC.replace("stores: ClassVar", 'fallback = "mask_out"\n        stores: ClassVar'))
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._entries.cache_clear()
    try:
        said = r"'frame-falls-8': its fallback mask_out does not work on the region 'frame'"
        with pytest.raises(AnonbenchError, match=said):
            config.parse({**DEFAULT, "variants": ["original", "frame-falls-8"]})
        with pytest.raises(AnonbenchError, match=said):
            dataset.run("frame-falls-8")
        config.parse({**DEFAULT, "variants": ["original", "body-falls-8"]})
    finally:
        registry._entries.cache_clear()


def test_what_the_command_line_takes_when_nothing_is_said(dataset: Dataset, codec: str) -> None:
    from typer.testing import CliRunner

    from anonbench.cli import app

    for variant, name in ((f"frame-{codec}-8", "1.png"), ("frame-identity", "1.jpg")):
        out = dataset.folder / "cli" / variant
        words = ["--data", str(dataset.data), "--annotations", str(dataset.annotations), "--split", "train"]
        done = CliRunner().invoke(app, ["anonymize", *words, "--variant", variant, "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert (out / "train" / name).is_file()


def test_an_upright_photograph_stays_upright(dataset: Dataset) -> None:
    path = dataset.data / "raw" / "1.jpg"
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    turned = np.ascontiguousarray(np.rot90(pixels))  # stored lying, orientation 6 turns it clockwise
    data = cv2.imencode(".jpg", cv2.cvtColor(turned, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    path.write_bytes(data[:2] + b"\xff\xe1" + (2 + len(exif)).to_bytes(2, "big") + exif + data[2:])
    out = dataset.run("frame-identity", encoder="lossless")
    expected = images.read_rgb(path, (168, 120), "upright")
    assert (images.read_rgb(out / "train" / "1.png", (168, 120), "upright") == expected).all()
