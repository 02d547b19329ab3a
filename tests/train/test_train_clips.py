"""The trainer of clips: what it sees of a video, that it learns and repeats itself, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import video
from train_tiny import ACTIONS, clips_recipe, write_clips

from anonbench.clips import Kept
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, write_json
from anonbench.learning.distributed import Place
from anonbench.recipe import Recipe
from anonbench.seeding import generator
from anonbench.train import clip_batches, clip_models, initialisation
from anonbench.train.clip_batches import Batches, Reader, View, prediction_views, training_view
from anonbench.train.clips import NETWORKS, Settings
from anonbench.train.data import VariantSplit
from anonbench.train.prediction import run_prediction
from anonbench.train.record import RECORD, WEIGHTS
from anonbench.train.training import CHECKPOINT, run_training


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    write_clips(root)
    return write_clips(root, 3, "val", seed=8)


def train(variant: Path, out: Path, recipe: Recipe | None = None, seed: int = 0, **options: Any) -> tuple[bytes, bytes]:
    run_training(variant, "train", recipe or clips_recipe(), seed, out, device="cpu", **options)
    return (out / WEIGHTS).read_bytes(), (out / RECORD).read_bytes()


@pytest.fixture(scope="module")
def trained(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    return train(clips, tmp_path_factory.mktemp("model"))


def settings(**changes: Any) -> Settings:
    given: Settings = clips_recipe(changes).settings
    return given


def edited(root: Path, change: Any) -> None:
    """Change the JSON of a training split."""
    path = root / "annotations" / "train.json"
    value = read_json(path)
    change(value)
    path.write_text(json.dumps(value))


# What is seen of a video


def test_training_draws_every_stretch_place_and_size_within_the_frame(clips: Path) -> None:
    clip = VariantSplit.read(clips, "train", clips=True).clips[0]
    seen = settings(frames=3, stride=2, crop=(0.5, 1.0), horizontal_flip=0.5, brightness=0.2, contrast=0.3)
    views = [training_view(clip, seen, generator("test", number)) for number in range(300)]
    assert {view.frames for view in views} == {(0, 2, 4), (1, 3, 5)}
    for view in views:
        x, y, w, h = view.box
        assert w == h
        assert 32 <= w <= 64
        assert 0 <= x <= 96 - w
        assert 0 <= y <= 64 - h
    assert {view.box[0] for view in views} > {0, 30, 40}
    assert 100 < sum(view.mirrored for view in views) < 200
    assert max(view.brightness for view in views) <= 1.2
    assert min(view.contrast for view in views) >= 0.7
    assert np.std([view.brightness for view in views]) > 0.08


@pytest.mark.parametrize(
    ("count", "frames", "starts"), [(3, 2, [0, 2, 4]), (2, 2, [0, 4]), (1, 2, [2]), (5, 6, [0]), (3, 5, [0, 1])]
)
def test_predictions_see_the_whole_video(clips: Path, count: int, frames: int, starts: list[int]) -> None:
    clip = VariantSplit.read(clips, "train", clips=True).clips[0]
    views = prediction_views(clip, settings(frames=frames, stride=1, test_clips=count, test_crop=0.5))
    assert [view.frames[0] for view in views] == starts
    assert {view.box for view in views} == {(32, 16, 32, 32)}
    assert views[-1].frames[-1] == 5 or count == 1


def test_what_is_drawn_for_a_clip_holds_for_all_its_frames(clips: Path) -> None:
    """A still video stays still: crop, mirror, brightness and contrast are the same in all frames."""
    data = VariantSplit.read(clips, "train", clips=True)
    frame = data.clips[0].frames[0]
    still = type(data.clips[0])(1, (frame,) * 6, 0)
    drawn = settings(frames=4, stride=1, horizontal_flip=0.5, brightness=0.4, contrast=0.4)
    reader = Reader(drawn)
    different = set()
    for number in range(12):
        seen = reader.read(still, training_view(still, drawn, generator("still", number)))
        assert seen.shape == (3, 4, 32, 32)
        assert seen.dtype == torch.uint8
        assert (seen == seen[:, :1]).all()
        different.add(seen.numpy().tobytes())
    assert len(different) == 12


def test_a_view_is_the_cut_pixels_in_rgb(clips: Path) -> None:
    clip = VariantSplit.read(clips, "train", clips=True).clips[1]
    seen = Reader(settings()).read(clip, View((2, 0, 3, 1), (10, 5, 32, 32)))
    for place, frame in enumerate((2, 0, 3, 1)):
        pixels = cv2.imread(str(clip.frames[frame].path))[:, :, ::-1]
        assert (seen[:, place].permute(1, 2, 0).numpy() == pixels[5:37, 10:42]).all()
    flipped = Reader(settings()).read(clip, View((2, 0, 3, 1), (10, 5, 32, 32), mirrored=True))
    assert (flipped == seen.flip(3)).all()
    bright = Reader(settings()).read(clip, View((2, 0, 3, 1), (10, 5, 32, 32), brightness=1.5))
    assert (bright.int() - (seen.float() * 1.5).round().clamp(0, 255).int()).abs().max() <= 1


def test_frames_that_are_kept_change_nothing(clips: Path) -> None:
    data = VariantSplit.read(clips, "train", clips=True)
    one, other = (Batches(data, clips_recipe(), 0) for _ in range(2))
    other.reader.kept = Kept(20_000)  # of one frame alone
    for number in (0, 1, 2, 0):
        assert all(torch.equal(a, b) for a, b in zip(one[number], other[number], strict=True))
    assert len(other.reader.kept.frames) == 1
    assert len(one.reader.kept.frames) > 6


def test_an_epoch_shows_every_clip_once_and_processes_share_it(clips: Path) -> None:
    data = VariantSplit.read(clips, "train", clips=True)
    recipe = clips_recipe(batch_size=4)
    whole = [Batches(data, recipe, 0)[number] for number in (0, 1)]
    assert [len(seen) for seen, _ in whole] == [4, 2]
    assert sorted(torch.cat([actions for _, actions in whole]).tolist()) == [0, 0, 1, 1, 2, 2]
    parts = [Batches(data, recipe, 0, Place(rank, 2))[0] for rank in (0, 1)]
    assert torch.equal(torch.stack([parts[0][0], parts[1][0]], dim=1).flatten(0, 1), whole[0][0])


# Training


def test_two_trainings_have_the_same_bytes(clips: Path, tmp_path: Path, trained: tuple[bytes, bytes]) -> None:
    torch.rand(3)
    assert train(clips, tmp_path) == trained
    assert train(clips, tmp_path / "other", seed=1)[0] != trained[0]


def test_the_record_names_the_actions(trained: tuple[bytes, bytes]) -> None:
    record = json.loads(trained[1])
    assert record["actions"] == ACTIONS
    assert record["data"] | {"annotations_sha256": ""} == {
        "dataset": record["data"]["dataset"], "split": "train", "annotations_sha256": "", "images_digest": None,
        "images": 36, "used": 36, "crowd": 0, "empty_box": 0, "clips": 6,
    }  # fmt: skip
    assert record["resolved"]["iterations"] == 4
    assert set(record["loss_curve"][0]) == {"iteration", "learning_rate", "loss_action"}


class Killed(Exception):
    pass


@pytest.mark.parametrize("steps", [1, 3])
def test_a_stopped_training_continues_to_the_same_bytes(
    clips: Path, tmp_path: Path, trained: tuple[bytes, bytes], steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, done = clip_batches.Recogniser.step, 0

    def stops(*arguments: Any) -> dict[str, float]:
        nonlocal done
        if done == steps:
            raise Killed
        done += 1
        return step(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(clip_batches.Recogniser, "step", stops)
        with pytest.raises(Killed):
            train(clips, tmp_path / "out", checkpoints=tmp_path / "c")
    assert (tmp_path / "c" / CHECKPOINT).exists() == (steps >= 2)
    assert train(clips, tmp_path / "out", checkpoints=tmp_path / "c") == trained


def test_it_learns_what_moves_where(tmp_path: Path) -> None:
    """Left and right look alike in every single frame: only time tells them apart."""
    root = write_clips(tmp_path, 24)
    write_clips(tmp_path, 12, "val", seed=9)
    recipe = clips_recipe(
        {"small_widths": [8, 16], "crop": [0.9, 1.0], "test_crop": 1.0, "frames": 6}, epochs=20, iterations=None,
        optimizer="adamw", base_learning_rate=0.004, reference_batch_size=6, batch_size=6, warmup_iterations=5,
    )  # fmt: skip
    train(root, tmp_path / "model", recipe)
    run_prediction(tmp_path / "model", root, "val", tmp_path / "p.json", device="cpu")
    said = [max(e["scores"], key=e["scores"].get) for e in json.loads((tmp_path / "p.json").read_text())["actions"]]
    shown = [ACTIONS[k % 3] for k in range(12)]
    assert sum(a == b for a, b in zip(said, shown, strict=True)) >= 10


def test_a_prediction_is_the_mean_over_stretches(clips: Path, tmp_path: Path) -> None:
    recipe = clips_recipe({"test_clips": 2, "test_crop": 1.0})
    train(clips, tmp_path / "model", recipe)
    run_prediction(tmp_path / "model", clips, "val", tmp_path / "p.json", device="cpu")
    model = clip_models.build(recipe, 3)
    model.load_state_dict(load_file(tmp_path / "model" / WEIGHTS))
    model.eval()
    clip = VariantSplit.read(clips, "val", clips=True).clips[0]
    reader = Reader(recipe.settings)
    with torch.inference_mode():
        alone = [model(reader.read(clip, view)[None]).softmax(1)[0] for view in prediction_views(clip, recipe.settings)]
    assert len(alone) == 2
    assert not torch.allclose(alone[0], alone[1])
    said = json.loads((tmp_path / "p.json").read_text())["actions"][0]["scores"]
    assert list(said.values()) == pytest.approx(((alone[0] + alone[1]) / 2).tolist(), abs=2e-6)


def test_clips_without_an_action_are_left_out(tmp_path: Path) -> None:
    root = write_clips(tmp_path)
    edited(root, lambda coco: coco["videos"][0].pop("action"))
    _, record = train(root, tmp_path / "model")
    assert json.loads(record)["data"]["clips"] == 5


# Networks


@pytest.mark.parametrize("network", ["r3d_18", "mc3_18", "r2plus1d_18", "swin3d_t", "r3d_small"])
def test_networks_take_small_clips_and_a_step_changes_them(network: str) -> None:
    recipe = clips_recipe({"network": network})
    torch.manual_seed(0)
    model = clip_models.build(recipe, 5)
    logits = model(torch.randint(0, 256, (2, 3, 4, 32, 32), dtype=torch.uint8))
    assert logits.shape == (2, 5)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert [name for name in model.state_dict() if name.startswith("head.")] == ["head.weight", "head.bias"]
    assert not [name for name in model.state_dict() if not name.startswith(("head.", "network."))]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["r3d_18", "s3d", "mvit_v1_b", "swin3d_t"])
def test_weights_in_torchvision_s_names_give_torchvision_s_answers(network: str, tmp_path: Path) -> None:
    """The start `checkpoint` takes a whole network, `backbone` all but its last layer."""
    needs = NETWORKS[network]
    frames, side = max(needs.frames, 4), max(needs.side, 32)
    torch.manual_seed(1)
    theirs = getattr(video, network)(weights=None, num_classes=5).eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    seen = torch.randint(0, 256, (1, 3, frames, side, side), dtype=torch.uint8)
    mean, deviation = (torch.tensor(v).view(3, 1, 1, 1) for v in clip_models.ORIGINS[network].statistics)
    shape = {"network": network, "frames": frames, "height": side, "width": side}
    start = {"file": str(tmp_path / "w.pth"), "provenance": "made here", "seen": []}
    with torch.inference_mode():
        expected = theirs((seen / 255 - mean) / deviation)
        whole = clips_recipe(shape, initialisation={"kind": "checkpoint", **start})
        model = clip_models.build(whole, 5)
        record = initialisation.initialise(model, clip_models.NAMES, whole, ())
        torch.testing.assert_close(model.eval()(seen), expected, rtol=1e-4, atol=1e-5)
        assert record["kind"] == "checkpoint"
        part = clips_recipe(shape, initialisation={"kind": "backbone", **start})
        other = clip_models.build(part, 7)
        initialisation.initialise(other, clip_models.NAMES, part, ())
    ours = {name: value for name, value in other.state_dict().items() if name.startswith("network.")}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in ours.items())
    with pytest.raises(AnonbenchError, match=r"is for other actions or tasks: 'head.*use kind: backbone"):
        initialisation.initialise(other, clip_models.NAMES, whole, ())


def test_published_means_are_those_of_torchvision_s_weights() -> None:
    published = {
        "r3d_18": video.R3D_18_Weights, "mc3_18": video.MC3_18_Weights, "r2plus1d_18": video.R2Plus1D_18_Weights,
        "s3d": video.S3D_Weights, "mvit_v1_b": video.MViT_V1_B_Weights, "swin3d_t": video.Swin3D_T_Weights,
    }  # fmt: skip
    for network, weights in published.items():
        shown = weights.DEFAULT.transforms()
        assert (tuple(shown.mean), tuple(shown.std)) == clip_models.ORIGINS[network].statistics


def test_a_training_starts_from_another(clips: Path, tmp_path: Path) -> None:
    train(clips, tmp_path / "first")
    folder = {"file": str(tmp_path / "first")}
    for kind in ("backbone", "checkpoint"):
        recipe = clips_recipe(initialisation={"kind": kind, **folder}, base_learning_rate=1e-9)
        _, record = train(clips, tmp_path / kind, recipe)
        assert json.loads(record)["initialisation"]["leaks"]
        before, after = load_file(tmp_path / "first" / WEIGHTS), load_file(tmp_path / kind / WEIGHTS)
        assert torch.allclose(before["network.layers.0.conv1.0.weight"], after["network.layers.0.conv1.0.weight"])
        assert torch.allclose(before["head.weight"], after["head.weight"]) == (kind == "checkpoint")
    other = write_clips(tmp_path / "other", actions=["right", "left", "still"])
    with pytest.raises(AnonbenchError, match=r"was trained on other actions \(left, right, still\).*kind: backbone"):
        train(other, tmp_path / "out", clips_recipe(initialisation={"kind": "checkpoint", **folder}))


# What is refused


def test_clips_that_are_too_short_are_counted_and_can_be_repeated(clips: Path, tmp_path: Path) -> None:
    long = {"frames": 4, "stride": 2}
    said = r"video 1: has 6 frames, and 4 at a stride of 2 span 7 \(6 of 6 clips are too short\).*short_clips: repeat"
    with pytest.raises(AnonbenchError, match=said):
        train(clips, tmp_path / "a", clips_recipe(long))
    train(clips, tmp_path / "b", clips_recipe({**long, "short_clips": "repeat"}))
    run_prediction(tmp_path / "b", clips, "val", tmp_path / "p.json", device="cpu")
    assert len(json.loads((tmp_path / "p.json").read_text())["actions"]) == 3


def test_short_clips_of_the_tested_split_are_refused_too(clips: Path, tmp_path: Path) -> None:
    train(clips, tmp_path / "model")
    short = write_clips(tmp_path / "short", 3, "val", frames=3)
    with pytest.raises(AnonbenchError, match=r"val.json, video 1: has 3 frames, and 4 at a stride of 1 span 4"):
        run_prediction(tmp_path / "model", short, "val", tmp_path / "p.json", device="cpu")


def test_one_action_alone_is_refused(tmp_path: Path) -> None:
    root = write_clips(tmp_path / "v", 1)
    with pytest.raises(AnonbenchError, match=r"shows clips of 1 action \(left\), and telling actions apart takes two"):
        train(root, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda coco: coco["images"].pop(2), r"video 1: lacks frame 2 of 6"),
        (lambda coco: coco["images"].pop(5), r"video 1: lacks frame 5 of 6"),
        (lambda coco: coco["images"][3].update(frame_index=2), r"video 1: has frame 2 twice"),
        (lambda coco: coco["videos"][1].update(action="fly"), r"video 2: has the action 'fly'"),
        (lambda coco: coco.pop("videos"), r"has no clips with an action to train on"),
        (lambda coco: [video.pop("action") for video in coco["videos"]], r"has no clips with an action to train on"),
        (lambda coco: coco["images"][4].pop("frame_index"), r"is not a COCO annotation file"),
    ],
)
def test_clips_that_are_not_whole_are_refused(tmp_path: Path, change: Any, said: str) -> None:
    root = write_clips(tmp_path / "v")

    def edit(coco: dict[str, Any]) -> None:
        change(coco)
        kept = {image["id"] for image in coco["images"]}
        coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] in kept]

    edited(root, edit)
    with pytest.raises(AnonbenchError, match=said):
        train(root, tmp_path / "out")


def test_videos_that_are_not_whole_matter_to_no_detector(tmp_path: Path) -> None:
    root = write_clips(tmp_path)
    edited(root, lambda coco: [image.pop("frame_index") for image in coco["images"]])
    assert len(VariantSplit.read(root, "train").samples) == 36


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    root = write_clips(tmp_path / "v")
    (root / "train" / "002_03.png").unlink()
    with pytest.raises(AnonbenchError, match=r"002_03.png: no such image"):
        train(root, tmp_path / "out")


def test_other_actions_are_refused_in_prediction(clips: Path, tmp_path: Path) -> None:
    train(clips, tmp_path / "model")
    other = write_clips(tmp_path / "v", 3, "val", actions=["right", "left", "still"])
    with pytest.raises(AnonbenchError, match=r"has the actions right, left, still, the model was trained on left"):
        run_prediction(tmp_path / "model", other, "val", tmp_path / "p.json", device="cpu")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settings": {"crop": [0.9, 0.5]}}, r"settings: crop: the smallest, 0.9, is above the largest, 0.5"),
        ({"settings": {"small_widths": [4, 8, 8]}}, "small_widths and small_depths differ in length"),
        ({"settings": {"network": "mvit_v1_b"}}, "mvit_v1_b takes 16 frames of 224 x 224 pixels alone"),
        ({"settings": {"network": "s3d"}}, "s3d needs 14 frames or more, of 224 x 224 pixels or more"),
        ({"settings": {"height": 8}}, "r3d_small needs 1 frames or more, of 16 x 16"),
        ({"settings": {"network": "r3d_19"}}, "network"),
        ({"settings": {"test_clips": 0}}, "test_clips"),
        ({"tasks": ["action", "detection"]}, "the trainer clips cannot do detection"),
        (
            {"initialisation": {"kind": "coco", "file": "x.pth", "provenance": "x", "seen": []}},
            "initialisation.kind: is of detectors; use backbone",
        ),
        (
            {"initialisation": {"kind": "backbone", "file": "x", "provenance": "x", "seen": [], "pixels": "zoo"}},
            "initialisation.pixels: video networks take RGB",
        ),
    ],
)
def test_recipes_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(AnonbenchError, match=said):
        clips_recipe(changes.pop("settings", None), **changes)


def test_weights_of_another_network_are_refused(clips: Path, tmp_path: Path) -> None:
    save_file({"stem.0.weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    start = {"kind": "backbone", "file": str(tmp_path / "w.safetensors"), "provenance": "x", "seen": []}
    with pytest.raises(AnonbenchError, match=r"lacks .* tensors, first .*; give weights of r3d_small"):
        train(clips, tmp_path / "out", clips_recipe(initialisation=start))


def test_a_loss_that_is_not_finite_stops_at_its_iteration(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"the loss is not finite at iteration \d: loss_action"):
        train(clips, tmp_path, clips_recipe(base_learning_rate=1e30, warmup_iterations=0, iterations=9))


def test_a_record_without_actions_is_no_model_of_clips(clips: Path, tmp_path: Path) -> None:
    train(clips, tmp_path / "model")
    record = read_json(tmp_path / "model" / RECORD)
    record.pop("actions")
    write_json(tmp_path / "model" / RECORD, record)
    with pytest.raises(AnonbenchError, match="train again"):
        run_prediction(tmp_path / "model", clips, "val", tmp_path / "p.json", device="cpu")
