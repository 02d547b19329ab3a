"""Methods that are image formats: files, qualities, rates of a split, what comes before coding, what rows say."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from anonbench import config, images, manifests, regions
from anonbench.anonymize import engine
from anonbench.anonymize.contract import DISTORTION, make
from anonbench.anonymize.controls import anonymizes
from anonbench.anonymize.export import Export
from anonbench.anonymize.merge import frames_in_doubt
from anonbench.apply.job import Job
from anonbench.cli import app
from anonbench.crops import Work
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file
from anonbench.images import lossy
from anonbench.records import LOSSLESS, UNANNOTATED, Reason, Region, RegionKind
from anonbench.studies import DEFAULT
from anonbench.variants import Variant
from anonbench.workflow.needs import OWN_ENVIRONMENT
from anonbench.workflow.plan import Plan
from tests.workflow.conftest import PROJECT

from .conftest import Dataset, photograph

formats = pytest.mark.parametrize("format", lossy.FORMATS)


def coded(pixels: np.ndarray, format: str, image_id: int = 3, **parameters: Any) -> engine.Outcome:
    """Return the outcome of a frame whose pixels are changed in place."""
    height, width = pixels.shape[:2]
    box, mask = (0, 0, width, height), np.ones((height, width), bool)
    frame = Region(0, RegionKind.FRAME, "frame", box, mask, (0, 0, width, height))
    method = make(Variant(RegionKind.FRAME, format), parameters)
    ((outcome,),) = engine.anonymize([Work(image_id, pixels, [frame])], method, 1)
    return outcome


# --- files


@formats
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (64, 48), (97, 83), (160, 120)], ids=str)
def test_a_file_is_the_picture_again_and_says_what_codes_it(format: str, size: tuple[int, int]) -> None:
    pixels = photograph(*size)
    for quality in (lossy.LOWEST[format], 50, lossy.HIGHEST):
        data = lossy.encode(pixels, format, quality)
        assert data == lossy.encode(pixels, format, quality)
        assert images.header(data).size == size
        assert images.header(data).format == format.upper()
        found = lossy.decode(data)
        assert found.shape == pixels.shape
        assert 0 < lossy.picture_bytes(data, format) < len(data)
    if min(size) > 40:  # chroma is coded at half the resolution
        assert np.abs(found.astype(int) - pixels).mean() < 12


@formats
def test_what_codes_the_picture_grows_with_it_and_the_rest_does_not(format: str) -> None:
    small, large = (lossy.encode(photograph(side, side), format, 50) for side in (64, 256))
    rest = [len(data) - lossy.picture_bytes(data, format) for data in (small, large)]
    assert lossy.picture_bytes(large, format) > 2 * lossy.picture_bytes(small, format)
    assert abs(rest[0] - rest[1]) < 150  # of a JPEG the Huffman tables made for it


def test_a_jpeg_with_restarts_and_several_scans_is_counted_whole() -> None:
    import io

    pixels = photograph(120, 90)
    for settings in ({"restart_marker_blocks": 2}, {"progressive": True}):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=50, **settings)
        data = buffer.getvalue()
        plain = lossy.picture_bytes(lossy.encode(pixels, "jpeg", 50), "jpeg")
        assert 0.7 * plain < lossy.picture_bytes(data, "jpeg") < min(len(data), 1.3 * plain)


def test_what_a_format_cannot_hold_is_refused() -> None:
    with pytest.raises(AnonbenchError, match=r"unknown format 'jpg' .*jpeg"):
        lossy.encode(photograph(8, 8), "jpg", 50)
    wide = np.zeros((1, 16_384, 3), np.uint8)
    with pytest.raises(AnonbenchError, match="is 16384x1 pixels, and webp holds no more than 16383"):
        lossy.encode(wide, "webp", 50)


@formats
def test_what_a_format_can_hold_is_read_again(format: str) -> None:
    most = lossy.LARGEST[format]
    assert lossy.decode(lossy.encode(np.zeros((1, most, 3), np.uint8), format, 10)).shape == (1, most, 3)
    with pytest.raises(AnonbenchError, match=f"holds no more than {most} along a side"):
        lossy.encode(np.zeros((most + 1, 1, 3), np.uint8), format, 10)


@pytest.mark.parametrize("size", [(300, 300), (1, 20_000), (20_000, 1)], ids=str)
@pytest.mark.parametrize("quality", [50, 90, 94, 100])
def test_a_jpeg_of_noise_takes_more_than_a_byte_a_pixel(quality: int, size: tuple[int, int]) -> None:
    """Of black and white points, in which nothing can be saved: a search for a rate tries such qualities, too."""
    pixels = 255 * np.random.default_rng(0).integers(0, 2, (*size, 3), dtype=np.uint8)
    assert lossy.decode(lossy.encode(pixels, "jpeg", quality)).shape == pixels.shape


# --- qualities


@formats
def test_less_quality_takes_fewer_bits_and_is_further_away(format: str) -> None:
    before = photograph(160, 120)
    found = []
    for quality in (5, 20, 50, 90):
        pixels = before.copy()
        facts = coded(pixels, format, quality=quality).facts
        assert facts["quality"] == quality
        assert facts["bpp"] == pytest.approx(facts["bits"] / before[..., 0].size, abs=1e-6)
        assert facts["picture_bits"] < facts["bits"]
        found.append((facts["bits"], -np.abs(pixels.astype(int) - before).mean()))
    assert found == sorted(found)


def test_of_a_quality_that_is_not_whole_frames_get_one_of_the_two() -> None:
    found = [coded(photograph(16, 16), "jpeg", image_id=k, quality=30.25).facts["quality"] for k in range(400)]
    assert set(found) == {30, 31}
    assert 60 < found.count(31) < 140
    assert coded(photograph(16, 16), "jpeg", shrink=1).facts["quality"] == 75
    assert coded(photograph(16, 16), "jpeg", quality=0.0).facts["quality"] == 1


@formats
def test_grey_stays_grey(format: str) -> None:
    pixels = np.repeat(photograph(64, 48)[..., :1], 3, axis=2)
    coded(pixels, format, quality=60)
    assert np.abs(np.diff(pixels.astype(int), axis=2)).max() <= 3


def test_shrunk_frames_take_less_and_keep_their_size() -> None:
    before = photograph(101, 67)
    pixels = [before.copy() for _ in range(2)]
    whole, half = (coded(p, "jpeg", quality=50, shrink=k) for p, k in zip(pixels, (1, 2), strict=True))
    assert half.facts["bits"] < whole.facts["bits"]
    assert half.facts["bpp"] == pytest.approx(half.facts["bits"] / (101 * 67), abs=1e-6)
    small = cv2.resize(before, (50, 34), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(lossy.decode(lossy.encode(small, "jpeg", 50)), (101, 67), interpolation=cv2.INTER_LINEAR)
    assert (pixels[1] == expected).all()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"quality": 20, "bpp": 0.5}, "quality and bpp exclude each other"),
        ({"quality": 101}, "quality"),
        ({"bpp": 0}, "bpp"),
        ({"bpp": -1}, "bpp"),
        ({"bpp": math.inf}, r"bpp: Input should be a finite number"),
        ({"shrink": 0}, "shrink"),
        ({"after": "original"}, "the original is what a method works on anyway"),
        ({"after": "face-blurr-medium"}, "unknown method 'blurr'.*blur"),
        ({"after": "face-gan"}, "gan is fitted"),
        ({"after": "frame-webp-q20"}, "comes after another method itself"),
        ({"after": "face-downsample-2x"}, "does not work on the region 'face'"),
        ({"after": "nonsense"}, "is not a variant"),
        ({"after": "face-blur-low-fit1"}, "blur is not fitted, so it has no fit1"),
        ({"after_parameters": {"sigma": 3}}, "are those of the variant that comes before; name it in after"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(AnonbenchError, match=said):
        make(Variant.parse("frame-jpeg-q20"), {"quality": None, **parameters})


# --- rates of a split


def facts_of(out: Path, name: str) -> list[float]:
    rows = manifests.rows_of(out, "train")
    return [row["facts"][name] for row in rows if row["type"] == "frame"]


@formats
def test_a_rate_is_the_mean_of_the_split_whatever_the_shards(dataset: Dataset, tmp_path: Path, format: str) -> None:
    target = float(np.mean(facts_of(dataset.run(f"frame-{format}-q20", encoder=LOSSLESS), "bpp"))) * 1.12
    asked = {"bpp": target}
    outs = [
        dataset.run(
            f"frame-{format}-q20",
            tmp_path / f"{shards}",
            shards=shards,
            parameters={"quality": None, **asked},
            encoder=LOSSLESS,
        )
        for shards in (1, 3)
    ]
    rates = facts_of(outs[0], "bpp")
    assert np.mean(rates) == pytest.approx(target, rel=0.02)
    assert max(rates) > 1.05 * min(rates), "one quality for all, not one rate"
    assert len(set(facts_of(outs[0], "quality"))) <= 2
    summary = manifests.summary_of(outs[0], "train")
    assert summary["tuned"]["bpp"] == pytest.approx(np.mean(rates), abs=1e-5)
    assert summary["tuned"]["images"] == 8
    names = sorted(manifests.files_under(outs[0] / "train"))
    assert all(sha256_file(outs[0] / "train" / name) == sha256_file(outs[1] / "train" / name) for name in names)
    assert list(manifests.rows_of(outs[0], "train")) == list(manifests.rows_of(outs[1], "train"))


def test_rates_that_cannot_be_reached_are_refused(dataset: Dataset) -> None:
    for target, said in ((0.01, "shrink"), (60.0, "between them")):
        with pytest.raises(
            AnonbenchError, match=rf"jpeg cannot reach {target:g} bits per pixel: the 8 frames .*{said}"
        ):
            dataset.run("frame-jpeg-q20", parameters={"quality": None, "bpp": target}, encoder=LOSSLESS)
    assert not manifests.exist(dataset.folder / "out" / "frame-jpeg-q20", "train")


def test_few_frames_cannot_be_matched_to_any_rate(dataset: Dataset) -> None:
    """With one frame there are only the rates of whole qualities."""
    pixels = images.read_rgb(dataset.data / "raw" / "1.jpg")
    rates = [8 * len(lossy.encode(pixels, "avif", quality)) / pixels[..., 0].size for quality in range(20, 60)]
    low, high = max(itertools.pairwise(rates), key=lambda pair: pair[1] / pair[0])
    assert high / low > 1.05
    first = {"quality": None, "sample": 1, "bpp": math.sqrt(low * high)}
    rows = regions.read(dataset.annotations / "train.images.parquet", regions.IMAGES)
    regions.write(dataset.annotations / "train.images.parquet", rows.slice(0, 1).to_pylist(), regions.IMAGES)
    with pytest.raises(
        AnonbenchError, match=r"avif cannot be matched to .* within 2% on 1 frames: the nearest rates are"
    ):
        dataset.shard("frame-avif-q20", parameters=first, encoder=LOSSLESS).run()


def test_a_sample_is_the_same_for_every_shard_and_no_larger_than_asked(dataset: Dataset) -> None:
    given = {"quality": None, "bpp": 1.0, "sample": 4}
    said = []
    for shard in range(2):
        path = dataset.shard("frame-jpeg-q20", shard=shard, shards=2, parameters=given, encoder=LOSSLESS).run()
        said.append(manifests.read_rows(path)[0]["tuned"])
    assert said[0] == said[1]
    assert said[0]["images"] == 4


def test_a_rate_of_one_frame_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match="a rate is that of a whole split"):
        coded(photograph(20, 20), "jpeg", bpp=1.0)
    for given in ({"bpp": 1.0}, {"after": "face-blur-medium"}):
        job = Job(tmp_path, tmp_path / "out", Variant.parse("frame-jpeg-q20"), None, {"quality": None, **given})
        with pytest.raises(AnonbenchError, match="is made for a data set"):
            _ = job.method


def test_a_search_that_fails_is_a_sentence(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lossy.LARGEST, "webp", 180)
    with pytest.raises(
        AnonbenchError,
        match=r"data: method webp failed on 8 frames of the split train together: is 184x120 pixels, .* than 180 along",
    ):
        dataset.run("frame-webp-q20", parameters={"quality": None, "bpp": 1.0}, encoder=LOSSLESS)

    def fail(*_: Any) -> bytes:
        raise OSError("broken data stream\nwhen writing")

    monkeypatch.setattr(lossy, "encode", fail)
    with pytest.raises(AnonbenchError, match=r"together: broken data stream when writing; fix the method"):
        dataset.run("frame-jpeg-q20", parameters={"quality": None, "bpp": 1.0}, encoder=LOSSLESS)


# --- after another variant


def test_faces_are_blurred_before_they_are_coded(dataset: Dataset, tmp_path: Path) -> None:
    blurred = dataset.run("face-blur-high", encoder=LOSSLESS)
    given = {"quality": 100, "after": "face-blur-high"}
    out = dataset.run("frame-jpeg-q20", parameters=given, encoder=LOSSLESS)
    for name in ("1.png", "deep/3.png", "6.png"):
        one, other = (images.read_rgb(folder / "train" / name).astype(int) for folder in (blurred, out))
        assert np.abs(one - other).mean() < 3
    plain = dataset.run("frame-jpeg-q40", parameters={"quality": 100}, encoder=LOSSLESS)
    face = np.s_[14:36, 29:46]
    one, other = (images.read_rgb(folder / "train" / "1.png").astype(int)[face] for folder in (plain, out))
    assert np.abs(one - other).mean() > 5


def test_rows_tell_whom_nothing_but_coding_was_done_to(dataset: Dataset) -> None:
    people = [
        {
            "image_id": i,
            "person_id": 10 * i + k,
            "category": "person",
            "area": 1.0,
            "box": [10.0, 5.0, 60.0, 110.0],
            "face": face,
        }
        for i in range(1, 9)
        for k, face in enumerate(([25.0, 10.0, 25.0, 30.0], None))
    ]
    regions.write(dataset.annotations / "train.people.parquet", people, regions.PEOPLE)
    given = {"quality": 60, "after": "face-blur-high"}
    alone = dataset.run("frame-jpeg-q20", encoder=LOSSLESS)
    both = dataset.run("frame-jpeg-q40", parameters=given, encoder=LOSSLESS)
    weak = [
        {row["person_id"]: row.get("weak") for row in manifests.rows_of(out, "train") if row["type"] == "person"}
        for out in (alone, both)
    ]
    said = "compressed, and nothing is hidden on purpose"
    assert set(weak[0].values()) == {said}
    blurred = {10 * i for i in range(1, 7)}  # who has a face's region
    assert not any(weak[1].values()), "blurred enough, or said to be left as they were"
    status = {row["person_id"]: row["status"] for row in manifests.rows_of(both, "train") if row["type"] == "person"}
    assert {person for person, why in status.items() if why == "anonymized"} == blurred
    little = dataset.run("frame-jpeg-q80", parameters={"quality": 60, "after": "face-blur-low"}, encoder=LOSSLESS)
    told = {row["person_id"]: row.get("weak") for row in manifests.rows_of(little, "train") if row["type"] == "person"}
    assert all("blurred by" in told[person] for person in blurred)
    control = dataset.run("frame-jpeg-q10", parameters={"quality": 60, "after": "face-identity"}, encoder=LOSSLESS)
    told = {row["person_id"]: row.get("weak") for row in manifests.rows_of(control, "train") if row["type"] == "person"}
    assert set(told.values()) == {said}, "who went through a control is as visible as before"


def test_coding_alone_is_a_control_and_after_a_variant_counts_as_that(dataset: Dataset) -> None:
    def told(out: Path) -> tuple[set[str], dict[int, str], float]:
        rows = [*manifests.rows_of(out, "train")]
        people = {row["person_id"]: row["status"] for row in rows if row["type"] == "person"}
        frames = {row["status"] for row in rows if row["type"] == "frame"}
        return frames, people, manifests.summary_of(out, "train")["share_changed"]

    given = {"quality": 60}
    alone = dataset.run("frame-jpeg-q20", encoder=LOSSLESS, strict=True)  # of a control nobody is missed
    frames, people, share = told(alone)
    assert (frames, set(people.values()), share) == ({"control"}, {"control"}, 0.0)
    hidden = dataset.run("body-mask_out", encoder=LOSSLESS)
    after = {**given, "after": "body-mask_out"}
    both = dataset.run("frame-jpeg-q40", parameters=after, encoder=LOSSLESS)
    frames, people, share = told(both)
    assert frames == {"anonymized"}
    assert (people, share) == told(hidden)[1:]
    assert 0 < share < 1
    with pytest.raises(AnonbenchError, match=r"strict: 7 of 19 people are left visible: 12 in image 1 \(invalid"):
        dataset.run("frame-jpeg-q40", parameters=after, encoder=LOSSLESS, strict=True)
    none = dataset.run("frame-jpeg-q10", parameters={**given, "after": "body-identity"}, encoder=LOSSLESS)
    assert told(none)[1:] == told(alone)[1:]
    small = dataset.run("frame-webp-q20", parameters={**given, "after": "frame-downsample-4x"}, encoder=LOSSLESS)
    assert (set(told(small)[1].values()), told(small)[2]) == ({"anonymized"}, 1.0)


def test_after_a_variant_strangers_count_as_there_and_so_do_guesses_of_the_frame(
    dataset: Dataset, tmp_path: Path
) -> None:
    """Whom nobody annotated is in no table of people, and as visible in the coded variant as in the one before."""
    tables = {name: dataset.annotations / f"train.{name}.parquet" for name in ("images", "regions")}
    schemas = {"images": regions.IMAGES, "regions": regions.REGIONS}
    rows = {name: regions.read(tables[name], schemas[name]).to_pylist() for name in tables}
    people = rows["regions"]
    nobody = {"image_id": 1, "category": UNANNOTATED, "kind": "body", "area": 80.0}
    people.append({**nobody, "person_id": -1, "status": Reason.LEFT_UNANNOTATED.value})
    seen = {"status": regions.REGION, "source": UNANNOTATED, "x0": 120, "y0": 2, "x1": 130, "y1": 12}
    people.append({**nobody, **seen, "person_id": -2, "subject": [120.0, 2.0, 10.0, 10.0]})
    regions.write(tables["regions"], sorted(people, key=lambda row: row["image_id"]), regions.REGIONS)
    regions.write(tables["images"], rows["images"], regions.IMAGES, {"frame_guessed": 3})
    before, after = dataset.run("body-mask_out", encoder=LOSSLESS), {"quality": 60, "after": "body-mask_out"}
    both = dataset.run("frame-jpeg-q40", parameters=after, encoder=LOSSLESS)
    of = [manifests.summary_of(out, "train") for out in (before, both)]
    assert of[1]["people"]["unannotated"] == of[0]["people"]["unannotated"]
    assert of[1]["people"]["unannotated"]["anonymized"] == 1
    assert [frames_in_doubt(one) for one in of] == [3, 3]
    said = CliRunner().invoke(app, ["export", str(both), "--out", str(tmp_path / "handed")])
    assert "1 detections of nobody who is annotated are left visible" in said.output
    assert "of 3 images it was guessed in which frame" in said.output
    with pytest.raises(AnonbenchError, match="1 of them were detected and are nobody's"):
        dataset.run("frame-jpeg-q40", parameters=after, encoder=LOSSLESS, strict=True)
    alone = manifests.summary_of(dataset.run("frame-jpeg-q20", encoder=LOSSLESS), "train")
    assert (alone["people"]["unannotated"]["people"], frames_in_doubt(alone)) == (0, 0)


def test_a_control_is_not_exported_and_what_comes_after_another_variant_is(dataset: Dataset, tmp_path: Path) -> None:
    alone = dataset.run("frame-avif-q20", encoder=LOSSLESS)
    with pytest.raises(AnonbenchError, match=r"is a control \(frame-avif-q20\): nobody in it is anonymized"):
        Export(alone, tmp_path / "handed").run()
    both = dataset.run("frame-avif-q40", parameters={"quality": 60, "after": "body-mask_out"}, encoder=LOSSLESS)
    assert Export(both, tmp_path / "handed").run()["train"]["share_changed"] > 0


def test_a_study_knows_its_controls_and_what_comes_after_what() -> None:
    levels = {"alone": {"bpp": 0.5}, "blurred": {"bpp": 0.5, "after": "face-blur-medium"}}
    codecs = ["frame-jpeg-alone", "frame-jpeg-blurred", "frame-webp-q20"]
    given = {**DEFAULT, "variants": ["original", "face-identity", *codecs], "methods": {"jpeg": {"levels": levels}}}
    del given["report"]
    said = json.loads(Plan(given, Path()).arguments.summary())
    assert said["controls"] == ["frame-jpeg-alone", "frame-webp-q20"]
    assert said["after"] == {"frame-jpeg-blurred": "face-blur-medium"}


def test_whether_a_variant_anonymizes_is_told_without_making_what_comes_before() -> None:
    """Its weights may be somewhere else, and reading them once per frame would take hours."""
    given = {"after": "body-diffusion", "after_parameters": {"model": "of nobody here"}}
    with pytest.raises(AnonbenchError):
        make(Variant.parse("body-diffusion"), given["after_parameters"])  # type: ignore[arg-type]
    assert anonymizes("jpeg", given)
    levels = {"after": given, "alone": {"quality": 50}}
    study = {**DEFAULT, "variants": ["original", "frame-jpeg-after", "frame-jpeg-alone"]}
    study |= {"methods": {"jpeg": {"levels": levels}, "diffusion": {"parameters": given["after_parameters"]}}}
    del study["report"]
    plan = Plan(study, PROJECT)
    assert json.loads(plan.arguments.summary())["controls"] == ["frame-jpeg-alone"]
    assert plan.anonymize_environment("frame-jpeg-after") == "diffusion", "it runs there, too"
    assert plan.anonymize_environment("frame-jpeg-alone") == "data"
    assert plan.needs._method("frame-jpeg-after") == OWN_ENVIRONMENT
    with pytest.raises(AnonbenchError, match=r"method diffusion"):
        anonymizes("jpeg", {**given, "after_parameters": {"steps": 3}})


def test_a_whole_frame_may_come_before_as_well(dataset: Dataset) -> None:
    out = dataset.run("frame-webp-q20", parameters={"quality": 90, "after": "frame-downsample-4x"}, encoder=LOSSLESS)
    small = dataset.run("frame-downsample-4x", encoder=LOSSLESS)
    one, other = (images.read_rgb(folder / "train" / "1.png").astype(int) for folder in (out, small))
    assert np.abs(one - other).mean() < 5


def test_what_is_measured_outside_of_faces_stands_beside_the_bits(dataset: Dataset) -> None:
    out = dataset.run("frame-jpeg-q10", encoder=LOSSLESS)
    summary = manifests.summary_of(out, "train")
    assert summary["facts"].keys() == {"bits", "picture_bits", "bpp", "quality", *DISTORTION}
    assert summary["facts_mean"].keys() == summary["facts"].keys()
    assert summary["facts_mean"]["bpp"]["count"] == 8
    assert 15 < summary["facts_mean"]["psnr_outside_faces"]["mean"] < 45
    assert 0.5 < summary["facts_mean"]["msssim_outside_faces"]["mean"] < 1
    everywhere = [
        {
            "image_id": 1,
            "person_id": 1,
            "category": "person",
            "area": 1.0,
            "box": None,
            "face": [0.0, 0.0, 999.0, 999.0],
        }
    ]
    regions.write(dataset.annotations / "train.people.parquet", everywhere, regions.PEOPLE)
    out = dataset.run("frame-jpeg-q10", encoder=LOSSLESS)
    facts = [row["facts"] for row in manifests.rows_of(out, "train") if row["type"] == "frame"]
    assert facts[0]["psnr_outside_faces"] is None
    assert facts[0]["msssim_outside_faces"] is None
    assert facts[1]["psnr_outside_faces"] is not None


# --- in a study


def study(**more: Any) -> dict[str, Any]:
    return {**DEFAULT, "variants": ["original", "frame-jpeg-faceblur1", "frame-jpeg-q20"], **more}


def test_what_comes_before_has_the_study_s_parameters() -> None:
    jpeg = {"levels": {"faceblur1": {"bpp": 0.5, "after": "face-blur-medium"}}}
    blur = {"parameters": {"sigma": 99.0}}
    read = config.parse(study(methods={"jpeg": jpeg, "blur": blur}))
    found = read.parameters("frame-jpeg-faceblur1")
    assert found["after_parameters"] == read.parameters("face-blur-medium")
    assert found["after_parameters"]["sigma"] == 99.0
    assert read.parameters("frame-jpeg-q20")["after_parameters"] is None
    assert [str(one) for one in read.made_from("frame-jpeg-faceblur1")] == ["face-blur-medium", "frame-jpeg-faceblur1"]
    assert [str(one) for one in read.made_from("original")] == ["original"]
    assert read.encoder("frame-jpeg-q20") == LOSSLESS
    own = {"levels": {"faceblur1": {"bpp": 0.5, "after": "face-blur-medium", "after_parameters": {"sigam": 3}}}}
    with pytest.raises(
        AnonbenchError, match=r"'frame-jpeg-faceblur1': after_parameters of method blur: sigam: .*did you mean 'sigma'"
    ):
        config.parse(study(methods={"jpeg": own}))
    wrong = {"levels": {"faceblur1": {"bpp": 0.5, "after": "face-blur-strong"}}}
    with pytest.raises(AnonbenchError, match="unknown level 'strong'"):
        config.parse(study(methods={"jpeg": wrong}))


def test_the_workflow_reads_both_tables_and_both_codes() -> None:
    jpeg = {"levels": {"faceblur1": {"bpp": 0.5, "after": "face-blur-medium"}}}
    plan = Plan(study(methods={"jpeg": jpeg}), Path(config.__file__).parents[2])

    class Wildcards:
        dataset, split, variant = "streetlife", "train", "frame-jpeg-faceblur1"

    files = plan.files.people_file()
    assert [Path(name).name for name in files(Wildcards)] == ["train.regions.parquet", "train.people.parquet"]
    Wildcards.variant = "frame-jpeg-q20"
    assert [Path(name).name for name in files(Wildcards)] == ["train.people.parquet"]
    Wildcards.variant = "original"
    assert files(Wildcards) == []
    code = plan.fingerprints.method_code
    assert code("frame-jpeg-faceblur1") != code("frame-jpeg-q20")
