"""The plugin on real pipelines of diffusers, tiny ones with random weights; and what it does without the package."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anonbench.anonymize import engine
from anonbench.anonymize.methods import diffusion
from anonbench.anonymize.methods.diffusion import Diffusion, dilated, pose_image
from anonbench.crops import Crop, Work
from anonbench.errors import AnonbenchError
from anonbench.manifests import shard_path
from anonbench.records import ANONYMIZED, Reason, RegionKind

from .conftest import Dataset, photograph, region
from .test_methods import REGIONS

installed = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("diffusers", "transformers")), reason="diffusers is not installed"
)
SMALL = {"steps": 2, "batch": 3, "face_size": (64, 64), "body_size": (48, 80), "margin": 2, "device": "cpu"}


def keypoints(x: float = 40, y: float = 20, visible: float = 2) -> np.ndarray:
    """Return a standing person, about 60 pixels high, whose nose is at (x, y)."""
    points = np.array(
        [(0, 0), (1, -1), (-1, -1), (2, 0), (-2, 0), (6, 8), (-6, 8), (9, 18), (-9, 18), (9, 27), (-9, 27), (4, 28),
         (-4, 28), (4, 42), (-4, 42), (4, 56), (-4, 56)], np.float32,
    )  # fmt: skip
    return np.column_stack([np.add(points, (x, y)), np.full(17, visible, np.float32)]).astype(np.float32)


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a nine-channel (in-painting) and a four-channel model and a ControlNet, with random weights."""
    import torch
    from diffusers import (
        AutoencoderKL,
        ControlNetModel,
        DDIMScheduler,
        StableDiffusionInpaintPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("diffusion")
    words = [*map(chr, range(33, 127)), *(f"{chr(i)}</w>" for i in range(33, 127)), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    shape: dict[str, Any] = {
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "cross_attention_dim": 32,
    }
    up = ("CrossAttnUpBlock2D", "UpBlock2D")
    torch.manual_seed(0)
    text = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, vocab_size=len(words),
            bos_token_id=len(words) - 2, eos_token_id=len(words) - 1, pad_token_id=len(words) - 1,
        )
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(32, 64), latent_channels=4, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    for channels in (9, 4):
        unet = UNet2DConditionModel(in_channels=channels, out_channels=4, sample_size=32, up_block_types=up, **shape)
        StableDiffusionInpaintPipeline(
            vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=DDIMScheduler(),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        ).save_pretrained(folder / f"channels{channels}")  # fmt: skip
    control = ControlNetModel(in_channels=4, conditioning_embedding_out_channels=(16, 32), **shape)
    for values in control.parameters():  # its last layers start at zero, where a pose would change nothing
        if not values.detach().any():
            torch.nn.init.normal_(values, std=0.3)
    control.save_pretrained(folder / "controlnet")
    return folder


@pytest.fixture(scope="session", params=["9 channels", "4 channels", "ControlNet"])
def method(request: pytest.FixtureRequest, pipelines: Path) -> Diffusion:
    options = {**SMALL, "model": str(pipelines / f"channels{4 if request.param.startswith('4') else 9}")}
    if request.param == "ControlNet":
        options["controlnet"] = str(pipelines / "controlnet")
    return Diffusion(options)


PEOPLE = [
    region((10, 10, 40, 90), person_id=1),
    region((70, 20, 100, 95), person_id=2),
    region((120, 15, 150, 80), person_id=3),
    region((20, 20, 130, 100), person_id=4),
]
POSES = {one.person_id: keypoints((one.box[0] + one.box[2]) / 2, one.box[1] + 8) for one in PEOPLE}


def run(method: Diffusion, pixels: np.ndarray, people: list[Any], **options: Any) -> np.ndarray:
    return engine.anonymize_image(pixels, people, method, **{"keypoints": POSES, "image_id": 3, "seed": 1, **options})


@installed
def test_people_are_repainted_inside_their_masks_only(method: Diffusion) -> None:
    pixels = photograph(160, 120)
    changed = run(method, pixels, PEOPLE)
    inside = np.zeros((120, 160), bool)
    for one in PEOPLE:
        inside[one.box[1] : one.box[3], one.box[0] : one.box[2]] |= one.mask
    assert (changed[~inside] == pixels[~inside]).all()
    assert (changed[inside] != pixels[inside]).mean() > 0.9
    assert changed[inside].std() > 1
    face = run(method, pixels, [region((50, 40, 75, 70), RegionKind.FACE, person_id=1)])
    assert (face[40:70, 50:75] != pixels[40:70, 50:75]).mean() > 0.9


@installed
@pytest.mark.parametrize("people", REGIONS.values(), ids=REGIONS.keys())
def test_any_region_can_be_painted(pipelines: Path, people: list[Any]) -> None:
    method = Diffusion({**SMALL, "model": str(pipelines / "channels9"), "steps": 1, "batch": 1})
    pixels, inside = photograph(97, 83), np.zeros((83, 97), bool)
    (rows,) = engine.anonymize([work := Work(1, pixels.copy(), people)], method, seed=1)
    for one in people:
        inside[one.box[1] : one.box[3], one.box[0] : one.box[2]] |= one.mask
    assert {row.status for row in rows} <= {ANONYMIZED}
    assert (work.pixels[~inside] == pixels[~inside]).all()
    assert inside.sum() < 10 or (work.pixels[inside] != pixels[inside]).mean() > 0.5


@installed
def test_the_whole_stage(pipelines: Path, dataset: Dataset) -> None:
    parameters = {**SMALL, "model": str(pipelines / "channels9"), "steps": 1}
    first = dataset.run("body-diffusion", parameters=parameters, threads=2)
    again = dataset.run("body-diffusion", dataset.folder / "again", parameters=parameters, shards=3)
    rows = [json.loads(line) for line in shard_path(first, "train", 0).read_text().splitlines()]
    assert rows[0]["parameters"]["steps"] == 1
    people = [row for row in rows if row["type"] == "person"]
    assert {row["status"] for row in people} == {"anonymized", "invalid_geometry", "crowd"}
    for image in (row for row in rows if row["type"] == "image"):
        name = image["file_name"]
        assert (first / "train" / name).read_bytes() == (again / "train" / name).read_bytes(), name


@installed
def test_a_person_does_not_depend_on_the_others_in_a_batch(method: Diffusion) -> None:
    images = [photograph(160, 120, number) for number in range(2)]
    works = [Work(n, image.copy(), PEOPLE, POSES) for n, image in enumerate(images)]
    engine.anonymize(works, method, seed=1)
    for number, image in enumerate(images):
        assert (works[number].pixels == run(method, image, PEOPLE[::-1], image_id=number)).all()
    assert (run(method, images[0], PEOPLE, seed=2) != works[0].pixels).any()


@installed
def test_the_model_never_gets_the_person(method: Diffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    encode = method._pipeline.vae.encode
    monkeypatch.setattr(method._pipeline.vae, "encode", lambda x, *rest, **more: (seen.append(x), encode(x))[1])
    one = PEOPLE[0]
    results = []
    for value in (0, 255):
        pixels = photograph(160, 120)
        pixels[one.box[1] : one.box[3], one.box[0] : one.box[2]][one.mask] = value
        results.append(run(method, pixels, [one]))
    assert (results[0] == results[1]).all()
    assert len(seen) >= 2
    half = len(seen) // 2
    assert all((a == b).all() for a, b in zip(seen[:half], seen[half:], strict=True))


@installed
def test_below_strength_one_it_starts_from_the_person(pipelines: Path) -> None:
    method = Diffusion({**SMALL, "model": str(pipelines / "channels9"), "strength": 0.6, "steps": 4})
    one, results = PEOPLE[0], []
    for value in (0, 255):
        pixels = photograph(160, 120)
        pixels[one.box[1] : one.box[3], one.box[0] : one.box[2]][one.mask] = value
        results.append(run(method, pixels, [one])[one.box[1] : one.box[3], one.box[0] : one.box[2]][one.mask])
    assert (results[0] != results[1]).mean() > 0.5


@installed
def test_pose_prompt_and_settings_matter(pipelines: Path) -> None:
    options = {**SMALL, "model": str(pipelines / "channels9")}
    posed = Diffusion({**options, "controlnet": str(pipelines / "controlnet")})
    pixels = photograph(160, 120)
    first = run(posed, pixels, PEOPLE[:1])
    assert (first != run(posed, pixels, PEOPLE[:1], keypoints={1: keypoints(30, 30)})).any()
    assert (first == run(posed, pixels, PEOPLE[:1])).all()
    plain = run(Diffusion(options), pixels, PEOPLE[:1])
    assert (plain != first).any()
    for change in ({"body_prompts": ["a robot"]}, {"steps": 3}, {"guidance": 2.0}, {"negative_prompt": "hat"}):
        assert (run(Diffusion({**options, **change}), pixels, PEOPLE[:1]) != plain).any(), change


@installed
def test_a_seed_chooses_a_prompt(pipelines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = Diffusion({**SMALL, "model": str(pipelines / "channels9"), "body_prompts": ["one", "two"], "steps": 1})
    asked = set()
    paint = method._paint
    monkeypatch.setattr(method, "_paint", lambda crops: (asked.update(map(method._prompt, crops)), paint(crops))[1])
    run(method, photograph(160, 120), PEOPLE)
    run(method, photograph(160, 120), PEOPLE, seed=7)
    assert asked == {"one", "two"}


@installed
def test_an_identity_can_keep_its_noise(pipelines: Path) -> None:
    one = replace(PEOPLE[0], identity="a")
    for consistent, same in (("person", False), ("identity", True)):
        method = Diffusion({**SMALL, "model": str(pipelines / "channels9"), "steps": 1, "consistent": consistent})
        first, second = (run(method, photograph(160, 120), [one], image_id=number) for number in (1, 2))
        assert (first == second).all() == same


@installed
def test_bodies_without_a_pose_fall_back(pipelines: Path) -> None:
    options = {**SMALL, "model": str(pipelines / "channels9"), "controlnet": str(pipelines / "controlnet")}
    poses = {1: POSES[1], 3: keypoints(130, 20, visible=0)}
    works = [Work(1, photograph(160, 120), PEOPLE[:3], poses)]
    (rows,) = engine.anonymize(works, Diffusion(options), seed=1)
    assert {row.person_id: (row.status, row.fallback) for row in rows} == {
        1: (ANONYMIZED, None),
        2: (Reason.METHOD_FAILED, "mask_out"),
        3: (Reason.METHOD_FAILED, "mask_out"),
    }
    assert (works[0].pixels[20:95, 70:100][PEOPLE[1].mask] == 128).all()
    works = [Work(1, photograph(160, 120), PEOPLE[:3], poses)]
    (rows,) = engine.anonymize(works, Diffusion({**options, "without_keypoints": "unposed"}), seed=1)
    assert {row.status for row in rows} == {ANONYMIZED}
    face = Work(1, photograph(160, 120), [region((50, 40, 75, 70), RegionKind.FACE)])
    assert engine.anonymize([face], Diffusion(options), seed=1)[0][0].status == ANONYMIZED


@installed
def test_half_precision_is_loaded_and_finite(pipelines: Path) -> None:
    method = Diffusion({**SMALL, "model": str(pipelines / "channels9"), "precision": "half", "steps": 1, "batch": 1})
    assert {str(part.dtype) for part in (method._pipeline.unet, method._pipeline.vae)} == {"torch.float16"}
    (rows,) = engine.anonymize([Work(1, photograph(160, 120), PEOPLE[:1])], method, seed=1)
    assert rows[0].status == ANONYMIZED


@installed
def test_numbers_that_are_not_finite_fall_back(pipelines: Path) -> None:
    import torch

    method = Diffusion({**SMALL, "model": str(pipelines / "channels9"), "fallback": "pixelate"})
    torch.nn.init.constant_(method._pipeline.vae.decoder.conv_out.bias, float("nan"))
    (rows,) = engine.anonymize([Work(1, photograph(160, 120), PEOPLE, POSES)], method, seed=1)
    assert {(row.status, row.fallback) for row in rows} == {(Reason.METHOD_FAILED, "pixelate")}


@installed
def test_out_of_memory_halves_the_batch(
    pipelines: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    method = Diffusion({**SMALL, "model": str(pipelines / "channels9"), "batch": 4})
    sizes, paint = [], method._paint

    def small(crops: list[Crop]) -> list[np.ndarray]:
        sizes.append(method.batch)
        if method.batch > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return paint(crops)

    monkeypatch.setattr(method, "_paint", small)
    changed = run(method, photograph(160, 120), PEOPLE[:3])
    assert sizes == [4, 2, 1, 1, 1]
    assert (changed != photograph(160, 120)).any()
    assert "out of memory, going on with a batch of 1" in capsys.readouterr().err


@installed
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_pickles_are_refused(pipelines: Path, tmp_path: Path, part: str) -> None:
    import torch

    shutil.copytree(pipelines / "channels9", tmp_path / "model")
    for file in (tmp_path / "model" / part).glob("*.safetensors"):
        torch.save({}, file.with_suffix(".bin"))
        file.unlink()
    with pytest.raises(AnonbenchError, match=rf"{part}/\w+\.bin, model: is a pickle, .*safe_serialization"):
        Diffusion({**SMALL, "model": str(tmp_path / "model")})


@installed
def test_truncated_and_wrong_weights(pipelines: Path, tmp_path: Path) -> None:
    shutil.copytree(pipelines / "channels9", tmp_path / "short")
    (file,) = (tmp_path / "short" / "unet").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(AnonbenchError, match=r"short, model: cannot be loaded"):
        Diffusion({**SMALL, "model": str(tmp_path / "short")})
    with pytest.raises(AnonbenchError, match=r"controlnet: cannot be loaded|controlnet: is not a model"):
        Diffusion({**SMALL, "model": str(pipelines / "channels9"), "controlnet": str(pipelines / "channels9")})
    shutil.copytree(pipelines / "channels9", tmp_path / "other")
    config = tmp_path / "other" / "unet" / "config.json"
    config.write_text(config.read_text().replace('"in_channels": 9', '"in_channels": 8'))
    with pytest.raises(AnonbenchError, match=r"other, model: cannot be loaded"):
        Diffusion({**SMALL, "model": str(tmp_path / "other")})


@installed
def test_a_missing_model_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(AnonbenchError, match=r"model: no such folder; set model to a model's folder"):
        Diffusion({"model": str(tmp_path / "nothing")})
    with pytest.raises(AnonbenchError, match=r"nobody/nothing, model: cannot be loaded .*hf download nobody/nothing"):
        Diffusion({"model": "nobody/nothing"})
    (tmp_path / "file.safetensors").write_bytes(b"")
    with pytest.raises(AnonbenchError, match=r"is not a model in diffusers' layout .*convert"):
        Diffusion({"model": str(tmp_path / "file.safetensors")})


def test_a_missing_package_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusion, "find_spec", lambda name: None if name == "diffusers" else object())
    assert Diffusion.available() == "diffusion needs the package diffusers"
    with pytest.raises(AnonbenchError, match=r"needs the package diffusers; install envs/diffusion\.yaml"):
        Diffusion({"model": "some/model"})


def test_the_package_is_not_imported_with_the_module() -> None:
    import subprocess

    code = "import sys, anonbench.anonymize.methods.diffusion; print({'diffusers', 'transformers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": 0}, "strength: Input should be greater than 0"),
        ({"strength": 0.1, "steps": 5}, "5 steps at strength 0.1 leave no step to run"),
        ({"body_size": (100, 200)}, "body_size: width and height must be multiples of 8"),
        ({"face_prompts": []}, "face_prompts: "),
        ({"fallback": "identity"}, "fallback: no such method"),
        ({"fallback": "mask_ou"}, "fallback: no such method .did you mean 'mask_out'"),
        ({"promt": "x"}, "promt: unknown key"),
        ({"model": ""}, "model: "),
    ],
)
def test_bad_parameters(change: dict[str, Any], message: str) -> None:
    with pytest.raises(AnonbenchError, match=message):
        Diffusion({"model": "some/model", **change})


def test_a_pose_is_drawn_as_openpose_does() -> None:
    drawn = pose_image(keypoints(60, 20), (120, 100))
    assert drawn.shape == (100, 120, 3)
    assert drawn.dtype == np.uint8
    assert tuple(drawn[20, 60]) == (255, 0, 0)  # the nose is OpenPose's first joint
    assert tuple(drawn[28, 60]) == (255, 85, 0)  # the neck its second, between the shoulders
    assert tuple(drawn[76, 56]) == (0, 170, 255)  # the right ankle its eleventh, hue 200 degrees
    assert tuple(drawn[52, 60]) == (0, 0, 0)
    assert drawn[34:45, 51:53].any()  # the right forearm
    half = keypoints(60, 20)
    half[5:, 2] = 0
    assert not pose_image(half, (120, 100))[26:].any()
    assert not pose_image(None, (8, 8)).any()
    assert not pose_image(keypoints(visible=0), (120, 100)).any()
    assert pose_image(keypoints(-500, 20), (120, 100)).shape == (100, 120, 3)


def test_the_margin_is_a_disc() -> None:
    mask = np.zeros((21, 21), bool)
    mask[10, 10] = True
    grown = dilated(mask, 4)
    assert grown[10, 6]
    assert grown[6, 10]
    assert not grown[6, 6]
    assert grown.sum() == pytest.approx(np.pi * 4.5**2, rel=0.2)
    assert (dilated(mask, 0) == mask).all()
