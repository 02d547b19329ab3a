"""Pooling of regions by a product against torchvision's kernel, which it must equal forward and backward."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper
from train_tiny import ARCHITECTURE, HEIGHT, WIDTH, tiny_recipe

from anonbench.learning import memory
from anonbench.train import models, pooling
from anonbench.train.data import VariantSplit, load_image, load_target
from anonbench.train.pooling import RegionPool

IMAGE = (96, 128)


def _made(
    kind: type[MultiScaleRoIAlign], size: int | tuple[int, int], samples: int, levels: int = 1
) -> MultiScaleRoIAlign:
    pool = kind([str(level) for level in range(levels)], size, samples)
    pool.scales = [1 / (4 << level) for level in range(levels)]
    pool.map_levels = LevelMapper(2, 1 + levels, 32)
    return pool


def _maps(levels: int = 1, last: bool = True) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    maps = {str(i): torch.randn(3, 5, IMAGE[0] >> (2 + i), IMAGE[1] >> (2 + i)) for i in range(levels)}
    form = torch.channels_last if last else torch.contiguous_format
    return {name: one.contiguous(memory_format=form).requires_grad_() for name, one in maps.items()}


def _boxes() -> list[torch.Tensor]:
    """Return boxes of three images: within, across borders, far outside, smaller than a pixel; the second has none."""
    torch.manual_seed(1)
    corner = torch.rand(40, 2) * torch.tensor([180.0, 150.0]) - 30
    drawn = torch.cat([corner, corner + torch.rand(40, 2) * 60], dim=1)
    edges = [[-60.0, -60.0, -20.0, -20.0], [0, 0, 128, 96], [10.3, 20.7, 10.4, 20.8], [127.9, 95.9, 140, 120]]
    return [drawn, torch.empty(0, 4), torch.tensor(edges)]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("size", [7, (3, 5)])
def test_a_product_is_what_the_kernel_gives(size: int | tuple[int, int], samples: int, last: bool) -> None:
    found = []
    for kind in (MultiScaleRoIAlign, RegionPool):
        maps = _maps(last=last)
        pooled = _made(kind, size, samples)(maps, _boxes(), [IMAGE] * 3)
        torch.manual_seed(2)
        (pooled * torch.randn(pooled.shape)).sum().backward()
        found.append((pooled.detach(), maps["0"].grad))
    (expected, gradient), (pooled, own) = found
    assert expected.abs().sum() > 0
    assert gradient is not None
    torch.testing.assert_close(pooled, expected, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(own, gradient, rtol=1e-6, atol=1e-5)


def test_one_sample_per_cell_is_equal_to_the_byte_and_so_is_its_gradient() -> None:
    found = []
    for kind in (MultiScaleRoIAlign, RegionPool):
        maps = _maps()
        pooled = _made(kind, 7, 1)(maps, _boxes(), [IMAGE] * 3)
        torch.manual_seed(2)
        pooled.backward(torch.randn(pooled.shape))
        found.append((pooled.detach(), maps["0"].grad))
    for expected, own in zip(*found, strict=True):
        assert torch.equal(own, expected)


@pytest.mark.parametrize("samples", [1, 2, 3, 5, 6])
def test_samples_at_the_border_are_on_the_side_where_the_kernel_has_them(samples: int) -> None:
    grid = [[float(x), 0.0, float(x + width), 40.0] for x in range(-20, 1) for width in range(1, 160, 3)]
    maps, boxes = {"0": torch.ones(1, 1, *(side // 4 for side in IMAGE))}, [torch.tensor(grid)]
    expected, pooled = (_made(kind, 7, samples)(maps, boxes, [IMAGE]) for kind in (MultiScaleRoIAlign, RegionPool))
    assert (expected == 0).any()
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-5)


def test_a_model_has_the_losses_and_gradients_that_the_kernel_gives(
    variant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = VariantSplit.read(variant, "train")
    recipe = tiny_recipe({"architecture": {**ARCHITECTURE, "roi_levels": [4], "roi_sampling": 1}})
    torch.manual_seed(0)
    model = models.build(recipe, data.categories).to(memory_format=torch.channels_last).train()
    images = [load_image(sample, (WIDTH, HEIGHT)) for sample in data.samples[:2]]
    targets = [load_target(sample, (WIDTH, HEIGHT), masks=True) for sample in data.samples[:2]]
    assert model.roi_heads.box_roi_pool.multiplies({"0": torch.empty(1)})
    found = []
    for with_product in (True, False):
        monkeypatch.setattr(RegionPool, "multiplies", lambda pool, maps, yes=with_product: yes)
        model.zero_grad()
        torch.manual_seed(1)
        losses = model(images, targets)
        sum(losses.values()).backward()
        found.append((losses, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}))
    (losses, gradients), (expected, wanted) = found
    assert losses["loss_keypoint"] > 0
    for ours, theirs in ((losses, expected), (gradients, wanted)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_where_memory_is_out_the_loop_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: object) -> None:
        raise MemoryError("Unable to allocate 3.74 GiB")

    pool, maps = _made(RegionPool, 7, 1), _maps()
    monkeypatch.setattr(pooling, "cells_of", starved)
    assert not memory.suffices(lambda: pool(maps, _boxes(), [IMAGE] * 3), torch.device("cpu"))


def test_maps_of_another_type_are_left_to_torchvision() -> None:
    maps = {name: one.detach().double() for name, one in _maps().items()}
    boxes = [one.double() for one in _boxes()]
    expected, pooled = (_made(kind, 7, 1)(maps, boxes, [IMAGE] * 3) for kind in (MultiScaleRoIAlign, RegionPool))
    assert pooled.dtype == torch.float64
    assert torch.equal(pooled, expected)


def test_no_region_at_all() -> None:
    pooled = _made(RegionPool, 7, 1)(_maps(), [torch.empty(0, 4)] * 3, [IMAGE] * 3)
    assert pooled.shape == (0, 5, 7, 7)
    pooled.sum().backward()


def test_what_is_no_number_stays_none() -> None:
    boxes = [torch.tensor([[float("nan"), 0.0, 20.0, 20.0], [0.0, 0.0, 20.0, 20.0]])]
    pooled = _made(RegionPool, 7, 1)({"0": torch.ones(1, 2, 24, 32)}, boxes, [IMAGE])
    assert pooled[0].isnan().all()
    assert (pooled[1] == 1).all()
    far = [torch.tensor([[float("-inf"), 0.0, float("inf"), 20.0], [3e38, 0.0, 3.1e38, 20.0]])]
    assert not _made(RegionPool, 7, 1)({"0": torch.ones(1, 2, 24, 32)}, far, [IMAGE])[1].any()


@pytest.mark.parametrize(("levels", "samples"), [(2, 1), (1, 0)])
def test_several_levels_and_adaptive_samples_are_left_to_torchvision(levels: int, samples: int) -> None:
    pool = _made(RegionPool, 7, samples, levels)
    maps = _maps(levels, last=False)
    assert not pool.multiplies(maps)
    expected = _made(MultiScaleRoIAlign, 7, samples, levels)(maps, _boxes(), [IMAGE] * 3)
    assert torch.equal(pool(maps, _boxes(), [IMAGE] * 3), expected)
