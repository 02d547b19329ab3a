"""The pieces that differ from torchvision's: mask targets on windows, pasting, regions drawn, empty images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import roi_align
from train_tiny import HEIGHT, WIDTH, tiny_recipe

from anonbench.train import models
from anonbench.train.data import VariantSplit, load_image, load_target
from anonbench.train.inference import paste


@pytest.mark.parametrize("flip", [False, True])
def test_mask_targets_on_windows_are_those_on_full_masks(variant: Path, flip: bool) -> None:
    sample = VariantSplit.read(variant, "train").samples[0]
    target = load_target(sample, (WIDTH, HEIGHT), flip, masks=True)
    full = torch.zeros((2, HEIGHT, WIDTH))
    for i, (x0, y0, x1, y1) in enumerate(target["boxes"].int().tolist()):
        full[i, y0:y1, x0:x1] = 1
    rng = np.random.default_rng(0)
    corner = torch.from_numpy(rng.uniform(2, 40, (30, 2)).astype(np.float32))
    boxes = torch.cat([corner, corner + torch.from_numpy(rng.uniform(3, 20, (30, 2)).astype(np.float32))], dim=1)
    matched = torch.arange(30) % 2
    rois = torch.cat([matched[:, None].float(), boxes], dim=1)
    expected = roi_align(full[:, None], rois, 14, sampling_ratio=2, aligned=True)[:, 0]
    torch.testing.assert_close(models._mask_targets(target, matched, boxes, 14), expected)


def test_a_pasted_mask_covers_its_box_and_nothing_else() -> None:
    ones = np.ones((28, 28), np.float32)
    mask = paste(ones, np.array([10.0, 5.0, 30.0, 45.0]), 64, 48)
    expected = np.zeros((48, 64), bool)
    expected[5:45, 10:30] = True
    np.testing.assert_array_equal(mask, expected)
    assert paste(ones, np.array([-30.0, -30.0, 20.0, 20.0]), 64, 48).sum() == 400
    assert not paste(ones, np.array([70.0, 5.0, 90.0, 20.0]), 64, 48).any()


def test_pasting_inverts_the_mask_targets() -> None:
    yy, xx = np.mgrid[:48, :64]
    disc = (xx - 30) ** 2 + (yy - 24) ** 2 < 300
    target = {
        "masks": torch.from_numpy(np.pad(disc, 1)[None].astype(np.uint8)),
        "mask_origin": torch.tensor([[-1.0, -1.0]]),
        "mask_scale": torch.ones(2),
    }
    box = torch.tensor([[12.3, 6.1, 48.2, 42.7]])
    grid = models._mask_targets(target, torch.zeros(1, dtype=torch.int64), box, 28)[0]
    again = paste(grid.numpy(), box[0].numpy(), 64, 48)
    assert (again & disc).sum() / (again | disc).sum() > 0.97


def test_regions_are_drawn_among_the_candidates() -> None:
    candidates = torch.tensor([True, False, True, True, False])
    assert models._draw(candidates, 5).tolist() == [0, 2, 3]
    drawn = models._draw(candidates, 2).tolist()
    assert len(set(drawn)) == 2
    assert set(drawn) <= {0, 2, 3}


def test_a_batch_without_objects_has_finite_losses_and_gradients(variant: Path) -> None:
    data = VariantSplit.read(variant, "train")
    model = models.build(tiny_recipe(), data.categories).train()
    empty = data.samples[1]
    images = [load_image(empty, (WIDTH, HEIGHT))] * 2
    losses = model(images, [load_target(empty, (WIDTH, HEIGHT), masks=True)] * 2)
    assert set(losses) == {
        "loss_classifier", "loss_box_reg", "loss_mask", "loss_keypoint", "loss_objectness", "loss_rpn_box_reg",
    }  # fmt: skip
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_images_of_different_sizes_share_a_batch() -> None:
    normalise = models.Normalise(divisible=32)
    batch, _ = normalise([torch.zeros(3, 40, 64, dtype=torch.uint8), torch.full((3, 30, 70), 255, dtype=torch.uint8)])
    assert batch.tensors.shape == (2, 3, 64, 96)
    assert batch.image_sizes == [(40, 64), (30, 70)]
    torch.testing.assert_close(batch.tensors[1, :, 0, 0], (1 - torch.tensor(models.MEAN)) / torch.tensor(models.STD))
    assert (batch.tensors[0, :, 40:] == 0).all()
